//! The clocks, read once for a stretch of turns.
//!
//! To read a clock costs as much as a third of a turn. So the actors of one thread share a reading, which is taken
//! again after a few turns, whenever the thread has slept, and when somebody outside the actors asks them something.

use std::cell::Cell;

/// A reading is used for this many turns of one thread.
const TURNS_PER_READING: u32 = 16;

/// The last reading of this thread.
struct Reading {
    ns: Cell<u64>,
    turns_left: Cell<u32>,
}

thread_local! {
    static READING: Reading = const { Reading { ns: Cell::new(0), turns_left: Cell::new(0) } };
}

/// The thread has slept, or done something else than take turns: its reading is old.
pub(crate) fn outdated() {
    READING.with(|reading| reading.turns_left.set(0));
}

/// The time of the next turn, as `read` tells it.
pub(crate) fn for_turn(read: impl FnOnce() -> u64) -> u64 {
    READING.with(|reading| match reading.turns_left.get().checked_sub(1) {
        Some(left) => {
            reading.turns_left.set(left);
            reading.ns.get()
        }
        None => {
            reading.turns_left.set(TURNS_PER_READING);
            let ns = read();
            reading.ns.set(ns);
            ns
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{TURNS_PER_READING, for_turn, outdated};

    #[test]
    fn a_reading_serves_a_stretch_of_turns_and_none_after_a_sleep() {
        outdated();
        assert_eq!(for_turn(|| 1), 1);
        for _ in 0..TURNS_PER_READING {
            assert_eq!(for_turn(|| 2), 1);
        }
        assert_eq!(for_turn(|| 3), 3);
        outdated();
        assert_eq!(for_turn(|| 4), 4);
    }
}
