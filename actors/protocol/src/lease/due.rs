//! What is due when, for slots of a table.

use std::collections::BTreeSet;

/// Deadlines of numbered slots. A slot is armed at most once, and may be armed too early: who finds a slot due looks
/// whether it is, and arms it again. So a lease that is renewed or released costs nothing here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    armed: Vec<u64>,
    order: BTreeSet<(u64, usize)>,
}

impl Due {
    /// Sees to it that the slot is found due at `at_ms`, or earlier.
    pub(super) fn arm(&mut self, slot: usize, at_ms: u64) {
        if self.armed.len() <= slot {
            self.armed.resize(slot + 1, u64::MAX);
        }
        let Some(armed) = self.armed.get_mut(slot).filter(|armed| at_ms < **armed) else { return };
        if *armed != u64::MAX {
            self.order.remove(&(*armed, slot));
        }
        *armed = at_ms;
        self.order.insert((at_ms, slot));
    }

    /// Takes a slot that is due, or was once thought to be.
    pub(super) fn take(&mut self, now_ms: u64) -> Option<usize> {
        let (at_ms, slot) = *self.order.first()?;
        if at_ms > now_ms {
            return None;
        }
        self.order.pop_first();
        if let Some(armed) = self.armed.get_mut(slot) {
            *armed = u64::MAX;
        }
        Some(slot)
    }

    /// When the next slot may be due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.order.first().map(|(at_ms, _)| *at_ms)
    }
}
