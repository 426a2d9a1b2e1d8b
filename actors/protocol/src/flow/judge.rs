//! What one flow makes of the events: the steps that caused each, its verdicts, and the instance that it belongs to.

use std::sync::Arc;

use super::{
    Branch, EdgeCount, Finding, FindingKind, Flow, Need, Place, Report, Taken,
    checkers::{Shared, Tell},
    instance::{InstanceId, Instances},
    window::{Kept, Slot},
};

/// What a flow knows of an event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// The steps that caused it, and its own.
    caused: u64,
    /// The steps that came before it, and its own.
    before: u64,
    /// Steps of which it is not known whether they caused it, or that a refusal excused.
    unknown: u64,
    pub(super) instance: InstanceId,
    /// Another one that it goes on with, if it is no step: of what a turn does for two, each is of its own.
    pub(super) also: InstanceId,
    /// The instance that an own step of this turn belongs to.
    pub(super) own_instance: InstanceId,
    taken: Taken,
}

/// What the parents of an event gave it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given {
    caused: u64,
    before: u64,
    unknown: u64,
    /// The instance that its step is of, if it is one of a chain that goes on.
    pub(super) instance: InstanceId,
    pub(super) fallback: InstanceId,
    pub(super) also: InstanceId,
}

/// What a step has behind it when it is judged.
#[derive(Clone, Copy)]
struct Past {
    caused: u64,
    before: u64,
    /// Steps of which nothing can be said.
    unknown: u64,
    /// The steps of its instance that came already; `None` outside of instances.
    seen: Option<u64>,
}

/// A flow, and what it makes of the events.
#[derive(Debug)]
pub(super) struct Judge {
    flow: Arc<Flow>,
    verdicts: Verdicts,
    /// Of each event in the window, by its slot.
    marks: Vec<Marks>,
    /// The steps that came before the next event of an actor, by its row.
    before: Vec<u64>,
}

/// All of it that is not of single events: apart from the flow, which is read while this changes.
#[derive(Debug)]
pub(super) struct Verdicts {
    number: usize,
    pub(super) instances: Instances,
    /// How often each step came outside of any instance.
    strays: Vec<u64>,
    /// How often each step came as a refusal of another instance than the one that it seemed to be of.
    refusals: Vec<u64>,
    /// The steps that were ever taken.
    ever: u64,
    /// The steps that were taken until the system started again.
    past: u64,
    pub(super) report: Report,
}

impl Judge {
    pub(super) fn new(number: usize, flow: Arc<Flow>, instances_open: usize) -> Self {
        let verdicts = Verdicts {
            number,
            instances: Instances::new(instances_open.min(1 << 31)),
            strays: vec![0; flow.steps.len()],
            refusals: vec![0; flow.steps.len()],
            ever: 0,
            past: 0,
            report: Report { edges: vec![EdgeCount::default(); flow.edges.len()], ..Report::default() },
        };
        Self { flow, verdicts, marks: Vec::new(), before: Vec::new() }
    }

    pub(super) const fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    pub(super) const fn report(&self) -> &Report {
        &self.verdicts.report
    }

    pub(super) fn into_report(self) -> Report {
        self.verdicts.report
    }

    pub(super) fn came(&mut self) {
        self.verdicts.report.events += 1;
    }

    pub(super) fn lost(&mut self, events: u64) {
        let lost = &mut self.verdicts.report.lost_events;
        *lost = lost.saturating_add(events);
    }

    pub(super) fn forgot_parent(&mut self) {
        self.verdicts.report.forgotten_parents += 1;
    }

    pub(super) fn restarted(&mut self) {
        self.verdicts.past = self.verdicts.ever;
    }

    pub(super) fn tell(&mut self, kind: FindingKind, kept: &Kept, tell: Tell<'_>) {
        self.verdicts.tell(kind, kept, tell);
    }

    /// An event waits in this slot.
    pub(super) fn insert(&mut self, slot: Slot, taken: Taken) {
        let marks = Marks { taken, ..Marks::default() };
        match self.marks.get_mut((slot as usize).wrapping_sub(1)) {
            Some(place) => *place = marks,
            None => self.marks.push(marks),
        }
    }

