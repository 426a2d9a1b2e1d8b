//! Open ways to external systems: the one session of a system, and any number of listeners.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};
use twinway_protocol::{
    EntityId, PendingKey, Problem, ProblemKind, SystemId, collaboration::ApiCall, message::OutsideRequest,
    registry::Reach, signal::Event,
};

use super::{
    EventsFrom, Hub, MissedTwin, Outgoing, OutsideLimits, SystemKind, Watch,
    events::{Cursor, Ring},
    gap::{GAP_TWINS_MAX, Gap},
    listener::{Heard, Listener},
};

/// An external system that came once: what waits for it, and its newest events.
#[derive(Debug)]
pub(super) struct System {
    pub(super) id: SystemId,
    pub(super) entity: EntityId,
    pub(super) state: Mutex<State>,
    /// Wakes whoever waits for something to come out: the session and the listeners.
    wake: Notify,
    /// Wakes a session that lets news gather: something came that is not to wait.
    pressing: Notify,
    /// How often such a thing came.
    pressed: AtomicU64,
}

/// Events that tell what others did. They come often, and nobody has to act on one within a moment.
const NEWS: [&str; 2] = ["lease.changed", "twin.changed"];

#[derive(Debug)]
pub(super) struct State {
    pub(super) reach: Reach,
    pub(super) ring: Ring,
    /// How far the system was told of events by its session or its webhook: each event comes by one of them, once.
    pub(super) told: Cursor,
    session: Option<Open>,
    sessions_opened: u64,
    /// Whether a task is telling its webhook events.
    pub(super) telling: bool,
    /// Requests on their way to its webhook.
    pub(super) calls: usize,
}

/// The open session of a system.
#[derive(Debug)]
struct Open {
    number: u64,
    queue: VecDeque<Queued>,
    /// Handed out and not answered yet, with the time at which it was asked.
    unanswered: BTreeMap<PendingKey, Instant>,
    _permit: OwnedSemaphorePermit,
}

/// A request on its way out.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) request: PendingKey,
    pub(super) body: Arc<OutsideRequest>,
    pub(super) since: Instant,
}

