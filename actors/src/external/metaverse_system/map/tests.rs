//! FGMV-28 7.3: a map comes back from its records, in whatever order its parts are read, and nothing older moves it.

use std::sync::Arc;

use twinway_protocol::{
    Behaviour, Effect, EntityId, EntryId, Mailbox, MapId, PermissionId, Problem, ProblemKind, Ref, TwinId, UserId,
    access::{Right, TwinPermission},
    message::*,
    signal::Signal,
    spatial::{EntryDocument, LocationDocument, MapView, Viewer, WatchDocument},
    time::Timestamp,
};

use super::{PART_SLOTS, part_of, structure};
use crate::{
    Settings,
    external::metaverse_system::{MetaverseSystem, Record},
    sif::testing::{CALLER, METAVERSE, answer, json, key, shown, system_id, to_kind},
    trial::{Trial, sent},
};

const DEVICE: EntityId = EntityId::new(UserDeviceMsg::KIND, 0, 4);
const PLANT: EntityId = EntityId::new(DigitalTwinSystemMsg::KIND, 0, 2);

fn map() -> MapId {
    "factory".parse().expect("a name")
}

fn robot() -> TwinId {
    "robot".parse().expect("a name")
}

fn permission() -> PermissionId {
    "permission-1".parse().expect("a name")
}

fn factory() -> DefineMap {
    let document = r#"{"anchor": {"position": {"lat": 48.1, "lon": 11.6, "h": 520},
        "angles": {"yaw": 0, "pitch": 0, "roll": 0}}, "title": "Factory"}"#;
    DefineMap { map: map(), document: json(document).read().expect("a definition") }
}

fn entry(text: &str) -> EntryDocument {
    json(text).read().expect("an entry")
}

