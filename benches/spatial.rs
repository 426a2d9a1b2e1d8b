//! Spatial maps (FGMV-28 7.3): locations a second into a map of 100,000 objects that 100 watchers look at, 1 % of the
//! area each, and how long a question takes meanwhile.
//!
//! Three parts: the index alone with its watches, beside a look at every object (the peer, in the same run); the actor
//! of a metaverse system inside an enabler, with its records and events; and, with `--sockets`, 200 robots that tell
//! where they are 50 times a second over a WebSocket session, for a minute (`--seconds N`: for another time).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop at the first surprise, and prints"
)]

#[path = "spatial/sockets.rs"]
mod sockets;

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use twinway::{
    Enabler,
    actors::{
        port::journal::MemoryJournal,
        spatial::{Index, Moved, Watches},
    },
    enabler::{EnablerOptions, Mii},
    protocol::{
        EntryId, MapId,
        spatial::{
            Bounds, DefinitionDocument, EntryDocument, EntryFacts, GeoPose, GeoPosition, LocalizationRequest,
            LocationDocument, MapAccess, Place, PlaceQuery, Placed, Point, Pose, PoseDocument, Quaternion,
            WatchDocument,
        },
        time::Timestamp,
    },
};

/// Objects on the map.
const OBJECTS: u32 = 100_000;
/// Those who watch a part of it.
const WATCHERS: u32 = 100;
/// The side of the area, in metres.
const SIDE_M: f64 = 1_000.0;
/// Locations that one call of the actor brings.
const BATCH: u32 = 50;
/// How long each part is measured.
const MEASURED: Duration = Duration::from_secs(5);

/// SplitMix64, so that every run does the same.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `end`.
    fn upto(&mut self, end: f64) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64 * end
    }

    fn point(&mut self) -> Point {
        Point::new(self.upto(SIDE_M), self.upto(SIDE_M), self.upto(10.0))
    }

    /// Up to a tenth of a metre on: what moves 5 m/s does in 20 ms.
    fn step(&mut self, from: Point) -> Point {
        let mut along = |at: f64| (at + self.upto(0.2) - 0.1).clamp(0.0, SIDE_M);
        Point::new(along(from.x), along(from.y), from.z)
    }
}

fn name(number: u32) -> EntryId {
    EntryId::new(format!("robot-{number}")).expect("a name")
}

/// A tenth of each side: a hundredth of the area.
fn part(number: u32) -> Bounds {
    let (x, y) = (f64::from(number % 10) * 100.0, f64::from(number / 10 % 10) * 100.0);
    Bounds { min: Point::new(x, y, 0.0), max: Point::new(x + 100.0, y + 100.0, 10.0) }
}

fn placed(local: Point, ms: u64) -> Placed {
    let pose = Pose { local, quaternion: Quaternion::IDENTITY };
    Placed { pose, at: Timestamp::from_unix_ms(ms), version: 0 }
}

fn facts(number: u32) -> EntryFacts {
    EntryFacts {
        id: name(number),
        twin: None,
        observation: None,
        size: Point::new(1.0, 1.0, 1.0),
        class: "robot".to_owned(),
        title: String::new(),
        tags: Default::default(),
        services: Vec::new(),
        model: None,
        information: None,
    }
}

fn question(chance: &mut Chance) -> PlaceQuery {
    let place = Place::Near(chance.point(), 50.0);
    PlaceQuery { place, classes: Default::default(), services: Default::default(), limit: 10 }
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// The index and the watches alone; jumps: every object goes anywhere, not a step on.
fn index_alone(jumps: bool) {
    let mut chance = Chance(1);
    let mut at: Vec<Point> = (0..OBJECTS).map(|_| chance.point()).collect();
    let mut index = Index::of((0..OBJECTS).map(|number| (facts(number), placed(at[number as usize], 0))));
    // The index gives its own slots.
    let slots: Vec<u32> = (0..OBJECTS).map(|number| index.slot_of(&name(number)).expect("it stands")).collect();
    let mut watches = Watches::default();
    for number in 0..WATCHERS {
        watches.insert(number, WatchDocument { bounds: part(number), user: None });
    }
    let (begun, mut moved, mut noticed) = (Instant::now(), 0_u64, 0_u64);
    while begun.elapsed() < MEASURED {
        for _ in 0..1_000 {
            let number = (chance.next() % u64::from(OBJECTS)) as usize;
            let to = if jumps { chance.point() } else { chance.step(at[number]) };
            at[number] = to;
            moved += 1;
            if let Some(Moved::From(before)) = index.relocate(slots[number], placed(to, moved)) {
                watches.noticed(&[], Some(before), Some(to), |_, _| noticed += 1);
            }
        }
    }
    let rate = moved as f64 / begun.elapsed().as_secs_f64();
    let how = if jumps { "jumps " } else { "steps " };
    println!("index alone, {how} {rate:>12.0} locations/s, {:.2} watchers each", noticed as f64 / moved as f64);

    let (mut by_index, mut by_scan) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let query = question(&mut chance);
        let begun = Instant::now();
        let found = black_box(index.find(&query, |_| true));
        by_index.push(begun.elapsed());
        let begun = Instant::now();
        let scanned = black_box(scan(&at, &query));
        by_scan.push(begun.elapsed());
        assert!(found.iter().map(|(distance, _)| *distance).eq(scanned.into_iter().map(|(distance, _)| distance)));
    }
    by_index.sort_unstable();
    by_scan.sort_unstable();
    let (p50, p99) = (percentile(&by_index, 0.5), percentile(&by_index, 0.99));
    println!("  nearest 10 in 50 m: p50 {p50:?}, p99 {p99:?}");
    let peer = percentile(&by_scan, 0.5);
    println!("  by a look at every object: p50 {peer:?}: {:.0} times", peer.as_secs_f64() / p50.as_secs_f64());
}

