//! Rules over what the table writes down and says: 1, 3, 5, 7, 8, 9, 12 and 13.

use super::{ASKS_MAX, Observer, Rule, facts::Facts};
use crate::{
    EntityId,
    lease::{Change, ClaimRef, Done, Effect, End, Grant, Input, Notice, Over, Refused, Reply, Token},
};

impl Observer {
    pub(super) fn step(&mut self, input: &Input, effects: &[Effect]) {
        self.asked(input);
        self.evicted.clear();
        let now_ms = self.now.monotonic_ms;
        for effect in effects {
            match effect {
                Effect::Record(entity, change) => {
                    self.record(*entity, change);
                    self.said.apply(*entity, change, now_ms);
                    if self.durable.is_some() {
                        self.pending.push_back((now_ms, *entity, change.clone()));
                    }
                }
                Effect::Answer(reply, answer) => self.answer(*reply, answer),
                Effect::Tell { objects, notice: Notice::Granted(grant) | Notice::Withdrawn(grant), .. } => {
                    self.promise(objects.as_slice().iter().map(|wanted| wanted.object), grant);
                }
                Effect::Extend { object, token, ttl_ms } => self.promised(*object, *token, *ttl_ms),
                Effect::Fence { object, .. } => self.asked_again(*object),
                Effect::Restrict { .. } | Effect::Weigh { .. } | Effect::Tell { .. } => {}
            }
        }
        if matches!(input, Input::Recover(_)) {
            self.all_of_new_epoch();
        }
        self.forget_ids();
    }

    fn record(&mut self, entity: Option<EntityId>, change: &Change) {
        let Some(entity) = entity else {
            if let Change::Epoch(epoch) = change {
                self.epoch_rises(*epoch);
            }
            return;
        };
        match change {
            Change::Queued(record) => self.id_is_new(&ClaimRef::New(record.clone())),
            Change::Left { claim, .. } => {
                self.id_is_new(claim);
                self.waited(entity, claim, change);
            }
            Change::Granted { claim, token, over } => {
                self.id_is_new(claim);
                self.token_is_new(entity, *token);
                self.evicted_by_right(entity, *over);
                self.lasted(entity, *over);
                self.one_holder(entity, *over);
                self.first_in_line(entity, claim);
            }
            Change::Refenced { token } => self.token_is_new(entity, *token),
            Change::Ended { over, token } => {
                self.token_is_new(entity, *token);
                self.evicted_by_right(entity, Some(*over));
                self.lasted(entity, Some(*over));
            }
            Change::Quarantined { token, .. } => self.token_is_new(entity, *token),
            Change::Revoking { by: Some(_) } => self.outranked(entity, "is revoked for a request"),
            _ => {}
        }
    }

    /// Rule 1: what is granted is nobody's, or its lease ends in the same record.
    fn one_holder(&mut self, entity: EntityId, over: Option<Over>) {
        let holder = self.said.objects.get(&entity).and_then(|object| object.holder);
        if holder.is_some() && holder != over.map(|over| over.arrival) {
            self.violated(Rule::OneHolder, format!("{entity:?} is granted while request {holder:?} holds it"));
        }
    }

    /// Rule 3: an epoch is above all before it.
    fn epoch_rises(&mut self, epoch: u64) {
        if epoch <= self.said.epoch {
            let before = self.said.epoch;
            self.violated(Rule::TokenUnique, format!("epoch {epoch} begins after epoch {before}"));
        }
    }

    /// Rule 3: of one object, tokens rise.
    fn token_is_new(&mut self, entity: EntityId, token: Token) {
        let before = self.said.objects.get(&entity).map_or(Token::NONE, |object| object.token);
        if token <= before || token.epoch != self.said.epoch {
            let epoch = self.said.epoch;
            self.violated(Rule::TokenUnique, format!("{entity:?} gets token {token} after {before}, in epoch {epoch}"));
        }
    }

