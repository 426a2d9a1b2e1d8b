//! History in an SQLite file of its own. It is written without waiting for the disk: a crash of the machine may cost the
//! last moments, and never more than that.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use twinway_protocol::{JsonDoc, TwinId, time::Timestamp};

use super::{
    Extent, HISTORY_ROW_BYTES, HistoryError, HistoryKind, HistoryRange, HistoryStore, MissedVersions, Moment,
    Retention, Shortened, What,
};

/// The layout's version, as SQLite's `user_version`.
const FORMAT: i64 = 2;
const SCHEMA: &str = "
    CREATE TABLE twins(key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE moments(sequence INTEGER PRIMARY KEY, twin INTEGER NOT NULL, kind INTEGER NOT NULL, property TEXT NOT NULL,
        at INTEGER NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL, came INTEGER NOT NULL) STRICT;
    CREATE INDEX by_property ON moments(twin, kind, property, at, sequence);
    CREATE INDEX by_time ON moments(twin, at, sequence);
    CREATE TABLE extent(id INTEGER PRIMARY KEY CHECK(id = 1), bytes INTEGER NOT NULL, passed INTEGER NOT NULL,
        kept_from INTEGER NOT NULL) STRICT;
";
/// What is kept of each property, action and event, and what of it went early: since format 2.
const SERIES: &str = "
    CREATE TABLE series(twin INTEGER NOT NULL, kind INTEGER NOT NULL, property TEXT NOT NULL, count INTEGER NOT NULL,
        bytes INTEGER NOT NULL, dropped INTEGER NOT NULL, kept_from INTEGER NOT NULL,
        PRIMARY KEY(twin, kind, property)) STRICT, WITHOUT ROWID;
    INSERT INTO series SELECT twin, kind, property, count(*),
        sum(96 + length(CAST(property AS BLOB)) + length(CAST(value AS BLOB))), 0, 0
        FROM moments WHERE kind = 0 GROUP BY twin, kind, property;
";
const VALUE: i64 = 0;
const MISSED: i64 = 1;
const GONE: i64 = 2;
const ACTION: i64 = 3;
const EVENT: i64 = 4;
/// What a row costs beside [`HISTORY_ROW_BYTES`].
const OWN_BYTES: &str = "CASE WHEN kind IN (1, 2) THEN 0
    ELSE length(CAST(property AS BLOB)) + length(CAST(value AS BLOB)) END";
/// How many of a series go at most when one comes: after the limit was lowered, the rest goes with the next.
const SHORTENED_ROWS_MAX: u64 = 1_024;

const fn number(kind: HistoryKind) -> i64 {
    match kind {
        HistoryKind::Properties => VALUE,
        HistoryKind::Actions => ACTION,
        HistoryKind::Events => EVENT,
    }
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// Keeps history in a file.
#[derive(Debug)]
pub struct SqliteHistory {
    connection: Connection,
    /// The numbers of twins that were written of.
    keys: HashMap<TwinId, i64>,
}

impl SqliteHistory {
    /// Opens the file, or makes it: then of what comes from `now` on.
    ///
    /// # Errors
    /// When it cannot be read or made, or is of another version.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, HistoryError> {
        let mut connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-8192;
                PRAGMA journal_size_limit=16777216;",
        )?;
        match connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
            FORMAT => {}
            1 => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(SERIES)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                transaction.commit()?;
            }
            0 => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(SCHEMA)?;
                transaction.execute_batch(SERIES)?;
                transaction.execute("INSERT INTO extent VALUES(1, 0, 0, ?1)", [now.unix_ms()])?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                transaction.commit()?;
            }
            other => return Err(HistoryError(format!("{} is of format {other}, not {FORMAT}", path.display()))),
        }
        Ok(Self { connection, keys: HashMap::new() })
    }

    fn key(&self, twin: &TwinId) -> Result<Option<i64>, HistoryError> {
        let mut select = self.connection.prepare_cached("SELECT key FROM twins WHERE id = ?1")?;
        Ok(select.query_row([twin.as_str()], |row| row.get(0)).optional()?)
    }
}

/// What stands in a row, before it is understood.
struct Kept {
    sequence: u64,
    kind: i64,
    property: String,
    at: u64,
    version: u64,
    value: String,
}

const COLUMNS: &str = "sequence, kind, property, at, version, value";

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept {
        sequence: row.get(0)?,
        kind: row.get(1)?,
        property: row.get(2)?,
        at: row.get(3)?,
        version: row.get(4)?,
        value: row.get(5)?,
    })
}

