//! FGMV-29 8.3.1: the list of twins is searchable; 9.2 steps 6 and 7.

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;
use twinway_protocol::{
    PendingKey, ProblemKind,
    message::{DTSR, KeepTwinSystem, Kept},
    registry::TwinQuery,
    twin::{RegisteredTwin, TwinClass, TwinEntry},
};

use super::{search, trial};
use crate::{
    Settings,
    dtif::{
        dtia::Dtia,
        sample::{heard, json, names, system_id, twin, twin_actor, twin_system},
    },
    trial::Trial,
};

/// A twin with a description of its own.
fn thing(id: &str, object: Option<&str>, description: &str) -> TwinEntry {
    let common = r#""@context":"https://www.w3.org/2022/wot/td/v1.1","securityDefinitions":{"no":{"scheme":"nosec"}},"security":"no""#;
    TwinEntry { description: json(&format!("{{{common},{description}}}")), ..twin(id, object) }
}

fn registered(entry: TwinEntry, slot: u32) -> RegisteredTwin {
    RegisteredTwin { entity: twin_actor(slot), object: None, entry: Arc::new(entry) }
}

/// `home`'s list changes: these twins are new or not as they were, and those are gone.
fn change(trial: &mut Trial<Dtia>, put: Vec<RegisteredTwin>, gone: Vec<RegisteredTwin>) {
    let system = twin_system("home", 0, Vec::new()).system;
    let message = KeepTwinSystem { system, twins: put.into(), gone: gone.into() };
    let kept = heard::<Kept>(trial.deliver(DTSR.id(), PendingKey::NONE, message));
    assert!(matches!(kept, Some(Ok(_))));
}

fn found(trial: &mut Trial<Dtia>, query: TwinQuery) -> Vec<String> {
    names(search(trial, query).expect("it is understood").items.into_iter().map(|twin| twin.id))
}

fn filtered(filter: &str) -> TwinQuery {
    TwinQuery { filter: Some(filter.to_owned()), ..TwinQuery::default() }
}

