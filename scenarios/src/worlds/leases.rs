//! The invariants of sync leases as a rule of a simulated world: what can be seen of the supervisor, the gates and the
//! devices goes to the [`Observer`] that judges them everywhere.

mod gates;

use std::collections::{BTreeMap, VecDeque};

use twinway_actors::sync_supervisor::{SyncSupervisor, SyncSupervisorRecord};
use twinway_protocol::{
    EntityId, Mailbox, Meta, PendingKey, Recovery, WireSet,
    lease::{
        Change, Claimant, Effect, Grant, Input, LeaseLimits, Notice, Objects, Reply, Table, Terms, Token, Wanted,
        rules::{Event, Observer},
    },
    message::{
        FenceGate, MetaverseSystemMsg, PhysicalObjectMsg, SYNC_SUPERVISOR, SyncLease, SyncLeaseGranted,
        SyncLeasesDecided, SyncSupervisorMsg, Wire,
    },
    signal::Signal,
    time::Now,
};

use self::gates::Gates;
use crate::{
    fault::Fault,
    rule::{Found, Rule, Seen},
};

/// The invariants of sync leases (FGMV-28 7.1.3, REQ-DT-08), each by its number and name.
///
/// It sees the supervisor's records, its table after each turn, its messages to gates and to who asked, what gates
/// accept and answer, and what devices do. It does not see what the table says within a turn: that comes from the
/// records.
#[derive(Debug)]
pub struct LeaseInvariants {
    limits: LeaseLimits,
    observer: Observer,
    gates: Gates,
    /// The supervisor's records of this turn.
    turn: Vec<Effect>,
    /// What the supervisor's journal says, as far as it was not lost.
    log: Vec<(u64, Option<EntityId>, Change)>,
    /// The positions of the supervisor's records that are not durable.
    pending: VecDeque<u64>,
    /// A table that is made of the journal alone.
    replica: Table,
    /// The objects of a token.
    objects: BTreeMap<Token, Vec<EntityId>>,
    /// The question that the supervisor is taking up.
    asking: Option<(EntityId, PendingKey)>,
    /// Whether this turn puts a request to the table.
    requesting: bool,
    asks: BTreeMap<(EntityId, PendingKey), Reply>,
    asked: Reply,
    /// Until when each object is promised, by the monotonic clock in milliseconds, and under which token.
    promised: BTreeMap<EntityId, (Token, u64)>,
    /// A question that the runtime refuses by itself.
    refused: Option<(EntityId, PendingKey)>,
    faults: bool,
}

impl LeaseInvariants {
    /// Of supervisors with these limits.
    #[must_use]
    pub fn new(limits: LeaseLimits) -> Self {
        Self {
            observer: Observer::new(limits.clone()),
            gates: Gates::default(),
            turn: Vec::new(),
            log: Vec::new(),
            pending: VecDeque::new(),
            replica: Table::new(limits.clone()),
            objects: BTreeMap::new(),
            asking: None,
            requesting: false,
            asks: BTreeMap::new(),
            asked: 0,
            promised: BTreeMap::new(),
            refused: None,
            faults: false,
            limits,
        }
    }

    /// The supervisor begins a turn with this message.
    fn delivered(&mut self, meta: &Meta, wire: &Wire) {
        let asks = meta.pending != PendingKey::NONE && wire.refusal().is_some();
        self.asking = asks.then_some((meta.from, meta.pending));
        self.requesting = matches!(wire, Wire::SyncSupervisor(SyncSupervisorMsg::SyncVerified(_)));
    }

    fn recorded(&mut self, position: u64, record: &SyncSupervisorRecord) {
        let SyncSupervisorRecord::Changed { object, change, .. } = record else { return };
        if let (Some(object), Some(token)) = (object, token_of(change)) {
            self.objects.entry(token).or_default().push(*object);
        }
        self.turn.push(Effect::Record(*object, change.clone()));
        self.log.push((position, *object, change.clone()));
        self.pending.push_back(position);
        self.replica.replay(*object, change);
    }

