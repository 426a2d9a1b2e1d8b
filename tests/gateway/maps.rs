//! Spatial maps over sockets (FGMV-28 7.3.1, 7.3.2 and 7.3.3), judged by the flow files, and what is refused.

use std::sync::Arc;

use futures_util::join;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use twinway::{
    enabler::EnablerOptions,
    gateway::{GatewayConfig, NoHost},
    monitor::Monitor,
    observations::{MemoryStore, Observations},
    scenarios::flow::find,
};

use crate::{
    sessions::{Socket, hear, say},
    support::{World, json_of, problem, world, world_of, world_with},
};

pub(crate) const PNG: &[u8] = b"\x89PNG\r\n\x1a\nthe rest is no matter";
pub(crate) const POSE: &str = r#"{"local":{"x":1,"y":2,"z":1.5}}"#;

fn plant() -> Value {
    let twin = |id: &str| {
        json!({"id": id, "physicalObject": format!("urn:{id}"), "description": {
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": id,
            "securityDefinitions": {"nosec_sc": {"scheme": "nosec"}}, "security": "nosec_sc",
            "properties": {"pose": {"type": "object", "forms": [{"href": "/pose"}]}},
        }})
    };
    json!({"id": "home", "type": "factory", "title": "A plant", "twins": [twin("robot"), twin("press")]})
}

pub(crate) fn factory() -> Value {
    let corner = |x: i32, y: i32, z: i32| json!({"x": x, "y": y, "z": z});
    json!({
        "title": "Factory",
        "anchor": {"position": {"lat": 48.1, "lon": 11.6, "h": 520.0}, "angles": {"yaw": 0, "pitch": 0, "roll": 0}},
        "access": {"thirdParties": ["shop"]},
        "regions": [{"id": "vault", "bounds": {"min": corner(100, 100, 0), "max": corner(200, 200, 10)}}],
    })
}

pub(crate) fn entry(id: &str, x: f64, y: f64) -> Value {
    json!({"id": id, "pose": {"local": {"x": x, "y": y, "z": 0}}})
}

impl World {
    pub(crate) async fn put(&self, token: &str, path: &str, body: Value) -> reqwest::Response {
        self.ask(token, Method::PUT, path).json(&body).send().await.expect("it answers")
    }

    /// A plant with two twins, a map, and ada's device.
    pub(crate) async fn factory(&self) {
        json_of(self.post("home-token", "/dii/v1/systems", plant()).await, StatusCode::CREATED).await;
        assert_eq!(self.put("world-token", "/mii/v1/maps/factory", factory()).await.status(), 204);
        assert_eq!(self.post("ada-token", "/mii/v1/devices", json!({"metaverse": "world"})).await.status(), 204);
    }

    pub(crate) async fn entries(&self, entries: Value) -> reqwest::Response {
        self.post("world-token", "/mii/v1/maps/factory/entries", json!({"entries": entries})).await
    }

    pub(crate) async fn map(&self, query: &str) -> Value {
        let path = format!("/mii/v1/maps/factory{query}");
        json_of(self.get("world-token", &path).await, StatusCode::OK).await
    }

    pub(crate) async fn upload(&self, query: &str, media: &str, bytes: &'static [u8]) -> reqwest::Response {
        let request = self.ask("ada-token", Method::POST, &format!("/device/v1/observations?{query}"));
        request.header(header::CONTENT_TYPE, media).body(bytes).send().await.expect("it answers")
    }

    pub(crate) async fn request_observations(&self) -> Value {
        let wanted = json!({"user": "ada", "twinSystem": "home", "wanted": "the press"});
        let asked = self.post("world-token", "/mii/v1/maps/factory/observation-requests", wanted).await;
        json_of(asked, StatusCode::CREATED).await["request"].clone()
    }
}

/// The next event of this type.
pub(crate) async fn event(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let frame = hear(socket).await.expect("an event");
        if frame["event"]["type"] == format!("io.twinway.{kind}") {
            return frame["event"]["data"].clone();
        }
    }
}

