//! What waits to be written, between those who append and the thread that writes.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use twinway_actors::port::journal::{
    Condition, Entry, EntryKind, JournalError, JournalStats, Listener, Position, Urgency,
};

use super::{SqliteOptions, database::Content, directory::DataDirectory, frame};

/// The size from which on a commit takes no further call of `append`. It bounds the blob that a reader holds.
const COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest that a commit waits for more entries to come.
const GATHERING_MAX: Duration = Duration::from_micros(200);

/// The entries of one commit, and who waits for them.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) content: Content,
    listeners: Vec<(Arc<dyn Listener>, u64)>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, entries: Vec<Entry>, first: u64) -> Result<(), JournalError> {
        let restore = (self.content.blob.len(), self.content.covers.len());
        if self.content.count == 0 {
            self.content.first = first;
        }
        let before = self.content.count;
        for entry in entries {
            let position = self.content.first + self.content.count;
            if frame::push(&mut self.content.blob, &entry, position).is_err() {
                self.content.blob.truncate(restore.0);
                self.content.covers.truncate(restore.1);
                self.content.count = before;
                return Err(JournalError::Full { waiting: entry.bytes.len(), limit: u32::MAX as usize });
            }
            self.content.count += 1;
            if entry.kind != EntryKind::Record {
                self.content.covers.push((position, entry));
            }
        }
        Ok(())
    }

    /// Whether it holds a snapshot or a forgetting that was there for a wish.
    pub(super) fn covers_for(&self, wish: &Truncate) -> bool {
        self.content.covers.first().is_some_and(|(position, _)| *position <= wish.asked_at)
    }

    fn hear(&mut self, listener: &Arc<dyn Listener>, last: u64) {
        match self.listeners.last_mut() {
            Some((known, position)) if Arc::ptr_eq(known, listener) => *position = last,
            _ => self.listeners.push((Arc::clone(listener), last)),
        }
    }

    /// Tells each listener once, in the order of their last entries.
    pub(super) fn tell(&self, tell: &dyn Fn(&dyn Listener, Position)) {
        let mut told = BTreeSet::new();
        let mut last_of_each: Vec<_> = self
            .listeners
            .iter()
            .rev()
            .filter(|(listener, _)| told.insert(Arc::as_ptr(listener).cast::<()>().addr()))
            .collect();
        last_of_each.reverse();
        for (listener, last) in last_of_each {
            tell(&**listener, Position(*last));
        }
    }
}

/// A wish to drop what stands up to a position.
pub(super) struct Truncate {
    pub(super) before: Position,
    /// The last position that was queued when this was wished: what covers the dropped is among what was.
    asked_at: u64,
    /// Who waits for it.
    pub(super) answer: SyncSender<Result<(), JournalError>>,
}

/// What the writer does next.
pub(super) enum Job {
    Commit,
    Truncate(Truncate),
    Close,
}

struct Inner {
    /// Batches that are full, each one commit.
    full: VecDeque<Batch>,
    /// The batch that grows.
    growing: Batch,
    position: u64,
    waiting_bytes: usize,
    urgent: bool,
    oldest: Option<Instant>,
    truncates: VecDeque<Truncate>,
    writer_sleeps: bool,
    closing: bool,
    condition: Condition,
    stats: JournalStats,
    directory: Option<Arc<DataDirectory>>,
    ended: Option<Result<(), JournalError>>,
}

/// The queue, shared by those who append and the writer.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    appends: AtomicU64,
    loss_window: Duration,
    held_back_bytes_max: usize,
}

impl Queue {
    pub(super) fn new(directory: Arc<DataDirectory>, stats: JournalStats, options: &SqliteOptions) -> Self {
        let inner = Inner {
            full: VecDeque::new(),
            growing: Batch::default(),
            position: stats.durable.0,
            waiting_bytes: 0,
            urgent: false,
            oldest: None,
            truncates: VecDeque::new(),
            writer_sleeps: false,
            closing: false,
            condition: Condition::Writable,
            stats,
            directory: Some(directory),
            ended: None,
        };
        Self {
            inner: Mutex::new(inner),
            wake: Condvar::new(),
            appends: AtomicU64::new(0),
            loss_window: Duration::from_millis(options.loss_window_ms),
            held_back_bytes_max: options.held_back_bytes_max,
        }
    }

