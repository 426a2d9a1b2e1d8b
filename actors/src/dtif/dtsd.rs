//! Digital twin system discovery (DTSD, FGMV-29 8.3.2): steps 4 and 5 of FGMV-29 9.2.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use twinway_protocol::{
    Behaviour, EntityId, Envelope, ObjectUri, Out, Recovery, SystemId, TwinId,
    message::{
        DTSR, DtsdMsg, ForgetTwinSystem, KeepTwinSystem, Kept, Reannounce, SearchTwinSystems, TwinSystemsFound, Wire,
    },
    registry::{Standing, TwinSystem, TwinSystemListing},
};

use crate::{
    NoRecord, Settings,
    discovery::{Fact, Field, Index, Kind, SearchLimits, Searches, Subject, promised_fact, standing_fact},
    mutation::{Mutation, broken},
};

/// A registered system.
#[derive(Debug)]
struct Known {
    system: Arc<TwinSystem>,
    standing: Arc<Standing>,
    objects: Objects,
}

/// The object of each twin that has one, and the twins of each object.
#[derive(Debug, Default)]
struct Objects {
    of: BTreeMap<TwinId, ObjectUri>,
    twins: BTreeMap<ObjectUri, BTreeSet<TwinId>>,
}

impl Objects {
    fn link(&mut self, twin: &TwinId, object: &ObjectUri) {
        self.of.insert(twin.clone(), object.clone());
        self.twins.entry(object.clone()).or_default().insert(twin.clone());
    }

    /// Gives the object if it has no twin left.
    fn unlink(&mut self, twin: &TwinId) -> Option<ObjectUri> {
        let object = self.of.remove(twin)?;
        let twins = self.twins.get_mut(&object)?;
        twins.remove(twin);
        if !twins.is_empty() {
            return None;
        }
        self.twins.remove(&object);
        Some(object)
    }
}

impl Known {
    fn listing(&self) -> TwinSystemListing {
        TwinSystemListing {
            system: self.system.description.clone(),
            twin_count: self.system.twin_count,
            registered_at: self.system.registered_at,
            version: self.system.version,
            standing: Standing::clone(&self.standing),
        }
    }
}

impl Subject for Known {
    const KIND: Kind = Kind::TwinSystem;
    type Id = SystemId;
    /// Those of objects are long: what changes in them is told by what changes in the list of twins.
    const LISTS: &'static [Field] = &[];

    fn id(&self) -> &SystemId {
        &self.system.description.id
    }

    fn fact(&self, field: Field) -> Fact<'_> {
        let description = &self.system.description;
        match field {
            Field::Id => Fact::Text(description.id.as_str()),
            Field::Type => Fact::Text(&description.system_type),
            Field::Title => Fact::Text(&description.title),
            Field::Description => Fact::Text(&description.description),
            Field::Properties => Fact::Documents(&description.properties),
            Field::PromisedAvailability | Field::PromisedP99 | Field::Promise => {
                promised_fact(description.service_level.as_ref(), field)
            }
            Field::TwinCount => Fact::Count(self.system.twin_count.into()),
            Field::TwinObjects => Fact::List(self.objects.twins.keys().map(ObjectUri::as_str).collect()),
            _ => standing_fact(&self.standing, field),
        }
    }

    fn lists(&self, field: Field, item: &str) -> bool {
        field == Field::TwinObjects && self.objects.twins.contains_key(item)
    }
}

/// Digital twin system discovery. All that it knows comes from DTSR.
#[derive(Debug)]
pub struct Dtsd {
    systems: Index<Known>,
    searches: Searches,
    limits: SearchLimits,
}

impl Dtsd {
    /// Takes over what was told: cost grows with what changed, not with the list of twins.
    fn keep(&mut self, message: KeepTwinSystem) {
        let id = message.system.description.id.clone();
        let known =
            self.systems.get_mut(&id).map(|known| (Arc::clone(&known.standing), std::mem::take(&mut known.objects)));
        let (standing, mut objects) = known.unwrap_or_default();
        let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
        for twin in message.gone.iter().chain(message.twins.iter()) {
            before.extend(objects.unlink(&twin.entry.id));
        }
        for twin in message.twins.iter() {
            if let Some(object) = &twin.entry.physical_object {
                objects.link(&twin.entry.id, object);
                after.insert(object.clone());
            }
        }
        self.systems.keep(Known { system: message.system, standing, objects });
        before.difference(&after).for_each(|object| self.systems.unlink(Field::TwinObjects, object.as_str(), &id));
        after.difference(&before).for_each(|object| self.systems.link(Field::TwinObjects, object.as_str(), &id));
    }

