//! What a session tells beside requests: events and gaps, as text frames. Those of a subscription name it.

use serde::Serialize;
use twinway_protocol::SystemId;

use crate::outside::{CloudEvent, Gap, Outgoing};

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
