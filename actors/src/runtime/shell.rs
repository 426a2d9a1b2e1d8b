//! The actix actor around behaviours: it takes turns, writes their records down, and lets out what follows.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque},
    hash::BuildHasherDefault,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use actix::{Actor, ActorContext, AsyncContext, Context, fut::ActorFuture};
use tokio::{sync::oneshot, time::Sleep};
use twinway_protocol::{
    Behaviour, Effect, EntityId, Envelope, EventId, Mailbox, Meta, Out, PendingKey, Recovery, Refusal, StepId, Turn,
    WireSet, time::Now,
};

use super::{
    CALLER_KIND, Inbox, Rejection,
    book::{Shared, Ways, rejection_problem},
    cells::{Cell, CellState, Cells},
    clock,
    hasher::NumberHasher,
    inbox::Command,
    recovery::Failures,
    tracer::Tracer,
};
use crate::{
    codec,
    port::journal::{Entry, EntryKind, Listener, Urgency},
};

/// What follows from a turn and waits for the journal.
pub(super) struct Held<W: WireSet> {
    pub(super) position: u64,
    pub(super) id: EntityId,
    pub(super) event: EventId,
    pub(super) effects: Vec<Effect<W>>,
}

/// A timer of one entity, ordered by when it runs out.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub(super) due_ms: u64,
    pub(super) id: EntityId,
    pub(super) key: PendingKey,
    pub(super) cause: EventId,
}

/// What wakes the pump when nothing else does.
struct Alarm {
    due_ms: u64,
    sleep: Pin<Box<Sleep>>,
    /// Whom it wakes, once it was polled.
    waker: Option<Waker>,
}

/// A question under way, with how to refuse it.
pub(super) type Question<W> = Option<(Meta, Refusal<W>)>;

/// A question that was taken and is not answered yet.
pub(super) struct Open<W: WireSet> {
    pub(super) meta: Meta,
    pub(super) refusal: Refusal<W>,
    /// The turn that took it.
    pub(super) taken_in: EventId,
}

/// Questions by asker and key.
type OpenQuestions<W> = HashMap<(EntityId, PendingKey), Open<W>, BuildHasherDefault<NumberHasher>>;

/// What a turn is, for the trace.
pub(super) struct Occasion {
    pub(super) cause: EventId,
    pub(super) from: EntityId,
    pub(super) step: Option<StepId>,
    pub(super) name: &'static str,
}

/// One actix actor and the entities in it.
pub(crate) struct Shell<B: Behaviour, C: Cells<B>> {
    pub(super) cells: C,
    pub(super) settings: Arc<B::Settings>,
    pub(super) shared: Arc<Shared<B::Wire>>,
    pub(super) inbox: Arc<Inbox<B::Msg>>,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) event: EventId,
    pub(super) turn: Turn<B>,
    pub(super) turns: u64,
    pub(super) now: Now,
    pub(super) now_ns: u64,
    batch: VecDeque<Envelope<B::Msg>>,
    /// In the order of their positions.
    pub(super) held: VecDeque<Held<B::Wire>>,
    /// Up to which position turns were let out.
    pub(super) released: u64,
    /// Empty lists, kept for their memory.
    pub(super) spare: Vec<Vec<Effect<B::Wire>>>,
    pub(super) timers: BinaryHeap<Reverse<Timer>>,
    /// Until when the pump sleeps at the longest, and whether it will be woken then.
    sleep: Option<Alarm>,
    /// Whom the inbox wakes.
    waker: Option<Waker>,
    pub(super) dirty: BTreeSet<(EntityId, u64)>,
    /// Questions that were taken and not answered yet, by asker and key: a failure answers them all.
    pub(super) open: OpenQuestions<B::Wire>,
    pub(super) failures: BTreeMap<EntityId, Failures>,
    idle: Vec<oneshot::Sender<u64>>,
    pub(super) tracer: Tracer,
    pub(super) ways: Ways<B::Wire>,
}

