//! What the way out and everything that came out of it share.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use twinway_protocol::{
    EntityId, PendingKey, Problem, ProblemKind, SystemId,
    message::{OutsideRequest, RequestUndelivered},
    registry::{Health, Reach},
    signal::Event,
    time::Timestamp,
};

use super::{
    Actors, Counts, OutsideLimits, SystemKind,
    events::{Cursor, Ring},
    kept::{Earlier, KEPT_EVENTS_BYTES_MAX, KeptEvent, KeptEvents, KeptRing},
    opening::Opening,
    readers::{Readers, Sharded},
    sessions::{Asked, Ended, System, Way},
    webhook::Webhooks,
};

/// The systems, the snapshots, and the ways between actors and systems.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) limits: OutsideLimits,
    /// When this run began.
    pub(super) run: Timestamp,
    /// Gone when they have ended: they keep the way out, and would be kept by it for ever.
    pub(super) actors: RwLock<Option<Arc<dyn Actors>>>,
    pub(super) readers: Readers,
    pub(super) by_entity: Sharded<EntityId, Arc<System>>,
    pub(super) by_name: [Sharded<SystemId, Arc<System>>; SystemKind::ALL.len()],
    pub(super) opening: Opening,
    pub(super) sessions: Arc<Semaphore>,
    pub(super) listeners: Arc<Semaphore>,
    pub(super) webhooks: OnceLock<Webhooks>,
    /// Requests from before the actors were attached: an entity that recovers may ask at once. `None` afterwards.
    early: Mutex<Option<Vec<(EntityId, Asked)>>>,
    pub(super) closed: AtomicBool,
    /// What concerns whoever runs the enabler, as the events of a system that nobody is.
    pub(super) operation: Option<Arc<System>>,
    /// Events of the run before, for systems that have not come yet.
    pub(super) earlier: Mutex<KeptEvents>,
    /// Third-party systems that are not called for a while.
    pub(super) circuits: Mutex<BTreeSet<SystemId>>,
    pub(super) requests: AtomicU64,
    pub(super) requests_undelivered: AtomicU64,
    pub(super) events: AtomicU64,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(OutsideLimits::default())
    }
}

