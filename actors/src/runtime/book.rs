//! The address book: where messages for an entity go.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use actix_rt::ArbiterHandle;
use parking_lot::{Mutex, RwLock};
use twinway_protocol::{
    EntityId, EventId, Meta, PendingKey, Problem, ProblemKind, WireSet,
    time::{Now, Timestamp},
};

use super::{
    CALLER_KIND, Options, Rejection,
    callers::Callers,
    inbox::{Command, Inlet},
    tracer::TraceFeed,
};
use crate::port::{journal::Journal, link::OwnLink, outlet::Outlet};

/// Makes the actor of an entity that has one of its own.
pub(crate) type Spawner<W> = Box<dyn Fn(&Arc<Shared<W>>, EntityId) -> Arc<dyn Inlet<W>> + Send + Sync>;

/// Slots of one kind: each with the generation that lives there and the way to it.
type Slots<W> = RwLock<Vec<Option<(u32, Arc<dyn Inlet<W>>)>>>;

/// Where the entities of one kind are.
pub(crate) enum Place<W: WireSet> {
    /// Each in an actor of its own.
    Actors { slots: Slots<W>, spawner: Spawner<W> },
    /// In shards: slot modulo their number.
    Shards(Box<[Arc<dyn Inlet<W>>]>),
}

/// How many ways an actor keeps.
const WAYS: usize = 16;

/// An entity and the way to it.
type Way<W> = (EntityId, Arc<dyn Inlet<W>>);

/// How many answers to callers outside wait for each other at most.
const ANSWERS_TOGETHER_MAX: usize = 64;

/// The ways from one actor to those it sends to most: a look-up in the book costs a lock.
pub(crate) struct Ways<W> {
    kept: [Option<Way<W>>; WAYS],
    /// Answers to callers outside, which leave together: a caller may wait on another thread, and to wake that costs more
    /// than a turn.
    answers: Vec<(PendingKey, W)>,
}

impl<W> Default for Ways<W> {
    fn default() -> Self {
        Self { kept: [const { None }; WAYS], answers: Vec::new() }
    }
}

impl<W> Ways<W> {
    /// Kinds differ in the highest bits, entities of one kind in the lowest.
    fn index(id: EntityId) -> usize {
        (usize::from(id.kind()) ^ id.slot() as usize) % WAYS
    }

    fn find(&self, id: EntityId) -> Option<&Arc<dyn Inlet<W>>> {
        match self.kept.get(Self::index(id)) {
            Some(Some((kept, inlet))) if *kept == id => Some(inlet),
            _ => None,
        }
    }

    fn keep(&mut self, id: EntityId, inlet: Option<Arc<dyn Inlet<W>>>) {
        if let Some(slot) = self.kept.get_mut(Self::index(id)) {
            *slot = inlet.map(|inlet| (id, inlet));
        }
    }
}

/// The threads that run actors; set once while the system starts, and given out in turn.
#[derive(Default)]
pub(crate) struct Arbiters {
    handles: OnceLock<Vec<ArbiterHandle>>,
    next: AtomicUsize,
}

impl Arbiters {
    pub(crate) fn set(&self, handles: Vec<ArbiterHandle>) {
        self.handles.get_or_init(|| handles);
    }

    pub(crate) fn all(&self) -> &[ArbiterHandle] {
        self.handles.get().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn next(&self) -> Option<&ArbiterHandle> {
        let all = self.all();
        all.get(self.next.fetch_add(1, Ordering::Relaxed) % all.len().max(1))
    }
}

/// What all shells of a system share.
pub(crate) struct Shared<W: WireSet> {
    /// By kind; set once while the system starts.
    places: [OnceLock<Place<W>>; 256],
    pub(crate) callers: Callers<W>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) outlet: Arc<dyn Outlet<W>>,
    pub(crate) options: Options,
    pub(crate) feed: Option<TraceFeed>,
    link: OwnLink<W>,
    pub(crate) arbiters: Arbiters,
    pub(crate) stopping: AtomicBool,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) quarantined: Mutex<Vec<(EntityId, String)>>,
    next_actor: AtomicU32,
    began: Instant,
    chance: u64,
}

impl<W: WireSet> fmt::Debug for Shared<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<W: WireSet> Shared<W> {
    pub(crate) fn new(
        options: Options,
        journal: Arc<dyn Journal>,
        outlet: Arc<dyn Outlet<W>>,
        feed: Option<TraceFeed>,
        link: OwnLink<W>,
        chance: u64,
    ) -> Self {
        Self {
            places: [const { OnceLock::new() }; 256],
            callers: Callers::new(options.requests_under_way_max),
            journal,
            outlet,
            options,
            feed,
            link,
            arbiters: Arbiters::default(),
            stopping: AtomicBool::new(false),
            dead_letters: AtomicU64::new(0),
            quarantined: Mutex::new(Vec::new()),
            next_actor: AtomicU32::new(1),
            began: Instant::now(),
            chance,
        }
    }

