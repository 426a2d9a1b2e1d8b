//! The journal on disk: damage, locks, versions, backups, full disks and killed processes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "what helps a test fails as the test does, and says what it skips"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use proptest::prelude::*;
use rusqlite::{Connection, params};
use tempfile::TempDir;
use twinway::journal::{
    DataDirectory, FORMAT_VERSION, SqliteJournal, SqliteOptions, backup, backup_with, restore, stats, verify,
    verify_with,
};
use twinway_actors::port::journal::{Condition, Entry, EntryKind, Journal, JournalError, Listener, Position, Urgency};
use twinway_protocol::EntityId;

const WAIT_MAX: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Ear {
    heard: Mutex<(Position, Option<String>)>,
    changed: Condvar,
}

impl Listener for Ear {
    fn durable(&self, position: Position) {
        self.heard.lock().0 = position;
        self.changed.notify_all();
    }
    fn poisoned(&self, reason: &str) {
        self.heard.lock().1 = Some(reason.to_owned());
        self.changed.notify_all();
    }
}

impl Ear {
    fn wait_until(&self, done: impl Fn(&(Position, Option<String>)) -> bool) {
        let mut heard = self.heard.lock();
        while !done(&heard) {
            assert!(!self.changed.wait_for(&mut heard, WAIT_MAX).timed_out(), "waited too long: {heard:?}");
        }
    }
}

fn record(n: u32, bytes: &[u8]) -> Entry {
    Entry { entity: EntityId::new(3, 0, n), part: 0, kind: EntryKind::Record, bytes: bytes.into() }
}

fn snapshot(n: u32, bytes: &[u8]) -> Entry {
    Entry { kind: EntryKind::Snapshot, ..record(n, bytes) }
}

fn write(journal: &SqliteJournal, entries: Vec<Entry>) -> Position {
    let ear = Arc::new(Ear::default());
    let listener: Arc<dyn Listener> = ear.clone();
    let position = journal.append(entries, Urgency::Now, Some(&listener)).expect("it is writable");
    ear.wait_until(|(durable, _)| *durable >= position);
    position
}

fn try_open(data: &Path) -> Result<SqliteJournal, JournalError> {
    open_with(data, &SqliteOptions::default())
}

fn open_with(data: &Path, options: &SqliteOptions) -> Result<SqliteJournal, JournalError> {
    SqliteJournal::open(Arc::new(DataDirectory::open(data)?), options)
}

fn open(data: &Path) -> SqliteJournal {
    try_open(data).expect("it opens")
}

fn contents(journal: &SqliteJournal) -> Result<Vec<Vec<u8>>, JournalError> {
    let mut all = Vec::new();
    journal.replay(None, &mut |entry| all.push(entry.bytes.into_vec()))?;
    Ok(all)
}

/// Opens and replays, as a daemon does when it starts.
fn start(data: &Path) -> Result<Vec<Vec<u8>>, JournalError> {
    contents(&try_open(data)?)
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it can be made");
    for file in fs::read_dir(from).expect("it is there") {
        let file = file.expect("it can be read");
        fs::copy(file.path(), to.join(file.file_name())).expect("it can be copied");
    }
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).expect("it is there");
    bytes[offset] ^= 0x55;
    fs::write(path, bytes).expect("it can be written");
}

/// What a killed daemon leaves: `commits` commits, `moved` of them in the database file, the others in the log.
fn killed(commits: usize, moved: usize) -> (TempDir, PathBuf) {
    let temp = TempDir::new().expect("there is room");
    let (first, left) = (temp.path().join("first"), temp.path().join("left"));
    let content = |n: usize| format!("entry {n} ").repeat(60).into_bytes();
    let journal = open(&first);
    for n in 0..moved {
        write(&journal, vec![record(1, &content(n)), snapshot(n as u32 + 10, &content(n))]);
    }
    journal.close().expect("it closes");
    let journal = open(&first);
    for n in moved..commits {
        write(&journal, vec![record(1, &content(n)), record(2, &content(n))]);
    }
    copy_directory(&first, &left);
    (temp, left)
}

