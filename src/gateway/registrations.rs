//! DII and SII: what becomes of a registration (FGMV-29 8.2.1 and 8.3.1).

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    JsonDoc, Problem, ProblemKind, TwinId,
    registry::{Standing, ThirdPartyDescription, ThirdPartyListing, TwinSystemDescription, TwinSystemListing},
    twin::TwinEntry,
};
use utoipa::ToSchema;

use super::{
    auth::Role,
    call::{Call, JSON, Reply},
    dii,
    mii::{CURSOR, LIMIT},
    routes::{Access, Answer, Later, Parameter, Route},
    schemas::{page_of, schema},
    sii,
};
use crate::enabler::{Dii, Sii};

const TWIN_SYSTEM: Access = Access::Only(Role::TwinSystem);
const THIRD_PARTY: Access = Access::Only(Role::ThirdParty);
const ID: Parameter = Parameter::needed("id", "The system's id.");
const TWIN: Parameter = Parameter::needed("twin", "The twin's id, percent-encoded.");
const IF_MATCH: Parameter =
    Parameter::text("If-Match", "The `ETag` of what is registered: with another one nothing is changed.");
const CHANGED_TWIN_SYSTEM: Answer =
    Answer::new(200, "As it is registered now; its `ETag` is its version.", JSON, Some(schema::<TwinSystemListing>));
const CHANGED_THIRD_PARTY: Answer =
    Answer::new(200, "As it is registered now; its `ETag` is its version.", JSON, Some(schema::<ThirdPartyListing>));
const GONE: Answer = Answer::empty(204, "It is registered no more.");
const STANDS: Answer = Answer::new(200, "How the system stands.", JSON, Some(schema::<Standing>));

pub(super) const ROUTES: &[Route] = &[
    Route::put("/dii/v1/systems/{id}", "replaceTwinSystem", TWIN_SYSTEM, "Describes the system anew, with its list.")
        .path_parameters(&[ID])
        .headers(&[IF_MATCH])
        .body(schema::<TwinSystemDescription>)
        .answers(&[CHANGED_TWIN_SYSTEM])
        .later(replace_twin_system),
    Route::patch(
        "/dii/v1/systems/{id}",
        "updateTwinSystem",
        TWIN_SYSTEM,
        "Changes the description by a JSON merge patch; the list stays unless the patch has `twins`.",
    )
    .path_parameters(&[ID])
    .headers(&[IF_MATCH])
    .body(schema::<JsonDoc>)
    .answers(&[CHANGED_TWIN_SYSTEM])
    .later(patch_twin_system),
    Route::delete(
        "/dii/v1/systems/{id}",
        "deregisterTwinSystem",
        TWIN_SYSTEM,
        "Ends the registration; its twins end, and what others have of them.",
    )
    .path_parameters(&[ID])
    .headers(&[IF_MATCH])
    .answers(&[GONE])
    .later(deregister_twin_system),
    Route::post("/dii/v1/systems/{id}/renew", "renewTwinSystem", TWIN_SYSTEM, "Renews the registration's lifetime.")
        .path_parameters(&[ID])
        .body(schema::<Renewal>)
        .answers(&[STANDS])
        .later(renew_twin_system),
    Route::post("/dii/v1/systems/{id}/heartbeat", "twinSystemIsThere", TWIN_SYSTEM, "Says that the system is there.")
        .path_parameters(&[ID])
        .answers(&[STANDS])
        .later(twin_system_heartbeat),
    Route::get(
        "/dii/v1/systems/{id}/twins",
        "listOwnTwins",
        TWIN_SYSTEM,
        "Lists the own twins as they are registered.",
    )
    .path_parameters(&[ID])
    .query(&[CURSOR, LIMIT])
    .answers(&[Answer::new(200, "A page of the list.", JSON, Some(page_of::<TwinEntry>))])
    .later(list_own),
    Route::patch(
        "/dii/v1/systems/{id}/twins",
        "changeTwinList",
        TWIN_SYSTEM,
        "Changes a part of the list: lists twins, new and changed ones, and removes others. All of it or nothing.",
    )
    .path_parameters(&[ID])
    .headers(&[IF_MATCH])
    .body(schema::<ListChange>)
    .answers(&[CHANGED_TWIN_SYSTEM])
    .later(change_list),
    Route::put("/dii/v1/systems/{id}/twins/{twin}", "listTwin", TWIN_SYSTEM, "Lists a twin, or lists it anew.")
        .path_parameters(&[ID, TWIN])
        .headers(&[IF_MATCH])
        .body(schema::<TwinEntry>)
        .answers(&[CHANGED_TWIN_SYSTEM])
        .later(put_twin),
    Route::delete("/dii/v1/systems/{id}/twins/{twin}", "unlistTwin", TWIN_SYSTEM, "Lists a twin no more: it ends.")
        .path_parameters(&[ID, TWIN])
        .headers(&[IF_MATCH])
        .answers(&[CHANGED_TWIN_SYSTEM])
        .later(delete_twin),
    Route::put("/sii/v1/systems/{id}", "replaceThirdPartySystem", THIRD_PARTY, "Describes the system anew.")
        .path_parameters(&[ID])
        .headers(&[IF_MATCH])
        .body(schema::<ThirdPartyDescription>)
        .answers(&[CHANGED_THIRD_PARTY])
        .later(replace_third_party),
    Route::patch(
        "/sii/v1/systems/{id}",
        "updateThirdPartySystem",
        THIRD_PARTY,
        "Changes the description by a JSON merge patch.",
    )
    .path_parameters(&[ID])
    .headers(&[IF_MATCH])
    .body(schema::<JsonDoc>)
    .answers(&[CHANGED_THIRD_PARTY])
    .later(patch_third_party),
    Route::delete(
        "/sii/v1/systems/{id}",
        "deregisterThirdPartySystem",
        THIRD_PARTY,
        "Ends the registration; users' authorizations end, and what is under way is refused.",
    )
    .path_parameters(&[ID])
    .headers(&[IF_MATCH])
    .answers(&[GONE])
    .later(deregister_third_party),
    Route::post(
        "/sii/v1/systems/{id}/renew",
        "renewThirdPartySystem",
        THIRD_PARTY,
        "Renews the registration's lifetime.",
    )
    .path_parameters(&[ID])
    .body(schema::<Renewal>)
    .answers(&[STANDS])
    .later(renew_third_party),
    Route::post("/sii/v1/systems/{id}/heartbeat", "thirdPartyIsThere", THIRD_PARTY, "Says that the system is there.")
        .path_parameters(&[ID])
        .answers(&[STANDS])
        .later(third_party_heartbeat),
];

