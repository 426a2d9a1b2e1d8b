//! The actor of a user's device: what concerns the user at a metaverse system is shown there (FGMV-29 9.1 step 10,
//! when a person has to log in), and what is recorded and asked on the spot goes from there (FGMV-28 7.3).

mod space;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, JsonDoc, MapId, Meta, Out, Pending, Recovery, Ref, SystemId,
    message::{
        AttachUserDevice, AuthorizeLocation, CheckObservationRequest, DigitalTwinSystemMsg, ForgetObservation, Kept,
        NotifyUser, OpenSystem, RequestLocalization, StartCapture, UploadObservation, UserDeviceMsg, Wire,
        WithdrawLocation, own,
    },
    signal::{Event, Signal},
};

use super::opened::Opened;
use crate::{Settings, settings::pending_full};

impl Waiting {
    fn refuse(self, out: &mut Out<'_, UserDevice>) {
        match self {
            Self::Attaching(asker) => out.reply(asker, Err(pending_full())),
            Self::Keeping(asker, _) | Self::Uploading(asker) => out.reply(asker, Err(pending_full())),
            Self::Forgetting(asker) => out.reply(asker, Err(pending_full())),
            Self::Withdrawing(asker) => out.reply(asker, Err(pending_full())),
            Self::Locating(asker) => out.reply(asker, Err(pending_full())),
            Self::Localizing(asker) => out.reply(asker, Err(pending_full())),
        }
    }
}

/// The actor of one user's device.
#[derive(Debug)]
pub struct UserDevice {
    opened: Option<Opened>,
    pending: Pending<Waiting>,
    /// What it was asked to record, by number.
    requested: BTreeMap<u32, Requested>,
    /// The number that the next request is given: none comes twice.
    next_request: u32,
    requests_max: usize,
}

/// What waits for an answer.
#[derive(Debug)]
enum Waiting {
    Attaching(Asker<AttachUserDevice>),
    /// The metaverse system writes it down before the twin system hears of it.
    Keeping(Asker<UploadObservation>, Box<(Ref<DigitalTwinSystemMsg>, UploadObservation)>),
    Uploading(Asker<UploadObservation>),
    Forgetting(Asker<ForgetObservation>),
    Withdrawing(Asker<WithdrawLocation>),
    Locating(Asker<AuthorizeLocation>),
    Localizing(Asker<RequestLocalization>),
}

/// What a metaverse system asked to be recorded (FGMV-28 7.3.1 step 2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// The metaverse system.
    pub metaverse: SystemId,
    /// Its map.
    pub map: MapId,
    /// The twin system that is to have it.
    pub twin_system: Ref<DigitalTwinSystemMsg>,
}

/// What it writes down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// The device is this user's, and is reached like this.
    Opened(Opened),
    /// Something is to be recorded.
    Requested {
        /// The request's number.
        request: u32,
        /// What, for whom.
        requested: Requested,
    },
    /// It is to be recorded no longer: others took its place.
    Forgotten {
        /// The request's number.
        request: u32,
    },
}

impl UserDevice {
    fn open(&mut self, meta: Meta, message: OpenSystem, out: &mut Out<'_, Self>) {
        let answer = Opened::after(self.opened.as_ref(), message).map(|opened| {
            opened.signal(out);
            if self.opened.as_ref() != Some(&opened) {
                out.record(0, Record::Opened(opened.clone()));
                self.replay(Record::Opened(opened));
            }
            Kept
        });
        out.reply(meta.asker::<OpenSystem>(out.event()), answer);
    }

    fn attach(&mut self, meta: Meta, message: AttachUserDevice, out: &mut Out<'_, Self>) {
        match self.pending.insert(Waiting::Attaching(meta.asker(out.event()))) {
            // Whatever was asked: a device attaches itself.
            Ok(key) => out.ask(message.metaverse, AttachUserDevice { device: Ref::new(out.me()), ..message }, key),
            Err(waiting) => waiting.refuse(out),
        }
    }

