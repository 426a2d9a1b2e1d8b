//! Spatial maps (FGMV-28 7.3): what a metaverse system, a twin system, a third-party system and a user's device do.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use twinway_protocol::{
    EntryId, JsonDoc, MapId, SystemId, TwinId, UserId,
    spatial::{
        DefinitionDocument, EntryDocument, Localization, LocalizationRequest, LocationDocument, MapView, WatchDocument,
    },
};

use super::{Client, ClientError};

#[derive(Deserialize)]
struct MapsBody {
    maps: Vec<MapId>,
}

#[derive(Serialize)]
struct EntriesBody<'b> {
    entries: &'b [EntryDocument],
}

#[derive(Serialize)]
struct LocationsBody<'b> {
    updates: &'b [LocationDocument],
}

#[derive(Deserialize)]
struct TakenBody {
    moved: u32,
    older: u32,
}

#[derive(Deserialize)]
struct WatchBody {
    watch: u32,
}

#[derive(Serialize)]
struct ConstructionBody<'b> {
    user: Option<&'b UserId>,
    entries: &'b [EntryDocument],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConstructedBody {
    entry_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LocalizationBody<'b> {
    #[serde(skip_serializing_if = "Option::is_none")]
    twin_system: Option<&'b SystemId>,
    metaverse: &'b SystemId,
    map: &'b MapId,
    request: &'b LocalizationRequest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LocationBody<'b> {
    twin: &'b TwinId,
    property: &'b str,
    twin_system: &'b SystemId,
    metaverse: &'b SystemId,
    map: &'b MapId,
}

