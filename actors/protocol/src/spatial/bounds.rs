//! Boxes: the parts of maps, and what is served in them.

use serde::{Deserialize, Serialize};

use super::pose::{Point, Quaternion, unacceptable};
use crate::Problem;

/// How far apart two boxes may be, in metres, to count as touching: rounding on the way over the centre of the Earth must
/// not part them.
const TOUCHING_M: f64 = 1e-7;
/// The sine of the angle below which two edges count as parallel.
const PARALLEL: f64 = 1e-7;

/// A box in a map's frame, its sides along the axes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MapBounds))]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The corner with the lowest coordinates.
    pub min: Point,
    /// The corner with the highest.
    pub max: Point,
}

impl Bounds {
    /// Whether the place is inside or on a side.
    #[must_use]
    pub fn contains(&self, at: Point) -> bool {
        (self.min.x..=self.max.x).contains(&at.x)
            && (self.min.y..=self.max.y).contains(&at.y)
            && (self.min.z..=self.max.z).contains(&at.z)
    }

    /// The place inside or on a side that is nearest to `at`. No coordinate of `min` may be above that of `max`.
    #[must_use]
    pub fn nearest(&self, at: Point) -> Point {
        let within = |at: f64, min: f64, max: f64| at.max(min).min(max);
        Point::new(
            within(at.x, self.min.x, self.max.x),
            within(at.y, self.min.y, self.max.y),
            within(at.z, self.min.z, self.max.z),
        )
    }

    /// Its eight corners.
    #[must_use]
    pub fn corners(&self) -> [Point; 8] {
        let (a, b) = (self.min, self.max);
        [
            a,
            Point::new(b.x, a.y, a.z),
            Point::new(a.x, b.y, a.z),
            Point::new(b.x, b.y, a.z),
            Point::new(a.x, a.y, b.z),
            Point::new(b.x, a.y, b.z),
            Point::new(a.x, b.y, b.z),
            b,
        ]
    }

    /// Whether the two have a place in common, where `other` is a box of a frame that is turned by `turned` against this one
    /// and has its middle at `middle` here. What is no further away than [`TOUCHING_M`] counts.
    ///
    /// Of two boxes that have no place in common, a plane along a side of either or along an edge of each passes between
    /// (Gottschalk, Lin and Manocha, OBBTree, SIGGRAPH 1996).
    pub(super) fn meets(&self, other: &Self, turned: Quaternion, middle: Point) -> bool {
        let own = [Point::new(1.0, 0.0, 0.0), Point::new(0.0, 1.0, 0.0), Point::new(0.0, 0.0, 1.0)];
        let its = own.map(|axis| turned.turn(axis));
        let away = middle.minus(self.middle());
        let reach = |bounds: &Self, axes: &[Point; 3], along: Point| -> f64 {
            let half = bounds.max.minus(bounds.middle()).array();
            axes.iter().zip(half).map(|(axis, half)| axis.dot(along).abs() * half).sum()
        };
        let apart = |along: Point| {
            let length = along.dot(along).sqrt();
            // Edges as good as parallel have no direction across both; the sides' own directions tell of them.
            length > PARALLEL
                && away.dot(along).abs() > reach(self, &own, along) + reach(other, &its, along) + TOUCHING_M * length
        };
        let across = own.iter().flat_map(|a| its.iter().map(|b| a.across(*b)));
        !own.iter().chain(&its).copied().chain(across).any(apart)
    }

    /// The place in the middle of it.
    pub(super) fn middle(&self) -> Point {
        let half = |min: f64, max: f64| min / 2.0 + max / 2.0;
        let (min, max) = (self.min, self.max);
        Point::new(half(min.x, max.x), half(min.y, max.y), half(min.z, max.z))
    }

    pub(super) fn checked(&self) -> Result<(), Problem> {
        let (min, max) = (self.min, self.max);
        if !min.is_finite() || !max.is_finite() {
            return Err(unacceptable("a box has finite corners").at("/bounds"));
        }
        if min.x > max.x || min.y > max.y || min.z > max.z {
            return Err(unacceptable("no coordinate of `min` is above that of `max`").at("/bounds"));
        }
        Ok(())
    }
}