pub(crate) fn names(map: &Value) -> Vec<&str> {
    let entries = map["entries"].as_array().expect("a list");
    entries.iter().filter_map(|entry| entry["id"].as_str().or_else(|| entry["entry"]["id"].as_str())).collect()
}

fn monitored() -> (Monitor, EnablerOptions) {
    let flows: Vec<_> = ["7.3.1", "7.3.2", "7.3.3"].iter().filter_map(|name| find(name)).collect();
    let (monitor, feed) = Monitor::begin(&flows).expect("it begins");
    (monitor, EnablerOptions { trace: Some(feed), ..EnablerOptions::default() })
}

/// Every edge of these flows was taken, each because of the step before.
fn judge(monitor: Monitor, expected: [u64; 3]) {
    for ((flow, report), satisfied) in monitor.finish().expect("it ends").into_iter().zip(expected) {
        assert!(report.is_strictly_held(), "{}: {report:?}", flow.name());
        assert!(report.verdicts().satisfied >= satisfied, "{}: {:?}", flow.name(), report.verdicts());
    }
}

#[actix_web::test]
async fn the_three_scenarios_of_7_3_hold_over_sockets() {
    let (monitor, options) = monitored();
    let world = world_of(GatewayConfig::default(), Arc::new(NoHost), options).await;
    world.factory().await;
    let mut plant = world.open("home-token", "/dii/v1/session").await;
    let mut plaza = world.open("world-token", "/mii/v1/session").await;

    // 7.3.1: asked for, recorded, uploaded, made into a twin, put on the map, and sent to the user.
    assert_eq!(world.post("ada-token", "/device/v1/captures", json!({})).await.status(), 204);
    let request = world.request_observations().await;
    let query = format!("request={request}&serialNumber=P-7&pose={POSE}");
    let observed = json_of(world.upload(&query, "image/png", PNG).await, StatusCode::CREATED).await;
    let told = event(&mut plant, "observation.uploaded").await;
    assert_eq!((&told["observation"], &told["purpose"]["user"]), (&observed, &json!("ada")));
    let id = observed["id"].as_str().expect("text");
    let read = world.get("home-token", &format!("/dii/v1/observations/{id}")).await;
    assert_eq!(read.headers()[header::CONTENT_TYPE], "image/png");
    assert_eq!(&read.bytes().await.expect("a body")[..], PNG);
    let entries = json!([
        {"twin": "press", "observation": id, "pose": serde_json::from_str::<Value>(POSE).expect("JSON"),
         "size": {"x": 2, "y": 1, "z": 3}, "class": "machine", "tags": ["manual"],
         "services": [{"system": "shop", "operation": "spare-parts"}], "information": {"oil": "low"}},
        {"twin": "robot", "pose": {"position": {"lat": 48.1, "lon": 11.6, "h": 520.0},
                                   "quaternion": {"x": 0, "y": 0, "z": 0, "w": 1}}},
    ]);
    let made = json!({"user": "ada", "entries": entries});
    let made = json_of(world.post("home-token", "/dii/v1/maps/world/factory/twins", made).await, StatusCode::OK).await;
    assert_eq!(made["entryCount"], 2);
    let shown = json_of(world.get("ada-token", "/device/v1/maps/world/factory").await, StatusCode::OK).await;
    assert_eq!(names(&shown), ["press", "robot"]);
    assert_eq!(shown["entries"][0]["pose"]["local"], json!({"x": 1.0, "y": 2.0, "z": 1.5}));

    // 7.3.2: the user lets the robot's location be kept the same; what it reports moves it, and older does not.
    assert_eq!(world.post("world-token", "/mii/v1/selections", json!({"select": ["robot"]})).await.status(), 200);
    let wanted = json!({"user": "ada", "twins": ["robot"], "rights": ["read"]});
    let granted = world.post("world-token", "/mii/v1/permissions", wanted);
    let describe = async {
        let asked = hear(&mut plant).await.expect("a request");
        let grant = json!({"describeTwins": {"twins": [{"twin": "robot", "properties": {}, "rights": ["read"]}]}});
        say(&mut plant, json!({"answer": asked["request"], "data": grant})).await;
    };
    assert_eq!(join!(granted, describe).0.status(), 200);
    let whole = json!({"min": {"x": -50, "y": -50, "z": -50}, "max": {"x": 50, "y": 50, "z": 50}});
    let watch = json!({"bounds": whole, "user": "ada"});
    let watch = world.post("world-token", "/mii/v1/maps/factory/watches", watch).await;
    assert_eq!(json_of(watch, StatusCode::CREATED).await["watch"], 0);
    let allowed = json!({"twin": "robot", "twinSystem": "home", "metaverse": "world", "map": "factory"});
    assert_eq!(world.post("ada-token", "/device/v1/locations", allowed).await.status(), 204);
    for (x, at) in [(1.0, "2001-01-01T00:00:01Z"), (2.0, "2001-01-01T00:00:02Z")] {
        let pose = json!({"local": {"x": x, "y": 0, "z": 0}});
        let report = json!({"twin": "robot", "values": {"pose": pose}, "at": at});
        assert_eq!(world.post("home-token", "/dii/v1/changes", report).await.status(), 200);
    }
    // The entry was put there just now: what the robot says of 2001 is older, and does not move it.
    assert_eq!(world.map("").await["entries"][1]["pose"]["local"]["x"], 0.0);
    for x in [3.0, 4.0, 500.0] {
        let report = json!({"twin": "robot", "values": {"pose": {"local": {"x": x, "y": 0, "z": 0}}}});
        assert_eq!(world.post("home-token", "/dii/v1/changes", report).await.status(), 200);
    }
    for (change, x) in [("followed", json!(0.0)), ("moved", json!(3.0)), ("moved", json!(4.0)), ("left", Value::Null)] {
        let told = event(&mut plaza, "map.changed").await;
        let told = &told["changes"][0];
        assert_eq!((&told["entry"], &told["change"]), (&json!("robot"), &json!(change)));
        assert_eq!(told["pose"]["local"]["x"], x);
    }

    // 7.3.3: what is there, for the user on the spot by the twin system, and from afar.
    let near = json!({"near": {"local": {"x": 0, "y": 0, "z": 0}}, "radiusM": 10});
    let asked = json!({"twinSystem": "home", "metaverse": "world", "map": "factory", "request": near});
    let found = json_of(world.post("ada-token", "/device/v1/localizations", asked).await, StatusCode::OK).await;
    assert_eq!(names(&found), ["press"]);
    assert_eq!(found["services"], json!([{"system": "shop", "operation": "spare-parts"}]));
    assert_eq!(found["entries"][0]["entry"]["information"], json!({"oil": "low"}));
    json_of(
        world.post("shop-token", "/sii/v1/systems", json!({"id": "shop", "type": "s", "title": "S"})).await,
        StatusCode::CREATED,
    )
    .await;
    let asked = json!({"metaverse": "world", "map": "factory", "request": near});
    let afar = json_of(world.post("shop-token", "/sii/v1/localizations", asked).await, StatusCode::OK).await;
    assert_eq!(afar["entries"], found["entries"]);
    world.end().await;
    judge(monitor, [3, 2, 3]);
}

