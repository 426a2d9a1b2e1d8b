//! Records taken over after a restart, and snapshots in their place. What is volatile comes back by
//! [`Input::Recover`](super::Input::Recover).

use super::{
    Change, ClaimRecord, ClaimRef, End, Fencing, Over, Table,
    claim::{Claim, Key, Lease, NOBODY, ORDER_OF_REQUESTS, State},
};
use crate::{EntityId, time::Now};

impl Table {
    /// Takes one record over. Of an object that the change is about, in the order in which they were written.
    pub fn replay(&mut self, entity: Option<EntityId>, change: &Change) {
        let slot = match entity {
            Some(entity) => self.object_at(entity),
            None => {
                if let Change::Epoch(epoch) = change {
                    (self.epoch, self.tokens) = (*epoch, 0);
                }
                return;
            }
        };
        match change {
            Change::Epoch(_) => {}
            Change::Queued(record) => {
                let key = self.known(record, entity);
                self.line_up(slot, key);
            }
            Change::MovedUp(record) => {
                // A request that came and moved up in one step has no record before this one.
                let key = self.known(record, entity);
                self.line_out(slot, key);
                if let Some(claim) = self.claims.get_mut(key) {
                    claim.take_place(record);
                    claim.wait_until_ms = record.wait_until.unix_ms();
                }
                self.line_up(slot, key);
            }
            Change::Left { claim, end } => {
                let Some(key) = self.referred(claim, entity) else { return };
                self.line_out(slot, key);
                self.remember(key, *end);
            }
            Change::Granted { claim, token, over } => {
                self.over(slot, *over);
                let Some(key) = self.referred(claim, entity) else { return };
                self.line_out(slot, key);
                if let Some(object) = self.object_mut(slot) {
                    object.holder = key;
                }
                self.lease_again(key, *token);
                self.advance_token(slot, *token);
            }
            Change::Refenced { token } => {
                let holder = self.object(slot).map_or(NOBODY, |object| object.holder);
                if let Some(lease) = self.claims.get_mut(holder).and_then(Claim::lease_mut) {
                    lease.token = *token;
                }
                self.advance_token(slot, *token);
            }
            Change::Revoking { by } => self.replay_revocation(slot, Some(0), by.is_none()),
            Change::Withdrawn => self.replay_revocation(slot, None, false),
            Change::Ended { over, token } => {
                self.over(slot, Some(*over));
                self.advance_token(slot, *token);
            }
            Change::Weighed { arrival, priority } => {
                if let (Some(key), Some(entity)) = (self.replayed.get(arrival).copied(), entity) {
                    self.reweigh(key, entity, *priority);
                } else if let Some(kept) = self.reservation_mut(slot, *arrival) {
                    kept.wanted.priority = *priority;
                }
            }
            Change::Quarantined { token, over } => {
                self.over(slot, *over);
                self.quarantine(slot, true);
                self.advance_token(slot, *token);
            }
            Change::Unquarantined => self.quarantine(slot, false),
            Change::Reserved(reservation) => {
                self.arrivals = self.arrivals.max(reservation.id);
                self.insert_reservation(slot, (**reservation).clone());
            }
            Change::Retired => self.drop_object(slot),
            Change::Unreserved { id } => {
                self.remove_reservation(slot, *id);
            }
            Change::Remembered { claim, end } => {
                let key = self.known(claim, entity);
                self.remember(key, *end);
            }
            Change::Stands { token, previous, end, stop, arrivals } => {
                self.arrivals = self.arrivals.max(*arrivals);
                self.advance_token(slot, *token);
                if let Some(object) = self.object_mut(slot) {
                    (object.previous, object.previous_end, object.stop) = (*previous, *end, *stop);
                }
            }
        }
    }

    fn quarantine(&mut self, slot: usize, quarantined: bool) {
        let Some(object) = self.object_mut(slot).filter(|object| object.quarantined != quarantined) else { return };
        object.quarantined = quarantined;
        if quarantined { self.counts.quarantined += 1 } else { self.counts.quarantined -= 1 }
    }

