//! Acquiring and releasing sync leases, durably and with the fence checked at the gate, beside Redis and etcd on the same
//! machine. `benches/README.md` says what exactly is compared.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_in_result,
    reason = "a bench may stop at the first surprise, and prints"
)]

mod common;
#[path = "leases/drive.rs"]
mod drive;
#[path = "leases/etcd.rs"]
mod etcd;
#[path = "leases/http.rs"]
mod http_client;
#[path = "leases/inside.rs"]
mod inside;
#[path = "http/load.rs"]
#[expect(dead_code, reason = "the bench of reads uses the rest")]
mod load;
#[path = "leases/ours.rs"]
mod ours;
#[path = "leases/process.rs"]
mod process;
#[path = "leases/redis.rs"]
mod redis;
#[path = "leases/side.rs"]
mod side;
#[path = "leases/websocket.rs"]
mod websocket;
#[path = "leases/wire.rs"]
mod wire;

use std::{path::Path, time::Duration};

use common::{machine, rounds, verdict};
use drive::{drive, share, sorted_us};
use etcd::Etcd;
use inside::Inside;
use ours::{CONTENDED, Daemon, user};
use process::version;
use redis::Redis;
use side::{Side, compare, pairs, ratio, whole_p99};
use websocket::{Wish, own};

// As the daemon has, which the durable path in process is a part of.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many want an object at once.
const CLIENTS: usize = 128;
/// How many connections carry them where one connection carries several.
const CONNECTIONS: usize = 8;
const EACH: usize = CLIENTS / CONNECTIONS;
const ROUNDS: usize = 7;
/// How long a client waits in our queue at most.
const WAIT_MS: u32 = 60_000;
/// The delays before a client of Redis tries again, in milliseconds: that of `redsync`, and one for the impatient.
const DELAY_MS: (u64, u64) = (50, 250);
const SHORT_DELAY_MS: (u64, u64) = (1, 5);

fn during() -> Duration {
    Duration::from_millis(if rounds(2) == 1 { 200 } else { 2_000 })
}

/// What runs; of the peers, those that are installed.
struct Servers {
    ours: Daemon,
    /// Another build of ours, to be compared with (`TWINWAY_BENCH_BESIDE` names its binary).
    beside: Option<Daemon>,
    redis: Option<Redis>,
    etcd: Option<Etcd>,
}

impl Servers {
    fn start(place: &Path) -> Self {
        let there = |program: &str, package: &str| {
            let version = version(program);
            match &version {
                Some(version) => println!("{version}"),
                None => println!("no `{program}`: nothing is compared with it. Debian: apt-get install {package}"),
            }
            version.is_some()
        };
        let redis = there("redis-server", "redis-server").then(|| Redis::start(&place.join("redis")));
        let etcd = (!without_etcd() && there("etcd", "etcd-server")).then(|| Etcd::start(&place.join("etcd")));
        println!(
            "etcd is spoken to by gRPC over HTTP/2 (crate h2), Redis in RESP, ours in HTTP/1.1 and WebSocket (JSON)"
        );
        let ours = Daemon::start(&place.join("twinway"), env!("CARGO_BIN_EXE_twinway"), ours::arbiters());
        let beside = std::env::var("TWINWAY_BENCH_BESIDE").ok();
        let beside = beside.map(|program| Daemon::start(&place.join("beside"), &program, None));
        Self { ours, beside, redis, etcd }
    }

    fn by_http<'a>(name: &'a str, daemon: &'a Daemon) -> Side<'a> {
        let address = daemon.address;
        let run = move || drive(CLIENTS, during(), &|client, start| http_client::distinct(address, client, start));
        Side::new(name, run, || daemon.process.cpu())
    }

    fn by_sessions<'a>(name: &'a str, daemon: &'a Daemon) -> Side<'a> {
        let address = daemon.address;
        let run = move || {
            drive(CONNECTIONS, during(), &|world, start| {
                let wishes = (world * EACH..(world + 1) * EACH).map(own).collect();
                websocket::session(address, world, wishes, 0, start)
            })
        };
        Side::new(name, run, || daemon.process.cpu())
    }

    fn by_queue<'a>(name: &'a str, daemon: &'a Daemon) -> Side<'a> {
        let address = daemon.address;
        let run = move || {
            drive(CONNECTIONS, during(), &|world, start| {
                let wish = |client| Wish { twin: CONTENDED.to_owned(), user: user(client) };
                let wishes = (world * EACH..(world + 1) * EACH).map(wish).collect();
                websocket::session(address, world, wishes, WAIT_MS, start)
            })
        };
        Side::new(name, run, || daemon.process.cpu())
    }

