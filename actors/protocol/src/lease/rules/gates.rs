//! Rules over what leaves the supervisor and what gates and devices do: 1 to 5 and 10.

use super::{GateEvent, OBJECTS_MAX, Observer, Rule};
use crate::{
    EntityId, UserId,
    lease::{Claimant, Done, Effect, Holder, Notice, Refused, Token},
};

/// A gate as it was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct GateFacts {
    /// The highest token that it said it has fenced.
    fenced: Token,
    /// For whom it is open.
    to: Option<Holder>,
    /// The highest token that it has accepted.
    accepted: Token,
    /// The request whose lease it has restricted.
    restricted: Option<u64>,
    /// The newest fence that was sent to it, and when.
    pub(super) sent: Option<(Token, u64)>,
    /// The newest token that somebody heard of, in which life of the supervisor, and who, if that was said.
    heard: Option<(Token, u64, Option<UserId>)>,
}

impl Observer {
    fn gate_facts(&mut self, object: EntityId) -> Option<&mut GateFacts> {
        if !self.gates.contains_key(&object) && self.gates.len() >= OBJECTS_MAX {
            self.untracked += 1;
            return None;
        }
        Some(self.gates.entry(object).or_default())
    }

    pub(super) fn left(&mut self, effect: &Effect) {
        match effect {
            Effect::Fence { object, token, .. } => {
                let now_ms = self.now.monotonic_ms;
                let Some(gate) = self.gate_facts(*object) else { return };
                if gate.sent.is_none_or(|(sent, _)| sent < *token) {
                    gate.sent = Some((*token, now_ms));
                }
            }
            Effect::Answer(reply, Ok(Done::Granted(grant))) => {
                for object in self.answered.remove(reply).into_iter().flatten() {
                    self.visible(object, grant.token, None);
                }
            }
            Effect::Answer(reply, Err(Refused::TokenStale(Some(token)))) => {
                for object in self.answered.remove(reply).into_iter().flatten() {
                    self.visible(object, *token, None);
                }
            }
            Effect::Tell { who, objects, notice: Notice::Granted(grant) | Notice::Withdrawn(grant), .. } => {
                for wanted in objects.as_slice() {
                    self.visible(wanted.object, grant.token, Some(who));
                }
            }
            Effect::Record(..)
            | Effect::Restrict { .. }
            | Effect::Weigh { .. }
            | Effect::Extend { .. }
            | Effect::Answer(..)
            | Effect::Tell { .. } => {}
        }
    }

    /// Rules 3 and 4: somebody hears that it holds an object.
    fn visible(&mut self, object: EntityId, token: Token, who: Option<&Claimant>) {
        // Of an object that the records are not followed of nothing is known to be durable.
        if !self.durable().objects.contains_key(&object) && self.durable().objects.len() >= OBJECTS_MAX {
            self.untracked += 1;
            return;
        }
        let durable = self.durable().objects.get(&object).map_or(Token::NONE, |object| object.token);
        if durable < token {
            self.violated(
                Rule::DurableThenFencedThenVisible,
                format!("token {token} of {object:?} is told, and {durable} is the newest durable one"),
            );
        }
        let deaths = self.deaths;
        let Some(gate) = self.gate_facts(object) else { return };
        let fenced = gate.fenced;
        let heard = gate.heard.as_ref().map_or(Token::NONE, |(token, ..)| *token);
        let user = who.map(|who| &who.holder.user);
        let again = gate.heard.as_ref().filter(|(heard, ..)| *heard == token);
        let to_another = again.is_some_and(|(_, life, known)| {
            *life != deaths || known.as_ref().zip(user).is_some_and(|(known, user)| known != user)
        });
        if heard < token {
            gate.heard = Some((token, deaths, user.cloned()));
        }
        if fenced < token {
            self.violated(
                Rule::DurableThenFencedThenVisible,
                format!("token {token} of {object:?} is told, and the gate has answered {fenced}"),
            );
        }
        if token < heard || to_another {
            self.violated(Rule::TokenUnique, format!("token {token} of {object:?} is told after {heard}"));
        }
    }

    pub(super) fn gate(&mut self, object: EntityId, event: GateEvent<'_>) {
        let holder = self.durable().objects.get(&object).and_then(|object| object.holder);
        let revoking = self.durable().objects.get(&object).is_some_and(|object| object.revoking);
        match event {
            GateEvent::Fenced(token, to) => {
                let Some(gate) = self.gate_facts(object) else { return };
                let before = gate.fenced;
                gate.fenced = before.max(token);
                // A holder that lost the object and has it again is not the one that was restricted then.
                gate.restricted = gate.restricted.filter(|_| revoking);
                gate.to = to.map(|claimant| claimant.holder.clone());
                if token < before {
                    self.violated(
                        Rule::FenceNeverDecreases,
                        format!("the gate of {object:?} is fenced at {token} after {before}"),
                    );
                }
            }
            GateEvent::Restricted(token, restricted) => {
                // One that comes late is about a lease that is over.
                let its = self.durable().objects.get(&object).is_some_and(|object| object.token == token);
                let Some(gate) = self.gate_facts(object) else { return };
                gate.restricted = holder.filter(|_| restricted && revoking && its);
            }
            GateEvent::Accepted(token, who) => self.accepted(object, token, who, holder.filter(|_| revoking)),
            GateEvent::Acted(token) => {
                let Some(gate) = self.gate_facts(object) else { return };
                let fenced = gate.fenced;
                // Rule 1: one who lost an object moves it no more.
                if token < fenced {
                    self.violated(
                        Rule::OneHolder,
                        format!("the device of {object:?} acts on token {token} after {fenced} was fenced"),
                    );
                }
            }
        }
    }

    fn accepted(&mut self, object: EntityId, token: Token, who: &Holder, revoked: Option<u64>) {
        let now_ms = self.now.monotonic_ms;
        let fence_ms = self.limits.lease_fence_ms_max;
        let Some(gate) = self.gate_facts(object) else { return };
        let GateFacts { fenced, accepted, .. } = *gate;
        let stranger = gate.to.as_ref() != Some(who);
        let restricted = revoked.is_some() && gate.restricted == revoked;
        let late = gate.sent.is_some_and(|(sent, at_ms)| sent > token && now_ms > at_ms.saturating_add(fence_ms));
        gate.accepted = accepted.max(token);
        if token < fenced || token < accepted {
            let newest = fenced.max(accepted);
            self.violated(
                Rule::FenceNeverDecreases,
                format!("the gate of {object:?} accepts token {token} after {newest}"),
            );
        } else if stranger {
            let user = &who.user;
            self.violated(
                Rule::OneHolder,
                format!("the gate of {object:?} takes a command of {user}, for whom it was not fenced"),
            );
        }
        if restricted {
            self.violated(
                Rule::RestrictedToSafeStop,
                format!("the gate of {object:?} takes a command while its holder is revoked"),
            );
        }
        if late {
            self.violated(
                Rule::NothingOfOlderEpoch,
                format!("the gate of {object:?} takes token {token} long after a newer fence was sent"),
            );
        }
    }
}
