//! MII: what metaverse systems do with twins (FGMV-29 9.2 steps 6 to 18).

use std::{collections::BTreeSet, io::Write as _, sync::Arc};

use serde::{Deserialize, Serialize};
use twinway_actors::discovery::TWIN_FILTER_HELP;
use twinway_protocol::{
    JsonDoc, NameError, Problem, ProblemKind, SystemId, TwinId, UserId,
    access::{Right, TwinPermission},
    message::PropertyValues,
    registry::TwinQuery,
    time::Timestamp,
    twin::{InformationSource, PropertyValue, TwinListing, TwinView},
};
use utoipa::ToSchema;

use super::{
    auth::Role,
    call::{Call, JSON, Reply},
    information::TwinReading,
    merge::merged,
    mii::{ACCESS, CURSOR, LIMIT, TEXT},
    problem::RefusalDocument,
    routes::{Answer, Later, Parameter, Route},
    schemas::{map_of, page_of, schema},
};
use crate::enabler::{freshness, wall};

pub(super) const TWIN: Parameter = Parameter::needed("id", "The twin's id, percent-encoded.");
pub(super) const USER: Parameter = Parameter::needed("user", "The user who acts.");
pub(super) const LEASE_TOKEN: Parameter = Parameter::text(
    "Sync-Lease-Token",
    "The token of the user's sync lease; without one the change takes a lease for itself, if nobody has the object.",
);
pub(super) const IF_MATCH: Parameter =
    Parameter::text("If-Match", "The `ETag` that the twin must still have; otherwise nothing is changed (412).");
pub(super) const DEADLINE: Parameter = Parameter::number(
    "deadlineMs",
    "How long it is wanted, in milliseconds: the device must not act on it later; absent: as long as lease and device \
     allow.",
);
const TWIN_FILTER: Parameter = Parameter::text("filter", TWIN_FILTER_HELP);
const TWIN_SORT: Parameter =
    Parameter::text("sort", "Fields to sort by, with `-` before those that go down: `-twin.title`. Without: by id.");
