//! Spatial maps over HTTP (FGMV-28 7.3.1 to 7.3.3): for metaverse systems, twin systems, third-party systems and users' devices.

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    EntryId, MapId, Problem, ProblemKind, SystemId, TwinId, UserId,
    spatial::{
        DefinitionDocument, EntryDocument, FOUND_MAX, Localization, LocalizationRequest, LocationDocument, MapView,
        WatchDocument, gltf, svg,
    },
};
use utoipa::ToSchema;

use super::{
    auth::Role,
    call::{Call, JSON, Reply},
    routes::{Access, Answer, Later, Parameter, Route},
    schemas::schema,
};

const MII: Access = Access::Only(Role::Metaverse);
const DII: Access = Access::Only(Role::TwinSystem);
const SII: Access = Access::Only(Role::ThirdParty);
const DEVICE: Access = Access::Only(Role::Device);

const GLTF: &str = "model/gltf+json";
const SVG: &str = "image/svg+xml";
const MAP: Parameter = Parameter::needed("id", "The map's id.");
const USER: Parameter =
    Parameter::text("user", "For this user: only what the user may see. Absent: for the system itself.");
const METAVERSE: Parameter = Parameter::needed("metaverse", "The metaverse system's id.");
const OF_METAVERSE: Parameter = Parameter::needed("map", "The map's id.");
const SHOWN: &[Answer] = &[
    Answer::new(200, "The map, or a page of it.", JSON, Some(schema::<MapView>)),
    Answer::new(200, "All of it as a glTF 2.0 scene, if `Accept` prefers that.", GLTF, None),
    Answer::new(200, "All of it as a plan, seen from above, if `Accept` prefers that.", SVG, None),
];
const FOUND: &[Answer] = &[Answer::new(200, "Services and information.", JSON, Some(schema::<Localization>))];

pub(super) const ROUTES: &[Route] = &[
    Route::get("/mii/v1/maps", "listMaps", MII, "The ids of the system's maps (FGMV-28 7.3.1).")
        .answers(&[Answer::new(200, "The ids.", JSON, Some(schema::<MapList>))])
        .later(list),
    Route::put("/mii/v1/maps/{id}", "defineMap", MII, "Defines a map: its anchor, and who may see what of it.")
        .path_parameters(&[MAP])
        .body(schema::<DefinitionDocument>)
        .answers(&[Answer::empty(204, "It is defined.")])
        .later(define),
    Route::delete(
        "/mii/v1/maps/{id}",
        "deleteMap",
        MII,
        "Deletes a map, with all that stands on it and was recorded for it.",
    )
    .path_parameters(&[MAP])
    .answers(&[Answer::empty(204, "It is gone, and so are the bytes that nobody else names.")])
    .later(delete),
    Route::get("/mii/v1/maps/{id}", "readMap", MII, "The map, as JSON by pages or as a glTF 2.0 scene.")
        .path_parameters(&[MAP])
        .query(&[
            USER,
            Parameter::text("cursor", "The `next` of the page before."),
            Parameter::number("limit", "How many entries a page has, at most 1000."),
        ])
        .answers(SHOWN)
        .later(read),
    Route::post("/mii/v1/maps/{id}/entries", "putMapEntries", MII, "Puts entries on the map: all of them, or none.")
        .path_parameters(&[MAP])
        .body(schema::<Entries>)
        .answers(&[Answer::empty(204, "They stand there.")])
        .later(put),
    Route::delete("/mii/v1/maps/{id}/entries/{entry}", "removeMapEntry", MII, "Takes an entry off the map.")
        .path_parameters(&[MAP, Parameter::needed("entry", "The entry's id, percent-encoded.")])
        .answers(&[Answer::empty(204, "It is gone.")])
        .later(remove),
    Route::post("/mii/v1/maps/{id}/locations", "updateLocations", MII, "Moves entries: what is older changes nothing.")
        .path_parameters(&[MAP])
        .body(schema::<Locations>)
        .answers(&[Answer::new(200, "How many were taken.", JSON, Some(schema::<LocationsTaken>))])
        .later(update),
    Route::post(
        "/mii/v1/maps/{id}/watches",
        "watchMap",
        MII,
        "Watches a part of the map: events `map.changed` tell of it.",
    )
    .path_parameters(&[MAP])
    .body(schema::<WatchDocument>)
    .answers(&[Answer::new(201, "It is watched.", JSON, Some(schema::<WatchNumber>))])
    .later(watch),
    Route::delete("/mii/v1/maps/{id}/watches/{watch}", "unwatchMap", MII, "Watches a part of the map no longer.")
        .path_parameters(&[MAP, Parameter::needed("watch", "The watch's number.")])
        .answers(&[Answer::empty(204, "It is watched no longer.")])
        .later(unwatch),
    Route::post("/mii/v1/maps/{id}/localizations", "findAtPlace", MII, "What is at a place (FGMV-28 7.3.3).")
        .path_parameters(&[MAP])
        .query(&[USER])
        .body(schema::<LocalizationRequest>)
        .answers(FOUND)
        .writes_nothing()
        .later(find),
    Route::post(
        "/dii/v1/maps/{metaverse}/{map}/twins",
        "constructSpatialMap",
        DII,
        "Has the twins that were made put on a map, and the map sent to the user (FGMV-28 7.3.1 steps 3 to 6).",
    )
    .path_parameters(&[METAVERSE, OF_METAVERSE])
    .body(schema::<Construction>)
    .answers(&[Answer::new(200, "The map shows them.", JSON, Some(schema::<Constructed>))])
    .later(construct),
    Route::delete(
        "/dii/v1/maps/{metaverse}/{map}/twins",
        "takeTwinOffMap",
        DII,
        "Takes one of the system's own twins off a map.",
    )
    .path_parameters(&[METAVERSE, OF_METAVERSE])
    .query(&[Parameter::needed("twin", "The twin's id.")])
    .answers(&[Answer::empty(204, "It is gone.")])
    .later(take_off),
    Route::post("/sii/v1/localizations", "findAtPlaceFromAfar", SII, "What is at a place, from afar (FGMV-28 7.3.3).")
        .body(schema::<RemoteLocalization>)
        .answers(FOUND)
        .writes_nothing()
        .later(find_from_afar),
    Route::get("/device/v1/maps/{metaverse}/{map}", "readMapOnDevice", DEVICE, "All of a map that the user may see.")
        .path_parameters(&[METAVERSE, OF_METAVERSE])
        .answers(SHOWN)
        .later(read_on_device),
    Route::post(
        "/device/v1/locations",
        "authorizeLocation",
        DEVICE,
        "Lets a twin's location be kept the same on a map (FGMV-28 7.3.2 step 2).",
    )
    .body(schema::<LocationAuthorization>)
    .answers(&[Answer::empty(204, "The twin moves its entry from now on, once the system has selected it.")])
    .later(authorize),
    Route::delete(
        "/device/v1/locations/{metaverse}/{map}",
        "withdrawLocation",
        DEVICE,
        "Lets a twin's location be kept the same on a map no longer (FGMV-28 7.3.2).",
    )
    .path_parameters(&[METAVERSE, OF_METAVERSE])
    .query(&[Parameter::needed("twin", "The twin's id.")])
    .answers(&[Answer::empty(204, "The twin moves its entry no longer.")])
    .later(withdraw),
    Route::post(
        "/device/v1/localizations",
        "localize",
        DEVICE,
        "What is at a place, by a twin system (FGMV-28 7.3.3 steps 1.1 to 3).",
    )
    .body(schema::<LocalLocalization>)
    .answers(FOUND)
    .writes_nothing()
    .later(localize),
];

