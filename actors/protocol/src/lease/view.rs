//! The table as others see it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Claimant, Grant, Objects, Priority, RequestId, Reservation, Table, Token,
    claim::{Claim, NOBODY},
};
use crate::EntityId;

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects that were ever asked for.
    pub objects: u64,
    /// Leases.
    pub leases: u64,
    /// Places in line that are taken: a request for a set takes one for each object.
    pub waiting: u64,
    /// Objects whose gate does not answer.
    pub quarantined: u64,
    /// Leases granted since the table was made.
    pub granted: u64,
}

/// What an object is going through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Nobody has it.
    Free,
    /// Its gate has not answered the newest token yet.
    Fencing,
    /// Somebody has it.
    Held,
    /// Somebody has it, and loses it at the end of its grace.
    Revoking,
    /// Its gate does not answer.
    Quarantined,
}

/// A claim as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimView {
    /// Its number.
    pub arrival: u64,
    /// Who asked.
    pub who: Arc<Claimant>,
    /// The actor of the metaverse system that asked.
    pub system: EntityId,
    /// The requester's id of it.
    pub id: Option<RequestId>,
    /// For what.
    pub objects: Objects,
    /// What it weighs.
    pub priority: Priority,
    /// What it holds, if its holder was told.
    pub grant: Option<Grant>,
    /// How long it still waits, in milliseconds; 0: only as long as it is about to win.
    pub waits_ms: u64,
}

/// An object as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectView {
    /// Its actor.
    pub object: EntityId,
    /// What it is going through.
    pub phase: Phase,
    /// The newest token.
    pub token: Token,
    /// Who has it, or is about to.
    pub holder: Option<ClaimView>,
    /// How many are in line.
    pub waiting: usize,
    /// Those who are in line, first the next.
    pub queue: Vec<ClaimView>,
    /// The reservations, in the order in which they were made.
    pub reservations: Vec<Reservation>,
    /// Whether a safe stop is owed to the device.
    pub stop_owed: bool,
}

impl Table {
    fn claim_view(&self, claim: &Claim) -> ClaimView {
        ClaimView {
            arrival: claim.arrival,
            who: Arc::clone(&claim.who),
            system: claim.system,
            id: claim.id,
            objects: claim.objects.clone(),
            priority: claim.priority,
            grant: claim.grant(self.now).filter(|_| claim.is_shown()),
            waits_ms: claim.wait_until_ms.saturating_sub(self.now.monotonic_ms),
        }
    }

    /// An object, with the first `queue_max` of those in line; none: nobody ever asked for it.
    #[must_use]
    pub fn view(&self, object: EntityId, queue_max: usize) -> Option<ObjectView> {
        let object = self.object(object.slot() as usize)?;
        let queue = object.queue.iter().take(queue_max).filter_map(|rank| self.claims.get(rank.key));
        Some(ObjectView {
            object: object.entity,
            phase: self.phase(object),
            token: object.token,
            holder: self.claims.get(object.holder).map(|claim| self.claim_view(claim)),
            waiting: object.queue.len(),
            queue: queue.map(|claim| self.claim_view(claim)).collect(),
            reservations: object.reservations().cloned().collect(),
            stop_owed: object.stop,
        })
    }

    fn phase(&self, object: &super::object::Object) -> Phase {
        let lease = self.claims.get(object.holder).and_then(Claim::lease);
        match lease {
            _ if object.quarantined => Phase::Quarantined,
            None if object.holder == NOBODY && object.fenced => Phase::Free,
            Some(lease) if lease.shown && lease.unfenced == 0 && lease.revoked_ms.is_some() => Phase::Revoking,
            Some(lease) if lease.shown && lease.unfenced == 0 => Phase::Held,
            _ => Phase::Fencing,
        }
    }

    /// The objects that were ever asked for, from slot `from` on.
    pub fn objects(&self, from: u32) -> impl Iterator<Item = EntityId> + '_ {
        self.objects.iter().skip(from as usize).flatten().map(|object| object.entity)
    }

    /// The leases of a system, the newest first.
    pub fn leases_of(&self, system: EntityId) -> impl Iterator<Item = ClaimView> + '_ {
        let mut next = self.systems.get(&system).copied().unwrap_or(NOBODY);
        std::iter::from_fn(move || {
            let claim = self.claims.get(next)?;
            next = claim.links.1;
            Some(self.claim_view(claim))
        })
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The epoch whose tokens are given now.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The limits that the table was made with.
    #[must_use]
    pub fn limits(&self) -> &super::LeaseLimits {
        &self.limits
    }
}