fn is_corrupt<T: std::fmt::Debug>(result: Result<T, JournalError>, word: &str) {
    match result {
        Err(JournalError::Corrupt(what)) if what.contains(word) => {}
        other => panic!("not told as damage with {word:?}: {other:?}"),
    }
}

#[test]
fn what_a_killed_daemon_left_is_read_whole() {
    let (_temp, left) = killed(20, 5);
    assert_eq!(start(&left).expect("it is sound").len(), 5 + 5 + 15 * 2);
    let report = verify(&left).expect("it can be read");
    assert_eq!((report.damage, report.durable, report.entries, report.snapshots), (None, 40, 40, 5));
    assert_eq!((report.acknowledged, report.commits, report.format), (Some(40), 20, FORMAT_VERSION));
}

#[test]
fn a_flipped_byte_in_the_middle_of_the_log_is_told() {
    let (_temp, left) = killed(20, 0);
    let log = left.join("journal.db-wal");
    let middle = fs::metadata(&log).expect("there is a log").len() as usize / 2;
    flip(&log, middle);
    is_corrupt(start(&left), "entries up to 40 were acknowledged");
    // The evidence is still there: looking at it does not shorten the log.
    let report = verify(&left).expect("it can be read");
    let damage = report.damage.clone().expect("it is damaged");
    assert_eq!((damage.position, report.acknowledged), (Some(report.durable + 1), Some(40)));
    assert!((1..40).contains(&report.durable), "{report:?}");
    is_corrupt(start(&left), "entries up to 40 were acknowledged");
}

#[test]
fn a_log_that_was_cut_or_lost_is_told() {
    for keep in [0, 1, 3] {
        let (_temp, left) = killed(20, 5);
        let log = left.join("journal.db-wal");
        let length = fs::metadata(&log).expect("there is a log").len();
        fs::File::options().write(true).open(&log).expect("it opens").set_len(length * keep / 4).expect("it is cut");
        is_corrupt(start(&left), "entries up to 40 were acknowledged");
        assert!(verify(&left).expect("it can be read").damage.is_some());
    }
    let (_temp, left) = killed(20, 5);
    fs::remove_file(left.join("journal.db-wal")).expect("there is a log");
    is_corrupt(start(&left), "entries up to 40 were acknowledged");
}

#[test]
fn a_torn_end_of_the_log_that_nobody_was_told_of_is_no_damage() {
    let (_temp, left) = killed(20, 5);
    let mut log = fs::File::options().append(true).open(left.join("journal.db-wal")).expect("there is a log");
    log.write_all(&[0xee; 5000]).expect("it can be written");
    assert_eq!(start(&left).expect("it is sound").len(), 40);
}

#[test]
fn a_lost_or_cut_database_is_told() {
    let (_temp, left) = killed(20, 20);
    let database = left.join("journal.db");
    let whole = fs::read(&database).expect("it is there");
    fs::remove_file(left.join("journal.db-wal")).ok();
    for length in [0, 100, 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&database, &whole[..length]).expect("it can be written");
        let started = start(&left);
        assert!(matches!(started, Err(JournalError::Corrupt(_))), "cut at {length}: {started:?}");
    }
    fs::remove_file(&database).expect("it is there");
    is_corrupt(start(&left), "is missing");
    assert!(!database.exists(), "it was made anew in silence");
}

#[test]
fn a_flipped_byte_of_any_page_is_told_or_harmless() {
    let (_temp, left) = killed(20, 20);
    let database = left.join("journal.db");
    let whole = fs::read(&database).expect("it is there");
    let sound = start(&left).expect("it is sound");
    let (mut told, mut harmless) = (0, 0);
    for offset in (0..whole.len()).step_by(509) {
        let copy = TempDir::new().expect("there is room");
        let data = copy.path().join("data");
        copy_directory(&left, &data);
        flip(&data.join("journal.db"), offset);
        match start(&data) {
            // Free space, or a number that SQLite does not need to read.
            Ok(all) if all == sound => harmless += 1,
            Ok(_) => panic!("a byte flipped at {offset} changed what is read, and nobody was told"),
            Err(JournalError::Corrupt(_)) => told += 1,
            // The header's version numbers.
            Err(JournalError::Refused(_) | JournalError::Storage(_)) if offset < 100 => told += 1,
            Err(error) => panic!("a byte flipped at {offset} is told as {error:?}"),
        }
    }
    // The pages are about half full, and the free space of a page holds nothing.
    assert!(told > 40 && harmless > 0, "{told} told, {harmless} harmless");
}