impl<B: Behaviour, C: Cells<B>> Unpin for Shell<B, C> {}

impl<B: Behaviour, C: Cells<B>> Actor for Shell<B, C> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // While it is waited for, actix neither looks at its own mailbox, which stays empty, nor at other futures.
        ctx.wait(Pump);
    }
}

/// Takes turns for as long as the shell lives.
struct Pump;

impl<B: Behaviour, C: Cells<B>> ActorFuture<Shell<B, C>> for Pump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        shell: &mut Shell<B, C>,
        ctx: &mut Context<Shell<B, C>>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        shell.pump(ctx, task)
    }
}

/// Commands, timers and the journal are looked at after this many turns.
const TURNS_PER_STRETCH: usize = 16;

impl<B: Behaviour, C: Cells<B>> Shell<B, C> {
    pub(super) fn new(
        shared: Arc<Shared<B::Wire>>,
        settings: Arc<B::Settings>,
        cells: C,
        inbox: Arc<Inbox<B::Msg>>,
        dirty: BTreeSet<(EntityId, u64)>,
    ) -> Self {
        let listener: Arc<dyn Listener> = Arc::clone(&inbox) as Arc<dyn Listener>;
        let tracer = Tracer::new(shared.options.trace_ring_events, shared.feed.clone());
        let event = EventId::new(shared.next_actor(), 0);
        Self {
            cells,
            settings,
            inbox,
            listener,
            event,
            turn: Turn::default(),
            turns: 0,
            now: shared.now(),
            now_ns: shared.elapsed_ns(),
            // It is swapped with the inbox's lane, which begins as small.
            batch: VecDeque::with_capacity(1),
            held: VecDeque::new(),
            released: 0,
            spare: Vec::new(),
            timers: BinaryHeap::new(),
            sleep: None,
            waker: None,
            dirty,
            open: HashMap::default(),
            failures: BTreeMap::new(),
            idle: Vec::new(),
            tracer,
            ways: Ways::default(),
            shared,
        }
    }

