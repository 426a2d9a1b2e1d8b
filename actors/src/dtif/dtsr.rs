//! Digital twin system registration (DTSR, FGMV-29 8.3.1): steps 1 to 3 of FGMV-29 9.2.
//!
//! DTSR keeps the register of twin systems and of their twins (FGMV-28 REQ-DT-02), gives twins and physical objects their
//! addresses, and watches how the systems stand. What the other entities derive from it they get told: after a change what
//! changed, and everything when DTSR has recovered, or when one of them has recovered and asks for it.

mod admission;
mod announcing;
mod changing;
mod editing;
mod kept;
mod register;
mod synchronization;

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    Behaviour, EntityId, Envelope, Meta, Out, Pending, PendingKey, Recovery, Ref, SystemId,
    message::{DTSD, DtsrMsg, KeepStanding, RegisterTwinSystem, TwinSystemRegistered, Wire, own},
    registry::TwinSystem,
    signal::Signal,
    time::Timestamp,
    twin::RegisteredTwin,
};

use crate::{
    Settings,
    mutation::{Mutation, broken},
    standing::{Registrar, Standings, Stood},
};
use admission::Admission;
use editing::{Change, Changing, Edit};
pub use kept::{Described, DtsrRecord, FirstTwinSystem, Listed};
use register::Register;

/// Digital twin system registration.
#[derive(Debug)]
pub struct Dtsr {
    register: Register,
    /// Registered, but not everyone who derives something is known to have taken it.
    unspread: BTreeSet<SystemId>,
    changes: Pending<Change>,
    standings: Standings,
    settings: Settings,
}

impl Behaviour for Dtsr {
    type Wire = Wire;
    type Msg = DtsrMsg;
    type Record = DtsrRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            register: Register::default(),
            unspread: BTreeSet::new(),
            changes: Pending::new(settings.pending_questions_max, incarnation),
            standings: Standings::new(settings),
            settings: settings.clone(),
        }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<DtsrMsg>, out: &mut Out<'_, Self>) {
        match message {
            DtsrMsg::RegisterTwinSystem(message) => self.register(&meta, message, out),
            DtsrMsg::Kept(answer) => self.kept(&meta, answer, out),
            DtsrMsg::SetSynchronization(message) => self.set_synchronization(&meta, message, out),
            DtsrMsg::UpdateTwinSystem(message) => self.update(&meta, message, out),
            DtsrMsg::ChangeTwinList(message) => self.change_list(&meta, message, out),
            DtsrMsg::ListOwnTwins(message) => self.list_own(&meta, &message, out),
            DtsrMsg::Deregister(message) => self.deregister(&meta, &message, out),
            DtsrMsg::RenewRegistration(message) => self.renew(&meta, &message, out),
            DtsrMsg::Heartbeat(message) => self.heartbeat(&meta, &message, out),
            DtsrMsg::ReportPerformance(report) => self.reported(&meta, report, out),
            DtsrMsg::Reannounce(_) => self.reannounce(meta.from, out),
        }
    }

    fn timeout(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        if !self.look(key, out) {
            self.tell_again(key, out);
        }
    }

    fn replay(&mut self, record: DtsrRecord) {
        match record {
            DtsrRecord::Registered(first) => {
                let (system, twins) = first.read();
                self.unspread.insert(system.description.id.clone());
                self.register.keep_first(system, twins);
            }
            DtsrRecord::Synchronized { system, twins } => self.register.synchronize_first(&system, twins),
            DtsrRecord::Described(described) => {
                if let Some(system) = described.system() {
                    self.describe(system);
                }
            }
            DtsrRecord::Listed { system, twins } => {
                for twin in twins.into_iter().filter_map(Listed::twin) {
                    self.list(&system, twin);
                }
            }
            DtsrRecord::Unlisted { system, twins } => {
                for twin in twins.into_iter().filter_map(Listed::twin) {
                    self.register.unlist(&system, twin);
                }
            }
            DtsrRecord::Ended(twins) => self.register.ended(&twins),
            DtsrRecord::Deregistered(id) => {
                self.register.drop_system(&id);
                self.unspread.remove(&id);
                self.standings.forget(&id);
            }
            DtsrRecord::Renewed(id, expires_at) => self.standings.replay_lifetime(&id, expires_at),
            DtsrRecord::Stood(id, stood) => self.standings.replay_stood(&id, stood),
            DtsrRecord::Given { twins, objects } => self.register.given(twins, objects),
        }
    }

    fn snapshot(&self, part: u64, into: &mut Vec<DtsrRecord>) {
        if part == kept::GIVEN {
            let (twins, objects) = (self.register.twin_slot_next, self.register.object_slot_next);
            return into.push(DtsrRecord::Given { twins, objects });
        }
        if let Some(slots) = kept::slots_of(part) {
            return self.register.snapshot_chunk(slots, into);
        }
        let Some(system) = self.register.at_part(part) else { return };
        let id = &system.description.id;
        self.register.snapshot_system(system, into);
        into.extend(self.standings.expires_at(id).map(|at| DtsrRecord::Renewed(id.clone(), Some(at))));
        into.extend(self.standings.stood(id, system.registered_at).map(|stood| DtsrRecord::Stood(id.clone(), stood)));
    }

    fn recovered(&mut self, _why: Recovery, out: &mut Out<'_, Self>) {
        self.give_parts(out);
        for system in self.register.recount() {
            let twins = self.register.twins_of(&system.description.id);
            self.announce(&system, &Edit::of(twins), PendingKey::NONE, out);
            out.signal(Signal::TwinSystem(Arc::clone(&system)));
            self.watch_again(&system, out);
        }
        self.end_again(out);
    }
}