fn change_database(data: &Path, sql: &str) {
    let connection = Connection::open(data.join("journal.db")).expect("it opens");
    connection.execute_batch(sql).expect("it is changed");
}

#[test]
fn a_commit_that_was_removed_changed_or_swapped_is_told() {
    let changes = [
        ("DELETE FROM commits WHERE first_position = 9", Some(9), "entries are missing"),
        ("UPDATE commits SET blob = zeroblob(length(blob)) WHERE first_position = 9", Some(9), "not those"),
        ("UPDATE commits SET checksum = checksum + 1 WHERE first_position = 39", Some(39), "not those"),
        ("DELETE FROM commits WHERE first_position = 39", Some(39), "were acknowledged"),
        ("DELETE FROM commits WHERE first_position = 1", Some(1), "entries are missing"),
        ("DELETE FROM snapshot WHERE entity = (SELECT min(entity) FROM snapshot)", None, "others are there"),
        ("UPDATE snapshot SET bytes = zeroblob(3) WHERE position = 4", Some(4), "snapshot's bytes"),
        ("INSERT INTO forgotten VALUES(1, 1, 0)", None, ""),
    ];
    for (change, position, word) in changes {
        let (_temp, left) = killed(20, 5);
        change_database(&left, change);
        is_corrupt(start(&left), word);
        let damage = verify(&left).expect("it can be read").damage.expect("it is damaged");
        assert!(damage.what.contains(word), "{change}: {damage}");
        if position.is_some() {
            assert_eq!(damage.position, position, "{change}: {damage}");
        }
    }
}

#[test]
fn a_journal_put_back_from_an_older_copy_is_told() {
    let temp = TempDir::new().expect("there is room");
    let data = temp.path().join("data");
    let journal = open(&data);
    write(&journal, vec![record(1, b"a")]);
    journal.close().expect("it closes");
    let old = fs::read(data.join("journal.db")).expect("it is there");
    let journal = open(&data);
    write(&journal, vec![record(1, b"b")]);
    journal.close().expect("it closes");
    fs::write(data.join("journal.db"), old).expect("it can be written");
    is_corrupt(start(&data), "entries up to 2 were acknowledged");
    // Whoever knows what they do says so by removing the mark.
    fs::remove_file(data.join("journal.mark")).expect("it is there");
    assert_eq!(start(&data), Ok(vec![b"a".to_vec()]));
}

#[test]
fn a_data_directory_is_for_one_daemon() {
    let temp = TempDir::new().expect("there is room");
    let data = temp.path().join("deep/data");
    let journal = open(&data);
    let refused = DataDirectory::open(&data).expect_err("it is in use").to_string();
    assert!(refused.contains("is another twinway running with --data") && refused.contains("process"), "{refused}");
    journal.close().expect("it closes");
    DataDirectory::open(&data).expect("closing lets it go");
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&data).expect("it is there").permissions());
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn a_newer_format_is_refused_with_what_to_do() {
    let (_temp, left) = killed(3, 3);
    change_database(&left, "PRAGMA user_version = 99");
    for refused in [start(&left).map(drop), verify(&left).map(drop), stats(&left).map(drop)] {
        let Err(JournalError::Refused(what)) = refused else { panic!("not refused: {refused:?}") };
        assert!(what.contains("format 99") && what.contains("formats 1 to 2") && what.contains("newer"), "{what}");
    }
    change_database(&left, "PRAGMA user_version = 2");
    fs::write(left.join("format"), "3\n").expect("it can be written");
    assert!(matches!(try_open(&left), Err(JournalError::Refused(_))));
}

