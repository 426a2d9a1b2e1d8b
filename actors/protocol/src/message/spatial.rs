//! Spatial maps (FGMV-28 7.3): making one, keeping locations the same in both worlds, and finding what is at a place.

use serde::Serialize;

use super::{DigitalTwinSystemMsg, Kept, MetaverseSystemMsg, steps};
use crate::{
    EntryId, MapId, Ref, StepId, SystemId, TwinId, UserId,
    spatial::{
        DefinitionDocument, EntryDocument, Localization, LocalizationRequest, LocationDocument, MapView, Observation,
        Pose, Viewer, WatchDocument,
    },
    time::Timestamp,
};

/// A metaverse system defines a map of its own, or says anew what it is called and who may see it.
#[derive(Clone, Debug)]
pub struct DefineMap {
    /// The map.
    pub map: MapId,
    /// What it is.
    pub document: Box<DefinitionDocument>,
}

/// A metaverse system puts entries on a map, each in place of the one with its id.
#[derive(Clone, Debug)]
pub struct PutMapEntries {
    /// The map.
    pub map: MapId,
    /// The entries.
    pub entries: Vec<EntryDocument>,
}

/// A metaverse system takes an entry off a map.
#[derive(Clone, Debug)]
pub struct RemoveMapEntry {
    /// The map.
    pub map: MapId,
    /// The entry.
    pub entry: EntryId,
}

/// A metaverse system moves entries of a map.
#[derive(Clone, Debug)]
pub struct UpdateLocations {
    /// The map.
    pub map: MapId,
    /// Where they are now, in order.
    pub updates: Vec<LocationDocument>,
}

/// The locations were taken, or are older than what the map knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocationsUpdated {
    /// How many were taken.
    pub moved: u32,
    /// How many were older.
    pub older: u32,
}

/// Reads a page of a map.
#[derive(Clone, Debug)]
pub struct ReadMap {
    /// The map.
    pub map: MapId,
    /// Who reads.
    pub viewer: Viewer,
    /// Whether a user's own device reads: then it must be attached.
    pub by_device: bool,
    /// The entry after which to begin.
    pub after: Option<EntryId>,
    /// How many entries at most.
    pub limit: u32,
}

/// What a map is.
#[derive(Clone, Debug)]
pub struct MapShown {
    /// As readers see it.
    pub view: Box<MapView>,
}

/// Asks which maps a metaverse system has.
#[derive(Clone, Copy, Debug)]
pub struct ListMaps;

/// Which maps there are.
#[derive(Clone, Debug)]
pub struct MapsListed {
    /// In the order of their ids.
    pub maps: Vec<MapId>,
}

/// A metaverse system watches a part of a map.
#[derive(Clone, Debug)]
pub struct WatchMap {
    /// The map.
    pub map: MapId,
    /// Which part, and for whom.
    pub watch: Box<WatchDocument>,
}

/// The part is watched.
#[derive(Clone, Copy, Debug)]
pub struct MapWatched {
    /// The watch's number.
    pub watch: u32,
}

/// A metaverse system watches a part no longer.
#[derive(Clone, Debug)]
pub struct UnwatchMap {
    /// The map.
    pub map: MapId,
    /// The watch's number.
    pub watch: u32,
}

/// Asks what is at a place of a map: by the metaverse system itself, or from afar by a third-party system that its map
/// names (FGMV-28 7.3.3).
#[derive(Clone, Debug)]
pub struct FindAtPlace {
    /// The metaverse system's actor.
    pub metaverse_entity: Ref<MetaverseSystemMsg>,
    /// The map.
    pub map: MapId,
    /// The third-party system; absent: the metaverse system asks. The system's own actor fills it in.
    pub third_party: Option<SystemId>,
    /// The user for whom; absent: nobody in particular.
    pub user: Option<UserId>,
    /// What is asked.
    pub request: Box<LocalizationRequest>,
}

/// What is there.
#[derive(Clone, Debug)]
pub struct PlaceFound {
    /// Services and information.
    pub found: Box<Localization>,
}

/// A user's device begins to record (FGMV-28 7.3.1 step 1, which is its own).
#[derive(Clone, Copy, Debug)]
pub struct StartCapture;

/// 7.3.1 step 2.1: an application of the metaverse system has a user's device record something for a map.
#[derive(Clone, Debug)]
pub struct RequestObservations {
    /// The metaverse system.
    pub metaverse: SystemId,
    /// The map.
    pub map: MapId,
    /// The user.
    pub user: UserId,
    /// The twin system that is to make twins of it.
    pub twin_system: SystemId,
    /// That system's actor.
    pub twin_system_entity: Ref<DigitalTwinSystemMsg>,
    /// What is wanted, for people.
    pub wanted: Box<str>,
}

/// The user's device has been asked.
#[derive(Clone, Copy, Debug)]
pub struct ObservationsRequested {
    /// The number of the request: under it the device may upload.
    pub request: u32,
}

/// 7.3.1 step 2.2: a user's device hands over what it recorded, with positions.
#[derive(Clone, Debug)]
pub struct UploadObservation {
    /// The request that it was recorded for.
    pub request: u32,
    /// What was recorded; its bytes are kept already.
    pub observation: Box<Observation>,
    /// The actor of the metaverse system that asked for it.
    pub metaverse_entity: Ref<MetaverseSystemMsg>,
    /// For whom and for what; the device's actor fills it in.
    pub purpose: Option<Box<ObservationPurpose>>,
}

