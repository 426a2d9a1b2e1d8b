//! Decisions: who gets an object, who is revoked for whom, and what becomes of a lease that ends.

use super::Fencing;
use super::{
    Change, Effect, End, Notice, Objects, Over, Table,
    claim::{Claim, Key, Lease, NOBODY, State},
    mutation::{Mutation, broken},
};

impl Table {
    /// Looks at every object that something happened to, until nothing more follows; then closes the gates of those
    /// that nobody got.
    pub(super) fn finish(&mut self, out: &mut Vec<Effect>) {
        while let Some(slot) = self.touched.pop() {
            self.settle(slot, out);
        }
        while let Some((slot, over)) = self.vacated.pop() {
            let token = self.next_token();
            let Some(object) = self.object_mut(slot) else { continue };
            object.token = token;
            self.record(slot, Change::Ended { over, token }, out);
            self.fence(slot, out);
        }
    }

    fn settle(&mut self, slot: usize, out: &mut Vec<Effect>) {
        let Some(object) = self.object(slot) else { return };
        if !object.eager().is_empty() {
            let quarantined = object.quarantined;
            for key in object.eager().to_vec() {
                if !self.is_ready(key) {
                    let end = if quarantined { End::Quarantined } else { End::Displaced };
                    self.leave(key, end, out);
                }
            }
        }
        let Some(object) = self.object(slot) else { return };
        let (head, holder) = (object.head(), object.holder);
        match head {
            Some(head) if self.is_ready(head) => self.advance(head, out),
            Some(head) => {
                self.justify(holder, out);
                self.justify_others(head, out);
            }
            None => self.justify(holder, out),
        }
    }

    /// Whether a claim is first in line for each of its objects, and nobody holds one whom it cannot revoke.
    /// A set revokes nobody before that.
    pub(super) fn is_ready(&self, key: Key) -> bool {
        let Some(claim) = self.claims.get(key) else { return false };
        Self::slots(&claim.objects).all(|slot| {
            self.object(slot).is_some_and(|object| {
                let held_by = self.claims.get(object.holder).filter(|_| !broken(Mutation::GrantWhileHeld));
                object.head() == Some(key) && !object.quarantined && held_by.is_none_or(|held| claim.outranks(held))
            })
        })
    }

    /// A ready claim takes what it can: it revokes whoever holds its objects, and is granted when nobody does.
    fn advance(&mut self, key: Key, out: &mut Vec<Effect>) {
        let Some(claim) = self.claims.get(key) else { return };
        let objects = claim.objects.clone();
        let mut clear = true;
        for slot in Self::slots(&objects) {
            let holder = self.object(slot).map_or(NOBODY, |object| object.holder);
            let Some(held) = self.claims.get(holder).filter(|_| !broken(Mutation::GrantWhileHeld)) else { continue };
            if held.is_shown() {
                clear &= self.revoke(holder, key, out);
            } else {
                // Nobody has heard of that grant: the higher one takes its place.
                self.vacate(holder, End::Displaced, out);
            }
        }
        if clear {
            self.dequeue(key);
            self.grant(key, out);
        }
    }

    /// Grants a claim whose objects are nobody's: it is durable first, then the gates are fenced, then it is shown.
    pub(super) fn grant(&mut self, key: Key, out: &mut Vec<Effect>) {
        let token = self.next_token();
        let now = self.now;
        let Some(claim) = self.claims.get_mut(key) else { return };
        claim.state = State::Leased(Lease {
            token,
            first: token,
            unfenced: claim.objects.as_slice().len(),
            shown: false,
            since_ms: now.monotonic_ms,
            deadline_ms: u64::MAX,
            revocable_ms: u64::MAX,
            revoked_ms: None,
            revoked_for_good: false,
            fencing: Fencing::Device,
            returning: false,
            awaited: false,
        });
        let (objects, reference) = (claim.objects.clone(), claim.reference(now));
        claim.recorded = true;
        self.link(key);
        for slot in Self::slots(&objects) {
            let earlier = self.vacated.iter().position(|(vacated, _)| *vacated == slot);
            let over = earlier.map(|index| self.vacated.swap_remove(index).1);
            let Some(object) = self.object_mut(slot) else { continue };
            (object.holder, object.token) = (key, token);
            self.record(slot, Change::Granted { claim: reference.clone(), token, over }, out);
            self.fence(slot, out);
        }
        self.counts.granted += 1;
        if broken(Mutation::ToldBeforeFenced) {
            self.show(key, out);
        }
    }

