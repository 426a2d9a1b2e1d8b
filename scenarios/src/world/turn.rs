//! One turn: its records are written down, what follows leaves when they are durable, and a failure is contained.

use std::cmp::Reverse;

use twinway_actors::runtime::CALLER_KIND;
use twinway_protocol::{
    Effect, EntityId, EventId, Meta, PendingKey, Problem, ProblemKind, Recovery, Refusal, StepId, WireSet,
    trace::TraceEvent,
};

use super::{
    CALLER, Moment, OUTSIDE, State, Timer, World,
    cell::Task,
    flights::Known,
    shell::{Held, Open},
};
use crate::{
    outside::{CallId, Deed},
    rule::Seen,
};

/// What a turn is, for the trace.
pub(super) struct Occasion {
    pub(super) cause: EventId,
    pub(super) from: EntityId,
    pub(super) step: Option<StepId>,
    pub(super) name: &'static str,
}

/// A question under way, with how to refuse it.
pub(super) type Question<W> = Option<(Meta, Refusal<W>)>;

impl<W: WireSet> World<W> {
    /// What comes in has arrived at a shell. With `panics`, the driver makes the turn fail.
    pub(super) fn deliver(&mut self, at: u32, meta: Meta, panics: bool) {
        let Some(wire) = &self.incoming else { return };
        let right = wire.kind() == meta.to.kind();
        if !self.is_running(at) || !right {
            let wire = self.incoming.take();
            wire.into_iter().for_each(|wire| self.reject(at, meta, &wire, false));
            return;
        }
        let question = wire.refusal().map(|refusal| (meta, refusal));
        // What a caller outside says is not a step yet: the actor that passes it on takes the step.
        let step = if meta.from.kind() == CALLER_KIND { None } else { meta.step };
        let occasion = Occasion { cause: meta.cause, from: meta.from, step, name: wire.describe().1 };
        if let Some(shell) = self.shells.get(at as usize) {
            self.rules.see(&Seen::Delivery { event: shell.event.next(), meta: &meta, wire });
        }
        let task = if panics { None } else { Some(Task::Message(meta)) };
        self.take_turn(at, task, &occasion, question);
    }

    pub(super) fn recovered_turn(&mut self, at: u32, why: Recovery) {
        self.turn_alone(at, Task::Recovered(why), "recovered", EventId::NONE);
    }

    pub(super) fn turn_alone(&mut self, at: u32, task: Task, name: &'static str, cause: EventId) {
        let Some(shell) = self.shells.get(at as usize) else { return };
        let occasion = Occasion { cause, from: shell.id, step: None, name };
        self.take_turn(at, Some(task), &occasion, None);
    }

    /// Without a task, the driver makes the turn fail.
    fn take_turn(&mut self, at: u32, task: Option<Task>, occasion: &Occasion, question: Question<W>) {
        let us = self.pass_time(at);
        let now = self.at(us);
        self.rules.found.now = now;
        let Some(shell) = self.shells.get_mut(at as usize) else { return };
        shell.event = shell.event.next();
        let (id, event) = (shell.id, shell.event);
        let chance = self.chance ^ event.to_bits().wrapping_mul(0xd6e8_feb8_6659_fd93);
        let injected = task.is_none();
        let outcome = match task {
            Some(task) => {
                shell.cell.turn(task, &mut self.incoming, Moment { id, event, now, chance }, &mut self.yielded)
            }
            None => Err("the driver made it".to_owned()),
        };
        let joined = Box::from(self.yielded.joined.as_slice());
        self.yielded.joined.clear();
        let Occasion { cause, from, step, name } = *occasion;
        let at_ns = us.saturating_mul(1_000);
        self.record_event(TraceEvent { event, cause, joined, from, to: id, step, name, at_ns });
        match outcome {
            Ok(()) => self.settle(at, event, question),
            Err(reason) => self.fail((at, event), question, &reason, injected),
        }
    }

    /// A turn takes its time, and is not before the last jump of time. Clocks of entities differ by what they did: none
    /// hears from another one's future, and turns that have nothing to do with each other come to the same in each order.
    fn pass_time(&mut self, at: u32) -> u64 {
        let (floor, action_us) = (self.clock_us, self.options.action_us);
        let Some(known) = self.known.get_mut(at as usize) else { return floor };
        known.us = known.us.max(floor).saturating_add(action_us);
        self.latest_us = self.latest_us.max(known.us);
        known.us
    }

    pub(super) fn outside_knows(&self) -> Known {
        Known { slots: 0, us: self.latest_us }
    }

    pub(super) fn record_event(&mut self, event: TraceEvent) {
        self.event = event.event;
        self.rules.found.event = event.event;
        self.trace.push(event);
        if let Some(event) = self.trace.last() {
            self.rules.see(&Seen::Event(event));
        }
    }

