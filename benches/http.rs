//! Reading a twin's property over loopback HTTP against a constant answer; and, without a target, how fast durable
//! changes, values that are told, and registrations are. `benches/README.md` says what exactly is compared.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop at the first surprise, and prints"
)]

mod common;
#[path = "http/load.rs"]
mod load;
#[path = "http/world.rs"]
mod world;

use std::{net::SocketAddr, time::Duration};

use common::{machine, median, rounds, verdict};
use load::{Connection, Seen, request, throughput, waiting};
use serde_json::json;
use world::{OPERATOR, TWINS, WORLD, World, constant, description};

/// That of the command `twinway`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many threads load the server, and how many connections each has.
const THREADS: usize = 2;
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 31;
const PROPERTY: &str = "/mii/v1/twins/urn:home:lamp:0/properties/brightness";
const TARGET: f64 = 0.8;

/// How long one measurement takes. The rounds of the servers alternate quickly: whatever else the machine does then
/// slows all of them alike.
fn during() -> Duration {
    Duration::from_millis(if rounds(2) == 1 { 50 } else { 300 })
}

fn show(what: &str, seen: &Seen) {
    println!("{what}: {:.0}/s, p50 {:?}, p99 {:?}", seen.per_second, seen.p50, seen.p99);
}

/// One server and what it is asked.
struct Side {
    what: &'static str,
    address: SocketAddr,
    request: Vec<u8>,
    per_second: Vec<f64>,
}

fn reads(world: &World) {
    let property = request("GET", PROPERTY, WORLD, None);
    let body = Connection::open(world.daemon).ask(&property).body.to_vec();
    println!("a property: {}", String::from_utf8_lossy(&body));
    let constant = constant(body);
    let side = |what, address, request| Side { what, address, request, per_second: Vec::new() };
    let mut sides = [
        side("bare server, the same bytes", constant, property.clone()),
        side("gateway, a twin's property", world.daemon, property),
        side("gateway, /livez", world.daemon, request("GET", "/livez", WORLD, None)),
    ];
    for _ in 0..rounds(ROUNDS) {
        for side in &mut sides {
            side.per_second.push(throughput(side.address, &side.request, THREADS, CONNECTIONS, during()));
        }
    }
    println!("{THREADS} threads, {CONNECTIONS} connections each, medians of {} rounds:", rounds(ROUNDS));
    let medians = sides.each_ref().map(|side| median(side.per_second.clone()));
    for (side, per_second) in sides.iter().zip(medians) {
        println!("  {}: {per_second:.0}/s", side.what);
    }
    for side in &sides {
        let seen = waiting(side.address, THREADS, during() * 4, 200, |_, _| side.request.clone());
        show(&format!("  {}, {THREADS} connections that wait", side.what), &seen);
    }
    let ratio = |of: usize| {
        let ratios = sides[1].per_second.iter().zip(&sides[of].per_second).map(|(property, other)| property / other);
        median(ratios.collect())
    };
    verdict("a property read over a bare server's constant answer", ratio(0), TARGET, false);
    verdict("a property read over the gateway's own constant answer (/livez)", ratio(2), TARGET, false);
}

fn changes(world: &World) {
    let mut connection = Connection::open(world.daemon);
    let twins: Vec<_> = (0..TWINS).map(|number| format!("urn:home:lamp:{number}")).collect();
    let permission = json!({"user": "ada", "twins": twins, "rights": ["read", "change"]});
    for (path, body) in [("/mii/v1/selections", json!({"select": twins})), ("/mii/v1/permissions", permission)] {
        let answer = connection.ask(&request("POST", path, WORLD, Some(&body.to_string())));
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(answer.body));
    }
    drop(connection);
    for clients in [1, TWINS] {
        let seen = waiting(world.daemon, clients, during() * 10, 200, |client, count| {
            let body = format!("{{\"brightness\":{}}}", count % 100);
            let path = format!("/mii/v1/twins/urn:home:lamp:{client}/properties?user=ada");
            request("PATCH", &path, WORLD, Some(&body))
        });
        show(&format!("durable changes of a twin each (9.2 steps 15 to 18), {clients} clients"), &seen);
    }
}

/// What a plant does most: it tells values, which a world has selected. They are durable a tenth of a second later.
fn reports(world: &World) {
    for clients in [1, TWINS] {
        let seen = waiting(world.daemon, clients, during() * 10, 200, |client, count| {
            let body = json!({"twin": format!("urn:home:lamp:{client}"), "values": {"brightness": count % 100}});
            request("POST", "/dii/v1/changes?as=home", OPERATOR, Some(&body.to_string()))
        });
        show(&format!("values of a twin each told by its system (9.2 step 14), {clients} clients"), &seen);
    }
}

fn registrations(world: &World) {
    const CLIENTS: usize = 16;
    let seen = waiting(world.daemon, CLIENTS, during() * 10, 201, |client, count| {
        let id = format!("home-{client}-{count}");
        request("POST", &format!("/dii/v1/systems?as={id}"), OPERATOR, Some(&description(&id, 1).to_string()))
    });
    show(&format!("durable registrations of a system with one twin (9.2 steps 1 to 3), {CLIENTS} clients"), &seen);
}

fn main() {
    machine();
    let world = World::start();
    reads(&world);
    changes(&world);
    reports(&world);
    registrations(&world);
    world.end();
}
