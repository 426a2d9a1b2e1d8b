//! The table of all objects, and the one function that moves it.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasherDefault, Hasher},
};

use indexmap::IndexMap;
use slab::Slab;

use super::{
    Change, Conflict, Done, Effect, End, Input, LeaseLimits, Notice, Objects, Over, Refused, Reply, Token,
    claim::{Claim, Key, NOBODY, State},
    due::Due,
    ids::{Ids, PLACES_MAX},
    object::{NEVER_ENDED, Object},
    view::Counts,
};
use crate::{
    EntityId,
    time::{Now, Timestamp},
};

/// Spreads addresses, which the daemon gives and nobody outside can choose: Fibonacci hashing (Knuth, volume 3, 6.4).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        let spread = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // A map takes its place from the low bits.
        self.0 = spread ^ (spread >> 32);
    }
}

/// Who may drive which physical object: all objects, all leases, all who wait. See the [module](super).
///
/// Every operation costs O(log n) in the number of claims and objects, times the objects of a set.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) limits: LeaseLimits,
    pub(super) now: Now,
    pub(super) epoch: u64,
    pub(super) tokens: u64,
    pub(super) arrivals: u64,
    /// By the slots of their addresses.
    pub(super) objects: Vec<Option<Object>>,
    pub(super) claims: Slab<Claim>,
    /// Ids of claims, and the claims that ended and whose ids are still known.
    pub(super) ids: Ids,
    /// The first lease of each system.
    pub(super) systems: IndexMap<EntityId, Key, BuildHasherDefault<AddressHasher>>,
    pub(super) claims_due: Due,
    pub(super) objects_due: Due,
    /// Reservations that have not begun.
    pub(super) upcoming: BTreeSet<(Timestamp, usize, u64)>,
    /// Askers who wait for gates to close, with how many have not.
    pub(super) closings: Slab<(Reply, usize)>,
    /// While records are replayed: claims by their numbers.
    pub(super) replayed: BTreeMap<u64, Key>,
    pub(super) counts: Counts,
    /// Within a step: objects to look at, and leases that ended and whose objects nobody has got yet.
    pub(super) touched: Vec<usize>,
    pub(super) vacated: Vec<(usize, Over)>,
}

impl Table {
    /// An empty table, before its records are replayed and [`Input::Recover`] begins its life.
    #[must_use]
    pub fn new(limits: LeaseLimits) -> Self {
        Self {
            limits,
            now: Now::default(),
            epoch: 0,
            tokens: 0,
            arrivals: 0,
            objects: Vec::new(),
            claims: Slab::new(),
            ids: Ids::default(),
            systems: IndexMap::default(),
            claims_due: Due::default(),
            objects_due: Due::default(),
            upcoming: BTreeSet::new(),
            closings: Slab::new(),
            replayed: BTreeMap::new(),
            counts: Counts::default(),
            touched: Vec::new(),
            vacated: Vec::new(),
        }
    }

    /// One step: takes what happens at `now`, and appends what follows to `out`. What has become due is done first.
    pub fn step(&mut self, input: Input, now: Now, out: &mut Vec<Effect>) {
        self.now = now;
        if let Input::Recover(why) = input {
            // First of all: nothing may become due, and get a token, in the epoch that is over.
            self.recover(why, out);
            self.finish(out);
            return self.ripen(out);
        }
        self.ripen(out);
        match input {
            Input::Request(request, reply) => self.request(request, reply, out),
            Input::Batch(requests) => self.batch(requests, out),
            Input::Cancel { system, id, reply } => self.cancel(system, id, reply, out),
            Input::Renew { shown, ttl_ms, reply } => self.renew(&shown, ttl_ms, reply, out),
            Input::Release { shown, reply } => self.release(&shown, reply, out),
            Input::Yield { shown, yields, reply } => self.answer_ask(&shown, yields, reply, out),
            Input::KeepAlive { system, reply } => self.keep_alive(system, reply, out),
            Input::Abandon { system } => self.abandon(system, out),
            Input::Fenced { object, token, incarnation, fencing, seen_before } => {
                self.fenced(object, token, incarnation, fencing, seen_before, out);
            }
            Input::GateStarted { object, incarnation } => self.gate_started(object, incarnation, out),
            Input::Weigh { object, arrival, priority } => self.weigh(object, arrival, priority, out),
            Input::Deny { object, arrival } => self.deny(object, arrival, out),
            Input::Reserve(booking, reply) => self.reserve(booking, reply, out),
            Input::Unreserve { object, id, system, reply } => self.unreserve(object, id, system, reply, out),
            Input::Revoke { object, grace, reply } => self.revoke_for_good(object, grace, reply, out),
            Input::Retire { object, reply } => self.retire(object, reply, out),
            Input::Forget { object } => self.forget_object(object, out),
            Input::ReplaceGate { object, reply } => self.replace_gate(object, reply, out),
            Input::Recover(_) | Input::Tick => {}
        }
        self.finish(out);
    }

