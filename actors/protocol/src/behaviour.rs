//! What an entity is to its runtime: a [`Behaviour`] that takes one message a turn and says what follows.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::{EntityId, EventId, PendingKey, Problem, Ref, StepId, time::Now};

/// A message type of a flow, or one that only helps (no step).
pub trait Step: Send + 'static {
    /// The step of the operation flows that a delivery of this type is, if it is one.
    const STEP: Option<StepId>;
    /// The type's name as it stands in flow files and traces.
    const NAME: &'static str;
    /// The lane it takes in an inbox.
    const LANE: Lane = Lane::Data;
    /// Whether it turns down all that was asked, although it is no problem: an answer to several at once that grants
    /// nobody anything. Traces tell it as a refusal.
    fn is_refusal(&self) -> bool {
        false
    }
}

/// A message that is told and needs no answer.
pub trait Tell: Step {}

/// A message that is asked. Its answer is `Ok(Answer)` or the problem that stood in the way.
pub trait Ask: Step {
    /// What is answered when all went well.
    type Answer: Step;
    /// The step that an answer is: the answer's own, if the question is one.
    #[must_use]
    fn answered() -> Option<StepId> {
        Self::STEP.and(Self::Answer::STEP)
    }
    /// The step that an answer with `problem` is. Without a rejecting branch in the flow: as if nothing stood in the way.
    #[must_use]
    fn refused(_problem: &Problem) -> Option<StepId> {
        Self::answered()
    }
}

/// Which lane of an inbox a message takes. Control goes first: grants, revocations, fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Ordinary messages, first in, first out.
    Data,
    /// What must not wait behind a flood.
    Control,
}

/// The closed set of mailboxes of one system: what links, simulator and journal carry.
pub trait WireSet: std::fmt::Debug + Send + Sized + 'static {
    /// What leaves the actors for readers and the outside, once it is durable.
    type Signal: std::fmt::Debug + Send + 'static;
    /// The kind of mailbox that this message is for.
    fn kind(&self) -> u8;
    /// The name of a kind, for logs and traces.
    fn kind_name(kind: u8) -> &'static str;
    /// The step and the name of the message inside.
    fn describe(&self) -> (Option<StepId>, &'static str);
    /// How to refuse the message inside, if it is a question.
    fn refusal(&self) -> Option<Refusal<Self>>;
    /// The lane that the message inside takes.
    fn lane(&self) -> Lane;
}

/// Makes the refusing answer to a question, for the asker of the given kind.
pub type Refusal<W> = fn(asker_kind: u8, Problem) -> Option<W>;

/// All that one entity accepts: an enum with a variant a message type, made by [`mailboxes!`](crate::mailboxes).
pub trait Mailbox: Send + Sized + 'static {
    /// The system that this mailbox belongs to.
    type Wire: WireSet;
    /// The number of this mailbox in its system.
    const KIND: u8;
    /// Packs the message for a link.
    fn into_wire(self) -> Self::Wire;
    /// Unpacks a message of this mailbox.
    ///
    /// # Errors
    /// Gives the message back when it is for another mailbox.
    fn from_wire(wire: Self::Wire) -> Result<Self, Self::Wire>;
    /// The step and the name of the message inside.
    fn describe(&self) -> (Option<StepId>, &'static str);
    /// How to refuse the message, if it is a question.
    fn refusal(&self) -> Option<Refusal<Self::Wire>>;
    /// The lane that the message takes.
    fn lane(&self) -> Lane;
}

/// An answer that mailboxes of `W` can hear.
pub trait Answers<W>: Step {
    /// Packs the answer for an asker of `kind`; `None` if that kind cannot hear it.
    fn answer(answer: Result<Self, Problem>, kind: u8) -> Option<W>
    where
        Self: Sized;
    /// Unpacks the answer, if that is what the message is.
    fn heard(wire: W) -> Option<Result<Self, Problem>>
    where
        Self: Sized;
}

/// What travels with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Who sent it.
    pub from: EntityId,
    /// Whom it is for.
    pub to: EntityId,
    /// The turn that sent it.
    pub cause: EventId,
    /// With a question, the asker's key; with an answer, the receiver's; otherwise [`PendingKey::NONE`].
    pub pending: PendingKey,
    /// The step that this delivery is.
    pub step: Option<StepId>,
}

impl Meta {
    /// Whom to answer, for a question of type `T` that came with this in turn `event`.
    pub fn asker<T: Ask>(&self, event: EventId) -> Asker<T> {
        let beside = self.step.is_none();
        Asker { to: self.from, pending: self.pending, asked_in: event, beside, question: PhantomData }
    }
}

/// A message as an entity receives it.
#[derive(Debug)]
pub struct Envelope<M> {
    /// What travels with it.
    pub meta: Meta,
    /// The message.
    pub message: M,
}

