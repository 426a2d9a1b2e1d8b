//! What holders and operators do with a lease: renew it, give it back, answer who asks for it, take it away.

use super::{
    Change, Done, Effect, End, Grant, Priority, Refused, Reply, Shown, Table, Token,
    claim::{Claim, Key, NOBODY, ORDER_OF_REQUESTS, State},
    mutation::{Mutation, broken},
};
use crate::EntityId;

impl Table {
    /// The lease for which a token is shown, by its holder.
    fn shown(&self, shown: &Shown) -> Result<Key, Refused> {
        let object = self.object(shown.object.slot() as usize).ok_or(Refused::TokenUnknown)?;
        let holder = self.claims.get(object.holder);
        let mine = |claim: &&Claim| claim.system == shown.system && claim.who.holder.user == shown.user;
        let newest = |claim: &&Claim| claim.lease().is_some_and(|lease| lease.token == shown.token);
        if let Some(claim) = holder.filter(newest) {
            let told = claim.lease().is_some_and(|lease| lease.shown && lease.unfenced == 0);
            return match told {
                true if mine(&claim) => Ok(object.holder),
                true => Err(Refused::NotYours),
                // Nobody was told of this token: it was guessed.
                false => Err(Refused::TokenUnknown),
            };
        }
        if shown.token == object.previous && shown.token != Token::NONE {
            return Err(Refused::Ended(object.previous_end, self.conflict(shown.object.slot() as usize)));
        }
        if shown.token.epoch == 0 || shown.token.epoch > self.epoch {
            return Err(Refused::TokenUnknown);
        }
        if shown.token.epoch < self.epoch {
            // A token that its gates have not answered yet is not told.
            let own = holder.filter(|claim| claim.is_shown()).filter(mine).and_then(Claim::lease);
            return Err(Refused::TokenStale(own.filter(|lease| lease.unfenced == 0).map(|lease| lease.token)));
        }
        Err(if shown.token.n > self.tokens { Refused::TokenUnknown } else { Refused::TokenForeign })
    }

    pub(super) fn renew(&mut self, shown: &Shown, ttl_ms: u32, reply: Reply, out: &mut Vec<Effect>) {
        let renewed = match self.shown(shown) {
            Err(refused) => Err(refused),
            Ok(_) if ttl_ms == 0 || ttl_ms > self.limits.lease_ttl_ms_max => Err(Refused::Ttl),
            Ok(key) => {
                self.came_back(key);
                self.renew_lease(key, ttl_ms, out).map(Done::Granted)
            }
        };
        out.push(Effect::Answer(reply, renewed));
    }

    /// A holder has its new token.
    pub(super) fn came_back(&mut self, key: Key) {
        if let Some(lease) = self.claims.get_mut(key).and_then(Claim::lease_mut) {
            lease.awaited = false;
        }
    }

    /// Extends, and never shortens.
    fn renew_lease(&mut self, key: Key, ttl_ms: u32, out: &mut Vec<Effect>) -> Result<Grant, Refused> {
        let now_ms = self.now.monotonic_ms;
        let lease = self.claims.get_mut(key).and_then(Claim::lease_mut).ok_or(Refused::Unknown)?;
        if let Some(until_ms) = lease.revoked_ms {
            return Err(Refused::Revoking(until_ms.saturating_sub(now_ms)));
        }
        // Since a restart nobody had come back for it: its system has, with this.
        let is_first = lease.deadline_ms == u64::MAX;
        (lease.returning, lease.awaited) = (lease.returning || is_first, lease.awaited || is_first);
        // A gate that is being fenced anew keeps it in mind, and opens for as long.
        self.extend(key, now_ms.saturating_add(u64::from(ttl_ms)), out);
        self.claims.get(key).and_then(|claim| claim.grant(self.now)).ok_or(Refused::Unknown)
    }

