//! Finds events by their ids: each actor's are numbered one after the other, and what it did in a row stands in a row.

use std::collections::VecDeque;

use super::{index::Index, window::Slot};
use crate::EventId;

/// The place of an actor among those that are known, from 1; 0 is none.
pub(super) type RowId = u32;

/// Actors whose numbers are smaller are found without a search.
const NUMBERS_MAX: usize = 1 << 16;

/// Events of one actor whose numbers follow each other, and whose slots do.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    first: u64,
    slot: Slot,
    len: u32,
}

impl Run {
    /// Takes its first event out; tells whether it was the last.
    fn shrink(&mut self) -> bool {
        self.first += 1;
        self.slot += 1;
        self.len = self.len.saturating_sub(1);
        self.len == 0
    }
}

/// An actor.
#[derive(Debug, Default)]
struct Row {
    actor: u32,
    /// The highest number that one of its events had.
    last: u64,
    /// Whether an event of it was settled.
    settled: bool,
    /// Its events that are kept and came in the order of their numbers: the newest of them, and those before.
    newest: Run,
    older: VecDeque<Run>,
}

/// Where an event that was put in is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Put {
    pub(super) row: RowId,
    /// It came after one with a higher number, or of an actor that there was no room for.
    pub(super) stray: bool,
}

/// The actors, and where their events are.
#[derive(Debug)]
pub(super) struct Rows {
    rows: Vec<Row>,
    /// How many of `rows` are in use: the others keep their memory for later.
    used: usize,
    max: usize,
    /// Rows by the numbers of their actors: of small numbers, and of others.
    by_number: Vec<RowId>,
    by_other: Index,
    /// Events that are in no run.
    strays: Index,
    strays_kept: usize,
}

impl Rows {
    /// Room for `max` actors.
    pub(super) fn new(max: usize) -> Self {
        Self {
            rows: Vec::new(),
            used: 0,
            max,
            by_number: Vec::new(),
            by_other: Index::new(),
            strays: Index::new(),
            strays_kept: 0,
        }
    }

    /// Forgets all actors, and keeps the memory.
    pub(super) fn clear(&mut self) {
        for row in self.rows.iter_mut().take(self.used) {
            if let Some(known) = self.by_number.get_mut(row.actor as usize) {
                *known = 0;
            }
            (row.newest, row.last) = (Run::default(), 0);
            row.older.clear();
        }
        self.used = 0;
        self.by_other.clear();
        self.strays.clear();
        self.strays_kept = 0;
    }

    #[inline]
    fn row_of(&self, actor: u32) -> RowId {
        match self.by_number.get(actor as usize) {
            Some(row) => *row,
            None if (actor as usize) < NUMBERS_MAX => 0,
            None => self.by_other.get(u64::from(actor)).unwrap_or(0),
        }
    }

    /// The row of an actor, which is made if there is room.
    fn row_for(&mut self, actor: u32) -> RowId {
        let known = self.row_of(actor);
        if known != 0 || self.used >= self.max {
            return known;
        }
        match self.rows.get_mut(self.used) {
            Some(row) => (row.actor, row.settled) = (actor, false),
            None => self.rows.push(Row { actor, ..Row::default() }),
        }
        self.used += 1;
        let row = self.used as RowId;
        if (actor as usize) < NUMBERS_MAX {
            if self.by_number.len() <= actor as usize {
                self.by_number.resize((actor as usize + 1).next_power_of_two(), 0);
            }
            if let Some(place) = self.by_number.get_mut(actor as usize) {
                *place = row;
            }
        } else {
            self.by_other.insert(u64::from(actor), row);
        }
        row
    }

    fn get_mut(&mut self, row: RowId) -> Option<&mut Row> {
        self.rows.get_mut((row as usize).wrapping_sub(1))
    }

    /// Puts an event in; `None` if it is there already. `slot_before` is the slot of the event that came before it, if
    /// its slot follows that.
    #[inline]
    pub(super) fn put(&mut self, id: EventId, slot: Slot, slot_before: Slot) -> Option<Put> {
        let row_id = self.row_for(id.actor());
        let count = id.count();
        if let Some(row) = self.rows.get_mut((row_id as usize).wrapping_sub(1))
            && count > row.last
        {
            let newest = row.newest;
            if count == row.last + 1 && newest.len > 0 && slot_before != 0 && newest.slot + newest.len == slot {
                row.newest.len += 1;
            } else {
                row.newest = Run { first: count, slot, len: 1 };
                if newest.len > 0 {
                    row.older.push_back(newest);
                }
            }
            row.last = count;
            return Some(Put { row: row_id, stray: false });
        }
        if self.find(id).is_some() {
            return None;
        }
        self.strays.insert(id.to_bits(), slot);
        self.strays_kept += 1;
        Some(Put { row: row_id, stray: true })
    }

