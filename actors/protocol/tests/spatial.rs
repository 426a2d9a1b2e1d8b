//! FGMV-28 7.3: poses go from one form and frame to another and come back, and what is no pose is refused with its place.

use proptest::prelude::*;
use twinway_protocol::{
    JsonDoc,
    spatial::{
        Angles, Bounds, Frame, GeoPose, GeoPosition, LocalizationRequest, MediaType, ObservationId, Point, Pose,
        PoseDocument, Quaternion, ServicePlace,
    },
};

fn angles() -> impl Strategy<Value = Angles> {
    (-179.9..179.9, -89.9..89.9, -179.9..179.9).prop_map(|(yaw, pitch, roll)| Angles { yaw, pitch, roll })
}

fn geo() -> impl Strategy<Value = GeoPose> {
    (-90.0..=90.0, -180.0..=180.0, -11_000.0..90_000.0, angles())
        .prop_map(|(lat, lon, h, angles)| GeoPose { position: GeoPosition { lat, lon, h }, quaternion: angles.into() })
}

fn local() -> impl Strategy<Value = Pose> {
    (-90_000.0..90_000.0, -90_000.0..90_000.0, -9_000.0..9_000.0, angles())
        .prop_map(|(x, y, z, angles)| Pose { local: Point::new(x, y, z), quaternion: angles.into() })
}

/// Two unit quaternions are one turn when they differ in their sign only.
fn same_turn(a: Quaternion, b: Quaternion) -> bool {
    let dot = a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
    (dot.abs() - 1.0).abs() < 1e-9
}

fn frame(lat: f64, lon: f64) -> Frame {
    Frame::new(GeoPose { position: GeoPosition { lat, lon, h: 0.0 }, quaternion: Quaternion::IDENTITY })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: ProptestConfig::default().cases.max(2_000), ..ProptestConfig::default() })]

    #[test]
    fn angles_and_quaternions_say_the_same(angles in angles()) {
        let back = Angles::from(Quaternion::from(angles));
        prop_assert!(same_turn(back.into(), angles.into()));
        prop_assert!((back.yaw - angles.yaw).abs() < 1e-6 && (back.pitch - angles.pitch).abs() < 1e-6);
    }

    #[test]
    fn a_pose_of_a_map_comes_back_from_the_earth(anchor in geo(), pose in local()) {
        let frame = Frame::new(anchor);
        let back = frame.to_local(&frame.to_geo(&pose));
        prop_assert!(back.local.distance_2(pose.local) < 1e-10, "{back:?}");
        prop_assert!(same_turn(back.quaternion, pose.quaternion));
    }

    #[test]
    fn a_geo_pose_is_read_back_from_both_of_its_forms(pose in geo()) {
        for document in [PoseDocument::from(pose), pose.in_angles()] {
            let text = serde_json::to_string(&document).expect("it is JSON");
            let read: PoseDocument = serde_json::from_str(&text).expect("it is a pose");
            let read = read.geo().expect("it is acceptable");
            // What is read from text may differ in the last digit.
            let (a, b) = (read.position, pose.position);
            prop_assert!((a.lat - b.lat).abs() < 1e-9 && (a.lon - b.lon).abs() < 1e-9 && (a.h - b.h).abs() < 1e-6);
            prop_assert!(same_turn(read.quaternion, pose.quaternion));
        }
    }

    #[test]
    fn no_numbers_make_the_reader_fail_or_take_what_is_none(numbers in prop::array::uniform10(prop_oneof![
        3 => -200.0..200.0,
        1 => any::<f64>(),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1e300)],
    ])) {
        let [a, b, c, d, e, f, g, h, i, j] = numbers;
        let (angles, quaternion) = (Angles { yaw: d, pitch: e, roll: f }, Quaternion { x: g, y: h, z: i, w: j });
        let (position, local) = (GeoPosition { lat: a, lon: b, h: c }, Point::new(a, b, c));
        let empty = PoseDocument::default();
        let finite = |of: &[f64]| of.iter().all(|number| number.is_finite());
        for document in [
            PoseDocument { position: Some(position), angles: Some(angles), ..empty },
            PoseDocument { position: Some(position), quaternion: Some(quaternion), ..empty },
            PoseDocument { local: Some(local), angles: Some(angles), ..empty },
            PoseDocument { local: Some(local), quaternion: Some(quaternion), ..empty },
            PoseDocument { local: Some(local), ..empty },
        ] {
            match frame(0.0, 0.0).read(&document) {
                Err(problem) => prop_assert!(problem.pointer.is_some(), "{problem}"),
                Ok(pose) => {
                    prop_assert!(finite(&[a, b, c]) && pose.local.is_finite());
                    let q = pose.quaternion;
                    prop_assert!((q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w - 1.0).abs() < 1e-9);
                }
            }
        }
    }
}