    /// Moves a lease's deadline to `deadline_ms`, as far as others leave room; the gates know before the holder.
    pub(super) fn extend(&mut self, key: Key, deadline_ms: u64, out: &mut Vec<Effect>) {
        let latest_ms = self.latest_deadline_ms(key);
        let now_ms = self.now.monotonic_ms;
        let Some(claim) = self.claims.get_mut(key) else { return };
        let Some(lease) = claim.lease_mut() else { return };
        let before_ms = if lease.returning { 0 } else { lease.deadline_ms };
        lease.returning = false;
        lease.deadline_ms = deadline_ms.min(latest_ms).max(before_ms);
        let (token, ttl_ms) = (lease.token, lease.deadline_ms.saturating_sub(now_ms));
        let objects = claim.objects.as_slice();
        out.extend(objects.iter().map(|wanted| Effect::Extend { object: wanted.object, token, ttl_ms }));
        self.arm(key);
    }

    /// How long a lease may last at most: while others wait no longer than its terms say, and not into a reservation
    /// that it is not above or older than.
    pub(super) fn latest_deadline_ms(&self, key: Key) -> u64 {
        let Some(claim) = self.claims.get(key) else { return u64::MAX };
        let (now_ms, wall_ms) = (self.now.monotonic_ms, self.now.wall.unix_ms());
        let at = |wall: crate::time::Timestamp| now_ms.saturating_add(wall.unix_ms().saturating_sub(wall_ms));
        let since_ms = claim.lease().map_or(now_ms, |lease| lease.since_ms);
        let mut latest_ms = claim.reserved_until.map_or(u64::MAX, at);
        for wanted in claim.objects.as_slice() {
            let Some(object) = self.object(wanted.object.slot() as usize) else { continue };
            if wanted.terms.hold_ms_max > 0 && !object.queue.is_empty() {
                latest_ms = latest_ms.min(since_ms.saturating_add(u64::from(wanted.terms.hold_ms_max)));
            }
            for reservation in object.reservations() {
                let older = claim.order & !ORDER_OF_REQUESTS <= reservation.id;
                let own = reservation.system == claim.system && reservation.who.holder == claim.who.holder;
                if claim.priority <= reservation.wanted.priority && !older && !own {
                    latest_ms = latest_ms.min(at(reservation.from));
                }
            }
        }
        latest_ms
    }

    /// A lease of one change is over with the change, whatever token its gate was fenced at anew meanwhile.
    fn brief(&self, shown: &Shown) -> Option<Key> {
        let key = self.object(shown.object.slot() as usize)?.holder;
        let claim = self.claims.get(key).filter(|claim| claim.manner.one_shot && claim.system == shown.system)?;
        let lease = claim.lease().filter(|lease| lease.shown && lease.first == shown.token)?;
        (claim.who.holder.user == shown.user && lease.first != Token::NONE).then_some(key)
    }

    pub(super) fn release(&mut self, shown: &Shown, reply: Reply, out: &mut Vec<Effect>) {
        match self.brief(shown).map_or_else(|| self.shown(shown), Ok) {
            Ok(key) => self.let_go(key, End::Released, Some(reply), out),
            Err(refused) => out.push(Effect::Answer(reply, Err(refused))),
        }
    }

    /// Ends a lease, and answers when its gates have closed.
    pub(super) fn let_go(&mut self, key: Key, end: End, reply: Option<Reply>, out: &mut Vec<Effect>) {
        let Some(claim) = self.claims.get(key) else { return };
        let objects = claim.objects.clone();
        if let Some(reply) = reply {
            let closing = self.closings.insert((reply, objects.as_slice().len()));
            for slot in Self::slots(&objects) {
                self.await_closed(slot, closing);
            }
        }
        self.vacate(key, end, out);
    }

    /// Whoever is kept under `closing` waits for this gate to close.
    pub(super) fn await_closed(&mut self, slot: usize, closing: Key) {
        let Some(object) = self.object_mut(slot) else { return };
        if object.closing == NOBODY {
            object.closing = closing;
        } else {
            object.extra_mut().closing.push(closing);
        }
    }

