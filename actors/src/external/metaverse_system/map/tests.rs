//! FGMV-28 7.3: a map comes back from its records, in whatever order its parts are read, and nothing older moves it.

use std::sync::Arc;

use twinway_protocol::{
    Behaviour, Effect, EntityId, EntryId, Mailbox, MapId, PermissionId, Problem, ProblemKind, Ref, TwinId, UserId,
    access::{Right, TwinPermission},
    message::*,
    signal::Signal,
    spatial::{
        EntryDocument, Following, LocationDocument, MapView, MediaType, Observation, ObservationId, Viewer,
        WatchDocument,
    },
    time::Timestamp,
};

use super::{MapRecord, PART_SLOTS, part_of, structure};
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

fn told<'e>(effects: &'e [Effect<Wire>], kind: &str) -> Vec<&'e str> {
    let signals = effects.iter().filter_map(|effect| match effect {
        Effect::Signal(Signal::Event { event, .. }) if event.kind == kind => Some(event.data.as_str()),
        _ => None,
    });
    signals.collect()
}

fn changed(plaza: &mut Trial<MetaverseSystem>, permission: Option<TwinPermission>) -> Vec<Effect<Wire>> {
    let dtac = EntityId::new(DtacMsg::KIND, 0, 0);
    let permission = permission.map(Box::new);
    plaza.deliver(dtac, key(0), TwinPermissionChanged { user: ada(), twin: robot(), permission })
}

