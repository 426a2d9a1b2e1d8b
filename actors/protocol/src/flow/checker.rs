//! The rule that judges a trace by a flow: one pass, bounded memory, any number of instances at once.
//!
//! Each event carries the set of steps that caused it, so that a verdict is two mask operations. An event whose parents
//! have not come yet waits for them, within a window; an event that is old is let go, and if somebody names it as a
//! parent afterwards, what hangs on it is not judged instead of judged wrongly.

use std::sync::Arc;

use super::{
    Finding, FindingKind, Flow, OWN, RECOVERED, Report, Taken,
    index::Index,
    instance::Instances,
    kept::{Kept, Ring, Slot},
};
use crate::{EventId, WireSet, trace::TraceEvent};

/// How much a checker keeps. What is past a limit is counted in its [`Report`], never silently wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many later events an event waits for, in case they are its parents. 0 for a trace in which causes stand
    /// before what they cause, as one thread records them; more for one that several threads wrote.
    pub settle_events: usize,
    /// Events that are kept because others may name them as parents, the newest ones; at least twice `settle_events`.
    pub events_kept: usize,
    /// Instances of chains of which is known what they still lack, the newest ones.
    pub instances_open: usize,
    /// Actors whose own order is known.
    pub actors_kept: usize,
    /// Joined parents of events that wait, all together.
    pub joined_waiting: usize,
    /// Whether the trace begins with the system's first event. Otherwise a step that was never seen may have come in
    /// an earlier life of it, and is no reason to complain of one that comes any time after it.
    pub whole: bool,
    /// Whether the trace shows the steps that happen outside the system: a simulated world knows them. Otherwise nobody
    /// judges what hangs on them.
    pub outside: bool,
}

impl Limits {
    /// For what one thread recorded from the beginning on: a simulated world.
    #[must_use]
    pub const fn in_order() -> Self {
        Self {
            settle_events: 0,
            events_kept: 1 << 18,
            instances_open: 1 << 16,
            actors_kept: 1 << 20,
            joined_waiting: 1 << 18,
            whole: true,
            outside: false,
        }
    }

    /// For what many actors wrote: a trace file, or a daemon that is watched.
    #[must_use]
    pub const fn any_order() -> Self {
        Self { settle_events: 1 << 16, whole: false, ..Self::in_order() }
    }
}

/// An event of a trace, as a checker takes it.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'e> {
    /// Its id.
    pub event: EventId,
    /// The turn that sent it; [`EventId::NONE`] if it came from outside.
    pub cause: EventId,
    /// What else led to it.
    pub joined: &'e [EventId],
    /// Who sent it, by the name of its kind.
    pub from: &'e str,
    /// Who handled it, by the name of its kind.
    pub to: &'e str,
    /// The flow and the number of the step that it is, if it is one.
    pub step: Option<(&'e str, &'e str)>,
    /// The type of the message; [`OWN`] for an own step.
    pub name: &'e str,
    /// Where it stands in the trace, for findings: the line of a file, for example.
    pub place: u64,
}

impl<'e> Traced<'e> {
    /// An event that a runtime of system `W` recorded.
    #[must_use]
    pub fn of<W: WireSet>(event: &'e TraceEvent, place: u64) -> Self {
        Self {
            event: event.event,
            cause: event.cause,
            joined: &event.joined,
            from: W::kind_name(event.from.kind()),
            to: W::kind_name(event.to.kind()),
            step: event.step.map(|step| (step.flow, step.number)),
            name: event.name,
            place,
        }
    }
}