/// For how long a registration, or a subscription, is renewed.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Renewal {
    /// From now on, in milliseconds; absent: as it registered, and of a subscription a day.
    #[serde(default)]
    pub(super) lifetime_ms: Option<u64>,
}

/// What changes in a list of twins.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListChange {
    /// Twins that are listed from now on: new ones, and those that are described anew.
    #[serde(default)]
    twins: Vec<TwinEntry>,
    /// Twins that are listed no more.
    #[serde(default)]
    remove: Vec<TwinId>,
}

/// The version that `If-Match` names; absent: whatever it is.
fn if_version(call: &Call<'_>) -> Result<Option<u64>, Problem> {
    let Some(tag) = call.extras.if_match.filter(|tag| tag.trim() != "*") else { return Ok(None) };
    let version = tag.trim().strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
    // RFC 9110 13.1.1: a tag that was never given fits nothing.
    let unknown = || Problem::new(ProblemKind::VersionMismatch, format!("`{tag}` is no version of a registration"));
    version.map(Some).ok_or_else(unknown)
}

fn own_dii(call: &Call<'_>) -> Result<Dii, Problem> {
    Ok(call.enabler().dii(dii::own_id(call)?))
}

fn own_sii(call: &Call<'_>) -> Result<Sii, Problem> {
    Ok(call.enabler().sii(dii::own_id(call)?))
}

pub(super) fn renewal(call: &Call<'_>) -> Result<Renewal, Problem> {
    if call.extras.body.is_empty() { Ok(Renewal::default()) } else { call.body() }
}

fn replace_twin_system(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let updated = own_dii(&call)?.update(call.body()?, if_version(&call)?).await?;
        dii::registration(&call, 200, &updated.system)
    })
}

fn patch_twin_system(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let updated = own_dii(&call)?.patch(&call.body()?, if_version(&call)?).await?;
        dii::registration(&call, 200, &updated.system)
    })
}

fn deregister_twin_system(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        own_dii(&call)?.deregister(if_version(&call)?).await?;
        Ok(Reply::empty(204))
    })
}

fn renew_twin_system(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &*own_dii(&call)?.renew(renewal(&call)?.lifetime_ms).await?) })
}

fn twin_system_heartbeat(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &*own_dii(&call)?.heartbeat().await?) })
}

fn list_own(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let page = own_dii(&call)?.twins(call.query.get("cursor"), call.limit()?).await?;
        Reply::json(200, &page)
    })
}

async fn change(call: &Call<'_>, twins: Vec<TwinEntry>, remove: Vec<TwinId>) -> Result<Reply, Problem> {
    let changed = own_dii(call)?.change_twins(twins, remove, if_version(call)?).await?;
    dii::registration(call, 200, &changed.system)
}

fn change_list(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let ListChange { twins, remove } = call.body()?;
        change(&call, twins, remove).await
    })
}

fn put_twin(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let (entry, named): (TwinEntry, TwinId) = (call.body()?, call.name(1)?);
        if entry.id != named {
            let detail = format!("the path names `{named}`, and the entry `{}`", entry.id);
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/id"));
        }
        change(&call, vec![entry], Vec::new()).await
    })
}

fn delete_twin(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { change(&call, Vec::new(), vec![call.name(1)?]).await })
}

fn replace_third_party(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let updated = own_sii(&call)?.update(call.body()?, if_version(&call)?).await?;
        sii::registration(&call, 200, &updated.system)
    })
}

fn patch_third_party(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let updated = own_sii(&call)?.patch(&call.body()?, if_version(&call)?).await?;
        sii::registration(&call, 200, &updated.system)
    })
}

fn deregister_third_party(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        own_sii(&call)?.deregister(if_version(&call)?).await?;
        Ok(Reply::empty(204))
    })
}

fn renew_third_party(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &*own_sii(&call)?.renew(renewal(&call)?.lifetime_ms).await?) })
}

fn third_party_heartbeat(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &*own_sii(&call)?.heartbeat().await?) })
}
