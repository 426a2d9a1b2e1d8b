//! One change of the register, from its record to the answer (FGMV-29 9.2 steps 2 and 3): what is new is told to
//! everyone; what is gone is forgotten by everyone first, then its actors end.

use std::{collections::BTreeMap, sync::Arc};

use twinway_protocol::{
    Asker, EntityId, Mailbox, Meta, ObjectUri, Out, PendingKey, Problem, ProblemKind, Ref,
    message::{
        ChangeTwinList, Deregister, Deregistered, ForgetTwin, Kept, PhysicalObjectMsg, RegisterTwinSystem,
        RepresentObject, SetSynchronization, TwinMsg, TwinSystemRegistered, UpdateTwinSystem, own,
    },
    registry::TwinSystem,
    signal::Signal,
    twin::RegisteredTwin,
};

use super::{
    super::gathering::Gathering,
    Described, Dtsr, DtsrRecord,
    kept::{GIVEN, by_chunk},
};
use crate::{
    mutation::{Mutation, broken},
    settings::pending_full,
    standing::Registered,
};

/// How long DTSR waits before it tells again what somebody could not take, in milliseconds.
const TELL_AGAIN_MS: u64 = 1_000;

/// What changes in a list of twins.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    /// Twins that are new, or not as they were.
    pub(super) put: Arc<[RegisteredTwin]>,
    /// Twins that are listed no more.
    pub(super) gone: Arc<[RegisteredTwin]>,
}

impl Edit {
    /// These twins are told, and none is gone.
    pub(super) fn of(twins: Vec<RegisteredTwin>) -> Self {
        Self { put: twins.into(), gone: [].into() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }
}

/// What waits until everyone keeps what it brought, and what it took is gone.
#[derive(Debug)]
pub(super) struct Change {
    what: Changing,
    kept: Gathering,
    /// What goes with it, until the actors of it are told to end.
    gone: Arc<[RegisteredTwin]>,
    gone_objects: Vec<(ObjectUri, Ref<PhysicalObjectMsg>)>,
    ending: bool,
    /// Who could not take that something is gone, and is told again.
    late: Vec<EntityId>,
}

/// Who waits, and for what.
#[derive(Debug)]
pub(super) enum Changing {
    Registering {
        asker: Asker<RegisterTwinSystem>,
        system: Arc<TwinSystem>,
        is_new: bool,
    },
    Updating {
        asker: Asker<UpdateTwinSystem>,
        system: Arc<TwinSystem>,
    },
    Listing {
        asker: Asker<ChangeTwinList>,
        system: Arc<TwinSystem>,
    },
    Synchronizing {
        asker: Asker<SetSynchronization>,
        system: Arc<TwinSystem>,
    },
    /// The system is registered no more.
    Deregistering {
        asker: Asker<Deregister>,
        system: Arc<TwinSystem>,
    },
    /// Actors have to end whose end was not heard of before a restart.
    Ending,
}

impl Changing {
    fn system(&self) -> Option<&Arc<TwinSystem>> {
        match self {
            Self::Registering { system, .. }
            | Self::Updating { system, .. }
            | Self::Listing { system, .. }
            | Self::Synchronizing { system, .. }
            | Self::Deregistering { system, .. } => Some(system),
            Self::Ending => None,
        }
    }

    pub(super) fn settle(self, outcome: Result<(), Problem>, out: &mut Out<'_, Dtsr>) {
        let registered = |system, is_new| outcome.clone().map(|()| TwinSystemRegistered { system, is_new });
        match self {
            Self::Registering { .. } if broken(Mutation::AnswerBeforeManaged) => out.own(own::TWIN_SYSTEM_MANAGED),
            Self::Registering { asker, system, is_new } => out.reply(asker, registered(system, is_new)),
            Self::Updating { asker, system } => out.reply(asker, registered(system, false)),
            Self::Listing { asker, system } => out.reply(asker, registered(system, false)),
            Self::Synchronizing { asker, .. } => out.reply(asker, outcome.map(|()| Kept)),
            Self::Deregistering { asker, .. } => out.reply(asker, outcome.map(|()| Deregistered)),
            Self::Ending => {}
        }
    }
}

impl Dtsr {
    /// A place for what waits; whoever asked hears it if there is none.
    pub(super) fn begin(&mut self, what: Changing, edit: &Edit, out: &mut Out<'_, Self>) -> Option<PendingKey> {
        let change = Change {
            what,
            kept: Gathering::default(),
            gone: Arc::clone(&edit.gone),
            gone_objects: Vec::new(),
            ending: false,
            late: Vec::new(),
        };
        match self.changes.insert(change) {
            Ok(key) => Some(key),
            Err(Change { what, .. }) => {
                what.settle(Err(pending_full()), out);
                None
            }
        }
    }