#[actix_web::test]
async fn nobody_sees_what_a_region_hides_and_the_nearest_come_first() {
    let world = world().await;
    world.factory().await;
    let put = json!([entry("a", 3.0, 0.0), entry("b", 1.0, 0.0), entry("c", 2.0, 0.0), entry("gold", 150.0, 150.0)]);
    assert_eq!(world.entries(put).await.status(), 204);
    let ask = async |query: &str, request: Value| {
        let path = format!("/mii/v1/maps/factory/localizations{query}");
        json_of(world.post("world-token", &path, request).await, StatusCode::OK).await
    };
    let near = json!({"near": {"local": {"x": 0, "y": 0, "z": 0}}});
    assert_eq!(names(&ask("", near.clone()).await), ["b", "c", "a", "gold"]);
    // FGMV-28 7.3: a user is shown what that user may see.
    assert_eq!(names(&ask("?user=ada", near.clone()).await), ["b", "c", "a"]);
    assert_eq!(names(&world.map("?user=ada").await), ["a", "b", "c"]);
    assert_eq!(names(&world.map("").await), ["a", "b", "c", "gold"]);
    let all = json!({"min": {"x": 0, "y": 0, "z": 0}, "max": {"x": 2, "y": 2, "z": 2}});
    assert_eq!(names(&ask("", json!({"bounds": all})).await), ["b", "c"]);
    assert_eq!(names(&ask("", json!({"near": near["near"], "limit": 1})).await), ["b"]);
    let page = world.map("?limit=3").await;
    assert_eq!(page["next"], "c");
    assert_eq!(names(&world.map("?cursor=c").await), ["gold"]);
    let gone = world.ask("world-token", Method::DELETE, "/mii/v1/maps/factory/entries/gold").send().await;
    assert_eq!(gone.expect("it answers").status(), 204);
    assert_eq!(names(&world.map("").await), ["a", "b", "c"]);

    // Only some users may look at a map, or nobody but the system.
    let mut closed = factory();
    closed["access"] = json!({"users": ["eve"]});
    assert_eq!(world.put("world-token", "/mii/v1/maps/factory", closed).await.status(), 204);
    problem(world.get("ada-token", "/device/v1/maps/world/factory").await, "map-unknown").await;
    let asked = json!({"metaverse": "world", "map": "factory", "request": near});
    json_of(
        world.post("shop-token", "/sii/v1/systems", json!({"id": "shop", "type": "s", "title": "S"})).await,
        StatusCode::CREATED,
    )
    .await;
    problem(world.post("shop-token", "/sii/v1/localizations", asked).await, "permission-missing").await;
    world.end().await;
}

