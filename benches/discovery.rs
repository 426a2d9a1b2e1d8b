//! Searches in 100,000 registered systems (FGMV-29 8.2.2), each a turn of TPSD, beside a look at every one of them. Run by `cargo bench
//! --bench discovery`.
//!
//! Both sides have the same systems and the same filters, and must find the same. The peer reads the filter once, has every
//! system as a JSON document already, and looks at documents until it has a page: it pays neither for reading filters nor for
//! building documents nor for listings.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a bench may stop at the first surprise, and prints")]

mod common;

use std::{fs, sync::Arc, time::Instant};

use common::{machine, median, rounds, verdict};
use serde_json::{Map, Value, json};
use twinway::{
    actors::{
        Settings,
        expression::{EXPRESSION_STEPS_MAX, Expression},
        sif::tpsd::Tpsd,
    },
    protocol::{
        Answers, Behaviour, Effect, EntityId, Envelope, EventId, Mailbox, Meta, Out, PendingKey, Ref, Turn,
        message::{
            CallerMsg, KeepStanding, KeepThirdPartySystem, SearchThirdPartySystems, TPSD, ThirdPartySystemMsg,
            ThirdPartySystemsFound, TpsdMsg, Wire,
        },
        registry::{
            Api, Health, PAGE_ITEMS_DEFAULT, Performance, ServiceCharge, ServiceLevel, Standing, SystemQuery,
            ThirdPartyDescription, ThirdPartySystem,
        },
        time::{Now, Timestamp},
    },
};

/// How many systems there are.
const SYSTEMS: u32 = 100_000;
const TYPES: [&str; 20] = [
    "commerce", "bank", "weather", "traffic", "energy", "health", "media", "map", "mail", "news", "retail", "travel",
    "school", "sport", "music", "art", "food", "farm", "port", "rail",
];
const PAGE: usize = PAGE_ITEMS_DEFAULT as usize;

/// A number that looks like chance and is the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

struct Discovery {
    tpsd: Tpsd,
    event: EventId,
    chance: u64,
}

impl Discovery {
    fn turn(&mut self, message: TpsdMsg) -> Vec<Effect<Wire>> {
        self.event = self.event.next();
        self.chance += 1;
        let mut turn = Turn::default();
        let now = Now { monotonic_ms: 1, wall: Timestamp::from_unix_ms(1) };
        let mut out = Out::new(&mut turn, TPSD.id(), self.event, now, self.chance);
        let from = EntityId::new(CallerMsg::KIND, 0, 1);
        let step = message.describe().0;
        let meta = Meta { from, to: TPSD.id(), cause: EventId::NONE, pending: PendingKey::from_bits(1), step };
        self.tpsd.handle(Envelope { meta, message }, &mut out);
        turn.effects
    }

    fn search(&mut self, query: &SystemQuery) -> ThirdPartySystemsFound {
        let effects = self.turn(SearchThirdPartySystems { query: Box::new(query.clone()) }.into());
        let answer = effects.into_iter().find_map(|effect| match effect {
            Effect::Send { wire: Some(wire), .. } => ThirdPartySystemsFound::heard(wire),
            _ => None,
        });
        answer.expect("it is answered").expect("it is understood")
    }
}

fn system(n: u32, chance: &mut Chance) -> (Arc<ThirdPartySystem>, Arc<Standing>) {
    let of = TYPES.get(chance.below(TYPES.len() as u64) as usize).copied().unwrap_or_default();
    let description = ThirdPartyDescription {
        id: format!("urn:example:{of}:{n:06}").parse().expect("it is a name"),
        system_type: of.to_owned(),
        title: format!("The {of} service number {n}"),
        description: format!("Offers {of} to worlds of region {} and answers within its promise", chance.below(50)),
        properties: [("region".to_owned(), twinway::protocol::JsonDoc::parse("\"eu\"").expect("it is JSON"))].into(),
        service_charge: Some(ServiceCharge {
            amount: chance.below(1_000) as f64 / 100.0,
            currency: "EUR".to_owned(),
            per: Some("call".to_owned()),
        }),
        service_level: Some(ServiceLevel { availability: Some(0.99), p99_ms: Some(250.0), description: None }),
        apis: ["search", "order", "pay"]
            .map(|name| Api { operation: name.to_owned(), description: None, mapping: None })
            .into(),
        reach: Default::default(),
        ..blank()
    };
    let entity = Ref::new(EntityId::new(ThirdPartySystemMsg::KIND, 0, n));
    let registered_at = Timestamp::from_unix_ms(n.into());
    let p99 = chance.below(1_000_000) as f64 / 1_000.0;
    let performance = Performance {
        calls: chance.below(10_000),
        p50_ms: Some(p99 / 3.0),
        p99_ms: Some(p99),
        availability: Some(1.0),
        ..Performance::default()
    };
    let health = if chance.below(10) == 0 { Health::Degraded } else { Health::Healthy };
    let standing = Standing { health, performance, ..Standing::default() };
    (Arc::new(ThirdPartySystem { description, registered_at, version: 1, entity }), Arc::new(standing))
}

/// What the documents of the time do not know yet has its default.
fn blank() -> ThirdPartyDescription {
    serde_json::from_value(json!({"id": "blank", "type": "", "title": ""})).expect("it is a description")
}

