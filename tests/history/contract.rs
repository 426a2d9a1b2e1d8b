//! What every history does, whatever keeps it (FGMV-29 8.3.4): one suite for the memory adapter and SQLite.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use parking_lot::{Condvar, Mutex};
use twinway::{
    history::{
        Extent, HISTORY_ROW_BYTES, History, HistoryError, HistoryOptions, HistoryQuery, HistoryRange, HistoryStore,
        MemoryHistory, MissedVersions, Moment, Retention, Shortened, SqliteHistory, What,
    },
    protocol::{
        JsonDoc, SystemId, TwinId,
        time::Timestamp,
        twin::{PropertyValue, TwinClass, TwinView},
    },
};

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

pub(crate) fn twin(id: &str) -> TwinId {
    id.parse().expect("a name")
}

pub(crate) fn doc(value: u64) -> JsonDoc {
    JsonDoc::parse(value.to_string()).expect("it is JSON")
}

pub(crate) fn value(sequence: u64, id: &str, property: &str, ms: u64) -> Moment {
    let what = What::Value { property: property.to_owned(), value: doc(ms) };
    Moment { sequence, twin: twin(id), at: at(ms), version: sequence, what }
}

pub(crate) fn range(id: &str) -> HistoryRange {
    let (from, to) = (Timestamp::default(), Timestamp::MAX);
    HistoryRange { twin: twin(id), kind: None, property: None, from, to, after: None, limit: 100 }
}

pub(crate) fn sequences(moments: &[Moment]) -> Vec<u64> {
    moments.iter().map(|moment| moment.sequence).collect()
}

/// Has every adapter pass a test.
pub(crate) fn with_each(test: impl Fn(&mut dyn HistoryStore)) {
    test(&mut MemoryHistory::new(at(0)));
    let directory = tempfile::tempdir().expect("a directory");
    test(&mut SqliteHistory::open(&directory.path().join("history.sqlite"), at(0)).expect("it opens"));
}

#[test]
fn what_was_kept_is_read_in_the_order_of_time_by_twin_property_and_range() {
    with_each(|store| {
        let moments = [
            value(1, "lamp", "on", 10),
            value(2, "lamp", "hue", 5),
            value(3, "arm", "on", 7),
            value(4, "lamp", "on", 20),
        ];
        store.append(&moments, at(30), Retention::default()).expect("it is kept");
        let mut read = |range: HistoryRange| sequences(&store.read(&range).expect("it reads"));
        assert_eq!(read(range("lamp")), [2, 1, 4]);
        assert_eq!(read(HistoryRange { property: Some("on".to_owned()), ..range("lamp") }), [1, 4]);
        assert_eq!(read(HistoryRange { from: at(6), to: at(10), ..range("lamp") }), [1]);
        assert_eq!(read(HistoryRange { limit: 1, ..range("lamp") }), [2]);
        assert_eq!(read(HistoryRange { after: Some((at(5), 2)), limit: 1, ..range("lamp") }), [1]);
        assert_eq!(read(range("belt")), [0; 0]);
        let extent = store.extent().expect("it reads");
        assert_eq!((extent.last_sequence, extent.kept_from), (4, at(0)));
    });
}

#[test]
fn at_a_moment_each_property_has_the_last_value_before_it() {
    with_each(|store| {
        let gone = Moment { sequence: 5, twin: twin("lamp"), at: at(50), version: 4, what: What::Gone };
        let moments = [
            value(1, "lamp", "on", 10),
            value(2, "lamp", "hue", 20),
            value(3, "lamp", "on", 30),
            value(4, "arm", "on", 5),
            gone,
        ];
        store.append(&moments, at(60), Retention::default()).expect("it is kept");
        let mut read = |ms| {
            let mut found = sequences(&store.at(&twin("lamp"), at(ms)).expect("it reads"));
            found.sort_unstable();
            found
        };
        assert_eq!((read(9), read(10), read(29), read(30)), (vec![], vec![1], vec![1, 2], vec![2, 3]));
        assert_eq!(read(50), [0; 0]);
    });
}

#[test]
fn what_is_old_goes_and_what_was_in_effect_stays() {
    with_each(|store| {
        let keep = Retention { retention_ms: 100, bytes_max: u64::MAX >> 1, ..Retention::default() };
        let missed = MissedVersions { first_version: 2, last_version: 3, missed: 1, events: 0 };
        let missed = What::Missed(missed);
        let missed = Moment { sequence: 3, twin: twin("lamp"), at: at(12), version: 3, what: missed };
        store
            .append(&[value(1, "lamp", "on", 10), value(2, "lamp", "on", 11), missed], at(20), Retention::default())
            .expect("it is kept");
        store.append(&[value(4, "lamp", "on", 90)], at(90), Retention::default()).expect("it is kept");
        assert!(!store.trim(keep, at(119), 100).expect("it trims"));
        assert_eq!(sequences(&store.read(&range("lamp")).expect("it reads")), [1, 2, 3, 4]);
        // In bites, and what is left for the next says so.
        assert!(store.trim(keep, at(120), 2).expect("it trims"));
        assert!(!store.trim(keep, at(120), 2).expect("it trims"));
        assert_eq!(sequences(&store.read(&range("lamp")).expect("it reads")), [2, 4]);
        assert_eq!(store.extent().expect("it reads").kept_from, at(20));
        assert_eq!(sequences(&store.at(&twin("lamp"), at(50)).expect("it reads")), [2]);
        store.trim(keep, at(10_000), 100).expect("it trims");
        assert_eq!(sequences(&store.read(&range("lamp")).expect("it reads")), [4]);
        assert_eq!(store.extent().expect("it reads").bytes, value(4, "lamp", "on", 90).bytes());
    });
}

