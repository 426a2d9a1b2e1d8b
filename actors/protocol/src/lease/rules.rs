//! The fourteen invariants of sync leases, each a named rule over what can be seen to happen.
//!
//! One predicate, used everywhere: property tests, the searched model, the simulator and the daemon's monitor feed the
//! same [`Observer`] with [`Event`]s and read its [`Violation`]s. It knows nothing of how the table works: it keeps
//! its own account of the journal, the gates and the askers, and compares. Its memory is bounded by
//! [`OBJECTS_MAX`], [`CLAIMS_MAX`], [`ASKS_MAX`] and [`VIOLATIONS_MAX`]; what it could not follow it counts.

mod facts;
mod gates;
mod journal;
mod looks;

use std::{borrow::Cow, collections::BTreeMap, fmt};

use self::{facts::Facts, gates::GateFacts, looks::Since};
use super::{Change, Claimant, Effect, Holder, Input, LeaseLimits, ObjectView, Reply, Table, Token};
use crate::{EntityId, time::Now};

/// How many objects an observer follows.
pub const OBJECTS_MAX: usize = 65_536;
/// How many requests and leases an observer follows, those that ended and whose ids are still known included.
pub const CLAIMS_MAX: usize = 262_144;
/// How many unanswered askers an observer follows.
pub const ASKS_MAX: usize = 262_144;
/// How many violations an observer keeps; later ones are counted.
pub const VIOLATIONS_MAX: usize = 64;

/// An invariant, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// 1: at most one holder an object (FGMV-28 7.1.3 and REQ-DT-08): a grant ends the lease before it, a gate takes
    /// commands only from whom it was fenced for, and no device acts on an older token once a newer one is fenced.
    OneHolder = 1,
    /// 2: the token that a gate accepts never decreases, across all lives of the gate.
    FenceNeverDecreases,
    /// 3: a token is given once, and later ones are larger, across crash, restart and restored backup.
    TokenUnique,
    /// 4: nobody hears of a grant before it is durable and every gate of it has answered.
    DurableThenFencedThenVisible,
    /// 5: after a restart nothing of an older epoch is accepted: every lease is fenced anew.
    NothingOfOlderEpoch,
    /// 6: while nothing crashes, a request or a higher one holds within minimum hold, grace and gate timeout, or the
    /// object is quarantined (REQ-DT-08).
    HigherHoldsInTime,
    /// 7: an equal or lower request never evicts (FGMV-28 7.1.3.1); a reservation goes before younger leases.
    EqualNeverEvicts,
    /// 8: first come, first served within a priority; a waiter whose time is over stands in nobody's way.
    FifoWithinPriority,
    /// 9: a repeated request id makes no second request.
    RepeatedIdChangesNothing,
    /// 10: once a gate has acknowledged a restriction, it takes the safe stop only, until the revocation is over.
    RestrictedToSafeStop,
    /// 11: the journal gives back holder, token, priority, revocation, queue and reservations, at every prefix.
    ReplayGivesTheSame,
    /// 12: deadlines follow the monotonic clock: neither a jump of the wall clock nor a pause moves them.
    ClocksBreakNothing,
    /// 13: every asker gets at most one answer, and one if nobody crashes.
    OneAnswerEach,
    /// 14: no object is nobody's while somebody waits who could have it.
    NotFreeWhileWanted,
}

impl Rule {
    /// All of them, in their order.
    pub const ALL: [Self; 14] = [
        Self::OneHolder,
        Self::FenceNeverDecreases,
        Self::TokenUnique,
        Self::DurableThenFencedThenVisible,
        Self::NothingOfOlderEpoch,
        Self::HigherHoldsInTime,
        Self::EqualNeverEvicts,
        Self::FifoWithinPriority,
        Self::RepeatedIdChangesNothing,
        Self::RestrictedToSafeStop,
        Self::ReplayGivesTheSame,
        Self::ClocksBreakNothing,
        Self::OneAnswerEach,
        Self::NotFreeWhileWanted,
    ];

    /// Its number, from 1.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// A rule that does not hold, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// What was seen.
    pub sentence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {} ({:?}): {}", self.rule.number(), self.rule, self.sentence)
    }
}

/// Something that can be seen from outside the table.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The table took a step. Its records are written down in their order, and become durable by [`Event::Durable`].
    Step {
        /// What it was given.
        input: &'a Input,
        /// What it said.
        effects: &'a [Effect],
    },
    /// Somebody asked the supervisor: for who sees its questions and answers, and not its steps.
    Asked(Reply),
    /// The supervisor answered who asked by [`Event::Asked`].
    Answered(Reply),
    /// So many more records are durable, the oldest first.
    Durable(usize),
    /// An effect has left the supervisor: whom it is for can see it.
    Left(&'a Effect),
    /// The supervisor lost its life, and with it what was not durable. With records: a backup was restored, and
    /// these are all there are.
    Died(Option<&'a [(Option<EntityId>, Change)]>),
    /// The supervisor stood still for a while: nothing can be said about how long things took.
    Paused,
    /// Something at a gate.
    Gate {
        /// The object.
        object: EntityId,
        /// What.
        event: GateEvent<'a>,
    },
    /// Look at an object of the table, after a step.
    Look(&'a dyn Views, EntityId),
    /// A table made anew from the journal, before [`Input::Recover`], beside the one that wrote it.
    Replayed {
        /// The one that wrote it.
        live: &'a Table,
        /// The one made anew.
        replayed: &'a Table,
    },
    /// All waits, leases and timeouts that there could be are over, and nobody crashed meanwhile.
    Quiet,
}

/// Objects as they are now: those of a table, or some of them.
pub trait Views: fmt::Debug {
    /// An object, with the first `queue_max` of those in line.
    fn look_at(&self, object: EntityId, queue_max: usize) -> Option<Cow<'_, ObjectView>>;
}

impl Views for Table {
    fn look_at(&self, object: EntityId, queue_max: usize) -> Option<Cow<'_, ObjectView>> {
        self.view(object, queue_max).map(Cow::Owned)
    }
}

/// Views that were taken before, with as much of the line as was taken: few.
impl Views for Vec<ObjectView> {
    fn look_at(&self, object: EntityId, _queue_max: usize) -> Option<Cow<'_, ObjectView>> {
        self.iter().find(|view| view.object == object).map(Cow::Borrowed)
    }
}

