//! What is outside the actors of a world: callers, and simulated external systems that answer.

use twinway_protocol::{
    Answers, Ask, EntityId, EventId, Mailbox, Meta, PendingKey, Ref, Step, StepId, Tell, WireSet, time::Now,
};

use crate::world::CALLER;

/// A question of a caller that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub(crate) u64);

impl CallId {
    /// The key that travels with the question.
    #[must_use]
    pub fn key(self) -> PendingKey {
        PendingKey::from_bits(self.0)
    }
}

/// The outside of a world: whoever asks its entities, hears their signals, and answers for external systems. What it
/// does must depend on what it was told alone, so that the same schedule gives the same run.
pub trait Outside<W: WireSet> {
    /// The world has just begun.
    fn begin(&mut self, hands: &mut Hands<W>);
    /// An entity hands something over.
    fn signal(&mut self, entity: EntityId, signal: W::Signal, hands: &mut Hands<W>);
    /// A question is answered.
    fn answer(&mut self, call: CallId, answer: W, hands: &mut Hands<W>);
    /// A question will never be answered: it was lost on its way, or the world crashed.
    fn lost(&mut self, _call: CallId, _hands: &mut Hands<W>) {}
    /// The world has started again after a crash, and every entity has recovered.
    fn restarted(&mut self, _hands: &mut Hands<W>) {}
    /// The world is at rest and could end; what is sent now goes on with it.
    fn at_rest(&mut self, _hands: &mut Hands<W>) {}
    /// What it still waits for, when a run without faults has come to its end: that is wrong then.
    fn waits_for(&self) -> Option<String> {
        None
    }
}

/// What the outside does.
pub(crate) enum Deed<W> {
    Spawn(EntityId),
    Send(Meta, W, Option<Box<W>>),
    Took(StepId),
    Violated(String),
}

/// How the outside acts on the world: in the order of its calls, when it has returned.
pub struct Hands<W: WireSet> {
    pub(crate) deeds: Vec<Deed<W>>,
    pub(crate) now: Now,
    pub(crate) calls: u64,
    pub(crate) faults: bool,
    /// Whether messages may come twice.
    pub(crate) copies: bool,
    /// Whether some timer is still to run out.
    pub(crate) time_can_pass: bool,
}

impl<W: WireSet> std::fmt::Debug for Hands<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands").field("now", &self.now).field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl<W: WireSet> Hands<W> {
    pub(crate) fn new() -> Self {
        Self { deeds: Vec::new(), now: Now::default(), calls: 0, faults: false, copies: false, time_can_pass: false }
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// Whether this run may have faults, so that a failed call is to be made again and not wrong.
    #[must_use]
    pub fn may_fail(&self) -> bool {
        self.faults
    }

    /// Whether some timer is still to run out: then time passes when nobody does anything, and the world comes to rest again.
    #[must_use]
    pub fn time_can_pass(&self) -> bool {
        self.time_can_pass
    }

    /// Makes the entity at `to`, unless it is there.
    pub fn spawn<M: Mailbox<Wire = W>>(&mut self, to: Ref<M>) {
        self.deeds.push(Deed::Spawn(to.id()));
    }

    /// Asks an entity something; the answer comes to [`Outside::answer`].
    pub fn ask<M, T>(&mut self, to: Ref<M>, question: T) -> CallId
    where
        M: Mailbox<Wire = W> + From<T>,
        T: Ask<Answer: Answers<W>> + Clone,
    {
        self.calls += 1;
        let call = CallId(self.calls);
        self.send(to, question, call.key());
        call
    }

    /// Tells an entity something.
    pub fn tell<M, T>(&mut self, to: Ref<M>, message: T)
    where
        M: Mailbox<Wire = W> + From<T>,
        T: Tell + Clone,
    {
        self.send(to, message, PendingKey::NONE);
    }

    fn send<M, T>(&mut self, to: Ref<M>, message: T, pending: PendingKey)
    where
        M: Mailbox<Wire = W> + From<T>,
        T: Step + Clone,
    {
        let copy = self.copies.then(|| Box::new(M::from(message.clone()).into_wire()));
        // As in the runtime, what comes from outside has no cause inside.
        let meta = Meta { from: CALLER, to: to.id(), cause: EventId::NONE, pending, step: T::STEP };
        self.deeds.push(Deed::Send(meta, M::from(message).into_wire(), copy));
    }

    /// Takes a step of a flow that happens outside the actors: an event of the trace, after all that the outside has
    /// heard until now. What the outside sends from then on comes after it.
    pub fn took(&mut self, step: StepId) {
        self.deeds.push(Deed::Took(step));
    }

    /// What the outside saw is wrong.
    pub fn violated(&mut self, what: impl Into<String>) {
        self.deeds.push(Deed::Violated(what.into()));
    }
}
