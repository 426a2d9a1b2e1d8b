//! Systems and twins, registered, read and changed.

use reqwest::{Method, StatusCode, header};
use serde_json::json;

use crate::support::{LAMP, LAMP_PATH, home, json_of, problem, world};

#[actix_web::test]
async fn a_registration_is_new_once_and_another_one_is_told_what_differs() {
    let world = world().await;
    let listing = json_of(world.register_home().await, StatusCode::CREATED).await;
    assert_eq!((&listing["twinCount"], &listing["system"]["id"]), (&json!(1), &json!("home")));
    assert_eq!(json_of(world.register_home().await, StatusCode::OK).await, listing);
    assert_eq!(json_of(world.get("home-token", "/dii/v1/systems/home").await, StatusCode::OK).await, listing);
    let mut other = home();
    other["title"] = json!("Another house");
    let document = problem(world.post("home-token", "/dii/v1/systems", other).await, "already-registered").await;
    assert!(!document["differences"].as_array().expect("a list").is_empty());
    let found = json_of(world.get("world-token", "/mii/v1/twin-systems?text=house").await, StatusCode::OK).await;
    assert_eq!(found["items"], json!([listing]));
    world.end().await;
}

#[actix_web::test]
async fn a_twin_whose_id_is_a_url_is_read_and_its_description_is_byte_for_byte() {
    let world = world().await;
    let odd = "{ \"@context\":\"https://www.w3.org/2022/wot/td/v1.1\",\"title\" : \"L\",\"x\":1.50,\
               \"securityDefinitions\":{\"n\":{\"scheme\":\"nosec\"}},\"security\":\"n\"}";
    let body = format!(
        "{{\"id\":\"home\",\"type\":\"home\",\"title\":\"H\",\"twins\":[{{\"id\":\"{LAMP}\",\"description\":{odd}}}]}}"
    );
    let register = world.ask("home-token", Method::POST, "/dii/v1/systems").header("content-type", "application/json");
    assert_eq!(register.body(body).send().await.expect("it answers").status(), StatusCode::CREATED);
    let twin = json_of(world.get("world-token", LAMP_PATH).await, StatusCode::OK).await;
    assert_eq!((&twin["id"], &twin["system"]), (&json!(LAMP), &json!("home")));
    let description = world.get("world-token", &format!("{LAMP_PATH}/description")).await;
    assert_eq!(description.headers()[header::CONTENT_TYPE], "application/td+json");
    assert_eq!(description.text().await.expect("text"), odd);
    problem(world.get("world-token", "/mii/v1/twins/nobody").await, "twin-unknown").await;
    world.end().await;
}

#[actix_web::test]
async fn a_reported_change_is_read_at_once_and_changes_the_tag() {
    let world = world().await;
    world.register_home().await;
    let on = format!("{LAMP_PATH}/properties/on");
    problem(world.get("world-token", &on).await, "property-unknown").await;
    let report = |value: bool| json!({"twin": LAMP, "values": {"on": value}, "at": "2026-01-02T03:04:05.678Z"});
    let shown = json_of(world.post("home-token", "/dii/v1/changes", report(true)).await, StatusCode::OK).await;
    let value = json_of(world.get("world-token", &on).await, StatusCode::OK).await;
    assert_eq!(value, json!({"value": true, "version": shown["version"], "at": "2026-01-02T03:04:05.678Z"}));
    let all = json_of(world.get("world-token", &format!("{LAMP_PATH}/properties")).await, StatusCode::OK).await;
    assert_eq!(all, json!({"on": value}));

    let twin = world.get("world-token", LAMP_PATH).await;
    let tag = twin.headers()[header::ETAG].clone();
    let again = || world.ask("world-token", Method::GET, LAMP_PATH).header(header::IF_NONE_MATCH, tag.clone()).send();
    assert_eq!(again().await.expect("it answers").status(), StatusCode::NOT_MODIFIED);
    world.post("home-token", "/dii/v1/changes", report(false)).await;
    assert_eq!(again().await.expect("it answers").status(), StatusCode::OK);
    world.end().await;
}

#[actix_web::test]
async fn a_change_without_permission_is_refused_whatever_the_media_type() {
    let world = world().await;
    world.register_home().await;
    let path = format!("{LAMP_PATH}/properties?user=ada");
    for media in ["application/json", "application/merge-patch+json"] {
        let change =
            world.ask("world-token", Method::PATCH, &path).header("content-type", media).body("{\"on\":false}");
        let response = change.send().await.expect("it answers");
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{media}");
        problem(response, "permission-missing").await;
    }
    world.end().await;
}