    /// Takes the oldest event out that there is.
    #[inline]
    pub(super) fn remove(&mut self, id: u64, put: Put) {
        if put.stray {
            self.strays.remove(id);
            self.strays_kept -= 1;
            return;
        }
        let Some(row) = self.get_mut(put.row) else { return };
        match row.older.front_mut() {
            Some(run) => {
                if run.shrink() {
                    row.older.pop_front();
                }
            }
            None => {
                if row.newest.shrink() {
                    // Who has been silent for so long needs no room.
                    row.older = VecDeque::new();
                }
            }
        }
    }

    /// The slot of an event.
    #[inline]
    pub(super) fn find(&self, id: EventId) -> Option<Slot> {
        let row = self.rows.get((self.row_of(id.actor()) as usize).wrapping_sub(1));
        if let Some(slot) = row.and_then(|row| row.find(id.count())) {
            return Some(slot);
        }
        if self.strays_kept == 0 { None } else { self.strays.get(id.to_bits()) }
    }

    /// The slot of the newest earlier event of the same actor. Numbers may be left out between two of its events.
    pub(super) fn before(&self, id: EventId) -> Option<Slot> {
        let last = EventId::from_bits(id.to_bits().checked_sub(1)?);
        let row = self.rows.get((self.row_of(id.actor()) as usize).wrapping_sub(1));
        let stray = || self.strays.get(last.to_bits()).filter(|_| self.strays_kept > 0 && last.actor() == id.actor());
        row.and_then(|row| row.find(last.count())).or_else(stray).or_else(|| row?.before(id.count()))
    }

    /// Whether an event of this actor was settled before; now one is.
    pub(super) fn settle(&mut self, row: RowId) -> bool {
        self.get_mut(row).is_some_and(|row| std::mem::replace(&mut row.settled, true))
    }
}

impl Row {
    #[inline]
    fn find(&self, count: u64) -> Option<Slot> {
        let run = if self.newest.first <= count { &self.newest } else { self.older(count)? };
        let nth = count.checked_sub(run.first).filter(|nth| *nth < u64::from(run.len))?;
        Some(run.slot + nth as u32)
    }

    /// The newest event in a run whose number is below `count`.
    fn before(&self, count: u64) -> Option<Slot> {
        let last = count.checked_sub(1)?;
        let run = if self.newest.first <= last { &self.newest } else { self.older(last)? };
        let nth = (last - run.first).min(u64::from(run.len).checked_sub(1)?);
        Some(run.slot + nth as u32)
    }

    /// The run that an event is in that is not in the newest one. Most are near the end.
    fn older(&self, count: u64) -> Option<&Run> {
        let (mut step, mut after) = (1, self.older.len());
        // The run at `before` begins at or before the event, all from `after` on behind it.
        let mut before = loop {
            let at = after.checked_sub(step)?;
            if self.older.get(at)?.first <= count {
                break at;
            }
            after = at;
            step = (step * 2).min(after.max(1));
        };
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.older.get(middle)?.first <= count {
                before = middle;
            } else {
                after = middle;
            }
        }
        self.older.get(before)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::{Put, Rows};
    use crate::EventId;

    proptest! {
        #[test]
        fn events_are_found_until_they_are_taken_out(
            turns in prop::collection::vec((0_u32..6, 0_u64..60, any::<bool>()), 0..600),
            max in 1_usize..80,
            room in 1_usize..8,
        ) {
            // Actor 5 has a number that is found by a search.
            let id = |actor: u32, count| EventId::new(if actor == 5 { 1 << 20 } else { actor }, count);
            let mut rows = Rows::new(room);
            let mut kept: VecDeque<(EventId, u32, Put)> = VecDeque::new();
            let (mut came, mut next, mut asked) = (0_usize, [0_u64; 6], Vec::new());
            for (actor, count, goes_on) in turns {
                // Mostly the next of the actor, sometimes any.
                let count = if goes_on { next[actor as usize] + 1 } else { count };
                let event = id(actor, count);
                asked.push(event);
                let (slot, before) = (came % max + 1, (came + max - 1) % max + 1);
                let before = if slot == 1 { 0 } else { before };
                let known = kept.iter().any(|(other, ..)| *other == event);
                let put = rows.put(event, slot as u32, before as u32);
                prop_assert_eq!(put.is_none(), known);
                let Some(put) = put else { continue };
                if kept.len() == max && let Some((old, _, put)) = kept.pop_front() {
                    rows.remove(old.to_bits(), put);
                }
                kept.push_back((event, slot as u32, put));
                came += 1;
                next[actor as usize] = next[actor as usize].max(count);
            }
            for event in asked {
                let slot = kept.iter().find(|(other, ..)| *other == event).map(|(_, slot, _)| *slot);
                prop_assert_eq!(rows.find(event), slot);
            }
            prop_assert!(rows.used <= room);
        }
    }
}
