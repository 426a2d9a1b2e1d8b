//! FGMV-28 7.3.1 step 6: a map as others open it. glTF is read by a reader that is not ours, and the plan is XML.

#[cfg(test)]
mod forms {
    use std::{collections::BTreeSet, sync::Arc};

    use twinway_protocol::{
        spatial::{
            Bounds, EntryFacts, EntryView, Following, Frame, GeoPose, GeoPosition, MapRegion, MapView, ModelReference,
            Placed, Point, Pose, Quaternion, gltf, svg,
        },
        time::Timestamp,
    };

    fn frame() -> Frame {
        let position = GeoPosition { lat: 48.1, lon: 11.6, h: 520.0 };
        Frame::new(GeoPose { position, quaternion: Quaternion::IDENTITY })
    }

    fn entry(id: &str, at: Point, size: Point, title: &str) -> EntryView {
        let facts = EntryFacts {
            id: id.parse().expect("a name"),
            twin: None,
            observation: None,
            size,
            class: "machine & <more>".to_owned(),
            title: title.to_owned(),
            tags: BTreeSet::new(),
            services: Vec::new(),
            model: Some(ModelReference {
                uri: "https://models.example/a.glb".to_owned(),
                media_type: "model/gltf-binary".to_owned(),
            }),
            information: None,
        };
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let quaternion = Quaternion { x: 0.0, y: 0.0, z: half, w: half };
        let placed = Placed { pose: Pose { local: at, quaternion }, at: Timestamp::from_unix_ms(0), version: 3 };
        EntryView::new(&Arc::new(facts), &placed, &frame(), Following::None)
    }

    fn map(entries: Vec<EntryView>) -> MapView {
        MapView {
            id: "factory".parse().expect("a name"),
            metaverse: "world".parse().expect("a name"),
            title: "Hall <1> & \"2\"".to_owned(),
            anchor: frame().anchor(),
            entry_count: u32::try_from(entries.len()).expect("few"),
            entries,
            regions: vec![MapRegion {
                id: "vault".parse().expect("a name"),
                bounds: Bounds { min: Point::new(10.0, 10.0, 0.0), max: Point::new(20.0, 15.0, 3.0) },
            }],
            next: None,
        }
    }

    fn machines() -> MapView {
        map(vec![
            entry("press", Point::new(1.0, 2.0, 1.5), Point::new(2.0, 1.0, 3.0), ""),
            entry("flat", Point::new(-4.0, 0.0, 0.0), Point::new(1.0, 1.0, 0.0), "A <plate>"),
        ])
    }

    #[test]
    fn a_reader_of_gltf_that_is_not_ours_finds_every_entry_where_it_stands() {
        for map in [machines(), map(Vec::new())] {
            let text = serde_json::to_string_pretty(&gltf(&map)).expect("it is JSON");
            // The crate checks every index and what glTF 2.0 asks of members.
            let document = gltf::Gltf::from_slice(text.as_bytes()).expect("it is valid").document;
            let scene = document.default_scene().expect("there is one");
            let root = scene.nodes().next().expect("there is one");
            let found: Vec<_> = root.children().collect();
            assert_eq!(found.len(), map.entries.len());
            for (node, entry) in found.iter().zip(&map.entries) {
                assert_eq!(node.name(), Some(entry.id.as_str()));
                let (at, turn, scale) = node.transform().decomposed();
                let (own, size) = (entry.pose.local, entry.size);
                assert_eq!(at, [own.x as f32, own.y as f32, own.z as f32]);
                assert_eq!(turn[2], entry.pose.quaternion.z as f32);
                // What has no extent could not be seen.
                assert_eq!(scale, [size.x as f32, size.y as f32, (size.z as f32).max(0.01)]);
                let primitive = node.mesh().expect("it is drawn").primitives().next().expect("there is one");
                let bounds = primitive.bounding_box();
                assert_eq!((bounds.min, bounds.max), ([-0.5; 3], [0.5; 3]));
                assert_eq!(primitive.indices().expect("it has some").count() % 3, 0);
            }
            // z of a map is up, and y of glTF is: the root turns it.
            let [x, y, z, w] = root.transform().decomposed().1;
            let up = turned([x, y, z, w], [0.0, 0.0, 1.0]);
            assert!((up[1] - 1.0).abs() < 1e-6 && up[0].abs() < 1e-6 && up[2].abs() < 1e-6, "{up:?}");
        }
    }

    fn turned([x, y, z, w]: [f32; 4], v: [f32; 3]) -> [f32; 3] {
        let cross = |a: [f32; 3], b: [f32; 3]| {
            [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
        };
        let t = cross([x, y, z], v).map(|part| 2.0 * part);
        let u = cross([x, y, z], t);
        [v[0] + w * t[0] + u[0], v[1] + w * t[1] + u[1], v[2] + w * t[2] + u[2]]
    }

    #[test]
    fn the_plan_shows_every_entry_and_region_with_its_name_and_no_text_breaks_it() {
        let plan = svg(&machines());
        assert_eq!(plan.matches("<polygon").count(), 2);
        assert!(
            plan.contains(">press</text>")
                && plan.contains(">A &lt;plate&gt;</text>")
                && plan.contains(">vault</text>")
        );
        assert!(plan.contains("<title>Hall &lt;1&gt; &amp; &quot;2&quot;</title>"), "{plan}");
        assert!(!plan.contains("NaN") && !plan.contains("inf"), "{plan}");
        // North is up: what is further north has the lower y.
        let y_of = |name: &str| -> f64 {
            let (before, _) = plan.split_once(&format!(">{name}</text>")).expect("it is there");
            let at = before.rsplit("y=\"").next().expect("it has one");
            at.trim_end_matches('"').split('"').next().expect("it ends").parse().expect("a number")
        };
        assert!(y_of("press") < y_of("A &lt;plate&gt;"), "{plan}");
        let empty = svg(&MapView { regions: Vec::new(), ..map(Vec::new()) });
        assert!(empty.ends_with("</svg>\n") && !empty.contains("NaN") && !empty.contains("inf"), "{empty}");
    }
}
