//! The pure core of the sync leases (FGMV-28 7.1.3): grants a second on one core, and what an object costs in memory.
//!
//! A pair is what one user does with one object: a request, the gate's answer, the release, the gate's answer. Memory
//! is the growth of the resident set, divided by the objects.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop at the first surprise, and prints"
)]

mod common;

use std::{sync::Arc, time::Instant};

use twinway_protocol::{
    EntityId, Recovery,
    lease::{
        Claimant, Effect, Fencing, Holder, HolderClass, Input, LeaseLimits, Manner, Objects, Request, RequestId, Shown,
        Table, Terms, Token, Wanted,
    },
    time::{Now, Timestamp},
};

/// Objects of the throughput runs: their state does not fit the first caches, as in a daemon.
const OBJECTS: u32 = 10_000;
/// Pairs a round.
const PAIRS: u32 = 1_000_000;
/// Objects of the memory runs.
const MANY: u32 = 1_000_000;

fn object(number: u32) -> EntityId {
    EntityId::new(9, 0, number)
}

fn system(number: u32) -> EntityId {
    EntityId::new(7, 0, number % 16)
}

fn claimant(number: u32) -> Arc<Claimant> {
    let holder = Holder {
        user: format!("user{number}").parse().expect("a name"),
        world: "world".parse().expect("a name"),
        system: "system".parse().expect("a name"),
        class: HolderClass::Person,
    };
    Arc::new(Claimant { holder, role: None, claimed: None, twins: Box::default() })
}

fn now(ms: u64) -> Now {
    Now { monotonic_ms: ms, wall: Timestamp::from_unix_ms(1_700_000_000_000 + ms) }
}

fn table() -> (Table, Vec<Effect>) {
    let (mut table, mut effects) = (Table::new(LeaseLimits::default()), Vec::new());
    table.step(Input::Recover(Recovery::Start), now(1), &mut effects);
    (table, effects)
}

fn request(number: u32, who: &Arc<Claimant>, id: Option<RequestId>) -> Request {
    let wanted = Wanted { object: object(number), priority: 1, terms: Terms::default() };
    Request {
        system: system(number),
        id,
        who: Arc::clone(who),
        objects: Objects::One(wanted),
        ttl_ms: 30_000,
        wait_ms: 0,
        manner: Manner::default(),
    }
}

/// The gate of an object answers at once; tells the token that it answered.
fn fenced(table: &mut Table, effects: &mut Vec<Effect>, object: EntityId, at: Now) -> Token {
    let fence = effects.iter().rev().find_map(|effect| match effect {
        Effect::Fence { token, .. } => Some(*token),
        _ => None,
    });
    let token = fence.expect("a fence follows");
    effects.clear();
    let answer = Input::Fenced { object, token, incarnation: 1, fencing: Fencing::Device, seen_before: Token::NONE };
    table.step(answer, at, effects);
    token
}

fn pairs(ids: bool, count: u32) -> f64 {
    let (mut table, mut effects) = table();
    let users: Vec<Arc<Claimant>> = (0..64).map(claimant).collect();
    let began = Instant::now();
    for pair in 0..count {
        let (number, at) = (pair % OBJECTS, now(1 + u64::from(pair) / 1_000));
        let who = &users[(pair % 64) as usize];
        let id = ids.then_some(RequestId(u128::from(pair)));
        effects.clear();
        table.step(Input::Request(request(number, who, id), u64::from(pair)), at, &mut effects);
        let token = fenced(&mut table, &mut effects, object(number), at);
        let shown = Shown { object: object(number), token, system: system(number), user: who.holder.user.clone() };
        effects.clear();
        table.step(Input::Release { shown, reply: u64::from(pair) }, at, &mut effects);
        fenced(&mut table, &mut effects, object(number), at);
    }
    assert_eq!(table.counts().granted, u64::from(count), "every request was granted");
    f64::from(count) / began.elapsed().as_secs_f64()
}

/// The resident set, in bytes.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).map_or(f64::NAN, |pages| pages * 4096.0)
}

/// Bytes an object, held with its own request id, or free again after it was held.
fn memory(count: u32, held: bool) -> f64 {
    let before = resident();
    let (mut table, mut effects) = table();
    let users: Vec<Arc<Claimant>> = (0..64).map(claimant).collect();
    for number in 0..count {
        effects.clear();
        let (id, who) = (held.then_some(RequestId(u128::from(number))), &users[(number % 64) as usize]);
        table.step(Input::Request(request(number, who, id), 0), now(1), &mut effects);
        let token = fenced(&mut table, &mut effects, object(number), now(1));
        if !held {
            let shown = Shown { object: object(number), token, system: system(number), user: who.holder.user.clone() };
            effects.clear();
            table.step(Input::Release { shown, reply: 0 }, now(1), &mut effects);
            fenced(&mut table, &mut effects, object(number), now(1));
        }
    }
    let grown = resident() - before;
    assert_eq!(table.counts().leases, if held { u64::from(count) } else { 0 }, "every object is held, or none");
    grown / f64::from(count)
}

/// Measures memory in a process of its own: what another run has left behind would hide it.
fn memory_apart(held: bool) -> f64 {
    let program = std::env::current_exe().expect("this program has a path");
    let output = std::process::Command::new(program).arg(if held { "--held" } else { "--free" }).output();
    let output = output.expect("this program runs again").stdout;
    String::from_utf8_lossy(&output).trim().parse().expect("it prints a number")
}

fn main() {
    let asked = |option: &str| std::env::args().any(|argument| argument == option);
    for (option, held) in [("--free", false), ("--held", true)] {
        if asked(option) {
            return println!("{}", memory(MANY, held));
        }
    }
    common::machine();
    let tried = asked("--test");
    if !tried {
        common::verdict("bytes a free object", memory_apart(false), 256.0, true);
        common::verdict("bytes a held object", memory_apart(true), 512.0, true);
    }
    let count = if tried { 1_000 } else { PAIRS };
    for (name, ids) in [("without request ids", false), ("with request ids", true)] {
        let rounds = (0..common::rounds(5)).map(|_| pairs(ids, count)).collect();
        let reached = common::median(rounds) / 1e6;
        common::verdict(
            &format!("million grants a second, each with its fence and release, {name}"),
            reached,
            3.0,
            false,
        );
    }
}
