//! What is not of one interface: tickets, the operator's routes, health and the documents.

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use twinway_protocol::{JsonDoc, Problem, time::Timestamp};
use utoipa::ToSchema;

use super::{
    auth::Role,
    call::{Call, JSON, Reply},
    mii::{EVENT_STREAM, WATCH},
    routes::{Access, Answer, Later, Route},
    schemas::schema,
};

const OPERATOR: Access = Access::Only(Role::Operator);
/// The text format of Prometheus.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/v1/tickets",
        "createTicket",
        Access::Any,
        "Gives a ticket, which opens one WebSocket in place of the token.",
    )
    .answers(&[Answer::new(201, "The ticket.", JSON, Some(schema::<TicketDocument>))])
    .writes_nothing()
    .now(ticket),
    Route::get("/ops/v1/status", "readStatus", OPERATOR, "How the daemon is.")
        .answers(&[Answer::new(200, "Its state and counts.", JSON, Some(schema::<Status>))])
        .now(status),
    Route::get(
        "/ops/v1/events",
        "hearOperatorEvents",
        OPERATOR,
        "Hears how registered systems stand (`system.standing`), which are gone (`system.gone`), and whose calls are held back (`circuit.opened`, `circuit.closed`).",
    )
    .query(WATCH)
    .answers(&[EVENT_STREAM])
    .operator_events(),
    Route::get("/metrics", "readMetrics", OPERATOR, "The daemon's metrics for Prometheus.")
        .answers(&[Answer::new(200, "The metrics.", EXPOSITION, None)])
        .now(metrics),
    Route::post(
        "/ops/v1/journal/backup",
        "backUpJournal",
        OPERATOR,
        "Writes a backup of the journal into the data directory's `backups`.",
    )
    .body(schema::<BackupRequest>)
    .answers(&[Answer::new(200, "What was written.", JSON, Some(schema::<JsonDoc>))])
    // A journal that cannot be written can still be read: now is when a backup matters.
    .writes_nothing()
    .later(backup),
    Route::get("/livez", "readLiveness", Access::Open, "Whether the daemon answers.")
        .answers(&[Answer::new(200, "It does.", JSON, Some(schema::<Liveness>))])
        .now(livez),
    Route::get("/readyz", "readReadiness", Access::Open, "Whether the daemon takes requests that change something.")
        .answers(&[
            Answer::new(200, "It does.", JSON, Some(schema::<Readiness>)),
            Answer::new(503, "It does not, and why.", JSON, Some(schema::<Readiness>)),
        ])
        .now(readyz),
    Route::get("/openapi.json", "readOpenApi", Access::Open, "This interface as OpenAPI 3.1.")
        .answers(&[Answer::new(200, "The document.", JSON, Some(schema::<JsonDoc>))])
        .now(|call| Ok(Reply::new(200, JSON, Bytes::clone(&call.shared.documents.v31)))),
    Route::get(
        "/openapi-3.0.json",
        "readOpenApi30",
        Access::Open,
        "This interface as OpenAPI 3.0, for generators that read only that.",
    )
    .answers(&[Answer::new(200, "The document.", JSON, Some(schema::<JsonDoc>))])
    .now(|call| Ok(Reply::new(200, JSON, Bytes::clone(&call.shared.documents.v30)))),
];

/// What opens one WebSocket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Ticket)]
struct TicketDocument {
    /// Goes into the URL as `?ticket=`.
    ticket: String,
    /// When it is no longer good.
    expires_at: Timestamp,
}

/// How the daemon is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// The daemon's version.
    version: &'static str,
    /// How long it has been serving, in milliseconds.
    uptime_ms: u64,
    /// `ready`, or why it is not.
    condition: String,
    /// How many there are, by kind.
    counts: BTreeMap<String, u64>,
}

/// Where a backup goes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BackupRequest {
    /// The file's name within `backups`.
    file: String,
}

/// The daemon answers.
#[derive(Debug, Serialize, ToSchema)]
struct Liveness {
    /// Always `ok`.
    status: &'static str,
}

/// Whether the daemon takes requests that change something.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    /// `ready` or `not-ready`.
    status: &'static str,
    /// Why it is not.
    reasons: Vec<String>,
}

fn ticket(call: &Call<'_>) -> Result<Reply, Problem> {
    let tickets = &call.shared.tickets;
    let ticket = tickets.give(call.known()?, Instant::now())?;
    let expires = SystemTime::now() + tickets.ttl();
    let since_epoch = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let expires_at = Timestamp::from_unix_ms(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
    // A ticket is a secret: no cache keeps it.
    Ok(Reply::json(201, &TicketDocument { ticket, expires_at })?.with("cache-control", "no-store".to_owned()))
}

fn status(call: &Call<'_>) -> Result<Reply, Problem> {
    let shared = call.shared;
    let mut counts = shared.host.counts();
    let mut count =
        |name: &str, number: usize| counts.insert(name.to_owned(), u64::try_from(number).unwrap_or(u64::MAX));
    count("sessions", shared.sessions.taken());
    count("subscriptions", shared.subscriptions.taken());
    let reasons = shared.unready();
    let condition = if reasons.is_empty() { "ready".to_owned() } else { reasons.join("; ") };
    let uptime_ms = u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Reply::json(200, &Status { version: env!("CARGO_PKG_VERSION"), uptime_ms, condition, counts })
}

fn metrics(call: &Call<'_>) -> Result<Reply, Problem> {
    let mut text = call.shared.host.metrics();
    call.shared.figures.write(&mut text);
    Ok(Reply::new(200, EXPOSITION, text))
}

fn backup(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let BackupRequest { file } = call.body()?;
        Reply::json(200, &call.shared.host.backup(file).await?)
    })
}

fn livez(_: &Call<'_>) -> Result<Reply, Problem> {
    Reply::json(200, &Liveness { status: "ok" })
}

fn readyz(call: &Call<'_>) -> Result<Reply, Problem> {
    let reasons = call.shared.unready();
    match reasons.is_empty() {
        true => Reply::json(200, &Readiness { status: "ready", reasons }),
        false => Reply::json(503, &Readiness { status: "not-ready", reasons }),
    }
}
