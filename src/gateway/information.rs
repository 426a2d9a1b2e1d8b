//! MII: reading a twin, with the age of what is known of it (FGMV-29 8.3.3; 9.2 steps 8 to 10).

use std::sync::Arc;

use serde::Serialize;
use twinway_protocol::{
    Problem, ProblemKind, UserId,
    twin::{Freshness, InformationSource, PropertyValue, TwinView},
};
use utoipa::ToSchema;

use super::{
    call::{Call, JSON, Reply},
    mii::ACCESS,
    routes::{Answer, Later, Parameter, Route},
    schemas::{map_of, schema},
    twins::{TWIN, matches_tag, tag_of, view_shown},
};
use crate::enabler::{Wanted, freshness};

const READER: Parameter = Parameter::text("user", "For whom the twin system is asked, where it has to be.");
const MAX_AGE: Parameter = Parameter::number(
    "maxAgeMs",
    "No value is older, or the answer is a problem; the twin system is asked if what is known is too old.",
);
const REFRESH: Parameter = Parameter::text(
    "refresh",
    "`true`: ask the twin system. If it does not answer, what is known comes, and `freshness.stale` says so.",
);

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/mii/v1/twins/{id}",
        "readTwin",
        ACCESS,
        "A twin as it is published, with its age. In this version every metaverse system may read every twin.",
    )
    .path_parameters(&[TWIN])
    .query(&[READER, MAX_AGE, REFRESH])
    .answers(&[
        Answer::new(200, "The twin; its `ETag` is its version.", JSON, Some(schema::<TwinReading>)),
        Answer::empty(304, "It is still of the version that `If-None-Match` names."),
    ])
    .later(read),
    Route::get("/mii/v1/twins/{id}/properties", "readTwinProperties", ACCESS, "The values of a twin's properties.")
        .path_parameters(&[TWIN])
        .query(&[READER, MAX_AGE])
        .answers(&[Answer::new(200, "The values, by property.", JSON, Some(map_of::<PropertyValue>))])
        .later(read_properties),
];

/// A twin, and how old what is known of it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TwinReading {
    /// The twin.
    #[serde(flatten)]
    #[schema(inline, value_type = TwinView)]
    view: Arc<TwinView>,
    /// How old it is.
    freshness: Freshness,
}

impl TwinReading {
    pub(super) fn new(view: Arc<TwinView>, freshness: Freshness) -> Self {
        Self { view, freshness }
    }
}

fn wanted(call: &Call<'_>) -> Result<Wanted, Problem> {
    let invalid = |detail: String| Problem::new(ProblemKind::InvalidQuery, detail);
    let user = call.query.get("user").map(UserId::new).transpose();
    let age = |text: &str| text.parse().map_err(|_| invalid(format!("`maxAgeMs` is not a number: `{text}`")));
    let refresh = match call.query.get("refresh") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(invalid(format!("`refresh` is `true` or `false`, and not `{other}`"))),
    };
    Ok(Wanted {
        user: user.map_err(|error| invalid(format!("`user`: {error}")))?,
        max_age_ms: call.query.get("maxAgeMs").map(age).transpose()?,
        refresh,
    })
}

async fn reading(call: &Call<'_>) -> Result<TwinReading, Problem> {
    let wanted = wanted(call)?;
    if wanted == Wanted::default() {
        let view = view_shown(call)?;
        let freshness = freshness(call.enabler(), &view, InformationSource::Cached);
        return Ok(TwinReading { view, freshness });
    }
    let information = call.mii()?.twin_information(&call.twin()?, wanted).await?;
    Ok(TwinReading { view: information.view, freshness: information.freshness })
}

/// The age in whole seconds, as caches say it (RFC 9111 5.1).
fn aged(reply: Reply, freshness: &Freshness) -> Reply {
    match freshness.age_ms {
        Some(age_ms) => reply.with("age", (age_ms / 1_000).to_string()),
        None => reply,
    }
}

fn read(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let reading = reading(&call).await?;
        let TwinReading { view, freshness } = &reading;
        let tag = tag_of(view);
        let is_still = view.desired.is_none() && view.invocations.is_none() && !freshness.stale;
        let reply = if is_still && call.extras.if_none_match.is_some_and(|tags| matches_tag(tags, &tag)) {
            Reply::empty(304)
        } else {
            Reply::json(200, &reading)?
        };
        Ok(aged(reply, freshness).with("etag", tag))
    })
}

fn read_properties(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let TwinReading { view, freshness } = reading(&call).await?;
        Ok(aged(Reply::json(200, &view.properties)?, &freshness).with("etag", tag_of(&view)))
    })
}
