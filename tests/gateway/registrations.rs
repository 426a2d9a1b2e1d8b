//! Registrations over sockets (FGMV-29 8.2.1 and 8.3.1): changed, renewed, watched and ended.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{LAMP, World, json_of, problem, world};

const SHOP: &str = "/sii/v1/systems/shop";
const HOME: &str = "/dii/v1/systems/home";

impl World {
    async fn register_shop(&self, more: Value) -> reqwest::Response {
        let mut shop = json!({"id": "shop", "type": "commerce", "title": "A shop", "reach": "session"});
        shop.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        self.post("shop-token", "/sii/v1/systems", shop).await
    }

    async fn found(&self, what: &str) -> usize {
        let page = json_of(self.get("world-token", &format!("/mii/v1/{what}")).await, StatusCode::OK).await;
        page["items"].as_array().expect("a list").len()
    }
}

#[actix_web::test]
async fn a_registration_changes_only_from_the_version_that_if_match_names() {
    let world = world().await;
    let registered = world.register_shop(json!({"serviceLevel": {"p99Ms": 100.0}})).await;
    let tag = registered.headers()["etag"].to_str().expect("text").to_owned();
    let patch = |tag: &str, title: &str| {
        let patch = world.ask("shop-token", Method::PATCH, SHOP).header("if-match", tag);
        patch.header("content-type", "application/merge-patch+json").body(json!({"title": title}).to_string()).send()
    };
    let changed = patch(&tag, "Boats").await.expect("it answers");
    assert_ne!(changed.headers()["etag"], tag.as_str());
    let listing = json_of(changed, StatusCode::OK).await;
    assert_eq!((&listing["system"]["title"], &listing["version"]), (&json!("Boats"), &json!(2)));
    assert_eq!(listing["system"]["serviceLevel"]["p99Ms"], json!(100.0), "what the patch does not name stays");
    let late = patch(&tag, "Trains").await.expect("it answers");
    assert_eq!(late.status(), StatusCode::PRECONDITION_FAILED);
    problem(late, "version-mismatch").await;
    let shown = json_of(world.get("shop-token", SHOP).await, StatusCode::OK).await;
    assert_eq!((&shown["system"]["title"], &shown["standing"]["health"]), (&json!("Boats"), &json!("healthy")));
    world.end().await;
}

#[actix_web::test]
async fn what_deregistered_is_found_by_no_search_and_may_register_again() {
    let world = world().await;
    world.register_shop(json!({})).await;
    json_of(world.register_home().await, StatusCode::CREATED).await;
    assert_eq!((world.found("third-party-systems").await, world.found("twins").await), (1, 1));
    for (token, path) in [("shop-token", SHOP), ("home-token", HOME)] {
        let gone = world.ask(token, Method::DELETE, path).send().await.expect("it answers");
        assert_eq!(gone.status(), StatusCode::NO_CONTENT);
        problem(world.get(token, path).await, "system-unknown").await;
        let again = world.ask(token, Method::DELETE, path).send().await.expect("it answers");
        problem(again, "system-unknown").await;
    }
    for what in ["third-party-systems", "twin-systems", "twins"] {
        assert_eq!(world.found(what).await, 0, "{what}");
    }
    json_of(world.register_shop(json!({})).await, StatusCode::CREATED).await;
    json_of(world.register_home().await, StatusCode::CREATED).await;
    assert_eq!((world.found("third-party-systems").await, world.found("twins").await), (1, 1));
    world.end().await;
}

#[actix_web::test]
async fn a_list_of_twins_changes_in_part() {
    let world = world().await;
    json_of(world.register_home().await, StatusCode::CREATED).await;
    let entry = |id: &str, title: &str| {
        json!({"id": id, "description": {"@context": "https://www.w3.org/2022/wot/td/v1.1", "title": title,
            "securityDefinitions": {"nosec_sc": {"scheme": "nosec"}}, "security": "nosec_sc"}})
    };
    let put = world.ask("home-token", Method::PUT, &format!("{HOME}/twins/door")).json(&entry("door", "Door"));
    let listing = json_of(put.send().await.expect("it answers"), StatusCode::OK).await;
    assert_eq!((&listing["twinCount"], &listing["version"]), (&json!(2), &json!(2)));
    let change = json!({"twins": [entry("door", "Front door"), entry("hatch", "Hatch")], "remove": [LAMP]});
    let change = world.ask("home-token", Method::PATCH, &format!("{HOME}/twins")).json(&change);
    json_of(change.send().await.expect("it answers"), StatusCode::OK).await;
    let page = json_of(world.get("home-token", &format!("{HOME}/twins?limit=1")).await, StatusCode::OK).await;
    assert_eq!(page["items"][0]["description"]["title"], "Front door");
    let next = format!("{HOME}/twins?limit=1&cursor={}", page["next"].as_str().expect("there is more"));
    let page = json_of(world.get("home-token", &next).await, StatusCode::OK).await;
    assert_eq!((&page["items"][0]["id"], &page["next"]), (&json!("hatch"), &Value::Null));
    let unknown = world.ask("home-token", Method::DELETE, &format!("{HOME}/twins/nobody")).send().await;
    problem(unknown.expect("it answers"), "twin-unknown").await;
    world.end().await;
}

#[actix_web::test]
async fn a_registration_is_renewed_within_its_bounds() {
    let world = world().await;
    let refused = world.register_shop(json!({"lifetimeMs": 1})).await;
    assert_eq!(problem(refused, "limit-reached").await["pointer"], "/lifetimeMs");
    let listing = json_of(world.register_shop(json!({"lifetimeMs": 60_000})).await, StatusCode::CREATED).await;
    let before = listing["standing"]["expiresAt"].as_str().map(str::to_owned);
    let renew = world.post("shop-token", &format!("{SHOP}/renew"), json!({"lifetimeMs": 3_600_000})).await;
    let standing = json_of(renew, StatusCode::OK).await;
    assert!(standing["expiresAt"].as_str() > before.as_deref(), "{standing}");
    let beat = world.ask("shop-token", Method::POST, &format!("{SHOP}/heartbeat")).send().await.expect("it answers");
    assert!(json_of(beat, StatusCode::OK).await["heardAt"].is_string());
    world.end().await;
}
