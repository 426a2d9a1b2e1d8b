//! MII: what metaverse systems do with other systems (FGMV-29 9.1 steps 4 to 14, 9.2 steps 4 and 5).

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use twinway_actors::discovery::FILTER_HELP;
use twinway_protocol::{
    JsonDoc, Problem, ProblemKind, SystemId, UserId,
    access::{AuthorizationDecision, UserAuthorization},
    collaboration::Execution,
    registry::{Reach, SystemQuery, ThirdPartyListing, TwinSystemListing},
};
use utoipa::ToSchema;

use super::{
    auth::Role,
    call::{Call, JSON, Reply},
    routes::{Access, Answer, Later, Parameter, Route},
    schemas::{page_of, schema},
};
use crate::outside::{SystemKind, WATCH_FILTER_HELP};

pub(super) const ACCESS: Access = Access::Only(Role::Metaverse);
pub(super) const CURSOR: Parameter = Parameter::text("cursor", "Where the page before ended: its `next`.");
pub(super) const LIMIT: Parameter = Parameter::number("limit", "At most this many items.");
pub(super) const TEXT: Parameter =
    Parameter::text("text", "The beginnings of words of id, title or description: all of them.");
const FILTER: Parameter = Parameter::text("filter", FILTER_HELP);
pub(super) const SORT: Parameter = Parameter::text(
    "sort",
    "Fields to sort by, with `-` before those that go down: `performance.p99_ms,-charge.amount`. Without: by id.",
);
const LAST_EVENT: Parameter =
    Parameter::number("lastEventId", "Begin behind this event, for those who cannot set `Last-Event-ID`.");
/// What a listener to events can choose.
pub(super) const WATCH: &[Parameter] = &[
    LAST_EVENT,
    Parameter::text("type", "Only events of this type, without `io.twinway.`; `lease.*`: all that begin so."),
    Parameter::text("twin", "Only events about this twin."),
    Parameter::text("property", "Only changes of this property."),
    Parameter::text("system", "Only events about twins of this digital twin system, or about the system."),
    Parameter::text("filter", WATCH_FILTER_HELP),
    Parameter::text(
        "newest",
        "`true`: while the listener is behind, only the newest value of each property of each twin.",
    ),
];
pub(super) const EVENT_STREAM: Answer =
    Answer::new(200, "CloudEvents as server-sent events, until the caller hangs up.", "text/event-stream", None);
pub(super) const SWITCHED: Answer =
    Answer::empty(101, "A WebSocket session of the subprotocol `twinway.v1.json` is open.");

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/mii/v1/third-party-systems",
        "searchThirdPartySystems",
        ACCESS,
        "Searches for third-party systems (FGMV-29 9.1 steps 4 and 5).",
    )
    .query(&[
        Parameter::text("type", "This type of system."),
        TEXT,
        FILTER,
        SORT,
        Parameter::text("operation", "Systems that offer this operation."),
        CURSOR,
        LIMIT,
    ])
    .answers(&[Answer::new(200, "A page of systems.", JSON, Some(page_of::<ThirdPartyListing>))])
    .later(search_third_party_systems),
    Route::post(
        "/mii/v1/user-authorizations",
        "requestUserAuthorization",
        ACCESS,
        "Asks that a user may use a third-party system (FGMV-29 9.1 steps 6 to 10).",
    )
    .body(schema::<AuthorizationRequest>)
    .answers(&[
        Answer::new(201, "It is granted.", JSON, Some(schema::<UserAuthorization>)),
        Answer::new(
            202,
            "A person has to log in first; an event tells the decision.",
            JSON,
            Some(schema::<UserAuthorization>),
        ),
    ])
    .later(request_user_authorization),
    Route::get("/mii/v1/user-authorizations/{id}", "readUserAuthorization", ACCESS, "Reads an authorization again.")
        .path_parameters(&[Parameter::needed("id", "The authorization's id.")])
        .answers(&[Answer::new(200, "The authorization.", JSON, Some(schema::<UserAuthorization>))])
        .later(read_user_authorization),
    Route::post(
        "/mii/v1/service-calls",
        "useThirdPartySystem",
        ACCESS,
        "Runs a service with a third-party system (FGMV-29 9.1 steps 11 to 14).",
    )
    .body(schema::<ServiceCall>)
    .answers(&[Answer::new(200, "What came of it.", JSON, Some(schema::<ServiceOutput>))])
    .later(use_third_party_system),
    Route::post(
        "/mii/v1/data-shares",
        "shareData",
        ACCESS,
        "Shares data with a third-party system (FGMV-29 9.1 steps 11 to 14).",
    )
    .body(schema::<DataShare>)
    .answers(&[Answer::new(200, "What came of it.", JSON, Some(schema::<ServiceOutput>))])
    .later(share_data),
    Route::get(
        "/mii/v1/twin-systems",
        "searchTwinSystems",
        ACCESS,
        "Searches for digital twin systems (FGMV-29 9.2 steps 4 and 5).",
    )
    .query(&[
        Parameter::text("type", "This type of system."),
        TEXT,
        FILTER,
        SORT,
        Parameter::text("physicalObject", "Systems that maintain a twin of this object."),
        CURSOR,
        LIMIT,
    ])
    .answers(&[Answer::new(200, "A page of systems.", JSON, Some(page_of::<TwinSystemListing>))])
    .later(search_twin_systems),
    Route::put("/mii/v1/reach", "setReach", ACCESS, "Says how this system is told of events.")
        .body(schema::<Reach>)
        .answers(&[Answer::empty(204, "It is reached like this now.")])
        .later(set_reach),
    Route::get("/mii/v1/events", "hearMetaverseEvents", ACCESS, "Hears this system's events.")
        .query(WATCH)
        .answers(&[EVENT_STREAM])
        .events(SystemKind::Metaverse),
    Route::get(
        "/mii/v1/session",
        "openMetaverseSession",
        ACCESS,
        "Opens this system's WebSocket session; an earlier one ends.",
    )
    .answers(&[SWITCHED])
    .session(SystemKind::Metaverse),
];

