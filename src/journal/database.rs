//! The database of a journal: its layout, its transactions, and what their failures mean.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, config::DbConfig, ffi, params};
use twinway_actors::port::journal::{Entry, JournalError, JournalStats, Position};

use super::{
    FORMAT_VERSION, SqliteOptions,
    change::Change,
    directory::{DataDirectory, failed, supported},
    frame,
    mark::{self, Found, Mark, MarkFile},
    scan, upgrade,
};

/// The layout. `state` counts and sums up what no chain holds together: the rows of `snapshot` and `forgotten`.
pub(super) const SCHEMA: &str = "
    CREATE TABLE commits(first_position INTEGER PRIMARY KEY, last_position INTEGER NOT NULL, count INTEGER NOT NULL,
        checksum INTEGER NOT NULL, previous INTEGER NOT NULL, blob BLOB NOT NULL) STRICT;
    CREATE TABLE snapshot(entity INTEGER NOT NULL, part INTEGER NOT NULL, position INTEGER NOT NULL,
        checksum INTEGER NOT NULL, bytes BLOB, PRIMARY KEY(entity, part)) STRICT;
    CREATE INDEX snapshot_gone ON snapshot(position) WHERE bytes IS NULL;
    CREATE TABLE forgotten(entity INTEGER PRIMARY KEY, position INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT;
    CREATE INDEX forgotten_position ON forgotten(position);
    CREATE TABLE state(id INTEGER PRIMARY KEY CHECK(id = 1), base_position INTEGER NOT NULL,
        base_checksum INTEGER NOT NULL, floor_position INTEGER NOT NULL, covers INTEGER NOT NULL,
        digest INTEGER NOT NULL) STRICT;
    INSERT INTO state VALUES(1, 0, 0, 0, 0, 0);
";

const PAGE_BYTES: u64 = 4096;
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
const CACHE_KIB: i64 = 8 * 1024;
const LOG_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// How many commits one truncating transaction drops at most, so that commits need not wait long for it.
const TRUNCATED_COMMITS_MAX: i64 = 128;

/// Why a transaction did not end well. It was rolled back.
#[derive(Debug)]
pub(super) enum Failure {
    /// There was no room, or another program had the database locked: to be tried again.
    NoRoom(String),
    /// What the disk holds is not known.
    Fatal(String),
}

impl Failure {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::NoRoom(reason) | Self::Fatal(reason) => reason,
        }
    }
}

/// What one commit makes durable.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) blob: Vec<u8>,
    /// Snapshots and forgettings with their positions.
    pub(super) covers: Vec<(u64, Entry)>,
}

impl Content {
    pub(super) fn last(&self) -> u64 {
        self.first + self.count - 1
    }
}

/// The database, open for writing.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    marks: MarkFile,
    checksum: u32,
    checkpoint_pages: u64,
    /// About how many pages stand in the log.
    log_pages: u64,
    pub(super) stats: JournalStats,
}

impl Database {
    /// Opens the journal of `directory`, makes it if there is none, upgrades it if it is of an older version.
    pub(super) fn open(directory: &DataDirectory, options: &SqliteOptions) -> Result<Self, JournalError> {
        let path = directory.database();
        let found = mark::read(directory.path()).map_err(|error| failed("read the mark of", &path, &error))?;
        // The mark goes first: a database that was lost is not made anew in silence.
        if let (Found::Mark(mark, _), false) = (found, path.exists())
            && mark.position > 0
        {
            return Err(JournalError::Corrupt(format!(
                "entries up to {} were acknowledged, but {} is missing: put it back, or restore a backup into \
                 another directory",
                mark.position,
                path.display()
            )));
        }
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        prepare(&connection, &path, found, options)?;
        let end = scan::check_end(&connection, found)?;
        if found == Found::Nothing && end.position > 0 {
            tracing::warn!(path = %path.display(), "the journal has no mark: it is not known whether all that was acknowledged is there");
        }
        let marks =
            MarkFile::open(directory.path(), end).map_err(|error| failed("write the mark of", &path, &error))?;
        let stats = scan::stats(&connection, end, &path)?;
        let checkpoint_pages = u64::from(options.wal_autocheckpoint_pages.max(1));
        Ok(Self { connection, path, marks, checksum: end.checksum, checkpoint_pages, log_pages: 0, stats })
    }

