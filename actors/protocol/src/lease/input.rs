//! What happens to the table.

use std::sync::Arc;

use super::{Claimant, Fencing, Priority, Reply, Request, RequestId, Token, Wanted};
use crate::{EntityId, Recovery, UserId, time::Timestamp};

/// A token that somebody shows for an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The object.
    pub object: EntityId,
    /// The token.
    pub token: Token,
    /// The metaverse system's actor that shows it.
    pub system: EntityId,
    /// For whom.
    pub user: UserId,
}

/// A wish to have an object from some moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// The metaverse system's actor that asks.
    pub system: EntityId,
    /// For whom.
    pub who: Arc<Claimant>,
    /// What.
    pub wanted: Wanted,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How long the lease lasts without a renewal, in milliseconds.
    pub ttl_ms: u32,
}

/// One thing that happens. Those that somebody waits on carry a [`Reply`], and get one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody wants an object, or a set of them (FGMV-28 7.1.3 step 7).
    Request(Request, Reply),
    /// Several want one object at once: decided together, in the order of their priorities (FGMV-28 7.1.3 steps 6 to 11).
    Batch(Vec<(Request, Reply)>),
    /// A requester wants it no more.
    Cancel {
        /// Its metaverse system's actor.
        system: EntityId,
        /// Its id of the request.
        id: RequestId,
        /// Who waits.
        reply: Reply,
    },
    /// A holder wants to keep the lease.
    Renew {
        /// The token it shows.
        shown: Shown,
        /// For how long from now on, in milliseconds.
        ttl_ms: u32,
        /// Who waits.
        reply: Reply,
    },
    /// A holder gives the objects of its lease back.
    Release {
        /// The token it shows.
        shown: Shown,
        /// Who waits.
        reply: Reply,
    },
    /// A holder who was asked to yield answers.
    Yield {
        /// The token it shows.
        shown: Shown,
        /// Whether it yields.
        yields: bool,
        /// Who waits.
        reply: Reply,
    },
    /// A metaverse system is there: all its leases are renewed, each for as long as it was asked for.
    KeepAlive {
        /// Its actor.
        system: EntityId,
        /// Who waits.
        reply: Reply,
    },
    /// A requester knows nothing any more of what it asked for: its leases are given back, and its requests withdrawn.
    Abandon {
        /// Its actor.
        system: EntityId,
    },
    /// A gate has fenced.
    Fenced {
        /// The object.
        object: EntityId,
        /// At which token.
        token: Token,
        /// The life of the gate.
        incarnation: u32,
        /// How it knows that nothing older can act.
        fencing: Fencing,
        /// The highest token that the device had seen before this life of the gate sent it any; [`Token::NONE`] if it
        /// does not tell. One that is not below the newest token was given before a backup was restored.
        seen_before: Token,
    },
    /// A gate began a new life: it accepts nothing until it is fenced.
    GateStarted {
        /// The object.
        object: EntityId,
        /// The life of the gate.
        incarnation: u32,
    },
    /// The rules give a request, a lease or a reservation another priority on an object (FGMV-28 REQ-DT-08).
    Weigh {
        /// The object.
        object: EntityId,
        /// The number of the request, or of the reservation, also after it began.
        arrival: u64,
        /// Its priority now.
        priority: Priority,
    },
    /// The user of a request or a lease may not have the object any more (FGMV-29 8.3.5): who waits leaves, who holds it is
    /// revoked with its grace, and what is reserved is dropped.
    Deny {
        /// The object.
        object: EntityId,
        /// The number of the request, or of the reservation, also after it began.
        arrival: u64,
    },
    /// Somebody wants an object for later.
    Reserve(Booking, Reply),
    /// A reservation is wanted no more.
    Unreserve {
        /// The object.
        object: EntityId,
        /// The reservation's number.
        id: u64,
        /// The metaverse system's actor that made it; none: an operator.
        system: Option<EntityId>,
        /// Who waits.
        reply: Reply,
    },
    /// An operator takes an object back.
    Revoke {
        /// The object.
        object: EntityId,
        /// Whether the holder has its grace.
        grace: bool,
        /// Who waits.
        reply: Reply,
    },
    /// Nothing stands for an object any more: who waits for it leaves, reservations of it are dropped, and its lease ends
    /// without grace. Answered when its gate is closed.
    Retire {
        /// The object.
        object: EntityId,
        /// Who waits.
        reply: Reply,
    },
    /// The gate of an object that was retired is closed, and its actor ends: the table forgets the object.
    Forget {
        /// The object.
        object: EntityId,
    },
    /// An operator says that the gate's device was seen to be at rest or replaced: nothing has to be waited for.
    ReplaceGate {
        /// The object.
        object: EntityId,
        /// Who waits.
        reply: Reply,
    },
    /// The supervisor began a life: its records are replayed.
    Recover(Recovery),
    /// Time has passed.
    Tick,
}
