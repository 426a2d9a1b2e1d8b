//! How much of one property, action or event is kept, and that the answer says what is not (FGMV-29 8.3.4).

use rusqlite::Connection;
use twinway::history::HistoryStore as _;
use twinway::history::{
    HISTORY_ROW_BYTES, History, HistoryKind, HistoryOptions, HistoryQuery, MemoryHistory, Retention, Shortened,
    SqliteHistory,
};

use crate::contract::{at, range, sequences, twin, value, view, with_each};

/// Three values of one property, and as many bytes as one likes.
fn three() -> Retention {
    Retention { property_values_max: 3, ..Retention::default() }
}

fn shortened(name: &str, dropped: u64, from: u64) -> Shortened {
    Shortened { kind: HistoryKind::Properties, name: name.to_owned(), dropped, kept_from: at(from) }
}

#[test]
fn of_one_property_the_oldest_go_early_and_what_went_is_told() {
    with_each(|store| {
        let all: Vec<_> = (1..=5).map(|n| value(n, "lamp", "on", n * 10)).collect();
        store.append(&all, at(60), three()).expect("it is kept");
        // A flood of one takes nothing of another.
        store.append(&[value(6, "lamp", "hue", 5), value(7, "arm", "on", 5)], at(60), three()).expect("it is kept");
        assert_eq!(sequences(&store.read(&range("lamp")).expect("it reads")), [6, 3, 4, 5]);
        assert_eq!(store.shortened(&twin("lamp")).expect("it reads"), [shortened("on", 2, 30)]);
        assert_eq!(store.shortened(&twin("arm")).expect("it reads"), []);
        let kept: u64 = [3, 4, 5].map(|n| value(n, "lamp", "on", n * 10).bytes()).iter().sum();
        let others = value(6, "lamp", "hue", 5).bytes() + value(7, "arm", "on", 5).bytes();
        assert_eq!(store.extent().expect("it reads").bytes, kept + others);
        // What comes late is the oldest: it goes at once, and what is known begins no earlier.
        store.append(&[value(8, "lamp", "on", 15)], at(61), three()).expect("it is kept");
        assert_eq!(sequences(&store.read(&range("lamp")).expect("it reads")), [6, 3, 4, 5]);
        assert_eq!(store.shortened(&twin("lamp")).expect("it reads"), [shortened("on", 3, 30)]);
    });
}

#[test]
fn one_value_stays_however_large_it_is() {
    with_each(|store| {
        let small = Retention { property_bytes_max: 1, ..Retention::default() };
        store.append(&[value(1, "lamp", "on", 10), value(2, "lamp", "on", 20)], at(30), small).expect("it is kept");
        assert_eq!(sequences(&store.at(&twin("lamp"), at(40)).expect("it reads")), [2]);
        let two = Retention { property_bytes_max: 2 * (HISTORY_ROW_BYTES + 4), ..Retention::default() };
        store.append(&[value(3, "lamp", "on", 30), value(4, "lamp", "on", 40)], at(50), two).expect("it is kept");
        assert_eq!(sequences(&store.read(&range("lamp")).expect("it reads")), [3, 4]);
    });
}

#[test]
fn what_went_early_is_not_counted_again_when_its_time_is_over() {
    with_each(|store| {
        let all: Vec<_> = (1..=5).map(|n| value(n, "lamp", "on", n * 10)).collect();
        store.append(&all, at(60), three()).expect("it is kept");
        let old = Retention { retention_ms: 1, ..three() };
        while store.trim(old, at(1_000), 2).expect("it trims") {}
        assert_eq!(sequences(&store.read(&range("lamp")).expect("it reads")), [5]);
        let extent = store.extent().expect("it reads");
        assert_eq!((extent.bytes, extent.has_let_go), (value(5, "lamp", "on", 50).bytes(), true));
        store
            .append(&[value(6, "lamp", "on", 60), value(7, "lamp", "on", 70)], at(1_000), three())
            .expect("it is kept");
        assert_eq!(sequences(&store.read(&range("lamp")).expect("it reads")), [5, 6, 7], "there is room for three");
    });
}

#[tokio::test]
async fn an_answer_says_whether_all_is_there_of_what_was_asked_for() {
    let options = HistoryOptions { retention: three(), ..HistoryOptions::default() };
    let history = History::start(MemoryHistory::new(at(0)), &options).expect("it starts");
    let page = async |query: HistoryQuery| {
        let page = history.page(&twin("lamp"), query).await.expect("it reads");
        (page.complete, page.kept_from, page.shortened)
    };
    history.keep(&view("lamp", 1, &[("hue", 1)]));
    assert_eq!(page(HistoryQuery::default()).await, (true, at(0), vec![]));
    (2..=6).for_each(|version| history.keep(&view("lamp", version, &[("hue", 1), ("on", version)])));
    assert_eq!(page(HistoryQuery::default()).await, (false, at(4), vec![shortened("on", 2, 4)]));
    let from = |ms| HistoryQuery { from: Some(at(ms)), ..HistoryQuery::default() };
    assert_eq!((page(from(3)).await.0, page(from(4)).await.0), (false, true));
    let hue = HistoryQuery { property: Some("hue".to_owned()), ..HistoryQuery::default() };
    assert_eq!(page(hue).await, (true, at(0), vec![]), "of this one nothing went");
    let events = HistoryQuery { kind: Some(HistoryKind::Events), ..HistoryQuery::default() };
    assert!(page(events).await.0);
    let then = async |ms| history.at(&twin("lamp"), None, at(ms)).await.expect("it reads");
    assert_eq!((then(3).await.complete, then(4).await.complete), (false, true));
}

#[test]
fn a_history_of_the_format_before_is_counted_and_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("history.sqlite");
    let old = Connection::open(&path).expect("it opens");
    old.execute_batch(
        "CREATE TABLE twins(key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT;
        CREATE TABLE moments(sequence INTEGER PRIMARY KEY, twin INTEGER NOT NULL, kind INTEGER NOT NULL,
            property TEXT NOT NULL, at INTEGER NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL,
            came INTEGER NOT NULL) STRICT;
        CREATE INDEX by_property ON moments(twin, kind, property, at, sequence);
        CREATE INDEX by_time ON moments(twin, at, sequence);
        CREATE TABLE extent(id INTEGER PRIMARY KEY CHECK(id = 1), bytes INTEGER NOT NULL, passed INTEGER NOT NULL,
            kept_from INTEGER NOT NULL) STRICT;
        INSERT INTO twins VALUES(1, 'lamp');
        INSERT INTO moments VALUES(1, 1, 0, 'on', 10, 1, '10', 10), (2, 1, 0, 'on', 20, 2, '20', 20);
        INSERT INTO extent VALUES(1, 200, 0, 0);
        PRAGMA user_version = 1;",
    )
    .expect("it is made");
    drop(old);
    let mut store = SqliteHistory::open(&path, at(0)).expect("it opens");
    let more = [value(3, "lamp", "on", 30), value(4, "lamp", "on", 40)];
    store.append(&more, at(50), three()).expect("it is kept");
    assert_eq!(sequences(&store.read(&range("lamp")).expect("it reads")), [2, 3, 4], "the two from before count");
    drop(store);
    assert!(SqliteHistory::open(&path, at(0)).is_ok());
}
