//! What the properties of twins were (FGMV-29 8.3.4): kept beside the journal, of what twins publish.
//!
//! A twin's changes never wait for it: what is published is put into a queue, and one thread writes batches of it. If the queue
//! is full, the newest view of each twin is still written, and the versions in between are told as missed; so too
//! are those of the last moments before a crash. What was in effect when the kept time begins stays, so that a moment within it can
//! always be asked for.

mod memory;
mod sqlite;
mod writer;

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use twinway_protocol::{
    JsonDoc, Problem, ProblemKind, TwinId,
    registry::PAGE_ITEMS_MAX,
    time::Timestamp,
    twin::{PropertyValue, TwinView},
};
use utoipa::ToSchema;

pub use memory::MemoryHistory;
pub use sqlite::SqliteHistory;

use writer::{Queue, Writer};

/// How long values are kept that nobody says a time for, in milliseconds: a week.
pub const HISTORY_RETENTION_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// How many bytes of values are kept that nobody says a limit for.
pub const HISTORY_BYTES_MAX: u64 = 1 << 30;
/// What a value costs beside its own bytes and those of its property's name, in bytes.
pub const HISTORY_ROW_BYTES: u64 = 96;

/// What fails when history is kept or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history cannot be kept or read: {0}")]
pub struct HistoryError(pub String);

/// What happened to a twin, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Counts all that is kept, in the order in which it came.
    pub sequence: u64,
    /// The twin.
    pub twin: TwinId,
    /// When, by the clock of whoever set the value.
    pub at: Timestamp,
    /// The twin's version since then.
    pub version: u64,
    /// What.
    pub what: What,
}

/// What can have happened to a twin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A property got a value.
    Value {
        /// The property.
        property: String,
        /// Its value.
        value: JsonDoc,
    },
    /// Versions were not kept.
    Missed(MissedVersions),
    /// The twin was listed no more.
    Gone,
}

impl Moment {
    /// What it costs of the limit, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let own = match &self.what {
            What::Value { property, value } => property.len() + value.as_str().len(),
            What::Missed(_) | What::Gone => 0,
        };
        HISTORY_ROW_BYTES.saturating_add(own as u64)
    }
}

/// Versions of a twin that were not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissedVersions {
    /// Not before this version.
    pub first_version: u64,
    /// Not behind this one.
    pub last_version: u64,
    /// How many of those.
    pub missed: u64,
}

/// What is wanted of a twin's history: what is behind `after` of what happened from `from` to `to`, both included.
#[derive(Clone, Debug)]
pub struct HistoryRange {
    /// The twin.
    pub twin: TwinId,
    /// Only values of this property; what was missed is told all the same.
    pub property: Option<String>,
    /// Not before this moment.
    pub from: Timestamp,
    /// Not behind this moment.
    pub to: Timestamp,
    /// Behind this time and sequence.
    pub after: Option<(Timestamp, u64)>,
    /// At most this many.
    pub limit: usize,
}

/// How long and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long a value that another has replaced is kept, in milliseconds.
    pub retention_ms: u64,
    /// How many bytes are kept; beyond that the oldest go early.
    pub bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { retention_ms: HISTORY_RETENTION_MS, bytes_max: HISTORY_BYTES_MAX }
    }
}

/// How far what is kept reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The last sequence.
    pub last_sequence: u64,
    /// What is kept costs this many bytes.
    pub bytes: u64,
    /// Nothing that came since then was let go.
    pub kept_from: Timestamp,
}

/// Keeps what happened. Every call may block. What it gives is in the order of time, and of sequence where times are the same.
pub trait HistoryStore: Send + 'static {
    /// Keeps these, which came at `now`: all of them or none.
    ///
    /// # Errors
    /// What failed; nothing was kept then.
    fn append(&mut self, moments: &[Moment], now: Timestamp) -> Result<(), HistoryError>;

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

/// What happened to a twin, as interfaces tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryItem {
    /// When, by the clock of whoever set the value.
    pub at: Timestamp,
    /// The twin's version since then.
    pub version: u64,
    /// The property that got a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<JsonDoc>,
    /// Versions that were not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<MissedVersions>,
    /// The twin was listed no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

