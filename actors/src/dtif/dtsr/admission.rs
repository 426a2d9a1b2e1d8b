//! Whether a twin system may register what it sends (FGMV-29 9.2 step 1), and what of it is new.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use twinway_protocol::{
    EntityId, Mailbox, ObjectUri, Problem, ProblemKind, Ref, SystemId, TwinId,
    message::{DigitalTwinSystemMsg, PhysicalObjectMsg, TwinMsg},
    registry::{TwinSystem, TwinSystemDescription},
    twin::{Affordances, RegisteredTwin, TwinEntry},
};

use super::{
    super::{limit_reached, twin_unknown},
    Dtsr, Edit, synchronization,
};
use crate::sif::tpsr::check_level;

/// How many of the twins that differ are named in a refusal.
const DIFFERENT_TWINS_MAX: usize = 20;

/// What becomes of a registration.
pub(super) enum Admission {
    /// It is to be kept, with these twins.
    New(Box<TwinSystemDescription>, Edit),
    /// It is kept already, exactly like this.
    Same(Arc<TwinSystem>),
}

/// What a list of twins says of those that it does not name.
pub(super) enum Scope {
    /// They are listed no more.
    Whole,
    /// They stay, but for these.
    Part(Vec<TwinId>),
}

/// The twins that a list names. Those that are listed already are known by their slots: a bit each, and no copy of the list.
struct Named {
    known: Vec<u64>,
    known_count: u32,
    new: BTreeSet<TwinId>,
}

impl Named {
    fn new(slots: u32) -> Self {
        Self { known: vec![0; slots.div_ceil(u64::BITS) as usize], known_count: 0, new: BTreeSet::new() }
    }

    fn bit(twin: &RegisteredTwin) -> (usize, u64) {
        let slot = twin.entity.id().slot();
        ((slot / u64::BITS) as usize, 1 << (slot % u64::BITS))
    }

    /// Takes a twin in, which is listed already or is not; false: it was named before.
    fn take(&mut self, listed: Option<&RegisteredTwin>, id: &TwinId) -> bool {
        let Some((word, bit)) = listed.map(Self::bit) else { return self.new.insert(id.clone()) };
        // Slots are given in turn: there is a bit for each that was given.
        let Some(word) = self.known.get_mut(word).filter(|word| **word & bit == 0) else { return false };
        *word |= bit;
        self.known_count += 1;
        true
    }

    fn has_known(&self, twin: &RegisteredTwin) -> bool {
        let (word, bit) = Self::bit(twin);
        self.known.get(word).is_some_and(|word| word & bit != 0)
    }
}

