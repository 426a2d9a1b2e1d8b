//! Reservations: an object kept for somebody from some moment on. Wall time chooses whom to grant, never whether a
//! token is valid.

use std::sync::Arc;

use super::{
    Booking, Change, ClaimRecord, Claimant, Done, Effect, End, Manner, Notice, Objects, Refused, Reply, Reservation,
    Table,
    claim::{Claim, Key, NOBODY, State},
};
use crate::EntityId;

impl Table {
    pub(super) fn reserve(&mut self, booking: Booking, reply: Reply, out: &mut Vec<Effect>) {
        let reserved = self.take_reservation(booking, out).map(Done::Reserved);
        out.push(Effect::Answer(reply, reserved));
    }

    fn take_reservation(&mut self, booking: Booking, out: &mut Vec<Effect>) -> Result<u64, Refused> {
        let wall = self.now.wall;
        let latest = wall.plus_ms(self.limits.lease_reservation_ahead_ms_max);
        if booking.from >= booking.until || booking.until <= wall || booking.from > latest {
            return Err(Refused::Window);
        }
        if booking.ttl_ms == 0 || booking.ttl_ms > self.limits.lease_ttl_ms_max {
            return Err(Refused::Ttl);
        }
        let slot = self.object_at(booking.wanted.object);
        let object = self.object(slot).ok_or(Refused::Unknown)?;
        if object.reservations().count() >= self.limits.lease_reservations_max {
            return Err(Refused::Window);
        }
        let overlapping =
            object.reservations().filter(|other| other.from < booking.until && booking.from < other.until);
        let (lower, not_lower): (Vec<_>, Vec<_>) =
            overlapping.partition(|other| other.wanted.priority < booking.wanted.priority);
        if let Some(other) = not_lower.first() {
            return Err(Refused::Taken(Box::new((*other).clone())));
        }
        let displaced: Vec<Reservation> = lower.into_iter().cloned().collect();
        for lower in displaced {
            self.drop_reservation(slot, lower.id, out);
            let objects = Objects::One(lower.wanted);
            let notice = Notice::Unreserved(lower.id);
            out.push(Effect::Tell { system: lower.system, who: lower.who, id: None, objects, notice });
        }
        let Booking { system, who, wanted, from, until, ttl_ms } = booking;
        let id = self.next_arrival();
        let reservation = Reservation { id, system, who, wanted, from, until, ttl_ms };
        self.record(slot, Change::Reserved(Box::new(reservation.clone())), out);
        self.insert_reservation(slot, reservation);
        Ok(id)
    }

    pub(super) fn insert_reservation(&mut self, slot: usize, reservation: Reservation) {
        self.upcoming.insert((reservation.from, slot, reservation.id));
        if let Some(object) = self.object_mut(slot) {
            object.extra_mut().reservations.insert(reservation.id, reservation);
        }
    }

    pub(super) fn drop_reservation(&mut self, slot: usize, id: u64, out: &mut Vec<Effect>) -> Option<Reservation> {
        let removed = self.remove_reservation(slot, id)?;
        self.record(slot, Change::Unreserved { id }, out);
        Some(removed)
    }

    pub(super) fn remove_reservation(&mut self, slot: usize, id: u64) -> Option<Reservation> {
        let extra = self.object_mut(slot)?.extra.as_mut()?;
        let removed = extra.reservations.remove(&id)?;
        self.upcoming.remove(&(removed.from, slot, id));
        Some(removed)
    }

    pub(super) fn unreserve(
        &mut self,
        object: EntityId,
        id: u64,
        system: Option<EntityId>,
        reply: Reply,
        out: &mut Vec<Effect>,
    ) {
        let slot = object.slot() as usize;
        let found = self.object(slot).and_then(|object| object.reservations().find(|kept| kept.id == id));
        let answer = match found {
            None => Err(Refused::Unknown),
            Some(kept) if system.is_some_and(|system| system != kept.system) => Err(Refused::NotYours),
            Some(_) => {
                // Who wants it no more itself need not be told.
                if system.is_some() {
                    self.drop_reservation(slot, id, out);
                } else {
                    self.take_back(slot, id, End::Revoked, out);
                }
                Ok(Done::Settled)
            }
        };
        out.push(Effect::Answer(reply, answer));
    }