/// A journal as version 1 wrote it: two commits of one record each, a snapshot and a forgotten entity.
fn version_1(data: &Path) {
    fs::create_dir_all(data).expect("it is new");
    let frame = |kind: u8, entity: u64, content: &[u8]| {
        let mut frame = vec![kind];
        frame.extend(entity.to_le_bytes());
        frame.extend(0_u64.to_le_bytes());
        frame.extend(u32::try_from(content.len()).expect("it is short").to_le_bytes());
        frame.extend(content);
        frame
    };
    let cover = |forgotten: u8, entity: u64, position: u64, content: &[u8]| {
        let mut bytes = vec![forgotten];
        bytes.extend([entity, 0, position].map(u64::to_le_bytes).concat());
        bytes.extend(content);
        crc32fast::hash(&bytes)
    };
    let (snapshot, forgotten) = (cover(0, 5, 2, b"S"), cover(1, 6, 4, b""));
    let blobs = [
        [frame(0, 5, b"covered"), frame(1, 5, &snapshot.to_le_bytes()), frame(0, 6, b"forgotten")].concat(),
        [frame(2, 6, b""), frame(0, 5, b"kept")].concat(),
    ];
    let connection = Connection::open(data.join("journal.db")).expect("it is new");
    let schema = "CREATE TABLE commits(first_position INTEGER PRIMARY KEY, last_position INTEGER NOT NULL,
            count INTEGER NOT NULL, checksum INTEGER NOT NULL, blob BLOB NOT NULL) STRICT;
        CREATE TABLE snapshot(entity INTEGER NOT NULL, part INTEGER NOT NULL, position INTEGER NOT NULL,
            checksum INTEGER NOT NULL, bytes BLOB, PRIMARY KEY(entity, part)) STRICT;
        CREATE INDEX snapshot_gone ON snapshot(position) WHERE bytes IS NULL;
        CREATE TABLE forgotten(entity INTEGER PRIMARY KEY, position INTEGER NOT NULL,
            checksum INTEGER NOT NULL) STRICT;
        CREATE INDEX forgotten_position ON forgotten(position);
        CREATE TABLE state(id INTEGER PRIMARY KEY, base_position INTEGER NOT NULL,
            floor_position INTEGER NOT NULL) STRICT;
        INSERT INTO state VALUES(1, 0, 0);
        PRAGMA user_version = 1;";
    connection.execute_batch(&format!("PRAGMA journal_mode = WAL; {schema}")).expect("it is made");
    for (blob, (first, last)) in blobs.iter().zip([(1, 3), (4, 5)]) {
        let row = params![first, last, last - first + 1, crc32fast::hash(blob), blob];
        connection.execute("INSERT INTO commits VALUES(?1, ?2, ?3, ?4, ?5)", row).expect("it is written");
    }
    connection.execute("INSERT INTO snapshot VALUES(5, 0, 2, ?1, ?2)", params![snapshot, b"S"]).expect("it is written");
    connection.execute("INSERT INTO forgotten VALUES(6, 4, ?1)", params![forgotten]).expect("it is written");
    drop(connection);
    fs::write(data.join("format"), "1\n").expect("it can be written");
}

#[test]
fn an_older_format_is_upgraded_after_a_backup() {
    let temp = TempDir::new().expect("there is room");
    let data = temp.path().join("data");
    version_1(&data);
    let expected = vec![b"S".to_vec(), b"kept".to_vec()];
    assert_eq!(start(&data), Ok(expected.clone()));
    assert_eq!(fs::read_to_string(data.join("format")).expect("it is there"), "2\n");
    let report = verify(&data).expect("it can be read");
    assert_eq!((report.damage, report.format, report.durable), (None, 2, 5));
    // The backup is a version 1 journal still, and a data directory can be made of it.
    let restored = temp.path().join("restored");
    let report = restore(&data.join("journal-v1-backup-1.db"), &restored).expect("it is sound");
    assert_eq!((report.format, report.durable), (1, 5));
    assert_eq!(start(&restored), Ok(expected));
}

