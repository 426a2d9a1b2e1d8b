//! Where registered systems are (FGMV-28 7.3.3): an R-tree over the whole Earth.
//!
//! It is in metres from the centre of the Earth, so that what is near is near in it: at the poles and at the antimeridian too.

use std::collections::BTreeMap;

use rstar::{AABB, PointDistance, RTree, RTreeObject};
use twinway_protocol::{
    SystemId,
    spatial::{Bounds, Frame, Point, ServicePlace},
};

/// What the tree has of a place.
#[derive(Clone, Debug, PartialEq)]
struct Around {
    system: SystemId,
    extent: Bounds,
}

impl RTreeObject for Around {
    type Envelope = AABB<[f64; 3]>;
    fn envelope(&self) -> Self::Envelope {
        AABB::from_corners(self.extent.min.array(), self.extent.max.array())
    }
}

impl PointDistance for Around {
    /// The square of the least distance that what is served can have.
    fn distance_2(&self, point: &[f64; 3]) -> f64 {
        let [x, y, z] = *point;
        let at = Point::new(x, y, z);
        at.distance_2(self.extent.nearest(at))
    }
}

/// The places of systems.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    by_system: BTreeMap<SystemId, ServicePlace>,
    tree: RTree<Around>,
}

impl Places {
    /// A system is at a place now; absent: at none.
    pub(crate) fn keep(&mut self, system: &SystemId, place: Option<ServicePlace>) {
        if let Some(before) = self.by_system.remove(system) {
            self.tree.remove(&Around { system: system.clone(), extent: before.extent() });
        }
        if let Some(place) = place {
            self.tree.insert(Around { system: system.clone(), extent: place.extent() });
            self.by_system.insert(system.clone(), place);
        }
    }

    /// Those that serve a point of the Earth or are no further from it than `radius` metres, with their distances: the
    /// nearest first, of those as near as each other by id. `fits` may fail, and then the search does.
    pub(crate) fn near<E>(
        &self,
        earth: Point,
        radius: f64,
        limit: usize,
        mut fits: impl FnMut(&SystemId, &ServicePlace) -> Result<bool, E>,
    ) -> Result<Vec<(f64, &SystemId, &ServicePlace)>, E> {
        let mut found: Vec<(f64, &SystemId, &ServicePlace)> = Vec::new();
        // The tree gives the least distance that each can have, in rising order: the true one may be larger.
        for (around, least) in self.tree.nearest_neighbor_iter_with_distance_2(earth.array()) {
            let worst = found.get(limit.wrapping_sub(1)).map_or(radius, |last| last.0);
            if least.sqrt() > worst.min(radius) {
                break;
            }
            let Some((system, place)) = self.by_system.get_key_value(&around.system) else { continue };
            let distance = place.distance(earth);
            if distance > radius || distance > worst || !fits(system, place)? {
                continue;
            }
            let before = |other: &(f64, &SystemId, &ServicePlace)| {
                other.0.total_cmp(&distance).then_with(|| other.1.cmp(system)).is_lt()
            };
            found.insert(found.partition_point(before), (distance, system, place));
            found.truncate(limit);
        }
        Ok(found)
    }

    /// Those that reach into a box of a map, by id.
    pub(crate) fn within(&self, bounds: &Bounds, map: &Frame) -> Vec<(&SystemId, &ServicePlace)> {
        // The smallest box along the Earth's axes around the map's box.
        let corners = bounds.corners().map(|corner| map.to_earth(corner).array());
        let envelope = AABB::from_points(corners.iter());
        let meeting = self.tree.locate_in_envelope_intersecting(envelope);
        let mut found: Vec<_> = meeting
            .filter_map(|around| self.by_system.get_key_value(&around.system))
            .filter(|(_, place)| place.reaches(bounds, map))
            .collect();
        found.sort_by_key(|(system, _)| *system);
        found
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use twinway_protocol::{
        JsonDoc, SystemId,
        spatial::{Bounds, Frame, GeoPose, GeoPosition, Point, Quaternion, ServicePlace},
    };

    use super::Places;

    /// Everywhere, and where the numbers of a map of the Earth are special.
    fn position() -> impl Strategy<Value = GeoPosition> {
        let lat = prop_oneof![Just(90.0), Just(-90.0), 89.999..90.0, -0.001..0.001_f64, 47.99..48.01];
        let lon = prop_oneof![Just(180.0), Just(-180.0), 179.999..180.0, -180.0..-179.999, 10.99..11.01];
        (lat, lon, 0.0..200.0).prop_map(|(lat, lon, h)| GeoPosition { lat, lon, h })
    }

    fn place() -> impl Strategy<Value = ServicePlace> {
        let region = ((-300.0..0.0, 1.0..300.0), (-300.0..0.0, 1.0..300.0)).prop_map(|((west, east), (south, north))| {
            format!(r#""region": {{"min": {{"x": {west}, "y": {south}, "z": -5}}, "max": {{"x": {east}, "y": {north}, "z": 5}}}}"#)
        });
        let coverage = (0.0..500.0).prop_map(|metres| format!(r#""coverageM": {metres}"#));
        (position(), prop_oneof![region, coverage], -180.0..180.0).prop_map(|(at, shape, yaw)| {
            let GeoPosition { lat, lon, h } = at;
            let text = format!(
                r#"{{"geoPose": {{"position": {{"lat": {lat}, "lon": {lon}, "h": {h}}},
                     "angles": {{"yaw": {yaw}, "pitch": 0, "roll": 0}}}}, {shape}}}"#
            );
            let document = JsonDoc::parse(text).expect("it is JSON");
            ServicePlace::read(Some(&document)).expect("it is a place").expect("there is one")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: ProptestConfig::default().cases.max(300), ..ProptestConfig::default() })]

