//! The one thread that writes: it commits as soon as the last commit ended, whatever came meanwhile.

use std::{sync::Arc, time::Duration};

use twinway_actors::port::journal::JournalError;

use super::{
    database::{Database, Failure},
    queue::{Batch, Job, Queue, Truncate},
};

const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The writer with its database.
pub(super) struct Writer {
    database: Database,
    queue: Arc<Queue>,
    /// Entries that could not be written when the writer ended.
    lost: Option<Batch>,
}

impl Writer {
    pub(super) fn new(database: Database, queue: Arc<Queue>) -> Self {
        Self { database, queue, lost: None }
    }

    /// Writes until the journal is closed or poisoned.
    pub(super) fn run(mut self) {
        let result = self.work();
        let Self { database, queue, lost } = self;
        if result.is_ok()
            && let Err(failure) = database.close()
        {
            // The log is durable as it is: that it was not moved loses nothing.
            log_left(&failure);
        }
        let reason = result.as_ref().err().map_or_else(String::new, ToString::to_string);
        let unwritten = queue.end(result);
        for batch in lost.into_iter().chain(unwritten) {
            batch.tell(&|listener, _| listener.poisoned(&reason));
        }
    }

    fn work(&mut self) -> Result<(), JournalError> {
        loop {
            match self.queue.next_job() {
                Job::Commit => self.commit_next()?,
                Job::Truncate(wish) => self.truncate(wish, true)?,
                Job::Close => return Ok(()),
            }
        }
    }

    fn commit_next(&mut self) -> Result<(), JournalError> {
        self.queue.gather();
        let batch = self.queue.take();
        if let Err(error) = self.commit(&batch) {
            self.lost = Some(batch);
            return Err(error);
        }
        let moved = self.database.checkpoint_when_long();
        unless_no_room(moved)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        let mut pause = RETRY_FIRST;
        let mut last_try = false;
        loop {
            let reason = match self.database.commit(&batch.content) {
                Ok(()) => {
                    self.queue.committed(batch, self.database.stats);
                    batch.tell(&|listener, position| listener.durable(position));
                    return Ok(());
                }
                Err(Failure::NoRoom(reason)) => reason,
                Err(Failure::Fatal(reason)) => return Err(poisoned(reason)),
            };
            if last_try {
                return Err(JournalError::Storage(reason));
            }
            // The commit was rolled back, so that trying again writes it once.
            if self.queue.read_only(&reason) {
                tracing::error!(%reason, "the journal is read-only until there is room");
            }
            let (wishes, closing) = self.queue.pause(pause);
            pause = if wishes.is_empty() { RETRY_MAX.min(pause * 2) } else { RETRY_FIRST };
            last_try = closing;
            for wish in wishes {
                if batch.covers_for(&wish) || self.queue.covers_wait(&wish) {
                    // Whoever asked may have gone.
                    let _gone = wish.answer.send(Err(JournalError::Storage(reason.clone())));
                } else {
                    self.truncate(wish, false)?;
                }
            }
            // A log that was moved into the database file begins again from its start.
            let moved = self.database.checkpoint("PASSIVE");
            unless_no_room(moved)?;
        }
    }

    /// Drops commits in bites; where `commits` allows it, entries that came meanwhile go between two bites.
    fn truncate(&mut self, wish: Truncate, commits: bool) -> Result<(), JournalError> {
        let result = loop {
            match self.database.truncate_some(wish.before.0) {
                Ok(true) if commits && self.queue.urgent() => self.commit_next()?,
                Ok(true) => {}
                Ok(false) => break self.database.checkpoint_when_long(),
                Err(failure) => break Err(failure),
            }
        };
        self.queue.set_stats(self.database.stats);
        let (told, ended) = match result {
            Ok(()) => (Ok(()), Ok(())),
            Err(Failure::NoRoom(reason)) => (Err(JournalError::Storage(reason)), Ok(())),
            Err(Failure::Fatal(reason)) => (Err(JournalError::Poisoned(reason.clone())), Err(poisoned(reason))),
        };
        // Whoever asked may have gone.
        let _gone = wish.answer.send(told);
        ended
    }
}

/// Lets pass that the log could not be moved for want of room: it goes on growing, and a commit meets the want
/// if it lasts.
fn unless_no_room(moved: Result<(), Failure>) -> Result<(), JournalError> {
    match moved {
        Ok(()) => Ok(()),
        Err(failure @ Failure::NoRoom(_)) => {
            log_left(&failure);
            Ok(())
        }
        Err(Failure::Fatal(reason)) => Err(poisoned(reason)),
    }
}

fn poisoned(reason: String) -> JournalError {
    tracing::error!(%reason, "the journal is poisoned: nothing is written any more");
    JournalError::Poisoned(reason)
}

fn log_left(failure: &Failure) {
    tracing::warn!(reason = failure.reason(), "the journal's log was not moved into its database");
}