#[test]
fn a_damaged_older_journal_is_not_upgraded() {
    let temp = TempDir::new().expect("there is room");
    let data = temp.path().join("data");
    version_1(&data);
    change_database(&data, "UPDATE commits SET blob = zeroblob(9) WHERE first_position = 4");
    is_corrupt(start(&data), "nothing was changed");
    let connection = Connection::open(data.join("journal.db")).expect("it opens");
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("it is there");
    assert_eq!(version, 1);
}

#[test]
fn a_backup_made_while_the_journal_is_written_is_whole_and_restores() {
    let temp = TempDir::new().expect("there is room");
    let (data, file, restored) = (temp.path().join("data"), temp.path().join("copy.db"), temp.path().join("restored"));
    let journal = open(&data);
    let before = write(&journal, (0..200).map(|n| record(n, &[7; 2000])).collect());
    let stop = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                write(&journal, vec![record(1, &[9; 3000]), snapshot(2, &[8; 3000])]);
            }
        });
        let mut told = Vec::new();
        let report = backup_with(&data, &file, &mut |done, total| told.push((done, total)));
        stop.store(true, Ordering::Relaxed);
        assert!(told.last().is_some_and(|(done, total)| done == total && *total > 0), "{told:?}");
        report.expect("it is sound")
    });
    assert!(Position(report.durable) >= before && Position(report.durable) <= journal.position());
    let refused = backup(&data, &file);
    assert!(matches!(refused, Err(JournalError::Refused(_))), "an existing file was overwritten: {refused:?}");
    let made = restore(&file, &restored).expect("it is sound");
    assert_eq!((made.durable, made.format), (report.durable, FORMAT_VERSION));
    let again = open(&restored);
    assert_eq!(again.position(), Position(report.durable));
    let all = contents(&journal).expect("it is sound");
    let kept = contents(&again).expect("it is sound");
    assert!(kept.len() <= all.len() && kept.len() >= 200);
    write(&again, vec![record(1, b"goes on")]);
    again.close().expect("it closes");
    assert_eq!(verify(&restored).expect("it can be read").acknowledged, Some(report.durable + 1));
}

#[test]
fn restoring_over_something_or_from_damage_is_refused() {
    let temp = TempDir::new().expect("there is room");
    let (data, file) = (temp.path().join("data"), temp.path().join("copy.db"));
    let journal = open(&data);
    for n in 0..50 {
        write(&journal, vec![record(n, &[7; 500])]);
    }
    backup(&data, &file).expect("it is sound");
    assert!(matches!(restore(&file, &data), Err(JournalError::Refused(_))));
    let bytes = fs::read(&file).expect("it is there");
    flip(&file, bytes.len() / 2);
    let new = temp.path().join("new");
    is_corrupt(restore(&file, &new), "");
    assert!(!new.exists());
    fs::write(&file, &bytes[..bytes.len() / 2]).expect("it can be written");
    is_corrupt(restore(&file, &new), "");
    fs::write(&file, b"something else").expect("it can be written");
    assert!(restore(&file, &new).is_err());
    assert!(restore(&temp.path().join("none.db"), &new).is_err());
    assert!(!new.exists());
}

#[test]
fn looking_at_a_journal_in_use_disturbs_nobody() {
    let temp = TempDir::new().expect("there is room");
    let data = temp.path().join("data");
    let journal = open(&data);
    for n in 0..10 {
        write(&journal, vec![record(n, b"abc"), snapshot(n, b"S")]);
    }
    journal.truncate(Position(10)).expect("it can be written");
    let numbers = stats(&data).expect("it can be read");
    assert_eq!((numbers.durable, numbers.truncated, numbers.commits, numbers.snapshots), (20, 10, 5, 10));
    assert_eq!(numbers.acknowledged, Some(20));
    let mut told = Vec::new();
    let report = verify_with(&data, &mut |done, total| told.push((done, total))).expect("it can be read");
    assert_eq!((report.damage.clone(), report.entries, told.last()), (None, 10, Some(&(5, 5))));
    assert_eq!(write(&journal, vec![record(1, b"d")]), Position(21));
    assert!(matches!(verify(temp.path()), Err(JournalError::Refused(_))));
    assert!(serde_json::to_value(&numbers).is_ok() && serde_json::to_value(&report).is_ok());
}

