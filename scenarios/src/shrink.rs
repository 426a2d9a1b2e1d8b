//! Shrinking: from a bad schedule to the shortest one that shows the same.

use twinway_protocol::WireSet;

use crate::{
    driver::Replay,
    run::{Run, Schedule},
    world::World,
};

/// How many runs shrinking may take.
pub const RUNS_MAX: u32 = 5_000;

/// How good a schedule is: fewest departures from the order of sending, then fewest actions, then smallest choices.
type Rank = (usize, u64, u64);

struct Shrinking<'w, W: WireSet> {
    world: &'w mut World<W>,
    seed: u64,
    rule: String,
    best: Vec<u32>,
    rank: Rank,
    runs: u32,
}

/// Shrinks a schedule by which some rule does not hold to one by which the same rule does not hold, with the fewest
/// departures that could be found, and gives its run. The world is the one that it went wrong in.
pub fn shrink<W: WireSet>(world: &mut World<W>, schedule: &Schedule) -> Run {
    let held = world.run(schedule.seed, &mut Replay::new(&schedule.choices));
    let first = world.last(schedule.seed);
    let Some(violation) = first.violations.first().filter(|_| !held) else { return first };
    let (rule, seed) = (violation.name.clone(), schedule.seed);
    let best = first.schedule.choices.clone();
    let rank = rank(&best, world.taken());
    let mut shrinking = Shrinking { world, seed, rule, best, rank, runs: 0 };
    while shrinking.pass() && shrinking.runs < RUNS_MAX {}
    let Shrinking { world, best, .. } = shrinking;
    world.run(seed, &mut Replay::new(&best));
    world.last(seed)
}

fn rank(choices: &[u32], taken: u64) -> Rank {
    let departures = choices.iter().filter(|choice| **choice > 0).count();
    (departures, taken, choices.iter().map(|choice| u64::from(*choice)).sum())
}

impl<W: WireSet> Shrinking<'_, W> {
    /// Tries all ways once; true if one of them made it better.
    fn pass(&mut self) -> bool {
        let before = self.rank;
        let mut block = self.best.len().next_power_of_two();
        while block > 0 {
            self.blocks(block);
            block /= 2;
        }
        self.lower();
        self.rank < before
    }

    /// Sets blocks to 0, and leaves them out.
    fn blocks(&mut self, block: usize) {
        let mut at = 0;
        while at < self.best.len() && self.runs < RUNS_MAX {
            let end = (at + block).min(self.best.len());
            let mut zeroed = self.best.clone();
            for choice in zeroed.iter_mut().take(end).skip(at) {
                *choice = 0;
            }
            let mut removed = self.best.clone();
            removed.drain(at..end);
            let better = (zeroed != self.best && self.attempt(&zeroed)) || self.attempt(&removed);
            if !better {
                at += block;
            }
        }
    }

    /// Makes single choices smaller.
    fn lower(&mut self) {
        let mut at = 0;
        while let Some(choice) = self.best.get(at).copied() {
            let smaller = [1, choice / 2, choice.saturating_sub(1)];
            let lowered = smaller.into_iter().filter(|smaller| *smaller > 0 && *smaller < choice).any(|smaller| {
                let mut attempt = self.best.clone();
                if let Some(place) = attempt.get_mut(at) {
                    *place = smaller;
                }
                self.attempt(&attempt)
            });
            if !lowered {
                at += 1;
            }
        }
    }

    fn attempt(&mut self, choices: &[u32]) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let held = self.world.run(self.seed, &mut Replay::new(choices));
        let same = self.world.violations().iter().any(|violation| violation.name == self.rule);
        if held || !same {
            return false;
        }
        // As it was taken: choices past the end of what can happen stand for the last of it.
        let mut taken = self.world.choices().to_vec();
        taken.truncate(taken.iter().rposition(|choice| *choice > 0).map_or(0, |last| last + 1));
        let rank = rank(&taken, self.world.taken());
        if rank >= self.rank {
            return false;
        }
        (self.best, self.rank) = (taken, rank);
        true
    }
}
