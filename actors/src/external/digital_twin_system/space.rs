//! A digital twin system's part in spatial maps (FGMV-28 7.3.1 steps 2.2 to 4, 7.3.2 step 2, 7.3.3 steps 1.1, 1.2 and 3).

use std::sync::Arc;

use serde::Serialize;
use twinway_protocol::{
    JsonDoc, Meta, Out, Problem, ProblemKind,
    message::{
        AuthorizeLocation, ConstructSpatialMap, ForwardLocalization, LocalizationFound, LocationAuthorized,
        ObservationPurpose, ObservationUploaded, RequestLocalization, SpatialMapConstructed, TakeTwinOffMap,
        UploadObservation, own,
    },
    signal::{Event, Signal},
    spatial::Observation,
};

use super::{DigitalTwinSystem, Waiting, not_listed};

/// What a twin system is told of an observation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Uploaded<'a> {
    observation: &'a Observation,
    purpose: Option<&'a ObservationPurpose>,
}

impl DigitalTwinSystem {
    /// FGMV-28 7.3.1 step 2.2: the system hears what was recorded, and makes twins of it.
    pub(super) fn uploaded(&mut self, meta: &Meta, message: &UploadObservation, out: &mut Out<'_, Self>) {
        let (observation, purpose) = (&*message.observation, message.purpose.as_deref());
        // None of the types here can fail to be JSON.
        let data = JsonDoc::from_value(&Uploaded { observation, purpose }).unwrap_or_else(|_| JsonDoc::null());
        let event = Event::new("observation.uploaded", observation.id.to_string(), None, out.now().wall, data);
        out.signal(Signal::Event { entity: out.me(), event: Arc::new(event) });
        out.reply(meta.asker::<UploadObservation>(out.event()), Ok(ObservationUploaded));
    }

    /// FGMV-28 7.3.1 steps 3 and 4: the twins that it made, all of its own list, go to the metaverse system.
    pub(super) fn construct(&mut self, meta: &Meta, message: ConstructSpatialMap, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ConstructSpatialMap>(out.event());
        let mut entries = message.entries.iter().enumerate();
        let wrong = entries.find_map(|(number, entry)| {
            let at = |member: &str| format!("/entries/{number}/{member}");
            match (&entry.twin, &entry.observation) {
                (Some(twin), _) if !self.twins.contains_key(twin) => Some(not_listed(twin).at(at("twin"))),
                (None, None) => {
                    let detail = "a twin system puts its twins on a map, and what was observed";
                    Some(Problem::new(ProblemKind::InvalidDocument, detail).at(at("twin")))
                }
                _ => None,
            }
        });
        if let Some(problem) = wrong {
            return out.reply(asker, Err(problem));
        }
        let (system, metaverse) = (self.id.clone(), message.metaverse_entity);
        match self.waiting.insert(Waiting::Constructing(asker)) {
            Ok(key) => {
                out.own(own::TWINS_BUILT);
                out.ask(metaverse, ConstructSpatialMap { system, ..message }, key);
            }
            Err(waiting) => Self::refuse(waiting, out),
        }
    }

    pub(super) fn constructed(
        &mut self,
        meta: &Meta,
        answer: Result<SpatialMapConstructed, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        if let Some(Waiting::Constructing(asker)) = self.waiting.take(meta.pending) {
            out.reply(asker, answer);
        }
    }

    /// The system takes one of its own twins off a map.
    pub(super) fn take_off_map(&mut self, meta: &Meta, message: TakeTwinOffMap, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<TakeTwinOffMap>(out.event());
        if !self.twins.contains_key(&message.twin) {
            return out.reply(asker, Err(not_listed(&message.twin)));
        }
        let (system, metaverse) = (self.id.clone(), message.metaverse_entity);
        match self.waiting.insert(Waiting::TakingOff(asker)) {
            Ok(key) => out.ask(metaverse, TakeTwinOffMap { system, ..message }, key),
            Err(waiting) => Self::refuse(waiting, out),
        }
    }

    /// FGMV-28 7.3.2 step 2: a user lets the location of one of its twins be kept the same.
    pub(super) fn authorize_location(&mut self, meta: &Meta, message: AuthorizeLocation, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<AuthorizeLocation>(out.event());
        let Some(listed) = self.twins.get(&message.twin) else {
            return out.reply(asker, Err(not_listed(&message.twin).at("/twin")));
        };
        if !listed.properties.has(&message.property) {
            let detail = format!("the description of `{}` has no property `{}`", message.twin, message.property);
            return out.reply(asker, Err(Problem::new(ProblemKind::PropertyUnknown, detail).at("/property")));
        }
        match self.waiting.insert(Waiting::Locating(asker)) {
            Ok(key) => out.ask(message.metaverse_entity, message, key),
            Err(waiting) => Self::refuse(waiting, out),
        }
    }

    pub(super) fn location_authorized(
        &mut self,
        meta: &Meta,
        answer: Result<LocationAuthorized, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        if let Some(Waiting::Locating(asker)) = self.waiting.take(meta.pending) {
            out.reply(asker, answer);
        }
    }

    /// FGMV-28 7.3.3 steps 1.1 and 1.2: what a user asks of a place is forwarded.
    pub(super) fn localize(&mut self, meta: &Meta, message: RequestLocalization, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<RequestLocalization>(out.event());
        let RequestLocalization { user, metaverse_entity, map, request, .. } = message;
        let Some(user) = user else {
            return out.reply(asker, Err(Problem::new(ProblemKind::NotAllowed, "a user asks")));
        };
        match self.waiting.insert(Waiting::Localizing(asker)) {
            Ok(key) => out.ask(metaverse_entity, ForwardLocalization { user, map, request }, key),
            Err(waiting) => Self::refuse(waiting, out),
        }
    }

    /// FGMV-28 7.3.3 step 3.
    pub(super) fn localized(
        &mut self,
        meta: &Meta,
        answer: Result<LocalizationFound, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        if let Some(Waiting::Localizing(asker)) = self.waiting.take(meta.pending) {
            out.reply(asker, answer);
        }
    }
}
