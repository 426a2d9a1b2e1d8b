//! Who is registered, and how they are found (FGMV-29 8.2.1, 8.2.2, 8.3.1 and 8.3.2).

use twinway_protocol::{
    EntityId, Mailbox, ProblemKind, Ref,
    message::{
        DigitalTwinSystemMsg, ListTwins, MetaverseSystemMsg, OpenSystem, RegisterThirdPartySystem, RegisterTwinSystem,
        SearchThirdPartySystems, SearchTwinSystems, ThirdPartySystemMsg, Wire,
    },
    registry::{SystemQuery, TwinQuery},
};

use super::{
    super::{
        enabler,
        outsiders::{HOME, SHOP, WORLD, answer, home, shop, system},
        procedure_9_2::registering,
    },
    checks,
};
use crate::story::{Heard, Line, Story, granted, refused};

/// The actor of another digital twin system.
const OTHER: Ref<DigitalTwinSystemMsg> = Ref::new(EntityId::new(DigitalTwinSystemMsg::KIND, 0, 1));

fn shop_registering() -> Line<Wire> {
    let description = shop();
    Line::new("shop")
        .ask::<ThirdPartySystemMsg, _>(SHOP, || OpenSystem { id: system("shop"), reach: None }, granted)
        .ask(SHOP, move || RegisterThirdPartySystem { description: description.clone() }, granted)
}

/// The world opens, once the first line has registered.
fn world() -> Line<Wire> {
    Line::new("world")
        .ask::<MetaverseSystemMsg, _>(WORLD, || OpenSystem { id: system("world"), reach: None }, granted)
        .after(0, 2)
}

fn query(system_type: &str) -> Box<SystemQuery> {
    Box::new(SystemQuery { system_type: Some(system_type.to_owned()), ..SystemQuery::default() })
}

checks! {
    /// A twin's id is taken once: another system that lists the same id is refused.
    answers "FGMV-28 REQ-DT-01", "FGMV-29 8.3.1 registration";
    fn a_twins_id_is_taken_once() {
        let mut other = home();
        other.id = system("other");
        let other = Line::new("other")
            .ask::<DigitalTwinSystemMsg, _>(OTHER, || OpenSystem { id: system("other"), reach: None }, granted)
            .after(0, 2)
            .ask(
                OTHER,
                move || RegisterTwinSystem { description: other.clone() },
                refused(ProblemKind::TwinListedElsewhere),
            );
        enabler(Story::new(vec![registering(), other]).on_signal(answer))
    }

    /// A twin system is found by what it registered: its type, id and properties, with the number of its twins.
    answers
        "FGMV-28 REQ-DT-02", "FGMV-28 REQ-DT-03", "FGMV-28 REQ-SI-02 (connecting)", "FGMV-29 8.3.1 information",
        "FGMV-29 8.3.2 search";
    fn a_twin_system_is_found_by_what_it_registered() {
        let wanted = home();
        let searching = world()
            .ask(WORLD, || SearchTwinSystems { query: query("home") }, move |found| match found {
                Ok(found) if found.page.items.len() == 1 => {
                    let same = found.page.items.iter().all(|listing| {
                        let system = &listing.system;
                        (&system.id, &system.system_type, &system.properties)
                            == (&wanted.id, &wanted.system_type, &wanted.properties)
                            && listing.twin_count == 1
                    });
                    if same { Heard::Done } else { Heard::Wrong("something else than was registered".to_owned()) }
                }
                other => Heard::Wrong(format!("found {other:?}")),
            })
            .ask(WORLD, || SearchTwinSystems { query: query("harbour") }, |found| match found {
                Ok(found) if found.page.items.is_empty() => Heard::Done,
                other => Heard::Wrong(format!("found {other:?}")),
            });
        enabler(Story::new(vec![registering(), searching]).on_signal(answer))
    }

    /// A twin system says which twins it maintains, each with its title and its object.
    answers "FGMV-28 REQ-DT-04", "FGMV-28 REQ-MV-01";
    fn a_twin_system_says_which_twins_it_maintains() {
        let list = || {
        let query = TwinQuery { system: Some(system("home")), ..TwinQuery::default() };
        ListTwins { metaverse: system("world"), query: Box::new(query) }
    };
        let listing = world().ask(WORLD, list, |listed| match listed {
            Ok(listed) => {
                let shown = listed.page.items.iter().map(|twin| (twin.title.as_str(), twin.physical_object.is_some()));
                let shown: Vec<_> = shown.collect();
                if shown == [("Lamp", true)] { Heard::Done } else { Heard::Wrong(format!("listed {shown:?}")) }
            }
            Err(problem) => Heard::Wrong(format!("{problem:?}")),
        });
        enabler(Story::new(vec![registering(), listing]).on_signal(answer))
    }

    /// A third-party system is found by what it registered: type, id, charge, service level and APIs.
    answers
        "FGMV-28 REQ-MV-05", "FGMV-29 8.2.1 registration", "FGMV-29 8.2.1 information", "FGMV-29 8.2.2 search";
    fn a_third_party_system_is_found_by_what_it_registered() {
        let wanted = shop();
        let by_operation = || {
            let operation = Some("order".to_owned());
            SearchThirdPartySystems { query: Box::new(SystemQuery { operation, ..SystemQuery::default() }) }
        };
        let searching = world()
            .ask(WORLD, by_operation, move |found| match found {
                Ok(found) if found.page.items.iter().map(|listing| &listing.system).eq([&*wanted]) => Heard::Done,
                other => Heard::Wrong(format!("found {other:?}")),
            })
            .ask(WORLD, || SearchThirdPartySystems { query: query("harbour") }, |found| match found {
                Ok(found) if found.page.items.is_empty() => Heard::Done,
                other => Heard::Wrong(format!("found {other:?}")),
            });
        enabler(Story::new(vec![shop_registering(), searching]).on_signal(answer))
    }

    /// Registering again with the same contents changes nothing; with others it is refused.
    answers "FGMV-29 8.3.1 registration";
    fn a_registration_that_comes_again_changes_nothing() {
        let (same, mut different) = (home(), home());
        different.title = "Another home".to_owned();
        let again = registering()
            .ask(HOME, move || RegisterTwinSystem { description: same.clone() }, granted)
            .ask(
                HOME,
                move || RegisterTwinSystem { description: different.clone() },
                refused(ProblemKind::AlreadyRegistered),
            );
        enabler(Story::new(vec![again]).on_signal(answer))
    }
}