    pub(super) fn end(&mut self, forgotten_events: u64, lost: bool, tell: Tell<'_>) {
        let Verdicts { instances, report, strays, refusals, number, .. } = &mut self.verdicts;
        report.forgotten_events = forgotten_events;
        instances.missing(&self.flow, strays, refusals, |kind, event, place| {
            if !lost {
                report.count(kind);
                tell(*number, Finding { kind, event, place });
            }
        });
    }

    pub(super) fn reset(&mut self) {
        let verdicts = &mut self.verdicts;
        self.marks.clear();
        self.before.clear();
        verdicts.instances.clear();
        verdicts.strays.fill(0);
        verdicts.refusals.fill(0);
        (verdicts.ever, verdicts.past) = (0, 0);
        let mut edges = std::mem::take(&mut verdicts.report.edges);
        edges.fill(EdgeCount::default());
        verdicts.report = Report { edges, ..Report::default() };
    }

    /// What the parents of an event give it; 0 stands for one of which nothing is known.
    fn given(&mut self, kept: &Kept, taken: Taken, parents: &[Slot]) -> Given {
        let mut given = Given { unknown: if kept.cut { u64::MAX } else { 0 }, ..Given::default() };
        for (nth, slot) in parents.iter().enumerate() {
            let Some(parent) = self.marks.get((*slot as usize).wrapping_sub(1)) else {
                given.unknown = u64::MAX;
                continue;
            };
            given.caused |= parent.caused;
            given.before |= parent.before;
            given.unknown |= parent.unknown;
            if parent.instance | parent.also | parent.own_instance != 0 {
                let is_joined = nth > 0 || kept.cause == crate::EventId::NONE;
                self.verdicts.belong(&self.flow, &mut given, taken, parent, is_joined);
            }
        }
        given
    }

    /// Settles an event whose parents are settled. Of an own step, `turn` is the event that it stands for.
    pub(super) fn close(
        &mut self,
        kept: &Kept,
        slot: Slot,
        parents: &[Slot],
        (turn, first_of_actor): (Option<Slot>, bool),
        shared: &Shared,
        tell: Tell<'_>,
    ) {
        let at = (slot as usize).wrapping_sub(1);
        let Some(taken) = self.marks.get(at).map(|marks| marks.taken) else { return };
        let given = self.given(kept, taken, parents);
        let past = if first_of_actor && shared.restarted { self.verdicts.past } else { 0 };
        let row = (kept.row() as usize).wrapping_sub(1);
        let known = self.before.get(row).copied().unwrap_or_default();
        let mut settled = Marks {
            caused: given.caused,
            before: given.before | known | past,
            unknown: given.unknown | past,
            instance: given.fallback,
            also: given.also,
            ..Marks::default()
        };
        // What was written down may have been caused by whatever came before; which of it, nobody tells.
        if kept.recovers {
            settled.unknown |= if shared.whole { settled.before } else { u64::MAX };
        }
        let verdicts = &mut self.verdicts;
        match taken {
            Taken::Nothing => {}
            Taken::Outside(step) => {
                verdicts.take_outside(&self.flow, kept, &mut settled, usize::from(step), shared, tell);
            }
            Taken::OutsideElsewhere => leave_outside(&mut settled, 0),
            Taken::UnknownStep => verdicts.tell(FindingKind::UnknownStep, kept, tell),
            Taken::OtherWay(step) => verdicts.tell(FindingKind::OtherWay(usize::from(step)), kept, tell),
            Taken::Hop { place, branch, refused } => {
                let hop = (given.instance, place, branch, refused);
                verdicts.take(&self.flow, kept, &mut settled, hop, shared, tell);
            }
        }
        if kept.row() != 0 {
            if self.before.len() <= row {
                self.before.resize(row + 1, 0);
            }
            if let Some(before) = self.before.get_mut(row) {
                *before = settled.before;
            }
        }
        if let Some(turn) = turn {
            self.stand_for_turn(turn, taken, &settled);
        }
        if let Some(place) = self.marks.get_mut(at) {
            *place = Marks { taken, own_instance: place.own_instance, ..settled };
        }
    }