    /// Rule 5: a life that begins fences every lease anew.
    fn all_of_new_epoch(&mut self) {
        let epoch = self.said.epoch;
        let old = self.said.objects.iter().find(|(_, object)| object.holder.is_some() && object.token.epoch < epoch);
        if let Some((entity, token)) = old.map(|(entity, object)| (*entity, object.token)) {
            self.violated(
                Rule::NothingOfOlderEpoch,
                format!("epoch {epoch} begins, and {entity:?} is still held with token {token}"),
            );
        }
    }

    /// Rule 7: whoever loses an object to somebody loses it to somebody higher.
    fn evicted_by_right(&mut self, entity: EntityId, over: Option<Over>) {
        match over.map(|over| over.end) {
            Some(End::Preempted) => self.outranked(entity, "is preempted"),
            Some(End::Displaced) => self.outranked(entity, "is displaced"),
            _ => {}
        }
    }

    fn outranked(&mut self, entity: EntityId, what: &str) {
        let holder = self.said.objects.get(&entity).and_then(|object| object.holder);
        let Some(held) = self.said.claim(holder) else { return };
        // A lease on a set ends for whoever is above it on one of its objects.
        let sharing = self.said.objects.iter().filter(|(_, object)| object.holder == holder);
        let by_right = sharing.flat_map(|(entity, _)| self.said.line(*entity)).any(|(_, claim)| claim.outranks(held));
        if by_right {
            self.evicted.extend(holder);
        } else if !holder.is_some_and(|holder| self.evicted.contains(&holder)) {
            let priority = held.priority();
            self.violated(
                Rule::EqualNeverEvicts,
                format!("the holder of {entity:?}, of priority {priority}, {what}, and nobody in line is above it"),
            );
        }
    }

    /// Rule 8: nobody who waits for an object stands before the one that gets it.
    fn first_in_line(&mut self, entity: EntityId, granted: &ClaimRef) {
        let arrival = Facts::arrival(granted);
        let rank = match granted {
            ClaimRef::New(record) => (u8::MAX - record.objects.priority(), record.order),
            ClaimRef::Known(_) => match self.said.claims.get(&arrival) {
                Some(claim) => claim.rank(),
                None => return,
            },
        };
        let before = self.said.line(entity).find(|(other, claim)| *other != arrival && claim.rank() < rank);
        if let Some(other) = before.map(|(other, _)| other) {
            self.violated(
                Rule::FifoWithinPriority,
                format!("{entity:?} is granted to request {arrival} before request {other}"),
            );
        }
    }

    /// Rule 9: an id that is known is the id of no other request.
    fn id_is_new(&mut self, claim: &ClaimRef) {
        let ClaimRef::New(record) = claim else { return };
        let Some(id) = record.id.map(|id| (record.system, id)) else { return };
        let known_ms = self.limits.lease_request_id_ttl_ms;
        let now_ms = self.now.monotonic_ms;
        let alive = |ended: Option<u64>| ended.is_none_or(|ended_ms| now_ms < ended_ms.saturating_add(known_ms));
        if let Some((arrival, ended)) = self.said.ids.get(&id).copied()
            && arrival != record.arrival
            && alive(ended)
        {
            let (id, again) = (id.1, record.arrival);
            self.violated(
                Rule::RepeatedIdChangesNothing,
                format!("id {id} of request {arrival} is also that of request {again}"),
            );
        }
    }

    /// Ids that are known no more.
    fn forget_ids(&mut self) {
        let (now_ms, known_ms) = (self.now.monotonic_ms, self.limits.lease_request_id_ttl_ms);
        // Only when they have doubled, so that it costs nothing to speak of whatever their number.
        if self.said.ids.len() > self.ids_looked_at.max(1_024) {
            for facts in std::iter::once(&mut self.said).chain(&mut self.durable) {
                facts.ids.retain(|_, known| known.1.is_none_or(|ended_ms| now_ms < ended_ms.saturating_add(known_ms)));
            }
            self.ids_looked_at = self.said.ids.len() * 2;
        }
    }