    fn advance_token(&mut self, slot: usize, token: super::Token) {
        if let Some(object) = self.object_mut(slot) {
            object.token = token;
        }
    }

    /// The claim of a record, made if no record of any object has spoken of it yet.
    ///
    /// Of what a request weighs on an object, the records of that object have the last word: a snapshot of it stands for
    /// all of them, while those of another may be older.
    fn known(&mut self, record: &ClaimRecord, entity: Option<EntityId>) -> Key {
        if let Some(key) = self.replayed.get(&record.arrival).copied() {
            let weight = record.objects.as_slice().iter().find(|wanted| Some(wanted.object) == entity);
            if let Some(wanted) = weight {
                self.reweigh(key, wanted.object, wanted.priority);
            }
            return key;
        }
        self.arrivals = self.arrivals.max(record.arrival).max(record.order & !ORDER_OF_REQUESTS);
        for wanted in record.objects.as_slice() {
            self.object_at(wanted.object);
        }
        // The clocks of this life are not known yet: `restore` reads the moment again.
        let mut claim = Claim::of(record, Now::default());
        claim.wait_until_ms = record.wait_until.unix_ms();
        claim.id_hash = record.id.map_or(0, |id| self.ids.hash(record.system, id));
        let key = self.insert(claim);
        self.replayed.insert(record.arrival, key);
        key
    }

    fn referred(&mut self, claim: &ClaimRef, entity: Option<EntityId>) -> Option<Key> {
        match claim {
            ClaimRef::Known(arrival) => self.replayed.get(arrival).copied(),
            ClaimRef::New(record) => Some(self.known(record, entity)),
        }
    }

    fn line_up(&mut self, slot: usize, key: Key) {
        let Some(rank) = self.claims.get(key).map(|claim| claim.rank(key)) else { return };
        let fresh = self.object_mut(slot).is_some_and(|object| object.queue.insert(rank));
        self.counts.waiting += u64::from(fresh);
    }

    fn line_out(&mut self, slot: usize, key: Key) {
        let Some(rank) = self.claims.get(key).map(|claim| claim.rank(key)) else { return };
        let gone = self.object_mut(slot).is_some_and(|object| object.queue.remove(&rank));
        self.counts.waiting -= u64::from(gone);
    }

    /// A claim ended, as far as this record tells. It is told so for each of its objects.
    fn remember(&mut self, key: Key, end: End) {
        if let Some(claim) = self.claims.get_mut(key).filter(|claim| claim.lease().is_none()) {
            claim.state = State::Ended(end);
        }
    }

    fn over(&mut self, slot: usize, over: Option<Over>) {
        let Some(over) = over else { return };
        let Some(key) = self.replayed.get(&over.arrival).copied() else { return };
        let told = self.claims.get(key).filter(|claim| !claim.manner.one_shot);
        let token = told.and_then(Claim::lease).map(|lease| lease.token);
        if let Some(object) = self.object_mut(slot) {
            object.holder = NOBODY;
            object.stop |= over.stop;
            // Whether its holder had been told is not written down; a token that was never told harms nobody here.
            if let Some(token) = token {
                (object.previous, object.previous_end) = (token, over.end);
            }
        }
        match over.back {
            Some(order) => {
                if let Some(claim) = self.claims.get_mut(key) {
                    claim.order = order;
                    claim.state = State::Waiting;
                }
                self.arrivals = self.arrivals.max(order & !ORDER_OF_REQUESTS);
                self.line_up(slot, key);
            }
            None => {
                if let Some(claim) = self.claims.get_mut(key) {
                    claim.state = State::Ended(over.end);
                }
            }
        }
    }