    /// A gate has closed, or does not answer: whoever waited for it does so no more.
    pub(super) fn closed(&mut self, slot: usize, out: &mut Vec<Effect>) {
        let Some(object) = self.object_mut(slot).filter(|object| object.closing != NOBODY) else { return };
        let first = std::mem::replace(&mut object.closing, NOBODY);
        let others = object.extra.as_mut().map(|extra| std::mem::take(&mut extra.closing));
        for closing in std::iter::once(first).chain(others.into_iter().flatten()) {
            let Some((reply, left)) = self.closings.get_mut(closing) else { continue };
            *left -= 1;
            if *left == 0 {
                out.push(Effect::Answer(*reply, Ok(Done::Settled)));
                self.closings.remove(closing);
            }
        }
    }

    /// A holder who was asked yields, or declines: then those who asked for any object of its lease are refused.
    pub(super) fn answer_ask(&mut self, shown: &Shown, yields: bool, reply: Reply, out: &mut Vec<Effect>) {
        let key = match self.shown(shown) {
            Ok(key) => key,
            Err(refused) => return out.push(Effect::Answer(reply, Err(refused))),
        };
        if yields {
            return self.let_go(key, End::Yielded, Some(reply), out);
        }
        let Some(held) = self.claims.get(key) else { return };
        let lines = Self::slots(&held.objects).filter_map(|slot| self.object(slot)).flat_map(|object| &object.queue);
        let waiting = lines.filter_map(|rank| Some((rank.key, self.claims.get(rank.key)?)));
        let asking: Vec<(Key, bool)> =
            waiting.filter(|(_, claim)| claim.manner.ask).map(|(key, claim)| (key, claim.outranks(held))).collect();
        if asking.is_empty() {
            return out.push(Effect::Answer(reply, Err(Refused::NotAsked)));
        }
        for (key, above) in asking {
            // Who is above the holder does not depend on its word; a set that asked for several has left with the first.
            if !above {
                self.leave(key, End::Declined, out);
            }
        }
        out.push(Effect::Answer(reply, Ok(Done::Settled)));
    }

    /// All leases of a system are renewed by one message; one that is revoked is not.
    pub(super) fn keep_alive(&mut self, system: EntityId, reply: Reply, out: &mut Vec<Effect>) {
        let mut kept = 0;
        let mut next = self.systems.get(&system).copied().unwrap_or(NOBODY);
        while let Some(claim) = self.claims.get(next) {
            let (key, ttl_ms, shown) = (next, claim.ttl_ms, claim.is_shown());
            next = claim.links.1;
            kept += u32::from(shown && self.renew_lease(key, ttl_ms, out).is_ok());
        }
        out.push(Effect::Answer(reply, Ok(Done::Kept(kept))));
    }

    /// A requester began a new life. It happens seldom, and so looks at every claim.
    pub(super) fn abandon(&mut self, system: EntityId, out: &mut Vec<Effect>) {
        let of_system = |(key, claim): (Key, &Claim)| (claim.system == system).then_some(key);
        let keys: Vec<Key> = self.claims.iter().filter_map(of_system).collect();
        for key in keys {
            match self.claims.get(key).map(|claim| &claim.state) {
                Some(State::Leased(_)) => self.let_go(key, End::Released, None, out),
                Some(State::Waiting) => self.leave(key, End::Cancelled, out),
                Some(State::Ended(_)) | None => {}
            }
            self.finish(out);
        }
    }

    /// The rules give a request another priority: waiters are sorted again and keep their arrival; a holder that is
    /// outranked now is revoked, not dropped.
    pub(super) fn weigh(&mut self, object: EntityId, arrival: u64, priority: Priority, out: &mut Vec<Effect>) {
        let slot = object.slot() as usize;
        let Some(key) = self.numbered(object, arrival) else {
            if let Some(kept) = self.reservation_mut(slot, arrival) {
                kept.wanted.priority = priority;
                self.record(slot, Change::Weighed { arrival, priority }, out);
            }
            return;
        };
        let Some((arrival, before)) = self.claims.get(key).map(|claim| (claim.arrival, claim.priority)) else { return };
        self.reweigh(key, object, priority);
        if !broken(Mutation::WeightNotRecorded) {
            self.record(slot, Change::Weighed { arrival, priority }, out);
        }
        // The gates tell who is refused what the holder weighs.
        let changed = self.claims.get(key).filter(|claim| claim.priority != before);
        if let Some((claim, lease)) = changed.and_then(|claim| Some((claim, claim.lease()?))) {
            let (objects, token, priority) = (claim.objects.as_slice(), lease.token, claim.priority);
            out.extend(objects.iter().map(|wanted| Effect::Weigh { object: wanted.object, token, priority }));
        }
        self.touch(key);
    }