    pub(super) fn append(
        &self,
        entries: Vec<Entry>,
        urgency: Urgency,
        listener: Option<&Arc<dyn Listener>>,
    ) -> Result<Position, JournalError> {
        let bytes: usize = entries.iter().map(frame::size).sum();
        let mut inner = self.inner.lock();
        inner.usable()?;
        if entries.is_empty() {
            return Ok(Position(inner.position));
        }
        let waiting = inner.waiting_bytes.saturating_add(bytes);
        if waiting > self.held_back_bytes_max {
            return Err(JournalError::Full { waiting, limit: self.held_back_bytes_max });
        }
        let (first, last) = (inner.position + 1, inner.position + entries.len() as u64);
        let batch = inner.growing(bytes);
        batch.push(entries, first)?;
        batch.bytes += bytes;
        if let Some(listener) = listener {
            batch.hear(listener, last);
        }
        inner.position = last;
        inner.waiting_bytes = waiting;
        let urgent = urgency == Urgency::Now || self.loss_window.is_zero();
        inner.urgent |= urgent;
        // The writer sleeps until the oldest must go; a younger one changes that only when it is urgent.
        let wakes = inner.writer_sleeps && (urgent || inner.oldest.is_none());
        if inner.oldest.is_none() {
            inner.oldest = Some(Instant::now());
        }
        inner.writer_sleeps &= !wakes;
        drop(inner);
        self.appends.fetch_add(1, Ordering::Relaxed);
        if wakes {
            self.wake.notify_one();
        }
        Ok(Position(last))
    }

    pub(super) fn truncate(
        &self,
        before: Position,
        answer: SyncSender<Result<(), JournalError>>,
    ) -> Result<(), JournalError> {
        let mut inner = self.inner.lock();
        inner.usable()?;
        let asked_at = inner.position;
        inner.truncates.push_back(Truncate { before, asked_at, answer });
        // What covers the dropped may still wait, and without need.
        inner.urgent |= inner.oldest.is_some();
        drop(inner);
        self.wake.notify_one();
        Ok(())
    }

    /// Refuses what comes from now on. `false` when that was so already.
    pub(super) fn close(&self) -> bool {
        let first = !std::mem::replace(&mut self.inner.lock().closing, true);
        self.wake.notify_one();
        first
    }

    pub(super) fn condition(&self) -> Condition {
        self.inner.lock().condition.clone()
    }

    pub(super) fn position(&self) -> Position {
        Position(self.inner.lock().position)
    }

    pub(super) fn stats(&self) -> JournalStats {
        self.inner.lock().stats
    }

    pub(super) fn usable(&self) -> Result<(), JournalError> {
        self.inner.lock().usable()
    }

    /// How the writer ended, if it did.
    pub(super) fn ended(&self) -> Option<Result<(), JournalError>> {
        self.inner.lock().ended.clone()
    }

    /// Whether a snapshot or a forgetting that was there for a wish waits.
    pub(super) fn covers_wait(&self, wish: &Truncate) -> bool {
        let inner = self.inner.lock();
        inner.full.iter().chain([&inner.growing]).any(|batch| batch.covers_for(wish))
    }

    /// Waits for something to do. Entries that were there before a wish to truncate go before it, and everything
    /// goes before closing.
    pub(super) fn next_job(&self) -> Job {
        let mut inner = self.inner.lock();
        loop {
            let durable = inner.stats.durable.0;
            if inner.truncates.front().is_some_and(|wish| wish.asked_at <= durable)
                && let Some(wish) = inner.truncates.pop_front()
            {
                return Job::Truncate(wish);
            }
            let due = inner.oldest.map(|oldest| oldest + self.loss_window);
            let now = due.is_some_and(|due| inner.urgent || inner.closing || due <= Instant::now());
            if now {
                return Job::Commit;
            }
            if inner.closing {
                return Job::Close;
            }
            inner.writer_sleeps = true;
            match due {
                Some(due) => drop(self.wake.wait_until(&mut inner, due)),
                None => self.wake.wait(&mut inner),
            }
            inner.writer_sleeps = false;
        }
    }

