//! The contract of the journal port (`Journal`), the same for every adapter.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what helps a test fails as the test does"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use proptest::prelude::*;
use tempfile::TempDir;
use twinway::journal::{DataDirectory, SqliteJournal, SqliteOptions};
use twinway_actors::port::journal::{
    Condition, Entry, EntryKind, Journal, JournalError, Listener, MemoryJournal, Position, Urgency,
};
use twinway_protocol::EntityId;

/// A journal that can be taken through restarts.
trait Subject {
    fn new(held_back_bytes_max: usize) -> Self;
    fn journal(&self) -> &dyn Journal;
    /// Ends the journal in order and opens it again.
    fn reopen(self) -> Self;
    /// Ends the journal without ceremony, when everything queued is durable, and opens what is left.
    fn crash(self) -> Self;
}

struct Memory(MemoryJournal);

impl Subject for Memory {
    fn new(held_back_bytes_max: usize) -> Self {
        Self(MemoryJournal::with_limit(held_back_bytes_max))
    }
    fn journal(&self) -> &dyn Journal {
        &self.0
    }
    fn reopen(self) -> Self {
        self.0.close().expect("it closes");
        Self(self.0.crash())
    }
    fn crash(self) -> Self {
        Self(self.0.crash())
    }
}

struct Sqlite {
    directory: TempDir,
    options: SqliteOptions,
    journal: SqliteJournal,
}

impl Sqlite {
    fn open(directory: TempDir, options: SqliteOptions) -> Self {
        let data = Arc::new(DataDirectory::open(directory.path().join("data")).expect("it is free"));
        let journal = SqliteJournal::open(data, &options).expect("it opens");
        Self { directory, options, journal }
    }
}

impl Subject for Sqlite {
    fn new(held_back_bytes_max: usize) -> Self {
        let options = SqliteOptions { held_back_bytes_max, loss_window_ms: 1, ..SqliteOptions::default() };
        Self::open(TempDir::new().expect("there is room"), options)
    }
    fn journal(&self) -> &dyn Journal {
        &self.journal
    }
    fn reopen(self) -> Self {
        let Self { directory, options, journal } = self;
        journal.close().expect("it closes");
        drop(journal);
        Self::open(directory, options)
    }
    fn crash(self) -> Self {
        // The files as they are while the journal is open: what a killed process leaves.
        let copy = TempDir::new().expect("there is room");
        let data = copy.path().join("data");
        std::fs::create_dir(&data).expect("it is new");
        for file in std::fs::read_dir(self.directory.path().join("data")).expect("it is there") {
            let file = file.expect("it can be read");
            std::fs::copy(file.path(), data.join(file.file_name())).expect("it can be copied");
        }
        Self::open(copy, self.options.clone())
    }
}

const WAIT_MAX: Duration = Duration::from_secs(30);

/// Remembers what it heard, and lets a test wait for it.
#[derive(Default)]
struct Ear {
    heard: Mutex<(Vec<Position>, Option<String>)>,
    changed: Condvar,
}

impl Listener for Ear {
    fn durable(&self, position: Position) {
        self.heard.lock().0.push(position);
        self.changed.notify_all();
    }
    fn poisoned(&self, reason: &str) {
        self.heard.lock().1 = Some(reason.to_owned());
        self.changed.notify_all();
    }
}

impl Ear {
    fn wait_for(&self, position: Position) {
        let mut heard = self.heard.lock();
        while heard.0.last().is_none_or(|last| *last < position) {
            assert!(!self.changed.wait_for(&mut heard, WAIT_MAX).timed_out(), "{position:?} did not become durable");
        }
    }
    fn positions(&self) -> Vec<Position> {
        self.heard.lock().0.clone()
    }
}

fn entity(n: u32) -> EntityId {
    EntityId::new(200, 1, n)
}

fn entry(n: u32, part: u64, kind: EntryKind, text: &str) -> Entry {
    Entry { entity: entity(n), part, kind, bytes: text.as_bytes().into() }
}

fn record(n: u32, part: u64, text: &str) -> Entry {
    entry(n, part, EntryKind::Record, text)
}

fn snapshot(n: u32, part: u64, text: &str) -> Entry {
    entry(n, part, EntryKind::Snapshot, text)
}

fn forget(n: u32) -> Entry {
    entry(n, 0, EntryKind::Forget, "")
}

