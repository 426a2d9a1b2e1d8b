//! What SDC writes down of executions (FGMV-29 8.2.4). Only ever appended to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    ExecutionId, JsonDoc, PermissionId, Problem, ProblemKind, Ref, SystemId,
    collaboration::{Chain, ExecutionProblem, ExecutionState},
    message::MetaverseSystemMsg,
    time::Timestamp,
};

/// What SDC writes down. A part is one execution.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// An execution has begun.
    Started(Box<Started>),
    /// Something happened to it.
    Happened {
        /// Its number.
        number: u64,
        /// When.
        at: Timestamp,
        /// What.
        what: Happening,
    },
    /// It ended long ago, and is kept no longer.
    Forgotten(u64),
}

/// An execution as it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Counts the executions: a later one has a higher number.
    pub number: u64,
    /// Its id.
    pub id: ExecutionId,
    /// Who asked.
    pub metaverse: SystemId,
    /// The actor of the one who asked.
    pub metaverse_entity: Ref<MetaverseSystemMsg>,
    /// The key under which it was asked for.
    pub key: Option<Box<str>>,
    /// How many executions it stands within.
    pub depth: u32,
    /// When.
    pub at: Timestamp,
    /// By when its steps have to be done.
    pub deadline_at: Timestamp,
    /// The chain.
    #[serde(with = "crate::codec::document")]
    pub chain: Arc<Chain>,
}

/// What happened to an execution after it began; `step` counts from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happening {
    /// The step's condition was not true.
    Skipped {
        /// Which.
        step: u32,
    },
    /// The system is asked. From here on it may have done it.
    Sent {
        /// Which.
        step: u32,
        /// Under this authorization.
        authorization: PermissionId,
        /// What undoes the step will be asked under this one.
        undo: Option<PermissionId>,
        /// What the system knows the user by.
        information: JsonDoc,
    },
    /// It was not done, or may be asked again, and will be.
    Deferred {
        /// Which.
        step: u32,
        /// Why.
        why: Why,
    },
    /// It is done.
    Done {
        /// Which.
        step: u32,
        /// Its result.
        output: JsonDoc,
    },
    /// It is done, but its result cannot be used.
    Spoiled {
        /// Which.
        step: u32,
        /// Why.
        why: Why,
    },
    /// It was not done.
    Failed {
        /// Which.
        step: u32,
        /// Why.
        why: Why,
    },
    /// Nobody knows whether it was done.
    Uncertain {
        /// Which.
        step: u32,
        /// Why.
        why: Why,
    },
    /// It shall go no further.
    CancelRequested,
    /// It goes no further: what was done is undone.
    TurnedBack {
        /// Why.
        why: Why,
    },
    /// The system is asked to undo a step.
    UndoSent {
        /// Which.
        step: u32,
    },
    /// It was not undone yet, and will be tried again.
    UndoDeferred {
        /// Which.
        step: u32,
        /// Why.
        why: Why,
    },
    /// It is undone.
    Undone {
        /// Which.
        step: u32,
    },
    /// It could not be undone.
    UndoFailed {
        /// Which.
        step: u32,
        /// Why.
        why: Why,
    },
    /// It has ended.
    Ended {
        /// How.
        state: ExecutionState,
        /// With what result.
        output: Option<JsonDoc>,
    },
}

/// A problem as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Which kind of problem.
    pub kind: ProblemKind,
    /// What happened.
    pub detail: String,
    /// The place in the chain's document.
    pub pointer: Option<String>,
}

impl From<Problem> for Why {
    fn from(problem: Problem) -> Self {
        Self { kind: problem.kind, detail: problem.detail, pointer: problem.pointer }
    }
}

impl Why {
    pub(super) fn shown(&self) -> ExecutionProblem {
        ExecutionProblem { kind: self.kind, detail: self.detail.clone(), pointer: self.pointer.clone() }
    }
}