fn document(system: &ThirdPartySystem, standing: &Standing) -> Map<String, Value> {
    let description = &system.description;
    let charge = description.service_charge.as_ref().expect("all of them charge");
    let document = json!({
        "system": { "id": description.id, "type": description.system_type, "title": description.title },
        "charge": { "amount": charge.amount, "currency": charge.currency },
        "standing": { "health": standing.health },
        "performance": { "p99_ms": standing.performance.p99_ms, "calls": standing.performance.calls },
    });
    document.as_object().expect("it is an object").clone()
}

/// The memory that the process has now, in bytes.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4_096
}

/// The filters: an indexed equality and one range each. How many of the systems match differs.
fn filters(chance: &mut Chance) -> String {
    let of = TYPES.get(chance.below(TYPES.len() as u64) as usize).copied().unwrap_or_default();
    match chance.below(4) {
        0 => format!("system.type == \"{of}\" && performance.p99_ms < {}.5", chance.below(1_000)),
        1 => format!("system.type == \"{of}\" && charge.amount < {}.0", chance.below(10)),
        2 => format!("system.type == \"{of}\" && performance.p99_ms > {}", 999 - chance.below(3)),
        _ => format!("standing.health == \"degraded\" && charge.amount >= {}.9", chance.below(10)),
    }
}

fn p99_ms(mut taken: Vec<f64>) -> f64 {
    taken.sort_by(f64::total_cmp);
    taken.get(taken.len() * 99 / 100).or(taken.last()).copied().unwrap_or(f64::NAN)
}

fn main() {
    machine();
    let systems = if rounds(2) == 1 { 2_000 } else { SYSTEMS };
    let mut chance = Chance(7);
    let before = resident();
    let tpsd = Tpsd::new(TPSD.id(), &Settings::default(), 1);
    let mut discovery = Discovery { tpsd, event: EventId::new(1, 1), chance: 1 };
    let begin = Instant::now();
    let mut kept = Vec::new();
    for n in 0..systems {
        let (system, standing) = system(n, &mut chance);
        let id = system.description.id.clone();
        kept.push((Arc::clone(&system), Arc::clone(&standing)));
        discovery.turn(KeepThirdPartySystem { system }.into());
        discovery.turn(KeepStanding { system: id, standing }.into());
    }
    let filled = begin.elapsed().as_secs_f64();
    let bytes = resident().saturating_sub(before) as f64 / f64::from(systems);
    println!("{systems} systems: registered and measured at {:.0} a second", f64::from(systems) / filled);
    verdict("memory a record, with what it registered, in bytes", bytes, 4_096.0, true);

    let mut documents: Vec<_> = kept.iter().map(|(system, standing)| document(system, standing)).collect();
    documents.sort_by(|a, b| id(a).cmp(id(b)));
    for (name, sort, count) in [
        ("an equality and a range", None, 400),
        ("the same, sorted by another field", Some("-performance.p99_ms"), 100),
    ] {
        let (mut ours, mut peers, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds(count) {
            let filter = filters(&mut chance);
            let query =
                SystemQuery { filter: Some(filter.clone()), sort: sort.map(str::to_owned), ..SystemQuery::default() };
            let begin = Instant::now();
            let page = discovery.search(&query).page;
            let our = begin.elapsed().as_secs_f64() * 1_000.0;
            let filter = Expression::parse(&filter).expect("it is an expression");
            let begin = Instant::now();
            let found = scan(&documents, &filter, sort);
            let peer = begin.elapsed().as_secs_f64() * 1_000.0;
            let listed: Vec<_> = page.items.iter().map(|item| item.system.id.as_str()).collect();
            assert_eq!(listed, found, "both find the same");
            ours.push(our);
            peers.push(peer);
            ratios.push(peer / our);
        }
        println!(
            "{name}: p50 {:.3} ms; a look at every document: p50 {:.3} ms, p99 {:.3} ms; {:.0} times as fast at the median",
            median(ours.clone()),
            median(peers.clone()),
            p99_ms(peers),
            median(ratios)
        );
        verdict(&format!("{name}: p99 in ms"), p99_ms(ours), 5.0, true);
    }
}

fn id(document: &Map<String, Value>) -> &str {
    document.get("system").and_then(|system| system.get("id")).and_then(Value::as_str).unwrap_or_default()
}

/// The first page of what a look at every document finds.
fn scan<'d>(documents: &'d [Map<String, Value>], filter: &Expression, sort: Option<&str>) -> Vec<&'d str> {
    let holds = |document: &&Map<String, Value>| {
        let mut steps = EXPRESSION_STEPS_MAX;
        filter.holds_within(*document, &mut steps).unwrap_or(false)
    };
    let matching = documents.iter().filter(holds);
    if sort.is_none() {
        return matching.take(PAGE).map(id).collect();
    }
    let p99 = |document: &Map<String, Value>| {
        document
            .get("performance")
            .and_then(|measured| measured.get("p99_ms"))
            .and_then(Value::as_f64)
            .unwrap_or_default()
    };
    let mut found: Vec<_> = matching.collect();
    found.sort_by(|a, b| p99(b).total_cmp(&p99(a)).then_with(|| id(a).cmp(id(b))));
    found.into_iter().take(PAGE).map(id).collect()
}
