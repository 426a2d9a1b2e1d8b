//! The runtime's guarantees, seen from outside: with entities of the test's own, in actors and in shards alike.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use twinway_actors::{
    assembly::Assembly,
    port::{
        journal::{Journal, MemoryJournal},
        link::Link,
        outlet::Outlet,
    },
    runtime::{Arrival, Builder, Options, System, TraceFeed},
};
use twinway_protocol::{
    Ask, Asker, Behaviour, EntityId, Envelope, Mailbox, Meta, Out, Pending, PendingKey, ProblemKind, Recovery, Ref,
    Step, StepId, Tell, flow::FAILED, mailboxes,
};

const SECOND: Duration = Duration::from_secs(20);
/// What a counter shows that was asked to wait for long.
const WAITS: u64 = 77;

/// Adds.
#[derive(Clone, Debug)]
pub struct Add {
    amount: u64,
    batched: bool,
}
/// The sum.
#[derive(Clone, Debug)]
pub struct Total {
    total: u64,
}
macro_rules! step {
    ($($Name:ident)*) => {$(impl Step for $Name {
        const STEP: Option<StepId> = Some(twinway_protocol::step_id!("test", stringify!($Name)));
        const NAME: &'static str = stringify!($Name);
    })*};
}
step!(Add Total Read Fail Wait Relay Quit Nudge);
/// Asks for the sum.
#[derive(Clone, Debug)]
pub struct Read;
/// Panics, after saying that it would add.
#[derive(Clone, Debug)]
pub struct Fail;
/// Adds and answers when a timer has run out.
#[derive(Clone, Debug)]
pub struct Wait {
    amount: u64,
    ms: u64,
}
/// Asks another counter and answers what it says.
#[derive(Clone, Debug)]
pub struct Relay {
    to: EntityId,
    what: Relayed,
}
/// What another counter is asked.
#[derive(Clone, Debug)]
pub enum Relayed {
    /// For its sum.
    Read,
    /// To panic.
    Fail,
    /// To answer much later.
    Wait,
}
/// Ends the counter.
#[derive(Clone, Debug)]
pub struct Quit;
impl Ask for Add {
    type Answer = Total;
}
impl Ask for Read {
    type Answer = Total;
}
impl Ask for Fail {
    type Answer = Total;
}
impl Ask for Wait {
    type Answer = Total;
}
impl Ask for Relay {
    type Answer = Total;
}
/// Takes a turn and changes nothing.
#[derive(Clone, Debug)]
pub struct Nudge;
impl Tell for Quit {}
impl Tell for Nudge {}

/// A counter shows its sum.
#[derive(Debug)]
pub struct Shown(EntityId, u64);

mailboxes! {
    /// Counters.
    pub enum Wire signals Shown {
        /// A counter.
        Counter(CounterMsg) = 7 { asks { Add, Read, Fail, Wait, Relay } tells { Quit, Nudge } hears { Total } }
        /// Whoever asks from outside.
        Caller(CallerMsg) = 255 { asks {} tells {} hears { Total } }
    }
    answers { Total => Counter(CounterMsg), Caller(CallerMsg); }
}

#[derive(Debug, Serialize, Deserialize)]
enum Record {
    Added(u64),
}

struct Counter {
    total: u64,
    waiting: Pending<(Asker<Wait>, u64)>,
    relayed: Pending<Asker<Relay>>,
}

impl Behaviour for Counter {
    type Wire = Wire;
    type Msg = CounterMsg;
    type Record = Record;
    type Settings = ();

    fn new(_id: EntityId, (): &(), incarnation: u32) -> Self {
        Self { total: 0, waiting: Pending::new(100_000, incarnation), relayed: Pending::new(100, incarnation) }
    }