/// The peer: the nearest ten by a look at every object.
fn scan(at: &[Point], query: &PlaceQuery) -> Vec<(f64, usize)> {
    let Place::Near(near, radius) = query.place else { return Vec::new() };
    let mut found: Vec<(f64, usize)> = at
        .iter()
        .enumerate()
        .map(|(number, at)| (near.distance_2(*at), number))
        .filter(|(distance, _)| *distance <= radius * radius)
        .collect();
    found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    found.truncate(query.limit);
    found
}

fn local(at: Point) -> PoseDocument {
    PoseDocument { local: Some(at), ..PoseDocument::default() }
}

pub(crate) fn definition() -> DefinitionDocument {
    let position = GeoPosition { lat: 48.1, lon: 11.6, h: 520.0 };
    DefinitionDocument {
        title: "Factory".to_owned(),
        anchor: GeoPose { position, quaternion: Quaternion::IDENTITY }.into(),
        access: MapAccess::default(),
        regions: Vec::new(),
    }
}

pub(crate) fn entry(id: EntryId, at: Point) -> EntryDocument {
    EntryDocument {
        id: Some(id),
        twin: None,
        observation: None,
        pose: local(at),
        size: Point::new(1.0, 1.0, 1.0),
        class: "robot".to_owned(),
        title: String::new(),
        tags: Default::default(),
        services: Vec::new(),
        model: None,
        information: None,
        at: None,
    }
}

/// One who moves every `of`-th object, again and again.
async fn mover(mii: Mii, map: MapId, first: u32, of: u32, ended: Arc<AtomicBool>, moved: Arc<AtomicU64>) {
    let mut chance = Chance(u64::from(first) + 7);
    let mut at: Vec<(EntryId, Point)> =
        (first..OBJECTS).step_by(of as usize).map(|number| (name(number), chance.point())).collect();
    let many = at.len();
    let mut next = 0;
    while !ended.load(Ordering::Relaxed) {
        let updates = (0..BATCH).map(|_| {
            next = (next + 1) % many;
            let (id, place) = &mut at[next];
            *place = chance.step(*place);
            LocationDocument { entry: id.clone(), pose: local(*place), at: None, version: 0 }
        });
        let taken = mii.update_locations(map.clone(), updates.collect()).await.expect("they are taken");
        moved.fetch_add(u64::from(taken.moved), Ordering::Relaxed);
    }
}

/// The actor of a metaverse system, with records, events and callers, all in this process.
async fn actor(watchers: u32) {
    let journal = Arc::new(MemoryJournal::default());
    let enabler = Enabler::start(EnablerOptions::default(), journal).await.expect("it starts");
    let mii = enabler.mii("plaza".parse().expect("a name"));
    let map: MapId = "factory".parse().expect("a name");
    mii.define_map(map.clone(), definition()).await.expect("it is defined");
    let mut chance = Chance(3);
    let all: Vec<u32> = (0..OBJECTS).collect();
    for some in all.chunks(10_000) {
        let entries = some.iter().map(|number| entry(name(*number), chance.point())).collect();
        mii.put_map_entries(map.clone(), entries).await.expect("they stand");
    }
    for number in 0..watchers {
        mii.watch_map(map.clone(), WatchDocument { bounds: part(number), user: None }).await.expect("it watches");
    }
    let (ended, moved) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let movers = (0..2)
        .map(|first| tokio::spawn(mover(mii.clone(), map.clone(), first, 2, Arc::clone(&ended), Arc::clone(&moved))));
    let movers: Vec<_> = movers.collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (begun, before) = (Instant::now(), moved.load(Ordering::Relaxed));
    let mut answered = Vec::new();
    while begun.elapsed() < MEASURED {
        let near = Some(local(chance.point()));
        let request =
            LocalizationRequest { near, radius_m: Some(50.0), limit: Some(10), ..LocalizationRequest::default() };
        let asked = Instant::now();
        black_box(mii.find_at_place(map.clone(), None, request).await.expect("it is answered"));
        answered.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let rate = (moved.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
    ended.store(true, Ordering::Relaxed);
    for mover in movers {
        mover.await.expect("it ends");
    }
    answered.sort_unstable();
    let (p50, p99) = (percentile(&answered, 0.5), percentile(&answered, 0.99));
    println!(
        "by the actor, {watchers:>3} watchers {rate:>9.0} locations/s; meanwhile nearest 10: p50 {p50:?}, p99 {p99:?}"
    );
    enabler.shutdown().await.expect("it ends");
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if arguments.iter().any(|argument| argument == "--sockets") {
        let named = arguments.iter().position(|argument| argument == "--seconds").and_then(|at| arguments.get(at + 1));
        let seconds = named.and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
        return sockets::run(seconds);
    }
    index_alone(false);
    index_alone(true);
    runtime.block_on(actor(0));
    runtime.block_on(actor(WATCHERS));
}
