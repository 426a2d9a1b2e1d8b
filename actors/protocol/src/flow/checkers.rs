//! Judges one trace by several flows: the events and who caused whom are kept once for all of them.

use std::sync::Arc;

use super::{
    Finding, FindingKind, Flow, Limits, OWN, RECOVERED, Report, Taken, Traced,
    judge::Judge,
    kinds::Kinds,
    window::{Kept, Slot, State, Window},
};
use crate::{EventId, WireSet, trace::TraceEvent};

/// Whom findings are told to: the number of the flow, and what was found.
pub(super) type Tell<'t> = &'t mut dyn FnMut(usize, Finding);

/// Judges one trace by several flows, as a [`Checker`](super::Checker) for each would. Findings are told with the number
/// of their flow, in the order in which the flows were given.
#[derive(Debug)]
pub struct Checkers {
    window: Window,
    first: Judge,
    others: Vec<Judge>,
    shared: Shared,
    kinds: Kinds,
    joined_max: usize,
    settle_events: usize,
    /// Events that are being settled, each before those that it led to.
    open: Vec<Frame>,
    /// Their parents that are settled, one event's behind the other's; 0 for one of which nothing is known.
    parents: Vec<Slot>,
}

/// What is the same for all flows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    pub(super) whole: bool,
    pub(super) outside: bool,
    /// Something is missing from the trace or from memory, so not having seen something proves nothing.
    pub(super) unsure: bool,
    /// The system started again: what actors do that were not known until now comes after all that was.
    pub(super) restarted: bool,
    lost_events: u64,
}

/// An event that is being settled.
#[derive(Clone, Copy, Debug)]
struct Frame {
    slot: Slot,
    /// The next parent: 0 the event before of the same actor, 1 the cause, then the joined ones.
    next: usize,
    /// Where in [`Checkers::parents`] its own begin.
    parents_at: usize,
}

impl Checkers {
    /// Nothing judged yet. `limits` that contradict each other are brought into their bounds.
    #[must_use]
    pub fn new(first: Arc<Flow>, others: impl IntoIterator<Item = Arc<Flow>>, limits: Limits) -> Self {
        let events_kept = limits.events_kept.clamp(2, 1 << 31);
        let judge = |(number, flow)| Judge::new(number, flow, limits.instances_open);
        Self {
            window: Window::new(events_kept, limits.actors_kept.min(1 << 24)),
            first: judge((0, first)),
            others: (1..).zip(others).map(judge).collect(),
            shared: Shared {
                whole: limits.whole,
                outside: limits.outside,
                unsure: false,
                restarted: false,
                lost_events: 0,
            },
            kinds: Kinds::default(),
            joined_max: limits.joined_waiting,
            settle_events: limits.settle_events.min(events_kept / 2 - 1),
            open: Vec::new(),
            parents: Vec::new(),
        }
    }

    pub(super) const fn first(&self) -> &Judge {
        &self.first
    }

    pub(super) fn into_first_report(self) -> Report {
        self.first.into_report()
    }

    /// Each flow, and what came of it so far. What still waits for its parents is not in it.
    pub fn reports(&self) -> impl Iterator<Item = (&Arc<Flow>, &Report)> {
        std::iter::once(&self.first).chain(&self.others).map(|judge| (judge.flow(), judge.report()))
    }

    fn judges(&mut self) -> impl Iterator<Item = &mut Judge> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// Takes the next event, and tells what is wrong with it or with one that waited until now.
    pub fn event(&mut self, traced: &Traced<'_>, mut tell: impl FnMut(usize, Finding)) {
        let Some(slot) = self.insert(traced, &mut tell) else { return };
        for judge in self.judges() {
            let taken = judge.flow().taken_by(traced);
            judge.insert(slot, taken);
        }
        self.settle_down(&mut tell);
    }

