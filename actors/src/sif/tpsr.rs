//! Third-party system registration (FGMV-29 8.2.1, 9.1 steps 1 to 3): keeps the register of third-party systems, and
//! watches how they stand.

mod changing;
mod checks;
mod differences;
mod kept;
mod spreading;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) use checks::level as check_level;
pub use checks::{APIS_MAX, LABEL_BYTES_MAX, PROPERTIES_MAX, PROPERTY_BYTES_MAX, TEXT_BYTES_MAX};
pub use kept::{Described, FirstThirdPartySystem, Record};
use spreading::{Spreading, Waiting};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Mailbox, Meta, Out, Pending, PendingKey, Problem, ProblemKind, Recovery, Ref,
    SystemId,
    message::{
        KeepStanding, KeepThirdPartySystem, RegisterThirdPartySystem, SDC, TPSD, ThirdPartySystemMsg,
        ThirdPartySystemRegistered, TpsrMsg, Wire, own,
    },
    registry::{ThirdPartyDescription, ThirdPartySystem},
    signal::Signal,
    time::Timestamp,
};

use crate::{
    Settings,
    mutation::{Mutation, broken},
    settings::pending_full,
    standing::{Registered, Registrar, Standings, Stood},
};

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
    standings: Standings,
    systems_max: usize,
    questions_max: usize,
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
        let (registered_at, entity) = (out.now().wall, Ref::new(meta.from));
        let system = Arc::new(ThirdPartySystem { description, registered_at, version: 1, entity });
        let Some(key) = self.spread(&system, Waiting::Registering { asker, is_new: true }, out) else { return };
        // FGMV-29 9.1 step 2.
        out.own(own::THIRD_PARTY_MANAGED);
        self.describe(&system, out);
        self.tell_deriving(&system, key, out);
        self.begin_lifetime(&system, out);
    }

    /// Writes a system down as it is described now, and publishes it.
    fn describe(&mut self, system: &Arc<ThirdPartySystem>, out: &mut Out<'_, Self>) {
        let record = Record::Described(Box::new((&**system).into()));
        if broken(Mutation::RegistrationToldBeforeDurable) {
            out.record_batched(system.part(), record);
        } else {
            out.record(system.part(), record);
        }
        self.keep(Arc::clone(system));
        out.signal(Signal::ThirdPartySystem(Arc::clone(system)));
    }

    fn keep(&mut self, system: Arc<ThirdPartySystem>) {
        let id = system.description.id.clone();
        self.parts.insert(system.part(), id.clone());
        self.unspread.insert(id.clone());
        self.systems.insert(id, system);
    }

    /// Whether a system that is not registered yet may be.
    fn admit(&self, entity: EntityId, description: &ThirdPartyDescription) -> Result<(), Problem> {
        checks::check(description)?;
        self.standings.check_lifetime(description.lifetime_ms)?;
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
        // Whoever registers again means to be there: that renews what has a lifetime.
        self.begin_lifetime(system, out);
        let under_way = self.spreading.get(&description.id).and_then(|key| self.pending.get_mut(*key));
        if let Some(spreading) = under_way {
            if spreading.waiting.len() >= self.questions_max {
                return out.reply(asker, Err(pending_full()));
            }
            return spreading.waiting.push(Waiting::Registering { asker, is_new: false });
        }
        if !self.unspread.contains(&description.id) {
            return out.reply(asker, Ok(ThirdPartySystemRegistered { system: Arc::clone(system), is_new: false }));
        }
        if let Some(key) = self.spread(system, Waiting::Registering { asker, is_new: false }, out) {
            self.tell_deriving(system, key, out);
        }
    }
}

impl Registrar for Tpsr {
    type System = ThirdPartySystem;

    fn registered(&self, id: &SystemId) -> Option<&Arc<ThirdPartySystem>> {
        self.systems.get(id)
    }

    fn standings(&mut self) -> &mut Standings {
        &mut self.standings
    }

    fn renewed(id: SystemId, expires_at: Option<Timestamp>) -> Record {
        Record::Renewed(id, expires_at)
    }

    fn stood(id: SystemId, stood: Stood) -> Record {
        Record::Stood(id, stood)
    }

    fn tell_standing(keep: KeepStanding, out: &mut Out<'_, Self>) {
        out.send(TPSD, keep.clone());
        out.send(SDC, keep);
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
            standings: Standings::new(settings),
            systems_max: settings.registered_systems_max,
            questions_max: settings.pending_questions_max,
        }
    }

    fn handle(&mut self, envelope: Envelope<TpsrMsg>, out: &mut Out<'_, Self>) {
        let meta = envelope.meta;
        match envelope.message {
            TpsrMsg::RegisterThirdPartySystem(message) => self.register(meta, *message.description, out),
            TpsrMsg::UpdateThirdPartySystem(message) => self.update(meta, message, out),
            TpsrMsg::Deregister(message) => self.deregister(meta, &message, out),
            TpsrMsg::RenewRegistration(message) => self.renew(&meta, &message, out),
            TpsrMsg::Heartbeat(message) => self.heartbeat(&meta, &message, out),
            TpsrMsg::ReportPerformance(report) => self.reported(&meta, report, out),
            TpsrMsg::ReportBreaker(report) => self.breaker(&report.system, report.breaker, out),
            TpsrMsg::Kept(answer) => self.kept(meta, answer, out),
            TpsrMsg::Reannounce(_) => self.reannounce(meta.from.kind(), out),
        }
    }

    fn timeout(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        if !self.look(key, out) {
            self.tell_again(key, out);
        }
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Registered(first) => self.keep(Arc::new((*first).into())),
            Record::Described(described) => self.keep(Arc::new((*described).into())),
            Record::Deregistered(id) => self.drop_system(&id),
            Record::Renewed(id, expires_at) => self.standings.replay_lifetime(&id, expires_at),
            Record::Stood(id, stood) => self.standings.replay_stood(&id, stood),
        }
    }

    fn snapshot(&self, part: u64, into: &mut Vec<Record>) {
        let Some(system) = self.parts.get(&part).and_then(|id| self.systems.get(id)) else { return };
        let id = &system.description.id;
        into.push(Record::Described(Box::new((&**system).into())));
        into.extend(self.standings.expires_at(id).map(|at| Record::Renewed(id.clone(), Some(at))));
        into.extend(self.standings.stood(id, system.registered_at).map(|stood| Record::Stood(id.clone(), stood)));
    }

    fn recovered(&mut self, _why: Recovery, out: &mut Out<'_, Self>) {
        for kind in spreading::DERIVING {
            self.announce(kind, out);
        }
        for system in self.systems.values().cloned().collect::<Vec<_>>() {
            out.spawn(system.entity);
            out.ask(system.entity, KeepThirdPartySystem { system: Arc::clone(&system) }, PendingKey::NONE);
            out.signal(Signal::ThirdPartySystem(Arc::clone(&system)));
            self.watch_again(&system, out);
        }
    }
}

#[cfg(test)]
mod tests;