/// Judges one trace by one flow.
///
/// ```
/// use std::sync::Arc;
/// use twinway_protocol::{EventId, flow::{Branch, Checker, Entity, FlowDraft, FlowStep, Hop, Limits, Traced}};
/// let step = |number: &str, from: &str, to: &str, message: &str| FlowStep {
///     number: number.into(), title: String::new(), clause: String::new(), from: from.into(), to: to.into(),
///     hops: vec![Hop {
///         flow: "tea".into(), number: number.into(), from: from.into(), to: to.into(),
///         messages: vec![message.into()], branch: Branch::Main,
///     }],
///     optional: false, repeated: false, extension: false, choice: None, contains: None,
/// };
/// let flow = FlowDraft {
///     name: "tea".into(),
///     entities: ["Guest", "Cook"].map(|name| Entity { name: name.into(), title: String::new() }).into(),
///     steps: vec![step("1", "Guest", "Cook", "Order"), step("2", "Cook", "Guest", "Serve")],
///     order: vec!["1 < 2".into()],
///     ..FlowDraft::default()
/// };
/// let mut checker = Checker::new(Arc::new(flow.check()?), Limits::in_order());
/// let order = Traced {
///     event: EventId::new(1, 1), cause: EventId::NONE, joined: &[], from: "Guest", to: "Cook",
///     step: Some(("tea", "1")), name: "Order", place: 1,
/// };
/// let mut findings = Vec::new();
/// checker.event(&order, |finding| findings.push(finding));
/// let report = checker.finish(|finding| findings.push(finding));
/// assert_eq!((report.holds(), report.missing), (false, 1));
/// # Ok::<(), twinway_protocol::flow::FlowError>(())
/// ```
#[derive(Debug)]
pub struct Checker {
    pub(super) flow: Arc<Flow>,
    pub(super) limits: Limits,
    pub(super) ring: Ring,
    pub(super) instances: Instances,
    /// Where in `before` each actor is, from 1.
    pub(super) actors: Index,
    /// The steps that came before the next event of an actor.
    pub(super) before: Vec<u64>,
    /// Events that are being settled, each before those that it led to.
    pub(super) open: Vec<Frame>,
    /// How often each step came outside of any instance.
    pub(super) strays: Vec<u64>,
    /// How often each step came as a refusal of another instance than the one that it seemed to be of.
    pub(super) refusals: Vec<u64>,
    /// The steps that were ever taken.
    pub(super) ever: u64,
    /// The steps that were taken until the system started again, if it did.
    pub(super) past: Option<u64>,
    /// Something is missing from the trace or from memory, so not having seen something proves nothing.
    pub(super) unsure: bool,
    pub(super) report: Report,
}

/// An event that is being settled, and what its parents gave it so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    pub(super) slot: Slot,
    /// The next parent: 0 the event before of the same actor, 1 the cause, then the joined ones.
    pub(super) next: u32,
    pub(super) caused: u64,
    pub(super) before: u64,
    pub(super) unknown: u64,
    pub(super) instance: u32,
    pub(super) fallback: u32,
    pub(super) also: u32,
}

impl Checker {
    /// Nothing judged yet. `limits` that contradict each other are brought into their bounds.
    #[must_use]
    pub fn new(flow: Arc<Flow>, mut limits: Limits) -> Self {
        limits.events_kept = limits.events_kept.clamp(2, 1 << 31);
        limits.actors_kept = limits.actors_kept.min(1 << 24);
        limits.settle_events = limits.settle_events.min(limits.events_kept / 2 - 1);
        let edges = vec![super::EdgeCount::default(); flow.edges.len()];
        Self {
            ring: Ring::new(limits.events_kept),
            instances: Instances::new(limits.instances_open.min(1 << 31)),
            actors: Index::new(),
            before: Vec::new(),
            open: Vec::new(),
            strays: vec![0; flow.steps.len()],
            refusals: vec![0; flow.steps.len()],
            ever: 0,
            past: None,
            unsure: false,
            report: Report { edges, ..Report::default() },
            flow,
            limits,
        }
    }

