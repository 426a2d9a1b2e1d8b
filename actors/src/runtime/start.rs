//! Starting a system: replaying the journal, placing entities on arbiters, and ending in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use actix::{Actor, Arbiter};
use actix_rt::ArbiterHandle;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use twinway_protocol::{Behaviour, EntityId, Mailbox, Ref, WireSet};

use super::{
    Handle, Inbox, Options, TraceFeed,
    book::{Place, Shared},
    cells::{Cell, Cells, Single, Slots},
    clock,
    inbox::{Command, Inlet},
    recovery::replay,
    shell::Shell,
};
use crate::{
    assembly::Assembly,
    port::{
        journal::{Entry, EntryKind, Journal, JournalError},
        link::{Link, OwnLink},
        outlet::Outlet,
    },
};

/// Why a system did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What the journal holds of an entity cannot be taken over.
    #[error("the records of {kind} {entity:?} cannot be replayed: {reason}")]
    Replay {
        /// What kind of entity.
        kind: &'static str,
        /// Which.
        entity: EntityId,
        /// Why.
        reason: String,
    },
    /// The journal holds an entity of a kind that this system has not.
    #[error("the journal holds an entity {0:?} of a kind that is not known here")]
    UnknownKind(EntityId),
    /// A thread could not be started, or ended at once.
    #[error("no thread for the actors: {0}")]
    Thread(String),
}

/// Where the entities of one type are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placement {
    /// One, at slot 0, that is always there.
    Alone,
    /// Any number, each in an actor of its own.
    Actors,
    /// Any number, in one shard actor an arbiter.
    Shards,
}

/// The entities of one type, while the system starts.
trait Kind<W: WireSet>: Send {
    fn replay(&mut self, entry: &Entry, incarnation: u32) -> Result<(), String>;
    fn place(self: Box<Self>, shared: &Arc<Shared<W>>);
}

struct KindOf<B: Behaviour> {
    settings: Arc<B::Settings>,
    placement: Placement,
    found: BTreeMap<EntityId, B>,
    dirty: BTreeSet<(EntityId, u64)>,
}

/// Starts a shell on an arbiter and gives the way to it.
fn launch<B, C>(
    shared: &Arc<Shared<B::Wire>>,
    arbiter: Option<&ArbiterHandle>,
    settings: Arc<B::Settings>,
    cells: C,
    dirty: BTreeSet<(EntityId, u64)>,
) -> Arc<dyn Inlet<B::Wire>>
where
    B: Behaviour + Send,
    B::Record: Send,
    C: Cells<B> + Send,
{
    let inbox = Arc::new(Inbox::new(shared.options.inbox_outside_max, shared.options.inbox_total_max));
    let shell: Shell<B, C> = Shell::new(Arc::clone(shared), settings, cells, Arc::clone(&inbox), dirty);
    let started = arbiter.is_some_and(|arbiter| {
        arbiter.spawn_fn(move || {
            shell.start();
        })
    });
    if !started {
        tracing::error!(kind = B::Wire::kind_name(B::Msg::KIND), "an actor could not be started: its thread has ended");
    }
    inbox
}

