//! Rights and characteristics of twins (FGMV-29 8.3.5), refreshing (FGMV-28 REQ-DT-07), events and Thing Models.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use twinway_protocol::{
    JsonDoc, NAME_BYTES_MAX, Problem, ProblemKind,
    access::TwinPermission,
    lease::Synchronization,
    merge_patch,
    message::{EmittedEvent, PermissionGrant, TwinCharacteristics},
};
use utoipa::ToSchema;

use super::{
    auth::Role,
    call::{Call, JSON, Reply},
    json,
    mii::{self, CURSOR, LIMIT},
    routes::{Access, Answer, Later, Parameter, Route},
    schemas::{page_of, schema},
    twins::{TWIN, USER},
};

const ACCESS: Access = Access::Only(Role::TwinSystem);
/// The media type of a Thing Model (W3C WoT Thing Description 1.1, section 11.2).
const THING_MODEL: &str = "application/tm+json";
const MODEL: Parameter = Parameter::needed("id", "The Thing Model's id, percent-encoded.");

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/mii/v1/permissions",
        "listOwnPermissions",
        mii::ACCESS,
        "What a user may do with twins (FGMV-29 8.3.5).",
    )
    .query(&[USER, CURSOR, LIMIT])
    .answers(&[Answer::new(200, "A page, ended ones among them.", JSON, Some(page_of::<TwinPermission>))])
    .later(list_own),
    Route::post(
        "/mii/v1/twins/{id}/refresh",
        "refreshTwin",
        mii::ACCESS,
        "Has the twin system asked now what a twin's values are (FGMV-28 REQ-DT-07).",
    )
    .path_parameters(&[TWIN])
    .query(&[USER])
    .answers(&[Answer::new(200, "The twin shows them.", JSON, Some(schema::<Refreshed>))])
    .later(refresh),
    Route::get("/dii/v1/twins/{id}/permissions", "listTwinPermissions", ACCESS, "Who may do what with an own twin.")
        .path_parameters(&[TWIN])
        .query(&[CURSOR, LIMIT])
        .answers(&[Answer::new(200, "A page, ended ones among them.", JSON, Some(page_of::<TwinPermission>))])
        .later(list),
    Route::put(
        "/dii/v1/twins/{id}/permissions",
        "grantTwinPermission",
        ACCESS,
        "Permits a user something without having been asked, in place of what was permitted before (FGMV-29 8.3.5).",
    )
    .path_parameters(&[TWIN])
    .body(schema::<PermissionGrant>)
    .answers(&[Answer::new(200, "The permission.", JSON, Some(schema::<TwinPermission>))])
    .later(grant),
    Route::delete(
        "/dii/v1/twins/{id}/permissions/{permission}",
        "revokeTwinPermission",
        ACCESS,
        "Takes a permission back; a sync lease that is held under it is revoked (FGMV-29 8.3.5).",
    )
    .path_parameters(&[TWIN, Parameter::needed("permission", "The permission's id.")])
    .answers(&[Answer::empty(204, "It counts no more.")])
    .later(revoke),
    Route::get(
        "/dii/v1/twins/{id}/characteristics",
        "readCharacteristics",
        ACCESS,
        "What an own twin can be asked at all (FGMV-29 8.3.5).",
    )
    .path_parameters(&[TWIN])
    .answers(&[Answer::new(200, "What counts now.", JSON, Some(schema::<Characteristics>))])
    .later(read_characteristics),
    Route::patch(
        "/dii/v1/twins/{id}/characteristics",
        "changeCharacteristics",
        ACCESS,
        "Says anew what an own twin can be asked, until something else of it is registered (FGMV-29 8.3.5).",
    )
    .path_parameters(&[TWIN])
    .body(schema::<TwinCharacteristics>)
    .answers(&[Answer::new(200, "What counts now.", JSON, Some(schema::<Characteristics>))])
    .later(change_characteristics),
    Route::post(
        "/dii/v1/twins/{id}/events",
        "emitTwinEvent",
        ACCESS,
        "Tells of an event of an own twin: `twin.event` for those who selected it (FGMV-29 8.3.4).",
    )
    .path_parameters(&[TWIN])
    .body(schema::<EmittedEvent>)
    .answers(&[Answer::empty(202, "It is told.")])
    .later(emit),
    Route::post(
        "/dii/v1/thing-models",
        "registerThingModel",
        ACCESS,
        "Registers a Thing Model: entries of the twin list can be described by `{model, placeholders, with}` then.",
    )
    .body(schema::<ThingModel>)
    .answers(&[Answer::empty(204, "It is kept, byte for byte.")])
    .later(keep_model),
    Route::get("/dii/v1/thing-models/{id}", "readThingModel", ACCESS, "An own Thing Model, byte for byte.")
        .path_parameters(&[MODEL])
        .answers(&[Answer::new(200, "A W3C WoT Thing Model.", THING_MODEL, Some(schema::<JsonDoc>))])
        .later(read_model),
];

