//! A user's device on the spot: it records and asks (FGMV-28 7.3.1 to 7.3.3).

use serde::Serialize;
use twinway_protocol::{
    JsonDoc, MapId, Meta, Out, Problem, ProblemKind, SystemId, UserId,
    message::{
        AuthorizeLocation, ForgetObservation, KeepObservation, Kept, LocalizationFound, LocationAuthorized,
        ObservationPurpose, ObservationRequestStands, ObservationUploaded, ObservationsRequested, RequestLocalization,
        RequestObservations, UploadObservation, WithdrawLocation,
    },
};

use super::{Record, Requested, UserDevice, Waiting};

/// What the device is told of a request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObservationWanted<'a> {
    request: u32,
    metaverse: &'a SystemId,
    map: &'a MapId,
    twin_system: &'a SystemId,
    wanted: &'a str,
}

pub(super) fn document(value: &impl Serialize) -> JsonDoc {
    // None of the types here can fail to be JSON.
    JsonDoc::from_value(value).unwrap_or_else(|_| JsonDoc::null())
}

impl UserDevice {
    /// The user whose device it is.
    fn user(&self) -> Result<UserId, Problem> {
        let named = self.opened.as_ref().and_then(|opened| UserId::new(opened.id.as_str()).ok());
        named.ok_or_else(|| Problem::new(ProblemKind::Internal, "the device has no user"))
    }

    pub(super) fn requested(&self, request: u32) -> Result<&Requested, Problem> {
        let unknown = || Problem::new(ProblemKind::ObservationUnknown, format!("nobody asked under number {request}"));
        self.requested.get(&request).ok_or_else(unknown)
    }

    /// FGMV-28 7.3.1 step 2.1: the device is told what is wanted, and may upload from now on.
    pub(super) fn request(&mut self, meta: &Meta, message: RequestObservations, out: &mut Out<'_, Self>) {
        let request = self.next_request;
        // The oldest makes room: what nobody recorded so far is wanted least.
        if self.requested.len() >= self.requests_max
            && let Some((oldest, _)) = self.requested.first_key_value()
        {
            let record = Record::Forgotten { request: *oldest };
            out.record(0, record.clone());
            self.keep(record);
        }
        let requested = Requested {
            metaverse: message.metaverse.clone(),
            map: message.map.clone(),
            twin_system: message.twin_system_entity,
        };
        let record = Record::Requested { request, requested };
        out.record(0, record.clone());
        self.keep(record);
        let RequestObservations { metaverse, map, twin_system, wanted, .. } = &message;
        let data = document(&ObservationWanted { request, metaverse, map, twin_system, wanted });
        self.tell("observation.requested", data, out);
        out.reply(meta.asker::<RequestObservations>(out.event()), Ok(ObservationsRequested { request }));
    }

    fn keep(&mut self, record: Record) {
        twinway_protocol::Behaviour::replay(self, record);
    }

    /// Whether an upload under a request would be taken, and for what.
    pub(super) fn stands(&self, request: u32) -> Result<ObservationRequestStands, Problem> {
        let Requested { metaverse, map, .. } = self.requested(request)?.clone();
        Ok(ObservationRequestStands { purpose: ObservationPurpose { metaverse, map, user: self.user()? } })
    }

