//! FGMV-28 7.3: the index finds what a look at every entry finds, and nothing older overwrites newer.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use twinway_protocol::{
    EntryId, UserId,
    spatial::{
        Bounds, ChangeKind, EntryFacts, Place, PlaceQuery, Placed, Point, Pose, Quaternion, Region, Viewer,
        WatchDocument,
    },
    time::Timestamp,
};

use super::{Index, Moved, Watches, sees};

fn entry(number: u32) -> Arc<EntryFacts> {
    Arc::new(EntryFacts {
        id: EntryId::new(format!("entry-{number}")).expect("it is a name"),
        twin: None,
        observation: None,
        size: Point::new(1.0, 1.0, 1.0),
        class: if number.is_multiple_of(3) { "robot" } else { "shelf" }.to_owned(),
        title: String::new(),
        tags: Default::default(),
        services: Vec::new(),
        model: None,
        information: None,
    })
}

fn at(local: Point, ms: u64) -> Placed {
    let pose = Pose { local, quaternion: Quaternion::IDENTITY };
    Placed { pose, at: Timestamp::from_unix_ms(ms), version: 0 }
}

#[derive(Clone, Debug)]
enum Act {
    Put(u32, Point, u64),
    Move(u32, Point, u64),
    Remove(u32),
}

fn point() -> impl Strategy<Value = Point> {
    // A coarse grid, so that distances are often equal and corners are hit.
    let coordinate = || prop_oneof![(-20_i32..20).prop_map(f64::from), -20.0..20.0];
    (coordinate(), coordinate(), coordinate()).prop_map(|(x, y, z)| Point::new(x, y, z))
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0_u32..40, point(), 0_u64..50).prop_map(|(number, at, ms)| Act::Put(number, at, ms)),
        5 => (0_u32..40, point(), 0_u64..50).prop_map(|(number, at, ms)| Act::Move(number, at, ms)),
        1 => (0_u32..40).prop_map(Act::Remove),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    let corners = (point(), point()).prop_map(|(a, b)| {
        let min = Point::new(a.x.min(b.x), a.y.min(b.y), a.z.min(b.z));
        let max = Point::new(a.x.max(b.x), a.y.max(b.y), a.z.max(b.z));
        Place::Within(Bounds { min, max })
    });
    let radius = prop_oneof![0.0..40.0, Just(f64::INFINITY)];
    prop_oneof![(point(), radius).prop_map(|(near, radius)| Place::Near(near, radius)), corners]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: ProptestConfig::default().cases.max(400), ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_a_scan_finds(
        acts in prop::collection::vec(act(), 0..120),
        questions in prop::collection::vec((place(), any::<bool>(), 1_usize..12), 1..8),
    ) {
        let mut index = Index::default();
        let mut scanned: BTreeMap<EntryId, (Arc<EntryFacts>, Placed)> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Put(number, local, ms) => {
                    let facts = entry(number);
                    let slot = index.slot_for(&facts.id);
                    index.put(slot, Arc::clone(&facts), at(local, ms));
                    scanned.insert(facts.id.clone(), (facts, at(local, ms)));
                }
                Act::Move(number, local, ms) => {
                    let id = entry(number).id.clone();
                    let moved = index.slot_of(&id).and_then(|slot| index.relocate(slot, at(local, ms)));
                    // FGMV-28 7.3.2: what is older changes nothing.
                    let expected = scanned.get_mut(&id).map(|(_, placed)| {
                        if ms < placed.at.unix_ms() {
                            return Moved::Older;
                        }
                        Moved::From(std::mem::replace(placed, at(local, ms)).pose.local)
                    });
                    prop_assert_eq!(moved, expected);
                }
                Act::Remove(number) => {
                    let id = entry(number).id.clone();
                    let removed = index.slot_of(&id).and_then(|slot| index.remove(slot));
                    prop_assert_eq!(removed.is_some(), scanned.remove(&id).is_some());
                }
            }
        }
        prop_assert_eq!(index.len(), scanned.len());
        prop_assert!(index.after(None).map(|slot| &slot.facts.id).eq(scanned.keys()));
        for (place, robots, limit) in questions {
            let classes = robots.then(|| "robot".to_owned()).into_iter().collect();
            let query = PlaceQuery { place, classes, services: Default::default(), limit };
            let sees = |at: Point| at.z < 15.0;
            let mut expected: Vec<(f64, EntryId)> = scanned
                .values()
                .filter(|(facts, placed)| (!robots || facts.class == "robot") && sees(placed.pose.local))
                .filter_map(|(facts, placed)| match place {
                    Place::Near(near, radius) => {
                        let distance = near.distance_2(placed.pose.local);
                        (distance <= radius * radius).then(|| (distance, facts.id.clone()))
                    }
                    Place::Within(bounds) => bounds.contains(placed.pose.local).then(|| (0.0, facts.id.clone())),
                })
                .collect();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
            expected.truncate(limit);
            let found: Vec<_> =
                index.find(&query, sees).into_iter().map(|(distance, slot)| (distance, slot.facts.id.clone())).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_watch_notices_what_comes_moves_and_goes_within_it(
        parts in prop::collection::vec((point(), point()), 1..6),
        way in prop::collection::vec(prop::option::of(point()), 2..30),
        hidden in prop::option::of((point(), point())),
    ) {
        let bounds = |(a, b): (Point, Point)| Bounds {
            min: Point::new(a.x.min(b.x), a.y.min(b.y), a.z.min(b.z)),
            max: Point::new(a.x.max(b.x), a.y.max(b.y), a.z.max(b.z)),
        };
        let ada = UserId::new("ada").expect("it is a name");
        let regions: Vec<_> = hidden
            .into_iter()
            .map(|corners| Region {
                id: "vault".parse().expect("it is a name"),
                bounds: bounds(corners),
                visible_to: Default::default(),
            })
            .collect();
        let mut watches = Watches::default();
        for (number, corners) in (0..).zip(&parts) {
            watches.insert(number, WatchDocument { bounds: bounds(*corners), user: Some(ada.clone()) });
        }
        let viewer = Viewer::User(ada);
        for pair in way.windows(2) {
            let mut told = Vec::new();
            watches.noticed(&regions, pair[0], pair[1], |watch, kind| told.push((watch, kind)));
            told.sort_by_key(|(watch, _)| *watch);
            let shown = |corners, at: Option<Point>| {
                at.is_some_and(|at| bounds(corners).contains(at) && sees(&regions, &viewer, at))
            };
            let expected: Vec<_> = (0..)
                .zip(&parts)
                .filter_map(|(number, corners)| match (shown(*corners, pair[0]), shown(*corners, pair[1])) {
                    (true, true) => Some((number, ChangeKind::Moved)),
                    (false, true) => Some((number, ChangeKind::Entered)),
                    (true, false) => Some((number, ChangeKind::Left)),
                    (false, false) => None,
                })
                .collect();
            prop_assert_eq!(told, expected);
        }
    }
}

#[test]
fn a_map_made_at_once_is_one_made_entry_by_entry() {
    let entries = |range: std::ops::Range<u32>| {
        range.map(|number| ((*entry(number)).clone(), at(Point::new(f64::from(number), 0.0, 0.0), 1)))
    };
    let whole = Index::of(entries(0..100));
    assert_eq!((whole.len(), whole.slot_for(&entry(200).id)), (100, 100));
    let query = PlaceQuery {
        place: Place::Near(Point::new(50.2, 0.0, 0.0), 1.5),
        classes: Default::default(),
        services: Default::default(),
        limit: 10,
    };
    let found: Vec<_> = whole.find(&query, |_| true).iter().map(|(_, slot)| slot.facts.id.to_string()).collect();
    assert_eq!(found, ["entry-50", "entry-51", "entry-49"]);
}
