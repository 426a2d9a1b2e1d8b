//! Actions of twins (FGMV-29 8.3.4): invoked over MII, reported over DII.

use serde::Deserialize;
use twinway_protocol::{
    InvocationId, JsonDoc, Problem,
    message::{ActionReport, WhatToDo},
    twin::Invocation,
};
use utoipa::ToSchema;

use super::{
    auth::Role,
    call::{Call, JSON, Reply},
    json, mii,
    routes::{Access, Answer, Later, Parameter, Route},
    schemas::schema,
    twins::{DEADLINE, IF_MATCH, LEASE_TOKEN, TWIN, USER},
};

const INVOCATION: Parameter = Parameter::needed("invocation", "The invocation's id.");

pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/mii/v1/twins/{id}/actions/{name}",
        "invokeAction",
        mii::ACCESS,
        "Has a twin's object carry an action out, under the user's sync lease or one for this action only (as FGMV-29 \
         9.2 steps 15 to 18). Events tell how far it comes: `action.progress`, `action.ended`.",
    )
    .path_parameters(&[TWIN, Parameter::needed("name", "The action's name, percent-encoded.")])
    .query(&[USER, DEADLINE])
    .headers(&[LEASE_TOKEN, IF_MATCH])
    .body(schema::<ActionInput>)
    .answers(&[Answer::new(202, "It is on its way to the device.", JSON, Some(schema::<Invocation>))])
    .later(invoke),
    Route::get(
        "/mii/v1/twins/{id}/invocations/{invocation}",
        "readInvocation",
        mii::ACCESS,
        "How far an action has come, or how it ended; the last that ended are kept.",
    )
    .path_parameters(&[TWIN, INVOCATION])
    .answers(&[Answer::new(200, "The invocation.", JSON, Some(schema::<Invocation>))])
    .now(read),
    Route::delete(
        "/mii/v1/twins/{id}/invocations/{invocation}",
        "cancelAction",
        mii::ACCESS,
        "Wants an own action no more: its end tells whether it was cancelled in time.",
    )
    .path_parameters(&[TWIN, INVOCATION])
    .query(&[USER])
    .answers(&[Answer::empty(202, "The twin system tries.")])
    // It ends what began before.
    .writes_nothing()
    .later(cancel),
    Route::post(
        "/dii/v1/twins/{id}/invocations/{invocation}",
        "reportAction",
        Access::Only(Role::TwinSystem),
        "Tells how far an action has come, or how it ended (as FGMV-29 9.2 step 18).",
    )
    .path_parameters(&[TWIN, INVOCATION])
    .body(schema::<ActionReport>)
    .answers(&[Answer::empty(204, "The twin shows it.")])
    .writes_nothing()
    .later(report),
];

/// What an action is invoked with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ActionInput {
    /// The input, as the twin's description says; absent: none.
    #[serde(default)]
    #[schema(value_type = Option<JsonDoc>)]
    input: Option<JsonDoc>,
}

fn invoke(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let (user, twin, token, terms) = (call.user()?, call.twin()?, call.lease_token()?, call.terms()?);
        let ActionInput { input } =
            if call.extras.body.is_empty() { ActionInput { input: None } } else { json::read(&call.extras.body, "")? };
        let what = WhatToDo { action: call.segment(1)?.to_owned(), input };
        Reply::json(202, &call.mii()?.invoke_action(user, twin, what, token, terms).await?)
    })
}

fn read(call: &Call<'_>) -> Result<Reply, Problem> {
    let (twin, invocation) = (call.twin()?, call.name::<InvocationId>(1)?);
    Reply::json(200, &call.mii()?.invocation(&twin, &invocation)?)
}

fn cancel(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.mii()?.cancel_action(call.user()?, call.twin()?, call.name(1)?).await?;
        Ok(Reply::empty(202))
    })
}

fn report(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.dii()?.report_action(call.twin()?, call.name(1)?, call.body()?).await?;
        Ok(Reply::empty(204))
    })
}
