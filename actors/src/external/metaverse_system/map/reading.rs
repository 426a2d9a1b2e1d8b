//! Reading a map, and finding what is at a place (FGMV-28 7.3.3): only what the asker may see.

use std::collections::{BTreeMap, BTreeSet};

use twinway_protocol::{
    Asker, MapId, Out, PendingKey, Problem, ProblemKind, Ref, SystemId, UserId,
    message::{
        FindAtPlace, FindRegisteredPlaces, ForwardLocalization, LocalizationFound, MapShown, MapsListed, PlaceFound,
        PlacesWanted, ReadMap, RegisteredPlacesFound, TPSD, UserDeviceMsg, own,
    },
    spatial::{
        EntryView, FOUND_MAX, Found, Localization, LocalizationRequest, MapDefinition, MapRegion, MapView, Place,
        Viewer,
    },
};

use super::{Maps, MetaverseSystem, Waiting};
use crate::{
    settings::pending_full,
    spatial::{Slot, hides, sees},
};

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
        let regions = definition.regions.iter().filter(|region| !hides(region, &message.viewer));
        let view = MapView {
            id: definition.id.clone(),
            metaverse,
            title: definition.title.clone(),
            anchor: definition.frame.anchor(),
            entry_count: u32::try_from(kept.index.len()).unwrap_or(u32::MAX),
            entries,
            regions: regions.map(|region| MapRegion { id: region.id.clone(), bounds: region.bounds }).collect(),
            next,
        };
        Ok(MapShown { view: Box::new(view) })
    }

    /// What the metaverse system, a user of it, or a third-party system from afar finds.
    pub(in super::super) fn find_at_place(
        &mut self,
        asker: Asker<FindAtPlace>,
        metaverse: Option<SystemId>,
        message: FindAtPlace,
        out: &mut Out<'_, MetaverseSystem>,
    ) {
        let viewer = match (&message.third_party, message.user) {
            (Some(system), _) => self.kept(&message.map).and_then(|(.., definition)| {
                if definition.access.third_parties.contains(system) {
                    return Ok(Viewer::ThirdParty);
                }
                let detail = format!("`{}` does not name `{system}` among those that may ask", message.map);
                Err(Problem::new(ProblemKind::PermissionMissing, detail))
            }),
            (None, Some(user)) => Ok(Viewer::User(user)),
            (None, None) => Ok(Viewer::Owner),
        };
        let found = viewer.and_then(|viewer| self.find(metaverse, &message.map, &viewer, &message.request));
        self.find_places(Finder::AtPlace(asker), found, message.request.preferences, out);
    }

    /// FGMV-28 7.3.3 steps 2 and 3: services and information for a user on the spot.
    pub(in super::super) fn localize(
        &mut self,
        asker: Asker<ForwardLocalization>,
        metaverse: Option<SystemId>,
        message: ForwardLocalization,
        devices: &BTreeMap<UserId, Ref<UserDeviceMsg>>,
        out: &mut Out<'_, MetaverseSystem>,
    ) {
        let ForwardLocalization { user, map, request } = message;
        let found = known(&user, devices).and_then(|()| self.find(metaverse, &map, &Viewer::User(user), &request));
        self.find_places(Finder::OnTheSpot(asker), found, request.preferences, out);
    }

    /// What stands on the map is found; what else serves the place, TPSD knows.
    fn find_places(
        &mut self,
        finder: Finder,
        found: Result<(Localization, FindRegisteredPlaces), Problem>,
        preferences: BTreeSet<String>,
        out: &mut Out<'_, MetaverseSystem>,
    ) {
        let (found, question) = match found {
            Ok(found) => found,
            Err(problem) => return finder.answer(Err(problem), out),
        };
        match self.waiting.insert(Waiting::Finding(finder, Box::new(found), preferences)) {
            Ok(key) => out.ask(TPSD, question, key),
            Err(Waiting::Finding(finder, ..)) => finder.answer(Err(pending_full()), out),
            Err(_) => {}
        }
    }

    /// TPSD says which registered systems serve the place.
    pub(in super::super) fn places_found(
        &mut self,
        pending: PendingKey,
        answer: Result<RegisteredPlacesFound, Problem>,
        out: &mut Out<'_, MetaverseSystem>,
    ) {
        if !matches!(self.waiting.get_mut(pending), Some(Waiting::Finding(..))) {
            return;
        }
        let Some(Waiting::Finding(finder, found, preferences)) = self.waiting.take(pending) else { return };
        let found = answer.map(|answer| Box::new(found.with_places(answer.places, &preferences)));
        finder.answer(found, out);
    }

    fn view(&self, map: u32, slot: &Slot, definition: &MapDefinition) -> EntryView {
        let following = self.following(map, slot.facts.twin.as_ref());
        EntryView::new(&slot.facts, &slot.placed, &definition.frame, following)
    }

    /// What stands there, and what TPSD is to be asked.
    fn find(
        &self,
        metaverse: Option<SystemId>,
        map: &MapId,
        viewer: &Viewer,
        request: &LocalizationRequest,
    ) -> Result<(Localization, FindRegisteredPlaces), Problem> {
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
        let found = Localization::fitted(map.clone(), entries.collect(), request);
        let hidden = definition.regions.iter().filter(|region| hides(region, viewer)).map(|region| region.bounds);
        let wanted = PlacesWanted {
            metaverse: metaverse.ok_or_else(|| Problem::new(ProblemKind::Internal, "the system has no name"))?,
            user: if let Viewer::User(user) = viewer { Some(user.clone()) } else { None },
            capabilities: request.device.capabilities.clone(),
            frame: definition.frame,
            query,
            hidden: hidden.collect(),
            filter: request.filter.clone(),
        };
        Ok((found, FindRegisteredPlaces { wanted: Box::new(wanted) }))
    }
}

/// Who waits for what is at a place.
#[derive(Debug)]
pub(super) enum Finder {
    AtPlace(Asker<FindAtPlace>),
    OnTheSpot(Asker<ForwardLocalization>),
}

impl Finder {
    fn answer(self, found: Result<Box<Localization>, Problem>, out: &mut Out<'_, MetaverseSystem>) {
        match self {
            Self::AtPlace(asker) => out.reply(asker, found.map(|found| PlaceFound { found })),
            Self::OnTheSpot(asker) => {
                if found.is_ok() {
                    out.own(own::PLACE_SEARCHED);
                }
                out.reply(asker, found.map(|found| LocalizationFound { found }));
            }
        }
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