impl<B> Kind<B::Wire> for KindOf<B>
where
    B: Behaviour + Send,
    B::Record: Send,
{
    fn replay(&mut self, entry: &Entry, incarnation: u32) -> Result<(), String> {
        let id = entry.entity;
        if entry.kind == EntryKind::Forget {
            self.found.remove(&id);
            self.dirty.retain(|(dirty, _)| *dirty != id);
            return Ok(());
        }
        if entry.kind == EntryKind::Record {
            self.dirty.insert((id, entry.part));
        }
        let settings = &self.settings;
        replay(self.found.entry(id).or_insert_with(|| B::new(id, settings, incarnation)), entry)
    }

    fn place(self: Box<Self>, shared: &Arc<Shared<B::Wire>>) {
        let Self { settings, placement, found, dirty } = *self;
        let of = |id: EntityId, dirty: &BTreeSet<(EntityId, u64)>| {
            dirty.range((id, 0)..=(id, u64::MAX)).copied().collect::<BTreeSet<_>>()
        };
        if placement == Placement::Shards {
            place_in_shards::<B>(shared, settings, found, &dirty);
            return;
        }
        // A spawner makes an actor for whoever waits in this table, or else a new one.
        let waiting = Arc::new(Mutex::new(found));
        let ids: Vec<EntityId> = waiting.lock().keys().copied().collect();
        let spawner = {
            let waiting = Arc::clone(&waiting);
            Box::new(move |shared: &Arc<Shared<B::Wire>>, id: EntityId| {
                let known = waiting.lock().remove(&id);
                let behaviour = known.unwrap_or_else(|| {
                    let incarnation =
                        (shared.chance(twinway_protocol::EventId::new(shared.next_actor(), 1)) >> 16) as u32;
                    B::new(id, &settings, incarnation)
                });
                let cells = Single(Some(Cell::new(id, behaviour)));
                launch::<B, _>(shared, shared.arbiters.next(), Arc::clone(&settings), cells, of(id, &dirty))
            })
        };
        shared.settle(B::Msg::KIND, Place::Actors { slots: Default::default(), spawner });
        ids.into_iter().for_each(|id| shared.spawn(id));
        if placement == Placement::Alone {
            shared.spawn(EntityId::new(B::Msg::KIND, 0, 0));
        }
    }
}

fn place_in_shards<B>(
    shared: &Arc<Shared<B::Wire>>,
    settings: Arc<B::Settings>,
    found: BTreeMap<EntityId, B>,
    dirty: &BTreeSet<(EntityId, u64)>,
) where
    B: Behaviour + Send,
    B::Record: Send,
{
    let arbiters = shared.arbiters.all();
    let count = arbiters.len().max(1);
    let mut shards: Vec<_> = (0..count).map(|_| (Slots::<B>::new(count), BTreeSet::new())).collect();
    for (id, behaviour) in found {
        if let Some((slots, shard_dirty)) = shards.get_mut(id.slot() as usize % count) {
            slots.insert(Cell::new(id, behaviour));
            shard_dirty.extend(dirty.range((id, 0)..=(id, u64::MAX)).copied());
        }
    }
    let inlets = shards
        .into_iter()
        .zip(arbiters)
        .map(|((slots, dirty), arbiter)| launch::<B, _>(shared, Some(arbiter), Arc::clone(&settings), slots, dirty))
        .collect();
    shared.settle(B::Msg::KIND, Place::Shards(inlets));
}

/// Says what a system is made of, and starts it.
pub struct Builder<W: WireSet> {
    options: Options,
    journal: Arc<dyn Journal>,
    outlet: Arc<dyn Outlet<W>>,
    feed: Option<TraceFeed>,
    link: OwnLink<W>,
    chance: u64,
    kinds: BTreeMap<u8, Box<dyn Kind<W>>>,
}

impl<W: WireSet> fmt::Debug for Builder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<W: WireSet> Builder<W> {
    /// A system without entities yet. `chance` seeds what its entities draw ([`twinway_protocol::Out::chance`]).
    #[must_use]
    pub fn new(options: Options, journal: Arc<dyn Journal>, outlet: Arc<dyn Outlet<W>>, chance: u64) -> Self {
        Self { options, journal, outlet, feed: None, link: None, chance, kinds: BTreeMap::new() }
    }

    /// Feeds every event of every actor to a listener.
    #[must_use]
    pub fn trace(mut self, feed: Option<TraceFeed>) -> Self {
        self.feed = feed;
        self
    }

    /// Carries every message between actors by `link`; without one they arrive at once.
    #[must_use]
    pub fn link(mut self, link: Arc<dyn Link<W>>) -> Self {
        self.link = Some(link);
        self
    }

    fn with<B>(mut self, settings: B::Settings, placement: Placement) -> Self
    where
        B: Behaviour<Wire = W> + Send,
        B::Record: Send,
    {
        let kind =
            KindOf::<B> { settings: Arc::new(settings), placement, found: BTreeMap::new(), dirty: BTreeSet::new() };
        self.kinds.insert(B::Msg::KIND, Box::new(kind));
        self
    }

