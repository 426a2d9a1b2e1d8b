//! Limits of the entities, each with its unit.

mod health;

use serde::{Deserialize, Serialize};
use twinway_protocol::{Problem, ProblemKind, lease::LeaseLimits};

pub use health::HealthRules;

/// The named limits that every entity of Twinway is made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How long an external system may take to answer a request, in milliseconds.
    pub outside_answer_ms_max: u64,
    /// How many questions one entity may wait on.
    pub pending_questions_max: usize,
    /// How many twins one request may name.
    pub request_twins_max: usize,
    /// How many twins one twin system may list.
    pub system_twins_max: usize,
    /// How many systems of each kind may register.
    pub registered_systems_max: usize,
    /// How long the lease lasts that is taken for one change without a token, in milliseconds; it outlasts
    /// `outside_answer_ms_max` in any case.
    pub one_shot_ttl_ms: u32,
    /// How long a change without a token waits for others of its kind on the same object, in milliseconds.
    pub one_shot_wait_ms: u32,
    /// How much longer than a command's `notAfter` a gate waits, in milliseconds: how far the clocks of devices may be off.
    pub device_clock_margin_ms: u64,
    /// How many metaverse systems may select one twin.
    pub twin_watchers_max: usize,
    /// How many twins one metaverse system may select.
    pub selected_twins_max: usize,
    /// The limits of sync leases.
    pub lease: LeaseLimits,
    /// How many rules of priority one twin may have.
    pub priority_rules_max: usize,
    /// How long an action may take, in milliseconds; its sync lease may end it before.
    pub action_ms_max: u64,
    /// The longest time that the terms of a sync lease may name, in milliseconds.
    pub lease_terms_ms_max: u32,
    /// How many records one page of a search looks at.
    pub search_records_scanned_max: usize,
    /// How many records a search sorts.
    pub search_records_sorted_max: usize,
    /// How many sorted searches can be gone on with, of each kind of system.
    pub search_cursors_max: usize,
    /// The shortest lifetime of a registration, in milliseconds.
    pub registration_lifetime_ms_min: u64,
    /// The longest lifetime of a registration, in milliseconds.
    pub registration_lifetime_ms_max: u64,
    /// How often the actor of an external system reports what it measured, in milliseconds.
    pub performance_report_ms: u64,
    /// When a registered system is healthy, degraded or offline.
    pub health: HealthRules,
    /// How many steps one chain of third-party systems may have.
    pub chain_steps_max: usize,
    /// The largest data that a chain may carry from one system to another, in bytes.
    pub chain_data_bytes_max: usize,
    /// In how many milliseconds the steps of a chain have to be done that says nothing of it.
    pub chain_deadline_ms: u64,
    /// The longest deadline that a chain may ask for, in milliseconds.
    pub chain_deadline_ms_max: u64,
    /// How often a chain may have one step tried again.
    pub chain_retries_max: u32,
    /// The longest pause before a step is tried again, in milliseconds.
    pub chain_backoff_ms_max: u64,
    /// How many executions may stand within each other.
    pub chain_depth_max: u32,
    /// How many executions one metaverse system may have under way.
    pub executions_under_way_max: usize,
    /// How many executions are kept in all; those that ended longest ago make room.
    pub executions_kept_max: usize,
    /// How long an execution can be read after its end, in milliseconds.
    pub execution_kept_ms: u64,
    /// After how many failures within `circuit_window_ms` a third-party system is left alone.
    pub circuit_failures_max: usize,
    /// How long a failed call counts, in milliseconds.
    pub circuit_window_ms: u64,
    /// How long a third-party system is left alone, in milliseconds.
    pub circuit_open_ms: u64,
    /// How many spatial maps one metaverse system may have.
    pub maps_max: usize,
    /// How many entries one map may have.
    pub map_entries_max: usize,
    /// How many entries or locations one request may bring.
    pub map_request_entries_max: usize,
    /// How many parts of one map may be watched.
    pub map_watches_max: usize,
    /// How many regions one map may have.
    pub map_regions_max: usize,
    /// How many observations are kept for one map.
    pub map_observations_max: usize,
    /// How many requests for observations one user's device may have.
    pub observation_requests_max: usize,
    /// How many subscriptions to information of twins one third-party system may have.
    pub twin_subscriptions_max: usize,
    /// How many there may be in all.
    pub twin_subscriptions_total_max: usize,
    /// The least time between two deliveries of one subscription that can be asked for, in milliseconds.
    pub twin_subscription_interval_ms_min: u64,
    /// The longest lifetime of a subscription, in milliseconds.
    pub twin_subscription_lifetime_ms_max: u64,
    /// Whether the supervisor and the gates let be seen what they do, for the judge of the invariants. No setting of a
    /// configuration: an enabler that has a judge sets it.
    #[serde(skip)]
    pub lease_watched: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            outside_answer_ms_max: 10_000,
            pending_questions_max: 65_536,
            request_twins_max: 1_000,
            system_twins_max: 100_000,
            registered_systems_max: 1_000_000,
            one_shot_ttl_ms: 15_000,
            one_shot_wait_ms: 2_000,
            device_clock_margin_ms: 500,
            twin_watchers_max: 1_000,
            selected_twins_max: 1_000_000,
            lease: LeaseLimits::default(),
            priority_rules_max: 1_000,
            action_ms_max: 3_600_000,
            lease_terms_ms_max: 86_400_000,
            search_records_scanned_max: 20_000,
            search_records_sorted_max: 100_000,
            search_cursors_max: 64,
            registration_lifetime_ms_min: 1_000,
            registration_lifetime_ms_max: 366 * 86_400_000,
            performance_report_ms: 5_000,
            health: HealthRules::default(),
            chain_steps_max: 64,
            chain_data_bytes_max: 256 * 1024,
            chain_deadline_ms: 60_000,
            chain_deadline_ms_max: 86_400_000,
            chain_retries_max: 20,
            chain_backoff_ms_max: 30_000,
            chain_depth_max: 4,
            executions_under_way_max: 1_000,
            executions_kept_max: 100_000,
            execution_kept_ms: 86_400_000,
            circuit_failures_max: 8,
            circuit_window_ms: 10_000,
            circuit_open_ms: 5_000,
            maps_max: 64,
            map_entries_max: 1_000_000,
            map_request_entries_max: 10_000,
            map_watches_max: 1_000,
            map_regions_max: 256,
            map_observations_max: 100_000,
            observation_requests_max: 1_000,
            twin_subscriptions_max: 100,
            twin_subscriptions_total_max: 100_000,
            twin_subscription_interval_ms_min: 100,
            twin_subscription_lifetime_ms_max: 30 * 86_400_000,
            lease_watched: false,
        }
    }
}

/// What an asker hears whose question does not fit into an entity's table of pending questions any more.
pub(crate) fn pending_full() -> Problem {
    Problem::new(ProblemKind::LimitReached, "pending_questions_max questions wait for their answers already")
}
