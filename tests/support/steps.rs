//! Judges the order of steps from a recorded trace by the flow files, and shows the steps in their order.
//!
//! An event *caused* another if the other's turn handled it, or took up what it had left pending, and so on. An event
//! came *before* another if it caused it, or was taken earlier by the same actor, and so on. A step that an entity
//! takes by itself stands for its turn: it caused whatever else its turn caused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use twinway::{
    protocol::{
        EntityId, EventId, WireSet,
        flow::{Checker, Limits, Traced},
        message::Wire,
        trace::TraceEvent,
    },
    scenarios::flow::find,
};

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
                let before = self.ancestors(event.event);
                !left.values().any(|other| before.contains(&other.event))
            };
            let (key, event) = left.iter().find(|(_, event)| first(event)).expect("nothing comes before itself");
            sequence.push(shown(event));
            let key = *key;
            left.remove(&key);
        }
        sequence
    }

    /// What is wrong with a flow of the texts: what is not as its file says, and what is so by luck.
    pub(crate) fn wrong(&self, flow: &str) -> Vec<String> {
        let flow = find(flow).expect("it is a flow of the texts");
        let mut checker = Checker::new(Arc::clone(&flow), Limits { whole: true, ..Limits::any_order() });
        let mut wrong = Vec::new();
        for event in self.events.values() {
            checker.event(&Traced::of::<Wire>(event, 0), |finding| wrong.push(finding.shown(&flow).to_string()));
        }
        let report = checker.finish(|finding| wrong.push(finding.shown(&flow).to_string()));
        assert!(report.steps > 0, "there is something to judge");
        assert_eq!(report.is_strictly_held(), wrong.is_empty());
        wrong
    }

    /// The events of a flow.
    pub(crate) fn of(&self, flow: &str) -> impl Iterator<Item = &TraceEvent> {
        self.events.values().filter(move |event| event.step.is_some_and(|step| step.flow == flow))
    }

    /// What came before an event.
    fn ancestors(&self, of: EventId) -> BTreeSet<EventId> {
        let mut found = BTreeSet::new();
        let mut open = self.parents(of);
        while let Some(event) = open.pop() {
            if event != of && found.insert(event) {
                open.extend(self.parents(event));
            }
        }
        found
    }

    fn parents(&self, of: EventId) -> Vec<EventId> {
        let Some(event) = self.events.get(&of) else { return Vec::new() };
        let mut parents: Vec<EventId> = event.joined.iter().copied().chain([event.cause]).collect();
        if !is_own(event) {
            let own = parents.iter().filter_map(|parent| self.own.get(parent)).flatten().copied().collect::<Vec<_>>();
            parents.extend(own);
        }
        // Ids of one actor follow each other.
        let earlier = self.events.range(..of).next_back().map(|(id, _)| *id);
        parents.extend(earlier.filter(|id| id.actor() == of.actor()));
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