fn entry_at(id: u32, x: u32) -> EntryDocument {
    entry(&format!(r#"{{"id": "e{id:05}", "pose": {{"local": {{"x": {x}, "y": 0, "z": 0}}}}}}"#))
}

fn location(id: &str, x: f64, at: Timestamp, version: u64) -> LocationDocument {
    let pose = json(&format!(r#"{{"local": {{"x": {x}, "y": 0, "z": 0}}}}"#)).read().expect("a pose");
    LocationDocument { entry: id.parse().expect("a name"), pose, at: Some(at), version }
}

/// The actor of the plaza with a map, and Ada's device attached.
fn plaza() -> Trial<MetaverseSystem> {
    let mut plaza = Trial::new(METAVERSE, &Settings::default());
    plaza.deliver(CALLER, key(1), OpenSystem { id: system_id("plaza"), reach: None });
    let attach = AttachUserDevice { metaverse: Ref::new(METAVERSE), device: Ref::new(DEVICE), user: ada() };
    plaza.deliver(DEVICE, key(2), attach);
    assert_eq!(shown(&plaza.deliver(CALLER, key(3), factory())), ["Kept to Caller"]);
    plaza
}

fn ada() -> UserId {
    UserId::new("ada").expect("it is a name")
}

fn put(plaza: &mut Trial<MetaverseSystem>, entries: Vec<EntryDocument>) -> Result<Kept, Problem> {
    let effects = plaza.deliver(CALLER, key(4), PutMapEntries { map: map(), entries });
    answer::<Kept>(effects, CALLER, key(4)).expect("it is answered")
}

fn update(plaza: &mut Trial<MetaverseSystem>, updates: Vec<LocationDocument>) -> Result<LocationsUpdated, Problem> {
    let effects = plaza.deliver(CALLER, key(5), UpdateLocations { map: map(), updates });
    answer::<LocationsUpdated>(effects, CALLER, key(5)).expect("it is answered")
}

fn page(plaza: &mut Trial<MetaverseSystem>, after: Option<EntryId>) -> MapView {
    let read = ReadMap { map: map(), viewer: Viewer::Owner, by_device: false, after, limit: 1_000 };
    let shown = answer::<MapShown>(plaza.deliver(CALLER, key(6), read), CALLER, key(6));
    *shown.expect("it is answered").expect("there is a map").view
}

fn whole(plaza: &mut Trial<MetaverseSystem>) -> MapView {
    let mut map = page(plaza, None);
    while let Some(after) = map.next.take() {
        let more = page(plaza, Some(after));
        map.entries.extend(more.entries);
        map.next = more.next;
    }
    map
}

fn watch(plaza: &mut Trial<MetaverseSystem>) -> u32 {
    let bounds = json(r#"{"min": {"x": -9, "y": -9, "z": -9}, "max": {"x": 9, "y": 9, "z": 9}}"#);
    let watch = Box::new(WatchDocument { bounds: bounds.read().expect("a box"), user: None });
    let watched = answer::<MapWatched>(plaza.deliver(CALLER, key(7), WatchMap { map: map(), watch }), CALLER, key(7));
    watched.expect("it is answered").expect("it is watched").watch
}

#[test]
fn a_map_comes_back_from_its_parts_in_any_order() {
    let mut plaza = plaza();
    let many = PART_SLOTS * 2 + 7;
    put(&mut plaza, (0..many).map(|id| entry_at(id, id)).collect()).expect("they stand");
    let now = plaza.now.wall.plus_ms(1);
    plaza.now.wall = now;
    update(&mut plaza, vec![location("e00003", -3.0, now, 0), location("e02000", -4.0, now, 0)]).expect("they move");
    plaza.deliver(CALLER, key(8), RemoveMapEntry { map: map(), entry: "e00005".parse().expect("a name") });
    assert_eq!((watch(&mut plaza), watch(&mut plaza)), (0, 1));
    plaza.deliver(CALLER, key(9), UnwatchMap { map: map(), watch: 1 });
    let before = whole(&mut plaza);
    assert_eq!(before.entries.len(), many as usize - 1);

    // From every record, as after a crash; and from snapshots of the parts, the slots before the map itself.
    let parts = [part_of(0, many), part_of(0, PART_SLOTS), part_of(0, 0), structure(0), 0];
    let mut snapshots = Vec::new();
    for part in parts {
        plaza.behaviour.snapshot(part, &mut snapshots);
    }
    let records: Vec<Record> = plaza.records.clone();
    for records in [records, snapshots] {
        let mut again = Trial::<MetaverseSystem>::new(METAVERSE, &Settings::default());
        records.into_iter().for_each(|record| again.behaviour.replay(record));
        assert_eq!(whole(&mut again), before);
        assert_eq!(watch(&mut again), 2, "the number of a watch is not given again");
        // The slot that was left is given to the next, and no other.
        put(&mut again, vec![entry_at(90_000, 1)]).expect("it stands");
        assert_eq!(whole(&mut again).entries.len(), many as usize);
    }
}

#[test]
fn what_is_older_moves_nothing_and_what_is_ahead_of_the_clock_keeps_nothing_out() {
    let mut plaza = plaza();
    put(&mut plaza, vec![entry_at(1, 0)]).expect("it stands");
    let (start, id) = (plaza.now.wall, "e00001");
    plaza.now.wall = start.plus_ms(100);
    let at = |ms| start.plus_ms(ms);
    let moves = vec![location(id, 1.0, at(50), 0), location(id, 2.0, at(40), 9), location(id, 3.0, at(50), 1)];
    assert_eq!(update(&mut plaza, moves), Ok(LocationsUpdated { moved: 2, older: 1 }));
    assert_eq!(whole(&mut plaza).entries[0].pose.local.x, 3.0);
    // A clock that runs ahead: taken for now, so that what comes later is not older.
    update(&mut plaza, vec![location(id, 4.0, at(1_000_000), 0)]).expect("it is taken");
    plaza.now.wall = start.plus_ms(101);
    assert_eq!(update(&mut plaza, vec![location(id, 5.0, at(101), 0)]), Ok(LocationsUpdated { moved: 1, older: 0 }));
    // An entry that is put again stays where it is known to be, if that is newer.
    let mut old = entry_at(1, 77);
    old.at = Some(at(10));
    put(&mut plaza, vec![old]).expect("it is put");
    assert_eq!(whole(&mut plaza).entries[0].pose.local.x, 5.0);
}

#[test]
fn one_location_that_is_none_keeps_all_of_them_out() {
    let mut plaza = plaza();
    put(&mut plaza, vec![entry_at(1, 0), entry_at(2, 0)]).expect("they stand");
    let (before, records) = (whole(&mut plaza), plaza.records.len());
    let now = plaza.now.wall;
    for x in [f64::NAN, f64::INFINITY, 1e9] {
        let mut hostile = location("e00002", 0.0, now, 0);
        hostile.pose.local = Some(twinway_protocol::spatial::Point::new(x, 0.0, 0.0));
        let refused = update(&mut plaza, vec![location("e00001", 5.0, now, 0), hostile]).expect_err("it is none");
        assert_eq!(
            (refused.kind, refused.pointer.as_deref()),
            (ProblemKind::InvalidDocument, Some("/updates/1/pose/local"))
        );
    }
    assert_eq!((whole(&mut plaza), plaza.records.len()), (before, records));
}

fn reflected(value: &str, at: Timestamp, version: u64) -> ReflectChange {
    let values = PropertyValues::from([("pose".to_owned(), json(value))]);
    let twin = robot();
    ReflectChange { twin, values: Arc::new(values), at, version, reporter: None }
}

/// What Ada may do with the robot.
fn permitted(rights: &[Right]) -> TwinPermission {
    TwinPermission {
        id: permission(),
        metaverse: system_id("plaza"),
        user: ada(),
        twin: robot(),
        rights: rights.iter().copied().collect(),
        expires_at: None,
    }
}

/// Ada lets the robot's location be kept the same; DTAC says that she may do this with the robot.
fn authorize(plaza: &mut Trial<MetaverseSystem>, rights: &[Right]) -> Result<LocationAuthorized, Problem> {
    let message = AuthorizeLocation {
        user: Some(ada()),
        twin_system_entity: Ref::new(PLANT),
        metaverse_entity: Ref::new(METAVERSE),
        map: map(),
        twin: robot(),
        property: "pose".into(),
    };
    let (asked, _) = to_kind(plaza.deliver(PLANT, key(8), message), DtacMsg::KIND);
    let permission = Some(Box::new(permitted(rights)));
    let followed = TwinPermissionFollowed { user: ada(), twin: robot(), permission };
    let effects = plaza.deliver(asked.to, asked.pending, Ok::<_, Problem>(followed));
    answer::<LocationAuthorized>(effects, PLANT, key(8)).expect("it is answered")
}

#[test]
fn the_map_follows_a_twin_whose_user_let_it_and_no_other() {
    let mut plaza = plaza();
    put(&mut plaza, vec![entry(r#"{"twin": "robot", "pose": {"local": {"x": 0, "y": 0, "z": 0}}}"#)])
        .expect("it stands");
    let place = |x: u32| format!(r#"{{"local": {{"x": {x}, "y": 0, "z": 0}}}}"#);
    let now = plaza.now.wall.plus_ms(10);
    plaza.now.wall = now;
    assert_eq!(shown(&plaza.deliver(PLANT, key(0), reflected(&place(1), now, 1))), ["signal"], "nobody allowed it");
    let refused = authorize(&mut plaza, &[Right::Change]).expect_err("she may not read it");
    assert_eq!(refused.kind, ProblemKind::PermissionMissing);
    authorize(&mut plaza, &[Right::Read]).expect("she may");

    // FGMV-28 7.3.2 steps 3 to 5.
    let effects = plaza.deliver(PLANT, key(0), reflected(&place(2), now, 2));
    assert_eq!(shown(&effects), ["signal", "7.3.2/4 own", "7.3.2/5 LocationSynchronized to UserDevice"]);
    assert_eq!(sent(effects)[0].0.to, DEVICE);
    // What comes late is older, whatever order it comes in.
    assert_eq!(shown(&plaza.deliver(PLANT, key(0), reflected(&place(1), now, 1))), ["signal"]);
    assert_eq!(whole(&mut plaza).entries[0].pose.local.x, 2.0);
    // A value that is no pose is the twin's affair, and told.
    for hostile in ["7", r#"{"local": {"x": 1e9, "y": 0, "z": 0}}"#, r#"{"speed": 3}"#] {
        let effects = plaza.deliver(PLANT, key(0), reflected(hostile, now, 3));
        let told = effects.iter().any(|effect| {
            matches!(effect, Effect::Signal(Signal::Event { event, .. }) if event.kind == "map.location-refused")
        });
        assert!(told, "{hostile}");
    }
    assert_eq!(whole(&mut plaza).entries[0].pose.local.x, 2.0);
}
