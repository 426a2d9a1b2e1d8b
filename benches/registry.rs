//! Registrations that are durable before they are answered (FGMV-29 8.2.1 and 8.3.1): how many a second with 64 clients, what
//! a record costs in memory, and what a long twin list costs that is registered again with ten changes, beside its first
//! registration. Run by `cargo bench --bench registry`.
//!
//! The clients are tasks in the process that use the library: HTTP has a bench of its own (`http`). The journal is the
//! daemon's, on disk, and each registration waits for its commit.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a bench may stop at the first surprise, and prints")]

mod common;

use std::{fs, path::PathBuf, sync::Arc, time::Instant};

use common::{machine, median, rounds, verdict};
use futures_util::future::join_all;
use serde_json::json;
use twinway::{
    Enabler,
    enabler::EnablerOptions,
    journal::{DataDirectory, SqliteJournal, SqliteOptions},
    protocol::{
        SystemId,
        registry::{ThirdPartyDescription, TwinSystemDescription},
        twin::TwinEntry,
    },
};

const CLIENTS: usize = 64;
/// How many systems each client registers in a round.
const SYSTEMS: usize = 400;
const ROUNDS: usize = 5;
/// How many twins the long list has, and how many of them are other ones when it is registered again.
const TWINS: usize = 100_000;
const CHANGES: usize = 10;
const REGISTRATIONS_A_SECOND: f64 = 5_000.0;
const BYTES_A_RECORD: f64 = 4_096.0;
/// The list again reads and compares all its entries, and writes and announces only what changed.
const OF_THE_FIRST: f64 = 0.25;

fn tried() -> bool {
    rounds(2) == 1
}

/// A directory that is removed at the end, on the disk that is to be measured.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let base = std::env::var_os("TWINWAY_BENCH_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        let path = base.join(format!("bench-registry-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory to write in");
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.0);
    }
}

fn shop(id: &SystemId, n: usize) -> ThirdPartyDescription {
    let description = json!({
        "id": id, "type": "commerce", "title": format!("Shop number {n}"),
        "description": "Sells lamps, and answers within its promise",
        "apis": [{"operation": "search"}, {"operation": "order"}, {"operation": "pay"}],
        "serviceCharge": {"amount": 2.5, "currency": "EUR", "per": "call"},
        "serviceLevel": {"availability": 0.99, "p99Ms": 250.0},
    });
    serde_json::from_value(description).expect("it is a description")
}

/// A home with this many lamps; those below `changed` have another title than at first.
fn home(twins: usize, changed: usize) -> TwinSystemDescription {
    let lamp = |n: usize| {
        let title = if n < changed { "Lamp, repaired" } else { "Lamp" };
        json!({
            "id": format!("urn:home:lamp:{n}"), "physicalObject": format!("urn:home:object:{n}"),
            "description": {
                "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": title, "security": "none",
                "securityDefinitions": {"none": {"scheme": "nosec"}},
                "properties": {"on": {"type": "boolean", "forms": [{"href": "/on"}]}},
            },
        })
    };
    let lamps: Vec<_> = (0..twins).map(lamp).collect();
    let description = json!({"id": "home", "type": "home", "title": "A home", "twins": lamps});
    serde_json::from_value(description).expect("it is a description")
}

/// The memory that the process has now, in bytes.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4_096
}

/// One client registers its systems, one after the other.
async fn register(enabler: &Enabler, round: usize, client: usize, systems: usize) {
    for n in 0..systems {
        let id: SystemId = format!("shop-{round}-{client}-{n}").parse().expect("it is a name");
        let registered = enabler.sii(id.clone()).register(shop(&id, n)).await.expect("it registers");
        assert!(registered.is_new);
    }
}

async fn registrations(enabler: &Enabler) {
    let systems = if tried() { 2 } else { SYSTEMS };
    let (mut per_second, before) = (Vec::new(), resident());
    for round in 0..rounds(ROUNDS) {
        let begin = Instant::now();
        join_all((0..CLIENTS).map(|client| register(enabler, round, client, systems))).await;
        per_second.push((CLIENTS * systems) as f64 / begin.elapsed().as_secs_f64());
    }
    let count = CLIENTS * systems * rounds(ROUNDS);
    let bytes = resident().saturating_sub(before) as f64 / count as f64;
    println!("{count} third-party systems, {CLIENTS} clients, medians of {} rounds:", rounds(ROUNDS));
    verdict("durable registrations a second", median(per_second), REGISTRATIONS_A_SECOND, false);
    verdict("memory a record, with the system's actor, in bytes", bytes, BYTES_A_RECORD, true);
}

async fn lists(enabler: &Enabler) {
    let twins = if tried() { 200 } else { TWINS };
    let home_system = enabler.dii("home".parse().expect("it is a name"));
    // Reading the document is the caller's and not measured.
    let (first, changed) = (home(twins, 0), home(twins, CHANGES));
    let begin = Instant::now();
    home_system.register(first).await.expect("it registers");
    let first_ms = begin.elapsed().as_secs_f64() * 1_000.0;
    let begin = Instant::now();
    home_system.update(changed, None).await.expect("it changes");
    let again_ms = begin.elapsed().as_secs_f64() * 1_000.0;
    let part: Vec<TwinEntry> = home(CHANGES, 0).twins.iter().map(|twin| TwinEntry::clone(twin)).collect();
    let begin = Instant::now();
    home_system.change_twins(part, Vec::new(), None).await.expect("it changes");
    let part_ms = begin.elapsed().as_secs_f64() * 1_000.0;
    println!(
        "a list of {twins} twins: {first_ms:.1} ms at first, {again_ms:.1} ms again with {CHANGES} changes, {part_ms:.1} ms for \
         those {CHANGES} alone"
    );
    verdict("the list again over the list at first", again_ms / first_ms, OF_THE_FIRST, true);
}

fn main() {
    machine();
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let directory = Arc::new(DataDirectory::open(&place.0).expect("nobody else has it"));
        let journal = SqliteJournal::open(directory, &SqliteOptions::default()).expect("it opens");
        let enabler = Enabler::start(EnablerOptions::default(), Arc::new(journal)).await.expect("it starts");
        registrations(&enabler).await;
        lists(&enabler).await;
        enabler.shutdown().await.expect("it ends");
    });
}
