//! One physical object in the table.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    End, Reservation, Token,
    claim::{Key, NOBODY, Rank},
};
use crate::EntityId;

/// What few objects have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extra {
    /// By their numbers.
    pub(super) reservations: BTreeMap<u64, Reservation>,
    /// Those who wait for the gate to close beside the first, as the table keeps them.
    pub(super) closing: Vec<usize>,
    /// Claims in line that wait only as long as they win.
    pub(super) eager: Vec<Key>,
}

/// No claim has ended.
pub(super) const NEVER_ENDED: u64 = u64::MAX;

/// One physical object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) entity: EntityId,
    /// The newest token: the gate was, or is being, fenced at it.
    pub(super) token: Token,
    /// The token of the last lease that ended.
    pub(super) previous: Token,
    /// How that one ended.
    pub(super) previous_end: End,
    pub(super) holder: Key,
    /// Whether the gate has answered the newest token.
    pub(super) fenced: bool,
    pub(super) quarantined: bool,
    /// The device has not been brought to a safe stop yet since a lease was forced to end.
    pub(super) stop: bool,
    pub(super) incarnation: Option<u32>,
    /// When the gate has to have answered, or is asked again.
    pub(super) fence_due_ms: u64,
    pub(super) queue: BTreeSet<Rank>,
    /// Who waits for the gate to close, as the table keeps it: mostly one, and mostly nobody.
    pub(super) closing: Key,
    /// The last claim to end whose id was to be known for a while, by its number there.
    pub(super) last_ended: u64,
    pub(super) extra: Option<Box<Extra>>,
}

impl Object {
    /// An object that nobody ever had. Its gate is closed: a gate begins so.
    pub(super) fn new(entity: EntityId) -> Self {
        Self {
            entity,
            token: Token::NONE,
            previous: Token::NONE,
            previous_end: End::Released,
            holder: NOBODY,
            fenced: true,
            quarantined: false,
            stop: false,
            incarnation: None,
            fence_due_ms: u64::MAX,
            queue: BTreeSet::new(),
            closing: NOBODY,
            last_ended: NEVER_ENDED,
            extra: None,
        }
    }

    pub(super) fn head(&self) -> Option<Key> {
        self.queue.first().map(|rank| rank.key)
    }

    /// Claims in line that came of reservations. They go first in their priority: all requests of it are passed over at once.
    pub(super) fn reserved(&self) -> impl Iterator<Item = Key> {
        let mut from = Some(Rank::FIRST);
        std::iter::from_fn(move || {
            loop {
                let rank = *self.queue.range(from?..).next()?;
                if rank.is_reserved() {
                    from = Some(rank.next());
                    return Some(rank.key);
                }
                from = rank.lighter();
            }
        })
    }

    pub(super) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    pub(super) fn eager(&self) -> &[Key] {
        self.extra.as_ref().map_or(&[], |extra| &extra.eager)
    }

    pub(super) fn reservations(&self) -> impl Iterator<Item = &Reservation> {
        self.extra.iter().flat_map(|extra| extra.reservations.values())
    }
}