    /// Makes `content` durable: when this returns it is on disk, and the mark says so.
    pub(super) fn commit(&mut self, content: &Content) -> Result<(), Failure> {
        let checksum = frame::commit_checksum(self.checksum, content.first, content.last(), &content.blob);
        let snapshots = self.write(content, checksum).map_err(|error| self.failure(&error))?;
        self.checksum = checksum;
        self.stats.snapshots = self.stats.snapshots.saturating_add_signed(snapshots);
        self.stats.durable = Position(content.last());
        self.stats.commits += 1;
        self.stats.replay_bytes += content.blob.len() as u64;
        let mark = Mark { position: content.last(), checksum };
        if let Err(error) = self.marks.write(mark) {
            // An old mark detects less; it never accuses wrongly.
            tracing::warn!(%error, "the journal's mark was not written");
        }
        let covers: usize = content.covers.iter().map(|(_, entry)| frame::size(entry)).sum();
        // A leaf, the first page and an inner page now and then are written besides.
        self.log_pages += ((content.blob.len() + covers) as u64).div_ceil(PAGE_BYTES) + 2;
        Ok(())
    }

    fn write(&mut self, content: &Content, checksum: u32) -> rusqlite::Result<i64> {
        const INSERT: &str = "INSERT INTO commits VALUES(?1, ?2, ?3, ?4, ?5, ?6)";
        let last = content.last();
        let row = params![content.first, last, content.count, checksum, self.checksum, content.blob];
        if content.covers.is_empty() {
            self.connection.prepare_cached(INSERT)?.execute(row)?;
            return Ok(0);
        }
        let transaction = self.connection.transaction()?;
        transaction.prepare_cached(INSERT)?.execute(row)?;
        let mut change = Change::default();
        for (position, entry) in &content.covers {
            change.cover(&transaction, *position, entry)?;
        }
        change.save(&transaction)?;
        transaction.commit()?;
        Ok(change.snapshots)
    }

    /// Moves the log into the database file when it has become long.
    ///
    /// SQLite would do so by itself, and ignore it when the file cannot be synced.
    pub(super) fn checkpoint_when_long(&mut self) -> Result<(), Failure> {
        if self.log_pages < self.checkpoint_pages { Ok(()) } else { self.checkpoint("PASSIVE") }
    }

    /// Moves the log into the database file, in one of SQLite's modes.
    pub(super) fn checkpoint(&mut self, mode: &str) -> Result<(), Failure> {
        self.log_pages = 0;
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let moved = self.connection.query_row(&sql, [], |row| row.get::<_, i64>(0));
        match moved {
            Ok(_busy) => Ok(()),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Drops some commits up to `before`; `true` when there may be more.
    pub(super) fn truncate_some(&mut self, before: u64) -> Result<bool, Failure> {
        let before = before.min(self.stats.durable.0);
        let dropped = self.drop_commits(before).map_err(|error| self.failure(&error))?;
        self.stats.commits = self.stats.commits.saturating_sub(dropped.0);
        self.stats.replay_bytes = self.stats.replay_bytes.saturating_sub(dropped.1);
        Ok(dropped.0 >= TRUNCATED_COMMITS_MAX.unsigned_abs())
    }

    fn drop_commits(&mut self, before: u64) -> rusqlite::Result<(u64, u64)> {
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached("UPDATE state SET floor_position = max(floor_position, ?1)")?
            .execute(params![before])?;
        let last_dropped = transaction
            .prepare_cached(
                "SELECT last_position, checksum, (SELECT count(*) FROM commits WHERE first_position <= d.first_position),
                    (SELECT sum(length(blob)) FROM commits WHERE first_position <= d.first_position)
                 FROM (SELECT * FROM commits WHERE first_position <= ?1 ORDER BY first_position LIMIT ?2) AS d
                 WHERE last_position <= ?1 ORDER BY first_position DESC LIMIT 1",
            )?
            .query_row(params![before, TRUNCATED_COMMITS_MAX], |row| {
                Ok((row.get::<_, u64>(0)?, row.get::<_, u32>(1)?, row.get::<_, u64>(2)?, row.get::<_, u64>(3)?))
            })
            .optional()?;
        let mut dropped = (0, 0);
        if let Some((position, checksum, commits, bytes)) = last_dropped {
            transaction.prepare_cached("DELETE FROM commits WHERE first_position <= ?1")?.execute(params![position])?;
            transaction
                .prepare_cached("UPDATE state SET base_position = ?1, base_checksum = ?2")?
                .execute(params![position, checksum])?;
            // What only says that something is gone is needed as long as a commit that it covers is kept.
            let mut change = Change::default();
            change.drop_notes(&transaction, position)?;
            change.save(&transaction)?;
            dropped = (commits, bytes);
        }
        transaction.commit()?;
        Ok(dropped)
    }

    /// Moves the whole log into the database file and lets both go.
    pub(super) fn close(mut self) -> Result<(), Failure> {
        self.checkpoint("TRUNCATE")?;
        let tidy = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        tidy.map_err(|error| self.failure(&error))?;
        let Self { connection, path, .. } = self;
        connection.close().map_err(|(_, error)| failure(&error, &path))
    }

    fn failure(&self, error: &rusqlite::Error) -> Failure {
        failure(error, &self.path)
    }
}

/// Opens a connection that leaves the log as it is when it closes: a log is evidence until it has been checked.
pub(super) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, JournalError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| storage(&error, path))?;
    let set = || -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.pragma_update(None, "cell_size_check", true)
    };
    set().map_err(|error| storage(&error, path))?;
    Ok(connection)
}

