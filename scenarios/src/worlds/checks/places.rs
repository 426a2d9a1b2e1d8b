//! Where things are (FGMV-28 7.3, FGMV-29 8.3.4).

use twinway_protocol::{
    ProblemKind,
    message::{ConstructSpatialMap, FindAtPlace, ReportPhysicalChange, Wire},
    time::Timestamp,
};

use super::{
    super::{
        enabler,
        outsiders::{PLANT, WORLD, answer, twin, values},
        places::{entry, factory, place, plant_opens, puts, told, world_opens},
        procedure_7_3_2::{authorizing, selecting, stands},
        user::shop_opens,
    },
    checks,
};
use crate::{
    story::{Heard, Line, Story, granted, refused},
    world::World,
};

fn moved(x: &str, at: Option<Timestamp>) -> impl Fn() -> ReportPhysicalChange {
    let pose = values("pose", &format!(r#"{{"local": {{"x": {x}, "y": 0, "z": 0}}}}"#));
    move || ReportPhysicalChange { twin: twin("robot"), values: std::sync::Arc::clone(&pose), at }
}

fn judged(lines: Vec<Line<Wire>>) -> World<Wire> {
    enabler(Story::new(lines).on_signal(answer))
}

checks! {
    /// An object moves, and its entry of the map follows; what comes late and is older moves nothing back.
    answers "FGMV-29 8.3.4 location";
    fn the_map_follows_an_object_that_moves() {
        let plant = plant_opens(true).after(2, 3).ask(PLANT, moved("4", None), granted);
        let plant = plant.ask(PLANT, moved("2", Some(Timestamp::from_unix_ms(0))), granted);
        let ana = stands(authorizing(granted).hear(told("location.synchronized")).after(0, 4), 4.0);
        judged(vec![plant, selecting(true), ana])
    }

    /// Nobody lets a location be kept the same: the map stays as it is.
    answers "FGMV-29 8.3.4 location";
    fn a_map_follows_only_what_a_user_lets_it() {
        let plant = plant_opens(true).after(1, 6).ask(PLANT, moved("4", None), granted);
        judged(vec![plant, stands(selecting(true).after(0, 3), 0.0)])
    }

    /// A twin system that nobody asked for twins puts nothing on a map.
    answers "FGMV-28 REQ-DT-05";
    fn a_twin_system_that_nobody_asked_puts_nothing_on_a_map() {
        let robot = || entry(r#"{"twin": "robot", "pose": {"local": {"x": 1, "y": 0, "z": 0}}}"#);
        let construct = move || ConstructSpatialMap {
            system: None,
            metaverse_entity: WORLD,
            map: factory(),
            user: None,
            entries: vec![robot()],
        };
        let plant = plant_opens(true).after(1, 2).ask(PLANT, construct, refused(ProblemKind::NotAllowed));
        judged(vec![plant, world_opens()])
    }

    /// The services of third parties that are offered at a place are found there.
    answers "FGMV-28 REQ-MV-05";
    fn services_are_found_where_they_are_offered() {
        let here = || place(r#"{"near": {"local": {"x": 0, "y": 0, "z": 0}}, "radiusM": 10, "services": ["order"]}"#);
        let find = move || FindAtPlace {
            metaverse_entity: WORLD,
            map: factory(),
            third_party: None,
            user: None,
            request: here(),
        };
        let world = puts(world_opens(), &[
            r#"{"id": "press", "pose": {"local": {"x": 2, "y": 0, "z": 0}},
                "services": [{"system": "shop", "operation": "order"}]}"#,
            r#"{"id": "lathe", "pose": {"local": {"x": 1, "y": 0, "z": 0}}}"#,
        ]);
        let world = world.after(1, 2).ask(WORLD, find, |found| match found {
            Ok(found) if found.found.entries.len() == 1 && found.found.services.len() == 1 => Heard::Done,
            other => Heard::Wrong(format!("found {other:?}")),
        });
        judged(vec![world, shop_opens()])
    }
}
