//! Third-party system discovery (FGMV-29 8.2.2, 9.1 steps 4 and 5): finds registered systems.

use std::{collections::BTreeMap, sync::Arc};

use twinway_protocol::{
    Behaviour, EntityId, Envelope, Out, Problem, ProblemKind, Recovery, SystemId,
    message::{
        ForgetThirdPartySystem, KeepThirdPartySystem, Kept, Reannounce, SearchThirdPartySystems, TPSR,
        ThirdPartySystemsFound, TpsdMsg, Wire,
    },
    registry::{Page, Standing, SystemQuery, ThirdPartyListing, ThirdPartySystem},
};

use crate::{NoRecord, Settings};

/// Third-party system discovery. Its index is derived from TPSR's register.
#[derive(Debug)]
pub struct Tpsd {
    systems: BTreeMap<SystemId, Indexed>,
}

/// A system, and what a search for text looks at.
#[derive(Debug)]
struct Indexed {
    system: Arc<ThirdPartySystem>,
    standing: Arc<Standing>,
    text: String,
}

impl Indexed {
    fn listing(&self) -> ThirdPartyListing {
        ThirdPartyListing {
            system: self.system.description.clone(),
            registered_at: self.system.registered_at,
            version: self.system.version,
            standing: Standing::clone(&self.standing),
        }
    }

    fn matches(&self, query: &SystemQuery, words: &[&str]) -> bool {
        let description = &self.system.description;
        query.system_type.as_ref().is_none_or(|wanted| description.system_type == *wanted)
            && query.operation.as_ref().is_none_or(|wanted| description.apis.iter().any(|api| api.operation == *wanted))
            && words.iter().all(|word| self.text.contains(word))
    }
}

impl Tpsd {
    fn keep(&mut self, system: Arc<ThirdPartySystem>) {
        let description = &system.description;
        let text = format!("{}\n{}\n{}", description.id, description.title, description.description).to_lowercase();
        let id = description.id.clone();
        let standing = self.systems.get(&id).map(|known| Arc::clone(&known.standing)).unwrap_or_default();
        self.systems.insert(id, Indexed { system, standing, text });
    }

    fn search(&self, query: &SystemQuery) -> Result<ThirdPartySystemsFound, Problem> {
        if query.physical_object.is_some() {
            let detail = "`physicalObject` is a parameter of the search for digital twin systems";
            return Err(Problem::new(ProblemKind::InvalidQuery, detail));
        }
        let text = query.text.as_deref().unwrap_or_default().to_lowercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        let found = self.systems.iter().filter(|(_, indexed)| indexed.matches(query, &words));
        let page = Page::of(
            found.map(|(id, indexed)| (id.as_str(), indexed)),
            query.cursor.as_deref(),
            query.limit,
            Indexed::listing,
        );
        Ok(ThirdPartySystemsFound { page })
    }
}

impl Behaviour for Tpsd {
    type Wire = Wire;
    type Msg = TpsdMsg;
    type Record = NoRecord;
    type Settings = Settings;

    fn new(_id: EntityId, _settings: &Settings, _incarnation: u32) -> Self {
        Self { systems: BTreeMap::new() }
    }

    fn handle(&mut self, envelope: Envelope<TpsdMsg>, out: &mut Out<'_, Self>) {
        let meta = envelope.meta;
        let event = out.event();
        match envelope.message {
            TpsdMsg::KeepThirdPartySystem(message) => {
                self.keep(message.system);
                out.reply(meta.asker::<KeepThirdPartySystem>(event), Ok(Kept));
            }
            TpsdMsg::ForgetThirdPartySystem(message) => {
                self.systems.remove(&message.system);
                out.reply(meta.asker::<ForgetThirdPartySystem>(event), Ok(Kept));
            }
            TpsdMsg::KeepStanding(message) => {
                if let Some(known) = self.systems.get_mut(&message.system) {
                    known.standing = message.standing;
                }
            }
            TpsdMsg::SearchThirdPartySystems(message) => {
                out.reply(meta.asker::<SearchThirdPartySystems>(event), self.search(&message.query));
            }
        }
    }

    fn replay(&mut self, record: NoRecord) {
        match record {}
    }