    /// What a turn causes is caused by the steps that it took by itself.
    fn stand_for_turn(&mut self, turn: Slot, taken: Taken, own: &Marks) {
        let Taken::Hop { place, .. } = taken else { return };
        let clears = self.flow.rules.get(usize::from(place.step)).map_or(0, |rule| rule.clears);
        if let Some(turn) = self.marks.get_mut((turn as usize).wrapping_sub(1)) {
            turn.caused = (turn.caused & !clears) | own.caused;
            turn.before |= own.before;
            turn.unknown = own.unknown;
            turn.own_instance = own.instance;
        }
    }
}

impl Verdicts {
    fn tell(&mut self, kind: FindingKind, kept: &Kept, tell: Tell<'_>) {
        self.report.count(kind);
        tell(self.number, Finding { kind, event: kept.id, place: kept.place });
    }

    fn take(
        &mut self,
        flow: &Flow,
        kept: &Kept,
        marks: &mut Marks,
        (instance, place, branch, refused): (InstanceId, Place, Branch, bool),
        shared: &Shared,
        tell: Tell<'_>,
    ) {
        let Some(rule) = flow.rules.get(usize::from(place.step)) else { return };
        self.report.steps += 1;
        marks.caused &= !rule.clears;
        marks.unknown &= !rule.clears;
        let instance = self.instance(flow, kept, instance, rule, place);
        // A runtime that refuses what reached nobody names the turn that asked.
        let by_runtime = refused && kept.cause.actor() == kept.id.actor();
        // What that turn goes on from may have the step: then the refusal is of what it asked, which nobody took up.
        let has_it = self.instances.get(instance).is_some_and(|instance| instance.took(place.number));
        let instance = if by_runtime && has_it { 0 } else { instance };
        let excused = refused && (instance != 0 || rule.opens || by_runtime);
        let past = Past {
            caused: marks.caused,
            before: marks.before,
            unknown: if excused { u64::MAX } else { marks.unknown },
            seen: self.instances.get(instance).map(|instance| instance.seen),
        };
        for need in &rule.needs {
            // A step is there when its last hop is; only then can it come too early.
            if !need.must_cause && place.number != rule.last_hop {
                continue;
            }
            if let Some(kind) = self.judge(need, need.must_cause && branch != Branch::Later, past, shared) {
                self.tell(kind, kept, tell);
            }
        }
        let ends = branch == Branch::Rejected || refused;
        if !ends && branch == Branch::Main {
            self.goes_on(kept, instance, rule, past, tell);
        }
        self.note_answer(flow, instance, rule, place, refused);
        self.note(flow, kept, instance, rule, place, tell);
        if let Some(instance) = self.instances.get(instance) {
            instance.excused |= ends;
            instance.behind |= marks.caused;
            if ends || place.number == rule.last_hop {
                instance.note_end(rule.bit, !ends);
            }
        }
        self.ever |= rule.bit;
        marks.unknown = past.unknown;
        marks.caused |= rule.bit;
        marks.before |= rule.bit;
        if instance != 0 {
            (marks.instance, marks.also) = (instance, 0);
        }
    }

    /// A step outside: it has its place in the order, and is of no instance.
    fn take_outside(
        &mut self,
        flow: &Flow,
        kept: &Kept,
        marks: &mut Marks,
        step: usize,
        shared: &Shared,
        tell: Tell<'_>,
    ) {
        let Some(rule) = flow.rules.get(step) else { return };
        self.report.steps += 1;
        let past = Past { caused: marks.caused, before: marks.before, unknown: marks.unknown, seen: None };
        for need in &rule.needs {
            if let Some(kind) = self.judge(need, need.must_cause, past, shared) {
                self.tell(kind, kept, tell);
            }
        }
        self.ever |= rule.bit;
        leave_outside(marks, rule.bit);
    }

