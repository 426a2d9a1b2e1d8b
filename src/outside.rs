//! The way out: what is published for readers, and the sessions, webhooks and events of external systems.
//!
//! A system has one way of its own, by which it is asked and told: its open session, or else its webhook if it
//! named one. Beside that any number of listeners hear its events. Nothing here makes an arbiter wait: signals are
//! put down where readers, sessions and webhooks find them.

mod actors;
mod api;
mod envelope;
mod events;
mod figures;
mod gap;
mod hub;
mod kept;
mod limits;
mod listener;
mod opening;
mod readers;
mod sessions;
mod watch;
mod webhook;

use std::{
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use serde::Serialize;
use twinway_actors::port::outlet::Outlet;
use twinway_protocol::{
    EntityId, JsonDoc, PendingKey, Problem, ProblemKind, SystemId, TwinId,
    message::{OutsideRequest, Wire},
    registry::{Health, Reach, Standing, ThirdPartySystem, TwinSystem},
    signal::{Event, Signal},
    twin::TwinView,
};

pub use actors::Actors;
pub(crate) use envelope::{push_number, push_text, write_event};
pub use gap::{Gap, MissedTwin};
pub(crate) use hub::wall;
pub use kept::{KEPT_EVENTS_BYTES_MAX, KeptEvents};
pub use limits::OutsideLimits;
pub use sessions::Session;
pub use watch::{WATCH_FILTER_HELP, WATCH_FILTER_STEPS_MAX, Watch, WatchQuery};
pub use webhook::{RequestFrame, WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_URL_BYTES_MAX, check_reach};

use crate::{history::History, monitor::LeaseFeed, observations::Observations};
use figures::LeaseMetrics;
use hub::Hub;
use webhook::Webhooks;

/// The kinds of external systems, as interfaces tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SystemKind {
    /// A metaverse system: MII.
    Metaverse,
    /// A digital twin system: DII.
    DigitalTwin,
    /// A third-party system: SII.
    ThirdParty,
    /// A user's device, by the user's name.
    UserDevice,
}

/// Where a listener wants to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventsFrom {
    /// With what happens next.
    #[default]
    Now,
    /// Behind the event with this number (`Last-Event-ID`). A number that is not known, of a run of the daemon that
    /// crashed, gives a gap of unknown size, and then everything that is kept.
    After(u64),
}

/// What comes out of a session.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// The system is asked something; it answers with the request's id.
    Request {
        /// The request's id.
        request: PendingKey,
        /// What is asked.
        body: Arc<OutsideRequest>,
    },
    /// Something happened.
    Event {
        /// Counts the system's events. A run of the daemon goes on with the numbers of the one before if that ended in
        /// order, and else begins far above them, so that a number never names two events.
        number: u64,
        /// What happened.
        event: Arc<Event>,
        /// How many older events it takes the place of, for whoever wants the newest only.
        skipped: u64,
    },
    /// Events are gone before they could be told.
    Gap(Gap),
}

/// What stands behind [`Outside`], counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Published twins.
    pub twins: usize,
    /// Registered digital twin systems.
    pub twin_systems: usize,
    /// Registered third-party systems.
    pub third_party_systems: usize,
    /// Registered systems that are degraded.
    pub systems_degraded: usize,
    /// Registered systems that are offline.
    pub systems_offline: usize,
    /// Registered systems whose registration was not renewed.
    pub systems_expired: usize,
    /// Metaverse systems that came once.
    pub metaverse_systems: usize,
    /// Devices that came once.
    pub user_devices: usize,
    /// Third-party systems that are not called for a while, because too many calls failed.
    pub circuits_open: usize,
    /// Open sessions.
    pub sessions: usize,
    /// Open listeners.
    pub listeners: usize,
    /// Requests to external systems, since the start.
    pub requests: u64,
    /// Those that did not reach their system, or that it failed to answer, since the start.
    pub requests_undelivered: u64,
    /// Events, since the start.
    pub events: u64,
}

/// The way out. One an enabler.
#[derive(Debug, Default)]
pub struct Outside {
    hub: Arc<Hub>,
    /// Who judges the sync leases.
    leases: Option<LeaseFeed>,
    /// What keeps what twins were.
    history: Option<History>,
    /// What keeps the bytes of observations.
    observations: Option<Observations>,
    /// Made with the first lease.
    leases_shown: OnceLock<LeaseMetrics>,
}

impl Outside {
    /// A way out that leads nowhere yet.
    #[must_use]
    pub fn new(limits: OutsideLimits) -> Self {
        let hub = Arc::new(Hub::new(limits));
        Self { hub, leases: None, history: None, observations: None, leases_shown: OnceLock::new() }
    }

    /// As this one, with a judge of the sync leases.
    #[must_use]
    pub fn watched_by(self, leases: Option<LeaseFeed>) -> Self {
        Self { leases, ..self }
    }

