//! Requests: granted, waiting or refused; repeated; cancelled.

use std::cmp::Reverse;

use super::{
    Change, ClaimRef, Claimant, Done, Effect, End, Notice, Objects, Refused, Reply, Request, RequestId, Table,
    claim::{Claim, Key, NOBODY, State},
    ids::Named,
    mutation::{Mutation, broken},
};
use crate::EntityId;

impl Table {
    /// FGMV-28 7.1.3 steps 6 to 11: several requests at once are decided in the order of their priorities, so that at
    /// most one of them is granted: once one has the object or waits for it, the others do not wait.
    pub(super) fn batch(&mut self, mut requests: Vec<(Request, Reply)>, out: &mut Vec<Effect>) {
        requests.sort_by_key(|(request, _)| Reverse(request.objects.priority()));
        let mut stays = false;
        for (mut request, reply) in requests {
            if stays {
                request.wait_ms = 0;
            }
            let before = out.len();
            self.request(request, reply, out);
            self.finish(out);
            let said = out.get(before..).unwrap_or_default();
            let refused = |effect: &Effect| matches!(effect, Effect::Answer(to, Err(_)) if *to == reply);
            stays |= !said.iter().any(refused);
        }
    }

    pub(super) fn request(&mut self, request: Request, reply: Reply, out: &mut Vec<Effect>) {
        if let Err(refused) = self.admit(&request) {
            return out.push(Effect::Answer(reply, Err(refused)));
        }
        let hash = request.id.map_or(0, |id| self.ids.hash(request.system, id));
        if let Some(id) = request.id.filter(|_| !broken(Mutation::IdsForgotten))
            && let Some(named) = self.ids.find(hash, &self.claims, request.system, id)
        {
            return self.repeat(named, &request, reply, out);
        }
        if let Some(key) = self.returning(&request).or_else(|| self.reserved(&request)) {
            return self.take_up(key, request, hash, reply, out);
        }
        if self.is_full() {
            return out.push(Effect::Answer(reply, Err(Refused::ClaimsFull)));
        }
        let key = self.keep(request, hash, reply);
        // The usual case costs no place in line.
        if self.is_free_for(key) {
            return self.grant(key, out);
        }
        self.enqueue(key);
        if self.is_ready(key) {
            self.record_queued(key, out);
        } else if let Err(refused) = self.may_wait(key) {
            return self.refuse(key, refused, out);
        } else {
            self.record_queued(key, out);
            self.ask_holder(key, out);
        }
        self.arm(key);
        self.touch(key);
    }

    fn admit(&self, request: &Request) -> Result<(), Refused> {
        let objects = request.objects.as_slice();
        let twice = |(index, wanted): (usize, &super::Wanted)| {
            objects.iter().take(index).any(|earlier| earlier.object == wanted.object)
        };
        if objects.is_empty()
            || objects.len() > self.limits.lease_set_objects_max
            || objects.iter().enumerate().any(twice)
        {
            return Err(Refused::Set);
        }
        if request.ttl_ms == 0 || request.ttl_ms > self.limits.lease_ttl_ms_max {
            return Err(Refused::Ttl);
        }
        if request.wait_ms > self.limits.lease_wait_ms_max {
            return Err(Refused::Wait);
        }
        Ok(())
    }

    /// The same request again: the present answer, and nothing changes.
    fn repeat(&mut self, named: Named, request: &Request, reply: Reply, out: &mut Vec<Effect>) {
        let is_same = |who: &Claimant, objects: &Objects| {
            let its = objects.as_slice().iter().map(|wanted| wanted.object);
            who.holder == request.who.holder && its.eq(request.objects.as_slice().iter().map(|wanted| wanted.object))
        };
        let key = match named {
            Named::Live(key) => key,
            Named::Ended(number) => {
                let Some(ended) = self.ids.ended(number) else { return };
                let same = is_same(&ended.who, &ended.objects);
                let refused = if same { Refused::Ended(ended.end, None) } else { Refused::IdReused };
                return out.push(Effect::Answer(reply, Err(refused)));
            }
        };
        let Some(claim) = self.claims.get_mut(key) else { return };
        if !is_same(&claim.who, &claim.objects) {
            return out.push(Effect::Answer(reply, Err(Refused::IdReused)));
        }
        match &claim.state {
            State::Leased(lease) if lease.shown && lease.unfenced == 0 => {
                let granted = claim.grant(self.now).map(Done::Granted);
                out.extend(granted.map(|granted| Effect::Answer(reply, Ok(granted))));
                self.came_back(key);
            }
            // It is decided later, and whoever asked last hears it.
            State::Leased(_) | State::Waiting | State::Ended(_) => {
                if let Some(before) = claim.reply.replace(reply) {
                    out.push(Effect::Answer(before, Err(Refused::Superseded)));
                }
            }
        }
    }