    /// Revokes a lease for a claim that is above it; tells whether its objects are free at once.
    fn revoke(&mut self, key: Key, by: Key, out: &mut Vec<Effect>) -> bool {
        if broken(Mutation::HigherWaitsForEver) {
            return false;
        }
        let now_ms = self.now.monotonic_ms;
        let Some((claimant, emergency, arrival)) =
            self.claims.get(by).map(|claim| (claim.who.clone(), claim.is_emergency(), claim.arrival))
        else {
            return false;
        };
        let (grace_ms, min_hold_ms) = self.terms_of(key);
        let Some(lease) = self.claims.get_mut(key).and_then(Claim::lease_mut) else { return false };
        if emergency || (lease.revoked_ms.is_none() && grace_ms == 0 && lease.since_ms + min_hold_ms <= now_ms) {
            self.vacate(key, End::Preempted, out);
            return true;
        }
        if lease.revoked_ms.is_some() {
            return false;
        }
        if lease.since_ms + min_hold_ms > now_ms {
            lease.revocable_ms = lease.since_ms + min_hold_ms;
            self.arm(key);
            return false;
        }
        let priority = self.claims.get(by).map_or(0, |claim| claim.priority);
        self.begin_revocation(key, grace_ms, Some(arrival), out);
        let notice = Notice::Revoking { by: Some(claimant), priority, in_ms: grace_ms };
        self.tell(key, notice, out);
        false
    }

    /// The longest grace and minimum hold among a lease's objects.
    pub(super) fn terms_of(&self, key: Key) -> (u64, u64) {
        let wanted = self.claims.get(key).map_or(&[][..], |claim| claim.objects.as_slice());
        let longest = |of: fn(&super::Terms) -> u32| wanted.iter().map(|wanted| of(&wanted.terms)).max().unwrap_or(0);
        (u64::from(longest(|terms| terms.grace_ms)), u64::from(longest(|terms| terms.min_hold_ms)))
    }

    pub(super) fn begin_revocation(&mut self, key: Key, grace_ms: u64, by: Option<u64>, out: &mut Vec<Effect>) {
        let until_ms = self.now.monotonic_ms.saturating_add(grace_ms);
        let Some(lease) = self.claims.get_mut(key).and_then(Claim::lease_mut) else { return };
        lease.revoked_ms = Some(until_ms);
        lease.revocable_ms = u64::MAX;
        lease.revoked_for_good |= by.is_none();
        self.record_of(key, |_| Change::Revoking { by }, out);
        self.restrict(key, true, out);
        self.arm(key);
    }

    pub(super) fn restrict(&self, key: Key, restricted: bool, out: &mut Vec<Effect>) {
        let Some((claim, lease)) = self.claims.get(key).and_then(|claim| Some((claim, claim.lease()?))) else { return };
        let (objects, token) = (claim.objects.as_slice(), lease.token);
        out.extend(objects.iter().map(|wanted| Effect::Restrict { object: wanted.object, token, restricted }));
    }

    /// A set that lacks an object takes none of the others from anybody.
    fn justify_others(&mut self, head: Key, out: &mut Vec<Effect>) {
        let Some(Objects::Set(set)) = self.claims.get(head).map(|claim| &claim.objects) else { return };
        for wanted in set.clone() {
            let holder = self.object(wanted.object.slot() as usize).map_or(NOBODY, |object| object.holder);
            self.justify(holder, out);
        }
    }