    /// Drops a reservation that its user still wants, and says why.
    pub(super) fn take_back(&mut self, slot: usize, id: u64, end: End, out: &mut Vec<Effect>) {
        if let Some(Reservation { system, who, wanted, .. }) = self.drop_reservation(slot, id, out) {
            let (objects, notice) = (Objects::One(wanted), Notice::Dropped { id, end });
            out.push(Effect::Tell { system, who, id: None, objects, notice });
        }
    }

    pub(super) fn reservation_mut(&mut self, slot: usize, id: u64) -> Option<&mut Reservation> {
        self.object_mut(slot)?.extra.as_mut()?.reservations.get_mut(&id)
    }

    /// Reservations whose time has come: each becomes a request that is first in its priority.
    pub(super) fn begin_reservations(&mut self, out: &mut Vec<Effect>) {
        while let Some((from, slot, id)) = self.upcoming.first().copied() {
            if from > self.now.wall {
                return;
            }
            self.upcoming.pop_first();
            let Some(reservation) = self.drop_reservation(slot, id, out) else { continue };
            if reservation.until > self.now.wall {
                self.begin(reservation, out);
                self.finish(out);
            }
        }
    }

    fn begin(&mut self, reservation: Reservation, out: &mut Vec<Effect>) {
        let own = |claim: &Claim| claim.is_of(reservation.system, &reservation.who);
        let Some(object) = self.object(reservation.wanted.object.slot() as usize) else { return };
        // Who has the object already keeps it, and nobody equal can take it.
        let holds = self.claims.get(object.holder).filter(|held| own(held) && !held.manner.one_shot);
        if holds.and_then(Claim::lease).is_some_and(|lease| lease.revoked_ms.is_none()) {
            return;
        }
        // A line is no longer than `lease_queue_max`, and a reservation begins once.
        let waits = |key: &Key| {
            let alone = |claim: &&Claim| matches!(claim.objects, Objects::One(_)) && !claim.manner.one_shot;
            self.claims.get(*key).filter(alone).is_some_and(own)
        };
        if let Some(key) = object.queue.iter().map(|rank| rank.key).find(waits) {
            return self.move_up(key, reservation, out);
        }
        let claim_ms = self.limits.lease_reservation_claim_ms;
        let Reservation { id, system, who, wanted, until, ttl_ms, .. } = reservation;
        let arrival = self.next_arrival();
        let key = self.insert(Claim {
            who,
            objects: Objects::One(wanted),
            system,
            id: None,
            id_hash: 0,
            arrival,
            order: id,
            // Who does not come for it in time loses it.
            ttl_ms: ttl_ms.min(claim_ms),
            wait_ms: claim_ms,
            wait_until_ms: self.now.monotonic_ms.saturating_add(u64::from(claim_ms)).max(1),
            manner: Manner::default(),
            priority: wanted.priority,
            recorded: true,
            reply: None,
            reserved_until: Some(until),
            state: State::Waiting,
            links: (NOBODY, NOBODY),
        });
        self.enqueue(key);
        let now = self.now;
        self.record_of(key, |claim| Change::Queued(Box::new(claim.record(now))), out);
        self.arm(key);
        self.touch(key);
    }

    /// A request that waits takes the place that its user has reserved.
    fn move_up(&mut self, key: Key, reservation: Reservation, out: &mut Vec<Effect>) {
        let (claim_ms, now) = (self.limits.lease_reservation_claim_ms, self.now);
        self.dequeue(key);
        let Some(claim) = self.claims.get_mut(key) else { return };
        let Reservation { id, who: reserved, wanted, until, .. } = reservation;
        // It stays what it is, but weighs what is reserved.
        let who = Claimant { claimed: reserved.claimed, ..Claimant::clone(&claim.who) };
        let place = ClaimRecord {
            order: id,
            who: Arc::new(who),
            objects: Objects::One(wanted),
            wait_ms: claim.wait_ms.max(claim_ms),
            reserved_until: Some(until),
            ..claim.record(now)
        };
        claim.take_place(&place);
        claim.wait_until_ms = claim.wait_until_ms.max(now.monotonic_ms.saturating_add(u64::from(claim_ms)).max(1));
        self.enqueue(key);
        self.record_of(key, |claim| Change::MovedUp(Box::new(claim.record(now))), out);
        self.arm(key);
        self.touch(key);
    }
}
