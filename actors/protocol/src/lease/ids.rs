//! Request ids: which claim each of them names, as long as it lives, and for a while after it has ended.
//!
//! Ids are known far longer than most claims live, so what has ended is kept apart and short, in the order in which it
//! ended: places of claims are used again while they are still near the processor.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use hashbrown::HashTable;
use slab::Slab;

use super::{
    ClaimRecord, Claimant, End, Manner, Objects, RequestId,
    claim::{Claim, Key, ORDER_OF_REQUESTS},
};
use crate::{EntityId, time::Timestamp};

/// How many claims and ended claims can be told apart, whatever the limits say.
pub(super) const PLACES_MAX: usize = 1 << 31;
const OF_ENDED: u32 = 1 << 31;

/// What an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A claim of the table.
    Live(Key),
    /// One that ended, by its number.
    Ended(u64),
}

/// A claim that has ended and whose id is still known: what the same request asked again is answered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) id: RequestId,
    pub(super) who: Arc<Claimant>,
    pub(super) objects: Objects,
    pub(super) system: EntityId,
    pub(super) arrival: u64,
    /// Until when its id is known, on the monotonic clock.
    until_ms: u64,
    /// The number of the one before it on its first object; none such: one that is forgotten.
    before: u64,
    pub(super) end: End,
}

impl Ended {
    /// What is left of it, for a snapshot.
    fn record(&self) -> ClaimRecord {
        ClaimRecord {
            arrival: self.arrival,
            order: self.arrival | ORDER_OF_REQUESTS,
            system: self.system,
            id: Some(self.id),
            who: Arc::clone(&self.who),
            objects: self.objects.clone(),
            ttl_ms: 0,
            wait_ms: 0,
            wait_until: Timestamp::default(),
            manner: Manner::default(),
            reserved_until: None,
        }
    }
}

/// An id by its hash, with what it names; the id itself stands there.
#[derive(Clone, Copy, Debug)]
struct Known {
    hash: u32,
    place: u32,
}

/// Half of a hash is enough to choose a place by, and to grow the map without a look at any claim.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// How a claim of the table is written.
const fn live(key: Key) -> u32 {
    key as u32
}

/// How one that ended is written: the rest of its number is known from those that are kept.
const fn ended(number: u64) -> u32 {
    number as u32 | OF_ENDED
}

/// All ids that are known.
#[derive(Clone, Default)]
pub(super) struct Ids {
    places: HashTable<Known>,
    /// Ids come from outside: nobody there can foretell which of them meet.
    hasher: RandomState,
    /// Other ids of claims, under which their holders came back after a restart.
    aliases: BTreeMap<u32, Vec<RequestId>>,
    ended: VecDeque<Ended>,
    /// The number of the first in `ended`.
    first: u64,
}

impl fmt::Debug for Ids {
    /// What follows from the claims, in an order that is chance, is left out: equal tables look the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { places: _, hasher: _, aliases, ended, first } = self;
        f.debug_struct("Ids").field("aliases", aliases).field("ended", ended).field("first", first).finish()
    }
}

impl Ids {
    pub(super) fn hash(&self, system: EntityId, id: RequestId) -> u32 {
        self.hasher.hash_one((system, id)) as u32
    }

    fn named(&self, place: u32) -> Named {
        if place & OF_ENDED == 0 {
            return Named::Live(place as Key);
        }
        let behind = (place & !OF_ENDED).wrapping_sub(ended(self.first) & !OF_ENDED) & !OF_ENDED;
        Named::Ended(self.first + u64::from(behind))
    }

    /// Whether what stands at `place` is known by this id.
    fn is_named(&self, place: u32, claims: &Slab<Claim>, system: EntityId, id: RequestId) -> bool {
        let its = match self.named(place) {
            Named::Live(key) => claims.get(key).map(|claim| (claim.system, claim.id)),
            Named::Ended(number) => self.ended(number).map(|ended| (ended.system, Some(ended.id))),
        };
        its.is_some_and(|(of, own)| {
            of == system && (own == Some(id) || self.aliases.get(&place).is_some_and(|others| others.contains(&id)))
        })
    }

