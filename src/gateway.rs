//! The HTTP gateway: MII, DII and SII for systems that are other processes.
//!
//! It only translates: every route is a call of one of the [`Enabler`]'s views, or a read of what is published
//! for readers. One table says which operations there are; routing, sessions and the OpenAPI documents are made
//! from it, so that they cannot differ.

mod acquiring;
mod actions;
mod auth;
mod call;
mod config;
mod device;
mod dii;
mod executions;
mod figures;
mod frame;
mod history;
mod information;
mod json;
mod leases;
mod limits;
mod merge;
mod mii;
mod observations;
mod openapi;
mod ops;
mod problem;
mod registrations;
mod rights;
mod router;
mod routes;
mod schemas;
mod sending;
mod server;
mod serving;
mod session;
mod sii;
mod spatial;
mod sse;
mod subscriptions;
mod tickets;
mod twins;
mod under_way;
mod upload;

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use twinway_protocol::{JsonDoc, Problem, ProblemKind};

pub use auth::{Principal, Principals, Role, TokenError};
pub use config::GatewayConfig;

use self::{
    auth::Known, figures::AllFigures, limits::Slots, openapi::Documents, router::Router, serving::Serving,
    tickets::Tickets,
};
use crate::Enabler;

/// What the gateway asks of the process that it stands in. Every part has an answer of its own for processes
/// that have nothing to say to it.
pub trait Host: Send + Sync + 'static {
    /// Why the daemon does not take requests that change something; empty: it does. `/readyz` shows it.
    fn unready(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether requests that change something can be taken now.
    ///
    /// # Errors
    /// [`ProblemKind::ReadOnly`] or [`ProblemKind::ShuttingDown`], with which they are refused.
    fn writable(&self) -> Result<(), Problem> {
        Ok(())
    }

    /// How many there are, by kind: systems, twins, records. `/ops/v1/status` shows it.
    fn counts(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    /// The metrics in Prometheus' text format.
    fn metrics(&self) -> String {
        String::new()
    }

    /// Writes a backup of the journal to `file`, a name within the data directory's `backups`, and tells of it.
    ///
    /// # Errors
    /// A name that is not one, a file that is there already, or what failed.
    fn backup(&self, file: String) -> BoxFuture<'static, Result<JsonDoc, Problem>> {
        let problem = Problem::new(ProblemKind::Internal, format!("there is no journal to back up to `{file}`"));
        Box::pin(async { Err(problem) })
    }
}

/// A host that has nothing to say: always ready, nothing counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {}

/// What a gateway is made with, beside the enabler.
#[derive(Clone)]
pub struct GatewayOptions {
    /// Its limits.
    pub config: GatewayConfig,
    /// The process that it stands in.
    pub host: Arc<dyn Host>,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self { config: GatewayConfig::default(), host: Arc::new(NoHost) }
    }
}

impl std::fmt::Debug for GatewayOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayOptions").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What every thread of a gateway shares.
struct Shared {
    enabler: Enabler,
    principals: Principals,
    config: GatewayConfig,
    host: Arc<dyn Host>,
    router: Router,
    documents: Documents,
    tickets: Tickets,
    sessions: Slots,
    subscriptions: Slots,
    figures: AllFigures,
    started: Instant,
    /// Turns true when the gateway ends: what stays open ends then.
    stopping: watch::Sender<bool>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shared {
    fn new(enabler: Enabler, principals: Principals, options: GatewayOptions) -> io::Result<Self> {
        let GatewayOptions { config, host } = options;
        Ok(Self {
            enabler,
            principals: principals.limited(config.requests_per_second_max, config.requests_burst_max),
            host,
            router: Router::new(routes::all()),
            documents: Documents::new().map_err(io::Error::other)?,
            tickets: Tickets::new(Duration::from_millis(config.ticket_ttl_ms), config.tickets_max),
            sessions: Slots::new("sessions_max", config.sessions_max),
            subscriptions: Slots::new("subscriptions_max", config.subscriptions_max),
            figures: AllFigures::default(),
            started: Instant::now(),
            stopping: watch::Sender::new(false),
            config,
        })
    }

    fn take_rate(&self, known: &Known, now: Instant) -> Result<(), Problem> {
        known.rate.take(now.saturating_duration_since(self.started)).map_err(|wait| {
            let detail = format!("there is room again in {} ms (`requests_per_second_max`)", wait.as_millis().max(1));
            Problem::new(ProblemKind::TooManyRequests, detail)
        })
    }

    fn unready(&self) -> Vec<String> {
        let mut reasons = self.host.unready();
        if *self.stopping.borrow() {
            reasons.push("the daemon is shutting down".to_owned());
        }
        reasons
    }

    fn writable(&self) -> Result<(), Problem> {
        if *self.stopping.borrow() {
            return Err(Problem::new(ProblemKind::ShuttingDown, "the daemon is shutting down"));
        }
        self.host.writable()
    }
}

/// A gateway that serves. Dropping it does not stop it.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    serving: Serving,
    address: SocketAddr,
}

impl Gateway {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses from now on what changes something, and ends sessions and event streams; reads and answers to
    /// requests that wait are still served.
    pub fn drain(&self) {
        // It is no matter whether somebody listens: who comes later sees the value.
        self.shared.stopping.send_replace(true);
    }

    /// Stops: drains, lets calls that began end (at most `shutdown_ms_max`), and closes every connection.
    pub async fn stop(self) {
        self.drain();
        self.serving.stop().await;
    }
}

/// Serves the enabler on `listener`, to the holders of `principals`' tokens, on the threads of the enabler's actors.
///
/// # Errors
/// When the listener cannot be used, the enabler has ended, or the OpenAPI documents cannot be written.
pub async fn serve(
    enabler: Enabler,
    principals: Principals,
    options: GatewayOptions,
    listener: TcpListener,
) -> io::Result<Gateway> {
    let address = listener.local_addr()?;
    let shared = Arc::new(Shared::new(enabler, principals, options)?);
    let serving = Serving::start(&shared, listener).await?;
    Ok(Gateway { shared, serving, address })
}