impl Asked {
    /// The request of the system's own API, if it is to be asked so.
    pub(super) fn api_call(&self) -> Option<&ApiCall> {
        match &*self.body {
            OutsideRequest::ExecuteService(question) => question.call.as_deref(),
            OutsideRequest::AuthorizeUser(question) => question.call.as_deref(),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Queued {
    asked: Asked,
    /// The number of the event before which it came.
    before: u64,
}

/// Where a request goes.
pub(super) enum Way {
    /// It waits in the session's queue.
    Session,
    /// It is to be sent to this URL; it is counted in [`State::calls`] already.
    Webhook(String),
    /// Nowhere.
    None(Problem),
}

/// What ended with a session.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Handed out and not answered.
    pub(super) unanswered: Vec<PendingKey>,
    /// Never handed out.
    pub(super) queued: Vec<Asked>,
}

impl System {
    pub(super) fn new(id: SystemId, entity: EntityId, reach: Reach, ring: Ring) -> Self {
        let told = ring.start();
        Self::resumed(id, entity, reach, ring, told)
    }

    /// One that was told up to somewhere before.
    pub(super) fn resumed(id: SystemId, entity: EntityId, reach: Reach, ring: Ring, told: Cursor) -> Self {
        let state = State { reach, ring, told, session: None, sessions_opened: 0, telling: false, calls: 0 };
        let (wake, pressing) = (Notify::new(), Notify::new());
        Self { id, entity, state: Mutex::new(state), wake, pressing, pressed: AtomicU64::new(0) }
    }

    /// Something came out that is not to wait.
    pub(super) fn press(&self) {
        self.pressed.fetch_add(1, Ordering::Release);
        self.pressing.notify_waiters();
        self.wake.notify_waiters();
    }

    /// Keeps the event for all who listen.
    pub(super) fn tell(&self, event: Arc<Event>) {
        let news = NEWS.contains(&event.kind);
        self.state.lock().ring.push(event);
        if news {
            self.wake.notify_waiters();
        } else {
            self.press();
        }
    }

    /// Queues the request, or says where else it goes.
    pub(super) fn ask(&self, asked: &Asked, limits: &OutsideLimits) -> Way {
        let way = self.state.lock().ask(asked, limits);
        if matches!(way, Way::Session) {
            self.press();
        }
        way
    }

    /// The request was answered: nobody needs to hear of it when the session closes.
    pub(super) fn answered(&self, request: PendingKey) {
        if let Some(open) = &mut self.state.lock().session {
            open.unanswered.remove(&request);
            // It can have been answered by other means before it was handed out.
            open.queue.retain(|queued| queued.asked.request != request);
        }
    }
}

impl State {
    /// The webhook that events are to be told to, if there are any; an open session takes its place.
    pub(super) fn untold_url(&self) -> Option<String> {
        match &self.reach {
            Reach::Webhook(url) if self.session.is_none() && self.ring.has_more(&self.told) => Some(url.clone()),
            _ => None,
        }
    }

    fn ask(&mut self, asked: &Asked, limits: &OutsideLimits) -> Way {
        let overloaded = |what: &str, max: usize| {
            Way::None(Problem::new(
                ProblemKind::Overloaded,
                format!("{what} ({max}) of the external system is used up"),
            ))
        };
        if let Some(open) = &mut self.session {
            if open.queue.len() >= limits.session_queue_max {
                return overloaded("session_queue_max", limits.session_queue_max);
            }
            open.forget_given_up(limits);
            if open.unanswered.len() >= limits.session_unanswered_max {
                return overloaded("session_unanswered_max", limits.session_unanswered_max);
            }
            open.queue.push_back(Queued { asked: asked.clone(), before: self.ring.end() });
            return Way::Session;
        }
        match &self.reach {
            Reach::Session => {
                Way::None(Problem::new(ProblemKind::OutsideUnreachable, "the system has no open session"))
            }
            Reach::Webhook(_) if self.calls >= limits.webhook_calls_per_system_max => {
                overloaded("webhook_calls_per_system_max", limits.webhook_calls_per_system_max)
            }
            Reach::Webhook(url) => {
                self.calls += 1;
                Way::Webhook(url.clone())
            }
        }
    }

    /// What comes out of session `number` next; `Err` when it is the open one no more.
    fn take(&mut self, number: u64, limits: &OutsideLimits) -> Result<Option<Outgoing>, ()> {
        let open = self.session.as_mut().filter(|open| open.number == number).ok_or(())?;
        while let Some(queued) = open.queue.front() {
            if queued.before > self.told.next {
                break;
            }
            let Some(Queued { asked, .. }) = open.queue.pop_front() else { break };
            // Its actor has told the asker that no answer came: to have it carried out now would surprise everybody.
            if asked.since.elapsed() >= limits.answer_within() {
                continue;
            }
            open.unanswered.insert(asked.request, asked.since);
            return Ok(Some(Outgoing::Request { request: asked.request, body: asked.body }));
        }
        Ok(self.ring.read(&mut self.told, |_| true))
    }
}

impl Open {
    /// Forgets requests whose actor has given them up. All are looked at only when there are many.
    fn forget_given_up(&mut self, limits: &OutsideLimits) {
        if self.unanswered.len() >= limits.session_unanswered_max {
            self.unanswered.retain(|_, since| since.elapsed() < limits.answer_within());
        }
    }
}

/// An open way to one external system: its session, or a listener to its events. Dropping it closes it.
#[derive(Debug)]
pub struct Session {
    hub: Arc<Hub>,
    system: Arc<System>,
    part: Part,
    /// A gap that is told when it is known what it may have been about.
    gap: Option<Gap>,
}

#[derive(Debug)]
enum Part {
    Session {
        number: u64,
        /// What pressed up to here has come out.
        pressed: u64,
    },
    Listener(Box<Listener>),
}

impl Session {
    /// Opens the system's session. Requests that the older one had not handed out come out of this one.
    pub(super) fn open(hub: Arc<Hub>, system: Arc<System>) -> Result<Self, Problem> {
        let mut state = system.state.lock();
        let mut ended = Ended::default();
        let (permit, queue) = match state.session.take() {
            Some(Open { queue, unanswered, _permit, .. }) => {
                ended.unanswered = unanswered.into_keys().collect();
                (_permit, queue)
            }
            None => (hub.session_permit()?, VecDeque::new()),
        };
        state.sessions_opened += 1;
        let number = state.sessions_opened;
        state.session = Some(Open { number, queue, unanswered: BTreeMap::new(), _permit: permit });
        drop(state);
        system.press();
        hub.ended(&system, ended);
        hub.session_changed(system.entity, true);
        Ok(Self { hub, system, part: Part::Session { number, pressed: 0 }, gap: None })
    }

    /// Listens to those of the system's events that are wanted.
    pub(super) fn listen(hub: Arc<Hub>, system: Arc<System>, from: EventsFrom, watch: Watch) -> Result<Self, Problem> {
        let permit = hub.listener_permit()?;
        let cursor = system.state.lock().ring.cursor(from);
        let listener = Listener::new(cursor, watch, permit);
        Ok(Self { hub, system, part: Part::Listener(Box::new(listener)), gap: None })
    }

    /// What comes next; `None` when another session has taken this one's place or the enabler ends.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Option<Outgoing> {
        let system = Arc::clone(&self.system);
        loop {
            // Made before the look: what comes between the look and the wait wakes it.
            let woken = system.wake.notified();
            if self.hub.is_closed() {
                return None;
            }
            if self.gap.is_some() {
                let twins = self.passed_by().await;
                return self.gap.take().map(|gap| Outgoing::Gap(Gap { twins, ..gap }));
            }
            match self.hear().ok()? {
                Heard::Told(Outgoing::Gap(gap)) if gap.is_of_another_run() => self.gap = Some(gap),
                Heard::Told(outgoing) => return Some(outgoing),
                Heard::Again => tokio::task::yield_now().await,
                Heard::Nothing => woken.await,
            }
        }
    }

    /// Of each twin that the system has selected, the last version that is not told behind a gap between runs: what
    /// happened to it in the run before, only who listens knows.
    async fn passed_by(&self) -> Option<Vec<MissedTwin>> {
        let Part::Listener(listener) = &self.part else { return None };
        let entity = self.system.entity;
        let actors = self.hub.actors.read().clone()?;
        if SystemKind::of(entity) != Some(SystemKind::Metaverse) {
            return None;
        }
        let mut selected = actors.selected(entity, self.system.id.clone(), self.hub.limits.answer_within()).await?;
        selected.retain(|twin| listener.is_about(twin));
        if selected.len() > GAP_TWINS_MAX {
            return None;
        }
        let twins = selected.into_iter().filter_map(|twin| Some((self.hub.readers.twins.get(&twin)?.version, twin)));
        let shown: Vec<_> = twins.collect();
        // A twin shows a version a moment before the system's actor tells of it. What was on its way there is told by now
        // when the actor has answered once more: otherwise it would be named as missed, and told behind the gap.
        actors.selected(entity, self.system.id.clone(), self.hub.limits.answer_within()).await?;
        let told = self.system.state.lock().ring.first_versions();
        let passed_by = shown.into_iter().map(|(version, twin)| {
            let last = told.get(&twin).map_or(version, |first| first.saturating_sub(1));
            MissedTwin { twin: Some(twin), missed: 0, first_version: None, last_version: Some(last) }
        });
        Some(passed_by.collect())
    }

    /// What is there already; `None` when nothing is, or as for [`Session::next`].
    pub fn ready(&mut self) -> Option<Outgoing> {
        if self.hub.is_closed() {
            return None;
        }
        match self.hear().ok()? {
            Heard::Told(outgoing) => Some(outgoing),
            Heard::Again | Heard::Nothing => None,
        }
    }

    /// Waits until something is there that is not mere news of what others did ([`Session::next`] gives it, behind what
    /// came before), or until there is nothing more to wait for. A session that tells news a little later and together
    /// waits for this meanwhile; for a listener it never comes.
    pub async fn pressing(&mut self) {
        let Part::Session { pressed, .. } = &mut self.part else { return std::future::pending().await };
        loop {
            // Made before the look: what comes between the look and the wait wakes it.
            let woken = self.system.pressing.notified();
            let now = self.system.pressed.load(Ordering::Acquire);
            if *pressed != now || self.hub.is_closed() {
                *pressed = now;
                return;
            }
            woken.await;
        }
    }

    fn hear(&mut self) -> Result<Heard, ()> {
        match &mut self.part {
            Part::Session { number, pressed } => {
                let now = self.system.pressed.load(Ordering::Acquire);
                let taken = self.system.state.lock().take(*number, &self.hub.limits)?;
                if taken.is_none() {
                    *pressed = now;
                }
                Ok(taken.map_or(Heard::Nothing, Heard::Told))
            }
            Part::Listener(listener) => Ok(listener.hear(&self.hub, &self.system)),
        }
    }

    /// Whether a newer session of the same system has taken this one's place. A listener never loses its own.
    #[must_use]
    pub fn replaced(&self) -> bool {
        match self.part {
            Part::Session { number, .. } => self.system.state.lock().sessions_opened != number,
            Part::Listener(_) => false,
        }
    }

    /// The system that this is a way to.
    #[must_use]
    pub fn system(&self) -> &SystemId {
        &self.system.id
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Part::Session { number, .. } = self.part else { return };
        let ended = {
            let mut state = self.system.state.lock();
            match state.session.take_if(|open| open.number == number) {
                Some(open) => Ended {
                    unanswered: open.unanswered.into_keys().collect(),
                    queued: open.queue.into_iter().map(|queued| queued.asked).collect(),
                },
                None => return,
            }
        };
        self.hub.ended(&self.system, ended);
        self.hub.session_changed(self.system.entity, false);
    }
}

impl OutsideLimits {
    /// How long an asker waits for an external system's answer.
    pub(super) fn answer_within(&self) -> Duration {
        Duration::from_millis(self.answer_ms_max)
    }
}
