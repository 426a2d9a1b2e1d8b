//! Third-party system discovery (FGMV-29 8.2.2, 9.1 steps 4 and 5): finds registered systems.

mod places;

use std::sync::Arc;

use twinway_protocol::{
    Behaviour, EntityId, Envelope, Out, Recovery, SystemId,
    message::{
        FindRegisteredPlaces, ForgetThirdPartySystem, KeepThirdPartySystem, Kept, Reannounce, SearchThirdPartySystems,
        TPSR, ThirdPartySystemsFound, TpsdMsg, Wire,
    },
    registry::{Standing, ThirdPartyListing, ThirdPartySystem},
    spatial::{PLACE_PROPERTY, ServicePlace},
};

use crate::{
    NoRecord, Settings,
    discovery::{Fact, Field, Index, Kind, SearchLimits, Searches, Subject, promised_fact, standing_fact},
    spatial::Places,
};

/// Third-party system discovery. Its index is derived from TPSR's register.
#[derive(Debug)]
pub struct Tpsd {
    systems: Index<Known>,
    /// Where those of them are that said so.
    places: Places,
    searches: Searches,
    limits: SearchLimits,
}

/// A registered system.
#[derive(Debug)]
struct Known {
    system: Arc<ThirdPartySystem>,
    standing: Arc<Standing>,
}

impl Known {
    fn operations(&self) -> impl Iterator<Item = &str> {
        self.system.description.apis.iter().map(|api| api.operation.as_str())
    }

    fn listing(&self) -> ThirdPartyListing {
        ThirdPartyListing {
            system: self.system.description.clone(),
            registered_at: self.system.registered_at,
            version: self.system.version,
            standing: Standing::clone(&self.standing),
        }
    }
}

impl Subject for Known {
    const KIND: Kind = Kind::ThirdParty;

    fn id(&self) -> &SystemId {
        &self.system.description.id
    }

    fn fact(&self, field: Field) -> Fact<'_> {
        let description = &self.system.description;
        let charge = description.service_charge.as_ref();
        match field {
            Field::Id => Fact::Text(description.id.as_str()),
            Field::Type => Fact::Text(&description.system_type),
            Field::Title => Fact::Text(&description.title),
            Field::Description => Fact::Text(&description.description),
            Field::Properties => Fact::Documents(&description.properties),
            Field::ChargeAmount => Fact::number(charge.map(|charge| charge.amount)),
            Field::ChargeCurrency => Fact::text(charge.map(|charge| charge.currency.as_str())),
            Field::ChargePer => Fact::text(charge.and_then(|charge| charge.per.as_deref())),
            Field::PromisedAvailability | Field::PromisedP99 | Field::Promise => {
                promised_fact(description.service_level.as_ref(), field)
            }
            Field::Apis => Fact::List(self.operations().collect()),
            _ => standing_fact(&self.standing, field),
        }
    }

    fn lists(&self, field: Field, item: &str) -> bool {
        field == Field::Apis && self.operations().any(|operation| operation == item)
    }
}

impl Tpsd {
    fn keep(&mut self, system: Arc<ThirdPartySystem>) {
        let id = system.description.id.clone();
        self.unlink(&id);
        let standing = self.systems.get(&id).map(|known| Arc::clone(&known.standing)).unwrap_or_default();
        self.systems.keep(Known { system: Arc::clone(&system), standing });
        for api in &system.description.apis {
            self.systems.link(Field::Apis, &api.operation, &id);
        }
        // What was registered before places were checked may be none.
        let place = ServicePlace::read(system.description.properties.get(PLACE_PROPERTY)).ok().flatten();
        self.places.keep(&id, place);
    }

    fn unlink(&mut self, id: &SystemId) {
        let Some(system) = self.systems.get(id).map(|known| Arc::clone(&known.system)) else { return };
        for api in &system.description.apis {
            self.systems.unlink(Field::Apis, &api.operation, id);
        }
    }
}