    fn pump(&mut self, ctx: &mut Context<Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        let mut budget = self.shared.options.turn_budget.max(1);
        self.read_clocks();
        loop {
            let durable = self.inbox.durable();
            self.release(durable);
            while let Some(command) = self.inbox.take_command() {
                if self.obey(command) {
                    ctx.stop();
                    return Poll::Ready(());
                }
            }
            self.run_timers();
            self.start_recoveries(durable);
            self.finish_recoveries(task);
            if budget == 0 {
                self.shared.answer_callers(&mut self.ways);
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            let open = self.held.len() < self.shared.options.held_turns_max && !self.cells.blocked();
            if open && self.stretch(&mut budget) {
                continue;
            }
            self.shared.answer_callers(&mut self.ways);
            self.answer_idle();
            let awake_for_data = open && self.batch.is_empty();
            let held = !self.held.is_empty();
            if !self.poll_sleep(task) && self.wait_for_push(task, awake_for_data, durable, held) {
                return Poll::Pending;
            }
        }
    }

    /// Takes a few turns, without looking at what is rare in between; false if there was no message.
    fn stretch(&mut self, budget: &mut usize) -> bool {
        let mut taken = 0;
        while taken < TURNS_PER_STRETCH && *budget > 0 && !self.cells.blocked() {
            if self.batch.is_empty() {
                self.inbox.take(&mut self.batch);
            }
            // Looked at after the batch was taken: a command that was given before a message was sent goes first.
            let urgent = self.inbox.is_urgent();
            if taken > 0 {
                self.read_clocks();
            }
            if urgent {
                let Some(envelope) = self.inbox.take_control() else { break };
                self.deliver(envelope);
            } else {
                if self.batch.len() == 1 {
                    self.inbox.nothing_in_hand();
                }
                // Not by way of one variable for both lanes: to merge the two moves costs as much as a lock.
                let Some(envelope) = self.batch.pop_front() else { break };
                self.deliver(envelope);
            }
            taken += 1;
            *budget -= 1;
        }
        taken > 0
    }

    fn read_clocks(&mut self) {
        self.now_ns = clock::for_turn(|| self.shared.elapsed_ns());
        let monotonic_ms = self.now_ns / 1_000_000;
        if monotonic_ms != self.now.monotonic_ms {
            // The wall clock says no more than milliseconds either.
            self.now = Now { monotonic_ms, wall: Shared::<B::Wire>::wall() };
            if self.tracer.due_ms().is_some_and(|due_ms| due_ms <= monotonic_ms) {
                self.tracer.hand_over();
            }
        }
    }

    fn deliver(&mut self, envelope: Envelope<B::Msg>) {
        let meta = envelope.meta;
        match self.cells.get(meta.to).map(|cell| &mut cell.state) {
            Some(CellState::Running(_)) => {
                let question = envelope.message.refusal().map(|refusal| (meta, refusal));
                // What a caller outside says is not a step yet: the actor that passes it on takes the step.
                let step = if meta.from.kind() == CALLER_KIND { None } else { meta.step };
                let name = envelope.message.describe().1;
                let occasion = Occasion { cause: meta.cause, from: meta.from, step, name };
                self.take_turn(meta.to, occasion, question, |behaviour, out| behaviour.handle(envelope, out));
            }
            Some(CellState::Recovering(parked)) if parked.len() < self.shared.options.parked_messages_max => {
                parked.push_back(envelope);
            }
            Some(CellState::Recovering(_)) => self.turn_away(envelope, Rejection::Full),
            Some(CellState::Quarantined) | None => self.turn_away(envelope, Rejection::Gone),
        }
    }

    /// A message that this shell took and nobody in it handles.
    fn turn_away(&self, envelope: Envelope<B::Msg>, rejection: Rejection) {
        let meta = envelope.meta;
        match envelope.message.refusal() {
            Some(refusal) => {
                let problem = rejection_problem::<B::Wire>(meta.to, rejection);
                self.shared.refuse(meta, refusal(meta.from.kind(), problem));
            }
            None => self.shared.dead_letter(meta, &envelope.message.into_wire(), rejection),
        }
    }

    pub(super) fn take_turn_alone(
        &mut self,
        id: EntityId,
        name: &'static str,
        cause: EventId,
        run: impl FnOnce(&mut B, &mut Out<'_, B>),
    ) {
        self.take_turn(id, Occasion { cause, from: id, step: None, name }, None, run);
    }

    fn run_timers(&mut self) {
        while self.timers.peek().is_some_and(|Reverse(timer)| timer.due_ms <= self.now.monotonic_ms) {
            let Some(Reverse(timer)) = self.timers.pop() else { return };
            self.take_turn_alone(timer.id, "timeout", timer.cause, |behaviour, out| {
                behaviour.timeout(timer.key, out);
            });
        }
    }

    /// Sees to it that the next timer or recovery wakes the pump; true if it is due already.
    fn poll_sleep(&mut self, task: &mut TaskContext<'_>) -> bool {
        let timer = self.timers.peek().map(|Reverse(timer)| timer.due_ms);
        let recovery = self.failures.values().filter_map(|failures| failures.due_ms).min();
        let Some(due_ms) = timer.into_iter().chain(recovery).chain(self.tracer.due_ms()).min() else {
            self.sleep = None;
            return false;
        };
        if due_ms <= self.now.monotonic_ms {
            self.sleep = None;
            return true;
        }
        let alarm = match &mut self.sleep {
            Some(alarm) if alarm.due_ms == due_ms => alarm,
            sleep => {
                let wait = Duration::from_millis(due_ms - self.now.monotonic_ms);
                sleep.insert(Alarm { due_ms, sleep: Box::pin(tokio::time::sleep(wait)), waker: None })
            }
        };
        if alarm.waker.as_ref().is_some_and(|waker| waker.will_wake(task.waker())) {
            if alarm.sleep.is_elapsed() {
                // It rang while the thread was busy and its reading of the clock was old.
                clock::outdated();
                self.sleep = None;
                self.read_clocks();
                return true;
            }
            return false;
        }
        alarm.waker = Some(task.waker().clone());
        alarm.sleep.as_mut().poll(task).is_ready()
    }

    /// Sees to it that the next push wakes the pump; false if something is there already.
    fn wait_for_push(&mut self, task: &TaskContext<'_>, data: bool, durable: u64, held: bool) -> bool {
        if self.waker.as_ref().is_some_and(|waker| waker.will_wake(task.waker())) {
            if self.inbox.sleeps_on(data, durable, held) {
                return true;
            }
        } else {
            self.waker = Some(task.waker().clone());
        }
        self.inbox.sleep(task.waker(), data, durable, held)
    }

    /// Carries out what the runtime asks; true to end.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Spawn(id) => {
                if self.cells.get(id).is_none() {
                    let incarnation = self.incarnation();
                    let behaviour = B::new(id, &self.settings, incarnation);
                    self.cells.insert(Cell::new(id, behaviour));
                }
            }
            Command::Recovered => {
                for id in self.cells.ids() {
                    self.take_turn_alone(id, "recovered", EventId::NONE, |behaviour, out| {
                        behaviour.recovered(Recovery::Start, out);
                    });
                }
            }
            Command::Checkpoint(done) => {
                let all = self.checkpoint();
                let _gone = done.send(all);
            }
            Command::Idle(answer) => self.idle.push(answer),
            Command::Stop(done) => {
                self.tracer.hand_over();
                self.shared.answer_callers(&mut self.ways);
                let left: Vec<_> = self.batch.drain(..).chain(self.inbox.close()).collect();
                for envelope in left {
                    self.turn_away(envelope, Rejection::Gone);
                }
                let _gone = done.send(());
                return true;
            }
        }
        false
    }

    /// A number that differs from life to life.
    pub(super) fn incarnation(&mut self) -> u32 {
        self.event = self.event.next();
        (self.shared.chance(self.event) >> 16) as u32
    }

    /// Writes snapshots of all that changed since the last time; false if something could not be.
    fn checkpoint(&mut self) -> bool {
        let mut all = true;
        for (id, part) in std::mem::take(&mut self.dirty) {
            let mut records = Vec::new();
            let taken = match self.cells.get(id) {
                Some(Cell { state: CellState::Running(behaviour), .. }) => {
                    catch_unwind(AssertUnwindSafe(|| behaviour.snapshot(part, &mut records))).is_ok()
                }
                _ => false,
            };
            let bytes = if records.is_empty() { Ok(Vec::new()) } else { codec::encode(&records) };
            let written = taken
                && bytes.is_ok_and(|bytes| {
                    let bytes = bytes.into_boxed_slice();
                    let entry = Entry { entity: id, part, kind: EntryKind::Snapshot, bytes };
                    self.shared.journal.append(vec![entry], Urgency::WithinLossWindow, Some(&self.listener)).is_ok()
                });
            if !written {
                self.dirty.insert((id, part));
                all = false;
            }
        }
        all
    }

    fn answer_idle(&mut self) {
        if self.idle.is_empty() {
            return;
        }
        let idle = self.held.is_empty() && self.batch.is_empty() && self.inbox.is_empty();
        if idle && self.failures.values().all(|failures| failures.is_settled()) {
            for answer in self.idle.drain(..) {
                let _gone = answer.send(self.turns);
            }
        }
    }

    pub(super) fn deliver_parked(&mut self, parked: VecDeque<Envelope<B::Msg>>) {
        for envelope in parked {
            self.deliver(envelope);
        }
    }

    pub(super) fn mark_dirty(&mut self, dirty: impl IntoIterator<Item = (EntityId, u64)>) {
        self.dirty.extend(dirty);
    }
}