#[actix_web::test]
async fn what_is_not_acceptable_is_told_with_its_place_and_the_map_stays_as_it_was() {
    let world = world().await;
    world.factory().await;
    assert_eq!(world.entries(json!([entry("a", 3.0, 0.0)])).await.status(), 204);
    let before = world.map("").await;
    let far = json!([entry("b", 1.0, 0.0), entry("c", 1e7, 0.0)]);
    assert_eq!(problem(world.entries(far).await, "invalid-document").await["pointer"], "/entries/1/pose/local");
    let mut large = entry("b", 0.0, 0.0);
    large["size"] = json!({"x": -1, "y": 0, "z": 0});
    let refused = problem(world.entries(json!([large])).await, "invalid-document").await;
    assert_eq!(refused["pointer"], "/entries/0/size/x");
    let moves = json!({"updates": [{"entry": "a", "pose": {"local": {"x": 9, "y": 0, "z": 0}}},
                                   {"entry": "nobody", "pose": {"local": {"x": 9, "y": 0, "z": 0}}}]});
    let refused = world.post("world-token", "/mii/v1/maps/factory/locations", moves).await;
    assert_eq!(problem(refused, "map-entry-unknown").await["pointer"], "/updates/1/entry");
    let nan = r#"{"updates":[{"entry":"a","pose":{"local":{"x":NaN,"y":0,"z":0}}}]}"#;
    let request = world.ask("world-token", Method::POST, "/mii/v1/maps/factory/locations");
    let refused = request.header(header::CONTENT_TYPE, "application/json").body(nan).send().await.expect("it answers");
    problem(refused, "invalid-document").await;
    let mut moved = factory();
    moved["anchor"]["position"]["lat"] = json!(50);
    problem(world.put("world-token", "/mii/v1/maps/factory", moved).await, "already-registered").await;
    let mut nowhere = factory();
    nowhere["anchor"]["position"]["lat"] = json!(-91);
    let refused = problem(world.put("world-token", "/mii/v1/maps/other", nowhere).await, "invalid-document").await;
    assert_eq!(refused["pointer"], "/anchor/position/lat");
    problem(world.get("world-token", "/mii/v1/maps/other").await, "map-unknown").await;
    // Nobody asked this system for twins.
    let made = json!({"entries": [{"twin": "robot", "pose": {"local": {"x": 0, "y": 0, "z": 0}}}]});
    problem(world.post("home-token", "/dii/v1/maps/world/factory/twins", made).await, "not-allowed").await;
    world.request_observations().await;
    let other = json!({"entries": [{"twin": "elsewhere", "pose": {"local": {"x": 0, "y": 0, "z": 0}}}]});
    let refused = world.post("home-token", "/dii/v1/maps/world/factory/twins", other).await;
    assert_eq!(problem(refused, "twin-unknown").await["pointer"], "/entries/0/twin");
    // 7.3.2: without a permission to read the twin nobody follows it.
    assert_eq!(
        world.entries(json!([{"twin": "robot", "pose": {"local": {"x": 0, "y": 0, "z": 0}}}])).await.status(),
        204
    );
    let allowed = json!({"twin": "robot", "twinSystem": "home", "metaverse": "world", "map": "factory"});
    problem(world.post("ada-token", "/device/v1/locations", allowed).await, "permission-missing").await;
    assert_eq!(world.map("").await["entries"][0], before["entries"][0]);
    world.end().await;
}

