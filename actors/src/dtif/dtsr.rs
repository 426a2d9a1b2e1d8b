//! Digital twin system registration (DTSR, FGMV-29 8.3.1): steps 1 to 3 of FGMV-29 9.2.
//!
//! DTSR keeps the register of twin systems and of their twins (FGMV-28 REQ-DT-02), and gives twins and physical
//! objects their addresses. What the other entities derive from it they get told: after a registration, when DTSR
//! has recovered, and when one of them has recovered and asks for it.

mod admission;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Mailbox, Meta, ObjectUri, Out, Pending, PendingKey, Problem, Recovery, Ref,
    SystemId, TwinId,
    message::{
        DTAC, DTIA, DTS, DTSD, DescribeTwin, DigitalTwinSystemMsg, DtacMsg, DtiaMsg, DtsMsg, DtsdMsg, DtsrMsg,
        KeepTwinSystem, Kept, PhysicalObjectMsg, RegisterTwinSystem, RepresentObject, Representation, TwinMsg,
        TwinSystemRegistered, Wire, own,
    },
    registry::TwinSystem,
    signal::Signal,
};

use super::gathering::Gathering;
use crate::{Settings, settings::pending_full};
use admission::Admission;

/// A physical object with all twins that stand for it.
#[derive(Debug)]
struct Object {
    entity: Ref<PhysicalObjectMsg>,
    /// The system that named it first owns it; until owners can agree to share, all twins are the owner's.
    owner: SystemId,
    twins: Arc<[Representation]>,
}

/// A registration that waits until everyone keeps what it brought.
#[derive(Debug)]
struct Registration {
    asker: Asker<RegisterTwinSystem>,
    system: Arc<TwinSystem>,
    kept: Gathering,
}

/// What DTSR writes down.
#[derive(Debug, Serialize, Deserialize)]
pub enum DtsrRecord {
    /// A twin system is registered, with its twins and their addresses.
    Registered(Arc<TwinSystem>),
}

/// Digital twin system registration.
#[derive(Debug)]
pub struct Dtsr {
    systems: BTreeMap<SystemId, Arc<TwinSystem>>,
    /// By the part of the journal that holds the system: the slot of its actor.
    parts: BTreeMap<u64, SystemId>,
    /// Who lists a twin.
    listed: BTreeMap<TwinId, SystemId>,
    /// By the twin's actor: its system, and its place in the list.
    twins: BTreeMap<EntityId, (SystemId, usize)>,
    objects: BTreeMap<ObjectUri, Object>,
    /// By the object's actor.
    objects_at: BTreeMap<EntityId, ObjectUri>,
    /// Nothing leaves the register, so that slots are given in turn and never twice.
    twin_slot_next: u32,
    object_slot_next: u32,
    registrations: Pending<Registration>,
    settings: Settings,
}

fn part_of(system: &TwinSystem) -> u64 {
    u64::from(system.entity.id().slot())
}

