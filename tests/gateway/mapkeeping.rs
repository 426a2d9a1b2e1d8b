//! Spatial maps over sockets, kept in order (FGMV-28 7.3): deleted, followed only as long as it is permitted, and with the
//! services of registered systems.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, join};
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    maps::{PNG, POSE, entry, event, factory, names},
    sessions::{hear, say},
    support::{World, json_of, problem, world},
};

/// What a device's event stream tells.
struct Heard {
    pieces: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>>>>,
    text: String,
}

impl Heard {
    fn of(stream: Response) -> Self {
        Self { pieces: Box::pin(stream.bytes_stream()), text: String::new() }
    }

    /// The data of the next event of this type.
    async fn next(&mut self, kind: &str) -> Value {
        loop {
            while let Some((line, rest)) = self.text.split_once('\n') {
                let event = line.strip_prefix("data:").and_then(|data| serde_json::from_str::<Value>(data).ok());
                self.text = rest.to_owned();
                if let Some(event) = event.filter(|event| event["type"] == format!("io.twinway.{kind}")) {
                    return event["data"].clone();
                }
            }
            let piece = self.pieces.next().await.expect("the stream goes on").expect("it comes");
            self.text.push_str(&String::from_utf8_lossy(&piece));
        }
    }
}

impl World {
    async fn delete(&self, token: &str, path: &str) -> Response {
        self.ask(token, Method::DELETE, path).send().await.expect("it answers")
    }

    /// Uploads a picture of ada's; gives its id.
    pub(crate) async fn observed(&self) -> String {
        let request = self.request_observations().await;
        let query = format!("request={request}&serialNumber=P-7&pose={POSE}");
        let observed = json_of(self.upload(&query, "image/png", PNG).await, StatusCode::CREATED).await;
        observed["id"].as_str().expect("text").to_owned()
    }
}

/// FGMV-28 7.3.1: what was recorded is there as long as a map or an entry names it, and its user can end that.
#[actix_web::test]
async fn what_was_recorded_is_listed_read_and_forgotten_by_its_user_or_its_metaverse_system() {
    let world = world().await;
    world.factory().await;
    let id = world.observed().await;
    let list = json_of(world.get("world-token", "/mii/v1/maps/factory/observations").await, StatusCode::OK).await;
    let kept = &list["items"][0];
    assert_eq!((&kept["id"], &kept["user"], &kept["serialNumber"]), (&json!(id), &json!("ada"), &json!("P-7")));
    assert_eq!((&kept["bytes"], &kept["pose"]["local"]["y"]), (&json!(PNG.len()), &json!(2.0)));
    let own = json_of(world.get("ada-token", "/device/v1/observations/world/factory").await, StatusCode::OK).await;
    assert_eq!(own["items"], list["items"]);
    // Another metaverse system has no part in it, and cannot get one by naming it.
    let lobby = |path: &str| format!("/mii/v1/{path}?as=lobby");
    problem(world.get("operator-token", &lobby(&format!("observations/{id}"))).await, "observation-unknown").await;
    assert_eq!(world.put("operator-token", &lobby("maps/hall"), factory()).await.status(), StatusCode::NO_CONTENT);
    let mut press = entry("press", 1.0, 1.0);
    press["observation"] = json!(id);
    let entries = json!({"entries": [press]});
    let named = world.post("operator-token", &lobby("maps/hall/entries"), entries.clone()).await;
    assert_eq!(problem(named, "observation-unknown").await["pointer"], "/entries/0/observation");
    let read = world.get("world-token", &format!("/mii/v1/observations/{id}")).await;
    assert_eq!(read.headers()[header::CONTENT_LENGTH], PNG.len().to_string());
    assert_eq!(&read.bytes().await.expect("a body")[..], PNG);
    // A frame of a session is text and has a limit: bytes are read by HTTP.
    let mut session = world.open("world-token", "/mii/v1/session").await;
    say(&mut session, json!({"call": "1", "method": "GET", "path": format!("/mii/v1/observations/{id}")})).await;
    assert_eq!(hear(&mut session).await.expect("a reply")["body"]["type"], "/problems/invalid-query");
    drop(session);

    // Its user ends it: the entry that was made of it stays, and the bytes are gone when that is answered.
    assert_eq!(world.post("world-token", "/mii/v1/maps/factory/entries", entries).await.status(), 204);
    let path = format!("/device/v1/observations/world/{id}");
    assert_eq!(world.delete("ada-token", &path).await.status(), StatusCode::NO_CONTENT);
    problem(world.get("world-token", &format!("/mii/v1/observations/{id}")).await, "observation-unknown").await;
    assert_eq!(world.map("").await["entries"][0]["observation"], Value::Null);
    problem(world.delete("ada-token", &path).await, "observation-unknown").await;

    // The metaverse system ends it.
    assert_eq!(world.observed().await, id, "the same bytes have the same id");
    let path = format!("/mii/v1/observations/{id}");
    problem(world.delete("ada-token", &path).await, "not-allowed").await;
    assert_eq!(world.delete("world-token", &path).await.status(), StatusCode::NO_CONTENT);
    problem(world.get("home-token", &format!("/dii/v1/observations/{id}")).await, "observation-unknown").await;
    world.end().await;
}

