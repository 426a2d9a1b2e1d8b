//! What can happen next, and making it happen.

use std::cmp::Reverse;

use twinway_protocol::{EntityId, EventId, Meta, PendingKey, WireSet};

use super::{
    CALLER, State, Told, World,
    cell::Task,
    flights::{Flight, Slots},
};
use crate::{
    driver::{Action, What},
    fault::Fault,
    outside::CallId,
    rule::Seen,
};

/// The longest jump of the wall clock, in milliseconds: a day.
const CLOCK_JUMP_MS_MAX: u64 = 86_400_000;

const NOBODY: EntityId = EntityId::from_bits(u64::MAX);

fn of_nobody(what: What, name: u64) -> Action {
    Action { what, actor: None, entity: NOBODY, from: NOBODY, name, slot: 0 }
}

impl<W: WireSet> World<W> {
    /// Lists what can happen next without a fault; false when the run is over.
    pub(super) fn enable(&mut self) -> bool {
        loop {
            self.enable_ordinary();
            if !self.actions.is_empty() {
                return true;
            }
            if self.go_on_at_rest() {
                continue;
            }
            let waited_for = self.timers_are_waited_for();
            let Some(Reverse(timer)) = self.timers.peek().filter(|_| waited_for) else { return false };
            let (at, count) = (timer.at, timer.count);
            self.push_of(What::Timer, at, count, 0);
            return true;
        }
    }

    fn push_of(&mut self, what: What, at: u32, name: u64, slot: u8) {
        if let Some(shell) = self.shells.get(at as usize) {
            self.actions.push(Action { what, actor: Some(at), entity: shell.id, from: shell.id, name, slot });
        }
    }

    fn enable_ordinary(&mut self) {
        self.actions.clear();
        if self.starting {
            for at in 0..self.shells.len() as u32 {
                if self.shells.get(at as usize).is_some_and(|shell| shell.owes.is_some()) {
                    self.push_of(What::Start, at, u64::from(at), 0);
                }
            }
        }
        self.enable_deliveries(false);
        if self.appended > self.durable {
            self.actions.push(of_nobody(What::Commit, 0));
        }
        if self.failed > 0 {
            for at in 0..self.shells.len() as u32 {
                let due = |shell: &super::Shell<W>| shell.state == State::Recovering && shell.last <= self.durable;
                if self.shells.get(at as usize).is_some_and(due) {
                    self.push_of(What::Recover, at, u64::from(at), 0);
                }
            }
        }
        let now_ms = self.clock_us / 1_000;
        if let Some(Reverse(timer)) = self.timers.peek().filter(|Reverse(timer)| timer.due_ms <= now_ms) {
            let (at, count) = (timer.at, timer.count);
            self.push_of(What::Timer, at, count, 0);
        }
        if self.flights.are_late() {
            self.enable_deliveries(true);
        }
    }

    fn enable_deliveries(&mut self, late: bool) {
        for slot in self.flights.order() {
            let Some(flight) = self.flights.get(*slot).filter(|flight| flight.late == late) else { continue };
            let Some(shell) = self.shells.get(flight.to as usize) else { continue };
            if shell.state != State::Recovering && !self.flights.must_wait(flight) {
                let (what, actor, entity) = (What::Deliver, Some(flight.to), shell.id);
                let (from, name) = (flight.from, flight.sent);
                self.actions.push(Action { what, actor, entity, from, name, slot: *slot });
            }
        }
    }

    /// A message that is let past once stays behind until nothing else is left. So one choice can delay it for as long
    /// as it takes, and shrinking comes to the one message whose delay matters.
    pub(super) fn let_past(&mut self, index: usize) {
        let delivers = |action: &Action| action.what == What::Deliver;
        if self.actions.get(index).is_some_and(delivers) {
            for passed in self.actions.iter().take(index).filter(|action| delivers(action)) {
                self.flights.let_past(passed.slot);
            }
        }
    }

    fn timers_are_waited_for(&self) -> bool {
        self.options.run_out_timers || self.lost || self.waiting.iter().any(|waits| *waits)
    }