fn understand(twin: &TwinId, kept: Kept) -> Result<Moment, HistoryError> {
    let Kept { sequence, kind, property, at, version, value } = kept;
    let damaged = |error: serde_json::Error| HistoryError(format!("what is kept under {sequence} is damaged: {error}"));
    let what = match kind {
        VALUE => What::Value { property, value: JsonDoc::parse(value).map_err(damaged)? },
        MISSED => What::Missed(serde_json::from_str::<MissedVersions>(&value).map_err(damaged)?),
        ACTION => What::Action { action: property, invocation: JsonDoc::parse(value).map_err(damaged)? },
        EVENT => What::Event { name: property, data: JsonDoc::parse(value).map_err(damaged)? },
        _ => What::Gone,
    };
    Ok(Moment { sequence, twin: twin.clone(), at: Timestamp::from_unix_ms(at), version, what })
}

/// A twin's kind of moments of one name.
type Series<'n> = (i64, i64, &'n str);

/// Rows of a series, and what they cost.
#[derive(Clone, Copy, Default)]
struct Rows {
    count: i64,
    bytes: i64,
}

impl Rows {
    /// One more, or with `sign` -1 one less.
    fn add(&mut self, sign: i64, bytes: u64) {
        self.count += sign;
        self.bytes = self.bytes.saturating_add(sign.saturating_mul(i64::try_from(bytes).unwrap_or(i64::MAX)));
    }
}

/// Counts rows that came or went. No statement here has a `RETURNING`: each would make a table in memory for it, and
/// give that memory back to the system.
fn count(transaction: &Transaction<'_>, (twin, kind, property): Series<'_>, rows: Rows) -> Result<(), HistoryError> {
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO series VALUES(?1, ?2, ?3, ?4, ?5, 0, 0) ON CONFLICT DO UPDATE
            SET count = count + excluded.count, bytes = bytes + excluded.bytes",
    )?;
    upsert.execute(params![twin, kind, property, rows.count, rows.bytes])?;
    Ok(())
}