impl Registrar for Dtsr {
    type System = TwinSystem;

    fn registered(&self, id: &SystemId) -> Option<&Arc<TwinSystem>> {
        self.register.systems.get(id)
    }

    fn standings(&mut self) -> &mut Standings {
        &mut self.standings
    }

    fn renewed(id: SystemId, expires_at: Option<Timestamp>) -> DtsrRecord {
        DtsrRecord::Renewed(id, expires_at)
    }

    fn stood(id: SystemId, stood: Stood) -> DtsrRecord {
        DtsrRecord::Stood(id, stood)
    }

    fn tell_standing(keep: KeepStanding, out: &mut Out<'_, Self>) {
        out.send(DTSD, keep);
    }
}

impl Dtsr {
    /// Takes in what is written of a system.
    fn describe(&mut self, system: TwinSystem) {
        self.register.drop_unparted(&system.description.id);
        self.unspread.insert(system.description.id.clone());
        self.register.keep(system);
    }

    /// Takes in what is written of a twin of a system's list.
    fn list(&mut self, system: &SystemId, twin: RegisteredTwin) {
        self.register.parted(system, &twin.entry.id);
        self.register.list(system, twin);
    }

    /// FGMV-29 9.2 steps 1 and 2. To repeat a registration is no mistake: it renews what has a lifetime, and everyone is
    /// told again if an earlier attempt left something undone.
    fn register(&mut self, meta: &Meta, message: RegisterTwinSystem, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<RegisterTwinSystem>(out.event());
        match self.admit(meta.from, *message.description) {
            Ok(Admission::New(description, edit)) => {
                let (registered_at, entity) = (out.now().wall, Ref::new(meta.from));
                let system = TwinSystem { description: *description, registered_at, version: 1, entity, twin_count: 0 };
                let what = |system| Changing::Registering { asker, system, is_new: true };
                if let Some(system) = self.carry_out(system, edit, what, out) {
                    self.managed(meta, &system, out);
                }
            }
            Ok(Admission::Same(system)) => {
                self.managed(meta, &system, out);
                let waiting = Changing::Registering { asker, system: Arc::clone(&system), is_new: false };
                self.mend(&system, waiting, out);
            }
            Err(problem) => out.reply(asker, Err(problem)),
        }
    }

    /// FGMV-29 9.2 step 2.
    fn managed(&mut self, meta: &Meta, system: &Arc<TwinSystem>, out: &mut Out<'_, Self>) {
        if broken(Mutation::AnswerBeforeManaged) {
            let registered = TwinSystemRegistered { system: Arc::clone(system), is_new: true };
            out.reply(meta.asker::<RegisterTwinSystem>(out.event()), Ok(registered));
        } else {
            out.own(own::TWIN_SYSTEM_MANAGED);
        }
        self.begin_lifetime(system, out);
    }

    /// Answers who repeats what is registered already: at once, or when everyone has been told again who may not know.
    fn mend(&mut self, system: &Arc<TwinSystem>, waiting: Changing, out: &mut Out<'_, Self>) {
        let id = &system.description.id;
        if !self.unspread.contains(id) {
            return waiting.settle(Ok(()), out);
        }
        let edit = Edit::of(self.register.twins_of(id));
        if let Some(key) = self.begin(waiting, &edit, out) {
            let told = self.announce(system, &edit, key, out);
            self.await_kept(key, told);
        }
    }
}

#[cfg(test)]
mod tests;