    fn snapshot(&self, _part: u64, _into: &mut Vec<NoRecord>) {}

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        // When the daemon starts, TPSR recovers too and tells everybody.
        if why == Recovery::Failure {
            out.send(TPSR, Reannounce);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use twinway_protocol::{
        EntityId, Mailbox, Problem, ProblemKind,
        message::{KeepThirdPartySystem, SearchThirdPartySystems, ThirdPartySystemsFound, TpsdMsg, TpsrMsg},
        registry::{SystemQuery, ThirdPartySystem},
    };

    use super::Tpsd;
    use crate::{
        Settings,
        sif::testing::{METAVERSE, answer, key, registered, shown},
        trial::Trial,
    };

    const TPSR: EntityId = EntityId::new(TpsrMsg::KIND, 0, 0);

    /// TPSD with a lamp shop each of these ids.
    fn tpsd(ids: &[&str]) -> Trial<Tpsd> {
        let mut tpsd = Trial::new(EntityId::new(TpsdMsg::KIND, 0, 0), &Settings::default());
        for id in ids {
            tpsd.deliver(TPSR, key(1), KeepThirdPartySystem { system: registered(id, 1) });
        }
        tpsd
    }

    fn search(tpsd: &mut Trial<Tpsd>, query: SystemQuery) -> Result<ThirdPartySystemsFound, Problem> {
        let effects = tpsd.deliver(METAVERSE, key(5), SearchThirdPartySystems { query: Box::new(query) });
        answer(effects, METAVERSE, key(5)).expect("a search is answered at once")
    }

    fn found(tpsd: &mut Trial<Tpsd>, query: SystemQuery) -> Vec<String> {
        let page = search(tpsd, query).expect("the query is understood").page;
        page.items.iter().map(|listing| listing.system.id.to_string()).collect()
    }

    #[test]
    fn what_is_kept_is_found_by_the_next_search() {
        let mut tpsd = tpsd(&[]);
        assert!(found(&mut tpsd, SystemQuery::default()).is_empty());
        let effects = tpsd.deliver(TPSR, key(1), KeepThirdPartySystem { system: registered("shop", 1) });
        assert_eq!(shown(&effects), ["Kept to Tpsr"]);
        assert_eq!(found(&mut tpsd, SystemQuery::default()), ["shop"]);
        let effects =
            tpsd.deliver(METAVERSE, key(5), SearchThirdPartySystems { query: Box::new(SystemQuery::default()) });
        assert_eq!(shown(&effects), ["9.1/5 ThirdPartySystemsFound to MetaverseSystem"]);
    }

    #[test]
    fn a_system_is_found_when_all_that_is_given_matches() {
        let mut tpsd = tpsd(&["shop"]);
        let mut printer = ThirdPartySystem::clone(&registered("printer", 2));
        printer.description.system_type = "manufacturer".to_owned();
        printer.description.apis.clear();
        tpsd.deliver(TPSR, key(1), KeepThirdPartySystem { system: Arc::new(printer) });
        let text = |text: &str| SystemQuery { text: Some(text.to_owned()), ..SystemQuery::default() };
        assert_eq!(found(&mut tpsd, text("LAMP bulbs")), ["printer", "shop"]);
        assert_eq!(found(&mut tpsd, text("lamp sho")), ["printer", "shop"]);
        assert_eq!(found(&mut tpsd, text("lamp printer")), ["printer"]);
        assert!(found(&mut tpsd, text("lamp boat")).is_empty());
        let order = SystemQuery { operation: Some("order".to_owned()), ..SystemQuery::default() };
        assert_eq!(found(&mut tpsd, order.clone()), ["shop"]);
        assert!(found(&mut tpsd, SystemQuery { system_type: Some("manufacturer".to_owned()), ..order }).is_empty());
    }

    #[test]
    fn pages_show_every_system_once_in_the_order_of_ids() {
        let mut tpsd = tpsd(&["c", "a", "b"]);
        let query = SystemQuery { limit: Some(2), ..SystemQuery::default() };
        assert_eq!(found(&mut tpsd, query.clone()), ["a", "b"]);
        let cursor = search(&mut tpsd, query.clone()).expect("it is understood").page.next;
        assert!(cursor.is_some());
        assert_eq!(found(&mut tpsd, SystemQuery { cursor, ..query }), ["c"]);
    }

    #[test]
    fn a_search_for_an_object_is_not_for_third_party_systems() {
        let query = SystemQuery { physical_object: Some("urn:lamp".to_owned()), ..SystemQuery::default() };
        let problem = search(&mut tpsd(&["shop"]), query).expect_err("it is refused");
        assert_eq!(problem.kind, ProblemKind::InvalidQuery);
    }

    #[test]
    fn an_index_that_was_lost_is_asked_for_again() {
        assert_eq!(shown(&tpsd(&[]).recovered()), ["Reannounce to Tpsr"]);
    }
}
