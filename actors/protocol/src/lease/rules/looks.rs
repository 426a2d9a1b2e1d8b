//! Rules over the table as it stands, over time, and at rest: 6, 8, 11, 12, 13 and 14.

use super::{OBJECTS_MAX, Observer, Rule, Views};
use crate::{
    EntityId,
    lease::{ClaimView, ObjectView, Phase, Reservation, Table, Token},
};

/// How long an object has been in a state that has to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Since {
    /// Its holder is below the first in line, who could have it: which request, and since when.
    outranked: Option<(u64, u64)>,
    /// Its gate has not answered this token, and since when.
    fencing: Option<(Token, u64)>,
}

/// How many of those in line are looked at.
const LINE_MAX: usize = 16;

/// What the journal gives back of an object.
#[derive(PartialEq, Eq, Debug)]
struct Essence {
    token: Token,
    quarantined: bool,
    holder: Option<(u64, crate::lease::Objects, bool)>,
    queue: Vec<(u64, crate::lease::Objects)>,
    reservations: Vec<Reservation>,
}

impl Essence {
    fn of(view: ObjectView) -> Self {
        let revoked = |claim: &ClaimView| claim.grant.as_ref().is_some_and(|grant| grant.revoked_in_ms.is_some());
        Self {
            token: view.token,
            quarantined: view.phase == Phase::Quarantined,
            holder: view.holder.map(|claim| (claim.arrival, claim.objects.clone(), revoked(&claim))),
            queue: view.queue.into_iter().map(|claim| (claim.arrival, claim.objects)).collect(),
            reservations: view.reservations,
        }
    }
}

impl Observer {
    pub(super) fn look(&mut self, table: &dyn Views, object: EntityId) {
        let Some(view) = table.look_at(object, LINE_MAX) else { return };
        self.not_free_while_wanted(table, &view);
        self.no_dead_waiter(&view);
        self.deadline_kept(&view);
        if self.timed {
            self.in_time(table, &view);
        }
    }

    /// Whether a claim in line is first for each of its objects, and `above` whoever holds one.
    fn could_have(table: &dyn Views, claim: &ClaimView, above: impl Fn(&ClaimView) -> bool) -> bool {
        claim.objects.as_slice().iter().all(|wanted| {
            table.look_at(wanted.object, 1).is_some_and(|view| {
                view.phase != Phase::Quarantined
                    && view.queue.first().is_some_and(|first| first.arrival == claim.arrival)
                    && view.holder.as_ref().is_none_or(&above)
            })
        })
    }

    /// Rule 14: an object that is nobody's has nobody in line who could have it.
    fn not_free_while_wanted(&mut self, table: &dyn Views, view: &ObjectView) {
        let Some(first) = view.queue.first().filter(|_| view.holder.is_none()) else { return };
        // A set waits for those of its objects that somebody has.
        if view.phase != Phase::Quarantined && Self::could_have(table, first, |_| false) {
            let (object, arrival) = (view.object, first.arrival);
            self.violated(Rule::NotFreeWhileWanted, format!("{object:?} is nobody's, and request {arrival} waits"));
        }
    }

    /// Rule 8: who waits no more stands in nobody's way.
    fn no_dead_waiter(&mut self, view: &ObjectView) {
        let now_ms = self.now.monotonic_ms;
        for (place, waiter) in view.queue.iter().enumerate() {
            let Some(claim) = self.said.claims.get(&waiter.arrival) else { continue };
            let over = now_ms > claim.since_ms.saturating_add(u64::from(claim.wait_ms));
            let winning = place == 0 && view.holder.as_ref().is_none_or(|holder| holder.priority <= waiter.priority);
            if over && waiter.waits_ms == 0 && !winning {
                let (object, arrival) = (view.object, waiter.arrival);
                return self.violated(
                    Rule::FifoWithinPriority,
                    format!("request {arrival} is in line for {object:?}, and its wait is over"),
                );
            }
        }
    }

    /// Rule 12: a lease ends at its deadline, and not before.
    fn deadline_kept(&mut self, view: &ObjectView) {
        let now_ms = self.now.monotonic_ms;
        let object = view.object;
        if matches!(view.phase, Phase::Held | Phase::Revoking) {
            let promised_ms = self.said.objects.get(&object).and_then(|object| object.promised_ms);
            if promised_ms.is_some_and(|until_ms| until_ms < now_ms) {
                self.violated(Rule::ClocksBreakNothing, format!("{object:?} is held after its lease ran out"));
            }
        }
    }