    /// FGMV-28 7.3.1 step 2.2: what was recorded is written down by the metaverse system that asked for it, and goes to
    /// the twin system that was named in the request.
    pub(super) fn upload(&mut self, meta: &Meta, message: UploadObservation, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<UploadObservation>(out.event());
        let request = message.request;
        let found = self.stands(request).and_then(|stands| Ok((stands.purpose, self.requested(request)?.twin_system)));
        let (purpose, twin_system) = match found {
            Ok(found) => found,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let (map, user, observation) = (purpose.map.clone(), purpose.user.clone(), message.observation.clone());
        let metaverse = message.metaverse_entity;
        let message = UploadObservation { purpose: Some(Box::new(purpose)), ..message };
        match self.pending.insert(Waiting::Keeping(asker, Box::new((twin_system, message)))) {
            Ok(key) => out.ask(metaverse, KeepObservation { map, user, observation }, key),
            Err(waiting) => waiting.refuse(out),
        }
    }

    /// The metaverse system has written something down, or refused to.
    pub(super) fn kept(&mut self, meta: &Meta, answer: Result<Kept, Problem>, out: &mut Out<'_, Self>) {
        match self.pending.take(meta.pending) {
            Some(Waiting::Keeping(asker, message)) => match answer {
                Err(problem) => out.reply(asker, Err(problem)),
                Ok(Kept) => {
                    let (twin_system, message) = *message;
                    match self.pending.insert(Waiting::Uploading(asker)) {
                        Ok(key) => out.ask(twin_system, message, key),
                        Err(waiting) => waiting.refuse(out),
                    }
                }
            },
            Some(Waiting::Forgetting(asker)) => out.reply(asker, answer),
            Some(Waiting::Withdrawing(asker)) => out.reply(asker, answer),
            _ => {}
        }
    }

    /// Its user wants what was recorded with it forgotten.
    pub(super) fn forget_observation(&mut self, meta: &Meta, message: ForgetObservation, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ForgetObservation>(out.event());
        let user = match self.user() {
            Ok(user) => user,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        match self.pending.insert(Waiting::Forgetting(asker)) {
            Ok(key) => out.ask(message.metaverse_entity, ForgetObservation { user: Some(user), ..message }, key),
            Err(waiting) => waiting.refuse(out),
        }
    }

    /// FGMV-28 7.3.2: its user lets a location be kept the same no longer.
    pub(super) fn withdraw_location(&mut self, meta: &Meta, message: WithdrawLocation, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<WithdrawLocation>(out.event());
        let user = match self.user() {
            Ok(user) => user,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        match self.pending.insert(Waiting::Withdrawing(asker)) {
            Ok(key) => out.ask(message.metaverse_entity, WithdrawLocation { user: Some(user), ..message }, key),
            Err(waiting) => waiting.refuse(out),
        }
    }

    pub(super) fn uploaded(
        &mut self,
        meta: &Meta,
        answer: Result<ObservationUploaded, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        if let Some(Waiting::Uploading(asker)) = self.pending.take(meta.pending) {
            out.reply(asker, answer);
        }
    }

    /// FGMV-28 7.3.2 step 2: its user, and nobody else, lets a location be kept the same.
    pub(super) fn authorize_location(&mut self, meta: &Meta, message: AuthorizeLocation, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<AuthorizeLocation>(out.event());
        let user = match self.user() {
            Ok(user) => user,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        match self.pending.insert(Waiting::Locating(asker)) {
            Ok(key) => {
                out.ask(message.twin_system_entity, AuthorizeLocation { user: Some(user), ..message }, key);
            }
            Err(waiting) => waiting.refuse(out),
        }
    }

    pub(super) fn location_authorized(
        &mut self,
        meta: &Meta,
        answer: Result<LocationAuthorized, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        if let Some(Waiting::Locating(asker)) = self.pending.take(meta.pending) {
            out.reply(asker, answer);
        }
    }

    /// FGMV-28 7.3.3 step 1.1: its user asks for what there is at a place.
    pub(super) fn localize(&mut self, meta: &Meta, message: RequestLocalization, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<RequestLocalization>(out.event());
        let user = match self.user() {
            Ok(user) => user,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        match self.pending.insert(Waiting::Localizing(asker)) {
            Ok(key) => {
                out.ask(message.twin_system_entity, RequestLocalization { user: Some(user), ..message }, key);
            }
            Err(waiting) => waiting.refuse(out),
        }
    }

    /// FGMV-28 7.3.3 step 3.
    pub(super) fn localized(
        &mut self,
        meta: &Meta,
        answer: Result<LocalizationFound, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        if let Some(Waiting::Localizing(asker)) = self.pending.take(meta.pending) {
            out.reply(asker, answer);
        }
    }
}
