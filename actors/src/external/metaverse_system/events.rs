//! What a metaverse system is told without having asked.

use std::sync::Arc;

use serde::Serialize;
use twinway_protocol::{
    JsonDoc, Out, PermissionId, SystemId, TwinId, UserId,
    message::{NotifyExecution, NotifyLease, PropertyValues, ReflectChange, TwinMessage},
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
    let data = document(&TwinChanged { values: &change.values, version: change.version, at: change.at });
    Event::new("twin.changed", change.twin.to_string(), Some(change.twin.clone()), change.at, data)
}

/// What a requester is told of its lease without having asked.
pub(super) fn notice_event(notice: NotifyLease, at: Timestamp) -> Event {
    let NotifyLease { event, twin, data } = notice;
    Event::new(event, twin.to_string(), Some(twin), at, data)
}

/// What a requester is told of its execution (FGMV-29 8.2.4).
pub(super) fn execution_event(notice: NotifyExecution, at: Timestamp) -> Event {
    let NotifyExecution { event, execution, data } = notice;
    Event::new(event, execution.to_string(), None, at, data)
}

pub(super) fn message_event(message: TwinMessage, at: Timestamp) -> Event {
    let TwinMessage { from, to, user, content } = &message;
    let data = document(&TwinSaid { from, to, user, content });
    Event::new("twin.message", to.to_string(), Some(message.to), at, data)
}

pub(super) fn gone_event(twin: TwinId, at: Timestamp) -> Event {
    Event::new("twin.gone", twin.to_string(), Some(twin), at, JsonDoc::null())
}
