//! The register itself (FGMV-29 8.3.1): systems, their twins, and the objects that those stand for.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use twinway_protocol::{
    EntityId, ObjectUri, Ref, SystemId, TwinId,
    lease::Synchronization,
    message::{PhysicalObjectMsg, RepresentObject, Representation, TwinMsg},
    registry::TwinSystem,
    twin::RegisteredTwin,
};

use super::kept::{DtsrRecord, Listed};
use crate::standing::Registered;

/// A physical object with all twins that stand for it.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) entity: Ref<PhysicalObjectMsg>,
    /// The system that named it first owns it; until owners can agree to share, all twins are the owner's.
    pub(super) owner: SystemId,
    pub(super) twins: BTreeSet<TwinId>,
}

/// A twin, and the system that lists it.
#[derive(Clone, Debug)]
pub(super) struct Lister {
    pub(super) system: SystemId,
    pub(super) twin: RegisteredTwin,
}

/// All that DTSR knows of systems and twins.
#[derive(Debug, Default)]
pub(super) struct Register {
    pub(super) systems: BTreeMap<SystemId, Arc<TwinSystem>>,
    /// By the part of the journal that holds the system: the slot of its actor.
    parts: BTreeMap<u64, SystemId>,
    twins: BTreeMap<TwinId, Lister>,
    of_system: BTreeMap<SystemId, BTreeSet<TwinId>>,
    /// By the slots of their actors.
    twins_at: BTreeMap<u32, TwinId>,
    objects: BTreeMap<ObjectUri, Object>,
    /// By the slots of their actors.
    objects_at: BTreeMap<u32, ObjectUri>,
    /// Twins whose actors have to end, by the slots of those.
    ending: BTreeMap<u32, Lister>,
    /// Slots are given in turn and never twice, whatever leaves the register.
    pub(super) twin_slot_next: u32,
    pub(super) object_slot_next: u32,
    /// Twins that are only in a record from before twins had parts of their own.
    unparted: BTreeMap<SystemId, BTreeSet<TwinId>>,
}

impl Register {
    pub(super) fn at_part(&self, part: u64) -> Option<&Arc<TwinSystem>> {
        self.parts.get(&part).and_then(|id| self.systems.get(id))
    }

    pub(super) fn twin(&self, id: &TwinId) -> Option<&Lister> {
        self.twins.get(id)
    }

    pub(super) fn twin_at(&self, actor: EntityId) -> Option<&Lister> {
        let lister = self.twins.get(self.twins_at.get(&actor.slot())?)?;
        (lister.twin.entity.id() == actor).then_some(lister)
    }

    pub(super) fn ids_of(&self, system: &SystemId) -> impl Iterator<Item = &TwinId> {
        self.of_system.get(system).into_iter().flatten()
    }

    pub(super) fn ids_set(&self, system: &SystemId) -> Option<&BTreeSet<TwinId>> {
        self.of_system.get(system)
    }

    /// All twins of a system, in the order of their ids.
    pub(super) fn twins_of(&self, system: &SystemId) -> Vec<RegisteredTwin> {
        self.ids_of(system).filter_map(|id| self.twins.get(id)).map(|lister| lister.twin.clone()).collect()
    }

    pub(super) fn object(&self, uri: &ObjectUri) -> Option<&Object> {
        self.objects.get(uri)
    }

    pub(super) fn object_at(&self, actor: EntityId) -> Option<&ObjectUri> {
        self.objects_at.get(&actor.slot())
    }

    /// What stands for an object, and how that is synchronized, as the first of its twins says that has something to say.
    pub(super) fn representation(&self, uri: &ObjectUri) -> Option<(Ref<PhysicalObjectMsg>, RepresentObject)> {
        let object = self.objects.get(uri)?;
        let owner = self.systems.get(&object.owner)?;
        let listers = || object.twins.iter().filter_map(|id| self.twins.get(id));
        let twins = listers().map(|lister| Representation {
            twin: lister.twin.entry.id.clone(),
            entity: lister.twin.entity,
            system: owner.entity,
        });
        let said = listers().find_map(|lister| lister.twin.entry.characteristics.synchronization.clone());
        let (twins, synchronization) = (twins.collect(), said.unwrap_or_default());
        Some((object.entity, RepresentObject { object: uri.clone(), twins, synchronization }))
    }

