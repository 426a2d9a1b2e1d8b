//! How registered systems stand, beside what they promised; and what becomes of a registration.

use std::path::Path;

use twinway::{
    client::Client,
    protocol::{
        JsonDoc,
        registry::{Breaker, BreakerState, Health, ServiceLevel, Standing},
    },
};

use super::{
    super::{
        exit::Failure,
        input::document,
        output::{Format, Output},
    },
    Listing, One, needed,
};

const HEAD: [&str; 10] = ["ID", "KIND", "HEALTH", "SINCE", "CALLS", "FAILED", "P50 MS", "P99 MS", "PROMISED MS", "WHY"];

fn word(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Offline => "offline",
        Health::Expired => "expired",
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Whether a third-party system is called at all.
fn breaker(breaker: Breaker) -> String {
    let state = match breaker.state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half-open",
    };
    format!("{state} since {}", breaker.since)
}

/// What `show` says of it.
pub(super) fn details((standing, promised): (&Standing, Option<&ServiceLevel>)) -> Vec<(&'static str, String)> {
    let measured = &standing.performance;
    let shares =
        |promised: Option<f64>, measured: Option<f64>| format!("{} (promised {})", number(measured), number(promised));
    let text = |moment: Option<twinway::protocol::time::Timestamp>| moment.map(|at| at.to_string()).unwrap_or_default();
    vec![
        ("health", format!("{} since {}", word(standing.health), standing.since)),
        ("why", standing.reason.clone().unwrap_or_default()),
        ("heard of", text(standing.heard_at)),
        ("expires", text(standing.expires_at)),
        ("breaker", standing.breaker.map(breaker).unwrap_or_default()),
        ("availability", shares(promised.and_then(|level| level.availability), measured.availability)),
        ("p99 ms", shares(promised.and_then(|level| level.p99_ms), measured.p99_ms)),
        ("calls", format!("{} in {} ms, {} failed", measured.calls, measured.window_ms, measured.failed)),
    ]
}

fn row(listing: &Listing) -> Vec<String> {
    let (standing, promised) = listing.stands();
    let measured = &standing.performance;
    vec![
        listing.id().to_string(),
        listing.kind_text().to_owned(),
        word(standing.health).to_owned(),
        standing.since.to_string(),
        measured.calls.to_string(),
        measured.failed.to_string(),
        number(measured.p50_ms),
        number(measured.p99_ms),
        number(promised.and_then(|level| level.p99_ms)),
        standing.reason.clone().unwrap_or_default(),
    ]
}

pub(super) fn show_all(found: &[Listing], output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json(found),
        Format::Table => output.table(&HEAD, found.iter().map(row)),
    }
}

pub(super) async fn update(
    client: &Client,
    one: &One,
    patch: &Path,
    if_version: Option<u64>,
    output: &mut Output,
) -> Result<(), Failure> {
    let document: JsonDoc = document(patch)?;
    let kind = needed(client, one).await?.registered_kind();
    let after = client.patch_registration(kind, &one.id, &document, if_version).await?;
    match output.format() {
        Format::Json => output.json(&after),
        Format::Table => output.table(&[], needed(client, one).await?.details()),
    }
}

pub(super) async fn renew(
    client: &Client,
    one: &One,
    lifetime_ms: Option<u64>,
    output: &mut Output,
) -> Result<(), Failure> {
    let found = needed(client, one).await?;
    let standing = client.renew_registration(found.registered_kind(), &one.id, lifetime_ms).await?;
    match output.format() {
        Format::Json => output.json(&standing),
        Format::Table => {
            let (_, promised) = found.stands();
            let rows = details((&standing, promised)).into_iter().filter(|(_, value)| !value.is_empty());
            output.table(&[], rows.map(|(name, value)| vec![name.to_owned(), value]))
        }
    }
}
