//! The core of a spatial map: what stands where, found by place, and who watches which part (FGMV-28 7.3).
//!
//! Without clock and I/O. The actor of a metaverse system holds maps; a host or a bench can hold one alone.

mod places;
mod watches;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use rstar::{AABB, PointDistance, RTree, RTreeObject};
use twinway_protocol::{
    EntryId,
    spatial::{EntryFacts, Place, PlaceQuery, Placed, Point, Region, Viewer},
};

pub(crate) use places::Places;
pub use watches::Watches;

/// How far something may move from where the tree has it before the tree is changed, in metres. Most moves are small:
/// they cost a look-up, and a question looks at a little more than it needs to.
const LOOSE_M: f64 = 2.0;

/// The box in which the tree has an entry.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Loose {
    slot: u32,
    middle: Point,
}

impl RTreeObject for Loose {
    type Envelope = AABB<[f64; 3]>;
    fn envelope(&self) -> Self::Envelope {
        let Point { x, y, z } = self.middle;
        AABB::from_corners([x - LOOSE_M, y - LOOSE_M, z - LOOSE_M], [x + LOOSE_M, y + LOOSE_M, z + LOOSE_M])
    }
}

impl PointDistance for Loose {
    /// The square of the least distance that the entry can have.
    fn distance_2(&self, point: &[f64; 3]) -> f64 {
        let beyond = |from: f64, to: f64| ((from - to).abs() - LOOSE_M).max(0.0);
        let [x, y, z] = *point;
        let (x, y, z) = (beyond(x, self.middle.x), beyond(y, self.middle.y), beyond(z, self.middle.z));
        x * x + y * y + z * z
    }
}

/// An entry in its slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// What it is.
    pub facts: Arc<EntryFacts>,
    /// Where it is.
    pub placed: Placed,
    /// Where the tree has it.
    middle: Point,
}

/// What came of a new location.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moved {
    /// The entry is there now; it was here before.
    From(Point),
    /// It is older than what the map knows, and changed nothing (FGMV-28 7.3.2).
    Older,
}

/// Entries in space. An entry keeps the slot that it was given as long as it stands.
#[derive(Clone, Debug, Default)]
pub struct Index {
    slots: Vec<Option<Slot>>,
    /// The slots below the end that nobody has.
    vacant: BTreeSet<u32>,
    by_id: BTreeMap<EntryId, u32>,
    tree: RTree<Loose>,
}