impl Hub {
    pub(super) fn new(limits: OutsideLimits) -> Self {
        let run = wall();
        let permits = |n: usize| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)));
        Self {
            run,
            actors: RwLock::new(None),
            readers: Readers::default(),
            by_entity: Sharded::default(),
            by_name: Default::default(),
            opening: Opening::default(),
            sessions: permits(limits.sessions_max),
            listeners: permits(limits.listeners_max),
            webhooks: OnceLock::new(),
            early: Mutex::new(Some(Vec::new())),
            closed: AtomicBool::new(false),
            operation: operation(None, run, &limits),
            earlier: Mutex::default(),
            circuits: Mutex::default(),
            requests: AtomicU64::new(0),
            requests_undelivered: AtomicU64::new(0),
            events: AtomicU64::new(0),
            limits,
        }
    }

    /// Goes on with the events of the run before.
    pub(super) fn resuming(mut self, mut earlier: KeptEvents) -> Self {
        if let Some(operation_before) = earlier.take(None) {
            self.operation = operation(Some(operation_before), self.run, &self.limits);
        }
        self.earlier = Mutex::new(earlier);
        self
    }

    /// The newest events of all systems, for the next run: the newest of each until there is no room.
    pub(super) fn kept_events(&self) -> Vec<KeptRing> {
        let mut room = KEPT_EVENTS_BYTES_MAX;
        let systems = self.by_entity.values();
        let all = systems.iter().chain(&self.operation).map(|system| {
            let state = system.state.lock();
            let (first, kept) = state.ring.kept();
            let (mut events, end) = (VecDeque::new(), first.saturating_add(kept.len() as u64));
            for event in kept.rev() {
                let event = KeptEvent::of(event);
                let Some(left) = room.checked_sub(event.bytes()) else { break };
                room = left;
                events.push_front(event);
            }
            let first = end.saturating_sub(events.len() as u64);
            // A gap that was to be told, and the events that had no room, cannot be told any more but as one.
            let told = state.told.next;
            let system = SystemKind::of(system.entity).map(|kind| (kind as u8, system.id.clone()));
            KeptRing { system, first, told, events: events.into() }
        });
        all.filter(|ring| !ring.events.is_empty()).collect()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn names(&self, kind: SystemKind) -> Option<&Sharded<SystemId, Arc<System>>> {
        self.by_name.get(kind as usize)
    }

    pub(super) fn by_name(&self, kind: SystemKind, id: &SystemId) -> Option<Arc<System>> {
        self.names(kind)?.get(id)
    }

    /// The system for which a session or a listener is to be opened.
    pub(super) fn known(&self, kind: SystemKind, id: &SystemId) -> Result<Arc<System>, Problem> {
        if self.is_closed() {
            return Err(shutting_down());
        }
        let unknown = || Problem::new(ProblemKind::SystemUnknown, format!("`{id}` never came here"));
        self.by_name(kind, id).ok_or_else(unknown)
    }

    /// Keeps an event for those who run the enabler.
    pub(super) fn tell_operators(&self, event: Arc<Event>) {
        if let Some(operation) = &self.operation {
            operation.tell(event);
        }
    }

    /// Keeps a system under its actor and its name; what is known of it already stays.
    pub(super) fn keep(&self, entity: EntityId, id: &SystemId, reach: Reach) -> Option<Arc<System>> {
        let kind = SystemKind::of(entity)?;
        let make = || {
            let earlier = self.earlier.lock().take(Some((kind, id)));
            Arc::new(system(id.clone(), entity, reach, earlier, self.run, &self.limits))
        };
        let system = self.by_entity.get_or_put(entity, make)?;
        let named = self.names(kind)?.get_or_put(id.clone(), || Arc::clone(&system))?;
        if named.entity != entity {
            tracing::error!(%id, first = ?named.entity, second = ?entity, "two actors have one name");
        }
        Some(system)
    }

    /// Brings a request on its way.
    pub(super) fn ask(self: &Arc<Self>, entity: EntityId, request: PendingKey, body: Arc<OutsideRequest>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let asked = Asked { request, body, since: Instant::now() };
        if let Some(early) = &mut *self.early.lock() {
            // What is beyond the limit ends by its actor's own time limit: nobody could be told before.
            if early.len() < self.limits.webhook_queue_max {
                early.push((entity, asked));
            }
            return;
        }
        self.ask_of(entity, asked);
    }

    /// The actors are there: what was asked before goes out.
    pub(super) fn begin(self: &Arc<Self>) {
        let early = self.early.lock().take();
        for (entity, asked) in early.into_iter().flatten() {
            self.ask_of(entity, asked);
        }
    }

    fn ask_of(self: &Arc<Self>, entity: EntityId, asked: Asked) {
        let Some(system) = self.by_entity.get(&entity) else {
            let problem = Problem::new(ProblemKind::OutsideUnreachable, "the system was never opened");
            return self.undelivered(entity, asked.request, problem, false);
        };
        self.send(&system, asked);
    }

    fn send(self: &Arc<Self>, system: &Arc<System>, asked: Asked) {
        if self.is_closed() {
            return self.undelivered(system.entity, asked.request, shutting_down(), false);
        }
        if asked.api_call().is_some() {
            return self.call_api(system, asked);
        }
        match system.ask(&asked, &self.limits) {
            Way::Session => {}
            Way::Webhook(url) => self.call_webhook(system, url, asked),
            Way::None(problem) => self.undelivered(system.entity, asked.request, problem, false),
        }
    }

    /// A third-party system is left alone for a while, or is not any more.
    pub(super) fn circuit(&self, system: SystemId, open: bool) {
        let mut circuits = self.circuits.lock();
        if open {
            metrics::counter!("twinway_circuit_opened_total").increment(1);
            circuits.insert(system);
        } else {
            circuits.remove(&system);
        }
        metrics::gauge!("twinway_circuit_open").set(circuits.len() as f64);
    }

    /// Keeps an event for all who listen to the system.
    pub(super) fn tell(self: &Arc<Self>, entity: EntityId, event: Arc<Event>) {
        self.events.fetch_add(1, Ordering::Relaxed);
        match self.by_entity.get(&entity) {
            Some(system) => {
                system.tell(event);
                self.tell_webhook(&system);
            }
            None => tracing::warn!(?entity, kind = event.kind, "an event of a system that was never opened is lost"),
        }
    }

    /// Tells the actor that a request did not arrive, or that it was handed out and its answer will not come. No lock
    /// is held here: the actor may signal in turn.
    pub(super) fn undelivered(&self, entity: EntityId, request: PendingKey, problem: Problem, handed_out: bool) {
        self.requests_undelivered.fetch_add(1, Ordering::Relaxed);
        let Some(actors) = self.actors.read().clone() else {
            tracing::debug!(?entity, %problem, "a request was not delivered, and no actor is there to hear it");
            return;
        };
        let message = RequestUndelivered { request, problem: Box::new(problem), handed_out };
        if let Err(refused) = actors.undelivered(entity, message) {
            // The actor's own time limit ends the request.
            tracing::warn!(?entity, %refused, "a system's actor could not be told that a request was not delivered");
        }
    }

    /// A session has ended: what it had been asked and did not answer will not be answered; the rest goes another way.
    pub(super) fn ended(self: &Arc<Self>, system: &Arc<System>, ended: Ended) {
        for request in ended.unanswered {
            let problem = Problem::new(ProblemKind::OutsideUnreachable, "the session closed before it answered");
            self.undelivered(system.entity, request, problem, true);
        }
        for asked in ended.queued {
            self.send(system, asked);
        }
        self.tell_webhook(system);
    }

    /// Tells the actor that its system's session opened or closed. No lock is held here.
    pub(super) fn session_changed(&self, entity: EntityId, open: bool) {
        let actors = self.actors.read().clone();
        if let Some(actors) = actors {
            actors.session(entity, open);
        }
    }

    /// What stood under a name of a registered system is gone, and how the system stood.
    pub(super) fn forget_standing(&self, entity: Option<EntityId>) {
        if let Some(entity) = entity {
            self.readers.standings.remove(&entity);
        }
    }

    pub(super) fn session_permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        permit(&self.sessions, "sessions_max", self.limits.sessions_max)
    }

    pub(super) fn listener_permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        permit(&self.listeners, "subscriptions_max", self.limits.listeners_max)
    }

    pub(super) fn counts(&self) -> Counts {
        let opened = |kind| self.names(kind).map_or(0, Sharded::len);
        let standings = self.readers.standings.values();
        let stand = |health| standings.iter().filter(|standing| standing.health == health).count();
        Counts {
            systems_degraded: stand(Health::Degraded),
            systems_offline: stand(Health::Offline),
            systems_expired: stand(Health::Expired),
            twins: self.readers.twins.len(),
            twin_systems: self.readers.twin_systems.len(),
            third_party_systems: self.readers.third_party_systems.len(),
            metaverse_systems: opened(SystemKind::Metaverse),
            user_devices: opened(SystemKind::UserDevice),
            circuits_open: self.circuits.lock().len(),
            sessions: self.limits.sessions_max.saturating_sub(self.sessions.available_permits()),
            listeners: self.limits.listeners_max.saturating_sub(self.listeners.available_permits()),
            requests: self.requests.load(Ordering::Relaxed),
            requests_undelivered: self.requests_undelivered.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
        }
    }
}

