//! What becomes of registrations (FGMV-29 8.3.1): changed in whole or in part, ended. What is alike for third-party systems is
//! in [`Registrar`].

use std::{ops::Bound, sync::Arc};

use twinway_protocol::{
    Meta, Out, TwinId,
    message::{ChangeTwinList, Deregister, ListOwnTwins, OwnTwinsListed, UpdateTwinSystem},
    registry::{Page, TwinSystem},
    signal::Signal,
};

use super::{super::behind, Changing, Dtsr, DtsrRecord, Edit, admission::Scope, kept::by_chunk};
use crate::standing::{Registered, Registrar};

impl Dtsr {
    /// FGMV-29 8.3.1: a system describes itself anew, and perhaps its whole list. To repeat it changes nothing, but mends
    /// what an earlier attempt left undone.
    pub(super) fn update(&mut self, meta: &Meta, message: UpdateTwinSystem, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<UpdateTwinSystem>(out.event());
        let UpdateTwinSystem { mut description, with_twins, if_version } = message;
        let entries = std::mem::take(&mut description.twins);
        let planned = self.own(meta, &description.id, if_version).and_then(|system| {
            self.check_description(&description)?;
            let scope = if with_twins { Scope::Whole } else { Scope::Part(Vec::new()) };
            let entries = if with_twins { entries } else { Vec::new() };
            Ok((system, self.plan(&description.id, entries, scope)?))
        });
        let (before, edit) = match planned {
            Ok(planned) => planned,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        if edit.is_empty() && before.description == *description {
            self.begin_lifetime(&before, out);
            return self.mend(&before, Changing::Updating { asker, system: Arc::clone(&before) }, out);
        }
        let after = TwinSystem { description: *description, ..next(&before) };
        if let Some(system) = self.carry_out(after, edit, |system| Changing::Updating { asker, system }, out) {
            self.begin_lifetime(&system, out);
        }
    }

    /// FGMV-29 8.3.1: a system changes a part of its list.
    pub(super) fn change_list(&mut self, meta: &Meta, message: ChangeTwinList, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ChangeTwinList>(out.event());
        let ChangeTwinList { system: id, twins, remove, if_version } = message;
        let planned = self.own(meta, &id, if_version).and_then(|system| {
            let edit = self.plan(&id, twins, Scope::Part(remove))?;
            Ok((system, edit))
        });
        let (before, edit) = match planned {
            Ok(planned) => planned,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        if edit.is_empty() {
            return self.mend(&before, Changing::Listing { asker, system: Arc::clone(&before) }, out);
        }
        self.carry_out(next(&before), edit, |system| Changing::Listing { asker, system }, out);
    }

    /// A system reads its own list.
    pub(super) fn list_own(&mut self, meta: &Meta, message: &ListOwnTwins, out: &mut Out<'_, Self>) {
        let page = self.own(meta, &message.system, None).and_then(|_| {
            let (start, _) = behind::<TwinId>(message.cursor.as_deref())?;
            let ids = self.register.ids_set(&message.system).into_iter();
            let ids = ids.flat_map(|ids| ids.range((start.clone(), Bound::Unbounded)));
            let twins = ids.filter_map(|id| Some((id.as_str(), &self.register.twin(id)?.twin.entry)));
            Ok(OwnTwinsListed { page: Page::of(twins, None, message.limit, Arc::clone) })
        });
        out.reply(meta.asker::<ListOwnTwins>(out.event()), page);
    }

    /// FGMV-29 8.3.1: a system is registered no more. Selections of its twins, permissions on them and leases of their
    /// objects end, then the twins, before it hears so.
    pub(super) fn deregister(&mut self, meta: &Meta, message: &Deregister, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<Deregister>(out.event());
        let id = &message.system;
        let system = match self.own(meta, id, message.if_version) {
            Ok(system) => system,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let edit = Edit { put: [].into(), gone: self.register.twins_of(id).into() };
        let waiting = Changing::Deregistering { asker, system: Arc::clone(&system) };
        let Some(key) = self.begin(waiting, &edit, out) else { return };
        self.write_twins(&system, &edit, out);
        self.write_one(system.part(), DtsrRecord::Deregistered(id.clone()), out);
        self.forget_objects(key, &edit);
        let told = self.announce_gone(&system, &edit.gone, key, out);
        self.await_kept(key, told);
        out.signal(Signal::TwinSystemGone(id.clone()));
    }

    /// Twins that are only in a record from before twins had parts of their own get them, so that from now on a change of
    /// one costs that one.
    pub(super) fn give_parts(&mut self, out: &mut Out<'_, Self>) {
        for (id, twins) in self.register.unparted() {
            let Some(system) = self.register.systems.get(&id).cloned() else { continue };
            for (part, twins) in by_chunk(&twins) {
                self.write_one(part, DtsrRecord::Listed { system: id.clone(), twins }, out);
            }
            // In this order: what follows says that the twins are elsewhere now.
            self.write_one(system.part(), DtsrRecord::Described(Box::new((&*system).into())), out);
        }
    }
}

/// The system as its next version.
pub(super) fn next(before: &TwinSystem) -> TwinSystem {
    TwinSystem { version: before.version.saturating_add(1), ..before.clone() }
}
