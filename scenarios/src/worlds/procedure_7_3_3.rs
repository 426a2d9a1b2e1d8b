//! FGMV-28 7.3.3: services and information of a place are found on the map, on the spot and from afar.

use twinway_protocol::{
    Problem, ProblemKind,
    message::{FindAtPlace, LocalizationFound, RequestLocalization, Wire},
    spatial::Localization,
};

use super::{
    enabler, follows,
    outsiders::{PLANT, SHOP, WORLD, answer},
    places::{DEVICE, device_opens, factory, place, plant_opens, puts, world_opens},
    user::shop_opens,
};
use crate::{
    story::{Heard, Line, Story, refused},
    world::World,
};

/// A lathe near by, a press with a service behind it, something far away, and a safe in the vault.
const ENTRIES: &[&str] = &[
    r#"{"id": "press", "pose": {"local": {"x": 2, "y": 0, "z": 0}}, "information": {"oil": "low"},
        "services": [{"system": "shop", "operation": "order"}]}"#,
    r#"{"id": "lathe", "pose": {"local": {"x": 1, "y": 0, "z": 0}}}"#,
    r#"{"id": "far", "pose": {"local": {"x": 400, "y": 0, "z": 0}}}"#,
    r#"{"id": "safe", "pose": {"local": {"x": 6, "y": 6, "z": 1}}}"#,
];

const HERE: &str = r#"{"near": {"local": {"x": 0, "y": 0, "z": 0}}, "radiusM": 10}"#;
const NOWHERE: &str = r#"{"near": {"position": {"lat": 190, "lon": 0, "h": 0}}, "radiusM": 10}"#;

/// Exactly the lathe and the press, the nearest first, with the service.
fn nearby(found: &Localization) -> bool {
    let ids = found.entries.iter().map(|found| found.entry.id.to_string());
    ids.eq(["lathe", "press"]) && found.services.iter().any(|service| service.operation == "order")
}

/// Steps 1.1 to 3, when all stands there.
fn asking(request: &'static str, check: impl Fn(Result<LocalizationFound, Problem>) -> Heard + 'static) -> Line<Wire> {
    let ask = move || RequestLocalization {
        user: None,
        twin_system_entity: PLANT,
        metaverse_entity: WORLD,
        map: factory(),
        request: place(request),
    };
    device_opens(1).after(0, 2).after(1, 3).ask(DEVICE, ask, check)
}

fn judged(lines: Vec<Line<Wire>>) -> World<Wire> {
    follows(enabler(Story::new(lines).on_signal(answer)), "7.3.3")
}

/// A user finds what is near by; so does a third party that the map names, from afar.
#[must_use]
pub fn procedure_7_3_3() -> World<Wire> {
    let ana = asking(HERE, |found| match found {
        Ok(found) if nearby(&found.found) => Heard::Done,
        other => Heard::Wrong(format!("found {other:?}")),
    });
    let from_afar =
        || FindAtPlace { metaverse_entity: WORLD, map: factory(), third_party: None, user: None, request: place(HERE) };
    let shop = shop_opens().after(1, 3).ask(SHOP, from_afar, |found| match found {
        Ok(found) if nearby(&found.found) => Heard::Done,
        other => Heard::Wrong(format!("found {other:?}")),
    });
    judged(vec![plant_opens(false), puts(world_opens(), ENTRIES), ana, shop])
}

/// A place that is not on the Earth is refused.
#[must_use]
pub fn procedure_7_3_3_absurd() -> World<Wire> {
    let ana = asking(NOWHERE, refused(ProblemKind::InvalidDocument));
    judged(vec![plant_opens(false), puts(world_opens(), ENTRIES), ana])
}

/// A user whose device is not attached to the metaverse system finds nothing there.
#[must_use]
pub fn procedure_7_3_3_stranger() -> World<Wire> {
    let ask = || RequestLocalization {
        user: None,
        twin_system_entity: PLANT,
        metaverse_entity: WORLD,
        map: factory(),
        request: place(HERE),
    };
    let open = || twinway_protocol::message::OpenSystem { id: super::outsiders::system("bob"), reach: None };
    let bob = Line::new("bob").ask(DEVICE, open, crate::story::granted).after(0, 2).after(1, 3);
    let bob = bob.ask(DEVICE, ask, refused(ProblemKind::NotAllowed));
    judged(vec![plant_opens(false), puts(world_opens(), ENTRIES), bob])
}