fn system(
    id: SystemId,
    entity: EntityId,
    reach: Reach,
    earlier: Option<Earlier>,
    run: Timestamp,
    limits: &OutsideLimits,
) -> System {
    let (kept_max, marked_max) = (limits.events_kept_max, limits.events_marked_max);
    match earlier {
        Some(earlier) => {
            let told = Cursor { next: earlier.told, gap: None };
            System::resumed(id, entity, reach, Ring::resumed(earlier, kept_max, marked_max), told)
        }
        None => System::new(id, entity, reach, Ring::new(run, kept_max, marked_max)),
    }
}

/// What operators are told, as the events of a system that nobody is.
fn operation(earlier: Option<Earlier>, run: Timestamp, limits: &OutsideLimits) -> Option<Arc<System>> {
    let id = SystemId::new("enabler").ok()?;
    Some(Arc::new(system(id, EntityId::new(u8::MAX, 0, 0), Reach::Session, earlier, run, limits)))
}

fn permit(of: &Arc<Semaphore>, limit: &str, max: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let used_up = |_| Problem::new(ProblemKind::LimitReached, format!("{limit} ({max}) is used up"));
    Arc::clone(of).try_acquire_owned().map_err(used_up)
}

fn shutting_down() -> Problem {
    Problem::new(ProblemKind::ShuttingDown, "the way out is closed")
}

/// The wall clock.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
