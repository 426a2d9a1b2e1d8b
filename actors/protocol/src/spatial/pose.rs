//! Poses: where something is and how it is turned, as documents say it (OGC GeoPose 1.0) and as maps keep it.

use serde::{Deserialize, Serialize};

use crate::{Problem, ProblemKind};

/// A place in a map's frame, in metres: x to the east, y to the north, z up, as the map's anchor is turned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// To the east.
    pub x: f64,
    /// To the north.
    pub y: f64,
    /// Up.
    pub z: f64,
}

impl Point {
    /// The place with these coordinates.
    #[must_use]
    pub const fn new(x: f64, y: f64, z: f64) -> Self {
        Self { x, y, z }
    }

    /// Its coordinates in order.
    #[must_use]
    pub const fn array(self) -> [f64; 3] {
        [self.x, self.y, self.z]
    }

    /// Whether none of its coordinates is infinite or no number.
    #[must_use]
    pub fn is_finite(self) -> bool {
        self.x.is_finite() && self.y.is_finite() && self.z.is_finite()
    }

    /// The square of the distance, in square metres.
    #[must_use]
    pub fn distance_2(self, other: Self) -> f64 {
        let (x, y, z) = (self.x - other.x, self.y - other.y, self.z - other.z);
        x * x + y * y + z * z
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y, self.z - other.z)
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.y + other.y, self.z + other.z)
    }

    /// The scalar product.
    pub(super) fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// The vector product.
    pub(super) fn across(self, other: Self) -> Self {
        let (a, b) = (self, other);
        Self::new(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x)
    }
}

/// A turn, as a unit quaternion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Quaternion {
    /// The part along x.
    pub x: f64,
    /// The part along y.
    pub y: f64,
    /// The part along z.
    pub z: f64,
    /// The real part.
    pub w: f64,
}

impl Default for Quaternion {
    fn default() -> Self {
        Self::IDENTITY
    }
}

/// How far the norm of a quaternion may be from one. Writers round; more than this is a mistake.
const NORM_TOLERANCE: f64 = 1e-3;

impl Quaternion {
    /// No turn.
    pub const IDENTITY: Self = Self { x: 0.0, y: 0.0, z: 0.0, w: 1.0 };

    pub(super) fn about_x(degrees: f64) -> Self {
        let (sin, cos) = (degrees.to_radians() / 2.0).sin_cos();
        Self { x: sin, y: 0.0, z: 0.0, w: cos }
    }

    pub(super) fn about_y(degrees: f64) -> Self {
        let (sin, cos) = (degrees.to_radians() / 2.0).sin_cos();
        Self { x: 0.0, y: sin, z: 0.0, w: cos }
    }

    pub(super) fn about_z(degrees: f64) -> Self {
        let (sin, cos) = (degrees.to_radians() / 2.0).sin_cos();
        Self { x: 0.0, y: 0.0, z: sin, w: cos }
    }

    /// This turn after `first`.
    pub(super) fn after(self, first: Self) -> Self {
        let (a, b) = (self, first);
        Self {
            w: a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z,
            x: a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
            y: a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x,
            z: a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w,
        }
    }

    pub(super) fn inverse(self) -> Self {
        Self { x: -self.x, y: -self.y, z: -self.z, w: self.w }
    }

    /// Where `point` comes to by this turn.
    pub(super) fn turn(self, point: Point) -> Point {
        let turned = self.after(Self { x: point.x, y: point.y, z: point.z, w: 0.0 }).after(self.inverse());
        Point::new(turned.x, turned.y, turned.z)
    }

    /// The same turn with norm one.
    fn checked(self) -> Result<Self, Problem> {
        let norm = (self.x * self.x + self.y * self.y + self.z * self.z + self.w * self.w).sqrt();
        if !norm.is_finite() || (norm - 1.0).abs() > NORM_TOLERANCE {
            return Err(unacceptable(format!("the norm of a quaternion is 1, not {norm}")).at("/quaternion"));
        }
        Ok(Self { x: self.x / norm, y: self.y / norm, z: self.z / norm, w: self.w / norm })
    }
}

/// A turn as three angles in degrees: about the z axis, then about the turned y axis, then about the turned x axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Angles {
    /// About z.
    pub yaw: f64,
    /// About y.
    pub pitch: f64,
    /// About x.
    pub roll: f64,
}

impl From<Angles> for Quaternion {
    fn from(angles: Angles) -> Self {
        Self::about_z(angles.yaw).after(Self::about_y(angles.pitch)).after(Self::about_x(angles.roll))
    }
}