    /// Replays the journal, starts the actors on threads of their own, and waits until every entity has recovered.
    ///
    /// # Errors
    /// When the journal cannot be read or taken over, or no threads can be had. Nothing runs then.
    pub async fn start(self) -> Result<System<W>, StartError> {
        let (report, started) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("twinway-system".to_owned())
            .spawn(move || run(self, report))
            .map_err(|error| StartError::Thread(error.to_string()))?;
        let ended = || StartError::Thread("the system's thread ended before it had started".to_owned());
        let (shared, system) = started.await.map_err(|_| ended())??;
        let system = System { shared, system, thread: Some(thread) };
        for inlet in system.shared.inlets() {
            inlet.command(Command::Recovered);
        }
        system.quiet().await;
        Ok(system)
    }
}

impl<W: WireSet> Assembly<W> for Builder<W> {
    fn entity<B>(self, settings: B::Settings) -> Self
    where
        B: Behaviour<Wire = W> + Send,
        B::Record: Send,
    {
        self.with::<B>(settings, Placement::Alone)
    }

    fn actors<B>(self, settings: B::Settings) -> Self
    where
        B: Behaviour<Wire = W> + Send,
        B::Record: Send,
    {
        self.with::<B>(settings, Placement::Actors)
    }

    fn shards<B>(self, settings: B::Settings) -> Self
    where
        B: Behaviour<Wire = W> + Send,
        B::Record: Send,
    {
        self.with::<B>(settings, Placement::Shards)
    }
}

type Started<W> = Result<(Arc<Shared<W>>, actix_rt::System), StartError>;

/// The system's thread: it starts the arbiters, and then looks after checkpoints.
fn run<W: WireSet>(builder: Builder<W>, report: oneshot::Sender<Started<W>>) {
    let Builder { options, journal, outlet, feed, link, chance, mut kinds } = builder;
    let replayed = replay_all::<W>(&*journal, &mut kinds, chance);
    if let Err(error) = replayed {
        let _gone = report.send(Err(error));
        return;
    }
    let runner = actix_rt::System::new();
    let system = runner.block_on(async { actix_rt::System::current() });
    let count = if options.arbiters > 0 {
        options.arbiters
    } else {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    };
    let shared = Arc::new(Shared::new(options, journal, outlet, feed, link, chance));
    let started = runner.block_on(async {
        let arbiter = |_| Arbiter::try_with_tokio_rt(arbiter_runtime).map(|arbiter| arbiter.handle());
        shared.arbiters.set((0..count).map(arbiter).collect::<io::Result<_>>()?);
        for kind in kinds.into_values() {
            kind.place(&shared);
        }
        actix_rt::spawn(keep_replay_short(Arc::clone(&shared)));
        io::Result::Ok(())
    });
    let started = match started {
        Ok(()) => Ok((shared, system)),
        Err(error) => {
            // Those that there are end with it.
            system.stop();
            Err(StartError::Thread(error.to_string()))
        }
    };
    if report.send(started).is_ok()
        && let Err(error) = runner.run()
    {
        tracing::error!(%error, "the actors' system ended with an error");
    }
}

/// What an arbiter runs on: a runtime of one thread, which knows when it has slept.
fn arbiter_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().on_thread_unpark(clock::outdated).build()
}

