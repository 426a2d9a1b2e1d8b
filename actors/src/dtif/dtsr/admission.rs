//! Whether a twin system may register what it sends (FGMV-29 9.2 step 1).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use twinway_protocol::{
    EntityId, Mailbox, ObjectUri, Problem, ProblemKind, Ref, TwinId,
    message::{DigitalTwinSystemMsg, PhysicalObjectMsg, TwinMsg},
    registry::{TwinSystem, TwinSystemDescription},
    time::Timestamp,
    twin::{Affordances, RegisteredTwin, TwinEntry},
};

use super::{super::limit_reached, Dtsr, synchronization};

/// How many of the twins that differ are named in a refusal.
const DIFFERENT_TWINS_MAX: usize = 20;

/// What becomes of a registration.
pub(super) enum Admission {
    /// It is to be kept.
    New(TwinSystem),
    /// It is kept already, exactly like this.
    Same(Arc<TwinSystem>),
}

impl Dtsr {
    /// Judges a registration and gives addresses to what it brings. Nothing is changed yet.
    pub(super) fn admit(
        &self,
        from: EntityId,
        mut description: TwinSystemDescription,
        now: Timestamp,
    ) -> Result<Admission, Problem> {
        if from.kind() != DigitalTwinSystemMsg::KIND {
            let detail = "a twin system registers through the actor that speaks for it";
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        let entries = std::mem::take(&mut description.twins);
        if let Some(kept) = self.systems.get(&description.id) {
            let differences = differences(kept, &description, &entries);
            if differences.is_empty() {
                return Ok(Admission::Same(Arc::clone(kept)));
            }
            let detail = format!("`{}` is registered with other contents", description.id);
            return Err(Problem { differences, ..Problem::new(ProblemKind::AlreadyRegistered, detail) });
        }
        if self.systems.len() >= self.settings.registered_systems_max {
            return Err(limit_reached("registered_systems_max", self.settings.registered_systems_max));
        }
        if entries.len() > self.settings.system_twins_max {
            return Err(limit_reached("system_twins_max", self.settings.system_twins_max).at("/twins"));
        }
        self.check_entries(&entries)?;
        let twins = self.give_addresses(entries)?;
        Ok(Admission::New(TwinSystem { description, registered_at: now, entity: Ref::new(from), twins }))
    }

    fn check_entries(&self, entries: &[Arc<TwinEntry>]) -> Result<(), Problem> {
        let mut ids = BTreeSet::new();
        for (index, entry) in entries.iter().enumerate() {
            let within = |place: &str, problem: Problem| {
                let inside = problem.pointer.clone().unwrap_or_default();
                problem.at(format!("/twins/{index}/{place}{inside}"))
            };
            let can = Affordances::read(&entry.description).map_err(|problem| within("description", problem))?;
            if let Some(said) = &entry.characteristics.synchronization {
                synchronization::check(said, &can, &self.settings)
                    .map_err(|problem| within("characteristics/synchronization", problem))?;
            }
            if !ids.insert(&entry.id) {
                let detail = format!("the list has `{}` twice", entry.id);
                return Err(Problem::new(ProblemKind::InvalidDocument, detail).at(format!("/twins/{index}/id")));
            }
            // FGMV-28 REQ-DT-01: a twin is unique in the metaverse.
            if self.listed.contains_key(&entry.id) {
                let detail = format!("another twin system lists `{}`", entry.id);
                return Err(Problem::new(ProblemKind::TwinListedElsewhere, detail).at(format!("/twins/{index}/id")));
            }
            if let Some(uri) = &entry.physical_object
                && let Some(object) = self.objects.get(uri)
            {
                let detail = format!("`{}` named `{uri}` first", object.owner);
                let pointer = format!("/twins/{index}/physicalObject");
                return Err(Problem::new(ProblemKind::ObjectOwned, detail).at(pointer));
            }
        }
        Ok(())
    }

    fn give_addresses(&self, entries: Vec<Arc<TwinEntry>>) -> Result<Vec<RegisteredTwin>, Problem> {
        let mut objects: BTreeMap<ObjectUri, Ref<PhysicalObjectMsg>> = BTreeMap::new();
        let (mut twin_slot, mut object_slot) = (self.twin_slot_next, self.object_slot_next);
        let mut twins = Vec::with_capacity(entries.len());
        for entry in entries {
            let entity = Ref::new(EntityId::new(TwinMsg::KIND, 0, take_slot(&mut twin_slot)?));
            let object = match &entry.physical_object {
                None => None,
                Some(uri) => Some(match objects.get(uri) {
                    Some(object) => *object,
                    None => {
                        let slot = take_slot(&mut object_slot)?;
                        let object = Ref::new(EntityId::new(PhysicalObjectMsg::KIND, 0, slot));
                        objects.insert(uri.clone(), object);
                        object
                    }
                }),
            };
            twins.push(RegisteredTwin { entry, entity, object });
        }
        Ok(twins)
    }
}

fn take_slot(next: &mut u32) -> Result<u32, Problem> {
    let slot = *next;
    *next = slot.checked_add(1).ok_or_else(|| limit_reached("the number of addresses", u32::MAX as usize))?;
    Ok(slot)
}

/// What differs from what is kept: members of the description, and twins.
fn differences(kept: &TwinSystem, description: &TwinSystemDescription, entries: &[Arc<TwinEntry>]) -> Vec<String> {
    let old = &kept.description;
    let mut found: Vec<String> = [
        ("type", old.system_type == description.system_type),
        ("title", old.title == description.title),
        ("description", old.description == description.description),
        ("properties", old.properties == description.properties),
        ("reach", old.reach == description.reach),
    ]
    .into_iter()
    .filter(|(_, same)| !same)
    .map(|(member, _)| member.to_owned())
    .collect();

    let before: BTreeMap<&TwinId, &TwinEntry> = kept.twins.iter().map(|twin| (&twin.entry.id, &*twin.entry)).collect();
    let after: BTreeMap<&TwinId, &TwinEntry> = entries.iter().map(|entry| (&entry.id, &**entry)).collect();
    let mut twins: Vec<String> = Vec::new();
    if after.len() < entries.len() {
        twins.push("twins: an id is listed twice".to_owned());
    }
    twins.extend(before.keys().filter(|id| !after.contains_key(*id)).map(|id| format!("twins: `{id}` removed")));
    for (id, entry) in &after {
        match before.get(id) {
            None => twins.push(format!("twins: `{id}` added")),
            Some(old) if old != entry => twins.push(format!("twins: `{id}` changed")),
            Some(_) => {}
        }
    }
    let left_out = twins.len().saturating_sub(DIFFERENT_TWINS_MAX);
    found.extend(twins.into_iter().take(DIFFERENT_TWINS_MAX));
    if left_out > 0 {
        found.push(format!("twins: {left_out} more"));
    }
    found
}