/// The maps of a metaverse system.
#[derive(Debug, Serialize, ToSchema)]
struct MapList {
    /// Their ids.
    maps: Vec<MapId>,
}

/// What is to stand on a map.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MapEntries)]
struct Entries {
    /// The entries, each in place of the one with its id.
    entries: Vec<EntryDocument>,
}

/// Where entries are now.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Locations {
    /// In order.
    updates: Vec<LocationDocument>,
}

/// What came of new locations.
#[derive(Debug, Serialize, ToSchema)]
struct LocationsTaken {
    /// How many were taken.
    moved: u32,
    /// How many were older than what the map knows.
    older: u32,
}

/// A watch.
#[derive(Debug, Serialize, ToSchema)]
struct WatchNumber {
    /// Its number.
    watch: u32,
}

/// The twins that were made for a map.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SpatialMapConstruction)]
struct Construction {
    /// For whom: this user is sent the map.
    #[serde(default)]
    user: Option<UserId>,
    /// The twins with their positions, and what else was observed.
    entries: Vec<EntryDocument>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SpatialMapConstructed)]
struct Constructed {
    /// How many entries the map has.
    entry_count: u32,
}

/// What a third-party system asks of a place.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RemoteLocalization {
    /// The metaverse system.
    metaverse: SystemId,
    /// Its map.
    map: MapId,
    /// What is asked.
    request: LocalizationRequest,
}

/// What a user asks of a place, by a twin system.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LocalLocalization {
    /// The twin system that forwards it.
    twin_system: SystemId,
    /// The metaverse system.
    metaverse: SystemId,
    /// Its map.
    map: MapId,
    /// What is asked.
    request: LocalizationRequest,
}

/// Whose location is to be kept the same, and where.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LocationAuthorization {
    /// The twin.
    twin: TwinId,
    /// The property that has its pose.
    #[serde(default = "pose")]
    property: String,
    /// The twin's system.
    twin_system: SystemId,
    /// The metaverse system.
    metaverse: SystemId,
    /// Its map.
    map: MapId,
}

