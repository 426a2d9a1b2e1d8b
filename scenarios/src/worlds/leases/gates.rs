//! What is seen of gates, and of the devices behind them.

use std::{collections::BTreeMap, sync::Arc};

use twinway_actors::external::physical_object::PhysicalObjectRecord;
use twinway_protocol::{
    EntityId, EventId, Mailbox, Meta, PendingKey,
    lease::{
        Claimant, Effect, Holder, HolderClass, Token,
        rules::{Event, GateEvent, Observer},
    },
    message::{
        AnswerRequest, ApplyChange, DigitalTwinSystemMsg, GateFenced, OutsideAnswer, OutsideRequest, PhysicalObjectMsg,
        RestrictGate, SyncSupervisorMsg, Wire,
    },
    time::Now,
};

use super::fence_of;

/// A gate.
#[derive(Debug, Default)]
struct Gate {
    /// For whom each token is.
    to: BTreeMap<Token, Option<Arc<Claimant>>>,
    /// The newest token that it was told of in this life.
    newest: Token,
}

/// What a gate is taking up.
#[derive(Debug)]
enum Task {
    Fence(Effect),
    Restrict(Token, bool),
    Command(Token, Holder),
}

/// The gates.
#[derive(Debug, Default)]
pub(super) struct Gates {
    gates: BTreeMap<EntityId, Gate>,
    task: Option<(EventId, EntityId, Task)>,
    /// Whether the turn has written down that a command leaves.
    commanding: bool,
    /// The tokens of commands that were handed to twin systems.
    commands: BTreeMap<(EntityId, PendingKey), Token>,
}

/// What has happened at a gate.
#[derive(Debug)]
pub(super) enum Happened {
    Nothing,
    Left(Effect),
    Fenced(EntityId, Token, Option<Arc<Claimant>>),
    Restricted(EntityId, Token, bool),
    Accepted(EntityId, Token, Holder),
    Acted(Vec<EntityId>, Token),
}

impl Happened {
    pub(super) fn tell(self, observer: &mut Observer, now: Now) {
        let mut gate = |object, event| observer.see(Event::Gate { object, event }, now);
        match self {
            Self::Nothing => {}
            Self::Left(effect) => observer.see(Event::Left(&effect), now),
            Self::Fenced(object, token, to) => gate(object, GateEvent::Fenced(token, to.as_deref())),
            Self::Restricted(object, token, restricted) => gate(object, GateEvent::Restricted(token, restricted)),
            Self::Accepted(object, token, who) => gate(object, GateEvent::Accepted(token, &who)),
            Self::Acted(objects, token) => objects.into_iter().for_each(|object| gate(object, GateEvent::Acted(token))),
        }
    }
}

impl Gates {
    pub(super) fn delivered(&mut self, event: EventId, meta: &Meta, wire: &Wire) {
        self.commanding = false;
        let Wire::PhysicalObject(message) = wire else { return };
        let task = match message {
            PhysicalObjectMsg::FenceGate(fence) => {
                let gate = self.gates.entry(meta.to).or_default();
                gate.to.insert(fence.token, fence.to.clone());
                Task::Fence(fence_of(meta.to, fence))
            }
            PhysicalObjectMsg::RestrictGate(RestrictGate { token, restricted }) => Task::Restrict(*token, *restricted),
            PhysicalObjectMsg::ApplyChange(change) if !change.stop => {
                let Some(token) = change.token else { return };
                Task::Command(token, self.who(meta.to, token, change))
            }
            _ => return,
        };
        self.task = Some((event, meta.to, task));
    }

