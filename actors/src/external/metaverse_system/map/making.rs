//! Making a map (FGMV-28 7.3.1): what it is, what stands on it, and who watches it.

use std::sync::Arc;

use twinway_protocol::{
    Asker, EntryId, MapId, Meta, Out, Problem, ProblemKind, SystemId,
    message::{
        ConstructSpatialMap, DefineMap, Kept, MapWatched, ObservationsRequested, PutMapEntries, RemoveMapEntry,
        RequestObservations, SendSpatialMap, SpatialMapConstructed, UnwatchMap, WatchMap, own,
    },
    spatial::{EntryDocument, EntryFacts, MapDefinition, Placed},
};

use super::{MapRecord, Maps, MetaverseSystem, Told, Waiting, locating::Devices, part_of, structure};
use crate::settings::pending_full;

type Turn<'a, 't> = &'a mut Out<'t, MetaverseSystem>;

fn too_many(limit: &str, max: usize) -> Problem {
    Problem::new(ProblemKind::LimitReached, format!("`{limit}` is {max}"))
}

/// The same problem, at the place of this item of a list.
pub(super) fn item(list: &str, number: usize, problem: Problem) -> Problem {
    let pointer = format!("/{list}/{number}{}", problem.pointer.as_deref().unwrap_or_default());
    problem.at(pointer)
}

impl Maps {
    /// A metaverse system defines a map, or says it anew. The frame of a map stays: what stands on it is in its metres.
    pub(in super::super) fn define(&mut self, message: DefineMap, out: Turn<'_, '_>) -> Result<Kept, Problem> {
        let DefineMap { map, document } = message;
        if document.regions.len() > self.limits.regions {
            return Err(too_many("map_regions_max", self.limits.regions).at("/regions"));
        }
        let definition = MapDefinition::read(map, *document)?;
        let number = match self.kept(&definition.id) {
            Ok((_, kept, before)) if before.frame != definition.frame && !kept.index.is_empty() => {
                let detail = "the map has entries, and they stand where they are from its anchor";
                return Err(Problem::new(ProblemKind::AlreadyRegistered, detail).at("/anchor"));
            }
            Ok((number, ..)) => number,
            Err(_) if self.numbers.len() >= self.limits.maps => return Err(too_many("maps_max", self.limits.maps)),
            Err(_) => self.by_number.last_key_value().map_or(0, |(last, _)| last.saturating_add(1)),
        };
        self.keep(structure(number), MapRecord::Defined { map: number, definition: Arc::new(definition) }, out);
        Ok(Kept)
    }

    /// A metaverse system puts entries on a map: all of them, or none.
    pub(in super::super) fn put(
        &mut self,
        message: PutMapEntries,
        devices: &Devices,
        out: Turn<'_, '_>,
    ) -> Result<Kept, Problem> {
        let number = self.number(&message.map)?;
        let entries = self.read(number, message.entries, out)?;
        self.put_all(number, entries, devices, out);
        Ok(Kept)
    }

    fn read(
        &self,
        number: u32,
        entries: Vec<EntryDocument>,
        out: Turn<'_, '_>,
    ) -> Result<Vec<(EntryFacts, Placed)>, Problem> {
        if entries.len() > self.limits.request_entries {
            return Err(too_many("map_request_entries_max", self.limits.request_entries).at("/entries"));
        }
        let kept = self.by_number.get(&number);
        let Some((kept, definition)) = kept.and_then(|kept| Some((kept, kept.definition.as_ref()?))) else {
            return Err(Problem::new(ProblemKind::MapUnknown, "the map is not defined"));
        };
        let now = out.now().wall;
        let read = entries.into_iter().enumerate();
        let read: Vec<_> = read
            .map(|(at, entry)| entry.read(&definition.frame, now).map_err(|problem| item("entries", at, problem)))
            .collect::<Result<_, _>>()?;
        // Whoever names an observation may read it: only what was recorded for this metaverse system can be named.
        let foreign =
            |(facts, _): &(EntryFacts, Placed)| facts.observation.clone().filter(|id| !self.references.has(id));
        if let Some((at, id)) = read.iter().enumerate().find_map(|(at, entry)| Some((at, foreign(entry)?))) {
            let detail = format!("no observation `{id}` was recorded for this metaverse system");
            return Err(item("entries", at, Problem::new(ProblemKind::ObservationUnknown, detail).at("/observation")));
        }
        let new = read.iter().filter(|(facts, _)| kept.index.slot_of(&facts.id).is_none()).count();
        if kept.index.len() + new > self.limits.entries {
            return Err(too_many("map_entries_max", self.limits.entries).at("/entries"));
        }
        Ok(read)
    }

    fn put_all(&mut self, number: u32, entries: Vec<(EntryFacts, Placed)>, devices: &Devices, out: Turn<'_, '_>) {
        let mut told = Told::default();
        for (facts, mut placed) in entries {
            let Some(kept) = self.by_number.get(&number) else { return };
            let (slot, facts) = (kept.index.slot_for(&facts.id), Arc::new(facts));
            let before = kept.index.get(slot).map(|entry| entry.placed);
            // FGMV-28 7.3.2: what is known of its location stays, if it is newer.
            if let Some(before) = before.filter(|before| placed.is_older_than(before)) {
                placed = before;
            }
            let (from, to) = (before.map(|before| before.pose.local), placed.pose.local);
            told.add(kept, &facts, from, Some(to), &placed);
            self.keep(part_of(number, slot), MapRecord::Put { map: number, slot, facts, placed }, out);
        }
        if let Some(kept) = self.by_number.get(&number) {
            told.tell(kept, devices, out);
        }
    }