    /// The request with this number, or that came of the reservation with it, if it has the object or waits for it.
    fn numbered(&self, object: EntityId, arrival: u64) -> Option<Key> {
        let place = self.object(object.slot() as usize)?;
        let is =
            |key: &Key| self.claims.get(*key).is_some_and(|claim| claim.arrival == arrival || claim.order == arrival);
        std::iter::once(place.holder).chain(place.queue.iter().map(|rank| rank.key)).find(is)
    }

    /// Somebody may not have an object any more.
    pub(super) fn deny(&mut self, object: EntityId, arrival: u64, out: &mut Vec<Effect>) {
        let Some(key) = self.numbered(object, arrival) else {
            return self.take_back(object.slot() as usize, arrival, End::Denied, out);
        };
        match self.claims.get(key).and_then(Claim::lease) {
            Some(lease) if lease.shown => self.revoke_now(key, true, None, out),
            // Nobody has heard of that grant.
            Some(_) => self.let_go(key, End::Denied, None, out),
            None => self.leave(key, End::Denied, out),
        }
    }

    pub(super) fn reweigh(&mut self, key: Key, object: EntityId, priority: Priority) {
        let Some(claim) = self.claims.get(key) else { return };
        let rank = claim.rank(key);
        let objects = claim.objects.clone();
        let mut lined = Vec::new();
        for slot in Self::slots(&objects) {
            if self.object_mut(slot).is_some_and(|object| object.queue.remove(&rank)) {
                lined.push(slot);
            }
        }
        let Some(claim) = self.claims.get_mut(key) else { return };
        let same = |wanted: &&mut super::Wanted| wanted.object == object;
        if let Some(wanted) = claim.objects.as_mut_slice().iter_mut().find(same) {
            wanted.priority = priority;
        }
        claim.priority = claim.objects.priority();
        let rank = claim.rank(key);
        if !lined.is_empty() {
            self.overtake_sets(key);
        }
        for slot in lined {
            if let Some(object) = self.object_mut(slot) {
                object.queue.insert(rank);
            }
        }
    }

    /// An operator takes an object back from its holder, with grace or without.
    pub(super) fn revoke_for_good(&mut self, object: EntityId, grace: bool, reply: Reply, out: &mut Vec<Effect>) {
        let key = self.object(object.slot() as usize).map_or(NOBODY, |object| object.holder);
        if self.claims.get(key).is_none() {
            return out.push(Effect::Answer(reply, Err(Refused::Unknown)));
        }
        self.revoke_now(key, grace, Some(reply), out);
    }

    /// Revokes a lease, whoever waits for it or not.
    pub(super) fn revoke_now(&mut self, key: Key, grace: bool, reply: Option<Reply>, out: &mut Vec<Effect>) {
        let grace_ms = if grace { self.terms_of(key).0 } else { 0 };
        if grace_ms == 0 || !self.claims.get(key).is_some_and(Claim::is_shown) {
            return self.let_go(key, End::Revoked, reply, out);
        }
        let revoked = self.claims.get(key).and_then(Claim::lease).is_some_and(|lease| lease.revoked_ms.is_some());
        if revoked {
            // The grace that runs goes on; only, nobody's leaving ends the revocation any more.
            if let Some(State::Leased(lease)) = self.claims.get_mut(key).map(|claim| &mut claim.state) {
                lease.revoked_for_good = true;
            }
            self.record_of(key, |_| Change::Revoking { by: None }, out);
        } else {
            self.begin_revocation(key, grace_ms, None, out);
            self.tell(key, super::Notice::Revoking { by: None, priority: Priority::MAX, in_ms: grace_ms }, out);
        }
        out.extend(reply.map(|reply| Effect::Answer(reply, Ok(Done::Settled))));
    }
}
