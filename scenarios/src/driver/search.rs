//! Every order, as far as orders differ: depth-first, without what sleep sets show to be the same as something seen
//! (Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", 1996).

use twinway_protocol::WireSet;

use super::{Action, Driver, Point, What};
use crate::world::World;

/// What names an action while it can happen.
type Key = (What, u64, Option<u32>);

fn key(action: &Action) -> Key {
    (action.what, action.name, action.actor)
}

/// Turns of different entities commute: neither makes the other impossible, and both orders come to the same. What
/// concerns all of them commutes with nothing.
fn commute(a: &Key, b: &Key) -> bool {
    let is_turn = |what| matches!(what, What::Start | What::Deliver | What::Panic);
    is_turn(a.0) && is_turn(b.0) && a.2 != b.2
}

#[derive(Debug)]
struct Level {
    actions: Vec<Key>,
    chosen: usize,
    /// What need not be tried here: it was tried before something that commutes with it.
    sleep: Vec<Key>,
}

impl Level {
    fn next(&self) -> Option<usize> {
        self.actions.iter().position(|action| !self.sleep.contains(action))
    }
}

/// A search through all orders of a world.
#[derive(Debug)]
pub struct Search {
    levels: Vec<Level>,
    depth: usize,
    depth_max: usize,
    sleep: Vec<Key>,
    redundant: bool,
    /// How many runs came to an end of their own.
    runs: u64,
    pruned: u64,
    complete: bool,
    cut: bool,
}

impl Search {
    /// A search that branches at the first `depth_max` points of a run, and goes on in the order of sending from there.
    #[must_use]
    pub fn new(depth_max: usize) -> Self {
        Self {
            levels: Vec::new(),
            depth: 0,
            depth_max,
            sleep: Vec::new(),
            redundant: false,
            runs: 0,
            pruned: 0,
            complete: false,
            cut: false,
        }
    }

    /// Runs `world` once a kind of order, until a rule does not hold or `runs_max` runs were made. True if every rule
    /// held.
    pub fn run<W: WireSet>(&mut self, world: &mut World<W>, seed: u64, runs_max: u64) -> bool {
        while !self.complete && self.runs + self.pruned < runs_max {
            let held = world.run(seed, self);
            if self.redundant {
                self.pruned += 1;
            } else {
                self.runs += 1;
            }
            if !held {
                return false;
            }
            self.backtrack();
        }
        true
    }

    /// How many runs there were that differ.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// How many runs were given up because they would have been the same as another.
    #[must_use]
    pub fn pruned(&self) -> u64 {
        self.pruned
    }

    /// Whether every order was tried, and `depth_max` kept none out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete && !self.cut
    }

    pub(crate) fn is_over(&self) -> bool {
        self.complete
    }

    /// Goes on behind a run in which a rule did not hold.
    pub(crate) fn skip(&mut self) {
        self.backtrack();
    }

    fn backtrack(&mut self) {
        while let Some(level) = self.levels.last_mut() {
            if let Some(done) = level.actions.get(level.chosen).copied() {
                level.sleep.push(done);
            }
            if let Some(next) = level.next() {
                level.chosen = next;
                return;
            }
            self.levels.pop();
        }
        self.complete = true;
    }

    /// What still sleeps after an action.
    fn wake(&mut self, by: Key) {
        self.sleep.retain(|asleep| commute(asleep, &by));
    }
}

impl Driver for Search {
    fn begin(&mut self, _seed: u64) {
        self.depth = 0;
        self.sleep.clear();
        self.redundant = false;
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        if self.depth >= self.depth_max {
            self.cut = true;
            return 0;
        }
        if self.depth == self.levels.len() {
            let actions = point.actions.iter().map(key).collect();
            let mut level = Level { actions, chosen: 0, sleep: self.sleep.clone() };
            match level.next() {
                Some(next) => level.chosen = next,
                None => {
                    self.redundant = true;
                    return 0;
                }
            }
            self.levels.push(level);
        }
        let Some(level) = self.levels.get(self.depth) else { return 0 };
        self.depth += 1;
        let chosen = level.chosen;
        self.sleep.clone_from(&level.sleep);
        if let Some(action) = level.actions.get(chosen).copied() {
            self.wake(action);
        }
        chosen
    }

    fn pass(&mut self, action: &Action) {
        if self.depth < self.depth_max && self.sleep.contains(&key(action)) {
            self.redundant = true;
        }
        self.wake(key(action));
    }

    fn is_done(&self) -> bool {
        self.redundant
    }
}
