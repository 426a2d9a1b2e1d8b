//! Drivers that do what they are told: nothing out of order, or a schedule.

use super::{Driver, Point};

/// Delivers in the order of sending, without faults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fifo;

impl Driver for Fifo {
    fn begin(&mut self, _seed: u64) {}

    fn looks_at_faults(&mut self) -> bool {
        false
    }

    fn choose(&mut self, _point: &Point<'_>) -> usize {
        0
    }
}

/// Takes the choices of a schedule, and then goes on in the order of sending.
#[derive(Clone, Debug)]
pub struct Replay<'s> {
    choices: &'s [u32],
    next: usize,
}

impl<'s> Replay<'s> {
    /// Replays these choices. A choice past the end of what can happen stands for the last of it.
    #[must_use]
    pub fn new(choices: &'s [u32]) -> Self {
        Self { choices, next: 0 }
    }
}

impl Driver for Replay<'_> {
    fn begin(&mut self, _seed: u64) {
        self.next = 0;
    }

    fn choose(&mut self, _point: &Point<'_>) -> usize {
        let choice = self.choices.get(self.next).copied().unwrap_or_default();
        self.next += 1;
        choice as usize
    }
}
