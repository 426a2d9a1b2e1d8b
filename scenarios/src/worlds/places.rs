//! What users, metaverse systems and a twin system do with spatial maps (FGMV-28 7.3), each as a part of a line.

use std::sync::Arc;

use twinway_protocol::{
    EntityId, Mailbox, MapId, Ref,
    message::{
        AttachUserDevice, DefineMap, DigitalTwinSystemMsg, OpenSystem, PutMapEntries, RegisterTwinSystem,
        UserDeviceMsg, Wire,
    },
    registry::TwinSystemDescription,
    signal::Signal,
    spatial::{DefinitionDocument, EntryDocument, LocalizationRequest, PoseDocument},
    twin::TwinEntry,
};

use super::outsiders::{PLANT, WORLD, named, said, system, user};
use crate::story::{Line, granted};

/// The actor of Ana's device.
pub(super) const DEVICE: Ref<UserDeviceMsg> = Ref::new(EntityId::new(UserDeviceMsg::KIND, 0, 0));

const FACTORY: &str = r#"{"title": "Factory", "access": {"thirdParties": ["shop"]},
    "anchor": {"position": {"lat": 48.1, "lon": 11.6, "h": 520}, "angles": {"yaw": 0, "pitch": 0, "roll": 0}},
    "regions": [{"id": "vault", "bounds": {"min": {"x": 5, "y": 5, "z": 0}, "max": {"x": 9, "y": 9, "z": 9}}}]}"#;

const PLANT_DESCRIPTION: &str = r#"{"id": "plant", "type": "factory", "title": "A factory", "twins": [ROBOT]}"#;

const ROBOT: &str = r#"{"id": "robot", "physicalObject": "urn:robot:1", "description": {
    "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Robot", "security": "none",
    "securityDefinitions": {"none": {"scheme": "nosec"}},
    "properties": {"pose": {"type": "object", "readOnly": true, "forms": [{"href": "/pose"}]}}}}"#;

pub(super) fn factory() -> MapId {
    named("factory")
}

fn definition() -> Box<DefinitionDocument> {
    said(FACTORY)
}

pub(super) fn entry(text: &str) -> EntryDocument {
    said(text)
}

pub(super) fn pose(text: &str) -> PoseDocument {
    said(text)
}

pub(super) fn place(text: &str) -> Box<LocalizationRequest> {
    said(text)
}

/// The robot under another name.
pub(super) fn listed(name: &str) -> Arc<TwinEntry> {
    let text = ROBOT.replace("robot", name);
    Arc::new(said(&text))
}

pub(super) fn plant(with_robot: bool) -> Box<TwinSystemDescription> {
    let text = PLANT_DESCRIPTION.replace("ROBOT", if with_robot { ROBOT } else { "" });
    said(&text)
}

/// The plant opens and registers, with a robot or without: two parts.
pub(super) fn plant_opens(with_robot: bool) -> Line<Wire> {
    let description = plant(with_robot);
    Line::new("plant")
        .ask::<DigitalTwinSystemMsg, _>(PLANT, || OpenSystem { id: system("plant"), reach: None }, granted)
        .ask(PLANT, move || RegisterTwinSystem { description: description.clone() }, granted)
}

/// The metaverse system opens and defines its map: two parts.
pub(super) fn world_opens() -> Line<Wire> {
    let document = definition();
    Line::new("world").ask(WORLD, || OpenSystem { id: system("world"), reach: None }, granted).ask(
        WORLD,
        move || DefineMap { map: factory(), document: document.clone() },
        granted,
    )
}

/// Something stands on the map: one part.
pub(super) fn puts(line: Line<Wire>, entries: &'static [&'static str]) -> Line<Wire> {
    let put = move || PutMapEntries { map: factory(), entries: entries.iter().map(|text| entry(text)).collect() };
    line.ask(WORLD, put, granted)
}

/// Ana's device opens, and attaches itself once line `world` has opened: two parts.
pub(super) fn device_opens(world: usize) -> Line<Wire> {
    let attach = || AttachUserDevice { metaverse: WORLD, device: DEVICE, user: user("ana") };
    Line::new("ana")
        .ask(DEVICE, || OpenSystem { id: system("ana"), reach: None }, granted)
        .after(world, 1)
        .ask(DEVICE, attach, granted)
}

/// An event of this kind at Ana's device.
pub(super) fn told(kind: &'static str) -> impl Fn(EntityId, &Signal) -> bool {
    move |_, signal| matches!(signal, Signal::Event { entity, event } if *entity == DEVICE.id() && event.kind == kind)
}

/// An event of this kind at the plant.
pub(super) fn plant_told(kind: &'static str) -> impl Fn(EntityId, &Signal) -> bool {
    move |_, signal| matches!(signal, Signal::Event { entity, event } if *entity == PLANT.id() && event.kind == kind)
}
