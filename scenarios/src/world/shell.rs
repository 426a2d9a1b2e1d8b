//! What a world keeps of one entity besides its behaviour.

use std::collections::VecDeque;

use twinway_protocol::{Effect, EntityId, EventId, Meta, PendingKey, Recovery, Refusal, WireSet};

use super::cell::Cell;

/// What an entity is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It takes turns.
    Running,
    /// It failed and waits for its records to be replayed; its messages wait with it.
    Recovering,
    /// It failed too often, or its records cannot be replayed.
    Quarantined,
    /// It ended; a crash before that was durable brings it back.
    Ended,
    /// There is nobody.
    Gone,
}

/// What follows from a turn and waits for the journal.
pub(crate) struct Held<W: WireSet> {
    pub(crate) event: EventId,
    pub(crate) effects: Vec<Effect<W>>,
}

/// A question that was taken and is not answered yet.
pub(crate) struct Open<W: WireSet> {
    pub(crate) meta: Meta,
    pub(crate) refusal: Refusal<W>,
    /// The turn that took it.
    pub(crate) taken_in: EventId,
}

/// One entity.
pub(crate) struct Shell<W: WireSet> {
    pub(crate) id: EntityId,
    pub(crate) cell: Box<dyn Cell<W>>,
    pub(crate) state: State,
    pub(crate) event: EventId,
    pub(crate) held: VecDeque<Held<W>>,
    pub(crate) open: Vec<Open<W>>,
    /// The position of its last record.
    pub(crate) last: u64,
    pub(crate) failures: u32,
    /// The turn of recovery that it still has to take.
    pub(crate) owes: Option<Recovery>,
}

impl<W: WireSet> Shell<W> {
    pub(crate) fn new(id: EntityId, cell: Box<dyn Cell<W>>, actor: u32) -> Self {
        Self {
            id,
            cell,
            state: State::Running,
            event: EventId::new(actor, 0),
            held: VecDeque::new(),
            open: Vec::new(),
            last: 0,
            failures: 0,
            owes: None,
        }
    }

    /// The same memory for another life.
    pub(crate) fn begin(&mut self, id: EntityId, actor: u32) {
        self.id = id;
        self.state = State::Running;
        self.event = EventId::new(actor, 0);
        self.held.clear();
        self.open.clear();
        self.last = 0;
        self.failures = 0;
        self.owes = None;
    }
}

/// A timer of one entity, ordered by when it runs out and then by when it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) due_ms: u64,
    pub(crate) count: u64,
    pub(crate) at: u32,
    pub(crate) key: PendingKey,
    pub(crate) cause: EventId,
}
