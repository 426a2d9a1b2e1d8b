//! FGMV-28 7.3.2: a location is kept the same in both worlds.

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    Problem, ProblemKind,
    access::Right,
    message::{
        AuthorizeLocation, DigitalTwinSystemMsg, LocationAuthorized, OutsideAnswer, OutsideRequest, ReadMap,
        ReportPhysicalChange, Wire,
    },
    spatial::Viewer,
    step_id,
    time::Timestamp,
};

use super::{
    enabler, follows,
    outsiders::{PLANT, WORLD, answering, twin, values, willing},
    places::{DEVICE, device_opens, factory, plant_opens, puts, told, world_opens},
    user::{User, only},
};
use crate::{
    story::{Heard, Line, Story, granted, refused},
    world::World,
};

const ROBOT: &[&str] = &[r#"{"twin": "robot", "pose": {"local": {"x": 0, "y": 0, "z": 0}}}"#];

fn report(x: &'static str, at: Option<Timestamp>) -> impl Fn() -> ReportPhysicalChange {
    let pose = values("pose", &format!(r#"{{"local": {{"x": {x}, "y": 0, "z": 0}}}}"#));
    move || ReportPhysicalChange { twin: twin("robot"), values: Arc::clone(&pose), at }
}

/// The map, with the robot at its place, which the metaverse system selects for Ana: seven parts.
pub(super) fn selecting(may_read: bool) -> Line<Wire> {
    let (ana, robots) = (User::new("ana"), Arc::from([twin("robot")]));
    let line = puts(world_opens(), ROBOT);
    let line = ana.selects(line.after(0, 2), &robots);
    let line = ana.asks_for(line, &robots, move |granted| match granted {
        Ok(granted) if may_read && granted.refused.is_empty() => Heard::Done,
        Err(problem) if !may_read && problem.kind == ProblemKind::PermissionDenied => Heard::Done,
        other => Heard::Wrong(format!("granted {other:?}")),
    });
    ana.works_with(line, &robots)
}

/// Step 2, when the robot is on the map and Ana has asked for it.
pub(super) fn authorizing(check: impl Fn(Result<LocationAuthorized, Problem>) -> Heard + 'static) -> Line<Wire> {
    let authorize = || AuthorizeLocation {
        user: None,
        twin_system_entity: PLANT,
        metaverse_entity: WORLD,
        map: factory(),
        twin: twin("robot"),
        property: "pose".into(),
    };
    device_opens(1).after(1, 5).ask(DEVICE, authorize, check)
}

/// Whether the robot stands at `x`.
pub(super) fn stands(line: Line<Wire>, x: f64) -> Line<Wire> {
    let read = || ReadMap { map: factory(), viewer: Viewer::Owner, by_device: false, after: None, limit: 10 };
    line.ask(WORLD, read, move |shown| match shown {
        Ok(shown) if shown.view.entries.iter().all(|entry| entry.pose.local.x == x) => Heard::Done,
        // What the twin showed may have been lost on its way.
        other => Heard::Spoilt(format!("the map is {other:?}")),
    })
}

fn judged(lines: Vec<Line<Wire>>, may_read: bool) -> World<Wire> {
    let answer = move |asked: OutsideRequest| {
        let describes = matches!(asked, OutsideRequest::DescribeTwins(_));
        let mut answer = willing(asked);
        if let OutsideAnswer::DescribeTwins(described) = &mut answer
            && describes
            && !may_read
        {
            described.twins.iter_mut().for_each(|grant| grant.rights = BTreeSet::<Right>::new());
        }
        Some(answer)
    };
    follows(enabler(Story::new(lines).on_signal(answering(move |asked, _| answer(asked)))), "7.3.2")
}

/// The robot moves, and the map follows; what is older moves nothing back.
#[must_use]
pub fn procedure_7_3_2() -> World<Wire> {
    let plant = plant_opens(true).take(step_id!("7.3.2", "1")).after(2, 3);
    let plant = plant.ask(only::<DigitalTwinSystemMsg>(), report("4", None), granted);
    let plant = plant.ask(PLANT, report("2", Some(Timestamp::from_unix_ms(0))), granted);
    let ana = stands(authorizing(granted).hear(told("location.synchronized")).after(0, 5), 4.0);
    judged(vec![plant, selecting(true), ana], true)
}

/// Who may not read the twin cannot have the map follow it.
#[must_use]
pub fn procedure_7_3_2_denied() -> World<Wire> {
    let plant = plant_opens(true).take(step_id!("7.3.2", "1")).after(2, 3).ask(PLANT, report("4", None), granted);
    let ana = stands(authorizing(refused(ProblemKind::PermissionMissing)).after(0, 4), 0.0);
    judged(vec![plant, selecting(false), ana], false)
}
