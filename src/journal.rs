//! The journal on disk: SQLite in write-ahead mode, one blob a commit, and the tools of whoever operates it.
//!
//! What the blobs hold is chained by checksums from the first kept commit to the last, and the last position
//! that was acknowledged stands in a file of its own ([`verify`] compares the two): SQLite by itself drops
//! whatever stands in its log behind a damaged frame, and says nothing.

mod backup;
mod change;
mod database;
mod directory;
mod frame;
mod inspect;
mod mark;
mod queue;
mod scan;
mod sqlite;
mod upgrade;
mod writer;

use serde::{Deserialize, Serialize};

pub use backup::{BackupReport, RestoreReport, backup, backup_with, restore, restore_with};
pub use directory::DataDirectory;
pub use inspect::{Damage, StatsReport, VerifyReport, stats, verify, verify_with};
pub use sqlite::SqliteJournal;

/// The version of the data directory's layout that this build writes. It also reads every older one from 1 on.
pub const FORMAT_VERSION: u32 = 2;

/// The name of the database in its data directory.
const DATABASE_NAME: &str = "journal.db";

/// How the journal on disk writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteOptions {
    /// How long entries appended `WithinLossWindow` may wait for a commit of others, in milliseconds: the most
    /// that a crash takes of them. With 0 they are committed like all others.
    pub loss_window_ms: u64,
    /// The most bytes that may wait to be written; past it appending is refused.
    pub held_back_bytes_max: usize,
    /// The most bytes of the database file (its log comes on top). Without: as many as the disk has.
    pub bytes_max: Option<u64>,
    /// After about how many pages in the log they are moved to the database file. More: fewer pauses, a longer log.
    pub wal_autocheckpoint_pages: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            loss_window_ms: 100,
            held_back_bytes_max: 64 * 1024 * 1024,
            bytes_max: None,
            wal_autocheckpoint_pages: 1024,
        }
    }
}
