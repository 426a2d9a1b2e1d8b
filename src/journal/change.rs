//! Snapshots and forgettings in a commit's transaction.
//!
//! No chain holds their rows together. So the database keeps their number and the sum of their checksums, and a
//! row that vanishes is found out.

use rusqlite::{Connection, OptionalExtension, params};
use twinway_actors::port::journal::{Entry, EntryKind};

use super::frame;

/// What a transaction changes in the tables of snapshots and forgettings, summed up.
#[derive(Debug, Default)]
pub(super) struct Change {
    covers: i64,
    digest: i64,
    /// How many snapshots with content come in, less those that go.
    pub(super) snapshots: i64,
}

impl Change {
    /// Takes a snapshot in place of the one before, or notes that an entity is forgotten.
    pub(super) fn cover(&mut self, connection: &Connection, position: u64, entry: &Entry) -> rusqlite::Result<()> {
        let (entity, part) = (entry.entity.to_bits().cast_signed(), entry.part.cast_signed());
        let checksum = frame::cover_checksum(entry, position);
        if entry.kind == EntryKind::Forget {
            self.less(
                connection,
                "SELECT count(*), sum(checksum), count(bytes) FROM snapshot WHERE entity = ?1",
                entity,
            )?;
            self.less(connection, "SELECT count(*), sum(checksum), 0 FROM forgotten WHERE entity = ?1", entity)?;
            connection.prepare_cached("DELETE FROM snapshot WHERE entity = ?1")?.execute(params![entity])?;
            connection
                .prepare_cached("REPLACE INTO forgotten VALUES(?1, ?2, ?3)")?
                .execute(params![entity, position, checksum])?;
        } else {
            let old = connection
                .prepare_cached("SELECT checksum, bytes IS NOT NULL FROM snapshot WHERE entity = ?1 AND part = ?2")?
                .query_row(params![entity, part], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
                .optional()?;
            if let Some((checksum, snapshots)) = old {
                self.covers -= 1;
                self.digest -= checksum;
                self.snapshots -= snapshots;
            }
            let bytes = (!entry.bytes.is_empty()).then_some(&*entry.bytes);
            self.snapshots += i64::from(bytes.is_some());
            connection
                .prepare_cached("REPLACE INTO snapshot VALUES(?1, ?2, ?3, ?4, ?5)")?
                .execute(params![entity, part, position, checksum, bytes])?;
        }
        self.covers += 1;
        self.digest += i64::from(checksum);
        Ok(())
    }

    /// Drops what only says that something is gone, up to `base`: no commit is kept that it covers.
    pub(super) fn drop_notes(&mut self, connection: &Connection, base: u64) -> rusqlite::Result<()> {
        let base = base.cast_signed();
        const GONE: &str = "FROM snapshot WHERE bytes IS NULL AND position <= ?1";
        const FORGOTTEN: &str = "FROM forgotten WHERE position <= ?1";
        for of in [GONE, FORGOTTEN] {
            self.less(connection, &format!("SELECT count(*), sum(checksum), 0 {of}"), base)?;
            connection.prepare_cached(&format!("DELETE {of}"))?.execute(params![base])?;
        }
        Ok(())
    }

    fn less(&mut self, connection: &Connection, sql: &str, key: i64) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row(params![key], |row| {
            self.covers -= row.get::<_, i64>(0)?;
            self.digest -= row.get::<_, Option<i64>>(1)?.unwrap_or(0);
            self.snapshots -= row.get::<_, i64>(2)?;
            Ok(())
        })
    }

    /// Writes the sums down, in the same transaction.
    pub(super) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("UPDATE state SET covers = covers + ?1, digest = digest + ?2")?
            .execute(params![self.covers, self.digest])?;
        Ok(())
    }
}
