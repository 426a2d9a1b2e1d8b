//! What a spatial map is, and what stands on it (FGMV-28 7.3.1).

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    bounds::Bounds,
    frame::Frame,
    observation::ObservationId,
    pose::{GeoPose, Point, Pose, PoseDocument, unacceptable},
};
use crate::{EntryId, JsonDoc, MapId, Problem, RegionId, SystemId, TwinId, UserId, time::Timestamp};

/// The longest text of an entry or a map: titles, classes, tags, operations, addresses of models; in bytes.
pub const ENTRY_TEXT_BYTES_MAX: usize = 1_024;
/// The largest extent of an entry along an axis, in metres.
pub const SIZE_M_MAX: f64 = 10_000.0;
/// How many tags or services one entry may have.
const LISTED_MAX: usize = 64;
/// The longest information of an entry, in bytes of JSON.
const INFORMATION_BYTES_MAX: usize = 64 * 1024;

/// A region of a map that not everybody may see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MapRegion))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Region {
    /// Its name.
    pub id: RegionId,
    /// What it takes in.
    pub bounds: Bounds,
    /// The users who may see what is inside; none: no user may.
    #[serde(default)]
    pub visible_to: BTreeSet<UserId>,
}

/// Who may look at a map at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MapAccess {
    /// The users who may; absent: all users of the metaverse system.
    #[serde(default)]
    pub users: Option<BTreeSet<UserId>>,
    /// The third-party systems that may ask for services from afar (FGMV-28 7.3.3).
    #[serde(default)]
    pub third_parties: BTreeSet<SystemId>,
}

/// A map as a metaverse system defines it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MapDefinition))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefinitionDocument {
    /// Its name for people.
    #[serde(default)]
    pub title: String,
    /// Where the map's frame is anchored, as an OGC GeoPose: the place that is 0, 0, 0, and how its axes are turned.
    pub anchor: PoseDocument,
    /// Who may look at it.
    #[serde(default)]
    pub access: MapAccess,
    /// What not everybody may see.
    #[serde(default)]
    pub regions: Vec<Region>,
}

/// A map as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapDefinition {
    /// Its id.
    pub id: MapId,
    /// Its name for people.
    pub title: String,
    /// Its frame.
    pub frame: Frame,
    /// Who may look at it.
    pub access: MapAccess,
    /// What not everybody may see.
    pub regions: Vec<Region>,
}

impl MapDefinition {
    /// Reads a definition.
    ///
    /// # Errors
    /// An anchor that is no pose on the Earth, a region that is none or is there twice, or a text that is too long: with the place.
    pub fn read(id: MapId, document: DefinitionDocument) -> Result<Self, Problem> {
        short("/title", &document.title)?;
        let anchor = document.anchor.geo().map_err(|problem| below("/anchor", problem))?;
        let mut names = BTreeSet::new();
        for (number, region) in document.regions.iter().enumerate() {
            let at = format!("/regions/{number}");
            region.bounds.checked().map_err(|problem| below(&at, problem))?;
            if !names.insert(&region.id) {
                return Err(unacceptable(format!("the region `{}` is there twice", region.id)).at(at));
            }
        }
        let DefinitionDocument { title, access, regions, .. } = document;
        Ok(Self { id, title, frame: Frame::new(anchor), access, regions })
    }
}

/// A service that is offered at an entry: an operation of a third-party system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceOffer {
    /// The system.
    pub system: SystemId,
    /// The operation that it is called for.
    pub operation: String,
}

/// Where the model of an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelReference {
    /// Its address.
    pub uri: String,
    /// Its media type, such as `model/gltf-binary`.
    pub media_type: String,
}

fn metre() -> Point {
    Point::new(1.0, 1.0, 1.0)
}

fn object() -> String {
    "object".to_owned()
}

/// An entry as it is given: a twin, an observation, or whatever else stands at a place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MapEntryDefinition))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryDocument {
    /// Its id; absent: that of its twin.
    #[serde(default)]
    pub id: Option<EntryId>,
    /// The twin that stands there.
    #[serde(default)]
    pub twin: Option<TwinId>,
    /// The observation that it was made of.
    #[serde(default)]
    pub observation: Option<ObservationId>,
    /// Where.
    pub pose: PoseDocument,
    /// Its extents, in metres.
    #[serde(default = "metre")]
    pub size: Point,
    /// What kind of thing it is.
    #[serde(default = "object")]
    pub class: String,
    /// Its name for people.
    #[serde(default)]
    pub title: String,
    /// What it is about: what users prefer is found by this.
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// The services that are offered there.
    #[serde(default)]
    pub services: Vec<ServiceOffer>,
    /// What it looks like.
    #[serde(default)]
    pub model: Option<ModelReference>,
    /// What there is to know of it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub information: Option<JsonDoc>,
    /// Since when it stands there; absent: now.
    #[serde(default)]
    pub at: Option<Timestamp>,
}

