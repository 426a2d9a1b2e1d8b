//! Space (FGMV-28 7.3): poses and the frames that they are given in, what stands on a spatial map, and what is asked of one.
//!
//! Poses come and go as OGC GeoPose 1.0 (Basic-YPR and Basic-Quaternion) or in metres of a map's own frame. Within,
//! everything is in that frame: metres east, north and up of the map's anchor.

mod bounds;
mod frame;
mod gltf;
mod map;
mod observation;
mod place;
mod pose;
mod query;
mod svg;

pub use bounds::Bounds;
pub use frame::{Frame, LOCAL_M_MAX};
pub use gltf::gltf;
pub use map::{
    DefinitionDocument, ENTRY_TEXT_BYTES_MAX, EntryDocument, EntryFacts, EntryView, Following, LocationDocument,
    LocationUpdate, MapAccess, MapDefinition, MapRegion, MapView, ModelReference, Placed, Region, SIZE_M_MAX,
    ServiceOffer,
};
pub use observation::{
    KeptObservation, MAGIC_BYTES, MediaType, OBSERVATION_TEXT_BYTES_MAX, Observation, ObservationId,
};
pub use place::{FoundPlace, PLACE_PROPERTY, PlaceDocument, Seeker, ServicePlace};
pub use pose::{Angles, GeoPose, GeoPosition, Point, Pose, PoseDocument, Quaternion};
pub use query::{
    ChangeKind, DeviceParameters, FOUND_MAX, Found, Localization, LocalizationRequest, MapChange, Place, PlaceQuery,
    Viewer, WatchDocument, Watched,
};
pub use svg::svg;
