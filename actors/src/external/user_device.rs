//! The actor of a user's device: what concerns the user at a metaverse system is shown there (FGMV-29 9.1 step 10,
//! when a person has to log in).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, Recovery, Ref,
    message::{AttachUserDevice, Kept, NotifyUser, OpenSystem, UserDeviceMsg, Wire},
    signal::{Event, Signal},
};

use super::opened::Opened;
use crate::{Settings, settings::pending_full};

/// The actor of one user's device.
#[derive(Debug)]
pub struct UserDevice {
    opened: Option<Opened>,
    pending: Pending<Asker<AttachUserDevice>>,
}

/// What it writes down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// The device is this user's, and is reached like this.
    Opened(Opened),
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
        match self.pending.insert(meta.asker(out.event())) {
            // Whatever was asked: a device attaches itself.
            Ok(key) => out.ask(message.metaverse, AttachUserDevice { device: Ref::new(out.me()), ..message }, key),
            Err(asker) => out.reply(asker, Err(pending_full())),
        }
    }

    fn notify(&self, message: NotifyUser, out: &mut Out<'_, Self>) {
        let event = Event {
            kind: message.event,
            subject: self.opened.as_ref().map(|opened| opened.id.to_string()).unwrap_or_default(),
            twin: None,
            at: out.now().wall,
            data: message.data,
        };
        out.signal(Signal::Event { entity: out.me(), event: Arc::new(event) });
    }
}

impl Behaviour for UserDevice {
    type Wire = Wire;
    type Msg = UserDeviceMsg;
    type Record = Record;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self { opened: None, pending: Pending::new(settings.pending_questions_max, incarnation) }
    }

    fn handle(&mut self, envelope: Envelope<UserDeviceMsg>, out: &mut Out<'_, Self>) {
        let meta = envelope.meta;
        match envelope.message {
            UserDeviceMsg::OpenSystem(message) => self.open(meta, message, out),
            UserDeviceMsg::AttachUserDevice(message) => self.attach(meta, message, out),
            UserDeviceMsg::UserDeviceAttached(answer) => {
                if let Some(asker) = self.pending.take(meta.pending) {
                    out.reply(asker, answer);
                }
            }
            UserDeviceMsg::NotifyUser(message) => self.notify(message, out),
        }
    }

    fn replay(&mut self, record: Record) {
        let Record::Opened(opened) = record;
        self.opened = Some(opened);
    }

    fn snapshot(&self, _part: u64, into: &mut Vec<Record>) {
        into.extend(self.opened.clone().map(Record::Opened));
    }

    fn recovered(&mut self, _why: Recovery, out: &mut Out<'_, Self>) {
        if let Some(opened) = &self.opened {
            opened.signal(out);
        }
    }
}

#[cfg(test)]
mod tests;