    /// A lease whose holder comes back after the supervisor began a new life: the same user of the same system and
    /// world, for the same objects.
    fn returning(&self, request: &Request) -> Option<Key> {
        let first = Self::slots(&request.objects).next()?;
        let key = self.object(first)?.holder;
        let claim = self.claims.get(key)?;
        let lease = claim.lease().filter(|lease| lease.deadline_ms == u64::MAX || lease.awaited)?;
        (claim.is_like(request) && lease.shown).then_some(key)
    }

    /// What came of the requester's own reservation, which has no other request yet: the lease, or the place in line if
    /// this request would wait.
    fn reserved(&self, request: &Request) -> Option<Key> {
        let object = self.object(Self::slots(&request.objects).next()?)?;
        let its = |key: &Key| {
            let own =
                |claim: &&Claim| claim.reserved_until.is_some() && claim.reply.is_none() && claim.is_like(request);
            self.claims.get(*key).filter(own).is_some_and(|claim| match &claim.state {
                State::Leased(lease) => claim.id.is_none() && lease.revoked_ms.is_none(),
                State::Waiting => request.wait_ms > 0,
                State::Ended(_) => false,
            })
        };
        Some(object.holder).filter(its).or_else(|| object.reserved().find(its))
    }

    fn take_up(&mut self, key: Key, request: Request, hash: u32, reply: Reply, out: &mut Vec<Effect>) {
        let now = self.now;
        self.rename(key, request.id, hash);
        self.came_back(key);
        let Some(claim) = self.claims.get_mut(key) else { return };
        claim.ttl_ms = request.ttl_ms;
        let waits = matches!(claim.state, State::Waiting);
        if waits {
            claim.wait_until_ms = claim.wait_until_ms.max(now.monotonic_ms.saturating_add(u64::from(request.wait_ms)));
        }
        if waits || claim.lease().is_some_and(|lease| lease.unfenced > 0 || !lease.shown) {
            if let Some(before) = claim.reply.replace(reply) {
                out.push(Effect::Answer(before, Err(Refused::Superseded)));
            }
            return;
        }
        let deadline_ms = now.monotonic_ms.saturating_add(u64::from(request.ttl_ms));
        self.extend(key, deadline_ms, out);
        let granted = self.claims.get(key).and_then(|claim| claim.grant(now));
        out.extend(granted.map(|grant| Effect::Answer(reply, Ok(Done::Granted(grant)))));
    }

    /// A holder that comes back with another id is known by both.
    fn rename(&mut self, key: Key, id: Option<RequestId>, hash: u32) {
        let (Some(id), Some(claim)) = (id, self.claims.get_mut(key)) else { return };
        let system = claim.system;
        match claim.id {
            None => (claim.id, claim.id_hash) = (Some(id), hash),
            Some(own) if own == id => {}
            Some(_) => self.ids.alias(key, id),
        }
        self.ids.insert(hash, &self.claims, system, id, key);
    }

    fn keep(&mut self, request: Request, hash: u32, reply: Reply) -> Key {
        let arrival = self.next_arrival();
        for wanted in request.objects.as_slice() {
            self.object_at(wanted.object);
        }
        let now_ms = self.now.monotonic_ms;
        let claim = Claim {
            priority: request.objects.priority(),
            who: request.who,
            objects: request.objects,
            system: request.system,
            id: request.id,
            id_hash: hash,
            arrival,
            order: arrival | super::claim::ORDER_OF_REQUESTS,
            ttl_ms: request.ttl_ms,
            wait_ms: request.wait_ms,
            wait_until_ms: if request.wait_ms == 0 { 0 } else { now_ms + u64::from(request.wait_ms) },
            manner: request.manner,
            recorded: false,
            reply: Some(reply),
            reserved_until: None,
            state: State::Waiting,
            links: (NOBODY, NOBODY),
        };
        self.insert(claim)
    }

