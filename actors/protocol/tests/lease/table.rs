//! The table of states and events, as it is: every state of one object, every input, what follows. The committed text is
//! compared whole; `TWINWAY_WRITE_SNAPSHOTS=1` writes it anew, for review.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use twinway_protocol::{
    EntityId, Recovery,
    lease::{
        Booking, Change, Effect, Fencing, HolderClass, Input, LeaseLimits, Manner, Notice, ObjectView, Objects, Phase,
        Request, RequestId, Shown, Table, Terms, Token, Wanted,
    },
    time::{Now, Timestamp},
};

use crate::world::{claimant, limits, object, system};

/// A table with one object, and a clock.
pub(crate) struct One {
    pub(crate) table: Table,
    pub(crate) now_ms: u64,
    pub(crate) reply: u64,
}

pub(crate) const TERMS: Terms = Terms { grace_ms: 100, min_hold_ms: 0, hold_ms_max: 0 };

impl One {
    pub(crate) fn new() -> Self {
        Self::with(limits())
    }

    pub(crate) fn with(limits: LeaseLimits) -> Self {
        let mut one = Self::blank(limits);
        one.step(Input::Recover(Recovery::Start));
        one
    }

    /// One whose life has not begun.
    pub(crate) fn blank(limits: LeaseLimits) -> Self {
        Self { table: Table::new(limits), now_ms: 1, reply: 0 }
    }

    pub(crate) fn now(&self) -> Now {
        Now { monotonic_ms: self.now_ms, wall: Timestamp::from_unix_ms(1_700_000_000_000 + self.now_ms) }
    }

    pub(crate) fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.table.step(input, self.now(), &mut effects);
        effects
    }

    pub(crate) fn ask(&mut self, request: Request) -> Vec<Effect> {
        self.reply += 1;
        self.step(Input::Request(request, self.reply))
    }

    /// The gate of an object answers its newest token.
    pub(crate) fn fenced(&mut self, object: EntityId) -> Vec<Effect> {
        let token = self.view(object).token;
        let seen_before = Token::NONE;
        self.step(Input::Fenced { object, token, incarnation: 1, fencing: Fencing::Drained, seen_before })
    }

    pub(crate) fn after(&mut self, ms: u64) -> Vec<Effect> {
        self.now_ms += ms;
        self.step(Input::Tick)
    }

    pub(crate) fn view(&self, object: EntityId) -> ObjectView {
        self.table.view(object, 8).expect("the object was asked for")
    }

    pub(crate) fn shown(&self, user: usize) -> Shown {
        let who = claimant(user, HolderClass::Person);
        let token = self.view(object(0)).token;
        Shown { object: object(0), token, system: system(user), user: who.holder.user.clone() }
    }
}

/// A request for the objects of these numbers, at one priority.
pub(crate) fn request(user: usize, objects: &[usize], priority: u8, wait_ms: u32) -> Request {
    let wanted = |number: &usize| Wanted { object: object(*number), priority, terms: TERMS };
    let objects = match objects {
        [one] => Objects::One(wanted(one)),
        several => Objects::Set(several.iter().map(wanted).collect()),
    };
    Request {
        system: system(user),
        id: Some(RequestId(user as u128 + 1)),
        who: claimant(user, HolderClass::Person),
        objects,
        ttl_ms: 1_000,
        wait_ms,
        manner: Manner::default(),
    }
}

/// User 0 holds or is about to, at priority 2; users 1 and 2 wait.
const STATES: [&str; 10] = [
    "Free",
    "Fencing a grant",
    "Fencing a grant, queue",
    "Fencing to close",
    "Held",
    "Held, queue",
    "Revoking, its successor waits",
    "Revoked by an operator",
    "Quarantined",
    "Quarantined, queue",
];

fn state(name: &str) -> One {
    let mut one = One::new();
    one.ask(request(0, &[0], 2, 0));
    let arm = |one: &mut One| drop(one.fenced(object(0)));
    match name {
        "Free" => {
            arm(&mut one);
            one.step(Input::Release { shown: one.shown(0), reply: 90 });
            arm(&mut one);
        }
        "Fencing to close" => {
            arm(&mut one);
            one.step(Input::Release { shown: one.shown(0), reply: 90 });
        }
        "Held" | "Held, queue" | "Revoking, its successor waits" | "Revoked by an operator" => arm(&mut one),
        "Quarantined" => drop(one.after(301)),
        _ => {}
    }
    match name {
        "Fencing a grant, queue" | "Held, queue" => drop(one.ask(request(1, &[0], 1, 1_000))),
        "Revoking, its successor waits" => drop(one.ask(request(1, &[0], 3, 1_000))),
        "Revoked by an operator" => drop(one.step(Input::Revoke { object: object(0), grace: true, reply: 91 })),
        "Quarantined, queue" => {
            one.ask(request(1, &[0], 1, 1_000));
            one.after(301);
        }
        _ => {}
    }
    one
}