    /// The whole name of who sent a command: that which the fence named, if it is the same user.
    fn who(&self, object: EntityId, token: Token, change: &ApplyChange) -> Holder {
        let to = self.gates.get(&object).and_then(|gate| gate.to.get(&token)).and_then(Option::as_ref);
        let same = |to: &&Arc<Claimant>| to.holder.user == change.user && to.holder.system == change.metaverse;
        to.filter(same).map_or_else(
            || Holder {
                user: change.user.clone(),
                world: (&change.metaverse).into(),
                system: change.metaverse.clone(),
                class: HolderClass::Person,
            },
            |to| to.holder.clone(),
        )
    }

    pub(super) fn recorded(&mut self, event: EventId, record: &PhysicalObjectRecord) {
        let its = self.task.as_ref().is_some_and(|(task, ..)| *task == event);
        self.commanding |= its && matches!(record, PhysicalObjectRecord::Commanding { .. });
    }

    /// A gate has taken a turn, and did not fail.
    pub(super) fn turned(&mut self, event: EventId, object: EntityId) -> Happened {
        match self.task.take() {
            Some((turn, _, Task::Fence(fence))) if turn == event => {
                let gate = self.gates.entry(object).or_default();
                if let Effect::Fence { token, .. } = &fence {
                    gate.newest = gate.newest.max(*token);
                }
                Happened::Left(fence)
            }
            Some((turn, _, Task::Restrict(token, restricted))) if turn == event => {
                let newest = self.gates.get(&object).map_or(Token::NONE, |gate| gate.newest);
                if newest == token { Happened::Restricted(object, token, restricted) } else { Happened::Nothing }
            }
            // A record is written before the first command of a token leaves.
            Some((turn, _, Task::Command(token, who))) if turn == event && self.commanding => {
                Happened::Accepted(object, token, who)
            }
            task => {
                self.task = task;
                Happened::Nothing
            }
        }
    }

    /// Something leaves a gate, or the outside.
    pub(super) fn sent(&mut self, meta: &Meta, wire: &Wire, objects: &BTreeMap<Token, Vec<EntityId>>) -> Happened {
        match wire {
            Wire::SyncSupervisor(SyncSupervisorMsg::GateFenced(GateFenced { token, seen_before, .. }))
                if seen_before < token =>
            {
                let to = self.gates.get(&meta.from).and_then(|gate| gate.to.get(token));
                Happened::Fenced(meta.from, *token, to.cloned().flatten())
            }
            // Without a record, a command leaves in the turn that let it pass; what is held back is told of before.
            Wire::DigitalTwinSystem(DigitalTwinSystemMsg::ApplyChange(_))
                if meta.from.kind() == PhysicalObjectMsg::KIND =>
            {
                match self.task.take() {
                    Some((turn, object, Task::Command(token, who))) if turn == meta.cause => {
                        Happened::Accepted(object, token, who)
                    }
                    task => {
                        self.task = task;
                        Happened::Nothing
                    }
                }
            }
            Wire::DigitalTwinSystem(DigitalTwinSystemMsg::AnswerRequest(AnswerRequest { request, answer })) => {
                let OutsideAnswer::ApplyChange(_) = &**answer else { return Happened::Nothing };
                let Some(token) = self.commands.remove(&(meta.to, *request)) else { return Happened::Nothing };
                Happened::Acted(objects.get(&token).cloned().unwrap_or_default(), token)
            }
            _ => Happened::Nothing,
        }
    }

    /// A twin system is handed something.
    pub(super) fn requested(&mut self, entity: EntityId, request: PendingKey, body: &OutsideRequest) {
        if let OutsideRequest::ApplyChange(ApplyChange { token: Some(token), stop: false, .. }) = body {
            self.commands.insert((entity, request), *token);
        }
    }

    /// A gate begins a new life, and knows no token.
    pub(super) fn ended(&mut self, object: EntityId) {
        if let Some(gate) = self.gates.get_mut(&object) {
            gate.newest = Token::NONE;
        }
        self.task = None;
    }

    pub(super) fn all_ended(&mut self) {
        for gate in self.gates.values_mut() {
            gate.newest = Token::NONE;
        }
        self.task = None;
    }
}
