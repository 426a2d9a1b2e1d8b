//! Fences: what the table and the gates say to each other, and what is when a gate does not answer.

use super::{
    Change, Done, Effect, End, Fencing, Notice, Refused, Reply, Table, Token,
    claim::{Claim, Key, NOBODY},
    mutation::{Mutation, broken},
};
use crate::{EntityId, Recovery};

/// By how many epochs the token that a device says it has seen may be ahead of ours: more lives than that were not begun
/// since any backup. Without a bound one device could use up the epochs of all.
pub const EPOCHS_AHEAD_MAX: u64 = 1 << 20;

impl Table {
    /// Has the gate fence its newest token, for whoever holds the object now.
    pub(super) fn fence(&mut self, slot: usize, out: &mut Vec<Effect>) {
        self.fence_as(slot, false, out);
    }

    fn fence_as(&mut self, slot: usize, replaced: bool, out: &mut Vec<Effect>) {
        let (now_ms, limits) = (self.now.monotonic_ms, &self.limits);
        let (within_ms, return_ms) = (limits.lease_fence_ms_max, limits.lease_return_ms);
        let retry_ms = limits.lease_fence_retry_ms;
        let Some(object) = self.objects.get_mut(slot).and_then(Option::as_mut) else { return };
        object.fenced = false;
        object.fence_due_ms = now_ms.saturating_add(if object.quarantined { retry_ms } else { within_ms });
        self.objects_due.arm(slot, object.fence_due_ms);
        let (entity, token, stop, holder) = (object.entity, object.token, object.stop, object.holder);
        let claim = self.claims.get(holder);
        let latest_ms = self.latest_deadline_ms(holder).saturating_sub(now_ms);
        let ttl_ms = claim.map_or(0, |claim| match claim.lease() {
            // Its holder has so long to come back.
            Some(lease) if lease.shown && lease.deadline_ms == u64::MAX => return_ms,
            Some(lease) if lease.shown => lease.deadline_ms.saturating_sub(now_ms),
            _ => u64::from(claim.ttl_ms).min(latest_ms),
        });
        out.push(Effect::Fence {
            object: entity,
            token,
            to: claim.map(|claim| claim.who.clone()),
            priority: claim.map_or(0, |claim| claim.priority),
            ttl_ms,
            stop,
            replaced,
            // A lease that is being revoked stays restricted behind its new token.
            restricted: claim.and_then(Claim::lease).is_some_and(|lease| lease.revoked_ms.is_some()),
        });
    }

    /// A gate has answered. Only an answer for the newest token counts, and only of the gate's present life.
    pub(super) fn fenced(
        &mut self,
        entity: EntityId,
        token: Token,
        incarnation: u32,
        fencing: Fencing,
        seen_before: Token,
        out: &mut Vec<Effect>,
    ) {
        let slot = entity.slot() as usize;
        let Some(object) = self.object(slot) else { return };
        // Whatever else such a device says is worth as little: its gate does not count as fenced.
        if seen_before.epoch.saturating_sub(self.epoch) > EPOCHS_AHEAD_MAX {
            return;
        }
        // The same token is no less a stranger's: the life that gave it is not in the journal.
        if seen_before >= object.token && seen_before > Token::NONE && !broken(Mutation::SeenTokenIgnored) {
            return self.overtake(slot, seen_before, out);
        }
        let of_this_life = object.incarnation.is_none_or(|known| known == incarnation);
        if token != object.token || object.fenced || !of_this_life {
            return;
        }
        let holder = object.holder;
        let quarantined = object.quarantined;
        if let Some(object) = self.object_mut(slot) {
            object.incarnation = Some(incarnation);
            (object.fenced, object.stop, object.quarantined) = (true, false, false);
            object.fence_due_ms = u64::MAX;
        }
        if quarantined {
            self.counts.quarantined -= 1;
            self.record(slot, Change::Unquarantined, out);
        }
        self.closed(slot, out);
        if let Some(lease) = self.claims.get_mut(holder).and_then(Claim::lease_mut) {
            lease.unfenced = lease.unfenced.saturating_sub(1);
            lease.fencing = lease.fencing.min(fencing);
            if lease.unfenced == 0 {
                self.show(holder, out);
            }
        }
        self.touched.push(slot);
    }

    /// The device has seen a token that is not below ours: a backup was restored. A new epoch goes above it.
    fn overtake(&mut self, slot: usize, seen: Token, out: &mut Vec<Effect>) {
        if (seen.epoch, seen.n) >= (self.epoch, self.tokens) {
            self.begin_epoch(seen.epoch.saturating_add(1), out);
        }
        let holder = self.object(slot).map_or(NOBODY, |object| object.holder);
        if holder == NOBODY { self.refence_object(slot, out) } else { self.refence(holder, out) }
    }

    fn begin_epoch(&mut self, epoch: u64, out: &mut Vec<Effect>) {
        (self.epoch, self.tokens) = (epoch, 0);
        out.push(Effect::Record(None, Change::Epoch(epoch)));
    }

