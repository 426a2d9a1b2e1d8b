//! What it costs a daemon to be watched: the same durable changes (FGMV-29 9.2 steps 15 to 18, with a sync lease each) on a
//! daemon that nobody watches, on one with its monitor of flows and leases, and on one that writes its trace to disk.

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

const ROUNDS: usize = 21;
/// How much of its throughput a daemon may lose at most.
const MONITOR_COST_MAX: f64 = 0.05;
const TRACE_COST_MAX: f64 = 0.25;

/// How long one measurement takes: the rounds alternate quickly, so that what else the machine does slows all alike.
fn during() -> Duration {
    Duration::from_millis(if rounds(2) == 1 { 200 } else { 1_000 })
}

/// A daemon, and how it is watched.
struct Side {
    what: &'static str,
    world: World,
    per_second: Vec<f64>,
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
        Self { what, world, per_second: Vec::new() }
    }

    fn measure(&mut self) {
        let seen = waiting(self.world.daemon, TWINS, during(), 200, |client, count| {
            let body = format!("{{\"brightness\":{}}}", count % 100);
            let path = format!("/mii/v1/twins/urn:home:lamp:{client}/properties?user=ada");
            request("PATCH", &path, WORLD, Some(&body))
        });
        self.per_second.push(seen.per_second);
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
        println!("  {}: {:.0}/s", side.what, median(side.per_second.clone()));
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
    verdict("the monitor's share of the throughput", cost(0), MONITOR_COST_MAX, true);
    verdict("the share of a trace on disk", cost(2), TRACE_COST_MAX, true);
    sides.into_iter().for_each(|side| side.world.end());
}
