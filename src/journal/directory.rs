//! The data directory: one daemon at a time, and a layout with a version.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use twinway_actors::port::journal::JournalError;

use super::{DATABASE_NAME, FORMAT_VERSION};

const LOCK_NAME: &str = "lock";
const FORMAT_NAME: &str = "format";

/// A data directory that this process has for itself until it drops this.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    // The operating system lets the lock go when the file is closed, also by a crash.
    _lock: File,
}

impl DataDirectory {
    /// Takes the directory at `path`, and makes it (for its owner only) if there is none.
    ///
    /// # Errors
    /// [`JournalError::Refused`] when another process has it or a newer build wrote it, [`JournalError::Storage`]
    /// when it cannot be made or read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        let path = path.as_ref().to_owned();
        make(&path).map_err(|error| failed("make the data directory", &path, &error))?;
        let lock = lock(&path)?;
        let directory = Self { path, _lock: lock };
        match directory.format()? {
            Some(version) => supported(version, &directory.path)?,
            // A database without the file tells its version itself.
            None if directory.database().exists() => {}
            None => directory.set_format()?,
        }
        Ok(directory)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE_NAME)
    }

    fn format(&self) -> Result<Option<u32>, JournalError> {
        let path = self.path.join(FORMAT_NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        let version = text.trim().parse();
        version.map(Some).map_err(|_| {
            JournalError::Corrupt(format!("{} holds {text:?} instead of a version number", path.display()))
        })
    }

    /// Writes down that the layout is of this build's version.
    pub(super) fn set_format(&self) -> Result<(), JournalError> {
        if self.format()? == Some(FORMAT_VERSION) {
            return Ok(());
        }
        let path = self.path.join(FORMAT_NAME);
        let written = replace(&path, format!("{FORMAT_VERSION}\n").as_bytes());
        written.map_err(|error| failed("write", &path, &error))
    }
}

/// Refuses versions that this build does not read.
pub(super) fn supported(version: u32, path: &Path) -> Result<(), JournalError> {
    if (1..=FORMAT_VERSION).contains(&version) {
        return Ok(());
    }
    Err(JournalError::Refused(format!(
        "{} has format {version}; this build reads formats 1 to {FORMAT_VERSION}: run the newer twinway that wrote \
         it, or restore a backup of an older format into another directory",
        path.display()
    )))
}

pub(super) fn failed(what: &str, path: &Path, error: &dyn std::fmt::Display) -> JournalError {
    JournalError::Storage(format!("cannot {what} {}: {error}", path.display()))
}

/// Makes what was created or renamed in a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn make(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn lock(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join(LOCK_NAME);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(|error| failed("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who holds it is a help for the reader, no more.
            let _unread = file.read_to_string(&mut holder);
            return Err(JournalError::Refused(format!(
                "{path} is in use{by}: is another twinway running with --data {path}? Stop it, or choose another \
                 directory",
                path = directory.display(),
                by = if holder.is_empty() { String::new() } else { format!(" by process {}", holder.trim()) },
            )));
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock", &path, &error)),
    }
    let noted = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = noted {
        // A full disk must not keep the daemon from starting read-only.
        tracing::debug!(%error, "the lock file does not name its holder");
    }
    Ok(file)
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}