    /// Nothing is left to happen by itself: perhaps the outside goes on. True if it did.
    fn go_on_at_rest(&mut self) -> bool {
        self.hands.now = self.at(self.latest_us);
        self.hands.time_can_pass = self.timers_are_waited_for() && !self.timers.is_empty();
        if self.starting {
            self.starting = false;
            self.outside.restarted(&mut self.hands);
        } else if self.rested {
            return false;
        } else {
            self.rested = true;
            self.outside.at_rest(&mut self.hands);
        }
        self.do_deeds(self.outside_knows());
        self.settle_outside();
        true
    }

    /// Whether a message under way can be lost, doubled, or make its entity panic.
    fn can_befall(&self, what: What, action: &Action) -> bool {
        let flight = self.flights.get(action.slot).filter(|_| action.what == What::Deliver);
        flight.is_some_and(|flight| match what {
            What::Drop => flight.promise.loses,
            What::Duplicate => flight.promise.duplicates && flight.double,
            _ => self.is_running(flight.to),
        })
    }

    /// The faults of messages, with how many are left.
    fn of_flights(&self) -> impl Iterator<Item = What> + use<W> {
        let left = self.left;
        let of_flights = [(What::Drop, left.drops), (What::Duplicate, left.duplicates), (What::Panic, left.panics)];
        of_flights.into_iter().filter(|(_, left)| *left > 0).map(|(what, _)| what)
    }

    /// Whether any fault could happen now.
    pub(super) fn can_fault(&self) -> bool {
        let left = &self.left;
        left.any()
            && (left.crashes > 0
                || left.clock_jumps > 0
                || (left.delays > 0 && !self.timers.is_empty())
                || (left.restarts > 0 && (0..self.shells.len() as u32).any(|at| self.is_running(at)))
                || self.of_flights().any(|what| self.actions.iter().any(|action| self.can_befall(what, action))))
    }

    /// Lists the faults that could happen now, behind the `ordinary`.
    pub(super) fn enable_faults(&mut self, ordinary: usize) {
        for what in self.of_flights() {
            for index in 0..ordinary {
                let Some(action) = self.actions.get(index).copied() else { continue };
                if self.can_befall(what, &action) {
                    self.actions.push(Action { what, ..action });
                }
            }
        }
        if self.left.delays > 0
            && let Some(Reverse(timer)) = self.timers.peek()
        {
            let (at, count) = (timer.at, timer.count);
            self.push_of(What::Delay, at, count, 0);
        }
        if self.left.restarts > 0 {
            for at in 0..self.shells.len() as u32 {
                if self.is_running(at) {
                    self.push_of(What::Restart, at, u64::from(at), 0);
                }
            }
        }
        if self.left.crashes > 0 {
            self.actions.push(of_nobody(What::Crash, 0));
        }
        if self.left.clock_jumps > 0 {
            self.actions.push(of_nobody(What::ClockJump, 0));
        }
    }

    /// Makes an action happen.
    pub(super) fn perform(&mut self, action: Action, departs: bool) {
        let before = self.trace.len();
        match action.what {
            What::Start => self.start(action.actor.unwrap_or(u32::MAX)),
            What::Deliver => self.arrive(action.slot, false),
            What::Commit => self.commit(),
            What::Recover => self.recover(action.actor.unwrap_or(u32::MAX)),
            What::Timer => self.run_timer(),
            What::Drop => self.lose(action.slot),
            What::Duplicate => self.double(action.slot),
            What::Delay => {
                self.left.delays -= 1;
                self.rules.see(&Seen::Fault(Fault::Delay));
                self.run_timer();
            }
            What::Panic => {
                self.left.panics -= 1;
                self.rules.see(&Seen::Fault(Fault::Panic(action.entity)));
                self.arrive(action.slot, true);
            }
            What::Restart => {
                self.left.restarts -= 1;
                self.rules.see(&Seen::Fault(Fault::Restart(action.entity)));
                self.fail((action.actor.unwrap_or(u32::MAX), EventId::NONE), None, "the driver restarted it", true);
            }
            What::Crash => self.crash(),
            What::ClockJump => self.jump(),
        }
        let event = self.trace.get(before).map_or(EventId::NONE, |event| event.event);
        self.told.push(Told { what: action.what, entity: action.entity, event, departs });
    }

