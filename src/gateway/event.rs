//! What a session tells beside requests: events and gaps, as text frames.

use serde::Serialize;

use crate::outside::CloudEvent;

/// How many events are gone; 0: nobody knows.
#[derive(Debug, Serialize)]
pub(super) struct Gap {
    pub(super) missed: u64,
}

/// An event as a session's frame carries it.
#[derive(Debug, Serialize)]
pub(super) struct EventFrame<'a> {
    pub(super) event: CloudEvent<'a>,
    pub(super) number: u64,
}

/// A gap as a session's frame carries it.
#[derive(Debug, Serialize)]
pub(super) struct GapFrame {
    pub(super) gap: Gap,
}
