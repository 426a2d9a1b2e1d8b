//! FGMV-29 9.1: a user of a virtual world is authorized to use a third-party system, which reads a twin.

use std::sync::Arc;

use twinway_protocol::{
    Problem, ProblemKind, TwinId,
    message::{
        AcquireTwinInformation, MetaverseSystemMsg, OpenSystem, OutsideRequest, RequestUserAuthorization,
        SearchThirdPartySystems, TwinInformation, UseThirdPartySystem, Wire,
    },
    registry::SystemQuery,
    signal::Signal,
};

use super::{
    StepsAreTaken, enabler,
    outsiders::{SHOP, WORLD, answer, json, lamps, plant, scope, system, twin, user},
    procedure_9_2::registering,
    user::{registers, shop_opens},
};
use crate::{
    story::{Heard, Line, Story, granted, refused},
    world::World,
};

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
    let shop = shop_opens().after(2, 2).hear(ordered).ask(SHOP, acquire, heard);
    let world = authorizing().ask(WORLD, order("ada"), granted);
    enabler(Story::new(vec![shop, world, registering]).on_signal(answer))
}

/// How often each step of the whole is taken, with so many hops of step 17.
fn taken(of_17: u32) -> StepsAreTaken {
    StepsAreTaken::new(
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
            ("17", of_17),
            ("18", 1),
            ("19", 1),
        ],
    )
}

/// The whole of 9.1: the user's order (steps 11 to 14x) while the shop reads a twin (steps 15 to 19).
#[must_use]
pub fn procedure_9_1() -> World<Wire> {
    reading(lamps(), granted, registering()).rule(taken(4))
}

/// The shop is refused a twin that it may not read, in step 17, while it carries the user's order out.
#[must_use]
pub fn procedure_9_1_unread() -> World<Wire> {
    let plant = registers(Line::new("plant"), "plant", plant());
    reading(Arc::from([twin("arm")]), refused(ProblemKind::PermissionMissing), plant).rule(taken(2))
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
    enabler(Story::new(vec![shop_opens(), authorizing(), bob]).on_signal(answer)).rule(steps)
}
