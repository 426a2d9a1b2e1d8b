//! What twins were and did (FGMV-29 8.3.4): kept beside the journal, of what twins publish. That is the values of their
//! properties (state, location and other attributes) and, of their behaviour, actions and events. What users wanted and
//! did not come about is not kept: it is of the users, and the twin never was so.
//!
//! A twin's changes never wait for it: what is published is put into a queue, and one thread writes batches of what gathered
//! there for a moment. If the queue is full, the newest view of each twin is still written, and the versions in between are told as missed; so too
//! are those of the last moments before a crash. What was in effect when the kept time begins stays, so that a moment within it can
//! always be asked for.

mod memory;
mod moment;
mod page;
mod sqlite;
mod writer;

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use twinway_protocol::{Problem, ProblemKind, TwinId, signal::Event, time::Timestamp, twin::TwinView};

pub use memory::MemoryHistory;
pub use moment::{HistoryItem, HistoryKind, MissedVersions, Moment, PastEvent, Shortened, What};
pub use page::{HistoryPage, HistoryQuery, HistoryRange, TwinMoment};
pub(crate) use page::{read_place, write_place};
pub use sqlite::SqliteHistory;

use writer::{Queue, Writer};

/// How long values are kept that nobody says a time for, in milliseconds: a week.
pub const HISTORY_RETENTION_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// How many bytes of values are kept that nobody says a limit for.
pub const HISTORY_BYTES_MAX: u64 = 1 << 30;
/// How many values of one property, or moments of one action or event, are kept that nobody says a limit for.
pub const HISTORY_PROPERTY_VALUES_MAX: u64 = 500_000;
/// How many bytes of them are kept that nobody says a limit for.
pub const HISTORY_PROPERTY_BYTES_MAX: u64 = 64 << 20;
/// What a value costs beside its own bytes and those of its property's name, in bytes.
pub const HISTORY_ROW_BYTES: u64 = 96;

/// What fails when history is kept or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history cannot be kept or read: {0}")]
pub struct HistoryError(pub String);

/// How long and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long a value that another has replaced is kept, in milliseconds.
    pub retention_ms: u64,
    /// How many bytes are kept; beyond that the oldest go early.
    pub bytes_max: u64,
    /// How many values of one property of one twin, or moments of one of its actions or events; beyond that its oldest go
    /// early, and the answer says so.
    pub property_values_max: u64,
    /// How many bytes of those.
    pub property_bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            retention_ms: HISTORY_RETENTION_MS,
            bytes_max: HISTORY_BYTES_MAX,
            property_values_max: HISTORY_PROPERTY_VALUES_MAX,
            property_bytes_max: HISTORY_PROPERTY_BYTES_MAX,
        }
    }
}

/// How far what is kept reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The last sequence.
    pub last_sequence: u64,
    /// What is kept costs this many bytes.
    pub bytes: u64,
    /// Nothing that came since then was let go for its age, or because there was too much in all.
    pub kept_from: Timestamp,
    /// Something was let go so.
    pub has_let_go: bool,
}

/// Keeps what happened. Every call may block. What it gives is in the order of time, and of sequence where times are the same.
pub trait HistoryStore: Send + 'static {
    /// Keeps these, which came at `now`: all of them or none. Of a property, action or event of which there is more than
    /// is kept of one then, the oldest go, but never the last.
    ///
    /// # Errors
    /// What failed; nothing was kept then.
    fn append(&mut self, moments: &[Moment], now: Timestamp, retention: Retention) -> Result<(), HistoryError>;

    /// What happened to a twin in a range of time.
    ///
    /// # Errors
    /// What failed.
    fn read(&mut self, range: &HistoryRange) -> Result<Vec<Moment>, HistoryError>;

    /// The last value of each property up to `at`, of those that came since the twin was last gone up to then.
    ///
    /// # Errors
    /// What failed.
    fn at(&mut self, twin: &TwinId, at: Timestamp) -> Result<Vec<Moment>, HistoryError>;

    /// Whether the same happened to the same twin at the same time.
    ///
    /// # Errors
    /// What failed.
    fn has(&mut self, moment: &Moment) -> Result<bool, HistoryError>;

    /// Lets go what came so long ago, or is so much, that it is kept no more: looks at `rows_max` at most, and says
    /// whether there may be more. The last value of each property stays.
    ///
    /// # Errors
    /// What failed.
    fn trim(&mut self, retention: Retention, now: Timestamp, rows_max: usize) -> Result<bool, HistoryError>;

    /// How far what is kept reaches.
    ///
    /// # Errors
    /// What failed.
    fn extent(&mut self) -> Result<Extent, HistoryError>;

    /// Of which properties, actions and events of a twin the oldest went early, in their order.
    ///
    /// # Errors
    /// What failed.
    fn shortened(&mut self, twin: &TwinId) -> Result<Vec<Shortened>, HistoryError>;
}

/// The limits of keeping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// How long and how much.
    pub retention: Retention,
    /// How many published views may wait to be written.
    pub queue_max: usize,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self { retention: Retention::default(), queue_max: 65_536 }
    }
}

/// The history of an enabler's twins. Clones share it; it is written until [`History::close`], or until none is left.
#[derive(Clone)]
pub struct History {
    queue: Arc<Queue>,
    store: Arc<Mutex<dyn HistoryStore>>,
    /// Ends the thread with the last clone.
    _end: Arc<writer::End>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("History")
    }
}

impl History {
    /// Keeps what is published in `store`, by a thread of its own.
    ///
    /// # Errors
    /// When the machine gives no thread, or the store cannot be read.
    pub fn start(store: impl HistoryStore, options: &HistoryOptions) -> Result<Self, HistoryError> {
        let store: Arc<Mutex<dyn HistoryStore>> = Arc::new(Mutex::new(store));
        let queue = Arc::new(Queue::new(options.queue_max));
        let end = Writer::begin(Arc::clone(&queue), Arc::clone(&store), options.retention)?;
        Ok(Self { queue, store, _end: Arc::new(end) })
    }

    /// A twin looks like this now. It never waits.
    pub fn keep(&self, view: &Arc<TwinView>) {
        self.queue.put(view);
    }

    /// An event of a twin. It never waits.
    pub fn event(&self, event: &Arc<Event>) {
        self.queue.event(event);
    }

    /// A twin is listed no more since then.
    pub fn gone(&self, twin: &TwinId, at: Timestamp) {
        self.queue.gone(twin, at);
    }

    /// Writes what was put, and ends. It waits for that.
    pub fn close(&self) {
        self.queue.close();
        self._end.join();
    }

    /// What happened to a twin, as it is kept; what was put before is in it.
    ///
    /// # Errors
    /// What failed.
    pub async fn moments(&self, range: HistoryRange) -> Result<(Vec<Moment>, Extent, Vec<Shortened>), Problem> {
        self.aside(move |store| Ok((store.read(&range)?, store.extent()?, store.shortened(&range.twin)?))).await
    }

    /// On a thread of its own, when what was put before is written: a disk must not keep other callers waiting.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn HistoryStore) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, Problem> {
        self.queue.written().await;
        let (store, (done, answer)) = (Arc::clone(&self.store), tokio::sync::oneshot::channel());
        let begun = std::thread::Builder::new().name("history-read".to_owned()).spawn(move || {
            // Who asked may have gone.
            let _ = done.send(work(&mut *store.lock()));
        });
        begun.map_err(failed)?;
        answer.await.map_err(failed)?.map_err(failed)
    }
}

fn failed(error: impl fmt::Display) -> Problem {
    Problem::new(ProblemKind::Internal, error.to_string())
}