    fn notify(&self, message: NotifyUser, out: &mut Out<'_, Self>) {
        self.tell(message.event, message.data, out);
    }

    fn tell(&self, kind: &'static str, data: JsonDoc, out: &mut Out<'_, Self>) {
        let subject = self.opened.as_ref().map(|opened| opened.id.to_string()).unwrap_or_default();
        let event = Event::new(kind, subject, None, out.now().wall, data);
        out.signal(Signal::Event { entity: out.me(), event: Arc::new(event) });
    }
}

impl Behaviour for UserDevice {
    type Wire = Wire;
    type Msg = UserDeviceMsg;
    type Record = Record;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            opened: None,
            pending: Pending::new(settings.pending_questions_max, incarnation),
            requested: BTreeMap::new(),
            next_request: 1,
            requests_max: settings.observation_requests_max,
        }
    }

    fn handle(&mut self, envelope: Envelope<UserDeviceMsg>, out: &mut Out<'_, Self>) {
        let meta = envelope.meta;
        match envelope.message {
            UserDeviceMsg::OpenSystem(message) => self.open(meta, message, out),
            UserDeviceMsg::AttachUserDevice(message) => self.attach(meta, message, out),
            UserDeviceMsg::UserDeviceAttached(answer) => {
                if let Some(Waiting::Attaching(asker)) = self.pending.take(meta.pending) {
                    out.reply(asker, answer);
                }
            }
            UserDeviceMsg::NotifyUser(message) => self.notify(message, out),
            // FGMV-28 7.3.1.
            UserDeviceMsg::StartCapture(_) => {
                out.own(own::CAPTURE_STARTED);
                out.reply(meta.asker::<StartCapture>(out.event()), Ok(Kept));
            }
            UserDeviceMsg::RequestObservations(message) => self.request(&meta, message, out),
            UserDeviceMsg::CheckObservationRequest(message) => {
                out.reply(meta.asker::<CheckObservationRequest>(out.event()), self.stands(message.request));
            }
            UserDeviceMsg::UploadObservation(message) => self.upload(&meta, message, out),
            UserDeviceMsg::ForgetObservation(message) => self.forget_observation(&meta, message, out),
            UserDeviceMsg::WithdrawLocation(message) => self.withdraw_location(&meta, message, out),
            UserDeviceMsg::Kept(answer) => self.kept(&meta, answer, out),
            UserDeviceMsg::ObservationUploaded(answer) => self.uploaded(&meta, answer, out),
            UserDeviceMsg::SendSpatialMap(message) => self.tell("map.constructed", space::document(&message), out),
            // FGMV-28 7.3.2.
            UserDeviceMsg::AuthorizeLocation(message) => self.authorize_location(&meta, message, out),
            UserDeviceMsg::LocationAuthorized(answer) => self.location_authorized(&meta, answer, out),
            UserDeviceMsg::LocationSynchronized(message) => {
                self.tell("location.synchronized", space::document(&message), out);
            }
            // FGMV-28 7.3.3.
            UserDeviceMsg::RequestLocalization(message) => self.localize(&meta, message, out),
            UserDeviceMsg::LocalizationFound(answer) => self.localized(&meta, answer, out),
        }
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Opened(opened) => self.opened = Some(opened),
            Record::Requested { request, requested } => {
                self.next_request = self.next_request.max(request.saturating_add(1));
                self.requested.insert(request, requested);
            }
            Record::Forgotten { request } => {
                self.requested.remove(&request);
            }
        }
    }

    fn snapshot(&self, _part: u64, into: &mut Vec<Record>) {
        into.extend(self.opened.clone().map(Record::Opened));
        let requested = |(request, requested): (&u32, &Requested)| Record::Requested {
            request: *request,
            requested: requested.clone(),
        };
        into.extend(self.requested.iter().map(requested));
    }

    fn recovered(&mut self, _why: Recovery, out: &mut Out<'_, Self>) {
        if let Some(opened) = &self.opened {
            opened.signal(out);
        }
    }
}

#[cfg(test)]
mod tests;