    fn handle(&mut self, envelope: Envelope<CounterMsg>, out: &mut Out<'_, Self>) {
        let meta = envelope.meta;
        match envelope.message {
            CounterMsg::Add(Add { amount, batched }) => {
                self.replay(Record::Added(amount));
                if batched {
                    out.record_batched(0, Record::Added(amount))
                } else {
                    out.record(0, Record::Added(amount))
                }
                out.signal(Shown(out.me(), self.total));
                out.reply(meta.asker::<Add>(out.event()), Ok(Total { total: self.total }));
            }
            CounterMsg::Read(Read) => out.reply(meta.asker::<Read>(out.event()), Ok(Total { total: self.total })),
            CounterMsg::Fail(Fail) => {
                out.record(0, Record::Added(1_000));
                self.total += 1_000;
                panic!("planted")
            }
            CounterMsg::Wait(Wait { amount, ms }) => {
                let key = self.waiting.insert((meta.asker::<Wait>(out.event()), amount)).expect("there is room");
                out.signal(Shown(out.me(), amount));
                out.timer(ms, key);
            }
            CounterMsg::Relay(Relay { to, what }) => {
                let key = self.relayed.insert(meta.asker::<Relay>(out.event())).expect("there is room");
                let to = Ref::<CounterMsg>::new(to);
                match what {
                    Relayed::Read => out.ask(to, Read, key),
                    Relayed::Fail => out.ask(to, Fail, key),
                    Relayed::Wait => out.ask(to, Wait { amount: WAITS, ms: 60_000 }, key),
                }
            }
            CounterMsg::Total(answer) => {
                if let Some(asker) = self.relayed.take(meta.pending) {
                    out.reply(asker, answer);
                }
            }
            CounterMsg::Quit(Quit) => out.stop(),
            CounterMsg::Nudge(Nudge) => {}
        }
    }

    fn timeout(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        if let Some((asker, amount)) = self.waiting.take(key) {
            if amount > 0 {
                self.replay(Record::Added(amount));
                out.record(0, Record::Added(amount));
            }
            out.reply(asker, Ok(Total { total: self.total }));
        }
    }

    fn replay(&mut self, record: Record) {
        let Record::Added(amount) = record;
        assert!(amount != 666, "a record that cannot be replayed");
        self.total += amount;
    }

    fn snapshot(&self, _part: u64, into: &mut Vec<Record>) {
        into.push(Record::Added(self.total));
    }

    fn recovered(&mut self, _why: Recovery, out: &mut Out<'_, Self>) {
        out.signal(Shown(out.me(), self.total));
    }
}

/// Keeps what was shown.
#[derive(Default)]
struct Board(Mutex<Vec<(EntityId, u64)>>);

impl Board {
    fn shown(&self) -> Vec<u64> {
        self.0.lock().expect("nobody panicked").iter().map(|(_, total)| *total).collect()
    }
}

impl Outlet<Wire> for Board {
    fn signal(&self, _from: EntityId, Shown(id, total): Shown) {
        self.0.lock().expect("nobody panicked").push((id, total));
    }
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Actors,
    Shards,
}

struct World {
    system: System<Wire>,
    journal: Arc<MemoryJournal>,
    board: Arc<Board>,
    place: Place,
}

impl World {
    async fn with(place: Place, options: Options, journal: MemoryJournal, feed: Option<TraceFeed>) -> Self {
        let (journal, board) = (Arc::new(journal), Arc::new(Board::default()));
        let outlet: Arc<Board> = Arc::clone(&board);
        let builder = Builder::new(options, Arc::clone(&journal) as Arc<dyn Journal>, outlet, 7).trace(feed);
        let builder = match place {
            Place::Actors => builder.actors::<Counter>(()),
            Place::Shards => builder.shards::<Counter>(()),
        };
        Self { system: builder.start().await.expect("it starts"), journal, board, place }
    }

    async fn new(place: Place) -> Self {
        Self::with(place, options(), MemoryJournal::default(), None).await
    }