    fn forget(&mut self, id: &SystemId) {
        let objects = self.systems.get_mut(id).map(|known| std::mem::take(&mut known.objects)).unwrap_or_default();
        objects.twins.keys().for_each(|object| self.systems.unlink(Field::TwinObjects, object.as_str(), id));
        self.systems.forget(id);
    }
}

impl Behaviour for Dtsd {
    type Wire = Wire;
    type Msg = DtsdMsg;
    type Record = NoRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, _incarnation: u32) -> Self {
        Self { systems: Index::default(), searches: Searches::default(), limits: settings.into() }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<DtsdMsg>, out: &mut Out<'_, Self>) {
        match message {
            DtsdMsg::KeepTwinSystem(message) => {
                self.keep(message);
                out.reply(meta.asker::<KeepTwinSystem>(out.event()), Ok(Kept));
            }
            DtsdMsg::ForgetTwinSystem(message) => {
                self.forget(&message.system.description.id);
                out.reply(meta.asker::<ForgetTwinSystem>(out.event()), Ok(Kept));
            }
            DtsdMsg::KeepStanding(message) => {
                self.systems.change(&message.system, |known| known.standing = message.standing);
            }
            DtsdMsg::SearchTwinSystems(SearchTwinSystems { query }) => {
                let chance = out.chance();
                let page = self.searches.page(&self.systems, &(*query).into(), &self.limits, chance, Known::listing);
                let found = page.map(|page| TwinSystemsFound { page });
                if broken(Mutation::SearchAnsweredTwice) {
                    out.reply(meta.asker::<SearchTwinSystems>(out.event()), found.clone());
                }
                out.reply(meta.asker::<SearchTwinSystems>(out.event()), found);
            }
        }
    }

    fn replay(&mut self, record: NoRecord) {
        match record {}
    }

    fn snapshot(&self, _part: u64, _into: &mut Vec<NoRecord>) {}

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        // When the daemon starts, DTSR recovers too and tells everybody.
        if why == Recovery::Failure && !broken(Mutation::SilentAfterFailure) {
            out.send(DTSR, Reannounce);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use twinway_protocol::{
        PendingKey, ProblemKind,
        message::{DTSR, KeepStanding, KeepTwinSystem, Kept, SearchTwinSystems, TwinSystemsFound},
        registry::{Health, Standing, SystemQuery},
    };

    use super::Dtsd;
    use crate::{
        Settings,
        dtif::sample::{caller, heard, names, twin, twin_system},
        trial::Trial,
    };

    fn trial() -> Trial<Dtsd> {
        let mut trial = Trial::new(twinway_protocol::message::DTSD.id(), &Settings::default());
        for (index, id) in ["barn", "attic", "cellar"].into_iter().enumerate() {
            let lamp = twin(&format!("{id}-lamp"), Some(&format!("urn:{id}:lamp")));
            let system = twin_system(id, u32::try_from(index).unwrap(), vec![lamp]);
            let kept = trial.deliver(DTSR.id(), PendingKey::NONE, system.keep());
            assert!(matches!(heard::<Kept>(kept), Some(Ok(_))));
        }
        trial
    }

    fn search(trial: &mut Trial<Dtsd>, query: SystemQuery) -> Result<TwinSystemsFound, ProblemKind> {
        let search = SearchTwinSystems { query: Box::new(query) };
        let found = heard(trial.deliver(caller(), PendingKey::NONE, search)).expect("it is answered");
        found.map_err(|problem: twinway_protocol::Problem| problem.kind)
    }

    fn found(trial: &mut Trial<Dtsd>, query: SystemQuery) -> Vec<String> {
        names(search(trial, query).expect("it is a query").page.items.iter().map(|item| &item.system.id))
    }

    #[test]
    fn what_is_kept_is_found_by_everything_that_matches() {
        let mut trial = trial();
        assert_eq!(found(&mut trial, SystemQuery::default()), ["attic", "barn", "cellar"]);
        let by_object = SystemQuery { physical_object: Some("urn:barn:lamp".into()), ..SystemQuery::default() };
        assert_eq!(found(&mut trial, by_object), ["barn"]);
        let by_text = SystemQuery { text: Some("SYSTEM aTT".into()), ..SystemQuery::default() };
        assert_eq!(found(&mut trial, by_text), ["attic"]);
        let by_both =
            SystemQuery { text: Some("attic".into()), system_type: Some("farm".into()), ..SystemQuery::default() };
        assert!(found(&mut trial, by_both).is_empty());
    }

    fn by_object(uri: &str) -> SystemQuery {
        SystemQuery { physical_object: Some(uri.into()), ..SystemQuery::default() }
    }

    fn filtered(filter: &str) -> SystemQuery {
        SystemQuery { filter: Some(filter.into()), ..SystemQuery::default() }
    }

    /// FGMV-29 8.3.2
    #[test]
    fn what_a_list_gains_and_loses_is_found_so_by_the_next_search() {
        let mut trial = trial();
        let both = [twin("barn-lamp", Some("urn:barn:lamp")), twin("barn-door", Some("urn:barn:lamp"))];
        let grown = twin_system("barn", 0, both.into());
        trial.deliver(DTSR.id(), PendingKey::NONE, grown.keep());
        assert_eq!(found(&mut trial, filtered("twins.count == 2 && 'urn:barn:lamp' in twins.objects")), ["barn"]);
        let gone = |at: usize| KeepTwinSystem {
            system: grown.system.clone(),
            twins: [].into(),
            gone: [grown.twins[at].clone()].into(),
        };
        trial.deliver(DTSR.id(), PendingKey::NONE, gone(0));
        assert_eq!(found(&mut trial, by_object("urn:barn:lamp")), ["barn"], "another twin stands for it");
        trial.deliver(DTSR.id(), PendingKey::NONE, gone(1));
        assert!(found(&mut trial, by_object("urn:barn:lamp")).is_empty());
        assert_eq!(found(&mut trial, filtered("twins.objects.exists(uri, uri.startsWith('urn:attic'))")), ["attic"]);
        let standing = Standing { health: Health::Offline, ..Standing::default() };
        let stands = KeepStanding { system: grown.system.description.id.clone(), standing: Arc::new(standing) };
        trial.deliver(DTSR.id(), PendingKey::NONE, stands);
        assert_eq!(found(&mut trial, filtered("standing.health == 'offline'")), ["barn"]);
        assert!(heard::<Kept>(trial.deliver(DTSR.id(), PendingKey::NONE, grown.forget())).is_some());
        assert_eq!(found(&mut trial, SystemQuery::default()), ["attic", "cellar"]);
    }

    #[test]
    fn pages_show_everything_once() {
        let mut trial = trial();
        let first = SystemQuery { limit: Some(2), ..SystemQuery::default() };
        let page = search(&mut trial, first).expect("it is a query").page;
        assert_eq!(names(page.items.iter().map(|item| &item.system.id)), ["attic", "barn"]);
        let second = SystemQuery { limit: Some(2), cursor: page.next, ..SystemQuery::default() };
        let page = search(&mut trial, second).expect("it is a query").page;
        assert_eq!(names(page.items.iter().map(|item| &item.system.id)), ["cellar"]);
        assert_eq!(page.next, None);
    }

    #[test]
    fn a_query_that_twin_systems_cannot_answer_is_refused() {
        let mut trial = trial();
        for query in [
            SystemQuery { operation: Some("pay".into()), ..SystemQuery::default() },
            SystemQuery { cursor: Some("no such cursor".into()), ..SystemQuery::default() },
            filtered("charge.amount < 5.0"),
        ] {
            assert_eq!(search(&mut trial, query).expect_err("it is refused"), ProblemKind::InvalidQuery);
        }
    }
}
