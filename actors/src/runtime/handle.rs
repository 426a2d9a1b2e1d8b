//! How code outside the actors asks them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix_rt::ArbiterHandle;
use twinway_protocol::{
    Answers, Ask, EntityId, EventId, Mailbox, Meta, PendingKey, Problem, ProblemKind, Ref, Tell, WireSet,
};

use super::{
    book::{Shared, rejection_problem},
    callers::CALLER,
    clock,
};
use crate::port::journal::Condition;

/// A way to the actors of one system, for any thread and any async runtime.
#[derive(Debug)]
pub struct Handle<W: WireSet>(pub(super) Arc<Shared<W>>);

impl<W: WireSet> Clone for Handle<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Gives a caller's place up when the caller goes away before the answer comes.
struct Waiting<'h, W: WireSet>(&'h Shared<W>, PendingKey);

impl<W: WireSet> Drop for Waiting<'_, W> {
    fn drop(&mut self) {
        self.0.callers.give_up(self.1);
    }
}

impl<W: WireSet> Handle<W> {
    /// Asks `to` and waits for the answer, at most `within`. Needs a tokio runtime for the clock.
    ///
    /// # Errors
    /// What the entity answers; [`ProblemKind::Overloaded`] when its inbox is full or too many requests are under
    /// way, [`ProblemKind::ShuttingDown`] when the system ends: nothing was changed then. [`ProblemKind::ReadOnly`] when
    /// the journal has no room: it is written down when there is some. [`ProblemKind::Internal`]
    /// when no answer came in time, or the system ended or the journal was poisoned before: whether anything was
    /// changed is not known.
    pub async fn ask<M, T>(&self, to: Ref<M>, question: T, within: Duration) -> Result<T::Answer, Problem>
    where
        M: Mailbox<Wire = W> + From<T>,
        T: Ask,
        T::Answer: Answers<W>,
    {
        self.admit()?;
        let Some((pending, answer)) = self.0.callers.wait() else {
            let limit = self.0.options.requests_under_way_max;
            return Err(Problem::new(ProblemKind::Overloaded, format!("{limit} requests are under way already")));
        };
        let _waiting = Waiting(&self.0, pending);
        let meta = Meta { from: CALLER, to: to.id(), cause: EventId::NONE, pending, step: T::STEP };
        self.push(meta, M::from(question).into_wire())?;
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(wire)) => T::Answer::heard(wire).unwrap_or_else(|| {
                Err(Problem::new(ProblemKind::Internal, format!("the answer to {} was of another type", T::NAME)))
            }),
            Ok(Err(_dropped)) => {
                let ended = self.0.stopping.load(Ordering::Acquire);
                let before = if ended { "the daemon ended before" } else { "the journal failed before" };
                let detail = format!("{before} the answer was durable; whether anything was changed is not known");
                Err(Problem::new(ProblemKind::Internal, detail))
            }
            Err(_elapsed) => {
                let detail = format!("{} was not answered within {} ms", T::NAME, within.as_millis());
                Err(match self.0.journal.condition() {
                    Condition::ReadOnly { reason } => {
                        let detail = format!("{detail}: {reason}; it is written down when that is over");
                        Problem::new(ProblemKind::ReadOnly, detail)
                    }
                    _ => Problem::new(ProblemKind::Internal, detail),
                })
            }
        }
    }

    /// Tells `to`.
    ///
    /// # Errors
    /// [`ProblemKind::Overloaded`] when its inbox is full, [`ProblemKind::ShuttingDown`] when the system ends.
    pub fn tell<M, T>(&self, to: Ref<M>, message: T) -> Result<(), Problem>
    where
        M: Mailbox<Wire = W> + From<T>,
        T: Tell,
    {
        self.admit()?;
        let (cause, pending) = (EventId::NONE, PendingKey::NONE);
        let meta = Meta { from: CALLER, to: to.id(), cause, pending, step: T::STEP };
        self.push(meta, M::from(message).into_wire())
    }

    /// Makes an actor of `kind` in the next free slot. It is gone after a restart unless it writes something down.
    ///
    /// # Errors
    /// [`ProblemKind::ShuttingDown`] when the system ends, [`ProblemKind::Internal`] when there is no such kind.
    pub fn open(&self, kind: u8) -> Result<EntityId, Problem> {
        self.admit()?;
        let none = || Problem::new(ProblemKind::Internal, format!("there is no kind {kind} of actors"));
        self.0.spawn_next(kind).ok_or_else(none)
    }

    /// The threads that run the actors. Who asks them often does so best from there: question and answer are handed on
    /// within the thread then, and wake no other. What takes long there keeps actors waiting.
    #[must_use]
    pub fn arbiters(&self) -> &[ArbiterHandle] {
        self.0.arbiters.all()
    }

    /// How many requests from outside are under way.
    #[must_use]
    pub fn requests_under_way(&self) -> usize {
        self.0.callers.len()
    }

    /// How many messages reached nobody.
    #[must_use]
    pub fn dead_letters(&self) -> u64 {
        self.0.dead_letters.load(Ordering::Relaxed)
    }

    /// The entities that are out of service until the next start, each with why.
    #[must_use]
    pub fn quarantined(&self) -> Vec<(EntityId, String)> {
        self.0.quarantined.lock().clone()
    }

    fn admit(&self) -> Result<(), Problem> {
        if self.0.stopping.load(Ordering::Acquire) {
            Err(Problem::new(ProblemKind::ShuttingDown, "the daemon is shutting down"))
        } else {
            Ok(())
        }
    }

    fn push(&self, meta: Meta, wire: W) -> Result<(), Problem> {
        // Whoever asks may have kept an actors' thread busy until now.
        clock::outdated();
        self.0.push(&meta, &mut Some(wire), false).map_err(|rejection| rejection_problem::<W>(meta.to, rejection))
    }
}