#[actix_web::test]
async fn a_map_is_deleted_by_whose_it_is_and_with_it_what_stood_on_it_and_was_recorded_for_it() {
    let world = world().await;
    world.factory().await;
    let mut plaza = world.open("world-token", "/mii/v1/session").await;
    let mut ada = Heard::of(world.get("ada-token", "/mii/v1/devices/events").await);
    let id = world.observed().await;
    assert_eq!(world.entries(json!([entry("a", 1.0, 2.0)])).await.status(), 204);
    // A twin system takes off what is its own, on a map for which it was asked.
    let made = json!({"entries": [{"twin": "robot", "pose": {"local": {"x": 0, "y": 0, "z": 0}}}]});
    json_of(world.post("home-token", "/dii/v1/maps/world/factory/twins", made).await, StatusCode::OK).await;
    let path = "/dii/v1/maps/world/factory/twins?twin=";
    problem(world.delete("home-token", &format!("{path}elsewhere")).await, "twin-unknown").await;
    problem(world.delete("home-token", &format!("{path}press")).await, "map-entry-unknown").await;
    assert_eq!(world.delete("home-token", &format!("{path}robot")).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(names(&world.map("").await), ["a"]);

    for token in ["ada-token", "home-token", "shop-token"] {
        problem(world.delete(token, "/mii/v1/maps/factory").await, "not-allowed").await;
    }
    assert_eq!(world.delete("world-token", "/mii/v1/maps/factory").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(event(&mut plaza, "map.deleted").await, json!({"map": "factory"}));
    assert_eq!(ada.next("map.deleted").await, json!({"map": "factory"}));
    problem(world.get("world-token", "/mii/v1/maps/factory").await, "map-unknown").await;
    problem(world.delete("world-token", "/mii/v1/maps/factory").await, "map-unknown").await;
    problem(world.get("world-token", &format!("/mii/v1/observations/{id}")).await, "observation-unknown").await;
    let query = format!("request=1&pose={POSE}");
    problem(world.upload(&query, "image/png", PNG).await, "map-unknown").await;
    problem(world.get("home-token", &format!("/dii/v1/observations/{id}")).await, "observation-unknown").await;
    // A new one of its name has nothing of it.
    let defined = world.ask("world-token", Method::PUT, "/mii/v1/maps/factory").json(&factory()).send().await;
    assert_eq!(defined.expect("it answers").status(), 204);
    assert_eq!(world.map("").await["entryCount"], 0);
    world.end().await;
}

/// FGMV-28 7.3.2: the permission is the user's authorization; without it nothing moves the entry, and with it again all does.
#[actix_web::test]
async fn a_map_follows_a_twin_only_as_long_as_its_user_may_and_wants() {
    let world = world().await;
    world.factory().await;
    let mut plant = world.open("home-token", "/dii/v1/session").await;
    let mut plaza = world.open("world-token", "/mii/v1/session").await;
    let mut ada = Heard::of(world.get("ada-token", "/mii/v1/devices/events").await);
    let robot = json!([{"twin": "robot", "pose": {"local": {"x": 0, "y": 0, "z": 0}}}]);
    assert_eq!(world.entries(robot).await.status(), 204);
    assert_eq!(world.post("world-token", "/mii/v1/selections", json!({"select": ["robot"]})).await.status(), 200);
    let whole = json!({"min": {"x": -50, "y": -50, "z": -50}, "max": {"x": 50, "y": 50, "z": 50}});
    let watch = world.post("world-token", "/mii/v1/maps/factory/watches", json!({"bounds": whole})).await;
    json_of(watch, StatusCode::CREATED).await;
    let wanted = json!({"user": "ada", "twins": ["robot"], "rights": ["read"]});
    let granted = world.post("world-token", "/mii/v1/permissions", wanted);
    let describe = async {
        let asked = hear(&mut plant).await.expect("a request");
        let grant = json!({"describeTwins": {"twins": [{"twin": "robot", "properties": {}, "rights": ["read"]}]}});
        say(&mut plant, json!({"answer": asked["request"], "data": grant})).await;
    };
    let granted = json_of(join!(granted, describe).0, StatusCode::OK).await;
    let allowed = json!({"twin": "robot", "twinSystem": "home", "metaverse": "world", "map": "factory"});
    assert_eq!(world.post("ada-token", "/device/v1/locations", allowed.clone()).await.status(), 204);
    assert_eq!(world.map("").await["entries"][0]["following"], "followed");
    assert_eq!(event(&mut plaza, "map.changed").await["changes"][0]["change"], "followed");
    assert_eq!(ada.next("map.following").await["following"], "followed");
    let report = async |x: f64| {
        let report = json!({"twin": "robot", "values": {"pose": {"local": {"x": x, "y": 0, "z": 0}}}});
        assert_eq!(world.post("home-token", "/dii/v1/changes", report).await.status(), 200);
    };
    report(1.0).await;
    assert_eq!(event(&mut plaza, "map.changed").await["changes"][0]["pose"]["local"]["x"], 1.0);
    assert_eq!(ada.next("location.synchronized").await["pose"]["local"]["x"], 1.0);

    // Revoked: at once, and told to the watchers and to the user.
    let permission = granted["permissions"][0]["id"].as_str().expect("text");
    let path = format!("/dii/v1/twins/robot/permissions/{permission}");
    assert_eq!(world.delete("home-token", &path).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(event(&mut plaza, "map.changed").await["changes"][0]["change"], "unfollowed");
    assert_eq!(ada.next("map.following").await["following"], "permission-missing");
    report(2.0).await;
    let refused = event(&mut plaza, "map.location-refused").await;
    assert_eq!((&refused["problem"], &refused["twin"]), (&json!("permission-missing"), &json!("robot")));
    let moves = json!({"updates": [{"entry": "robot", "pose": {"local": {"x": 9, "y": 0, "z": 0}}}]});
    let refused = world.post("world-token", "/mii/v1/maps/factory/locations", moves).await;
    assert_eq!(problem(refused, "permission-missing").await["pointer"], "/updates/0/entry");
    let shown = &world.map("").await["entries"][0];
    assert_eq!((&shown["pose"]["local"]["x"], &shown["following"]), (&json!(1.0), &json!("permission-missing")));

    // Given again: it goes on, without the user having to say so again.
    let grant = json!({"metaverse": "world", "user": "ada", "rights": ["read"]});
    let grant = world.ask("home-token", Method::PUT, "/dii/v1/twins/robot/permissions").json(&grant).send().await;
    json_of(grant.expect("it answers"), StatusCode::OK).await;
    assert_eq!(event(&mut plaza, "map.changed").await["changes"][0]["change"], "followed");
    report(3.0).await;
    assert_eq!(event(&mut plaza, "map.changed").await["changes"][0]["pose"]["local"]["x"], 3.0);

    // The user ends it.
    let path = "/device/v1/locations/world/factory?twin=robot";
    assert_eq!(world.delete("ada-token", path).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(event(&mut plaza, "map.changed").await["changes"][0]["change"], "unfollowed");
    report(4.0).await;
    let shown = &world.map("").await["entries"][0];
    assert_eq!((&shown["pose"]["local"]["x"], &shown["following"]), (&json!(3.0), &json!("none")));
    problem(world.delete("ada-token", path).await, "permission-unknown").await;
    world.end().await;
}

/// FGMV-28 7.3.3: services of registered systems, for the user on the spot, for the metaverse system, and from afar.
#[actix_web::test]
async fn registered_systems_that_serve_a_place_are_found_there_by_preference_device_and_filter() {
    let world = world().await;
    world.factory().await;
    let at = json!({"position": {"lat": 48.1, "lon": 11.6, "h": 520.0}});
    let mut shop = json!({
        "id": "shop", "type": "repair", "title": "Repairs", "apis": [{"operation": "repair"}],
        "serviceCharge": {"amount": 9.0, "currency": "EUR"},
        "properties": {"place": {"geoPose": at, "coverageM": 200, "tags": ["manual"], "requires": ["camera"]}},
    });
    let mut wrong = shop.clone();
    wrong["properties"]["place"]["coverageM"] = json!(-1);
    let refused = problem(world.post("shop-token", "/sii/v1/systems", wrong).await, "invalid-document").await;
    assert_eq!(refused["pointer"], "/properties/place/coverageM");
    json_of(world.post("shop-token", "/sii/v1/systems", shop.clone()).await, StatusCode::CREATED).await;
    let ask = async |request: Value| {
        let asked = json!({"twinSystem": "home", "metaverse": "world", "map": "factory", "request": request});
        let answer = world.post("ada-token", "/device/v1/localizations", asked).await;
        json_of(answer, StatusCode::OK).await
    };
    let near = json!({"near": {"local": {"x": 50, "y": 0, "z": 0}}, "radiusM": 10});
    let with = |name: &str, value: Value| {
        let mut request = near.clone();
        request[name] = value;
        request
    };
    let found = ask(near.clone()).await;
    assert_eq!(found["services"], json!([{"system": "shop", "operation": "repair"}]));
    assert_eq!((&found["places"][0]["system"], &found["places"][0]["distanceM"]), (&json!("shop"), &json!(0.0)));
    let none = json!([]);
    assert_eq!(ask(with("device", json!({"capabilities": []}))).await["places"], none);
    assert_eq!(ask(with("device", json!({"capabilities": ["camera"]}))).await["places"], found["places"]);
    assert_eq!(ask(with("filter", json!("charge.amount < 5.0"))).await["places"], none);
    assert_eq!(ask(with("filter", json!("charge.amount < 10.0"))).await["places"], found["places"]);
    assert_eq!(ask(with("services", json!(["sing"]))).await["places"], none);
    let far = json!({"near": {"local": {"x": 900, "y": 0, "z": 0}}, "radiusM": 10});
    assert_eq!(ask(far).await["places"], none);
    let above = json!({"bounds": {"min": {"x": 0, "y": 0, "z": 300}, "max": {"x": 9, "y": 9, "z": 400}}});
    assert_eq!(ask(above).await["places"], none);
    let asked = json!({"metaverse": "world", "map": "factory", "request": near});
    let afar = json_of(world.post("shop-token", "/sii/v1/localizations", asked).await, StatusCode::OK).await;
    assert_eq!(afar["places"], found["places"]);
    // What is nonsense is told, and where the system is now is where it is found.
    let nonsense = world.post("world-token", "/mii/v1/maps/factory/localizations", with("filter", json!("1 +"))).await;
    problem(nonsense, "invalid-query").await;
    shop["properties"]["place"]["users"] = json!(["eve"]);
    let patch = json!({"properties": {"place": shop["properties"]["place"]}});
    let patched = world.ask("shop-token", Method::PATCH, "/sii/v1/systems/shop").json(&patch).send().await;
    json_of(patched.expect("it answers"), StatusCode::OK).await;
    assert_eq!(ask(near.clone()).await["places"], none, "it is not for her");
    world.end().await;
}

#[actix_web::test]
async fn a_map_is_a_plan_for_who_would_rather_look() {
    let world = world().await;
    world.factory().await;
    assert_eq!(world.entries(json!([entry("a", 1.0, 2.0), entry("gold", 150.0, 150.0)])).await.status(), 204);
    let plan = async |query: &str| {
        let request = world.ask("world-token", Method::GET, &format!("/mii/v1/maps/factory{query}"));
        let plan = request.header(header::ACCEPT, "image/svg+xml").send().await.expect("it answers");
        assert_eq!(plan.headers()[header::CONTENT_TYPE], "image/svg+xml");
        plan.text().await.expect("text")
    };
    let all = plan("").await;
    assert!(all.contains(">gold</text>") && all.contains(">vault</text>"), "{all}");
    // FGMV-28 7.3: a user is shown what that user may see.
    let seen = plan("?user=ada").await;
    assert!(seen.contains(">a</text>") && !seen.contains("gold") && !seen.contains("vault"), "{seen}");
    world.end().await;
}
