//! Telling everyone concerned what the register has (FGMV-29 9.2 step 2).

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    EntityId, Mailbox, ObjectUri, Out, PendingKey, Ref, TwinId,
    lease::Synchronization,
    message::{
        DTAC, DTIA, DTS, DTSD, DescribeTwin, DigitalTwinSystemMsg, DtacMsg, DtiaMsg, DtsMsg, DtsdMsg, KeepTwinSystem,
        PhysicalObjectMsg, RepresentObject, SYNC_SUPERVISOR, SyncSupervisorMsg, TwinMsg, Wire,
    },
    registry::TwinSystem,
};

use super::Dtsr;

fn tell_kept<'s, M>(to: Ref<M>, systems: impl Iterator<Item = &'s Arc<TwinSystem>>, out: &mut Out<'_, Dtsr>)
where
    M: Mailbox<Wire = Wire> + From<KeepTwinSystem>,
{
    for system in systems {
        out.ask(to, KeepTwinSystem { system: Arc::clone(system) }, PendingKey::NONE);
    }
}

impl Dtsr {
    /// Makes the twins and objects of a system and tells everyone concerned; gives how many were told.
    pub(super) fn announce(&self, system: &Arc<TwinSystem>, key: PendingKey, out: &mut Out<'_, Self>) -> usize {
        for index in 0..system.twins.len() {
            self.describe(system, index, key, out);
        }
        let objects: BTreeSet<&ObjectUri> =
            system.twins.iter().filter_map(|twin| twin.entry.physical_object.as_ref()).collect();
        for uri in &objects {
            self.represent(uri, key, out);
        }
        system.twins.len() + objects.len() + Self::keep_everywhere(system, key, out)
    }

    /// Tells those who derive something from the register; gives how many were told.
    pub(super) fn keep_everywhere(system: &Arc<TwinSystem>, key: PendingKey, out: &mut Out<'_, Self>) -> usize {
        let keep = || KeepTwinSystem { system: Arc::clone(system) };
        out.ask(system.entity, keep(), key);
        out.ask(DTSD, keep(), key);
        out.ask(DTIA, keep(), key);
        out.ask(DTAC, keep(), key);
        out.ask(DTS, keep(), key);
        out.ask(SYNC_SUPERVISOR, keep(), key);
        6
    }

    pub(super) fn describe(&self, system: &TwinSystem, index: usize, key: PendingKey, out: &mut Out<'_, Self>) {
        let Some(twin) = system.twins.get(index) else { return };
        let description = DescribeTwin {
            system: system.description.id.clone(),
            system_entity: system.entity,
            twin: Arc::new(twin.clone()),
        };
        out.spawn(twin.entity);
        out.ask(twin.entity, description, key);
    }

    pub(super) fn represent(&self, uri: &ObjectUri, key: PendingKey, out: &mut Out<'_, Self>) {
        let Some(object) = self.objects.get(uri) else { return };
        let said = object.twins.iter().find_map(|twin| self.synchronization_of(&twin.twin));
        let represent = RepresentObject {
            object: uri.clone(),
            twins: Arc::clone(&object.twins),
            synchronization: said.cloned().unwrap_or_default(),
        };
        out.spawn(object.entity);
        out.ask(object.entity, represent, key);
    }

    fn synchronization_of(&self, twin: &TwinId) -> Option<&Arc<Synchronization>> {
        let (id, index) = self.listed.get(twin)?;
        self.systems.get(id)?.twins.get(*index)?.entry.characteristics.synchronization.as_ref()
    }

    /// An entity has recovered and lacks what it derives from the register.
    pub(super) fn reannounce(&self, from: EntityId, out: &mut Out<'_, Self>) {
        match from.kind() {
            DtsdMsg::KIND => tell_kept(DTSD, self.systems.values(), out),
            DtiaMsg::KIND => tell_kept(DTIA, self.systems.values(), out),
            DtacMsg::KIND => tell_kept(DTAC, self.systems.values(), out),
            DtsMsg::KIND => tell_kept(DTS, self.systems.values(), out),
            SyncSupervisorMsg::KIND => tell_kept(SYNC_SUPERVISOR, self.systems.values(), out),
            DigitalTwinSystemMsg::KIND => {
                let system = self.parts.get(&u64::from(from.slot())).and_then(|id| self.systems.get(id));
                tell_kept(Ref::<DigitalTwinSystemMsg>::new(from), system.into_iter(), out);
            }
            TwinMsg::KIND => {
                if let Some((id, index)) = self.twins.get(&from).and_then(|twin| self.listed.get(twin))
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