fn tell_kept<'s, M>(to: Ref<M>, systems: impl Iterator<Item = &'s Arc<TwinSystem>>, out: &mut Out<'_, Dtsr>)
where
    M: Mailbox<Wire = Wire> + From<KeepTwinSystem>,
{
    for system in systems {
        out.ask(to, KeepTwinSystem { system: Arc::clone(system) }, PendingKey::NONE);
    }
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
            registrations: Pending::new(settings.pending_questions_max, incarnation),
            settings: settings.clone(),
        }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<DtsrMsg>, out: &mut Out<'_, Self>) {
        match message {
            DtsrMsg::RegisterTwinSystem(message) => self.register(&meta, message, out),
            DtsrMsg::Kept(answer) => self.kept(&meta, answer, out),
            DtsrMsg::SetSynchronization(_) => {}
            DtsrMsg::Reannounce(_) => self.reannounce(meta.from, out),
        }
    }

    fn replay(&mut self, record: DtsrRecord) {
        let DtsrRecord::Registered(system) = record;
        self.keep(&system);
    }

    fn snapshot(&self, part: u64, into: &mut Vec<DtsrRecord>) {
        let system = self.parts.get(&part).and_then(|id| self.systems.get(id));
        into.extend(system.map(|system| DtsrRecord::Registered(Arc::clone(system))));
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
        let registration = Registration { asker, system: Arc::clone(&system), kept: Gathering::default() };
        let key = match self.registrations.insert(registration) {
            Ok(key) => key,
            Err(Registration { asker, .. }) => {
                return out.reply(asker, Err(pending_full()));
            }
        };
        if is_new {
            self.keep(&system);
            out.record(part_of(&system), DtsrRecord::Registered(Arc::clone(&system)));
        }
        out.own(own::TWIN_SYSTEM_MANAGED);
        let told = self.announce(&system, key, out);
        if let Some(registration) = self.registrations.get_mut(key) {
            registration.kept = Gathering::new(told);
        }
        if is_new {
            out.signal(Signal::TwinSystem(system));
        }
    }

    /// FGMV-29 9.2 step 3: answered when everyone keeps it, so that the next search finds it.
    fn kept(&mut self, meta: &Meta, answer: Result<Kept, Problem>, out: &mut Out<'_, Self>) {
        // What was told without a registration behind it needs no counting.
        let Some(registration) = self.registrations.get_mut(meta.pending) else { return };
        if !registration.kept.hear(answer) {
            return;
        }
        if let Some(Registration { asker, system, kept }) = self.registrations.take(meta.pending) {
            out.reply(asker, kept.outcome().map(|()| TwinSystemRegistered { system }));
        }
    }

    /// Takes a system into the register.
    fn keep(&mut self, system: &Arc<TwinSystem>) {
        let id = &system.description.id;
        let mut objects: BTreeMap<&ObjectUri, (Ref<PhysicalObjectMsg>, Vec<Representation>)> = BTreeMap::new();
        for (index, twin) in system.twins.iter().enumerate() {
            self.listed.insert(twin.entry.id.clone(), id.clone());
            self.twins.insert(twin.entity.id(), (id.clone(), index));
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

    /// Makes the twins and objects of a system and tells everyone concerned; gives how many were told.
    fn announce(&self, system: &Arc<TwinSystem>, key: PendingKey, out: &mut Out<'_, Self>) -> usize {
        for index in 0..system.twins.len() {
            self.describe(system, index, key, out);
        }
        let objects: BTreeSet<&ObjectUri> =
            system.twins.iter().filter_map(|twin| twin.entry.physical_object.as_ref()).collect();
        for uri in &objects {
            self.represent(uri, key, out);
        }
        let keep = || KeepTwinSystem { system: Arc::clone(system) };
        out.ask(system.entity, keep(), key);
        out.ask(DTSD, keep(), key);
        out.ask(DTIA, keep(), key);
        out.ask(DTAC, keep(), key);
        out.ask(DTS, keep(), key);
        system.twins.len() + objects.len() + 5
    }

    fn describe(&self, system: &TwinSystem, index: usize, key: PendingKey, out: &mut Out<'_, Self>) {
        let Some(twin) = system.twins.get(index) else { return };
        let description = DescribeTwin {
            system: system.description.id.clone(),
            system_entity: system.entity,
            twin: Arc::new(twin.clone()),
        };
        out.spawn(twin.entity);
        out.ask(twin.entity, description, key);
    }

    fn represent(&self, uri: &ObjectUri, key: PendingKey, out: &mut Out<'_, Self>) {
        let Some(object) = self.objects.get(uri) else { return };
        out.spawn(object.entity);
        out.ask(
            object.entity,
            RepresentObject { object: uri.clone(), twins: Arc::clone(&object.twins), synchronization: Arc::default() },
            key,
        );
    }

    /// An entity has recovered and lacks what it derives from the register.
    fn reannounce(&self, from: EntityId, out: &mut Out<'_, Self>) {
        match from.kind() {
            DtsdMsg::KIND => tell_kept(DTSD, self.systems.values(), out),
            DtiaMsg::KIND => tell_kept(DTIA, self.systems.values(), out),
            DtacMsg::KIND => tell_kept(DTAC, self.systems.values(), out),
            DtsMsg::KIND => tell_kept(DTS, self.systems.values(), out),
            DigitalTwinSystemMsg::KIND => {
                let system = self.parts.get(&u64::from(from.slot())).and_then(|id| self.systems.get(id));
                tell_kept(Ref::<DigitalTwinSystemMsg>::new(from), system.into_iter(), out);
            }
            TwinMsg::KIND => {
                if let Some((id, index)) = self.twins.get(&from)
                    && let Some(system) = self.systems.get(id)
                {
                    self.describe(system, *index, PendingKey::NONE, out);
                }
            }
            PhysicalObjectMsg::KIND => {
                if let Some(uri) = self.objects_at.get(&from) {
                    self.represent(uri, PendingKey::NONE, out);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
