//! Who watches which part of a map.

use std::collections::BTreeMap;

use rstar::{AABB, RTree, RTreeObject};
use twinway_protocol::spatial::{Bounds, ChangeKind, Point, Region, Viewer, WatchDocument};

use super::sees;

/// The part of a map that a watch is for, as the tree has it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    watch: u32,
    bounds: Bounds,
}

impl RTreeObject for Part {
    type Envelope = AABB<[f64; 3]>;
    fn envelope(&self) -> Self::Envelope {
        AABB::from_corners(self.bounds.min.array(), self.bounds.max.array())
    }
}

/// The watches of one map.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    by_number: BTreeMap<u32, (WatchDocument, Viewer)>,
    tree: RTree<Part>,
    /// The number that the next one is given: none comes twice, so that nobody takes an old one's events for a new one's.
    next: u32,
}

impl Watches {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// The number that the next one is to be given.
    #[must_use]
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Takes a watch in.
    pub fn insert(&mut self, watch: u32, document: WatchDocument) {
        self.remove(watch);
        self.next = self.next.max(watch.saturating_add(1));
        self.tree.insert(Part { watch, bounds: document.bounds });
        let viewer = document.user.clone().map_or(Viewer::Owner, Viewer::User);
        self.by_number.insert(watch, (document, viewer));
    }

    /// Lets a watch go; gives what it was.
    pub fn remove(&mut self, watch: u32) -> Option<WatchDocument> {
        // A replay must not give its number again.
        self.next = self.next.max(watch.saturating_add(1));
        let (document, _) = self.by_number.remove(&watch)?;
        self.tree.remove(&Part { watch, bounds: document.bounds });
        Some(document)
    }

    /// A watch by its number.
    #[must_use]
    pub fn get(&self, watch: u32) -> Option<&WatchDocument> {
        self.by_number.get(&watch).map(|(document, _)| document)
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &WatchDocument)> {
        self.by_number.iter().map(|(number, (document, _))| (*number, document))
    }

    /// Tells `told` of every watch that notices something that was at `before` and is at `now`: what it notices.
    pub fn noticed(
        &self,
        regions: &[Region],
        before: Option<Point>,
        now: Option<Point>,
        mut told: impl FnMut(u32, ChangeKind),
    ) {
        let shows = |part: &Part, at: Option<Point>| {
            let Some(at) = at.filter(|at| part.bounds.contains(*at)) else { return false };
            regions.is_empty() || self.by_number.get(&part.watch).is_some_and(|(_, viewer)| sees(regions, viewer, at))
        };
        let around = |at: Point| self.tree.locate_in_envelope_intersecting(AABB::from_point(at.array()));
        for part in now.map(around).into_iter().flatten() {
            match (shows(part, before), shows(part, now)) {
                (true, true) => told(part.watch, ChangeKind::Moved),
                (false, true) => told(part.watch, ChangeKind::Entered),
                (true, false) => told(part.watch, ChangeKind::Left),
                (false, false) => {}
            }
        }
        for part in before.map(around).into_iter().flatten() {
            // Those that still have it within were told above.
            let within = now.is_some_and(|now| part.bounds.contains(now));
            if !within && shows(part, before) {
                told(part.watch, ChangeKind::Left);
            }
        }
    }
}
