//! Switches that take one check out of the protocol, so that the proof can be proven: with each of them some test
//! must fail. They exist with the feature `mutations` only; without it [`broken`] is a constant.

crate::mutations! {
    /// A check that can be taken out.
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
}