/// The right to answer one question of type `T` once: it is moved into the answer.
#[must_use = "a question that is not answered leaves its asker waiting"]
pub struct Asker<T> {
    to: EntityId,
    pending: PendingKey,
    asked_in: EventId,
    /// The question was no step, and so is no answer to it.
    beside: bool,
    question: PhantomData<fn(T)>,
}

impl<T> Asker<T> {
    /// Who asked.
    #[must_use]
    pub fn id(&self) -> EntityId {
        self.to
    }
}

impl<T> std::fmt::Debug for Asker<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}?{:?}", self.to, self.pending)
    }
}

/// Why an entity's records were replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The system started; every entity recovers.
    Start,
    /// This entity panicked, or a turn of it could not be written down. The others go on.
    Failure,
}

/// A functional entity, a digital twin or an external system.
///
/// A behaviour is pure: what it does depends on its state, the message and the [`Out`] alone. It never waits
/// inside a turn; what it needs an answer for, it keeps in a [`Pending`](crate::Pending) table.
pub trait Behaviour: Sized + 'static {
    /// The system it lives in.
    type Wire: WireSet;
    /// What it accepts.
    type Msg: Mailbox<Wire = Self::Wire>;
    /// What it writes down to be there again after a crash. Externally tagged and only ever appended to.
    type Record: std::fmt::Debug + Serialize + DeserializeOwned + 'static;
    /// Limits and options, the same for all entities of this type.
    type Settings: Clone + Send + Sync + 'static;

    /// The entity before its first message and before its records are replayed. `incarnation` differs from life
    /// to life: a [`Pending`](crate::Pending) table begins with it, so that nothing of an earlier life is taken
    /// for an answer of this one.
    fn new(id: EntityId, settings: &Self::Settings, incarnation: u32) -> Self;
    /// One turn.
    fn handle(&mut self, envelope: Envelope<Self::Msg>, out: &mut Out<'_, Self>);
    /// A timer that [`Out::timer`] set has run out.
    fn timeout(&mut self, _key: PendingKey, _out: &mut Out<'_, Self>) {}
    /// Takes a record over into the state: after a restart, and by the turn that wrote it.
    fn replay(&mut self, record: Self::Record);
    /// The records from which [`Behaviour::replay`] makes the same state of `part` again.
    fn snapshot(&self, part: u64, into: &mut Vec<Self::Record>);
    /// All records are replayed: the place to tell others what they derive from this entity, and to ask for
    /// what it derives from others.
    fn recovered(&mut self, _why: Recovery, _out: &mut Out<'_, Self>) {}
}

/// What a turn asks of its runtime, in the order in which it asked.
#[derive(Debug)]
pub enum Effect<W: WireSet> {
    /// Deliver a message.
    Send {
        /// The message, until the runtime takes it out.
        wire: Option<W>,
        /// Its sender, receiver, cause, key and step.
        meta: Meta,
    },
    /// Call [`Behaviour::timeout`] with `key` after `after_ms` milliseconds.
    Timer {
        /// Milliseconds from this turn on.
        after_ms: u64,
        /// What the timer is for.
        key: PendingKey,
    },
    /// Make the entity with this address, unless it exists.
    Spawn(EntityId),
    /// Take a step of a flow without a message.
    Own(StepId),
    /// Hand something to readers or to the outside.
    Signal(W::Signal),
    /// End this entity; its records are forgotten.
    Stop,
}

/// What came of a turn.
pub struct Turn<B: Behaviour> {
    /// What is to be written down: the part of the state it belongs to, and the record.
    pub records: Vec<(u64, B::Record)>,
    /// Whether what follows may leave before the records are durable ([`Out::record_batched`]).
    pub batched: bool,
    /// What follows, held back until the records are durable.
    pub effects: Vec<Effect<B::Wire>>,
    /// Events besides the message's cause that led to this turn.
    pub joined: Vec<EventId>,
}

impl<B: Behaviour> std::fmt::Debug for Turn<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("records", &self.records).field("effects", &self.effects).finish_non_exhaustive()
    }
}

impl<B: Behaviour> Default for Turn<B> {
    fn default() -> Self {
        Self { records: Vec::new(), batched: true, effects: Vec::new(), joined: Vec::new() }
    }
}

impl<B: Behaviour> Turn<B> {
    /// Makes the turn empty and keeps its memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.effects.clear();
        self.joined.clear();
        self.batched = true;
    }
}

/// A turn under way: how a behaviour says what follows.
pub struct Out<'t, B: Behaviour> {
    turn: &'t mut Turn<B>,
    me: EntityId,
    event: EventId,
    now: Now,
    chance: u64,
}

impl<B: Behaviour> std::fmt::Debug for Out<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Out").field("me", &self.me).field("event", &self.event).finish_non_exhaustive()
    }
}

impl<'t, B: Behaviour> Out<'t, B> {
    /// A turn of `me` that is event `event` of its trace. `chance` seeds [`Out::chance`].
    pub fn new(turn: &'t mut Turn<B>, me: EntityId, event: EventId, now: Now, chance: u64) -> Self {
        Self { turn, me, event, now, chance }
    }

