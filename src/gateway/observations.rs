//! Observations over HTTP (FGMV-28 7.3.1 steps 1 to 2.2): asked for, uploaded, read, listed and forgotten.

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use twinway_protocol::{
    MapId, Problem, ProblemKind, SystemId, UserId,
    spatial::{KeptObservation, MediaType, Observation, ObservationId, PoseDocument},
    time::Timestamp,
};
use utoipa::{
    ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type},
    },
};

use super::{
    auth::Role,
    call::{BodyStream, Call, JSON, Reply},
    json,
    routes::{Access, Answer, Later, Parameter, Route, Upload},
    schemas::{Components, page_of, schema},
};
use crate::{enabler::Recorded, observations::Reading};

const MII: Access = Access::Only(Role::Metaverse);
const DII: Access = Access::Only(Role::TwinSystem);
const DEVICE: Access = Access::Only(Role::Device);

const BYTES: &str = "application/octet-stream";
const OBSERVED: &[Answer] = &[Answer::new(200, "The bytes, with their own media type.", BYTES, Some(octets))];
const OBSERVATION: Parameter = Parameter::needed("id", "The observation's id.");
const METAVERSE: Parameter = Parameter::needed("metaverse", "The metaverse system's id.");
const PAGE: &[Parameter] = &[
    Parameter::text("cursor", "The `next` of the page before."),
    Parameter::number("limit", "How many a page has, at most 1000."),
];
const LISTED: &[Answer] = &[Answer::new(200, "A page of them.", JSON, Some(page_of::<KeptObservation>))];
const FORGOTTEN: &[Answer] = &[Answer::empty(204, "It is forgotten; its bytes are gone unless others name them.")];

pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/mii/v1/maps/{id}/observation-requests",
        "requestObservations",
        MII,
        "Has a user's device record something for the map (FGMV-28 7.3.1 step 2.1).",
    )
    .path_parameters(&[Parameter::needed("id", "The map's id.")])
    .body(schema::<ObservationRequest>)
    .answers(&[Answer::new(201, "The device was asked.", JSON, Some(schema::<ObservationRequestNumber>))])
    .later(request_observations),
    Route::get("/mii/v1/maps/{id}/observations", "listObservations", MII, "What was recorded for the map.")
        .path_parameters(&[Parameter::needed("id", "The map's id.")])
        .query(PAGE)
        .answers(LISTED)
        .later(list),
    Route::get("/mii/v1/observations/{id}", "readObservation", MII, "The bytes of what was recorded for its maps.")
        .path_parameters(&[OBSERVATION])
        .answers(OBSERVED)
        .later(read),
    Route::delete("/mii/v1/observations/{id}", "deleteObservation", MII, "Forgets what was recorded for its maps.")
        .path_parameters(&[OBSERVATION])
        .answers(FORGOTTEN)
        .later(delete),
    Route::get("/dii/v1/observations/{id}", "readUploadedObservation", DII, "The bytes of an observation.")
        .path_parameters(&[OBSERVATION])
        .answers(OBSERVED)
        .later(read_uploaded),
    Route::post("/device/v1/captures", "startCapture", DEVICE, "The device begins to record (FGMV-28 7.3.1 step 1).")
        .answers(&[Answer::empty(204, "It is known.")])
        .later(capture),
    Route::post(
        "/device/v1/observations",
        "uploadObservation",
        DEVICE,
        "Hands over what was recorded (FGMV-28 7.3.1 step 2.2): the body is its bytes, taken in as they come.",
    )
    .query(&[
        Parameter { name: "request", about: "The request that it was recorded for.", needed: true, number: true },
        Parameter::needed("pose", "Where the device was: a pose, as JSON."),
        Parameter::text("serialNumber", "The serial number of what was recorded."),
        Parameter::text("at", "When, in RFC 3339. Absent: now."),
    ])
    .body(octets)
    .media(MediaType::NAMES)
    .answers(&[Answer::new(201, "The twin system has it.", JSON, Some(schema::<Observation>))])
    .receive(upload),
    Route::get(
        "/device/v1/observations/{metaverse}/{map}",
        "listOwnObservations",
        DEVICE,
        "What the user recorded for a map.",
    )
    .path_parameters(&[METAVERSE, Parameter::needed("map", "The map's id.")])
    .query(PAGE)
    .answers(LISTED)
    .later(list_own),
    Route::delete(
        "/device/v1/observations/{metaverse}/{id}",
        "deleteOwnObservation",
        DEVICE,
        "Has forgotten what the user recorded for a metaverse system.",
    )
    .path_parameters(&[METAVERSE, OBSERVATION])
    .answers(FORGOTTEN)
    .later(delete_own),
];

