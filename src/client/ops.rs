//! What an operator can do, and what everyone may ask.

use reqwest::StatusCode;
use serde::Serialize;
use twinway_protocol::JsonDoc;

use super::{Client, ClientError, Health, Status, Ticket, call};

#[derive(Serialize)]
struct BackupBody<'b> {
    file: &'b str,
}

/// The routes that belong to no kind of system.
impl Client {
    /// A ticket that opens one WebSocket without a header, once, within 30 s.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn ticket(&self) -> Result<Ticket, ClientError> {
        self.post(&["v1", "tickets"]).json().await
    }

    /// How the daemon is. Only for operators.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get(&["ops", "v1", "status"]).json().await
    }

    /// The daemon's metrics, as Prometheus reads them.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        self.get(&["metrics"]).text().await
    }

    /// Writes a backup of the journal to `file` within `backups/` of the daemon's data directory, while it runs.
    /// Gives a report. Only for operators.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub async fn backup(&self, file: &str) -> Result<JsonDoc, ClientError> {
        self.post(&["ops", "v1", "journal", "backup"]).body(&BackupBody { file }).document().await
    }

    /// Whether the daemon lives.
    ///
    /// # Errors
    /// It does not.
    pub async fn liveness(&self) -> Result<Health, ClientError> {
        self.get(&["livez"]).json().await
    }

    /// Whether the daemon takes requests, and if not, why.
    ///
    /// # Errors
    /// It cannot be asked. That it is not ready is no error.
    pub async fn readiness(&self) -> Result<Health, ClientError> {
        let response = self.get(&["readyz"]).send().await?;
        let status = response.status();
        if !status.is_success() && status != StatusCode::SERVICE_UNAVAILABLE {
            return Err(call::refusal(response).await);
        }
        let body = call::read(response).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Protocol(error.to_string()))
    }

    /// The description of the interface, OpenAPI 3.1.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn openapi(&self) -> Result<JsonDoc, ClientError> {
        self.get(&["openapi.json"]).document().await
    }

    /// What problems there are, each with what it means and what to do.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn problems(&self) -> Result<JsonDoc, ClientError> {
        self.get(&["problems"]).document().await
    }

    /// What the problem with this slug means and what to do.
    ///
    /// # Errors
    /// There is no such problem.
    pub async fn explain_problem(&self, slug: &str) -> Result<JsonDoc, ClientError> {
        self.get(&["problems", slug]).document().await
    }
}