#[test]
fn nothing_is_dropped_before_the_snapshot_that_covers_it_is_durable() {
    let temp = TempDir::new().expect("there is room");
    let (data, left) = (temp.path().join("data"), temp.path().join("left"));
    // The snapshot may wait for longer than this test takes.
    let options = SqliteOptions { loss_window_ms: 600_000, ..SqliteOptions::default() };
    let journal = open_with(&data, &options).expect("it opens");
    let covered = write(&journal, vec![record(1, b"acknowledged")]);
    journal.append(vec![snapshot(1, b"all of it")], Urgency::WithinLossWindow, None).expect("it is writable");
    journal.truncate(covered).expect("it can be written");
    // The files as they are now: what a killed process leaves.
    copy_directory(&data, &left);
    assert_eq!(start(&left).expect("it is sound"), [b"all of it".to_vec()]);
}

#[test]
fn a_full_journal_drops_nothing_that_a_waiting_snapshot_covers() {
    let temp = TempDir::new().expect("there is room");
    let (data, left) = (temp.path().join("data"), temp.path().join("left"));
    let options = SqliteOptions { bytes_max: Some(256 * 1024), ..SqliteOptions::default() };
    let journal = open_with(&data, &options).expect("it opens");
    let _ear = fill(&journal);
    let durable = journal.stats().expect("it counts").durable;
    journal.append(vec![snapshot(1, b"all of it")], Urgency::Now, None).expect("it is kept");
    assert!(matches!(journal.truncate(durable), Err(JournalError::Storage(_))));
    copy_directory(&data, &left);
    assert_eq!(start(&left).expect("it is sound").len() as u64, durable.0);
}

#[test]
fn a_full_journal_is_read_only_until_there_is_room_and_loses_nothing() {
    let temp = TempDir::new().expect("there is room");
    let options = SqliteOptions { bytes_max: Some(256 * 1024), ..SqliteOptions::default() };
    let journal = open_with(&temp.path().join("data"), &options).expect("it opens");
    let ear = fill(&journal);
    let waiting = journal.position();
    // Room is made: a snapshot of what matters was written before, here nothing does.
    let durable = journal.stats().expect("it counts").durable;
    journal.truncate(durable).expect("it can be written");
    ear.wait_until(|(durable, _)| *durable == waiting);
    assert_eq!(journal.condition(), Condition::Writable);
    assert_eq!(contents(&journal).expect("it is sound").len() as u64, waiting.0 - durable.0);
    journal.close().expect("it closes");
    assert_eq!(verify(&temp.path().join("data")).expect("it can be read").damage, None);
}

/// Appends until the journal is read-only; gives who waits for the rest.
fn fill(journal: &SqliteJournal) -> Arc<Ear> {
    let ear = Arc::new(Ear::default());
    let listener: Arc<dyn Listener> = ear.clone();
    for _ in 0..1000 {
        let position = journal.append(vec![record(1, &[5; 20_000])], Urgency::Now, Some(&listener));
        let position = position.expect("it is kept");
        loop {
            if let Condition::ReadOnly { reason } = journal.condition() {
                assert!(reason.contains("no room"), "{reason}");
                assert!(journal.position() > journal.stats().expect("it counts").durable);
                return ear;
            }
            if ear.heard.lock().0 == position {
                break;
            }
            std::thread::yield_now();
        }
    }
    panic!("it never became full");
}

#[test]
fn closing_a_full_journal_tells_what_was_not_written() {
    let temp = TempDir::new().expect("there is room");
    let options = SqliteOptions { bytes_max: Some(256 * 1024), ..SqliteOptions::default() };
    let journal = open_with(&temp.path().join("data"), &options).expect("it opens");
    let ear = fill(&journal);
    let durable = journal.stats().expect("it counts").durable;
    assert!(matches!(journal.close(), Err(JournalError::Storage(_))));
    ear.wait_until(|(_, lost)| lost.is_some());
    drop(journal);
    let journal = open_with(&temp.path().join("data"), &SqliteOptions::default()).expect("it opens");
    assert_eq!(journal.position(), durable);
}

