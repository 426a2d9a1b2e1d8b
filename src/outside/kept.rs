//! The newest events of every system from one run of the daemon to the next: kept when it ends in order, so that a
//! listener resumes where it was. After a crash there are none, and who resumes is told of a gap of unknown size.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use twinway_protocol::{JsonDoc, SystemId, TwinId, signal::Event, time::Timestamp};

use super::SystemKind;

/// How many bytes of events are kept from one run to the next, at most.
pub const KEPT_EVENTS_BYTES_MAX: usize = 64 << 20;
/// How many types of events are known at most.
const KINDS_MAX: usize = 256;

/// The events of one system, and how far it was told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptRing {
    /// The system; absent: what operators are told.
    pub(super) system: Option<(u8, SystemId)>,
    /// The number of the oldest that is kept.
    pub(super) first: u64,
    /// The number of the next that the system itself is told.
    pub(super) told: u64,
    pub(super) events: Vec<KeptEvent>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptEvent {
    kind: String,
    subject: String,
    twin: Option<TwinId>,
    at: Timestamp,
    data: JsonDoc,
}

impl KeptEvent {
    pub(super) fn of(event: &Event) -> Self {
        let Event { kind, subject, twin, at, data, .. } = event;
        Self { kind: (*kind).to_owned(), subject: subject.clone(), twin: twin.clone(), at: *at, data: data.clone() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.data.as_str().len() + self.subject.len() + 128
    }

    fn event(self) -> Option<Arc<Event>> {
        let Self { kind, subject, twin, at, data } = self;
        Some(Arc::new(Event::new(named(&kind)?, subject, twin, at, data)))
    }
}

/// A type of events as events carry it: those that come back are among the few that there are.
fn named(kind: &str) -> Option<&'static str> {
    static KINDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut kinds = KINDS.lock();
    if let Some(known) = kinds.get(kind) {
        return Some(known);
    }
    if kinds.len() >= KINDS_MAX {
        return None;
    }
    let known: &'static str = Box::leak(kind.to_owned().into_boxed_str());
    kinds.insert(known);
    Some(known)
}

/// What one system is given back.
#[derive(Clone, Debug)]
pub(super) struct Earlier {
    pub(super) first: u64,
    pub(super) told: u64,
    pub(super) events: VecDeque<Arc<Event>>,
}

/// The events of an earlier run, for those who resume.
#[derive(Clone, Debug, Default)]
pub struct KeptEvents(BTreeMap<Option<(u8, SystemId)>, Earlier>);

impl KeptEvents {
    /// Reads what [`super::Outside::kept_events`] wrote. It may be used for one run only: with the same numbers twice, a
    /// number would name two events.
    ///
    /// # Errors
    /// Where it is not that.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let rings: Vec<KeptRing> = serde_json::from_str(text)?;
        let earlier = rings.into_iter().filter_map(|ring| {
            let KeptRing { system, first, told, events } = ring;
            let events: Option<VecDeque<_>> = events.into_iter().map(KeptEvent::event).collect();
            Some((system, Earlier { first, told, events: events? }))
        });
        Ok(Self(earlier.collect()))
    }

    pub(super) fn take(&mut self, system: Option<(SystemKind, &SystemId)>) -> Option<Earlier> {
        self.0.remove(&system.map(|(kind, id)| (kind as u8, id.clone())))
    }
}