    /// The supervisor has taken a turn: its records, and its table as it stands now.
    fn turned(&mut self, table: &Table, now: Now) {
        let begins = |effect: &Effect| matches!(effect, Effect::Record(None, Change::Epoch(_)));
        let input = if self.turn.iter().any(begins) { Input::Recover(Recovery::Start) } else { Input::Tick };
        let mut effects = std::mem::take(&mut self.turn);
        if let Some(question) = self.asking.take() {
            self.asked += 1;
            self.asks.insert(question, self.asked);
            self.observer.see(Event::Asked(self.asked), now);
        }
        let objects: Vec<EntityId> = table.objects(0).collect();
        // A turn that did not move the table has not done either what is due.
        let moved = table.now() == now;
        for object in objects.iter().filter(|_| moved) {
            self.promises(table, *object, &mut effects);
        }
        let changed = !effects.is_empty();
        self.observer.see(Event::Step { input: &input, effects: &effects }, now);
        for object in objects.iter().filter(|_| moved) {
            self.observer.see(Event::Look(table, *object), now);
        }
        if changed {
            self.observer.see(Event::Replayed { live: table, replayed: &self.replica }, now);
        }
        effects.clear();
        self.turn = effects;
    }

    /// What the table shows to a holder is a promise to it.
    fn promises(&mut self, table: &Table, object: EntityId, effects: &mut Vec<Effect>) {
        let Some(holder) = table.view(object, 0).and_then(|view| view.holder) else { return };
        let Some(grant) = holder.grant else { return };
        let promise = (grant.token, table.now().monotonic_ms.saturating_add(grant.expires_in_ms));
        let before = self.promised.get(&object).copied();
        // Who comes back after a restart is promised what it asks for then; otherwise nothing is ever shortened.
        if before.is_none_or(|before| before < promise || (self.requesting && before != promise)) {
            self.promised.insert(object, promise);
            effects.push(Effect::Extend { object, token: grant.token, ttl_ms: grant.expires_in_ms });
        }
    }

    /// Something leaves the supervisor.
    fn left(&mut self, meta: &Meta, wire: &Wire, now: Now) {
        match wire {
            Wire::MetaverseSystem(MetaverseSystemMsg::SyncLeaseGranted(Ok(SyncLeaseGranted { lease }))) => {
                self.granted(meta.to, lease, now);
            }
            Wire::MetaverseSystem(MetaverseSystemMsg::SyncLeasesDecided(Ok(SyncLeasesDecided { answers }))) => {
                for lease in answers.iter().flatten() {
                    self.granted(meta.to, lease, now);
                }
            }
            Wire::Dts(twinway_protocol::message::DtsMsg::SyncLeaseGranted(Ok(SyncLeaseGranted { lease }))) => {
                self.granted(meta.to, lease, now);
            }
            _ => {}
        }
        let question = (meta.to, meta.pending);
        if meta.pending == PendingKey::NONE || wire.refusal().is_some() {
            return;
        }
        if self.refused.take() == Some(question) {
            return;
        }
        let reply = self.asks.remove(&question).unwrap_or(Reply::MAX);
        self.observer.see(Event::Answered(reply), now);
    }

    fn granted(&mut self, system: EntityId, lease: &SyncLease, now: Now) {
        let claimant = Claimant { holder: lease.holder.clone(), role: None, claimed: None, twins: Box::default() };
        let grant = Grant {
            token: lease.token,
            priority: lease.priority,
            expires_in_ms: lease.expires_in_ms,
            fencing: lease.fencing,
            revoked_in_ms: lease.revoked_in_ms,
        };
        for object in self.objects.get(&lease.token).into_iter().flatten() {
            let wanted = Wanted { object: *object, priority: lease.priority, terms: Terms::default() };
            let told = Effect::Tell {
                system,
                who: std::sync::Arc::new(claimant.clone()),
                id: None,
                objects: Objects::One(wanted),
                notice: Notice::Granted(grant.clone()),
            };
            self.observer.see(Event::Left(&told), now);
        }
    }