/// For whom and for what something was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservationPurpose {
    /// The metaverse system.
    pub metaverse: SystemId,
    /// Its map.
    pub map: MapId,
    /// Who recorded it.
    pub user: UserId,
}

/// The twin system has it.
#[derive(Clone, Copy, Debug)]
pub struct ObservationUploaded;

/// 7.3.1 step 4: a twin system wants the twins that it made to be put on a map.
#[derive(Clone, Debug)]
pub struct ConstructSpatialMap {
    /// The twin system; its own actor fills it in.
    pub system: Option<SystemId>,
    /// The metaverse system's actor.
    pub metaverse_entity: Ref<MetaverseSystemMsg>,
    /// The map.
    pub map: MapId,
    /// The user for whom it is made, who is told.
    pub user: Option<UserId>,
    /// The twins, with their positions, and what else was observed.
    pub entries: Vec<EntryDocument>,
}

/// The map shows them.
#[derive(Clone, Copy, Debug)]
pub struct SpatialMapConstructed {
    /// How many entries the map has.
    pub entry_count: u32,
}

/// 7.3.1 step 6: the metaverse system sends the user the map: where it is read.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SendSpatialMap {
    /// The metaverse system.
    pub metaverse: SystemId,
    /// The map.
    pub map: MapId,
    /// How many entries it has.
    pub entry_count: u32,
    /// Where it is read.
    pub href: String,
}

/// 7.3.2 step 2: a user lets a twin's location be kept the same in both worlds; by the twin system to the metaverse system.
#[derive(Clone, Debug)]
pub struct AuthorizeLocation {
    /// The user; the device's actor fills it in.
    pub user: Option<UserId>,
    /// The actor of the twin's system.
    pub twin_system_entity: Ref<DigitalTwinSystemMsg>,
    /// The metaverse system's actor.
    pub metaverse_entity: Ref<MetaverseSystemMsg>,
    /// The map on which the twin has an entry.
    pub map: MapId,
    /// The twin.
    pub twin: TwinId,
    /// The property that has its pose.
    pub property: Box<str>,
}

/// Locations of the twin move its entry from now on.
#[derive(Clone, Copy, Debug)]
pub struct LocationAuthorized;

/// 7.3.2 step 5: the metaverse system tells the user that the map follows.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocationSynchronized {
    /// The map.
    pub map: MapId,
    /// The twin.
    pub twin: TwinId,
    /// Where its entry is now.
    pub pose: Pose,
    /// When the object came there.
    pub at: Timestamp,
    /// The twin's version that says so.
    pub version: u64,
}

/// 7.3.3 step 1.1: a user asks a twin system for what there is at a place.
#[derive(Clone, Debug)]
pub struct RequestLocalization {
    /// The user; the device's actor fills it in.
    pub user: Option<UserId>,
    /// The twin system's actor.
    pub twin_system_entity: Ref<DigitalTwinSystemMsg>,
    /// The metaverse system's actor.
    pub metaverse_entity: Ref<MetaverseSystemMsg>,
    /// Its map.
    pub map: MapId,
    /// What is asked.
    pub request: Box<LocalizationRequest>,
}

/// 7.3.3 step 1.2: the twin system forwards it to the metaverse system.
#[derive(Clone, Debug)]
pub struct ForwardLocalization {
    /// The user.
    pub user: UserId,
    /// The map.
    pub map: MapId,
    /// What is asked.
    pub request: Box<LocalizationRequest>,
}

/// 7.3.3 step 3: services and information for the user, by the twin system.
#[derive(Clone, Debug)]
pub struct LocalizationFound {
    /// What is there.
    pub found: Box<Localization>,
}

steps! {
    ask DefineMap -> Kept;
    ask PutMapEntries -> Kept;
    ask RemoveMapEntry -> Kept;
    ask UpdateLocations -> LocationsUpdated;
    answer LocationsUpdated;
    ask ReadMap -> MapShown;
    answer MapShown;
    ask ListMaps -> MapsListed;
    answer MapsListed;
    ask WatchMap -> MapWatched;
    answer MapWatched;
    ask UnwatchMap -> Kept;
    ask FindAtPlace -> PlaceFound;
    answer PlaceFound;
    ask StartCapture -> Kept;
    ask RequestObservations -> ObservationsRequested = "7.3.1" "2.1";
    answer ObservationsRequested;
    ask UploadObservation -> ObservationUploaded = "7.3.1" "2.2";
    answer ObservationUploaded;
    ask ConstructSpatialMap -> SpatialMapConstructed = "7.3.1" "4" or "5";
    answer SpatialMapConstructed;
    tell SendSpatialMap = "7.3.1" "6";
    ask AuthorizeLocation -> LocationAuthorized = "7.3.2" "2";
    answer LocationAuthorized;
    tell LocationSynchronized = "7.3.2" "5";
    ask RequestLocalization -> LocalizationFound = "7.3.3" "1.1";
    ask ForwardLocalization -> LocalizationFound = "7.3.3" "1.2";
    answer LocalizationFound = "7.3.3" "3";
}