    /// Rule 12: a waiter is sent away by the monotonic clock.
    fn waited(&mut self, entity: EntityId, claim: &ClaimRef, change: &Change) {
        let Change::Left { end: End::WaitOver, .. } = change else { return };
        let Some(claim) = self.said.claims.get(&Facts::arrival(claim)) else { return };
        let waited_ms = self.now.monotonic_ms.saturating_sub(claim.since_ms);
        // After a restart the wall clock says how much of a wait is left: then it may be shorter.
        if waited_ms < u64::from(claim.wait_ms) && claim.since_ms > self.said.restarted_ms {
            let wait_ms = claim.wait_ms;
            self.violated(
                Rule::ClocksBreakNothing,
                format!("a wait of {wait_ms} ms for {entity:?} ends after {waited_ms} ms"),
            );
        }
    }

    /// Rule 12: what a grant promises stands, by the monotonic clock.
    fn promise(&mut self, objects: impl Iterator<Item = EntityId>, grant: &Grant) {
        for object in objects {
            self.promised(object, grant.token, grant.expires_in_ms);
        }
    }

    fn promised(&mut self, object: EntityId, token: Token, for_ms: u64) {
        let until_ms = self.now.monotonic_ms.saturating_add(for_ms);
        if let Some(object) = self.said.objects.get_mut(&object).filter(|object| object.token == token) {
            object.promised_ms = Some(until_ms);
        }
    }

    /// Rule 12: a lease that expires has lasted as long as it was promised, by the monotonic clock.
    fn lasted(&mut self, entity: EntityId, over: Option<Over>) {
        if over.is_none_or(|over| over.end != End::Expired) {
            return;
        }
        let now_ms = self.now.monotonic_ms;
        let promised_ms = self.said.objects.get(&entity).and_then(|object| object.promised_ms);
        if let Some(early_ms) = promised_ms.and_then(|until_ms| until_ms.checked_sub(now_ms)).filter(|ms| *ms > 0) {
            self.violated(Rule::ClocksBreakNothing, format!("a lease on {entity:?} expires {early_ms} ms too early"));
        }
    }

    fn asked(&mut self, input: &Input) {
        let mut ask = |reply: Reply, objects: Vec<EntityId>| self.ask(reply, objects.into());
        let all = |objects: &crate::lease::Objects| objects.as_slice().iter().map(|wanted| wanted.object).collect();
        match input {
            Input::Request(request, reply) => ask(*reply, all(&request.objects)),
            Input::Batch(requests) => requests.iter().for_each(|(request, reply)| ask(*reply, all(&request.objects))),
            Input::Renew { shown, reply, .. } | Input::Release { shown, reply } | Input::Yield { shown, reply, .. } => {
                ask(*reply, vec![shown.object]);
            }
            Input::Cancel { reply, .. }
            | Input::KeepAlive { reply, .. }
            | Input::Reserve(_, reply)
            | Input::Unreserve { reply, .. }
            | Input::Revoke { reply, .. }
            | Input::Retire { reply, .. }
            | Input::ReplaceGate { reply, .. } => ask(*reply, Vec::new()),
            Input::Abandon { .. }
            | Input::Fenced { .. }
            | Input::GateStarted { .. }
            | Input::Weigh { .. }
            | Input::Deny { .. }
            | Input::Forget { .. }
            | Input::Recover(_)
            | Input::Tick => {}
        }
    }

    pub(super) fn ask(&mut self, reply: Reply, objects: Box<[EntityId]>) {
        if self.asks.len() < ASKS_MAX {
            self.asks.insert(reply, objects);
        } else {
            self.untracked += 1;
        }
    }

    /// Rule 13: only who asked is answered, and once. Gives what it asked for.
    pub(super) fn asker(&mut self, reply: Reply) -> Option<Box<[EntityId]>> {
        let objects = self.asks.remove(&reply);
        if objects.is_none() && self.untracked == 0 {
            self.violated(Rule::OneAnswerEach, format!("asker {reply} is answered, and does not wait"));
        }
        objects
    }

    fn answer(&mut self, reply: Reply, answer: &Result<Done, Refused>) {
        let Some(objects) = self.asker(reply) else { return };
        match answer {
            Ok(Done::Granted(grant)) => {
                self.promise(objects.iter().copied(), grant);
                self.answered.insert(reply, objects);
            }
            Err(Refused::TokenStale(Some(_))) => {
                self.answered.insert(reply, objects);
            }
            _ => {}
        }
    }
}