    /// Takes a system in, or what it is now.
    pub(super) fn keep(&mut self, mut system: TwinSystem) -> Arc<TwinSystem> {
        let id = system.description.id.clone();
        system.twin_count = self.count(&id);
        let system = Arc::new(system);
        self.parts.insert(system.part(), id.clone());
        self.systems.insert(id, Arc::clone(&system));
        system
    }

    pub(super) fn count(&self, system: &SystemId) -> u32 {
        u32::try_from(self.of_system.get(system).map_or(0, BTreeSet::len)).unwrap_or(u32::MAX)
    }

    /// Takes a twin in, or what its list says of it now.
    pub(super) fn list(&mut self, system: &SystemId, twin: RegisteredTwin) {
        let id = twin.entry.id.clone();
        if let Some(before) = self.twins.get(&id).map(|lister| lister.twin.clone()) {
            self.unlink(&before);
        }
        self.give(&twin);
        self.twins_at.insert(twin.entity.id().slot(), id.clone());
        self.of_system.entry(system.clone()).or_default().insert(id.clone());
        if let (Some(uri), Some(entity)) = (&twin.entry.physical_object, twin.object) {
            self.objects_at.insert(entity.id().slot(), uri.clone());
            let make = || Object { entity, owner: system.clone(), twins: BTreeSet::new() };
            self.objects.entry(uri.clone()).or_insert_with(make).twins.insert(id.clone());
        }
        self.twins.insert(id, Lister { system: system.clone(), twin });
    }

    fn give(&mut self, twin: &RegisteredTwin) {
        self.twin_slot_next = self.twin_slot_next.max(twin.entity.id().slot().saturating_add(1));
        if let Some(object) = twin.object {
            self.object_slot_next = self.object_slot_next.max(object.id().slot().saturating_add(1));
        }
    }

    fn unlink(&mut self, twin: &RegisteredTwin) {
        self.twins_at.remove(&twin.entity.id().slot());
        let Some(uri) = &twin.entry.physical_object else { return };
        let Some(object) = self.objects.get_mut(uri) else { return };
        object.twins.remove(&twin.entry.id);
        if object.twins.is_empty() {
            self.objects_at.remove(&object.entity.id().slot());
            self.objects.remove(uri);
        }
    }

    /// Takes a twin out; its actor has to end.
    pub(super) fn unlist(&mut self, system: &SystemId, twin: RegisteredTwin) {
        self.give(&twin);
        if self.twins.get(&twin.entry.id).is_some_and(|lister| lister.twin.entity == twin.entity) {
            self.take_out(system, &twin.entry.id);
        }
        self.ending.insert(twin.entity.id().slot(), Lister { system: system.clone(), twin });
    }

    fn take_out(&mut self, system: &SystemId, id: &TwinId) {
        let Some(lister) = self.twins.remove(id) else { return };
        self.unlink(&lister.twin);
        if let Some(ids) = self.of_system.get_mut(system) {
            ids.remove(id);
            if ids.is_empty() {
                self.of_system.remove(system);
            }
        }
    }

    /// The actors of these twins have ended.
    pub(super) fn ended(&mut self, twins: &[Ref<TwinMsg>]) {
        for twin in twins {
            self.ending.remove(&twin.id().slot());
        }
    }

    /// Twins whose actors have to end.
    pub(super) fn ending(&self) -> Vec<RegisteredTwin> {
        self.ending.values().map(|lister| lister.twin.clone()).collect()
    }

    /// Takes a system out; its twins were taken out before.
    pub(super) fn drop_system(&mut self, id: &SystemId) {
        if let Some(system) = self.systems.remove(id) {
            self.parts.remove(&system.part());
        }
        self.drop_unparted(id);
    }