const OBJECT: Parameter = Parameter::text("physicalObject", "Twins that stand for this object.");
/// The media type of a Thing Description (W3C WoT Thing Description 1.1, section 10.1).
const THING_DESCRIPTION: &str = "application/td+json";

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/mii/v1/twin-systems/{id}/twins",
        "listTwinsOfSystem",
        ACCESS,
        "Lists the twins of a system, or those of them that match (FGMV-29 9.2 steps 6 and 7).",
    )
    .path_parameters(&[Parameter::needed("id", "The system's id.")])
    .query(&[TEXT, TWIN_FILTER, TWIN_SORT, OBJECT, CURSOR, LIMIT])
    .answers(&[Answer::new(200, "A page of twins.", JSON, Some(page_of::<TwinListing>))])
    .later(list_of_system),
    Route::get("/mii/v1/twins", "listTwins", ACCESS, "Searches the twins of all systems (FGMV-29 9.2 steps 6 and 7).")
        .query(&[
            Parameter::text("system", "Twins that this twin system lists."),
            TEXT,
            TWIN_FILTER,
            TWIN_SORT,
            OBJECT,
            CURSOR,
            LIMIT,
        ])
        .answers(&[Answer::new(200, "A page of twins.", JSON, Some(page_of::<TwinListing>))])
        .later(list),
    Route::post(
        "/mii/v1/selections",
        "selectTwins",
        ACCESS,
        "Selects twins and lets others go: all of it or nothing (FGMV-29 9.2 steps 6 and 7).",
    )
    .body(schema::<Selection>)
    .answers(&[Answer::new(200, "All that are selected now.", JSON, Some(schema::<Selected>))])
    .later(select),
    Route::post(
        "/mii/v1/permissions",
        "requestTwinPermission",
        ACCESS,
        "Asks for properties of selected twins and for permission (FGMV-29 9.2 steps 8 to 12).",
    )
    .body(schema::<PermissionRequest>)
    .answers(&[Answer::new(200, "What was given and what was not.", JSON, Some(schema::<PermissionOutcome>))])
    .later(request_permission),
    Route::get("/mii/v1/twins/{id}/permission", "readTwinPermission", ACCESS, "What a user may do with a twin.")
        .path_parameters(&[TWIN])
        .query(&[USER])
        .answers(&[Answer::new(200, "The permission.", JSON, Some(schema::<TwinPermission>))])
        .later(read_permission),
    Route::post(
        "/mii/v1/runs",
        "runService",
        ACCESS,
        "Says that a service runs with these twins (FGMV-29 9.2 step 13).",
    )
    .body(schema::<ServiceRun>)
    .answers(&[Answer::new(200, "It runs.", JSON, Some(schema::<Running>))])
    .later(run),
    Route::get(
        "/mii/v1/twins/{id}/description",
        "readTwinDescription",
        ACCESS,
        "A twin's Thing Description, byte for byte as it was registered.",
    )
    .path_parameters(&[TWIN])
    .answers(&[Answer::new(200, "A W3C WoT Thing Description.", THING_DESCRIPTION, Some(schema::<JsonDoc>))])
    .now(read_description),
    Route::get("/mii/v1/twins/{id}/properties/{name}", "readTwinProperty", ACCESS, "The value of a property.")
        .path_parameters(&[TWIN, Parameter::needed("name", "The property's name, percent-encoded.")])
        .answers(&[Answer::new(200, "The value.", JSON, Some(schema::<PropertyValue>))])
        .now(read_property),
    Route::patch(
        "/mii/v1/twins/{id}/properties",
        "changeTwin",
        ACCESS,
        "Changes a twin and with it its object (FGMV-29 9.2 steps 15 to 18).",
    )
    .path_parameters(&[TWIN])
    .query(&[USER, DEADLINE])
    .headers(&[LEASE_TOKEN, IF_MATCH])
    .body(map_of::<JsonDoc>)
    .answers(&[Answer::new(200, "The values that the properties have now.", JSON, Some(schema::<Changed>))])
    .later(change),
    Route::put(
        "/mii/v1/twins/{id}/properties/{name}",
        "changeTwinProperty",
        ACCESS,
        "Changes one property of a twin and with it its object (FGMV-29 9.2 steps 15 to 18).",
    )
    .path_parameters(&[TWIN, Parameter::needed("name", "The property's name, percent-encoded.")])
    .query(&[USER, DEADLINE])
    .headers(&[LEASE_TOKEN, IF_MATCH])
    .body(schema::<JsonDoc>)
    .answers(&[Answer::new(200, "The values that the properties have now.", JSON, Some(schema::<Changed>))])
    .later(change_property),
    Route::post(
        "/mii/v1/twins/{id}/messages",
        "sendTwinMessage",
        ACCESS,
        "Has one twin send this one a message (FGMV-28 REQ-DT-06).",
    )
    .path_parameters(&[TWIN])
    .body(schema::<TwinMessage>)
    .answers(&[Answer::empty(202, "It is sent.")])
    .later(send_message),
];

/// Which twins to use, and which no more.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selection {
    /// To select.
    #[serde(default)]
    select: Vec<TwinId>,
    /// To let go.
    #[serde(default)]
    release: Vec<TwinId>,
    /// How often the values of `select` are to be asked for, for this system, in milliseconds; 0: not of itself; absent:
    /// as it said before, and at first not (FGMV-28 REQ-DT-07).
    #[serde(default)]
    period_ms: Option<u32>,
}

/// Which twins are selected.
#[derive(Debug, Serialize, ToSchema)]
struct Selected {
    /// In the order of their ids.
    selected: Vec<TwinId>,
}

/// What a user wants to do with selected twins.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PermissionRequest {
    /// The user.
    user: UserId,
    /// The twins.
    twins: Vec<TwinId>,
    /// What to do.
    rights: BTreeSet<Right>,
    /// The age from which on a value is called stale, in milliseconds.
    #[serde(default)]
    max_age_ms: Option<u64>,
}

/// What came of a request for permission.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PermissionOutcome {
    /// The permissions that were given.
    permissions: Vec<TwinPermission>,
    /// The twins, each with its properties.
    twins: Vec<TwinReading>,
    /// What was not given, and why.
    refused: Vec<RefusalDocument>,
}

/// With which twins a service runs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceRun {
    /// The twins.
    twins: Vec<TwinId>,
}