/// The schema of bytes.
fn octets(_: &mut Components) -> RefOr<Schema> {
    let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
    ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build().into()
}

/// What a user's device is to record.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ObservationRequest {
    /// The user.
    user: UserId,
    /// The twin system that is to make twins of it.
    twin_system: SystemId,
    /// What is wanted, for people.
    #[serde(default)]
    wanted: String,
}

/// A request for observations.
#[derive(Debug, Serialize, ToSchema)]
struct ObservationRequestNumber {
    /// Its number.
    request: u32,
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidQuery, detail)
}

/// The observation that a segment of the path names.
fn id(call: &Call<'_>, segment: usize) -> Result<ObservationId, Problem> {
    call.segment(segment)?.parse().map_err(|problem: Problem| invalid(problem.detail))
}

fn request_observations(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let ObservationRequest { user, twin_system, wanted } = call.body()?;
        let request = call.mii()?.request_observations(call.name(0)?, user, twin_system, &wanted).await?;
        Reply::json(201, &ObservationRequestNumber { request })
    })
}

fn list(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        Reply::json(200, &call.mii()?.observations(call.name(0)?, call.text("cursor"), call.limit()?).await?)
    })
}

fn read(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Ok(streamed(call.mii()?.observation(id(&call, 0)?).await?)) })
}

fn read_uploaded(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Ok(streamed(call.enabler().observation(id(&call, 0)?).await?)) })
}

fn streamed(reading: Reading) -> Reply {
    let (media, bytes) = (reading.media_type.name(), reading.bytes);
    Reply::streamed(200, media, BodyStream { bytes, pieces: reading.into_stream().boxed_local() })
}

fn delete(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.mii()?.delete_observation(id(&call, 0)?).await?;
        Ok(Reply::empty(204))
    })
}

fn capture(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.device()?.start_capture().await?;
        Ok(Reply::empty(204))
    })
}

/// A parameter of the query that is JSON.
fn json_parameter<T: DeserializeOwned>(call: &Call<'_>, name: &str) -> Result<T, Problem> {
    let text = call.text(name).unwrap_or_default();
    json::read(text.as_bytes(), "").map_err(|problem| {
        let at = problem.pointer.as_deref().unwrap_or_default();
        invalid(format!("`{name}`{at}: {}", problem.detail))
    })
}

fn upload(call: Call<'_>, bytes: Upload) -> Later<'_> {
    Box::pin(async move {
        let text = call.text("request").unwrap_or_default();
        let request = text.parse().map_err(|_| invalid(format!("`request` is not a number: `{text}`")))?;
        let pose: PoseDocument = json_parameter(&call, "pose")?;
        let now = crate::outside::wall();
        let at = match call.text("at") {
            None => now,
            // A device's clock that runs ahead does not make what it recorded newer.
            Some(text) => Timestamp::parse(&text).ok_or_else(|| invalid("`at` is not RFC 3339"))?.min(now),
        };
        let media_type = MediaType::read(call.extras.media.unwrap_or_default())?;
        let recorded = Recorded { request, media_type, serial_number: call.text("serialNumber"), pose, at };
        Reply::json(201, &call.device()?.upload(recorded, bytes).await?)
    })
}

fn list_own(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let (metaverse, map): (SystemId, MapId) = (call.name(0)?, call.name(1)?);
        let page = call.device()?.observations(&metaverse, map, call.text("cursor"), call.limit()?).await?;
        Reply::json(200, &page)
    })
}

fn delete_own(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let metaverse: SystemId = call.name(0)?;
        call.device()?.delete_observation(&metaverse, id(&call, 1)?).await?;
        Ok(Reply::empty(204))
    })
}
