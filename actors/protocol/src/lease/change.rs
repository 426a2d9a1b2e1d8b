//! What the table says: what is to be written down, what follows, and what askers hear.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Claimant, Grant, Manner, Objects, Priority, RequestId, Reservation, Token};
use crate::{EntityId, time::Timestamp};

/// Why a request or a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// The holder gave the object back.
    Released,
    /// The holder was asked for it, and yielded.
    Yielded,
    /// The lease was not renewed in time.
    Expired,
    /// A higher priority took it.
    Preempted,
    /// An operator took it back.
    Revoked,
    /// The gate did not answer.
    GateSilent,
    /// The object was not free, and the requester would not wait.
    Held,
    /// The object is quarantined, and the requester would not wait.
    Quarantined,
    /// The requester waited as long as it had said.
    WaitOver,
    /// The requester wants it no more.
    Cancelled,
    /// The holder was asked for it, and declined.
    Declined,
    /// A higher priority came before the grant was finished, and the requester would not wait.
    Displaced,
    /// Its user may not have the object any more.
    Denied,
    /// Nothing stands for the object any more: its twin system was deregistered, or lists it no more.
    Retired,
}

impl End {
    /// Whether the holder did not let go by itself: the device is brought to a safe stop then.
    #[must_use]
    pub fn is_forced(self) -> bool {
        matches!(self, Self::Expired | Self::Preempted | Self::Revoked | Self::GateSilent | Self::Retired)
    }
}

/// A request as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// Its number, which no other request has.
    pub arrival: u64,
    /// Its place among waiters of one priority.
    pub order: u64,
    /// The actor of the metaverse system that asked.
    pub system: EntityId,
    /// The requester's id of it.
    pub id: Option<RequestId>,
    /// Who asked.
    pub who: Arc<Claimant>,
    /// For what.
    pub objects: Objects,
    /// How long the lease lasts without a renewal, in milliseconds.
    pub ttl_ms: u32,
    /// How long the requester waits, in milliseconds.
    pub wait_ms: u32,
    /// Until when it waits, by the wall clock.
    pub wait_until: Timestamp,
    /// How it wants to be treated.
    pub manner: Manner,
    /// If it came of a reservation: until when that is.
    pub reserved_until: Option<Timestamp>,
}

/// The request that a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimRef {
    /// An earlier record of this object has it, by its number.
    Known(u64),
    /// This record is the first to speak of it.
    New(Box<ClaimRecord>),
}

/// A lease that a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// The number of its request.
    pub arrival: u64,
    /// Why.
    pub end: End,
    /// It waits again, at this place.
    pub back: Option<u64>,
    /// The device is to be brought to a safe stop before anybody else has it.
    pub stop: bool,
}

/// Something durable that happened to one object: replaying them in order gives the same state again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The supervisor began an epoch. Of no object.
    Epoch(u64),
    /// A request waits.
    Queued(Box<ClaimRecord>),
    /// A request waits no more, and got nothing.
    Left {
        /// Which.
        claim: ClaimRef,
        /// Why.
        end: End,
    },
    /// A request is granted, and with it an earlier lease may end.
    Granted {
        /// Which.
        claim: ClaimRef,
        /// The lease's token.
        token: Token,
        /// The lease that ended.
        over: Option<Over>,
    },
    /// The holder, or nobody, has a new token: the supervisor or the gate began a new life.
    Refenced {
        /// The new one.
        token: Token,
    },
    /// The holder is being revoked.
    Revoking {
        /// The number of the request for which; none: an operator or a reservation.
        by: Option<u64>,
    },
    /// The revocation is withdrawn.
    Withdrawn,
    /// The lease ended, and nobody has the object.
    Ended {
        /// The lease.
        over: Over,
        /// The token that closes the gate.
        token: Token,
    },
    /// A request or a reservation has another priority.
    Weighed {
        /// Its number.
        arrival: u64,
        /// What it weighs on this object now.
        priority: Priority,
    },
    /// The gate did not answer; a lease may have ended with it.
    Quarantined {
        /// The token that the gate has to answer.
        token: Token,
        /// The lease that ended.
        over: Option<Over>,
    },
    /// The gate has answered, or an operator has replaced it.
    Unquarantined,
    /// The object is kept for somebody.
    Reserved(Box<Reservation>),
    /// It is no more.
    Unreserved {
        /// The reservation's number.
        id: u64,
    },
    /// In a snapshot: a request that ended, whose id is still known.
    Remembered {
        /// The request.
        claim: Box<ClaimRecord>,
        /// How it ended.
        end: End,
    },
    /// In a snapshot: the newest token, the one of the lease before, and whether a safe stop is owed.
    Stands {
        /// The newest token.
        token: Token,
        /// That of the last lease which ended.
        previous: Token,
        /// How that one ended.
        end: End,
        /// Whether a safe stop is owed.
        stop: bool,
        /// The last number of a request so far: those that the snapshot leaves out are not given again.
        arrivals: u64,
    },
    /// Nothing stands for the object any more, and nothing of it is left.
    Retired,
    /// A request that waits has another place in line: the one that its user had reserved.
    MovedUp(Box<ClaimRecord>),
}

/// Who asked the table something: the supervisor's key, which the table gives back.
pub type Reply = u64;

