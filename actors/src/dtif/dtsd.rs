//! Digital twin system discovery (DTSD, FGMV-29 8.3.2): steps 4 and 5 of FGMV-29 9.2.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use twinway_protocol::{
    Behaviour, EntityId, Envelope, Out, Problem, ProblemKind, Recovery, SystemId,
    message::{DTSR, DtsdMsg, KeepTwinSystem, Kept, Reannounce, SearchTwinSystems, TwinSystemsFound, Wire},
    registry::{Page, SystemQuery, TwinSystem, TwinSystemListing},
};

use super::behind;
use crate::{
    NoRecord, Settings,
    mutation::{Mutation, broken},
};

/// What a search looks at.
#[derive(Debug)]
struct Indexed {
    system: Arc<TwinSystem>,
    /// Id, title and description in lower case.
    text: String,
    objects: BTreeSet<String>,
}

impl Indexed {
    fn new(system: Arc<TwinSystem>) -> Self {
        let description = &system.description;
        let text = format!("{}\n{}\n{}", description.id, description.title, description.description).to_lowercase();
        let objects = system.twins.iter().filter_map(|twin| twin.entry.physical_object.as_ref());
        let objects = objects.map(|uri| uri.as_str().to_owned()).collect();
        Self { system, text, objects }
    }

    fn matches(&self, query: &SystemQuery, words: &[String]) -> bool {
        query.system_type.as_ref().is_none_or(|wanted| *wanted == self.system.description.system_type)
            && query.physical_object.as_ref().is_none_or(|uri| self.objects.contains(uri))
            && words.iter().all(|word| self.text.contains(word))
    }

    fn listing(&self) -> TwinSystemListing {
        TwinSystemListing {
            system: self.system.description.clone(),
            twin_count: u32::try_from(self.system.twins.len()).unwrap_or(u32::MAX),
            registered_at: self.system.registered_at,
        }
    }
}

/// Digital twin system discovery. All that it knows comes from DTSR.
#[derive(Debug)]
pub struct Dtsd {
    systems: BTreeMap<SystemId, Indexed>,
}

impl Behaviour for Dtsd {
    type Wire = Wire;
    type Msg = DtsdMsg;
    type Record = NoRecord;
    type Settings = Settings;

    fn new(_id: EntityId, _settings: &Settings, _incarnation: u32) -> Self {
        Self { systems: BTreeMap::new() }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<DtsdMsg>, out: &mut Out<'_, Self>) {
        match message {
            DtsdMsg::KeepTwinSystem(KeepTwinSystem { system }) => {
                self.systems.insert(system.description.id.clone(), Indexed::new(system));
                out.reply(meta.asker::<KeepTwinSystem>(out.event()), Ok(Kept));
            }
            DtsdMsg::SearchTwinSystems(SearchTwinSystems { query }) => {
                let found = self.search(&query).map(|page| TwinSystemsFound { page });
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

impl Dtsd {
    /// FGMV-29 9.2 steps 4 and 5.
    fn search(&self, query: &SystemQuery) -> Result<Page<TwinSystemListing>, Problem> {
        if query.operation.is_some() {
            let detail = "`operation` is asked of third-party systems, not of twin systems";
            return Err(Problem::new(ProblemKind::InvalidQuery, detail));
        }
        let words: Vec<String> =
            query.text.as_deref().unwrap_or_default().split_whitespace().map(str::to_lowercase).collect();
        let found = self
            .systems
            .range(behind::<SystemId>(query.cursor.as_deref())?)
            .filter(|(_, system)| system.matches(query, &words))
            .map(|(id, system)| (id.as_str(), system));
        Ok(Page::of(found, None, query.limit, Indexed::listing))
    }
}

#[cfg(test)]
mod tests {
    use twinway_protocol::{
        PendingKey, ProblemKind,
        message::{DTSR, KeepTwinSystem, Kept, SearchTwinSystems, TwinSystemsFound},
        registry::SystemQuery,
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
            let kept = trial.deliver(DTSR.id(), PendingKey::NONE, KeepTwinSystem { system });
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
        ] {
            assert_eq!(search(&mut trial, query).expect_err("it is refused"), ProblemKind::InvalidQuery);
        }
    }
}
