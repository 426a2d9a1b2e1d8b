//! What a digital twin system says of the rights on its own twins and of their characteristics (FGMV-29 8.3.5).

use twinway_protocol::{
    Ask, Asker, Meta, Out, Problem, TwinId,
    message::{
        CharacteristicsShown, DTAC, DigitalTwinSystemMsg, DtacMsg, GrantTwinPermission, ListTwinPermissions,
        PermissionsOf, ReadCharacteristics, RevokeTwinPermission, SetCharacteristics, TwinPermissionShown,
        TwinPermissionsListed, Wire,
    },
};

use super::{DigitalTwinSystem, Waiting, not_listed};
use crate::settings::pending_full;

/// Who waits for what DTAC says.
#[derive(Debug)]
pub(super) enum Rights {
    Listing(Asker<ListTwinPermissions>),
    Granting(Asker<GrantTwinPermission>),
    Revoking(Asker<RevokeTwinPermission>),
    Reading(Asker<ReadCharacteristics>),
    Setting(Asker<SetCharacteristics>),
}

impl Rights {
    pub(super) fn refuse(self, problem: &Problem, out: &mut Out<'_, DigitalTwinSystem>) {
        match self {
            Self::Listing(asker) => out.reply(asker, Err(problem.clone())),
            Self::Granting(asker) => out.reply(asker, Err(problem.clone())),
            Self::Revoking(asker) => out.reply(asker, Err(problem.clone())),
            Self::Reading(asker) => out.reply(asker, Err(problem.clone())),
            Self::Setting(asker) => out.reply(asker, Err(problem.clone())),
        }
    }
}

impl DigitalTwinSystem {
    /// A system speaks of its own twins, and of no other's.
    pub(super) fn own<T>(
        &mut self,
        meta: &Meta,
        twin: TwinId,
        message: T,
        waits: fn(Asker<T>) -> Rights,
        out: &mut Out<'_, Self>,
    ) where
        T: Ask<Answer: twinway_protocol::Answers<Wire>>,
        DtacMsg: From<T>,
        DigitalTwinSystemMsg: From<Result<T::Answer, Problem>>,
    {
        let asker = meta.asker::<T>(out.event());
        if !self.twins.contains_key(&twin) {
            return out.reply(asker, Err(not_listed(&twin)));
        }
        match self.waiting.insert(Waiting::Rights(waits(asker))) {
            Ok(key) => out.ask(DTAC, message, key),
            Err(Waiting::Rights(asker)) => asker.refuse(&pending_full(), out),
            Err(_) => {}
        }
    }

    pub(super) fn list_permissions(&mut self, meta: &Meta, message: ListTwinPermissions, out: &mut Out<'_, Self>) {
        match &*message.of {
            PermissionsOf::Twin(twin) => self.own(meta, twin.clone(), message, Rights::Listing, out),
            PermissionsOf::User(..) => {
                let asker = meta.asker::<ListTwinPermissions>(out.event());
                let detail = "a twin system reads the permissions on its twins";
                out.reply(asker, Err(Problem::new(twinway_protocol::ProblemKind::NotAllowed, detail)));
            }
        }
    }

    pub(super) fn permissions_listed(
        &mut self,
        meta: &Meta,
        answer: Result<TwinPermissionsListed, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        if let Some(Waiting::Rights(Rights::Listing(asker))) = self.waiting.take(meta.pending) {
            out.reply(asker, answer);
        }
    }

    pub(super) fn permission_shown(
        &mut self,
        meta: &Meta,
        answer: Result<TwinPermissionShown, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        if let Some(Waiting::Rights(Rights::Granting(asker))) = self.waiting.take(meta.pending) {
            out.reply(asker, answer);
        }
    }

    pub(super) fn characteristics_shown(
        &mut self,
        meta: &Meta,
        answer: Result<CharacteristicsShown, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        match self.waiting.take(meta.pending) {
            Some(Waiting::Rights(Rights::Reading(asker))) => out.reply(asker, answer),
            Some(Waiting::Rights(Rights::Setting(asker))) => out.reply(asker, answer),
            _ => {}
        }
    }
}
