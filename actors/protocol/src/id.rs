//! Addresses of entities, of events and of pending questions: plain data that can be stored and sent.

use std::{cmp::Ordering, fmt, hash, marker::PhantomData};

use serde::{Deserialize, Serialize};

/// The address of one entity: its kind (8 bits), the generation of its slot (24 bits) and its slot (32 bits).
///
/// Addresses are given by the entity that keeps the register (so they are the same after a restart), and
/// mean nothing outside one daemon. A slot that is used again has a higher generation, so that an old
/// address reaches nobody instead of somebody else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntityId(u64);

impl EntityId {
    /// The largest generation; a slot that reached it is not used again.
    pub const GENERATION_MAX: u32 = 0x00ff_ffff;

    /// The address of slot `slot` of kind `kind`; of `generation` only the low 24 bits are kept.
    #[must_use]
    pub const fn new(kind: u8, generation: u32, slot: u32) -> Self {
        Self(((kind as u64) << 56) | (((generation & Self::GENERATION_MAX) as u64) << 32) | slot as u64)
    }

    /// The kind of mailbox behind this address, as numbered by its [`WireSet`](crate::WireSet).
    #[must_use]
    pub const fn kind(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// How often the slot had been given to somebody else before.
    #[must_use]
    pub const fn generation(self) -> u32 {
        ((self.0 >> 32) as u32) & Self::GENERATION_MAX
    }

    /// The slot, counted from 0 within the kind.
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// The address as one number, for keys in storage.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The address that [`EntityId::to_bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.slot())?;
        if self.generation() > 0 { write!(f, "~{}", self.generation()) } else { Ok(()) }
    }
}

/// The address of an entity whose mailbox is `M`: only what `M` accepts can be sent to it.
///
/// DTSR keeps a register, and tells it again to who asks for it:
///
/// ```
/// use twinway_protocol::{Behaviour, Out, message::{DTSR, Reannounce, Wire}};
/// fn ask_again<B: Behaviour<Wire = Wire>>(out: &mut Out<'_, B>) {
///     out.send(DTSR, Reannounce);
/// }
/// ```
///
/// DTSD keeps none, so the same with its address does not compile:
///
/// ```compile_fail,E0277
/// use twinway_protocol::{Behaviour, Out, message::{DTSD, Reannounce, Wire}};
/// fn ask_again<B: Behaviour<Wire = Wire>>(out: &mut Out<'_, B>) {
///     out.send(DTSD, Reannounce);
/// }
/// ```
///
/// Nor does a question whose answer the asker cannot hear. DTS hears what comes of a verification:
///
/// ```
/// use twinway_protocol::{Behaviour, Out, PendingKey, message::{DTAC, DtsMsg, VerifyChange, Wire}};
/// fn verify<B: Behaviour<Wire = Wire, Msg = DtsMsg>>(change: VerifyChange, key: PendingKey, out: &mut Out<'_, B>) {
///     out.ask(DTAC, change, key);
/// }
/// ```
///
/// TSI does not:
///
/// ```compile_fail,E0277
/// use twinway_protocol::{Behaviour, Out, PendingKey, message::{DTAC, TsiMsg, VerifyChange, Wire}};
/// fn verify<B: Behaviour<Wire = Wire, Msg = TsiMsg>>(change: VerifyChange, key: PendingKey, out: &mut Out<'_, B>) {
///     out.ask(DTAC, change, key);
/// }
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Ref<M>(EntityId, #[serde(skip)] PhantomData<fn(M)>);

impl<M> Ref<M> {
    /// Types an address. The caller vouches that the mailbox at `id` is `M`; a runtime that finds another
    /// kind there treats the message as a dead letter.
    #[must_use]
    pub const fn new(id: EntityId) -> Self {
        Self(id, PhantomData)
    }

    /// The address without its type.
    #[must_use]
    pub const fn id(self) -> EntityId {
        self.0
    }
}

impl<M> Clone for Ref<M> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<M> Copy for Ref<M> {}
impl<M> PartialEq for Ref<M> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<M> Eq for Ref<M> {}
impl<M> PartialOrd for Ref<M> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<M> Ord for Ref<M> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<M> hash::Hash for Ref<M> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<M> fmt::Debug for Ref<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One delivery or own step in a trace: the index of the actor that took the turn (24 bits) and that
/// actor's own count (40 bits), so that no two actors share a counter. Zero means "no event".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId(u64);

impl EventId {
    /// No event: the parent of what comes from outside.
    pub const NONE: Self = Self(0);
    const COUNT_BITS: u32 = 40;

    /// The `count`-th event of the actor with this index; `count` starts at 1.
    #[must_use]
    pub const fn new(actor: u32, count: u64) -> Self {
        Self(((actor as u64) << Self::COUNT_BITS) | (count & ((1 << Self::COUNT_BITS) - 1)))
    }

    /// The index of the actor that took the turn.
    #[must_use]
    pub const fn actor(self) -> u32 {
        (self.0 >> Self::COUNT_BITS) as u32
    }

    /// Its number among the actor's events.
    pub(crate) const fn count(self) -> u64 {
        self.0 & ((1 << Self::COUNT_BITS) - 1)
    }

    /// The next event of the same actor.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The id as one number.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The id that [`EventId::to_bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.actor(), self.count())
    }
}

/// The key of a question that still waits for its answer, with the generation of its slot: an answer that
/// comes twice, or after the question was given up, finds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PendingKey(u64);

impl PendingKey {
    /// No question: the key that a tell carries.
    pub const NONE: Self = Self(u64::MAX);

    pub(crate) const fn of(slot: u32, generation: u32) -> Self {
        Self(((generation as u64) << 32) | slot as u64)
    }

    pub(crate) const fn slot(self) -> usize {
        (self.0 as u32) as usize
    }

    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The key as one number, for a request id outside.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The key that [`PendingKey::to_bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}
