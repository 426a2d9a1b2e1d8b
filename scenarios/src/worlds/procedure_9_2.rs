//! FGMV-29 9.2: a user of a virtual world selects a twin, is permitted to change it, and does.

use std::sync::Arc;

use twinway_protocol::{
    ProblemKind,
    message::{
        ChangeTerms, ChangeTwin, ListTwins, MetaverseSystemMsg, OpenSystem, ReportPhysicalChange, RunService,
        SearchTwinSystems, Wire,
    },
    registry::{SystemQuery, TwinQuery},
    time::Timestamp,
};

use super::{
    StepsAreTaken, enabler,
    outsiders::{HOME, WORLD, answer, home, lamp, lamps, system, user, values},
    user::{User, registers},
};
use crate::{
    story::{Heard, Line, Story, granted, refused},
    world::World,
};

/// A moment before any run begins, in milliseconds since 1970.
const EARLIER_MS: u64 = 1_690_000_000_000;

/// Steps 1 and 3: the home opens and registers.
pub(super) fn registering() -> Line<Wire> {
    registers(Line::new("home"), "home", home())
}

/// Steps 4 to 13, once line 0 has registered.
fn selecting() -> Line<Wire> {
    let search = || SearchTwinSystems { query: Box::new(SystemQuery::default()) };
    let list = || {
        let query = TwinQuery { system: Some(system("home")), ..TwinQuery::default() };
        ListTwins { metaverse: system("world"), query: Box::new(query) }
    };
    let ada = User::new("ada");
    let line = Line::new("world")
        .ask::<MetaverseSystemMsg, _>(WORLD, || OpenSystem { id: system("world"), reach: None }, granted)
        .after(0, 2)
        // What is registered is found by the next search (step 3).
        .ask(WORLD, search, |found| match found {
            Ok(found) if found.page.items.len() == 1 => Heard::Done,
            other => Heard::Wrong(format!("found {other:?}")),
        })
        .ask(WORLD, list, |listed| match listed {
            Ok(listed) if listed.page.items.len() == 1 => Heard::Done,
            other => Heard::Wrong(format!("listed {other:?}")),
        });
    let line = ada.asks_for(ada.selects(line, &lamps()), &lamps(), |granted| match granted {
        Ok(granted) if granted.refused.is_empty() => Heard::Done,
        other => Heard::Wrong(format!("granted {other:?}")),
    });
    line.ask(WORLD, || RunService { twins: lamps() }, granted)
}

fn change(who: &'static str) -> impl Fn() -> ChangeTwin {
    let values = values("on", "true");
    move || ChangeTwin {
        metaverse: system("world"),
        user: user(who),
        twin: lamp(),
        values: Arc::clone(&values),
        token: None,
        terms: ChangeTerms::default(),
    }
}

/// The whole of 9.2: the object changes by itself (step 14) while the user changes it (steps 15 to 18x).
#[must_use]
pub fn procedure_9_2() -> World<Wire> {
    let watts = values("power", "5");
    let report = move || ReportPhysicalChange { twin: lamp(), values: Arc::clone(&watts), at: None };
    let home = registering().after(1, 5).ask(HOME, report, granted);
    let world = selecting().ask(WORLD, change("ada"), granted);
    let steps = StepsAreTaken::new(
        "9.2",
        &[
            ("1", 1),
            ("2", 1),
            ("3", 1),
            ("4", 1),
            ("5", 1),
            ("6", 2),
            ("7", 2),
            ("8", 1),
            ("9", 1),
            ("10", 3),
            ("11", 1),
            ("12", 1),
            ("13", 1),
            ("14", 5),
            ("15", 1),
            ("16", 2),
            ("17", 3),
            ("18", 3),
            ("18x", 1),
        ],
    );
    enabler(Story::new(vec![home, world]).on_signal(answer)).rule(steps)
}

/// A user without permission is rejected in step 17, while one with permission is not.
#[must_use]
pub fn procedure_9_2_rejected() -> World<Wire> {
    let world = selecting();
    let bob = Line::new("bob").after(1, 6).ask(WORLD, change("bob"), refused(ProblemKind::PermissionMissing));
    let steps = StepsAreTaken::new(
        "9.2",
        &[
            ("1", 1),
            ("2", 1),
            ("3", 1),
            ("4", 1),
            ("5", 1),
            ("6", 2),
            ("7", 2),
            ("8", 1),
            ("9", 1),
            ("10", 3),
            ("11", 1),
            ("12", 1),
            ("13", 1),
            ("15", 1),
            ("16", 2),
            ("17", 1),
        ],
    );
    // Who is rejected gets no lease either.
    let no_lease = StepsAreTaken::new("7.1.3", &[]);
    enabler(Story::new(vec![registering(), world, bob]).on_signal(answer)).rule(steps).rule(no_lease)
}

/// Two reports of the same property, the one of an earlier moment perhaps behind the other (step 14): who selected the
/// twin is never shown something older.
#[must_use]
pub fn procedure_9_2_late() -> World<Wire> {
    let report = |watts: &str, at_ms: u64| {
        let (watts, at) = (values("power", watts), Some(Timestamp::from_unix_ms(at_ms)));
        move || ReportPhysicalChange { twin: lamp(), values: Arc::clone(&watts), at }
    };
    let reporting = |name, watts, at_ms| Line::new(name).after(1, 5).ask(HOME, report(watts, at_ms), granted);
    let earlier = reporting("earlier", "4", EARLIER_MS);
    let later = reporting("later", "5", EARLIER_MS + 1);
    enabler(Story::new(vec![registering(), selecting(), earlier, later]).on_signal(answer))
}
