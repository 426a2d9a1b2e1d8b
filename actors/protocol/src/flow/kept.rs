//! The newest events of a trace, found by their ids; older ones are let go.

use std::collections::VecDeque;

use super::{index::Index, instance::InstanceId};

/// What is known of an event. Its place in the ring stands for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    pub(super) id: u64,
    pub(super) cause: u64,
    /// The steps that caused it, and its own.
    pub(super) caused: u64,
    /// The steps that came before it, and its own.
    pub(super) before: u64,
    pub(super) place: u64,
    /// How many of [`Ring::joined`] are its.
    pub(super) joined_len: u32,
    /// Where its joined parents begin, counted through the whole trace.
    pub(super) joined_at: u64,
    pub(super) instance: InstanceId,
    /// Another one that it goes on with, if it is no step: of what a turn does for two, each is of its own.
    pub(super) also: InstanceId,
    /// The instance that an own step of this turn belongs to.
    pub(super) own_instance: InstanceId,
    /// The first own step of this turn that is not settled, and the next of the same turn as this own step.
    pub(super) own_first: Slot,
    pub(super) own_last: Slot,
    pub(super) own_next: Slot,
    pub(super) taken: super::Taken,
    pub(super) state: State,
    pub(super) is_own: bool,
    /// It takes up what earlier lives of its entity wrote down.
    pub(super) recovers: bool,
    /// Steps of which it is not known whether they caused it, or that a refusal excused.
    pub(super) unknown: u64,
}

/// How far an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// It waits for those before it.
    #[default]
    Waiting,
    /// It is being settled.
    Open,
    /// It has its masks and its verdicts.
    Settled,
}

/// The place of an event in the ring, from 1; 0 is no event.
pub(super) type Slot = u32;

/// The events, in the order in which they came. They wait at first, then they are settled, then let go.
#[derive(Debug)]
pub(super) struct Ring {
    events: Vec<Kept>,
    max: u64,
    /// How many came in all, and how many of them left the waiting line and the ring.
    came: u64,
    settled: u64,
    gone: u64,
    index: Index,
    /// The joined parents of the events that wait.
    joined: VecDeque<u64>,
    joined_gone: u64,
}

impl Ring {
    /// A ring for `max` events, at least 2 and at most 2^31.
    pub(super) fn new(max: usize) -> Self {
        let max = (max as u64).clamp(2, 1 << 31);
        let (index, events, joined) = (Index::new(), Vec::new(), VecDeque::new());
        Self { events, max, came: 0, settled: 0, gone: 0, index, joined, joined_gone: 0 }
    }

    /// Forgets all events, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.index.clear();
        self.joined.clear();
        (self.came, self.settled, self.gone, self.joined_gone) = (0, 0, 0, 0);
    }

    fn slot(&self, nth: u64) -> Slot {
        (nth % self.max) as Slot + 1
    }

    pub(super) fn find(&self, id: u64) -> Option<Slot> {
        self.index.get(id)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Kept> {
        self.events.get((slot as usize).wrapping_sub(1))
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Kept> {
        self.events.get_mut((slot as usize).wrapping_sub(1))
    }

    /// How many events wait.
    pub(super) fn waiting(&self) -> u64 {
        self.came - self.settled
    }

    /// How many joined parents wait with them.
    pub(super) fn joined_waiting(&self) -> usize {
        self.joined.len()
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.gone
    }

    /// Takes an event in; the oldest goes if there is no room, which must not be waiting any more. `None` if an event
    /// with this id is kept already.
    pub(super) fn insert(&mut self, mut kept: Kept, joined: impl Iterator<Item = u64>) -> Option<Slot> {
        let slot = self.slot(self.came);
        if !self.index.insert(kept.id, slot) {
            return None;
        }
        kept.joined_at = self.joined_gone + self.joined.len() as u64;
        let before = self.joined.len();
        self.joined.extend(joined);
        kept.joined_len = (self.joined.len() - before) as u32;
        let at = (slot as usize).wrapping_sub(1);
        match self.events.get_mut(at) {
            Some(place) => {
                let old = std::mem::replace(place, kept).id;
                self.index.remove(old);
                self.gone += 1;
            }
            None => self.events.push(kept),
        }
        self.came += 1;
        Some(slot)
    }

    /// The oldest event that waits.
    pub(super) fn oldest_waiting(&self) -> Option<Slot> {
        (self.waiting() > 0).then(|| self.slot(self.settled))
    }

    /// The oldest event that waits is settled: it leaves the line.
    pub(super) fn leave(&mut self) {
        let slot = self.slot(self.settled);
        let count = self.get(slot).map_or(0, |kept| kept.joined_len as usize).min(self.joined.len());
        self.joined.drain(..count);
        self.joined_gone += count as u64;
        self.settled += 1;
    }

    /// The `nth` joined parent of an event that waits.
    pub(super) fn joined(&self, kept: &Kept, nth: usize) -> Option<u64> {
        if nth >= kept.joined_len as usize {
            return None;
        }
        let at = kept.joined_at.checked_sub(self.joined_gone)? as usize + nth;
        self.joined.get(at).copied()
    }
}
