//! Digital twin system registration (DTSR, FGMV-29 8.3.1): steps 1 to 3 of FGMV-29 9.2.
//!
//! DTSR keeps the register of twin systems and of their twins (FGMV-28 REQ-DT-02), and gives twins and physical
//! objects their addresses. What the other entities derive from it they get told: after a registration, when DTSR
//! has recovered, and when one of them has recovered and asks for it.

mod admission;
mod announcing;
mod synchronization;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, ObjectUri, Out, Pending, PendingKey, Problem, Recovery, Ref, SystemId,
    TwinId,
    lease::Synchronization,
    message::{
        DtsrMsg, Kept, PhysicalObjectMsg, RegisterTwinSystem, Representation, SetSynchronization, TwinSystemRegistered,
        Wire, own,
    },
    registry::TwinSystem,
    signal::Signal,
};

use super::gathering::Gathering;
use crate::{
    Settings,
    mutation::{Mutation, broken},
    settings::pending_full,
};
use admission::Admission;
use synchronization::synchronized;

/// A physical object with all twins that stand for it.
#[derive(Debug)]
struct Object {
    entity: Ref<PhysicalObjectMsg>,
    /// The system that named it first owns it; until owners can agree to share, all twins are the owner's.
    owner: SystemId,
    twins: Arc<[Representation]>,
}

/// What waits until everyone keeps what it brought.
#[derive(Debug)]
struct Change {
    what: Changing,
    kept: Gathering,
}

/// Who waits, and for what.
#[derive(Debug)]
enum Changing {
    /// A registration.
    Registering(Asker<RegisterTwinSystem>, Arc<TwinSystem>),
    /// A twin that is synchronized in another way from now on.
    Synchronizing(Asker<SetSynchronization>),
}

impl Changing {
    fn settle(self, outcome: Result<(), Problem>, out: &mut Out<'_, Dtsr>) {
        match self {
            Self::Registering(asker, system) => out.reply(asker, outcome.map(|()| TwinSystemRegistered { system })),
            Self::Synchronizing(asker) => out.reply(asker, outcome.map(|()| Kept)),
        }
    }
}

/// What DTSR writes down.
#[derive(Debug, Serialize, Deserialize)]
pub enum DtsrRecord {
    /// A twin system is registered, with its twins and their addresses.
    Registered(Arc<TwinSystem>),
    /// How twins of a registered system are synchronized with their objects, in place of what was said of them before
    /// (FGMV-28 REQ-DT-08). A registration has no bytes for it, so that journals from before it read as ever.
    Synchronized {
        /// The twin system.
        system: SystemId,
        /// The twins, each with what its characteristics say.
        twins: Vec<(TwinId, Arc<Synchronization>)>,
    },
}

/// Digital twin system registration.
#[derive(Debug)]
pub struct Dtsr {
    systems: BTreeMap<SystemId, Arc<TwinSystem>>,
    /// By the part of the journal that holds the system: the slot of its actor.
    parts: BTreeMap<u64, SystemId>,
    /// Who lists a twin, and at which place.
    listed: BTreeMap<TwinId, (SystemId, usize)>,
    /// By the twin's actor.
    twins: BTreeMap<EntityId, TwinId>,
    objects: BTreeMap<ObjectUri, Object>,
    /// By the object's actor.
    objects_at: BTreeMap<EntityId, ObjectUri>,
    /// Nothing leaves the register, so that slots are given in turn and never twice.
    twin_slot_next: u32,
    object_slot_next: u32,
    changes: Pending<Change>,
    settings: Settings,
}

fn part_of(system: &TwinSystem) -> u64 {
    u64::from(system.entity.id().slot())
}

impl Behaviour for Dtsr {
    type Wire = Wire;
    type Msg = DtsrMsg;
    type Record = DtsrRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            systems: BTreeMap::new(),
            parts: BTreeMap::new(),
            listed: BTreeMap::new(),
            twins: BTreeMap::new(),
            objects: BTreeMap::new(),
            objects_at: BTreeMap::new(),
            twin_slot_next: 0,
            object_slot_next: 0,
            changes: Pending::new(settings.pending_questions_max, incarnation),
            settings: settings.clone(),
        }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<DtsrMsg>, out: &mut Out<'_, Self>) {
        match message {
            DtsrMsg::RegisterTwinSystem(message) => self.register(&meta, message, out),
            DtsrMsg::Kept(answer) => self.kept(&meta, answer, out),
            DtsrMsg::SetSynchronization(message) => self.set_synchronization(&meta, message, out),
            DtsrMsg::Reannounce(_) => self.reannounce(meta.from, out),
        }
    }

    fn replay(&mut self, record: DtsrRecord) {
        match record {
            DtsrRecord::Registered(system) => self.keep(&system),
            DtsrRecord::Synchronized { system, twins } => self.synchronize(&system, twins),
        }
    }

    fn snapshot(&self, part: u64, into: &mut Vec<DtsrRecord>) {
        let system = self.parts.get(&part).and_then(|id| self.systems.get(id));
        if let Some(system) = system {
            into.push(DtsrRecord::Registered(Arc::clone(system)));
            into.extend(synchronized(system));
        }
    }

    fn recovered(&mut self, _why: Recovery, out: &mut Out<'_, Self>) {
        for system in self.systems.values() {
            self.announce(system, PendingKey::NONE, out);
            out.signal(Signal::TwinSystem(Arc::clone(system)));
        }
    }
}