/// What an entry is, beside where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryFacts {
    /// Its id.
    pub id: EntryId,
    /// The twin that stands there.
    pub twin: Option<TwinId>,
    /// The observation that it was made of.
    pub observation: Option<ObservationId>,
    /// Its extents, in metres.
    pub size: Point,
    /// What kind of thing it is.
    pub class: String,
    /// Its name for people.
    pub title: String,
    /// What it is about.
    pub tags: BTreeSet<String>,
    /// The services that are offered there.
    pub services: Vec<ServiceOffer>,
    /// What it looks like.
    pub model: Option<ModelReference>,
    /// What there is to know of it.
    pub information: Option<JsonDoc>,
}

/// Where an entry is, and since when. A newer one is of a later time, or of the same time and no lower version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// Where.
    pub pose: Pose,
    /// When it came there, as the object itself says.
    pub at: Timestamp,
    /// The version of the twin that says so; 0: no twin says it.
    pub version: u64,
}

impl Placed {
    /// Whether this is older than what `other` says (FGMV-28 7.3.2).
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        (self.at, self.version) < (other.at, other.version)
    }
}

impl EntryDocument {
    /// Reads an entry into `frame`. Times ahead of `now` are taken for now: later values must not be kept out.
    ///
    /// # Errors
    /// A pose, size or text that is not acceptable, with the place.
    pub fn read(self, frame: &Frame, now: Timestamp) -> Result<(EntryFacts, Placed), Problem> {
        let id = self.id.or_else(|| self.twin.as_ref().map(EntryId::from));
        let id = id.ok_or_else(|| unacceptable("an entry has an `id`, or the id of its `twin`").at("/id"))?;
        if self.twin.as_ref().is_some_and(|twin| EntryId::from(twin) != id) {
            return Err(unacceptable("the entry of a twin has the twin's id").at("/id"));
        }
        let pose = frame.read(&self.pose).map_err(|problem| below("/pose", problem))?;
        for (name, extent) in [("x", self.size.x), ("y", self.size.y), ("z", self.size.z)] {
            if !(0.0..=SIZE_M_MAX).contains(&extent) {
                let detail = format!("an extent is from 0 to {SIZE_M_MAX} m, not {extent}");
                return Err(unacceptable(detail).at(format!("/size/{name}")));
            }
        }
        short("/class", &self.class)?;
        short("/title", &self.title)?;
        if self.tags.len() > LISTED_MAX || self.services.len() > LISTED_MAX {
            return Err(
                unacceptable(format!("an entry has at most {LISTED_MAX} tags and as many services")).at("/tags")
            );
        }
        self.tags.iter().try_for_each(|tag| short("/tags", tag))?;
        self.services.iter().try_for_each(|service| short("/services", &service.operation))?;
        if let Some(model) = &self.model {
            short("/model/uri", &model.uri)?;
            short("/model/mediaType", &model.media_type)?;
        }
        if self.information.as_ref().is_some_and(|information| information.as_str().len() > INFORMATION_BYTES_MAX) {
            let detail = format!("information has at most {INFORMATION_BYTES_MAX} bytes");
            return Err(unacceptable(detail).at("/information"));
        }
        let at = self.at.map_or(now, |at| at.min(now));
        let facts = EntryFacts {
            id,
            twin: self.twin,
            observation: self.observation,
            size: self.size,
            class: self.class,
            title: self.title,
            tags: self.tags,
            services: self.services,
            model: self.model,
            information: self.information,
        };
        Ok((facts, Placed { pose, at, version: 0 }))
    }
}

/// A new location of an entry, as it is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocationDocument {
    /// The entry.
    pub entry: EntryId,
    /// Where it is now.
    pub pose: PoseDocument,
    /// When it came there; absent: now.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Counts the object's locations, to tell those of one millisecond apart.
    #[serde(default)]
    pub version: u64,
}

