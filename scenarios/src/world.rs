//! A simulated world: the behaviours of a system on one thread, in virtual time, with every message held until a driver
//! lets it arrive.
//!
//! It means what the runtime means: what a turn causes leaves when the turn's records are durable, and never before what
//! an earlier turn of the same entity still holds back; an entity that panics loses its turn, has its open questions
//! refused, and comes back from its records. Each entity has a shell of its own, as [`Assembly::actors`](twinway_actors::assembly::Assembly::actors) places it;
//! that leaves twins of a shard more orders, never fewer.

mod actions;
mod cast;
mod cell;
mod crash;
mod flights;
mod shell;
mod turn;

use std::{cmp::Reverse, collections::BinaryHeap, collections::VecDeque, fmt};

use twinway_actors::runtime::CALLER_KIND;
use twinway_protocol::{
    Effect, EntityId, EventId, Recovery, WireSet,
    time::{Now, Timestamp},
    trace::TraceEvent,
};

use crate::{
    driver::{Action, Chance, Driver, Point, What},
    fault::Faults,
    link::Links,
    outside::{CallId, Hands, Outside},
    rule::{Found, Rule, Seen, Sights, Violation},
    run::{Run, Schedule},
};
pub use cast::Cast;
use cast::Placed;
pub use cell::AnyRecord;
use cell::{Moment, Yield};
use flights::{Flights, Known};
use shell::{Shell, State, Timer};

/// The address that questions from outside come from.
pub(crate) const CALLER: EntityId = EntityId::new(CALLER_KIND, 0, 0);

/// What stands before the first step that the outside takes: it is no entity of the world, whose actors count from 1.
const OUTSIDE_EVENT: EventId = EventId::NONE;

/// The wall clock when a run begins: 2023-11-14T22:13:20Z.
const WALL_MS: u64 = 1_700_000_000_000;

/// Limits and habits of a world.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// How many actions a run may take before it counts as never coming to rest.
    pub actions_max: u64,
    /// How much time every turn takes, in microseconds of its entity. 0: time passes only to timers.
    pub action_us: u64,
    /// As in the runtime: 0 makes batched records wait for the journal like others.
    pub loss_window_ms: u64,
    /// How often one entity may fail before it is quarantined.
    pub restarts_max: u32,
    /// Whether a run ends at the first violation.
    pub stop_at_violation: bool,
    /// Whether timers run out although nobody outside waits for anything any more. After a message was lost they do
    /// in any world.
    pub run_out_timers: bool,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            actions_max: 20_000,
            action_us: 1_000,
            loss_window_ms: 100,
            restarts_max: 5,
            stop_at_violation: true,
            run_out_timers: false,
        }
    }
}

/// One thing that happened in a run, for the list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// What.
    pub what: What,
    /// To whom, or nobody.
    pub entity: EntityId,
    /// The turn that it was, if it was one.
    pub event: EventId,
    /// Whether something older could have happened instead.
    pub departs: bool,
}

/// Stands for a rule of the world's own.
const RESTLESS: usize = usize::MAX;
/// Stands for what the outside finds wrong.
const OUTSIDE: usize = usize::MAX - 1;

struct Rules<W: WireSet> {
    all: Vec<Box<dyn Rule<W>>>,
    /// Of each kind of what can be seen, who looks at it.
    by_kind: [Vec<usize>; Sights::KINDS],
    /// The kinds of mailboxes whose entities' state some rule wants to see.
    watched: [bool; 256],
    found: Found,
}

impl<W: WireSet> Rules<W> {
    #[inline]
    fn see(&mut self, seen: &Seen<'_, W>) {
        for index in self.by_kind.get(seen.kind()).into_iter().flatten() {
            if let Some(rule) = self.all.get_mut(*index) {
                self.found.rule = *index;
                rule.see(seen, &mut self.found);
            }
        }
    }
}

/// A simulated world. It is made once and run many times; every run begins from nothing.
pub struct World<W: WireSet> {
    kinds: Vec<Option<Placed<W>>>,
    /// The entities that are always there.
    alone: Vec<EntityId>,
    outside: Box<dyn Outside<W>>,
    options: WorldOptions,
    links: Links,
    faults: Faults,
    rules: Rules<W>,
    // The state of a run.
    shells: Vec<Shell<W>>,
    /// What is under way that a shell knows of.
    known: Vec<Known>,
    flights: Flights<W>,
    appended: u64,
    durable: u64,
    holding: Vec<u32>,
    timers: BinaryHeap<Reverse<Timer>>,
    timers_set: u64,
    /// The last jump of time.
    clock_us: u64,
    /// The latest that it is to anybody.
    latest_us: u64,
    wall_ms: u64,
    chance: u64,
    dice: Chance,
    actors: u32,
    /// How many entities wait for their state.
    failed: u32,
    starting: bool,
    rested: bool,
    /// A message was lost: only time tells whoever waits for it inside.
    lost: bool,
    left: Faults,
    hands: Hands<W>,
    answers: VecDeque<(CallId, W, Known, EventId)>,
    /// The turns of which the outside has heard since it last took a step.
    heard: Vec<EventId>,
    /// The last step that the outside took.
    took: EventId,
    waiting: Vec<bool>,
    /// The message whose turn it is, until its entity takes it.
    incoming: Option<W>,
    yielded: Yield<W>,
    spare: Vec<Vec<Effect<W>>>,
    actions: Vec<Action>,
    taken: u64,
    event: EventId,
    trace: Vec<TraceEvent>,
    told: Vec<Told>,
    choices: Vec<u32>,
}

