//! Where the bytes of observations are kept (FGMV-28 7.3.1 step 2.2): by their content, and never more than a limit.
//!
//! Actors do no I/O: what they speak of is an observation's id. A port with two adapters, memory and a directory.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use twinway_protocol::{Problem, ProblemKind, spatial::ObservationId};

/// How many bytes are kept that nobody says a limit for.
pub const OBSERVATION_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Keeps bytes by their content. Both calls may block.
pub trait ObservationStore: Send + Sync + 'static {
    /// Keeps bytes. When it answers, they are durable.
    ///
    /// # Errors
    /// [`ProblemKind::LimitReached`] when there is no room, or what failed. Nothing was kept then.
    fn put(&self, id: &ObservationId, bytes: &[u8]) -> Result<(), Problem>;

    /// Gives bytes back.
    ///
    /// # Errors
    /// [`ProblemKind::ObservationUnknown`], or what failed.
    fn get(&self, id: &ObservationId) -> Result<Bytes, Problem>;
}

/// A store, shared.
#[derive(Clone)]
pub struct Observations(Arc<dyn ObservationStore>);

impl fmt::Debug for Observations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observations")
    }
}

impl Default for Observations {
    fn default() -> Self {
        Self(Arc::new(MemoryStore::new(OBSERVATION_BYTES_MAX)))
    }
}

impl Observations {
    /// Behind it stands `store`.
    #[must_use]
    pub fn new(store: Arc<dyn ObservationStore>) -> Self {
        Self(store)
    }

    /// Keeps bytes; gives their id.
    ///
    /// # Errors
    /// Those of [`ObservationStore::put`].
    pub async fn put(&self, bytes: Bytes) -> Result<ObservationId, Problem> {
        self.aside(move |store| {
            let id = ObservationId::of_digest(Sha256::digest(&bytes).into());
            store.put(&id, &bytes).map(|()| id)
        })
        .await
    }

    /// Gives bytes back.
    ///
    /// # Errors
    /// Those of [`ObservationStore::get`].
    pub async fn get(&self, id: ObservationId) -> Result<Bytes, Problem> {
        self.aside(move |store| store.get(&id)).await
    }

    /// On a thread of its own: a disk must not keep other callers waiting, and a host may have any runtime.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn ObservationStore) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (store, (done, answer)) = (Arc::clone(&self.0), oneshot::channel());
        let begun = std::thread::Builder::new().name("observations".to_owned()).spawn(move || {
            // Who asked may have gone.
            let _ = done.send(work(&*store));
        });
        begun.map_err(failed)?;
        answer.await.map_err(failed)?
    }
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

/// Keeps them in memory.
#[derive(Debug)]
pub struct MemoryStore {
    kept: Mutex<(BTreeMap<ObservationId, Bytes>, u64)>,
    bytes_max: u64,
}

impl MemoryStore {
    /// Keeps at most this many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self { kept: Mutex::default(), bytes_max }
    }
}

impl ObservationStore for MemoryStore {
    fn put(&self, id: &ObservationId, bytes: &[u8]) -> Result<(), Problem> {
        let (kept, total) = &mut *self.kept.lock();
        if kept.contains_key(id) {
            return Ok(());
        }
        let more = total.saturating_add(bytes.len() as u64);
        if more > self.bytes_max {
            return Err(no_room(self.bytes_max));
        }
        kept.insert(id.clone(), Bytes::copy_from_slice(bytes));
        *total = more;
        Ok(())
    }

    fn get(&self, id: &ObservationId) -> Result<Bytes, Problem> {
        self.kept.lock().0.get(id).cloned().ok_or_else(|| unknown(id))
    }
}

/// Keeps them in a directory, a file each, named by its content.
#[derive(Debug)]
pub struct DirectoryStore {
    directory: PathBuf,
    bytes_max: u64,
    /// Bytes that are kept. Held while a file is written: one at a time, so that the limit holds.
    total: Mutex<u64>,
}

/// What is being written. A daemon that was killed leaves it, and the next takes its place.
const UNFINISHED: &str = "unfinished";

impl DirectoryStore {
    /// Opens a directory, which is made if need be.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(directory: &Path, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut total = 0;
        for file in fs::read_dir(directory)? {
            let file = file?;
            if file.file_name() != UNFINISHED {
                total += file.metadata()?.len();
            }
        }
        Ok(Self { directory: directory.to_path_buf(), bytes_max, total: Mutex::new(total) })
    }

    fn write(&self, id: &ObservationId, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.directory.join(UNFINISHED);
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.directory.join(id.as_str()))?;
        // The name is durable when the directory is.
        fs::File::open(&self.directory)?.sync_all()
    }
}

impl ObservationStore for DirectoryStore {
    fn put(&self, id: &ObservationId, bytes: &[u8]) -> Result<(), Problem> {
        let mut total = self.total.lock();
        if self.directory.join(id.as_str()).exists() {
            return Ok(());
        }
        let more = total.saturating_add(bytes.len() as u64);
        if more > self.bytes_max {
            return Err(no_room(self.bytes_max));
        }
        self.write(id, bytes).map_err(failed)?;
        *total = more;
        Ok(())
    }

    fn get(&self, id: &ObservationId) -> Result<Bytes, Problem> {
        match fs::read(self.directory.join(id.as_str())) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unknown(id)),
            Err(error) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DirectoryStore, MemoryStore, ObservationStore};
    use twinway_protocol::{ProblemKind, spatial::ObservationId};

    /// What every store promises.
    fn contract(open: &dyn Fn(u64) -> Box<dyn ObservationStore>, lasts: bool) {
        let (first, second) = (ObservationId::of_digest([1; 32]), ObservationId::of_digest([2; 32]));
        let store = open(8);
        assert_eq!(store.get(&first).expect_err("it is empty").kind, ProblemKind::ObservationUnknown);
        store.put(&first, b"12345").expect("there is room");
        store.put(&first, b"12345").expect("it is kept already, and takes no room");
        assert_eq!(store.put(&second, b"1234").expect_err("9 are over 8").kind, ProblemKind::LimitReached);
        assert_eq!(store.get(&second).expect_err("nothing was kept").kind, ProblemKind::ObservationUnknown);
        store.put(&second, b"123").expect("there is room");
        assert_eq!(&store.get(&first).expect("it is kept")[..], b"12345");
        drop(store);
        if lasts {
            let store = open(8);
            assert_eq!(&store.get(&second).expect("it is kept")[..], b"123");
            let third = ObservationId::of_digest([3; 32]);
            assert_eq!(store.put(&third, b"1").expect_err("it is full").kind, ProblemKind::LimitReached);
        }
    }

    #[test]
    fn memory_keeps_what_it_took_and_no_more_than_it_may() {
        contract(&|max| Box::new(MemoryStore::new(max)), false);
    }

    #[test]
    fn a_directory_keeps_what_it_took_and_no_more_than_it_may() {
        let place = tempfile::tempdir().expect("there is a place for it");
        contract(&|max| Box::new(DirectoryStore::open(place.path(), max).expect("it opens")), true);
    }
}
