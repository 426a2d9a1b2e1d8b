//! MII and SII: chains of third-party systems, and authorizations after they were decided (FGMV-29 8.2.3, 8.2.4).

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use twinway_protocol::{
    Problem, ProblemKind, SystemId, UserId,
    access::UserAuthorization,
    collaboration::{Chain, Execution, ExecutionState},
};

use super::{
    auth::Role,
    call::{Call, JSON, Reply},
    mii::{ACCESS, CURSOR, LIMIT},
    routes::{Access, Answer, Later, Parameter, Route},
    schemas::{page_of, schema},
};
use crate::enabler::AuthorizationQuery;

/// The longest time that an answer waits for the end of an execution, in milliseconds.
const WAIT_MS_MAX: u64 = 60_000;
const WAIT: Parameter = Parameter::number("waitMs", "Answer at the end, or after so many milliseconds: at most 60000.");
const ID: Parameter = Parameter::needed("id", "The execution's id.");
const AUTHORIZATION: Parameter = Parameter::needed("id", "The authorization's id.");
const USER: Parameter = Parameter::text("user", "Only those of this user.");
const THIRD_PARTY: Access = Access::Only(Role::ThirdParty);
const REVOKED: Answer = Answer::new(200, "As it is kept now.", JSON, Some(schema::<UserAuthorization>));

pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/mii/v1/executions",
        "runChain",
        ACCESS,
        "Uses a chain of third-party systems (FGMV-29 9.1 steps 11 to 14).",
    )
    .query(&[WAIT])
    .headers(&[Parameter::text(
        "Idempotency-Key",
        "The same key again is the same request: it has the present answer.",
    )])
    .body(schema::<Chain>)
    .answers(&[
        Answer::new(202, "It is under way; events tell how it goes on.", JSON, Some(schema::<Execution>)),
        Answer::new(200, "It has ended, as its state says.", JSON, Some(schema::<Execution>)),
    ])
    .later(run),
    Route::get("/mii/v1/executions", "listExecutions", ACCESS, "The own executions, the oldest first.")
        .query(&[Parameter::text("state", "Only those that stand like this."), CURSOR, LIMIT])
        .answers(&[Answer::new(200, "A page of executions.", JSON, Some(page_of::<Execution>))])
        .later(list),
    Route::get("/mii/v1/executions/{id}", "readExecution", ACCESS, "How an execution stands.")
        .path_parameters(&[ID])
        .query(&[WAIT])
        .answers(&[Answer::new(200, "The execution.", JSON, Some(schema::<Execution>))])
        .later(read),
    Route::post(
        "/mii/v1/executions/{id}/cancel",
        "cancelExecution",
        ACCESS,
        "Has an execution go no further; what was done is undone.",
    )
    .path_parameters(&[ID])
    .answers(&[Answer::new(202, "As it stands now.", JSON, Some(schema::<Execution>))])
    .later(cancel),
    Route::get("/mii/v1/user-authorizations", "listUserAuthorizations", ACCESS, "The own users' authorizations.")
        .query(&[USER, Parameter::text("system", "Only those at this third-party system."), CURSOR, LIMIT])
        .answers(&[Answer::new(200, "A page of authorizations.", JSON, Some(page_of::<UserAuthorization>))])
        .later(list_as_metaverse),
    Route::delete(
        "/mii/v1/user-authorizations/{id}",
        "revokeUserAuthorization",
        ACCESS,
        "Takes an authorization back; the third-party system is told.",
    )
    .path_parameters(&[AUTHORIZATION])
    .answers(&[REVOKED])
    .later(revoke_as_metaverse),
    Route::get(
        "/sii/v1/authorizations",
        "listDecidedAuthorizations",
        THIRD_PARTY,
        "The authorizations at this system.",
    )
    .query(&[USER, Parameter::text("metaverse", "Only those of this metaverse system."), CURSOR, LIMIT])
    .answers(&[Answer::new(200, "A page of authorizations.", JSON, Some(page_of::<UserAuthorization>))])
    .later(list_as_third_party),
    Route::delete(
        "/sii/v1/authorizations/{id}",
        "withdrawUserAuthorization",
        THIRD_PARTY,
        "Takes an authorization back; the metaverse system is told.",
    )
    .path_parameters(&[AUTHORIZATION])
    .answers(&[REVOKED])
    .later(revoke_as_third_party),
];

fn wait(call: &Call<'_>) -> Result<Duration, Problem> {
    let invalid = || Problem::new(ProblemKind::InvalidQuery, format!("`waitMs` is a number up to {WAIT_MS_MAX}"));
    let ms = call.text("waitMs").map(|text| text.parse().map_err(|_| invalid())).transpose()?.unwrap_or(0);
    if ms > WAIT_MS_MAX { Err(invalid()) } else { Ok(Duration::from_millis(ms)) }
}

fn run(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let execution = call.mii()?.run_chain(call.body()?, call.extras.idempotency_key, wait(&call)?).await?;
        let id = utf8_percent_encode(execution.id.as_str(), NON_ALPHANUMERIC);
        let status = if execution.state.has_ended() { 200 } else { 202 };
        Ok(Reply::json(status, &execution)?.with("location", format!("/mii/v1/executions/{id}")))
    })
}

fn list(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let read = |text: String| serde_json::from_value::<ExecutionState>(text.into());
        let invalid = |error| Problem::new(ProblemKind::InvalidQuery, format!("`state`: {error}"));
        let state = call.text("state").map(read).transpose().map_err(invalid)?;
        Reply::json(200, &call.mii()?.executions(state, call.text("cursor"), call.limit()?).await?)
    })
}

fn read(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.mii()?.execution(call.name(0)?, wait(&call)?).await?) })
}

fn cancel(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(202, &call.mii()?.cancel_execution(call.name(0)?).await?) })
}

fn query(call: &Call<'_>, other: &str) -> Result<AuthorizationQuery, Problem> {
    let invalid = |name: &str, error| Problem::new(ProblemKind::InvalidQuery, format!("`{name}`: {error}"));
    let user = call.text("user").map(UserId::new).transpose().map_err(|error| invalid("user", error))?;
    let named = call.text(other).map(SystemId::new).transpose().map_err(|error| invalid(other, error))?;
    Ok(AuthorizationQuery { user, other: named, cursor: call.text("cursor"), limit: call.limit()? })
}

fn list_as_metaverse(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.mii()?.user_authorizations(query(&call, "system")?).await?) })
}

fn list_as_third_party(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.sii()?.user_authorizations(query(&call, "metaverse")?).await?) })
}

fn revoke_as_metaverse(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.mii()?.revoke_user_authorization(call.name(0)?).await?) })
}

fn revoke_as_third_party(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.sii()?.revoke_user_authorization(call.name(0)?).await?) })
}
