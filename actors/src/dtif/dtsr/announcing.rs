//! Telling everyone concerned what the register has (FGMV-29 9.2 step 2).

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    Ask, EntityId, Mailbox, ObjectUri, Out, PendingKey, Ref,
    message::{
        DTAC, DTIA, DTS, DTSD, DescribeTwin, DigitalTwinSystemMsg, DtacMsg, DtiaMsg, DtsMsg, DtsdMsg, ForgetTwinSystem,
        KeepStanding, KeepTwinSystem, Kept, PhysicalObjectMsg, SYNC_SUPERVISOR, SyncSupervisorMsg, TwinMsg,
    },
    registry::TwinSystem,
    twin::RegisteredTwin,
};

use super::{Dtsr, Edit};

/// The functional entities that derive something from the register.
const DERIVING: [u8; 5] = [DtsdMsg::KIND, DtiaMsg::KIND, DtacMsg::KIND, DtsMsg::KIND, SyncSupervisorMsg::KIND];

/// What everyone is told who derives something from the register.
trait News: Ask<Answer = Kept> + Clone
where
    DtsdMsg: From<Self>,
    DtiaMsg: From<Self>,
    DtacMsg: From<Self>,
    DtsMsg: From<Self>,
    SyncSupervisorMsg: From<Self>,
    DigitalTwinSystemMsg: From<Self>,
{
    /// Tells the entity of this kind; `system` is the actor of the system that it is about.
    fn tell(self, kind: u8, system: Ref<DigitalTwinSystemMsg>, key: PendingKey, out: &mut Out<'_, Dtsr>) {
        match kind {
            DtsdMsg::KIND => out.ask(DTSD, self, key),
            DtiaMsg::KIND => out.ask(DTIA, self, key),
            DtacMsg::KIND => out.ask(DTAC, self, key),
            DtsMsg::KIND => out.ask(DTS, self, key),
            SyncSupervisorMsg::KIND => out.ask(SYNC_SUPERVISOR, self, key),
            _ => out.ask(system, self, key),
        }
    }

    /// Tells all of them; gives how many.
    fn tell_all(self, system: Ref<DigitalTwinSystemMsg>, key: PendingKey, out: &mut Out<'_, Dtsr>) -> usize {
        let kinds = [DigitalTwinSystemMsg::KIND].into_iter().chain(DERIVING);
        kinds.map(|kind| self.clone().tell(kind, system, key, out)).count()
    }
}

impl News for KeepTwinSystem {}
impl News for ForgetTwinSystem {}

fn keep(system: &Arc<TwinSystem>, edit: &Edit) -> KeepTwinSystem {
    KeepTwinSystem { system: Arc::clone(system), twins: Arc::clone(&edit.put), gone: Arc::clone(&edit.gone) }
}

impl Dtsr {
    /// Makes the twins and objects that are new and tells everyone concerned; gives how many were told.
    pub(super) fn announce(
        &self,
        system: &Arc<TwinSystem>,
        edit: &Edit,
        key: PendingKey,
        out: &mut Out<'_, Self>,
    ) -> usize {
        for twin in edit.put.iter() {
            describe(system, twin, key, out);
        }
        let changed = edit.put.iter().chain(edit.gone.iter());
        let objects: BTreeSet<&ObjectUri> = changed.filter_map(|twin| twin.entry.physical_object.as_ref()).collect();
        let represented = objects.into_iter().filter(|uri| self.represent(uri, key, out)).count();
        edit.put.len() + represented + keep(system, edit).tell_all(system.entity, key, out)
    }

    /// Tells those who derive something from the register that a system is registered no more; gives how many.
    pub(super) fn announce_gone(
        &self,
        system: &Arc<TwinSystem>,
        gone: &Arc<[RegisteredTwin]>,
        key: PendingKey,
        out: &mut Out<'_, Self>,
    ) -> usize {
        ForgetTwinSystem { system: Arc::clone(system), twins: Arc::clone(gone) }.tell_all(system.entity, key, out)
    }