impl Index {
    /// An index of `entries`, in slots from 0 on: faster than to put them one by one. Of two with one id the last stays.
    #[must_use]
    pub fn of(entries: impl IntoIterator<Item = (EntryFacts, Placed)>) -> Self {
        let entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.0.id.clone(), entry)).collect();
        let mut index = Self::default();
        let mut loose = Vec::with_capacity(entries.len());
        for (slot, (id, (facts, placed))) in (0..).zip(entries) {
            let middle = placed.pose.local;
            index.by_id.insert(id, slot);
            index.slots.push(Some(Slot { facts: Arc::new(facts), placed, middle }));
            loose.push(Loose { slot, middle });
        }
        index.tree = RTree::bulk_load(loose);
        index
    }

    /// How many entries stand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The slot of an entry.
    #[must_use]
    pub fn slot_of(&self, id: &EntryId) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// The entry in a slot.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The slot that an entry has, or that a new one will be given.
    #[must_use]
    pub fn slot_for(&self, id: &EntryId) -> u32 {
        self.slot_of(id).or_else(|| self.vacant.first().copied()).unwrap_or_else(|| self.slots_end())
    }

    /// One more than the highest slot that was ever given.
    #[must_use]
    pub fn slots_end(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Puts an entry into a slot, in place of what was there, and gives that back. The place must be finite.
    pub fn put(&mut self, slot: u32, facts: Arc<EntryFacts>, placed: Placed) -> Option<Slot> {
        let before = self.remove(slot);
        while self.slots.len() <= slot as usize {
            // A replay may bring slots in any order.
            self.vacant.insert(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
            self.slots.push(None);
        }
        self.vacant.remove(&slot);
        let middle = placed.pose.local;
        self.by_id.insert(facts.id.clone(), slot);
        self.tree.insert(Loose { slot, middle });
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(Slot { facts, placed, middle });
        }
        before
    }

    /// Takes the entry of a slot away.
    pub fn remove(&mut self, slot: u32) -> Option<Slot> {
        let entry = self.slots.get_mut(slot as usize)?.take()?;
        self.vacant.insert(slot);
        self.by_id.remove(&entry.facts.id);
        self.tree.remove(&Loose { slot, middle: entry.middle });
        Some(entry)
    }

    /// Moves the entry of a slot, unless what it says is older than what the map knows. `None`: nobody has the slot.
    pub fn relocate(&mut self, slot: u32, placed: Placed) -> Option<Moved> {
        let entry = self.slots.get_mut(slot as usize)?.as_mut()?;
        if placed.is_older_than(&entry.placed) {
            return Some(Moved::Older);
        }
        let (before, now) = (entry.placed.pose.local, placed.pose.local);
        entry.placed = placed;
        let (middle, far) = (entry.middle, |a: f64, b: f64| (a - b).abs() > LOOSE_M);
        if far(now.x, middle.x) || far(now.y, middle.y) || far(now.z, middle.z) {
            entry.middle = now;
            self.tree.remove(&Loose { slot, middle });
            self.tree.insert(Loose { slot, middle: now });
        }
        Some(Moved::From(before))
    }

    /// What a question finds among what `sees` lets through, with the squares of the distances: the nearest first; in a
    /// box, by id.
    pub fn find(&self, query: &PlaceQuery, sees: impl Fn(Point) -> bool) -> Vec<(f64, &Slot)> {
        let fits = |slot: &Slot| {
            let facts = &slot.facts;
            (query.classes.is_empty() || query.classes.contains(&facts.class))
                && (query.services.is_empty()
                    || facts.services.iter().any(|service| query.services.contains(&service.operation)))
                && sees(slot.placed.pose.local)
        };
        match query.place {
            Place::Near(near, radius) => self.nearest(near, radius * radius, query.limit, fits),
            Place::Within(bounds) => {
                let envelope = AABB::from_corners(bounds.min.array(), bounds.max.array());
                let inside = self.tree.locate_in_envelope_intersecting(envelope);
                let entries = inside.filter_map(|loose| self.get(loose.slot));
                let mut found: Vec<_> = entries
                    .filter(|slot| bounds.contains(slot.placed.pose.local) && fits(slot))
                    .map(|slot| (0.0, slot))
                    .collect();
                found.sort_by(|a, b| a.1.facts.id.cmp(&b.1.facts.id));
                found.truncate(query.limit);
                found
            }
        }
    }

    fn nearest(&self, near: Point, radius_2: f64, limit: usize, fits: impl Fn(&Slot) -> bool) -> Vec<(f64, &Slot)> {
        let mut found: Vec<(f64, &Slot)> = Vec::new();
        // The tree gives the least distance that each can have, in rising order: the true one may be larger.
        for (loose, least) in self.tree.nearest_neighbor_iter_with_distance_2(near.array()) {
            let worst = found.get(limit.wrapping_sub(1)).map_or(radius_2, |last| last.0);
            if least > worst.min(radius_2) {
                break;
            }
            let Some(slot) = self.get(loose.slot) else { continue };
            let distance = near.distance_2(slot.placed.pose.local);
            if distance > radius_2 || distance > worst || !fits(slot) {
                continue;
            }
            let rank = |other: &(f64, &Slot)| {
                other.0.total_cmp(&distance).then_with(|| other.1.facts.id.cmp(&slot.facts.id)).is_lt()
            };
            found.insert(found.partition_point(rank), (distance, slot));
            found.truncate(limit);
        }
        found
    }

    /// Entries with ids after `after`, in their order.
    pub fn after(&self, after: Option<&EntryId>) -> impl Iterator<Item = &Slot> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.by_id.range::<EntryId, _>((from, Bound::Unbounded));
        ids.filter_map(|(_, slot)| self.get(*slot))
    }

    /// The entries of these slots, with their slots.
    pub fn in_slots(&self, slots: std::ops::Range<u32>) -> impl Iterator<Item = (u32, &Slot)> {
        slots.filter_map(|slot| Some((slot, self.get(slot)?)))
    }
}

/// Whether a viewer may see what is at a place.
#[must_use]
pub fn sees(regions: &[Region], viewer: &Viewer, at: Point) -> bool {
    !regions.iter().any(|region| region.bounds.contains(at) && hides(region, viewer))
}

/// Whether a viewer may not see what is in a region.
pub(crate) fn hides(region: &Region, viewer: &Viewer) -> bool {
    match viewer {
        Viewer::Owner => false,
        Viewer::User(user) => !region.visible_to.contains(user),
        Viewer::ThirdParty => true,
    }
}

#[cfg(test)]
mod tests;