    /// A counter that has said its first word.
    async fn counter(&self, slot: u32) -> Ref<CounterMsg> {
        let counter = Ref::new(EntityId::new(CounterMsg::KIND, 0, slot));
        self.system.spawn(counter);
        self.ask(counter, Read).await.expect("it answers");
        counter
    }

    async fn ask<T>(&self, to: Ref<CounterMsg>, question: T) -> Result<u64, ProblemKind>
    where
        CounterMsg: From<T>,
        T: Ask<Answer = Total>,
    {
        let answer = self.system.handle().ask(to, question, SECOND).await;
        answer.map(|total| total.total).map_err(|problem| problem.kind)
    }

    async fn add(&self, to: Ref<CounterMsg>, amount: u64) -> Result<u64, ProblemKind> {
        self.ask(to, Add { amount, batched: false }).await
    }

    /// The process dies here, and another starts with what was durable.
    async fn crash(self) -> Self {
        let after = self.journal.crash();
        let place = self.place;
        self.system.shutdown().await.expect("it ends");
        Self::with(place, options(), after, None).await
    }
}

fn options() -> Options {
    Options { arbiters: 2, restart_backoff_ms: 0, ..Options::default() }
}

/// Each test runs with the entities in actors of their own, and in shards.
macro_rules! both {
    ($($(#[$meta:meta])* async fn $name:ident($place:ident) $body:block)*) => {$(
        mod $name {
            use super::*;
            async fn run($place: Place) $body
            $(#[$meta])*
            #[tokio::test]
            async fn in_actors() { run(Place::Actors).await }
            $(#[$meta])*
            #[tokio::test]
            async fn in_shards() { run(Place::Shards).await }
        }
    )*};
}

both! {
    async fn what_was_answered_is_there_after_a_crash(place) {
        let world = World::new(place).await;
        let (one, two) = (world.counter(0).await, world.counter(1).await);
        assert_eq!(world.add(one, 2).await, Ok(2));
        assert_eq!(world.add(two, 5).await, Ok(5));
        assert_eq!(world.add(one, 3).await, Ok(5));
        let world = world.crash().await;
        assert_eq!(world.ask(one, Read).await, Ok(5));
        assert_eq!(world.ask(two, Read).await, Ok(5));
    }

    async fn an_entity_that_was_made_is_there_for_the_next_message(place) {
        let world = World::new(place).await;
        // Several at once keep the pump running, so that what is made arrives between any two of its moves.
        std::thread::scope(|scope| {
            for first in 0..4 {
                let world = &world;
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                    runtime.expect("there is a thread").block_on(async {
                        for slot in 0..2_000 {
                            world.counter(first + slot * 4).await;
                        }
                    });
                });
            }
        });
    }

    async fn nothing_of_a_turn_is_seen_before_its_records_are_durable(place) {
        let world = World::new(place).await;
        let counter = world.counter(0).await;
        world.journal.hold();
        let handle = world.system.handle();
        let add = tokio::spawn(async move { handle.ask(counter, Add { amount: 4, batched: false }, SECOND).await });
        while world.journal.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        // What comes after it in the same entity waits too, even without a record of its own.
        let handle = world.system.handle();
        let read = tokio::spawn(async move { handle.ask(counter, Read, SECOND).await });
        while world.system.handle().requests_under_way() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(!add.is_finished() && !read.is_finished());
        assert!(!world.board.shown().contains(&4));
        world.journal.release();
        assert_eq!(add.await.expect("no panic").expect("an answer").total, 4);
        assert_eq!(read.await.expect("no panic").expect("an answer").total, 4);
        assert!(world.board.shown().contains(&4));
    }

    async fn nobody_waits_for_the_records_of_another_entity(place) {
        let world = World::new(place).await;
        // Slots 0 and 2 share a shard.
        let (one, two) = (world.counter(0).await, world.counter(2).await);
        world.journal.hold();
        let handle = world.system.handle();
        let add = tokio::spawn(async move { handle.ask(one, Add { amount: 4, batched: false }, SECOND).await });
        while world.journal.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let handle = world.system.handle();
        let read = tokio::spawn(async move { handle.ask(one, Read, SECOND).await });
        while world.system.handle().requests_under_way() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.ask(two, Read).await, Ok(0));
        assert_eq!(world.ask(two, Add { amount: 1, batched: true }).await, Ok(1));
        // In one shard the read's turn was over by then; its own entity's records hold it back all the same.
        assert!(!add.is_finished() && !read.is_finished());
        world.journal.release();
        assert_eq!(add.await.expect("no panic").expect("an answer").total, 4);
        assert_eq!(read.await.expect("no panic").expect("an answer").total, 4);
    }

    async fn a_batched_record_is_seen_at_once_and_durable_with_the_next(place) {
        let world = World::new(place).await;
        let counter = world.counter(0).await;
        world.journal.hold();
        assert_eq!(world.ask(counter, Add { amount: 4, batched: true }).await, Ok(4));
        world.journal.release();
        let world = world.crash().await;
        assert_eq!(world.ask(counter, Read).await, Ok(4));
    }

    async fn without_a_loss_window_a_batched_record_is_held_like_any_other(place) {
        let options = Options { loss_window_ms: 0, ..options() };
        let world = World::with(place, options, MemoryJournal::default(), None).await;
        let counter = world.counter(0).await;
        world.journal.hold();
        let handle = world.system.handle();
        let add = tokio::spawn(async move { handle.ask(counter, Add { amount: 4, batched: true }, SECOND).await });
        while world.journal.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!add.is_finished() && !world.board.shown().contains(&4));
        world.journal.release();
        assert_eq!(add.await.expect("no panic").expect("an answer").total, 4);
    }

    async fn a_panic_costs_one_turn_of_one_entity(place) {
        let world = World::new(place).await;
        // Slots 0 and 2 share a shard.
        let (one, two) = (world.counter(0).await, world.counter(2).await);
        world.add(one, 2).await.expect("it adds");
        world.add(two, 7).await.expect("it adds");
        for _ in 0..3 {
            assert_eq!(world.ask(one, Fail).await, Err(ProblemKind::Internal));
            assert_eq!(world.ask(two, Read).await, Ok(7));
            assert_eq!(world.ask(one, Read).await, Ok(2), "its state is that of its records");
        }
        assert_eq!(world.add(one, 1).await, Ok(3));
        let world = world.crash().await;
        assert_eq!(world.ask(one, Read).await, Ok(3));
    }

    async fn a_failure_answers_the_questions_that_were_taken_before(place) {
        let world = World::new(place).await;
        let (one, slow) = (world.counter(0).await, world.counter(1).await);
        // The relay waits for an answer of `slow`, which the journal holds back; then it fails.
        world.journal.hold();
        let handle = world.system.handle();
        let add = tokio::spawn(async move { handle.ask(slow, Add { amount: 1, batched: false }, SECOND).await });
        while world.journal.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let handle = world.system.handle();
        let relayed = tokio::spawn(async move { handle.ask(one, Relay { to: slow.id(), what: Relayed::Read }, SECOND).await });
        while world.system.handle().requests_under_way() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.ask(one, Fail).await, Err(ProblemKind::Internal));
        let problem = relayed.await.expect("no panic").expect_err("it failed");
        assert!(problem.detail.contains("not known"), "{}", problem.detail);
        world.journal.release();
        assert_eq!(add.await.expect("no panic").expect("an answer").total, 1);
    }

    async fn an_entity_that_fails_too_often_is_quarantined_and_says_so(place) {
        let options = Options { restarts_max: 2, ..options() };
        let world = World::with(place, options, MemoryJournal::default(), None).await;
        let (one, two) = (world.counter(0).await, world.counter(2).await);
        for _ in 0..3 {
            assert_eq!(world.ask(one, Fail).await, Err(ProblemKind::Internal));
        }
        assert_eq!(world.ask(one, Read).await, Err(ProblemKind::Internal));
        assert_eq!(world.system.handle().quarantined().first().map(|(id, _)| *id), Some(one.id()));
        assert_eq!(world.ask(two, Read).await, Ok(0), "the others go on");
    }

    async fn a_record_that_panics_in_replay_quarantines_its_entity_alone(place) {
        let world = World::new(place).await;
        let (one, two) = (world.counter(0).await, world.counter(2).await);
        // It is written before the panic of `replay` is met, so the entity cannot come back from its records.
        assert_eq!(world.ask(one, Add { amount: 666, batched: false }).await, Err(ProblemKind::Internal));
        assert_eq!(world.ask(one, Read).await, Ok(0), "the turn that panicked wrote nothing down");
        assert_eq!(world.ask(two, Read).await, Ok(0));
    }

    async fn a_turn_that_cannot_be_written_down_leaves_nothing_behind(place) {
        let world = World::with(place, options(), MemoryJournal::with_limit(8), None).await;
        let counter = world.counter(0).await;
        world.add(counter, 1).await.expect("it adds");
        world.journal.hold();
        let mut asked = Vec::new();
        for _ in 0..8 {
            let handle = world.system.handle();
            asked.push(tokio::spawn(async move { handle.ask(counter, Add { amount: 1, batched: false }, SECOND).await }));
        }
        // One finds the journal full and is refused; those behind it wait until the state is back.
        while !asked.iter().any(|answer| answer.is_finished()) {
            tokio::task::yield_now().await;
        }
        world.journal.release();
        let (mut added, mut refused) = (1, 0);
        for answer in asked {
            match answer.await.expect("no panic") {
                Ok(_) => added += 1,
                Err(problem) => {
                    assert_eq!(problem.kind, ProblemKind::ReadOnly);
                    refused += 1;
                }
            }
        }
        assert!(refused > 0 && added > 1);
        assert_eq!(world.ask(counter, Read).await, Ok(added), "what was refused was not added");
    }

    async fn an_answer_that_cannot_be_written_down_is_refused_in_a_later_turn_too(place) {
        let world = World::with(place, options(), MemoryJournal::with_limit(8), None).await;
        let counter = world.counter(0).await;
        world.journal.hold();
        let asked: Vec<_> = (0..8)
            .map(|_| {
                let handle = world.system.handle();
                tokio::spawn(async move { handle.ask(counter, Wait { amount: 1, ms: 1 }, SECOND).await })
            })
            .collect();
        while !asked.iter().any(|answer| answer.is_finished()) {
            tokio::task::yield_now().await;
        }
        world.journal.release();
        let mut added = 0;
        for answer in asked {
            match answer.await.expect("no panic") {
                Ok(_) => added += 1,
                Err(problem) => assert!(problem.detail.contains("not known"), "{}", problem.detail),
            }
        }
        assert_eq!(world.ask(counter, Read).await, Ok(added), "what was refused was not added");
    }

    async fn a_timer_runs_out_and_its_question_is_answered(place) {
        let world = World::new(place).await;
        let counter = world.counter(0).await;
        assert_eq!(world.ask(counter, Wait { amount: 0, ms: 1 }).await, Ok(0));
    }

    async fn entities_ask_each_other_and_the_dead_are_answered_for(place) {
        let world = World::new(place).await;
        let (one, two) = (world.counter(0).await, world.counter(1).await);
        world.add(two, 9).await.expect("it adds");
        assert_eq!(world.ask(one, Relay { to: two.id(), what: Relayed::Read }).await, Ok(9));
        let nobody = EntityId::new(CounterMsg::KIND, 0, 77);
        assert_eq!(world.ask(one, Relay { to: nobody, what: Relayed::Read }).await, Err(ProblemKind::Internal));
        let stranger = EntityId::new(99, 0, 0);
        assert_eq!(world.ask(one, Relay { to: stranger, what: Relayed::Read }).await, Err(ProblemKind::Internal));
    }

    async fn an_entity_that_ends_is_forgotten_and_its_address_reaches_nobody(place) {
        let world = World::new(place).await;
        let (one, two) = (world.counter(0).await, world.counter(2).await);
        world.add(one, 3).await.expect("it adds");
        let dead = world.system.handle().dead_letters();
        world.system.handle().tell(one, Quit).expect("it is told");
        world.system.quiet().await;
        assert_eq!(world.ask(one, Read).await, Err(ProblemKind::Internal));
        // Told to an actor that is gone it is refused at once; in a shard it is a dead letter.
        let told = world.system.handle().tell(one, Quit);
        world.system.quiet().await;
        assert!(told.is_err() || world.system.handle().dead_letters() > dead);
        assert_eq!(world.ask(two, Read).await, Ok(0));
        let world = world.crash().await;
        world.system.spawn(one);
        assert_eq!(world.ask(one, Read).await, Ok(0), "its records are forgotten");
    }

    async fn a_checkpoint_shortens_the_replay_and_loses_nothing(place) {
        let world = World::new(place).await;
        let (one, two) = (world.counter(0).await, world.counter(1).await);
        for _ in 0..50 {
            world.add(one, 1).await.expect("it adds");
        }
        world.add(two, 5).await.expect("it adds");
        let before = world.journal.stats().expect("it counts").replay_bytes;
        world.system.checkpoint().await.expect("it is taken");
        assert!(world.journal.stats().expect("it counts").replay_bytes < before);
        world.add(one, 1).await.expect("it adds");
        let world = world.crash().await;
        // What was replayed from the journal counts as changed: the next checkpoint drops its entries too.
        world.system.checkpoint().await.expect("it is taken");
        let world = world.crash().await;
        assert_eq!(world.ask(one, Read).await, Ok(51));
        assert_eq!(world.ask(two, Read).await, Ok(5));
    }

    async fn a_full_inbox_refuses_and_loses_nothing_that_it_took(place) {
        let options = Options { inbox_outside_max: 4, held_turns_max: 1, ..options() };
        let world = World::with(place, options, MemoryJournal::default(), None).await;
        let counter = world.counter(0).await;
        world.journal.hold();
        let mut asked = Vec::new();
        for _ in 0..400 {
            let handle = world.system.handle();
            asked.push(tokio::spawn(async move { handle.ask(counter, Add { amount: 1, batched: false }, SECOND).await }));
        }
        // The journal holds the first turn, the inbox fills up, and what does not fit is refused while it waits.
        let mut refused = 0;
        while refused == 0 {
            tokio::task::yield_now().await;
            refused = asked.iter().filter(|answer| answer.is_finished()).count();
        }
        world.journal.release();
        let mut added = 0;
        for answer in asked {
            match answer.await.expect("no panic") {
                Ok(_) => added += 1,
                Err(problem) => assert_eq!(problem.kind, ProblemKind::Overloaded),
            }
        }
        assert_eq!(world.ask(counter, Read).await, Ok(added));
    }

    async fn a_poisoned_journal_lets_nothing_out_and_says_so(place) {
        let world = World::new(place).await;
        let counter = world.counter(0).await;
        world.journal.hold();
        let handle = world.system.handle();
        let add = tokio::spawn(async move { handle.ask(counter, Add { amount: 4, batched: false }, SECOND).await });
        while world.journal.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        world.journal.fail_with_poison("fsync failed");
        let problem = add.await.expect("no panic").expect_err("nobody knows");
        assert_eq!(problem.kind, ProblemKind::Internal);
        assert!(problem.detail.contains("not known"), "{}", problem.detail);
        assert!(!world.board.shown().contains(&4));
    }

    async fn a_shutdown_finishes_what_is_under_way(place) {
        let world = World::new(place).await;
        let counter = world.counter(0).await;
        let asked: Vec<_> = (0..100)
            .map(|_| {
                let handle = world.system.handle();
                tokio::spawn(async move { handle.ask(counter, Add { amount: 1, batched: false }, SECOND).await })
            })
            .collect();
        while world.journal.stats().expect("it counts").durable.0 == 0 {
            tokio::task::yield_now().await;
        }
        let (journal, handle) = (Arc::clone(&world.journal), world.system.handle());
        world.system.shutdown().await.expect("it ends in order");
        let mut added = 0;
        for answer in asked {
            match answer.await.expect("no panic") {
                Ok(_) => added += 1,
                Err(problem) => assert_eq!(problem.kind, ProblemKind::ShuttingDown),
            }
        }
        assert!(added > 0);
        assert_eq!(journal.stats().expect("it counts").durable.0, added);
        let late = handle.ask(counter, Read, SECOND).await.expect_err("it has ended");
        assert_eq!(late.kind, ProblemKind::ShuttingDown);
    }

    async fn every_delivery_is_an_event_with_its_cause(place) {
        let (sender, chunks) = mpsc::sync_channel(1_000);
        let world = World::with(place, options(), MemoryJournal::default(), Some(TraceFeed::new(sender))).await;
        let (one, two) = (world.counter(0).await, world.counter(1).await);
        world.ask(one, Relay { to: two.id(), what: Relayed::Read }).await.expect("it answers");
        world.system.shutdown().await.expect("it ends");
        let events: Vec<_> = chunks.try_iter().flat_map(|chunk| chunk.events).collect();
        let find = |name: &str, from: EntityId, to: EntityId| {
            events.iter().find(|event| event.name == name && event.from == from && event.to == to).expect("it is traced")
        };
        let relay = events.iter().find(|event| event.name == "Relay").expect("it is traced");
        let read = find("Read", one.id(), two.id());
        let total = find("Total", two.id(), one.id());
        assert_eq!((read.cause, total.cause), (relay.event, read.event));
        assert_eq!(relay.step, None, "what a caller says is not a step yet");
        assert_eq!(read.step.map(|step| step.number), Some("Read"));
        assert_eq!(total.joined.first(), Some(&relay.event), "the answer takes up what the question left");
    }

    // FGMV-29 9.2 steps 17 and 18x: an event is caused by the turn that made it, when the runtime made it too.
    async fn a_refusal_is_caused_by_the_turn_that_failed(place) {
        let (sender, chunks) = mpsc::sync_channel(1_000);
        let world = World::with(place, options(), MemoryJournal::default(), Some(TraceFeed::new(sender))).await;
        let (one, two) = (world.counter(0).await, world.counter(1).await);
        let handle = world.system.handle();
        let wait = Relay { to: two.id(), what: Relayed::Wait };
        let waits = tokio::spawn(async move { handle.ask(one, wait, SECOND).await });
        while !world.board.shown().contains(&WAITS) {
            tokio::task::yield_now().await;
        }
        let fail = Relay { to: two.id(), what: Relayed::Fail };
        assert_eq!(world.ask(one, fail).await, Err(ProblemKind::Internal));
        assert!(waits.await.expect("no panic").is_err());
        world.system.shutdown().await.expect("it ends");
        let events: Vec<_> = chunks.try_iter().flat_map(|chunk| chunk.events).collect();
        let of_two = |name: &str| {
            events.iter().find(|event| event.name == name && event.to == two.id()).expect("it is traced")
        };
        let refusals: Vec<_> = events.iter().filter(|event| event.from == two.id() && event.to == one.id()).collect();
        let (fail, wait, given_up) = (of_two("Fail"), of_two("Wait"), of_two(FAILED));
        let causes: Vec<_> = refusals.iter().map(|refusal| refusal.cause).collect();
        assert_eq!(causes, [fail.event, given_up.event], "{refusals:?}");
        assert_eq!((given_up.cause, &given_up.joined[..]), (fail.event, &[wait.event][..]));
    }
}