    /// Tells one who could not take it that twins, or all of a system, are gone.
    pub(super) fn tell_one(
        &self,
        to: EntityId,
        system: &Arc<TwinSystem>,
        gone: &Arc<[RegisteredTwin]>,
        is_whole: bool,
        key: PendingKey,
        out: &mut Out<'_, Self>,
    ) {
        match to.kind() {
            _ if is_whole => {
                let forget = ForgetTwinSystem { system: Arc::clone(system), twins: Arc::clone(gone) };
                forget.tell(to.kind(), system.entity, key, out);
            }
            TwinMsg::KIND => match self.register.twin_at(to) {
                Some(lister) => describe(system, &lister.twin, key, out),
                None => self.nothing_to_tell(key, out),
            },
            PhysicalObjectMsg::KIND => {
                let uri = self.register.object_at(to);
                if !uri.is_some_and(|uri| self.represent(uri, key, out)) {
                    self.nothing_to_tell(key, out);
                }
            }
            kind => {
                let id = &system.description.id;
                // What it could not take may have had more in it than what is gone.
                let now = self.register.systems.get(id).unwrap_or(system);
                let edit = Edit { put: self.register.twins_of(id).into(), gone: Arc::clone(gone) };
                keep(now, &edit).tell(kind, system.entity, key, out);
            }
        }
    }

    /// Whom this was for has gone meanwhile; one who always answers stands in for it.
    fn nothing_to_tell(&self, key: PendingKey, out: &mut Out<'_, Self>) {
        if let Some(system) = self.register.systems.values().next() {
            keep(system, &Edit::of(Vec::new())).tell(DtsMsg::KIND, system.entity, key, out);
        }
    }

    /// Tells the actor of an object what stands for it; false when nothing does.
    pub(super) fn represent(&self, uri: &ObjectUri, key: PendingKey, out: &mut Out<'_, Self>) -> bool {
        let Some((object, representation)) = self.register.representation(uri) else { return false };
        out.spawn(object);
        out.ask(object, representation, key);
        true
    }

    /// An entity has recovered and lacks what it derives from the register.
    pub(super) fn reannounce(&self, from: EntityId, out: &mut Out<'_, Self>) {
        match from.kind() {
            DigitalTwinSystemMsg::KIND => {
                if let Some(system) = self.register.at_part(u64::from(from.slot())) {
                    self.tell_whole(from.kind(), system, out);
                }
            }
            TwinMsg::KIND => {
                if let Some(lister) = self.register.twin_at(from)
                    && let Some(system) = self.register.systems.get(&lister.system)
                {
                    describe(system, &lister.twin, PendingKey::NONE, out);
                }
            }
            PhysicalObjectMsg::KIND => {
                if let Some(uri) = self.register.object_at(from) {
                    self.represent(uri, PendingKey::NONE, out);
                }
            }
            kind if DERIVING.contains(&kind) => {
                for (id, system) in &self.register.systems {
                    self.tell_whole(kind, system, out);
                    if kind == DtsdMsg::KIND {
                        out.send(DTSD, KeepStanding { system: id.clone(), standing: self.standings.of(id) });
                    }
                }
            }
            _ => {}
        }
    }

    fn tell_whole(&self, kind: u8, system: &Arc<TwinSystem>, out: &mut Out<'_, Self>) {
        let edit = Edit::of(self.register.twins_of(&system.description.id));
        keep(system, &edit).tell(kind, system.entity, PendingKey::NONE, out);
    }
}

/// Makes a twin and tells it what it is.
pub(super) fn describe(system: &TwinSystem, twin: &RegisteredTwin, key: PendingKey, out: &mut Out<'_, Dtsr>) {
    let description = DescribeTwin {
        system: system.description.id.clone(),
        system_entity: system.entity,
        twin: Arc::new(twin.clone()),
    };
    out.spawn(twin.entity);
    out.ask(twin.entity, description, key);
}
