//! What is asked of a map (FGMV-28 7.3.3): what is at a place, for whom; and who watches which part of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    bounds::Bounds,
    frame::Frame,
    map::{EntryView, ServiceOffer, below, short},
    place::FoundPlace,
    pose::{Point, Pose, PoseDocument, unacceptable},
};
use crate::{EntryId, MapId, Problem, UserId, time::Timestamp};

/// The most that one question finds.
pub const FOUND_MAX: u32 = 1_000;
/// What a question finds that does not say how much it wants.
const FOUND_DEFAULT: u32 = 50;
/// How many classes, services, preferences or media types a question may name.
const NAMED_MAX: usize = 64;

/// What the device of a user can show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceParameters {
    /// The media types of models that it shows; absent: all. A model of another type is left out.
    #[serde(default)]
    pub model_media_types: Option<BTreeSet<String>>,
    /// What it is capable of, such as `camera`: services that need something else are left out; absent: everything.
    #[serde(default)]
    pub capabilities: Option<BTreeSet<String>>,
    /// Whether it wants what is known of the entries beside their services.
    #[serde(default)]
    pub without_information: bool,
}

/// A localized service request (FGMV-28 7.3.3): what is at a place, for these preferences and this device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalizationRequest {
    /// Where: the nearest come first. Without a turn, a place will do.
    #[serde(default)]
    pub near: Option<PoseDocument>,
    /// How far from there, in metres.
    #[serde(default)]
    pub radius_m: Option<f64>,
    /// Within this box of the map's frame.
    #[serde(default)]
    pub bounds: Option<Bounds>,
    /// Only entries of these classes, and third-party systems of these types.
    #[serde(default)]
    pub classes: BTreeSet<String>,
    /// Only entries at which one of these operations is offered, and third-party systems that offer one.
    #[serde(default)]
    pub services: BTreeSet<String>,
    /// What the user prefers: of what is found, entries with more of these tags come first.
    #[serde(default)]
    pub preferences: BTreeSet<String>,
    /// Only third-party systems of which this CEL expression holds, as in searches:
    /// `charge.amount < 5.0 && standing.health == 'healthy'`.
    #[serde(default)]
    pub filter: Option<String>,
    /// What the user's device can show.
    #[serde(default)]
    pub device: DeviceParameters,
    /// How many entries are wanted, and how many third-party systems; at most 1000.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// The nearest within a distance in metres, which may be infinite.
    Near(Point, f64),
    /// All within a box.
    Within(Bounds),
}

/// A question that was read into a map's frame.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaceQuery {
    /// Where to look.
    pub place: Place,
    /// Only entries of these classes; empty: of all.
    pub classes: BTreeSet<String>,
    /// Only entries with one of these operations; empty: all.
    pub services: BTreeSet<String>,
    /// How many at most.
    pub limit: usize,
}

impl LocalizationRequest {
    /// Reads the question into `frame`.
    ///
    /// # Errors
    /// A place, distance or box that is not acceptable or not there, or too many or too long names; with the place.
    pub fn read(&self, frame: &Frame) -> Result<PlaceQuery, Problem> {
        let near = self.near.map(|near| place(frame, near)).transpose().map_err(|problem| below("/near", problem))?;
        if self.radius_m.is_some_and(|radius| !radius.is_finite() || radius < 0.0) {
            return Err(unacceptable("a distance is a finite number of metres, not below 0").at("/radiusM"));
        }
        if let Some(bounds) = &self.bounds {
            bounds.checked()?;
        }
        let place = match (near, self.bounds, self.radius_m) {
            (Some(near), None, radius) => Place::Near(near, radius.unwrap_or(f64::INFINITY)),
            (None, Some(bounds), None) => Place::Within(bounds),
            (None, _, Some(_)) => return Err(unacceptable("a distance is from a place: `near`").at("/radiusM")),
            (Some(_), Some(_), _) => return Err(unacceptable("either `near` or `bounds`").at("/bounds")),
            (None, None, None) => return Err(unacceptable("where: `near`, or `bounds`").at("/near")),
        };
        for (at, names) in
            [("/classes", &self.classes), ("/services", &self.services), ("/preferences", &self.preferences)]
        {
            if names.len() > NAMED_MAX {
                return Err(unacceptable(format!("at most {NAMED_MAX} are expected here")).at(at));
            }
            names.iter().try_for_each(|name| short(at, name))?;
        }
        let limit = self.limit.unwrap_or(FOUND_DEFAULT);
        if limit == 0 || limit > FOUND_MAX {
            return Err(unacceptable(format!("from 1 to {FOUND_MAX} can be wanted")).at("/limit"));
        }
        let (classes, services) = (self.classes.clone(), self.services.clone());
        Ok(PlaceQuery { place, classes, services, limit: limit as usize })
    }
}