    /// A way out that leads nowhere yet, and goes on with the events of an earlier run.
    #[must_use]
    pub fn resuming(limits: OutsideLimits, earlier: KeptEvents) -> Self {
        Self {
            hub: Arc::new(Hub::new(limits).resuming(earlier)),
            leases: None,
            history: None,
            observations: None,
            leases_shown: OnceLock::new(),
        }
    }

    /// The newest events of all systems, as [`KeptEvents::read`] reads them: for the next run, when this one has ended.
    ///
    /// # Errors
    /// Says what cannot be written.
    pub fn kept_events(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&self.hub.kept_events())
    }

    /// As this one, with what keeps what twins were.
    #[must_use]
    pub fn kept_by(self, history: Option<History>) -> Self {
        Self { history, ..self }
    }

    /// As this one, with what keeps the bytes of observations.
    #[must_use]
    pub fn naming(self, observations: Observations) -> Self {
        Self { observations: Some(observations), ..self }
    }

    /// What keeps what twins were.
    #[must_use]
    pub const fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// Says who is told of requests that were not delivered, and who gets the answers of webhooks. The first one stays.
    /// What was asked before goes out then.
    pub fn attach(&self, actors: impl Actors) {
        // A second enabler on the same way out would be a mistake of the host; the first goes on undisturbed.
        self.hub.actors.write().get_or_insert_with(|| Arc::new(actors));
        self.hub.begin();
    }

    /// Calls webhooks from now on, by tasks of this runtime.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::Internal`] when the machine gives no HTTP client.
    pub fn start_webhooks(&self, runtime: &tokio::runtime::Handle) -> Result<(), Problem> {
        let webhooks = Webhooks::new(runtime, &self.hub.limits)?;
        let _ = self.hub.webhooks.set(webhooks);
        self.hub.by_entity.values().iter().for_each(|system| self.hub.tell_webhook(system));
        Ok(())
    }

    /// Ends every session and every listener. What would have to go out from now on is told to be undelivered; webhook
    /// calls that are under way go on.
    pub fn close(&self) {
        self.hub.closed.store(true, Ordering::Release);
        let systems = self.hub.by_entity.values();
        systems.iter().chain(&self.hub.operation).for_each(|system| system.press());
    }

    /// Lets the actors go: they have ended, and keep this way out as it keeps them.
    pub(crate) fn detach(&self) {
        *self.hub.actors.write() = None;
    }

    /// The published view of a twin.
    #[must_use]
    pub fn twin(&self, id: &TwinId) -> Option<Arc<TwinView>> {
        self.twin_named(id.as_str())
    }

    /// The published view of a twin, by its id as text: whoever reads often need not make an id of it.
    #[must_use]
    pub fn twin_named(&self, id: &str) -> Option<Arc<TwinView>> {
        self.hub.readers.twins.get(id)
    }

    /// A registered digital twin system.
    #[must_use]
    pub fn twin_system(&self, id: &SystemId) -> Option<Arc<TwinSystem>> {
        self.hub.readers.twin_systems.get(id)
    }

    /// A registered third-party system.
    #[must_use]
    pub fn third_party_system(&self, id: &SystemId) -> Option<Arc<ThirdPartySystem>> {
        self.hub.readers.third_party_systems.get(id)
    }

    /// How a registered system stands, by its actor.
    #[must_use]
    pub fn standing(&self, entity: EntityId) -> Arc<Standing> {
        self.hub.readers.standings.get(&entity).unwrap_or_default()
    }

    /// The actor of an external system that came before.
    #[must_use]
    pub fn entity(&self, kind: SystemKind, id: &SystemId) -> Option<EntityId> {
        self.hub.by_name(kind, id).map(|system| system.entity)
    }

    /// How an external system that came before is reached when it has no open session.
    #[must_use]
    pub fn reach(&self, kind: SystemKind, id: &SystemId) -> Option<Reach> {
        self.hub.by_name(kind, id).map(|system| system.state.lock().reach.clone())
    }

    /// How much there is of everything.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.hub.counts()
    }

    /// Makes the actor of an external system, or changes how it is reached. Callers that come at the same time get
    /// the same actor.
    ///
    /// # Errors
    /// Those of every request; [`twinway_protocol::ProblemKind::InvalidDocument`] for a webhook that this build cannot call.
    pub async fn open(
        &self,
        actors: &dyn Actors,
        kind: SystemKind,
        id: &SystemId,
        reach: Option<Reach>,
        within: Duration,
    ) -> Result<EntityId, Problem> {
        self.hub.open(actors, kind, id, reach, within).await
    }

    /// Opens the system's session; an earlier one ends. Requests and events come out of it in the order in which they
    /// were made. It goes on where the last session, or the webhook, stopped telling events.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::SystemUnknown`], [`twinway_protocol::ProblemKind::ShuttingDown`]; and
    /// [`twinway_protocol::ProblemKind::LimitReached`] when there are too many sessions.
    pub fn session(&self, kind: SystemKind, id: &SystemId) -> Result<Session, Problem> {
        Session::open(Arc::clone(&self.hub), self.hub.known(kind, id)?)
    }

    /// Listens to the system's events only; any number of listeners can.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::SystemUnknown`], [`twinway_protocol::ProblemKind::ShuttingDown`]; and
    /// [`twinway_protocol::ProblemKind::LimitReached`] when there are too many listeners.
    pub fn events(&self, kind: SystemKind, id: &SystemId, from: EventsFrom) -> Result<Session, Problem> {
        self.watch(kind, id, from, Watch::default())
    }

    /// Listens to those of the system's events that are wanted.
    ///
    /// # Errors
    /// As for [`Outside::events`].
    pub fn watch(&self, kind: SystemKind, id: &SystemId, from: EventsFrom, watch: Watch) -> Result<Session, Problem> {
        Session::listen(Arc::clone(&self.hub), self.hub.known(kind, id)?, from, watch)
    }

    /// Listens to what concerns whoever runs the enabler: how registered systems stand, systems that are gone, circuits
    /// that open and close.
    ///
    /// # Errors
    /// As for [`Outside::events`].
    pub fn watch_operation(&self, from: EventsFrom, watch: Watch) -> Result<Session, Problem> {
        let system = self.hub.operation.clone().filter(|_| !self.hub.is_closed());
        let system = system.ok_or_else(|| Problem::new(ProblemKind::ShuttingDown, "the way out is closed"))?;
        Session::listen(Arc::clone(&self.hub), system, from, watch)
    }

    /// A request was answered: the end of the session does not concern it any more.
    pub fn answered(&self, entity: EntityId, request: PendingKey) {
        if let Some(system) = self.hub.by_entity.get(&entity) {
            system.answered(request);
        }
    }
}