fn pose() -> String {
    "pose".to_owned()
}

fn user(call: &Call<'_>) -> Result<Option<UserId>, Problem> {
    call.text("user").map(|_| call.user()).transpose()
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidQuery, detail)
}

fn list(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &MapList { maps: call.mii()?.maps().await? }) })
}

fn define(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.mii()?.define_map(call.name(0)?, call.body()?).await?;
        Ok(Reply::empty(204))
    })
}

/// How a map is written.
type Form = fn(&MapView) -> Result<Reply, Problem>;

/// As what the caller would rather have a map than as JSON.
fn form(call: &Call<'_>) -> Option<Form> {
    if call.prefers(GLTF) {
        return Some(scene);
    }
    call.prefers(SVG).then_some(|map| Ok(Reply::new(200, SVG, svg(map))))
}

fn scene(map: &MapView) -> Result<Reply, Problem> {
    let document = gltf(map);
    let body = serde_json::to_vec(&document).map_err(|error| Problem::new(ProblemKind::Internal, error.to_string()))?;
    Ok(Reply::new(200, GLTF, body))
}

fn read(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let (map, user) = (call.name(0)?, user(&call)?);
        if let Some(form) = form(&call) {
            return form(&call.mii()?.whole_map(&map, user).await?);
        }
        let after = call.text("cursor").map(|text| text.parse::<EntryId>()).transpose();
        let after = after.map_err(|error| invalid(format!("`cursor`: {error}")))?;
        let limit = call.limit()?.unwrap_or(FOUND_MAX);
        Reply::json(200, &call.mii()?.map(&map, user, after, limit).await?)
    })
}

fn delete(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.mii()?.delete_map(call.name(0)?).await?;
        Ok(Reply::empty(204))
    })
}

fn put(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let Entries { entries } = call.body()?;
        call.mii()?.put_map_entries(call.name(0)?, entries).await?;
        Ok(Reply::empty(204))
    })
}

fn remove(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        call.mii()?.remove_map_entry(call.name(0)?, call.name(1)?).await?;
        Ok(Reply::empty(204))
    })
}

fn update(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let Locations { updates } = call.body()?;
        let taken = call.mii()?.update_locations(call.name(0)?, updates).await?;
        Reply::json(200, &LocationsTaken { moved: taken.moved, older: taken.older })
    })
}

fn watch(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let watch = call.mii()?.watch_map(call.name(0)?, call.body()?).await?;
        Reply::json(201, &WatchNumber { watch })
    })
}

fn unwatch(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let text = call.segment(1)?;
        let number = text.parse().map_err(|_| invalid(format!("`{text}` is no watch's number")))?;
        call.mii()?.unwatch_map(call.name(0)?, number).await?;
        Ok(Reply::empty(204))
    })
}

fn find(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let found = call.mii()?.find_at_place(call.name(0)?, user(&call)?, call.body()?).await?;
        Reply::json(200, &found)
    })
}

fn construct(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let Construction { user, entries } = call.body()?;
        let metaverse: SystemId = call.name(0)?;
        let entry_count = call.dii()?.construct_map(&metaverse, call.name(1)?, user, entries).await?;
        Reply::json(200, &Constructed { entry_count })
    })
}

/// The twin that the query names.
fn twin(call: &Call<'_>) -> Result<TwinId, Problem> {
    let text = call.text("twin").unwrap_or_default();
    text.parse().map_err(|error| invalid(format!("`twin`: {error}")))
}

fn take_off(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let metaverse: SystemId = call.name(0)?;
        call.dii()?.take_off_map(&metaverse, call.name(1)?, twin(&call)?).await?;
        Ok(Reply::empty(204))
    })
}

fn find_from_afar(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let RemoteLocalization { metaverse, map, request } = call.body()?;
        Reply::json(200, &call.sii()?.find_at_place(&metaverse, map, request).await?)
    })
}

fn read_on_device(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let (metaverse, map): (SystemId, MapId) = (call.name(0)?, call.name(1)?);
        let whole = call.device()?.whole_map(&metaverse, &map).await?;
        form(&call).unwrap_or(|whole| Reply::json(200, whole))(&whole)
    })
}

fn authorize(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let LocationAuthorization { twin, property, twin_system, metaverse, map } = call.body()?;
        call.device()?.authorize_location(&twin_system, &metaverse, map, twin, &property).await?;
        Ok(Reply::empty(204))
    })
}

fn withdraw(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let metaverse: SystemId = call.name(0)?;
        call.device()?.withdraw_location(&metaverse, call.name(1)?, twin(&call)?).await?;
        Ok(Reply::empty(204))
    })
}

fn localize(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let LocalLocalization { twin_system, metaverse, map, request } = call.body()?;
        Reply::json(200, &call.device()?.localize(&twin_system, &metaverse, map, request).await?)
    })
}
