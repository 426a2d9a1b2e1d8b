//! The limits of the gateway, each with its unit.

use serde::{Deserialize, Serialize};

/// The named limits of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// The largest body of a request, and the largest message of a session, in bytes.
    pub body_bytes_max: usize,
    /// The largest upload that is taken as a stream, in bytes.
    pub upload_bytes_max: u64,
    /// How long an upload may take in all, in milliseconds; `request_body_ms_max` holds for each piece of it.
    pub upload_ms_max: u64,
    /// The most that path, query and headers have together, in bytes. The server itself takes no more than 128 KiB.
    pub header_bytes_max: usize,
    /// How long a client may take to send the head of a request, in milliseconds.
    pub request_head_ms_max: u64,
    /// How long a client may take to send a body, in milliseconds.
    pub request_body_ms_max: u64,
    /// How many requests a second one token may make; 0: as many as it can.
    pub requests_per_second_max: u32,
    /// How many of them it may make at once.
    pub requests_burst_max: u32,
    /// How many WebSocket sessions may be open.
    pub sessions_max: usize,
    /// How many event streams and sessions together may be open.
    pub subscriptions_max: usize,
    /// How many calls and answers of one session may be under way.
    pub session_calls_max: usize,
    /// How long news of what others did may wait for more of it, so that it leaves in one write, in milliseconds; 0: not at
    /// all. Only in sessions whose client sends arrays, and nothing else waits.
    pub session_gather_ms: u64,
    /// How many subscriptions one session may have.
    pub session_subscriptions_max: usize,
    /// How many tickets one token may have open.
    pub tickets_max: usize,
    /// How long a ticket is good, in milliseconds.
    pub ticket_ttl_ms: u64,
    /// How many connections may be open; who comes then waits for one of them to end.
    pub connections_max: usize,
    /// How long a connection without requests stays open, in milliseconds.
    pub keep_alive_ms: u64,
    /// How often an event stream says that it lives and a session is pinged, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long a session may say nothing before it is closed, in milliseconds.
    pub session_silence_ms_max: u64,
    /// How long calls that began may take when the gateway stops, in milliseconds.
    pub shutdown_ms_max: u64,
    /// The origins whose pages may call (CORS); none by default.
    pub allowed_origins: Vec<String>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 * 1024 * 1024,
            upload_bytes_max: 256 * 1024 * 1024,
            upload_ms_max: 600_000,
            header_bytes_max: 16 * 1024,
            request_head_ms_max: 5_000,
            request_body_ms_max: 60_000,
            requests_per_second_max: 10_000,
            requests_burst_max: 10_000,
            sessions_max: 1_024,
            subscriptions_max: 4_096,
            session_calls_max: 64,
            session_gather_ms: 1,
            session_subscriptions_max: 64,
            tickets_max: 64,
            ticket_ttl_ms: 30_000,
            connections_max: 25_000,
            keep_alive_ms: 75_000,
            heartbeat_ms: 15_000,
            session_silence_ms_max: 45_000,
            shutdown_ms_max: 10_000,
            allowed_origins: Vec::new(),
        }
    }
}