/// The routes of spatial maps. Their errors are those of [`ClientError`]; which problems a route knows, `/openapi.json` lists.
impl Client {
    /// The ids of the metaverse system's maps.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn maps(&self) -> Result<Vec<MapId>, ClientError> {
        self.get(&["mii", "v1", "maps"]).json::<MapsBody>().await.map(|body| body.maps)
    }

    /// Defines a map.
    ///
    /// # Errors
    /// A definition that is not acceptable, with the place.
    pub async fn define_map(&self, map: &MapId, definition: &DefinitionDocument) -> Result<(), ClientError> {
        self.call(Method::PUT, &["mii", "v1", "maps", map.as_str()]).body(definition).done().await
    }

    /// A page of a map: what `user` may see of it, or all of it.
    ///
    /// # Errors
    /// No such map.
    pub async fn map(
        &self,
        map: &MapId,
        user: Option<&UserId>,
        cursor: Option<&EntryId>,
        limit: Option<u32>,
    ) -> Result<MapView, ClientError> {
        let limit = limit.map(|limit| limit.to_string());
        let call = self.get(&["mii", "v1", "maps", map.as_str()]).query("user", user.map(UserId::as_str));
        call.query("cursor", cursor.map(EntryId::as_str)).query("limit", limit.as_deref()).json().await
    }

    /// All of a map as a glTF 2.0 scene.
    ///
    /// # Errors
    /// No such map, or one that is too large to be read as a whole.
    pub async fn map_scene(&self, map: &MapId, user: Option<&UserId>) -> Result<JsonDoc, ClientError> {
        let call = self.get(&["mii", "v1", "maps", map.as_str()]).query("user", user.map(UserId::as_str));
        call.accept("model/gltf+json, application/problem+json").document().await
    }

    /// Puts entries on a map: all of them, or none.
    ///
    /// # Errors
    /// The first entry that is not acceptable, with its place.
    pub async fn put_map_entries(&self, map: &MapId, entries: &[EntryDocument]) -> Result<(), ClientError> {
        self.post(&["mii", "v1", "maps", map.as_str(), "entries"]).body(&EntriesBody { entries }).done().await
    }

    /// Takes an entry off a map.
    ///
    /// # Errors
    /// No such map or entry.
    pub async fn remove_map_entry(&self, map: &MapId, entry: &EntryId) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["mii", "v1", "maps", map.as_str(), "entries", entry.as_str()]).done().await
    }

    /// Deletes a map, with all that stands on it and was recorded for it.
    ///
    /// # Errors
    /// No such map.
    pub async fn delete_map(&self, map: &MapId) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["mii", "v1", "maps", map.as_str()]).done().await
    }

    /// Moves entries. Gives how many were taken, and how many were older than what the map knows.
    ///
    /// # Errors
    /// The first location that is not acceptable, with its place. Nothing was moved then.
    pub async fn update_locations(&self, map: &MapId, updates: &[LocationDocument]) -> Result<(u32, u32), ClientError> {
        let call = self.post(&["mii", "v1", "maps", map.as_str(), "locations"]).body(&LocationsBody { updates });
        call.json::<TakenBody>().await.map(|taken| (taken.moved, taken.older))
    }

    /// Watches a part of a map: events `map.changed` tell of it. Gives the watch's number.
    ///
    /// # Errors
    /// A box that is none, or too many watches.
    pub async fn watch_map(&self, map: &MapId, watch: &WatchDocument) -> Result<u32, ClientError> {
        let call = self.post(&["mii", "v1", "maps", map.as_str(), "watches"]).body(watch);
        call.json::<WatchBody>().await.map(|body| body.watch)
    }

    /// Watches it no longer.
    ///
    /// # Errors
    /// No such watch.
    pub async fn unwatch_map(&self, map: &MapId, watch: u32) -> Result<(), ClientError> {
        let watch = watch.to_string();
        self.call(Method::DELETE, &["mii", "v1", "maps", map.as_str(), "watches", &watch]).done().await
    }

    /// What is at a place, for `user` or for the metaverse system itself (FGMV-28 7.3.3).
    ///
    /// # Errors
    /// A question that is not acceptable, with the place.
    pub async fn find_at_place(
        &self,
        map: &MapId,
        user: Option<&UserId>,
        request: &LocalizationRequest,
    ) -> Result<Localization, ClientError> {
        let call = self.post(&["mii", "v1", "maps", map.as_str(), "localizations"]);
        call.query("user", user.map(UserId::as_str)).body(request).json().await
    }

    /// Has the twins that a twin system made put on a map (FGMV-28 7.3.1 step 4). Gives how many entries the map has.
    ///
    /// # Errors
    /// Twins of others, an entry that is not acceptable, or a map for which nobody asked this system.
    pub async fn construct_map(
        &self,
        metaverse: &SystemId,
        map: &MapId,
        user: Option<&UserId>,
        entries: &[EntryDocument],
    ) -> Result<u32, ClientError> {
        let call = self.post(&["dii", "v1", "maps", metaverse.as_str(), map.as_str(), "twins"]);
        let call = call.body(&ConstructionBody { user, entries });
        call.json::<ConstructedBody>().await.map(|body| body.entry_count)
    }

    /// Takes one of the twin system's own twins off a map.
    ///
    /// # Errors
    /// A twin of another system, no such map or entry, or a map for which nobody asked this system.
    pub async fn take_off_map(&self, metaverse: &SystemId, map: &MapId, twin: &TwinId) -> Result<(), ClientError> {
        let call = self.call(Method::DELETE, &["dii", "v1", "maps", metaverse.as_str(), map.as_str(), "twins"]);
        call.query("twin", Some(twin.as_str())).done().await
    }

    /// What is at a place, asked from afar by a third-party system (FGMV-28 7.3.3).
    ///
    /// # Errors
    /// The map does not name this system; a question that is not acceptable.
    pub async fn find_at_place_from_afar(
        &self,
        metaverse: &SystemId,
        map: &MapId,
        request: &LocalizationRequest,
    ) -> Result<Localization, ClientError> {
        let body = LocalizationBody { twin_system: None, metaverse, map, request };
        self.post(&["sii", "v1", "localizations"]).body(&body).json().await
    }

    /// All of a map that a user's device may see (FGMV-28 7.3.1 step 6).
    ///
    /// # Errors
    /// No such map, or the device is not attached to the metaverse system.
    pub async fn map_on_device(&self, metaverse: &SystemId, map: &MapId) -> Result<MapView, ClientError> {
        self.get(&["device", "v1", "maps", metaverse.as_str(), map.as_str()]).json().await
    }

    /// Lets a twin's location be kept the same on a map (FGMV-28 7.3.2 step 2).
    ///
    /// # Errors
    /// No such twin, property, map or entry, or no permission to read the twin.
    pub async fn authorize_location(
        &self,
        twin_system: &SystemId,
        metaverse: &SystemId,
        map: &MapId,
        twin: &TwinId,
        property: &str,
    ) -> Result<(), ClientError> {
        let body = LocationBody { twin, property, twin_system, metaverse, map };
        self.post(&["device", "v1", "locations"]).body(&body).done().await
    }

    /// Lets a twin's location be kept the same on a map no longer (FGMV-28 7.3.2).
    ///
    /// # Errors
    /// No such map, nobody lets it follow the twin, or another user does.
    pub async fn withdraw_location(&self, metaverse: &SystemId, map: &MapId, twin: &TwinId) -> Result<(), ClientError> {
        let call = self.call(Method::DELETE, &["device", "v1", "locations", metaverse.as_str(), map.as_str()]);
        call.query("twin", Some(twin.as_str())).done().await
    }

    /// What is at a place, for a user on the spot (FGMV-28 7.3.3).
    ///
    /// # Errors
    /// A question that is not acceptable; the device is not attached to the metaverse system.
    pub async fn localize(
        &self,
        twin_system: &SystemId,
        metaverse: &SystemId,
        map: &MapId,
        request: &LocalizationRequest,
    ) -> Result<Localization, ClientError> {
        let body = LocalizationBody { twin_system: Some(twin_system), metaverse, map, request };
        self.post(&["device", "v1", "localizations"]).body(&body).json().await
    }
}
