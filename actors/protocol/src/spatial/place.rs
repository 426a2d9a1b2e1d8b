//! Where third-party systems offer their services (FGMV-28 7.3.3): a member of what they register, read as a place on the Earth.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    bounds::Bounds,
    frame::{Frame, LOCAL_M_MAX},
    map::{below, short},
    pose::{GeoPose, Point, PoseDocument, unacceptable},
};
use crate::{JsonDoc, Problem, SystemId, UserId};

/// The property of a third-party system's registration that says where it offers its services: a [`PlaceDocument`].
pub const PLACE_PROPERTY: &str = "place";
/// How many tags, capabilities, systems or users a place may name.
const NAMED_MAX: usize = 64;

/// How much larger than computed boxes are taken to be, in metres: rounding on the way over the centre of the Earth must not
/// part what touches.
const ROUNDING_M: f64 = 1e-6;

/// Where a third-party system offers its services, and to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ServicePlace))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceDocument {
    /// Where it is, as an OGC GeoPose; how it is turned may be left out.
    pub geo_pose: PoseDocument,
    /// How far around it serves, in metres. Without this and a region it serves there and nowhere else.
    #[serde(default)]
    pub coverage_m: Option<f64>,
    /// The box that it serves, in metres east, north and up of where it is, as its pose is turned.
    #[serde(default)]
    pub region: Option<Bounds>,
    /// What it is about: what users prefer comes first.
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// What a device must be capable of to use it, such as `camera`.
    #[serde(default)]
    pub requires: BTreeSet<String>,
    /// Only users of these metaverse systems find it; absent: those of all.
    #[serde(default)]
    pub metaverses: Option<BTreeSet<SystemId>>,
    /// Only these users find it; absent: all.
    #[serde(default)]
    pub users: Option<BTreeSet<UserId>>,
}

/// What a place takes in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// All that is not further away than this, in metres.
    Around(f64),
    /// A box of the place's frame.
    Within(Bounds),
}

/// A place on the Earth, as it is found. Coordinates of the Earth are metres from its centre (ECEF), so that neither the
/// poles nor the antimeridian are special.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePlace {
    frame: Frame,
    shape: Shape,
    /// What it is about.
    pub tags: BTreeSet<String>,
    requires: BTreeSet<String>,
    metaverses: Option<BTreeSet<SystemId>>,
    users: Option<BTreeSet<UserId>>,
}

/// Who looks for services, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Seeker<'s> {
    /// The metaverse system.
    pub metaverse: &'s SystemId,
    /// The user; absent: the metaverse system itself, or somebody from afar.
    pub user: Option<&'s UserId>,
    /// What the device is capable of; absent: of everything.
    pub capabilities: Option<&'s BTreeSet<String>>,
}

impl ServicePlace {
    /// Reads the place of a registration's properties; `None` if there is none.
    ///
    /// # Errors
    /// A place that is none, with where it stands below the property.
    pub fn read(property: Option<&JsonDoc>) -> Result<Option<Self>, Problem> {
        let Some(property) = property else { return Ok(None) };
        let document: PlaceDocument = property.read().map_err(|error| {
            unacceptable(format!("the property `{PLACE_PROPERTY}` says where services are offered: {error}"))
        })?;
        document.read().map(Some)
    }

    /// Where it is.
    #[must_use]
    pub fn geo_pose(&self) -> GeoPose {
        self.frame.anchor()
    }

    /// Where it is, in metres from the centre of the Earth.
    #[must_use]
    pub fn origin(&self) -> Point {
        self.frame.to_earth(Point::default())
    }

    /// How far a point of the Earth is from what it serves, in metres; 0 within.
    #[must_use]
    pub fn distance(&self, earth: Point) -> f64 {
        match self.shape {
            Shape::Around(radius) => (self.origin().distance_2(earth).sqrt() - radius).max(0.0),
            Shape::Within(bounds) => {
                let at = self.frame.from_earth(earth);
                at.distance_2(bounds.nearest(at)).sqrt()
            }
        }
    }