    pub(super) fn await_kept(&mut self, key: PendingKey, told: usize) {
        if let Some(change) = self.changes.get_mut(key) {
            change.kept = Gathering::new(told);
        }
    }

    /// Writes a system and what changes in its list down, and tells everyone concerned. The change costs what it
    /// changes, however long the list is.
    pub(super) fn carry_out(
        &mut self,
        system: TwinSystem,
        edit: Edit,
        what: impl FnOnce(Arc<TwinSystem>) -> Changing,
        out: &mut Out<'_, Self>,
    ) -> Option<Arc<TwinSystem>> {
        let count = i64::from(self.register.count(&system.description.id)) + self.grows_by(&edit);
        let system = Arc::new(TwinSystem { twin_count: u32::try_from(count).unwrap_or(u32::MAX), ..system });
        let key = self.begin(what(Arc::clone(&system)), &edit, out)?;
        let written = self.write(&system, &edit, out);
        if let Err(problem) = written {
            self.give_up(key, problem, out);
            return None;
        }
        self.forget_objects(key, &edit);
        let told = self.announce(&system, &edit, key, out);
        self.await_kept(key, told);
        out.signal(Signal::TwinSystem(Arc::clone(&system)));
        Some(system)
    }

    fn grows_by(&self, edit: &Edit) -> i64 {
        let new = edit.put.iter().filter(|twin| self.register.twin(&twin.entry.id).is_none()).count();
        i64::try_from(new).unwrap_or(i64::MAX) - i64::try_from(edit.gone.len()).unwrap_or(i64::MAX)
    }

    fn write(&mut self, system: &TwinSystem, edit: &Edit, out: &mut Out<'_, Self>) -> Result<(), Problem> {
        let described = DtsrRecord::Described(Box::new(Described::new(system)?));
        self.write_twins(system, edit, out)?;
        out.record(system.part(), described);
        self.describe(system.clone());
        Ok(())
    }

    /// Writes what changes in a list down, in the parts that hold it. What was written is taken in as it is: to read it
    /// back from its documents would cost as much as to write them.
    pub(super) fn write_twins(
        &mut self,
        system: &TwinSystem,
        edit: &Edit,
        out: &mut Out<'_, Self>,
    ) -> Result<(), Problem> {
        let (put, gone) = (by_chunk(&edit.put)?, by_chunk(&edit.gone)?);
        let id = || system.description.id.clone();
        for (part, twins) in put {
            out.record(part, DtsrRecord::Listed { system: id(), twins });
        }
        for twin in edit.put.iter() {
            self.list(&system.description.id, twin.clone());
        }
        let goes = !gone.is_empty();
        for (part, twins) in gone {
            out.record(part, DtsrRecord::Unlisted { system: id(), twins });
        }
        for twin in edit.gone.iter() {
            self.register.unlist(&system.description.id, twin.clone());
        }
        if goes {
            // What leaves may have had the highest addresses: they are not given again.
            let (twins, objects) = (self.register.twin_slot_next, self.register.object_slot_next);
            self.write_one(GIVEN, DtsrRecord::Given { twins, objects }, out);
        }
        Ok(())
    }

    pub(super) fn write_one(&mut self, part: u64, record: DtsrRecord, out: &mut Out<'_, Self>) {
        out.record(part, record.clone());
        twinway_protocol::Behaviour::replay(self, record);
    }

    /// Notes the objects that nothing stands for any more.
    pub(super) fn forget_objects(&mut self, key: PendingKey, edit: &Edit) {
        let gone: BTreeMap<&ObjectUri, Ref<PhysicalObjectMsg>> =
            edit.gone.iter().filter_map(|twin| Some((twin.entry.physical_object.as_ref()?, twin.object?))).collect();
        let gone = gone.into_iter().filter(|(uri, _)| self.register.object(uri).is_none());
        let gone: Vec<_> = gone.map(|(uri, entity)| (uri.clone(), entity)).collect();
        if let Some(change) = self.changes.get_mut(key) {
            change.gone_objects = gone;
        }
    }