    /// As [`Checkers::event`], for an event that a runtime of system `W` recorded: all are of the same system. What it
    /// says is looked up once for each kind of event.
    pub fn recorded<W: WireSet>(&mut self, event: &TraceEvent, place: u64, mut tell: impl FnMut(usize, Finding)) {
        // No finding names these, and what they are is looked up below.
        let bare = Traced {
            event: event.event,
            cause: event.cause,
            joined: &event.joined,
            from: "",
            to: "",
            step: None,
            name: event.name,
            place,
        };
        let Some(slot) = self.insert(&bare, &mut tell) else { return };
        let (first, others) = (&self.first, &self.others);
        let taken = self.kinds.taken(event, 1 + others.len(), || {
            let traced = Traced::of::<W>(event, place);
            std::iter::once(first).chain(others).map(move |judge| judge.flow().taken_by(&traced))
        });
        let judges = std::iter::once(&mut self.first).chain(&mut self.others);
        judges.zip(taken).for_each(|(judge, taken)| judge.insert(slot, *taken));
        self.settle_down(&mut tell);
    }

    fn insert(&mut self, traced: &Traced<'_>, tell: Tell<'_>) -> Option<Slot> {
        self.judges().for_each(Judge::came);
        let joined = traced.joined.get(..self.joined_max).unwrap_or(traced.joined);
        while self.window.waiting() > 0 && self.window.joined_waiting() + joined.len() > self.joined_max {
            self.settle_oldest(tell);
        }
        let mut kept = Kept::new(traced.event, traced.cause, traced.place);
        kept.is_own = traced.name == OWN;
        kept.recovers = traced.name == RECOVERED;
        kept.cut = traced.joined.len() > joined.len();
        let slot = self.window.insert(kept, joined);
        match slot {
            None => self.broken(FindingKind::SameEvent, &kept, tell),
            Some(slot) if kept.is_own => self.window.hang(slot, kept.cause),
            Some(_) => {}
        }
        slot
    }

    /// Tells of each flow what makes the trace itself unsound.
    fn broken(&mut self, kind: FindingKind, kept: &Kept, tell: Tell<'_>) {
        self.judges().for_each(|judge| judge.tell(kind, kept, tell));
    }

    /// The recorder says that so many events are missing from here on.
    pub fn lost(&mut self, events: u64) {
        self.judges().for_each(|judge| judge.lost(events));
        self.shared.lost_events = self.shared.lost_events.saturating_add(events);
        self.shared.unsure = true;
    }

    /// The system starts again: whatever came until now came before what follows, and each entity, which has another
    /// number as an actor, takes up what it had written down of it.
    pub fn restarted(&mut self) {
        self.judges().for_each(Judge::restarted);
        self.shared.restarted = true;
    }

    /// Settles what waits for its parents: whoever watches knows that nothing older will come.
    pub fn settle(&mut self, mut tell: impl FnMut(usize, Finding)) {
        while self.window.waiting() > 0 {
            self.settle_oldest(&mut tell);
        }
    }

    /// The trace is over: settles what waits and tells what never came. [`Checkers::reports`] has the whole, and the next
    /// trace comes after [`Checkers::reset`].
    pub fn end(&mut self, mut tell: impl FnMut(usize, Finding)) {
        self.settle(&mut tell);
        // What is not in the trace may be among what was lost. What came and hangs on something that was let go is known to
        // have come, and stands in for what seems to be missing.
        let (forgotten, lost) = (self.window.forgotten(), self.shared.lost_events > 0);
        self.judges().for_each(|judge| judge.end(forgotten, lost, &mut tell));
    }

    /// Another trace comes: nothing is kept of the last one but its memory.
    pub fn reset(&mut self) {
        self.window.clear();
        self.judges().for_each(Judge::reset);
        self.open.clear();
        self.parents.clear();
        (self.shared.unsure, self.shared.restarted, self.shared.lost_events) = (false, false, 0);
    }

    fn settle_down(&mut self, tell: Tell<'_>) {
        while self.window.waiting() > self.settle_events {
            self.settle_oldest(tell);
        }
    }

