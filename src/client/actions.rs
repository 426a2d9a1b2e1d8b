//! Actions of twins: invoked over MII, reported over DII.

use reqwest::Method;
use serde::Serialize;
use twinway_protocol::{
    InvocationId, JsonDoc, TwinId, UserId,
    lease::Token,
    message::{ActionReport, ChangeTerms, WhatToDo},
    twin::Invocation,
};

use super::{Client, ClientError};

#[derive(Serialize)]
struct InputBody<'b> {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'b JsonDoc>,
}

/// Actions. Their errors are those of [`ClientError`].
impl Client {
    /// Has a twin's object carry an action out. It is on its way then; events tell what becomes of it.
    ///
    /// # Errors
    /// Those of a change of the twin, an unknown action, and an input that the twin's description does not allow.
    pub async fn invoke_action(
        &self,
        user: &UserId,
        twin: &TwinId,
        what: &WhatToDo,
        token: Option<Token>,
        terms: ChangeTerms,
    ) -> Result<Invocation, ClientError> {
        let call = self.post(&["mii", "v1", "twins", twin.as_str(), "actions", &what.action]);
        let call = call.query("user", Some(user.as_str())).lease_token(token).terms(terms);
        call.body(&InputBody { input: what.input.as_ref() }).json().await
    }

    /// How far an action has come, or how it ended.
    ///
    /// # Errors
    /// Unknown twin or invocation.
    pub async fn invocation(&self, twin: &TwinId, invocation: &InvocationId) -> Result<Invocation, ClientError> {
        self.get(&["mii", "v1", "twins", twin.as_str(), "invocations", invocation.as_str()]).json().await
    }

    /// Wants an own action no more. Its end tells whether it was cancelled in time.
    ///
    /// # Errors
    /// Unknown invocation, somebody else's, and those of the twin system.
    pub async fn cancel_action(
        &self,
        user: &UserId,
        twin: &TwinId,
        invocation: &InvocationId,
    ) -> Result<(), ClientError> {
        let path = ["mii", "v1", "twins", twin.as_str(), "invocations", invocation.as_str()];
        self.call(Method::DELETE, &path).query("user", Some(user.as_str())).done().await
    }

    /// As a twin system: how far an action has come, or how it ended.
    ///
    /// # Errors
    /// Not one of its twins, or an unknown invocation.
    pub async fn report_action(
        &self,
        twin: &TwinId,
        invocation: &InvocationId,
        report: &ActionReport,
    ) -> Result<(), ClientError> {
        let path = ["dii", "v1", "twins", twin.as_str(), "invocations", invocation.as_str()];
        self.post(&path).body(report).done().await
    }
}