/// What stood in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who holds the object, or is about to.
    pub who: Arc<Claimant>,
    /// At which priority.
    pub priority: Priority,
    /// With which token.
    pub token: Token,
    /// In how many milliseconds the lease ends unless it is renewed.
    pub expires_in_ms: Option<u64>,
}

/// Why the table did not do what it was asked. The state did not change, unless the request had waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The request or lease has ended, for this reason; and who has the object now.
    Ended(End, Option<Box<Conflict>>),
    /// The lease lasts longer than `lease_ttl_ms_max`, or no time at all.
    Ttl,
    /// The wait is longer than `lease_wait_ms_max`.
    Wait,
    /// No object, more than `lease_set_objects_max`, or one of them twice.
    Set,
    /// `lease_queue_max` requests wait for the object.
    QueueFull,
    /// `lease_claims_max` requests and leases are there.
    ClaimsFull,
    /// The request's id was used for another request.
    IdReused,
    /// The same request came again: its answer goes there.
    Superseded,
    /// Nobody was ever given this token.
    TokenUnknown,
    /// The token is of another epoch: the supervisor began a new life since. The holder's own new token, if it is one.
    TokenStale(Option<Token>),
    /// The token is of another object.
    TokenForeign,
    /// The lease is somebody else's.
    NotYours,
    /// The lease is being revoked: it can be released, not renewed. How long it lasts, in milliseconds.
    Revoking(u64),
    /// No such request waits, no such reservation stands, or nobody holds the object.
    Unknown,
    /// The window is over, ends before it begins, is too far ahead, or `lease_reservations_max` stand.
    Window,
    /// Somebody not lower has reserved the object for a part of that time.
    Taken(Box<Reservation>),
    /// Nobody who waits has asked the holder to yield.
    NotAsked,
}

/// What an asker hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It holds what it asked for; or its lease was renewed.
    Granted(Grant),
    /// It is done: released, cancelled, revoked, answered.
    Settled,
    /// So many leases were renewed.
    Kept(u32),
    /// The reservation's number.
    Reserved(u64),
}

/// What a requester is told without having asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It holds what it waited for, or has a new token for what it held.
    Granted(Grant),
    /// It is being revoked: by whom, and in how many milliseconds. Until then it may release, and safely stop.
    Revoking {
        /// By whom; none: an operator.
        by: Option<Arc<Claimant>>,
        /// At which priority.
        priority: Priority,
        /// When it ends, in milliseconds from now.
        in_ms: u64,
    },
    /// The revocation is withdrawn; it holds the objects as before.
    Withdrawn(Grant),
    /// It lost the objects.
    Lost {
        /// Its token, which is worth nothing now.
        token: Token,
        /// Why.
        end: End,
        /// It waits again, as it had wished.
        requeued: bool,
    },
    /// It waits no more.
    Left(End),
    /// Somebody asks it to yield.
    Asked {
        /// Who.
        by: Arc<Claimant>,
        /// At which priority.
        priority: Priority,
    },
    /// Its reservation is gone: a higher one took its place.
    Unreserved(u64),
    /// Its reservation is gone, for another reason.
    Dropped {
        /// The reservation's number.
        id: u64,
        /// Why.
        end: End,
    },
}

/// What the supervisor is to do, in this order. Everything but [`Effect::Record`] waits until the records are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write down what happened to an object; none: to the whole table.
    Record(Option<EntityId>, Change),
    /// Have the gate accept nothing below `token`, and `token` only from `to`.
    Fence {
        /// The object.
        object: EntityId,
        /// The token.
        token: Token,
        /// Who may use it; none: nobody.
        to: Option<Arc<Claimant>>,
        /// What the holder weighs.
        priority: Priority,
        /// How long from its opening on the gate accepts it, in milliseconds.
        ttl_ms: u64,
        /// Bring the device to a safe stop first.
        stop: bool,
        /// The gate was replaced: nothing is under way that has to be waited for.
        replaced: bool,
        /// Open for the safe stop only: the holder is being revoked. A restriction of its own could come after the
        /// holder's first command with this token.
        restricted: bool,
    },
    /// Have the gate accept the safe stop only, or everything again.
    Restrict {
        /// The object.
        object: EntityId,
        /// The holder's token.
        token: Token,
        /// Whether only the safe stop is accepted.
        restricted: bool,
    },
    /// Have the gate say of the holder that it weighs this now.
    Weigh {
        /// The object.
        object: EntityId,
        /// The holder's token.
        token: Token,
        /// What the holder weighs.
        priority: Priority,
    },
    /// Have the gate accept the token for so long. What is answered in this step waits for the gates.
    Extend {
        /// The object.
        object: EntityId,
        /// The holder's token.
        token: Token,
        /// How long from now on, in milliseconds.
        ttl_ms: u64,
    },
    /// Answer who asked.
    Answer(Reply, Result<Done, Refused>),
    /// Tell a requester something.
    Tell {
        /// Its metaverse system's actor.
        system: EntityId,
        /// Who.
        who: Arc<Claimant>,
        /// The requester's id of its request.
        id: Option<RequestId>,
        /// The objects.
        objects: Objects,
        /// What.
        notice: Notice,
    },
}
