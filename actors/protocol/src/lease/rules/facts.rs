//! What the records of the journal say, kept apart from the table that wrote them.

use std::collections::{BTreeMap, BTreeSet};

use super::{CLAIMS_MAX, OBJECTS_MAX};
use crate::{
    EntityId,
    lease::{Change, ClaimRecord, ClaimRef, Over, Priority, RequestId, Token, claim::ORDER_OF_REQUESTS},
};

/// A request as the records tell of it.
#[derive(Clone, Debug, Default)]
pub(super) struct ClaimFact {
    priorities: Vec<(EntityId, Priority)>,
    pub(super) order: u64,
    id: Option<(EntityId, RequestId)>,
    pub(super) wait_ms: u32,
    /// Since when it waits, on the monotonic clock.
    pub(super) since_ms: u64,
    /// The objects whose lines it stands in, or which it holds.
    at: BTreeSet<EntityId>,
}

impl ClaimFact {
    fn priorities(record: &ClaimRecord) -> Vec<(EntityId, Priority)> {
        record.objects.as_slice().iter().map(|wanted| (wanted.object, wanted.priority)).collect()
    }

    /// The lowest of its priorities: a set has one place in the order of all waiters.
    pub(super) fn priority(&self) -> Priority {
        self.priorities.iter().map(|(_, priority)| *priority).min().unwrap_or(0)
    }

    /// Smaller goes first.
    pub(super) fn rank(&self) -> (Priority, u64) {
        (Priority::MAX - self.priority(), self.order)
    }

    /// Whether it may take an object from `holder`.
    pub(super) fn outranks(&self, holder: &Self) -> bool {
        let reserved = |claim: &Self| claim.order & ORDER_OF_REQUESTS == 0;
        let older = self.order < holder.order & !ORDER_OF_REQUESTS;
        self.priority() > holder.priority()
            || (self.priority() == holder.priority() && reserved(self) && !reserved(holder) && older)
    }
}

/// An object as the records tell of it.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectFact {
    pub(super) holder: Option<u64>,
    pub(super) token: Token,
    pub(super) revoking: bool,
    pub(super) line: BTreeSet<u64>,
    /// Until when the holder was promised the object, on the monotonic clock.
    pub(super) promised_ms: Option<u64>,
}

/// What the records say.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) epoch: u64,
    pub(super) objects: BTreeMap<EntityId, ObjectFact>,
    pub(super) claims: BTreeMap<u64, ClaimFact>,
    /// Ids in use: for which request, and when it ended.
    pub(super) ids: BTreeMap<(EntityId, RequestId), (u64, Option<u64>)>,
    /// When the supervisor began its life, on the monotonic clock.
    pub(super) restarted_ms: u64,
}

impl Facts {
    /// The request that a record speaks of.
    pub(super) fn arrival(claim: &ClaimRef) -> u64 {
        match claim {
            ClaimRef::Known(arrival) => *arrival,
            ClaimRef::New(record) => record.arrival,
        }
    }

    pub(super) fn claim(&self, arrival: Option<u64>) -> Option<&ClaimFact> {
        self.claims.get(&arrival?)
    }

    /// The requests in line for an object.
    pub(super) fn line(&self, object: EntityId) -> impl Iterator<Item = (u64, &ClaimFact)> {
        let line = self.objects.get(&object).into_iter().flat_map(|object| &object.line);
        line.filter_map(|arrival| Some((*arrival, self.claims.get(arrival)?)))
    }

    /// The clock of waiting begins anew.
    pub(super) fn restarted(&mut self, now_ms: u64) {
        self.restarted_ms = now_ms;
        for claim in self.claims.values_mut() {
            claim.since_ms = now_ms;
        }
        for object in self.objects.values_mut() {
            object.promised_ms = None;
        }
    }

