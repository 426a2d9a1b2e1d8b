//! Limits of the entities, each with its unit.

use serde::{Deserialize, Serialize};
use twinway_protocol::{Problem, ProblemKind, lease::LeaseLimits};

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
        }
    }
}

/// What an asker hears whose question does not fit into an entity's table of pending questions any more.
pub(crate) fn pending_full() -> Problem {
    Problem::new(ProblemKind::LimitReached, "pending_questions_max questions wait for their answers already")
}
