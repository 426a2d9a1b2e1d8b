//! How registered systems stand, and what is measured of them (FGMV-29 8.2.1, 8.2.2, 8.3.1 and 8.3.2).

use std::sync::Arc;

use twinway_protocol::{
    EntityId, Problem, ProblemKind,
    message::{
        OutsideAnswer, OutsideRequest, RequestUserAuthorization, SearchThirdPartySystems, SearchTwinSystems,
        UseThirdPartySystem, Wire,
    },
    registry::{Health, Standing, SystemQuery},
    signal::Signal,
};

use super::{
    super::{
        enabler,
        outsiders::{HOME, SHOP, WORLD, answering, json, scope, system, user, willing},
        procedure_9_2::registering,
        user::shop_opens,
    },
    checks,
    twins::{change, permitted},
};
use crate::{
    outside::Outside,
    story::{Heard, Line, Story, granted, refused},
    world::{World, WorldOptions},
};

/// How often each system fails: more than the rules of health need to count.
const FAILED: u64 = 6;

/// Systems that let users in, and then fail at everything that they are asked to do.
fn failing(asked: OutsideRequest) -> Option<OutsideAnswer> {
    Some(match asked {
        OutsideRequest::ApplyChange(_) | OutsideRequest::ExecuteService(_) => {
            OutsideAnswer::Failed("it fell over".to_owned())
        }
        asked => willing(asked),
    })
}

/// A world in which time goes on although nobody asks anything.
fn passing(outside: impl Outside<Wire> + 'static) -> World<Wire> {
    enabler(outside).options(WorldOptions { run_out_timers: true, ..WorldOptions::default() })
}