#[test]
fn what_is_too_much_goes_early_and_a_twin_that_went_goes_whole() {
    with_each(|store| {
        let tight = Retention { retention_ms: 1 << 40, bytes_max: 3 * (HISTORY_ROW_BYTES + 4), ..Retention::default() };
        let all: Vec<_> = (1..=10).map(|n| value(n, "lamp", "on", n + 10)).collect();
        store.append(&all, at(100), Retention::default()).expect("it is kept");
        store.trim(tight, at(100), 100).expect("it trims");
        let left = sequences(&store.read(&range("lamp")).expect("it reads"));
        assert_eq!(left, [8, 9, 10]);
        let gone = Moment { sequence: 11, twin: twin("lamp"), at: at(30), version: 10, what: What::Gone };
        store.append(&[gone], at(100), Retention::default()).expect("it is kept");
        store.trim(Retention { retention_ms: 1, ..tight }, at(200), 100).expect("it trims");
        assert_eq!(sequences(&store.read(&range("lamp")).expect("it reads")), [0; 0]);
        let extent = store.extent().expect("it reads");
        assert_eq!((extent.bytes, extent.last_sequence), (0, 11));
    });
}

pub(crate) fn view(id: &str, version: u64, properties: &[(&str, u64)]) -> Arc<TwinView> {
    let property = |(name, version): &(&str, u64)| {
        ((*name).to_owned(), PropertyValue { value: doc(*version), version: *version, at: at(*version) })
    };
    Arc::new(TwinView {
        id: twin(id),
        system: SystemId::new("home").expect("a name"),
        physical_object: None,
        class: TwinClass::Object,
        version,
        properties: properties.iter().map(property).collect::<BTreeMap<_, _>>(),
        desired: None,
        invocations: None,
        description: JsonDoc::null(),
    })
}

pub(crate) async fn items(history: &History) -> Vec<String> {
    let page = history.page(&twin("lamp"), HistoryQuery::default()).await.expect("it reads");
    let item = |item: &twinway::history::HistoryItem| match (&item.property, &item.missed) {
        (Some(property), _) => format!("{property} {}", item.version),
        (None, Some(missed)) => format!("{} of {} to {}", missed.missed, missed.first_version, missed.last_version),
        (None, None) => format!("gone {}", item.gone),
    };
    page.items.iter().map(item).collect()
}

#[tokio::test]
async fn what_is_published_is_kept_once_and_read_by_the_next_question() {
    let history = History::start(MemoryHistory::new(at(0)), &HistoryOptions::default()).expect("it starts");
    history.keep(&view("lamp", 1, &[("on", 1)]));
    history.keep(&view("lamp", 1, &[("on", 1)]));
    history.keep(&view("lamp", 3, &[("hue", 2), ("on", 3)]));
    assert_eq!(items(&history).await, ["on 1", "hue 2", "on 3"]);
    let then = history.at(&twin("lamp"), None, at(2)).await.expect("it reads");
    let shown: Vec<_> = then.properties.iter().map(|(name, value)| (name.as_str(), value.version)).collect();
    assert_eq!(shown, [("hue", 2), ("on", 1)]);
}

#[tokio::test]
async fn a_page_ends_where_the_next_begins() {
    let history = History::start(MemoryHistory::new(at(0)), &HistoryOptions::default()).expect("it starts");
    (1..=5).for_each(|version| history.keep(&view("lamp", version, &[("on", version)])));
    let (mut cursor, mut found) = (None, Vec::new());
    loop {
        let query = HistoryQuery { cursor, limit: Some(2), ..HistoryQuery::default() };
        let page = history.page(&twin("lamp"), query).await.expect("it reads");
        found.extend(page.items.iter().map(|item| item.version));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, [1, 2, 3, 4, 5]);
}

pub(crate) fn open(path: &Path) -> History {
    let store = SqliteHistory::open(path, at(0)).expect("it opens");
    History::start(store, &HistoryOptions::default()).expect("it starts")
}

