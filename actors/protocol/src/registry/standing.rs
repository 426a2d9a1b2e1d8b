//! How a registered system stands: what is measured of it, and what follows from that (FGMV-29 8.2.1 and 8.3.1).

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What a registered system is to those who would use it. Only the registrars decide it, by rules that an operator sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// It answers as it should.
    #[default]
    Healthy,
    /// It answers, but worse than the rules allow.
    Degraded,
    /// It was not heard of, or did not answer, for longer than the rules allow.
    Offline,
    /// Its registration was not renewed in its lifetime. It is kept and shown, and healthy again once it renews.
    Expired,
}

/// What was measured of a system over the window of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Performance {
    /// How long the window is, in milliseconds.
    pub window_ms: u64,
    /// The calls in the window.
    pub calls: u64,
    /// Those of them that failed, or were not answered in time.
    pub failed: u64,
    /// `failed` of `calls`, between 0 and 1; 0 without calls.
    pub error_rate: f64,
    /// The time within which half of the calls were answered, in milliseconds; absent: none was.
    pub p50_ms: Option<f64>,
    /// The time within which 99 of 100 calls were answered, in milliseconds; absent: none was.
    pub p99_ms: Option<f64>,
    /// The share of the window in which it was neither offline nor expired, between 0 and 1.
    pub availability: Option<f64>,
}

/// Whether a third-party system is called at all (FGMV-29 8.2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum BreakerState {
    /// It is called.
    #[default]
    Closed,
    /// Too many calls failed, or nothing is heard of it: it is not called for a while.
    Open,
    /// One call is let through, or under way, to see whether it answers again; the others wait for what becomes of it.
    HalfOpen,
}

/// The circuit breaker of a third-party system. Whenever the daemon starts it is closed, as since the
/// registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Breaker {
    /// What it is.
    pub state: BreakerState,
    /// Since when it is that.
    pub since: Timestamp,
}

/// How a registered system stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// What it is to those who would use it.
    pub health: Health,
    /// Since when it is that.
    pub since: Timestamp,
    /// Why, in words; absent: healthy.
    pub reason: Option<String>,
    /// When it was last heard of: a heartbeat, an answer, a session that is open.
    pub heard_at: Option<Timestamp>,
    /// When its registration ends unless it is renewed; absent: never.
    pub expires_at: Option<Timestamp>,
    /// What was measured.
    pub performance: Performance,
    /// Whether it is called at all; absent: it is a digital twin system, which has no breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
}