    /// What an id names. `hash` is [`Ids::hash`] of it.
    pub(super) fn find(&self, hash: u32, claims: &Slab<Claim>, system: EntityId, id: RequestId) -> Option<Named> {
        let same = |known: &Known| known.hash == hash && self.is_named(known.place, claims, system, id);
        self.places.find(spread(hash), same).map(|known| self.named(known.place))
    }

    /// Lets an id name a claim, whatever it named before.
    pub(super) fn insert(&mut self, hash: u32, claims: &Slab<Claim>, system: EntityId, id: RequestId, key: Key) {
        let place = live(key);
        let known = self.find(hash, claims, system, id).map(|named| match named {
            Named::Live(key) => live(key),
            Named::Ended(number) => ended(number),
        });
        match known {
            Some(from) => self.rename(hash, from, place),
            None => {
                self.places.insert_unique(spread(hash), Known { hash, place }, |known| spread(known.hash));
            }
        }
    }

    /// Another id of a claim that has one.
    pub(super) fn alias(&mut self, key: Key, id: RequestId) {
        self.aliases.entry(live(key)).or_default().push(id);
    }

    fn rename(&mut self, hash: u32, from: u32, to: u32) {
        let same = |known: &Known| known.hash == hash && known.place == from;
        if let Some(known) = self.places.find_mut(spread(hash), same) {
            known.place = to;
        }
    }

    fn take_out(&mut self, hash: u32, place: u32) {
        let same = |known: &Known| known.hash == hash && known.place == place;
        if let Ok(known) = self.places.find_entry(spread(hash), same) {
            known.remove();
        }
    }

    /// A claim goes, and all its ids.
    pub(super) fn remove(&mut self, key: Key, claim: &Claim) {
        if claim.id.is_some() {
            self.take_out(claim.id_hash, live(key));
        }
        for id in self.aliases.remove(&live(key)).into_iter().flatten() {
            self.take_out(self.hash(claim.system, id), live(key));
        }
    }

    /// A claim has ended, and was taken out of the table: its ids are known until `until_ms`. `before` is what the one
    /// before it on its first object was given. Gives its number; nothing is kept of a claim without an id.
    pub(super) fn end(&mut self, key: Key, claim: Claim, end: End, until_ms: u64, before: u64) -> Option<u64> {
        let Claim { id: Some(id), id_hash, who, objects, system, arrival, .. } = claim else { return None };
        let number = self.first + self.ended.len() as u64;
        self.rename(id_hash, live(key), ended(number));
        if let Some(others) = self.aliases.remove(&live(key)) {
            for id in &others {
                self.rename(self.hash(system, *id), live(key), ended(number));
            }
            self.aliases.insert(ended(number), others);
        }
        self.ended.push_back(Ended { id, who, objects, system, arrival, until_ms, before, end });
        Some(number)
    }

