//! The rules by which registered systems are healthy (FGMV-29 8.2.1 and 8.3.1).

use serde::{Deserialize, Serialize};

/// When a registered system is healthy, degraded or offline (FGMV-29 8.2.1 and 8.3.1). What makes it worse is apart from
/// what makes it better again, so that a system on the edge does not go back and forth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthRules {
    /// The window over which calls are measured, in milliseconds.
    pub window_ms: u64,
    /// How many calls of the window must have been measured before error rate and times count.
    pub calls_min: u64,
    /// Degraded: a higher share than this of the calls failed, between 0 and 1.
    pub degraded_error_rate: f64,
    /// Healthy again: at most this share failed, between 0 and `degraded_error_rate`.
    pub recovered_error_rate: f64,
    /// Degraded: the measured p99 is above the promised one by more than this factor, 1 or more.
    pub degraded_p99_factor: f64,
    /// Offline: this many calls in a row failed; 0: however many.
    pub offline_failed_in_a_row: u32,
    /// Offline: a system that keeps a session, or sends heartbeats, was not heard of for this long, in milliseconds;
    /// 0: however long.
    pub offline_silence_ms: u64,
}

impl Eq for HealthRules {}

impl Default for HealthRules {
    fn default() -> Self {
        Self {
            window_ms: 60_000,
            calls_min: 5,
            degraded_error_rate: 0.1,
            recovered_error_rate: 0.05,
            degraded_p99_factor: 1.0,
            offline_failed_in_a_row: 5,
            offline_silence_ms: 90_000,
        }
    }
}