#[test]
fn east_north_and_up_are_the_axes_of_a_map() {
    let frame = frame(48.0, 11.0);
    let at = |lat: f64, lon: f64, h: f64| {
        let position = GeoPosition { lat, lon, h };
        frame.to_local(&GeoPose { position, quaternion: Quaternion::IDENTITY }).local
    };
    // A minute of latitude is a nautical mile, and one of longitude at 48° two thirds of it.
    let north = at(48.0 + 1.0 / 60.0, 11.0, 0.0);
    assert!((north.y - 1_853.0).abs() < 2.0 && north.x.abs() < 0.01, "{north:?}");
    let east = at(48.0, 11.0 + 1.0 / 60.0, 0.0);
    assert!((east.x - 1_244.0).abs() < 2.0 && east.y.abs() < 1.0, "{east:?}");
    let up = at(48.0, 11.0, 25.0);
    assert!(up.distance_2(Point::new(0.0, 0.0, 25.0)) < 1e-12, "{up:?}");
}

#[test]
fn what_is_no_pose_is_refused_with_its_place() {
    let read = |text: &str| {
        let document: PoseDocument = serde_json::from_str(text).map_err(|_| "not read".to_owned())?;
        frame(0.0, 0.0).read(&document).map_err(|problem| problem.pointer.unwrap_or_default())
    };
    let refused = |text: &str, at: &str| assert_eq!(read(text).expect_err(text), at, "{text}");
    refused(r#"{"position":{"lat":91,"lon":0,"h":0},"angles":{"yaw":0,"pitch":0,"roll":0}}"#, "/position/lat");
    refused(r#"{"position":{"lat":0,"lon":-181,"h":0},"angles":{"yaw":0,"pitch":0,"roll":0}}"#, "/position/lon");
    refused(r#"{"position":{"lat":0,"lon":0,"h":1e9},"angles":{"yaw":0,"pitch":0,"roll":0}}"#, "/position/h");
    refused(r#"{"position":{"lat":0,"lon":0,"h":0}}"#, "/angles");
    refused(r#"{"position":{"lat":0,"lon":0,"h":0},"quaternion":{"x":0,"y":0,"z":0,"w":2}}"#, "/quaternion");
    refused(r#"{"local":{"x":0,"y":0,"z":0},"angles":{"yaw":0,"pitch":999,"roll":0}}"#, "/angles/pitch");
    refused(r#"{"local":{"x":1e6,"y":0,"z":0}}"#, "/local");
    // Ten degrees of longitude are further away than a map reaches.
    refused(r#"{"position":{"lat":0,"lon":10,"h":0},"angles":{"yaw":0,"pitch":0,"roll":0}}"#, "/position");
    refused(r#"{"angles":{"yaw":0,"pitch":0,"roll":0}}"#, "/position");
    refused(r#"{"local":{"x":1e999,"y":0,"z":0}}"#, "not read");
    refused(r#"{"local":{"x":0,"y":0,"z":0},"speed":3}"#, "not read");
    let pose = read(r#"{"local":{"x":1,"y":2,"z":3}}"#).expect("it is a pose");
    assert_eq!(pose, Pose { local: Point::new(1.0, 2.0, 3.0), quaternion: Quaternion::IDENTITY });
}

#[test]
fn a_question_without_a_place_or_with_two_is_refused() {
    let read = |text: &str| {
        let request: LocalizationRequest = serde_json::from_str(text).expect("it is JSON of the form");
        request.read(&frame(0.0, 0.0)).map(|_| ()).map_err(|problem| problem.pointer.unwrap_or_default())
    };
    let origin = r#""near":{"local":{"x":0,"y":0,"z":0}}"#;
    let cube = r#""bounds":{"min":{"x":0,"y":0,"z":0},"max":{"x":1,"y":1,"z":1}}"#;
    assert_eq!(read("{}"), Err("/near".to_owned()));
    assert_eq!(read(&format!("{{{origin},{cube}}}")), Err("/bounds".to_owned()));
    assert_eq!(read(&format!("{{{cube},\"radiusM\":3}}")), Err("/radiusM".to_owned()));
    assert_eq!(read(&format!("{{{origin},\"radiusM\":-3}}")), Err("/radiusM".to_owned()));
    assert_eq!(read(&format!("{{{origin},\"limit\":0}}")), Err("/limit".to_owned()));
    assert_eq!(read(r#"{"bounds":{"min":{"x":2,"y":0,"z":0},"max":{"x":1,"y":1,"z":1}}}"#), Err("/bounds".to_owned()));
    assert_eq!(read(&format!("{{{origin},\"radiusM\":3,\"limit\":10}}")), Ok(()));
    assert_eq!(read(&format!("{{{cube}}}")), Ok(()));
}

#[test]
fn bytes_are_what_they_begin_as() {
    let jpeg = MediaType::read("Image/JPEG; q=1").expect("it is known");
    assert!(jpeg.check(&[0xff, 0xd8, 0xff, 0xe0]).is_ok());
    assert!(jpeg.check(b"<html>").is_err() && jpeg.check(&[]).is_err());
    assert!(MediaType::Webp.check(b"RIFF\x01\x02\x03\x04WEBP").is_ok());
    assert!(MediaType::Webp.check(b"RIFF\x01\x02\x03\x04WAVE").is_err());
    assert!(MediaType::Glb.check(b"glTF\x02\0\0\0\0\0\0\0").is_ok());
    assert!(MediaType::read("text/html").is_err());
    let id = ObservationId::of_digest([0xab; 32]);
    assert_eq!(id.as_str().parse::<ObservationId>().ok(), Some(id));
    assert!("../../etc/passwd".parse::<ObservationId>().is_err());
}

#[test]
fn a_box_of_a_map_has_three_dimensions_and_finite_corners() {
    let unit = Bounds { min: Point::new(0.0, 0.0, 0.0), max: Point::new(1.0, 1.0, 1.0) };
    assert!(unit.contains(Point::new(1.0, 0.0, 0.5)));
    for outside in [Point::new(0.5, 0.5, 1.5), Point::new(0.5, 1.5, 0.5), Point::new(-0.5, 0.5, 0.5)] {
        assert!(!unit.contains(outside), "{outside:?}");
        assert!(unit.nearest(outside).distance_2(outside) > 0.2);
    }
    let frame = frame(48.0, 11.0);
    for wrong in [f64::NAN, f64::INFINITY] {
        let bounds = Bounds { max: Point::new(1.0, 1.0, wrong), ..unit };
        let request = LocalizationRequest { bounds: Some(bounds), ..LocalizationRequest::default() };
        assert!(request.read(&frame).is_err(), "{wrong}");
    }
}

/// A box of at most 40 m whose middle is at most 20 m from the origin along each axis.
fn bounds() -> impl Strategy<Value = Bounds> {
    let side = || (-20.0..20.0, prop_oneof![Just(0.0), 0.0..20.0]);
    (side(), side(), side()).prop_map(|(x, y, z)| Bounds {
        min: Point::new(x.0 - x.1, y.0 - y.1, z.0 - z.1),
        max: Point::new(x.0 + x.1, y.0 + y.1, z.0 + z.1),
    })
}

/// Whether a line between two corners of one box passes through another of another frame that is larger by a margin, in
/// metres: of two boxes that have a place in common, one has such a line, since one has such an edge.
fn a_line_passes((own, map): (&Bounds, &Frame), (its, frame): (&Bounds, &Frame), margin: f64) -> bool {
    let corners = own.corners().map(|corner| frame.from_earth(map.to_earth(corner)));
    let mut lines = corners.iter().flat_map(|from| corners.iter().map(move |to| (from, to)));
    lines.any(|(from, to)| {
        // From where to where it is between two sides of the other, as shares of its way.
        let (mut enters, mut leaves) = (0.0_f64, 1.0_f64);
        for (min, max, from, to) in [
            (its.min.x, its.max.x, from.x, to.x),
            (its.min.y, its.max.y, from.y, to.y),
            (its.min.z, its.max.z, from.z, to.z),
        ] {
            let (a, b) = ((min - margin - from) / (to - from), (max + margin - from) / (to - from));
            enters = enters.max(a.min(b));
            leaves = leaves.min(a.max(b));
        }
        enters <= leaves
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: ProptestConfig::default().cases.max(1_000), ..ProptestConfig::default() })]

    /// FGMV-28 7.3.3: a map and a region may be turned against each other in any way.
    #[test]
    fn a_region_reaches_into_a_box_of_a_map_exactly_when_they_have_a_place_in_common(
        map in angles(),
        own in bounds(),
        its in bounds(),
        turned in angles(),
    ) {
        let at = |angles: Angles| Frame::new(GeoPose {
            position: GeoPosition { lat: 48.0, lon: 11.0, h: 0.0 },
            quaternion: angles.into(),
        });
        let Angles { yaw, pitch, roll } = turned;
        let region = serde_json::to_string(&its).expect("it is JSON");
        let text = format!(
            r#"{{"geoPose": {{"position": {{"lat": 48.0, "lon": 11.0, "h": 0.0}},
                 "angles": {{"yaw": {yaw}, "pitch": {pitch}, "roll": {roll}}}}}, "region": {region}}}"#
        );
        let place = place(&text).expect("it is a place");
        let (own_in, its_in) = ((&own, &at(map)), (&its, &at(turned)));
        let meet = |margin| a_line_passes(own_in, its_in, margin) || a_line_passes(its_in, own_in, margin);
        let reaches = place.reaches(&own, &at(map));
        // What is nearer than rounding is neither.
        prop_assert!(reaches || !meet(-1e-6));
        prop_assert!(!reaches || meet(1e-6));
    }
}

fn place(text: &str) -> Result<ServicePlace, Option<String>> {
    let document = JsonDoc::parse(text).map_err(|error| Some(error.to_string()))?;
    let read = ServicePlace::read(Some(&document)).map_err(|problem| problem.pointer.map(|at| at.to_string()))?;
    read.ok_or(None)
}

/// FGMV-28 7.3.3: where a third-party system offers its services.
#[test]
fn where_services_are_offered_is_a_point_a_ball_or_a_box_on_the_earth_or_refused_with_its_place() {
    let at = r#""geoPose": {"position": {"lat": 48.1, "lon": 11.6, "h": 500.0}}"#;
    let frame = frame(48.1, 11.6);
    let from = |place: &ServicePlace, x: f64, z: f64| {
        let up = z + 500.0;
        (place.distance(frame.to_earth(Point::new(x, 0.0, up))) * 1_000.0).round() / 1_000.0
    };
    let point = place(&format!("{{{at}}}")).expect("it is a place");
    assert_eq!((from(&point, 0.0, 0.0), from(&point, 3.0, 4.0)), (0.0, 5.0));
    let ball = place(&format!(r#"{{{at}, "coverageM": 2}}"#)).expect("it is a place");
    assert_eq!((from(&ball, 1.5, 0.0), from(&ball, 3.0, 4.0)), (0.0, 3.0));
    let region = r#""region": {"min": {"x": -5, "y": -1, "z": 0}, "max": {"x": 5, "y": 1, "z": 3}}"#;
    let hall = place(&format!("{{{at}, {region}}}")).expect("it is a place");
    assert_eq!((from(&hall, 5.0, 3.0), from(&hall, 8.0, 7.0), from(&hall, 0.0, -2.0)), (0.0, 5.0, 2.0));
    // Turned by a quarter, the long side of the hall goes north.
    let turned = at.replace("}}", r#"}, "angles": {"yaw": 90, "pitch": 0, "roll": 0}}"#);
    let turned = place(&format!("{{{turned}, {region}}}")).expect("it is a place");
    assert_eq!(from(&turned, 5.0, 1.0), 4.0);
    for (text, pointer) in [
        (format!(r#"{{{at}, "coverageM": 1e9}}"#), Some("/coverageM")),
        (format!(r#"{{{at}, "coverageM": -1}}"#), Some("/coverageM")),
        (format!(r#"{{{at}, "coverageM": 1, {region}}}"#), Some("/region")),
        (format!("{{{at}, {}}}", region.replace("-5", "7")), Some("/region/bounds")),
        (format!("{{{at}, {}}}", region.replace("-5", "-1e7")), Some("/region")),
        (format!("{{{}}}", at.replace("48.1", "91")), Some("/geoPose/position/lat")),
        (r#"{"geoPose": {"local": {"x": 0, "y": 0, "z": 0}}}"#.to_owned(), Some("/geoPose/local")),
        (r#""Berlin""#.to_owned(), None),
    ] {
        assert_eq!(place(&text).expect_err("it is none").as_deref(), pointer, "{text}");
    }
    assert_eq!(ServicePlace::read(None), Ok(None));
}