#[actix_web::test]
async fn an_upload_that_is_not_what_it_says_too_large_or_not_asked_for_is_refused() {
    let config = GatewayConfig { upload_bytes_max: 1_000, ..GatewayConfig::default() };
    let observations = Observations::new(MemoryStore::new(40));
    let options = EnablerOptions { observations, ..EnablerOptions::default() };
    let world = world_of(config, Arc::new(NoHost), options).await;
    world.factory().await;
    let query = |request: &Value| format!("request={request}&pose={POSE}");
    problem(world.upload(&query(&json!(1)), "image/png", PNG).await, "observation-unknown").await;
    let request = world.request_observations().await;
    problem(world.upload(&query(&request), "image/jpeg", PNG).await, "media-type-unsupported").await;
    problem(world.upload(&query(&request), "text/html", PNG).await, "media-type-unsupported").await;
    problem(world.upload(&query(&request), "image/png", &[7; 2_000]).await, "body-too-large").await;
    let nowhere = format!("request={request}&pose={{\"local\":{{\"x\":1e9,\"y\":0,\"z\":0}}}}");
    let refused = problem(world.upload(&nowhere, "image/png", PNG).await, "invalid-document").await;
    assert_eq!(refused["pointer"], "/local");
    json_of(world.upload(&query(&request), "image/png", PNG).await, StatusCode::CREATED).await;
    let other = b"\x89PNG\r\n\x1a\nthere is no more room for this";
    problem(world.upload(&query(&request), "image/png", other).await, "limit-reached").await;
    assert_eq!(world.map("").await["entryCount"], 0);
    world.end().await;
}

