//! The journal on disk, as the actors see it.

use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use twinway_actors::port::journal::{
    Condition, Entry, Journal, JournalError, JournalStats, Listener, Position, Urgency,
};
use twinway_protocol::EntityId;

use super::{
    DataDirectory, SqliteOptions, database, database::Database, directory::failed, queue::Queue, scan, writer::Writer,
};

/// A journal in the SQLite database of a data directory.
///
/// One thread writes. It makes one commit of all that waits, as one row, and begins the next as soon as that is
/// on disk. When there is no room it keeps what waits and tries again; after any other failure of a commit the
/// journal is poisoned.
pub struct SqliteJournal {
    queue: Arc<Queue>,
    database: PathBuf,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteJournal").field("database", &self.database).finish_non_exhaustive()
    }
}

impl SqliteJournal {
    /// Opens the journal of a data directory: makes it if there is none, and upgrades an older one after a backup
    /// of it into the same directory. The directory stays taken until the journal is closed or dropped.
    ///
    /// Whether all that was acknowledged is there is checked here; every byte is checked by replaying.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] when something acknowledged is missing or damaged, [`JournalError::Refused`] when
    /// a newer build wrote it, [`JournalError::Storage`] when the storage fails.
    pub fn open(directory: Arc<DataDirectory>, options: &SqliteOptions) -> Result<Self, JournalError> {
        let opened = Database::open(&directory, options)?;
        directory.set_format()?;
        let database = directory.database();
        let queue = Arc::new(Queue::new(directory, opened.stats, options));
        let writer = Writer::new(opened, Arc::clone(&queue));
        let left = Arc::clone(&queue);
        let work = move || {
            // A listener that panics must not leave others waiting for good.
            if panic::catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                left.abandon("the journal's writer panicked");
            }
        };
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(work);
        let thread = thread.map_err(|error| failed("start the writer of", &database, &error))?;
        Ok(Self { queue, database, writer: Mutex::new(Some(thread)) })
    }

    fn end_writer(&self) {
        self.queue.close();
        let thread = self.writer.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the journal's writer panicked");
        }
    }
}

impl Journal for SqliteJournal {
    fn append(
        &self,
        entries: Vec<Entry>,
        urgency: Urgency,
        listener: Option<&Arc<dyn Listener>>,
    ) -> Result<Position, JournalError> {
        self.queue.append(entries, urgency, listener)
    }

    fn replay(&self, of: Option<EntityId>, visit: &mut dyn FnMut(Entry)) -> Result<(), JournalError> {
        self.queue.usable()?;
        let durable = self.queue.stats().durable;
        let connection = database::connect_to_read(&self.database)?;
        Ok(scan::replay(&connection, of, durable.0, visit)?)
    }

    fn condition(&self) -> Condition {
        self.queue.condition()
    }

    fn position(&self) -> Position {
        self.queue.position()
    }

    fn truncate(&self, before: Position) -> Result<(), JournalError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.queue.truncate(before, answer)?;
        answered.recv().unwrap_or(Err(JournalError::Closed))
    }

    fn stats(&self) -> Result<JournalStats, JournalError> {
        Ok(JournalStats { bytes: scan::bytes_on_disk(&self.database), ..self.queue.stats() })
    }

    fn close(&self) -> Result<(), JournalError> {
        if !self.queue.close() && self.writer.lock().is_none() {
            return Ok(());
        }
        self.end_writer();
        self.queue.ended().unwrap_or_else(|| Err(JournalError::Storage("the journal's writer panicked".to_owned())))
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        self.end_writer();
    }
}