impl From<Moment> for HistoryItem {
    fn from(moment: Moment) -> Self {
        let Moment { at, version, what, .. } = moment;
        let blank = Self { at, version, property: None, value: None, missed: None, gone: false };
        match what {
            What::Value { property, value } => Self { property: Some(property), value: Some(value), ..blank },
            What::Missed(missed) => Self { missed: Some(missed), ..blank },
            What::Gone => Self { gone: true, ..blank },
        }
    }
}

/// What is wanted of a twin's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only values of this property.
    pub property: Option<String>,
    /// Not before this moment; absent: from the first that is kept.
    pub from: Option<Timestamp>,
    /// Not behind this moment; absent: to the last.
    pub to: Option<Timestamp>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// At most this many.
    pub limit: Option<u32>,
}

/// A page of a twin's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryPage {
    /// What happened, in the order of time.
    pub items: Vec<HistoryItem>,
    /// Where the next page begins; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Nothing that came since then was let go. Of the time before, there is what was in effect then.
    pub kept_from: Timestamp,
}

/// What a twin's properties were at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TwinMoment {
    /// The moment.
    pub at: Timestamp,
    /// The values that the properties had; those that had none, or none that is known, are not there.
    pub properties: BTreeMap<String, PropertyValue>,
    /// Nothing that came since then was let go: of an earlier moment, not all may be known.
    pub kept_from: Timestamp,
}

/// A time and a sequence, as cursors and the ids of a replay write it.
pub(crate) fn write_place(at: Timestamp, sequence: u64) -> String {
    format!("{}-{sequence}", at.unix_ms())
}

pub(crate) fn read_place(text: &str) -> Result<(Timestamp, u64), Problem> {
    let read = || {
        let (at, sequence) = text.split_once('-')?;
        Some((Timestamp::from_unix_ms(at.parse().ok()?), sequence.parse().ok()?))
    };
    read().ok_or_else(|| Problem::new(ProblemKind::InvalidQuery, format!("`{text}` is no place in a history")))
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
    pub async fn moments(&self, range: HistoryRange) -> Result<(Vec<Moment>, Extent), Problem> {
        self.aside(move |store| Ok((store.read(&range)?, store.extent()?))).await
    }

    /// A page of what happened to a twin.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`] for a cursor that is none, or what failed.
    pub async fn page(&self, twin: &TwinId, query: HistoryQuery) -> Result<HistoryPage, Problem> {
        let limit = query.limit.unwrap_or(PAGE_ITEMS_MAX).clamp(1, PAGE_ITEMS_MAX) as usize;
        let range = HistoryRange {
            twin: twin.clone(),
            property: query.property,
            from: query.from.unwrap_or_default(),
            to: query.to.unwrap_or(Timestamp::MAX),
            after: query.cursor.as_deref().map(read_place).transpose()?,
            limit: limit + 1,
        };
        let (mut moments, extent) = self.moments(range).await?;
        let more = moments.len() > limit;
        moments.truncate(limit);
        let next = moments.last().filter(|_| more).map(|last| write_place(last.at, last.sequence));
        let items = moments.into_iter().map(HistoryItem::from).collect();
        Ok(HistoryPage { items, next, kept_from: extent.kept_from })
    }

    /// What a twin's properties were at a moment.
    ///
    /// # Errors
    /// What failed.
    pub async fn at(&self, twin: &TwinId, property: Option<&str>, at: Timestamp) -> Result<TwinMoment, Problem> {
        let twin = twin.clone();
        let (moments, extent) = self.aside(move |store| Ok((store.at(&twin, at)?, store.extent()?))).await?;
        let properties = moments.into_iter().filter_map(|Moment { at, version, what, .. }| match what {
            What::Value { property: name, value } if property.is_none_or(|wanted| wanted == name) => {
                Some((name, PropertyValue { value, version, at }))
            }
            _ => None,
        });
        Ok(TwinMoment { at, properties: properties.collect(), kept_from: extent.kept_from })
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