/// Opens a connection that only reads. The daemon may be running.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection, JournalError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// The version of the layout; 0 when there is none yet.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<u32, JournalError> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|error| storage(&error, path))
}

fn prepare(connection: &Connection, path: &Path, found: Found, options: &SqliteOptions) -> Result<(), JournalError> {
    let set = |version: u32| -> rusqlite::Result<String> {
        if version == 0 {
            connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        }
        let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        let pages = options.bytes_max.map_or(u64::from(u32::MAX) - 1, |bytes| (bytes / PAGE_BYTES).max(1));
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        Ok(mode)
    };
    let version = version(connection, path)?;
    if version == 0 {
        create_allowed(connection, path, found)?;
    } else {
        supported(version, path)?;
    }
    let mode = set(version).map_err(|error| storage(&error, path))?;
    if mode != "wal" {
        let path = path.display();
        return Err(JournalError::Refused(format!("{path} cannot use a write-ahead log on this file system")));
    }
    match version {
        0 => create(connection).map_err(|error| storage(&error, path)),
        FORMAT_VERSION => Ok(()),
        _ => upgrade::upgrade(connection, path),
    }
}

fn create_allowed(connection: &Connection, path: &Path, found: Found) -> Result<(), JournalError> {
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| storage(&error, path))?;
    if tables > 0 {
        return Err(JournalError::Refused(format!("{} is a database, but no journal of twinway", path.display())));
    }
    match found {
        Found::Mark(mark, _) if mark.position > 0 => Err(JournalError::Corrupt(format!(
            "entries up to {} were acknowledged, but {} is empty",
            mark.position,
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "user_version", FORMAT_VERSION)?;
    transaction.commit()
}

/// What a failure of reading or opening means.
pub(super) fn storage(error: &rusqlite::Error, path: &Path) -> JournalError {
    let text = format!("{}: {error}", path.display());
    match error {
        rusqlite::Error::SqliteFailure(what, _) => match what.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => JournalError::Corrupt(text),
            _ => JournalError::Storage(text),
        },
        // A value of another type, or a table that is not there: nobody else writes here.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::QueryReturnedNoRows
        | rusqlite::Error::SqlInputError { .. } => JournalError::Corrupt(text),
        _ => JournalError::Storage(text),
    }
}

/// What a failure of writing means. Only what certainly changed nothing is to be tried again.
fn failure(error: &rusqlite::Error, path: &Path) -> Failure {
    let rusqlite::Error::SqliteFailure(what, _) = error else { return Failure::Fatal(error.to_string()) };
    match (what.code, what.extended_code) {
        (ErrorCode::DiskFull, _) => Failure::NoRoom(format!("no room for the journal: {error}")),
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
            Failure::NoRoom(format!("another program has the journal locked: {error}"))
        }
        // SQLite tells a used-up quota as a failed write, and a full disk so when it meets its shared memory.
        (_, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_TRUNCATE) if no_room(path) => {
            Failure::NoRoom(format!("no room for the journal: {error}"))
        }
        _ => Failure::Fatal(error.to_string()),
    }
}

/// Whether a file beside `path` cannot be written for want of room.
fn no_room(path: &Path) -> bool {
    let probe = path.with_extension("probe");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&probe)
        .and_then(|mut file| file.write_all(&[0; PAGE_BYTES as usize]).and_then(|()| file.sync_all()));
    // Whether it is there any more does not matter: the next probe overwrites it.
    let _left = std::fs::remove_file(&probe);
    matches!(written, Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}
