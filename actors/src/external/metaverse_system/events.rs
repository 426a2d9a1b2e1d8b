//! What a metaverse system is told without having asked.

use std::sync::Arc;

use serde::Serialize;
use twinway_protocol::{
    JsonDoc, Out, PermissionId, SystemId, TwinId, UserId,
    message::{NotifyExecution, NotifyLease, PropertyValues, ReflectChange, ReflectLease, TwinMessage},
    signal::{Event, Signal},
    time::Timestamp,
};

use super::MetaverseSystem;

/// What a person who has to log in is told.
#[derive(Serialize)]
pub(super) struct LoginRequired<'a> {
    pub(super) authorization: &'a PermissionId,
    pub(super) system: &'a SystemId,
    pub(super) login: &'a str,
}

/// What a metaverse system is told of a change.
#[derive(Serialize)]
struct TwinChanged<'a> {
    values: &'a PropertyValues,
    version: u64,
    at: Timestamp,
}

/// What a metaverse system is told of a message to a twin.
#[derive(Serialize)]
struct TwinSaid<'a> {
    from: &'a TwinId,
    to: &'a TwinId,
    user: &'a UserId,
    content: &'a JsonDoc,
}

pub(super) fn document<T: Serialize>(value: &T) -> JsonDoc {
    // None of the types here can fail to be JSON: their keys are text.
    JsonDoc::from_value(value).unwrap_or_else(|_| JsonDoc::null())
}

pub(super) fn tell(event: Event, out: &mut Out<'_, MetaverseSystem>) {
    out.signal(Signal::Event { entity: out.me(), event: Arc::new(event) });
}

pub(super) fn change_event(change: &ReflectChange) -> Event {
    Event {
        kind: "twin.changed",
        subject: change.twin.to_string(),
        twin: Some(change.twin.clone()),
        at: change.at,
        data: document(&TwinChanged { values: &change.values, version: change.version, at: change.at }),
    }
}

/// What a requester is told of its lease without having asked.
pub(super) fn notice_event(notice: NotifyLease, at: Timestamp) -> Event {
    let NotifyLease { event, twin, data } = notice;
    Event { kind: event, subject: twin.to_string(), twin: Some(twin), at, data }
}

/// What a requester is told of its execution (FGMV-29 8.2.4).
pub(super) fn execution_event(notice: NotifyExecution, at: Timestamp) -> Event {
    let NotifyExecution { event, execution, data } = notice;
    Event { kind: event, subject: execution.to_string(), twin: None, at, data }
}

/// What everyone who selected a twin is told of the lease on its object.
pub(super) fn lease_event(change: &ReflectLease) -> Event {
    let subject = change.twin.as_ref().map(ToString::to_string).unwrap_or_default();
    let (kind, at) = ("lease.changed", change.moment.at);
    Event { kind, subject, twin: change.twin.clone(), at, data: document(&*change.moment) }
}

pub(super) fn message_event(message: TwinMessage, at: Timestamp) -> Event {
    let TwinMessage { from, to, user, content } = &message;
    let data = document(&TwinSaid { from, to, user, content });
    Event { kind: "twin.message", subject: to.to_string(), twin: Some(message.to), at, data }
}

pub(super) fn gone_event(twin: TwinId, at: Timestamp) -> Event {
    Event { kind: "twin.gone", subject: twin.to_string(), twin: Some(twin), at, data: JsonDoc::null() }
}
