//! Chains of third-party systems (FGMV-29 8.2.4; 9.1 step 12), and what becomes of them.

use std::sync::Arc;

use super::steps;
use crate::{
    ExecutionId, JsonDoc, StepId, SystemId,
    collaboration::{Chain, Execution, ExecutionState},
    registry::Page,
};

/// 9.1 step 12: a metaverse system uses a chain of third-party systems.
#[derive(Clone, Debug)]
pub struct RunChain {
    /// Who asks.
    pub metaverse: SystemId,
    /// What is to be done.
    pub chain: Arc<Chain>,
    /// The same key again is the same request: it gets the present answer.
    pub key: Option<Box<str>>,
    /// How long the answer waits for the end, in milliseconds.
    pub wait_ms: u64,
}

/// A metaverse system reads one of its executions.
#[derive(Clone, Debug)]
pub struct ReadExecution {
    /// Who asks.
    pub metaverse: SystemId,
    /// Which.
    pub execution: ExecutionId,
    /// How long the answer waits for the end, in milliseconds.
    pub wait_ms: u64,
}

/// A metaverse system wants an execution to go no further, and what was done to be undone.
#[derive(Clone, Debug)]
pub struct CancelExecution {
    /// Who asks.
    pub metaverse: SystemId,
    /// Which.
    pub execution: ExecutionId,
}

/// How the execution stands now.
#[derive(Clone, Debug)]
pub struct ExecutionShown {
    /// As it stands.
    pub execution: Box<Execution>,
}

/// A metaverse system lists its executions.
#[derive(Clone, Debug)]
pub struct ListExecutions {
    /// Who asks.
    pub metaverse: SystemId,
    /// Only those that stand like this.
    pub state: Option<ExecutionState>,
    /// Where the page before ended.
    pub cursor: Option<Box<str>>,
    /// At most this many.
    pub limit: Option<u32>,
}

/// A page of them, the oldest first.
#[derive(Clone, Debug)]
pub struct ExecutionsListed {
    /// The page.
    pub page: Box<Page<Execution>>,
}

/// SDC tells the metaverse system that asked for an execution how it goes on.
#[derive(Clone, Debug)]
pub struct NotifyExecution {
    /// The type of the event.
    pub event: &'static str,
    /// Which execution.
    pub execution: ExecutionId,
    /// What happened.
    pub data: JsonDoc,
}

/// The type of the event that an execution has ended.
pub const EXECUTION_ENDED: &str = "execution.ended";

/// 9.1 step 14x: SDC tells the metaverse system that asked for an execution what came of what systems were asked.
#[derive(Clone, Debug)]
pub struct ExecutionEnded {
    /// Which execution.
    pub execution: ExecutionId,
    /// How it ended.
    pub data: JsonDoc,
}

steps! {
    ask RunChain -> ExecutionShown = "9.1" "12" or "14";
    ask ReadExecution -> ExecutionShown;
    ask CancelExecution -> ExecutionShown;
    answer ExecutionShown;
    ask ListExecutions -> ExecutionsListed;
    answer ExecutionsListed;
    tell NotifyExecution;
    tell ExecutionEnded = "9.1" "14x";
}