/// A service runs.
#[derive(Debug, Serialize, ToSchema)]
struct Running {
    /// Always true.
    running: bool,
}

/// The values that properties have after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    /// By property.
    #[schema(value_type = BTreeMap<String, JsonDoc>)]
    pub(super) values: PropertyValues,
}

/// A message from one twin to another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TwinMessage {
    /// The user who acts.
    user: UserId,
    /// The twin that sends it, an avatar for instance.
    from: TwinId,
    /// What it says.
    content: JsonDoc,
}

fn list_of_system(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let query = query(&call, Some(call.name(0)?))?;
        Reply::json(200, &call.mii()?.search_twins(query).await?)
    })
}

fn query(call: &Call<'_>, system: Option<SystemId>) -> Result<TwinQuery, Problem> {
    Ok(TwinQuery {
        system,
        physical_object: call.text("physicalObject"),
        text: call.text("text"),
        filter: call.text("filter"),
        sort: call.text("sort"),
        cursor: call.text("cursor"),
        limit: call.limit()?,
    })
}

fn list(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let system = call.text("system").map(|system| {
            let refused = |error: NameError| Problem::new(ProblemKind::InvalidQuery, format!("`system`: {error}"));
            system.parse().map_err(refused)
        });
        let query = query(&call, system.transpose()?)?;
        Reply::json(200, &call.mii()?.search_twins(query).await?)
    })
}

fn select(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let Selection { select, release, period_ms } = call.body()?;
        let selected = call.mii()?.select_twins_every(select, release, period_ms).await?;
        Reply::json(200, &Selected { selected })
    })
}

fn request_permission(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let PermissionRequest { user, twins, rights, max_age_ms } = call.body()?;
        let asked_at = wall();
        let granted = call.mii()?.request_permission(user, twins, rights).await?;
        let reading = |view: Arc<TwinView>| judged(&call, view, asked_at, max_age_ms);
        let refused = granted.refused.into_iter().map(RefusalDocument::from).collect();
        Reply::json(
            200,
            &PermissionOutcome {
                permissions: granted.permissions,
                twins: granted.twins.into_iter().map(reading).collect(),
                refused,
            },
        )
    })
}

/// FGMV-29 9.2 step 10: what the twin system did not say with the permission is as old as it is, and is called so.
fn judged(call: &Call<'_>, view: Arc<TwinView>, asked_at: Timestamp, max_age_ms: Option<u64>) -> TwinReading {
    let is_fresh = !view.properties.is_empty() && view.older_than(asked_at).is_none();
    let source = if is_fresh { InformationSource::Fresh } else { InformationSource::Cached };
    let freshness = freshness(call.enabler(), &view, source);
    let bound = max_age_ms.map(|ms| Timestamp::from_unix_ms(asked_at.unix_ms().saturating_sub(ms)));
    let freshness = match bound.and_then(|bound| view.older_than(bound)) {
        Some(name) => {
            let detail = format!("the twin system gave no value for `{name}` with the permission");
            freshness.stale(&Problem::new(ProblemKind::OutsideFailed, detail))
        }
        None => freshness,
    };
    TwinReading::new(view, freshness)
}

fn read_permission(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.mii()?.permission(call.user()?, call.twin()?).await?) })
}

fn run(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let ServiceRun { twins } = call.body()?;
        call.mii()?.run_service(twins).await?;
        Reply::json(200, &Running { running: true })
    })
}

/// The twin that the path names, as it is published: no actor is asked.
fn view(call: &Call<'_>) -> Result<Arc<TwinView>, Problem> {
    let id = call.segment(0)?;
    call.enabler().outside().twin_named(id).ok_or_else(|| match call.twin() {
        Ok(twin) => Problem::new(ProblemKind::TwinUnknown, format!("there is no twin `{twin}`")),
        Err(no_name) => no_name,
    })
}

/// The twin that the path names, as the caller may see it.
pub(super) fn view_shown(call: &Call<'_>) -> Result<Arc<TwinView>, Problem> {
    let view = view(call)?;
    // An operator who acts for nobody sees everything.
    let sees_all = call.known()?.principal.role == Role::Operator && call.system()? == call.known()?.principal.id;
    Ok(if sees_all { view } else { view.shown_to(&call.system()?) })
}

