//! Rights and characteristics of twins (FGMV-29 8.3.5), refreshing (FGMV-28 REQ-DT-07), events and Thing Models.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use twinway::{
    client::Client,
    protocol::{JsonDoc, lease::Synchronization},
};

use crate::{
    sessions::say,
    support::{json_of, problem},
    wanting::{ARM, LEASE, asked_of, cell_world, told},
};

const PERMISSIONS: &str = "/dii/v1/twins/arm/permissions";

#[actix_web::test]
async fn a_twin_system_lists_grants_and_revokes_the_permissions_on_its_twins_and_their_users_are_told() {
    let (world, _home, mut watcher) = cell_world().await;
    let listed = json_of(world.get("home-token", PERMISSIONS).await, StatusCode::OK).await;
    let users: Vec<_> = listed["items"].as_array().expect("a list").iter().map(|item| item["user"].clone()).collect();
    assert_eq!(users, [json!("ada"), json!("bob")]);

    let grant = json!({"metaverse": "world", "user": "eve", "rights": ["change"]});
    let granted = world.ask("home-token", Method::PUT, PERMISSIONS).json(&grant).send().await.expect("it answers");
    let granted = json_of(granted, StatusCode::OK).await;
    assert_eq!(told(&mut watcher, "permission.granted").await["id"], granted["id"]);
    let own = json_of(world.get("world-token", "/mii/v1/permissions?user=eve").await, StatusCode::OK).await;
    assert_eq!(own["items"], json!([granted]));

    // Who loses the permission loses the object, and changes it no more.
    let lease = world.post("world-token", LEASE, json!({"user": "eve", "ttlMs": 60_000})).await;
    let token = json_of(lease, StatusCode::CREATED).await["token"].as_str().expect("text").to_owned();
    let path = format!("{PERMISSIONS}/{}", granted["id"].as_str().expect("text"));
    let revoke = || world.ask("home-token", Method::DELETE, &path).send();
    assert_eq!(revoke().await.expect("it answers").status(), StatusCode::NO_CONTENT);
    let ended = told(&mut watcher, "permission.ended").await;
    assert_eq!((&ended["why"], &ended["permission"]["user"]), (&json!("revoked"), &json!("eve")));
    let change = world.ask("world-token", Method::PUT, &format!("{ARM}/properties/speed?user=eve")).json(&5);
    problem(change.header("sync-lease-token", token).send().await.expect("it answers"), "permission-missing").await;
    let lease = world.post("world-token", LEASE, json!({"user": "bob", "ttlMs": 1000, "waitMs": 5000})).await;
    json_of(lease, StatusCode::CREATED).await;
    problem(revoke().await.expect("it answers"), "permission-unknown").await;
    problem(world.get("home-token", "/dii/v1/twins/nobody/permissions").await, "twin-unknown").await;
    world.end().await;
}

#[actix_web::test]
async fn what_a_twin_can_be_asked_is_said_anew_without_registering_it_again() {
    let (world, _home, _watcher) = cell_world().await;
    let path = "/dii/v1/twins/arm/characteristics";
    let patch = async |body: Value| {
        let request =
            world.ask("home-token", Method::PATCH, path).header("content-type", "application/merge-patch+json");
        request.body(body.to_string()).send().await.expect("it answers")
    };
    let said = json_of(patch(json!({"changeable": ["color"], "invocable": []})).await, StatusCode::OK).await;
    assert_eq!(said["characteristics"]["changeable"], json!(["color"]));
    let change = world.ask("world-token", Method::PUT, &format!("{ARM}/properties/speed?user=ada")).json(&5);
    problem(change.send().await.expect("it answers"), "behaviour-not-permitted").await;
    let invoke = world.post("world-token", &format!("{ARM}/actions/rest?user=ada"), json!({})).await;
    problem(invoke, "behaviour-not-permitted").await;
    let refused = problem(patch(json!({"changeable": ["wings"]})).await, "property-unknown").await;
    assert_eq!(refused["pointer"], "/changeable/0");
    problem(patch(json!({"periodMs": 1})).await, "invalid-document").await;
    problem(patch(json!({"wings": 1})).await, "invalid-document").await;
    let back = json_of(patch(json!({"changeable": null})).await, StatusCode::OK).await;
    assert_eq!(back["characteristics"]["changeable"], Value::Null);
    assert_eq!(back["characteristics"]["invocable"], json!([]), "what was not named stays");
    world.end().await;
}

