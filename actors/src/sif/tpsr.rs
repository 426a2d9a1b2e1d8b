//! Third-party system registration (FGMV-29 8.2.1, 9.1 steps 1 to 3): keeps the register of third-party systems.

mod checks;
mod differences;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use checks::{APIS_MAX, LABEL_BYTES_MAX, PROPERTIES_MAX, PROPERTY_BYTES_MAX, TEXT_BYTES_MAX};
use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, EventId, Mailbox, Meta, Out, Pending, PendingKey, Problem, ProblemKind,
    Recovery, Ref, SystemId,
    message::{
        KeepThirdPartySystem, Kept, RegisterThirdPartySystem, SDC, SdcMsg, TPSAA, TPSD, ThirdPartySystemMsg,
        ThirdPartySystemRegistered, TpsaaMsg, TpsdMsg, TpsrMsg, Wire, own,
    },
    registry::{ThirdPartyDescription, ThirdPartySystem},
    signal::Signal,
};

use crate::{
    Settings,
    mutation::{Mutation, broken},
    settings::pending_full,
};

/// The kinds of the entities that derive something from this register.
const DERIVING: [u8; 3] = [TpsdMsg::KIND, TpsaaMsg::KIND, SdcMsg::KIND];

/// How long TPSR waits before it tells its register again to an entity that could not take it, in milliseconds.
const ANNOUNCE_AGAIN_MS: u64 = 1_000;

/// Third-party system registration.
#[derive(Debug)]
pub struct Tpsr {
    systems: BTreeMap<SystemId, Arc<ThirdPartySystem>>,
    /// Which system has which part of the records: its actor's slot.
    parts: BTreeMap<u64, SystemId>,
    /// Registered, but not everyone who derives something has taken it.
    unspread: BTreeSet<SystemId>,
    /// Registered, and being told to those who derive something.
    spreading: BTreeMap<SystemId, PendingKey>,
    pending: Pending<Spreading>,
    /// Entities that could not take what was told them after a restart.
    behind: BTreeSet<u8>,
    systems_max: usize,
    questions_max: usize,
}

/// A registered system on its way to the entities that derive something from it.
#[derive(Debug)]
struct Spreading {
    system: Arc<ThirdPartySystem>,
    /// The kinds of those that have not taken it yet.
    missing: BTreeSet<u8>,
    /// The turns in which the others said so.
    taken_in: Vec<EventId>,
    /// Who waits for all of them.
    askers: Vec<Asker<RegisterThirdPartySystem>>,
}

/// What it writes down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// A system was registered.
    Registered(Arc<ThirdPartySystem>),
}

impl Tpsr {
    /// FGMV-29 9.1 step 1.
    fn register(&mut self, meta: Meta, description: ThirdPartyDescription, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<RegisterThirdPartySystem>(out.event());
        if let Some(system) = self.systems.get(&description.id).cloned() {
            return self.register_again(asker, &system, &description, out);
        }
        if let Err(problem) = self.admit(meta.from, &description) {
            return out.reply(asker, Err(problem));
        }
        let system =
            Arc::new(ThirdPartySystem { description, registered_at: out.now().wall, entity: Ref::new(meta.from) });
        let Some(key) = self.spread(&system, asker, out) else { return };
        // FGMV-29 9.1 step 2.
        let record = Record::Registered(Arc::clone(&system));
        if broken(Mutation::RegistrationToldBeforeDurable) {
            out.record_batched(part_of(&system), record.clone());
        } else {
            out.record(part_of(&system), record.clone());
        }
        self.replay(record);
        out.own(own::THIRD_PARTY_MANAGED);
        out.signal(Signal::ThirdPartySystem(Arc::clone(&system)));
        self.tell_deriving(&system, key, out);
    }