/// The system of this actor is told that it stands like this.
fn stands(of: EntityId, health: &'static str) -> impl Fn(EntityId, &Signal) -> bool {
    move |_, signal| {
        matches!(signal, Signal::Event { entity, event } if *entity == of && event.kind == "system.standing"
            && event.data.as_str().contains(&format!(r#""health":"{health}""#)))
    }
}

fn by(filter: &str) -> Box<SystemQuery> {
    Box::new(SystemQuery { filter: Some(filter.to_owned()), ..SystemQuery::default() })
}

/// Whether so many systems are found, all as `fits` says.
fn judged<'s>(
    mut found: impl ExactSizeIterator<Item = &'s Standing>,
    count: usize,
    fits: fn(&Standing) -> bool,
) -> Heard {
    if found.len() != count {
        return Heard::Wrong(format!("{} systems were found, not {count}", found.len()));
    }
    match found.find(|standing| !fits(standing)) {
        None => Heard::Done,
        Some(standing) => Heard::Wrong(format!("it stands like this: {standing:?}")),
    }
}

fn find_shops(line: Line<Wire>, filter: &'static str, count: usize, fits: fn(&Standing) -> bool) -> Line<Wire> {
    let heard = move |found: Result<twinway_protocol::message::ThirdPartySystemsFound, Problem>| match found {
        Ok(found) => judged(found.page.items.iter().map(|listing| &listing.standing), count, fits),
        Err(problem) => Heard::Wrong(format!("{problem:?}")),
    };
    line.ask(WORLD, move || SearchThirdPartySystems { query: by(filter) }, heard)
}

fn find_homes(line: Line<Wire>, filter: &'static str, count: usize, fits: fn(&Standing) -> bool) -> Line<Wire> {
    let heard = move |found: Result<twinway_protocol::message::TwinSystemsFound, Problem>| match found {
        Ok(found) => judged(found.page.items.iter().map(|listing| &listing.standing), count, fits),
        Err(problem) => Heard::Wrong(format!("{problem:?}")),
    };
    line.ask(WORLD, move || SearchTwinSystems { query: by(filter) }, heard)
}

/// The shop lets Ada in, and fails at each of her orders.
fn orders() -> Line<Wire> {
    let scope = scope();
    let authorize = move || RequestUserAuthorization {
        system: system("shop"),
        metaverse: system("world"),
        user: user("ada"),
        scope: Arc::clone(&scope),
    };
    let open = || twinway_protocol::message::OpenSystem { id: system("world"), reach: None };
    let line = Line::new("world").ask(WORLD, open, granted).after(0, 2).ask(WORLD, authorize, granted);
    let order = || UseThirdPartySystem {
        system: system("shop"),
        metaverse: system("world"),
        user: user("ada"),
        operation: "order".into(),
        input: json("{}"),
    };
    (0..FAILED).fold(line, |line, _| line.ask(WORLD, order, refused(ProblemKind::OutsideFailed)))
}

/// The home lets Ada in, and fails at each of her changes.
fn changes() -> Line<Wire> {
    (0..FAILED)
        .fold(permitted(), |line, _| line.ask(WORLD, change("ada", "on", "true"), refused(ProblemKind::OutsideFailed)))
}

fn world(lines: Vec<Line<Wire>>) -> World<Wire> {
    passing(Story::new(lines).on_signal(answering(|asked, _| failing(asked))))
}

fn failed(standing: &Standing) -> bool {
    let measured = &standing.performance;
    // Letting the user in is a call too, which did not fail.
    standing.health == Health::Degraded && measured.failed == FAILED && measured.calls == FAILED + 1
}

fn timed(standing: &Standing) -> bool {
    let measured = &standing.performance;
    matches!((measured.p50_ms, measured.p99_ms), (Some(half), Some(most)) if half > 0.0 && half <= most)
}

fn well(standing: &Standing) -> bool {
    standing.health == Health::Healthy && standing.reason.is_none()
}

const DEGRADED: &str = "standing.health == 'degraded'";
const HEALTHY: &str = "standing.health == 'healthy'";

checks! {
    /// A third-party system that fails is degraded, and healthy again when it fails no more.
    answers "FGMV-29 8.2.1 status";
    fn a_third_party_that_fails_is_degraded_until_it_recovers() {
        let line = find_shops(orders().hear(stands(SHOP.id(), "degraded")), DEGRADED, 1, failed);
        let line = find_shops(line, HEALTHY, 0, well);
        let line = find_shops(line.hear(stands(SHOP.id(), "healthy")), HEALTHY, 1, well);
        world(vec![shop_opens(), find_shops(line, DEGRADED, 0, failed)])
    }

    /// How fast a third-party system answers and how often it fails is measured, shown, and searched for.
    answers "FGMV-29 8.2.1 performance", "FGMV-29 8.2.2 search";
    fn a_third_party_is_found_by_what_was_measured_of_it() {
        let line = orders().hear(stands(SHOP.id(), "degraded"));
        let line = find_shops(line, "performance.error_rate > 0.5 && performance.p99_ms >= 1.0", 1, timed);
        world(vec![shop_opens(), find_shops(line, "performance.error_rate <= 0.5", 0, timed)])
    }

    /// A twin system that fails is degraded, and healthy again when it fails no more.
    answers "FGMV-29 8.3.1 status";
    fn a_twin_system_that_fails_is_degraded_until_it_recovers() {
        let line = find_homes(changes().hear(stands(HOME.id(), "degraded")), DEGRADED, 1, failed);
        let line = find_homes(line, HEALTHY, 0, well);
        let line = find_homes(line.hear(stands(HOME.id(), "healthy")), HEALTHY, 1, well);
        world(vec![registering(), find_homes(line, DEGRADED, 0, failed)])
    }

    /// How fast a twin system answers and how often it fails is measured, shown, and searched for.
    answers "FGMV-29 8.3.1 performance", "FGMV-29 8.3.2 search";
    fn a_twin_system_is_found_by_what_was_measured_of_it() {
        let line = changes().hear(stands(HOME.id(), "degraded"));
        let line = find_homes(line, "performance.error_rate > 0.5 && performance.p99_ms >= 1.0", 1, timed);
        world(vec![registering(), find_homes(line, "performance.error_rate <= 0.5", 0, timed)])
    }
}
