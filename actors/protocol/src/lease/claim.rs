//! A request as the table keeps it, and the lease that may come of it.

use std::sync::Arc;

use super::{
    ClaimRecord, ClaimRef, Claimant, End, Fencing, Grant, HolderClass, Manner, Objects, Priority, Reply, RequestId,
    Token,
};
use crate::{
    EntityId,
    time::{Now, Timestamp},
};

/// Where a claim is in the table.
pub(super) type Key = usize;
/// No claim.
pub(super) const NOBODY: Key = usize::MAX;

/// A place in line. Smaller goes first: the higher priority, then who came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Rank {
    lightness: Priority,
    order: u64,
    pub(super) key: Key,
}

impl Rank {
    /// No rank is before it.
    pub(super) const FIRST: Self = Self { lightness: 0, order: 0, key: 0 };

    /// Whether it is of what came of a reservation.
    pub(super) const fn is_reserved(self) -> bool {
        self.order & ORDER_OF_REQUESTS == 0
    }

    /// No rank lies between.
    pub(super) const fn next(self) -> Self {
        Self { key: self.key.saturating_add(1), ..self }
    }

    /// The first rank of a lower priority.
    pub(super) fn lighter(self) -> Option<Self> {
        self.lightness.checked_add(1).map(|lightness| Self { lightness, ..Self::FIRST })
    }
}

/// Orders of requests have this bit; those of reservations do not, and so go first in their priority.
pub(super) const ORDER_OF_REQUESTS: u64 = 1 << 63;

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) token: Token,
    /// The token with which it was granted.
    pub(super) first: Token,
    /// How many of its gates have not answered.
    pub(super) unfenced: usize,
    /// Whether its holder was told.
    pub(super) shown: bool,
    pub(super) since_ms: u64,
    pub(super) deadline_ms: u64,
    /// When a revocation can begin that its minimum hold delays.
    pub(super) revocable_ms: u64,
    /// When the grace of its revocation ends.
    pub(super) revoked_ms: Option<u64>,
    /// An operator or a reservation revokes it: nobody else's going withdraws that.
    pub(super) revoked_for_good: bool,
    pub(super) fencing: Fencing,
    /// The supervisor began a new life, and nobody has come back for it yet: its deadline may still be brought forward.
    pub(super) returning: bool,
    /// Its holder has not come back for its new token, though its system may have.
    pub(super) awaited: bool,
}

/// What became of a claim. One that ends leaves the table; only while records are replayed it stays, since it is told so
/// for each of its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Leased(Lease),
    Ended(End),
}

/// A request, waiting, leased or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) who: Arc<Claimant>,
    pub(super) objects: Objects,
    pub(super) system: EntityId,
    pub(super) id: Option<RequestId>,
    /// The hash of the id, as [`Ids::hash`](super::ids::Ids::hash) gives it.
    pub(super) id_hash: u32,
    pub(super) arrival: u64,
    pub(super) order: u64,
    pub(super) ttl_ms: u32,
    pub(super) wait_ms: u32,
    /// On the monotonic clock; 0: it does not wait.
    pub(super) wait_until_ms: u64,
    pub(super) manner: Manner,
    pub(super) priority: Priority,
    /// Whether a record speaks of it.
    pub(super) recorded: bool,
    pub(super) reply: Option<Reply>,
    pub(super) reserved_until: Option<Timestamp>,
    pub(super) state: State,
    /// Its neighbours among the leases of its system.
    pub(super) links: (Key, Key),
}

impl Claim {
    pub(super) fn rank(&self, key: Key) -> Rank {
        let order =
            if super::mutation::broken(super::mutation::Mutation::LastInFirstOut) { !self.order } else { self.order };
        Rank { lightness: Priority::MAX - self.priority, order, key }
    }

    pub(super) fn is_emergency(&self) -> bool {
        self.who.holder.class == HolderClass::Emergency
    }

    pub(super) fn is_reserved(&self) -> bool {
        self.order & ORDER_OF_REQUESTS == 0
    }

    /// Whether it is of this user of this system and world.
    pub(super) fn is_of(&self, system: EntityId, who: &Claimant) -> bool {
        self.system == system && self.who.holder == who.holder
    }

    /// Whether a request is of the same user of the same system and world, for the same objects.
    pub(super) fn is_like(&self, request: &super::Request) -> bool {
        let objects = request.objects.as_slice();
        self.is_of(request.system, &request.who)
            && self.objects.as_slice().len() == objects.len()
            && objects.iter().all(|wanted| self.objects.contains(wanted.object))
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        if let State::Leased(lease) = &self.state { Some(lease) } else { None }
    }

