//! The text frames of a session: what it hears, what it replies, and what it tells beside requests. Events and gaps of a
//! subscription name it.

use serde::Deserialize;
use serde_json::value::RawValue;
use twinway_protocol::{Problem, ProblemKind, SystemId};

use super::{
    call::{JSON, PROBLEM, Reply},
    problem,
};
use crate::outside::{Outgoing, RequestFrame, WatchQuery, push_number, push_text, write_event};

/// A frame of a client, as it comes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Incoming<'f> {
    answer: Option<String>,
    #[serde(borrow)]
    data: Option<&'f RawValue>,
    call: Option<String>,
    method: Option<String>,
    path: Option<String>,
    #[serde(borrow)]
    body: Option<&'f RawValue>,
    /// What the header `Sync-Lease-Token` is for requests.
    #[serde(rename = "leaseToken")]
    lease_token: Option<String>,
    /// What the header `Idempotency-Key` is for requests.
    #[serde(rename = "idempotencyKey")]
    idempotency_key: Option<String>,
    /// What the header `If-Match` is for requests.
    #[serde(rename = "ifMatch")]
    if_match: Option<String>,
    /// Begins a subscription with this id, of the `events` that it wants, `after` the event with this number.
    subscribe: Option<String>,
    events: Option<Box<WatchQuery>>,
    after: Option<u64>,
    /// Ends the subscription with this id.
    unsubscribe: Option<String>,
}

/// What a frame of a client says. Its documents are pieces of the frame.
pub(super) enum Said<'f> {
    /// An answer to the request with this id.
    Answer(String, &'f RawValue),
    /// A call with this id.
    Call(String, Asked<'f>),
    /// A subscription with this id is to begin.
    Subscribe(String, WatchQuery, Option<u64>),
    /// The subscription with this id is to end.
    Unsubscribe(String),
}

/// What a call asks for.
pub(super) struct Asked<'f> {
    pub(super) method: String,
    /// The path with its query.
    pub(super) target: String,
    pub(super) body: Option<&'f RawValue>,
    // What stands in a frame in the place of headers.
    pub(super) lease_token: Option<String>,
    pub(super) if_match: Option<String>,
    pub(super) idempotency_key: Option<String>,
}

impl<'f> Incoming<'f> {
    /// What it says; or, where it is no frame, the id of the reply that says so.
    pub(super) fn read(self) -> Result<Said<'f>, String> {
        let Self { answer, data, call, method, path, body, lease_token, idempotency_key, if_match, .. } = self;
        let Self { subscribe, events, after, unsubscribe, .. } = self;
        let of_call = body.is_some() || lease_token.is_some() || idempotency_key.is_some() || if_match.is_some();
        let of_call = of_call || method.is_some() || path.is_some();
        let of_subscription = events.is_some() || after.is_some();
        match (subscribe, unsubscribe, call, answer, data) {
            (None, None, None, Some(id), Some(data)) if !of_call && !of_subscription => Ok(Said::Answer(id, data)),
            (None, None, Some(id), None, None) if !of_subscription => match (method, path) {
                (Some(method), Some(target)) => {
                    Ok(Said::Call(id, Asked { method, target, body, lease_token, if_match, idempotency_key }))
                }
                _ => Err(id),
            },
            (Some(id), None, None, None, None) if !of_call => {
                Ok(Said::Subscribe(id, events.map(|events| *events).unwrap_or_default(), after))
            }
            (None, Some(id), None, None, None) if !of_call && !of_subscription => Ok(Said::Unsubscribe(id)),
            (Some(id), ..) => Err(reply_to_subscribe(&id)),
            (None, Some(id), ..) => Err(reply_to_unsubscribe(&id)),
            (None, None, Some(id), ..) => Err(id),
            (None, None, None, answer, _) => Err(answer.map(|id| reply_to_answer(&id)).unwrap_or_default()),
        }
    }
}

// What a reply names that is to no call.

pub(super) fn reply_to_answer(id: &str) -> String {
    format!("answer:{id}")
}

pub(super) fn reply_to_subscribe(id: &str) -> String {
    format!("subscribe:{id}")
}

pub(super) fn reply_to_unsubscribe(id: &str) -> String {
    format!("unsubscribe:{id}")
}

/// Writes a reply behind what is in `into`. What is not JSON (metrics) goes as text.
pub(super) fn write_reply(into: &mut String, id: &str, reply: &Reply) {
    if reply.stream.is_some() {
        // A frame is text, and has a limit.
        let refused = Problem::new(ProblemKind::InvalidQuery, "bytes are read by HTTP, and not within a session");
        return write_reply(into, id, &problem::reply(refused, None));
    }
    into.push_str("{\"reply\":");
    push_text(into, id);
    into.push_str(",\"status\":");
    push_number(into, reply.status.into());
    if !reply.body.is_empty() {
        into.push_str(",\"body\":");
        match std::str::from_utf8(&reply.body) {
            // What was written as JSON need not be read to be known as such.
            Ok(body) if matches!(reply.media, JSON | PROBLEM) => into.push_str(body),
            Ok(body) if serde_json::from_str::<&RawValue>(body).is_ok() => into.push_str(body),
            _ => push_text(into, &String::from_utf8_lossy(&reply.body)),
        }
    }
    into.push('}');
}

pub(super) fn not_a_frame() -> Problem {
    let detail = "a frame is {answer, data}, {call, method, path, body?, leaseToken?, ifMatch?, idempotencyKey?}, {subscribe, events?, \
        after?} or {unsubscribe}, or an array of them";
    Problem::new(ProblemKind::InvalidDocument, detail).at("")
}

/// Writes what comes out of a session beside replies behind what is in `into`.
pub(super) fn write_outgoing(
    into: &mut String,
    system: &SystemId,
    subscription: Option<&str>,
    outgoing: &Outgoing,
) -> Result<(), serde_json::Error> {
    let gap = match outgoing {
        Outgoing::Request { request, body } => {
            into.push_str(&serde_json::to_string(&RequestFrame::new(*request, body))?);
            return Ok(());
        }
        Outgoing::Gap(gap) => Some(serde_json::to_string(gap)?),
        Outgoing::Event { .. } => None,
    };
    into.push('{');
    if let Some(subscription) = subscription {
        into.push_str("\"subscription\":");
        push_text(into, subscription);
        into.push(',');
    }
    if let Outgoing::Event { number, event, skipped } = outgoing {
        into.push_str("\"event\":");
        write_event(into, event, system, *number, *skipped);
        into.push_str(",\"number\":");
        push_number(into, *number);
    }
    if let Some(gap) = gap {
        into.push_str("\"gap\":");
        into.push_str(&gap);
    }
    into.push('}');
    Ok(())
}