    /// Whether a system that is not registered yet may be.
    fn admit(&self, entity: EntityId, description: &ThirdPartyDescription) -> Result<(), Problem> {
        checks::check(description)?;
        if entity.kind() != ThirdPartySystemMsg::KIND {
            let detail = "a third-party system registers by its own actor";
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        if let Some(other) = self.parts.get(&u64::from(entity.slot())) {
            let detail = format!("this actor registered `{other}`: it speaks for one system");
            return Err(Problem::new(ProblemKind::NotAllowed, detail).at("/id"));
        }
        if self.systems.len() >= self.systems_max {
            let detail = format!("registered_systems_max = {} third-party systems are registered", self.systems_max);
            return Err(Problem::new(ProblemKind::LimitReached, detail));
        }
        Ok(())
    }

    /// The same registration again has the same answer, when that answer is true: once everyone has taken it.
    fn register_again(
        &mut self,
        asker: Asker<RegisterThirdPartySystem>,
        system: &Arc<ThirdPartySystem>,
        description: &ThirdPartyDescription,
        out: &mut Out<'_, Self>,
    ) {
        let differences = differences::differences(&system.description, description);
        if !differences.is_empty() {
            let detail = format!("`{}` is registered with other contents", description.id);
            let mut problem = Problem::new(ProblemKind::AlreadyRegistered, detail);
            problem.differences = differences;
            return out.reply(asker, Err(problem));
        }
        // What is registered stays as it is managed: a repeated step 1 is followed by a step 2 as well.
        out.own(own::THIRD_PARTY_MANAGED);
        let under_way = self.spreading.get(&description.id).and_then(|key| self.pending.get_mut(*key));
        if let Some(spreading) = under_way {
            if spreading.askers.len() >= self.questions_max {
                return out.reply(asker, Err(pending_full()));
            }
            return spreading.askers.push(asker);
        }
        if !self.unspread.contains(&description.id) {
            return out.reply(asker, Ok(ThirdPartySystemRegistered { system: Arc::clone(system) }));
        }
        if let Some(key) = self.spread(system, asker, out) {
            self.tell_deriving(system, key, out);
        }
    }

    /// Keeps who waits until everyone has taken `system`. Without room for that, it answers and gives no key.
    fn spread(
        &mut self,
        system: &Arc<ThirdPartySystem>,
        asker: Asker<RegisterThirdPartySystem>,
        out: &mut Out<'_, Self>,
    ) -> Option<PendingKey> {
        let spreading = Spreading {
            system: Arc::clone(system),
            missing: DERIVING.into(),
            taken_in: Vec::new(),
            askers: vec![asker],
        };
        match self.pending.insert(spreading) {
            Ok(key) => {
                self.spreading.insert(system.description.id.clone(), key);
                Some(key)
            }
            Err(spreading) => {
                for asker in spreading.askers {
                    out.reply(asker, Err(pending_full()));
                }
                None
            }
        }
    }

    fn tell_deriving(&self, system: &Arc<ThirdPartySystem>, key: PendingKey, out: &mut Out<'_, Self>) {
        for kind in DERIVING {
            tell(kind, system, key, out);
        }
    }

    /// Within FGMV-29 9.1 step 2: one entity has taken what it was told, or could not. Step 3 follows the last.
    fn kept(&mut self, meta: Meta, answer: Result<Kept, Problem>, out: &mut Out<'_, Self>) {
        let kind = meta.from.kind();
        let Some(spreading) = self.pending.get_mut(meta.pending) else {
            if answer.is_err() && DERIVING.contains(&kind) && self.behind.insert(kind) {
                out.timer(ANNOUNCE_AGAIN_MS, PendingKey::from_bits(u64::from(kind)));
            }
            return;
        };
        if let Err(problem) = answer {
            return self.give_up(meta.pending, &problem, out);
        }
        spreading.missing.remove(&kind);
        if !spreading.missing.is_empty() && !broken(Mutation::RegistrationToldBeforeFound) {
            return spreading.taken_in.push(out.event());
        }
        let Some(spreading) = self.pending.take(meta.pending) else { return };
        self.spreading.remove(&spreading.system.description.id);
        self.unspread.remove(&spreading.system.description.id);
        for event in spreading.taken_in {
            out.join(event);
        }
        for asker in spreading.askers {
            out.reply(asker, Ok(ThirdPartySystemRegistered { system: Arc::clone(&spreading.system) }));
        }
    }

    /// What is registered stays so, but not everyone knows: the same registration again tells them.
    fn give_up(&mut self, key: PendingKey, problem: &Problem, out: &mut Out<'_, Self>) {
        let Some(spreading) = self.pending.take(key) else { return };
        self.spreading.remove(&spreading.system.description.id);
        for asker in spreading.askers {
            let detail = format!("registered, but not found yet; repeat the registration: {}", problem.detail);
            out.reply(asker, Err(Problem::new(problem.kind, detail)));
        }
    }

    /// Tells the whole register to the entities of `kind`, which lost what they derive from it.
    fn announce(&self, kind: u8, out: &mut Out<'_, Self>) {
        for system in self.systems.values() {
            tell(kind, system, PendingKey::NONE, out);
        }
    }
}

impl Behaviour for Tpsr {
    type Wire = Wire;
    type Msg = TpsrMsg;
    type Record = Record;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            systems: BTreeMap::new(),
            parts: BTreeMap::new(),
            unspread: BTreeSet::new(),
            spreading: BTreeMap::new(),
            pending: Pending::new(settings.pending_questions_max, incarnation),
            behind: BTreeSet::new(),
            systems_max: settings.registered_systems_max,
            questions_max: settings.pending_questions_max,
        }
    }

    fn handle(&mut self, envelope: Envelope<TpsrMsg>, out: &mut Out<'_, Self>) {
        let meta = envelope.meta;
        match envelope.message {
            TpsrMsg::RegisterThirdPartySystem(message) => self.register(meta, *message.description, out),
            TpsrMsg::Kept(answer) => self.kept(meta, answer, out),
            TpsrMsg::Reannounce(_) => self.announce(meta.from.kind(), out),
        }
    }

    fn timeout(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        let late: Vec<u8> = self.behind.iter().copied().filter(|kind| u64::from(*kind) == key.to_bits()).collect();
        for kind in late {
            self.behind.remove(&kind);
            self.announce(kind, out);
        }
    }

    fn replay(&mut self, record: Record) {
        let Record::Registered(system) = record;
        let id = system.description.id.clone();
        self.parts.insert(part_of(&system), id.clone());
        self.unspread.insert(id.clone());
        self.systems.insert(id, system);
    }

    fn snapshot(&self, part: u64, into: &mut Vec<Record>) {
        let system = self.parts.get(&part).and_then(|id| self.systems.get(id));
        into.extend(system.cloned().map(Record::Registered));
    }

    fn recovered(&mut self, _why: Recovery, out: &mut Out<'_, Self>) {
        for kind in DERIVING {
            self.announce(kind, out);
        }
        for system in self.systems.values() {
            out.spawn(system.entity);
            out.ask(system.entity, KeepThirdPartySystem { system: Arc::clone(system) }, PendingKey::NONE);
            out.signal(Signal::ThirdPartySystem(Arc::clone(system)));
        }
    }
}

fn part_of(system: &ThirdPartySystem) -> u64 {
    u64::from(system.entity.id().slot())
}

fn tell(kind: u8, system: &Arc<ThirdPartySystem>, key: PendingKey, out: &mut Out<'_, Tpsr>) {
    let keep = KeepThirdPartySystem { system: Arc::clone(system) };
    match kind {
        TpsdMsg::KIND => out.ask(TPSD, keep, key),
        TpsaaMsg::KIND => out.ask(TPSAA, keep, key),
        SdcMsg::KIND => out.ask(SDC, keep, key),
        // Nobody else derives anything from this register.
        _ => {}
    }
}

#[cfg(test)]
mod tests;