#[tokio::test]
async fn after_a_restart_it_goes_on_and_tells_the_versions_that_it_lacks() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("history.sqlite");
    let history = open(&path);
    history.keep(&view("lamp", 2, &[("hue", 1), ("on", 2)]));
    history.close();
    let history = open(&path);
    // The same view is published again when the daemon starts; versions 3 and 4 were the last moments before a crash.
    history.keep(&view("lamp", 2, &[("hue", 1), ("on", 2)]));
    history.keep(&view("lamp", 5, &[("hue", 1), ("on", 5)]));
    assert_eq!(items(&history).await, ["hue 1", "on 2", "2 of 3 to 5", "on 5"]);
    history.gone(&twin("lamp"), at(6));
    history.keep(&view("lamp", 1, &[("on", 1)]));
    let now = history.at(&twin("lamp"), None, Timestamp::MAX).await.expect("it reads");
    assert_eq!(now.properties.len(), 1);
    history.close();
}

/// A kill may come before the first batch, and history may be kept of a twin that is older.
#[tokio::test]
async fn of_a_twin_of_which_nothing_was_written_the_versions_before_the_first_are_told() {
    let history = History::start(MemoryHistory::new(at(0)), &HistoryOptions::default()).expect("it starts");
    history.keep(&view("lamp", 5, &[("hue", 2), ("on", 5)]));
    history.keep(&view("lamp", 6, &[("hue", 2), ("on", 6)]));
    assert_eq!(items(&history).await, ["hue 2", "3 of 1 to 5", "on 5", "on 6"]);
    // What is not described any more was written all the same.
    history.keep(&view("lamp", 6, &[("hue", 2)]));
    history.keep(&view("lamp", 7, &[("hue", 7)]));
    assert_eq!(items(&history).await[4..], ["hue 7"]);
    // Registered anew, it begins anew.
    history.gone(&twin("lamp"), at(7));
    history.keep(&view("lamp", 1, &[("on", 1)]));
    let found = items(&history).await;
    assert_eq!(found.iter().filter(|item| item.contains(" of ")).count(), 1, "{found:?}");
}

/// A store that writes when it is let.
pub(crate) struct Held {
    pub(crate) store: MemoryHistory,
    pub(crate) gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) open: bool,
    pub(crate) waiting: bool,
    pub(crate) failing: bool,
}

impl HistoryStore for Held {
    fn append(&mut self, moments: &[Moment], now: Timestamp, retention: Retention) -> Result<(), HistoryError> {
        let (gate, changed) = &*self.gate;
        let mut state = gate.lock();
        state.waiting = true;
        changed.notify_all();
        while !state.open {
            changed.wait(&mut state);
        }
        if state.failing {
            return Err(HistoryError("the disk is full".to_owned()));
        }
        drop(state);
        self.store.append(moments, now, retention)
    }

    fn read(&mut self, range: &HistoryRange) -> Result<Vec<Moment>, HistoryError> {
        self.store.read(range)
    }

    fn at(&mut self, twin: &TwinId, at: Timestamp) -> Result<Vec<Moment>, HistoryError> {
        self.store.at(twin, at)
    }

    fn has(&mut self, moment: &Moment) -> Result<bool, HistoryError> {
        self.store.has(moment)
    }

    fn shortened(&mut self, twin: &TwinId) -> Result<Vec<Shortened>, HistoryError> {
        self.store.shortened(twin)
    }

    fn trim(&mut self, retention: Retention, now: Timestamp, rows_max: usize) -> Result<bool, HistoryError> {
        self.store.trim(retention, now, rows_max)
    }

    fn extent(&mut self) -> Result<Extent, HistoryError> {
        self.store.extent()
    }
}

/// Waits until the thread that writes stands at the store.
pub(crate) fn stands(gate: &(Mutex<Gate>, Condvar)) {
    let (state, changed) = gate;
    let mut state = state.lock();
    while !state.waiting {
        changed.wait(&mut state);
    }
}

/// Lets it write.
pub(crate) fn goes_on(gate: &(Mutex<Gate>, Condvar)) {
    let (state, changed) = gate;
    state.lock().open = true;
    changed.notify_all();
}

#[tokio::test]
async fn a_disk_that_stands_still_holds_nobody_up_and_what_is_lost_of_it_is_told() {
    let gate = Arc::new((Mutex::new(Gate::default()), Condvar::new()));
    let store = Held { store: MemoryHistory::new(at(0)), gate: Arc::clone(&gate) };
    let options = HistoryOptions { queue_max: 2, ..HistoryOptions::default() };
    let history = History::start(store, &options).expect("it starts");
    history.keep(&view("lamp", 1, &[("on", 1)]));
    stands(&gate);
    // The thread stands: two fit into the queue, and of the others the newest is written.
    (2..=9).for_each(|version| history.keep(&view("lamp", version, &[("on", version)])));
    goes_on(&gate);
    assert_eq!(items(&history).await, ["on 1", "on 2", "on 3", "5 of 4 to 9", "on 9"]);
}
