//! Reads a recorded trace and judges it: which steps were taken, by whom, and what caused them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use twinway::{
    protocol::flow::{Checker, Limits},
    scenarios::flow::find,
    trace::{Read, read},
};

/// An event's actor and its number there.
type Id = (u64, u64);

/// One line of the file.
#[derive(Deserialize)]
struct Line {
    event: String,
    cause: Option<String>,
    #[serde(default)]
    joined: Vec<String>,
    from: String,
    to: String,
    flow: Option<String>,
    step: Option<String>,
    message: String,
}

struct Event {
    parents: Vec<Id>,
    /// The flow, the step's number, and how the step is shown.
    step: Option<(String, String, String)>,
}

/// A whole trace.
pub(crate) struct Trace {
    text: String,
    events: BTreeMap<Id, Event>,
}

fn id(text: &str) -> Id {
    let (actor, number) = text.split_once('.').expect("an event is `actor.number`");
    (actor.parse().expect("a number"), number.parse().expect("a number"))
}

/// `2` before `10`, and `14` before `14x`.
fn place(number: &str) -> (u32, bool) {
    let digits = number.trim_end_matches('x');
    (digits.parse().expect("a step has a number"), digits != number)
}

fn kind(entity: &str) -> &str {
    entity.split('/').next().unwrap_or(entity)
}

impl Trace {
    /// Reads a trace from which nothing is missing.
    pub(crate) fn read(text: &str) -> Self {
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|head| head.starts_with(r#"{"format":"twinway-trace","version":1"#)));
        let mut events = BTreeMap::new();
        // What a turn did by itself stands for the turn: whatever else the turn caused came of it.
        let mut own: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
        for line in lines {
            // A line about lost events is no event, and fails here.
            let line: Line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let event = id(&line.event);
            let parents: Vec<Id> = line.cause.iter().chain(&line.joined).map(|text| id(text)).collect();
            let (from, to) = (kind(&line.from), kind(&line.to));
            let is_own = line.message == "own";
            if is_own {
                own.entry(parents[0]).or_default().push(event);
            }
            let step = line.flow.zip(line.step).map(|(flow, number)| {
                let way = if is_own { to.to_owned() } else { format!("{from} → {to}") };
                let shown = format!("{number} {way} {}", line.message);
                (flow, number, shown)
            });
            let known = events.insert(event, (Event { parents, step }, is_own));
            assert!(known.is_none(), "two events {event:?}");
        }
        let with_own = |(id, (mut event, is_own)): (Id, (Event, bool))| {
            if !is_own {
                let more: Vec<Id> =
                    event.parents.iter().filter_map(|parent| own.get(parent)).flatten().copied().collect();
                event.parents.extend(more);
            }
            (id, event)
        };
        Self { text: text.to_owned(), events: events.into_iter().map(with_own).collect() }
    }

    /// The deliveries and own steps of a flow. What was caused stands behind its cause; where nothing is caused, the
    /// lower number stands before.
    pub(crate) fn steps<'t>(&'t self, flow: &str) -> Vec<&'t str> {
        let mut left: BTreeMap<_, _> = self.of(flow).map(|(id, number, shown)| ((place(number), id), shown)).collect();
        let causes: BTreeMap<Id, BTreeSet<Id>> = left.keys().map(|(_, id)| (*id, self.ancestors(*id))).collect();
        let mut steps = Vec::new();
        while !left.is_empty() {
            let ready = left.keys().find(|(_, id)| !left.keys().any(|(_, other)| causes[id].contains(other)));
            let next = *ready.expect("nothing causes itself");
            steps.extend(left.remove(&next));
        }
        steps
    }

    /// What is wrong with a flow of the texts: what is not as its file says, and what is so by luck.
    pub(crate) fn wrong(&self, flow: &str) -> Vec<String> {
        let flow = find(flow).expect("it is a flow of the texts");
        // A user may change a twin without running a service before: that is not asked for here.
        let mut checker = Checker::new(Arc::clone(&flow), Limits::any_order());
        let mut wrong = Vec::new();
        let read = read(self.text.as_bytes(), |line| match line {
            Read::Event(event) => checker.event(&event, |finding| wrong.push(finding.shown(&flow).to_string())),
            Read::Lost(events) => panic!("{events} events are lost"),
        });
        read.expect("it is a trace");
        let report = checker.finish(|finding| wrong.push(finding.shown(&flow).to_string()));
        assert!(report.steps > 0, "there is something to judge");
        wrong
    }

    fn of<'t>(&'t self, flow: &str) -> impl Iterator<Item = (Id, &'t str, &'t str)> {
        self.events.iter().filter_map(move |(id, event)| {
            let (of, number, shown) = event.step.as_ref()?;
            (of == flow).then_some((*id, number.as_str(), shown.as_str()))
        })
    }

    /// What caused an event.
    fn ancestors(&self, of: Id) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        let mut open = vec![of];
        while let Some(id) = open.pop() {
            let parents = self.events.get(&id).map(|event| event.parents.as_slice()).unwrap_or_default();
            open.extend(parents.iter().copied().filter(|parent| *parent != of && found.insert(*parent)));
        }
        found
    }
}

/// 9.2 step 15 led to step 16, by way of something that is no step.
const SOUND: [&str; 5] = [
    r#"{"format":"twinway-trace","version":1}"#,
    r#"{"event":"2.1","from":"MetaverseSystem/0","to":"Dts/0","flow":"9.2","step":"15","message":"ChangeTwin"}"#,
    r#"{"event":"1.2","cause":"2.1","from":"Dts/0","to":"Twin/0","message":"Other"}"#,
    r#"{"event":"3.2","cause":"1.2","from":"Dts/0","to":"Dtac/0","flow":"9.2","step":"16","message":"VerifyChange"}"#,
    r#"{"event":"2.3","cause":"3.2","from":"Dts/0","to":"MetaverseSystem/0","flow":"9.2","step":"17","message":"ChangeCompleted refused"}"#,
];

#[test]
fn a_sound_trace_is_sound_and_one_without_a_cause_is_not() {
    let trace = Trace::read(&SOUND.join("\n"));
    let steps = ["15 MetaverseSystem → Dts ChangeTwin", "16 Dts → Dtac VerifyChange"];
    assert_eq!(trace.steps("9.2"), [&steps[..], &["17 Dts → MetaverseSystem ChangeCompleted refused"]].concat());
    assert_eq!(trace.wrong("9.2"), [""; 0]);
    let uncaused = SOUND.join("\n").replace(r#""cause":"1.2","#, "");
    let wrong = Trace::read(&uncaused).wrong("9.2");
    assert_eq!(wrong.first().map(String::as_str), Some("violated: 15 < 16 at 3.2: step 15 did not come before"));
}

#[test]
#[should_panic(expected = "lost")]
fn a_trace_with_lost_events_proves_nothing() {
    Trace::read(&[SOUND[0], r#"{"lost":3}"#].join("\n"));
}