#[test]
fn a_commit_that_fails_otherwise_poisons_the_journal() {
    let temp = TempDir::new().expect("there is room");
    let data = temp.path().join("data");
    let journal = open(&data);
    write(&journal, vec![record(1, b"a")]);
    change_database(&data, "DROP TABLE commits");
    let ear = Arc::new(Ear::default());
    let listener: Arc<dyn Listener> = ear.clone();
    journal.append(vec![record(1, b"b")], Urgency::Now, Some(&listener)).expect("it is not known yet");
    ear.wait_until(|(_, poisoned)| poisoned.is_some());
    assert!(matches!(journal.condition(), Condition::Poisoned { .. }));
    let refused = journal.append(vec![record(1, b"c")], Urgency::Now, None);
    assert!(matches!(refused, Err(JournalError::Poisoned(_))), "{refused:?}");
    assert!(matches!(journal.truncate(Position(1)), Err(JournalError::Poisoned(_))));
    assert!(matches!(journal.close(), Err(JournalError::Poisoned(_))));
    assert_eq!(ear.heard.lock().0, Position(0));
}

/// A listener that breaks the rules.
struct Panics;

impl Listener for Panics {
    fn durable(&self, _position: Position) {
        panic!("a listener panics");
    }
    fn poisoned(&self, _reason: &str) {}
}

#[test]
fn a_listener_that_panics_poisons_the_journal_and_leaves_nobody_waiting() {
    let temp = TempDir::new().expect("there is room");
    let data = temp.path().join("data");
    let journal = open(&data);
    let panics: Arc<dyn Listener> = Arc::new(Panics);
    journal.append(vec![record(1, b"a")], Urgency::Now, Some(&panics)).expect("it is writable");
    let ear = Arc::new(Ear::default());
    let listener: Arc<dyn Listener> = ear.clone();
    // While the panic unwinds, so much may come that the queue is full.
    let append = || journal.append(vec![record(1, b"b")], Urgency::WithinLossWindow, Some(&listener));
    while matches!(append(), Ok(_) | Err(JournalError::Full { .. })) {
        std::thread::yield_now();
    }
    assert!(matches!(journal.condition(), Condition::Poisoned { .. }));
    assert!(matches!(journal.truncate(Position(1)), Err(JournalError::Poisoned(_))));
    assert!(matches!(journal.close(), Err(JournalError::Poisoned(_))));
    drop(journal);
    assert_eq!(start(&data).expect("it is sound").first(), Some(&b"a".to_vec()));
}

const CHILD: &str = "TWINWAY_JOURNAL_CHILD";

/// A test that runs this very program again, with only the test `name`, as `role` on the directory `data`.
fn child(name: &str, role: &str, data: &Path, wrapper: &[&str]) -> Command {
    let program = std::env::current_exe().expect("it runs");
    let mut words = wrapper.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    words.push(program.to_string_lossy().into_owned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(CHILD, role).env("TWINWAY_JOURNAL_DATA", data);
    command
}

fn role() -> Option<(String, PathBuf)> {
    let data = std::env::var_os("TWINWAY_JOURNAL_DATA")?;
    Some((std::env::var(CHILD).ok()?, PathBuf::from(data)))
}

/// Appends from four threads, and says each position once it is durable.
fn append_and_acknowledge(data: &Path) {
    let options = SqliteOptions { wal_autocheckpoint_pages: 16, ..SqliteOptions::default() };
    let journal = open_with(data, &options).expect("it opens");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0_u64.. {
                    let entries = vec![record(thread, &n.to_le_bytes()), record(thread, &[3; 300])];
                    let position = write(journal, entries);
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "\ndurable {thread} {n} {}", position.0).expect("somebody listens");
                    out.flush().expect("somebody listens");
                }
            });
        }
    });
}

