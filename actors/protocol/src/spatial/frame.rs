//! A map's frame: metres around an anchor on the Earth, so that a factory works in metres.

use serde::{Deserialize, Serialize};

use super::pose::{GeoPose, GeoPosition, Point, Pose, PoseDocument, Quaternion, unacceptable};
use crate::Problem;

/// The semi-major axis of the WGS 84 ellipsoid, in metres.
const A: f64 = 6_378_137.0;
/// The flattening of the WGS 84 ellipsoid.
const F: f64 = 1.0 / 298.257_223_563;
/// The square of its first eccentricity.
const E2: f64 = F * (2.0 - F);

/// How far from its anchor a map reaches along each axis, in metres. Beyond, the Earth bends away from a flat frame.
pub const LOCAL_M_MAX: f64 = 100_000.0;

/// The frame of a map: its anchor, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    anchor: GeoPose,
    /// The anchor, in metres from the centre of the Earth (ECEF).
    origin: Point,
    /// From the frame to ECEF.
    to_earth: Quaternion,
}

impl Frame {
    /// The frame around `anchor`.
    #[must_use]
    pub fn new(anchor: GeoPose) -> Self {
        let to_earth = east_north_up(anchor.position).after(anchor.quaternion);
        Self { anchor, origin: earth_centred(anchor.position), to_earth }
    }

    /// Where it is anchored.
    #[must_use]
    pub fn anchor(&self) -> GeoPose {
        self.anchor
    }

    /// Reads a pose of either kind into this frame.
    ///
    /// # Errors
    /// As [`PoseDocument::geo`], and when it is further from the anchor than [`LOCAL_M_MAX`]; with the place in the document.
    pub fn read(&self, document: &PoseDocument) -> Result<Pose, Problem> {
        match (document.local, document.position) {
            (Some(local), None) => {
                let pose = Pose { local, quaternion: document.turned()?.unwrap_or_default() };
                within(local).map_err(|problem| problem.at("/local"))?;
                Ok(pose)
            }
            (None, Some(_)) => {
                let pose = self.to_local(&document.geo()?);
                within(pose.local).map_err(|problem| problem.at("/position"))?;
                Ok(pose)
            }
            _ => Err(unacceptable("a pose has either `position` or `local`").at("/position")),
        }
    }

    /// A place in this frame, in metres from the centre of the Earth (ECEF).
    #[must_use]
    pub fn to_earth(&self, local: Point) -> Point {
        self.to_earth.turn(local).plus(self.origin)
    }

    /// A place in metres from the centre of the Earth (ECEF), in this frame.
    #[must_use]
    pub fn from_earth(&self, earth: Point) -> Point {
        self.to_earth.inverse().turn(earth.minus(self.origin))
    }

    /// How another frame is turned against this one.
    pub(super) fn turn_of(&self, other: &Self) -> Quaternion {
        self.to_earth.inverse().after(other.to_earth)
    }

    /// A pose on the Earth, in this frame.
    #[must_use]
    pub fn to_local(&self, pose: &GeoPose) -> Pose {
        let away = earth_centred(pose.position).minus(self.origin);
        let from_earth = self.to_earth.inverse();
        let quaternion = from_earth.after(east_north_up(pose.position)).after(pose.quaternion);
        Pose { local: from_earth.turn(away), quaternion }
    }

    /// A pose in this frame, on the Earth.
    #[must_use]
    pub fn to_geo(&self, pose: &Pose) -> GeoPose {
        let position = on_ellipsoid(self.to_earth.turn(pose.local).plus(self.origin));
        let quaternion = east_north_up(position).inverse().after(self.to_earth).after(pose.quaternion);
        GeoPose { position, quaternion }
    }
}

fn within(local: Point) -> Result<(), Problem> {
    let reach = -LOCAL_M_MAX..=LOCAL_M_MAX;
    if local.array().iter().all(|coordinate| reach.contains(coordinate)) {
        return Ok(());
    }
    let Point { x, y, z } = local;
    Err(unacceptable(format!("a map reaches {LOCAL_M_MAX} m from its anchor, and this is at ({x}, {y}, {z})")))
}

/// From east, north and up at a place to ECEF.
fn east_north_up(at: GeoPosition) -> Quaternion {
    Quaternion::about_z(at.lon + 90.0).after(Quaternion::about_x(90.0 - at.lat))
}

fn earth_centred(at: GeoPosition) -> Point {
    let (sin_lat, cos_lat) = at.lat.to_radians().sin_cos();
    let (sin_lon, cos_lon) = at.lon.to_radians().sin_cos();
    let normal = A / (1.0 - E2 * sin_lat * sin_lat).sqrt();
    let from_axis = (normal + at.h) * cos_lat;
    Point::new(from_axis * cos_lon, from_axis * sin_lon, (normal * (1.0 - E2) + at.h) * sin_lat)
}

/// Bowring's iteration; five rounds are exact to less than a micrometre at the heights that poses have.
fn on_ellipsoid(at: Point) -> GeoPosition {
    let from_axis = at.x.hypot(at.y);
    let b = A * (1.0 - F);
    let mut beta = (at.z * A).atan2(from_axis * b);
    let mut lat = 0.0;
    for _ in 0..5 {
        let (sin, cos) = beta.sin_cos();
        let above = at.z + E2 / (1.0 - E2) * b * sin.powi(3);
        lat = above.atan2(from_axis - E2 * A * cos.powi(3));
        beta = ((1.0 - F) * lat.sin()).atan2(lat.cos());
    }
    let (sin, cos) = lat.sin_cos();
    let normal = A / (1.0 - E2 * sin * sin).sqrt();
    // Near the poles the distance from the axis says nothing of the height.
    let h = if cos.abs() > 1e-3 { from_axis / cos - normal } else { at.z / sin - normal * (1.0 - E2) };
    // Rounding must not make a place that would be refused when it is read again.
    let lat = lat.to_degrees().clamp(-90.0, 90.0);
    GeoPosition { lat, lon: at.y.atan2(at.x).to_degrees().clamp(-180.0, 180.0), h }
}
