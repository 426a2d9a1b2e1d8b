//! Any order, as a seed says.

use super::{Chance, Driver, Point, What};

/// A fault is looked for at one of this many points.
const POINTS_A_FAULT: usize = 32;

/// Picks among what is ordinary with equal chances, and now and then a fault.
#[derive(Clone, Debug)]
pub struct Random {
    chance: Chance,
    points_a_fault: usize,
    /// Whether a fault is looked for at this point, if that is decided.
    looks: Option<bool>,
}

impl Default for Random {
    fn default() -> Self {
        Self { chance: Chance(0), points_a_fault: POINTS_A_FAULT, looks: None }
    }
}

impl Random {
    /// With a fault at one of `points` points, as far as the world's [`Faults`](crate::fault::Faults) allow.
    #[must_use]
    pub fn with_fault_every(points: usize) -> Self {
        Self { points_a_fault: points.max(1), ..Self::default() }
    }
}

impl Driver for Random {
    fn begin(&mut self, seed: u64) {
        self.chance = Chance(seed);
        self.looks = None;
    }

    fn looks_at_faults(&mut self) -> bool {
        let looks = self.chance.below(self.points_a_fault) == 0;
        self.looks = Some(looks);
        looks
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        let faults = point.actions.get(point.ordinary..).unwrap_or_default();
        // Who does not ask first lists them all.
        let looks = self.looks.take();
        if !faults.is_empty() && looks.unwrap_or_else(|| self.chance.below(self.points_a_fault) == 0) {
            // Every kind of fault is as likely as another, however many messages it could befall.
            let is_first = |at: usize, what: What| at == 0 || faults.get(at - 1).is_none_or(|fault| fault.what != what);
            let kinds = faults.iter().enumerate().filter(|(at, fault)| is_first(*at, fault.what)).count();
            let kind = self.chance.below(kinds);
            let chosen = faults.iter().enumerate().filter(|(at, fault)| is_first(*at, fault.what)).nth(kind);
            if let Some((first, fault)) = chosen {
                let same = faults.iter().skip(first).take_while(|other| other.what == fault.what).count();
                return point.ordinary + first + self.chance.below(same);
            }
        }
        self.chance.below(point.ordinary)
    }
}
