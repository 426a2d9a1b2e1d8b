//! Where the bytes of observations are kept (FGMV-28 7.3.1 step 2.2): by their content, streamed in and out, never more
//! than a limit, and no longer than somebody names them.
//!
//! Actors do no I/O: what they speak of is an observation's id, and they signal which ids they name. A port with two
//! adapters, memory and a directory.

mod directory;
mod memory;
mod naming;
mod receiving;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use twinway_protocol::{
    EntityId, Problem, ProblemKind, UserId,
    spatial::{MAGIC_BYTES, MediaType, ObservationId},
};

pub use directory::DirectoryStore;
pub use memory::MemoryStore;
use naming::Names;

/// How many bytes are kept that nobody says a limit for.
pub const OBSERVATION_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How many bytes of one observation are in memory for each of those who send or read one.
pub const OBSERVATION_CHUNK_BYTES: usize = 64 * 1024;

/// Keeps bytes by their content. All calls may block.
///
/// A store is of one enabler: what that one's journal does not name is taken away.
pub trait ObservationStore: Send + Sync + 'static {
    /// Begins to take bytes in. What is not finished is gone as soon as it is dropped, and after a crash.
    ///
    /// # Errors
    /// What failed.
    fn begin(&self) -> Result<Box<dyn Unfinished>, Problem>;

    /// Opens what is kept under an id.
    ///
    /// # Errors
    /// [`ProblemKind::ObservationUnknown`], or what failed.
    fn open(&self, id: &ObservationId) -> Result<StoredBytes, Problem>;

    /// Takes away what is kept under an id; what is not kept is gone already.
    ///
    /// # Errors
    /// What failed. It is kept then.
    fn remove(&self, id: &ObservationId) -> Result<(), Problem>;

    /// What is kept.
    ///
    /// # Errors
    /// What failed.
    fn list(&self) -> Result<Vec<ObservationId>, Problem>;
}

/// Bytes that are coming in.
pub trait Unfinished: Send {
    /// Takes more of them.
    ///
    /// # Errors
    /// [`ProblemKind::LimitReached`] when there is no room, or what failed.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Problem>;

    /// Keeps all of them under an id. When it answers, they are durable.
    ///
    /// # Errors
    /// What failed. Nothing is kept then that was not before.
    fn finish(self: Box<Self>, id: &ObservationId) -> Result<(), Problem>;
}

/// Bytes that are kept.
pub struct StoredBytes {
    /// How many there are.
    pub bytes: u64,
    /// Gives them.
    pub reader: Box<dyn Read + Send>,
}

impl fmt::Debug for StoredBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredBytes").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// An observation that is being read.
pub struct Reading {
    /// What the bytes are.
    pub media_type: MediaType,
    /// How many there are.
    pub bytes: u64,
    beginning: Vec<u8>,
    reader: Box<dyn Read + Send>,
    place: Place,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("media_type", &self.media_type)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Reading {
    /// The bytes, [`OBSERVATION_CHUNK_BYTES`] at most at a time.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Problem>> + Send + 'static {
        let Self { beginning, reader, place, .. } = self;
        let reader: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(beginning).chain(reader));
        stream::try_unfold((reader, place), |(mut reader, place)| async move {
            let (chunk, reader) = aside(move || {
                let mut chunk = vec![0; OBSERVATION_CHUNK_BYTES];
                let length = fill(&mut *reader, &mut chunk)?;
                chunk.truncate(length);
                Ok((chunk, reader))
            })
            .await?;
            Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), (reader, place))))
        })
    }
}

/// Reads until the buffer is full or nothing more comes.
fn fill(reader: &mut (dyn Read + Send), buffer: &mut [u8]) -> Result<usize, Problem> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(filled)
}

/// How many may send and read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObservationLimits {
    /// How many uploads may be under way.
    pub uploads_max: usize,
    /// How many uploads of one user may be under way.
    pub user_uploads_max: usize,
    /// How many may be read at once.
    pub reads_max: usize,
}

impl Default for ObservationLimits {
    fn default() -> Self {
        Self { uploads_max: 64, user_uploads_max: 4, reads_max: 1_024 }
    }
}

/// A store, shared, and what is known of who names what is in it.
#[derive(Clone)]
pub struct Observations(Arc<Shared>);

struct Shared {
    store: Box<dyn ObservationStore>,
    limits: ObservationLimits,
    names: Mutex<Names>,
    /// Held while something is put in its place or taken away, so that the two cannot meet.
    moving: Mutex<()>,
    uploading: Mutex<BTreeMap<UserId, usize>>,
    reading: Arc<AtomicUsize>,
}

impl fmt::Debug for Observations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observations")
    }
}

impl Default for Observations {
    fn default() -> Self {
        Self::new(MemoryStore::new(OBSERVATION_BYTES_MAX))
    }
}

impl Observations {
    /// Behind it stands `store`.
    #[must_use]
    pub fn new(store: impl ObservationStore) -> Self {
        Self::limited(store, ObservationLimits::default())
    }

    /// The same, with limits of one's own.
    #[must_use]
    pub fn limited(store: impl ObservationStore, limits: ObservationLimits) -> Self {
        Self(Arc::new(Shared {
            store: Box::new(store),
            limits,
            names: Mutex::default(),
            moving: Mutex::default(),
            uploading: Mutex::default(),
            reading: Arc::default(),
        }))
    }

