//! Who may be synchronized with an object, and before whom (FGMV-28 REQ-DT-08, 7.1.3 step 7).

use std::collections::BTreeSet;

use twinway_protocol::{
    EntityId, Out, Problem, ProblemKind, TwinId,
    access::Right,
    lease::{HolderClass, Synchronization, Wanted},
    message::{RulesChanged, SYNC_SUPERVISOR, SyncVerified, VerifySync},
    time::Timestamp,
    twin::TwinEntry,
};

use super::{Dtac, KnownTwin, Numbered};

impl Dtac {
    /// FGMV-28 REQ-DT-08: whether the user may be synchronized with the objects of all these twins, or stop them,
    /// with which priority, and on which terms they are lent.
    pub(super) fn verify_sync(&self, sync: &VerifySync, now: Timestamp) -> Result<SyncVerified, Problem> {
        if sync.twins.is_empty() {
            return Err(Problem::new(ProblemKind::LeaseSet, "at least one twin is expected here").at("/twins"));
        }
        let mut objects: BTreeSet<EntityId> = BTreeSet::new();
        let mut wanted = Vec::with_capacity(sync.twins.len());
        let (mut role, mut agree) = (None, true);
        for (index, twin) in sync.twins.iter().enumerate() {
            let at = |problem: Problem| problem.at(format!("/twins/{index}"));
            let (want, kept) = self.may_synchronize(sync, twin, now).map_err(at)?;
            // Most ask for one.
            if sync.twins.len() > 1 && !objects.insert(want.object) {
                let detail = format!("an earlier twin of the list stands for the object of `{twin}` too");
                return Err(at(Problem::new(ProblemKind::LeaseSet, detail)));
            }
            agree &= index == 0 || role == kept.role.as_ref();
            role = kept.role.as_ref();
            wanted.push(want);
        }
        // Whose permissions do not agree on what the user is, is nothing in particular: a role that one twin gives
        // must not weigh on the object of another.
        Ok(SyncVerified { wanted, role: role.filter(|_| agree).cloned() })
    }

    fn may_synchronize(
        &self,
        sync: &VerifySync,
        twin: &TwinId,
        now: Timestamp,
    ) -> Result<(Wanted, &Numbered), Problem> {
        let known = self.known(twin)?;
        let Some(object) = known.object else {
            return Err(Problem::new(ProblemKind::ObjectNone, format!("the entry of `{twin}` names no object")));
        };
        let holder = (sync.metaverse.clone(), sync.user.clone(), twin.clone());
        let kept = self.permitted(holder, &[sync.right], now)?;
        let none = Synchronization::default();
        let says = known.entry.characteristics.synchronization.as_deref().unwrap_or(&none);
        let rule = says.rule(&sync.user, kept.role.as_deref(), &sync.world);
        // To stop an object no lease is taken, and the class says how a lease is taken.
        let needs_rule = sync.class == HolderClass::Emergency && sync.right != Right::Stop;
        if needs_rule && !rule.is_some_and(|rule| rule.emergency) {
            let detail =
                format!("the rule of `{twin}` that counts for `{}` does not admit the emergency class", sync.user);
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        let priority = rule.map_or(says.default_priority, |rule| rule.priority);
        Ok((Wanted { object: object.id(), priority, terms: says.terms() }, kept))
    }

    /// Tells the supervisor when the rules by which it was answered are others now.
    ///
    /// DTSR tells the supervisor of the rules too, but only what comes from here comes after every answer that was
    /// given by the older rules. When the daemon starts nothing was answered yet, and what is heard for the first time
    /// has changed nothing. After a failure of this entity alone something may have been: what the rules were is
    /// forgotten, so that the supervisor hears all of them again.
    pub(super) fn tell_of_rules(&self, before: Option<&KnownTwin>, now: &TwinEntry, out: &mut Out<'_, Self>) {
        let rules = &now.characteristics.synchronization;
        let are_others = match before {
            Some(before) => before.entry.characteristics.synchronization != *rules,
            None => self.has_forgotten && rules.is_some(),
        };
        if are_others && now.physical_object.is_some() {
            let synchronization = rules.clone().unwrap_or_default();
            out.send(SYNC_SUPERVISOR, RulesChanged { twin: now.id.clone(), synchronization });
        }
    }
}
