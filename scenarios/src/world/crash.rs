//! Failures of one entity and of the whole, and what comes back from the records.

use twinway_protocol::{
    EntityId, EventId, Meta, Problem, ProblemKind, Recovery, WireSet, flow::FAILED, trace::TraceEvent,
};

use super::{State, World, flights::Known, shell::Open, turn::Question};
use crate::{driver::Chance, fault::Fault, rule::Seen};

impl<W: WireSet> World<W> {
    /// Gives up a turn and the entity's state with it: the question is refused, and so is every question that the
    /// entity had taken and not answered. As in the runtime, a refusal follows from the turn that failed; of a driver's
    /// restart there is none.
    pub(super) fn fail(&mut self, (at, failed): (u32, EventId), question: Question<W>, reason: &str, injected: bool) {
        for effect in self.yielded.effects.drain(..) {
            drop(effect);
        }
        let Some(shell) = self.shells.get_mut(at as usize) else { return };
        shell.cell.drop_turn();
        shell.failures += 1;
        let (id, failures) = (shell.id, shell.failures);
        let open = std::mem::take(&mut shell.open);
        shell.state = State::Recovering;
        self.failed += 1;
        self.rules.see(&Seen::Failed { entity: id, reason, injected });
        self.forget_timers(at);
        let name = W::kind_name(id.kind());
        let asked = question.as_ref().map(|(meta, _)| (meta.from, meta.pending));
        if let Some((meta, refusal)) = question {
            let detail = format!("{name} failed; nothing was changed: {reason}");
            let meta = Meta { cause: failed, ..meta };
            self.refuse(at, meta, refusal(meta.from.kind(), Problem::new(ProblemKind::Internal, detail)));
        }
        // Those whose question it had taken before would wait for ever.
        for open in open.into_iter().filter(|open| asked != Some((open.meta.from, open.meta.pending))) {
            self.refuse_open(at, failed, open);
        }
        if failures > self.options.restarts_max {
            self.quarantine(at, id, &format!("it failed {failures} times"));
        }
    }

    /// Refuses a question that an entity had taken before it failed, in an event that takes it up.
    fn refuse_open(&mut self, at: u32, failed: EventId, Open { meta, refusal, taken_in }: Open<W>) {
        let us = self.knowledge(at).us;
        let Some(shell) = self.shells.get_mut(at as usize) else { return };
        shell.event = shell.event.next();
        let (id, event, joined) = (shell.id, shell.event, Box::from([taken_in]));
        let (cause, step, at_ns) = (failed, None, us.saturating_mul(1_000));
        self.record_event(TraceEvent { event, cause, joined, from: id, to: id, step, name: FAILED, at_ns });
        let name = W::kind_name(id.kind());
        let detail = format!("{name} failed before it answered; whether anything was changed is not known");
        let meta = Meta { cause: event, ..meta };
        self.refuse(at, meta, refusal(meta.from.kind(), Problem::new(ProblemKind::Internal, detail)));
    }

    fn quarantine(&mut self, at: u32, id: EntityId, reason: &str) {
        if let Some(shell) = self.shells.get_mut(at as usize) {
            shell.state = State::Quarantined;
            self.failed -= 1;
        }
        self.rules.see(&Seen::Quarantined { entity: id, reason });
    }

    /// A number that differs from life to life.
    fn incarnation(&mut self, at: u32) -> u32 {
        let Some(shell) = self.shells.get_mut(at as usize) else { return 0 };
        shell.event = shell.event.next();
        let event = shell.event;
        (self.chance_of(event) >> 16) as u32
    }

    /// A failed entity gets its state back.
    pub(super) fn recover(&mut self, at: u32) {
        let incarnation = self.incarnation(at);
        let Some(shell) = self.shells.get_mut(at as usize) else { return };
        let id = shell.id;
        match shell.cell.restore(id, incarnation) {
            Err(reason) => self.quarantine(at, id, &format!("its records cannot be replayed: {reason}")),
            Ok(()) => {
                shell.state = State::Running;
                self.failed -= 1;
                self.rules.see(&Seen::Recovered { entity: id });
                self.recovered_turn(at, Recovery::Failure);
            }
        }
    }

    /// Everything ends at once, and starts again from what was durable.
    pub(super) fn crash(&mut self) {
        self.left.crashes -= 1;
        self.rules.see(&Seen::Fault(Fault::Crash));
        self.flights.clear();
        self.holding.clear();
        self.timers.clear();
        // What the outside does while the whole starts waits outside, a further crash notwithstanding.
        self.answers.clear();
        self.clock_us = self.clock_us.max(self.latest_us);
        self.known.fill(Known::default());
        self.appended = self.durable;
        self.failed = 0;
        self.chance = Chance(self.chance).next();
        self.starting = true;
        for at in 0..self.shells.len() as u32 {
            self.come_back(at);
        }
        for call in 0..self.waiting.len() as u64 {
            self.tell_lost(call);
        }
    }

    fn come_back(&mut self, at: u32) {
        let durable = self.durable;
        let Some(shell) = self.shells.get_mut(at as usize) else { return };
        let gone = shell.state == State::Gone;
        shell.cell.lose_after(durable);
        let id = shell.id;
        let Some(Some(placed)) = self.kinds.get_mut(usize::from(id.kind())) else { return };
        if gone || (!placed.alone && !shell.cell.has_records()) {
            shell.state = State::Gone;
            if let Some(slot) = placed.slots.get_mut(id.slot() as usize)
                && *slot == Some(at)
            {
                *slot = None;
            }
            return;
        }
        if let Some(slot) = placed.slots.get_mut(id.slot() as usize) {
            *slot = Some(at);
        }
        self.actors += 1;
        let actor = self.actors;
        shell.begin(id, actor);
        shell.owes = Some(Recovery::Start);
        let incarnation = (self.chance ^ id.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 16;
        let restored = match self.shells.get_mut(at as usize) {
            Some(shell) => shell.cell.restore(id, incarnation as u32),
            None => Ok(()),
        };
        if let Err(reason) = restored {
            self.failed += 1;
            self.quarantine(at, id, &format!("its records cannot be replayed: {reason}"));
        }
    }
}
