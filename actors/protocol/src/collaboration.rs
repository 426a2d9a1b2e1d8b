//! Collaboration of third-party systems (FGMV-29 8.2.4): chains of operations, what converts between the systems'
//! APIs, and how an execution stands.
//!
//! Wherever a document below has an *expression*, it is one of the Common Expression Language, and its value is JSON.

mod execution;
mod mapping;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{ExecutionId, JsonDoc, SystemId, UserId};

pub use execution::{Execution, ExecutionProblem, ExecutionState, StepState, StepView};
pub use mapping::{ApiCall, ApiMapping, ApiMethod, ApiOutcome, BodyForm, OutcomeRule};

/// Operations of third-party systems that are carried out one after the other for a user; what was done is undone
/// in reverse order if a later one fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Chain {
    /// For whom.
    pub user: UserId,
    /// What the expressions know as `input`.
    #[serde(default = "JsonDoc::null")]
    pub input: JsonDoc,
    /// The steps, in their order.
    pub steps: Vec<ChainStep>,
    /// Makes the result of the whole, of `input`, `user` and `results`; absent: `results`.
    #[serde(default)]
    pub output: Option<String>,
    /// In how many milliseconds all steps have to be done; absent: `chain_deadline_ms`.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// The execution within which this one is asked for: it is named in what its third-party systems are asked.
    #[serde(default)]
    pub within: Option<ExecutionId>,
}

/// One step of a chain: an operation of a third-party system, or data that it is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChainStep {
    /// The name by which later expressions know its result, in `results`: a letter, then letters, digits and `_`.
    pub name: String,
    /// The third-party system.
    pub system: SystemId,
    /// Which operation; either this or `topic`.
    #[serde(default)]
    pub operation: Option<String>,
    /// On which topic data is shared; either this or `operation`.
    #[serde(default)]
    pub topic: Option<String>,
    /// An expression of `input`, `user` and `results`: the step is skipped unless it is true.
    #[serde(default)]
    pub when: Option<String>,
    /// Makes what the system is given, of `input`, `user` and `results`; absent: the chain's input.
    #[serde(default)]
    pub input: Option<String>,
    /// Makes the step's result, of these and of `output`, what the system answered; absent: the answer itself.
    #[serde(default)]
    pub output: Option<String>,
    /// The system recognizes an idempotency key: the step may be sent again when nobody knows whether it was done.
    #[serde(default)]
    pub idempotent: bool,
    /// The chain goes on when this step fails.
    #[serde(default)]
    pub optional: bool,
    /// What undoes the step when a later one fails.
    #[serde(default)]
    pub compensation: Option<Compensation>,
    /// How often it is tried again.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// How the system's own API is called for it; absent: as the system registered.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<ApiMapping>))]
    pub mapping: Option<Arc<ApiMapping>>,
}

/// What undoes a step: an operation of the same system, under the authorization that is verified before the step.
///
/// It may come more than once, with the same idempotency key, and also after a step of which nobody knows whether
/// it was done: then `results` has nothing under the step's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compensation {
    /// Which operation.
    pub operation: String,
    /// Makes what the system is given, of `input`, `user` and `results`; absent: the result of the step.
    #[serde(default)]
    pub input: Option<String>,
    /// How often it is tried again.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// How the system's own API is called for it; absent: as the system registered.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<ApiMapping>))]
    pub mapping: Option<Arc<ApiMapping>>,
}

/// How often what failed is tried again, if that is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// How often after the first time.
    pub count: u32,
    /// The first pause is up to this long, in milliseconds; each later one up to twice as long as the one before.
    pub backoff_ms: u64,
}

/// Which execution a third-party system works for: what it asks for in turn names it as `within`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecutionContext {
    /// The execution.
    pub execution: ExecutionId,
    /// The step's name.
    pub step: String,
    /// How many executions it stands within.
    pub depth: u32,
}