fn events(one: &One) -> Vec<(&'static str, Vec<Input>)> {
    let lower = |wait_ms| request(2, &[0], 1, wait_ms);
    let manner = |mut request: Request, ask| {
        request.manner.ask = ask;
        request
    };
    let emergency = Request { who: claimant(4, HolderClass::Emergency), ..request(4, &[0], 4, 0) };
    let (shown, view) = (one.shown(0), one.view(object(0)));
    let fenced = |token, seen_before| Input::Fenced {
        object: object(0),
        token,
        incarnation: 1,
        fencing: Fencing::Device,
        seen_before,
    };
    let old = Token { n: 0, ..view.token };
    let from = one.now().wall.plus_ms(200);
    let wanted = Wanted { object: object(0), priority: 2, terms: TERMS };
    let booking = Booking {
        system: system(3),
        who: claimant(3, HolderClass::Person),
        wanted,
        from,
        until: from.plus_ms(500),
        ttl_ms: 400,
    };
    let arrival = view.holder.as_ref().or(view.queue.first()).map_or(1, |claim| claim.arrival);
    let one_of = |input| vec![input];
    vec![
        ("request, lower", one_of(Input::Request(lower(0), 1_000))),
        ("request, lower, waits", one_of(Input::Request(lower(500), 1_000))),
        ("request, equal, asks", one_of(Input::Request(manner(request(2, &[0], 2, 500), true), 1_000))),
        ("request, higher", one_of(Input::Request(request(2, &[0], 5, 0), 1_000))),
        ("request, emergency", one_of(Input::Request(emergency, 1_000))),
        ("request, same id", one_of(Input::Request(request(0, &[0], 2, 0), 1_000))),
        ("batch of two", one_of(Input::Batch(vec![(lower(0), 1_000), (request(3, &[0], 5, 0), 1_001)]))),
        ("cancel of the holder", one_of(Input::Cancel { system: system(0), id: RequestId(1), reply: 1_000 })),
        ("cancel of the waiter", one_of(Input::Cancel { system: system(1), id: RequestId(2), reply: 1_000 })),
        ("renew", one_of(Input::Renew { shown: shown.clone(), ttl_ms: 2_000, reply: 1_000 })),
        ("release", one_of(Input::Release { shown: shown.clone(), reply: 1_000 })),
        ("yield", one_of(Input::Yield { shown: shown.clone(), yields: true, reply: 1_000 })),
        ("decline", one_of(Input::Yield { shown, yields: false, reply: 1_000 })),
        ("keep-alive", one_of(Input::KeepAlive { system: system(0), reply: 1_000 })),
        ("fenced at the newest", one_of(fenced(view.token, Token::NONE))),
        ("fenced at another", one_of(fenced(old, Token::NONE))),
        ("fenced, device saw more", one_of(fenced(view.token, Token { epoch: 9, n: 9 }))),
        ("gate started", one_of(Input::GateStarted { object: object(0), incarnation: 2 })),
        ("priority drops to 0", one_of(Input::Weigh { object: object(0), arrival, priority: 0 })),
        ("holder denied", one_of(Input::Deny { object: object(0), arrival })),
        ("reserve", one_of(Input::Reserve(booking, 1_000))),
        ("revoke, grace", one_of(Input::Revoke { object: object(0), grace: true, reply: 1_000 })),
        ("revoke, at once", one_of(Input::Revoke { object: object(0), grace: false, reply: 1_000 })),
        ("replace gate", one_of(Input::ReplaceGate { object: object(0), reply: 1_000 })),
        ("recover, daemon", one_of(Input::Recover(Recovery::Start))),
        ("recover, supervisor", one_of(Input::Recover(Recovery::Failure))),
    ]
}