    /// Keeps in mind which questions are still to be answered.
    fn note_answers(&mut self, at: u32, taken_in: EventId, question: Question<W>) {
        let Some(shell) = self.shells.get_mut(at as usize) else { return };
        if let Some((meta, refusal)) = question.filter(|(meta, _)| meta.pending != PendingKey::NONE) {
            shell.open.push(Open { meta, refusal, taken_in });
        }
        if shell.open.is_empty() {
            return;
        }
        for effect in &self.yielded.effects {
            if let Effect::Send { wire: Some(wire), meta } = effect
                && meta.pending != PendingKey::NONE
                && wire.refusal().is_none()
                && let Some(index) =
                    shell.open.iter().position(|open| (open.meta.from, open.meta.pending) == (meta.to, meta.pending))
            {
                shell.open.swap_remove(index);
            }
        }
    }

    /// Writes the turn's records down, and lets out what follows or holds it back.
    fn settle(&mut self, at: u32, event: EventId, question: Question<W>) {
        let strict = !self.yielded.batched || self.options.loss_window_ms == 0;
        let records = self.yielded.records;
        if records > 0 {
            self.write_down(at, event, records);
        }
        self.show_state(at, event);
        self.note_answers(at, event, question);
        let effects = std::mem::take(&mut self.yielded.effects);
        let Some(shell) = self.shells.get_mut(at as usize) else { return };
        let waits = !shell.held.is_empty() || (records > 0 && strict);
        if waits && (records > 0 || !effects.is_empty()) {
            // What follows later must not overtake what is held back.
            if shell.held.is_empty() {
                self.holding.push(at);
            }
            shell.held.push_back(Held { event, effects });
            self.yielded.effects = self.spare.pop().unwrap_or_default();
        } else {
            self.let_out(at, event, effects, true);
        }
    }

    fn write_down(&mut self, at: u32, event: EventId, records: u64) {
        let Some(shell) = self.shells.get_mut(at as usize) else { return };
        let (entity, rules, mut position) = (shell.id, &mut self.rules, self.appended);
        shell.cell.write(self.appended, &mut |part, record| {
            position += 1;
            rules.see(&Seen::Record { event, entity, part, position, record });
        });
        self.appended += records;
        shell.last = self.appended;
    }

    /// Shows an entity to the rules that watch its kind.
    #[inline]
    fn show_state(&mut self, at: u32, event: EventId) {
        let Some(shell) = self.shells.get(at as usize) else { return };
        if self.rules.watched.get(usize::from(shell.id.kind())).is_some_and(|watched| *watched) {
            self.rules.see(&Seen::State { event, entity: shell.id, behaviour: shell.cell.behaviour() });
        }
    }

    /// Lets effects out, and keeps their memory: as the next turn's, or else as spare.
    pub(super) fn let_out(&mut self, at: u32, event: EventId, mut effects: Vec<Effect<W>>, next: bool) {
        for mut effect in effects.drain(..) {
            match &mut effect {
                Effect::Send { wire, meta } => self.send(at, *meta, wire),
                _ => self.apply(at, event, effect),
            }
        }
        if next {
            self.yielded.effects = effects;
        } else {
            self.spare.push(effects);
        }
    }

    fn apply(&mut self, at: u32, event: EventId, effect: Effect<W>) {
        match effect {
            // It is sent from where it is.
            Effect::Send { .. } => {}
            Effect::Timer { after_ms, key } => {
                self.timers_set += 1;
                let due_ms = (self.knowledge(at).us / 1_000).saturating_add(after_ms);
                self.timers.push(Reverse(Timer { due_ms, count: self.timers_set, at, key, cause: event }));
            }
            Effect::Spawn(id) => self.spawn(id),
            Effect::Own(step) => {
                let us = self.knowledge(at).us;
                let Some(shell) = self.shells.get_mut(at as usize) else { return };
                shell.event = shell.event.next();
                let (id, own) = (shell.id, shell.event);
                let (joined, at_ns) = (Box::default(), us.saturating_mul(1_000));
                let step = Some(step);
                let own = TraceEvent { event: own, cause: event, joined, from: id, to: id, step, name: "own", at_ns };
                self.record_event(own);
            }
            Effect::Signal(signal) => {
                let Some(shell) = self.shells.get(at as usize) else { return };
                let id = shell.id;
                self.rules.see(&Seen::Signal { entity: id, signal: &signal });
                self.heard.push(event);
                self.hands.now = self.at(self.knowledge(at).us);
                self.outside.signal(id, signal, &mut self.hands);
                self.do_deeds(self.knowledge(at));
            }
            Effect::Stop => self.end(at),
        }
    }

    pub(super) fn knowledge(&self, at: u32) -> Known {
        self.known.get(at as usize).copied().unwrap_or_default()
    }

    /// Sends what is in `wire`, if anything is.
    fn send(&mut self, at: u32, meta: Meta, wire: &mut Option<W>) {
        let Some(sent) = wire else { return };
        self.rules.see(&Seen::Sent { meta: &meta, wire: sent });
        if meta.to.kind() == CALLER_KIND {
            let known = self.knowledge(at);
            let answer = wire.take().map(|wire| (CallId(meta.pending.to_bits()), wire, known, meta.cause));
            self.answers.extend(answer);
            return;
        }
        let Some(to) = self.shell_of(meta.to) else { return self.reject(at, meta, sent, true) };
        let promise = self.links.promise(meta.from.kind(), meta.to.kind());
        self.free_slots();
        let known = self.knowledge(at);
        let bit = self.flights.send(meta, (wire, None), to, promise, known);
        if let Some(known) = self.known.get_mut(at as usize) {
            known.slots |= bit;
        }
    }