    /// One that has ended, by its number.
    pub(super) fn ended(&self, number: u64) -> Option<&Ended> {
        self.ended.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// How many have ended.
    pub(super) fn ended_len(&self) -> usize {
        self.ended.len()
    }

    /// Until when the first of those that ended is known.
    pub(super) fn first_until_ms(&self) -> Option<u64> {
        self.ended.front().map(|first| first.until_ms)
    }

    /// The first of those that ended is known no more.
    pub(super) fn forget_first(&mut self) {
        let Some(gone) = self.ended.pop_front() else { return };
        let place = ended(self.first);
        self.first += 1;
        self.take_out(self.hash(gone.system, gone.id), place);
        for id in self.aliases.remove(&place).into_iter().flatten() {
            self.take_out(self.hash(gone.system, id), place);
        }
    }

    /// What has ended on an object whose last such one has this number, the first to end first.
    pub(super) fn records(&self, last: u64) -> Vec<(ClaimRecord, End)> {
        let mut records = Vec::new();
        let mut next = self.ended(last);
        while let Some(ended) = next {
            records.push((ended.record(), ended.end));
            next = self.ended(ended.before);
        }
        records.reverse();
        records
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use slab::Slab;

    use super::{Ids, Named, OF_ENDED};
    use crate::{
        EntityId,
        lease::{
            ClaimRecord, Claimant, End, Holder, HolderClass, Manner, Objects, RequestId, Terms, Wanted,
            claim::{Claim, Key},
            object::NEVER_ENDED,
        },
        time::{Now, Timestamp},
    };

    const SYSTEM: EntityId = EntityId::new(7, 0, 1);

    fn claim(arrival: u64) -> Claim {
        let holder = Holder {
            user: "ada".parse().expect("a name"),
            world: "lab".parse().expect("a name"),
            system: "lab".parse().expect("a name"),
            class: HolderClass::Person,
        };
        let object = EntityId::new(9, 0, 3);
        let record = ClaimRecord {
            arrival,
            order: arrival,
            system: SYSTEM,
            id: Some(RequestId(u128::from(arrival))),
            who: Arc::new(Claimant { holder, role: None, claimed: None, twins: Box::default() }),
            objects: Objects::One(Wanted { object, priority: 1, terms: Terms::default() }),
            ttl_ms: 1,
            wait_ms: 0,
            wait_until: Timestamp::default(),
            manner: Manner::default(),
            reserved_until: None,
        };
        Claim::of(&record, Now::default())
    }

    /// A table's claims and ids, without the rest of it.
    struct Small(Slab<Claim>, Ids);

    impl Small {
        fn begin(&mut self, arrival: u64) -> Key {
            let id = RequestId(u128::from(arrival));
            let hash = self.1.hash(SYSTEM, id);
            let key = self.0.insert(Claim { id_hash: hash, ..claim(arrival) });
            self.1.insert(hash, &self.0, SYSTEM, id, key);
            key
        }

        fn end(&mut self, key: Key, before: u64) -> u64 {
            let claim = self.0.remove(key);
            self.1.end(key, claim, End::Released, 10, before).expect("it has an id")
        }

        fn find(&self, id: u64) -> Option<Named> {
            let id = RequestId(u128::from(id));
            self.1.find(self.1.hash(SYSTEM, id), &self.0, SYSTEM, id)
        }
    }

    #[test]
    fn ids_are_told_apart_where_the_numbers_of_what_ended_begin_anew_in_their_short_form() {
        let mut small = Small(Slab::new(), Ids { first: u64::from(OF_ENDED) - 2, ..Ids::default() });
        let mut before = NEVER_ENDED;
        for arrival in 1..=4 {
            let key = small.begin(arrival);
            assert_eq!((key, small.find(arrival)), (0, Some(Named::Live(0))), "its place is used again");
            before = small.end(key, before);
        }
        let number = |id| match small.find(id) {
            Some(Named::Ended(number)) => small.1.ended(number).map(|ended| ended.arrival),
            other => panic!("{other:?}"),
        };
        assert_eq!((1..=4).map(number).collect::<Vec<_>>(), (1..=4).map(Some).collect::<Vec<_>>());
        let arrivals = |records: Vec<(ClaimRecord, End)>| records.iter().map(|(record, _)| record.arrival).collect();
        let kept: Vec<u64> = arrivals(small.1.records(before));
        assert_eq!(kept, [1, 2, 3, 4], "in the order in which they ended");
        small.1.forget_first();
        small.1.forget_first();
        small.1.forget_first();
        assert_eq!((1..=3).filter_map(|id| small.find(id)).count(), 0);
        let kept: Vec<u64> = arrivals(small.1.records(before));
        assert_eq!(kept, [4], "what is forgotten is not gone back to");
    }

    #[test]
    fn another_id_of_a_claim_names_it_as_long_as_its_own_does() {
        let mut small = Small(Slab::new(), Ids::default());
        let key = small.begin(1);
        let other = RequestId(2);
        small.1.alias(key, other);
        small.1.insert(small.1.hash(SYSTEM, other), &small.0.clone(), SYSTEM, other, key);
        assert_eq!(small.find(2), Some(Named::Live(key)));
        let number = small.end(key, NEVER_ENDED);
        // Somebody else has its place in the table.
        small.begin(3);
        assert_eq!((small.find(1), small.find(2)), (Some(Named::Ended(number)), Some(Named::Ended(number))));
        small.1.forget_first();
        assert_eq!((small.find(1), small.find(2), small.find(3)), (None, None, Some(Named::Live(key))));
    }
}
