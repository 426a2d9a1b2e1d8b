//! Objects that nothing stands for any more (FGMV-29 8.3.1): whoever waits leaves, whoever holds loses it, and when the
//! gate is closed nothing is left.

use super::{
    Change, Done, Effect, End, Reply, Table,
    claim::{Key, NOBODY},
};
use crate::EntityId;

impl Table {
    /// Ends everything that anybody has of an object; answered when its gate is closed.
    pub(super) fn retire(&mut self, object: EntityId, reply: Reply, out: &mut Vec<Effect>) {
        let slot = object.slot() as usize;
        let known = self.object(slot).map(|known| {
            let waiting: Vec<Key> = known.queue.iter().map(|rank| rank.key).collect();
            let reserved: Vec<_> = known.reservations().map(|kept| kept.id).collect();
            (known.holder, waiting, reserved)
        });
        let Some((holder, waiting, reserved)) = known else {
            return out.push(Effect::Answer(reply, Ok(Done::Settled)));
        };
        for reservation in reserved {
            self.take_back(slot, reservation, End::Retired, out);
        }
        // Those who wait leave before the lease ends: nobody is granted what is about to be gone.
        for key in waiting {
            self.leave(key, End::Retired, out);
        }
        if self.claims.get(holder).is_some() {
            return self.let_go(holder, End::Retired, Some(reply), out);
        }
        // What was sent under an earlier lease may be under way still; a gate that does not answer is not waited for.
        if self.object(slot).is_some_and(|object| !object.fenced && !object.quarantined) {
            let closing = self.closings.insert((reply, 1));
            return self.await_closed(slot, closing);
        }
        out.push(Effect::Answer(reply, Ok(Done::Settled)));
    }

    /// Forgets a retired object. One that somebody has, or waits for, stays.
    pub(super) fn forget_object(&mut self, object: EntityId, out: &mut Vec<Effect>) {
        let slot = object.slot() as usize;
        if self.object(slot).is_some_and(|known| known.holder == NOBODY && known.queue.is_empty()) {
            self.record(slot, Change::Retired, out);
            // Whoever waits for its gate still has nothing to wait for any more.
            self.closed(slot, out);
            self.drop_object(slot);
        }
    }

    pub(super) fn drop_object(&mut self, slot: usize) {
        let quarantined = self.object(slot).is_some_and(|known| known.quarantined);
        if let Some(place) = self.objects.get_mut(slot)
            && place.take().is_some()
        {
            self.counts.objects -= 1;
            self.counts.quarantined -= u64::from(quarantined);
        }
    }
}
