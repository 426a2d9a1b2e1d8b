//! How an execution stands, for those who asked for it.

use serde::{Deserialize, Serialize};

use crate::{ExecutionId, JsonDoc, ProblemKind, SystemId, UserId, time::Timestamp};

/// How far an execution is, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ExecutionState {
    /// Its steps are being carried out.
    Running,
    /// What was done is being undone.
    Compensating,
    /// All its steps are done.
    Succeeded,
    /// A step failed or it was cancelled, and no step before had a compensation to carry out.
    Failed,
    /// A step failed or it was cancelled, and every compensation was carried out.
    Compensated,
    /// Of a step nobody knows whether it was done and it could not be undone, or a compensation failed: a person
    /// has to see to it.
    Uncertain,
}

impl ExecutionState {
    /// Whether nothing more will happen.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        !matches!(self, Self::Running | Self::Compensating)
    }
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum StepState {
    /// Its turn has not come.
    Waiting,
    /// Its condition was not true.
    Skipped,
    /// The system is asked.
    Running,
    /// It failed in a way that allows to try it again, and will be.
    Retrying,
    /// It is done.
    Succeeded,
    /// It was not done.
    Failed,
    /// Nobody knows whether it was done.
    Uncertain,
    /// It is being undone.
    Compensating,
    /// It was undone.
    Compensated,
    /// It could not be undone.
    CompensationFailed,
}

/// An execution as those see it who may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// The metaverse system that asked for it.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// How far it is, or how it ended.
    pub state: ExecutionState,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// By when all steps have to be done.
    pub deadline_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its steps.
    pub steps: Vec<StepView>,
    /// What came of it, if it succeeded.
    pub output: Option<JsonDoc>,
    /// What stood in its way.
    pub problem: Option<ExecutionProblem>,
}

/// A step as those see it who may see the execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// The third-party system.
    pub system: SystemId,
    /// How far it is.
    pub state: StepState,
    /// How often the system was asked, compensations not counted.
    pub attempts: u32,
    /// Its result.
    pub output: Option<JsonDoc>,
    /// What stood in its way, or in that of its compensation, the last time.
    pub problem: Option<ExecutionProblem>,
}

/// What stood in the way of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExecutionProblem {
    /// Which kind of problem.
    pub kind: ProblemKind,
    /// What happened.
    pub detail: String,
    /// The place in the chain's document, as an RFC 6901 pointer.
    pub pointer: Option<String>,
}
