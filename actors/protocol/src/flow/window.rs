//! The newest events of a trace, found by their ids and shared by all flows that judge them; older ones are let go.

use std::collections::VecDeque;

use super::rows::{Put, RowId, Rows};
use crate::EventId;

/// What is known of an event, whichever flow judges it. Its place in the ring stands for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) id: EventId,
    pub(super) cause: EventId,
    pub(super) place: u64,
    /// Where its joined parents begin, counted through the whole trace.
    joined_at: u64,
    /// How many of [`Window::joined`] are its.
    joined_len: u32,
    /// The first own step of this turn that is not settled, and the next of the same turn as this own step.
    own_first: Slot,
    own_last: Slot,
    own_next: Slot,
    put: Put,
    pub(super) state: State,
    pub(super) is_own: bool,
    /// It takes up what earlier lives of its entity wrote down.
    pub(super) recovers: bool,
    /// Not all of its parents could be kept.
    pub(super) cut: bool,
}

impl Kept {
    /// An event that waits.
    pub(super) const fn new(id: EventId, cause: EventId, place: u64) -> Self {
        Self {
            id,
            cause,
            place,
            joined_at: 0,
            joined_len: 0,
            own_first: 0,
            own_last: 0,
            own_next: 0,
            put: Put { row: 0, stray: false },
            state: State::Waiting,
            is_own: false,
            recovers: false,
            cut: false,
        }
    }

    /// Its actor; 0 if there was no room for it.
    pub(super) const fn row(&self) -> RowId {
        self.put.row
    }
}

/// How far an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It waits for those before it.
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
pub(super) struct Window {
    events: Vec<Kept>,
    pub(super) rows: Rows,
    max: Slot,
    /// Where the next event goes, and the oldest that waits is.
    next: Slot,
    oldest: Slot,
    waiting: usize,
    forgotten: u64,
    /// The joined parents of the events that wait.
    joined: VecDeque<u64>,
    joined_gone: u64,
}

impl Window {
    /// A window on `max` events, at least 2 and at most 2^31, of so many actors.
    pub(super) fn new(max: usize, actors_max: usize) -> Self {
        Self {
            events: Vec::new(),
            rows: Rows::new(actors_max),
            max: max.clamp(2, 1 << 31) as Slot,
            next: 1,
            oldest: 1,
            waiting: 0,
            forgotten: 0,
            joined: VecDeque::new(),
            joined_gone: 0,
        }
    }

    /// Forgets all events, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.rows.clear();
        self.joined.clear();
        (self.next, self.oldest, self.waiting, self.forgotten, self.joined_gone) = (1, 1, 0, 0, 0);
    }

    const fn after(&self, slot: Slot) -> Slot {
        if slot == self.max { 1 } else { slot + 1 }
    }

    pub(super) fn find(&self, id: EventId) -> Option<Slot> {
        self.rows.find(id)
    }

    /// The newest earlier event of the same actor.
    pub(super) fn before(&self, id: EventId) -> Option<Slot> {
        self.rows.before(id)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Kept> {
        self.events.get((slot as usize).wrapping_sub(1))
    }

    fn get_mut(&mut self, slot: Slot) -> Option<&mut Kept> {
        self.events.get_mut((slot as usize).wrapping_sub(1))
    }

    pub(super) fn set_state(&mut self, slot: Slot, state: State) {
        if let Some(kept) = self.get_mut(slot) {
            kept.state = state;
        }
    }

    /// How many events wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many joined parents wait with them.
    pub(super) fn joined_waiting(&self) -> usize {
        self.joined.len()
    }

    /// How many events were let go.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Takes an event in; the oldest goes if there is no room, which must not be waiting any more. `None` if an event
    /// with this id is kept already.
    pub(super) fn insert(&mut self, mut kept: Kept, joined: &[EventId]) -> Option<Slot> {
        let slot = self.next;
        // Slot 1 comes after the last one, and after none.
        kept.put = self.rows.put(kept.id, slot, slot - 1)?;
        if !joined.is_empty() {
            kept.joined_at = self.joined_gone + self.joined.len() as u64;
            kept.joined_len = joined.len() as u32;
            self.joined.extend(joined.iter().map(|parent| parent.to_bits()));
        }
        match self.events.get_mut((slot as usize).wrapping_sub(1)) {
            Some(place) => {
                let old = std::mem::replace(place, kept);
                self.rows.remove(old.id.to_bits(), old.put);
                self.forgotten += 1;
            }
            None => self.events.push(kept),
        }
        self.next = self.after(slot);
        self.waiting += 1;
        Some(slot)
    }

    /// Remembers an own step at its turn, which stands before it in any trace.
    pub(super) fn hang(&mut self, slot: Slot, turn: EventId) {
        let Some(turn_slot) = self.find(turn).filter(|turn| *turn != slot) else { return };
        let Some(turn) = self.get_mut(turn_slot) else { return };
        let last = std::mem::replace(&mut turn.own_last, slot);
        if turn.own_first == 0 {
            turn.own_first = slot;
        } else if let Some(last) = self.get_mut(last) {
            last.own_next = slot;
        }
    }

    /// The first own step of a turn that waits still.
    pub(super) fn own_waiting(&mut self, turn: Slot) -> Option<Slot> {
        let first = self.get(turn)?.own_first;
        if first == 0 {
            return None;
        }
        let mut slot = first;
        while let Some(own) = self.get(slot).filter(|own| own.state != State::Waiting) {
            slot = own.own_next;
        }
        if let Some(turn) = self.get_mut(turn) {
            turn.own_first = slot;
            // The next own step begins a new row.
            if slot == 0 {
                turn.own_last = 0;
            }
        }
        (slot != 0).then_some(slot)
    }

    /// The oldest event that waits.
    pub(super) fn oldest_waiting(&self) -> Option<Slot> {
        (self.waiting > 0).then_some(self.oldest)
    }

    /// The oldest event that waits is settled: it leaves the line.
    pub(super) fn leave(&mut self) {
        let count = self.get(self.oldest).map_or(0, |kept| kept.joined_len as usize).min(self.joined.len());
        if count > 0 {
            self.joined.drain(..count);
            self.joined_gone += count as u64;
        }
        self.oldest = self.after(self.oldest);
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// The `nth` joined parent of an event that waits.
    pub(super) fn joined(&self, kept: &Kept, nth: usize) -> Option<EventId> {
        if nth >= kept.joined_len as usize {
            return None;
        }
        let at = kept.joined_at.checked_sub(self.joined_gone)? as usize + nth;
        self.joined.get(at).map(|bits| EventId::from_bits(*bits))
    }
}