#[tokio::test]
async fn an_actor_beside_a_flooded_one_on_its_thread_still_answers() {
    let options = Options { arbiters: 1, ..options() };
    let world = World::with(Place::Actors, options, MemoryJournal::default(), None).await;
    let (flooded, beside) = (world.counter(0).await, world.counter(1).await);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flood = {
        let (handle, stop) = (world.system.handle(), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // Refused or taken: its inbox is never empty.
                let _full = handle.tell(flooded, Nudge);
            }
        })
    };
    for _ in 0..100 {
        assert_eq!(world.ask(beside, Read).await, Ok(0));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    flood.join().expect("no panic");
}

/// Whoever asks from a thread of the actors may have kept it busy: the turn that follows reads the clock again.
#[tokio::test]
async fn no_timer_runs_out_early_because_its_thread_was_kept_busy_by_who_asked() {
    const WAIT: Duration = Duration::from_millis(50);
    let options = Options { arbiters: 1, ..options() };
    let world = World::with(Place::Actors, options, MemoryJournal::default(), None).await;
    let (counter, handle) = (world.counter(0).await, world.system.handle());
    let [arbiter] = world.system.handle().arbiters().to_vec().try_into().expect("there is one");
    let (tell, told) = tokio::sync::oneshot::channel();
    let begun = arbiter.spawn(async move {
        let within = Duration::from_secs(60);
        handle.ask(counter, Read, within).await.expect("it answers");
        std::thread::sleep(2 * WAIT);
        let asked = std::time::Instant::now();
        let waits = async {
            handle.ask(counter, Wait { amount: 0, ms: WAIT.as_millis() as u64 }, within).await.expect("it answers");
            asked.elapsed()
        };
        // Soon enough the clock is read anyway.
        let others = async {
            for _ in 0..100 {
                handle.ask(counter, Read, within).await.expect("it answers");
            }
        };
        let (waited, ()) = tokio::join!(waits, others);
        let _gone = tell.send(waited);
    });
    assert!(begun, "the thread is there");
    let waited = told.await.expect("it is told");
    assert!(waited >= WAIT, "it waited {waited:?}");
}