fn short(effect: &Effect) -> String {
    let debug =
        |value: &dyn std::fmt::Debug| format!("{value:?}").split([' ', '(', '{']).next().unwrap_or("").to_owned();
    match effect {
        Effect::Record(_, Change::Granted { over: Some(over), .. } | Change::Quarantined { over: Some(over), .. }) => {
            let change = if let Effect::Record(_, change) = effect { debug(change) } else { String::new() };
            format!("record {change} over {:?}{}", over.end, if over.back.is_some() { ", back in line" } else { "" })
        }
        Effect::Record(_, Change::Ended { over, .. }) => {
            format!("record Ended {:?}{}", over.end, if over.back.is_some() { ", back in line" } else { "" })
        }
        Effect::Record(_, Change::Left { end, .. }) => format!("record Left {end:?}"),
        Effect::Record(_, change) => format!("record {}", debug(change)),
        Effect::Fence { to, stop, replaced, restricted, .. } => {
            let stop = if *stop { ", safe stop first" } else { "" };
            let replaced = if *replaced { ", replaced" } else { "" };
            let restricted = if *restricted { ", restricted" } else { "" };
            format!("fence {}{stop}{replaced}{restricted}", if to.is_some() { "for the holder" } else { "closed" })
        }
        Effect::Restrict { restricted, .. } => format!("restrict {restricted}"),
        Effect::Weigh { priority, .. } => format!("weigh {priority}"),
        Effect::Extend { ttl_ms, .. } => format!("extend {ttl_ms} ms"),
        Effect::Answer(reply, Ok(done)) => format!("answer {} {}", who(*reply), debug(done)),
        Effect::Answer(reply, Err(twinway_protocol::lease::Refused::Ended(end, _))) => {
            format!("refuse {}: {end:?}", who(*reply))
        }
        Effect::Answer(reply, Err(refused)) => format!("refuse {}: {}", who(*reply), debug(refused)),
        Effect::Tell { who, notice: Notice::Lost { end, .. }, .. } => format!("tell {} Lost {end:?}", who.holder.user),
        Effect::Tell { who, notice, .. } => format!("tell {} {}", who.holder.user, debug(notice)),
    }
}

fn who(reply: u64) -> &'static str {
    match reply {
        1_000 => "the asker",
        1_001 => "the other",
        _ => "an earlier asker",
    }
}

fn phase(one: &One) -> String {
    let view = one.view(object(0));
    let holder = view.holder.as_ref().map(|claim| format!(" {}", claim.who.holder.user)).unwrap_or_default();
    let phase = if view.phase == Phase::Fencing && view.holder.is_none() {
        "Closing".into()
    } else {
        format!("{:?}", view.phase)
    };
    let queue = if view.waiting > 0 { format!(", {} in line", view.waiting) } else { String::new() };
    format!("{phase}{holder}{queue}")
}

fn ways() -> Vec<(&'static str, &'static str, String, String, String)> {
    let mut ways = Vec::new();
    for name in STATES {
        let events = events(&state(name)).into_iter().map(|(event, inputs)| (event, inputs, 0));
        let due = [("its deadline passes", Vec::new(), 5_000), ("the fence times out", Vec::new(), 301)];
        for (event, inputs, ms) in events.chain(due) {
            let mut one = state(name);
            let before = phase(&one);
            let mut effects = if ms > 0 { one.after(ms) } else { Vec::new() };
            effects.extend(inputs.into_iter().flat_map(|input| one.step(input)));
            let follows: Vec<String> = effects.iter().map(short).collect();
            let follows = if follows.is_empty() { "nothing".into() } else { follows.join("; ") };
            ways.push((name, event, before, phase(&one), follows));
        }
    }
    ways
}

fn rendered() -> String {
    let mut text = String::from(
        "# The table of states and events of a sync lease\n\nWritten by the test `the_table_of_states_and_events_is_as_reviewed`\n(`TWINWAY_WRITE_SNAPSHOTS=1` writes it anew). User 0 holds at priority 2 or is about to; user 1 waits; grace is 100 ms,\na gate may take 300 ms.\n",
    );
    let ways = ways();
    for name in STATES {
        let rows: Vec<_> = ways.iter().filter(|way| way.0 == name).collect();
        let _ = write!(text, "\n## {name}: {}\n\n| event | then | what follows |\n|---|---|---|\n", rows[0].2);
        for (_, event, _, after, follows) in rows {
            let _ = writeln!(text, "| {event} | {after} | {follows} |");
        }
    }
    text.push_str("\n## Graph\n\n```mermaid\nstateDiagram-v2\n");
    let short = |phase: &str| phase.split([' ', ',']).next().unwrap_or("").to_owned();
    let mut edges = BTreeSet::new();
    for (_, event, before, after, _) in &ways {
        let (from, to) = (short(before), short(after));
        if from != to {
            edges.insert((from, to, *event));
        }
    }
    for (from, to, event) in edges {
        let _ = writeln!(text, "    {from} --> {to}: {event}");
    }
    text.push_str("```\n");
    text
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the snapshot is a file, written on demand")]
fn the_table_of_states_and_events_is_as_reviewed() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/lease/TABLE.md");
    let now = rendered();
    if std::env::var_os("TWINWAY_WRITE_SNAPSHOTS").is_some() {
        fs::write(&path, &now).expect("the table is written");
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();
    let differs = now.lines().zip(reviewed.lines()).find(|(now, reviewed)| now != reviewed);
    assert!(now == reviewed, "the table is not as reviewed; first difference: {differs:#?}");
}
