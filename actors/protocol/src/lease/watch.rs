//! What a running enabler lets be seen of its leases, and the judge of it: the [rules](super::rules) while it runs.
//!
//! The supervisor and the gates say what they did as [`Watched`], each before what follows from it leaves, so that
//! effects are seen behind their causes. What they say is durable already: the runtime lets nothing out before.
//!
//! Judged so are the invariants 1 to 5, 7 to 10 and 12 to 14, with what a running enabler shows of them. Not judged:
//!
//! - 1, as far as it is about what a device does: when a device acted is not known from when it answered.
//! - 4, as far as it is about the disk: nothing that is not durable is seen. The runtime's tests hold it.
//! - 6, since a machine that pauses, a slow disk and a slow gate are no fault of the protocol; the simulator judges it. How
//!   long grants took is a metric.
//! - 11, since that takes a second table beside the first, made of the journal; the simulator and the tests compare them.
//! - 13, as far as everybody is answered: a running enabler is never at rest.

use std::sync::Arc;

use super::{
    Change, Claimant, Effect, Holder, Input, LeaseLimits, ObjectView, Token,
    rules::{Event, GateEvent, Observer, Rule, Violation},
};
use crate::{EntityId, time::Now};

/// How many of those in line are looked at, at each object that a step touched.
pub const LINE_SEEN_MAX: usize = 16;

/// Something that the supervisor or a gate did.
#[derive(Clone, Debug)]
pub enum Watched {
    /// The supervisor begins a life.
    Began {
        /// What its journal says: everything that it knows.
        records: Vec<(Option<EntityId>, Change)>,
    },
    /// The table took a step.
    Step {
        /// What it was given.
        input: Input,
        /// What it said.
        effects: Vec<Effect>,
        /// The objects that it touched, as they are now.
        views: Vec<ObjectView>,
    },
    /// A gate did something.
    Gate {
        /// The object.
        object: EntityId,
        /// What.
        did: GateDid,
    },
}

/// Something that a gate did.
#[derive(Clone, Debug)]
pub enum GateDid {
    /// It is fenced, and open for whom the fence names.
    Fenced(Token, Option<Arc<Claimant>>),
    /// From now on it takes the safe stop only, or everything again.
    Restricted(Token, bool),
    /// It let a command of this token pass, from this holder.
    Accepted(Token, Holder),
}

/// Judges what is [`Watched`].
#[derive(Debug)]
pub struct Judge {
    observer: Observer,
    limits: LeaseLimits,
    /// Whether it has seen everything since the supervisor's life began.
    sees_all: bool,
}

impl Judge {
    /// What it can judge of a running enabler; see the [module](self).
    pub const RULES: [Rule; 12] = [
        Rule::OneHolder,
        Rule::FenceNeverDecreases,
        Rule::TokenUnique,
        Rule::DurableThenFencedThenVisible,
        Rule::NothingOfOlderEpoch,
        Rule::EqualNeverEvicts,
        Rule::FifoWithinPriority,
        Rule::RepeatedIdChangesNothing,
        Rule::RestrictedToSafeStop,
        Rule::ClocksBreakNothing,
        Rule::OneAnswerEach,
        Rule::NotFreeWhileWanted,
    ];

    /// Judges leases with these limits.
    #[must_use]
    pub fn new(limits: LeaseLimits) -> Self {
        Self { observer: Observer::new(limits.clone()).untimed().seeing_durable(), limits, sees_all: false }
    }

    /// Whether it judges: it has seen everything since a life of the supervisor began.
    #[must_use]
    pub const fn judges(&self) -> bool {
        self.sees_all
    }

    /// How many objects, requests and askers it could not follow.
    #[must_use]
    pub const fn untracked(&self) -> u64 {
        self.observer.untracked()
    }

    /// Something was not seen: what follows proves nothing, until the supervisor begins a life.
    pub fn lost(&mut self) {
        self.sees_all = false;
    }

    /// Takes what happened at `now`, and gives what it violated.
    pub fn see(&mut self, watched: &Watched, now: Now) -> Vec<Violation> {
        let observer = &mut self.observer;
        match watched {
            // Gates and devices keep what they saw through all lives, and so does the observer, as long as it saw all.
            Watched::Began { .. } if self.sees_all => observer.see(Event::Died(None), now),
            Watched::Began { records } => {
                *observer = Observer::new(self.limits.clone()).untimed().seeing_durable();
                observer.see(Event::Died(Some(records)), now);
                self.sees_all = true;
            }
            _ if !self.sees_all => return Vec::new(),
            Watched::Step { input, effects, views } => {
                observer.see(Event::Step { input, effects }, now);
                effects.iter().for_each(|effect| observer.see(Event::Left(effect), now));
                views.iter().for_each(|view| observer.see(Event::Look(views, view.object), now));
            }
            Watched::Gate { object, did } => {
                let event = match did {
                    GateDid::Fenced(token, to) => GateEvent::Fenced(*token, to.as_deref()),
                    GateDid::Restricted(token, restricted) => GateEvent::Restricted(*token, *restricted),
                    GateDid::Accepted(token, who) => GateEvent::Accepted(*token, who),
                };
                observer.see(Event::Gate { object: *object, event }, now);
            }
        }
        let mut violations = observer.take_violations();
        violations.retain(|violation| Self::RULES.contains(&violation.rule));
        violations
    }
}