impl Dtsr {
    /// FGMV-29 9.2 steps 1 and 2. To repeat a registration is no mistake: everyone is told again, which also
    /// mends what an earlier attempt left undone.
    fn register(&mut self, meta: &Meta, message: RegisterTwinSystem, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<RegisterTwinSystem>(out.event());
        let (system, is_new) = match self.admit(meta.from, *message.description, out.now().wall) {
            Ok(Admission::New(system)) => (Arc::new(system), true),
            Ok(Admission::Same(system)) => (system, false),
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let what = Changing::Registering(asker, Arc::clone(&system));
        let Some(key) = self.begin(what, out) else { return };
        if is_new {
            self.keep(&system);
            out.record(part_of(&system), DtsrRecord::Registered(Arc::clone(&system)));
            if let Some(record) = synchronized(&system) {
                out.record(part_of(&system), record);
            }
        }
        if broken(Mutation::AnswerBeforeManaged) {
            out.reply(
                meta.asker::<RegisterTwinSystem>(out.event()),
                Ok(TwinSystemRegistered { system: system.clone() }),
            );
        } else {
            out.own(own::TWIN_SYSTEM_MANAGED);
        }
        let told = self.announce(&system, key, out);
        self.await_kept(key, told);
        if is_new {
            out.signal(Signal::TwinSystem(system));
        }
    }

    /// A place for what waits; whoever asked hears it if there is none.
    fn begin(&mut self, what: Changing, out: &mut Out<'_, Self>) -> Option<PendingKey> {
        match self.changes.insert(Change { what, kept: Gathering::default() }) {
            Ok(key) => Some(key),
            Err(Change { what, .. }) => {
                what.settle(Err(pending_full()), out);
                None
            }
        }
    }

    fn await_kept(&mut self, key: PendingKey, told: usize) {
        if let Some(change) = self.changes.get_mut(key) {
            change.kept = Gathering::new(told);
        }
    }

    /// FGMV-29 9.2 step 3: answered when everyone keeps it, so that the next search finds it.
    fn kept(&mut self, meta: &Meta, answer: Result<Kept, Problem>, out: &mut Out<'_, Self>) {
        // What was told without anybody behind it needs no counting.
        let Some(change) = self.changes.get_mut(meta.pending) else { return };
        if !change.kept.hear(answer) {
            return;
        }
        if let Some(Change { what, kept }) = self.changes.take(meta.pending) {
            if broken(Mutation::AnswerBeforeManaged) {
                return out.own(own::TWIN_SYSTEM_MANAGED);
            }
            what.settle(kept.outcome(), out);
        }
    }

    /// Takes a system into the register.
    fn keep(&mut self, system: &Arc<TwinSystem>) {
        let id = &system.description.id;
        let mut objects: BTreeMap<&ObjectUri, (Ref<PhysicalObjectMsg>, Vec<Representation>)> = BTreeMap::new();
        for (index, twin) in system.twins.iter().enumerate() {
            self.listed.insert(twin.entry.id.clone(), (id.clone(), index));
            self.twins.insert(twin.entity.id(), twin.entry.id.clone());
            self.twin_slot_next = self.twin_slot_next.max(twin.entity.id().slot().saturating_add(1));
            if let (Some(uri), Some(entity)) = (&twin.entry.physical_object, twin.object) {
                let twin = Representation { twin: twin.entry.id.clone(), entity: twin.entity, system: system.entity };
                objects.entry(uri).or_insert_with(|| (entity, Vec::new())).1.push(twin);
            }
        }
        for (uri, (entity, twins)) in objects {
            self.object_slot_next = self.object_slot_next.max(entity.id().slot().saturating_add(1));
            self.objects_at.insert(entity.id(), uri.clone());
            self.objects.insert(uri.clone(), Object { entity, owner: id.clone(), twins: twins.into() });
        }
        self.parts.insert(part_of(system), id.clone());
        self.systems.insert(id.clone(), Arc::clone(system));
    }
}

#[cfg(test)]
mod tests;