#[actix_web::test]
async fn an_upload_that_does_not_say_how_long_it_is_ends_at_the_limit() {
    let config = GatewayConfig { upload_bytes_max: PNG.len() as u64, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    world.factory().await;
    let request = world.request_observations().await;
    for (pieces, uploaded) in [(vec![PNG], true), (vec![PNG, b"!"], false)] {
        let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        let upload =
            world.ask("ada-token", Method::POST, &format!("/device/v1/observations?request={request}&pose={POSE}"));
        let upload = upload.header(header::CONTENT_TYPE, "image/png").body(reqwest::Body::wrap_stream(pieces));
        let answer = upload.send().await.expect("it answers");
        match uploaded {
            true => assert_eq!(answer.status(), StatusCode::CREATED),
            false => drop(problem(answer, "body-too-large").await),
        }
    }
    world.end().await;
}

#[actix_web::test]
async fn an_upload_that_stops_half_way_changes_nothing() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let config = GatewayConfig { request_body_ms_max: 200, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    world.factory().await;
    let request = world.request_observations().await;
    let mut plant = world.open("home-token", "/dii/v1/session").await;
    let mut stream = tokio::net::TcpStream::connect(world.gateway.address()).await.expect("it connects");
    let pose = POSE.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    let head = format!(
        "POST /device/v1/observations?request={request}&pose={pose} HTTP/1.1\r\nhost: here\r\n\
         authorization: Bearer ada-token\r\ncontent-type: image/png\r\ncontent-length: 500\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    stream.write_all(PNG).await.expect("it is sent");
    let mut answer = vec![0; 4_096];
    let length = stream.read(&mut answer).await.expect("it is told");
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("did not come within"), "{answer}");
    // The next thing that the twin system hears is the upload that came whole.
    json_of(world.upload(&format!("request={request}&pose={POSE}"), "image/png", PNG).await, StatusCode::CREATED).await;
    assert_eq!(event(&mut plant, "observation.uploaded").await["observation"]["bytes"], PNG.len());
    world.end().await;
}

#[actix_web::test]
async fn a_map_is_a_scene_of_gltf_2_0() {
    let world = world().await;
    world.factory().await;
    let turned = json!({"id": "b", "pose": {"local": {"x": 5, "y": 6, "z": 7}, "angles": {"yaw": 90, "pitch": 0, "roll": 0}},
                        "size": {"x": 2, "y": 3, "z": 0}});
    assert_eq!(world.entries(json!([entry("a", 1.0, 2.0), turned])).await.status(), 204);
    let request = world.ask("world-token", Method::GET, "/mii/v1/maps/factory");
    let scene = request.header(header::ACCEPT, "model/gltf+json, application/json;q=0.5").send().await;
    let scene = scene.expect("it answers");
    assert_eq!(scene.headers()[header::CONTENT_TYPE], "model/gltf+json");
    let scene: Value = scene.json().await.expect("JSON");
    assert_eq!(scene["asset"]["version"], "2.0");
    // Every index names something that is there, and nothing reaches beyond what holds it: glTF 2.0 3 to 5.
    let of = |list: &str| scene[list].as_array().expect("a list").clone();
    let (nodes, views) = (of("nodes"), of("bufferViews"));
    let root = scene["scenes"][scene["scene"].as_u64().expect("a number") as usize]["nodes"][0].as_u64();
    let children = nodes[root.expect("a number") as usize]["children"].as_array().expect("a list").clone();
    assert_eq!((children.len(), nodes.len()), (2, 3));
    for child in children {
        let node = &nodes[child.as_u64().expect("a number") as usize];
        let mesh = &of("meshes")[node["mesh"].as_u64().expect("a number") as usize];
        for accessor in [&mesh["primitives"][0]["indices"], &mesh["primitives"][0]["attributes"]["POSITION"]] {
            let accessor = &of("accessors")[accessor.as_u64().expect("a number") as usize];
            let bytes = match (&accessor["type"], &accessor["componentType"]) {
                (kind, component) if (kind, component) == (&json!("VEC3"), &json!(5126)) => 12,
                (kind, component) if (kind, component) == (&json!("SCALAR"), &json!(5123)) => 2,
                other => panic!("{other:?}"),
            };
            let view = &views[accessor["bufferView"].as_u64().expect("a number") as usize];
            assert_eq!(view["byteLength"], accessor["count"].as_u64().expect("a number") * bytes);
            let end = view["byteOffset"].as_u64().expect("a number") + view["byteLength"].as_u64().expect("a number");
            assert!(end <= scene["buffers"][0]["byteLength"].as_u64().expect("a number"));
        }
    }
    let uri = scene["buffers"][0]["uri"].as_str().expect("text");
    let encoded = uri.strip_prefix("data:application/octet-stream;base64,").expect("embedded");
    assert_eq!(encoded.len() as u64, scene["buffers"][0]["byteLength"].as_u64().expect("a number").div_ceil(3) * 4);
    let second = &nodes[2];
    assert_eq!((&second["name"], &second["translation"]), (&json!("b"), &json!([5.0, 6.0, 7.0])));
    assert_eq!(second["scale"], json!([2.0, 3.0, 0.01]));
    let quarter = second["rotation"][2].as_f64().expect("a number");
    assert!((quarter - std::f64::consts::FRAC_1_SQRT_2).abs() < 1e-12);
    world.end().await;
}
