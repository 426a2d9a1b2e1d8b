//! How old what is known of a twin is (FGMV-29 8.3.3).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::TwinView;
use crate::{Problem, ProblemKind, time::Timestamp};

/// Where information of a twin comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum InformationSource {
    /// It is what the twin system said earlier.
    Cached,
    /// The twin system was asked for it now.
    Fresh,
}

/// How old information of a twin is, and whether it is what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Freshness {
    /// Where it comes from.
    pub source: InformationSource,
    /// The twin's version that it shows.
    pub version: u64,
    /// When the oldest of the values was last set or confirmed; absent: there is no value yet.
    pub as_of: Option<Timestamp>,
    /// How long ago that is, in milliseconds.
    pub age_ms: Option<u64>,
    /// It is older than was asked for, or nobody could say now whether it is still so.
    pub stale: bool,
    /// Why it is stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<StaleReason>,
}

/// Why information is stale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StaleReason {
    /// The kind of problem.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub kind: ProblemKind,
    /// What happened.
    pub detail: String,
}

impl From<&Problem> for StaleReason {
    fn from(problem: &Problem) -> Self {
        Self { kind: problem.kind, detail: problem.detail.clone() }
    }
}

/// Information of a twin, and how old it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwinInformationOf {
    /// The twin.
    pub view: Arc<TwinView>,
    /// How old that is.
    pub freshness: Freshness,
}

impl Freshness {
    /// How old what `view` shows is at `now`, not judged.
    #[must_use]
    pub fn of(view: &TwinView, source: InformationSource, now: Timestamp) -> Self {
        let as_of = view.properties.values().map(|property| property.at).min();
        let age_ms = as_of.map(|as_of| now.unix_ms().saturating_sub(as_of.unix_ms()));
        Self { source, version: view.version, as_of, age_ms, stale: false, why: None }
    }

    /// The same, said to be stale for this reason.
    #[must_use]
    pub fn stale(mut self, why: &Problem) -> Self {
        (self.stale, self.why) = (true, Some(why.into()));
        self
    }
}

impl TwinView {
    /// The first of its values that was neither set nor confirmed since `moment`, in the order of names.
    #[must_use]
    pub fn older_than(&self, moment: Timestamp) -> Option<&str> {
        self.properties.iter().find(|(_, property)| property.at < moment).map(|(name, _)| name.as_str())
    }
}