impl Behaviour for Tpsd {
    type Wire = Wire;
    type Msg = TpsdMsg;
    type Record = NoRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, _incarnation: u32) -> Self {
        Self {
            systems: Index::default(),
            places: Places::default(),
            searches: Searches::default(),
            limits: settings.into(),
        }
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
                self.unlink(&message.system);
                self.systems.forget(&message.system);
                self.places.keep(&message.system, None);
                out.reply(meta.asker::<ForgetThirdPartySystem>(event), Ok(Kept));
            }
            TpsdMsg::KeepStanding(message) => {
                self.systems.change(&message.system, |known| known.standing = message.standing);
            }
            TpsdMsg::FindRegisteredPlaces(message) => {
                out.reply(meta.asker::<FindRegisteredPlaces>(event), self.find_places(&message));
            }
            TpsdMsg::SearchThirdPartySystems(message) => {
                let chance = out.chance();
                let page = self.searches.page(&self.systems, &message.query, &self.limits, chance, Known::listing);
                let found = page.map(|page| ThirdPartySystemsFound { page });
                out.reply(meta.asker::<SearchThirdPartySystems>(event), found);
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
        message::{
            ForgetThirdPartySystem, KeepStanding, KeepThirdPartySystem, SearchThirdPartySystems,
            ThirdPartySystemsFound, TpsdMsg, TpsrMsg,
        },
        registry::{Api, Health, Performance, ServiceCharge, ServiceLevel, Standing, SystemQuery, ThirdPartySystem},
    };

    use super::Tpsd;
    use crate::{
        Settings,
        sif::testing::{METAVERSE, answer, key, registered, shown, system_id},
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

    fn filtered(filter: &str) -> SystemQuery {
        SystemQuery { filter: Some(filter.to_owned()), ..SystemQuery::default() }
    }

    /// FGMV-29 8.2.2: what is measured counts as what was registered does, and at once.
    #[test]
    fn what_was_changed_measured_or_deregistered_is_found_so_by_the_next_search() {
        let mut tpsd = tpsd(&["shop", "bank"]);
        let mut shop = ThirdPartySystem::clone(&registered("shop", 1));
        shop.description.service_charge =
            Some(ServiceCharge { amount: 4.0, currency: "EUR".to_owned(), per: Some("call".to_owned()) });
        shop.description.service_level =
            Some(ServiceLevel { availability: Some(0.999), p99_ms: Some(300.0), description: None });
        shop.description.apis = vec![Api { operation: "pay".to_owned(), description: None, mapping: None }];
        tpsd.deliver(TPSR, key(1), KeepThirdPartySystem { system: Arc::new(shop) });
        let cheap = "system.type == \"commerce\" && charge.amount < 5.0";
        assert_eq!(found(&mut tpsd, filtered(cheap)), ["shop"]);
        let by = |operation: &str| SystemQuery { operation: Some(operation.to_owned()), ..SystemQuery::default() };
        assert_eq!(found(&mut tpsd, by("pay")), ["shop"]);
        assert_eq!(found(&mut tpsd, by("order")), ["bank"], "what it offers no more is not found");
        let fast = format!("{cheap} && performance.p99_ms < 200.0");
        assert!(found(&mut tpsd, filtered(&fast)).is_empty(), "nothing was measured yet");
        let measured = Performance { p99_ms: Some(120.0), calls: 9, ..Performance::default() };
        let standing = Standing { health: Health::Degraded, performance: measured, ..Standing::default() };
        tpsd.deliver(TPSR, key(1), KeepStanding { system: system_id("shop"), standing: Arc::new(standing) });
        assert_eq!(found(&mut tpsd, filtered(&fast)), ["shop"]);
        assert_eq!(found(&mut tpsd, filtered("standing.health == 'degraded'")), ["shop"]);
        assert_eq!(found(&mut tpsd, filtered("standing.health == 'healthy'")), ["bank"]);
        let promised = "performance.p99_ms < level.p99_ms && level.availability >= 0.99 && performance.calls > 5";
        assert_eq!(found(&mut tpsd, filtered(promised)), ["shop"]);
        let region = "system.properties.region == 'eu' && charge.per in ['call', 'month'] && 'pay' in apis";
        assert_eq!(found(&mut tpsd, filtered(region)), ["shop"]);
        let sorted =
            SystemQuery { sort: Some("-performance.p99_ms,system.title".to_owned()), ..SystemQuery::default() };
        assert_eq!(found(&mut tpsd, sorted), ["shop", "bank"]);
        let page = search(&mut tpsd, filtered(&fast)).expect("it is understood").page;
        assert_eq!(page.items[0].standing.health, Health::Degraded);
        let entity = registered("shop", 1).entity;
        let effects = tpsd.deliver(TPSR, key(1), ForgetThirdPartySystem { system: system_id("shop"), entity });
        assert_eq!(shown(&effects), ["Kept to Tpsr"]);
        assert_eq!(found(&mut tpsd, SystemQuery::default()), ["bank"]);
        assert!(found(&mut tpsd, by("pay")).is_empty() && found(&mut tpsd, filtered(&fast)).is_empty());
        tpsd.deliver(TPSR, key(1), KeepThirdPartySystem { system: registered("shop", 1) });
        assert_eq!(found(&mut tpsd, filtered("standing.health == 'healthy'")), ["bank", "shop"], "it begins anew");
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