    /// The entity whose turn it is.
    #[must_use]
    pub fn me(&self) -> EntityId {
        self.me
    }

    /// The event that this turn is.
    #[must_use]
    pub fn event(&self) -> EventId {
        self.event
    }

    /// Both clocks, the same throughout the turn.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// A number that nobody can foretell in production and that a seed repeats in a simulation.
    pub fn chance(&mut self) -> u64 {
        // SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[inline]
    fn push_send(&mut self, to: EntityId, wire: B::Wire, pending: PendingKey, step: Option<StepId>) {
        let meta = Meta { from: self.me, to, cause: self.event, pending, step };
        self.turn.effects.push(Effect::Send { wire: Some(wire), meta });
    }

    /// Tells `to` something.
    #[inline]
    pub fn send<M, T>(&mut self, to: Ref<M>, message: T)
    where
        M: Mailbox<Wire = B::Wire> + From<T>,
        T: Tell,
    {
        self.push_send(to.id(), M::from(message).into_wire(), PendingKey::NONE, T::STEP);
    }

    /// The same, where this message is not the step that its type usually is.
    pub fn send_beside<M, T>(&mut self, to: Ref<M>, message: T)
    where
        M: Mailbox<Wire = B::Wire> + From<T>,
        T: Tell,
    {
        self.push_send(to.id(), M::from(message).into_wire(), PendingKey::NONE, None);
    }

    /// Asks `to` something; the answer comes as a message of its own with the key `pending`.
    pub fn ask<M, T>(&mut self, to: Ref<M>, question: T, pending: PendingKey)
    where
        M: Mailbox<Wire = B::Wire> + From<T>,
        T: Ask,
        B::Msg: From<Result<T::Answer, Problem>>,
    {
        self.push_send(to.id(), M::from(question).into_wire(), pending, T::STEP);
    }

    /// The same, where this question is not the step that its type usually is, and its answer is none either.
    pub fn ask_beside<M, T>(&mut self, to: Ref<M>, question: T, pending: PendingKey)
    where
        M: Mailbox<Wire = B::Wire> + From<T>,
        T: Ask,
        B::Msg: From<Result<T::Answer, Problem>>,
    {
        self.push_send(to.id(), M::from(question).into_wire(), pending, None);
    }

    /// Answers a question, now or in any later turn.
    pub fn reply<T>(&mut self, asker: Asker<T>, answer: Result<T::Answer, Problem>)
    where
        T: Ask,
        T::Answer: Answers<B::Wire>,
    {
        // The turn that took the question is a cause of the answer, whichever turn answers.
        self.join(asker.asked_in);
        let step = match &answer {
            _ if asker.beside => None,
            Ok(_) => T::answered(),
            Err(problem) => T::refused(problem),
        };
        if let Some(wire) = T::Answer::answer(answer, asker.to.kind()) {
            self.push_send(asker.to, wire, asker.pending, step);
        }
    }

    /// Names an earlier event that led to this turn, besides the message: the other half of a wait.
    pub fn join(&mut self, earlier: EventId) {
        if earlier != self.event && earlier != EventId::NONE && !self.turn.joined.contains(&earlier) {
            self.turn.joined.push(earlier);
        }
    }

    /// Takes a step that the entity does by itself: an event once this turn is durable.
    pub fn own(&mut self, step: StepId) {
        self.turn.effects.push(Effect::Own(step));
    }

    /// Writes a record of `part` down. All that follows from this turn waits until it is durable.
    ///
    /// A part is a slice of the state that no other part's records touch; an entity with one slice uses 0.
    pub fn record(&mut self, part: u64, record: B::Record) {
        self.turn.batched = false;
        self.turn.records.push((part, record));
    }

    /// Writes a record down that may be lost with the last moments before a crash, as long as the runtime's
    /// loss window says; with a window of zero it is [`Out::record`].
    pub fn record_batched(&mut self, part: u64, record: B::Record) {
        self.turn.records.push((part, record));
    }

    /// Has [`Behaviour::timeout`] called with `key` after `after_ms` milliseconds, however late.
    pub fn timer(&mut self, after_ms: u64, key: PendingKey) {
        self.turn.effects.push(Effect::Timer { after_ms, key });
    }

    /// Makes the entity at `to`, before anything is sent to it. Nothing happens if it exists.
    pub fn spawn<M: Mailbox<Wire = B::Wire>>(&mut self, to: Ref<M>) {
        self.turn.effects.push(Effect::Spawn(to.id()));
    }

    /// Hands something to readers or to the outside.
    pub fn signal(&mut self, signal: <B::Wire as WireSet>::Signal) {
        self.turn.effects.push(Effect::Signal(signal));
    }

    /// Ends this entity after this turn; its records are forgotten.
    pub fn stop(&mut self) {
        self.turn.effects.push(Effect::Stop);
    }
}
