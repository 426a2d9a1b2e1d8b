//! Rules: predicates over what happens in a world. The same rule serves every strategy, and the shrinking.

mod follows;
mod lives;
mod sights;

use std::any::Any;

use twinway_actors::runtime::CALLER_KIND;
use twinway_protocol::{EntityId, EventId, Meta, PendingKey, WireSet, time::Now, trace::TraceEvent};

use crate::{fault::Fault, outside::CallId, world::AnyRecord};
pub use follows::FollowsFlow;
pub use lives::EarlierLivesAreOver;
pub use sights::Sights;

/// What a rule sees, in the order in which it happens.
#[derive(Debug)]
pub enum Seen<'s, W: WireSet> {
    /// An entity begins a turn with this message; the [`Seen::Event`] of the same id follows.
    Delivery {
        /// The event that the turn is.
        event: EventId,
        /// What travels with the message.
        meta: &'s Meta,
        /// The message.
        wire: &'s W,
    },
    /// A turn was taken, or a step that an entity takes by itself is durable: an event of the trace.
    Event(&'s TraceEvent),
    /// A turn's record is written down, and not durable yet.
    Record {
        /// The turn.
        event: EventId,
        /// Whose it is.
        entity: EntityId,
        /// The part of the entity's state.
        part: u64,
        /// Its position in the world's journal, counted from 1.
        position: u64,
        /// The record: an entity's own type.
        record: &'s dyn AnyRecord,
    },
    /// A turn was taken and its records are written down: the entity as it is now, before anything leaves it. Only of
    /// kinds that a rule [watches](Rule::watches).
    State {
        /// The turn.
        event: EventId,
        /// The entity.
        entity: EntityId,
        /// Its behaviour, to be downcast to its type.
        behaviour: &'s dyn Any,
    },
    /// Everything up to this position is durable.
    Durable {
        /// The position of the last durable record.
        position: u64,
    },
    /// A message leaves an entity, or comes from a caller.
    Sent {
        /// What travels with it.
        meta: &'s Meta,
        /// The message.
        wire: &'s W,
    },
    /// An entity hands something to readers or to the outside.
    Signal {
        /// The entity.
        entity: EntityId,
        /// What it hands over.
        signal: &'s W::Signal,
    },
    /// A caller outside is answered.
    Answered {
        /// The call.
        call: CallId,
        /// The answer.
        wire: &'s W,
    },
    /// A question is refused by the runtime itself: nobody is there, or its entity failed.
    Refused {
        /// What travelled with the question.
        meta: &'s Meta,
    },
    /// A message reached nobody.
    DeadLetter {
        /// What travelled with it.
        meta: &'s Meta,
    },
    /// A timer runs out; a turn of the entity follows.
    Timer {
        /// Whose it is.
        entity: EntityId,
        /// What it was for.
        key: PendingKey,
    },
    /// An entity failed: what it did in the turn is gone, and its state comes back from its records.
    Failed {
        /// The entity.
        entity: EntityId,
        /// Why: what its panic said.
        reason: &'s str,
        /// Whether the driver made it fail; otherwise the behaviour did.
        injected: bool,
    },
    /// A failed entity has its state again.
    Recovered {
        /// The entity.
        entity: EntityId,
    },
    /// An entity's records cannot be replayed, or it failed too often: it takes no turns any more.
    Quarantined {
        /// The entity.
        entity: EntityId,
        /// Why.
        reason: &'s str,
    },
    /// The driver injected a fault.
    Fault(Fault),
    /// Nothing is left to happen, or the run was long enough.
    End {
        /// Whether the world came to rest by itself.
        at_rest: bool,
    },
}

/// Where rules report what they found.
#[derive(Debug, Default)]
pub struct Found {
    pub(crate) violations: Vec<Violation>,
    pub(crate) rule: usize,
    pub(crate) now: Now,
    pub(crate) event: EventId,
}

impl Found {
    /// The rule that is asked does not hold, and why.
    pub fn violated(&mut self, what: impl Into<String>) {
        self.violations.push(Violation { rule: self.rule, name: String::new(), what: what.into(), event: self.event });
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }
}

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub(crate) rule: usize,
    /// The rule's name.
    pub name: String,
    /// What was seen.
    pub what: String,
    /// The newest event then.
    pub event: EventId,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.what)
    }
}

/// A predicate over what happens. It keeps what it needs to know between calls.
pub trait Rule<W: WireSet> {
    /// The name, for reports.
    fn name(&self) -> &str;
    /// Whether it wants to see the [state](Seen::State) of entities of this kind of mailbox.
    fn watches(&self, _kind: u8) -> bool {
        false
    }
    /// What it looks at: it is shown nothing else.
    fn looks_at(&self) -> Sights {
        Sights::ALL
    }
    /// Another run begins: what was kept of the last one is gone.
    fn begin(&mut self);
    /// Something happened.
    fn see(&mut self, seen: &Seen<'_, W>, found: &mut Found);
}

/// Every question of a caller is answered before the world comes to rest, unless it was lost.
#[derive(Debug, Default)]
pub struct EveryCallIsAnswered {
    open: Vec<(PendingKey, &'static str)>,
}

impl<W: WireSet> Rule<W> for EveryCallIsAnswered {
    fn name(&self) -> &str {
        "every call is answered"
    }

