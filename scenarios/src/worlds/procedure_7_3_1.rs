//! FGMV-28 7.3.1: a spatial map is made of what a user's device records on the spot.

use twinway_protocol::{
    ProblemKind,
    message::{
        ChangeTwinList, ConstructSpatialMap, ReadMap, RequestObservations, StartCapture, UploadObservation, Wire,
    },
    spatial::{MediaType, Observation, ObservationId, Viewer},
    time::Timestamp,
};

use super::{
    enabler,
    outsiders::{PLANT, WORLD, answer, system, user},
    places::{DEVICE, device_opens, entry, factory, listed, plant_opens, plant_told, pose, told, world_opens},
};
use crate::{
    story::{Heard, Line, Story, granted, refused},
    world::World,
};

/// Where the press stands, and where it cannot.
const PRESS: &str = r#"{"twin": "press", "pose": {"local": {"x": 1, "y": 2, "z": 1.5}}}"#;
const ABSURD: &str = r#"{"twin": "press", "pose": {"local": {"x": 1e12, "y": 2, "z": 1.5}}}"#;

/// The first request that a device gets.
const REQUEST: u32 = 1;

fn observation() -> Box<Observation> {
    Box::new(Observation {
        id: ObservationId::of_digest([7; 32]),
        media_type: MediaType::Png,
        bytes: 484,
        serial_number: Some("P-7".to_owned()),
        pose: pose(r#"{"local": {"x": 1, "y": 2, "z": 1.5}}"#),
        at: Timestamp::from_unix_ms(0),
    })
}

fn request() -> impl Fn() -> RequestObservations {
    || RequestObservations {
        metaverse: system("world"),
        map: factory(),
        user: user("ana"),
        twin_system: system("plant"),
        twin_system_entity: PLANT,
        wanted: "the press".into(),
    }
}

/// Step 2.1, once Ana's device is attached (line 2) and records.
fn requesting() -> Line<Wire> {
    world_opens().after(0, 2).after(2, 3).ask(WORLD, request(), granted)
}

/// Steps 1 and 2.2.
fn recording() -> Line<Wire> {
    let upload =
        || UploadObservation { request: REQUEST, observation: observation(), metaverse_entity: WORLD, purpose: None };
    device_opens(1)
        .ask(DEVICE, || StartCapture, granted)
        .hear(told("observation.requested"))
        .ask(DEVICE, upload, granted)
}

/// Step 3: the plant lists a twin of what was seen.
fn building() -> Line<Wire> {
    let list = || ChangeTwinList {
        system: system("plant"),
        twins: vec![listed("press")],
        remove: Vec::new(),
        if_version: None,
    };
    plant_opens(false).hear(plant_told("observation.uploaded")).ask(PLANT, list, granted)
}

/// Step 4.
fn construct(text: &'static str) -> impl Fn() -> ConstructSpatialMap {
    move || ConstructSpatialMap {
        system: None,
        metaverse_entity: WORLD,
        map: factory(),
        user: Some(user("ana")),
        entries: vec![entry(text)],
    }
}

/// What Ana's device reads of the map, which has so many entries.
fn reading(line: Line<Wire>, entries: usize) -> Line<Wire> {
    let viewer = || Viewer::User(user("ana"));
    let read = move || ReadMap { map: factory(), viewer: viewer(), by_device: true, after: None, limit: 10 };
    line.ask(WORLD, read, move |shown| match shown {
        Ok(shown) if shown.view.entries.len() == entries => Heard::Done,
        other => Heard::Wrong(format!("the map is {other:?}")),
    })
}

fn judged(lines: Vec<Line<Wire>>) -> World<Wire> {
    enabler(Story::new(lines).on_signal(answer))
}

/// The press is recorded, gets a twin, and stands on the map that the user is sent.
#[must_use]
pub fn procedure_7_3_1() -> World<Wire> {
    let plant = building().ask(PLANT, construct(PRESS), granted);
    let ana = reading(recording().hear(told("map.constructed")), 1);
    judged(vec![plant, requesting(), ana])
}

/// The plant says of the press that it stands where nothing can: the map stays as it was.
#[must_use]
pub fn procedure_7_3_1_absurd() -> World<Wire> {
    let plant = building().ask(PLANT, construct(ABSURD), refused(ProblemKind::InvalidDocument));
    let ana = reading(recording().after(0, 5), 0);
    judged(vec![plant, requesting(), ana])
}

/// No device of the user is there: the metaverse system hears that, and nothing is made.
#[must_use]
pub fn procedure_7_3_1_unreached() -> World<Wire> {
    let world = world_opens().after(0, 2).ask(WORLD, request(), refused(ProblemKind::OutsideUnreachable));
    judged(vec![plant_opens(false), world])
}
