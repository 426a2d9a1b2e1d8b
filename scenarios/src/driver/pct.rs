//! Probabilistic concurrency testing: priorities that change at a few points, so that a bug which needs few changes is
//! found with a chance that is known (Burckhardt, Kothari, Musuvathi, Nagarakatti, "A randomized scheduler with
//! probabilistic guarantees of finding bugs", 2010).

use super::{Action, Chance, Driver, Point};

/// Gives every pair of sender and receiver a priority by chance, and takes what has the highest; at `depth - 1` points
/// the highest falls below all others. A fault may come at each of these points.
#[derive(Clone, Debug)]
pub struct Pct {
    depth: u32,
    points_max: u64,
    chance: Chance,
    /// What priorities are made from.
    salt: u64,
    changes: Vec<u64>,
    /// Pairs whose priority fell, each below those before it.
    fallen: Vec<u64>,
    points: u64,
}

impl Pct {
    /// Looks for bugs of `depth`: those that need `depth` ordering constraints. `points_max` is how many points with a
    /// choice a run is thought to have.
    #[must_use]
    pub fn new(depth: u32, points_max: u64) -> Self {
        Self {
            depth: depth.max(1),
            points_max: points_max.max(1),
            chance: Chance(0),
            salt: 0,
            changes: Vec::new(),
            fallen: Vec::new(),
            points: 0,
        }
    }

    /// A pair of sender and receiver; what is nobody's turn is a pair of its own.
    fn pair(action: &Action) -> u64 {
        Chance(action.from.to_bits() ^ action.entity.to_bits().rotate_left(32)).next()
    }

    fn priority(&self, pair: u64) -> u64 {
        match self.fallen.iter().rposition(|fallen| *fallen == pair) {
            Some(at) => (self.fallen.len() - at) as u64,
            None => Chance(self.salt ^ pair).next() | (1 << 62),
        }
    }

    fn highest(&self, point: &Point<'_>) -> usize {
        let mut best = (0, 0);
        for (index, action) in point.actions.iter().take(point.ordinary).enumerate() {
            let priority = self.priority(Self::pair(action));
            // The oldest of those with the same priority.
            if priority > best.0 {
                best = (priority, index);
            }
        }
        best.1
    }
}

impl Driver for Pct {
    fn begin(&mut self, seed: u64) {
        self.chance = Chance(seed);
        self.salt = self.chance.next();
        self.fallen.clear();
        self.changes.clear();
        self.points = 0;
        for _ in 1..self.depth {
            let at = self.chance.next() % self.points_max;
            self.changes.push(at);
        }
    }

    fn looks_at_faults(&mut self) -> bool {
        self.changes.contains(&self.points)
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        let change = self.changes.contains(&self.points);
        self.points += 1;
        let highest = self.highest(point);
        if !change {
            return highest;
        }
        if let Some(action) = point.actions.get(highest) {
            self.fallen.push(Self::pair(action));
        }
        let faults = point.actions.len() - point.ordinary;
        if faults > 0 && self.chance.below(2) == 0 {
            return point.ordinary + self.chance.below(faults);
        }
        self.highest(point)
    }
}
