//! How twins are synchronized with their objects, and by whom first (FGMV-28 REQ-DT-08).

use std::sync::Arc;

use twinway_protocol::{
    EntityId, Meta, Out, Problem, ProblemKind, TwinId,
    lease::Synchronization,
    message::SetSynchronization,
    registry::TwinSystem,
    twin::{Affordances, RegisteredTwin, TwinEntry},
};

use super::{
    super::{limit_reached, member, twin_unknown},
    Changing, Dtsr, Edit,
    changing::next,
};
use crate::Settings;

impl Dtsr {
    /// FGMV-28 REQ-DT-08: a twin system says anew how a twin is synchronized. To repeat it is no mistake: everyone is told
    /// again.
    pub(super) fn set_synchronization(&mut self, meta: &Meta, message: SetSynchronization, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<SetSynchronization>(out.event());
        let SetSynchronization { twin, synchronization } = message;
        let (before, twin) = match self.admit_synchronization(meta.from, &twin, &synchronization) {
            Ok(admitted) => admitted,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        if twin.entry.characteristics.synchronization.as_ref() == Some(&synchronization) {
            let (system, edit) = (Arc::clone(&before), Edit::of(vec![twin]));
            let waiting = Changing::Synchronizing { asker, system };
            let Some(key) = self.begin(waiting, &edit, out) else { return };
            let told = self.announce(&before, &edit, key, out);
            return self.await_kept(key, told);
        }
        let mut entry = TwinEntry::clone(&twin.entry);
        entry.characteristics.synchronization = Some(synchronization);
        let edit = Edit::of(vec![RegisteredTwin { entry: Arc::new(entry), ..twin }]);
        self.carry_out(next(&before), edit, |system| Changing::Synchronizing { asker, system }, out);
    }

    /// Judges what a twin system says anew. Nothing is changed yet.
    fn admit_synchronization(
        &self,
        from: EntityId,
        id: &TwinId,
        synchronization: &Arc<Synchronization>,
    ) -> Result<(Arc<TwinSystem>, RegisteredTwin), Problem> {
        let lister = self.register.twin(id).ok_or_else(|| twin_unknown(id))?;
        let system = self.register.systems.get(&lister.system).ok_or_else(|| twin_unknown(id))?;
        if system.entity.id() != from {
            let detail = format!("`{id}` is a twin of `{}`, which says itself how it is synchronized", lister.system);
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        check(synchronization, &Affordances::read(&lister.twin.entry.description)?, &self.settings)?;
        Ok((Arc::clone(system), lister.twin.clone()))
    }
}

/// Whether a twin can be synchronized like this; a problem has its place in the characteristics.
pub(super) fn check(said: &Synchronization, can: &Affordances, settings: &Settings) -> Result<(), Problem> {
    if said.priorities.len() > settings.priority_rules_max {
        return Err(limit_reached("priority_rules_max", settings.priority_rules_max).at("/priorities"));
    }
    let times = [
        ("graceMs", said.grace_ms),
        ("minHoldMs", said.min_hold_ms),
        ("holdMsMax", said.hold_ms_max),
        ("commandMsMax", said.command_ms_max),
    ];
    for (name, ms) in times {
        if ms > settings.lease_terms_ms_max {
            let limit = settings.lease_terms_ms_max;
            let detail = format!("lease_terms_ms_max is {limit}");
            return Err(Problem::new(ProblemKind::LimitReached, detail).at(member("", name)));
        }
    }
    let Some(safe_stop) = &said.safe_stop else { return Ok(()) };
    let inside = "/safeStop";
    if safe_stop.is_empty() {
        let detail = "at least one property is expected here; leave it out where no safe stop is needed";
        return Err(Problem::new(ProblemKind::InvalidDocument, detail).at(inside));
    }
    for name in safe_stop.keys() {
        let Some(property) = can.properties.get(name) else {
            let detail = format!("the description has no property `{name}`");
            return Err(Problem::new(ProblemKind::PropertyUnknown, detail).at(member(inside, name)));
        };
        // What users may not change, the gate may: `changeable` is not looked at.
        if property.read_only {
            let detail = format!("`{name}` cannot be changed");
            return Err(Problem::new(ProblemKind::BehaviourNotPermitted, detail).at(member(inside, name)));
        }
    }
    Ok(())
}
