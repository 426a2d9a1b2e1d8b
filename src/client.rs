//! A small client of the daemon's HTTP and WebSocket interface, for any tokio runtime: for digital twin systems,
//! third-party systems, metaverse systems and tools.
//!
//! One [`Client`] speaks with one token, and so for one system. Its methods are the routes of the interface;
//! [`Client::session`] and [`Client::standing_session`] carry what the enabler asks of a system,
//! [`Client::events`] what it tells.
//!
//! ```no_run
//! use twinway::client::Client;
//!
//! # async fn read() -> Result<(), Box<dyn std::error::Error>> {
//! let token = std::fs::read_to_string("twinway-data/token")?;
//! // An operator's token acts for any system; a system's own needs no `acting_as`.
//! let lobby = Client::new("http://127.0.0.1:7400", token.trim()).acting_as("lobby".parse()?);
//! lobby.select_twins(&["desk-lamp".parse()?], &[]).await?;
//! let on = lobby.twin_property(&"desk-lamp".parse()?, "on").await?;
//! println!("{} since {}", on.value.as_str(), on.at);
//! # Ok(())
//! # }
//! ```

mod acquiring;
mod actions;
mod backoff;
mod call;
mod devices;
mod dii;
mod error;
mod events;
mod exchange;
mod executions;
mod history;
mod hold;
mod information;
mod leases;
mod mii;
mod observations;
mod ops;
mod registrations;
mod rights;
mod session;
mod sii;
mod spatial;
mod sse;
mod standing;
#[cfg(test)]
mod tests;
mod types;

use std::{fmt, sync::Arc, time::Duration};

use reqwest::{Method, Url};
use twinway_protocol::SystemId;

pub use acquiring::{AcquiredTwins, SubscribedTwins};
use call::Call;
pub use devices::Devices;
pub use error::ClientError;
pub use events::{EventStream, Told};
pub use exchange::Exchange;
pub use hold::{HeldLease, LeaseState, chance_request_id};
pub use information::TwinReading;
pub use registrations::Registered;
pub use session::{Closing, Incoming, Session, SessionCall};
pub use sse::{EventTooLong, SSE_EVENT_BYTES_MAX, SseMessage, SseParser};
pub use standing::StandingSession;
pub use types::{CloudEvent, Granted, Health, ProblemDocument, RefusedTwin, Status, Ticket};

use crate::outside::SystemKind;

/// How long a request may take, in milliseconds, unless [`Client::within`] says otherwise. It is longer than the
/// daemon waits for an external system, so that the daemon's own answer about that comes first.
pub const REQUEST_MS_MAX: u64 = 60_000;
/// How long it may take to connect, in milliseconds.
pub const CONNECT_MS_MAX: u64 = 5_000;
/// How long an event stream or a session may be silent, in milliseconds, before it counts as broken: the daemon
/// lets something be heard every 15 s.
pub const SILENCE_MS_MAX: u64 = 45_000;
/// The largest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A client with one token. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    acting_as: Option<SystemId>,
    within: Duration,
}

struct Shared {
    http: reqwest::Client,
    /// What is wrong with the address is told by the first request.
    base: Result<Url, String>,
    token: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token stays out: logs are read by more people than may use it.
        f.debug_struct("Client").field("base", &self.shared.base).field("as", &self.acting_as).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the daemon at `base_url`, such as `http://127.0.0.1:7400`. Nothing is sent yet: what is wrong
    /// with the address or the token is told by the first request.
    #[must_use]
    pub fn new(base_url: impl AsRef<str>, token: impl Into<String>) -> Self {
        // A daemon on loopback or in the plant is spoken to directly, whatever proxy the environment names.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_millis(CONNECT_MS_MAX));
        let shared =
            Shared { http: http.build().unwrap_or_default(), base: read_base(base_url.as_ref()), token: token.into() };
        Self { shared: Arc::new(shared), acting_as: None, within: Duration::from_millis(REQUEST_MS_MAX) }
    }

    /// The same client, acting as `system`. Only an operator's token may.
    #[must_use]
    pub fn acting_as(mut self, system: SystemId) -> Self {
        self.acting_as = Some(system);
        self
    }

    /// The same client, with another limit for how long a request may take.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }

    /// The system that this client acts as, if it is not the token's own.
    #[must_use]
    pub fn acts_as(&self) -> Option<&SystemId> {
        self.acting_as.as_ref()
    }

    fn token(&self) -> &str {
        &self.shared.token
    }

    fn limit(&self) -> Duration {
        self.within
    }

    fn url(&self, path: &[&str]) -> Result<Url, ClientError> {
        let mut url = self.shared.base.clone().map_err(ClientError::Protocol)?;
        {
            let base = url.to_string();
            let mut segments =
                url.path_segments_mut().map_err(|()| ClientError::Protocol(format!("`{base}` has no paths")))?;
            // Ids are URIs as often as not: each stays one segment, whatever is in it.
            segments.pop_if_empty().extend(path);
        }
        if let Some(system) = &self.acting_as {
            url.query_pairs_mut().append_pair("as", system.as_str());
        }
        Ok(url)
    }

    fn call(&self, method: Method, path: &[&str]) -> Call<'_> {
        Call::new(self, method, self.url(path))
    }

    fn get(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::GET, path)
    }

    fn post(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::POST, path)
    }
}

fn read_base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    if url.scheme() != "http" {
        return Err(format!("`{text}` does not begin with `http://`: this build speaks no TLS"));
    }
    Ok(url)
}

/// Where the interface of a kind of system begins.
fn interface(kind: SystemKind) -> &'static [&'static str] {
    match kind {
        SystemKind::Metaverse => &["mii", "v1"],
        SystemKind::DigitalTwin => &["dii", "v1"],
        SystemKind::ThirdParty => &["sii", "v1"],
        SystemKind::UserDevice => &["mii", "v1", "devices"],
    }
}
