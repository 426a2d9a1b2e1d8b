//! DII: what digital twin systems do (FGMV-29 9.2 steps 1 to 3, 10, 14 and 18).

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    PendingKey, Problem, ProblemKind, SystemId, TwinId,
    lease::Synchronization,
    message::{OutsideAnswer, PropertyValues},
    registry::{Standing, TwinSystem, TwinSystemDescription, TwinSystemListing},
    time::Timestamp,
    twin::TwinView,
};
use utoipa::ToSchema;

use super::{
    auth::Role,
    call::{Call, JSON, Reply},
    mii::{EVENT_STREAM, SWITCHED, WATCH},
    routes::{Access, Answer, Later, Parameter, Route},
    schemas::schema,
    twins::TWIN,
};
use crate::outside::SystemKind;

const ACCESS: Access = Access::Only(Role::TwinSystem);

pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/dii/v1/systems",
        "registerTwinSystem",
        ACCESS,
        "Registers the system and its twins (FGMV-29 9.2 steps 1 to 3).",
    )
    .body(schema::<TwinSystemDescription>)
    .answers(&[
        Answer::new(201, "It is registered.", JSON, Some(schema::<TwinSystemListing>)),
        Answer::new(200, "It was registered like this already.", JSON, Some(schema::<TwinSystemListing>)),
    ])
    .later(register),
    Route::get("/dii/v1/systems/{id}", "readTwinSystem", ACCESS, "What is kept of the own registration.")
        .path_parameters(&[Parameter::needed("id", "The system's id.")])
        .answers(&[Answer::new(200, "The registration.", JSON, Some(schema::<TwinSystemListing>))])
        .now(read),
    Route::get("/dii/v1/systems/{id}/twins/{twin}", "readOwnTwin", ACCESS, "How an own twin is published.")
        .path_parameters(&[
            Parameter::needed("id", "The system's id."),
            Parameter::needed("twin", "The twin's id, percent-encoded."),
        ])
        .answers(&[Answer::new(200, "The twin.", JSON, Some(schema::<TwinView>))])
        .now(read_twin),
    Route::post(
        "/dii/v1/changes",
        "reportChange",
        ACCESS,
        "Tells that a twin's object has changed (FGMV-29 9.2 step 14).",
    )
    .body(schema::<ChangeReport>)
    .answers(&[Answer::new(200, "The twin shows the change.", JSON, Some(schema::<ChangeVersion>))])
    .later(report),
    Route::post(
        "/dii/v1/requests/{id}/answer",
        "answerTwinSystemRequest",
        ACCESS,
        "Answers a request (FGMV-29 9.2 steps 10 and 18).",
    )
    .path_parameters(&[Parameter::needed("id", "The request's id.")])
    .body(schema::<OutsideAnswer>)
    .answers(&[Answer::empty(204, "It was the first answer, and it fits.")])
    // An answer ends what began before: while the daemon drains it must come through.
    .writes_nothing()
    .later(answer),
    Route::put(
        "/dii/v1/twins/{id}/synchronization",
        "setSynchronization",
        ACCESS,
        "Says anew how an own twin is synchronized with its object, and by whom (FGMV-28 REQ-DT-08).",
    )
    .path_parameters(&[TWIN])
    .body(schema::<Synchronization>)
    .answers(&[Answer::empty(204, "It counts from now on.")])
    .later(set_synchronization),
    Route::get("/dii/v1/events", "hearTwinSystemEvents", ACCESS, "Hears this system's events.")
        .query(WATCH)
        .answers(&[EVENT_STREAM])
        .events(SystemKind::DigitalTwin),
    Route::get(
        "/dii/v1/session",
        "openTwinSystemSession",
        ACCESS,
        "Opens this system's WebSocket session; an earlier one ends.",
    )
    .answers(&[SWITCHED])
    .session(SystemKind::DigitalTwin),
];

/// What a twin system tells of a physical object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeReport {
    /// One of its twins.
    twin: TwinId,
    /// The new values, by property.
    #[schema(value_type = BTreeMap<String, twinway_protocol::JsonDoc>)]
    values: PropertyValues,
    /// When the object changed; absent: now.
    #[serde(default)]
    at: Option<Timestamp>,
}

/// How a reported change is shown.
#[derive(Debug, Serialize, ToSchema)]
struct ChangeVersion {
    /// The twin's version that shows it.
    version: u64,
}

fn listing(call: &Call<'_>, system: &TwinSystem) -> TwinSystemListing {
    TwinSystemListing {
        system: system.description.clone(),
        twin_count: system.twin_count,
        registered_at: system.registered_at,
        version: system.version,
        standing: Standing::clone(&call.enabler().outside().standing(system.entity.id())),
    }
}

/// The system that the path names, if the caller is it or runs the daemon.
pub(super) fn own_id(call: &Call<'_>) -> Result<SystemId, Problem> {
    let named: SystemId = call.name(0)?;
    if named == call.system()? || call.known()?.principal.role == Role::Operator {
        return Ok(named);
    }
    Err(Problem::new(ProblemKind::NotAllowed, format!("the token is not for `{named}`")))
}

/// The version of what is kept, as `ETag` and `If-Match` write it.
pub(super) fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

pub(super) fn request_id(call: &Call<'_>) -> Result<PendingKey, Problem> {
    let text = call.segment(0)?;
    let unknown = |_| Problem::new(ProblemKind::RequestUnknown, format!("there is no request `{text}`"));
    text.parse().map(PendingKey::from_bits).map_err(unknown)
}

fn register(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let description: TwinSystemDescription = call.body()?;
        let registered = call.dii()?.register(description).await?;
        registration(&call, if registered.is_new { 201 } else { 200 }, &registered.system)
    })
}

pub(super) fn registration(call: &Call<'_>, status: u16, system: &TwinSystem) -> Result<Reply, Problem> {
    Ok(Reply::json(status, &listing(call, system))?.with("etag", etag(system.version)))
}

fn read(call: &Call<'_>) -> Result<Reply, Problem> {
    let id = own_id(call)?;
    let unknown = || Problem::new(ProblemKind::SystemUnknown, format!("no twin system `{id}` is registered"));
    registration(call, 200, &*call.enabler().outside().twin_system(&id).ok_or_else(unknown)?)
}

fn read_twin(call: &Call<'_>) -> Result<Reply, Problem> {
    let (id, twin) = (own_id(call)?, call.name::<TwinId>(1)?);
    let unknown = || Problem::new(ProblemKind::TwinUnknown, format!("`{id}` has no twin `{twin}`"));
    let view = call.enabler().outside().twin(&twin).filter(|view| view.system == id);
    Reply::json(200, &*view.ok_or_else(unknown)?)
}

fn report(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let ChangeReport { twin, values, at } = call.body()?;
        let version = call.dii()?.report(twin, values, at).await?;
        Reply::json(200, &ChangeVersion { version })
    })
}

fn answer(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.dii()?.answer(request_id(&call)?, call.body()?).await?;
        Ok(Reply::empty(204))
    })
}

fn set_synchronization(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.dii()?.set_synchronization(call.twin()?, call.body()?).await?;
        Ok(Reply::empty(204))
    })
}