    fn looks_at(&self) -> Sights {
        Sights::SENT | Sights::ANSWERED | Sights::FAULT | Sights::END
    }

    fn begin(&mut self) {
        self.open.clear();
    }

    fn see(&mut self, seen: &Seen<'_, W>, found: &mut Found) {
        match seen {
            Seen::Sent { meta, wire } if meta.from.kind() == CALLER_KIND && meta.pending != PendingKey::NONE => {
                self.open.push((meta.pending, wire.describe().1));
            }
            Seen::Answered { call, .. } => self.open.retain(|(key, _)| *key != call.key()),
            Seen::Fault(Fault::Crash) => self.open.clear(),
            Seen::Fault(Fault::Drop { pending, .. }) => self.open.retain(|(key, _)| key != pending),
            Seen::End { .. } => {
                for (_, name) in self.open.drain(..) {
                    found.violated(format!("{name} of a caller was never answered"));
                }
            }
            _ => {}
        }
    }
}

/// A question that one entity asked another is answered at most once, and at least once unless somebody failed.
#[derive(Debug, Default)]
pub struct EveryQuestionIsAnsweredOnce {
    open: Vec<(EntityId, PendingKey, u32, &'static str)>,
    faults: bool,
}

impl<W: WireSet> Rule<W> for EveryQuestionIsAnsweredOnce {
    fn name(&self) -> &str {
        "every question is answered once"
    }

    fn looks_at(&self) -> Sights {
        Sights::SENT | Sights::REFUSED | Sights::FAILURE | Sights::FAULT | Sights::END
    }

    fn begin(&mut self) {
        self.open.clear();
        self.faults = false;
    }

    fn see(&mut self, seen: &Seen<'_, W>, found: &mut Found) {
        match seen {
            Seen::Sent { meta, wire } if meta.pending != PendingKey::NONE => {
                if wire.refusal().is_some() {
                    // One key may go to several, which each answer.
                    let known = self.open.iter_mut().find(|(from, key, ..)| (*from, *key) == (meta.from, meta.pending));
                    match known {
                        Some((_, _, left, _)) => *left += 1,
                        None => self.open.push((meta.from, meta.pending, 1, wire.describe().1)),
                    }
                    return;
                }
                let at = self.open.iter().position(|(from, key, ..)| (*from, *key) == (meta.to, meta.pending));
                match at.and_then(|at| self.open.get_mut(at).map(|open| (at, open))) {
                    Some((_, (_, _, left, _))) if *left > 1 => *left -= 1,
                    Some((at, _)) => {
                        self.open.swap_remove(at);
                    }
                    None if self.faults => {}
                    None => found.violated(format!("{} answers what was not asked, or again", wire.describe().1)),
                }
            }
            Seen::Refused { .. } | Seen::Failed { .. } | Seen::Fault(_) => self.faults = true,
            Seen::End { at_rest: true } if !self.faults => {
                for (_, _, _, name) in self.open.drain(..) {
                    found.violated(format!("{name} was never answered"));
                }
            }
            _ => {}
        }
    }
}

/// No behaviour panics by itself.
#[derive(Debug, Default)]
pub struct NobodyPanics;

impl<W: WireSet> Rule<W> for NobodyPanics {
    fn name(&self) -> &str {
        "nobody panics"
    }

    fn looks_at(&self) -> Sights {
        Sights::FAILURE
    }

    fn begin(&mut self) {}

    fn see(&mut self, seen: &Seen<'_, W>, found: &mut Found) {
        match seen {
            Seen::Failed { entity, reason, injected: false } => {
                found.violated(format!("{} {entity:?} panicked: {reason}", W::kind_name(entity.kind())));
            }
            Seen::Quarantined { entity, reason } => {
                found.violated(format!("{} {entity:?} is quarantined: {reason}", W::kind_name(entity.kind())));
            }
            _ => {}
        }
    }
}

/// A rule made of a closure over a state that begins anew with every run.
struct RuleOf<S, F> {
    name: &'static str,
    looks_at: Sights,
    state: S,
    see: F,
}

impl<W, S, F> Rule<W> for RuleOf<S, F>
where
    W: WireSet,
    S: Default,
    F: FnMut(&mut S, &Seen<'_, W>, &mut Found),
{
    fn name(&self) -> &str {
        self.name
    }

    fn looks_at(&self) -> Sights {
        self.looks_at
    }

    fn begin(&mut self) {
        self.state = S::default();
    }

    fn see(&mut self, seen: &Seen<'_, W>, found: &mut Found) {
        (self.see)(&mut self.state, seen, found);
    }
}

/// A rule with a name, a state that is `S::default()` when a run begins, and a closure that sees everything.
pub fn rule<W, S>(name: &'static str, see: impl FnMut(&mut S, &Seen<'_, W>, &mut Found)) -> impl Rule<W>
where
    W: WireSet,
    S: Default,
{
    rule_of(name, Sights::ALL, see)
}

/// The same, where the closure sees only what it looks at.
pub fn rule_of<W, S>(
    name: &'static str,
    looks_at: Sights,
    see: impl FnMut(&mut S, &Seen<'_, W>, &mut Found),
) -> impl Rule<W>
where
    W: WireSet,
    S: Default,
{
    RuleOf { name, looks_at, state: S::default(), see }
}