    fn distinct(&self) {
        let mut sides = vec![
            Self::by_http("twinway, HTTP, 128 connections", &self.ours),
            Self::by_sessions("twinway, WebSocket, 8 sessions of 16 clients, batches", &self.ours),
        ];
        if let Some(beside) = &self.beside {
            sides.push(Self::by_http("beside: HTTP", beside));
            sides.push(Self::by_sessions("beside: WebSocket", beside));
        }
        if let Some(redis) = &self.redis {
            let cpu = || redis.process.cpu();
            let single = || drive(CLIENTS, during(), &|client, start| redis.distinct(client, start));
            sides.push(Side::new("Redis, 128 connections", single, cpu));
            let piped = || drive(CONNECTIONS, during(), &|number, start| redis.pipelined(number, EACH, start));
            sides.push(Side::new("Redis, 8 connections of 16 clients, pipelined", piped, cpu));
        }
        if let Some(etcd) = &self.etcd {
            let cpu = || etcd.process.cpu();
            let own = || drive(CLIENTS, during(), &|client, start| etcd.distinct(client..client + 1, start));
            sides.push(Side::new("etcd, 128 connections", own, cpu));
            let shared = || {
                drive(CONNECTIONS, during(), &|number, start| etcd.distinct(number * EACH..(number + 1) * EACH, start))
            };
            sides.push(Side::new("etcd, 8 connections of 16 clients", shared, cpu));
        }
        compare("128 clients, each an object of its own", &mut sides, rounds(ROUNDS));
        let (http, sessions) = (&sides[0], &sides[1]);
        for other in sides.iter().filter(|side| !side.name().starts_with("twinway")) {
            let (http_target, sessions_target) = match other.name() {
                "beside: HTTP" => (Some(1.0), None),
                name if name.starts_with("beside") => (None, Some(1.0)),
                name if name.contains("pipelined") => (None, Some(2.0)),
                name if name.starts_with("Redis") => (Some(0.8), None),
                _ => (Some(5.0), Some(12.0)),
            };
            for (us, name, target) in [(http, "HTTP", http_target), (sessions, "WebSocket", sessions_target)] {
                let Some(target) = target else { continue };
                verdict(&format!("pairs, {name} over {}", other.name()), ratio(us, other, pairs), target, false);
                if other.name().starts_with("etcd") {
                    let late = ratio(us, other, whole_p99);
                    verdict(&format!("p99 of a pair, {name} over {}", other.name()), late, 1.0, true);
                }
            }
        }
    }

    fn contended(&self) {
        let mut sides = vec![Self::by_queue("twinway, WebSocket, 8 sessions of 16 clients, waitMs", &self.ours)];
        if let Some(beside) = &self.beside {
            sides.push(Self::by_queue("beside: WebSocket, waitMs", beside));
        }
        if let Some(redis) = &self.redis {
            let cpu = || redis.process.cpu();
            let poll =
                |delay_ms| move || drive(CLIENTS, during(), &|client, start| redis.contended(client, delay_ms, start));
            sides.push(Side::new("Redis, tries again after 50 to 250 ms", poll(DELAY_MS), cpu));
            sides.push(Side::new("Redis, tries again after 1 to 5 ms", poll(SHORT_DELAY_MS), cpu));
        }
        if let Some(etcd) = &self.etcd {
            let queue = || drive(CLIENTS, during(), &|_, start| etcd.contended(start));
            sides.push(Side::new("etcd, concurrency.Mutex", queue, || etcd.process.cpu()));
        }
        compare("128 clients, one object", &mut sides, rounds(ROUNDS));
        for other in &sides[1..] {
            let target = if other.name().starts_with("etcd") { 12.0 } else { 1.5 };
            verdict(&format!("pairs, over {}", other.name()), ratio(&sides[0], other, pairs), target, false);
            let late = ratio(other, &sides[0], whole_p99);
            verdict(&format!("p99 of a pair, of {} over ours", other.name()), late, 5.0, false);
        }
    }

    fn preemption(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let times = if rounds(2) == 1 { 50 } else { 5_000 };
        let (acquired, noticed) = runtime.block_on(websocket::preemption(self.ours.address, times));
        let (acquired, noticed) = (sorted_us(acquired.into_iter()), sorted_us(noticed.into_iter()));
        println!("\npreemption without grace, {times} times, on one session");
        for (what, times) in [("a durable acquire", &acquired), ("request to the holder's notice", &noticed)] {
            println!("  {what:<32} p50 {:>8.0} us   p99 {:>8.0} us", share(times, 0.5), share(times, 0.99));
        }
        let ratio = share(&noticed, 0.99) / share(&acquired, 0.99);
        verdict("p99 of the notice over that of an acquire", ratio, 1.5, true);
    }
}

fn durable_in_process(place: &Path) {
    let inside = Inside::start(place);
    let run = || drive(CLIENTS, during(), &|client, start| inside.distinct(client, start));
    let mut sides = vec![Side::new("twinway, in process", run, || Duration::ZERO)];
    compare("128 clients, each an object of its own, in process", &mut sides, rounds(ROUNDS));
    drop(sides);
    inside.end();
}

/// Whether a part is measured: all are, unless the command line names some.
fn wanted(part: &str) -> bool {
    const PARTS: [&str; 4] = ["distinct", "contended", "preemption", "inside"];
    let mut named = std::env::args().filter(|argument| PARTS.contains(&argument.as_str())).peekable();
    named.peek().is_none() || named.any(|own| own == part)
}

/// Whether etcd is left out: its rounds are most of the time.
fn without_etcd() -> bool {
    std::env::args().any(|argument| argument == "--without-etcd")
}

fn main() {
    machine();
    let place = std::env::var_os("TWINWAY_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let place = tempfile::TempDir::new_in(place).expect("a directory");
    println!("twinway {}, release binary, SQLite {}", env!("CARGO_PKG_VERSION"), rusqlite::version());
    let servers = Servers::start(place.path());
    if wanted("distinct") {
        servers.distinct();
    }
    if wanted("contended") {
        servers.contended();
    }
    if wanted("preemption") {
        servers.preemption();
    }
    drop(servers);
    if wanted("inside") {
        durable_in_process(&place.path().join("inside"));
    }
}