/// FGMV-29 8.3.5, FGMV-28 REQ-DT-08: what is said of a twin is read where it is changed, by the client too.
#[actix_web::test]
async fn the_client_reads_and_changes_what_a_twin_can_be_asked_and_who_comes_first() {
    let (world, _home, _watcher) = cell_world().await;
    let client = Client::new(format!("http://{}", world.gateway.address()), "home-token");
    let arm = "arm".parse().expect("a name");
    let before = client.characteristics(&arm).await.expect("it is its twin");
    assert_eq!((before.synchronization, before.characteristics.changeable), (None, None));
    let patch = JsonDoc::from_value(&json!({"changeable": ["color"], "access": {"shop": ["read"]}})).expect("JSON");
    let after = client.change_characteristics(&arm, &patch).await.expect("it is said anew");
    assert_eq!(after.characteristics.changeable, Some(["color".to_owned()].into()));
    assert_eq!(after.characteristics.access.len(), 1);
    let rules = json!({"defaultPriority": 5, "priorities": [
        {"role": "medic", "priority": 200}, {"user": "ada", "priority": 9}, {"world": "north", "priority": 7},
    ]});
    let rules: Synchronization = serde_json::from_value(rules).expect("they are rules");
    client.set_synchronization(&arm, &rules).await.expect("it is said anew");
    let shown = client.characteristics(&arm).await.expect("it is its twin");
    assert_eq!(shown.synchronization, Some(rules));
    assert_eq!(shown.characteristics, after.characteristics, "the one leaves the other as it is");
    let nonsense = JsonDoc::from_value(&json!({"changeable": ["wings"]})).expect("JSON");
    assert!(client.change_characteristics(&arm, &nonsense).await.is_err());
    world.end().await;
}

/// FGMV-28 REQ-DT-07: who selects a twin says how often it is synchronized, for itself.
#[actix_web::test]
async fn a_metaverse_system_has_a_twin_synchronized_at_its_own_period() {
    let (world, mut home, mut watcher) = cell_world().await;
    let select = async |body: Value| world.post("world-token", "/mii/v1/selections", body).await;
    let wrong = problem(select(json!({"select": ["arm"], "periodMs": 10})).await, "invalid-document").await;
    assert_eq!(wrong["pointer"], "/periodMs");
    json_of(select(json!({"select": ["arm"], "periodMs": 1_000})).await, StatusCode::OK).await;
    let listed = json_of(world.get("world-token", "/mii/v1/twins").await, StatusCode::OK).await;
    assert_eq!((&listed["items"][0]["selected"], &listed["items"][0]["periodMs"]), (&json!(true), &json!(1_000)));
    let other = json_of(world.get("operator-token", "/mii/v1/twins?as=other").await, StatusCode::OK).await;
    assert_eq!((&other["items"][0]["selected"], &other["items"][0].get("periodMs")), (&json!(false), &None));
    for speed in [6, 7] {
        let (id, _) = asked_of(&mut home, "readProperties").await;
        say(&mut home, json!({"answer": id, "data": {"readProperties": {"values": {"speed": speed}}}})).await;
        assert_eq!(told(&mut watcher, "twin.changed").await["values"], json!({"speed": speed}));
    }
    json_of(select(json!({"select": ["arm"], "periodMs": 0})).await, StatusCode::OK).await;
    let listed = json_of(world.get("world-token", "/mii/v1/twins").await, StatusCode::OK).await;
    assert_eq!((&listed["items"][0]["selected"], listed["items"][0].get("periodMs")), (&json!(true), None));
    world.end().await;
}