/// A twin's tag: its version, and whether something is wanted of it, which comes and goes without a version.
pub(super) fn tag_of(view: &TwinView) -> String {
    let is_wanted = view.desired.is_some() || view.invocations.is_some();
    format!("\"{}{}\"", view.version, if is_wanted { "+wanted" } else { "" })
}

/// Whether an `If-None-Match` header names a tag (RFC 9110 13.1.2: weak comparison).
pub(super) fn matches_tag(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|own| own == "*" || own.strip_prefix("W/").unwrap_or(own) == tag)
}

fn read_description(call: &Call<'_>) -> Result<Reply, Problem> {
    Ok(Reply::new(200, THING_DESCRIPTION, view(call)?.description.as_str().as_bytes().to_vec()))
}

fn read_property(call: &Call<'_>) -> Result<Reply, Problem> {
    let (view, name) = (view(call)?, call.segment(1)?);
    let unknown = || Problem::new(ProblemKind::PropertyUnknown, format!("`{}` has no value of `{name}`", view.id));
    write_property(view.properties.get(name).ok_or_else(unknown)?)
}

/// Writes a property as `serde_json` would, but without reading the carried document again: this is the route
/// that is called most.
fn write_property(property: &PropertyValue) -> Result<Reply, Problem> {
    let mut body = Vec::with_capacity(property.value.as_str().len() + 80);
    let PropertyValue { value, version, at } = property;
    let written = write!(body, "{{\"value\":{},\"version\":{version},\"at\":\"{at}\"}}", value.as_str());
    written.map_err(|error| Problem::new(ProblemKind::Internal, error.to_string()))?;
    Ok(Reply::new(200, JSON, body))
}

fn change(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let (user, twin, token, terms) = (call.user()?, call.twin()?, call.lease_token()?, call.terms()?);
        let mut values: PropertyValues = call.body()?;
        if call.extras.merge_patch {
            let view = view(&call)?;
            // What is merged is merged into what the caller saw, or not at all.
            if let Some(expects) = terms.expects.filter(|expects| *expects != view.version) {
                let detail = format!("the twin is of version {}, and {expects} is expected", view.version);
                return Err(Problem::new(ProblemKind::VersionMismatch, detail));
            }
            for (name, patch) in &mut values {
                *patch = merged(name, view.properties.get(name).map(|property| &property.value), patch)?;
            }
        }
        Reply::json(200, &Changed { values: call.mii()?.change_twin_on(user, twin, values, token, terms).await? })
    })
}

fn change_property(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let (user, twin, name) = (call.user()?, call.twin()?, call.segment(1)?.to_owned());
        let (token, terms) = (call.lease_token()?, call.terms()?);
        let values = PropertyValues::from([(name, call.body()?)]);
        Reply::json(200, &Changed { values: call.mii()?.change_twin_on(user, twin, values, token, terms).await? })
    })
}

fn send_message(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let to = call.twin()?;
        let TwinMessage { user, from, content } = call.body()?;
        call.mii()?.send_twin_message(user, from, to, content).await?;
        Ok(Reply::empty(202))
    })
}

#[cfg(test)]
mod tests {
    use twinway_protocol::{JsonDoc, time::Timestamp, twin::PropertyValue};

    use super::{matches_tag, write_property};

    fn doc(text: &str) -> JsonDoc {
        JsonDoc::parse(text).expect("it is JSON")
    }

    #[test]
    fn a_property_is_written_as_every_other_document() {
        let at = Timestamp::from_unix_ms(1_700_000_000_123);
        for value in ["true", "{ \"r\": 1.50 }", "\"a\\\"b\""] {
            let property = PropertyValue { value: doc(value), version: u64::MAX, at };
            let written = write_property(&property).expect("it is written");
            assert_eq!(written.body, serde_json::to_vec(&property).expect("it is written"));
        }
    }

    #[test]
    fn a_tag_matches_weakly_in_a_list() {
        for tags in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "*"] {
            assert!(matches_tag(tags, "\"7\""), "{tags}");
        }
        for tags in ["\"77\"", "7", ""] {
            assert!(!matches_tag(tags, "\"7\""), "{tags}");
        }
    }
}
