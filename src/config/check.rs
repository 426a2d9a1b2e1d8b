//! The bounds of every setting.

use std::{collections::BTreeMap, ops::RangeInclusive};

use tracing_subscriber::EnvFilter;
use twinway_scenarios::flow;

use super::{Config, TokenConfig};
use crate::trace::check_url;

/// The shortest token, in bytes.
pub const TOKEN_BYTES_MIN: usize = 16;
/// The longest time that a setting can name, in milliseconds: a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// The largest count that a setting can name.
const COUNT_MAX: u64 = 1 << 32;

/// What is wrong so far.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn within(&mut self, key: &str, value: impl TryInto<u64>, bounds: RangeInclusive<u64>) {
        let value = value.try_into().unwrap_or(u64::MAX);
        if !bounds.contains(&value) {
            let (min, max) = bounds.into_inner();
            self.0.push(format!("`{key}` is {value}; it must be between {min} and {max}"));
        }
    }

    fn counts<const N: usize>(&mut self, table: &str, settings: [(&str, usize); N]) {
        for (key, value) in settings {
            self.within(&format!("{table}.{key}"), value, 1..=COUNT_MAX);
        }
    }
}

impl Config {
    /// Looks for values out of bounds.
    ///
    /// # Errors
    /// All of them, each with its key.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut findings = Findings::default();
        if self.data.as_os_str().is_empty() {
            findings.0.push("`data` is empty; it names the directory of the journal".to_owned());
        }
        check_tokens(&self.tokens, &mut findings);
        self.check_limits(&mut findings);
        self.check_runtime(&mut findings);
        self.check_entities(&mut findings);
        self.check_outside(&mut findings);
        self.check_journal(&mut findings);
        self.check_history(&mut findings);
        self.check_monitor(&mut findings);
        if let Some(Err(why)) = self.trace.otlp.as_deref().map(check_url) {
            findings.0.push(format!("`trace.otlp` is no collector that spans can be sent to: {why}"));
        }
        if let Err(error) = EnvFilter::try_new(&self.log.level) {
            findings.0.push(format!("`log.level` is `{}`: {error}", self.log.level));
        }
        if findings.0.is_empty() { Ok(()) } else { Err(findings.0) }
    }

    fn check_limits(&self, findings: &mut Findings) {
        let limits = &self.limits;
        findings.within("limits.body_bytes_max", limits.body_bytes_max, 1_024..=1 << 30);
        findings.within("limits.header_bytes_max", limits.header_bytes_max, 1_024..=1 << 20);
        if limits.requests_per_second_max > 0 {
            findings.within("limits.requests_burst_max", limits.requests_burst_max, 1..=COUNT_MAX);
        }
        findings.counts(
            "limits",
            [
                ("sessions_max", limits.sessions_max),
                ("subscriptions_max", limits.subscriptions_max),
                ("session_calls_max", limits.session_calls_max),
                ("session_subscriptions_max", limits.session_subscriptions_max),
                ("tickets_max", limits.tickets_max),
                ("connections_max", limits.connections_max),
            ],
        );
        for (key, ms) in [
            ("limits.request_head_ms_max", limits.request_head_ms_max),
            ("limits.request_body_ms_max", limits.request_body_ms_max),
            ("limits.keep_alive_ms", limits.keep_alive_ms),
            ("limits.heartbeat_ms", limits.heartbeat_ms),
            ("limits.session_silence_ms_max", limits.session_silence_ms_max),
            ("limits.shutdown_ms_max", limits.shutdown_ms_max),
        ] {
            findings.within(key, ms, 1..=DAY_MS);
        }
        findings.within("limits.session_gather_ms", limits.session_gather_ms, 0..=DAY_MS);
        findings.within("limits.ticket_ttl_ms", limits.ticket_ttl_ms, 1..=DAY_MS);
    }

    fn check_runtime(&self, findings: &mut Findings) {
        let runtime = &self.runtime;
        findings.within("runtime.arbiters", runtime.arbiters, 0..=1_024);
        findings.counts(
            "runtime",
            [
                ("inbox_outside_max", runtime.inbox_outside_max),
                ("inbox_total_max", runtime.inbox_total_max),
                ("requests_under_way_max", runtime.requests_under_way_max),
                ("parked_messages_max", runtime.parked_messages_max),
                ("held_turns_max", runtime.held_turns_max),
                ("turn_budget", runtime.turn_budget),
                ("trace_ring_events", runtime.trace_ring_events),
            ],
        );
        findings.within("runtime.restart_window_ms", runtime.restart_window_ms, 1..=DAY_MS);
        findings.within("runtime.restart_backoff_ms_max", runtime.restart_backoff_ms_max, 0..=DAY_MS);
        findings.within("runtime.restart_backoff_ms", runtime.restart_backoff_ms, 0..=runtime.restart_backoff_ms_max);
        findings.within("runtime.drain_ms_max", runtime.drain_ms_max, 1..=DAY_MS);
        findings.within("runtime.checkpoint_bytes", runtime.checkpoint_bytes, 4_096..=1 << 40);
    }

    fn check_entities(&self, findings: &mut Findings) {
        let entities = &self.entities;
        findings.within("entities.outside_answer_ms_max", entities.outside_answer_ms_max, 1..=DAY_MS);
        findings.counts(
            "entities",
            [
                ("pending_questions_max", entities.pending_questions_max),
                ("request_twins_max", entities.request_twins_max),
                ("system_twins_max", entities.system_twins_max),
                ("registered_systems_max", entities.registered_systems_max),
                ("twin_watchers_max", entities.twin_watchers_max),
                ("selected_twins_max", entities.selected_twins_max),
                ("priority_rules_max", entities.priority_rules_max),
            ],
        );
        findings.within("entities.one_shot_ttl_ms", u64::from(entities.one_shot_ttl_ms), 1..=DAY_MS);
        findings.within("entities.one_shot_wait_ms", u64::from(entities.one_shot_wait_ms), 0..=DAY_MS);
        findings.within("entities.device_clock_margin_ms", entities.device_clock_margin_ms, 0..=DAY_MS);
        findings.within("entities.lease_terms_ms_max", u64::from(entities.lease_terms_ms_max), 1..=DAY_MS);
        let (shortest, longest) = (entities.registration_lifetime_ms_min, entities.registration_lifetime_ms_max);
        findings.within("entities.registration_lifetime_ms_max", longest, 1..=100 * 366 * DAY_MS);
        findings.within("entities.registration_lifetime_ms_min", shortest, 1..=longest.max(1));
        findings.within("entities.performance_report_ms", entities.performance_report_ms, 1..=DAY_MS);
        self.check_health(findings);
        self.check_leases(findings);
    }

    fn check_health(&self, findings: &mut Findings) {
        let health = &self.entities.health;
        findings.within("entities.health.window_ms", health.window_ms, 4..=DAY_MS);
        findings.within("entities.health.offline_silence_ms", health.offline_silence_ms, 0..=DAY_MS);
        let shares = [
            ("degraded_error_rate", health.degraded_error_rate, 0.0, 1.0),
            ("recovered_error_rate", health.recovered_error_rate, 0.0, health.degraded_error_rate),
            ("degraded_p99_factor", health.degraded_p99_factor, 1.0, 1_000_000.0),
        ];
        for (key, value, min, max) in shares {
            // A NaN is in no range.
            if !(min..=max).contains(&value) {
                findings.0.push(format!("`entities.health.{key}` is {value}; it must be between {min} and {max}"));
            }
        }
    }

    fn check_leases(&self, findings: &mut Findings) {
        let lease = &self.entities.lease;
        findings.counts(
            "entities.lease",
            [
                ("lease_set_objects_max", lease.lease_set_objects_max),
                ("lease_queue_max", lease.lease_queue_max),
                ("lease_claims_max", lease.lease_claims_max),
            ],
        );
        findings.within("entities.lease.lease_reservations_max", lease.lease_reservations_max, 0..=COUNT_MAX);
        for (key, ms) in [
            ("entities.lease.lease_ttl_ms_max", u64::from(lease.lease_ttl_ms_max)),
            ("entities.lease.lease_fence_ms_max", lease.lease_fence_ms_max),
            ("entities.lease.lease_fence_retry_ms", lease.lease_fence_retry_ms),
            ("entities.lease.lease_request_id_ttl_ms", lease.lease_request_id_ttl_ms),
        ] {
            findings.within(key, ms, 1..=DAY_MS);
        }
        // 0: nobody waits, nobody returns, nobody claims; that is a choice.
        for (key, ms) in [
            ("entities.lease.lease_wait_ms_max", u64::from(lease.lease_wait_ms_max)),
            ("entities.lease.lease_return_ms", lease.lease_return_ms),
            ("entities.lease.lease_reservation_claim_ms", u64::from(lease.lease_reservation_claim_ms)),
        ] {
            findings.within(key, ms, 0..=DAY_MS);
        }
        let ahead = lease.lease_reservation_ahead_ms_max;
        findings.within("entities.lease.lease_reservation_ahead_ms_max", ahead, 0..=10 * 365 * DAY_MS);
    }

    fn check_outside(&self, findings: &mut Findings) {
        let outside = &self.outside;
        findings.counts(
            "outside",
            [
                ("session_queue_max", outside.session_queue_max),
                ("session_unanswered_max", outside.session_unanswered_max),
                ("events_kept_max", outside.events_kept_max),
                ("webhook_calls_max", outside.webhook_calls_max),
                ("webhook_calls_per_system_max", outside.webhook_calls_per_system_max),
                ("webhook_queue_max", outside.webhook_queue_max),
            ],
        );
        findings.within("outside.events_marked_max", outside.events_marked_max, 0..=COUNT_MAX);
        findings.within("outside.webhook_answer_ms_max", outside.webhook_answer_ms_max, 1..=DAY_MS);
        findings.within("outside.webhook_backoff_ms", outside.webhook_backoff_ms, 1..=60_000);
    }

    fn check_history(&self, findings: &mut Findings) {
        let history = &self.history;
        findings.within("history.retention_ms", history.retention_ms, 1_000..=100 * 366 * DAY_MS);
        findings.within("history.bytes_max", history.bytes_max, 1 << 20..=1 << 50);
        findings.within("history.property_values_max", history.property_values_max, 1..=1 << 50);
        findings.within("history.property_bytes_max", history.property_bytes_max, 1 << 10..=1 << 50);
        findings.within("history.queue_max", history.queue_max, 1..=COUNT_MAX);
    }

    fn check_monitor(&self, findings: &mut Findings) {
        for (index, name) in self.monitor.flows.iter().enumerate() {
            if flow::find(name).is_none() {
                let known: Vec<_> = flow::embedded().iter().map(|flow| flow.name()).collect();
                let known = known.join(", ");
                findings.0.push(format!("`monitor.flows[{index}]` is `{name}`, which is no flow; these are: {known}"));
            }
        }
    }

    fn check_journal(&self, findings: &mut Findings) {
        let journal = &self.journal;
        findings.within("journal.loss_window_ms", journal.loss_window_ms, 0..=DAY_MS);
        findings.within("journal.held_back_bytes_max", journal.held_back_bytes_max, 1 << 20..=1 << 40);
        if let Some(bytes_max) = journal.bytes_max {
            findings.within("journal.bytes_max", bytes_max, 1 << 20..=1 << 50);
        }
    }
}

/// Messages name a token by its place in the list, never by itself.
fn check_tokens(tokens: &[TokenConfig], findings: &mut Findings) {
    let mut first = BTreeMap::new();
    for (index, token) in tokens.iter().enumerate() {
        let key = format!("tokens[{index}] (of `{}`)", token.id);
        let text = token.token.expose();
        if text.is_empty() {
            findings.0.push(format!("{key} has neither `token` nor `token_file`, or an empty one"));
            continue;
        }
        if text.len() < TOKEN_BYTES_MIN {
            findings.0.push(format!("{key} has {} bytes; a token has at least {TOKEN_BYTES_MIN}", text.len()));
        }
        // It travels in a header.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            findings.0.push(format!("{key} has white space or characters beyond ASCII"));
        }
        if let Some(earlier) = first.insert(text, index) {
            findings.0.push(format!("{key} is the same token as tokens[{earlier}]"));
        }
    }
}
