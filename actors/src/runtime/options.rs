//! The limits of the runtime, each with its unit.

use serde::{Deserialize, Serialize};

/// Named limits and sizes of the runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How many arbiters (threads) run actors, and serve where there is a gateway; 0: one a core, and of an enabler one for
    /// every two.
    pub arbiters: usize,
    /// How many messages from outside the actors wait in one inbox before more are refused.
    pub inbox_outside_max: usize,
    /// How many messages in all wait in one inbox before more are refused. What is between the two limits is room
    /// for what admitted requests cause among the actors.
    pub inbox_total_max: usize,
    /// How many requests from outside may be under way at once.
    pub requests_under_way_max: usize,
    /// How many turns one actor takes before others on its arbiter get theirs.
    pub turn_budget: usize,
    /// How many turns of one actor may wait for the journal before it takes no more.
    pub held_turns_max: usize,
    /// How many messages wait for one twin while it is being recovered.
    pub parked_messages_max: usize,
    /// How often one entity may be recovered within `restart_window_ms`; once more, and it is quarantined.
    pub restarts_max: u32,
    /// See `restarts_max`.
    pub restart_window_ms: u64,
    /// How long the first recovery waits; every further one within the window waits twice as long.
    pub restart_backoff_ms: u64,
    /// The longest that a recovery waits.
    pub restart_backoff_ms_max: u64,
    /// How many bytes of records a replay may have to read before snapshots are taken.
    pub checkpoint_bytes: u64,
    /// How much of the newest property values a crash may cost, in milliseconds; 0: nothing, then every change waits
    /// for the disk. In a configuration file it stands with the journal, which keeps the same window.
    #[serde(skip, default = "Options::loss_window_ms")]
    pub loss_window_ms: u64,
    /// How many events every actor remembers for the log of a failure.
    pub trace_ring_events: usize,
    /// How long a shutdown waits for what is under way.
    pub drain_ms_max: u64,
}

impl Options {
    fn loss_window_ms() -> u64 {
        Self::default().loss_window_ms
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            arbiters: 0,
            inbox_outside_max: 65_536,
            inbox_total_max: 4_000_000,
            requests_under_way_max: 65_536,
            turn_budget: 256,
            held_turns_max: 65_536,
            parked_messages_max: 1_024,
            restarts_max: 5,
            restart_window_ms: 60_000,
            restart_backoff_ms: 10,
            restart_backoff_ms_max: 5_000,
            checkpoint_bytes: 64 * 1024 * 1024,
            loss_window_ms: 100,
            trace_ring_events: 64,
            drain_ms_max: 10_000,
        }
    }
}