    /// The wall clock.
    pub(crate) fn wall() -> Timestamp {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_ms(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
    }

    /// Both clocks.
    pub(crate) fn now(&self) -> Now {
        Now { monotonic_ms: self.elapsed_ns() / 1_000_000, wall: Self::wall() }
    }

    pub(crate) fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A seed that differs for every event of a run, and from run to run.
    pub(crate) fn chance(&self, event: EventId) -> u64 {
        self.chance ^ event.to_bits().wrapping_mul(0xd6e8_feb8_6659_fd93)
    }

    /// The index of a new actor, for its events.
    pub(crate) fn next_actor(&self) -> u32 {
        self.next_actor.fetch_add(1, Ordering::Relaxed)
    }

    fn place(&self, kind: u8) -> Option<&Place<W>> {
        self.places.get(usize::from(kind)).and_then(OnceLock::get)
    }

    pub(crate) fn settle(&self, kind: u8, place: Place<W>) -> bool {
        self.places.get(usize::from(kind)).is_some_and(|there| there.set(place).is_ok())
    }

    fn inlet(&self, id: EntityId) -> Option<Arc<dyn Inlet<W>>> {
        match self.place(id.kind())? {
            Place::Actors { slots, .. } => match slots.read().get(id.slot() as usize) {
                Some(Some((generation, inlet))) if *generation == id.generation() => Some(Arc::clone(inlet)),
                _ => None,
            },
            Place::Shards(shards) => shards.get(id.slot() as usize % shards.len()).map(Arc::clone),
        }
    }

    /// Every way to a shell.
    pub(crate) fn inlets(&self) -> Vec<Arc<dyn Inlet<W>>> {
        let mut all = Vec::new();
        for place in self.places.iter().filter_map(OnceLock::get) {
            match place {
                Place::Actors { slots, .. } => {
                    all.extend(slots.read().iter().flatten().map(|(_, inlet)| Arc::clone(inlet)));
                }
                Place::Shards(shards) => all.extend(shards.iter().map(Arc::clone)),
            }
        }
        all
    }

    /// Gives `message` to whom it is for, now.
    pub(crate) fn push(&self, meta: &Meta, wire: &mut Option<W>, admitted: bool) -> Result<(), Rejection> {
        // The slot is looked at under its lock, without counting the inlet up and down.
        match self.place(meta.to.kind()) {
            Some(Place::Actors { slots, .. }) => match slots.read().get(meta.to.slot() as usize) {
                Some(Some((generation, inlet))) if *generation == meta.to.generation() => {
                    inlet.push(meta, wire, admitted)
                }
                _ => Err(Rejection::Gone),
            },
            Some(Place::Shards(shards)) => match shards.get(meta.to.slot() as usize % shards.len()) {
                Some(shard) => shard.push(meta, wire, admitted),
                None => Err(Rejection::Gone),
            },
            None => Err(Rejection::Gone),
        }
    }

    /// The same, for an actor that keeps the ways to those it sends to most. The message is taken out of `wire`.
    /// An answer to a caller outside leaves with [`Shared::answer_callers`] at the latest.
    pub(crate) fn deliver_by(self: &Arc<Self>, ways: &mut Ways<W>, meta: &Meta, wire: &mut Option<W>) {
        if meta.to.kind() == CALLER_KIND {
            ways.answers.extend(wire.take().map(|answer| (meta.pending, answer)));
            if ways.answers.len() >= ANSWERS_TOGETHER_MAX {
                self.answer_callers(ways);
            }
            return;
        }
        if self.link.is_none() {
            match ways.find(meta.to).map(|inlet| inlet.push(meta, wire, true)) {
                Some(Ok(())) => return,
                Some(Err(Rejection::Full)) => return self.reject(meta, wire.take(), Rejection::Full),
                // Whoever was there has ended; somebody may have come in its place.
                Some(Err(Rejection::Gone)) | None => ways.keep(meta.to, self.inlet(meta.to)),
            }
        }
        let Some(wire) = wire.take() else { return };
        match &self.link {
            Some(link) => link.carry(*meta, wire, Arrival(Arc::clone(self))),
            None => self.deliver(*meta, wire),
        }
    }

    /// Hands over the answers that an actor gave to callers outside.
    pub(crate) fn answer_callers(&self, ways: &mut Ways<W>) {
        if ways.answers.is_empty() {
            return;
        }
        let together = ways.answers.len();
        self.callers.answer_all(&mut ways.answers);
        // Most actors of a large register answer one at a time: they keep no memory for it.
        if together == 1 {
            ways.answers = Vec::new();
        }
    }

    /// Gives `message` to whom it is for; if that cannot be, answers a question with why, and counts the rest.
    pub(crate) fn deliver(&self, meta: Meta, wire: W) {
        if meta.to.kind() == CALLER_KIND {
            if !self.callers.answer(meta.pending, wire) {
                tracing::debug!(?meta, "an answer came after its caller had gone");
            }
            return;
        }
        let mut wire = Some(wire);
        if let Err(rejection) = self.push(&meta, &mut wire, true) {
            self.reject(&meta, wire, rejection);
        }
    }

    fn reject(&self, meta: &Meta, wire: Option<W>, rejection: Rejection) {
        let Some(wire) = wire else { return };
        let Some(refusal) = wire.refusal() else {
            self.dead_letter(*meta, &wire, rejection);
            return;
        };
        self.refuse(*meta, refusal(meta.from.kind(), rejection_problem::<W>(meta.to, rejection)));
    }

    /// Answers a question that nobody will handle.
    pub(crate) fn refuse(&self, meta: Meta, answer: Option<W>) {
        let Some(answer) = answer else { return };
        // Who asked with no key does not want to hear.
        if meta.pending == PendingKey::NONE {
            return;
        }
        // As with `Ask::answered`: the answer to what is no step is none.
        let step = meta.step.and(answer.describe().0);
        let back = Meta { from: meta.to, to: meta.from, cause: meta.cause, pending: meta.pending, step };
        if back.to.kind() == CALLER_KIND {
            self.callers.answer(back.pending, answer);
            return;
        }
        let mut answer = Some(answer);
        if let Err(rejection) = self.push(&back, &mut answer, true)
            && let Some(answer) = answer
        {
            self.dead_letter(back, &answer, rejection);
        }
    }

    /// Counts a message that reaches nobody, and logs it.
    pub(crate) fn dead_letter(&self, meta: Meta, wire: &W, rejection: Rejection) {
        let count = self.dead_letters.fetch_add(1, Ordering::Relaxed) + 1;
        let kind = W::kind_name(meta.to.kind());
        metrics::counter!("twinway_dead_letters_total", "kind" => kind).increment(1);
        // A flood of dead letters shall not flood the log: the first of every power of two is told.
        if count.is_power_of_two() {
            let message = wire.describe().1;
            tracing::warn!(count, to = ?meta.to, kind, from = ?meta.from, message, ?rejection, "dead letter");
        }
    }

    /// Makes the entity at `id`, unless it is there.
    pub(crate) fn spawn(self: &Arc<Self>, id: EntityId) {
        match self.place(id.kind()) {
            Some(Place::Actors { slots, spawner }) => {
                let mut slots = slots.write();
                let index = id.slot() as usize;
                if slots.len() <= index {
                    slots.resize_with(index + 1, || None);
                }
                if let Some(slot) = slots.get_mut(index)
                    && slot.as_ref().is_none_or(|(generation, _)| *generation != id.generation())
                {
                    *slot = Some((id.generation(), spawner(self, id)));
                }
            }
            Some(Place::Shards(shards)) => {
                if let Some(shard) = shards.get(id.slot() as usize % shards.len()) {
                    shard.command(Command::Spawn(id));
                }
            }
            None => tracing::error!(?id, "an entity of no known kind cannot be made"),
        }
    }

    /// Makes an entity in the next free slot of an actor kind.
    pub(crate) fn spawn_next(self: &Arc<Self>, kind: u8) -> Option<EntityId> {
        let Some(Place::Actors { slots, spawner }) = self.place(kind) else { return None };
        let mut slots = slots.write();
        let id = EntityId::new(kind, 0, u32::try_from(slots.len()).ok()?);
        slots.push(Some((0, spawner(self, id))));
        Some(id)
    }

    /// Whether the entity lives in a shard.
    pub(crate) fn is_sharded(&self, id: EntityId) -> bool {
        matches!(self.place(id.kind()), Some(Place::Shards(_)))
    }

    /// Takes an actor's entry out.
    pub(crate) fn remove(&self, id: EntityId) {
        if let Some(Place::Actors { slots, .. }) = self.place(id.kind())
            && let Some(slot) = slots.write().get_mut(id.slot() as usize)
            && slot.as_ref().is_some_and(|(generation, _)| *generation == id.generation())
        {
            *slot = None;
        }
    }
}

/// Where a link hands over what it carried.
#[derive(Debug)]
pub struct Arrival<W: WireSet>(Arc<Shared<W>>);

impl<W: WireSet> Clone for Arrival<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: WireSet> Arrival<W> {
    /// Takes a message in, for whom it is for. If nobody is there, whoever asked hears so.
    pub fn take_in(&self, meta: Meta, wire: W) {
        self.0.deliver(meta, wire);
    }
}

/// What is answered when a question is not taken.
pub(crate) fn rejection_problem<W: WireSet>(to: EntityId, rejection: Rejection) -> Problem {
    let kind = W::kind_name(to.kind());
    match rejection {
        Rejection::Full => Problem::new(ProblemKind::Overloaded, format!("the inbox of {kind} is full")),
        Rejection::Gone => Problem::new(ProblemKind::Internal, format!("{kind} {to:?} is not there")),
    }
}