    /// A revocation stands only as long as somebody is ready for whom it is.
    fn justify(&mut self, key: Key, out: &mut Vec<Effect>) {
        let Some((claim, lease)) = self.claims.get(key).and_then(|claim| Some((claim, claim.lease()?))) else { return };
        let undecided = lease.revoked_ms.is_some() || lease.revocable_ms != u64::MAX;
        if !undecided || lease.revoked_for_good {
            return;
        }
        let justified = Self::slots(&claim.objects).any(|slot| {
            let head = self.object(slot).and_then(super::object::Object::head);
            head.is_some_and(|head| self.is_ready(head))
        });
        if justified {
            return;
        }
        let revoked = lease.revoked_ms.is_some();
        if let Some(lease) = self.claims.get_mut(key).and_then(Claim::lease_mut) {
            lease.revoked_ms = None;
            lease.revocable_ms = u64::MAX;
        }
        if revoked {
            self.record_of(key, |_| Change::Withdrawn, out);
            self.restrict(key, false, out);
            // While its gates are fenced anew it hears of that when they have answered.
            if let Some(grant) = self.claims.get(key).and_then(|claim| claim.told_grant(self.now)) {
                self.tell(key, Notice::Withdrawn(grant), out);
            }
        }
    }

    /// Ends a lease. Its objects are the next one's before the step ends, or nobody's; its requester may wait again.
    pub(super) fn vacate(&mut self, key: Key, end: End, out: &mut Vec<Effect>) {
        let now_ms = self.now.monotonic_ms;
        self.unlink(key);
        let arrival = self.arrivals + 1;
        let order = arrival | super::claim::ORDER_OF_REQUESTS;
        let Some(claim) = self.claims.get_mut(key) else { return };
        let State::Leased(lease) = std::mem::replace(&mut claim.state, State::Waiting) else { return };
        let stop = lease.shown && end.is_forced();
        let keeps_place = !lease.shown && matches!(end, End::Displaced | End::GateSilent);
        let back = if keeps_place && claim.wait_until_ms > now_ms {
            Some(claim.order)
        } else if lease.shown
            && matches!(end, End::Preempted | End::GateSilent)
            && claim.manner.requeue
            && claim.wait_ms > 0
        {
            // What an operator takes back, or a lost permission, is not asked for again.
            self.arrivals = arrival;
            claim.order = order;
            claim.wait_until_ms = now_ms + u64::from(claim.wait_ms);
            claim.reserved_until = None;
            Some(order)
        } else {
            None
        };
        // The token of a single change stays with whoever made it; who had the object before may still ask what became of it.
        let is_told = lease.shown && !claim.manner.one_shot;
        let over = Over { arrival: claim.arrival, end, back, stop };
        let objects = claim.objects.clone();
        for slot in Self::slots(&objects) {
            let Some(object) = self.object_mut(slot) else { continue };
            object.holder = NOBODY;
            object.stop |= stop;
            if is_told {
                (object.previous, object.previous_end) = (lease.token, end);
            }
            self.vacated.push((slot, over));
            if !(broken(Mutation::QueueForgotten) && end == End::Released) {
                self.touched.push(slot);
            }
        }
        if stop {
            self.tell(key, Notice::Lost { token: lease.token, end, requeued: back.is_some() }, out);
        }
        if back.is_some() {
            self.enqueue(key);
            self.arm(key);
        } else {
            self.end(key, end, out);
        }
    }

    /// Puts a lease among those of its system.
    pub(super) fn link(&mut self, key: Key) {
        let Some(system) = self.claims.get(key).map(|claim| claim.system) else { return };
        let next = self.systems.insert(system, key).unwrap_or(NOBODY);
        if let Some(claim) = self.claims.get_mut(next) {
            claim.links.0 = key;
        }
        if let Some(claim) = self.claims.get_mut(key) {
            claim.links = (NOBODY, next);
        }
        self.counts.leases += 1;
    }

    fn unlink(&mut self, key: Key) {
        let Some(claim) = self.claims.get_mut(key).filter(|claim| claim.lease().is_some()) else { return };
        let ((before, next), system) = (std::mem::replace(&mut claim.links, (NOBODY, NOBODY)), claim.system);
        if let Some(claim) = self.claims.get_mut(before) {
            claim.links.1 = next;
        } else if next == NOBODY {
            self.systems.swap_remove(&system);
        } else {
            self.systems.insert(system, next);
        }
        if let Some(claim) = self.claims.get_mut(next) {
            claim.links.0 = before;
        }
        self.counts.leases -= 1;
    }
}