impl Outlet<Wire> for Outside {
    fn signal(&self, from: EntityId, signal: Signal) {
        match signal {
            Signal::Twin(view) => {
                if let Some(history) = &self.history {
                    history.keep(&view);
                }
                self.hub.readers.twins.put(view.id.clone(), view);
            }
            Signal::TwinSystem(system) => {
                self.hub.readers.twin_systems.put(system.description.id.clone(), system);
            }
            Signal::ThirdPartySystem(system) => {
                self.hub.readers.third_party_systems.put(system.description.id.clone(), system);
            }
            Signal::TwinSystemGone(id) => {
                self.hub.forget_standing(self.twin_system(&id).map(|system| system.entity.id()));
                self.hub.readers.twin_systems.remove(&id);
                self.hub.tell_operators(operation("system.gone", &id));
            }
            Signal::ThirdPartySystemGone(id) => {
                self.hub.forget_standing(self.third_party_system(&id).map(|system| system.entity.id()));
                self.hub.readers.third_party_systems.remove(&id);
                self.hub.tell_operators(operation("system.gone", &id));
            }
            Signal::TwinEvent(event) => {
                if let Some(history) = &self.history {
                    history.event(&event);
                }
            }
            Signal::TwinGone(id) => {
                if let Some(history) = &self.history {
                    history.gone(&id, wall());
                }
                self.hub.readers.twins.remove(&id);
            }
            Signal::Standing { entity, system, standing, changed } => {
                if changed {
                    measure_standing(&system, &standing);
                }
                self.hub.readers.standings.put(entity, standing);
            }
            Signal::Opened { entity, id, reach } => {
                if let Some(system) = self.hub.keep(entity, &id, reach.clone()) {
                    system.state.lock().reach = reach;
                    self.hub.tell_webhook(&system);
                }
            }
            Signal::Request { entity, request, body } => self.hub.ask(entity, request, body.into()),
            Signal::Event { entity, event } => {
                if event.kind == "system.standing" {
                    self.hub.tell_operators(Arc::clone(&event));
                }
                self.hub.tell(entity, event);
            }
            Signal::Leases(figures) => self.leases_shown.get_or_init(LeaseMetrics::new).show(figures),
            Signal::Observations { held, released } => {
                if let Some(observations) = &self.observations {
                    observations.named(from, held, released);
                }
            }
            Signal::Circuit { system, open } => {
                let kind = if open { "circuit.opened" } else { "circuit.closed" };
                self.hub.tell_operators(operation(kind, &system));
                self.hub.circuit(system, open);
            }
            Signal::LeaseWatched(watched, now) => {
                if let Some(leases) = &self.leases {
                    leases.send(watched, now);
                }
            }
        }
    }
}

/// Something that happened to a system, for whoever runs the enabler.
fn operation(kind: &'static str, system: &SystemId) -> Arc<Event> {
    Arc::new(Event::new(kind, system.to_string(), None, wall(), JsonDoc::null()))
}

/// A registered system stands in another way than before: for Prometheus, and for whoever runs the daemon.
fn measure_standing(system: &SystemId, standing: &Standing) {
    let health = match standing.health {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Offline => "offline",
        Health::Expired => "expired",
    };
    metrics::counter!("twinway_system_standing_changes_total", "health" => health).increment(1);
    tracing::info!(%system, health, reason = standing.reason.as_deref(), "a registered system stands in another way");
}
