//! The journal: where records become durable, and from where they come back.

mod memory;

use std::sync::Arc;

use twinway_protocol::EntityId;

pub use memory::MemoryJournal;

/// The order in which entries were appended, counted from 1 over the journal's whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// What an entry does to what was written before of the same entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// Adds to it.
    Record,
    /// Replaces all that was written of the same part; without content the part is gone.
    Snapshot,
    /// Forgets the entity: every part of it.
    Forget,
}

/// One entry. What the bytes mean is the writer's own matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose state it is.
    pub entity: EntityId,
    /// Which slice of that state.
    pub part: u64,
    /// What it does.
    pub kind: EntryKind,
    /// The content.
    pub bytes: Box<[u8]>,
}

/// How soon an entry must be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// As soon as the disk allows; entries that wait meanwhile share the commit.
    Now,
    /// With the next commit, or when the journal's loss window has passed.
    WithinLossWindow,
}

/// Hears what became of entries. Called on the journal's own thread; it must not block, and not close the journal.
pub trait Listener: Send + Sync + 'static {
    /// Everything that this listener appended up to `position` is durable.
    fn durable(&self, position: Position);
    /// The journal is poisoned, or closed while there was no room: nothing that was not told durable will ever
    /// be. Only those hear it whose entries wait; others learn it from `append`.
    fn poisoned(&self, reason: &str);
}

/// What the journal can do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Entries become durable.
    Writable,
    /// Entries are kept waiting and written when it becomes possible again; new work should be refused.
    ReadOnly {
        /// Why: no room, most often.
        reason: String,
    },
    /// A commit failed in a way that leaves unknown what the disk holds. Only a restart helps.
    Poisoned {
        /// What happened.
        reason: String,
    },
}

/// Why the journal did not do what it was asked. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// See [`Condition::Poisoned`].
    #[error("the journal is poisoned: {0}")]
    Poisoned(String),
    /// More bytes wait to be written than the journal holds back.
    #[error("{waiting} bytes wait to be written; the limit is {limit}")]
    Full {
        /// Bytes that wait.
        waiting: usize,
        /// The most that may wait.
        limit: usize,
    },
    /// What is stored is damaged.
    #[error("the journal is damaged: {0}")]
    Corrupt(String),
    /// The storage failed.
    #[error("the journal's storage failed: {0}")]
    Storage(String),
    /// It was not opened or changed: somebody else uses it, it has a format that this build does not read, or
    /// something stands in its place. Says what to do.
    #[error("{0}")]
    Refused(String),
    /// It was closed.
    #[error("the journal is closed")]
    Closed,
}

/// Numbers of a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// The position of the last durable entry.
    pub durable: Position,
    /// How many commits are kept.
    pub commits: u64,
    /// How many snapshots are kept.
    pub snapshots: u64,
    /// Bytes on disk, or in memory.
    pub bytes: u64,
    /// Bytes of commits that a replay reads.
    pub replay_bytes: u64,
}

/// Durable storage of entries.
///
/// `append` only queues; a commit makes everything durable that was queued when it began, in order, and then
/// tells the listeners. The entries of one call become durable together or not at all.
pub trait Journal: Send + Sync + 'static {
    /// Queues `entries`, and gives the position of the last one. Without entries nothing is queued, nobody is
    /// told, and the position is that of the last entry that was.
    ///
    /// # Errors
    /// When the journal is poisoned, closed, or holds too much back. Nothing was queued.
    fn append(
        &self,
        entries: Vec<Entry>,
        urgency: Urgency,
        listener: Option<&Arc<dyn Listener>>,
    ) -> Result<Position, JournalError>;

    /// Gives back what is durable: every kept snapshot, then every kept entry that no later snapshot or
    /// forgetting covers, in order. With `of`, that of one entity only. Snapshots come in an order of the
    /// adapter's own; forgettings and snapshots without content are not visited, they only cover.
    ///
    /// # Errors
    /// When the storage fails or what it holds is damaged; what was visited before is not to be used then.
    fn replay(&self, of: Option<EntityId>, visit: &mut dyn FnMut(Entry)) -> Result<(), JournalError>;

    /// What it can do now.
    fn condition(&self) -> Condition;

    /// The position of the last entry that was queued.
    fn position(&self) -> Position;

    /// Drops records up to and with `before`: the caller vouches that snapshots or forgettings cover them, and has
    /// appended these. They are durable before anything is dropped. Snapshots stay. It waits for the storage, so it
    /// is not for a thread that runs actors.
    ///
    /// # Errors
    /// When the storage fails, or has no room for the snapshots; nothing that is still needed is gone.
    fn truncate(&self, before: Position) -> Result<(), JournalError>;

    /// Its numbers.
    ///
    /// # Errors
    /// When the storage fails.
    fn stats(&self) -> Result<JournalStats, JournalError>;

    /// Makes durable what is queued and lets the storage go. Appending and replaying fail from now on. A second
    /// call does nothing.
    ///
    /// # Errors
    /// When what is queued could not be made durable.
    fn close(&self) -> Result<(), JournalError>;
}
