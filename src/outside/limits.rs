//! The limits of the way out, each with its unit.

/// The named limits of sessions, listeners, events and webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideLimits {
    /// How many sessions may be open.
    pub sessions_max: usize,
    /// How many listeners may be open.
    pub listeners_max: usize,
    /// How many requests wait in one session's queue to be handed out.
    pub session_queue_max: usize,
    /// How many requests one session may have been handed out and not have answered.
    pub session_unanswered_max: usize,
    /// How many events are kept for each system, at least 1. Who is further behind gets a gap.
    pub events_kept_max: usize,
    /// Of how many events before those it is known for each system which versions of which twins they were, so that a
    /// gap can tell; about 32 bytes each.
    pub events_marked_max: usize,
    /// How long an asker waits for an external system, in milliseconds. What is older is not handed out any more.
    pub answer_ms_max: u64,
    /// How many webhook calls may be under way.
    pub webhook_calls_max: usize,
    /// How many requests to the webhook of one system may be under way or wait, so that one system that hangs does
    /// not take all calls.
    pub webhook_calls_per_system_max: usize,
    /// How many requests to webhooks may be under way or wait for a call to end.
    pub webhook_queue_max: usize,
    /// How long one webhook call may take, in milliseconds.
    pub webhook_answer_ms_max: u64,
    /// The pause before an event is sent to a webhook again, in milliseconds; four times as long each time.
    pub webhook_backoff_ms: u64,
}

impl Default for OutsideLimits {
    fn default() -> Self {
        Self {
            sessions_max: 10_000,
            listeners_max: 10_000,
            session_queue_max: 1_024,
            session_unanswered_max: 65_536,
            events_kept_max: 1_024,
            events_marked_max: 4_096,
            answer_ms_max: 10_000,
            webhook_calls_max: 256,
            webhook_calls_per_system_max: 64,
            webhook_queue_max: 16_384,
            webhook_answer_ms_max: 10_000,
            webhook_backoff_ms: 250,
        }
    }
}
