//! What users' devices do: hear what concerns their user; and what metaverse systems have them told.

use serde::Deserialize;
use twinway_protocol::{JsonDoc, SystemId};
use utoipa::ToSchema;

use super::{
    auth::Role,
    call::{Call, Reply},
    mii::{EVENT_STREAM, WATCH},
    routes::{Access, Answer, Later, Parameter, Route},
    schemas::schema,
};
use crate::outside::SystemKind;

const ACCESS: Access = Access::Only(Role::Device);

pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/mii/v1/devices",
        "attachDevice",
        ACCESS,
        "Attaches the user's device to a metaverse system: it hears what concerns the user there.",
    )
    .body(schema::<Attachment>)
    .answers(&[Answer::empty(204, "It is attached.")])
    .later(attach),
    Route::post(
        "/mii/v1/users/{user}/notifications",
        "notifyUser",
        Access::Only(Role::Metaverse),
        "Tells a user something by their device: the event `user.notified` (FGMV-28 7.2.1 step 6).",
    )
    .path_parameters(&[Parameter::needed("user", "The user, percent-encoded.")])
    .body(schema::<JsonDoc>)
    .answers(&[Answer::empty(204, "The device is told.")])
    .writes_nothing()
    .later(notify),
    Route::get("/mii/v1/devices/events", "hearDeviceEvents", ACCESS, "Hears what concerns the device's user.")
        .query(WATCH)
        .answers(&[EVENT_STREAM])
        .events(SystemKind::UserDevice),
];

/// Where a device wants to hear of its user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DeviceAttachment)]
struct Attachment {
    /// The metaverse system.
    metaverse: SystemId,
}

fn attach(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let Attachment { metaverse } = call.body()?;
        call.device()?.attach(&metaverse).await?;
        Ok(Reply::empty(204))
    })
}

fn notify(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let data: JsonDoc = call.body()?;
        call.mii()?.tell_user(call.name(0)?, data).await?;
        Ok(Reply::empty(204))
    })
}
