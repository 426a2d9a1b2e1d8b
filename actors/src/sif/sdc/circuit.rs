//! Circuit breakers (FGMV-29 8.2.4): a third-party system that keeps failing is left alone for a while.

use std::collections::VecDeque;

use twinway_protocol::{Problem, ProblemKind};

use crate::Settings;

/// Whether a third-party system is called, by what became of the calls before.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// When the failures of the present window happened, in milliseconds of the monotonic clock.
    failures: VecDeque<u64>,
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// It is called.
    #[default]
    Closed,
    /// It is not called before this moment.
    Open(u64),
    /// One call is under way to see whether it answers again; given up at this moment.
    Probing(u64),
}

impl Circuit {
    /// Whether a call may go out now. After the pause one may, as a probe; the others wait for what becomes of it.
    ///
    /// # Errors
    /// [`ProblemKind::OutsideUnreachable`]: nothing is sent.
    pub(super) fn admit(&mut self, now_ms: u64, settings: &Settings) -> Result<(), Problem> {
        match self.state {
            State::Closed => Ok(()),
            State::Open(until) | State::Probing(until) if now_ms < until => {
                let detail = format!("its circuit is open: too many calls failed; again in {} ms", until - now_ms);
                Err(Problem::new(ProblemKind::OutsideUnreachable, detail))
            }
            State::Open(_) | State::Probing(_) => {
                self.state = State::Probing(now_ms.saturating_add(settings.outside_answer_ms_max));
                Ok(())
            }
        }
    }

    /// What became of a call. Gives whether the circuit has opened or closed by it.
    pub(super) fn heard(&mut self, failed: bool, now_ms: u64, settings: &Settings) -> bool {
        if !failed {
            self.failures.clear();
            return std::mem::take(&mut self.state) != State::Closed;
        }
        let open = State::Open(now_ms.saturating_add(settings.circuit_open_ms));
        match self.state {
            State::Open(_) => false,
            State::Probing(_) => {
                self.state = open;
                false
            }
            State::Closed => {
                let window = now_ms.saturating_sub(settings.circuit_window_ms);
                self.failures.retain(|at| *at > window);
                self.failures.push_back(now_ms);
                if self.failures.len() < settings.circuit_failures_max.max(1) {
                    return false;
                }
                self.failures.clear();
                self.state = open;
                true
            }
        }
    }

    /// Whether calls are held back.
    pub(super) fn is_open(&self) -> bool {
        self.state != State::Closed
    }
}

/// Whether a problem says that the system is not well. One that refuses is.
pub(super) fn is_failure(problem: &Problem) -> bool {
    use ProblemKind as Kind;
    matches!(problem.kind, Kind::OutsideUnreachable | Kind::OutsideTimeout | Kind::OutsideUnclear | Kind::Overloaded)
}