impl Dtsr {
    /// Judges a registration and gives addresses to what it brings. Nothing is changed yet.
    pub(super) fn admit(&self, from: EntityId, mut description: TwinSystemDescription) -> Result<Admission, Problem> {
        if from.kind() != DigitalTwinSystemMsg::KIND {
            let detail = "a twin system registers through the actor that speaks for it";
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        let entries = std::mem::take(&mut description.twins);
        if let Some(kept) = self.register.systems.get(&description.id) {
            let differences = self.differences(kept, &description, &entries);
            if differences.is_empty() {
                return Ok(Admission::Same(Arc::clone(kept)));
            }
            let detail = format!("`{}` is registered with other contents", description.id);
            return Err(Problem { differences, ..Problem::new(ProblemKind::AlreadyRegistered, detail) });
        }
        if let Some(other) = self.register.at_part(u64::from(from.slot())) {
            let detail = format!("this actor registered `{}`: it speaks for one system", other.description.id);
            return Err(Problem::new(ProblemKind::NotAllowed, detail).at("/id"));
        }
        if self.register.systems.len() >= self.settings.registered_systems_max {
            return Err(limit_reached("registered_systems_max", self.settings.registered_systems_max));
        }
        self.check_description(&description)?;
        let edit = self.plan(&description.id, entries, Scope::Whole)?;
        Ok(Admission::New(Box::new(description), edit))
    }

    /// Judges what a system says of itself.
    pub(super) fn check_description(&self, description: &TwinSystemDescription) -> Result<(), Problem> {
        self.standings.check_lifetime(description.lifetime_ms)?;
        description.service_level.as_ref().map_or(Ok(()), check_level)
    }

    /// What changes when a system lists these twins. What stays as it was costs a comparison, and is not read again.
    pub(super) fn plan(&self, system: &SystemId, entries: Vec<Arc<TwinEntry>>, scope: Scope) -> Result<Edit, Problem> {
        let mut named = Named::new(self.register.twin_slot_next);
        let mut slots = Slots { twin: self.register.twin_slot_next, object: self.register.object_slot_next };
        let (mut objects, mut put, mut new) = (BTreeMap::new(), Vec::new(), 0_usize);
        if entries.len() > self.settings.system_twins_max {
            return Err(limit_reached("system_twins_max", self.settings.system_twins_max).at("/twins"));
        }
        for (index, entry) in entries.into_iter().enumerate() {
            let lister = self.register.twin(&entry.id).filter(|lister| lister.system == *system);
            if !named.take(lister.map(|lister| &lister.twin), &entry.id) {
                let detail = format!("the list has `{}` twice", entry.id);
                return Err(Problem::new(ProblemKind::InvalidDocument, detail).at(format!("/twins/{index}/id")));
            }
            match lister {
                Some(lister) if Arc::ptr_eq(&lister.twin.entry, &entry) || lister.twin.entry == entry => {}
                Some(lister) => {
                    self.check_entry(system, index, &entry)?;
                    check_same_object(index, &lister.twin.entry, &entry)?;
                    put.push(RegisteredTwin { entry, ..lister.twin.clone() });
                }
                None => {
                    self.check_entry(system, index, &entry)?;
                    new += 1;
                    put.push(self.give_addresses(entry, &mut slots, &mut objects)?);
                }
            }
        }
        let gone = self.gone(system, &named, scope)?;
        let count = self.register.count(system) as usize + new - gone.len();
        if count > self.settings.system_twins_max {
            return Err(limit_reached("system_twins_max", self.settings.system_twins_max).at("/twins"));
        }
        Ok(Edit { put: put.into(), gone: gone.into() })
    }

    fn gone(&self, system: &SystemId, named: &Named, scope: Scope) -> Result<Vec<RegisteredTwin>, Problem> {
        let listed = |id: &TwinId| self.register.twin(id).filter(|lister| lister.system == *system);
        let remove = match scope {
            // All that are listed were named: to look for others would cost as much as to look at the list.
            Scope::Whole if named.known_count == self.register.count(system) => return Ok(Vec::new()),
            Scope::Whole => {
                let listed = self.register.ids_of(system).filter_map(listed).map(|lister| &lister.twin);
                return Ok(listed.filter(|twin| !named.has_known(twin)).cloned().collect());
            }
            Scope::Part(remove) => remove,
        };
        let mut gone = BTreeMap::new();
        for (index, id) in remove.iter().enumerate() {
            let pointer = || format!("/remove/{index}");
            let lister = listed(id);
            if named.new.contains(id) || lister.is_some_and(|lister| named.has_known(&lister.twin)) {
                let detail = format!("`{id}` is to be listed and removed at once");
                return Err(Problem::new(ProblemKind::InvalidDocument, detail).at(pointer()));
            }
            gone.insert(id, lister.ok_or_else(|| twin_unknown(id).at(pointer()))?.twin.clone());
        }
        Ok(gone.into_values().collect())
    }

    fn check_entry(&self, system: &SystemId, index: usize, entry: &TwinEntry) -> Result<(), Problem> {
        let within = |place: &str, problem: Problem| {
            let inside = problem.pointer.clone().unwrap_or_default();
            problem.at(format!("/twins/{index}/{place}{inside}"))
        };
        let can = Affordances::read(&entry.description).map_err(|problem| within("description", problem))?;
        if let Some(said) = &entry.characteristics.synchronization {
            synchronization::check(said, &can, &self.settings)
                .map_err(|problem| within("characteristics/synchronization", problem))?;
        }
        // FGMV-28 REQ-DT-01: a twin is unique in the metaverse.
        if self.register.twin(&entry.id).is_some_and(|lister| lister.system != *system) {
            let detail = format!("another twin system lists `{}`", entry.id);
            return Err(Problem::new(ProblemKind::TwinListedElsewhere, detail).at(format!("/twins/{index}/id")));
        }
        if let Some(uri) = &entry.physical_object
            && let Some(object) = self.register.object(uri).filter(|object| object.owner != *system)
        {
            let detail = format!("`{}` named `{uri}` first", object.owner);
            let pointer = format!("/twins/{index}/physicalObject");
            return Err(Problem::new(ProblemKind::ObjectOwned, detail).at(pointer));
        }
        Ok(())
    }

    fn give_addresses(
        &self,
        entry: Arc<TwinEntry>,
        slots: &mut Slots,
        objects: &mut BTreeMap<ObjectUri, Ref<PhysicalObjectMsg>>,
    ) -> Result<RegisteredTwin, Problem> {
        let entity = Ref::new(EntityId::new(TwinMsg::KIND, 0, take_slot(&mut slots.twin)?));
        let object = match &entry.physical_object {
            None => None,
            Some(uri) => {
                let known = self.register.object(uri).map(|object| object.entity);
                Some(match known.or_else(|| objects.get(uri).copied()) {
                    Some(object) => object,
                    None => {
                        let slot = take_slot(&mut slots.object)?;
                        let object = Ref::new(EntityId::new(PhysicalObjectMsg::KIND, 0, slot));
                        objects.insert(uri.clone(), object);
                        object
                    }
                })
            }
        };
        Ok(RegisteredTwin { entry, entity, object })
    }

    /// What differs from what is kept: members of the description, and twins.
    fn differences(
        &self,
        kept: &TwinSystem,
        description: &TwinSystemDescription,
        entries: &[Arc<TwinEntry>],
    ) -> Vec<String> {
        let old = &kept.description;
        let mut found: Vec<String> = [
            ("type", old.system_type == description.system_type),
            ("title", old.title == description.title),
            ("description", old.description == description.description),
            ("properties", old.properties == description.properties),
            ("reach", old.reach == description.reach),
            ("lifetimeMs", old.lifetime_ms == description.lifetime_ms),
            ("serviceLevel", old.service_level == description.service_level),
        ]
        .into_iter()
        .filter(|(_, same)| !same)
        .map(|(member, _)| member.to_owned())
        .collect();

        let after: BTreeMap<&TwinId, &TwinEntry> = entries.iter().map(|entry| (&entry.id, &**entry)).collect();
        let mut twins: Vec<String> = Vec::new();
        if after.len() < entries.len() {
            twins.push("twins: an id is listed twice".to_owned());
        }
        let before = self.register.ids_of(&description.id).filter(|id| !after.contains_key(*id));
        twins.extend(before.map(|id| format!("twins: `{id}` removed")));
        for (id, entry) in &after {
            match self.register.twin(id).filter(|lister| lister.system == description.id) {
                None => twins.push(format!("twins: `{id}` added")),
                Some(old) if *old.twin.entry != **entry => twins.push(format!("twins: `{id}` changed")),
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
}

/// The next addresses to give.
struct Slots {
    twin: u32,
    object: u32,
}

fn take_slot(next: &mut u32) -> Result<u32, Problem> {
    let slot = *next;
    *next = slot.checked_add(1).ok_or_else(|| limit_reached("the number of addresses", u32::MAX as usize))?;
    Ok(slot)
}

/// A twin keeps its object: a lease on the one must not become a lease on the other.
fn check_same_object(index: usize, before: &TwinEntry, after: &TwinEntry) -> Result<(), Problem> {
    if before.physical_object == after.physical_object {
        return Ok(());
    }
    let detail = format!("`{}` stands for another object; remove the twin first, then list it again", after.id);
    let pointer = format!("/twins/{index}/physicalObject");
    Err(Problem::new(ProblemKind::InvalidDocument, detail).at(pointer))
}