/// A twin was refreshed.
#[derive(Debug, Serialize, ToSchema)]
struct Refreshed {
    /// The twin's version that shows the values.
    version: u64,
}

/// What a twin can be asked, by whom first, and which schemas of its description judge nothing.
#[derive(Debug, Serialize, ToSchema)]
struct Characteristics {
    /// What counts now.
    characteristics: TwinCharacteristics,
    /// Who is synchronized with the twin's object before whom, and on which terms (FGMV-28 REQ-DT-08); absent: nothing was
    /// said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Synchronization>)]
    synchronization: Option<Arc<Synchronization>>,
    /// Schemas that are there and judge nothing: values of theirs are taken as they come.
    unjudged: Vec<Unjudged>,
}

/// A schema that judges nothing.
#[derive(Debug, Serialize, ToSchema)]
struct Unjudged {
    /// Where it stands in the description.
    pointer: String,
    /// Why.
    why: String,
}

/// A Thing Model and its name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ThingModel {
    /// The name by which the system's lists refer to it.
    id: String,
    /// A W3C WoT Thing Model.
    #[schema(value_type = Object)]
    model: JsonDoc,
}

fn list_own(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        Reply::json(200, &call.mii()?.permissions(call.user()?, call.text("cursor"), call.limit()?).await?)
    })
}

fn refresh(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let version = call.mii()?.refresh_twin(call.user()?, call.twin()?).await?;
        Reply::json(200, &Refreshed { version })
    })
}

fn list(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        Reply::json(200, &call.dii()?.permissions(call.twin()?, call.text("cursor"), call.limit()?).await?)
    })
}

fn grant(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.dii()?.grant_permission(call.twin()?, call.body()?).await?) })
}

fn revoke(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.dii()?.revoke_permission(call.twin()?, call.name(1)?).await?;
        Ok(Reply::empty(204))
    })
}

fn shown(of: crate::enabler::Characteristics) -> Result<Reply, Problem> {
    let crate::enabler::Characteristics { characteristics, synchronization, unjudged } = of;
    let unjudged = unjudged.into_iter().map(|(pointer, why)| Unjudged { pointer, why }).collect();
    Reply::json(200, &Characteristics { characteristics, synchronization, unjudged })
}

fn read_characteristics(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { shown(call.dii()?.characteristics(call.twin()?).await?) })
}

fn change_characteristics(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let (dii, twin) = (call.dii()?, call.twin()?);
        let patch: Value = call.body()?;
        let present = dii.characteristics(twin.clone()).await?.characteristics;
        let internal = |error: serde_json::Error| Problem::new(ProblemKind::Internal, error.to_string());
        let mut wanted = serde_json::to_value(&present).map_err(internal)?;
        merge_patch(&mut wanted, patch);
        let wanted: TwinCharacteristics = json::read(wanted.to_string().as_bytes(), "")?;
        shown(dii.set_characteristics(twin, wanted).await?)
    })
}

fn emit(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.dii()?.emit_event(call.twin()?, call.body()?).await?;
        Ok(Reply::empty(202))
    })
}

fn keep_model(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let ThingModel { id, model } = call.body()?;
        if id.is_empty() || id.len() > NAME_BYTES_MAX {
            let detail = format!("a name has from 1 to {NAME_BYTES_MAX} bytes");
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/id"));
        }
        let within = |problem: Problem| {
            let inside = problem.pointer.clone();
            inside.map_or(problem.clone(), |inside| problem.at(format!("/model{inside}")))
        };
        call.dii()?.keep_thing_model(&id, model).await.map_err(within)?;
        Ok(Reply::empty(204))
    })
}

fn read_model(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let model = call.dii()?.thing_model(call.segment(0)?).await?;
        Ok(Reply::new(200, THING_MODEL, model.as_str().as_bytes().to_vec()))
    })
}
