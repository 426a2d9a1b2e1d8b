//! The text frames of a session: what it hears, what it replies, and what it tells beside requests. Events and gaps of a
//! subscription name it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use twinway_protocol::{Problem, ProblemKind, SystemId};

use super::{call::Reply, problem};
use crate::outside::{CloudEvent, Gap, Outgoing, WatchQuery};

/// What a client sends: an answer or a call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Incoming {
    pub(super) answer: Option<String>,
    pub(super) data: Option<Box<RawValue>>,
    pub(super) call: Option<String>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) body: Option<Box<RawValue>>,
    /// What the header `Sync-Lease-Token` is for requests.
    #[serde(rename = "leaseToken")]
    pub(super) lease_token: Option<String>,
    /// What the header `Idempotency-Key` is for requests.
    #[serde(rename = "idempotencyKey")]
    pub(super) idempotency_key: Option<String>,
    /// What the header `If-Match` is for requests.
    #[serde(rename = "ifMatch")]
    pub(super) if_match: Option<String>,
    /// Begins a subscription with this id, of the `events` that it wants, `after` the event with this number.
    pub(super) subscribe: Option<String>,
    pub(super) events: Option<WatchQuery>,
    pub(super) after: Option<u64>,
    /// Ends the subscription with this id.
    pub(super) unsubscribe: Option<String>,
}

#[derive(Debug, Serialize)]
struct ReplyFrame<'a> {
    reply: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
}

/// Writes a reply. What is not JSON (metrics) goes as text.
pub(super) fn reply_frame(id: &str, reply: &Reply) -> String {
    if reply.stream.is_some() {
        // A frame is text, and has a limit.
        let refused = Problem::new(ProblemKind::InvalidQuery, "bytes are read by HTTP, and not within a session");
        return reply_frame(id, &problem::reply(refused, None));
    }
    let text = String::from_utf8_lossy(&reply.body);
    let raw = RawValue::from_string(text.to_string());
    let body = match raw {
        _ if text.is_empty() => None,
        Ok(raw) => Some(raw),
        Err(_) => serde_json::value::to_raw_value(&*text).ok(),
    };
    let frame = ReplyFrame { reply: id, status: reply.status, body: body.as_deref() };
    // A frame of texts and one checked document is always written.
    serde_json::to_string(&frame).unwrap_or_default()
}

pub(super) fn not_a_frame() -> Problem {
    let detail = "a frame is {answer, data}, {call, method, path, body?, leaseToken?, ifMatch?, idempotencyKey?}, {subscribe, events?, \
        after?} or {unsubscribe}, or an array of them";
    Problem::new(ProblemKind::InvalidDocument, detail).at("")
}

#[derive(Serialize)]
struct EventFrame<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<&'a str>,
    event: CloudEvent<'a>,
    number: u64,
}

#[derive(Serialize)]
struct GapFrame<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<&'a str>,
    gap: &'a Gap,
}

/// An event or a gap as a frame; requests have a form of their own.
pub(super) fn frame(
    system: &SystemId,
    subscription: Option<&str>,
    outgoing: &Outgoing,
) -> Result<Option<String>, serde_json::Error> {
    match outgoing {
        Outgoing::Event { number, event, skipped } => {
            let event = CloudEvent::new(system, *number, event).skipping(*skipped);
            serde_json::to_string(&EventFrame { subscription, event, number: *number }).map(Some)
        }
        Outgoing::Gap(gap) => serde_json::to_string(&GapFrame { subscription, gap }).map(Some),
        Outgoing::Request { .. } => Ok(None),
    }
}
