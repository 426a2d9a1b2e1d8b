//! How twins are synchronized with their objects, and by whom first (FGMV-28 REQ-DT-08).

use std::sync::Arc;

use twinway_protocol::{
    EntityId, Meta, Out, Problem, ProblemKind, SystemId, TwinId,
    lease::Synchronization,
    message::SetSynchronization,
    registry::TwinSystem,
    signal::Signal,
    twin::{Affordances, RegisteredTwin},
};

use super::{
    super::{limit_reached, member, twin_unknown},
    Changing, Dtsr, DtsrRecord, part_of,
};
use crate::Settings;

/// What a twin system says anew of one of its twins.
struct Admitted {
    /// The system as it is to be kept.
    system: Arc<TwinSystem>,
    /// The twin's place in its list.
    index: usize,
    /// Whether it differs from what was said before.
    is_new: bool,
}

/// What is written down beside the registration of a system, if one of its twins has something to say.
pub(super) fn synchronized(system: &TwinSystem) -> Option<DtsrRecord> {
    let said = |twin: &RegisteredTwin| {
        let synchronization = twin.entry.characteristics.synchronization.as_ref()?;
        Some((twin.entry.id.clone(), Arc::clone(synchronization)))
    };
    let twins: Vec<_> = system.twins.iter().filter_map(said).collect();
    let system = system.description.id.clone();
    (!twins.is_empty()).then_some(DtsrRecord::Synchronized { system, twins })
}

impl Dtsr {
    /// FGMV-28 REQ-DT-08: a twin system says anew how a twin is synchronized. As with a registration, to repeat it is
    /// no mistake: everyone is told again.
    pub(super) fn set_synchronization(&mut self, meta: &Meta, message: SetSynchronization, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<SetSynchronization>(out.event());
        let SetSynchronization { twin, synchronization } = message;
        let admitted = match self.admit_synchronization(meta.from, &twin, &synchronization) {
            Ok(admitted) => admitted,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let Admitted { system, index, is_new } = admitted;
        let Some(key) = self.begin(Changing::Synchronizing(asker), out) else { return };
        if is_new {
            let id = system.description.id.clone();
            self.systems.insert(id.clone(), Arc::clone(&system));
            let record = DtsrRecord::Synchronized { system: id, twins: vec![(twin, synchronization)] };
            out.record(part_of(&system), record);
        }
        self.describe(&system, index, key, out);
        let object = system.twins.get(index).and_then(|twin| twin.entry.physical_object.as_ref());
        if let Some(uri) = object {
            self.represent(uri, key, out);
        }
        let told = 1 + usize::from(object.is_some()) + Self::keep_everywhere(&system, key, out);
        self.await_kept(key, told);
        if is_new {
            out.signal(Signal::TwinSystem(system));
        }
    }

    /// Judges what a twin system says anew. Nothing is changed yet.
    fn admit_synchronization(
        &self,
        from: EntityId,
        twin: &TwinId,
        synchronization: &Arc<Synchronization>,
    ) -> Result<Admitted, Problem> {
        let (id, index) = self.listed.get(twin).ok_or_else(|| twin_unknown(twin))?;
        let system = self.systems.get(id).ok_or_else(|| twin_unknown(twin))?;
        if system.entity.id() != from {
            let detail = format!("`{twin}` is a twin of `{id}`, which says itself how it is synchronized");
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        let entry = &system.twins.get(*index).ok_or_else(|| twin_unknown(twin))?.entry;
        check(synchronization, &Affordances::read(&entry.description)?, &self.settings)?;
        let is_new = entry.characteristics.synchronization.as_ref() != Some(synchronization);
        let mut system = Arc::clone(system);
        if is_new {
            say(Arc::make_mut(&mut system), *index, Arc::clone(synchronization));
        }
        Ok(Admitted { system, index: *index, is_new })
    }

    /// Takes over what was written down of twins of a registered system.
    pub(super) fn synchronize(&mut self, id: &SystemId, twins: Vec<(TwinId, Arc<Synchronization>)>) {
        let Some(system) = self.systems.get_mut(id) else { return };
        let system = Arc::make_mut(system);
        for (twin, synchronization) in twins {
            let place = self.listed.get(&twin).filter(|(lister, _)| lister == id);
            if let Some((_, index)) = place {
                say(system, *index, synchronization);
            }
        }
    }
}

fn say(system: &mut TwinSystem, index: usize, synchronization: Arc<Synchronization>) {
    if let Some(twin) = system.twins.get_mut(index) {
        Arc::make_mut(&mut twin.entry).characteristics.synchronization = Some(synchronization);
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
