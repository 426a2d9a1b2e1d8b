//! The rule that judges a trace by a flow: one pass, bounded memory, any number of instances at once.
//!
//! Each event carries the set of steps that caused it, so that a verdict is two mask operations. An event whose parents
//! have not come yet waits for them, within a window; an event that is old is let go, and if somebody names it as a
//! parent afterwards, what hangs on it is not judged instead of judged wrongly.

use std::sync::Arc;

use super::{Checkers, Finding, Flow, Report};
use crate::{EventId, WireSet, trace::TraceEvent};

/// How much a checker keeps. What is past a limit is counted in its [`Report`], never silently wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many later events an event waits for, in case they are its parents. 0 for a trace in which causes stand
    /// before what they cause, as one thread records them; more for one that several threads wrote. One that an older event
    /// names as its parent waits no longer than that does.
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
    /// The type of the message; [`OWN`](super::OWN) for an own step.
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
pub struct Checker(Checkers);

impl Checker {
    /// Nothing judged yet. `limits` that contradict each other are brought into their bounds.
    #[must_use]
    pub fn new(flow: Arc<Flow>, limits: Limits) -> Self {
        Self(Checkers::new(flow, [], limits))
    }

    /// The flow by which it judges.
    #[must_use]
    pub fn flow(&self) -> &Arc<Flow> {
        self.0.first().flow()
    }

    /// What came of it so far. What still waits for its parents is not in it.
    #[must_use]
    pub fn report(&self) -> &Report {
        self.0.first().report()
    }

    /// Takes the next event, and tells what is wrong with it or with one that waited until now.
    pub fn event(&mut self, traced: &Traced<'_>, mut tell: impl FnMut(Finding)) {
        self.0.event(traced, |_, finding| tell(finding));
    }

    /// As [`Checker::event`], for an event that a runtime of system `W` recorded: all are of the same system. What it
    /// says is looked up once for each kind of event.
    pub fn recorded<W: WireSet>(&mut self, event: &TraceEvent, place: u64, mut tell: impl FnMut(Finding)) {
        self.0.recorded::<W>(event, place, |_, finding| tell(finding));
    }

    /// The recorder says that so many events are missing from here on.
    pub fn lost(&mut self, events: u64) {
        self.0.lost(events);
    }

    /// The system starts again: whatever came until now came before what follows, and each entity, which has another
    /// number as an actor, takes up what it had written down of it.
    pub fn restarted(&mut self) {
        self.0.restarted();
    }

    /// Settles what waits for its parents: whoever watches knows that nothing older will come.
    pub fn settle(&mut self, mut tell: impl FnMut(Finding)) {
        self.0.settle(|_, finding| tell(finding));
    }

    /// The trace is over: settles what waits, tells what never came, and gives the whole.
    pub fn finish(mut self, tell: impl FnMut(Finding)) -> Report {
        self.end(tell);
        self.0.into_first_report()
    }

    /// The trace is over, as for [`Checker::finish`]; [`Checker::report`] has the whole, and the next trace comes after
    /// [`Checker::reset`].
    pub fn end(&mut self, mut tell: impl FnMut(Finding)) {
        self.0.end(|_, finding| tell(finding));
    }

    /// Another trace comes: nothing is kept of the last one but its memory.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}