    /// The flow by which it judges.
    #[must_use]
    pub fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// What came of it so far. What still waits for its parents is not in it.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Takes the next event, and tells what is wrong with it or with one that waited until now.
    pub fn event(&mut self, traced: &Traced<'_>, mut tell: impl FnMut(Finding)) {
        self.report.events += 1;
        let joined_max = self.limits.joined_waiting;
        let joined = traced.joined.iter().take(joined_max);
        while self.ring.waiting() > 0 && self.ring.joined_waiting() + joined.len() > joined_max {
            self.settle_oldest(&mut tell);
        }
        let is_own = traced.name == OWN;
        let taken = match traced.step {
            Some((flow, number)) => self.flow.taken(flow, number, traced.from, traced.to, traced.name),
            None => Taken::Nothing,
        };
        let kept = Kept {
            id: traced.event.to_bits(),
            cause: traced.cause.to_bits(),
            place: traced.place,
            taken,
            is_own,
            recovers: traced.name == RECOVERED,
            unknown: if traced.joined.len() > joined_max { u64::MAX } else { 0 },
            ..Kept::default()
        };
        let Some(slot) = self.ring.insert(kept, joined.map(|event| event.to_bits())) else {
            return self.tell(FindingKind::SameEvent, traced.event, traced.place, &mut tell);
        };
        if is_own {
            self.hang(slot, kept.cause);
        }
        while self.ring.waiting() > self.limits.settle_events as u64 {
            self.settle_oldest(&mut tell);
        }
    }

    /// The recorder says that so many events are missing from here on.
    pub fn lost(&mut self, events: u64) {
        self.report.lost_events += events;
        self.unsure = true;
    }

    /// The system starts again: whatever came until now came before what follows, and each entity, which has another
    /// number as an actor, takes up what it had written down of it.
    pub fn restarted(&mut self) {
        self.past = Some(self.ever);
    }

    /// Settles what waits for its parents: whoever watches knows that nothing older will come.
    pub fn settle(&mut self, mut tell: impl FnMut(Finding)) {
        while self.ring.waiting() > 0 {
            self.settle_oldest(&mut tell);
        }
    }

    /// The trace is over: settles what waits, tells what never came, and gives the whole.
    pub fn finish(mut self, tell: impl FnMut(Finding)) -> Report {
        self.end(tell);
        self.report
    }

    /// The trace is over, as for [`Checker::finish`]; [`Checker::report`] has the whole, and the next trace comes after
    /// [`Checker::reset`].
    pub fn end(&mut self, mut tell: impl FnMut(Finding)) {
        self.settle(&mut tell);
        self.report.forgotten_events = self.ring.forgotten();
        let Self { instances, flow, report, unsure, strays, refusals, .. } = self;
        instances.missing(flow, strays, refusals, |kind, event, place| {
            // What is not in the trace may be among what was lost.
            if !*unsure {
                report.count(kind);
                tell(Finding { kind, event, place });
            }
        });
    }

    /// Another trace comes: nothing is kept of the last one but its memory.
    pub fn reset(&mut self) {
        self.ring.clear();
        self.instances.clear();
        self.actors.clear();
        self.before.clear();
        self.open.clear();
        self.strays.fill(0);
        self.refusals.fill(0);
        (self.ever, self.past, self.unsure) = (0, None, false);
        let mut edges = std::mem::take(&mut self.report.edges);
        edges.fill(super::EdgeCount::default());
        self.report = Report { edges, ..Report::default() };
    }

    /// Remembers an own step at its turn, which stands before it in any trace.
    fn hang(&mut self, slot: Slot, turn: u64) {
        let Some(turn_slot) = self.ring.find(turn).filter(|turn| *turn != slot) else { return };
        let Some(turn) = self.ring.get_mut(turn_slot) else { return };
        let last = std::mem::replace(&mut turn.own_last, slot);
        if turn.own_first == 0 {
            turn.own_first = slot;
        } else if let Some(last) = self.ring.get_mut(last) {
            last.own_next = slot;
        }
    }

    pub(super) fn tell(&mut self, kind: FindingKind, event: EventId, place: u64, tell: &mut impl FnMut(Finding)) {
        self.report.count(kind);
        tell(Finding { kind, event, place });
    }
}
