//! Judges the order of steps from a recorded trace: what caused what, and what came before what.
//!
//! An event *caused* another if the other's turn handled it, or took up what it had left pending, and so on. An event
//! came *before* another if it caused it, or was taken earlier by the same actor, and so on. A step that an entity
//! takes by itself stands for its turn: it caused whatever else its turn caused.

use std::collections::{BTreeMap, BTreeSet};

use twinway::protocol::{EntityId, EventId, WireSet, message::Wire, trace::TraceEvent};

/// The verdict on an edge of a flow: `a` must cause `b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It did.
    Satisfied,
    /// It came before, and nothing enforced it.
    Lucky,
    /// It did not come before.
    Violated,
}

/// The edges of FGMV-29 9.1 where one step must cause the other.
pub(crate) const CAUSES_9_1: &[(&str, &str)] = &[
    ("1", "2"),
    ("2", "3"),
    ("4", "5"),
    ("6", "7"),
    ("7", "8"),
    ("8", "9"),
    ("9", "10"),
    ("11", "12"),
    ("12", "13"),
    ("13", "14"),
    ("14", "14x"),
    ("15", "16"),
    ("16", "17"),
    ("17", "18"),
    ("18", "19"),
];
/// The edges of FGMV-29 9.1 where one step may come any time after the other.
pub(crate) const AFTER_9_1: &[(&str, &str)] = &[("5", "6"), ("10", "11"), ("14", "15")];

/// The edges of FGMV-29 9.2 where one step must cause the other.
pub(crate) const CAUSES_9_2: &[(&str, &str)] = &[
    ("1", "2"),
    ("2", "3"),
    ("4", "5"),
    ("6", "7"),
    ("8", "9"),
    ("9", "10"),
    ("10", "11"),
    ("11", "12"),
    ("15", "16"),
    ("16", "17"),
    ("17", "18"),
    ("18", "18x"),
];
/// The edges of FGMV-29 9.2 where one step may come any time after the other.
pub(crate) const AFTER_9_2: &[(&str, &str)] = &[("5", "6"), ("7", "8"), ("12", "13"), ("13", "15")];

/// All events of a run.
pub(crate) struct Steps {
    events: BTreeMap<EventId, TraceEvent>,
    /// The steps that a turn took by itself.
    own: BTreeMap<EventId, Vec<EventId>>,
}

impl Steps {
    /// The events of every actor, in any order; none may be missing.
    pub(crate) fn new(events: impl IntoIterator<Item = TraceEvent>) -> Self {
        let mut own: BTreeMap<EventId, Vec<EventId>> = BTreeMap::new();
        let mut by_id = BTreeMap::new();
        for event in events {
            if is_own(&event) {
                own.entry(event.cause).or_default().push(event.event);
            }
            by_id.insert(event.event, event);
        }
        Self { events: by_id, own }
    }

    /// The steps of a flow, each as `number from → to name`: causes and what came before stand before, and otherwise
    /// lower numbers.
    pub(crate) fn sequence(&self, flow: &str) -> Vec<String> {
        let mut left: BTreeMap<_, &TraceEvent> =
            self.of(flow).map(|event| ((place(number(event)), event.to.kind(), event.event), event)).collect();
        let mut sequence = Vec::new();
        while !left.is_empty() {
            let first = |event: &&TraceEvent| {
                let before = self.ancestors(event.event, true);
                !left.values().any(|other| before.contains(&other.event))
            };
            let (key, event) = left.iter().find(|(_, event)| first(event)).expect("nothing comes before itself");
            sequence.push(shown(event));
            let key = *key;
            left.remove(&key);
        }
        sequence
    }

    /// What is wrong with a flow: steps that nothing enforced to be where they are, and steps out of order.
    /// `causes` are edges of must cause, `after` of may come any time after.
    pub(crate) fn wrong(&self, flow: &str, causes: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<String> {
        let mut wrong = Vec::new();
        for (edges, worst) in [(causes, Verdict::Satisfied), (after, Verdict::Lucky)] {
            for (a, b) in edges {
                for event in self.of(flow).filter(|event| number(event) == *b) {
                    let verdict = self.verdict(flow, a, event);
                    if verdict > worst {
                        wrong.push(format!("{flow} {a} < {b}: {verdict:?} for {}", shown(event)));
                    }
                }
            }
        }
        wrong
    }

    /// Whether some step `a` of the flow caused `b`, or came before it.
    pub(crate) fn verdict(&self, flow: &str, a: &str, b: &TraceEvent) -> Verdict {
        let (caused, before) = (self.ancestors(b.event, false), self.ancestors(b.event, true));
        let has =
            |events: &BTreeSet<EventId>| self.of(flow).any(|event| number(event) == a && events.contains(&event.event));
        match (has(&caused), has(&before)) {
            (true, _) => Verdict::Satisfied,
            (false, true) => Verdict::Lucky,
            (false, false) => Verdict::Violated,
        }
    }

    /// The events of a flow.
    pub(crate) fn of(&self, flow: &str) -> impl Iterator<Item = &TraceEvent> {
        self.events.values().filter(move |event| event.step.is_some_and(|step| step.flow == flow))
    }

    /// What caused an event; or, with `order`, what came before it.
    fn ancestors(&self, of: EventId, order: bool) -> BTreeSet<EventId> {
        let mut found = BTreeSet::new();
        let mut open = self.parents(of, order);
        while let Some(event) = open.pop() {
            if event != of && found.insert(event) {
                open.extend(self.parents(event, order));
            }
        }
        found
    }

    fn parents(&self, of: EventId, order: bool) -> Vec<EventId> {
        let Some(event) = self.events.get(&of) else { return Vec::new() };
        let mut parents: Vec<EventId> = event.joined.iter().copied().chain([event.cause]).collect();
        if !is_own(event) {
            let own = parents.iter().filter_map(|parent| self.own.get(parent)).flatten().copied().collect::<Vec<_>>();
            parents.extend(own);
        }
        if order {
            // Ids of one actor follow each other.
            let earlier = self.events.range(..of).next_back().map(|(id, _)| *id);
            parents.extend(earlier.filter(|id| id.actor() == of.actor()));
        }
        parents
    }
}

fn is_own(event: &TraceEvent) -> bool {
    event.name == "own"
}

fn number(event: &TraceEvent) -> &'static str {
    event.step.map_or("", |step| step.number)
}

/// `2` before `10`, and `14` before `14x`.
fn place(number: &str) -> (u32, &str) {
    let digits = number.trim_end_matches('x');
    (digits.parse().expect("a step has a number"), number.trim_start_matches(digits))
}

fn shown(event: &TraceEvent) -> String {
    let kind = |id: EntityId| Wire::kind_name(id.kind());
    if is_own(event) {
        return format!("{} {} own", number(event), kind(event.to));
    }
    format!("{} {} → {} {}", number(event), kind(event.from), kind(event.to), event.name)
}
