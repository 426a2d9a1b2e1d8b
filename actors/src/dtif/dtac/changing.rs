//! Whether a user may change a twin, and whether its object can be changed like this (FGMV-29 9.2 step 16, 8.3.5).

use twinway_protocol::{
    JsonDoc, Meta, Out, Problem, ProblemKind,
    access::Right,
    message::{CancelAction, ChangeVerified, RefreshTwin, VerifyAction, VerifyChange, WhatToDo},
    time::Timestamp,
};

use super::{super::member, Dtac};
use crate::{
    schema::{self, Of},
    settings::pending_full,
};

impl Dtac {
    /// FGMV-29 9.2 step 16: whether the user may, whether the object can, and whether the values are such as the twin's
    /// own description allows.
    pub(super) fn verify_change(&self, change: &VerifyChange, now: Timestamp) -> Result<ChangeVerified, Problem> {
        let known = self.known(&change.twin)?;
        let holder = (change.metaverse.clone(), change.user.clone(), change.twin.clone());
        self.permitted(holder, &[Right::Change], now)?;
        if change.values.is_empty() {
            return Err(Problem::new(ProblemKind::InvalidDocument, "at least one property is expected here").at(""));
        }
        for (name, value) in change.values.iter() {
            let Some(property) = known.affordances.properties.get(name) else {
                let detail = format!("the description of `{}` has no property `{name}`", change.twin);
                return Err(Problem::new(ProblemKind::PropertyUnknown, detail).at(member("", name)));
            };
            if property.read_only || !self.is_changeable(known, name) {
                let detail = format!("`{name}` of `{}` cannot be changed", change.twin);
                return Err(Problem::new(ProblemKind::BehaviourNotPermitted, detail).at(member("", name)));
            }
            schema::check(&known.entry.description, Of::Property(name), value, &member("", name))?;
        }
        Ok(ChangeVerified { entity: known.entity, has_object: known.entry.physical_object.is_some() })
    }

    /// As FGMV-29 9.2 step 16, for an action: the right to change the twin is the right to have it act.
    pub(super) fn verify_action(&self, action: &VerifyAction, now: Timestamp) -> Result<ChangeVerified, Problem> {
        let VerifyAction { metaverse, user, twin, what } = action;
        let WhatToDo { action: name, input } = &**what;
        let known = self.known(twin)?;
        self.permitted((metaverse.clone(), user.clone(), twin.clone()), &[Right::Change], now)?;
        if !known.affordances.actions.contains(name) {
            let detail = format!("the description of `{twin}` has no action `{name}`");
            return Err(Problem::new(ProblemKind::ActionUnknown, detail));
        }
        if !self.is_invocable(twin, name) {
            let detail = format!("`{name}` of `{twin}` cannot be invoked");
            return Err(Problem::new(ProblemKind::BehaviourNotPermitted, detail));
        }
        // Where the description wants an input, none is none that it allows.
        let input = input.clone().unwrap_or_else(JsonDoc::null);
        schema::check(&known.entry.description, Of::Input(name), &input, "/input")?;
        Ok(ChangeVerified { entity: known.entity, has_object: known.entry.physical_object.is_some() })
    }

    /// FGMV-28 REQ-DT-07: who may read a twin has its values asked for now.
    pub(super) fn refresh(&mut self, meta: &Meta, refresh: RefreshTwin, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<RefreshTwin>(out.event());
        let holder = (refresh.metaverse.clone(), refresh.user.clone(), refresh.twin.clone());
        let permitted = self.permitted(holder, &[Right::Read, Right::Change], out.now().wall).map(|_| ());
        let entity = match permitted.and_then(|()| self.known(&refresh.twin)) {
            Ok(known) => known.entity,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        match self.refreshing.insert(asker) {
            Ok(key) => out.ask(entity, refresh, key),
            Err(asker) => out.reply(asker, Err(pending_full())),
        }
    }

    /// Who invoked an action may cancel it, whatever became of the permission: the twin knows who that is.
    pub(super) fn cancel_action(&mut self, meta: &Meta, cancel: CancelAction, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<CancelAction>(out.event());
        let entity = match self.known(&cancel.twin) {
            Ok(known) => known.entity,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        match self.cancelling.insert(asker) {
            Ok(key) => out.ask(entity, cancel, key),
            Err(asker) => out.reply(asker, Err(pending_full())),
        }
    }
}
