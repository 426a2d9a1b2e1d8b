//! What a checker finds, one by one and all together.

use std::fmt;

use super::Flow;
use crate::EventId;

/// One thing that is not as the flow says, or that nothing enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// At which event; of a missing step, the event that began its instance.
    pub event: EventId,
    /// The place of that event, as the trace's reader gave it (a line of a file).
    pub place: u64,
}

/// What a finding is. Steps and edges are indices into the flow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// The edge's earlier step came before, and did not cause the later: nothing enforces the order.
    Lucky(usize),
    /// The edge's earlier step did not come before.
    Violated(usize),
    /// The step never came, although all before it in its instance did.
    Missing(usize),
    /// The step came again in the same instance.
    Repeated(usize),
    /// Another step of the same choice was taken in the same instance.
    BothOfChoice(usize),
    /// The edge's later step was taken because of its earlier one, which was refused or rejected: that ends the flow.
    AfterEnd(usize),
    /// An event has a number that the flow does not have.
    UnknownStep,
    /// The step was taken between other entities, or with another message, than the flow says.
    OtherWay(usize),
    /// A parent of the event never happened.
    UnknownParent(EventId),
    /// A parent of the event has the event among its own causes.
    Loop(EventId),
    /// There was an event with this id before.
    SameEvent,
}

impl Finding {
    /// Whether the flow holds in spite of it: the order was kept, but only by luck.
    #[must_use]
    pub fn is_lucky(&self) -> bool {
        matches!(self.kind, FindingKind::Lucky(_))
    }

    /// The finding as a sentence about `flow`.
    #[must_use]
    pub fn shown<'f>(&'f self, flow: &'f Flow) -> impl fmt::Display + 'f {
        Shown { finding: self, flow }
    }
}

struct Shown<'f> {
    finding: &'f Finding,
    flow: &'f Flow,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { finding, flow } = self;
        let event = finding.event;
        match finding.kind {
            FindingKind::Lucky(edge) => {
                write!(f, "lucky: {} at {event:?}: it came in this order, but was not caused", flow.shown_edge(edge))
            }
            FindingKind::Violated(edge) => {
                let earlier = flow.edges().get(edge).map_or("", |edge| flow.number(edge.from));
                write!(f, "violated: {} at {event:?}: step {earlier} did not come before", flow.shown_edge(edge))
            }
            FindingKind::Missing(step) => {
                write!(f, "missing: step {} of what {event:?} began", flow.number(step))
            }
            FindingKind::Repeated(step) => write!(f, "repeated: step {} at {event:?}", flow.number(step)),
            FindingKind::BothOfChoice(step) => {
                write!(f, "unexpected: step {} at {event:?}: another of its choice was taken", flow.number(step))
            }
            FindingKind::AfterEnd(edge) => {
                let number =
                    |step: fn(&super::Edge) -> usize| flow.edges().get(edge).map_or("", |edge| flow.number(step(edge)));
                let (ended, later) = (number(|edge| edge.from), number(|edge| edge.to));
                write!(f, "unexpected: step {later} at {event:?}: step {ended} refused, and with that the flow ended")
            }
            FindingKind::UnknownStep => {
                write!(f, "unexpected: {event:?} is a step that {} does not have", flow.name())
            }
            FindingKind::OtherWay(step) => {
                write!(
                    f,
                    "unexpected: step {} at {event:?} is not between these entities, or with this message",
                    flow.number(step)
                )
            }
            FindingKind::UnknownParent(parent) => {
                write!(f, "broken trace: {event:?} was caused by {parent:?}, which never happened")
            }
            FindingKind::Loop(parent) => {
                write!(f, "broken trace: {event:?} was caused by {parent:?}, and that by {event:?}")
            }
            FindingKind::SameEvent => write!(f, "broken trace: {event:?} is there twice"),
        }
    }
}

/// How often an edge had which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeCount {
    /// The earlier step caused the later; of `...`, it came before.
    pub satisfied: u64,
    /// The right order, but nothing enforced it.
    pub lucky: u64,
    /// The earlier step did not come before.
    pub violated: u64,
    /// Not judged: the trace lacks what would tell, or a refusal excuses it.
    pub unjudged: u64,
}

/// What came of a whole trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events that were taken.
    pub events: u64,
    /// Those of them that are steps of the flow.
    pub steps: u64,
    /// Instances of the flow's chains that were begun.
    pub instances: u64,
    /// The verdicts of each edge, in the flow's order.
    pub edges: Vec<EdgeCount>,
    /// Steps that never came.
    pub missing: u64,
    /// Steps that came again.
    pub repeated: u64,
    /// Steps of no known number, taken in another way, or after what ended the flow.
    pub unexpected: u64,
    /// What makes the trace itself unsound: parents that never happened, loops of parents, ids that come twice.
    pub broken: u64,
    /// Events that were let go because so many came after them ([`Limits::events_kept`](super::Limits)).
    pub forgotten_events: u64,
    /// Parents that could not be found since they were let go or lost.
    pub forgotten_parents: u64,
    /// Instances that were let go before they were complete ([`Limits::instances_open`](super::Limits)).
    pub forgotten_instances: u64,
    /// Events that the recorder lost, as it said.
    pub lost_events: u64,
}

impl Report {
    /// The verdicts of all edges together.
    #[must_use]
    pub fn verdicts(&self) -> EdgeCount {
        self.edges.iter().fold(EdgeCount::default(), |all, edge| EdgeCount {
            satisfied: all.satisfied + edge.satisfied,
            lucky: all.lucky + edge.lucky,
            violated: all.violated + edge.violated,
            unjudged: all.unjudged + edge.unjudged,
        })
    }

    /// Whether nothing was found that the flow forbids. Lucky edges are not forbidden: ask [`Report::is_strictly_held`].
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdicts().violated + self.missing + self.repeated + self.unexpected + self.broken == 0
    }

    /// Whether it holds, and no order was kept by luck.
    #[must_use]
    pub fn is_strictly_held(&self) -> bool {
        self.holds() && self.verdicts().lucky == 0
    }

    pub(super) fn count(&mut self, kind: FindingKind) {
        let edge = |edges: &mut Vec<EdgeCount>, at: usize, add: fn(&mut EdgeCount)| {
            if let Some(edge) = edges.get_mut(at) {
                add(edge);
            }
        };
        match kind {
            FindingKind::Lucky(at) => edge(&mut self.edges, at, |edge| edge.lucky += 1),
            FindingKind::Violated(at) => edge(&mut self.edges, at, |edge| edge.violated += 1),
            FindingKind::Missing(_) => self.missing += 1,
            FindingKind::Repeated(_) => self.repeated += 1,
            FindingKind::BothOfChoice(_)
            | FindingKind::AfterEnd(_)
            | FindingKind::UnknownStep
            | FindingKind::OtherWay(_) => self.unexpected += 1,
            FindingKind::UnknownParent(_) | FindingKind::Loop(_) | FindingKind::SameEvent => self.broken += 1,
        }
    }
}
