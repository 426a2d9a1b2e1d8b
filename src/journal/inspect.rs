//! Looking at a journal without changing it, also while a daemon writes it.

use std::{fmt, path::Path};

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use twinway_actors::port::journal::JournalError;

use super::{
    DATABASE_NAME, FORMAT_VERSION,
    database::{connect_to_read, version},
    directory::{failed, supported},
    mark::{self, Found, Mark},
    scan::{self, Fault},
};

/// The first thing that is wrong with a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The first position that is affected, where that is known.
    pub position: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "at position {position}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// What a full check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The version of the layout.
    pub format: u32,
    /// The position of the last good entry.
    pub durable: u64,
    /// The position up to which entries were acknowledged, as far as that was noted.
    pub acknowledged: Option<u64>,
    /// How many good commits there are.
    pub commits: u64,
    /// How many entries these commits hold.
    pub entries: u64,
    /// How many snapshots there are.
    pub snapshots: u64,
    /// Bytes of the database and its log.
    pub bytes: u64,
    /// The first thing that is wrong; without one the journal is sound.
    pub damage: Option<Damage>,
    /// The checksum of the last good commit.
    #[serde(skip)]
    pub(super) end_checksum: u32,
}

/// Numbers of a journal, taken without checking it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatsReport {
    /// The version of the layout.
    pub format: u32,
    /// The position of the last entry.
    pub durable: u64,
    /// The position up to which entries were acknowledged, as far as that was noted.
    pub acknowledged: Option<u64>,
    /// Entries up to and with this one were dropped because snapshots cover them.
    pub truncated: u64,
    /// How many commits are kept.
    pub commits: u64,
    /// How many snapshots are kept.
    pub snapshots: u64,
    /// How many bytes of commits a start reads, besides the snapshots.
    pub replay_bytes: u64,
    /// Bytes of the database and its log.
    pub bytes: u64,
}

/// Checks a data directory or a backup completely: SQLite's own structure, every checksum, the chain of commits
/// from the first to the last, and that all is there that was acknowledged. What is wrong stands in the report.
///
/// # Errors
/// When there is no journal, its format is not this build's, or it cannot be read at all.
pub fn verify(path: &Path) -> Result<VerifyReport, JournalError> {
    verify_with(path, &mut |_, _| {})
}

/// Does as [`verify`], and tells `progress` how many commits are checked, and of how many.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport, JournalError> {
    let database = database_of(path);
    // Before the view of the database is taken: what is acknowledged by now is in it.
    let found = mark_of(path)?;
    let mut report = VerifyReport {
        format: FORMAT_VERSION,
        acknowledged: position(found),
        bytes: scan::bytes_on_disk(&database),
        ..VerifyReport::default()
    };
    let checked = match open(&database) {
        Ok(connection) => check(&connection, found, &mut report, progress),
        Err(JournalError::Corrupt(what)) => Err(Fault::Damage { position: None, what }),
        Err(error) => return Err(error),
    };
    match checked {
        Ok(()) => Ok(report),
        Err(Fault::Damage { position, what }) => {
            report.damage = Some(Damage { position, what });
            Ok(report)
        }
        Err(fault @ Fault::Storage(_)) => Err(fault.into()),
    }
}

fn check(
    connection: &Connection,
    found: Found,
    report: &mut VerifyReport,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), Fault> {
    let view = connection.unchecked_transaction()?;
    let found = backup_mark(&view)?.map_or(found, |mark| Found::Mark(mark, 0));
    report.acknowledged = position(found);
    let state = scan::state(&view)?;
    let total = view.query_row("SELECT count(*) FROM commits", [], |row| row.get(0))?;
    (report.durable, report.end_checksum) = (state.base.position, state.base.checksum);
    let end = scan::commits(&view, state.base, &mut |commit| {
        let mut entries = 0;
        scan::entries(commit, &mut |_, _| entries += 1)?;
        report.commits += 1;
        report.entries += entries;
        (report.durable, report.end_checksum) = (commit.last, commit.checksum);
        progress(report.commits, total);
        Ok(())
    })?;
    scan::check_mark(&view, end, found)?;
    let mut snapshots = 0;
    scan::covers(&view, &state, None, &mut |_, entry| snapshots += u64::from(!entry.bytes.is_empty()))?;
    report.snapshots = snapshots;
    let structure: String = view.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if structure == "ok" { Ok(()) } else { Err(Fault::Damage { position: None, what: structure }) }
}

/// Gives the numbers of a data directory's or a backup's journal.
///
/// # Errors
/// When there is no journal, its format is not this build's, or it cannot be read.
pub fn stats(path: &Path) -> Result<StatsReport, JournalError> {
    let database = database_of(path);
    let found = mark_of(path)?;
    let connection = open(&database)?;
    let read = || -> Result<(Mark, u64, Option<Mark>), Fault> {
        let end = scan::check_end(&connection, Found::Nothing)?;
        Ok((end, scan::state(&connection)?.floor, backup_mark(&connection)?))
    };
    let (end, truncated, mark) = read()?;
    let numbers = scan::stats(&connection, end, &database)?;
    Ok(StatsReport {
        format: FORMAT_VERSION,
        durable: numbers.durable.0,
        acknowledged: mark.map(|mark| mark.position).or_else(|| position(found)),
        truncated,
        commits: numbers.commits,
        snapshots: numbers.snapshots,
        replay_bytes: numbers.replay_bytes,
        bytes: numbers.bytes,
    })
}

/// Where a database ends.
pub(super) fn end(database: &Path) -> Result<Mark, JournalError> {
    Ok(scan::check_end(&open(database)?, Found::Nothing)?)
}

/// Opens a database of this build's format for reading.
pub(super) fn open(database: &Path) -> Result<Connection, JournalError> {
    if !database.exists() {
        return Err(JournalError::Refused(format!("there is no journal at {}", database.display())));
    }
    let connection = connect_to_read(database)?;
    match version(&connection, database)? {
        FORMAT_VERSION => Ok(connection),
        0 => Err(JournalError::Corrupt(format!("{} holds no journal", database.display()))),
        format => {
            supported(format, database)?;
            Err(JournalError::Refused(format!(
                "{} has format {format}; start twinway with it once, which upgrades it after a backup",
                database.display()
            )))
        }
    }
}

fn database_of(path: &Path) -> std::path::PathBuf {
    if path.is_dir() { path.join(DATABASE_NAME) } else { path.to_owned() }
}

fn mark_of(path: &Path) -> Result<Found, JournalError> {
    if !path.is_dir() {
        return Ok(Found::Nothing);
    }
    mark::read(path).map_err(|error| failed("read", &mark::path(path), &error))
}

fn position(found: Found) -> Option<u64> {
    match found {
        Found::Mark(mark, _) => Some(mark.position),
        Found::Nothing | Found::Unreadable => None,
    }
}

/// Where a backup ended when it was made; a journal in use has no such note.
fn backup_mark(connection: &Connection) -> Result<Option<Mark>, Fault> {
    let there: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'backup'", [], |row| row.get(0))?;
    if there == 0 {
        return Ok(None);
    }
    let mark = connection.query_row("SELECT position, checksum FROM backup", [], |row| {
        Ok(Mark { position: row.get(0)?, checksum: row.get(1)? })
    });
    Ok(mark.optional()?)
}