/// Asks that a user may use a third-party system.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuthorizationRequest {
    /// The third-party system.
    system: SystemId,
    /// The user, as the metaverse system names them.
    user: UserId,
    /// The operations that the user wants to call; `*` stands for all.
    scope: BTreeSet<String>,
}

/// Runs an operation of a third-party system.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceCall {
    /// The third-party system.
    system: SystemId,
    /// For whom.
    user: UserId,
    /// Which operation.
    operation: String,
    /// With what.
    input: JsonDoc,
}

/// Shares data with one third-party system or several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DataShare {
    /// The third-party system; either this or `systems`.
    #[serde(default)]
    system: Option<SystemId>,
    /// The third-party systems: one that fails keeps none of the others from it.
    #[serde(default)]
    systems: Vec<SystemId>,
    /// With `systems`: an expression of `input`, the data, and `user`, that makes what they are given.
    #[serde(default)]
    transformation: Option<String>,
    /// For whom.
    user: UserId,
    /// What it is about.
    topic: String,
    /// The data.
    data: JsonDoc,
}

/// What came of a service.
#[derive(Debug, Serialize, ToSchema)]
struct ServiceOutput {
    /// As the third-party system answered; of several, the steps of `execution` say it.
    output: JsonDoc,
    /// With several systems: how it went with each of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<Execution>,
}

fn query(call: &Call<'_>) -> Result<SystemQuery, Problem> {
    Ok(SystemQuery {
        system_type: call.text("type"),
        text: call.text("text"),
        filter: call.text("filter"),
        sort: call.text("sort"),
        operation: call.text("operation"),
        physical_object: call.text("physicalObject"),
        cursor: call.text("cursor"),
        limit: call.limit()?,
    })
}

fn search_third_party_systems(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.mii()?.search_third_party_systems(query(&call)?).await?) })
}

fn request_user_authorization(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let AuthorizationRequest { system, user, scope } = call.body()?;
        let authorization = call.mii()?.request_user_authorization(system, user, scope).await?;
        let status = match &authorization.decision {
            AuthorizationDecision::Granted(_) => 201,
            AuthorizationDecision::Pending(_) => 202,
            AuthorizationDecision::Denied(why) => {
                return Err(Problem::new(ProblemKind::PermissionDenied, why.clone()));
            }
            AuthorizationDecision::Revoked => {
                return Err(Problem::new(ProblemKind::PermissionDenied, "it was revoked meanwhile"));
            }
        };
        let id = utf8_percent_encode(authorization.id.as_str(), NON_ALPHANUMERIC);
        let location = format!("/mii/v1/user-authorizations/{id}");
        Ok(Reply::json(status, &authorization)?.with("location", location))
    })
}

fn read_user_authorization(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.mii()?.user_authorization(call.name(0)?).await?) })
}

fn use_third_party_system(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let ServiceCall { system, user, operation, input } = call.body()?;
        let output = call.mii()?.use_third_party_system(system, user, &operation, input).await?;
        Reply::json(200, &ServiceOutput { output, execution: None })
    })
}

fn share_data(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let DataShare { system, systems, transformation, user, topic, data } = call.body()?;
        let transformation = transformation.as_deref();
        match system {
            Some(system) if systems.is_empty() && transformation.is_none() => {
                let output = call.mii()?.share_data(system, user, &topic, data).await?;
                Reply::json(200, &ServiceOutput { output, execution: None })
            }
            None if !systems.is_empty() => {
                let execution = call.mii()?.share_data_with(&systems, user, &topic, data, transformation).await?;
                let output = execution.output.clone().unwrap_or_else(JsonDoc::null);
                Reply::json(200, &ServiceOutput { output, execution: Some(execution) })
            }
            _ => {
                let detail = "either `system` or `systems` is expected; a `transformation` goes with `systems`";
                Err(Problem::new(ProblemKind::InvalidDocument, detail).at(""))
            }
        }
    })
}

fn search_twin_systems(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.mii()?.search_twin_systems(query(&call)?).await?) })
}

fn set_reach(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.mii()?.set_reach(call.body()?).await?;
        Ok(Reply::empty(204))
    })
}