/// Something that happens at a gate or behind it.
#[derive(Clone, Copy, Debug)]
pub enum GateEvent<'a> {
    /// The gate says that it is fenced: nothing older can act any more. From now on it is open for `to`.
    Fenced(Token, Option<&'a Claimant>),
    /// The gate acknowledged that it takes the safe stop only, or everything again.
    Restricted(Token, bool),
    /// The gate accepted a command of this token from this holder.
    Accepted(Token, &'a Holder),
    /// The device acted on a command of this token that is not the safe stop.
    Acted(Token),
}

/// Follows what happens and says which rules do not hold. See the [module](self).
#[derive(Clone, Debug)]
pub struct Observer {
    limits: LeaseLimits,
    now: Now,
    /// What the records say, durable or not.
    said: Facts,
    /// What the durable records say; none: what is seen is durable, so that both say the same.
    durable: Option<Facts>,
    /// Records that are not durable yet, with when they were said.
    pending: std::collections::VecDeque<(u64, Option<EntityId>, Change)>,
    gates: BTreeMap<EntityId, GateFacts>,
    /// Who asked, and for which objects, unanswered.
    asks: BTreeMap<Reply, Box<[EntityId]>>,
    /// Who was answered with a grant that has not left yet.
    answered: BTreeMap<Reply, Box<[EntityId]>>,
    since: BTreeMap<EntityId, Since>,
    /// Leases whose eviction was found right in this step: each may end for several objects, one after the other.
    evicted: Vec<u64>,
    /// How often the supervisor has died.
    deaths: u64,
    violations: Vec<Violation>,
    /// What could not be kept because of a limit.
    untracked: u64,
    /// With how many known ids those that are not to be known any more are looked for.
    ids_looked_at: usize,
    /// Whether how long things take is judged (6).
    timed: bool,
}

impl Observer {
    /// Follows a table with these limits from its beginning.
    #[must_use]
    pub fn new(limits: LeaseLimits) -> Self {
        Self {
            limits,
            now: Now::default(),
            said: Facts::default(),
            durable: Some(Facts::default()),
            pending: std::collections::VecDeque::new(),
            gates: BTreeMap::new(),
            asks: BTreeMap::new(),
            answered: BTreeMap::new(),
            since: BTreeMap::new(),
            evicted: Vec::new(),
            deaths: 0,
            violations: Vec::new(),
            untracked: 0,
            ids_looked_at: 0,
            timed: true,
        }
    }

    /// The same where nobody can say how long things may take: 6 is not judged.
    #[must_use]
    pub fn untimed(mut self) -> Self {
        self.timed = false;
        self
    }

    /// The same where the records of a step are durable when it is seen: [`Event::Step`] and [`Event::Durable`] together.
    #[must_use]
    pub fn seeing_durable(mut self) -> Self {
        self.durable = None;
        self
    }

    /// What the durable records say.
    fn durable(&self) -> &Facts {
        self.durable.as_ref().unwrap_or(&self.said)
    }

    /// Takes an event that happened at `now`.
    pub fn see(&mut self, event: Event<'_>, now: Now) {
        self.now = now;
        match event {
            Event::Step { input, effects } => self.step(input, effects),
            Event::Asked(reply) => self.ask(reply, Box::default()),
            Event::Answered(reply) => {
                self.asker(reply);
            }
            Event::Durable(records) => {
                for (at_ms, entity, change) in self.pending.drain(..records.min(self.pending.len())) {
                    if let Some(durable) = &mut self.durable {
                        durable.apply(entity, &change, at_ms);
                    }
                }
            }
            Event::Left(effect) => self.left(effect),
            Event::Died(backup) => self.died(backup),
            Event::Paused => self.since.clear(),
            Event::Gate { object, event } => self.gate(object, event),
            Event::Look(table, object) => self.look(table, object),
            Event::Replayed { live, replayed } => self.replayed(live, replayed),
            Event::Quiet => self.quiet(),
        }
    }

    /// What was violated so far, the first first.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Takes the violations out.
    pub fn take_violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }

    /// How many objects, requests, askers and violations it could not keep.
    #[must_use]
    pub const fn untracked(&self) -> u64 {
        self.untracked
    }

    fn violated(&mut self, rule: Rule, sentence: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { rule, sentence });
        } else {
            self.untracked += 1;
        }
    }

    /// What is volatile is gone. The gates, and what they and the askers have seen, are not.
    fn died(&mut self, backup: Option<&[(Option<EntityId>, Change)]>) {
        self.pending.clear();
        if let Some(records) = backup {
            self.said = Facts::default();
            for (entity, change) in records {
                self.said.apply(*entity, change, self.now.monotonic_ms);
            }
        }
        match (&mut self.durable, backup) {
            (Some(durable), Some(_)) => durable.clone_from(&self.said),
            (Some(durable), None) => self.said.clone_from(durable),
            (None, _) => {}
        }
        self.said.restarted(self.now.monotonic_ms);
        self.asks.clear();
        self.answered.clear();
        self.since.clear();
        self.deaths += 1;
        for gate in self.gates.values_mut() {
            gate.sent = None;
        }
    }
}