#[cfg(unix)]
#[test]
fn what_a_killed_process_acknowledged_is_there() {
    if let Some((_, data)) = role() {
        return append_and_acknowledge(&data);
    }
    let temp = TempDir::new().expect("there is room");
    let data = temp.path().join("data");
    let mut acknowledged = 0;
    let mut next = [0_u64; 4];
    for round in 0..12 {
        let mut command = child("what_a_killed_process_acknowledged_is_there", "append", &data, &[]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut heard = [None; 4];
        let mut count = 0;
        let mut hear = |line: String| {
            let words: Vec<u64> =
                line.strip_prefix("durable ")?.split(' ').filter_map(|word| word.parse().ok()).collect();
            let [thread, n, position] = words[..] else { return None };
            heard[thread as usize] = Some(n);
            acknowledged = acknowledged.max(position);
            Some(())
        };
        for line in lines.by_ref().map_while(Result::ok) {
            count += u32::from(hear(line).is_some());
            if count > round * 7 {
                break;
            }
        }
        process.kill().expect("it runs");
        process.wait().expect("it ends");
        // What was said before the kill counts, also when it is read after; a last line may be torn.
        for line in lines.map_while(Result::ok) {
            hear(line);
        }
        assert!(count > 0, "it acknowledged nothing");
        let journal = open(&data);
        assert!(journal.position().0 >= acknowledged, "round {round}: {acknowledged} was acknowledged");
        assert_eq!(journal.position().0 % 2, 0, "half an append is there");
        for thread in 0..4 {
            let mut seen = Vec::new();
            let of = Some(EntityId::new(3, 0, thread));
            let visited = journal.replay(of, &mut |entry| {
                if let Ok(n) = <[u8; 8]>::try_from(&*entry.bytes) {
                    seen.push(u64::from_le_bytes(n));
                }
            });
            visited.expect("it is sound");
            let fresh = &seen[next[thread as usize] as usize..];
            assert!(fresh.iter().copied().eq(0..fresh.len() as u64), "{fresh:?}");
            assert!(heard[thread as usize].is_none_or(|n| n < fresh.len() as u64), "round {round}, thread {thread}");
            next[thread as usize] = seen.len() as u64;
        }
        journal.close().expect("it closes");
    }
    assert_eq!(verify(&data).expect("it can be read").damage, None);
}

/// In a namespace of its own: fills a small file system, then makes room.
fn fill_a_file_system(data: &Path) {
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(data).status();
    assert!(mounted.is_ok_and(|status| status.success()), "no file system could be mounted");
    let ballast = data.join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).expect("there is room");
    let journal = open(&data.join("data"));
    let ear = fill(&journal);
    let waiting = journal.position();
    fs::remove_file(ballast).expect("it is there");
    ear.wait_until(|(durable, _)| *durable == waiting);
    assert_eq!(journal.condition(), Condition::Writable);
    assert_eq!(contents(&journal).expect("it is sound").len() as u64, waiting.0);
    journal.close().expect("it closes");
    assert_eq!(verify(&data.join("data")).expect("it can be read").damage, None);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_file_system_makes_the_journal_read_only_until_there_is_room() {
    if let Some((_, data)) = role() {
        return fill_a_file_system(&data);
    }
    let temp = TempDir::new().expect("there is room");
    let may = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none"]).arg(temp.path()).output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: `unshare -rm mount -t tmpfs` does not work here: {may:?}");
        return;
    }
    let name = "a_full_file_system_makes_the_journal_read_only_until_there_is_room";
    let output = child(name, "fill", temp.path(), &["unshare", "-rm"]).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to the log's bytes: either nothing acknowledged is missing, or it is told.
    #[test]
    fn a_damaged_log_never_loses_in_silence(at in 0.0..1.0_f64, cut in any::<bool>()) {
        let (_temp, left) = killed(8, 3);
        let sound = 3 + 3 + 5 * 2;
        let log = left.join("journal.db-wal");
        let bytes = fs::read(&log).expect("there is a log");
        let offset = (bytes.len() as f64 * at) as usize;
        if cut {
            fs::write(&log, &bytes[..offset]).expect("it can be written");
        } else {
            flip(&log, offset);
        }
        match start(&left) {
            Ok(all) => prop_assert_eq!(all.len(), sound),
            Err(JournalError::Corrupt(_)) => {}
            Err(other) => prop_assert!(false, "told as {:?}", other),
        }
    }
}
