//! One turn: its records are written down, what follows is let out when they are durable, and a failure is contained.

use std::{
    any::Any,
    cmp::Reverse,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tokio::sync::oneshot;
use twinway_protocol::{
    Behaviour, Effect, EntityId, EventId, Meta, Out, PendingKey, Problem, ProblemKind, WireSet, flow::FAILED,
    trace::TraceEvent,
};

use super::{
    cells::{Cell, CellState, Cells},
    inbox::Command,
    shell::{Held, Occasion, Open, Question, Shell, Timer},
};
use crate::{
    codec,
    port::journal::{Entry, EntryKind, JournalError, Urgency},
};

/// How many lists of effects a busy shell keeps for turns to come.
const SPARE_MAX: usize = 64;

impl<B: Behaviour, C: Cells<B>> Shell<B, C> {
    pub(super) fn take_turn(
        &mut self,
        id: EntityId,
        occasion: Occasion,
        question: Question<B::Wire>,
        run: impl FnOnce(&mut B, &mut Out<'_, B>),
    ) {
        let Some(Cell { state: CellState::Running(behaviour), .. }) = self.cells.get(id) else { return };
        self.event = self.event.next();
        self.turns += 1;
        let (event, now, chance, turn) = (self.event, self.now, self.shared.chance(self.event), &mut self.turn);
        // The behaviour is dropped and made again from its records when it panics, so nobody sees it half changed.
        let outcome = catch_unwind(AssertUnwindSafe(|| run(behaviour, &mut Out::new(turn, id, event, now, chance))));
        let joined = self.turn.joined.as_slice().into();
        self.turn.joined.clear();
        let Occasion { cause, from, step, name } = occasion;
        let traced = TraceEvent { event, cause, joined, from, to: id, step, name, at_ns: self.now_ns };
        self.tracer.record(traced, self.now.monotonic_ms);
        match outcome {
            Ok(()) => self.settle(id, event, question),
            Err(panic) => {
                let reason = panic_text(&*panic);
                self.fail((id, event), question, ProblemKind::Internal, &reason, true);
            }
        }
    }

    /// Keeps in mind which questions are still to be answered.
    fn note_answers(&mut self, taken_in: EventId, question: Question<B::Wire>) {
        if let Some((meta, refusal)) = question.filter(|(meta, _)| meta.pending != PendingKey::NONE) {
            self.open.insert((meta.from, meta.pending), Open { meta, refusal, taken_in });
        }
        if self.open.is_empty() {
            return;
        }
        for effect in &self.turn.effects {
            if let Effect::Send { wire: Some(wire), meta } = effect
                && meta.pending != PendingKey::NONE
                && wire.refusal().is_none()
            {
                self.open.remove(&(meta.to, meta.pending));
            }
        }
    }

    /// Writes the turn's records down, and lets out what follows or holds it back.
    fn settle(&mut self, id: EntityId, event: EventId, question: Question<B::Wire>) {
        if self.turn.records.is_empty() {
            self.note_answers(event, question);
            match self.held_behind(id) {
                None => self.let_out(id, event),
                // What follows later must not overtake what is held back.
                Some(position) if !self.turn.effects.is_empty() => self.hold(position, id, event),
                Some(_) => {}
            }
            self.turn.clear();
            return;
        }
        let strict = !self.turn.batched || self.shared.options.loss_window_ms == 0;
        match self.write_down(id, strict) {
            Ok(position) => {
                // Only now: an answer that cannot be written down is none, and its question is refused.
                self.note_answers(event, question);
                let position = if strict { Some(position) } else { self.held_behind(id) };
                match position {
                    Some(position) => self.hold(position, id, event),
                    None => self.let_out(id, event),
                }
                self.turn.clear();
            }
            Err(reason) => self.fail((id, event), question, ProblemKind::ReadOnly, &reason, false),
        }
    }

    /// Where what follows from a turn of the entity queues, if an earlier turn of it is still held back. Entities of one
    /// shard do not wait for each other: they know as little of each other as those of different shells.
    fn held_behind(&mut self, id: EntityId) -> Option<u64> {
        let last = self.held.back()?.position;
        let waits = self.cells.get(id).is_some_and(|cell| cell.held_until > self.released);
        waits.then_some(last)
    }

    /// Holds back what follows from the turn.
    fn hold(&mut self, position: u64, id: EntityId, event: EventId) {
        if let Some(cell) = self.cells.get(id) {
            cell.held_until = position;
        }
        let effects = std::mem::replace(&mut self.turn.effects, self.spare.pop().unwrap_or_default());
        self.held.push_back(Held { position, id, event, effects });
    }

    /// Lets out what follows from the turn. Messages are taken from where the behaviour wrote them, straight into
    /// the inbox of whom they are for.
    fn let_out(&mut self, id: EntityId, event: EventId) {
        let mut next = 0;
        while let Some(effect) = self.turn.effects.get_mut(next) {
            next += 1;
            if let Effect::Send { wire, meta } = effect {
                self.shared.deliver_by(&mut self.ways, meta, wire);
            } else {
                let effect = std::mem::replace(effect, Effect::Stop);
                self.apply(id, event, effect);
            }
        }
    }

    fn write_down(&mut self, id: EntityId, strict: bool) -> Result<u64, String> {
        let mut entries = Vec::with_capacity(self.turn.records.len());
        for (part, record) in &self.turn.records {
            let bytes = codec::encode_exactly(record).map_err(|error| error.to_string())?;
            entries.push(Entry { entity: id, part: *part, kind: EntryKind::Record, bytes });
        }
        let urgency = if strict { Urgency::Now } else { Urgency::WithinLossWindow };
        let position = self
            .shared
            .journal
            .append(entries, urgency, Some(&self.listener))
            .map_err(|error: JournalError| error.to_string())?;
        self.dirty.extend(self.turn.records.iter().map(|(part, _)| (id, *part)));
        if let Some(cell) = self.cells.get(id) {
            cell.last = position.0;
        }
        Ok(position.0)
    }

    /// Lets out what waited for the journal.
    pub(super) fn release(&mut self, durable: u64) {
        while self.held.front().is_some_and(|held| held.position <= durable) {
            let Some(Held { id, event, mut effects, .. }) = self.held.pop_front() else { return };
            for effect in effects.drain(..) {
                self.apply(id, event, effect);
            }
            // A shell that holds one turn now and then keeps no memory for that.
            if !self.held.is_empty() && self.spare.len() < SPARE_MAX {
                self.spare.push(effects);
            }
        }
        self.released = self.released.max(durable);
        if !self.held.is_empty() && self.inbox.is_poisoned() {
            // Nobody will ever know whether these turns are on the disk: whoever waits for them is told so.
            tracing::error!(turns = self.held.len(), "turns are lost: the journal is poisoned");
            self.held.clear();
            self.released = u64::MAX;
            self.shared.answer_callers(&mut self.ways);
            self.shared.callers.fail_all();
        }
    }

    fn apply(&mut self, id: EntityId, event: EventId, effect: Effect<B::Wire>) {
        match effect {
            Effect::Send { mut wire, meta } => self.shared.deliver_by(&mut self.ways, &meta, &mut wire),
            Effect::Timer { after_ms, key } => {
                let due_ms = self.now.monotonic_ms.saturating_add(after_ms);
                self.timers.push(Reverse(Timer { due_ms, id, key, cause: event }));
            }
            Effect::Spawn(new) => self.shared.spawn(new),
            Effect::Own(step) => {
                self.event = self.event.next();
                let (event, cause) = (self.event, event);
                let (joined, step) = (Box::default(), Some(step));
                let own = TraceEvent { event, cause, joined, from: id, to: id, step, name: "own", at_ns: self.now_ns };
                self.tracer.record(own, self.now.monotonic_ms);
            }
            Effect::Signal(signal) => self.shared.outlet.signal(id, signal),
            Effect::Stop => self.end(id),
        }
    }

    /// An entity ended itself: its records are forgotten, its address reaches nobody.
    fn end(&mut self, id: EntityId) {
        let forget = Entry { entity: id, part: 0, kind: EntryKind::Forget, bytes: Box::default() };
        if let Err(error) = self.shared.journal.append(vec![forget], Urgency::Now, None) {
            tracing::error!(?id, %error, "the records of an ended entity stay in the journal");
        }
        self.cells.remove(id);
        self.shared.remove(id);
        self.dirty.retain(|(dirty, _)| *dirty != id);
        if !self.shared.is_sharded(id) {
            let (done, _unheard) = oneshot::channel();
            self.inbox.command(Command::Stop(done));
        }
    }

    /// Gives up a turn and the entity's state with it: the question is refused, and the state comes back from the
    /// journal. `counted` failures lead to quarantine when there are too many.
    ///
    /// A refusal follows from the turn that failed: it handled the question, or ended what another turn had taken.
    pub(super) fn fail(
        &mut self,
        (id, event): (EntityId, EventId),
        question: Question<B::Wire>,
        kind: ProblemKind,
        reason: &str,
        counted: bool,
    ) {
        self.turn.clear();
        let name = B::Wire::kind_name(id.kind());
        tracing::error!(?id, kind = name, reason, "a turn failed; the entity is recovered from the journal");
        for event in self.tracer.recent().filter(|event| event.to == id) {
            tracing::debug!(?event, "before the failure");
        }
        metrics::counter!("twinway_failed_turns_total", "kind" => name).increment(1);
        if let Some((meta, refusal)) = question {
            self.open.remove(&(meta.from, meta.pending));
            let problem = Problem::new(kind, format!("{name} failed; nothing was changed: {reason}"));
            self.shared.refuse(Meta { cause: event, ..meta }, refusal(meta.from.kind(), problem));
        }
        self.refuse_open(id, event);
        self.timers.retain(|Reverse(timer)| timer.id != id);
        self.schedule_recovery(id, self.now.monotonic_ms, counted);
    }

    /// Those whose question an entity had taken before it failed in turn `failed` would wait for ever. Each is refused
    /// in an event of its own, which takes up the question: others that waited have no part in it.
    fn refuse_open(&mut self, id: EntityId, failed: EventId) {
        let name = B::Wire::kind_name(id.kind());
        let open: Vec<Open<B::Wire>> =
            self.open.extract_if(|_, open| open.meta.to == id).map(|(_, open)| open).collect();
        for Open { meta, refusal, taken_in } in open {
            self.event = self.event.next();
            let (event, joined, step) = (self.event, Box::from([taken_in]), None);
            let (cause, at_ns) = (failed, self.now_ns);
            let traced = TraceEvent { event, cause, joined, from: id, to: id, step, name: FAILED, at_ns };
            self.tracer.record(traced, self.now.monotonic_ms);
            let detail = format!("{name} failed before it answered; whether anything was changed is not known");
            let refused = refusal(meta.from.kind(), Problem::new(ProblemKind::Internal, detail));
            self.shared.refuse(Meta { cause: event, ..meta }, refused);
        }
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}