    /// Opens an observation.
    ///
    /// # Errors
    /// [`ProblemKind::ObservationUnknown`]; [`ProblemKind::Overloaded`] when too many are read; or what failed.
    pub async fn read(&self, id: ObservationId) -> Result<Reading, Problem> {
        let place = Place::take(&self.0.reading, self.0.limits.reads_max, "reads_max")?;
        let shared = Arc::clone(&self.0);
        aside(move || {
            let StoredBytes { bytes, mut reader } = shared.store.open(&id)?;
            let mut beginning = vec![0; MAGIC_BYTES];
            let length = fill(&mut *reader, &mut beginning)?;
            beginning.truncate(length);
            let known = MediaType::NAMES.iter().filter_map(|name| MediaType::read(name).ok());
            let kind = known.into_iter().find(|kind| kind.check(&beginning).is_ok());
            // What was taken was checked: something else damaged it since.
            let media_type = kind.ok_or_else(|| Problem::new(ProblemKind::Internal, "the observation is damaged"))?;
            Ok(Reading { media_type, bytes, beginning, reader, place })
        })
        .await
    }

    /// Opens an observation that an actor names; to who does not name it, it is unknown.
    ///
    /// # Errors
    /// As for [`Observations::read`].
    pub(crate) async fn read_named(&self, by: EntityId, id: ObservationId) -> Result<Reading, Problem> {
        if !self.0.names.lock().is_named_by(by, &id) {
            return Err(unknown(&id));
        }
        self.read(id).await
    }

    /// An actor names observations, and others no longer.
    pub(crate) fn named(&self, by: EntityId, held: Vec<ObservationId>, released: Vec<ObservationId>) {
        self.0.names.lock().change(by, held, released);
        self.collect_aside();
    }

    /// From now on what nobody names is taken away; first of all what nobody names already. Every actor must have
    /// said what it names.
    ///
    /// # Errors
    /// What failed; what could not be taken away is kept.
    pub(crate) async fn sweep(&self) -> Result<(), Problem> {
        let shared = Arc::clone(&self.0);
        aside(move || {
            let stored = shared.store.list()?;
            shared.names.lock().begin(stored);
            shared.collect()
        })
        .await
    }

    /// Has all taken away that nobody names any more, and waits for that.
    ///
    /// # Errors
    /// What failed.
    pub(crate) async fn collected(&self) -> Result<(), Problem> {
        let shared = Arc::clone(&self.0);
        aside(move || shared.collect()).await
    }

    fn collect_aside(&self) {
        if !self.0.names.lock().is_due() {
            return;
        }
        let shared = Arc::clone(&self.0);
        let begun = std::thread::Builder::new().name("observations".to_owned()).spawn(move || {
            if let Err(problem) = shared.collect() {
                tracing::warn!(%problem, "bytes that nobody names are still kept");
            }
        });
        if let Err(error) = begun {
            tracing::warn!(%error, "bytes that nobody names are still kept: the next that are named no more take them along");
        }
    }
}

impl Shared {
    /// Takes away what nobody names, one after the other.
    fn collect(&self) -> Result<(), Problem> {
        loop {
            let _moving = self.moving.lock();
            let Some(id) = self.names.lock().take_due() else { return Ok(()) };
            self.store.remove(&id).inspect_err(|_| self.names.lock().still_due(id.clone()))?;
        }
    }
}

/// One of a limited number.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>, max: usize, limit: &str) -> Result<Self, Problem> {
        let place = Self(Arc::clone(taken));
        if taken.fetch_add(1, Ordering::Relaxed) >= max {
            // Dropping the place gives it back.
            return Err(Problem::new(ProblemKind::Overloaded, format!("`{limit}` of observations is {max}")));
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// On a thread of its own: a disk must not keep other callers waiting, and a host may have any runtime.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    let (done, answer) = oneshot::channel();
    let begun = std::thread::Builder::new().name("observations".to_owned()).spawn(move || {
        // Who asked may have gone.
        let _gone = done.send(work());
    });
    begun.map_err(failed)?;
    answer.await.map_err(failed)?
}

fn failed(error: impl fmt::Display) -> Problem {
    Problem::new(ProblemKind::Internal, format!("the observation cannot be kept or read: {error}"))
}

fn no_room(max: u64) -> Problem {
    Problem::new(ProblemKind::LimitReached, format!("`observation_bytes_max` is {max}"))
}

fn unknown(id: &ObservationId) -> Problem {
    Problem::new(ProblemKind::ObservationUnknown, format!("no observation `{id}` is kept"))
}

/// How many bytes a store has, those that are coming in included.
#[derive(Debug)]
struct Room {
    used: Mutex<u64>,
    max: u64,
}

impl Room {
    fn new(used: u64, max: u64) -> Arc<Self> {
        Arc::new(Self { used: Mutex::new(used), max })
    }

    fn give_back(&self, bytes: u64) {
        let mut used = self.used.lock();
        *used = used.saturating_sub(bytes);
    }
}

/// A part of the room of a store, which is given back unless it is kept.
#[derive(Debug)]
struct Share {
    room: Arc<Room>,
    bytes: u64,
}

impl Share {
    fn new(room: &Arc<Room>) -> Self {
        Self { room: Arc::clone(room), bytes: 0 }
    }

    fn more(&mut self, bytes: usize) -> Result<(), Problem> {
        let mut used = self.room.used.lock();
        let more = used.saturating_add(bytes as u64);
        if more > self.room.max {
            return Err(no_room(self.room.max));
        }
        *used = more;
        self.bytes += bytes as u64;
        Ok(())
    }

    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}