        /// FGMV-28 7.3.3: at the poles and at the antimeridian as anywhere.
        #[test]
        fn the_tree_over_the_earth_finds_what_a_scan_finds(
            kept in prop::collection::vec((0_u32..20, prop::option::weighted(0.8, place())), 0..40),
            questions in prop::collection::vec((position(), prop_oneof![0.0..2_000.0, Just(f64::INFINITY)], 1_usize..6), 1..6),
        ) {
            let mut places = Places::default();
            let mut scanned = std::collections::BTreeMap::new();
            for (number, place) in kept {
                let id = SystemId::new(format!("s{number}")).expect("a name");
                places.keep(&id, place.clone());
                match place {
                    Some(place) => scanned.insert(id, place),
                    None => scanned.remove(&id),
                };
            }
            for (position, radius, limit) in questions {
                let map = Frame::new(GeoPose { position, quaternion: Quaternion::IDENTITY });
                let earth = map.to_earth(Point::default());
                let mut expected: Vec<_> = scanned
                    .iter()
                    .map(|(id, place)| (place.distance(earth), id))
                    .filter(|(distance, _)| *distance <= radius)
                    .collect();
                expected.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
                expected.truncate(limit);
                let all = |_: &SystemId, _: &ServicePlace| Ok::<_, Infallible>(true);
                let Ok(found) = places.near(earth, radius, limit, all);
                let found: Vec<_> = found.into_iter().map(|(distance, id, _)| (distance, id)).collect();
                prop_assert_eq!(found, expected);
                let half = radius.min(1_000.0);
                let bounds = Bounds { min: Point::new(-half, -half, -3.0), max: Point::new(half, half, 3.0) };
                let within: Vec<_> = places.within(&bounds, &map).into_iter().map(|(id, _)| id).collect();
                let expected: Vec<_> =
                    scanned.iter().filter(|(_, place)| place.reaches(&bounds, &map)).map(|(id, _)| id).collect();
                prop_assert_eq!(within, expected);
            }
        }
    }

    #[test]
    fn across_the_antimeridian_and_over_the_pole_is_near() {
        let mut places = Places::default();
        for (name, lat, lon) in [("west", 0.0, -179.9999), ("pole", 89.9999, 90.0)] {
            let text = format!(r#"{{"geoPose": {{"position": {{"lat": {lat}, "lon": {lon}, "h": 0}}}}}}"#);
            let place = ServicePlace::read(Some(&JsonDoc::parse(text).expect("JSON"))).expect("it is a place");
            places.keep(&SystemId::new(name).expect("a name"), place);
        }
        for (lat, lon, expected) in [(0.0, 179.9999, "west"), (89.9999, -90.0, "pole")] {
            let position = GeoPosition { lat, lon, h: 0.0 };
            let map = Frame::new(GeoPose { position, quaternion: Quaternion::IDENTITY });
            let all = |_: &SystemId, _: &ServicePlace| Ok::<_, Infallible>(true);
            let Ok(found) = places.near(map.to_earth(Point::default()), 30.0, 5, all);
            let names: Vec<_> = found.iter().map(|(_, id, _)| id.as_str()).collect();
            assert_eq!(names, [expected]);
        }
    }
}
