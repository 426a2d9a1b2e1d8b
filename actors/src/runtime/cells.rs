//! Where a shell keeps its behaviours: one, or the slots of a shard.

use std::collections::VecDeque;

use twinway_protocol::{Behaviour, EntityId, Envelope};

/// What a cell is doing.
pub(crate) enum CellState<B: Behaviour> {
    /// It takes turns.
    Running(B),
    /// It failed and waits for its records to be replayed; its messages wait here, if the shell has other cells.
    Recovering(VecDeque<Envelope<B::Msg>>),
    /// It failed too often, or its records cannot be replayed.
    Quarantined,
}

/// One entity in a shell.
pub(crate) struct Cell<B: Behaviour> {
    pub(crate) id: EntityId,
    pub(crate) state: CellState<B>,
    /// The position of its last record.
    pub(crate) last: u64,
    /// The position that the last of its turns that was held back waits for, or waited for.
    pub(crate) held_until: u64,
}

impl<B: Behaviour> Cell<B> {
    pub(crate) fn new(id: EntityId, behaviour: B) -> Self {
        Self { id, state: CellState::Running(behaviour), last: 0, held_until: 0 }
    }
}

/// The entities of one shell.
pub(crate) trait Cells<B: Behaviour>: 'static {
    fn get(&mut self, id: EntityId) -> Option<&mut Cell<B>>;
    /// Puts a cell in; whoever had its slot before is replaced.
    fn insert(&mut self, cell: Cell<B>);
    fn remove(&mut self, id: EntityId);
    fn ids(&self) -> Vec<EntityId>;
    /// Whether the one entity of this shell is being recovered: then its messages stay in the inbox.
    fn blocked(&self) -> bool;
}

/// One entity.
pub(crate) struct Single<B: Behaviour>(pub(crate) Option<Cell<B>>);

impl<B: Behaviour> Cells<B> for Single<B> {
    fn get(&mut self, id: EntityId) -> Option<&mut Cell<B>> {
        self.0.as_mut().filter(|cell| cell.id == id)
    }

    fn insert(&mut self, cell: Cell<B>) {
        self.0 = Some(cell);
    }

    fn remove(&mut self, _id: EntityId) {
        self.0 = None;
    }

    fn ids(&self) -> Vec<EntityId> {
        self.0.iter().map(|cell| cell.id).collect()
    }

    fn blocked(&self) -> bool {
        matches!(&self.0, Some(Cell { state: CellState::Recovering(_), .. }))
    }
}

/// The entities of one shard: slot `n` of the kind is at `n / shards`.
pub(crate) struct Slots<B: Behaviour> {
    slots: Vec<Option<Cell<B>>>,
    shards: usize,
}

impl<B: Behaviour> Slots<B> {
    pub(crate) fn new(shards: usize) -> Self {
        Self { slots: Vec::new(), shards: shards.max(1) }
    }

    fn index(&self, id: EntityId) -> usize {
        id.slot() as usize / self.shards
    }
}

impl<B: Behaviour> Cells<B> for Slots<B> {
    fn get(&mut self, id: EntityId) -> Option<&mut Cell<B>> {
        let index = self.index(id);
        self.slots.get_mut(index)?.as_mut().filter(|cell| cell.id == id)
    }

    fn insert(&mut self, cell: Cell<B>) {
        let index = self.index(cell.id);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(cell);
        }
    }

    fn remove(&mut self, id: EntityId) {
        let index = self.index(id);
        if let Some(slot) = self.slots.get_mut(index)
            && slot.as_ref().is_some_and(|cell| cell.id == id)
        {
            *slot = None;
        }
    }

    fn ids(&self) -> Vec<EntityId> {
        self.slots.iter().flatten().map(|cell| cell.id).collect()
    }

    fn blocked(&self) -> bool {
        false
    }
}
