//! Switches that take one check out of the protocol, so that the proof can be proven: with each of them some test
//! must fail. They exist with the feature `mutations` only; without it [`broken`] is a constant.

/// A check that can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// Invariant 1: an object is granted although somebody holds it.
    GrantWhileHeld,
    /// Invariant 2: the gate takes a fence with an older token.
    GateTakesOlderFence,
    /// Invariant 3: the supervisor does not begin a new epoch when it recovers.
    EpochStays,
    /// Invariant 3: the highest token that a device saw is not heeded.
    SeenTokenIgnored,
    /// Invariant 4: the requester is told before the gate has answered.
    ToldBeforeFenced,
    /// Invariant 4: what follows leaves before the records are durable.
    ToldBeforeDurable,
    /// Invariant 5: gates are not fenced again after a restart.
    NotFencedAfterRestart,
    /// Invariant 6: a higher request does not revoke.
    HigherWaitsForEver,
    /// Invariant 7: an equal request revokes.
    EqualEvicts,
    /// Invariant 8: waiters are served last in, first out.
    LastInFirstOut,
    /// Invariant 8: a waiter whose wait is over stays in line.
    DeadWaiterStays,
    /// Invariant 9: a repeated request id is a new request.
    IdsForgotten,
    /// Invariant 10: the gate accepts everything while the holder is revoked.
    RestrictionIgnored,
    /// Invariant 11: a priority that changes is not written down.
    WeightNotRecorded,
    /// Invariant 12: deadlines follow the wall clock.
    DeadlineByWallClock,
    /// Invariant 13: a request that is displaced is not answered.
    DisplacedUnanswered,
    /// Invariant 14: a release does not look at the queue.
    QueueForgotten,
    /// The gate does not look who shows the token.
    AnybodysToken,
    /// The gate answers a fence while commands of an older token are under way.
    FencedWhileUnderWay,
    /// The gate takes commands of any token.
    GateOpen,
}

impl Mutation {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::GrantWhileHeld,
        Self::GateTakesOlderFence,
        Self::EpochStays,
        Self::SeenTokenIgnored,
        Self::ToldBeforeFenced,
        Self::ToldBeforeDurable,
        Self::NotFencedAfterRestart,
        Self::HigherWaitsForEver,
        Self::EqualEvicts,
        Self::LastInFirstOut,
        Self::DeadWaiterStays,
        Self::IdsForgotten,
        Self::RestrictionIgnored,
        Self::WeightNotRecorded,
        Self::DeadlineByWallClock,
        Self::DisplacedUnanswered,
        Self::QueueForgotten,
        Self::AnybodysToken,
        Self::FencedWhileUnderWay,
        Self::GateOpen,
    ];
}

#[cfg(feature = "mutations")]
mod switch {
    use std::cell::Cell;

    use super::Mutation;

    thread_local! {
        static BROKEN: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Takes a check out on this thread, or puts all back.
    pub fn set(mutation: Option<Mutation>) {
        BROKEN.set(mutation);
    }

    /// Whether the check is taken out on this thread.
    #[must_use]
    pub fn broken(mutation: Mutation) -> bool {
        BROKEN.get() == Some(mutation)
    }
}

#[cfg(feature = "mutations")]
pub use switch::{broken, set};

/// Whether the check is taken out: never, in this build.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
#[must_use]
pub const fn broken(_mutation: Mutation) -> bool {
    false
}