    /// A gate that is asked again has its time again.
    pub(super) fn asked_again(&mut self, object: EntityId) {
        if let Some(since) = self.since.get_mut(&object) {
            since.fencing = None;
        }
    }

    /// Rule 6: what a higher request waits for ends in time.
    fn in_time(&mut self, table: &dyn Views, view: &ObjectView) {
        let now_ms = self.now.monotonic_ms;
        let fence_ms = self.limits.lease_fence_ms_max;
        let first = view
            .queue
            .first()
            .filter(|first| Self::could_have(table, first, |holder| holder.priority < first.priority));
        let holder = view.holder.as_ref().filter(|_| first.is_some());
        let terms = holder.map_or(&[][..], |holder| holder.objects.as_slice());
        let least_ms = terms.iter().map(|wanted| wanted.terms.min_hold_ms).max().unwrap_or(0);
        let grace_ms = terms.iter().map(|wanted| wanted.terms.grace_ms).max().unwrap_or(0);
        if !self.since.contains_key(&view.object) && self.since.len() >= OBJECTS_MAX {
            return;
        }
        let since = self.since.entry(view.object).or_default();
        since.outranked = holder.map(|holder| match since.outranked {
            Some((arrival, at_ms)) if arrival == holder.arrival => (arrival, at_ms),
            _ => (holder.arrival, now_ms),
        });
        since.fencing = (view.phase == Phase::Fencing).then(|| match since.fencing {
            Some((token, at_ms)) if token == view.token => (token, at_ms),
            _ => (view.token, now_ms),
        });
        let within_ms = u64::from(least_ms) + u64::from(grace_ms) + fence_ms;
        let over = |at: Option<u64>, within_ms: u64| at.is_some_and(|at_ms| now_ms > at_ms + within_ms);
        let outranked = over(since.outranked.map(|(_, at_ms)| at_ms), within_ms);
        let fencing = over(since.fencing.map(|(_, at_ms)| at_ms), fence_ms);
        let object = view.object;
        if outranked {
            self.violated(
                Rule::HigherHoldsInTime,
                format!("{object:?} is held for more than {within_ms} ms although somebody above waits"),
            );
        }
        if fencing {
            self.violated(
                Rule::HigherHoldsInTime,
                format!("the gate of {object:?} has not answered for {fence_ms} ms, and it is not quarantined"),
            );
        }
    }

    /// Rule 11: a table made of the journal says the same as the one that wrote it.
    pub(super) fn replayed(&mut self, live: &Table, replayed: &Table) {
        let essence = |table: &Table, object| table.view(object, usize::MAX).map(Essence::of);
        let objects: Vec<EntityId> = live.objects(0).collect();
        for object in objects {
            let blank = |essence: &Essence| {
                essence.token == Token::NONE && essence.queue.is_empty() && essence.reservations.is_empty()
            };
            let before = essence(live, object).filter(|essence| !blank(essence));
            let after = essence(replayed, object).filter(|essence| !blank(essence));
            if before != after {
                self.violated(
                    Rule::ReplayGivesTheSame,
                    format!("{object:?} was {before:?}, and the journal says {after:?}"),
                );
            }
        }
        if live.epoch() != replayed.epoch() {
            let (before, after) = (live.epoch(), replayed.epoch());
            self.violated(Rule::ReplayGivesTheSame, format!("the epoch was {before}, and the journal says {after}"));
        }
    }

    /// Rules 8, 13 and 14 at rest: nobody waits for an answer, and nobody is in line.
    pub(super) fn quiet(&mut self) {
        let unanswered: Vec<_> = self.asks.keys().take(4).copied().collect();
        if !unanswered.is_empty() {
            self.violated(Rule::OneAnswerEach, format!("askers {unanswered:?} were never answered"));
        }
        let waiting = self.said.objects.iter().find(|(_, object)| !object.line.is_empty());
        if let Some((object, line)) = waiting.map(|(object, facts)| (*object, facts.line.clone())) {
            self.violated(Rule::FifoWithinPriority, format!("{line:?} wait for {object:?} for ever"));
        }
    }
}