/// Holds every message until it is told to let them pass, and then lets the newest pass first.
#[derive(Default)]
struct Holding(Mutex<Vec<(Meta, Wire, Arrival<Wire>)>>);

impl Link<Wire> for Holding {
    fn carry(&self, meta: Meta, wire: Wire, arrival: Arrival<Wire>) {
        self.0.lock().expect("nobody panicked").push((meta, wire, arrival));
    }
}

impl Holding {
    fn held(&self) -> usize {
        self.0.lock().expect("nobody panicked").len()
    }

    fn let_pass(&self) {
        let held = std::mem::take(&mut *self.0.lock().expect("nobody panicked"));
        held.into_iter().rev().for_each(|(meta, wire, arrival)| arrival.take_in(meta, wire));
    }
}

#[tokio::test]
async fn a_message_between_actors_arrives_when_its_link_lets_it() {
    let link = Arc::new(Holding::default());
    let builder = Builder::new(options(), Arc::new(MemoryJournal::default()), Arc::new(Board::default()), 7);
    let carried: Arc<Holding> = Arc::clone(&link);
    let system = builder.link(carried).actors::<Counter>(()).start().await.expect("it starts");
    let counter = |slot| Ref::<CounterMsg>::new(EntityId::new(CounterMsg::KIND, 0, slot));
    (0..2).for_each(|slot| system.spawn(counter(slot)));
    let handle = system.handle();
    let relayed = tokio::spawn(async move {
        handle.ask(counter(0), Relay { to: counter(1).id(), what: Relayed::Read }, SECOND).await
    });
    // The question, and then its answer, are held until they are let pass.
    for _ in 0..2 {
        while link.held() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!relayed.is_finished());
        link.let_pass();
    }
    assert_eq!(relayed.await.expect("no panic").expect("an answer").total, 0);
}
