//! What leaves the actors: snapshots for readers, requests and events for external systems.

use std::sync::{Arc, OnceLock};

use crate::{
    EntityId, JsonDoc, PendingKey, SystemId, TwinId,
    lease::watch::Watched,
    message::OutsideRequest,
    registry::{Reach, Standing, ThirdPartySystem, TwinSystem},
    spatial::ObservationId,
    time::{Now, Timestamp},
    twin::TwinView,
};

/// What an entity hands to readers or to the outside.
#[derive(Clone, Debug)]
pub enum Signal {
    /// A twin looks like this now.
    Twin(Arc<TwinView>),
    /// A digital twin system is registered like this now.
    TwinSystem(Arc<TwinSystem>),
    /// A third-party system is registered like this now.
    ThirdPartySystem(Arc<ThirdPartySystem>),
    /// A digital twin system is registered no more.
    TwinSystemGone(SystemId),
    /// A third-party system is registered no more.
    ThirdPartySystemGone(SystemId),
    /// An event of a twin, as its twin system told it. Watchers hear it by an event of their own system each.
    TwinEvent(Arc<Event>),
    /// A twin is no more.
    TwinGone(TwinId),
    /// A registered system stands like this now.
    Standing {
        /// Its actor.
        entity: EntityId,
        /// The system.
        system: SystemId,
        /// How it stands.
        standing: Arc<Standing>,
        /// Whether its health is another one than before.
        changed: bool,
    },
    /// An external system has this name, and is reached like this.
    Opened {
        /// Its actor.
        entity: EntityId,
        /// Its name.
        id: SystemId,
        /// How it is reached.
        reach: Reach,
    },
    /// Ask an external system something. The answer comes to `entity` as
    /// [`AnswerRequest`](crate::message::AnswerRequest), or [`RequestUndelivered`](crate::message::RequestUndelivered).
    Request {
        /// The system's actor, which waits for the answer.
        entity: EntityId,
        /// The request's id.
        request: PendingKey,
        /// What is asked.
        body: Box<OutsideRequest>,
    },
    /// A third-party system is not called for a while because too many calls failed, or is called again.
    Circuit {
        /// The system.
        system: SystemId,
        /// Whether calls are held back.
        open: bool,
    },
    /// Sync leases stand like this now.
    Leases(LeaseFigures),
    /// The supervisor of sync leases or a gate did this then: for the judge of the invariants, where there is one.
    LeaseWatched(Box<Watched>, Now),
    /// An actor names the bytes of these observations, or does no longer: what nobody names is not kept.
    Observations {
        /// What it names now.
        held: Vec<ObservationId>,
        /// What it names no longer.
        released: Vec<ObservationId>,
    },
    /// Tell an external system something.
    Event {
        /// The system's actor.
        entity: EntityId,
        /// What happened.
        event: Arc<Event>,
    },
}

/// Something that happened, as CloudEvents 1.0 carries it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The type, such as `twin.changed`.
    pub kind: &'static str,
    /// What it is about: the twin, or the authorization.
    pub subject: String,
    /// The twin, if it is about one.
    pub twin: Option<TwinId>,
    /// When.
    pub at: Timestamp,
    /// The rest.
    pub data: JsonDoc,
    /// Written once for all who hear of it.
    head: OnceLock<Box<str>>,
}

impl Event {
    /// Something that happened `at` a moment, to a twin if there is one.
    #[must_use]
    pub fn new(kind: &'static str, subject: String, twin: Option<TwinId>, at: Timestamp, data: JsonDoc) -> Self {
        Self { kind, subject, twin, at, data, head: OnceLock::new() }
    }

    /// What stands before the data in what all who hear of it are told, as the first of them has it written.
    pub fn head(&self, write: impl FnOnce(&Self) -> Box<str>) -> &str {
        self.head.get_or_init(|| write(self))
    }
}

/// How sync leases stand, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseFigures {
    /// Leases that are held or about to be.
    pub held: u64,
    /// Places in line that are taken.
    pub waiting: u64,
    /// Objects whose gate does not answer.
    pub quarantined: u64,
    /// Leases granted since the start.
    pub granted: u64,
    /// Leases that a higher priority ended in this turn.
    pub preempted: u64,
    /// How long the lease that this turn granted took, from its request on, in milliseconds.
    pub granted_after_ms: Option<u64>,
}