    /// FGMV-29 9.2 step 3: answered when everyone keeps it, so that the next search finds it; and when what is gone has
    /// ended.
    pub(super) fn kept(&mut self, meta: &Meta, answer: Result<Kept, Problem>, out: &mut Out<'_, Self>) {
        // What was told without anybody behind it needs no counting.
        let Some(change) = self.changes.get_mut(meta.pending) else { return };
        // An actor that is not there has ended.
        let is_there = !change.ending || answer.as_ref().is_err_and(|problem| problem.kind == ProblemKind::Overloaded);
        if answer.is_err() && !change.gone.is_empty() && is_there {
            if change.late.is_empty() {
                out.timer(TELL_AGAIN_MS, meta.pending);
            }
            return change.late.push(meta.from);
        }
        let answer = if change.ending { Ok(Kept) } else { answer };
        if !change.kept.hear(answer) {
            return;
        }
        if !change.ending && !change.gone.is_empty() {
            return self.end_actors(meta.pending, out);
        }
        self.finish(meta.pending, out);
    }

    /// Nothing was changed.
    pub(super) fn give_up(&mut self, key: PendingKey, problem: Problem, out: &mut Out<'_, Self>) {
        if let Some(Change { what, .. }) = self.changes.take(key) {
            what.settle(Err(problem), out);
        }
    }

    fn finish(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        let Some(Change { what, kept, gone, .. }) = self.changes.take(key) else { return };
        let mut ended: BTreeMap<u64, Vec<Ref<TwinMsg>>> = BTreeMap::new();
        for twin in gone.iter() {
            ended.entry(super::kept::chunk_of(twin.entity)).or_default().push(twin.entity);
        }
        for (part, twins) in ended {
            // Should it be lost they are told once more, which does no harm.
            out.record_batched(part, DtsrRecord::Ended(twins.clone()));
            self.register.ended(&twins);
        }
        let outcome = kept.outcome();
        if let Some(system) = what.system().filter(|_| outcome.is_ok()) {
            let now = self.register.systems.get(&system.description.id);
            // A later change is on its way still.
            if now.is_some_and(|now| now.version == system.version) {
                self.unspread.remove(&system.description.id);
            }
        }
        what.settle(outcome, out);
    }

    /// FGMV-29 8.3.1: everyone has forgotten what is gone: now its actors end.
    fn end_actors(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        let Some(change) = self.changes.get_mut(key) else { return };
        change.ending = true;
        change.kept = Gathering::new(change.gone.len() + change.gone_objects.len());
        for twin in change.gone.iter() {
            out.ask(twin.entity, ForgetTwin, key);
        }
        for (object, entity) in &change.gone_objects {
            out.ask(*entity, represented_by_nothing(object), key);
        }
    }

    /// After a restart: the end of these actors was not heard of.
    pub(super) fn end_again(&mut self, out: &mut Out<'_, Self>) {
        let edit = Edit { put: [].into(), gone: self.register.ending().into() };
        if edit.gone.is_empty() {
            return;
        }
        if let Some(key) = self.begin(Changing::Ending, &edit, out) {
            self.forget_objects(key, &edit);
            self.end_actors(key, out);
        }
    }

    /// Tells again those who could not take that something is gone.
    pub(super) fn tell_again(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        let Some(change) = self.changes.get_mut(key) else { return };
        let late = std::mem::take(&mut change.late);
        let (gone, objects) = (Arc::clone(&change.gone), change.gone_objects.clone());
        let is_whole = matches!(change.what, Changing::Deregistering { .. });
        let system = change.what.system().cloned();
        for to in late {
            match to.kind() {
                TwinMsg::KIND if gone.iter().any(|twin| twin.entity.id() == to) => {
                    out.ask(Ref::<TwinMsg>::new(to), ForgetTwin, key);
                }
                PhysicalObjectMsg::KIND if objects.iter().any(|(_, entity)| entity.id() == to) => {
                    let object = objects.iter().find(|(_, entity)| entity.id() == to);
                    if let Some((object, entity)) = object {
                        out.ask(*entity, represented_by_nothing(object), key);
                    }
                }
                _ => {
                    if let Some(system) = &system {
                        self.tell_one(to, system, &gone, is_whole, key, out);
                    }
                }
            }
        }
    }
}

/// What the actor of an object hears that no twin stands for any more.
fn represented_by_nothing(object: &ObjectUri) -> RepresentObject {
    RepresentObject { object: object.clone(), twins: [].into(), synchronization: Arc::default() }
}
