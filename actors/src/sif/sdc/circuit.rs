//! Circuit breakers (FGMV-29 8.2.4): a third-party system that keeps failing, or of which the monitoring says that it is away,
//! is left alone for a while.

use std::collections::VecDeque;

use twinway_protocol::{
    Out, Problem, ProblemKind, SystemId,
    message::{ReportBreaker, TPSR},
    registry::{Breaker, BreakerState},
    signal::Signal,
    time::{Now, Timestamp},
};

use super::Sdc;
use crate::Settings;

/// Whether a third-party system is called, by what became of the calls before, and by what the monitoring says of it.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// When the failures of the present window happened, in milliseconds of the monotonic clock.
    failures: VecDeque<u64>,
    state: State,
    since: Timestamp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// It is called.
    #[default]
    Closed,
    /// It is not called before this moment.
    Open(u64),
    /// One call sees whether it answers again: the next, or one that is under way and given up at this moment.
    HalfOpen(Option<u64>),
}

impl Circuit {
    /// Whether a call may go out now. After the pause one may, as a probe; the others wait for what becomes of it.
    ///
    /// # Errors
    /// [`ProblemKind::OutsideUnreachable`]: nothing is sent.
    fn admit(&mut self, now_ms: u64, settings: &Settings) -> Result<(), Problem> {
        match self.state {
            State::Closed => Ok(()),
            State::Open(until) | State::HalfOpen(Some(until)) if now_ms < until => {
                let detail =
                    format!("its circuit is open: calls failed, or it is away; again in {} ms", until - now_ms);
                Err(Problem::new(ProblemKind::OutsideUnreachable, detail))
            }
            State::Open(_) | State::HalfOpen(_) => {
                self.state = State::HalfOpen(Some(now_ms.saturating_add(settings.outside_answer_ms_max)));
                Ok(())
            }
        }
    }

    /// What became of a call.
    fn heard(&mut self, failed: bool, now_ms: u64, settings: &Settings) {
        if !failed {
            self.failures.clear();
            self.state = State::Closed;
            return;
        }
        match self.state {
            // A call from before it opened.
            State::Open(_) => {}
            State::HalfOpen(_) => self.open(now_ms, settings),
            State::Closed => {
                let window = now_ms.saturating_sub(settings.circuit_window_ms);
                self.failures.retain(|at| *at > window);
                self.failures.push_back(now_ms);
                if self.failures.len() >= settings.circuit_failures_max.max(1) {
                    self.open(now_ms, settings);
                }
            }
        }
    }

    fn open(&mut self, now_ms: u64, settings: &Settings) {
        self.failures.clear();
        self.state = State::Open(now_ms.saturating_add(settings.circuit_open_ms));
    }

    /// The monitoring says that the system is away, or that it is there again: either way the next call is to see, and
    /// the others wait for it. Silence alone is no failed call, and refuses nobody.
    fn monitored(&mut self, away: bool) {
        match self.state {
            State::Closed if away => self.state = State::HalfOpen(None),
            State::Open(_) if !away => self.state = State::HalfOpen(None),
            _ => {}
        }
    }

    fn breaker(&self) -> Breaker {
        let state = match self.state {
            State::Closed => BreakerState::Closed,
            State::Open(_) => BreakerState::Open,
            State::HalfOpen(_) => BreakerState::HalfOpen,
        };
        Breaker { state, since: self.since }
    }
}

/// Whether a problem says that the system is not well. One that refuses is.
fn is_failure(problem: &Problem) -> bool {
    use ProblemKind as Kind;
    matches!(problem.kind, Kind::OutsideUnreachable | Kind::OutsideTimeout | Kind::OutsideUnclear | Kind::Overloaded)
}

impl Sdc {
    /// Whether the system is called at all now.
    ///
    /// # Errors
    /// [`ProblemKind::OutsideUnreachable`] while its circuit is open: nothing is sent.
    pub(super) fn admit(&mut self, system: &SystemId, out: &mut Out<'_, Self>) -> Result<(), Problem> {
        if self.circuits.contains_key(system) {
            return self.switch(system, Circuit::admit, out);
        }
        Ok(())
    }

    /// Its circuit hears what became of a call.
    pub(super) fn heard_of(&mut self, system: &SystemId, answer: Result<(), &Problem>, out: &mut Out<'_, Self>) {
        let failed = answer.is_err_and(is_failure);
        // Of a system that is registered no more nothing is kept.
        if self.circuits.contains_key(system) || failed && self.systems.contains_key(system) {
            self.switch(system, |circuit, now_ms, settings| circuit.heard(failed, now_ms, settings), out);
        }
    }

    /// FGMV-29 8.2.1: its circuit hears what the monitoring says.
    pub(super) fn monitored(&mut self, system: &SystemId, away: bool, out: &mut Out<'_, Self>) {
        let was_away = if away { !self.away.insert(system.clone()) } else { self.away.remove(system) };
        if away != was_away {
            self.switch(system, |circuit, _, _| circuit.monitored(away), out);
        }
    }

    /// Does something to a system's circuit, and tells whoever shows it if it is another one then.
    fn switch<T>(
        &mut self,
        system: &SystemId,
        act: impl FnOnce(&mut Circuit, u64, &Settings) -> T,
        out: &mut Out<'_, Self>,
    ) -> T {
        let Now { monotonic_ms, wall } = out.now();
        let circuit = self.circuits.entry(system.clone()).or_default();
        let before = circuit.breaker().state;
        let done = act(circuit, monotonic_ms, &self.settings);
        if before != circuit.breaker().state {
            circuit.since = wall;
        }
        let breaker = circuit.breaker();
        if circuit.state == State::Closed && circuit.failures.is_empty() {
            // A circuit that is closed and has seen no failure is like none.
            self.circuits.remove(system);
        }
        if before != breaker.state {
            out.send(TPSR, ReportBreaker { system: system.clone(), breaker });
        }
        let (was_open, open) = (before != BreakerState::Closed, breaker.state != BreakerState::Closed);
        if was_open != open {
            out.signal(Signal::Circuit { system: system.clone(), open });
        }
        done
    }

    /// A register that has recovered is told again.
    pub(super) fn tell_breaker(&self, system: &SystemId, out: &mut Out<'_, Self>) {
        let breaker = self.circuits.get(system).map(Circuit::breaker);
        if let Some(breaker) = breaker.filter(|breaker| breaker.state != BreakerState::Closed) {
            out.send(TPSR, ReportBreaker { system: system.clone(), breaker });
        }
    }

    /// A system is registered no more.
    pub(super) fn forget_circuit(&mut self, system: &SystemId, out: &mut Out<'_, Self>) {
        self.away.remove(system);
        let circuit = self.circuits.remove(system);
        if circuit.is_some_and(|circuit| circuit.state != State::Closed) {
            out.signal(Signal::Circuit { system: system.clone(), open: false });
        }
    }
}