    pub(super) fn apply(&mut self, entity: Option<EntityId>, change: &Change, now_ms: u64) {
        let Some(entity) = entity else {
            if let Change::Epoch(epoch) = change {
                self.epoch = *epoch;
            }
            return;
        };
        if !self.objects.contains_key(&entity) && self.objects.len() >= OBJECTS_MAX {
            return;
        }
        match change {
            Change::Queued(record) => {
                self.known(record, entity, now_ms);
                self.object(entity).line.insert(record.arrival);
            }
            Change::MovedUp(record) => {
                self.known(record, entity, now_ms);
                self.object(entity).line.insert(record.arrival);
                if let Some(claim) = self.claims.get_mut(&record.arrival) {
                    claim.priorities = ClaimFact::priorities(record);
                    (claim.order, claim.wait_ms) = (record.order, record.wait_ms);
                }
            }
            Change::Left { claim, .. } => {
                if let ClaimRef::New(record) = claim {
                    self.known(record, entity, now_ms);
                }
                let arrival = Self::arrival(claim);
                self.object(entity).line.remove(&arrival);
                self.gone(arrival, entity, now_ms);
            }
            Change::Granted { claim, token, over } => {
                self.over(entity, *over, now_ms);
                if let ClaimRef::New(record) = claim {
                    self.known(record, entity, now_ms);
                }
                let arrival = Self::arrival(claim);
                let object = self.object(entity);
                object.line.remove(&arrival);
                (object.holder, object.token, object.revoking) = (Some(arrival), *token, false);
                object.promised_ms = None;
            }
            Change::Refenced { token } | Change::Stands { token, .. } => self.object(entity).token = *token,
            Change::Revoking { .. } => self.object(entity).revoking = true,
            Change::Withdrawn => self.object(entity).revoking = false,
            Change::Ended { over, token } => {
                self.over(entity, Some(*over), now_ms);
                self.object(entity).token = *token;
            }
            Change::Weighed { arrival, priority } => {
                let claim = self.claims.get_mut(arrival);
                for (object, weight) in claim.into_iter().flat_map(|claim| &mut claim.priorities) {
                    if *object == entity {
                        *weight = *priority;
                    }
                }
            }
            Change::Quarantined { token, over } => {
                self.over(entity, *over, now_ms);
                self.object(entity).token = *token;
            }
            Change::Retired => {
                self.objects.remove(&entity);
            }
            Change::Epoch(_)
            | Change::Unquarantined
            | Change::Reserved(_)
            | Change::Unreserved { .. }
            | Change::Remembered { .. } => {}
        }
    }

    fn object(&mut self, entity: EntityId) -> &mut ObjectFact {
        self.objects.entry(entity).or_default()
    }

    fn known(&mut self, record: &ClaimRecord, entity: EntityId, now_ms: u64) {
        if self.claims.len() >= CLAIMS_MAX && !self.claims.contains_key(&record.arrival) {
            return;
        }
        let claim = self.claims.entry(record.arrival).or_insert_with(|| ClaimFact {
            priorities: ClaimFact::priorities(record),
            order: record.order,
            id: record.id.map(|id| (record.system, id)),
            wait_ms: record.wait_ms,
            since_ms: now_ms,
            at: BTreeSet::new(),
        });
        claim.at.insert(entity);
        if let Some(id) = claim.id
            && (self.ids.len() < CLAIMS_MAX || self.ids.contains_key(&id))
        {
            self.ids.insert(id, (record.arrival, None));
        }
    }

    fn gone(&mut self, arrival: u64, entity: EntityId, now_ms: u64) {
        let Some(claim) = self.claims.get_mut(&arrival) else { return };
        claim.at.remove(&entity);
        if claim.at.is_empty() {
            if let Some(known) = claim.id.and_then(|id| self.ids.get_mut(&id)).filter(|known| known.0 == arrival) {
                known.1 = Some(now_ms);
            }
            self.claims.remove(&arrival);
        }
    }

    fn over(&mut self, entity: EntityId, over: Option<Over>, now_ms: u64) {
        let Some(over) = over else { return };
        let object = self.object(entity);
        (object.holder, object.revoking, object.promised_ms) = (None, false, None);
        match over.back {
            Some(order) => {
                object.line.insert(over.arrival);
                if let Some(claim) = self.claims.get_mut(&over.arrival) {
                    if claim.order != order {
                        claim.since_ms = now_ms;
                    }
                    claim.order = order;
                }
            }
            None => self.gone(over.arrival, entity, now_ms),
        }
    }
}
