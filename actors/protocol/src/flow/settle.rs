//! Settling an event: its parents first, then what they hand on to it, then its verdicts.

use super::{
    Branch, Checker, EdgeCount, Finding, FindingKind, Need, Place, Taken,
    checker::Frame,
    kept::{Kept, Slot, State},
};
use crate::EventId;

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

/// What became of one parent.
enum Parent {
    /// It has given what it had.
    Done,
    /// Another event must be settled first.
    First(Slot),
    /// There are no more parents.
    End,
}

impl Checker {
    /// Settles the event that waits longest.
    pub(super) fn settle_oldest(&mut self, tell: &mut impl FnMut(Finding)) {
        let Some(oldest) = self.ring.oldest_waiting() else { return };
        self.begin(oldest, 1);
        while let Some(mut frame) = self.open.pop() {
            loop {
                match self.next_parent(&mut frame, tell) {
                    Parent::Done => {}
                    Parent::First(slot) => {
                        self.open.push(frame);
                        self.begin(slot, 0);
                        break;
                    }
                    Parent::End => {
                        self.close(&frame, tell);
                        break;
                    }
                }
            }
        }
        self.ring.leave();
    }

    /// Opens an event unless it is settled. Its actor's earlier events matter only if it comes out of its turn.
    fn begin(&mut self, slot: Slot, next: u32) {
        if let Some(kept) = self.ring.get_mut(slot).filter(|kept| kept.state == State::Waiting) {
            kept.state = State::Open;
            self.open.push(Frame { slot, next, unknown: kept.unknown, ..Frame::default() });
        }
    }

    fn next_parent(&mut self, frame: &mut Frame, tell: &mut impl FnMut(Finding)) -> Parent {
        let Some(kept) = self.ring.get(frame.slot).copied() else { return Parent::End };
        if frame.next == 0 {
            frame.next = 1;
            return self.actors_earlier(kept.id).map_or(Parent::Done, Parent::First);
        }
        let parent = match frame.next {
            1 => kept.cause,
            nth => match self.ring.joined(&kept, nth as usize - 2) {
                Some(joined) => joined,
                None => return Parent::End,
            },
        };
        if parent != EventId::NONE.to_bits() {
            match self.parent(frame, &kept, parent, tell) {
                Parent::Done => {}
                first => return first,
            }
        }
        frame.next += 1;
        Parent::Done
    }

    /// The newest earlier event of the same actor, if it waits still.
    fn actors_earlier(&self, id: u64) -> Option<Slot> {
        let earlier = id
            .checked_sub(1)
            .map(EventId::from_bits)
            .filter(|earlier| earlier.actor() == EventId::from_bits(id).actor())?;
        let slot = self.ring.find(earlier.to_bits())?;
        self.ring.get(slot).filter(|earlier| earlier.state == State::Waiting).map(|_| slot)
    }

    fn parent(&mut self, frame: &mut Frame, kept: &Kept, id: u64, tell: &mut impl FnMut(Finding)) -> Parent {
        let Some(slot) = self.ring.find(id) else {
            frame.unknown = u64::MAX;
            if self.ring.forgotten() == 0 && self.report.lost_events == 0 {
                self.tell(
                    FindingKind::UnknownParent(EventId::from_bits(id)),
                    EventId::from_bits(kept.id),
                    kept.place,
                    tell,
                );
            } else {
                self.report.forgotten_parents += 1;
            }
            self.unsure = true;
            return Parent::Done;
        };
        let Some(parent) = self.ring.get(slot).copied() else { return Parent::Done };
        match parent.state {
            State::Waiting => return Parent::First(slot),
            State::Open => {
                frame.unknown = u64::MAX;
                let (event, place) = (EventId::from_bits(kept.id), kept.place);
                self.tell(FindingKind::Loop(EventId::from_bits(id)), event, place, tell);
                return Parent::Done;
            }
            State::Settled => {}
        }
        // What a turn takes upon itself stands between it and all else that it caused.
        if !kept.is_own
            && parent.own_first != 0
            && let Some(own) = self.own_waiting(slot, parent.own_first)
        {
            return Parent::First(own);
        }
        frame.caused |= parent.caused;
        frame.before |= parent.before;
        frame.unknown |= parent.unknown;
        self.belong(frame, kept, &parent);
        Parent::Done
    }