/// Appends and waits until it is durable.
fn write(journal: &dyn Journal, entries: Vec<Entry>) -> Position {
    let ear = Arc::new(Ear::default());
    let listener: Arc<dyn Listener> = ear.clone();
    let position = journal.append(entries, Urgency::Now, Some(&listener)).expect("it is writable");
    ear.wait_for(position);
    position
}

type Seen = (BTreeSet<(EntityId, u64, Vec<u8>)>, Vec<(EntityId, u64, Vec<u8>)>);

fn seen(journal: &dyn Journal, of: Option<EntityId>) -> Seen {
    let mut seen = Seen::default();
    let visited = journal.replay(of, &mut |entry| {
        let row = (entry.entity, entry.part, entry.bytes.to_vec());
        match entry.kind {
            EntryKind::Snapshot => {
                assert!(seen.1.is_empty(), "a snapshot comes after a record");
                assert!(seen.0.insert(row), "a snapshot comes twice");
            }
            EntryKind::Record => seen.1.push(row),
            EntryKind::Forget => panic!("a forgetting was visited"),
        }
    });
    visited.expect("it is sound");
    seen
}

fn texts(journal: &dyn Journal) -> (Vec<String>, Vec<String>) {
    let (snapshots, records) = seen(journal, None);
    let text = |(_, _, bytes): (EntityId, u64, Vec<u8>)| String::from_utf8(bytes).expect("it is text");
    (snapshots.into_iter().map(text).collect(), records.into_iter().map(text).collect())
}

fn entries_come_back_in_order_with_positions_from_one<S: Subject>() {
    let subject = S::new(1 << 20);
    assert_eq!(subject.journal().position(), Position(0));
    assert_eq!(write(subject.journal(), vec![record(1, 0, "a"), record(2, 7, "b")]), Position(2));
    assert_eq!(write(subject.journal(), vec![record(1, 0, "c")]), Position(3));
    let rows = vec![(entity(1), 0, b"a".to_vec()), (entity(2), 7, b"b".to_vec()), (entity(1), 0, b"c".to_vec())];
    assert_eq!(seen(subject.journal(), None), (BTreeSet::new(), rows.clone()));
    assert_eq!(seen(subject.journal(), Some(entity(2))).1, rows[1..2]);
    let subject = subject.crash();
    assert_eq!(seen(subject.journal(), None).1, rows);
    assert_eq!(subject.journal().position(), Position(3));
    let subject = subject.reopen();
    assert_eq!(write(subject.journal(), vec![record(1, 0, "d")]), Position(4));
    assert_eq!(subject.journal().stats().expect("it counts").durable, Position(4));
    assert_eq!(texts(subject.journal()).1, ["a", "b", "c", "d"]);
}

fn appending_nothing_changes_nothing<S: Subject>() {
    let subject = S::new(1 << 20);
    write(subject.journal(), vec![record(1, 0, "a")]);
    let ear: Arc<dyn Listener> = Arc::new(Ear::default());
    assert_eq!(subject.journal().append(Vec::new(), Urgency::Now, Some(&ear)), Ok(Position(1)));
    assert_eq!(subject.journal().position(), Position(1));
}

fn a_snapshot_replaces_its_part_only<S: Subject>() {
    let subject = S::new(1 << 20);
    let journal = subject.journal();
    write(journal, vec![record(1, 0, "a"), record(1, 1, "b"), record(2, 0, "c")]);
    write(journal, vec![snapshot(1, 0, "A"), record(1, 0, "d")]);
    assert_eq!(texts(journal), (vec!["A".into()], vec!["b".into(), "c".into(), "d".into()]));
    write(journal, vec![record(1, 0, "e"), snapshot(1, 0, "AA"), record(1, 0, "f"), snapshot(1, 1, "")]);
    assert_eq!(texts(journal), (vec!["AA".into()], vec!["c".into(), "f".into()]));
    assert_eq!(journal.stats().expect("it counts").snapshots, 1);
    write(journal, vec![snapshot(1, 0, "")]);
    let subject = subject.crash();
    assert_eq!(texts(subject.journal()), (vec![], vec!["c".into()]));
    assert_eq!(subject.journal().stats().expect("it counts").snapshots, 0);
}

fn forgetting_takes_every_part_of_one_entity<S: Subject>() {
    let subject = S::new(1 << 20);
    let journal = subject.journal();
    write(journal, vec![snapshot(1, 0, "A"), snapshot(1, 5, "B"), record(1, 3, "a"), record(2, 0, "b")]);
    write(journal, vec![forget(1), record(1, 3, "new")]);
    assert_eq!(texts(journal), (vec![], vec!["b".into(), "new".into()]));
    write(journal, vec![snapshot(1, 3, "C"), forget(1), forget(1)]);
    let subject = subject.reopen();
    assert_eq!(texts(subject.journal()), (vec![], vec!["b".into()]));
}

