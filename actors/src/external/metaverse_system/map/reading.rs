//! Reading a map, and finding what is at a place (FGMV-28 7.3.3): only what the asker may see.

use std::collections::BTreeMap;

use twinway_protocol::{
    MapId, Out, Problem, ProblemKind, Ref, SystemId, UserId,
    message::{
        FindAtPlace, ForwardLocalization, LocalizationFound, MapShown, MapsListed, PlaceFound, ReadMap, UserDeviceMsg,
        own,
    },
    spatial::{EntryView, FOUND_MAX, Found, Localization, LocalizationRequest, MapDefinition, MapView, Place, Viewer},
};

use super::{Maps, MetaverseSystem};
use crate::spatial::{Slot, sees};

impl Maps {
    /// Whether a user may look at a map at all.
    pub(super) fn may_look(definition: &MapDefinition, user: &UserId) -> Result<(), Problem> {
        if definition.access.users.as_ref().is_none_or(|users| users.contains(user)) {
            return Ok(());
        }
        // A map that one may not look at is not there for one.
        Err(super::unknown(&definition.id))
    }

    pub(in super::super) fn list(&self) -> MapsListed {
        MapsListed { maps: self.numbers.keys().cloned().collect() }
    }

    /// A page of a map, with what the reader may see.
    pub(in super::super) fn show(
        &self,
        metaverse: Option<&SystemId>,
        message: &ReadMap,
        devices: &BTreeMap<UserId, Ref<UserDeviceMsg>>,
    ) -> Result<MapShown, Problem> {
        let (number, kept, definition) = self.kept(&message.map)?;
        if let Viewer::User(user) = &message.viewer {
            Self::may_look(definition, user)?;
            if message.by_device {
                known(user, devices)?;
            }
        }
        let metaverse = metaverse.cloned();
        let metaverse = metaverse.ok_or_else(|| Problem::new(ProblemKind::Internal, "the system has no name"))?;
        let limit = message.limit.clamp(1, FOUND_MAX) as usize;
        let visible = |at: &&Slot| sees(&definition.regions, &message.viewer, at.placed.pose.local);
        let mut page = kept.index.after(message.after.as_ref()).filter(visible).peekable();
        let mut entries = Vec::new();
        while let Some(slot) = page.next_if(|_| entries.len() < limit) {
            entries.push(self.view(number, slot, definition));
        }
        let next = page.peek().and_then(|_| entries.last().map(|last| last.id.clone()));
        let view = MapView {
            id: definition.id.clone(),
            metaverse,
            title: definition.title.clone(),
            anchor: definition.frame.anchor(),
            entry_count: u32::try_from(kept.index.len()).unwrap_or(u32::MAX),
            entries,
            next,
        };
        Ok(MapShown { view: Box::new(view) })
    }

    /// What the metaverse system, a user of it, or a third-party system from afar finds.
    pub(in super::super) fn find_at_place(&self, message: &FindAtPlace) -> Result<PlaceFound, Problem> {
        let viewer = match (&message.third_party, &message.user) {
            (Some(system), _) => {
                let (.., definition) = self.kept(&message.map)?;
                if !definition.access.third_parties.contains(system) {
                    let detail = format!("`{}` does not name `{system}` among those that may ask", message.map);
                    return Err(Problem::new(ProblemKind::PermissionMissing, detail));
                }
                Viewer::ThirdParty
            }
            (None, Some(user)) => Viewer::User(user.clone()),
            (None, None) => Viewer::Owner,
        };
        Ok(PlaceFound { found: Box::new(self.find(&message.map, &viewer, &message.request)?) })
    }

    /// FGMV-28 7.3.3 steps 2 and 3: services and information for a user on the spot.
    pub(in super::super) fn localize(
        &self,
        message: ForwardLocalization,
        devices: &BTreeMap<UserId, Ref<UserDeviceMsg>>,
        out: &mut Out<'_, MetaverseSystem>,
    ) -> Result<LocalizationFound, Problem> {
        let ForwardLocalization { user, map, request } = message;
        known(&user, devices)?;
        let found = self.find(&map, &Viewer::User(user), &request)?;
        out.own(own::PLACE_SEARCHED);
        Ok(LocalizationFound { found: Box::new(found) })
    }

    fn view(&self, map: u32, slot: &Slot, definition: &MapDefinition) -> EntryView {
        let following = self.following(map, slot.facts.twin.as_ref());
        EntryView::new(&slot.facts, &slot.placed, &definition.frame, following)
    }

    fn find(&self, map: &MapId, viewer: &Viewer, request: &LocalizationRequest) -> Result<Localization, Problem> {
        let (number, kept, definition) = self.kept(map)?;
        if let Viewer::User(user) = viewer {
            Self::may_look(definition, user)?;
        }
        let query = request.read(&definition.frame)?;
        let near = matches!(query.place, Place::Near(..));
        let found = kept.index.find(&query, |at| sees(&definition.regions, viewer, at));
        let entries = found.into_iter().map(|(distance_2, slot)| Found {
            entry: self.view(number, slot, definition),
            distance_m: near.then(|| distance_2.sqrt()),
        });
        Ok(Localization::fitted(map.clone(), entries.collect(), request))
    }
}

/// A user who comes by a device of its own is one of this metaverse system if that device is attached to it.
fn known(user: &UserId, devices: &BTreeMap<UserId, Ref<UserDeviceMsg>>) -> Result<(), Problem> {
    if devices.contains_key(user) {
        return Ok(());
    }
    let detail = format!("no device of `{user}` is attached to this metaverse system");
    Err(Problem::new(ProblemKind::NotAllowed, detail))
}
