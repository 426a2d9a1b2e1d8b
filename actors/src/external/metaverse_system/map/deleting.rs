//! Deleting maps, and what twin systems take off them (FGMV-28 7.3.1).

use std::collections::BTreeSet;

use serde::Serialize;
use twinway_protocol::{
    EntryId, MapId, Out, Problem, ProblemKind, UserId,
    message::{DeleteMap, Kept, NotifyUser, TakeTwinOffMap},
};

use super::{
    super::{Record, document},
    MapRecord, Maps, MetaverseSystem, PART_SLOTS, event,
    locating::Devices,
    part_of, structure,
};

/// What is told of a map that is no more.
#[derive(Serialize)]
struct MapDeleted<'m> {
    map: &'m MapId,
}

impl Maps {
    /// A metaverse system deletes a map of its own. Who watched it, let it follow a twin or recorded something for it is told.
    pub(in super::super) fn delete(
        &mut self,
        message: &DeleteMap,
        devices: &Devices,
        out: &mut Out<'_, MetaverseSystem>,
    ) -> Result<Kept, Problem> {
        let (number, kept, definition) = self.kept(&message.map)?;
        let id = definition.id.clone();
        let mut users: BTreeSet<UserId> = kept.watches.iter().filter_map(|(_, watch)| watch.user.clone()).collect();
        users.extend(kept.observed.keys().map(|(_, user)| user.clone()));
        let parts = kept.index.slots_end().div_ceil(PART_SLOTS);
        for twin in self.located_on(number) {
            users.extend(self.located.get(&twin).and_then(|on| on.get(&number)).map(|location| location.user.clone()));
            // DTAC need not tell of its permission any more, unless another map follows it.
            self.unlocate(number, &twin, out);
        }
        for from in (0..parts).map(|part| part * PART_SLOTS) {
            // Taken over at once with the map, below.
            out.record(part_of(number, from), Record::Map(MapRecord::Cleared { map: number, from }));
        }
        self.keep(structure(number), MapRecord::Deleted { map: number }, out);
        let data = document(&MapDeleted { map: &id });
        for device in users.iter().filter_map(|user| devices.get(user)) {
            out.send(*device, NotifyUser { event: "map.deleted", data: data.clone() });
        }
        event("map.deleted", id.to_string(), data, out);
        Ok(Kept)
    }

    pub(super) fn replay_cleared(&mut self, map: u32, from: u32) {
        let Some(kept) = self.by_number.get_mut(&map) else { return };
        for slot in from..from.saturating_add(PART_SLOTS) {
            let entry = kept.index.remove(slot);
            self.references.end(entry.and_then(|entry| entry.facts.observation.clone()).as_ref());
        }
        // The map's own part may have been read before this one.
        if kept.definition.is_none() && kept.index.is_empty() {
            self.by_number.remove(&map);
        }
    }

    pub(super) fn replay_deleted(&mut self, map: u32) {
        self.numbers.retain(|_, number| *number != map);
        self.suspended.retain(|(_, on)| *on != map);
        self.located.retain(|_, on| {
            on.remove(&map);
            !on.is_empty()
        });
        let Some(kept) = self.by_number.remove(&map) else { return };
        for slot in kept.index.after(None) {
            self.references.end(slot.facts.observation.as_ref());
        }
        for (id, _) in kept.observed.keys() {
            self.references.end(Some(id));
        }
    }

    /// A twin system takes a twin of its own off a map for which it was asked to make twins.
    pub(in super::super) fn take_twin_off(
        &mut self,
        message: &TakeTwinOffMap,
        devices: &Devices,
        out: &mut Out<'_, MetaverseSystem>,
    ) -> Result<Kept, Problem> {
        let (_, kept, _) = self.kept(&message.map)?;
        if !message.system.as_ref().is_some_and(|system| kept.invited.contains(system)) {
            let detail = format!("nobody asked this system for twins for `{}`", message.map);
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        self.take_off(&message.map, &EntryId::from(&message.twin), devices, out)
    }
}
