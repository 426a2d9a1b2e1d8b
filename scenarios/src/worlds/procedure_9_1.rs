//! FGMV-29 9.1: a user of a virtual world is authorized to use a third-party system, which reads a twin.

use std::sync::Arc;

use twinway_protocol::{
    Problem, ProblemKind, TwinId,
    message::{
        AcquireTwinInformation, DigitalTwinSystemMsg, MetaverseSystemMsg, OpenSystem, OutsideRequest,
        RegisterThirdPartySystem, RegisterTwinSystem, RequestUserAuthorization, SearchThirdPartySystems,
        ThirdPartySystemMsg, TwinInformation, UseThirdPartySystem, Wire,
    },
    registry::SystemQuery,
    signal::Signal,
};

use super::{
    StepsAreTaken, enabler,
    outsiders::{PLANT, SHOP, WORLD, answer, json, lamps, plant, scope, shop, system, twin, user},
    procedure_9_2::registering,
};
use crate::{
    story::{Heard, Line, Story, granted, refused},
    world::World,
};

/// Steps 1 and 3: the shop opens and registers.
fn shop_registering() -> Line<Wire> {
    let description = shop();
    Line::new("shop")
        .ask::<ThirdPartySystemMsg, _>(SHOP, || OpenSystem { id: system("shop"), reach: None }, granted)
        .ask(SHOP, move || RegisterThirdPartySystem { description: description.clone() }, granted)
}

/// Steps 4 to 10, once line 0 has registered.
fn authorizing() -> Line<Wire> {
    let search = || SearchThirdPartySystems { query: Box::new(SystemQuery::default()) };
    let scope = scope();
    let authorize = move || RequestUserAuthorization {
        system: system("shop"),
        metaverse: system("world"),
        user: user("ada"),
        scope: Arc::clone(&scope),
    };
    Line::new("world")
        .ask::<MetaverseSystemMsg, _>(WORLD, || OpenSystem { id: system("world"), reach: None }, granted)
        .after(0, 2)
        // What is registered is found by the next search (step 3).
        .ask(WORLD, search, |found| match found {
            Ok(found) if found.page.items.len() == 1 => Heard::Done,
            other => Heard::Wrong(format!("found {other:?}")),
        })
        .ask(WORLD, authorize, granted)
}

fn order(who: &'static str) -> impl Fn() -> UseThirdPartySystem {
    let input = json("{}");
    move || UseThirdPartySystem {
        system: system("shop"),
        metaverse: system("world"),
        user: user(who),
        operation: "order".into(),
        input: input.clone(),
    }
}

/// Steps 1 to 18 while the shop reads `twins` of the system of line 2, until it hears of them.
fn reading(
    twins: Arc<[TwinId]>,
    heard: impl Fn(Result<TwinInformation, Problem>) -> Heard + 'static,
    registering: Line<Wire>,
) -> World<Wire> {
    let acquire = move || AcquireTwinInformation {
        system: system("shop"),
        twins: Arc::clone(&twins),
        properties: None,
        strict: true,
    };
    // While it carries the order out.
    let ordered = |_, signal: &Signal| matches!(signal, Signal::Request { body, .. } if matches!(**body, OutsideRequest::ExecuteService(_)));
    let shop = shop_registering().after(2, 2).hear(ordered).ask(SHOP, acquire, heard);
    let world = authorizing().ask(WORLD, order("ada"), granted);
    enabler(Story::new(vec![shop, world, registering]).on_signal(answer))
}

/// The whole of 9.1: the user's order (steps 11 to 14x) while the shop reads a twin (steps 15 to 19).
#[must_use]
pub fn procedure_9_1() -> World<Wire> {
    let steps = StepsAreTaken::new(
        "9.1",
        &[
            ("1", 1),
            ("2", 1),
            ("3", 1),
            ("4", 1),
            ("5", 1),
            ("6", 1),
            ("7", 1),
            ("8", 1),
            ("9", 1),
            ("10", 1),
            ("11", 1),
            ("12", 1),
            ("13", 2),
            ("14", 1),
            ("14x", 2),
            ("15", 1),
            ("16", 1),
            ("17", 4),
            ("18", 1),
            ("19", 1),
        ],
    );
    reading(lamps(), granted, registering()).rule(steps)
}

/// The shop is refused a twin that it may not read, in step 17, while it carries the user's order out.
#[must_use]
pub fn procedure_9_1_unread() -> World<Wire> {
    let description = plant();
    let plant = Line::new("plant")
        .ask::<DigitalTwinSystemMsg, _>(PLANT, || OpenSystem { id: system("plant"), reach: None }, granted)
        .ask(PLANT, move || RegisterTwinSystem { description: description.clone() }, granted);
    let steps = StepsAreTaken::new(
        "9.1",
        &[
            ("1", 1),
            ("2", 1),
            ("3", 1),
            ("4", 1),
            ("5", 1),
            ("6", 1),
            ("7", 1),
            ("8", 1),
            ("9", 1),
            ("10", 1),
            ("11", 1),
            ("12", 1),
            ("13", 2),
            ("14", 1),
            ("14x", 2),
            ("15", 1),
            ("16", 1),
            ("17", 2),
            ("18", 1),
            ("19", 1),
        ],
    );
    reading(Arc::from([twin("arm")]), refused(ProblemKind::PermissionMissing), plant).rule(steps)
}

/// A user without authorization is rejected in step 14, while another one gets theirs.
#[must_use]
pub fn procedure_9_1_rejected() -> World<Wire> {
    let bob = Line::new("bob").after(1, 3).ask(WORLD, order("bob"), refused(ProblemKind::PermissionMissing));
    let steps = StepsAreTaken::new(
        "9.1",
        &[
            ("1", 1),
            ("2", 1),
            ("3", 1),
            ("4", 1),
            ("5", 1),
            ("6", 1),
            ("7", 1),
            ("8", 1),
            ("9", 1),
            ("10", 1),
            ("11", 1),
            ("12", 1),
            ("13", 2),
            ("14", 1),
        ],
    );
    enabler(Story::new(vec![shop_registering(), authorizing(), bob]).on_signal(answer)).rule(steps)
}