    /// All gates of a lease have answered: its holder is told.
    pub(super) fn show(&mut self, key: Key, out: &mut Vec<Effect>) {
        let (now, return_ms) = (self.now, self.limits.lease_return_ms);
        let latest_ms = self.latest_deadline_ms(key);
        let Some(claim) = self.claims.get_mut(key) else { return };
        let ttl_ms = u64::from(claim.ttl_ms);
        let Some(lease) = claim.lease_mut() else { return };
        if !lease.shown {
            lease.shown = true;
            lease.since_ms = now.monotonic_ms;
            lease.deadline_ms = now.monotonic_ms.saturating_add(ttl_ms).min(latest_ms);
        } else if lease.deadline_ms == u64::MAX {
            lease.deadline_ms = now.monotonic_ms.saturating_add(return_ms);
            (lease.returning, lease.awaited) = (true, true);
        }
        let came_back = lease.returning && claim.reply.is_some();
        if came_back {
            self.extend(key, now.monotonic_ms.saturating_add(ttl_ms), out);
        }
        self.arm(key);
        let Some(grant) = self.claims.get(key).and_then(|claim| claim.grant(now)) else { return };
        if !self.answer(key, Ok(Done::Granted(grant.clone())), out) {
            self.tell(key, Notice::Granted(grant), out);
        }
        self.touch(key);
    }

    /// A gate has not answered in time: the object is in quarantine until it does, and a lease on it ends.
    pub(super) fn fence_due(&mut self, slot: usize, now_ms: u64, out: &mut Vec<Effect>) {
        let Some(object) = self.object(slot).filter(|object| !object.fenced) else { return };
        if object.fence_due_ms > now_ms {
            let due_ms = object.fence_due_ms;
            return self.objects_due.arm(slot, due_ms);
        }
        if object.quarantined {
            return self.fence(slot, out);
        }
        let holder = object.holder;
        if holder != NOBODY {
            self.vacate(holder, End::GateSilent, out);
        }
        let earlier = self.vacated.iter().position(|(vacated, _)| *vacated == slot);
        let over = earlier.map(|index| self.vacated.swap_remove(index).1);
        let token = self.next_token();
        if let Some(object) = self.object_mut(slot) {
            (object.quarantined, object.token) = (true, token);
        }
        self.counts.quarantined += 1;
        self.record(slot, Change::Quarantined { token, over }, out);
        self.closed(slot, out);
        self.fence(slot, out);
        self.touched.push(slot);
    }

    /// A gate began a new life, and is closed: whoever has the object gets a new token.
    pub(super) fn gate_started(&mut self, entity: EntityId, incarnation: u32, out: &mut Vec<Effect>) {
        let slot = entity.slot() as usize;
        // What a life says that is over already is late.
        let known = |object: &&mut super::object::Object| object.incarnation.is_none_or(|known| known <= incarnation);
        let Some(object) = self.object_mut(slot).filter(known) else { return };
        object.incarnation = Some(incarnation);
        let (holder, owes) = (object.holder, !object.fenced || object.stop);
        if holder != NOBODY {
            self.refence(holder, out);
        } else if owes {
            // A new token too: the device may have seen the old one, and a new life of the gate cannot tell from whom.
            self.refence_object(slot, out);
        }
    }

    /// Gives a lease a new token, and has its gates fenced at it.
    fn refence(&mut self, key: Key, out: &mut Vec<Effect>) {
        let token = self.next_token();
        let Some(claim) = self.claims.get_mut(key) else { return };
        let objects = claim.objects.clone();
        let Some(lease) = claim.lease_mut() else { return };
        lease.token = token;
        lease.unfenced = objects.as_slice().len();
        lease.fencing = Fencing::Device;
        for slot in Self::slots(&objects) {
            if let Some(object) = self.object_mut(slot) {
                object.token = token;
            }
            self.record(slot, Change::Refenced { token }, out);
            self.fence(slot, out);
        }
    }

    fn refence_object(&mut self, slot: usize, out: &mut Vec<Effect>) {
        let token = self.next_token();
        if let Some(object) = self.object_mut(slot) {
            object.token = token;
        }
        self.record(slot, Change::Refenced { token }, out);
        self.fence(slot, out);
    }

    pub(super) fn replace_gate(&mut self, entity: EntityId, reply: Reply, out: &mut Vec<Effect>) {
        let slot = entity.slot() as usize;
        let quarantined = self.object_mut(slot).filter(|object| object.quarantined);
        if let Some(object) = quarantined {
            // The operator has seen to the device.
            object.stop = false;
            self.fence_as(slot, true, out);
            out.push(Effect::Answer(reply, Ok(Done::Settled)));
        } else {
            out.push(Effect::Answer(reply, Err(Refused::Unknown)));
        }
    }

    /// The supervisor begins a life: a new epoch, and no token of an older one is good for anything.
    pub(super) fn recover(&mut self, why: Recovery, out: &mut Vec<Effect>) {
        let epoch = if broken(Mutation::EpochStays) { self.epoch.max(1) } else { self.epoch.saturating_add(1) };
        self.begin_epoch(epoch, out);
        self.restore();
        if broken(Mutation::NotFencedAfterRestart) {
            return;
        }
        for slot in 0..self.objects.len() {
            let Some(object) = self.object(slot) else { continue };
            let holder = object.holder;
            // With the daemon, gates began anew too, and are closed.
            let may_be_open = why == Recovery::Failure && object.token != Token::NONE;
            if let Some(lease) = self.claims.get(holder).and_then(Claim::lease) {
                if lease.token.epoch < epoch {
                    self.refence(holder, out);
                }
            } else if may_be_open || object.stop || object.quarantined {
                self.refence_object(slot, out);
            }
            self.touched.push(slot);
        }
    }
}
