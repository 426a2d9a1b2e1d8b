//! Events of a run: who took which step, and what caused it.

use std::{fmt, ops::Deref};

use crate::{EntityId, EventId};

/// The name of a step of an operation flow: the clause and the number in it, such as `9.2` and `18x`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepName {
    /// The clause that numbers the step.
    pub flow: &'static str,
    /// The number; an `x` behind it marks an answer that the text leaves out.
    pub number: &'static str,
}

/// A step of an operation flow, as small as an address: it travels with every message. Made by
/// [`step_id!`](crate::step_id), compared by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(&'static StepName);

impl StepId {
    /// The step of this name.
    #[must_use]
    pub const fn of(name: &'static StepName) -> Self {
        Self(name)
    }

    /// Where its name is kept, which is there for good: ids of one address are equal, and equal ones may have several.
    pub(crate) fn address(self) -> usize {
        std::ptr::from_ref(self.0).addr()
    }
}

impl Deref for StepId {
    type Target = StepName;
    fn deref(&self) -> &StepName {
        self.0
    }
}

/// The step with a number of the flow in a clause: `step_id!("9.2", "18x")`.
#[macro_export]
macro_rules! step_id {
    ($flow:expr, $number:expr) => {
        $crate::StepId::of(&$crate::trace::StepName { flow: $flow, number: $number })
    };
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.flow, self.number)
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One delivery, or one step that an entity took by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// The event's own id.
    pub event: EventId,
    /// The turn that sent the message; for an own step, the turn that took it.
    pub cause: EventId,
    /// What else led to it.
    pub joined: Box<[EventId]>,
    /// Who sent it; for an own step, who took it.
    pub from: EntityId,
    /// Who handled it.
    pub to: EntityId,
    /// The step it is, if it is one.
    pub step: Option<StepId>,
    /// The name of the message type; `own` for an own step.
    pub name: &'static str,
    /// Nanoseconds on the recorder's monotonic clock, for reading, not for judging.
    pub at_ns: u64,
}
