//! What it costs a daemon to be watched: the same durable changes (FGMV-29 9.2 steps 15 to 18, with a sync lease each) on a
//! daemon that nobody watches, on one with its monitor of flows and leases, and on one that writes its trace to disk.
//!
//! Beside the throughput it says what processor time a change takes: that changes less with what else the machine does.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop at the first surprise, and prints"
)]

mod common;
#[path = "http/load.rs"]
#[allow(dead_code, reason = "shared with the bench of HTTP, which reads too")]
mod load;
#[path = "http/world.rs"]
#[allow(dead_code, reason = "shared with the bench of HTTP, which has a bare server beside the daemon")]
mod world;

use std::time::Duration;

use common::{machine, median, rounds, verdict};
use load::{Connection, request, waiting};
use serde_json::json;
use twinway::config::Config;
use world::{TWINS, WORLD, World};

/// That of the command `twinway`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 21;
/// How much of its throughput a daemon may lose at most.
const MONITOR_COST_MAX: f64 = 0.05;
const TRACE_COST_MAX: f64 = 0.25;

/// How long one measurement takes: the rounds alternate quickly, so that what else the machine does slows all alike.
fn during() -> Duration {
    Duration::from_millis(if rounds(2) == 1 { 200 } else { 1_000 })
}

/// The threads of a daemon that watch.
const WATCHING: [&str; 2] = ["twinway-monitor", "twinway-leases"];

/// The processor time so far of the threads that there are, and of those with one of these names, in seconds. Clients come
/// and go between two looks: what is in between is the daemon's.
fn processor_seconds(named: &[&str]) -> (f64, f64) {
    let (mut all, mut of_named) = (0.0, 0.0);
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    for thread in threads.map(|entry| entry.path()) {
        let read = |file: &str| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
        let nanoseconds = read("schedstat").split(' ').next().and_then(|first| first.parse::<f64>().ok());
        let seconds = nanoseconds.unwrap_or(0.0) * 1e-9;
        all += seconds;
        of_named += if named.contains(&read("comm").trim()) { seconds } else { 0.0 };
    }
    (all, of_named)
}

/// A daemon, and how it is watched.
struct Side {
    what: &'static str,
    world: World,
    per_second: Vec<f64>,
    /// Microseconds of the processor that a change takes: of the whole daemon, and of the threads that watch.
    processor_us: Vec<(f64, f64)>,
}

impl Side {
    fn start(what: &'static str, watch: impl FnOnce(&mut Config)) -> Self {
        let world = World::start_with(watch);
        let twins: Vec<_> = (0..TWINS).map(|number| format!("urn:home:lamp:{number}")).collect();
        let permission = json!({"user": "ada", "twins": twins, "rights": ["read", "change"]});
        let mut connection = Connection::open(world.daemon);
        for (path, body) in [("/mii/v1/selections", json!({"select": twins})), ("/mii/v1/permissions", permission)] {
            let answer = connection.ask(&request("POST", path, WORLD, Some(&body.to_string())));
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(answer.body));
        }
        Self { what, world, per_second: Vec::new(), processor_us: Vec::new() }
    }

    fn measure(&mut self) {
        let before = processor_seconds(&WATCHING);
        let seen = waiting(self.world.daemon, TWINS, during(), 200, |client, count| {
            let body = format!("{{\"brightness\":{}}}", count % 100);
            let path = format!("/mii/v1/twins/urn:home:lamp:{client}/properties?user=ada");
            request("PATCH", &path, WORLD, Some(&body))
        });
        let after = processor_seconds(&WATCHING);
        let changes = seen.per_second * during().as_secs_f64();
        self.per_second.push(seen.per_second);
        self.processor_us.push(((after.0 - before.0) * 1e6 / changes, (after.1 - before.1) * 1e6 / changes));
    }
}

/// A figure of what the process counts; only the first daemon of a process counts.
fn counted(world: &World, name: &str) -> f64 {
    let mut connection = Connection::open(world.daemon);
    let answer = connection.ask(&request("GET", "/metrics", world::OPERATOR, None));
    let text = String::from_utf8_lossy(answer.body).into_owned();
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).fold(0.0, |sum, count| sum + count)
}

fn main() {
    machine();
    let mut sides = [
        // The first daemon has the metrics.
        Side::start("with its monitor", |config| config.monitor.enabled = true),
        Side::start("not watched", |_| {}),
        Side::start("with its trace on disk", |config| config.trace.file = Some(config.data.join("trace.jsonl"))),
    ];
    for round in 0..rounds(ROUNDS) {
        // Nobody is always the first.
        sides.rotate_left(round % 2);
        sides.iter_mut().for_each(Side::measure);
        sides.rotate_right(round % 2);
    }
    println!("durable changes of a twin each by {TWINS} clients, medians of {} rounds:", rounds(ROUNDS));
    for side in &sides {
        let middle = |figure: fn(&(f64, f64)) -> f64| median(side.processor_us.iter().map(figure).collect());
        let (all, watching) = (middle(|of| of.0), middle(|of| of.1));
        println!(
            "  {}: {:.0}/s, {all:.1} us of the processor a change, {watching:.1} us of them in the threads that watch",
            side.what,
            median(side.per_second.clone())
        );
    }
    let judged = counted(&sides[0].world, "twinway_lease_judged_total");
    let lost = counted(&sides[0].world, "twinway_lease_unjudged_total");
    let events_lost = counted(&sides[0].world, "twinway_flow_events_lost_total");
    let violated = counted(&sides[0].world, "twinway_lease_violations_total");
    println!(
        "  the monitor judged {judged:.0} things that leases did, and missed {lost:.0} of them and {events_lost:.0} events"
    );
    assert!(judged > 0.0 && violated == 0.0, "{violated} violations");
    let cost = |of: usize| {
        let ratios = sides[of].per_second.iter().zip(&sides[1].per_second).map(|(watched, bare)| 1.0 - watched / bare);
        median(ratios.collect())
    };
    let processor_cost = |of: usize| {
        let pairs = sides[of].processor_us.iter().zip(&sides[1].processor_us);
        median(pairs.map(|(watched, bare)| 1.0 - bare.0 / watched.0).collect())
    };
    println!("  of the processor time of a change the monitor takes {:.2}", processor_cost(0));
    println!("  of the processor time of a change the trace on disk takes {:.2}", processor_cost(2));
    verdict("the monitor's share of the throughput", cost(0), MONITOR_COST_MAX, true);
    verdict("the share of a trace on disk", cost(2), TRACE_COST_MAX, true);
    sides.into_iter().for_each(|side| side.world.end());
}
