//! The journal in memory: for tests, simulations and hosts that need no durability.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use twinway_protocol::EntityId;

use super::{Condition, Entry, EntryKind, Journal, JournalError, JournalStats, Listener, Position, Urgency};

/// The most bytes that wait while the journal is held, unless [`MemoryJournal::with_limit`] says otherwise.
const HELD_BACK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Keeps entries in memory, gone with the process.
///
/// Entries are durable at once, and the listener hears so before `append` returns (on the thread that
/// appends, or on the one that is telling listeners just then). A test decides otherwise by
/// [`hold`](Self::hold), [`set_read_only`](Self::set_read_only) and [`fail_with_poison`](Self::fail_with_poison),
/// and takes what a crash would leave by [`crash`](Self::crash).
#[derive(Debug)]
pub struct MemoryJournal {
    held_back_bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Kept,
    queue: VecDeque<Append>,
    waiting_bytes: usize,
    queued: u64,
    held: bool,
    read_only: Option<String>,
    poisoned: Option<String>,
    closed: bool,
    news: VecDeque<News>,
    telling: bool,
}

/// What is durable: exactly what a replay gives.
#[derive(Clone, Debug, Default)]
struct Kept {
    durable: u64,
    commits: u64,
    snapshots: BTreeMap<(EntityId, u64), Box<[u8]>>,
    records: BTreeMap<u64, Entry>,
}

/// The entries of one call.
struct Append {
    entries: Vec<Entry>,
    last: u64,
    listener: Option<Arc<dyn Listener>>,
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append").field("entries", &self.entries).field("last", &self.last).finish_non_exhaustive()
    }
}

/// What a listener is still to hear.
struct News {
    listener: Arc<dyn Listener>,
    what: Result<Position, String>,
}

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::with_limit(HELD_BACK_BYTES_MAX)
    }
}

impl MemoryJournal {
    /// A journal that holds back at most `held_back_bytes_max` bytes of content.
    #[must_use]
    pub fn with_limit(held_back_bytes_max: usize) -> Self {
        Self { held_back_bytes_max, state: Mutex::new(State::default()) }
    }

    /// From now on entries wait until [`release`](Self::release).
    pub fn hold(&self) {
        self.state.lock().held = true;
    }

    /// Makes durable what waits, unless the journal is read-only, and holds nothing back any more.
    pub fn release(&self) {
        self.state.lock().held = false;
        self.commit_and_tell();
    }

    /// Makes durable the oldest `appends` calls that wait, and goes on holding the others.
    pub fn release_some(&self, appends: usize) {
        let mut state = self.state.lock();
        for _ in 0..appends {
            state.commit_one();
        }
        self.tell(state);
    }

    /// Poisons the journal as a failed commit would: what waits is lost and its listeners hear so.
    pub fn fail_with_poison(&self, reason: &str) {
        let mut state = self.state.lock();
        state.poisoned = Some(reason.to_owned());
        state.lose_what_waits(reason);
        self.tell(state);
    }

    /// With a reason, entries wait as if there was no room; without, they become durable again.
    pub fn set_read_only(&self, reason: Option<&str>) {
        self.state.lock().read_only = reason.map(str::to_owned);
        self.commit_and_tell();
    }

    /// How many calls of `append` wait to become durable.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// A journal with what is durable and nothing else. This one is closed; whoever waits on it hears nothing.
    #[must_use]
    pub fn crash(&self) -> Self {
        let mut state = self.state.lock();
        state.closed = true;
        state.queue.clear();
        state.news.clear();
        state.waiting_bytes = 0;
        let kept = state.kept.clone();
        let queued = kept.durable;
        let after = State { kept, queued, ..State::default() };
        Self { held_back_bytes_max: self.held_back_bytes_max, state: Mutex::new(after) }
    }

    fn commit_and_tell(&self) {
        let mut state = self.state.lock();
        if !state.held && state.read_only.is_none() {
            while state.commit_one() {}
        }
        self.tell(state);
    }

    /// Tells the news in order and without the lock, so that a listener may append. One thread tells at a
    /// time: two could swap the order in which a listener hears.
    fn tell<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        if state.telling {
            return;
        }
        state.telling = true;
        while let Some(news) = state.news.pop_front() {
            drop(state);
            match &news.what {
                Ok(position) => news.listener.durable(*position),
                Err(reason) => news.listener.poisoned(reason),
            }
            state = self.state.lock();
        }
        state.telling = false;
    }
}

impl State {
    fn usable(&self) -> Result<(), JournalError> {
        match &self.poisoned {
            Some(reason) => Err(JournalError::Poisoned(reason.clone())),
            None if self.closed => Err(JournalError::Closed),
            None => Ok(()),
        }
    }

    fn commit_one(&mut self) -> bool {
        let Some(append) = self.queue.pop_front() else { return false };
        self.waiting_bytes = self.waiting_bytes.saturating_sub(size(&append.entries));
        self.kept.commits += 1;
        for entry in append.entries {
            self.kept.take(entry);
        }
        if let Some(listener) = append.listener {
            self.news.push_back(News { listener, what: Ok(Position(append.last)) });
        }
        true
    }

