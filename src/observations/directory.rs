//! Observations in a directory, a file each.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use twinway_protocol::{Problem, spatial::ObservationId};

use super::{ObservationStore, Room, Share, StoredBytes, Unfinished, failed, unknown};

/// Where files are while they are written: nothing in it is an observation, and nothing in it outlives a start.
const UNFINISHED: &str = "unfinished";

/// Keeps them in a directory, a file each, named by its content.
#[derive(Debug)]
pub struct DirectoryStore {
    directory: Arc<Path>,
    room: Arc<Room>,
    /// Counts what was begun, for names.
    begun: AtomicU64,
}

impl DirectoryStore {
    /// Opens a directory, which is made if need be. What a process that was killed left half-written is taken away.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(directory: &Path, bytes_max: u64) -> io::Result<Self> {
        let unfinished = directory.join(UNFINISHED);
        match fs::metadata(&unfinished) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&unfinished)?,
            // An earlier version wrote into a file of this name.
            Ok(_) => fs::remove_file(&unfinished)?,
            Err(_) => {}
        }
        fs::create_dir_all(&unfinished)?;
        let mut used = 0;
        for file in fs::read_dir(directory)? {
            let file = file?;
            if file.file_name() != UNFINISHED {
                used += file.metadata()?.len();
            }
        }
        let room = Room::new(used, bytes_max);
        Ok(Self { directory: directory.into(), room, begun: AtomicU64::new(0) })
    }

    fn place(&self, id: &ObservationId) -> PathBuf {
        self.directory.join(id.as_str())
    }
}

struct Coming {
    file: fs::File,
    path: PathBuf,
    share: Option<Share>,
    directory: Arc<Path>,
}

impl Drop for Coming {
    fn drop(&mut self) {
        // Finished or given up: under this name nothing is left, or the next start takes it away.
        let _gone = fs::remove_file(&self.path);
    }
}

impl Coming {
    fn put(&self, place: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, place)?;
        // The name is durable when the directory is.
        fs::File::open(&self.directory)?.sync_all()
    }
}

impl Unfinished for Coming {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if let Some(share) = &mut self.share {
            share.more(bytes.len())?;
        }
        self.file.write_all(bytes).map_err(failed)
    }

    fn finish(mut self: Box<Self>, id: &ObservationId) -> Result<(), Problem> {
        let place = self.directory.join(id.as_str());
        if place.exists() {
            return Ok(());
        }
        self.put(&place).map_err(failed)?;
        if let Some(share) = self.share.take() {
            share.keep();
        }
        Ok(())
    }
}

impl ObservationStore for DirectoryStore {
    fn begin(&self) -> Result<Box<dyn Unfinished>, Problem> {
        let name = self.begun.fetch_add(1, Ordering::Relaxed).to_string();
        let path = self.directory.join(UNFINISHED).join(name);
        let file = fs::File::create(&path).map_err(failed)?;
        let (directory, share) = (Arc::clone(&self.directory), Some(Share::new(&self.room)));
        Ok(Box::new(Coming { file, path, share, directory }))
    }

    fn open(&self, id: &ObservationId) -> Result<StoredBytes, Problem> {
        let read = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => unknown(id),
            _ => failed(error),
        };
        let file = fs::File::open(self.place(id)).map_err(read)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(StoredBytes { bytes, reader: Box::new(file) })
    }

    fn remove(&self, id: &ObservationId) -> Result<(), Problem> {
        let place = self.place(id);
        let bytes = match fs::metadata(&place) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        fs::remove_file(&place).map_err(failed)?;
        self.room.give_back(bytes);
        Ok(())
    }

    fn list(&self) -> Result<Vec<ObservationId>, Problem> {
        let mut kept = Vec::new();
        for file in fs::read_dir(&self.directory).map_err(failed)? {
            // What has another name is somebody else's.
            kept.extend(file.map_err(failed)?.file_name().to_str().and_then(|name| name.parse::<ObservationId>().ok()));
        }
        Ok(kept)
    }
}