    /// A system with its twins, from a record from before twins had parts of their own. What a part of its own says of a
    /// twin is newer, in whatever order parts come back.
    pub(super) fn keep_first(&mut self, system: TwinSystem, twins: Vec<RegisteredTwin>) {
        let id = system.description.id.clone();
        for twin in twins {
            self.give(&twin);
            let slot = twin.entity.id().slot();
            if !self.twins.contains_key(&twin.entry.id) && !self.ending.contains_key(&slot) {
                self.unparted.entry(id.clone()).or_default().insert(twin.entry.id.clone());
                self.list(&id, twin);
            }
        }
        self.keep(system);
    }

    /// How twins are synchronized, from a record from before twins had parts of their own.
    pub(super) fn synchronize_first(&mut self, system: &SystemId, twins: Vec<(TwinId, Arc<Synchronization>)>) {
        let unparted = self.unparted.get(system);
        for (id, synchronization) in twins.into_iter().filter(|(id, _)| unparted.is_some_and(|ids| ids.contains(id))) {
            if let Some(lister) = self.twins.get_mut(&id) {
                Arc::make_mut(&mut lister.twin.entry).characteristics.synchronization = Some(synchronization);
            }
        }
    }

    /// What is written in a part of its own counts from now on.
    pub(super) fn parted(&mut self, system: &SystemId, id: &TwinId) {
        if let Some(ids) = self.unparted.get_mut(system) {
            ids.remove(id);
        }
    }

    /// A system's description has a record that knows no twins: those it has are all in parts of their own.
    pub(super) fn drop_unparted(&mut self, system: &SystemId) {
        for id in self.unparted.remove(system).unwrap_or_default() {
            self.take_out(system, &id);
        }
    }

    /// The systems whose twins have no parts of their own yet.
    pub(super) fn unparted(&self) -> Vec<(SystemId, Vec<RegisteredTwin>)> {
        let twins = |ids: &BTreeSet<TwinId>| {
            ids.iter().filter_map(|id| self.twins.get(id)).map(|lister| lister.twin.clone()).collect()
        };
        self.unparted.iter().map(|(system, ids)| (system.clone(), twins(ids))).collect()
    }

    /// The records of one part that is a chunk of twins.
    pub(super) fn snapshot_chunk(&self, slots: Range<u32>, into: &mut Vec<DtsrRecord>) {
        let mut of: BTreeMap<&SystemId, (Vec<Listed>, Vec<Listed>)> = BTreeMap::new();
        for lister in self.twins_at.range(slots.clone()).filter_map(|(_, id)| self.twins.get(id)) {
            of.entry(&lister.system).or_default().0.push((&lister.twin).into());
        }
        for lister in self.ending.range(slots).map(|(_, lister)| lister) {
            of.entry(&lister.system).or_default().1.push((&lister.twin).into());
        }
        for (system, (listed, unlisted)) in of {
            if !listed.is_empty() {
                into.push(DtsrRecord::Listed { system: system.clone(), twins: listed });
            }
            if !unlisted.is_empty() {
                into.push(DtsrRecord::Unlisted { system: system.clone(), twins: unlisted });
            }
        }
    }

    /// The record of a system's own part.
    pub(super) fn snapshot_system(&self, system: &TwinSystem, into: &mut Vec<DtsrRecord>) {
        into.push(DtsrRecord::Described(Box::new(system.into())));
        // Twins that have no parts of their own yet would be lost with the record that has them.
        let ids = self.unparted.get(&system.description.id).into_iter().flatten();
        let twins = ids.filter_map(|id| Some(Listed::from(&self.twins.get(id)?.twin))).collect::<Vec<_>>();
        if !twins.is_empty() {
            into.push(DtsrRecord::Listed { system: system.description.id.clone(), twins });
        }
    }

    /// All systems, each with the number of its twins: parts come back in any order.
    pub(super) fn recount(&mut self) -> Vec<Arc<TwinSystem>> {
        for (id, system) in &mut self.systems {
            let count = self.of_system.get(id).map_or(0, BTreeSet::len);
            Arc::make_mut(system).twin_count = u32::try_from(count).unwrap_or(u32::MAX);
        }
        self.systems.values().cloned().collect()
    }

    /// Addresses below these were given.
    pub(super) fn given(&mut self, twins: u32, objects: u32) {
        self.twin_slot_next = self.twin_slot_next.max(twins);
        self.object_slot_next = self.object_slot_next.max(objects);
    }
}