fn truncating_keeps_what_no_snapshot_covers<S: Subject>() {
    let subject = S::new(1 << 20);
    let journal = subject.journal();
    write(journal, vec![record(1, 0, "a"), record(3, 0, "x")]);
    write(journal, vec![forget(3)]);
    let covered = write(journal, vec![snapshot(1, 0, "A"), snapshot(2, 0, "")]);
    write(journal, vec![record(1, 0, "b"), record(2, 0, "c")]);
    journal.truncate(covered).expect("it can be written");
    let kept = (vec!["A".to_owned()], vec!["b".to_owned(), "c".to_owned()]);
    assert_eq!(texts(journal), kept);
    journal.truncate(covered).expect("again changes nothing");
    journal.truncate(Position(1)).expect("less changes nothing");
    let subject = subject.crash();
    assert_eq!(texts(subject.journal()), kept);
    assert_eq!(subject.journal().position(), Position(7));
    let all = write(subject.journal(), vec![snapshot(1, 0, "B"), snapshot(2, 0, "C")]);
    subject.journal().truncate(all).expect("it can be written");
    let subject = subject.reopen();
    assert_eq!(texts(subject.journal()), (vec!["B".into(), "C".into()], vec![]));
    assert_eq!(subject.journal().stats().expect("it counts").replay_bytes, 0);
    assert_eq!(write(subject.journal(), vec![record(1, 0, "d")]), Position(10));
    assert_eq!(texts(subject.reopen().journal()).1, ["d"]);
}

fn truncating_beyond_the_end_does_not_reach_into_the_future<S: Subject>() {
    let subject = S::new(1 << 20);
    write(subject.journal(), vec![record(1, 0, "a")]);
    subject.journal().truncate(Position(1000)).expect("it can be written");
    write(subject.journal(), vec![record(1, 0, "b")]);
    assert_eq!(texts(subject.reopen().journal()).1, ["b"]);
}

fn each_listener_hears_of_its_own_entries_in_order<S: Subject>() {
    let subject = S::new(1 << 20);
    let ears = [Arc::new(Ear::default()), Arc::new(Ear::default())];
    let mut last = [Position(0); 2];
    for n in 0..40 {
        let listener: Arc<dyn Listener> = ears[n % 2].clone();
        last[n % 2] = subject
            .journal()
            .append(vec![record(1, 0, "a"), record(1, 0, "b")], Urgency::Now, Some(&listener))
            .expect("it is writable");
    }
    for (ear, last) in ears.iter().zip(last) {
        ear.wait_for(last);
        let heard = ear.positions();
        assert!(heard.is_sorted_by(|a, b| a < b), "{heard:?}");
        assert_eq!(heard.last(), Some(&last));
    }
}

fn what_may_wait_is_durable_within_the_loss_window<S: Subject>() {
    let subject = S::new(1 << 20);
    let ear = Arc::new(Ear::default());
    let listener: Arc<dyn Listener> = ear.clone();
    let position = subject.journal().append(vec![record(1, 0, "a")], Urgency::WithinLossWindow, Some(&listener));
    // Nobody appends anything else: the window alone makes it durable.
    ear.wait_for(position.expect("it is writable"));
    assert_eq!(texts(subject.crash().journal()).1, ["a"]);
}

fn an_append_over_the_limit_is_refused_whole<S: Subject>() {
    let subject = S::new(1000);
    let long = "x".repeat(600);
    let refused = subject.journal().append(vec![record(1, 0, &long), record(1, 0, &long)], Urgency::Now, None);
    assert!(matches!(refused, Err(JournalError::Full { limit: 1000, .. })), "{refused:?}");
    assert_eq!(write(subject.journal(), vec![record(1, 0, "a")]), Position(1));
    assert_eq!(texts(subject.reopen().journal()).1, ["a"]);
}