fn replay_all<W: WireSet>(
    journal: &dyn Journal,
    kinds: &mut BTreeMap<u8, Box<dyn Kind<W>>>,
    chance: u64,
) -> Result<(), StartError> {
    let mut failed = None;
    journal.replay(None, &mut |entry| {
        let entity = entry.entity;
        if failed.is_some() {
            return;
        }
        match kinds.get_mut(&entity.kind()) {
            None => failed = Some(StartError::UnknownKind(entity)),
            Some(kind) => {
                let incarnation = (chance ^ entity.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 16;
                if let Err(reason) = kind.replay(&entry, incarnation as u32) {
                    failed = Some(StartError::Replay { kind: W::kind_name(entity.kind()), entity, reason });
                }
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// How often the length of a replay is looked at.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

async fn keep_replay_short<W: WireSet>(shared: Arc<Shared<W>>) {
    loop {
        tokio::time::sleep(CHECKPOINT_EVERY).await;
        match shared.journal.stats() {
            Ok(stats) if stats.replay_bytes > shared.options.checkpoint_bytes => {
                if let Err(error) = checkpoint(&shared).await {
                    tracing::warn!(error, "no checkpoint; the journal grows until the next one");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the journal does not tell its length"),
        }
    }
}

/// Has every shell write snapshots of what changed, and drops the entries that they cover.
async fn checkpoint<W: WireSet>(shared: &Arc<Shared<W>>) -> Result<(), String> {
    let before = shared.journal.position();
    let mut all = true;
    for inlet in shared.inlets() {
        let (done, answer) = oneshot::channel();
        inlet.command(Command::Checkpoint(done));
        // A shell that has ended meanwhile has forgotten its records.
        all &= answer.await.unwrap_or(true);
    }
    if !all {
        return Err("an entity could not be written down".to_owned());
    }
    shared.journal.truncate(before).map_err(|error| error.to_string())
}

/// A running system. Dropping it leaves it running for as long as the process; [`System::shutdown`] ends it.
pub struct System<W: WireSet> {
    shared: Arc<Shared<W>>,
    system: actix_rt::System,
    thread: Option<JoinHandle<()>>,
}

impl<W: WireSet> fmt::Debug for System<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<W: WireSet> System<W> {
    /// A way to the actors.
    #[must_use]
    pub fn handle(&self) -> Handle<W> {
        Handle(Arc::clone(&self.shared))
    }

    /// Makes the entity at `to`, unless it is there.
    pub fn spawn<M: Mailbox<Wire = W>>(&self, to: Ref<M>) {
        self.shared.spawn(to.id());
    }

    /// Writes snapshots of all that changed and shortens the journal.
    ///
    /// # Errors
    /// Says why it was not shortened; nothing is lost then.
    pub fn checkpoint(&self) -> impl Future<Output = Result<(), String>> + Send + use<W> {
        let shared = Arc::clone(&self.shared);
        async move { checkpoint(&shared).await }
    }

    /// Waits until nothing is under way in any actor.
    pub async fn quiet(&self) {
        let mut before = None;
        loop {
            let mut turns = 0;
            for inlet in self.shared.inlets() {
                let (idle, answer) = oneshot::channel();
                inlet.command(Command::Idle(idle));
                turns += answer.await.unwrap_or(0);
            }
            // Nothing waited anywhere during a whole round in which nobody took a turn.
            if before == Some(turns) {
                return;
            }
            before = Some(turns);
        }
    }

    /// Takes no more requests, lets what is under way finish (at most [`Options::drain_ms_max`]), makes everything
    /// durable, and ends the actors and their threads.
    ///
    /// # Errors
    /// When the journal could not be closed in order. The actors have ended all the same.
    pub async fn shutdown(mut self) -> Result<(), JournalError> {
        self.shared.stopping.store(true, Ordering::Release);
        let limit = Duration::from_millis(self.shared.options.drain_ms_max);
        if tokio::time::timeout(limit, self.quiet()).await.is_err() {
            tracing::warn!(limit_ms = self.shared.options.drain_ms_max, "not everything under way was finished");
        }
        let stopped: Vec<_> = self
            .shared
            .inlets()
            .into_iter()
            .map(|inlet| {
                let (done, stopped) = oneshot::channel();
                inlet.command(Command::Stop(done));
                stopped
            })
            .collect();
        let all_stopped = async {
            for stopped in stopped {
                // One that has ended by itself before does not answer.
                let _gone = stopped.await;
            }
        };
        if tokio::time::timeout(limit, all_stopped).await.is_err() {
            tracing::warn!("an actor does not end");
        }
        let closed = self.shared.journal.close();
        self.system.stop();
        if let Some(thread) = self.thread.take() {
            // Joining blocks for a moment only: every arbiter has been told to stop.
            let _panicked = thread.join();
        }
        // An external system that has not answered will not be heard any more.
        self.shared.callers.fail_all();
        closed
    }
}