    pub(super) fn insert(&mut self, claim: Claim) -> Key {
        let (id, system, hash) = (claim.id, claim.system, claim.id_hash);
        let key = self.claims.insert(claim);
        if let Some(id) = id {
            self.ids.insert(hash, &self.claims, system, id, key);
        }
        key
    }

    /// Whether the only object that the claim wants is nobody's, and nobody is in line.
    fn is_free_for(&self, key: Key) -> bool {
        let Some(Claim { objects: Objects::One(wanted), .. }) = self.claims.get(key) else { return false };
        self.object(wanted.object.slot() as usize)
            .is_some_and(|object| object.holder == NOBODY && object.queue.is_empty() && !object.quarantined)
    }

    /// Puts a claim in line for each of its objects.
    pub(super) fn enqueue(&mut self, key: Key) {
        self.overtake_sets(key);
        let Some(claim) = self.claims.get(key) else { return };
        let (rank, eager) = (claim.rank(key), claim.wait_until_ms == 0);
        for wanted in claim.objects.as_slice() {
            let place = self.objects.get_mut(wanted.object.slot() as usize).and_then(Option::as_mut);
            let Some(object) = place else { continue };
            self.counts.waiting += u64::from(object.queue.insert(rank));
            if eager {
                object.extra_mut().eager.push(key);
            }
        }
    }

    /// A set that is first in line somewhere, and is not any more once `key` is there, has no claim to its other
    /// objects either: they are looked at.
    pub(super) fn overtake_sets(&mut self, key: Key) {
        let Some(claim) = self.claims.get(key) else { return };
        let rank = claim.rank(key);
        for slot in Self::slots(&claim.objects) {
            let first = self.object(slot).and_then(|object| object.queue.first()).filter(|first| rank < **first);
            let overtaken = first.and_then(|first| self.claims.get(first.key));
            if let Some(Objects::Set(set)) = overtaken.map(|claim| &claim.objects) {
                self.touched.extend(set.iter().map(|wanted| wanted.object.slot() as usize));
            }
        }
    }

    /// Takes a claim out of every line that it is in.
    pub(super) fn dequeue(&mut self, key: Key) {
        let Some(claim) = self.claims.get(key) else { return };
        let rank = claim.rank(key);
        for wanted in claim.objects.as_slice() {
            let place = self.objects.get_mut(wanted.object.slot() as usize).and_then(Option::as_mut);
            let Some(object) = place else { continue };
            self.counts.waiting -= u64::from(object.queue.remove(&rank));
            if let Some(extra) = &mut object.extra {
                extra.eager.retain(|eager| *eager != key);
            }
        }
    }

    fn record_queued(&mut self, key: Key, out: &mut Vec<Effect>) {
        let now = self.now;
        self.record_of(key, |claim| Change::Queued(Box::new(claim.record(now))), out);
        if let Some(claim) = self.claims.get_mut(key) {
            claim.recorded = true;
        }
    }

    /// Whether a claim that is in line, and not about to win, may stay there.
    fn may_wait(&self, key: Key) -> Result<(), Refused> {
        let Some(claim) = self.claims.get(key) else { return Err(Refused::Unknown) };
        let first = Self::slots(&claim.objects).next().unwrap_or(usize::MAX);
        let objects = || Self::slots(&claim.objects).filter_map(|slot| self.object(slot));
        if objects().any(|object| object.queue.len() > self.limits.lease_queue_max) {
            return Err(Refused::QueueFull);
        }
        let quarantined = objects().any(|object| object.quarantined);
        let busy = objects().any(|object| {
            self.claims.get(object.holder).is_some_and(|holder| claim.manner.one_shot && !holder.manner.one_shot)
        });
        if claim.wait_ms == 0 || busy {
            let end = if quarantined { End::Quarantined } else { End::Held };
            let held = Self::slots(&claim.objects)
                .find(|slot| self.object(*slot).is_some_and(|object| object.holder != NOBODY))
                .unwrap_or(first);
            // Who asks is itself in line now, and stands in nobody's way.
            let alone = self.object(held).is_some_and(|at| at.holder == NOBODY && at.head() == Some(key));
            let in_the_way = if alone { None } else { self.conflict(held) };
            return Err(Refused::Ended(end, in_the_way));
        }
        Ok(())
    }

