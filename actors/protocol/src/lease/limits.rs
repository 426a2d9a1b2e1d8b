//! The named limits of the lease table.

use serde::{Deserialize, Serialize};

/// Limits of sync leases, each with its unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseLimits {
    /// The longest lease without a renewal, in milliseconds.
    pub lease_ttl_ms_max: u32,
    /// The longest wait for an object, in milliseconds.
    pub lease_wait_ms_max: u32,
    /// How many objects one request may name.
    pub lease_set_objects_max: usize,
    /// How many requests may wait for one object.
    pub lease_queue_max: usize,
    /// How many requests and leases there may be, those that ended and whose ids are still known included.
    pub lease_claims_max: usize,
    /// How long a gate may take to answer a fence, in milliseconds. It covers the safe stop and the draining of commands.
    pub lease_fence_ms_max: u64,
    /// How often a gate that did not answer is asked again, in milliseconds.
    pub lease_fence_retry_ms: u64,
    /// How long a holder may take to come back after the supervisor began a new life, in milliseconds.
    pub lease_return_ms: u64,
    /// How long the id of a request that has ended is known, in milliseconds.
    pub lease_request_id_ttl_ms: u64,
    /// How many reservations there may be for one object.
    pub lease_reservations_max: usize,
    /// How far ahead an object can be reserved, in milliseconds.
    pub lease_reservation_ahead_ms_max: u64,
    /// How long a reserver may take to claim what was kept for it, in milliseconds.
    pub lease_reservation_claim_ms: u32,
}

impl Default for LeaseLimits {
    fn default() -> Self {
        Self {
            lease_ttl_ms_max: 3_600_000,
            lease_wait_ms_max: 3_600_000,
            lease_set_objects_max: 64,
            lease_queue_max: 10_000,
            lease_claims_max: 4_000_000,
            lease_fence_ms_max: 15_000,
            lease_fence_retry_ms: 5_000,
            lease_return_ms: 10_000,
            lease_request_id_ttl_ms: 600_000,
            lease_reservations_max: 256,
            lease_reservation_ahead_ms_max: 31_536_000_000,
            lease_reservation_claim_ms: 30_000,
        }
    }
}
