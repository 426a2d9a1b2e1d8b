//! Finds numbers by numbers: a table with open addressing, whose order nobody can see.

use std::hash::{BuildHasher, RandomState};

/// From a key to a number that is not 0.
#[derive(Debug)]
pub(super) struct Index {
    /// Key and number; the number 0 is a free place. As many as a power of two.
    places: Vec<(u64, u32)>,
    used: usize,
    /// A bad trace may choose its ids so that they meet, so they are mixed with a number that differs from run to run.
    /// Nothing that is told depends on it.
    key: u64,
}

const PLACES_MIN: usize = 64;
/// So many keys in a row, which are the events of one actor in a row, have their homes in a row: two lines of the
/// processor's cache, in which the next event and the one before it are found again.
const ROW: u64 = 8;

impl Index {
    pub(super) fn new() -> Self {
        Self { places: vec![(0, 0); PLACES_MIN], used: 0, key: RandomState::new().hash_one(0_u64) }
    }

    /// Takes every key out.
    pub(super) fn clear(&mut self) {
        if self.used > 0 {
            self.places.fill((0, 0));
            self.used = 0;
        }
    }

    fn home(&self, key: u64) -> usize {
        // The two halves of a product together depend on every bit of both numbers.
        let product = u128::from((key / ROW) ^ self.key) * u128::from(self.key.rotate_left(32) | 1);
        let row = ((product >> 64) as u64) ^ (product as u64);
        (row.wrapping_mul(ROW) | (key % ROW)) as usize & (self.places.len() - 1)
    }

    /// The place of a key, or the free place where it would be.
    #[inline]
    fn place(&self, key: u64) -> usize {
        let mut at = self.home(key);
        while let Some(&(known, number)) = self.places.get(at) {
            if number == 0 || known == key {
                break;
            }
            at = (at + 1) & (self.places.len() - 1);
        }
        at
    }

    #[inline]
    pub(super) fn get(&self, key: u64) -> Option<u32> {
        let (_, number) = self.places.get(self.place(key)).copied()?;
        (number != 0).then_some(number)
    }

    /// Puts a key in, unless it is there; tells whether it was not.
    #[inline]
    pub(super) fn insert(&mut self, key: u64, number: u32) -> bool {
        if self.used * 4 >= self.places.len() * 3 {
            self.grow();
        }
        let at = self.place(key);
        match self.places.get_mut(at) {
            Some(place) if place.1 == 0 => {
                *place = (key, number);
                self.used += 1;
                true
            }
            _ => false,
        }
    }

    /// Takes a key out.
    #[inline]
    pub(super) fn remove(&mut self, key: u64) {
        let mut free = self.place(key);
        if self.places.get(free).is_none_or(|place| place.1 == 0) {
            return;
        }
        self.used -= 1;
        // What stands behind the gap moves up, unless it is nearer to its home than the gap is.
        let mask = self.places.len() - 1;
        let mut at = free;
        loop {
            at = (at + 1) & mask;
            let Some(&moved) = self.places.get(at).filter(|place| place.1 != 0) else { break };
            let home = self.home(moved.0);
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(free) & mask) {
                if let Some(place) = self.places.get_mut(free) {
                    *place = moved;
                }
                free = at;
            }
        }
        if let Some(place) = self.places.get_mut(free) {
            *place = (0, 0);
        }
    }

    fn grow(&mut self) {
        let more = vec![(0, 0); self.places.len() * 2];
        let old = std::mem::replace(&mut self.places, more);
        self.used = 0;
        for (key, number) in old.into_iter().filter(|place| place.1 != 0) {
            self.insert(key, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::Index;

    proptest! {
        #[test]
        fn it_finds_what_a_map_finds(turns in prop::collection::vec((0_u64..400, any::<bool>()), 0..2_000)) {
            let (mut index, mut map) = (Index::new(), BTreeMap::new());
            for (nth, (key, puts)) in turns.into_iter().enumerate() {
                let key = key << 40 | 7;
                if puts {
                    let new = !map.contains_key(&key);
                    prop_assert_eq!(index.insert(key, nth as u32 + 1), new);
                    map.entry(key).or_insert(nth as u32 + 1);
                } else {
                    index.remove(key);
                    map.remove(&key);
                }
                prop_assert_eq!(index.used, map.len());
            }
            for key in (0..400).map(|key: u64| key << 40 | 7) {
                prop_assert_eq!(index.get(key), map.get(&key).copied());
            }
        }
    }
}
