//! Reads a recorded trace and judges it: which steps were taken, by whom, and what caused them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

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
        assert_eq!(lines.next(), Some(r#"{"format":"twinway-trace","version":1}"#));
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
        Self { events: events.into_iter().map(with_own).collect() }
    }

    /// The deliveries and own steps of a flow. What was caused stands behind its cause; where nothing is caused, the
    /// lower number stands before.
    pub(crate) fn steps<'t>(&'t self, flow: &str) -> Vec<&'t str> {
        let mut left: BTreeMap<_, _> = self.of(flow).map(|(id, number, shown)| ((place(number), id), shown)).collect();
        let causes: BTreeMap<Id, BTreeSet<Id>> = left.keys().map(|(_, id)| (*id, self.ancestors(*id, false))).collect();
        let mut steps = Vec::new();
        while !left.is_empty() {
            let ready = left.keys().find(|(_, id)| !left.keys().any(|(_, other)| causes[id].contains(other)));
            let next = *ready.expect("nothing causes itself");
            steps.extend(left.remove(&next));
        }
        steps
    }

    /// What is wrong with a flow. `must_cause` are the chains of steps in which each must have caused the next. In
    /// `after`, the steps that begin so came later than the step before them: outside the daemon one led to the other,
    /// and inside an actor saw them in this order.
    pub(crate) fn wrong(&self, flow: &str, must_cause: &[&str], after: &[(&str, &str)]) -> Vec<String> {
        let mut wrong = Vec::new();
        for chain in must_cause {
            let chain: Vec<&str> = chain.split_whitespace().collect();
            for pair in chain.windows(2) {
                wrong.extend(self.out_of_place(flow, pair[0], &format!("{} ", pair[1]), false));
            }
        }
        for (earlier, later) in after {
            wrong.extend(self.out_of_place(flow, earlier, later, true));
        }
        wrong
    }

    /// Every step that begins with `later` and has no step `earlier` behind it.
    fn out_of_place(&self, flow: &str, earlier: &str, later: &str, order: bool) -> Vec<String> {
        let before: Vec<Id> = self.of(flow).filter(|(_, number, _)| *number == earlier).map(|(id, ..)| id).collect();
        let mut later = self.of(flow).filter(|(_, _, shown)| shown.starts_with(later)).peekable();
        if later.peek().is_none() {
            return vec![format!("what stands behind {earlier} is missing")];
        }
        let alone = later.filter(|(id, ..)| {
            let found = self.ancestors(*id, order);
            !before.iter().any(|id| found.contains(id))
        });
        alone.map(|(_, _, shown)| format!("{earlier} does not stand behind `{shown}`")).collect()
    }

    fn of<'t>(&'t self, flow: &str) -> impl Iterator<Item = (Id, &'t str, &'t str)> {
        self.events.iter().filter_map(move |(id, event)| {
            let (of, number, shown) = event.step.as_ref()?;
            (of == flow).then_some((*id, number.as_str(), shown.as_str()))
        })
    }

    /// What caused an event; with `order`, also what its actors had handled before.
    fn ancestors(&self, of: Id, order: bool) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        let mut open = vec![of];
        while let Some(id) = open.pop() {
            let parents = self.events.get(&id).map(|event| event.parents.as_slice()).unwrap_or_default();
            let earlier = self.events.range((id.0, 0)..id).next_back().map(|(id, _)| *id).filter(|_| order);
            let all = parents.iter().copied().chain(earlier);
            open.extend(all.filter(|parent| *parent != of && found.insert(*parent)));
        }
        found
    }
}

/// A flow of three steps: the first caused the second, by way of something that is no step.
const SOUND: [&str; 5] = [
    r#"{"format":"twinway-trace","version":1}"#,
    r#"{"event":"2.1","from":"Dts/0","to":"Dtac/0","flow":"9.2","step":"15","message":"Ask"}"#,
    r#"{"event":"1.2","cause":"2.1","from":"Dtac/0","to":"Dts/0","message":"Other"}"#,
    r#"{"event":"2.2","cause":"1.2","joined":["2.1"],"from":"Dts/0","to":"Dtac/0","flow":"9.2","step":"16","message":"Answer"}"#,
    r#"{"event":"2.3","cause":"2.2","from":"Dtac/0","to":"Dtac/0","flow":"9.2","step":"17","message":"own"}"#,
];

#[test]
fn a_sound_trace_is_sound_and_one_without_a_cause_is_not() {
    let trace = Trace::read(&SOUND.join("\n"));
    assert_eq!(trace.steps("9.2"), ["15 Dts → Dtac Ask", "16 Dts → Dtac Answer", "17 Dtac own"]);
    assert_eq!(trace.wrong("9.2", &["15 16 17"], &[]), [""; 0]);
    let uncaused = SOUND.join("\n").replace(r#""cause":"1.2","joined":["2.1"],"#, "");
    let trace = Trace::read(&uncaused);
    assert_eq!(trace.wrong("9.2", &["15 16 17"], &[]), ["15 does not stand behind `16 Dts → Dtac Answer`"]);
    assert_eq!(trace.wrong("9.2", &[], &[("15", "16 "), ("16", "17 ")]), [""; 0], "one actor saw them in this order");
    assert_eq!(trace.wrong("9.2", &[], &[("16", "15 ")]), ["16 does not stand behind `15 Dts → Dtac Ask`"]);
    let missing = SOUND[..4].join("\n");
    assert_eq!(Trace::read(&missing).wrong("9.2", &["15 16 17"], &[]), ["what stands behind 16 is missing"]);
}

#[test]
#[should_panic(expected = "lost")]
fn a_trace_with_lost_events_proves_nothing() {
    Trace::read(&[SOUND[0], r#"{"lost":3}"#].join("\n"));
}
