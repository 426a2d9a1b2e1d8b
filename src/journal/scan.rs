//! Reading a journal with every check: checksums, chain, contiguity, and the mark.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, OptionalExtension, Row, params};
use twinway_actors::port::journal::{Entry, EntryKind, JournalError, JournalStats, Position};
use twinway_protocol::EntityId;

use super::{
    database::storage,
    frame,
    mark::{Found, Mark},
};

/// Why reading ended early.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// Something is wrong; at or after `position`, if that is known.
    Damage { position: Option<u64>, what: String },
    /// The storage failed.
    Storage(String),
}

impl Fault {
    fn at(position: u64, what: impl Into<String>) -> Self {
        Self::Damage { position: Some(position), what: what.into() }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match storage(&error, Path::new(super::DATABASE_NAME)) {
            JournalError::Corrupt(what) => Self::Damage { position: None, what },
            other => Self::Storage(other.to_string()),
        }
    }
}

impl From<Fault> for JournalError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Damage { position: Some(position), what } => {
                Self::Corrupt(format!("at position {position}: {what}"))
            }
            Fault::Damage { position: None, what } => Self::Corrupt(what),
            Fault::Storage(what) => Self::Storage(what),
        }
    }
}

/// The row that says where the kept commits begin and what the other tables hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) base: Mark,
    pub(super) floor: u64,
    pub(super) covers: i64,
    pub(super) digest: i64,
}

pub(super) fn state(connection: &Connection) -> Result<State, Fault> {
    let sql = "SELECT base_position, base_checksum, floor_position, covers, digest FROM state WHERE id = 1";
    Ok(connection.query_row(sql, [], |row| {
        let base = Mark { position: row.get(0)?, checksum: row.get(1)? };
        Ok(State { base, floor: row.get(2)?, covers: row.get(3)?, digest: row.get(4)? })
    })?)
}

/// A commit as it is read.
#[derive(Debug)]
pub(super) struct Commit<'r> {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) checksum: u32,
    pub(super) blob: &'r [u8],
}

const COMMIT: &str = "SELECT first_position, last_position, count, checksum, previous, blob FROM commits";

/// Checks a row by itself, and gives it with the checksum that it says the commit before it has.
fn commit<'r>(row: &'r Row<'_>) -> Result<(Commit<'r>, u32), Fault> {
    let first: u64 = row.get(0)?;
    let (last, count): (u64, u64) = (row.get(1)?, row.get(2)?);
    let (checksum, previous): (u32, u32) = (row.get(3)?, row.get(4)?);
    let blob = row.get_ref(5)?.as_blob().map_err(|error| Fault::at(first, error.to_string()))?;
    if last.checked_sub(first).map(|more| more + 1) != Some(count) {
        return Err(Fault::at(first, format!("a commit of {count} entries says that it ends at {last}")));
    }
    if frame::commit_checksum(previous, first, last, blob) != checksum {
        return Err(Fault::at(first, "the commit's bytes are not those that were written"));
    }
    Ok((Commit { first, last, checksum, blob }, previous))
}

