//! Faults: what a driver may do to a world besides delivering, and how often.

use twinway_protocol::{EntityId, PendingKey};

/// A fault that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A message was lost, where its link may lose.
    Drop {
        /// Whom it was for.
        to: EntityId,
        /// Its key, if it was a question or an answer.
        pending: PendingKey,
    },
    /// A message will arrive twice, where its link may double.
    Duplicate {
        /// Whom it is for.
        to: EntityId,
    },
    /// Time passed to the next timer although messages are under way.
    Delay,
    /// An entity panicked in a turn.
    Panic(EntityId),
    /// An entity was made anew between two turns.
    Restart(EntityId),
    /// All of it ended at once and started again from what was durable.
    Crash,
    /// The wall clock jumped.
    ClockJump,
}

/// How many faults of each kind a run may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Messages lost.
    pub drops: u32,
    /// Messages doubled.
    pub duplicates: u32,
    /// Jumps of time to the next timer.
    pub delays: u32,
    /// Panics in a turn.
    pub panics: u32,
    /// Restarts of one entity.
    pub restarts: u32,
    /// Crashes of the whole.
    pub crashes: u32,
    /// Jumps of the wall clock, each by at most a day forth or back.
    pub clock_jumps: u32,
}

impl std::fmt::Display for Faults {
    /// As [`Faults::parse`] reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = [
            ("drop", self.drops),
            ("duplicate", self.duplicates),
            ("delay", self.delays),
            ("panic", self.panics),
            ("restart", self.restarts),
            ("crash", self.crashes),
            ("clock", self.clock_jumps),
        ];
        let mut comma = "";
        for (name, count) in named.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{comma}{name}={count}")?;
            comma = ",";
        }
        Ok(())
    }
}

impl Faults {
    /// Without faults.
    pub const NONE: Self =
        Self { drops: 0, duplicates: 0, delays: 0, panics: 0, restarts: 0, crashes: 0, clock_jumps: 0 };

    /// One of each kind at most.
    pub const ONE_OF_EACH: Self =
        Self { drops: 1, duplicates: 1, delays: 1, panics: 1, restarts: 1, crashes: 1, clock_jumps: 1 };

    /// Whether a run may have any.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Self::NONE
    }

    /// Reads `drop,crash=2`: names with how many, one if that is left out. The names are `drop`, `duplicate`,
    /// `delay`, `panic`, `restart`, `crash`, `clock`, and `all` for one of each.
    ///
    /// # Errors
    /// The part that is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut faults = Self::NONE;
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, count) = part.split_once('=').unwrap_or((part, "1"));
            let count: u32 = count.parse().map_err(|_| format!("`{part}`: `{count}` is not a number of faults"))?;
            match name {
                "drop" => faults.drops = count,
                "duplicate" => faults.duplicates = count,
                "delay" => faults.delays = count,
                "panic" => faults.panics = count,
                "restart" => faults.restarts = count,
                "crash" => faults.crashes = count,
                "clock" => faults.clock_jumps = count,
                "all" => {
                    faults = Self {
                        drops: count,
                        duplicates: count,
                        delays: count,
                        panics: count,
                        restarts: count,
                        crashes: count,
                        clock_jumps: count,
                    };
                }
                _ => {
                    return Err(format!(
                        "`{name}` is no fault; these are: drop, duplicate, delay, panic, restart, crash, clock, all"
                    ));
                }
            }
        }
        Ok(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::Faults;

    #[test]
    fn faults_are_read_as_they_were_written() {
        let faults = Faults::parse("drop, crash=2").expect("both are faults");
        assert_eq!(faults, Faults { drops: 1, crashes: 2, ..Faults::NONE });
        assert_eq!(faults.to_string(), "drop=1,crash=2");
        assert_eq!(Faults::parse(&Faults::ONE_OF_EACH.to_string()), Faults::parse("all"));
        assert_eq!(Faults::parse(""), Ok(Faults::NONE));
        for wrong in ["flood", "drop=x", "drop=-1", "=1"] {
            assert!(Faults::parse(wrong).is_err(), "{wrong}");
        }
    }
}
