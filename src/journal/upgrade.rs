//! From the layout of version 1 to the present one.
//!
//! Version 1 had a checksum for each commit and none over the order of commits, and did not count snapshots and
//! forgettings: `commits(first_position, last_position, count, checksum, blob)` with the CRC-32 of the blob,
//! `snapshot` and `forgotten` as they are now, and `state(id, base_position, floor_position)`.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, params};
use twinway_actors::port::journal::JournalError;

use super::{FORMAT_VERSION, backup, database, database::storage, frame, mark::Mark, scan::Fault};

/// Upgrades after a backup; everything or nothing.
pub(super) fn upgrade(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    let backup = free_name(path);
    backup::copy(connection, &backup, &mut |_, _| {})?;
    tracing::info!(backup = %backup.display(), "the journal has format 1 and is upgraded to format {FORMAT_VERSION}");
    convert(connection, path)
}

/// Converts the layout in one transaction.
pub(super) fn convert(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    let transaction = connection.unchecked_transaction().map_err(|error| storage(&error, path))?;
    chain(&transaction)?;
    transaction.commit().map_err(|error| storage(&error, path))
}

fn free_name(path: &Path) -> PathBuf {
    let name = |n: u32| path.with_file_name(format!("journal-v1-backup-{n}.db"));
    (1..u32::MAX).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(u32::MAX))
}

fn chain(transaction: &Transaction<'_>) -> Result<(), Fault> {
    let sum = |table: &str| -> rusqlite::Result<(i64, i64)> {
        let sql = format!("SELECT count(*), coalesce(sum(checksum), 0) FROM {table}");
        transaction.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    };
    let (snapshots, forgotten) = (sum("snapshot")?, sum("forgotten")?);
    let (base, floor): (u64, u64) =
        transaction.query_row("SELECT base_position, floor_position FROM state WHERE id = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    transaction.execute_batch(
        "DROP INDEX snapshot_gone;
         DROP INDEX forgotten_position;
         ALTER TABLE commits RENAME TO commits_1;
         ALTER TABLE snapshot RENAME TO snapshot_1;
         ALTER TABLE forgotten RENAME TO forgotten_1;
         DROP TABLE state;",
    )?;
    transaction.execute_batch(database::SCHEMA)?;
    chain_commits(transaction, base)?;
    transaction.execute(
        "UPDATE state SET base_position = ?1, floor_position = ?2, covers = ?3, digest = ?4",
        params![base, floor, snapshots.0 + forgotten.0, snapshots.1 + forgotten.1],
    )?;
    transaction.execute_batch(
        "INSERT INTO snapshot SELECT entity, part, position, checksum, bytes FROM snapshot_1;
         INSERT INTO forgotten SELECT entity, position, checksum FROM forgotten_1;
         DROP TABLE commits_1; DROP TABLE snapshot_1; DROP TABLE forgotten_1;",
    )?;
    transaction.pragma_update(None, "user_version", FORMAT_VERSION)?;
    Ok(())
}

/// Copies the commits, each with the checksum of the one before it.
fn chain_commits(transaction: &Transaction<'_>, base: u64) -> Result<(), Fault> {
    let mut end = Mark { position: base, checksum: 0 };
    let mut read = transaction.prepare(
        "SELECT first_position, last_position, count, checksum, blob FROM commits_1 ORDER BY first_position",
    )?;
    let mut write = transaction.prepare("INSERT INTO commits VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let (first, last, count): (u64, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let blob: Vec<u8> = row.get(4)?;
        if first != end.position + 1 || crc32fast::hash(&blob) != row.get::<_, u32>(3)? {
            let what = "the commit was damaged before it could be upgraded; nothing was changed".to_owned();
            return Err(Fault::Damage { position: Some(end.position + 1), what });
        }
        let checksum = frame::commit_checksum(end.checksum, first, last, &blob);
        write.execute(params![first, last, count, checksum, end.checksum, blob])?;
        end = Mark { position: last, checksum };
    }
    Ok(())
}
