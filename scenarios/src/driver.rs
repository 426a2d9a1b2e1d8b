//! Drivers: who picks what happens next. Index 0 is what a run without any disturbance would do.

mod pct;
mod random;
mod replay;
mod search;

use twinway_protocol::EntityId;

pub use pct::Pct;
pub use random::Random;
pub use replay::{Fifo, Replay};
pub use search::Search;

/// What can be done to a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// An entity takes its first turn after a start of the whole.
    Start,
    /// A message arrives.
    Deliver,
    /// All records that are written become durable, and what waits for them leaves.
    Commit,
    /// A failed entity gets its state back.
    Recover,
    /// A timer runs out whose time has come; when nothing else is left to do, time passes to the next one.
    Timer,
    /// A fault: a message is lost.
    Drop,
    /// A fault: a message is doubled.
    Duplicate,
    /// A fault: time passes to the next timer although something else could happen.
    Delay,
    /// A fault: an entity panics in the turn of a message.
    Panic,
    /// A fault: an entity is made anew between two turns.
    Restart,
    /// A fault: the whole ends and starts again from what is durable.
    Crash,
    /// A fault: the wall clock jumps.
    ClockJump,
}

/// One of the things that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// What happens.
    pub what: What,
    /// To whom, if it is one entity's turn: the same number throughout a run.
    pub actor: Option<u32>,
    /// The entity's address, or that of nobody.
    pub entity: EntityId,
    /// Who sent the message; for what is no message, the entity itself.
    pub from: EntityId,
    /// What names it, together with `what`, for as long as it can happen.
    pub name: u64,
    pub(crate) slot: u8,
}

/// A point of a run at which more than one thing can happen.
#[derive(Clone, Copy, Debug)]
pub struct Point<'p> {
    /// What can happen: first the ordinary, the oldest first and behind it what was let past before, then the faults.
    pub actions: &'p [Action],
    /// How many of the actions are ordinary.
    pub ordinary: usize,
    /// How many actions the run has taken so far.
    pub taken: u64,
}

/// Picks what happens next.
pub trait Driver {
    /// A run with this seed begins.
    fn begin(&mut self, seed: u64);
    /// Whether it looks at the faults at the point that it is asked of next. Asked only where there are some; if not,
    /// they are not listed there.
    fn looks_at_faults(&mut self) -> bool {
        true
    }
    /// The index of the action to take; past the end stands for the last one. It is asked only where there is a choice.
    fn choose(&mut self, point: &Point<'_>) -> usize;
    /// Something happens without a choice.
    fn pass(&mut self, _action: &Action) {}
    /// Whether the run need not go on. It ends without a verdict on its end.
    fn is_done(&self) -> bool {
        false
    }
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..count`; 0 when there is none.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }
}