    /// The verdict on one edge; what is not as it should be is given back.
    fn judge(&mut self, need: &Need, must_cause: bool, past: Past, shared: &Shared) -> Option<FindingKind> {
        if need.outside && !shared.outside {
            return None;
        }
        let edge = usize::from(need.edge);
        let mut count = |add: fn(&mut EdgeCount)| {
            if let Some(count) = self.report.edges.get_mut(edge) {
                add(count);
            }
            None
        };
        let (met, came) = (past.caused & need.mask != 0, past.before & need.mask != 0);
        if met || (came && !must_cause) {
            return count(|edge| edge.satisfied += 1);
        }
        // An optional step that was left out is behind nothing; one that comes late is found when it comes.
        let left_out = need.optional && past.seen.is_none_or(|seen| seen & need.mask == 0);
        let elsewhere = !must_cause && (shared.unsure || (!shared.whole && self.ever & need.mask == 0));
        if past.unknown & need.mask != 0 || left_out || elsewhere {
            return count(|edge| edge.unjudged += 1);
        }
        Some(if came { FindingKind::Lucky(edge) } else { FindingKind::Violated(edge) })
    }

    /// Tells when a step is taken because of one that was refused or rejected, which ends the flow. Where a step may come
    /// again, it may be another's refusal.
    fn goes_on(&mut self, kept: &Kept, instance: InstanceId, rule: &super::Rule, past: Past, tell: Tell<'_>) {
        let Some(instance) = self.instances.get(instance) else { return };
        if rule.repeated || instance.seen & rule.bit != 0 || !instance.excused {
            return;
        }
        let by_an_end = |need: &&Need| need.must_cause && past.caused & need.mask != 0 && instance.has_ended(need.mask);
        let edge = rule.needs.iter().find(by_an_end).map(|need| usize::from(need.edge));
        if let Some(edge) = edge {
            self.tell(FindingKind::AfterEnd(edge), kept, tell);
        }
    }

    /// Counts a refusal that turns out to be of another instance.
    fn note_answer(&mut self, flow: &Flow, instance: InstanceId, rule: &super::Rule, place: Place, refused: bool) {
        let Some(instance) = self.instances.get(instance).filter(|_| rule.repeated) else { return };
        if !refused && !instance.is_refused(rule.bit) {
            return;
        }
        let hops = flow.steps.get(usize::from(place.step)).map_or(&[][..], |step| &step.hops);
        let (before, behind) = hops.split_at(usize::from(place.hop).min(hops.len()));
        // One that is passed on is the same once more.
        let passed_on = behind.first().is_some_and(|hop| before.iter().any(|earlier| earlier.to == hop.from));
        if !passed_on
            && instance.note_answer(rule.bit, refused)
            && let Some(refusals) = self.refusals.get_mut(usize::from(place.step))
        {
            *refusals += 1;
        }
    }

    /// Notes a step in its instance, and tells what is wrong with its being there.
    fn note(
        &mut self,
        flow: &Flow,
        kept: &Kept,
        instance: InstanceId,
        rule: &super::Rule,
        place: Place,
        tell: Tell<'_>,
    ) {
        let step = usize::from(place.step);
        let Some(instance) = self.instances.get(instance) else {
            if let Some(strays) = self.strays.get_mut(step) {
                *strays += 1;
            }
            return;
        };
        let again = instance.take(place.number);
        // What a refusal ended may still be under way elsewhere.
        let late = if instance.excused { 0 } else { rule.leads_to & instance.seen };
        let seen = instance.seen;
        instance.seen |= rule.bit;
        if again && !rule.repeated {
            self.tell(FindingKind::Repeated(step), kept, tell);
        }
        if seen & rule.others != 0 {
            self.tell(FindingKind::BothOfChoice(step), kept, tell);
        }
        if rule.optional && seen & rule.bit == 0 && late != 0 {
            let behind = |edge: &super::Edge| edge.must_cause && edge.from == step && late & (1 << edge.to) != 0;
            for (at, _) in flow.edges.iter().enumerate().filter(|(_, edge)| behind(edge)) {
                self.tell(FindingKind::Violated(at), kept, tell);
            }
        }
    }
}

/// What comes from outside has no cause inside, whichever flow the outside followed: it comes after what the outside
/// has heard, and no more. So what the outside does next for one is not taken to go on with another of whom it heard.
fn leave_outside(marks: &mut Marks, bit: u64) {
    marks.caused = bit;
    marks.before |= bit;
    (marks.unknown, marks.instance, marks.also) = (0, 0, 0);
}
