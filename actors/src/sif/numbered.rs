//! What the functions of FGMV-29 8.2 count: authorizations, executions, subscriptions. A number is that of a part of the
//! journal too.

use std::collections::{BTreeMap, BTreeSet};

/// Entries by their numbers: a later one has a higher number than all that there are.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    entries: BTreeMap<u64, T>,
    next: u64,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), next: 0 }
    }
}

impl<T> Numbered<T> {
    /// The number of the next entry.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        self.entries.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.entries.get_mut(&number)
    }

    /// The numbers that there are now.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.entries.keys().copied().collect()
    }

    /// All entries, in the order of their numbers.
    pub(super) fn entries(&self) -> impl Iterator<Item = &T> {
        self.entries.values()
    }

    /// Keeps an entry in place of what had its number.
    pub(super) fn insert(&mut self, number: u64, entry: T) {
        self.passed(number);
        self.entries.insert(number, entry);
    }

    /// Takes an entry out. Its number is not given again.
    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        self.passed(number);
        self.entries.remove(&number)
    }

    fn passed(&mut self, number: u64) {
        self.next = self.next.max(number.saturating_add(1));
    }
}

/// Takes a number out of an index, and with its last number the key.
pub(super) fn take_out<K: Ord>(index: &mut BTreeMap<K, BTreeSet<u64>>, key: &K, number: u64) {
    if let Some(numbers) = index.get_mut(key) {
        numbers.remove(&number);
        if numbers.is_empty() {
            index.remove(key);
        }
    }
}