/// Reads a place: how it is turned may be left out.
fn place(frame: &Frame, document: PoseDocument) -> Result<Point, Problem> {
    let turned = document.angles.is_some() || document.quaternion.is_some();
    let document = if turned { document } else { PoseDocument { quaternion: Some(Default::default()), ..document } };
    frame.read(&document).map(|pose| pose.local)
}

/// Who looks at a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Viewer {
    /// The metaverse system itself, which sees all of it.
    Owner,
    /// A user, who sees what regions let that user see.
    User(UserId),
    /// A third-party system, which sees what is in no region.
    ThirdParty,
}

/// An entry that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = FoundEntry))]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// The entry.
    pub entry: EntryView,
    /// How far from the place that was asked for, in metres; absent: a box was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_m: Option<f64>,
}

/// What is at a place: services, and information.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Localization {
    /// The map.
    pub map: MapId,
    /// The services that are offered there, each once.
    pub services: BTreeSet<ServiceOffer>,
    /// The entries: by how many preferences they meet, then by distance, then by id.
    pub entries: Vec<Found>,
    /// The registered third-party systems that serve the place: by how many preferences they meet, then by distance, then
    /// by id.
    #[serde(default)]
    pub places: Vec<FoundPlace>,
}

impl Localization {
    /// Fits what was found to the user's preferences and the device.
    #[must_use]
    pub fn fitted(map: MapId, mut entries: Vec<Found>, request: &LocalizationRequest) -> Self {
        for found in &mut entries {
            let media_types = request.device.model_media_types.as_ref();
            found.entry.model.take_if(|model| media_types.is_some_and(|known| !known.contains(&model.media_type)));
            found.entry.information.take_if(|_| request.device.without_information);
        }
        // The sort is stable: what is met alike stays in the order in which it was found.
        entries.sort_by_key(|found| {
            std::cmp::Reverse(request.preferences.iter().filter(|wanted| found.entry.tags.contains(*wanted)).count())
        });
        let services = entries.iter().flat_map(|found| found.entry.services.iter().cloned()).collect();
        Self { map, services, entries, places: Vec::new() }
    }

    /// Adds registered third-party systems that serve the place.
    #[must_use]
    pub fn with_places(mut self, mut places: Vec<FoundPlace>, preferences: &BTreeSet<String>) -> Self {
        places.sort_by_key(|place| std::cmp::Reverse(preferences.intersection(&place.tags).count()));
        let offers = places.iter().flat_map(|place| {
            let offer =
                |operation: &String| ServiceOffer { system: place.system.clone(), operation: operation.clone() };
            place.operations.iter().map(offer)
        });
        self.services.extend(offers);
        self.places = places;
        self
    }
}

/// A subscription to a part of a map, as it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MapWatch))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchDocument {
    /// What part.
    pub bounds: Bounds,
    /// For which user: it hears what that user may see, and the user's device does; absent: the metaverse system hears all.
    #[serde(default)]
    pub user: Option<UserId>,
}

impl WatchDocument {
    /// # Errors
    /// A box that is none.
    pub fn checked(self) -> Result<Self, Problem> {
        self.bounds.checked()?;
        Ok(self)
    }
}

/// What happened to an entry, as seen by a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// It came into what is watched, or was put there.
    Entered,
    /// It moved within.
    Moved,
    /// It left, or was taken away.
    Left,
    /// Its twin's location moves it from now on (FGMV-28 7.3.2).
    Followed,
    /// Its twin's location moves it no longer: its user withdrew that, or lost the permission.
    Unfollowed,
}

/// What happened to an entry in a part of a map that is watched.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MapChange {
    /// The entry.
    pub entry: EntryId,
    /// What happened.
    pub change: ChangeKind,
    /// Where it is now; absent when it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pose: Option<Pose>,
    /// When.
    pub at: Timestamp,
    /// The version of the twin that says so.
    pub version: u64,
}

/// What a watcher is told: the data of an event `map.changed`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MapChanges))]
#[serde(rename_all = "camelCase")]
pub struct Watched {
    /// The map.
    pub map: MapId,
    /// The watch.
    pub watch: u32,
    /// What happened, in order.
    pub changes: Vec<MapChange>,
}