    /// The first own step of a turn that waits still.
    fn own_waiting(&mut self, turn: Slot, first: Slot) -> Option<Slot> {
        let mut slot = first;
        while let Some(own) = self.ring.get(slot).filter(|own| own.state != State::Waiting) {
            slot = own.own_next;
        }
        if let Some(turn) = self.ring.get_mut(turn) {
            turn.own_first = slot;
            // The next own step begins a new row.
            if slot == 0 {
                turn.own_last = 0;
            }
        }
        (slot != 0).then_some(slot)
    }

    fn close(&mut self, frame: &Frame, tell: &mut impl FnMut(Finding)) {
        let Some(kept) = self.ring.get(frame.slot).copied() else { return };
        let past = self.past.filter(|_| !self.knows(EventId::from_bits(kept.id).actor()));
        let actor_at = self.actor(EventId::from_bits(kept.id).actor());
        let known = actor_at.and_then(|at| self.before.get(at)).copied();
        let mut settled = Kept {
            caused: frame.caused,
            before: frame.before | known.unwrap_or_default() | past.unwrap_or_default(),
            unknown: frame.unknown | past.unwrap_or_default(),
            instance: frame.fallback,
            also: frame.also,
            state: State::Settled,
            ..kept
        };
        // What was written down may have been caused by whatever came before; which of it, nobody tells.
        if kept.recovers {
            settled.unknown |= if self.limits.whole { settled.before } else { u64::MAX };
        }
        match kept.taken {
            Taken::Nothing => {}
            Taken::Outside(step) => self.take_outside(&mut settled, usize::from(step), tell),
            Taken::OutsideElsewhere => leave_outside(&mut settled, 0),
            Taken::UnknownStep => self.tell(FindingKind::UnknownStep, EventId::from_bits(kept.id), kept.place, tell),
            Taken::OtherWay(step) => {
                let kind = FindingKind::OtherWay(usize::from(step));
                self.tell(kind, EventId::from_bits(kept.id), kept.place, tell);
            }
            Taken::Hop { place, branch, refused } => {
                self.take(&mut settled, frame.instance, place, branch, refused, tell);
            }
        }
        match actor_at.and_then(|at| self.before.get_mut(at)) {
            Some(before) => *before = settled.before,
            None => self.unsure = true,
        }
        if settled.is_own {
            self.stand_for_turn(&settled);
        }
        if let Some(place) = self.ring.get_mut(frame.slot) {
            // A later own step may have been hung on it meanwhile: only what was found out is written.
            let Kept { caused, before, unknown, instance, also, state, .. } = settled;
            *place = Kept { caused, before, unknown, instance, also, state, ..*place };
        }
    }

    fn knows(&self, actor: u32) -> bool {
        self.actors.get(u64::from(actor)).is_some()
    }

    /// Where the order of an actor is kept, while there is room for it.
    fn actor(&mut self, actor: u32) -> Option<usize> {
        if let Some(at) = self.actors.get(u64::from(actor)) {
            return Some(at as usize - 1);
        }
        if self.before.len() >= self.limits.actors_kept {
            return None;
        }
        self.before.push(0);
        self.actors.insert(u64::from(actor), self.before.len() as u32);
        Some(self.before.len() - 1)
    }

    /// What a turn causes is caused by the steps that it took by itself.
    fn stand_for_turn(&mut self, own: &Kept) {
        let Taken::Hop { place, .. } = own.taken else { return };
        let clears = self.flow.rules.get(usize::from(place.step)).map_or(0, |rule| rule.clears);
        let Some(slot) = self.ring.find(own.cause) else { return };
        if let Some(turn) = self.ring.get_mut(slot).filter(|turn| turn.id != own.id) {
            turn.caused = (turn.caused & !clears) | own.caused;
            turn.before |= own.before;
            turn.unknown = own.unknown;
            turn.own_instance = own.instance;
        }
    }