/// A new location of an entry, read into the map's frame.
#[derive(Clone, Debug, PartialEq)]
pub struct LocationUpdate {
    /// The entry.
    pub entry: EntryId,
    /// Where it is now, and since when.
    pub placed: Placed,
}

impl LocationDocument {
    /// Reads a location into `frame`, as [`EntryDocument::read`] does.
    ///
    /// # Errors
    /// A pose that is not acceptable, with the place.
    pub fn read(self, frame: &Frame, now: Timestamp) -> Result<LocationUpdate, Problem> {
        let pose = frame.read(&self.pose).map_err(|problem| below("/pose", problem))?;
        let at = self.at.map_or(now, |at| at.min(now));
        Ok(LocationUpdate { entry: self.entry, placed: Placed { pose, at, version: self.version } })
    }
}

/// Whether a twin's location moves its entry (FGMV-28 7.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Following {
    /// No user lets it.
    #[default]
    None,
    /// It does.
    Followed,
    /// The user who let it has no permission to read the twin at present; with the permission it goes on.
    PermissionMissing,
}

/// An entry as readers see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MapEntry))]
#[serde(rename_all = "camelCase")]
pub struct EntryView {
    /// Its id.
    pub id: EntryId,
    /// The twin that stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin: Option<TwinId>,
    /// The observation that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation: Option<ObservationId>,
    /// Where it is in the map's frame.
    pub pose: Pose,
    /// Where it is on the Earth, as OGC GeoPose Basic-Quaternion.
    pub geo_pose: GeoPose,
    /// Its extents, in metres.
    pub size: Point,
    /// What kind of thing it is.
    pub class: String,
    /// Its name for people.
    pub title: String,
    /// What it is about.
    pub tags: BTreeSet<String>,
    /// The services that are offered there.
    pub services: Vec<ServiceOffer>,
    /// What it looks like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelReference>,
    /// What there is to know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub information: Option<JsonDoc>,
    /// When it came there.
    pub at: Timestamp,
    /// The version of the twin that says so; 0: no twin says it.
    pub version: u64,
    /// Whether its twin's location moves it.
    #[serde(default)]
    pub following: Following,
}

impl EntryView {
    /// An entry as readers of a map with this frame see it.
    #[must_use]
    pub fn new(facts: &Arc<EntryFacts>, placed: &Placed, frame: &Frame, following: Following) -> Self {
        Self {
            id: facts.id.clone(),
            twin: facts.twin.clone(),
            observation: facts.observation.clone(),
            pose: placed.pose,
            geo_pose: frame.to_geo(&placed.pose),
            size: facts.size,
            class: facts.class.clone(),
            title: facts.title.clone(),
            tags: facts.tags.clone(),
            services: facts.services.clone(),
            model: facts.model.clone(),
            information: facts.information.clone(),
            at: placed.at,
            version: placed.version,
            following,
        }
    }
}

/// A region of a map that not everybody may see, as those see it who may.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = VisibleMapRegion))]
pub struct MapRegion {
    /// Its name.
    pub id: RegionId,
    /// What it takes in.
    pub bounds: Bounds,
}

/// A map as readers see it, or a page of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = SpatialMap))]
#[serde(rename_all = "camelCase")]
pub struct MapView {
    /// Its id.
    pub id: MapId,
    /// The metaverse system whose it is.
    pub metaverse: SystemId,
    /// Its name for people.
    pub title: String,
    /// Where its frame is anchored, as OGC GeoPose Basic-Quaternion.
    pub anchor: GeoPose,
    /// How many entries it has, those that this reader may not see included.
    pub entry_count: u32,
    /// What stands on it, in the order of ids.
    pub entries: Vec<EntryView>,
    /// The regions that not everybody may see, and this reader may.
    #[serde(default)]
    pub regions: Vec<MapRegion>,
    /// The `cursor` of the next page; absent: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<EntryId>,
}

pub(super) fn short(at: &str, text: &str) -> Result<(), Problem> {
    if text.len() > ENTRY_TEXT_BYTES_MAX {
        return Err(unacceptable(format!("at most {ENTRY_TEXT_BYTES_MAX} bytes are expected here")).at(at));
    }
    Ok(())
}

/// The same problem, with its place below `at`.
pub(super) fn below(at: &str, problem: Problem) -> Problem {
    let pointer = format!("{at}{}", problem.pointer.as_deref().unwrap_or_default());
    problem.at(pointer)
}
