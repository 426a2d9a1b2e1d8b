//! Schedules and runs, to keep.

use std::{fmt, str::FromStr};

use twinway_protocol::{EntityId, trace::TraceEvent};

use crate::{rule::Violation, world::Told};

/// What repeats a run, in the same world with the same faults: the seed of what entities draw, and the choices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The seed.
    pub seed: u64,
    /// At each point the index of what happened; past the end 0, the oldest.
    pub choices: Vec<u32>,
}

impl Schedule {
    /// At how many points something else happened than what a run without disturbance would do.
    #[must_use]
    pub fn departures(&self) -> usize {
        self.choices.iter().filter(|choice| **choice > 0).count()
    }
}

impl fmt::Display for Schedule {
    /// As `seed:choice.choice.…`, where `0*12` stands for twelve times 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seed)?;
        let mut left = self.choices.as_slice();
        let mut first = true;
        while let Some(choice) = left.first() {
            let same = left.iter().take_while(|other| *other == choice).count();
            let dot = if first { "" } else { "." };
            first = false;
            if same > 1 {
                write!(f, "{dot}{choice}*{same}")?
            } else {
                write!(f, "{dot}{choice}")?
            }
            left = left.get(same..).unwrap_or_default();
        }
        Ok(())
    }
}

/// How many choices a schedule that is read may have.
pub const CHOICES_MAX: usize = 1_000_000;

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (seed, list) = text.split_once(':').unwrap_or((text, ""));
        let seed = seed.trim().parse().map_err(|_| format!("`{seed}` is not the seed of a schedule"))?;
        let mut choices = Vec::new();
        for part in list.trim().split('.').filter(|part| !part.is_empty()) {
            let (choice, count) = part.split_once('*').unwrap_or((part, "1"));
            let wrong = |_| format!("`{part}` is not a choice of a schedule");
            let choice: u32 = choice.parse().map_err(wrong)?;
            let count: usize = count.parse().map_err(wrong)?;
            if count > CHOICES_MAX - choices.len() {
                return Err(format!("more than {CHOICES_MAX} choices"));
            }
            choices.resize(choices.len() + count, choice);
        }
        Ok(Self { seed, choices })
    }
}

/// One run of a world.
#[derive(Clone, Debug)]
pub struct Run {
    /// What repeats it.
    pub schedule: Schedule,
    /// The rules that did not hold.
    pub violations: Vec<Violation>,
    /// Its events, in the order in which they happened.
    pub trace: Vec<TraceEvent>,
    /// What happened, action by action.
    pub told: Vec<Told>,
    pub(crate) kind_name: fn(u8) -> &'static str,
}

impl Run {
    /// The name of an entity for a person: its kind, and its slot where that is not the first.
    #[must_use]
    pub fn name(&self, entity: EntityId) -> String {
        let kind = (self.kind_name)(entity.kind());
        if entity.slot() == 0 { kind.to_owned() } else { format!("{kind} {}", entity.slot()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn a_schedule_is_read_as_it_was_written() {
        for choices in [vec![], vec![3], vec![0, 0, 0, 1, 0, 0, 7, 7]] {
            let schedule = Schedule { seed: 42, choices };
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }
        assert_eq!(Schedule { seed: 1, choices: vec![0, 0, 2] }.to_string(), "1:0*2.2");
        for wrong in ["", "x", "1:a", "1:0*", "1:0*9999999999"] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
        }
    }
}