fn closing_makes_durable_what_waits_and_refuses_the_rest<S: Subject>() {
    let subject = S::new(1 << 20);
    let ear = Arc::new(Ear::default());
    let listener: Arc<dyn Listener> = ear.clone();
    let journal = subject.journal();
    journal.append(vec![record(1, 0, "a")], Urgency::WithinLossWindow, Some(&listener)).expect("it is writable");
    journal.close().expect("it closes");
    assert_eq!(ear.positions(), [Position(1)]);
    journal.close().expect("a second time does nothing");
    assert_eq!(journal.append(vec![record(1, 0, "b")], Urgency::Now, None), Err(JournalError::Closed));
    assert_eq!(journal.truncate(Position(1)), Err(JournalError::Closed));
    assert_eq!(journal.replay(None, &mut |_| {}), Err(JournalError::Closed));
    assert_eq!(texts(subject.crash().journal()).1, ["a"]);
}

fn many_threads_get_positions_of_their_own<S: Subject + Sync>() {
    const THREADS: u32 = 8;
    const EACH: usize = 50;
    let subject = S::new(1 << 20);
    std::thread::scope(|scope| {
        for n in 0..THREADS {
            let journal = &subject;
            scope.spawn(move || {
                let mut last = Position(0);
                for i in 0..EACH {
                    let position = write(journal.journal(), vec![record(n, 0, &i.to_string()), record(n, 1, "-")]);
                    assert!(position > last);
                    last = position;
                }
            });
        }
    });
    let subject = subject.crash();
    assert_eq!(subject.journal().position(), Position(u64::from(THREADS) * EACH as u64 * 2));
    for n in 0..THREADS {
        let own: Vec<_> = seen(subject.journal(), Some(entity(n))).1;
        let expected: Vec<_> = (0..EACH)
            .flat_map(|i| [(entity(n), 0, i.to_string().into_bytes()), (entity(n), 1, b"-".to_vec())])
            .collect();
        assert_eq!(own, expected);
    }
}

macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod memory { $(#[test] fn $name() { super::$name::<super::Memory>(); })* }
        mod sqlite { $(#[test] fn $name() { super::$name::<super::Sqlite>(); })* }
    };
}

contract! {
    entries_come_back_in_order_with_positions_from_one,
    appending_nothing_changes_nothing,
    a_snapshot_replaces_its_part_only,
    forgetting_takes_every_part_of_one_entity,
    truncating_keeps_what_no_snapshot_covers,
    truncating_beyond_the_end_does_not_reach_into_the_future,
    each_listener_hears_of_its_own_entries_in_order,
    what_may_wait_is_durable_within_the_loss_window,
    an_append_over_the_limit_is_refused_whole,
    closing_makes_durable_what_waits_and_refuses_the_rest,
    many_threads_get_positions_of_their_own,
}

#[derive(Clone, Debug)]
enum Action {
    Append(Vec<(u32, u64, u8, u8)>),
    Truncate(u8),
    Reopen,
    Crash,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let entry =
        (0..4_u32, 0..3_u64, prop_oneof![4 => Just(0_u8), 2 => Just(1), 1 => Just(2), 1 => Just(3)], any::<u8>());
    let action = prop_oneof![
        8 => prop::collection::vec(entry, 1..6).prop_map(Action::Append),
        2 => any::<u8>().prop_map(Action::Truncate),
        1 => Just(Action::Reopen),
        1 => Just(Action::Crash),
    ];
    prop::collection::vec(action, 0..30)
}

/// What a journal should hold, as simply as it can be said.
#[derive(Default)]
struct Model {
    position: u64,
    snapshots: BTreeMap<(EntityId, u64), Vec<u8>>,
    records: BTreeMap<u64, (EntityId, u64, Vec<u8>)>,
}

impl Model {
    fn take(&mut self, entry: &Entry) {
        self.position += 1;
        let key = (entry.entity, entry.part);
        match entry.kind {
            EntryKind::Record => {
                self.records.insert(self.position, (entry.entity, entry.part, entry.bytes.to_vec()));
            }
            EntryKind::Snapshot => {
                self.records.retain(|_, record| (record.0, record.1) != key);
                self.snapshots.insert(key, entry.bytes.to_vec());
                self.snapshots.retain(|_, bytes| !bytes.is_empty());
            }
            EntryKind::Forget => {
                self.records.retain(|_, record| record.0 != entry.entity);
                self.snapshots.retain(|key, _| key.0 != entry.entity);
            }
        }
    }

    fn seen(&self, of: Option<EntityId>) -> Seen {
        let wanted = |entity: EntityId| of.is_none_or(|of| of == entity);
        let snapshots = self.snapshots.iter().filter(|(key, _)| wanted(key.0));
        let snapshots = snapshots.map(|((entity, part), bytes)| (*entity, *part, bytes.clone())).collect();
        (snapshots, self.records.values().filter(|record| wanted(record.0)).cloned().collect())
    }
}

fn run<S: Subject>(actions: &[Action]) {
    let mut subject = S::new(1 << 20);
    let mut model = Model::default();
    for action in actions {
        match action {
            Action::Append(entries) => {
                let entries: Vec<Entry> = entries
                    .iter()
                    .map(|(n, part, kind, text)| match kind {
                        0 => record(*n, *part, &text.to_string()),
                        1 => snapshot(*n, *part, &text.to_string()),
                        2 => snapshot(*n, *part, ""),
                        _ => forget(*n),
                    })
                    .collect();
                entries.iter().for_each(|entry| model.take(entry));
                assert_eq!(write(subject.journal(), entries), Position(model.position));
            }
            Action::Truncate(at) => {
                // Any position will do: what is dropped is dropped for the model as well.
                let before = u64::from(*at) % (model.position + 1);
                subject.journal().truncate(Position(before)).expect("it can be written");
                model.records.retain(|position, _| *position > before);
            }
            Action::Reopen => subject = subject.reopen(),
            Action::Crash => subject = subject.crash(),
        }
        assert_eq!(seen(subject.journal(), None), model.seen(None));
    }
    for n in 0..4 {
        assert_eq!(seen(subject.journal(), Some(entity(n))), model.seen(Some(entity(n))));
    }
    assert_eq!(subject.journal().condition(), Condition::Writable);
    assert_eq!(subject.journal().stats().expect("it counts").snapshots, model.snapshots.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 5, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_memory_holds_what_the_model_holds(actions in actions()) {
        run::<Memory>(&actions);
    }

    #[test]
    fn whatever_happens_sqlite_holds_what_the_model_holds(actions in actions()) {
        run::<Sqlite>(&actions);
    }
}

#[test]
fn nobody_is_told_before_entries_are_durable_and_a_crash_takes_only_the_others() {
    let journal = MemoryJournal::default();
    let ear = Arc::new(Ear::default());
    let listener: Arc<dyn Listener> = ear.clone();
    journal.hold();
    for text in ["a", "b", "c"] {
        journal.append(vec![record(1, 0, text)], Urgency::Now, Some(&listener)).expect("it is writable");
    }
    assert_eq!((journal.waiting(), ear.positions()), (3, vec![]));
    journal.release_some(1);
    assert_eq!(ear.positions(), [Position(1)]);
    let left = journal.crash();
    journal.release();
    assert_eq!(ear.positions(), [Position(1)]);
    assert_eq!(texts(&left).1, ["a"]);
    assert_eq!(left.position(), Position(1));
}

#[test]
fn a_read_only_memory_journal_keeps_entries_until_it_is_writable() {
    let journal = MemoryJournal::with_limit(10);
    let ear = Arc::new(Ear::default());
    let listener: Arc<dyn Listener> = ear.clone();
    journal.set_read_only(Some("no room"));
    assert_eq!(journal.condition(), Condition::ReadOnly { reason: "no room".into() });
    journal.append(vec![record(1, 0, "123456")], Urgency::Now, Some(&listener)).expect("it is kept");
    let refused = journal.append(vec![record(1, 0, "123456")], Urgency::Now, Some(&listener));
    assert_eq!(refused, Err(JournalError::Full { waiting: 12, limit: 10 }));
    assert_eq!(ear.positions(), []);
    journal.set_read_only(None);
    assert_eq!(ear.positions(), [Position(1)]);
}

#[test]
fn a_poisoned_memory_journal_tells_who_waits_and_refuses_the_rest() {
    let journal = MemoryJournal::default();
    let ear = Arc::new(Ear::default());
    let listener: Arc<dyn Listener> = ear.clone();
    journal.hold();
    journal.append(vec![record(1, 0, "a")], Urgency::Now, Some(&listener)).expect("it is writable");
    journal.fail_with_poison("fsync");
    assert_eq!(ear.heard.lock().1.as_deref(), Some("fsync"));
    assert_eq!(journal.condition(), Condition::Poisoned { reason: "fsync".into() });
    let refused = journal.append(vec![record(1, 0, "b")], Urgency::Now, None);
    assert_eq!(refused, Err(JournalError::Poisoned("fsync".into())));
    journal.release();
    assert_eq!(ear.positions(), []);
    assert!(texts(&journal.crash()).1.is_empty());
}