    /// What the outside did.
    pub(super) fn do_deeds(&mut self, mut known: Known) {
        // While the whole starts nothing is let in.
        if self.hands.deeds.is_empty() || self.starting {
            return;
        }
        let mut deeds = std::mem::take(&mut self.hands.deeds);
        for deed in deeds.drain(..) {
            known.slots &= !self.free_slots();
            match deed {
                Deed::Spawn(id) => self.spawn(id),
                Deed::Took(step) => self.took(step, known),
                Deed::Violated(what) => {
                    self.rules.found.rule = OUTSIDE;
                    self.rules.found.violated(what);
                }
                Deed::Send(meta, wire, copy) => {
                    let meta = Meta { cause: self.took, ..meta };
                    self.send_from_outside(meta, (wire, copy), known);
                }
            }
        }
        self.hands.deeds = deeds;
    }

    /// A step that happens outside. In the trace the outside is one actor, which hears every answer and every signal.
    fn took(&mut self, step: StepId, known: Known) {
        self.took = self.took.next();
        let mut joined = std::mem::take(&mut self.heard);
        let cause = joined.pop().unwrap_or(EventId::NONE);
        joined.retain(|event| *event != cause && *event != EventId::NONE);
        joined.sort_unstable();
        joined.dedup();
        let (event, joined, at_ns) = (self.took, joined.into_boxed_slice(), known.us.saturating_mul(1_000));
        let (from, to, step, name) = (CALLER, CALLER, Some(step), twinway_protocol::flow::OUTSIDE);
        self.record_event(TraceEvent { event, cause, joined, from, to, step, name, at_ns });
    }

    fn send_from_outside(&mut self, meta: Meta, (wire, copy): (W, Option<Box<W>>), known: Known) {
        self.rules.see(&Seen::Sent { meta: &meta, wire: &wire });
        if meta.pending != PendingKey::NONE {
            let call = meta.pending.to_bits() as usize;
            if self.waiting.len() <= call {
                self.waiting.resize(call + 1, false);
            }
            if let Some(waiting) = self.waiting.get_mut(call) {
                *waiting = true;
            }
        }
        match self.shell_of(meta.to) {
            Some(to) => {
                let promise = self.links.promise(meta.from.kind(), meta.to.kind());
                self.flights.send(meta, (&mut Some(wire), copy), to, promise, known);
            }
            None => self.reject(u32::MAX, meta, &wire, true),
        }
    }

    /// A message that nobody takes: a question is refused.
    fn reject(&mut self, at: u32, meta: Meta, wire: &W, at_sending: bool) {
        let Some(refusal) = wire.refusal() else {
            self.rules.see(&Seen::DeadLetter { meta: &meta });
            return;
        };
        let kind = W::kind_name(meta.to.kind());
        let when = if at_sending { "is not there" } else { "is not there any more" };
        let problem = Problem::new(ProblemKind::Internal, format!("{kind} {:?} {when}", meta.to));
        self.refuse(at, meta, refusal(meta.from.kind(), problem));
    }

    /// Answers a question that nobody will handle. It waits for nothing that is held back.
    pub(super) fn refuse(&mut self, at: u32, meta: Meta, answer: Option<W>) {
        let Some(answer) = answer.filter(|_| meta.pending != PendingKey::NONE) else { return };
        self.rules.see(&Seen::Refused { meta: &meta });
        // As in the runtime: the answer to what is no step is none.
        let step = meta.step.and(answer.describe().0);
        let back = Meta { from: meta.to, to: meta.from, cause: meta.cause, pending: meta.pending, step };
        if back.to.kind() != CALLER_KIND && self.shell_of(back.to).is_none() {
            self.rules.see(&Seen::DeadLetter { meta: &back });
            return;
        }
        self.send(at, back, &mut Some(answer));
    }

    /// An entity ended itself: its records are forgotten, its address reaches nobody.
    fn end(&mut self, at: u32) {
        let Some(shell) = self.shells.get_mut(at as usize) else { return };
        shell.state = State::Ended;
        self.appended += 1;
        shell.last = self.appended;
        self.forget_timers(at);
    }

    pub(super) fn forget_timers(&mut self, at: u32) {
        self.timers.retain(|Reverse(timer)| timer.at != at);
    }

    /// Tells the outside what it was answered.
    pub(super) fn settle_outside(&mut self) {
        while let Some((call, wire, known, turn)) = self.answers.pop_front() {
            let waits = usize::try_from(call.0).ok().and_then(|call| self.waiting.get_mut(call));
            // Who was answered already, or told that the question is lost, does not wait.
            if let Some(waits) = waits.filter(|waits| **waits) {
                *waits = false;
                self.rules.see(&Seen::Answered { call, wire: &wire });
                self.heard.push(turn);
                self.hands.now = self.at(known.us);
                self.outside.answer(call, wire, &mut self.hands);
                self.do_deeds(known);
                self.rested = false;
            }
        }
    }
}