/// Visits every kept commit in order, each checked by itself and against the one before it. Gives the end.
pub(super) fn commits(
    connection: &Connection,
    base: Mark,
    visit: &mut dyn FnMut(&Commit<'_>) -> Result<(), Fault>,
) -> Result<Mark, Fault> {
    let mut end = base;
    let mut statement = connection.prepare(&format!("{COMMIT} ORDER BY first_position"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next().map_err(|error| located(error, end))? {
        let (commit, previous) = commit(row)?;
        if commit.first != end.position + 1 {
            let what = format!("entries are missing: the next commit begins at {}", commit.first);
            return Err(Fault::at(end.position + 1, what));
        }
        if previous != end.checksum {
            return Err(Fault::at(commit.first, "the commit does not follow the one before it"));
        }
        visit(&commit)?;
        end = Mark { position: commit.last, checksum: commit.checksum };
    }
    Ok(end)
}

fn located(error: rusqlite::Error, end: Mark) -> Fault {
    match Fault::from(error) {
        Fault::Damage { position: None, what } => Fault::at(end.position + 1, what),
        fault => fault,
    }
}

/// Visits the entries of a commit with their positions.
pub(super) fn entries(commit: &Commit<'_>, visit: &mut dyn FnMut(u64, frame::Frame<'_>)) -> Result<(), Fault> {
    let mut blob = commit.blob;
    for position in commit.first..=commit.last {
        let frame =
            frame::pop(&mut blob).ok_or_else(|| Fault::at(position, "there is no entry where one should be"))?;
        visit(position, frame);
    }
    if blob.is_empty() { Ok(()) } else { Err(Fault::at(commit.last, "bytes are left over behind the last entry")) }
}

/// Visits the snapshots and the forgettings with their positions, each checked by itself, and without `of` all
/// of them together. A snapshot without content is visited: it covers.
pub(super) fn covers(
    connection: &Connection,
    state: &State,
    of: Option<EntityId>,
    visit: &mut dyn FnMut(u64, Entry),
) -> Result<(), Fault> {
    let (mut count, mut digest) = (0, 0);
    let filter = if of.is_some() { "WHERE entity = ?1" } else { "WHERE ?1 IS NULL" };
    let key = of.map(|entity| entity.to_bits().cast_signed());
    let tables = [
        ("SELECT position, checksum, entity, part, bytes FROM snapshot", EntryKind::Snapshot),
        ("SELECT position, checksum, entity, 0, NULL FROM forgotten", EntryKind::Forget),
    ];
    for (sql, kind) in tables {
        let mut statement = connection.prepare(&format!("{sql} {filter}"))?;
        let mut rows = statement.query(params![key])?;
        while let Some(row) = rows.next()? {
            let (position, checksum): (u64, u32) = (row.get(0)?, row.get(1)?);
            let entity = EntityId::from_bits(row.get::<_, i64>(2)?.cast_unsigned());
            let part = row.get::<_, i64>(3)?.cast_unsigned();
            let bytes = row.get_ref(4)?.as_blob_or_null().map_err(|error| Fault::at(position, error.to_string()))?;
            let entry = Entry { entity, part, kind, bytes: bytes.unwrap_or_default().into() };
            if frame::cover_checksum(&entry, position) != checksum {
                return Err(Fault::at(position, "the snapshot's bytes are not those that were written"));
            }
            count += 1;
            digest += i64::from(checksum);
            visit(position, entry);
        }
    }
    if of.is_none() && (count, digest) != (state.covers, state.digest) {
        let what = format!("{} snapshots and forgettings were written, but {count} others are there", state.covers);
        return Err(Fault::Damage { position: None, what });
    }
    Ok(())
}

/// Gives back what is durable, as [`Journal::replay`](twinway_actors::port::journal::Journal::replay) says, from
/// one consistent view of the database, which must reach `durable`.
pub(super) fn replay(
    connection: &Connection,
    of: Option<EntityId>,
    durable: u64,
    visit: &mut dyn FnMut(Entry),
) -> Result<(), Fault> {
    let view = connection.unchecked_transaction()?;
    let state = state(&view)?;
    // Only what covers a kept commit is remembered.
    let mut parts = BTreeMap::new();
    let mut whole = BTreeMap::new();
    covers(&view, &state, of, &mut |position, entry| {
        if position > state.base.position {
            match entry.kind {
                EntryKind::Forget => whole.insert(entry.entity, position),
                _ => parts.insert((entry.entity, entry.part), position),
            };
        }
        if entry.kind == EntryKind::Snapshot && !entry.bytes.is_empty() {
            visit(entry);
        }
    })?;
    let end = commits(&view, state.base, &mut |commit| {
        entries(commit, &mut |position, frame| {
            let wanted = frame.kind == EntryKind::Record
                && position > state.floor
                && of.is_none_or(|of| of == frame.entity)
                && parts.get(&(frame.entity, frame.part)).is_none_or(|cover| *cover < position)
                && whole.get(&frame.entity).is_none_or(|cover| *cover < position);
            if wanted {
                let (entity, part) = (frame.entity, frame.part);
                visit(Entry { entity, part, kind: EntryKind::Record, bytes: frame.content.into() });
            }
        })
    })?;
    if end.position < durable { Err(behind(end.position, durable)) } else { Ok(()) }
}

/// The cheap check of opening: the last commit by itself, and that the database reaches what was acknowledged.
pub(super) fn check_end(connection: &Connection, found: Found) -> Result<Mark, Fault> {
    let state = state(connection)?;
    let end = last_up_to(connection, u64::MAX >> 1)?.unwrap_or(state.base);
    if end.position < state.base.position {
        return Err(Fault::at(end.position + 1, "commits stand there that had been dropped"));
    }
    check_mark(connection, end, found)?;
    Ok(end)
}

/// Compares the end of the database with what was acknowledged.
pub(super) fn check_mark(connection: &Connection, end: Mark, found: Found) -> Result<(), Fault> {
    let mark = match found {
        Found::Mark(mark, _) => mark,
        Found::Nothing => return Ok(()),
        Found::Unreadable => {
            let what = "the mark of what was acknowledged is unreadable; remove the file journal.mark to go on \
                        without knowing whether all of it is there";
            return Err(Fault::Damage { position: None, what: what.to_owned() });
        }
    };
    if mark.position > end.position {
        return Err(behind(end.position, mark.position));
    }
    match last_up_to(connection, mark.position)? {
        Some(commit) if commit.position == mark.position && commit.checksum != mark.checksum => {
            Err(Fault::at(mark.position, "the commit is not the one that was acknowledged"))
        }
        _ => Ok(()),
    }
}

fn behind(end: u64, acknowledged: u64) -> Fault {
    let missing = acknowledged - end;
    let what = format!(
        "entries up to {acknowledged} were acknowledged, but the journal ends at {end}: the last {missing} are \
         missing (its log may be damaged or cut); restore a backup, or look at the copy of the directory with \
         `twinway journal verify`"
    );
    Fault::at(end + 1, what)
}

/// The end of the last commit that begins at or before `position`, checked by itself.
fn last_up_to(connection: &Connection, position: u64) -> Result<Option<Mark>, Fault> {
    let sql = format!("{COMMIT} WHERE first_position <= ?1 ORDER BY first_position DESC LIMIT 1");
    let mut statement = connection.prepare(&sql)?;
    let found = statement.query_row(params![position], |row| {
        Ok(commit(row).map(|(commit, _)| Mark { position: commit.last, checksum: commit.checksum }))
    });
    found.optional()?.transpose()
}

/// The numbers of a journal that ends at `end`.
pub(super) fn stats(connection: &Connection, end: Mark, path: &Path) -> Result<JournalStats, JournalError> {
    let count = |sql: &str| connection.query_row(sql, [], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?)));
    let commits = count("SELECT count(*), coalesce(sum(length(blob)), 0) FROM commits");
    let (commits, replay_bytes) = commits.map_err(|error| storage(&error, path))?;
    let snapshots = count("SELECT count(bytes), 0 FROM snapshot").map_err(|error| storage(&error, path))?.0;
    Ok(JournalStats { durable: Position(end.position), commits, snapshots, bytes: bytes_on_disk(path), replay_bytes })
}

/// The size of the database with its log.
pub(super) fn bytes_on_disk(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    size(path) + size(Path::new(&log))
}
