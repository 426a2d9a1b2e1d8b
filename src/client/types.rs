//! What the interface answers with and the protocol crate has no type for.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    JsonDoc, Problem, ProblemKind, TwinId, access::TwinPermission, problem::LeaseContext, time::Timestamp,
    twin::TwinView,
};

/// A problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// Names the kind of the problem: `/problems/{slug}`, where the daemon explains it; `about:blank`: none.
    #[serde(rename = "type", default = "about_blank")]
    pub problem_type: String,
    /// A short summary, the same for every occurrence.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What happened this time.
    #[serde(default)]
    pub detail: String,
    /// The place in the request's document (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What differs from what is registered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
    /// What is with the object, for problems of sync leases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Box<LeaseContext>>,
    /// Names this occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

impl ProblemDocument {
    /// A problem without a kind of its own.
    #[must_use]
    pub fn blank(status: u16, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            problem_type: about_blank(),
            title: title.into(),
            status,
            detail: detail.into(),
            pointer: None,
            differences: Vec::new(),
            lease: None,
            instance: None,
        }
    }

    /// The kind of the problem, if this build knows it.
    #[must_use]
    pub fn kind(&self) -> Option<ProblemKind> {
        let slug = self.problem_type.rsplit('/').next()?;
        ProblemKind::ALL.iter().copied().find(|kind| kind.slug() == slug)
    }
}

impl From<Problem> for ProblemDocument {
    fn from(problem: Problem) -> Self {
        let mut document = Self::blank(problem.kind.status(), problem.kind.title(), problem.detail);
        document.problem_type = format!("/problems/{}", problem.kind.slug());
        document.pointer = problem.pointer;
        document.differences = problem.differences;
        document.lease = problem.lease;
        document
    }
}

impl fmt::Display for ProblemDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if let Some(pointer) = &self.pointer {
            write!(f, " (at `{pointer}`)")?;
        }
        for difference in &self.differences {
            write!(f, "\n  {difference}")?;
        }
        Ok(())
    }
}

/// An event, as CloudEvents 1.0 writes it in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// The version of CloudEvents: `1.0`.
    pub specversion: String,
    /// Unique for its source.
    pub id: String,
    /// Who tells it.
    pub source: String,
    /// What kind of event it is, such as `io.twinway.twin.changed`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// What it is about: a twin, an authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The media type of `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// How many older events it takes the place of, for whoever wants the newest only.
    #[serde(default)]
    pub skipped: u64,
    /// The rest.
    #[serde(default = "JsonDoc::null")]
    pub data: JsonDoc,
}

/// What a request for properties and permission gave (FGMV-29 9.2 step 12).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Granted {
    /// The permissions that were given.
    pub permissions: Vec<TwinPermission>,
    /// The twins, each with its properties.
    pub twins: Vec<TwinView>,
    /// What was not given, and why.
    #[serde(default)]
    pub refused: Vec<RefusedTwin>,
}

/// A twin for which a permission was asked and not given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedTwin {
    /// The twin.
    pub twin: TwinId,
    /// Why.
    pub problem: ProblemDocument,
}

/// Opens one WebSocket, once, within 30 s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// What the WebSocket's URL takes as `ticket`.
    pub ticket: String,
    /// When it is worth nothing any more.
    pub expires_at: Timestamp,
}

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its version.
    pub version: String,
    /// How long it has run, in milliseconds.
    pub uptime_ms: u64,
    /// What it can do now: whether it takes writes, and if not, why.
    pub condition: JsonDoc,
    /// How many systems, twins, sessions and the like there are.
    pub counts: BTreeMap<String, u64>,
}

/// What `/livez` and `/readyz` say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, `ready` or `not-ready`.
    pub status: String,
    /// What is in the way.
    #[serde(default)]
    pub reasons: Vec<String>,
}
