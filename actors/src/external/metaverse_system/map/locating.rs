//! Locations (FGMV-28 7.3.2): the map follows the objects, and nothing older overwrites newer.

use std::collections::BTreeMap;

use serde::Serialize;
use twinway_protocol::{
    Asker, EntryId, MapId, Out, Problem, ProblemKind, Ref, SystemId, TwinId, UserId,
    message::{
        AuthorizeLocation, DTAC, FollowTwinPermission, LocationSynchronized, LocationsUpdated, ReflectChange,
        UpdateLocations, UserDeviceMsg, own,
    },
    spatial::{Following, Placed, PoseDocument},
};

use super::{KeptMap, Located, Maps, MetaverseSystem, Told, Waiting, event, making::item};
use crate::{
    external::metaverse_system::document,
    settings::pending_full,
    spatial::{Moved, sees},
};

pub(super) type Devices = BTreeMap<UserId, Ref<UserDeviceMsg>>;
type Turn<'a, 't> = &'a mut Out<'t, MetaverseSystem>;

/// What a metaverse system is told of a location that the map does not take.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LocationRefused<'a> {
    twin: &'a TwinId,
    property: &'a str,
    /// The slug of the problem's kind.
    problem: &'static str,
    detail: &'a str,
}

/// Tells the metaverse system of a location that its map does not take.
fn refuse(change: &ReflectChange, location: &Located, map: &MapId, problem: &Problem, out: Turn<'_, '_>) {
    let (problem, detail) = (problem.kind.slug(), &*problem.detail);
    let refused = LocationRefused { twin: &change.twin, property: &location.property, problem, detail };
    event("map.location-refused", map.to_string(), document(&refused), out);
}

/// Moves the entry of a slot; gives whether the map took it.
fn move_entry(kept: &mut KeptMap, slot: u32, placed: Placed, told: &mut Told) -> bool {
    let Some(Moved::From(before)) = kept.index.relocate(slot, placed) else { return false };
    if let Some(entry) = kept.index.get(slot) {
        told.add(kept, &entry.facts, Some(before), Some(placed.pose.local), &placed);
    }
    true
}

impl Maps {
    /// A metaverse system moves entries: all that are acceptable and newer, or none.
    pub(in super::super) fn update(
        &mut self,
        message: UpdateLocations,
        devices: &Devices,
        out: Turn<'_, '_>,
    ) -> Result<LocationsUpdated, Problem> {
        if message.updates.len() > self.limits.request_entries {
            let detail = format!("`map_request_entries_max` is {}", self.limits.request_entries);
            return Err(Problem::new(ProblemKind::LimitReached, detail).at("/updates"));
        }
        let (number, kept, definition) = self.kept(&message.map)?;
        let now = out.now().wall;
        let mut moves = Vec::with_capacity(message.updates.len());
        for (at, update) in message.updates.into_iter().enumerate() {
            let update = update.read(&definition.frame, now).map_err(|problem| item("updates", at, problem))?;
            let slot = kept.index.slot_of(&update.entry).ok_or_else(|| {
                let detail = format!("there is no entry `{}` on `{}`", update.entry, message.map);
                Problem::new(ProblemKind::MapEntryUnknown, detail).at(format!("/updates/{at}/entry"))
            })?;
            let twin = kept.index.get(slot).and_then(|entry| entry.facts.twin.as_ref());
            if self.following(number, twin) == Following::PermissionMissing {
                // What its user may not let the map follow, nobody keeps following in another way.
                let detail = format!("who let `{}` be followed has no permission to read it any more", update.entry);
                return Err(Problem::new(ProblemKind::PermissionMissing, detail).at(format!("/updates/{at}/entry")));
            }
            moves.push((slot, update.placed));
        }
        let wanted = moves.len();
        let mut told = Told::default();
        if let Some(kept) = self.by_number.get_mut(&number) {
            moves.retain(|(slot, placed)| move_entry(kept, *slot, *placed, &mut told));
            told.tell(kept, devices, out);
        }
        let count = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        let updated = LocationsUpdated { moved: count(moves.len()), older: count(wanted - moves.len()) };
        Self::keep_moves(number, moves, out);
        Ok(updated)
    }