    fn take(
        &mut self,
        kept: &mut Kept,
        instance: u32,
        place: Place,
        branch: Branch,
        refused: bool,
        tell: &mut impl FnMut(Finding),
    ) {
        let flow = std::sync::Arc::clone(&self.flow);
        let Some(rule) = flow.rules.get(usize::from(place.step)) else { return };
        let event = EventId::from_bits(kept.id);
        self.report.steps += 1;
        kept.caused &= !rule.clears;
        kept.unknown &= !rule.clears;
        let instance = self.instance(kept, instance, rule, place);
        // A runtime that refuses what reached nobody names the turn that asked.
        let by_runtime = refused && EventId::from_bits(kept.cause).actor() == event.actor();
        // What that turn goes on from may have the step: then the refusal is of what it asked, which nobody took up.
        let has_it = self.instances.get(instance).is_some_and(|instance| instance.took(place.number));
        let instance = if by_runtime && has_it { 0 } else { instance };
        let excused = refused && (instance != 0 || rule.opens || by_runtime);
        let past = Past {
            caused: kept.caused,
            before: kept.before,
            unknown: if excused { u64::MAX } else { kept.unknown },
            seen: self.instances.get(instance).map(|instance| instance.seen),
        };
        for need in &rule.needs {
            // A step is there when its last hop is; only then can it come too early.
            if !need.must_cause && place.number != rule.last_hop {
                continue;
            }
            let found = self.judge(need, need.must_cause && branch != Branch::Later, past);
            match found {
                Some(kind) => self.tell(kind, event, kept.place, tell),
                None => continue,
            }
        }
        self.note_answer(instance, rule, place, refused);
        self.note(instance, rule, place, (event, kept.place), tell);
        if let Some(instance) = self.instances.get(instance) {
            instance.excused |= branch == Branch::Rejected || refused;
            instance.behind |= kept.caused;
        }
        self.ever |= rule.bit;
        kept.unknown = past.unknown;
        kept.caused |= rule.bit;
        kept.before |= rule.bit;
        if instance != 0 {
            (kept.instance, kept.also) = (instance, 0);
        }
    }

    /// A step outside: it has its place in the order, and is of no instance.
    fn take_outside(&mut self, kept: &mut Kept, step: usize, tell: &mut impl FnMut(Finding)) {
        let flow = std::sync::Arc::clone(&self.flow);
        let Some(rule) = flow.rules.get(step) else { return };
        self.report.steps += 1;
        let past = Past { caused: kept.caused, before: kept.before, unknown: kept.unknown, seen: None };
        for need in &rule.needs {
            if let Some(kind) = self.judge(need, need.must_cause, past) {
                self.tell(kind, EventId::from_bits(kept.id), kept.place, tell);
            }
        }
        self.ever |= rule.bit;
        leave_outside(kept, rule.bit);
    }

    /// The verdict on one edge; what is not as it should be is given back.
    fn judge(&mut self, need: &Need, must_cause: bool, past: Past) -> Option<FindingKind> {
        if need.outside && !self.limits.outside {
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
        let elsewhere = !must_cause && (self.unsure || (!self.limits.whole && self.ever & need.mask == 0));
        if past.unknown & need.mask != 0 || left_out || elsewhere {
            return count(|edge| edge.unjudged += 1);
        }
        Some(if came { FindingKind::Lucky(edge) } else { FindingKind::Violated(edge) })
    }

    /// Counts a refusal that turns out to be of another instance.
    fn note_answer(&mut self, instance: u32, rule: &super::Rule, place: Place, refused: bool) {
        let Some(instance) = self.instances.get(instance).filter(|_| rule.repeated) else { return };
        if !refused && !instance.is_refused(rule.bit) {
            return;
        }
        let hops = self.flow.steps.get(usize::from(place.step)).map_or(&[][..], |step| &step.hops);
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
        instance: u32,
        rule: &super::Rule,
        place: Place,
        (event, line): (EventId, u64),
        tell: &mut impl FnMut(Finding),
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
            self.tell(FindingKind::Repeated(step), event, line, tell);
        }
        if seen & rule.others != 0 {
            self.tell(FindingKind::BothOfChoice(step), event, line, tell);
        }
        if rule.optional && seen & rule.bit == 0 && late != 0 {
            let behind = |edge: &super::Edge| edge.must_cause && edge.from == step && late & (1 << edge.to) != 0;
            let flow = std::sync::Arc::clone(&self.flow);
            for (at, _) in flow.edges.iter().enumerate().filter(|(_, edge)| behind(edge)) {
                self.tell(FindingKind::Violated(at), event, line, tell);
            }
        }
    }
}

/// What comes from outside has no cause inside, whichever flow the outside followed: it comes after what the outside
/// has heard, and no more. So what the outside does next for one is not taken to go on with another of whom it heard.
fn leave_outside(kept: &mut Kept, bit: u64) {
    kept.caused = bit;
    kept.before |= bit;
    (kept.unknown, kept.instance, kept.also) = (0, 0, 0);
}
