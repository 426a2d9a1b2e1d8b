//! Who names which observation: the actors whose records do, and uploads that are about to be written down.

use std::collections::{BTreeMap, BTreeSet};

use twinway_protocol::{EntityId, spatial::ObservationId};

#[derive(Debug, Default)]
struct Named {
    by: BTreeSet<EntityId>,
    /// Uploads that are under way: nobody may have written them down yet.
    uploads: usize,
}

/// Who names what, and what nobody names any more.
#[derive(Debug, Default)]
pub(super) struct Names {
    named: BTreeMap<ObservationId, Named>,
    due: BTreeSet<ObservationId>,
    /// Before every actor has said what it names, nothing is taken away.
    is_complete: bool,
}

impl Names {
    pub(super) fn change(&mut self, by: EntityId, held: Vec<ObservationId>, released: Vec<ObservationId>) {
        for id in held {
            self.named.entry(id).or_default().by.insert(by);
        }
        for id in released {
            if let Some(named) = self.named.get_mut(&id) {
                named.by.remove(&by);
            }
            self.settle(id);
        }
    }

    pub(super) fn is_named_by(&self, by: EntityId, id: &ObservationId) -> bool {
        self.named.get(id).is_some_and(|named| named.by.contains(&by))
    }

    /// An upload has these bytes, and they are about to be kept.
    pub(super) fn pin(&mut self, id: &ObservationId) {
        self.named.entry(id.clone()).or_default().uploads += 1;
    }

    /// The upload is written down, or given up.
    pub(super) fn unpin(&mut self, id: &ObservationId) {
        if let Some(named) = self.named.get_mut(id) {
            named.uploads = named.uploads.saturating_sub(1);
        }
        self.settle(id.clone());
    }

    fn settle(&mut self, id: ObservationId) {
        let named = self.named.get(&id);
        if named.is_none_or(|named| named.by.is_empty() && named.uploads == 0) {
            self.named.remove(&id);
            self.due.insert(id);
        }
    }

    /// Every actor has said what it names, and this is kept.
    pub(super) fn begin(&mut self, stored: Vec<ObservationId>) {
        self.is_complete = true;
        self.due.extend(stored);
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_complete && !self.due.is_empty()
    }

    /// Something that nobody names.
    pub(super) fn take_due(&mut self) -> Option<ObservationId> {
        if !self.is_complete {
            return None;
        }
        while let Some(id) = self.due.pop_first() {
            // Somebody may name it since.
            if !self.named.contains_key(&id) {
                return Some(id);
            }
        }
        None
    }

    pub(super) fn still_due(&mut self, id: ObservationId) {
        self.due.insert(id);
    }
}