impl From<Quaternion> for Angles {
    fn from(q: Quaternion) -> Self {
        let sin_pitch = (2.0 * (q.w * q.y - q.z * q.x)).clamp(-1.0, 1.0);
        // Straight up or down, yaw and roll are one turn: all of it is called yaw.
        if sin_pitch.abs() > 1.0 - 1e-12 {
            let yaw = -2.0 * sin_pitch.signum() * q.x.atan2(q.w);
            return Self { yaw: yaw.to_degrees(), pitch: sin_pitch.asin().to_degrees(), roll: 0.0 };
        }
        let yaw = (2.0 * (q.w * q.z + q.x * q.y)).atan2(1.0 - 2.0 * (q.y * q.y + q.z * q.z));
        let roll = (2.0 * (q.w * q.x + q.y * q.z)).atan2(1.0 - 2.0 * (q.x * q.x + q.y * q.y));
        Self { yaw: yaw.to_degrees(), pitch: sin_pitch.asin().to_degrees(), roll: roll.to_degrees() }
    }
}

/// A place on or near the Earth (WGS 84).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GeoPosition {
    /// Latitude in degrees, from -90 to 90.
    pub lat: f64,
    /// Longitude in degrees, from -180 to 180.
    pub lon: f64,
    /// Metres above the ellipsoid.
    pub h: f64,
}

/// The lowest and the highest place that a pose may have, in metres: below the deepest sea, and the edge of space.
const HEIGHT_M: std::ops::RangeInclusive<f64> = -12_000.0..=100_000.0;

impl GeoPosition {
    fn checked(self) -> Result<Self, Problem> {
        let within = |name: &str, value: f64, range: std::ops::RangeInclusive<f64>| {
            // What is no number is in no range.
            if range.contains(&value) {
                return Ok(());
            }
            let detail = format!("`{name}` is from {} to {}, not {value}", range.start(), range.end());
            Err(unacceptable(detail).at(format!("/position/{name}")))
        };
        within("lat", self.lat, -90.0..=90.0)?;
        within("lon", self.lon, -180.0..=180.0)?;
        within("h", self.h, HEIGHT_M)?;
        Ok(self)
    }
}

/// Where something is on the Earth, and how it is turned against east, north and up there: as OGC GeoPose 1.0
/// Basic-Quaternion has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GeoPose {
    /// Where.
    pub position: GeoPosition,
    /// How it is turned.
    pub quaternion: Quaternion,
}

/// Where something is in a map's frame, and how it is turned against the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Pose {
    /// Where.
    pub local: Point,
    /// How it is turned.
    pub quaternion: Quaternion,
}

/// A pose as documents give it: `position` with `angles` or `quaternion` (OGC GeoPose 1.0 Basic-YPR or
/// Basic-Quaternion), or `local` in metres of a map's frame, turned or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PoseDocument {
    /// Where on the Earth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<GeoPosition>,
    /// Where in the map's frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<Point>,
    /// How it is turned, in angles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub angles: Option<Angles>,
    /// How it is turned, as a quaternion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quaternion: Option<Quaternion>,
}

impl PoseDocument {
    /// How it is turned; absent: it does not say.
    pub(super) fn turned(&self) -> Result<Option<Quaternion>, Problem> {
        match (self.angles, self.quaternion) {
            (Some(_), Some(_)) => Err(unacceptable("a pose has `angles` or `quaternion`, not both").at("/angles")),
            (None, quaternion) => quaternion.map(Quaternion::checked).transpose(),
            (Some(angles), None) => {
                for (name, value) in [("yaw", angles.yaw), ("pitch", angles.pitch), ("roll", angles.roll)] {
                    if !(-360.0..=360.0).contains(&value) {
                        let detail = format!("`{name}` is from -360 to 360 degrees, not {value}");
                        return Err(unacceptable(detail).at(format!("/angles/{name}")));
                    }
                }
                Ok(Some(angles.into()))
            }
        }
    }

    /// Reads a pose on the Earth.
    ///
    /// # Errors
    /// A coordinate that is no number or out of its range, a quaternion whose norm is not one, or a pose that is none
    /// of the two forms of OGC GeoPose 1.0: with the place in the document.
    pub fn geo(&self) -> Result<GeoPose, Problem> {
        if self.local.is_some() {
            return Err(unacceptable("a place on the Earth is expected here").at("/local"));
        }
        let position = self.position.ok_or_else(|| unacceptable("`position` is missing").at("/position"))?.checked()?;
        let turned = self.turned()?;
        let quaternion = turned.ok_or_else(|| unacceptable("a GeoPose has `angles` or `quaternion`").at("/angles"))?;
        Ok(GeoPose { position, quaternion })
    }
}

impl From<GeoPose> for PoseDocument {
    fn from(pose: GeoPose) -> Self {
        Self { position: Some(pose.position), quaternion: Some(pose.quaternion), ..Self::default() }
    }
}

impl From<Pose> for PoseDocument {
    fn from(pose: Pose) -> Self {
        Self { local: Some(pose.local), quaternion: Some(pose.quaternion), ..Self::default() }
    }
}

impl GeoPose {
    /// The pose with angles in place of the quaternion (OGC GeoPose 1.0 Basic-YPR).
    #[must_use]
    pub fn in_angles(self) -> PoseDocument {
        PoseDocument { position: Some(self.position), angles: Some(self.quaternion.into()), ..PoseDocument::default() }
    }
}

pub(super) fn unacceptable(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidDocument, detail)
}