    fn start(&mut self, at: u32) {
        let Some(why) = self.shells.get_mut(at as usize).and_then(|shell| shell.owes.take()) else { return };
        self.recovered_turn(at, why);
    }

    fn arrive(&mut self, slot: u8, panics: bool) {
        let Some((flight, meta)) = self.take(slot) else { return };
        if let Some(known) = self.known.get_mut(flight.to as usize) {
            known.slots |= flight.known.slots;
            // Nothing arrives before it was sent.
            known.us = known.us.max(flight.known.us);
        }
        self.deliver(flight.to, meta, panics);
        self.incoming = None;
    }

    /// Takes a message from its way; it is what comes in now.
    fn take(&mut self, slot: u8) -> Option<(Flight, Meta)> {
        let (mut flight, meta) = self.flights.take(slot, &mut self.incoming)?;
        flight.known.slots &= !self.free_slots();
        self.flights.admit();
        Some((flight, meta))
    }

    /// Frees slots of what has arrived, now and then; gives those that it freed.
    pub(super) fn free_slots(&mut self) -> Slots {
        if !self.flights.is_full_of_stale() {
            return 0;
        }
        let freed = self.flights.free_stale();
        for known in self.known.iter_mut().chain(self.answers.iter_mut().map(|(_, _, known, _)| known)) {
            known.slots &= !freed;
        }
        freed
    }

    fn commit(&mut self) {
        self.durable = self.appended;
        self.rules.see(&Seen::Durable { position: self.durable });
        let holding = std::mem::take(&mut self.holding);
        for at in &holding {
            while let Some(held) = self.shells.get_mut(*at as usize).and_then(|shell| shell.held.pop_front()) {
                self.let_out(*at, held.event, held.effects, false);
            }
        }
        // Nothing that is let out is held again.
        if self.holding.is_empty() {
            self.holding = holding;
            self.holding.clear();
        }
        for shell in &mut self.shells {
            if shell.state == State::Ended {
                shell.state = State::Gone;
            }
        }
    }

    /// The next timer runs out: if its time has not come, time passes until then.
    fn run_timer(&mut self) {
        let Some(Reverse(timer)) = self.timers.pop() else { return };
        self.clock_us = self.clock_us.max(timer.due_ms.saturating_mul(1_000));
        // Who waited outside for time to pass hears that it has: the world comes to rest again.
        self.rested = false;
        if let Some(shell) = self.shells.get(timer.at as usize).filter(|shell| shell.state == State::Running) {
            self.rules.see(&Seen::Timer { entity: shell.id, key: timer.key });
            self.turn_alone(timer.at, Task::Timeout(timer.key), "timeout", timer.cause);
        }
    }

    fn lose(&mut self, slot: u8) {
        self.left.drops -= 1;
        self.lost = true;
        let Some((_, meta)) = self.take(slot) else { return };
        self.incoming = None;
        let (to, pending) = (meta.to, meta.pending);
        self.rules.see(&Seen::Fault(Fault::Drop { to, pending }));
        if meta.from == CALLER && pending != PendingKey::NONE {
            self.tell_lost(pending.to_bits());
        }
    }

    pub(super) fn tell_lost(&mut self, call: u64) {
        let waits = usize::try_from(call).ok().and_then(|call| self.waiting.get_mut(call));
        if let Some(waits) = waits.filter(|waits| **waits) {
            *waits = false;
            self.rested = false;
            self.hands.now = self.at(self.latest_us);
            self.outside.lost(CallId(call), &mut self.hands);
            self.do_deeds(self.outside_knows());
        }
    }

    fn double(&mut self, slot: u8) {
        self.left.duplicates -= 1;
        self.free_slots();
        if let Some(to) = self.flights.double(slot) {
            self.rules.see(&Seen::Fault(Fault::Duplicate { to }));
        }
    }

    fn jump(&mut self) {
        self.left.clock_jumps -= 1;
        self.rules.see(&Seen::Fault(Fault::ClockJump));
        let by = self.dice.next() % (2 * CLOCK_JUMP_MS_MAX);
        self.wall_ms = (self.wall_ms + by).saturating_sub(CLOCK_JUMP_MS_MAX);
    }
}
