//! What was sent to a device and may act yet (FGMV-29 9.2 steps 17 and 18).

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Problem, ProblemKind,
    lease::Token,
    message::ChangeApplied,
    time::{Now, Timestamp},
};

/// The part of a command's time by which its record reaches further than the command: a new record is needed only when
/// commands have gone on for so long.
const RECORD_AHEAD: u64 = 4;

/// What a gate writes down. Only the newest counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PhysicalObjectRecord {
    /// Commands of this token leave from now on.
    Commanding {
        /// The token.
        token: Token,
        /// None of them carries a later `notAfter`, unless another record says so.
        until: Timestamp,
        /// How long after its sending the device may act on a command, in milliseconds.
        within_ms: u64,
    },
    /// What was sent under lower tokens than this one can act no more.
    Drained {
        /// The token.
        token: Token,
    },
}

/// The commands of which it is written down that they may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commanding {
    pub(super) token: Token,
    pub(super) until: Timestamp,
    pub(super) within_ms: u64,
}

impl Commanding {
    /// What is to be written down before a command of `token` leaves.
    pub(super) fn of(token: Token, within_ms: u64, now: Timestamp) -> Self {
        Self { token, until: now.plus_ms(within_ms + within_ms / RECORD_AHEAD), within_ms }
    }

    pub(super) fn record(self) -> PhysicalObjectRecord {
        PhysicalObjectRecord::Commanding { token: self.token, until: self.until, within_ms: self.within_ms }
    }

    /// Whether the record covers a command that the device may act on until `not_after`.
    pub(super) fn covers(&self, not_after: Timestamp, within_ms: u64) -> bool {
        not_after <= self.until && within_ms <= self.within_ms
    }

    /// Whether the wall clock shows a moment before this was written: it has been set back, and says nothing.
    fn is_ahead_of(&self, now: Timestamp) -> bool {
        self.until > now.plus_ms(self.within_ms + self.within_ms / RECORD_AHEAD)
    }
}

/// What was sent under tokens that no fence has closed yet. In one sum: a gate fences all of it or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// What was sent under lower tokens can act no more.
    safe_below: Token,
    /// How many commands are not answered yet.
    unanswered: usize,
    /// Whether one of them ended without an answer of the device.
    unclear: bool,
    /// Whether any was sent, answered or not.
    sent: bool,
    /// When the device must have forgotten the last of them, by the monotonic clock in milliseconds.
    over_ms: u64,
    /// The same by the wall clock, as far as it is known.
    over: Timestamp,
}

impl UnderWay {
    /// A command leaves, on which the device may act for `within_ms`, by its own clock.
    pub(super) fn sent(&mut self, within_ms: u64, margin_ms: u64, now: Now) {
        self.unanswered += 1;
        self.sent = true;
        self.over_ms = self.over_ms.max(now.monotonic_ms.saturating_add(within_ms).saturating_add(margin_ms));
    }

    /// What came of a command of `token`.
    pub(super) fn answered(&mut self, token: Token, answer: &Result<ChangeApplied, Problem>) {
        if token < self.safe_below {
            return;
        }
        self.unanswered = self.unanswered.saturating_sub(1);
        self.unclear |= !has_ended(answer);
        if self.is_drained() {
            (self.over_ms, self.over) = (0, Timestamp::default());
        }
    }

    /// The gate begins a life after one in which commands may have been sent.
    ///
    /// Clocks say little across a restart: the monotonic one began anew, and the wall clock may have been set. So the gate
    /// waits for as long as a command may act, counted from now, and until the wall clock has passed what was written
    /// down, unless it has been set back.
    pub(super) fn unknown(&mut self, of: Commanding, margin_ms: u64, now: Now) {
        (self.unclear, self.sent) = (true, true);
        self.over_ms = now.monotonic_ms.saturating_add(of.within_ms).saturating_add(margin_ms);
        self.over = if of.is_ahead_of(now.wall) { Timestamp::default() } else { of.until.plus_ms(margin_ms) };
    }

    /// Nothing that was sent under a lower token than this one can act any more.
    pub(super) fn safe_below(&mut self, token: Token) {
        *self = Self { safe_below: token, ..Self::default() };
    }

    /// Whether the device has answered every command.
    pub(super) fn is_drained(&self) -> bool {
        self.unanswered == 0 && !self.unclear
    }

    /// Whether a command ended without an answer, so that waiting for answers is no use.
    pub(super) fn is_unclear(&self) -> bool {
        self.unclear
    }

    /// Whether nothing was sent at all.
    pub(super) fn is_untouched(&self) -> bool {
        !self.sent
    }

    /// In how many milliseconds the device must have forgotten all commands, if it honours `notAfter`.
    pub(super) fn over_in_ms(&self, now: Now) -> u64 {
        let monotonic = self.over_ms.saturating_sub(now.monotonic_ms);
        monotonic.max(self.over.unix_ms().saturating_sub(now.wall.unix_ms()))
    }
}

/// Whether the answer proves that the device will not act on the command any more: it has, or it never got it.
///
/// What a twin system answers itself comes as the answer or as `outside-failed` (the table of what is outside says
/// `outside-unclear` for a webhook that broke off and for a session that closed). A system without an open way, a
/// full table or inbox and an actor that cannot write are found out before anything leaves. A time limit that has run
/// out, and an actor that failed with the request in its table, prove nothing.
fn has_ended(answer: &Result<ChangeApplied, Problem>) -> bool {
    use ProblemKind as Kind;
    match answer {
        Ok(_) => true,
        Err(problem) => matches!(
            problem.kind,
            Kind::OutsideFailed
                | Kind::OutsideUnreachable
                | Kind::Overloaded
                | Kind::LimitReached
                | Kind::ShuttingDown
                | Kind::ReadOnly
        ),
    }
}
