//! Probabilistic concurrency testing: priorities that change at a few points, so that a bug which needs few changes is
//! found with a chance that is known (Burckhardt, Kothari, Musuvathi, Nagarakatti, "A randomized scheduler with
//! probabilistic guarantees of finding bugs", 2010).

use super::{Action, Chance, Driver, Point, What};

/// Gives entities priorities by chance, and takes the turn of the highest; at `depth - 1` points the highest falls
/// below all others. A fault may come at each of these points.
#[derive(Clone, Debug)]
pub struct Pct {
    depth: u32,
    points_max: u64,
    chance: Chance,
    /// By actor; that of what is nobody's turn comes first.
    priorities: Vec<u64>,
    changes: Vec<u64>,
    lowest: u64,
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
            priorities: Vec::new(),
            changes: Vec::new(),
            lowest: 0,
            points: 0,
        }
    }

    fn place(action: &Action) -> usize {
        action.actor.map_or(0, |actor| actor as usize + 1)
    }

    fn priority(&mut self, place: usize) -> u64 {
        while self.priorities.len() <= place {
            // Above all that changes give.
            let priority = (self.chance.next() >> 1) | (1 << 62);
            self.priorities.push(priority);
        }
        self.priorities.get(place).copied().unwrap_or_default()
    }

    fn highest(&mut self, point: &Point<'_>) -> usize {
        let mut best = (0, 0);
        for (index, action) in point.actions.iter().take(point.ordinary).enumerate() {
            let priority = self.priority(Self::place(action));
            // The oldest of those with the same priority.
            if index == 0 || priority > best.0 {
                best = (priority, index);
            }
        }
        best.1
    }
}

impl Driver for Pct {
    fn begin(&mut self, seed: u64) {
        self.chance = Chance(seed);
        self.priorities.clear();
        self.changes.clear();
        self.points = 0;
        self.lowest = 1 << 61;
        for _ in 1..self.depth {
            let at = self.chance.next() % self.points_max;
            self.changes.push(at);
        }
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        self.points += 1;
        let highest = self.highest(point);
        let change = self.changes.contains(&(self.points - 1));
        let faults = point.actions.len() - point.ordinary;
        if change {
            if let Some(action) = point.actions.get(highest).filter(|action| action.what != What::Start) {
                let place = Self::place(action);
                self.lowest -= 1;
                if let Some(priority) = self.priorities.get_mut(place) {
                    *priority = self.lowest;
                }
            }
            if faults > 0 && self.chance.below(2) == 0 {
                return point.ordinary + self.chance.below(faults);
            }
            return self.highest(point);
        }
        highest
    }
}