/// Beside the twins of all tests: a heater that stands for an object, and an avatar.
fn house() -> Trial<Dtia> {
    let mut trial = trial();
    let heater = thing(
        "urn:home:heater:1",
        Some("urn:heater"),
        r#""title":"Radiator","description":"Warms the cellar","@type":["saref:HVAC","Thing"],
        "properties":{"target":{"forms":[{"href":"/t"}]}},"actions":{"boost":{"forms":[{"href":"/b"}]}},
        "events":{"tooHot":{"forms":[{"href":"/e"}]}}"#,
    );
    let ada = TwinEntry { class: TwinClass::Avatar, ..thing("ada", None, r#""title":"Ada","@type":"Person""#) };
    change(&mut trial, vec![registered(heater, 5), registered(ada, 6)], Vec::new());
    trial
}

#[test]
fn twins_are_found_by_their_entries_and_by_what_their_descriptions_say() {
    let mut trial = house();
    let heater = "urn:home:heater:1";
    for (filter, expected) in [
        ("'target' in twin.properties", vec![heater]),
        ("'boost' in twin.actions && 'tooHot' in twin.events", vec![heater]),
        ("'saref:HVAC' in twin.types", vec![heater]),
        ("'Person' in twin.types", vec!["ada"]),
        ("twin.class == 'avatar'", vec!["ada"]),
        ("twin.object == 'urn:heater'", vec![heater]),
        ("!has(twin.object) && twin.system == 'home'", vec!["ada", "b"]),
        ("twin.system == 'barn'", vec!["c"]),
        ("'power' in twin.properties && twin.system == 'home'", vec!["a", "b"]),
        ("twin.properties.exists(name, name.startsWith('tar'))", vec![heater]),
        ("twin.description.contains('cellar') || twin.id == 'c'", vec!["c", heater]),
        ("twin.title in ['Ada', 'Radiator'] && size(twin.types) == 2", vec![heater]),
    ] {
        assert_eq!(found(&mut trial, filtered(filter)), expected, "{filter}");
    }
    let text = |text: &str| TwinQuery { text: Some(text.to_owned()), ..TwinQuery::default() };
    assert_eq!(found(&mut trial, text("warm CELL")), [heater]);
    assert_eq!(found(&mut trial, text("heater radia")), [heater]);
    assert_eq!(found(&mut trial, text("lamp")), ["a", "b", "c"]);
    let of = |object: &str| TwinQuery { physical_object: Some(object.to_owned()), ..TwinQuery::default() };
    assert_eq!(found(&mut trial, of("urn:a")), ["a"]);
    let barn = TwinQuery { system: Some(system_id("barn")), ..filtered("'on' in twin.properties") };
    assert_eq!(found(&mut trial, barn), ["c"]);
    let sorted = TwinQuery { sort: Some("-twin.title,-twin.id".to_owned()), ..TwinQuery::default() };
    assert_eq!(found(&mut trial, sorted), [heater, "c", "b", "a", "ada"]);
}

#[test]
fn what_was_listed_anew_or_listed_no_more_is_found_so_by_the_next_search() {
    let mut trial = house();
    let dimmer = registered(thing("a", None, r#""title":"Dimmer","properties":{"dim":{"forms":[{"href":"/d"}]}}"#), 0);
    change(&mut trial, vec![dimmer.clone()], Vec::new());
    assert_eq!(found(&mut trial, filtered("'dim' in twin.properties")), ["a"]);
    assert_eq!(found(&mut trial, filtered("'power' in twin.properties")), ["b", "c"], "it has that no more");
    assert!(found(&mut trial, filtered("twin.object == 'urn:a'")).is_empty());
    change(&mut trial, Vec::new(), vec![dimmer]);
    assert!(found(&mut trial, filtered("'dim' in twin.properties")).is_empty());
    assert!(found(&mut trial, TwinQuery { text: Some("dimm".to_owned()), ..TwinQuery::default() }).is_empty());
    trial.deliver(DTSR.id(), PendingKey::NONE, twin_system("barn", 1, vec![twin("c", None)]).forget());
    assert!(found(&mut trial, filtered("twin.system == 'barn'")).is_empty());
    let barn = TwinQuery { system: Some(system_id("barn")), ..TwinQuery::default() };
    assert_eq!(search(&mut trial, barn).expect_err("it is gone").kind, ProblemKind::SystemUnknown);
}

/// A search names what everybody may see who lists twins: no value, and nothing of who may do what.
#[test]
fn a_filter_over_twins_that_is_mistaken_or_asks_for_what_is_not_shown_is_refused_with_its_place() {
    let mut trial = house();
    for (filter, what) in [
        ("'on' in twin.properties &&", "`filter`: "),
        ("true && twin.title < 5", "`<` does not fit a text and a number, at line 1 column 20"),
        ("twin.values.on == true", "twins have no `twin.values.on`, but: twin.id, twin.title"),
        ("'grid' in twin.access", "twins have no `twin.access`"),
        ("twin.characteristics.priority > 5", "twins have no `twin.characteristics.priority`"),
        ("system.type == 'home'", "twins have no `system.type`"),
        ("twin.class == 'robot'", "a class is one of: object, avatar"),
        ("twin.id", "this is a text, and true or false is needed"),
    ] {
        let problem = search(&mut trial, filtered(filter)).expect_err("it is refused");
        assert_eq!(problem.kind, ProblemKind::InvalidQuery, "{filter}");
        assert!(problem.detail.contains(what), "{filter}: {}", problem.detail);
    }
    let sort = TwinQuery { sort: Some("twin.properties".to_owned()), ..TwinQuery::default() };
    let problem = search(&mut trial, sort).expect_err("it is refused");
    assert!(problem.detail.starts_with("`sort`: there is no `twin.properties` to sort twins by"), "{}", problem.detail);
}

#[test]
fn a_search_through_many_twins_is_bounded_and_goes_on() {
    let settings = Settings {
        search_records_scanned_max: 10,
        search_records_sorted_max: 20,
        search_cursors_max: 4,
        ..Settings::default()
    };
    let mut trial: Trial<Dtia> = Trial::new(twinway_protocol::message::DTIA.id(), &settings);
    let twins = (0..40).map(|n| registered(twin(&format!("t{n:02}"), None), n)).collect();
    change(&mut trial, twins, Vec::new());
    let last = filtered("twin.id.endsWith('39')");
    let first = search(&mut trial, last.clone()).expect("it is understood");
    assert!(first.items.is_empty(), "a page looks at ten");
    let (mut cursor, mut seen) = (first.next, Vec::new());
    while let Some(next) = cursor {
        let page = search(&mut trial, TwinQuery { cursor: Some(next), ..last.clone() }).expect("it is understood");
        seen.extend(names(page.items.into_iter().map(|twin| twin.id)));
        cursor = page.next;
    }
    assert_eq!(seen, ["t39"]);
    let sorted = TwinQuery { sort: Some("twin.title".to_owned()), ..TwinQuery::default() };
    let problem = search(&mut trial, sorted).expect_err("it is refused");
    assert_eq!(problem.kind, ProblemKind::LimitReached);
    assert!(problem.detail.contains("20 of the 40 twins"), "{}", problem.detail);
}

/// A twin of the property test: its number, and whether it has the wanted property.
fn numbered(number: u32, wanted: bool) -> RegisteredTwin {
    let name = if wanted { "wanted" } else { "other" };
    let title = number * 7 % 5;
    let description = format!(r#""title":"Twin {title}","properties":{{"{name}":{{"forms":[{{"href":"/"}}]}}}}"#);
    registered(thing(&format!("n{number:02}"), None, &description), number)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    /// What matches throughout a paging is on exactly one page, whatever is listed and unlisted meanwhile.
    #[test]
    fn what_matches_throughout_a_paging_is_found_exactly_once(
        at_first in prop::collection::btree_map(0_u32..20, any::<bool>(), 0..20),
        between in prop::collection::vec((0_u32..20, 0_u8..3), 0..12),
        limit in 1_u32..5,
        sort in prop::option::of(prop::sample::select(vec!["twin.title", "-twin.title", "-twin.id"])),
    ) {
        let mut trial: Trial<Dtia> = Trial::new(twinway_protocol::message::DTIA.id(), &Settings::default());
        let mut listed = at_first.clone();
        change(&mut trial, at_first.iter().map(|(number, wanted)| numbered(*number, *wanted)).collect(), Vec::new());
        let matching = |listed: &std::collections::BTreeMap<u32, bool>| -> BTreeSet<u32> {
            listed.iter().filter(|(_, wanted)| **wanted).map(|(number, _)| *number).collect()
        };
        let mut throughout = matching(&listed);
        let (mut seen, mut between) = (Vec::new(), between.into_iter());
        let mut query = TwinQuery { limit: Some(limit), sort: sort.map(str::to_owned), ..filtered("'wanted' in twin.properties") };
        loop {
            let page = search(&mut trial, query.clone()).expect("it is understood");
            let now = matching(&listed);
            for twin in page.items {
                let number: u32 = twin.id.as_str().trim_start_matches('n').parse().expect("it is a number");
                prop_assert!(now.contains(&number), "a page shows what matches now");
                seen.push(number);
            }
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
            if let Some((number, what)) = between.next() {
                match what {
                    0 => {
                        listed.remove(&number);
                        change(&mut trial, Vec::new(), vec![numbered(number, true)]);
                    }
                    what => {
                        listed.insert(number, what == 1);
                        change(&mut trial, vec![numbered(number, what == 1)], Vec::new());
                    }
                }
                let now = matching(&listed);
                throughout.retain(|number| now.contains(number));
            }
        }
        for number in throughout {
            prop_assert_eq!(seen.iter().filter(|own| **own == number).count(), 1, "{}", number);
        }
    }
}
