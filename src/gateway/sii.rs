//! SII: what third-party systems do (FGMV-29 9.1 steps 1 to 3, 8, 14x and 15 to 19).

use twinway_protocol::{
    Problem, ProblemKind,
    access::{AuthorizationDecision, UserAuthorization},
    message::OutsideAnswer,
    registry::{Standing, ThirdPartyDescription, ThirdPartyListing, ThirdPartySystem},
};

use super::{
    auth::Role,
    call::{Call, JSON, Reply},
    dii::{etag, own_id, request_id},
    mii::{EVENT_STREAM, SWITCHED, WATCH},
    routes::{Access, Answer, Later, Parameter, Route},
    schemas::schema,
};
use crate::outside::SystemKind;

pub(super) const ACCESS: Access = Access::Only(Role::ThirdParty);

pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/sii/v1/systems",
        "registerThirdPartySystem",
        ACCESS,
        "Registers the system (FGMV-29 9.1 steps 1 to 3).",
    )
    .body(schema::<ThirdPartyDescription>)
    .answers(&[
        Answer::new(201, "It is registered.", JSON, Some(schema::<ThirdPartyListing>)),
        Answer::new(200, "It was registered like this already.", JSON, Some(schema::<ThirdPartyListing>)),
    ])
    .later(register),
    Route::get("/sii/v1/systems/{id}", "readThirdPartySystem", ACCESS, "What is kept of the own registration.")
        .path_parameters(&[Parameter::needed("id", "The system's id.")])
        .answers(&[Answer::new(200, "The registration.", JSON, Some(schema::<ThirdPartyListing>))])
        .now(read),
    Route::post(
        "/sii/v1/authorizations/{id}/decision",
        "decideUserAuthorization",
        ACCESS,
        "Decides about an authorization later than it was asked for (FGMV-29 9.1 step 8).",
    )
    .path_parameters(&[Parameter::needed("id", "The authorization's id.")])
    .body(schema::<AuthorizationDecision>)
    .answers(&[Answer::new(200, "As it is kept now.", JSON, Some(schema::<UserAuthorization>))])
    .later(decide),
    Route::post(
        "/sii/v1/requests/{id}/answer",
        "answerThirdPartyRequest",
        ACCESS,
        "Answers a request (FGMV-29 9.1 steps 8 and 14x).",
    )
    .path_parameters(&[Parameter::needed("id", "The request's id.")])
    .body(schema::<OutsideAnswer>)
    .answers(&[Answer::empty(204, "It was the first answer, and it fits.")])
    // An answer ends what began before: while the daemon drains it must come through.
    .writes_nothing()
    .later(answer),
    Route::get("/sii/v1/events", "hearThirdPartyEvents", ACCESS, "Hears this system's events.")
        .query(WATCH)
        .answers(&[EVENT_STREAM])
        .events(SystemKind::ThirdParty),
    Route::get(
        "/sii/v1/session",
        "openThirdPartySession",
        ACCESS,
        "Opens this system's WebSocket session; an earlier one ends.",
    )
    .answers(&[SWITCHED])
    .session(SystemKind::ThirdParty),
];

fn listing(call: &Call<'_>, system: &ThirdPartySystem) -> ThirdPartyListing {
    ThirdPartyListing {
        system: system.description.clone(),
        registered_at: system.registered_at,
        version: system.version,
        standing: Standing::clone(&call.enabler().outside().standing(system.entity.id())),
    }
}

pub(super) fn registration(call: &Call<'_>, status: u16, system: &ThirdPartySystem) -> Result<Reply, Problem> {
    Ok(Reply::json(status, &listing(call, system))?.with("etag", etag(system.version)))
}

fn register(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let description: ThirdPartyDescription = call.body()?;
        let registered = call.sii()?.register(description).await?;
        registration(&call, if registered.is_new { 201 } else { 200 }, &registered.system)
    })
}

fn read(call: &Call<'_>) -> Result<Reply, Problem> {
    let id = own_id(call)?;
    let unknown = || Problem::new(ProblemKind::SystemUnknown, format!("no third-party system `{id}` is registered"));
    registration(call, 200, &*call.enabler().outside().third_party_system(&id).ok_or_else(unknown)?)
}

fn decide(call: Call<'_>) -> Later<'_> {
    Box::pin(
        async move { Reply::json(200, &call.sii()?.decide_user_authorization(call.name(0)?, call.body()?).await?) },
    )
}

fn answer(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.sii()?.answer(request_id(&call)?, call.body()?).await?;
        Ok(Reply::empty(204))
    })
}
