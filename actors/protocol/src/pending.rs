//! The table of questions that an entity has asked and not yet heard back on.

use slab::Slab;

use crate::PendingKey;

/// Questions that wait for an answer, by key. A key is used once: after [`Pending::take`] it finds nothing,
/// even when its slot has been given to another question.
#[derive(Debug)]
pub struct Pending<T> {
    slots: Slab<(u32, T)>,
    generation: u32,
    limit: usize,
}

impl<T> Pending<T> {
    /// An empty table that holds at most `limit` questions, and counts its keys from `incarnation` on.
    #[must_use]
    pub fn new(limit: usize, incarnation: u32) -> Self {
        Self { slots: Slab::new(), generation: incarnation, limit }
    }

    /// Keeps `entry` and gives its key.
    ///
    /// # Errors
    /// Gives `entry` back, the table unchanged, when `limit` questions are waiting already.
    pub fn insert(&mut self, entry: T) -> Result<PendingKey, T> {
        if self.slots.len() >= self.limit {
            return Err(entry);
        }
        // One counter for all slots: a key comes again only after 2^32 questions.
        self.generation = self.generation.wrapping_add(1);
        let slot = self.slots.insert((self.generation, entry));
        Ok(PendingKey::of(u32::try_from(slot).unwrap_or(u32::MAX), self.generation))
    }

    /// The entry, if it still waits.
    pub fn get_mut(&mut self, key: PendingKey) -> Option<&mut T> {
        match self.slots.get_mut(key.slot()) {
            Some((generation, entry)) if *generation == key.generation() => Some(entry),
            _ => None,
        }
    }

    /// Takes the entry out, if it still waits.
    pub fn take(&mut self, key: PendingKey) -> Option<T> {
        self.get_mut(key)?;
        self.slots.try_remove(key.slot()).map(|(_, entry)| entry)
    }

    /// Takes every entry out, in the order of their slots.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.slots.drain().map(|(_, entry)| entry)
    }

    /// The entries that wait, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().map(|(_, (_, entry))| entry)
    }

    /// How many questions wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no question waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Pending;

    #[test]
    fn a_key_finds_its_question_once_even_when_the_slot_is_used_again() {
        let mut table = Pending::new(2, 0);
        let first = table.insert("first").expect("there is room");
        assert_eq!(table.take(first), Some("first"));
        let second = table.insert("second").expect("there is room");
        assert_eq!(table.take(first), None);
        assert_eq!(table.take(second), Some("second"));
    }

    #[test]
    fn a_table_of_another_life_has_no_key_of_this_one() {
        let mut before = Pending::new(1, 0);
        let key = before.insert(1).expect("there is room");
        let mut after = Pending::new(1, 99);
        let other = after.insert(2).expect("there is room");
        assert_eq!((after.take(key), after.take(other)), (None, Some(2)));
    }

    #[test]
    fn a_full_table_gives_the_entry_back_and_stays_as_it_was() {
        let mut table = Pending::new(1, 0);
        let key = table.insert(1).expect("there is room");
        assert_eq!(table.insert(2), Err(2));
        assert_eq!(table.take(key), Some(1));
    }
}
