//! Chains of third-party systems, and authorizations after they were decided (FGMV-29 8.2.3, 8.2.4).

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use twinway_protocol::{
    ExecutionId, JsonDoc, PermissionId, SystemId, UserId,
    access::UserAuthorization,
    collaboration::{Chain, Execution, ExecutionState},
    registry::Page,
};

use super::{Client, ClientError, mii::paged};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SharesBody<'b> {
    systems: &'b [SystemId],
    user: &'b UserId,
    topic: &'b str,
    data: &'b JsonDoc,
    transformation: Option<&'b str>,
}

#[derive(Deserialize)]
struct SharedBody {
    execution: Execution,
}

/// Their errors are those of [`ClientError`]; which problems a route knows, `/openapi.json` lists.
impl Client {
    /// Uses a chain of third-party systems; gives how it stands at its end, or after `wait`. The same key again is the
    /// same request.
    ///
    /// # Errors
    /// What the chain is refused for, with the place. What fails later stands in the execution.
    pub async fn run_chain(&self, chain: &Chain, key: Option<&str>, wait: Duration) -> Result<Execution, ClientError> {
        let ms = wait.as_millis().to_string();
        let call = self.post(&["mii", "v1", "executions"]).query("waitMs", Some(&ms));
        call.idempotency_key(key).longer(wait).body(chain).json().await
    }

    /// How an execution stands at its end, or after `wait`.
    ///
    /// # Errors
    /// This system has none of this id, or not any more.
    pub async fn execution(&self, id: &ExecutionId, wait: Duration) -> Result<Execution, ClientError> {
        let ms = wait.as_millis().to_string();
        let call = self.get(&["mii", "v1", "executions", id.as_str()]).query("waitMs", Some(&ms));
        call.longer(wait).json().await
    }

    /// This system's executions, the oldest first.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn executions(
        &self,
        state: Option<ExecutionState>,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<Execution>, ClientError> {
        // A state is a word in JSON too.
        let state = state.and_then(|state| serde_json::to_value(state).ok()?.as_str().map(str::to_owned));
        let call = self.get(&["mii", "v1", "executions"]).query("state", state.as_deref());
        paged(call, cursor, limit).json().await
    }

    /// Has an execution go no further; what was done is undone.
    ///
    /// # Errors
    /// This system has none of this id.
    pub async fn cancel_execution(&self, id: &ExecutionId) -> Result<Execution, ClientError> {
        self.post(&["mii", "v1", "executions", id.as_str(), "cancel"]).json().await
    }

    /// Shares data with several third-party systems after the same transformation: each has its step.
    ///
    /// # Errors
    /// A transformation that is not one, or too many systems.
    pub async fn share_data_with(
        &self,
        systems: &[SystemId],
        user: &UserId,
        topic: &str,
        data: &JsonDoc,
        transformation: Option<&str>,
    ) -> Result<Execution, ClientError> {
        let body = SharesBody { systems, user, topic, data, transformation };
        let call = self.post(&["mii", "v1", "data-shares"]).longer(Duration::from_secs(60));
        Ok(call.body(&body).json::<SharedBody>().await?.execution)
    }

    /// The authorizations of this metaverse system's users.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn user_authorizations(
        &self,
        user: Option<&UserId>,
        system: Option<&SystemId>,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<UserAuthorization>, ClientError> {
        let call = self.get(&["mii", "v1", "user-authorizations"]).query("user", user.map(UserId::as_str));
        paged(call.query("system", system.map(SystemId::as_str)), cursor, limit).json().await
    }

    /// Takes an authorization of one of this metaverse system's users back.
    ///
    /// # Errors
    /// This system has no such authorization.
    pub async fn revoke_user_authorization(&self, id: &PermissionId) -> Result<UserAuthorization, ClientError> {
        self.call(Method::DELETE, &["mii", "v1", "user-authorizations", id.as_str()]).json().await
    }

    /// The authorizations that this third-party system decided about.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn decided_authorizations(
        &self,
        user: Option<&UserId>,
        metaverse: Option<&SystemId>,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<UserAuthorization>, ClientError> {
        let call = self.get(&["sii", "v1", "authorizations"]).query("user", user.map(UserId::as_str));
        paged(call.query("metaverse", metaverse.map(SystemId::as_str)), cursor, limit).json().await
    }

    /// Takes an authorization at this third-party system back.
    ///
    /// # Errors
    /// This system was asked for no such authorization.
    pub async fn withdraw_user_authorization(&self, id: &PermissionId) -> Result<UserAuthorization, ClientError> {
        self.call(Method::DELETE, &["sii", "v1", "authorizations", id.as_str()]).json().await
    }
}