#[actix_web::test]
async fn a_twin_is_refreshed_on_request_and_periodically_while_somebody_has_selected_it() {
    let (world, mut home, mut watcher) = cell_world().await;
    let path = format!("{ARM}/refresh?user=ada");
    let request = world.post("world-token", &path, json!({}));
    let device = async {
        let (id, data) = asked_of(&mut home, "readProperties").await;
        assert_eq!(data["twin"], "arm");
        say(&mut home, json!({"answer": id, "data": {"readProperties": {"values": {"speed": 4}}}})).await;
    };
    let (refreshed, ()) = tokio::join!(request, device);
    let version = json_of(refreshed, StatusCode::OK).await["version"].clone();
    let changed = told(&mut watcher, "twin.changed").await;
    assert_eq!((&changed["values"], &changed["version"]), (&json!({"speed": 4}), &version));
    problem(world.post("world-token", &format!("{ARM}/refresh?user=eve"), json!({})).await, "permission-missing").await;

    let path = "/dii/v1/twins/arm/characteristics";
    let every = world.ask("home-token", Method::PATCH, path).json(&json!({"periodMs": 100}));
    assert_eq!(every.send().await.expect("it answers").status(), StatusCode::OK);
    for speed in [6, 7] {
        let (id, _) = asked_of(&mut home, "readProperties").await;
        say(&mut home, json!({"answer": id, "data": {"readProperties": {"values": {"speed": speed}}}})).await;
        assert_eq!(told(&mut watcher, "twin.changed").await["values"], json!({"speed": speed}));
    }
    world.end().await;
}

#[actix_web::test]
async fn an_event_that_the_description_has_reaches_those_who_selected_the_twin() {
    let (world, _home, mut watcher) = cell_world().await;
    let emit = async |body: Value| world.post("home-token", "/dii/v1/twins/arm/events", body).await;
    assert_eq!(emit(json!({"name": "jam", "data": {"joint": 2}})).await.status(), StatusCode::ACCEPTED);
    let event = told(&mut watcher, "twin.event").await;
    assert_eq!((&event["name"], &event["data"]), (&json!("jam"), &json!({"joint": 2})));
    problem(emit(json!({"name": "fire"})).await, "event-unknown").await;
    assert_eq!(problem(emit(json!({"name": "jam", "data": {}})).await, "invalid-document").await["pointer"], "/data");
    world.end().await;
}

#[actix_web::test]
async fn twins_are_described_by_a_thing_model_that_was_registered_once() {
    let world = crate::support::world().await;
    let model = "{ \"@context\":\"https://www.w3.org/2022/wot/td/v1.1\", \"@type\":\"tm:ThingModel\",\"title\":\"{{NAME}}\",\
                 \"securityDefinitions\":{\"n\":{\"scheme\":\"nosec\"}},\"security\":\"n\",\
                 \"properties\":{\"on\":{\"type\":\"boolean\",\"forms\":[{\"href\":\"http://{{HOST}}/on\"}]}}}";
    let register = world.ask("home-token", Method::POST, "/dii/v1/thing-models");
    let body = format!("{{\"id\":\"lamp\",\"model\":{model}}}");
    let kept = register.header("content-type", "application/json").body(body).send().await.expect("it answers");
    assert_eq!(kept.status(), StatusCode::NO_CONTENT);
    let read = world.get("home-token", "/dii/v1/thing-models/lamp").await;
    assert_eq!(read.text().await.expect("text"), model, "byte for byte");
    problem(world.get("home-token", "/dii/v1/thing-models/door").await, "model-unknown").await;

    let list = |placeholders: Value| {
        let twin = |id: &str| json!({"id": id, "description": {"model": "lamp", "placeholders": placeholders, "with": {"id": id}}});
        json!({"id": "home", "type": "home", "title": "H", "twins": [twin("urn:a"), twin("urn:b")]})
    };
    let refused =
        problem(world.post("home-token", "/dii/v1/systems", list(json!({"NAME": "L"}))).await, "invalid-document")
            .await;
    assert_eq!(refused["pointer"], "/twins/0/description/placeholders", "{refused}");
    let full = list(json!({"NAME": "Lamp", "HOST": "a.example"}));
    json_of(world.post("home-token", "/dii/v1/systems", full.clone()).await, StatusCode::CREATED).await;
    json_of(world.post("home-token", "/dii/v1/systems", full).await, StatusCode::OK).await;
    let thing = json_of(world.get("world-token", "/mii/v1/twins/urn:b/description").await, StatusCode::OK).await;
    assert_eq!((&thing["title"], &thing["id"]), (&json!("Lamp"), &json!("urn:b")));
    assert_eq!(thing["properties"]["on"]["forms"][0]["href"], "http://a.example/on");
    assert_eq!(thing.get("@type"), None);
    world.end().await;
}