impl<W: WireSet> fmt::Debug for World<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("options", &self.options).field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl<W: WireSet> World<W> {
    /// A world of these entities, with `outside` around it.
    #[must_use]
    pub fn new(cast: Cast<W>, outside: impl Outside<W> + 'static) -> Self {
        let is_alone = |kind: &u8| matches!(cast.0.get(usize::from(*kind)), Some(Some(placed)) if placed.alone);
        let alone = (0..=u8::MAX).filter(is_alone).map(|kind| EntityId::new(kind, 0, 0)).collect();
        Self {
            kinds: cast.0,
            alone,
            outside: Box::new(outside),
            options: WorldOptions::default(),
            links: Links::default(),
            faults: Faults::NONE,
            rules: Rules {
                all: Vec::new(),
                by_kind: Default::default(),
                watched: [false; 256],
                found: Found::default(),
            },
            shells: Vec::new(),
            known: Vec::new(),
            flights: Flights::new(),
            appended: 0,
            durable: 0,
            holding: Vec::new(),
            timers: BinaryHeap::new(),
            timers_set: 0,
            clock_us: 0,
            latest_us: 0,
            wall_ms: 0,
            chance: 0,
            dice: Chance(0),
            actors: 0,
            failed: 0,
            starting: false,
            rested: false,
            lost: false,
            left: Faults::NONE,
            hands: Hands::new(),
            answers: VecDeque::new(),
            heard: Vec::new(),
            took: OUTSIDE_EVENT,
            waiting: Vec::new(),
            incoming: None,
            yielded: Yield::default(),
            spare: Vec::new(),
            actions: Vec::new(),
            taken: 0,
            event: EventId::NONE,
            trace: Vec::new(),
            told: Vec::new(),
            choices: Vec::new(),
        }
    }

    /// The same, judged by one more rule.
    #[must_use]
    pub fn rule(mut self, rule: impl Rule<W> + 'static) -> Self {
        for (kind, watched) in (0..=u8::MAX).zip(&mut self.rules.watched) {
            *watched |= rule.watches(kind);
        }
        for (nth, who) in self.rules.by_kind.iter_mut().enumerate() {
            who.extend(rule.looks_at().has(nth).then_some(self.rules.all.len()));
        }
        self.rules.all.push(Box::new(rule));
        self
    }

    /// The same, with links that promise this.
    #[must_use]
    pub fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// The same, with at most so many faults a run.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// The same, with other limits.
    #[must_use]
    pub fn options(mut self, options: WorldOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets how many faults a run may have.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// One run from nothing, with what `driver` picks. The seed is for what entities draw by chance, and for the
    /// driver: the same seed, driver and faults give the same run. True if every rule held.
    pub fn run(&mut self, seed: u64, driver: &mut dyn Driver) -> bool {
        self.reset(seed);
        driver.begin(seed);
        self.begin();
        loop {
            let over = self.options.stop_at_violation && !self.rules.found.violations.is_empty();
            if over || self.taken >= self.options.actions_max {
                break;
            }
            if !self.enable() {
                break;
            }
            let (ordinary, faults) = (self.actions.len(), self.can_fault());
            let index = if let ([action], false) = (self.actions.as_slice(), faults) {
                driver.pass(action);
                0
            } else {
                // There are many of them, and most drivers look at them seldom.
                if faults && driver.looks_at_faults() {
                    self.enable_faults(ordinary);
                }
                let point = Point { actions: &self.actions, ordinary, taken: self.taken };
                let index = driver.choose(&point).min(self.actions.len() - 1);
                self.choices.push(index as u32);
                index
            };
            if driver.is_done() {
                return true;
            }
            if let Some(action) = self.actions.get(index).copied() {
                self.taken += 1;
                if index > 0 {
                    self.let_past(index);
                }
                self.perform(action, index > 0);
                self.settle_outside();
            }
        }
        let at_rest = self.taken < self.options.actions_max;
        if self.rules.found.violations.is_empty() {
            self.rules.see(&Seen::End { at_rest });
        }
        if self.rules.found.violations.is_empty() {
            let (rule, wrong) = match self.outside.waits_for().filter(|_| !self.hands.faults) {
                _ if !at_rest => (RESTLESS, Some(format!("it did not within {} actions", self.taken))),
                waits => (OUTSIDE, waits),
            };
            self.rules.found.rule = rule;
            wrong.into_iter().for_each(|wrong| self.rules.found.violated(wrong));
        }
        self.name_violations();
        self.rules.found.violations.is_empty()
    }

    /// The events of the last run, in the order in which they happened.
    #[must_use]
    pub fn trace(&self) -> &[TraceEvent] {
        &self.trace
    }

    /// The rules that did not hold in the last run.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.rules.found.violations
    }