    fn lease_again(&mut self, key: Key, token: super::Token) {
        if let Some(claim) = self.claims.get_mut(key) {
            claim.state = State::Leased(Lease {
                token,
                first: token,
                unfenced: 0,
                shown: true,
                since_ms: 0,
                deadline_ms: u64::MAX,
                revocable_ms: u64::MAX,
                revoked_ms: None,
                revoked_for_good: false,
                fencing: Fencing::Device,
                returning: false,
                awaited: false,
            });
        }
    }

    fn replay_revocation(&mut self, slot: usize, revoked_ms: Option<u64>, for_good: bool) {
        let holder = self.object(slot).map_or(NOBODY, |object| object.holder);
        if let Some(lease) = self.claims.get_mut(holder).and_then(Claim::lease_mut) {
            (lease.revoked_ms, lease.revoked_for_good) = (revoked_ms, for_good);
        }
    }

    /// Everything is replayed: clocks are read, and what no object speaks of any more goes.
    pub(super) fn restore(&mut self) {
        let now = self.now;
        let replayed = std::mem::take(&mut self.replayed);
        for key in replayed.into_values() {
            let grace_ms = self.terms_of(key).0;
            let Some(claim) = self.claims.get_mut(key) else { continue };
            match &mut claim.state {
                State::Waiting => {
                    if claim.wait_until_ms > 0 {
                        let left_ms = claim.wait_until_ms.saturating_sub(now.wall.unix_ms());
                        // A wall clock that jumped meanwhile makes nobody wait longer than they had said.
                        claim.wait_until_ms = now.monotonic_ms + left_ms.min(u64::from(claim.wait_ms)).max(1);
                    } else {
                        self.restore_eager(key);
                    }
                    self.arm(key);
                }
                State::Leased(lease) => {
                    lease.since_ms = now.monotonic_ms;
                    lease.revoked_ms = lease.revoked_ms.map(|_| now.monotonic_ms.saturating_add(grace_ms));
                    self.link(key);
                    self.arm(key);
                }
                State::Ended(end) => {
                    let end = *end;
                    self.end(key, end, &mut Vec::new());
                }
            }
        }
    }

    fn restore_eager(&mut self, key: Key) {
        let Some(claim) = self.claims.get(key) else { return };
        for slot in Self::slots(&claim.objects.clone()) {
            if let Some(object) = self.object_mut(slot) {
                object.extra_mut().eager.push(key);
            }
        }
    }

    /// The changes from which [`Table::replay`] makes the same of one object again; without one, of the whole table.
    pub fn snapshot(&self, entity: Option<EntityId>, into: &mut Vec<Change>) {
        let Some(entity) = entity else { return into.push(Change::Epoch(self.epoch)) };
        let Some(object) = self.object(entity.slot() as usize) else { return };
        let ended = self.ids.records(object.last_ended).into_iter();
        into.extend(ended.map(|(claim, end)| Change::Remembered { claim: Box::new(claim), end }));
        if let Some(extra) = &object.extra {
            into.extend(extra.reservations.values().map(|kept| Change::Reserved(Box::new(kept.clone()))));
        }
        if object.token != super::Token::NONE {
            let (token, previous, end) = (object.token, object.previous, object.previous_end);
            into.push(Change::Stands { token, previous, end, stop: object.stop, arrivals: self.arrivals });
        }
        if let Some((claim, lease)) = self.claims.get(object.holder).and_then(|claim| Some((claim, claim.lease()?))) {
            let reference = ClaimRef::New(Box::new(claim.record(self.now)));
            into.push(Change::Granted { claim: reference, token: lease.token, over: None });
            if lease.revoked_ms.is_some() {
                // For whom is decided anew by who is in line; only an operator's revocation stands by itself.
                let by = if lease.revoked_for_good { None } else { Some(0) };
                into.push(Change::Revoking { by });
            }
        }
        for claim in object.queue.iter().filter_map(|rank| self.claims.get(rank.key)) {
            into.push(Change::Queued(Box::new(claim.record(self.now))));
        }
        if object.quarantined {
            into.push(Change::Quarantined { token: object.token, over: None });
        }
    }
}