    /// A request is refused as it comes. With an id that is written down, since the answer must stay the same.
    fn refuse(&mut self, key: Key, refused: Refused, out: &mut Vec<Effect>) {
        self.dequeue(key);
        self.answer(key, Err(refused.clone()), out);
        let id = self.claims.get(key).and_then(|claim| claim.id.map(|id| (claim.system, id)));
        match (refused, id) {
            (Refused::Ended(end, _), Some(_)) => {
                let now = self.now;
                let first = self.claims.get(key).and_then(|claim| {
                    let slot = Self::slots(&claim.objects).next()?;
                    Some((slot, ClaimRef::New(Box::new(claim.record(now)))))
                });
                if let Some((slot, claim)) = first {
                    self.record(slot, Change::Left { claim, end }, out);
                }
                self.end(key, end, out);
            }
            // A limit is no answer to keep: the same request may come again.
            _ => self.remove(key),
        }
    }

    /// The holders are asked to yield, where the requester wished so and nothing can be forced.
    fn ask_holder(&self, key: Key, out: &mut Vec<Effect>) {
        let Some(claim) = self.claims.get(key).filter(|claim| claim.manner.ask) else { return };
        for slot in Self::slots(&claim.objects) {
            let Some(object) = self.object(slot) else { continue };
            self.tell(object.holder, Notice::Asked { by: claim.who.clone(), priority: claim.priority }, out);
        }
    }

    pub(super) fn cancel(&mut self, system: EntityId, id: RequestId, reply: Reply, out: &mut Vec<Effect>) {
        let answer = match self.ids.find(self.ids.hash(system, id), &self.claims, system, id) {
            Some(Named::Live(key)) => match self.claims.get(key).map(|claim| &claim.state) {
                Some(State::Waiting) => {
                    self.leave(key, End::Cancelled, out);
                    Ok(Done::Settled)
                }
                Some(State::Leased(lease)) if !lease.shown => {
                    self.vacate(key, End::Cancelled, out);
                    Ok(Done::Settled)
                }
                Some(State::Leased(_) | State::Ended(_)) | None => Err(Refused::Unknown),
            },
            Some(Named::Ended(number)) => {
                Err(self.ids.ended(number).map_or(Refused::Unknown, |ended| Refused::Ended(ended.end, None)))
            }
            None => Err(Refused::Unknown),
        };
        out.push(Effect::Answer(reply, answer));
    }

    /// A claim that waits goes, with nothing.
    pub(super) fn leave(&mut self, key: Key, end: End, out: &mut Vec<Effect>) {
        let now = self.now;
        self.record_of(key, |claim| Change::Left { claim: claim.reference(now), end }, out);
        self.dequeue(key);
        self.touch(key);
        if self.claims.get(key).is_some_and(|claim| claim.reply.is_none()) {
            self.tell(key, Notice::Left(end), out);
        }
        self.end(key, end, out);
    }

    /// A claim has waited as long as it wanted to. If it is about to win, it stays for as long as it is.
    pub(super) fn wait_over(&mut self, key: Key, out: &mut Vec<Effect>) {
        if broken(Mutation::DeadWaiterStays) {
            return;
        }
        if !self.is_ready(key) {
            return self.leave(key, End::WaitOver, out);
        }
        let Some(claim) = self.claims.get_mut(key) else { return };
        claim.wait_until_ms = 0;
        for wanted in claim.objects.as_slice() {
            let place = self.objects.get_mut(wanted.object.slot() as usize).and_then(Option::as_mut);
            if let Some(object) = place {
                object.extra_mut().eager.push(key);
            }
        }
    }
}