    /// The supervisor has lost its life; what was written down up to `durable` is left.
    fn died(&mut self, durable: Option<u64>, now: Now) {
        if let Some(durable) = durable {
            self.log.retain(|(position, ..)| *position <= durable);
        } else {
            self.observer.see(Event::Durable(self.pending.len()), now);
        }
        self.pending.clear();
        self.turn.clear();
        self.asks.clear();
        self.promised.clear();
        self.asking = None;
        self.replica = Table::new(self.limits.clone());
        for (_, object, change) in &self.log {
            self.replica.replay(*object, change);
        }
        self.observer.see(Event::Died(None), now);
    }
}

/// The token that an object has from this change on.
fn token_of(change: &Change) -> Option<Token> {
    match change {
        Change::Granted { token, .. } | Change::Refenced { token } => Some(*token),
        _ => None,
    }
}

impl Rule<Wire> for LeaseInvariants {
    fn name(&self) -> &str {
        "the invariants of sync leases"
    }

    fn watches(&self, kind: u8) -> bool {
        kind == SyncSupervisorMsg::KIND || kind == PhysicalObjectMsg::KIND
    }

    fn begin(&mut self) {
        *self = Self::new(self.limits.clone());
    }

    fn see(&mut self, seen: &Seen<'_, Wire>, found: &mut Found) {
        let now = found.now();
        let supervisor = SYNC_SUPERVISOR.id();
        match seen {
            Seen::Delivery { meta, wire, .. } if meta.to == supervisor => self.delivered(meta, wire),
            Seen::Delivery { event, meta, wire } => self.gates.delivered(*event, meta, wire),
            // A turn that nobody's message began.
            Seen::Event(event) if event.to == supervisor && event.from == supervisor => {
                (self.asking, self.requesting) = (None, false);
            }
            Seen::Record { entity, record, position, .. } if *entity == supervisor => {
                if let Some(record) = record.as_any().downcast_ref() {
                    self.recorded(*position, record);
                }
            }
            Seen::Record { event, record, .. } => {
                if let Some(record) = record.as_any().downcast_ref() {
                    self.gates.recorded(*event, record);
                }
            }
            Seen::State { behaviour, entity, .. } if *entity == supervisor => {
                if let Some(behaviour) = behaviour.downcast_ref::<SyncSupervisor>() {
                    self.turned(behaviour.table(), now);
                }
            }
            Seen::State { event, entity, .. } => {
                let accepted = self.gates.turned(*event, *entity);
                accepted.tell(&mut self.observer, now);
            }
            Seen::Durable { position } => {
                let durable = self.pending.iter().take_while(|pending| *pending <= position).count();
                self.pending.drain(..durable);
                self.observer.see(Event::Durable(durable), now);
            }
            Seen::Sent { meta, wire } if meta.from == supervisor => self.left(meta, wire, now),
            Seen::Sent { meta, wire } => {
                let happened = self.gates.sent(meta, wire, &self.objects);
                happened.tell(&mut self.observer, now);
            }
            Seen::Signal { entity, signal: Signal::Request { request, body, .. } } => {
                self.gates.requested(*entity, *request, body);
            }
            Seen::Refused { meta } if meta.to == supervisor => {
                let question = (meta.from, meta.pending);
                self.asks.remove(&question);
                self.refused = Some(question);
            }
            Seen::Failed { entity, .. } if *entity != supervisor => self.gates.ended(*entity),
            // Its earlier turns are written down all the same, and what follows from them leaves.
            Seen::Recovered { entity } if *entity == supervisor => self.died(None, now),
            Seen::Fault(fault) => {
                self.faults = true;
                if *fault == Fault::Crash {
                    self.gates.all_ended();
                    let durable = self.pending.front().map_or(u64::MAX, |first| first - 1);
                    self.died(Some(durable), now);
                }
            }
            Seen::End { at_rest: true } if !self.faults => self.observer.see(Event::Quiet, now),
            _ => {}
        }
        for violation in self.observer.take_violations() {
            found.violated(violation.to_string());
        }
    }
}

/// What a fence says that a gate has got.
fn fence_of(object: EntityId, fence: &FenceGate) -> Effect {
    Effect::Fence {
        object,
        token: fence.token,
        to: fence.to.clone(),
        priority: fence.priority,
        ttl_ms: fence.ttl_ms,
        stop: fence.stop,
        replaced: fence.replaced,
        restricted: fence.restricted,
    }
}