    /// A metaverse system takes an entry off.
    pub(in super::super) fn remove(
        &mut self,
        message: &RemoveMapEntry,
        devices: &Devices,
        out: Turn<'_, '_>,
    ) -> Result<Kept, Problem> {
        self.take_off(&message.map, &message.entry, devices, out)
    }

    pub(super) fn take_off(
        &mut self,
        map: &MapId,
        entry: &EntryId,
        devices: &Devices,
        out: Turn<'_, '_>,
    ) -> Result<Kept, Problem> {
        let number = self.number(map)?;
        let unknown = || Problem::new(ProblemKind::MapEntryUnknown, format!("there is no entry `{entry}` on `{map}`"));
        let kept = self.by_number.get(&number).ok_or_else(unknown)?;
        let slot = kept.index.slot_of(entry).ok_or_else(unknown)?;
        let entry = kept.index.get(slot).ok_or_else(unknown)?;
        let mut told = Told::default();
        told.add(kept, &entry.facts, Some(entry.placed.pose.local), None, &entry.placed);
        told.tell(kept, devices, out);
        self.keep(part_of(number, slot), MapRecord::Removed { map: number, slot }, out);
        Ok(Kept)
    }

    /// A metaverse system watches a part of a map.
    pub(in super::super) fn watch(&mut self, message: WatchMap, out: Turn<'_, '_>) -> Result<MapWatched, Problem> {
        let document = message.watch.checked()?;
        let (number, kept, _) = self.kept(&message.map)?;
        if kept.watches.len() >= self.limits.watches {
            return Err(too_many("map_watches_max", self.limits.watches));
        }
        let watch = kept.watches.next();
        self.keep(structure(number), MapRecord::Watched { map: number, watch, document }, out);
        Ok(MapWatched { watch })
    }

    /// It watches it no longer.
    pub(in super::super) fn unwatch(&mut self, message: &UnwatchMap, out: Turn<'_, '_>) -> Result<Kept, Problem> {
        let (number, kept, _) = self.kept(&message.map)?;
        let watch = message.watch;
        if kept.watches.get(watch).is_none() {
            let detail = format!("there is no watch {watch} of `{}`", message.map);
            return Err(Problem::new(ProblemKind::MapEntryUnknown, detail));
        }
        self.keep(structure(number), MapRecord::Unwatched { map: number, watch }, out);
        Ok(Kept)
    }

    /// FGMV-28 7.3.1 step 2.1: the device of a user is to record something for a map.
    pub(in super::super) fn request_observations(
        &mut self,
        meta: &Meta,
        metaverse: Option<SystemId>,
        message: RequestObservations,
        devices: &Devices,
        out: Turn<'_, '_>,
    ) {
        let asker = meta.asker(out.event());
        // Whatever was said: this actor asks for its own system.
        let message = RequestObservations { metaverse: metaverse.unwrap_or(message.metaverse), ..message };
        let device = self.number(&message.map).and_then(|_| {
            let detail = || format!("no device of `{}` is attached", message.user);
            let device = devices.get(&message.user).copied();
            device.ok_or_else(|| Problem::new(ProblemKind::OutsideUnreachable, detail()))
        });
        match device {
            Err(problem) => out.reply(asker, Err(problem)),
            Ok(device) => match self.waiting.insert(Waiting::Requesting(asker, message.clone())) {
                Ok(key) => out.ask(device, message, key),
                Err(Waiting::Requesting(asker, _)) => out.reply(asker, Err(pending_full())),
                Err(_) => {}
            },
        }
    }

    /// The device has it: the twin system may put on the map what it makes of the observations.
    pub(in super::super) fn observations_requested(
        &mut self,
        meta: &Meta,
        answer: Result<ObservationsRequested, Problem>,
        out: Turn<'_, '_>,
    ) {
        if !matches!(self.waiting.get_mut(meta.pending), Some(Waiting::Requesting(..))) {
            return;
        }
        let Some(Waiting::Requesting(asker, message)) = self.waiting.take(meta.pending) else { return };
        if let (Ok(_), Ok(map)) = (&answer, self.number(&message.map)) {
            let system = message.twin_system;
            if self.by_number.get(&map).is_some_and(|kept| !kept.invited.contains(&system)) {
                self.keep(structure(map), MapRecord::Invited { map, system }, out);
            }
        }
        out.reply(asker, answer);
    }

    /// FGMV-28 7.3.1 steps 4 to 6: the twins that a twin system made are put on the map, and the user is sent it.
    pub(in super::super) fn construct(
        &mut self,
        asker: Asker<ConstructSpatialMap>,
        metaverse: Option<&SystemId>,
        message: ConstructSpatialMap,
        devices: &Devices,
        out: Turn<'_, '_>,
    ) {
        let ConstructSpatialMap { system, map, user, entries, .. } = message;
        let read = self.kept(&map).and_then(|(number, kept, _)| match system {
            Some(system) if kept.invited.contains(&system) => Ok(number),
            _ => Err(Problem::new(ProblemKind::NotAllowed, format!("nobody asked this system for twins for `{map}`"))),
        });
        let read = read.and_then(|number| Ok((number, self.read(number, entries, out)?)));
        let (number, entries) = match read {
            Ok(read) => read,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        self.put_all(number, entries, devices, out);
        out.own(own::MAP_CONSTRUCTED);
        let entries = self.by_number.get(&number).map_or(0, |kept| kept.index.len());
        let entry_count = u32::try_from(entries).unwrap_or(u32::MAX);
        let device = user.as_ref().and_then(|user| devices.get(user));
        if let (Some(device), Some(metaverse)) = (device, metaverse.cloned()) {
            let href = format!("/device/v1/maps/{metaverse}/{map}");
            out.send(*device, SendSpatialMap { metaverse, map, entry_count, href });
        }
        out.reply(asker, Ok(SpatialMapConstructed { entry_count }));
    }
}