/// Lets the oldest of a series go to which `rows` came, as long as there is more than is kept of one; gives what that cost.
fn shorten(
    transaction: &Transaction<'_>,
    of: Series<'_>,
    rows: Rows,
    retention: Retention,
) -> Result<u64, HistoryError> {
    let (twin, kind, property) = of;
    let mut select = transaction
        .prepare_cached("SELECT count, bytes FROM series WHERE twin = ?1 AND kind = ?2 AND property = ?3")?;
    let (count, bytes): (u64, u64) =
        select.query_row(params![twin, kind, property], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let dropped_max = SHORTENED_ROWS_MAX.saturating_add(rows.count.unsigned_abs());
    let (mut dropped, mut freed) = (0_u64, 0_u64);
    let is_too_much = |dropped: u64, freed: u64| {
        let (count, bytes) = (count - dropped, bytes.saturating_sub(freed));
        count > 1 && (count > retention.property_values_max || bytes > retention.property_bytes_max)
    };
    while dropped < dropped_max && is_too_much(dropped, freed) {
        let mut oldest = transaction.prepare_cached(&format!(
            "SELECT sequence, {OWN_BYTES} FROM moments WHERE twin = ?1 AND kind = ?2 AND property = ?3
                ORDER BY at, sequence LIMIT 1"
        ))?;
        let (sequence, own): (u64, u64) =
            oldest.query_row(params![twin, kind, property], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let_go(transaction, sequence)?;
        (dropped, freed) = (dropped + 1, freed.saturating_add(own.saturating_add(HISTORY_ROW_BYTES)));
    }
    if dropped > 0 {
        let mut update = transaction.prepare_cached(
            "UPDATE series SET count = count - ?4, bytes = max(0, bytes - ?5), dropped = dropped + ?4, kept_from = max(kept_from,
                (SELECT at FROM moments WHERE twin = ?1 AND kind = ?2 AND property = ?3 ORDER BY at, sequence LIMIT 1))
                WHERE twin = ?1 AND kind = ?2 AND property = ?3",
        )?;
        update.execute(params![twin, kind, property, dropped, freed])?;
    }
    Ok(freed)
}

fn let_go(transaction: &Transaction<'_>, sequence: u64) -> Result<(), HistoryError> {
    transaction.prepare_cached("DELETE FROM moments WHERE sequence = ?1")?.execute([sequence])?;
    Ok(())
}

/// The number of a twin, which it is given when something is written of it first.
fn key_of(transaction: &Transaction<'_>, keys: &mut HashMap<TwinId, i64>, twin: &TwinId) -> Result<i64, HistoryError> {
    if let Some(key) = keys.get(twin) {
        return Ok(*key);
    }
    transaction.prepare_cached("INSERT OR IGNORE INTO twins(id) VALUES(?1)")?.execute([twin.as_str()])?;
    let mut select = transaction.prepare_cached("SELECT key FROM twins WHERE id = ?1")?;
    let key = select.query_row([twin.as_str()], |row| row.get(0))?;
    keys.insert(twin.clone(), key);
    Ok(key)
}

/// Writes moments, which came at `now`, and lets go what is too much then.
fn write(
    transaction: &Transaction<'_>,
    keys: &mut HashMap<TwinId, i64>,
    moments: &[Moment],
    now: Timestamp,
    retention: Retention,
) -> Result<(), HistoryError> {
    let mut insert = transaction.prepare_cached("INSERT INTO moments VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    let mut came: BTreeMap<Series<'_>, Rows> = BTreeMap::new();
    let (mut bytes, mut freed) = (0_u64, 0_u64);
    for moment in moments {
        let Moment { sequence, twin, at, version, what } = moment;
        let key = key_of(transaction, keys, twin)?;
        let missed;
        let (kind, property, value) = match (what, moment.series()) {
            (_, Some((kind, name, document))) => (number(kind), name, document.as_str()),
            (What::Missed(versions), None) => {
                missed = serde_json::to_string(versions).map_err(|error| HistoryError(error.to_string()))?;
                (MISSED, "", missed.as_str())
            }
            _ => {
                keys.remove(twin);
                (GONE, "", "")
            }
        };
        insert.execute(params![sequence, key, kind, property, at.unix_ms(), version, value, now.unix_ms()])?;
        bytes = bytes.saturating_add(moment.bytes());
        if !matches!(kind, MISSED | GONE) {
            came.entry((key, kind, property)).or_default().add(1, moment.bytes());
        }
    }
    for (of, rows) in came {
        count(transaction, of, rows)?;
        freed = freed.saturating_add(shorten(transaction, of, rows, retention)?);
    }
    transaction.execute("UPDATE extent SET bytes = max(0, bytes + ?1 - ?2)", [bytes, freed])?;
    Ok(())
}

impl HistoryStore for SqliteHistory {
    fn append(&mut self, moments: &[Moment], now: Timestamp, retention: Retention) -> Result<(), HistoryError> {
        let transaction = self.connection.transaction()?;
        let written = write(&transaction, &mut self.keys, moments, now, retention);
        let kept = written.and_then(|()| Ok(transaction.commit()?));
        if kept.is_err() {
            // Twins that were given a number in vain have none.
            self.keys.clear();
        }
        kept
    }

    fn read(&mut self, range: &HistoryRange) -> Result<Vec<Moment>, HistoryError> {
        let Some(key) = self.key(&range.twin)? else { return Ok(Vec::new()) };
        let (at, sequence) = (range.from, 0).max(range.after.map_or((range.from, 0), |(at, after)| (at, after + 1)));
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM moments WHERE twin = ?1 AND (at, sequence) >= (?2, ?3) AND at <= ?4
                AND (kind IN (1, 2) OR (kind = coalesce(?6, kind) AND (?5 IS NULL OR (kind = 0 AND property = ?5))))
                ORDER BY at, sequence LIMIT ?7"
        ))?;
        let kind = range.kind.map(number);
        let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
        let wanted = params![key, at.unix_ms(), sequence, range.to.unix_ms(), range.property, kind, limit];
        let rows = select.query_map(wanted, kept)?.collect::<Result<Vec<_>, _>>()?;
        rows.into_iter().map(|row| understand(&range.twin, row)).collect()
    }

    fn at(&mut self, twin: &TwinId, at: Timestamp) -> Result<Vec<Moment>, HistoryError> {
        let Some(key) = self.key(twin)? else { return Ok(Vec::new()) };
        let mut gone = self.connection.prepare_cached(
            "SELECT coalesce(max(sequence), 0) FROM moments WHERE twin = ?1 AND kind = 2 AND property = '' AND at <= ?2",
        )?;
        let gone: u64 = gone.query_row(params![key, at.unix_ms()], |row| row.get(0))?;
        let mut last = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM moments WHERE twin = ?1 AND kind = 0 AND property = ?2 AND at <= ?3 AND sequence > ?4
                ORDER BY at DESC, sequence DESC LIMIT 1"
        ))?;
        // From one property to the next by the index: how long the history of each is does not matter.
        let mut next = self.connection.prepare_cached(
            "SELECT min(property) FROM moments WHERE twin = ?1 AND kind = 0 AND (?2 IS NULL OR property > ?2)",
        )?;
        let mut found = Vec::new();
        let mut property: Option<String> = None;
        loop {
            property = next.query_row(params![key, property], |row| row.get(0))?;
            let Some(name) = &property else { break };
            found.extend(last.query_row(params![key, name, at.unix_ms(), gone], kept).optional()?);
        }
        found.into_iter().map(|row| understand(twin, row)).collect()
    }

    fn has(&mut self, moment: &Moment) -> Result<bool, HistoryError> {
        let (Some(key), Some((kind, name, document))) = (self.key(&moment.twin)?, moment.series()) else {
            return Ok(false);
        };
        let mut select = self.connection.prepare_cached(
            "SELECT 1 FROM moments WHERE twin = ?1 AND kind = ?2 AND property = ?3 AND at = ?4 AND value = ?5",
        )?;
        Ok(select.exists(params![key, number(kind), name, moment.at.unix_ms(), document.as_str()])?)
    }

    fn trim(&mut self, retention: Retention, now: Timestamp, rows_max: usize) -> Result<bool, HistoryError> {
        let transaction = self.connection.transaction()?;
        let (mut bytes, mut passed, mut kept_from): (u64, u64, u64) =
            transaction.query_row("SELECT bytes, passed, kept_from FROM extent", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let (mut more, before) = (true, passed);
        for _ in 0..rows_max {
            let mut select = transaction.prepare_cached(
                "SELECT sequence, twin, kind, property, at, came FROM moments WHERE sequence > ?1 ORDER BY sequence LIMIT 1",
            )?;
            let oldest = select.query_row([passed], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
            });
            let oldest: Option<(u64, i64, i64, String, u64, u64)> = oldest.optional()?;
            let due = |came: u64| {
                bytes > retention.bytes_max || Timestamp::from_unix_ms(came).plus_ms(retention.retention_ms) <= now
            };
            let Some((sequence, twin, kind, property, at, came)) = oldest.filter(|oldest| due(oldest.5)) else {
                more = false;
                break;
            };
            let which = match kind {
                VALUE => "twin = ?1 AND kind = 0 AND property = ?2 AND (at, sequence) < (?3, ?4)",
                GONE => "twin = ?1 AND sequence <= ?4 AND ?2 = ?2 AND ?3 = ?3",
                // What replaces nothing is told for its time; so is what was missed.
                _ => "sequence = ?4 AND ?1 = ?1 AND ?2 = ?2 AND ?3 = ?3",
            };
            let mut select = transaction
                .prepare_cached(&format!("SELECT sequence, kind, property, {OWN_BYTES} FROM moments WHERE {which}"))?;
            let gone = select.query_map(params![twin, property, at, sequence], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, u64>(3)?))
            })?;
            for (sequence, kind, property, own) in gone.collect::<Result<Vec<_>, _>>()? {
                let_go(&transaction, sequence)?;
                let own = own.saturating_add(HISTORY_ROW_BYTES);
                bytes = bytes.saturating_sub(own);
                if !matches!(kind, MISSED | GONE) {
                    let mut rows = Rows::default();
                    rows.add(-1, own);
                    count(&transaction, (twin, kind, &property), rows)?;
                }
            }
            if kind == GONE {
                transaction.execute("DELETE FROM series WHERE twin = ?1 AND count <= 0", [twin])?;
            }
            passed = sequence;
            kept_from = kept_from.max(came);
        }
        if passed == before {
            return Ok(more);
        }
        transaction.execute("UPDATE extent SET bytes = ?1, passed = ?2, kept_from = ?3", [bytes, passed, kept_from])?;
        transaction.commit()?;
        Ok(more)
    }

    fn extent(&mut self) -> Result<Extent, HistoryError> {
        let mut select = self.connection.prepare_cached(
            "SELECT max(passed, (SELECT coalesce(max(sequence), 0) FROM moments)), bytes, kept_from, passed > 0 FROM extent",
        )?;
        Ok(select.query_row([], |row| {
            let kept_from = Timestamp::from_unix_ms(row.get(2)?);
            Ok(Extent { last_sequence: row.get(0)?, bytes: row.get(1)?, kept_from, has_let_go: row.get(3)? })
        })?)
    }

    fn shortened(&mut self, twin: &TwinId) -> Result<Vec<Shortened>, HistoryError> {
        let Some(key) = self.key(twin)? else { return Ok(Vec::new()) };
        let mut select = self.connection.prepare_cached(
            "SELECT kind, property, dropped, kept_from FROM series WHERE twin = ?1 AND dropped > 0
                ORDER BY kind, property",
        )?;
        let rows = select.query_map([key], |row| {
            let kind = match row.get::<_, i64>(0)? {
                ACTION => HistoryKind::Actions,
                EVENT => HistoryKind::Events,
                _ => HistoryKind::Properties,
            };
            let kept_from = Timestamp::from_unix_ms(row.get(3)?);
            Ok(Shortened { kind, name: row.get(1)?, dropped: row.get(2)?, kept_from })
        })?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    }
}