    pub(super) fn lease_mut(&mut self) -> Option<&mut Lease> {
        if let State::Leased(lease) = &mut self.state { Some(lease) } else { None }
    }

    /// Whether its requester knows that it has the objects.
    pub(super) fn is_shown(&self) -> bool {
        self.lease().is_some_and(|lease| lease.shown)
    }

    /// Whether this claim takes an object from `holder`: equals never do (FGMV-28 7.1.3.1), but a lease made after a
    /// reservation gives way to it.
    pub(super) fn outranks(&self, holder: &Self) -> bool {
        // Of a lease that is not shown, two equals would take turns for ever within one step.
        let bar = holder.is_shown() && super::mutation::broken(super::mutation::Mutation::EqualEvicts);
        self.priority > holder.priority
            || (bar && self.priority == holder.priority)
            || (self.is_reserved()
                && self.priority == holder.priority
                && !holder.is_reserved()
                && holder.order & !ORDER_OF_REQUESTS > self.order)
    }

    /// When it has to be looked at.
    pub(super) fn due_ms(&self) -> u64 {
        match &self.state {
            State::Waiting if self.wait_until_ms > 0 => self.wait_until_ms,
            State::Leased(lease) if lease.shown => {
                lease.deadline_ms.min(lease.revoked_ms.unwrap_or(u64::MAX)).min(lease.revocable_ms)
            }
            State::Waiting | State::Leased(_) | State::Ended(_) => u64::MAX,
        }
    }

    /// What its holder may hear: nothing until every gate has answered its token.
    pub(super) fn told_grant(&self, now: Now) -> Option<Grant> {
        self.lease().filter(|lease| lease.shown && lease.unfenced == 0)?;
        self.grant(now)
    }

    pub(super) fn grant(&self, now: Now) -> Option<Grant> {
        let lease = self.lease()?;
        let left = |until_ms: u64| until_ms.saturating_sub(now.monotonic_ms);
        Some(Grant {
            token: lease.token,
            priority: self.priority,
            // After a restart the time to come back begins when the gates have answered.
            expires_in_ms: if lease.deadline_ms == u64::MAX { 0 } else { left(lease.deadline_ms) },
            fencing: lease.fencing,
            revoked_in_ms: lease.revoked_ms.map(left),
        })
    }

    pub(super) fn record(&self, now: Now) -> ClaimRecord {
        ClaimRecord {
            arrival: self.arrival,
            order: self.order,
            system: self.system,
            id: self.id,
            who: Arc::clone(&self.who),
            objects: self.objects.clone(),
            ttl_ms: self.ttl_ms,
            wait_ms: self.wait_ms,
            wait_until: match self.wait_until_ms {
                0 => Timestamp::default(),
                until_ms => now.wall.plus_ms(until_ms.saturating_sub(now.monotonic_ms)),
            },
            manner: self.manner,
            reserved_until: self.reserved_until,
        }
    }

    /// Takes the place in line that a record gives it. It is in no line meanwhile.
    pub(super) fn take_place(&mut self, record: &ClaimRecord) {
        (self.who, self.objects) = (Arc::clone(&record.who), record.objects.clone());
        (self.order, self.priority) = (record.order, record.objects.priority());
        (self.wait_ms, self.reserved_until) = (record.wait_ms, record.reserved_until);
        self.recorded = true;
    }

    /// How a record speaks of it; the first brings it whole.
    pub(super) fn reference(&self, now: Now) -> ClaimRef {
        if self.recorded { ClaimRef::Known(self.arrival) } else { ClaimRef::New(Box::new(self.record(now))) }
    }

    pub(super) fn of(record: &ClaimRecord, now: Now) -> Self {
        let waits = record.wait_until != Timestamp::default();
        // A wall clock that jumped while the daemon was away makes nobody wait longer than they had said.
        let left = record.wait_until.unix_ms().saturating_sub(now.wall.unix_ms()).min(u64::from(record.wait_ms));
        Self {
            who: Arc::clone(&record.who),
            objects: record.objects.clone(),
            system: record.system,
            id: record.id,
            id_hash: 0,
            arrival: record.arrival,
            order: record.order,
            ttl_ms: record.ttl_ms,
            wait_ms: record.wait_ms,
            wait_until_ms: if waits { now.monotonic_ms.saturating_add(left).max(1) } else { 0 },
            manner: record.manner,
            priority: record.objects.priority(),
            recorded: true,
            reply: None,
            reserved_until: record.reserved_until,
            state: State::Waiting,
            links: (NOBODY, NOBODY),
        }
    }
}