    /// When it was last moved.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// When something may become due, on the monotonic clock in milliseconds: the latest moment for an [`Input::Tick`].
    /// Reservations begin by the wall clock, which can jump: with one ahead it is at most a second away.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let reserved = self.upcoming.first().map(|(from, ..)| {
            let ahead = from.unix_ms().saturating_sub(self.now.wall.unix_ms());
            self.now.monotonic_ms.saturating_add(ahead.min(1_000))
        });
        [self.claims_due.next_ms(), self.objects_due.next_ms(), reserved].into_iter().flatten().min()
    }

    /// Does what has become due.
    fn ripen(&mut self, out: &mut Vec<Effect>) {
        let now_ms = self.now.monotonic_ms;
        while let Some(key) = self.claims_due.take(now_ms) {
            self.claim_due(key, now_ms, out);
            self.finish(out);
        }
        while let Some(slot) = self.objects_due.take(now_ms) {
            self.fence_due(slot, now_ms, out);
            self.finish(out);
        }
        self.begin_reservations(out);
        while let Some(until_ms) = self.ids.first_until_ms() {
            if until_ms > now_ms && !self.is_full() {
                break;
            }
            self.ids.forget_first();
        }
    }

    /// Whether there are as many claims as there may be, with those that ended and whose ids are known.
    pub(super) fn is_full(&self) -> bool {
        self.claims.len() + self.ids.ended_len() >= self.limits.lease_claims_max.min(PLACES_MAX)
    }

    /// Whether a lease has run out.
    fn is_over(&self, deadline_ms: u64) -> bool {
        if super::mutation::broken(super::mutation::Mutation::DeadlineByWallClock) {
            return deadline_ms <= self.now.wall.unix_ms();
        }
        deadline_ms <= self.now.monotonic_ms
    }

    fn claim_due(&mut self, key: Key, now_ms: u64, out: &mut Vec<Effect>) {
        let Some(claim) = self.claims.get(key) else { return };
        if claim.lease().is_some_and(|lease| lease.shown && self.is_over(lease.deadline_ms)) {
            return self.vacate(key, End::Expired, out);
        }
        if claim.due_ms() > now_ms {
            return self.arm(key);
        }
        let Some(claim) = self.claims.get_mut(key) else { return };
        match &mut claim.state {
            State::Waiting => self.wait_over(key, out),
            State::Leased(lease) if lease.revoked_ms.is_some_and(|until_ms| until_ms <= now_ms) => {
                let end = if lease.revoked_for_good { End::Revoked } else { End::Preempted };
                self.vacate(key, end, out);
            }
            State::Leased(lease) => {
                // Its minimum hold is over: whoever is above it can revoke it now.
                lease.revocable_ms = u64::MAX;
                self.arm(key);
                self.touch(key);
            }
            State::Ended(_) => {}
        }
    }

    pub(super) fn arm(&mut self, key: Key) {
        if let Some(due_ms) = self.claims.get(key).map(Claim::due_ms).filter(|due_ms| *due_ms != u64::MAX) {
            self.claims_due.arm(key, due_ms);
        }
    }

    /// Has a claim's objects looked at before the step ends.
    pub(super) fn touch(&mut self, key: Key) {
        if let Some(claim) = self.claims.get(key) {
            self.touched.extend(claim.objects.as_slice().iter().map(|wanted| wanted.object.slot() as usize));
        }
    }

    pub(super) fn object(&self, slot: usize) -> Option<&Object> {
        self.objects.get(slot)?.as_ref()
    }

    pub(super) fn object_mut(&mut self, slot: usize) -> Option<&mut Object> {
        self.objects.get_mut(slot)?.as_mut()
    }

    /// The object at this address, made if it is new.
    pub(super) fn object_at(&mut self, entity: EntityId) -> usize {
        let slot = entity.slot() as usize;
        if self.objects.len() <= slot {
            self.objects.resize(slot + 1, None);
        }
        if let Some(place) = self.objects.get_mut(slot) {
            let counts = &mut self.counts;
            place.get_or_insert_with(|| {
                counts.objects += 1;
                Object::new(entity)
            });
        }
        slot
    }

    /// The slots of a claim's objects. A claim has few, and most have one.
    pub(super) fn slots(objects: &Objects) -> impl Iterator<Item = usize> + '_ {
        objects.as_slice().iter().map(|wanted| wanted.object.slot() as usize)
    }

    pub(super) fn next_token(&mut self) -> Token {
        self.tokens += 1;
        Token { epoch: self.epoch, n: self.tokens }
    }

    pub(super) fn next_arrival(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    pub(super) fn record(&self, slot: usize, change: Change, out: &mut Vec<Effect>) {
        if let Some(object) = self.object(slot) {
            out.push(Effect::Record(Some(object.entity), change));
        }
    }

    /// Writes the same down for every object of a claim.
    pub(super) fn record_of(&self, key: Key, change: impl Fn(&Claim) -> Change, out: &mut Vec<Effect>) {
        let Some(claim) = self.claims.get(key) else { return };
        out.extend(claim.objects.as_slice().iter().map(|wanted| Effect::Record(Some(wanted.object), change(claim))));
    }

    pub(super) fn tell(&self, key: Key, notice: Notice, out: &mut Vec<Effect>) {
        let Some(claim) = self.claims.get(key) else { return };
        let (who, objects) = (claim.who.clone(), claim.objects.clone());
        out.push(Effect::Tell { system: claim.system, who, id: claim.id, objects, notice });
    }

    /// Answers whoever waits for a claim's end or grant, if somebody does.
    pub(super) fn answer(&mut self, key: Key, answer: Result<Done, Refused>, out: &mut Vec<Effect>) -> bool {
        let reply = self.claims.get_mut(key).and_then(|claim| claim.reply.take());
        if let Some(reply) = reply {
            out.push(Effect::Answer(reply, answer));
        }
        reply.is_some()
    }

    /// Who stands in the way of having an object: who holds it, or else who is first in line.
    pub(super) fn conflict(&self, slot: usize) -> Option<Box<Conflict>> {
        let object = self.object(slot)?;
        let key = if object.holder == NOBODY { object.head()? } else { object.holder };
        let claim = self.claims.get(key)?;
        let expires_in_ms = claim.told_grant(self.now).map(|grant| grant.expires_in_ms);
        let token = claim.lease().map_or(Token::NONE, |lease| lease.token);
        Some(Box::new(Conflict { who: claim.who.clone(), priority: claim.priority, token, expires_in_ms }))
    }

    /// A claim ended: its asker hears of it, and its id stays known for a while.
    pub(super) fn end(&mut self, key: Key, end: End, out: &mut Vec<Effect>) {
        let Some(claim) = self.claims.get(key) else { return };
        let first = Self::slots(&claim.objects).next().unwrap_or(usize::MAX);
        let in_the_way = if claim.reply.is_some() { self.conflict(first) } else { None };
        let unanswered =
            end == End::Displaced && super::mutation::broken(super::mutation::Mutation::DisplacedUnanswered);
        if !unanswered {
            self.answer(key, Err(Refused::Ended(end, in_the_way)), out);
        }
        let Some(claim) = self.claims.try_remove(key).filter(|claim| claim.id.is_some()) else { return };
        let until_ms = self.now.monotonic_ms.saturating_add(self.limits.lease_request_id_ttl_ms);
        let before = self.object(first).map_or(NEVER_ENDED, |object| object.last_ended);
        if let Some(number) = self.ids.end(key, claim, end, until_ms, before)
            && let Some(object) = self.object_mut(first)
        {
            object.last_ended = number;
        }
    }

    /// A claim goes, and all its ids.
    pub(super) fn remove(&mut self, key: Key) {
        if let Some(claim) = self.claims.try_remove(key) {
            self.ids.remove(key, &claim);
        }
    }
}