    /// Settles the event that waits longest: its parents first, then what they hand on to it, then its verdicts.
    fn settle_oldest(&mut self, tell: Tell<'_>) {
        let Some(oldest) = self.window.oldest_waiting() else { return };
        self.begin(oldest, 1);
        while let Some(mut frame) = self.open.pop() {
            match self.unsettled_parent(&mut frame, tell) {
                Some(parent) => {
                    self.open.push(frame);
                    self.begin(parent, 0);
                }
                None => self.close(frame, tell),
            }
        }
        self.window.leave();
    }

    /// Opens an event unless it is settled. Its actor's earlier events matter only if it comes out of its turn.
    fn begin(&mut self, slot: Slot, next: usize) {
        if self.window.get(slot).is_some_and(|kept| kept.state == State::Waiting) {
            self.window.set_state(slot, State::Open);
            self.open.push(Frame { slot, next, parents_at: self.parents.len() });
        }
    }

    /// What must be settled before an event, if there is something; otherwise all its parents are found.
    fn unsettled_parent(&mut self, frame: &mut Frame, tell: Tell<'_>) -> Option<Slot> {
        let kept = *self.window.get(frame.slot)?;
        if frame.next == 0 {
            frame.next = 1;
            let earlier = self.actors_earlier(kept.id);
            if earlier.is_some() {
                return earlier;
            }
        }
        loop {
            let parent = match frame.next {
                1 => kept.cause,
                nth => self.window.joined(&kept, nth - 2)?,
            };
            if parent != EventId::NONE {
                match self.parent(&kept, parent, tell) {
                    Ok(settled) => self.parents.push(settled),
                    Err(first) => return Some(first),
                }
            }
            frame.next += 1;
        }
    }

    /// The newest earlier event of the same actor, if it waits still.
    fn actors_earlier(&self, id: EventId) -> Option<Slot> {
        let slot = self.window.before(id)?;
        self.window.get(slot).filter(|earlier| earlier.state == State::Waiting).map(|_| slot)
    }

    /// The parent of an event, 0 if nothing is known of it, or as an error what must be settled first.
    fn parent(&mut self, kept: &Kept, id: EventId, tell: Tell<'_>) -> Result<Slot, Slot> {
        let Some(slot) = self.window.find(id) else {
            if self.window.forgotten() == 0 && self.shared.lost_events == 0 {
                self.broken(FindingKind::UnknownParent(id), kept, tell);
            } else {
                self.judges().for_each(Judge::forgot_parent);
            }
            self.shared.unsure = true;
            return Ok(0);
        };
        match self.window.get(slot).map(|parent| parent.state) {
            Some(State::Waiting) => return Err(slot),
            Some(State::Open) => {
                self.broken(FindingKind::Loop(id), kept, tell);
                return Ok(0);
            }
            Some(State::Settled) | None => {}
        }
        // What a turn takes upon itself stands between it and all else that it caused.
        if !kept.is_own
            && let Some(own) = self.window.own_waiting(slot)
        {
            return Err(own);
        }
        Ok(slot)
    }

    fn close(&mut self, frame: Frame, tell: Tell<'_>) {
        let Some(kept) = self.window.get(frame.slot).copied() else { return };
        let turn = if kept.is_own { self.window.find(kept.cause).filter(|turn| *turn != frame.slot) } else { None };
        let first_of_actor = !self.window.rows.settle(kept.row());
        let parents = self.parents.get(frame.parents_at..).unwrap_or_default();
        for judge in std::iter::once(&mut self.first).chain(&mut self.others) {
            judge.close(&kept, frame.slot, parents, (turn, first_of_actor), &self.shared, tell);
        }
        // Whoever has no row has no order of its own events.
        self.shared.unsure |= kept.row() == 0;
        self.parents.truncate(frame.parents_at);
        self.window.set_state(frame.slot, State::Settled);
    }
}

impl Flow {
    /// What an event is to the flow.
    fn taken_by(&self, traced: &Traced<'_>) -> Taken {
        match traced.step {
            Some((flow, number)) => self.taken(flow, number, traced.from, traced.to, traced.name),
            None => Taken::Nothing,
        }
    }
}
