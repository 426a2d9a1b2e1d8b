//! SII: information of twins, at once and as subscriptions (FGMV-29 8.2.5; 9.1 steps 15 to 19).

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    TwinId,
    message::{SubscriptionTerms, TwinSubscription},
    twin::TwinView,
};
use utoipa::ToSchema;

use super::{
    call::{Call, JSON, Reply},
    mii::{CURSOR, LIMIT},
    problem::RefusalDocument,
    registrations::{Renewal, renewal},
    routes::{Answer, Later, Parameter, Route},
    schemas::{page_of, schema},
    sii::ACCESS,
};

const ID: Parameter = Parameter::needed("id", "The subscription's id.");

pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/sii/v1/twin-information",
        "acquireTwinInformation",
        ACCESS,
        "Asks for information of twins (FGMV-29 9.1 steps 15 to 19).",
    )
    .body(schema::<Acquisition>)
    .answers(&[Answer::new(200, "The twins, in the order asked for.", JSON, Some(schema::<AcquiredTwins>))])
    .writes_nothing()
    .later(acquire),
    Route::post(
        "/sii/v1/twin-information/subscriptions",
        "subscribeTwinInformation",
        ACCESS,
        "Subscribes to information of twins: it comes as events `twin.information` (FGMV-29 8.2.5).",
    )
    .body(schema::<SubscriptionTerms>)
    .answers(&[Answer::new(201, "It is subscribed to.", JSON, Some(schema::<Subscribed>))])
    .later(subscribe),
    Route::get("/sii/v1/twin-information/subscriptions", "listTwinSubscriptions", ACCESS, "The own subscriptions.")
        .query(&[CURSOR, LIMIT])
        .answers(&[Answer::new(200, "A page of them.", JSON, Some(page_of::<TwinSubscription>))])
        .later(list),
    Route::get("/sii/v1/twin-information/subscriptions/{id}", "readTwinSubscription", ACCESS, "An own subscription.")
        .path_parameters(&[ID])
        .answers(&[Answer::new(200, "The subscription.", JSON, Some(schema::<TwinSubscription>))])
        .later(read),
    Route::post(
        "/sii/v1/twin-information/subscriptions/{id}/renew",
        "renewTwinSubscription",
        ACCESS,
        "Has an own subscription last longer; it never ends earlier than it would have.",
    )
    .path_parameters(&[ID])
    .body(schema::<Renewal>)
    .answers(&[Answer::new(200, "The subscription.", JSON, Some(schema::<TwinSubscription>))])
    .later(renew),
    Route::delete(
        "/sii/v1/twin-information/subscriptions/{id}",
        "endTwinSubscription",
        ACCESS,
        "Ends an own subscription.",
    )
    .path_parameters(&[ID])
    .answers(&[Answer::empty(204, "It is no more.")])
    .later(end),
];

/// Which twins a third-party system wants to know of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Acquisition {
    /// The twins.
    twins: Vec<TwinId>,
    /// Which properties; absent: all.
    #[serde(default)]
    properties: Option<BTreeSet<String>>,
    /// Refuse everything if one of the twins cannot be read; otherwise those are named.
    #[serde(default)]
    strict: bool,
}

/// What they are. When all are refused for one reason, the answer is that reason.
#[derive(Debug, Serialize, ToSchema)]
struct AcquiredTwins {
    /// Those that could be read, in the order asked for.
    #[schema(value_type = Vec<TwinView>)]
    twins: Vec<Arc<TwinView>>,
    /// The others, and why not.
    refused: Vec<RefusalDocument>,
}

/// What is subscribed to.
#[derive(Debug, Serialize, ToSchema)]
struct Subscribed {
    /// The subscription.
    subscription: TwinSubscription,
    /// The twins that it does not have, and why.
    refused: Vec<RefusalDocument>,
}

fn acquire(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let Acquisition { twins, properties, strict } = call.body()?;
        let acquired = call.sii()?.acquire_some(twins, properties, strict).await?;
        let refused = acquired.refused.into_iter().map(RefusalDocument::from).collect();
        Reply::json(200, &AcquiredTwins { twins: acquired.twins, refused })
    })
}

fn subscribe(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let (subscription, refused) = call.sii()?.subscribe_twins(call.body()?).await?;
        let location = format!("/sii/v1/twin-information/subscriptions/{}", subscription.id);
        let refused = refused.into_iter().map(RefusalDocument::from).collect();
        Ok(Reply::json(201, &Subscribed { subscription, refused })?.with("location", location))
    })
}

fn list(call: Call<'_>) -> Later<'_> {
    Box::pin(
        async move { Reply::json(200, &call.sii()?.twin_subscriptions(call.text("cursor"), call.limit()?).await?) },
    )
}

fn read(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.sii()?.twin_subscription(call.name(0)?).await?) })
}

fn renew(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let lifetime_ms = renewal(&call)?.lifetime_ms;
        Reply::json(200, &call.sii()?.renew_twin_subscription(call.name(0)?, lifetime_ms).await?)
    })
}

fn end(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.sii()?.end_twin_subscription(call.name(0)?).await?;
        Ok(Reply::empty(204))
    })
}