    /// FGMV-28 7.3.2 step 2: a user lets a twin's location be kept the same. The user must have a permission to read it.
    pub(in super::super) fn authorize_location(
        &mut self,
        asker: Asker<AuthorizeLocation>,
        metaverse: Option<SystemId>,
        message: AuthorizeLocation,
        out: Turn<'_, '_>,
    ) {
        let AuthorizeLocation { user, map, twin, property, .. } = message;
        let checked = self.kept(&map).and_then(|(_, kept, definition)| {
            let user = user.ok_or_else(|| Problem::new(ProblemKind::NotAllowed, "a user authorizes it"))?;
            Self::may_look(definition, &user)?;
            let slot = kept.index.slot_of(&EntryId::from(&twin));
            let at = slot.and_then(|slot| kept.index.get(slot)).map(|entry| entry.placed.pose.local);
            let viewer = twinway_protocol::spatial::Viewer::User(user.clone());
            at.filter(|at| sees(&definition.regions, &viewer, *at)).ok_or_else(|| {
                let detail = format!("there is no entry of `{twin}` on `{map}`");
                Problem::new(ProblemKind::MapEntryUnknown, detail).at("/twin")
            })?;
            let metaverse = metaverse.ok_or_else(|| Problem::new(ProblemKind::Internal, "the system has no name"))?;
            Ok((user, metaverse))
        });
        let (user, metaverse) = match checked {
            Ok(checked) => checked,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let question = FollowTwinPermission { metaverse, user: user.clone(), twin: twin.clone() };
        let located = Located { user, property };
        match self.waiting.insert(Waiting::Locating(asker, map, twin, located)) {
            Ok(key) => out.ask(DTAC, question, key),
            Err(Waiting::Locating(asker, ..)) => out.reply(asker, Err(pending_full())),
            Err(_) => {}
        }
    }

    /// FGMV-28 7.3.2 steps 3 to 5: a twin shows where its object is, and the map follows.
    pub(in super::super) fn reflect(&mut self, change: &ReflectChange, devices: &Devices, out: Turn<'_, '_>) {
        let Some(on) = self.located.get(&change.twin) else { return };
        for (number, location) in on {
            let Some(value) = change.values.get(&*location.property) else { continue };
            let Some(kept) = self.by_number.get_mut(number) else { continue };
            let Some(definition) = kept.definition.clone() else { continue };
            if self.suspended.contains(&(change.twin.clone(), *number)) {
                let detail = format!("`{}` may not read `{}` any more", location.user, change.twin);
                let problem = Problem::new(ProblemKind::PermissionMissing, detail);
                refuse(change, location, &definition.id, &problem, out);
                continue;
            }
            let read = value.read::<PoseDocument>();
            let read = read.map_err(|error| Problem::new(ProblemKind::InvalidDocument, error.to_string()));
            let pose = match read.and_then(|pose| definition.frame.read(&pose)) {
                Ok(pose) => pose,
                Err(problem) => {
                    // The value is the twin's, and stands; only the map cannot follow it.
                    refuse(change, location, &definition.id, &problem, out);
                    continue;
                }
            };
            let placed = Placed { pose, at: change.at, version: change.version };
            let Some(slot) = kept.index.slot_of(&EntryId::from(&change.twin)) else { continue };
            let mut told = Told::default();
            if !move_entry(kept, slot, placed, &mut told) {
                continue;
            }
            Self::keep_moves(*number, vec![(slot, placed)], out);
            out.own(own::LOCATION_UPDATED);
            told.tell(kept, devices, out);
            if let Some(device) = devices.get(&location.user) {
                out.send(
                    *device,
                    LocationSynchronized {
                        map: definition.id.clone(),
                        twin: change.twin.clone(),
                        pose,
                        at: change.at,
                        version: change.version,
                    },
                );
            }
        }
    }
}