    /// The choices of the last run.
    #[must_use]
    pub fn choices(&self) -> &[u32] {
        &self.choices
    }

    /// What happened in the last run, action by action.
    #[must_use]
    pub fn told(&self) -> &[Told] {
        &self.told
    }

    /// The last run, to keep. `seed` is the one that it began with.
    #[must_use]
    pub fn last(&self, seed: u64) -> Run {
        let mut choices = self.choices.clone();
        choices.truncate(choices.iter().rposition(|choice| *choice > 0).map_or(0, |last| last + 1));
        Run {
            schedule: Schedule { seed, choices },
            violations: self.violations().to_vec(),
            trace: self.trace.clone(),
            told: self.told.clone(),
            kind_name: W::kind_name,
        }
    }

    /// How many actions the last run took.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    fn name_violations(&mut self) {
        let Rules { all, found, .. } = &mut self.rules;
        for violation in &mut found.violations {
            violation.name = match all.get(violation.rule) {
                Some(rule) => rule.name().to_owned(),
                None if violation.rule == RESTLESS => "the world comes to rest".to_owned(),
                None => "the outside is content".to_owned(),
            };
        }
    }

    fn at(&self, us: u64) -> Now {
        let monotonic_ms = us / 1_000;
        Now { monotonic_ms, wall: Timestamp::from_unix_ms(self.wall_ms.saturating_add(monotonic_ms)) }
    }

    /// Forgets the last run, and keeps its memory.
    fn reset(&mut self, seed: u64) {
        for shell in self.shells.drain(..) {
            if let Some(Some(placed)) = self.kinds.get_mut(usize::from(shell.id.kind())) {
                placed.slots.clear();
                placed.spare.push(shell);
            }
        }
        self.known.clear();
        self.flights.restart();
        (self.appended, self.durable) = (0, 0);
        self.holding.clear();
        self.timers.clear();
        self.timers_set = 0;
        (self.clock_us, self.latest_us, self.wall_ms) = (0, 0, WALL_MS);
        self.chance = Chance(seed).next();
        self.dice = Chance(!seed);
        (self.actors, self.failed) = (0, 0);
        (self.starting, self.rested, self.lost) = (false, false, false);
        self.left = self.faults;
        self.hands.deeds.clear();
        self.hands.calls = 0;
        self.hands.faults = self.faults.any();
        self.hands.copies = self.faults.duplicates > 0;
        self.answers.clear();
        self.heard.clear();
        self.took = OUTSIDE_EVENT;
        self.waiting.clear();
        self.taken = 0;
        self.event = EventId::NONE;
        self.trace.clear();
        self.told.clear();
        self.choices.clear();
        self.rules.found = Found::default();
        for rule in &mut self.rules.all {
            rule.begin();
        }
    }

    /// Makes the entities that are always there, and lets the outside begin.
    fn begin(&mut self) {
        for at in 0..self.alone.len() {
            self.alone.get(at).copied().into_iter().for_each(|id| self.spawn(id));
        }
        // Nothing was written down: nobody has anything to tell, so that their order is not worth a choice.
        for at in 0..self.shells.len() as u32 {
            self.recovered_turn(at, Recovery::Start);
        }
        self.hands.now = self.at(0);
        self.outside.begin(&mut self.hands);
        self.do_deeds(Known::default());
        self.settle_outside();
    }

    fn shell_of(&self, id: EntityId) -> Option<u32> {
        let placed = self.kinds.get(usize::from(id.kind()))?.as_ref()?;
        let at = (*placed.slots.get(id.slot() as usize)?)?;
        self.shells.get(at as usize).filter(|shell| shell.id == id && shell.state != State::Ended).map(|_| at)
    }

    /// Makes the entity at `id`, unless it is there.
    fn spawn(&mut self, id: EntityId) {
        if self.shell_of(id).is_some() {
            return;
        }
        self.actors += 1;
        let actor = self.actors;
        let incarnation = (self.chance_of(EventId::new(actor, 1)) >> 16) as u32;
        let at = self.shells.len() as u32;
        let Some(Some(placed)) = self.kinds.get_mut(usize::from(id.kind())) else { return };
        let shell = match placed.spare.pop() {
            Some(mut shell) => {
                shell.begin(id, actor);
                shell.cell.begin(id, incarnation);
                shell
            }
            None => Shell::new(id, placed.kind.make(id, incarnation), actor),
        };
        let index = id.slot() as usize;
        if placed.slots.len() <= index {
            placed.slots.resize(index + 1, None);
        }
        if let Some(slot) = placed.slots.get_mut(index) {
            *slot = Some(at);
        }
        self.shells.push(shell);
        self.known.push(Known::default());
    }

    /// As the runtime seeds what an event draws.
    fn chance_of(&self, event: EventId) -> u64 {
        self.chance ^ event.to_bits().wrapping_mul(0xd6e8_feb8_6659_fd93)
    }

    fn is_running(&self, at: u32) -> bool {
        self.shells.get(at as usize).is_some_and(|shell| shell.state == State::Running)
    }
}