    /// The smallest box, its sides along the axes of the Earth, around what it serves.
    #[must_use]
    pub fn extent(&self) -> Bounds {
        let (min, max) = match self.shape {
            // A ball is as wide in every direction.
            Shape::Around(radius) => {
                let (at, half) = (self.origin(), Point::new(radius, radius, radius));
                (at.minus(half), at.plus(half))
            }
            Shape::Within(bounds) => {
                let corners = bounds.corners().map(|corner| self.frame.to_earth(corner));
                let fold = |choose: fn(f64, f64) -> f64| {
                    let first = corners[0];
                    corners.iter().fold(first, |a, b| Point::new(choose(a.x, b.x), choose(a.y, b.y), choose(a.z, b.z)))
                };
                (fold(f64::min), fold(f64::max))
            }
        };
        let margin = Point::new(ROUNDING_M, ROUNDING_M, ROUNDING_M);
        Bounds { min: min.minus(margin), max: max.plus(margin) }
    }

    /// Whether what it serves reaches into a box of a map, however they are turned against each other.
    #[must_use]
    pub fn reaches(&self, bounds: &Bounds, map: &Frame) -> bool {
        match self.shape {
            Shape::Around(radius) => {
                let at = map.from_earth(self.origin());
                at.distance_2(bounds.nearest(at)) <= radius * radius
            }
            Shape::Within(own) => {
                let middle = map.from_earth(self.frame.to_earth(own.middle()));
                bounds.meets(&own, map.turn_of(&self.frame), middle)
            }
        }
    }

    /// Whether somebody may find it, and has a device that can use it.
    #[must_use]
    pub fn is_for(&self, seeker: &Seeker<'_>) -> bool {
        self.metaverses.as_ref().is_none_or(|named| named.contains(seeker.metaverse))
            && self.users.as_ref().is_none_or(|named| seeker.user.is_some_and(|user| named.contains(user)))
            && seeker.capabilities.is_none_or(|has| self.requires.is_subset(has))
    }
}

impl PlaceDocument {
    fn read(self) -> Result<ServicePlace, Problem> {
        let pose = match (self.geo_pose.angles, self.geo_pose.quaternion) {
            (None, None) => PoseDocument { quaternion: Some(Default::default()), ..self.geo_pose },
            _ => self.geo_pose,
        };
        let frame = Frame::new(pose.geo().map_err(|problem| below("/geoPose", problem))?);
        let shape = match (self.coverage_m, self.region) {
            (Some(_), Some(_)) => return Err(unacceptable("either `coverageM` or `region`").at("/region")),
            (None, Some(region)) => {
                region.checked().map_err(|problem| below("/region", problem))?;
                let reach = -LOCAL_M_MAX..=LOCAL_M_MAX;
                let corners = [region.min, region.max];
                if corners.iter().flat_map(|corner| corner.array()).any(|coordinate| !reach.contains(&coordinate)) {
                    return Err(unacceptable(format!("a region reaches at most {LOCAL_M_MAX} m")).at("/region"));
                }
                Shape::Within(region)
            }
            (coverage, None) => {
                let radius = coverage.unwrap_or(0.0);
                // What is no number is in no range.
                if !(0.0..=LOCAL_M_MAX).contains(&radius) {
                    let detail = format!("a coverage is from 0 to {LOCAL_M_MAX} m, not {radius}");
                    return Err(unacceptable(detail).at("/coverageM"));
                }
                Shape::Around(radius)
            }
        };
        for (at, names) in [("/tags", &self.tags), ("/requires", &self.requires)] {
            if names.len() > NAMED_MAX {
                return Err(unacceptable(format!("at most {NAMED_MAX} are expected here")).at(at));
            }
            names.iter().try_for_each(|name| short(at, name))?;
        }
        let PlaceDocument { tags, requires, metaverses, users, .. } = self;
        Ok(ServicePlace { frame, shape, tags, requires, metaverses, users })
    }
}

/// A service that is offered at a place by a registered third-party system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FoundPlace {
    /// The system.
    pub system: SystemId,
    /// What kind of system it is.
    #[serde(rename = "type")]
    pub system_type: String,
    /// Its name for people.
    pub title: String,
    /// What it can be called for.
    pub operations: BTreeSet<String>,
    /// What it is about.
    pub tags: BTreeSet<String>,
    /// Where it is, as OGC GeoPose Basic-Quaternion.
    pub geo_pose: GeoPose,
    /// How far what it serves is from the place that was asked for, in metres, 0 within; absent: a box was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_m: Option<f64>,
}
