//! Chains of third-party systems, and data for several of them (FGMV-29 8.2.4).

use std::{sync::Arc, time::Duration};

use twinway_protocol::{
    ExecutionId, JsonDoc, Problem, SystemId, UserId,
    collaboration::{Chain, ChainStep, Execution, ExecutionState},
    message::{CancelExecution, ListExecutions, ReadExecution, RunChain},
    registry::Page,
};

use super::Mii;

impl Mii {
    /// Uses a chain of third-party systems (FGMV-29 9.1 steps 11 to 14). The answer comes at the end, or after `wait`
    /// with how the execution stands then; events tell how it goes on. The same `key` again is the same request.
    ///
    /// # Errors
    /// What the chain is refused for, before anything of it is carried out. What fails later stands in the execution.
    pub async fn run_chain(&self, chain: Chain, key: Option<&str>, wait: Duration) -> Result<Execution, Problem> {
        let (metaverse, chain) = (self.id.clone(), Arc::new(chain));
        let question = RunChain { metaverse, chain, key: key.map(Into::into), wait_ms: milliseconds(wait) };
        let limit = self.enabler.inner.answer_within + wait;
        Ok(*self.enabler.ask_within(self.actor().await?, question, limit).await?.execution)
    }

    /// One of this system's executions, at its end or as it stands after `wait`.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::RequestUnknown`] when this system has none of this id, or not any more.
    pub async fn execution(&self, execution: ExecutionId, wait: Duration) -> Result<Execution, Problem> {
        let question = ReadExecution { metaverse: self.id.clone(), execution, wait_ms: milliseconds(wait) };
        let limit = self.enabler.inner.answer_within + wait;
        let actor = self.actor().await?;
        Ok(*self.enabler.inner.handle.ask(actor, question, limit).await?.execution)
    }

    /// This system's executions, the oldest first.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::InvalidQuery`] for a cursor that no page gave.
    pub async fn executions(
        &self,
        state: Option<ExecutionState>,
        cursor: Option<String>,
        limit: Option<u32>,
    ) -> Result<Page<Execution>, Problem> {
        let cursor = cursor.map(String::into_boxed_str);
        let question = ListExecutions { metaverse: self.id.clone(), state, cursor, limit };
        Ok(*self.enabler.look(self.actor().await?, question).await?.page)
    }

    /// Has an execution go no further; what was done is undone. The system that is asked at this moment is waited for.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::RequestUnknown`] when this system has none of this id.
    pub async fn cancel_execution(&self, execution: ExecutionId) -> Result<Execution, Problem> {
        let question = CancelExecution { metaverse: self.id.clone(), execution };
        Ok(*self.enabler.ask(self.actor().await?, question).await?.execution)
    }

    /// Shares data with several third-party systems, after the same transformation (an expression of `input`, the
    /// data, and `user`), and waits for all of them. One that fails keeps none of the others from it: each has its
    /// step, in the order of `systems`.
    ///
    /// # Errors
    /// A transformation that is not one, or too many systems: nobody was told anything then.
    pub async fn share_data_with(
        &self,
        systems: &[SystemId],
        user: UserId,
        topic: &str,
        data: JsonDoc,
        transformation: Option<&str>,
    ) -> Result<Execution, Problem> {
        let step = |(number, system): (usize, &SystemId)| ChainStep {
            name: format!("share{number}"),
            system: system.clone(),
            operation: None,
            topic: Some(topic.to_owned()),
            when: None,
            input: transformation.map(str::to_owned),
            output: None,
            idempotent: false,
            optional: true,
            compensation: None,
            retry: None,
            mapping: None,
        };
        let steps = systems.iter().enumerate().map(step).collect();
        let chain = Chain { user, input: data, steps, output: None, deadline_ms: None, within: None };
        self.run_chain(chain, None, SHARED_WITHIN).await
    }
}

/// How long sharing with several waits for all of them.
const SHARED_WITHIN: Duration = Duration::from_secs(60);

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