    /// Whether entries must go now, for a writer that is truncating in bites.
    pub(super) fn urgent(&self) -> bool {
        self.inner.lock().urgent
    }

    /// Lets others append until nobody does any more. Without it, those who were told of the last commit would
    /// come just too late for the next.
    pub(super) fn gather(&self) {
        let begun = Instant::now();
        let mut seen = self.appends.load(Ordering::Relaxed);
        loop {
            std::thread::yield_now();
            let now = self.appends.load(Ordering::Relaxed);
            if now == seen || begun.elapsed() >= GATHERING_MAX {
                return;
            }
            seen = now;
        }
    }

    /// Takes the entries of the next commit.
    pub(super) fn take(&self) -> Batch {
        let mut inner = self.inner.lock();
        if let Some(batch) = inner.full.pop_front() {
            return batch;
        }
        inner.urgent = false;
        inner.oldest = None;
        std::mem::take(&mut inner.growing)
    }

    /// Notes that `batch` is durable.
    pub(super) fn committed(&self, batch: &Batch, stats: JournalStats) {
        let mut inner = self.inner.lock();
        inner.waiting_bytes = inner.waiting_bytes.saturating_sub(batch.bytes);
        inner.stats = stats;
        if inner.condition != Condition::Writable {
            inner.condition = Condition::Writable;
        }
    }

    pub(super) fn set_stats(&self, stats: JournalStats) {
        self.inner.lock().stats = stats;
    }

    /// Notes that there is no room; `true` when that is new.
    pub(super) fn read_only(&self, reason: &str) -> bool {
        let mut inner = self.inner.lock();
        let new = inner.condition == Condition::Writable;
        inner.condition = Condition::ReadOnly { reason: reason.to_owned() };
        new
    }

    /// Waits before a commit is tried again; what may have made room ends it early. `true` when closing.
    pub(super) fn pause(&self, pause: Duration) -> (VecDeque<Truncate>, bool) {
        let mut inner = self.inner.lock();
        let until = Instant::now() + pause;
        while !inner.closing && inner.truncates.is_empty() {
            if self.wake.wait_until(&mut inner, until).timed_out() {
                break;
            }
        }
        (std::mem::take(&mut inner.truncates), inner.closing)
    }

    /// The writer ends, well or for `error`, which is given to all who wait.
    pub(super) fn end(&self, result: Result<(), JournalError>) -> Vec<Batch> {
        let mut inner = self.inner.lock();
        if let Err(JournalError::Poisoned(reason)) = &result {
            inner.condition = Condition::Poisoned { reason: reason.clone() };
        }
        inner.closing = true;
        inner.waiting_bytes = 0;
        inner.directory = None;
        let mut batches: Vec<Batch> = inner.full.drain(..).collect();
        batches.push(std::mem::take(&mut inner.growing));
        let wishes = std::mem::take(&mut inner.truncates);
        let error = result.clone().err().unwrap_or(JournalError::Closed);
        inner.ended = Some(result);
        drop(inner);
        for wish in wishes {
            // Whoever asked may have gone.
            let _gone = wish.answer.send(Err(error.clone()));
        }
        batches
    }

    /// Ends in place of a writer that is gone, and tells those who wait.
    pub(super) fn abandon(&self, reason: &str) {
        for batch in self.end(Err(JournalError::Poisoned(reason.to_owned()))) {
            batch.tell(&|listener, _| listener.poisoned(reason));
        }
    }
}

impl Inner {
    fn usable(&self) -> Result<(), JournalError> {
        match &self.condition {
            Condition::Poisoned { reason } => Err(JournalError::Poisoned(reason.clone())),
            _ if self.closing => Err(JournalError::Closed),
            _ => Ok(()),
        }
    }

    /// The batch that the next entries go into.
    fn growing(&mut self, bytes: usize) -> &mut Batch {
        if self.growing.bytes > 0 && self.growing.bytes + bytes > COMMIT_BYTES_MAX {
            self.full.push_back(std::mem::take(&mut self.growing));
        }
        &mut self.growing
    }
}