/// FGMV-28 7.3.2: the permission ends, and with it at once the following; with the permission it goes on. After a restart
/// it is as before.
#[test]
fn who_loses_the_permission_lets_no_map_follow_until_it_is_there_again() {
    let mut plaza = plaza();
    put(&mut plaza, vec![entry(r#"{"twin": "robot", "pose": {"local": {"x": 0, "y": 0, "z": 0}}}"#)])
        .expect("it stands");
    watch(&mut plaza);
    authorize(&mut plaza, &[Right::Read]).expect("she may");
    assert_eq!(whole(&mut plaza).entries[0].following, Following::Followed);
    assert!(changed(&mut plaza, Some(permitted(&[Right::Read]))).is_empty(), "nothing changed for the map");
    let effects = changed(&mut plaza, Some(permitted(&[Right::Change])));
    assert!(told(&effects, "map.changed")[0].contains("unfollowed"), "the watchers are told");
    assert!(told(&effects, "map.following")[0].contains("permission-missing"));
    assert_eq!(sent(effects)[0].0.to, DEVICE, "and the user");
    assert_eq!(whole(&mut plaza).entries[0].following, Following::PermissionMissing);
    let now = plaza.now.wall.plus_ms(10);
    plaza.now.wall = now;
    let place = r#"{"local": {"x": 2, "y": 0, "z": 0}}"#;
    let effects = plaza.deliver(PLANT, key(0), reflected(place, now, 2));
    assert!(told(&effects, "map.location-refused")[0].contains("permission-missing"));
    let refused = update(&mut plaza, vec![location("robot", 5.0, now, 0)]).expect_err("nor in another way");
    let place_of = refused.pointer.as_deref();
    assert_eq!((refused.kind, place_of), (ProblemKind::PermissionMissing, Some("/updates/0/entry")));
    assert_eq!(whole(&mut plaza).entries[0].pose.local.x, 0.0);

    for records in [plaza.records.clone(), snapshots(&plaza, &[part_of(0, 0), structure(0), 0])] {
        let mut again = Trial::<MetaverseSystem>::new(METAVERSE, &Settings::default());
        records.into_iter().for_each(|record| again.behaviour.replay(record));
        again.now.wall = now;
        assert_eq!(whole(&mut again).entries[0].following, Following::PermissionMissing);
        let effects = changed(&mut again, Some(permitted(&[Right::Read])));
        assert!(told(&effects, "map.changed")[0].contains(r#""followed""#));
        let effects = again.deliver(PLANT, key(0), reflected(place, now, 2));
        assert!(
            shown(&effects).iter().any(|effect| effect.starts_with("7.3.2/5")),
            "the sender gets its acknowledgement"
        );
        assert_eq!(whole(&mut again).entries[0].pose.local.x, 2.0);
    }
    // An end that has come is one, whoever tells.
    let over = TwinPermission { expires_at: Some(now), ..permitted(&[Right::Read]) };
    changed(&mut plaza, Some(permitted(&[Right::Read])));
    changed(&mut plaza, Some(over));
    assert_eq!(whole(&mut plaza).entries[0].following, Following::PermissionMissing);
}

#[test]
fn a_user_ends_what_that_user_let_and_nobody_elses() {
    let mut plaza = plaza();
    put(&mut plaza, vec![entry(r#"{"twin": "robot", "pose": {"local": {"x": 0, "y": 0, "z": 0}}}"#)])
        .expect("it stands");
    authorize(&mut plaza, &[Right::Read]).expect("she may");
    let withdraw = |plaza: &mut Trial<MetaverseSystem>, user: &str| {
        let user = UserId::new(user).ok();
        let message = WithdrawLocation { user, metaverse_entity: Ref::new(METAVERSE), map: map(), twin: robot() };
        let effects = plaza.deliver(DEVICE, key(9), message);
        let unfollowed = shown(&effects).iter().any(|effect| effect == "UnfollowTwinPermission to Dtac");
        (answer::<Kept>(effects, DEVICE, key(9)).expect("it is answered").map(drop), unfollowed)
    };
    let (refused, _) = withdraw(&mut plaza, "eve");
    assert_eq!(refused.expect_err("it is not hers").kind, ProblemKind::NotAllowed);
    assert_eq!(withdraw(&mut plaza, "ada"), (Ok(()), true), "DTAC need not tell any more");
    assert_eq!(whole(&mut plaza).entries[0].following, Following::None);
    let (refused, _) = withdraw(&mut plaza, "ada");
    assert_eq!(refused.expect_err("it is over").kind, ProblemKind::PermissionUnknown);
    assert!(changed(&mut plaza, Some(permitted(&[Right::Read]))).is_empty(), "a permission alone lets nothing");
}

fn snapshots(plaza: &Trial<MetaverseSystem>, parts: &[u64]) -> Vec<Record> {
    let mut snapshots = Vec::new();
    for part in parts {
        plaza.behaviour.snapshot(*part, &mut snapshots);
    }
    snapshots
}

fn observation(x: f64) -> Box<Observation> {
    let pose = json(&format!(r#"{{"local": {{"x": {x}, "y": 0, "z": 0}}}}"#)).read().expect("a pose");
    let (id, serial_number, at) = (picture(), Some("P-7".to_owned()), Timestamp::from_unix_ms(7));
    Box::new(Observation { id, media_type: MediaType::Png, bytes: 9, serial_number, pose, at })
}

fn picture() -> ObservationId {
    ObservationId::of_digest([7; 32])
}

fn observe(plaza: &mut Trial<MetaverseSystem>, user: &str, x: f64) -> (Result<Kept, Problem>, Vec<String>) {
    let user = UserId::new(user).expect("a name");
    let effects = plaza.deliver(DEVICE, key(10), KeepObservation { map: map(), user, observation: observation(x) });
    let named = named(&effects);
    (answer::<Kept>(effects, DEVICE, key(10)).expect("it is answered"), named)
}

/// What is told of the bytes that are named.
fn named(effects: &[Effect<Wire>]) -> Vec<String> {
    let signals = effects.iter().filter_map(|effect| match effect {
        Effect::Signal(Signal::Observations { held, released }) => Some(format!("+{} -{}", held.len(), released.len())),
        _ => None,
    });
    signals.collect()
}

fn forget(plaza: &mut Trial<MetaverseSystem>, user: Option<&str>) -> (Result<Kept, Problem>, Vec<String>) {
    let user = user.map(|user| UserId::new(user).expect("a name"));
    let message = ForgetObservation { metaverse_entity: Ref::new(METAVERSE), observation: picture(), user };
    let effects = plaza.deliver(CALLER, key(11), message);
    let named = named(&effects);
    (answer::<Kept>(effects, CALLER, key(11)).expect("it is answered"), named)
}

/// FGMV-28 7.3.1 step 2.2: the bytes are named by what was recorded and by what was made of it, and by nothing else.
#[test]
fn bytes_are_named_until_the_last_that_recorded_them_or_shows_them_is_gone() {
    let mut plaza = plaza();
    let (refused, named_none) = observe(&mut plaza, "ada", 1e9);
    assert_eq!((refused.expect_err("it is nowhere").kind, named_none.len()), (ProblemKind::InvalidDocument, 0));
    assert_eq!(observe(&mut plaza, "ada", 1.0).1, ["+1 -0"]);
    assert!(observe(&mut plaza, "bob", 1.0).1.is_empty(), "they are named already");
    let shows = format!(
        r#"{{"id": "press", "observation": "{}", "pose": {{"local": {{"x": 0, "y": 0, "z": 0}}}}}}"#,
        picture()
    );
    put(&mut plaza, vec![entry(&shows)]).expect("it stands");
    let (refused, _) = forget(&mut plaza, Some("eve"));
    assert_eq!(refused.expect_err("she recorded nothing").kind, ProblemKind::ObservationUnknown);
    let (forgotten, released) = forget(&mut plaza, Some("ada"));
    assert!(forgotten.is_ok() && released.is_empty(), "bob recorded it too");
    assert_eq!(whole(&mut plaza).entries[0].observation, Some(picture()));

    for records in [plaza.records.clone(), snapshots(&plaza, &[part_of(0, 0), structure(0), 0])] {
        let mut again = Trial::<MetaverseSystem>::new(METAVERSE, &Settings::default());
        records.into_iter().for_each(|record| again.behaviour.replay(record));
        assert_eq!(named(&again.recovered()), ["+1 -0"], "all that is named is told after a start");
        let (forgotten, released) = forget(&mut again, Some("bob"));
        assert!(forgotten.is_ok());
        assert_eq!(released.join(" "), "+0 -1");
        assert_eq!(whole(&mut again).entries[0].observation, None, "the entry stays, and shows it no more");
    }
    // The metaverse system forgets all of it.
    let (forgotten, released) = forget(&mut plaza, None);
    assert!(forgotten.is_ok());
    assert_eq!(released.join(" "), "+0 -1");
}

#[test]
fn what_was_recorded_is_on_exactly_one_page() {
    let mut plaza = plaza();
    for user in ["ada", "bob", "cyd"] {
        observe(&mut plaza, user, 1.0).0.expect("it is kept");
    }
    let mut list = |user: Option<&str>, cursor: Option<String>| {
        let user = user.map(|user| UserId::new(user).expect("a name"));
        let list = ListObservations { map: map(), user, cursor: cursor.map(Into::into), limit: Some(1) };
        answer::<ObservationsListed>(plaza.deliver(CALLER, key(14), list), CALLER, key(14)).expect("it is answered")
    };
    let (mut users, mut cursor) = (Vec::new(), None);
    while users.is_empty() || cursor.is_some() {
        let page = list(None, cursor).expect("a page").page;
        users.extend(page.items.iter().map(|kept| kept.user.to_string()));
        cursor = page.next;
    }
    assert_eq!(users, ["ada", "bob", "cyd"]);
    let own = list(Some("bob"), None).expect("a page").page;
    assert_eq!((own.items.len(), own.next), (1, None));
    assert_eq!(list(None, Some("7".to_owned())).expect_err("no page said so").kind, ProblemKind::InvalidQuery);
}

fn delete(plaza: &mut Trial<MetaverseSystem>) -> Vec<Effect<Wire>> {
    plaza.deliver(CALLER, key(12), DeleteMap { map: map() })
}

/// A deleted map is gone from every part of the journal, whichever of them are snapshots, and its number can be given again.
#[test]
fn a_deleted_map_is_gone_whatever_is_left_of_its_parts() {
    let mut plaza = plaza();
    let many = PART_SLOTS + 3;
    put(&mut plaza, (0..many).map(|id| entry_at(id, id)).collect()).expect("they stand");
    put(&mut plaza, vec![entry(r#"{"twin": "robot", "pose": {"local": {"x": 0, "y": 0, "z": 0}}}"#)])
        .expect("it stands");
    authorize(&mut plaza, &[Right::Read]).expect("she may");
    observe(&mut plaza, "ada", 1.0).0.expect("it is kept");
    watch(&mut plaza);
    let old = snapshots(&plaza, &[part_of(0, PART_SLOTS), part_of(0, 0), structure(0)]);
    let before = plaza.records.len();
    let effects = delete(&mut plaza);
    assert_eq!((named(&effects), told(&effects, "map.deleted").len()), (vec!["+0 -1".to_owned()], 1));
    let told_to: Vec<_> = sent(effects).into_iter().map(|(envelope, _)| envelope.to).collect();
    assert!(told_to.contains(&DEVICE), "who recorded something for it is told");
    let unknown = answer::<Kept>(delete(&mut plaza), CALLER, key(12)).expect("it is answered");
    assert_eq!(unknown.expect_err("it is gone").kind, ProblemKind::MapUnknown);
    for part in [part_of(0, PART_SLOTS), part_of(0, 0), structure(0)] {
        assert!(snapshots(&plaza, &[part]).is_empty(), "nothing is left of it");
    }
    let deleted: Vec<Record> = plaza.records[before..].to_vec();
    // The map's own part may be a snapshot of nothing already, and those of its slots not.
    let slots_only: Vec<Record> = old.iter().chain(&deleted).filter(|record| in_slots(record)).cloned().collect();
    let defined_again = {
        plaza.deliver(CALLER, key(3), factory());
        snapshots(&plaza, &[structure(0)])
    };
    let newer: Vec<Record> = defined_again.into_iter().chain(slots_only.clone()).collect();
    let all: Vec<Record> = old.into_iter().chain(deleted).collect();
    for (records, maps) in [(all, 0), (slots_only, 0), (newer, 1)] {
        let mut again = self::plaza_without_maps();
        records.into_iter().for_each(|record| again.behaviour.replay(record));
        let listed = answer::<MapsListed>(again.deliver(CALLER, key(13), ListMaps), CALLER, key(13));
        assert_eq!(listed.expect("it is answered").expect("there is a list").maps.len(), maps);
        again.deliver(CALLER, key(3), factory());
        assert!(whole(&mut again).entries.is_empty());
        assert!(named(&again.recovered()).is_empty());
        put(&mut again, vec![entry_at(1, 1)]).expect("it stands");
        assert_eq!(whole(&mut again).entries.len(), 1);
    }
}

fn plaza_without_maps() -> Trial<MetaverseSystem> {
    let mut plaza = Trial::new(METAVERSE, &Settings::default());
    plaza.deliver(CALLER, key(1), OpenSystem { id: system_id("plaza"), reach: None });
    plaza
}

/// Whether a record is of slots.
fn in_slots(record: &Record) -> bool {
    matches!(
        record,
        Record::Map(
            MapRecord::Put { .. } | MapRecord::Moved { .. } | MapRecord::Removed { .. } | MapRecord::Cleared { .. }
        )
    )
}