    fn lose_what_waits(&mut self, reason: &str) {
        self.waiting_bytes = 0;
        let mut listeners: Vec<Arc<dyn Listener>> = Vec::new();
        for listener in self.queue.drain(..).filter_map(|append| append.listener) {
            if !listeners.iter().any(|known| Arc::ptr_eq(known, &listener)) {
                listeners.push(listener);
            }
        }
        for listener in listeners {
            self.news.push_back(News { listener, what: Err(reason.to_owned()) });
        }
    }
}

impl Kept {
    fn take(&mut self, entry: Entry) {
        self.durable += 1;
        let key = (entry.entity, entry.part);
        match entry.kind {
            EntryKind::Record => drop(self.records.insert(self.durable, entry)),
            EntryKind::Snapshot => {
                self.records.retain(|_, record| (record.entity, record.part) != key);
                if entry.bytes.is_empty() {
                    self.snapshots.remove(&key);
                } else {
                    self.snapshots.insert(key, entry.bytes);
                }
            }
            EntryKind::Forget => {
                self.records.retain(|_, record| record.entity != entry.entity);
                self.snapshots.retain(|(entity, _), _| *entity != entry.entity);
            }
        }
    }

    fn bytes(&self) -> (u64, u64) {
        let records = self.records.values().map(|record| record.bytes.len() as u64).sum();
        let snapshots = self.snapshots.values().map(|bytes| bytes.len() as u64).sum();
        (records, snapshots)
    }
}

impl Journal for MemoryJournal {
    fn append(
        &self,
        entries: Vec<Entry>,
        _urgency: Urgency,
        listener: Option<&Arc<dyn Listener>>,
    ) -> Result<Position, JournalError> {
        let mut state = self.state.lock();
        state.usable()?;
        if entries.is_empty() {
            return Ok(Position(state.queued));
        }
        let waiting = state.waiting_bytes + size(&entries);
        if waiting > self.held_back_bytes_max {
            return Err(JournalError::Full { waiting, limit: self.held_back_bytes_max });
        }
        state.waiting_bytes = waiting;
        state.queued += entries.len() as u64;
        let last = state.queued;
        state.queue.push_back(Append { entries, last, listener: listener.cloned() });
        drop(state);
        self.commit_and_tell();
        Ok(Position(last))
    }

    fn replay(&self, of: Option<EntityId>, visit: &mut dyn FnMut(Entry)) -> Result<(), JournalError> {
        let state = self.state.lock();
        state.usable()?;
        // The copy lets `visit` append.
        let kept = state.kept.clone();
        drop(state);
        for ((entity, part), bytes) in kept.snapshots {
            if of.is_none_or(|of| of == entity) {
                visit(Entry { entity, part, kind: EntryKind::Snapshot, bytes });
            }
        }
        for record in kept.records.into_values() {
            if of.is_none_or(|of| of == record.entity) {
                visit(record);
            }
        }
        Ok(())
    }

    fn condition(&self) -> Condition {
        let state = self.state.lock();
        match (&state.poisoned, &state.read_only) {
            (Some(reason), _) => Condition::Poisoned { reason: reason.clone() },
            (None, Some(reason)) => Condition::ReadOnly { reason: reason.clone() },
            (None, None) => Condition::Writable,
        }
    }

    fn position(&self) -> Position {
        Position(self.state.lock().queued)
    }

    fn truncate(&self, before: Position) -> Result<(), JournalError> {
        let mut state = self.state.lock();
        state.usable()?;
        if state.queue.iter().flat_map(|append| &append.entries).any(|entry| entry.kind != EntryKind::Record) {
            let reason = state.read_only.clone().unwrap_or_else(|| "snapshots wait to be written".to_owned());
            return Err(JournalError::Storage(reason));
        }
        state.kept.records = state.kept.records.split_off(&before.0.saturating_add(1));
        Ok(())
    }

    fn stats(&self) -> Result<JournalStats, JournalError> {
        let state = self.state.lock();
        let (records, snapshots) = state.kept.bytes();
        Ok(JournalStats {
            durable: Position(state.kept.durable),
            commits: state.kept.commits,
            snapshots: state.kept.snapshots.len() as u64,
            bytes: records + snapshots,
            replay_bytes: records,
        })
    }

    fn close(&self) -> Result<(), JournalError> {
        let mut state = self.state.lock();
        if state.closed {
            return Ok(());
        }
        state.closed = true;
        if let Some(reason) = &state.poisoned {
            return Err(JournalError::Poisoned(reason.clone()));
        }
        let stuck = match &state.read_only {
            Some(reason) if !state.queue.is_empty() => Some(reason.clone()),
            _ => None,
        };
        if let Some(reason) = &stuck {
            state.lose_what_waits(reason);
        } else {
            while state.commit_one() {}
        }
        self.tell(state);
        stuck.map_or(Ok(()), |reason| Err(JournalError::Storage(reason)))
    }
}

fn size(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.bytes.len()).sum()
}
