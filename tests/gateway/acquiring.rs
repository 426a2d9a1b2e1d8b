//! Information of twins: for third-party systems (FGMV-29 8.2.5), and from the selected system (FGMV-29 8.3.3).

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use twinway::protocol::time::Timestamp;

use crate::{
    sessions::say,
    support::{World, json_of, problem},
    wanting::{ARM, asked_of, cell_world, told},
};

const INFORMATION: &str = "/sii/v1/twin-information";
const SUBSCRIPTIONS: &str = "/sii/v1/twin-information/subscriptions";

/// Says who may read the arm.
async fn readable_by(world: &World, systems: &[&str]) {
    let access: serde_json::Map<String, Value> =
        systems.iter().map(|system| ((*system).to_owned(), json!(["read"]))).collect();
    let patch = world.ask("home-token", Method::PATCH, "/dii/v1/twins/arm/characteristics");
    let patch = patch.header("content-type", "application/merge-patch+json");
    let body = json!({"access": if access.is_empty() { json!({"shop": null}) } else { Value::Object(access) }});
    json_of(patch.body(body.to_string()).send().await.expect("it answers"), StatusCode::OK).await;
}

async fn report(world: &World, speed: i64) {
    let change = json!({"twin": "arm", "values": {"speed": speed}});
    let reported = world.post("home-token", "/dii/v1/changes", change).await;
    assert!(reported.status().is_success(), "{}", reported.status());
}

/// FGMV-29 9.1 steps 15 to 19: one twin that may not be read is told, and does not take the others along.
#[actix_web::test]
async fn what_may_not_be_read_is_refused_by_itself_unless_the_request_is_strict() {
    let (world, _home, _watcher) = cell_world().await;
    problem(world.post("shop-token", INFORMATION, json!({"twins": ["arm"]})).await, "permission-missing").await;
    readable_by(&world, &["shop"]).await;
    let some = json!({"twins": ["nobody", "arm"], "properties": ["speed"]});
    let acquired = json_of(world.post("shop-token", INFORMATION, some).await, StatusCode::OK).await;
    assert_eq!(acquired["twins"][0]["properties"]["speed"]["value"], 1);
    assert_eq!(acquired["twins"][0]["properties"].as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(acquired["refused"][0]["twin"], "nobody");
    assert_eq!(acquired["refused"][0]["problem"]["type"], "/problems/twin-unknown");
    let strict = json!({"twins": ["nobody", "arm"], "strict": true});
    problem(world.post("shop-token", INFORMATION, strict).await, "twin-unknown").await;
    world.end().await;
}

#[actix_web::test]
async fn a_subscription_tells_what_changes_until_the_access_is_withdrawn() {
    let (world, _home, _watcher) = cell_world().await;
    readable_by(&world, &["shop"]).await;
    let mut shop = world.open("shop-token", "/sii/v1/session").await;
    let terms = json!({"twins": ["arm"], "properties": ["speed"], "minIntervalMs": 100});
    let subscribed = world.post("shop-token", SUBSCRIPTIONS, terms).await;
    let location = subscribed.headers()["location"].to_str().expect("text").to_owned();
    let subscription = json_of(subscribed, StatusCode::CREATED).await["subscription"].clone();
    let first = told(&mut shop, "twin.information").await;
    assert_eq!((&first["reason"], &first["subscription"]), (&json!("subscribed"), &subscription["id"]));
    assert_eq!(first["twins"][0]["properties"]["speed"]["value"], 1);

    report(&world, 5).await;
    let second = told(&mut shop, "twin.information").await;
    assert_eq!(second["reason"], "changed");
    assert_eq!(second["twins"][0]["properties"]["speed"]["value"], 5);
    let listed = json_of(world.get("shop-token", SUBSCRIPTIONS).await, StatusCode::OK).await;
    assert_eq!(listed["items"], json!([subscription]));

    readable_by(&world, &[]).await;
    let last = told(&mut shop, "twin.information").await;
    assert_eq!((&last["reason"], &last["refused"][0]["kind"]), (&json!("noTwins"), &json!("permission-missing")));
    problem(world.get("shop-token", &location).await, "subscription-unknown").await;
    world.end().await;
}

#[actix_web::test]
async fn a_subscription_is_read_and_ended_by_its_system_only_and_ends_with_the_twin() {
    let (world, _home, _watcher) = cell_world().await;
    readable_by(&world, &["shop"]).await;
    let mut shop = world.open("shop-token", "/sii/v1/session").await;
    let terms = json!({"twins": ["arm"], "periodMs": 100, "lifetimeMs": 60_000});
    let subscribe = async || {
        let subscribed = world.post("shop-token", SUBSCRIPTIONS, terms.clone()).await;
        let id = json_of(subscribed, StatusCode::CREATED).await["subscription"]["id"].clone();
        format!("{SUBSCRIPTIONS}/{}", id.as_str().expect("text"))
    };
    let path = subscribe().await;
    for reason in ["subscribed", "period", "period"] {
        assert_eq!(told(&mut shop, "twin.information").await["reason"], reason);
    }
    let foreign = world.get("operator-token", &format!("{path}?as=mill")).await;
    problem(foreign, "subscription-unknown").await;
    assert_eq!(json_of(world.get("shop-token", &path).await, StatusCode::OK).await["periodMs"], 100);
    let end = || world.ask("shop-token", Method::DELETE, &path).send();
    assert_eq!(end().await.expect("it answers").status(), StatusCode::NO_CONTENT);
    problem(end().await.expect("it answers"), "subscription-unknown").await;
    let wrong = json!({"twins": ["arm"], "periodMs": 1});
    assert_eq!(
        problem(world.post("shop-token", SUBSCRIPTIONS, wrong).await, "invalid-document").await["pointer"],
        "/periodMs"
    );

    subscribe().await;
    let gone = world.ask("home-token", Method::DELETE, "/dii/v1/systems/home").send().await.expect("it answers");
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    loop {
        let event = told(&mut shop, "twin.information").await;
        if event["reason"] == "noTwins" {
            assert_eq!(event["refused"][0]["kind"], "twin-unknown");
            break;
        }
    }
    world.end().await;
}

#[actix_web::test]
async fn a_subscription_is_renewed_by_its_system_only_over_http_and_in_its_session() {
    let (world, _home, _watcher) = cell_world().await;
    readable_by(&world, &["shop"]).await;
    let mut shop = world.open("shop-token", "/sii/v1/session").await;
    let terms = json!({"twins": ["arm"], "lifetimeMs": 60_000});
    let subscribed = world.post("shop-token", SUBSCRIPTIONS, terms).await;
    let first = json_of(subscribed, StatusCode::CREATED).await["subscription"].clone();
    let path = format!("{SUBSCRIPTIONS}/{}/renew", first["id"].as_str().expect("text"));
    let ends =
        |subscription: &Value| Timestamp::parse(subscription["expiresAt"].as_str().expect("text")).expect("a moment");
    let renewed = world.post("shop-token", &path, json!({"lifetimeMs": 120_000})).await;
    let renewed = json_of(renewed, StatusCode::OK).await;
    assert!(ends(&renewed) > ends(&first));
    // It never ends earlier, and without a word it lasts a day.
    let shorter = json_of(world.post("shop-token", &path, json!({"lifetimeMs": 1_000})).await, StatusCode::OK).await;
    assert_eq!(shorter, renewed);
    say(&mut shop, json!({"call": "r", "method": "POST", "path": path, "body": {}})).await;
    let reply = loop {
        let frame = crate::sessions::hear(&mut shop).await.expect("the session stands");
        if frame["reply"] == "r" {
            break frame;
        }
    };
    assert_eq!(reply["status"], 200, "{reply}");
    assert!(ends(&reply["body"]) > ends(&renewed));
    problem(world.post("operator-token", &format!("{path}?as=mill"), json!({})).await, "subscription-unknown").await;
    let wrong = problem(world.post("shop-token", &path, json!({"lifetimeMs": 1})).await, "invalid-document").await;
    assert_eq!(wrong["pointer"], "/lifetimeMs");
    world.end().await;
}

/// FGMV-29 8.3.3: what is known comes with its age, and newer than that only by asking the twin system.
#[actix_web::test]
async fn a_twin_says_how_old_it_is_and_is_refreshed_when_that_is_too_old() {
    let (world, mut home, _watcher) = cell_world().await;
    let cached = world.get("world-token", ARM).await;
    let age: u64 = cached.headers()["age"].to_str().expect("text").parse().expect("seconds");
    assert!(age < 3_600);
    let cached = json_of(cached, StatusCode::OK).await;
    let freshness = &cached["freshness"];
    assert_eq!((&freshness["source"], &freshness["stale"]), (&json!("cached"), &json!(false)));
    assert_eq!(freshness["version"], cached["version"]);
    let within = json_of(world.get("world-token", &format!("{ARM}?maxAgeMs=3600000")).await, StatusCode::OK).await;
    assert_eq!(within["freshness"]["source"], "cached", "it is new enough: nobody is asked, and no user is needed");

    let path = format!("{ARM}?maxAgeMs=0&user=ada");
    let device = async {
        let (id, _) = asked_of(&mut home, "readProperties").await;
        let values = json!({"speed": 4, "color": {"r": 1}});
        say(&mut home, json!({"answer": id, "data": {"readProperties": {"values": values}}})).await;
    };
    let (fresh, ()) = tokio::join!(world.get("world-token", &path), device);
    let fresh = json_of(fresh, StatusCode::OK).await;
    assert_eq!((&fresh["freshness"]["source"], &fresh["freshness"]["stale"]), (&json!("fresh"), &json!(false)));
    assert_eq!(fresh["properties"]["speed"]["value"], 4);

    // A value that the system does not give stays old: the bound is not kept.
    let device = async {
        let (id, _) = asked_of(&mut home, "readProperties").await;
        say(&mut home, json!({"answer": id, "data": {"readProperties": {"values": {"speed": 6}}}})).await;
    };
    let path = format!("{ARM}/properties?maxAgeMs=0&user=ada");
    let (partly, ()) = tokio::join!(world.get("world-token", &path), device);
    assert!(
        problem(partly, "outside-failed").await["detail"].as_str().is_some_and(|detail| detail.contains("`color`"))
    );
    problem(world.get("world-token", &format!("{ARM}?maxAgeMs=0")).await, "invalid-query").await;
    problem(world.get("world-token", &format!("{ARM}?refresh=true&user=eve")).await, "permission-missing").await;
    world.end().await;
}

/// FGMV-29 8.3.3: the twin system is away. What is known comes if that is acceptable, and says what it is.
#[actix_web::test]
async fn without_the_twin_system_what_is_known_is_stale_and_a_bound_is_not_kept() {
    let (world, mut home, _watcher) = cell_world().await;
    home.close(None).await.expect("it closes");
    while crate::sessions::hear(&mut home).await.is_ok() {}
    let stale = json_of(world.get("world-token", &format!("{ARM}?refresh=true&user=ada")).await, StatusCode::OK).await;
    let freshness = &stale["freshness"];
    assert_eq!((&freshness["source"], &freshness["stale"]), (&json!("cached"), &json!(true)));
    assert_eq!(freshness["why"]["kind"], "outside-unreachable");
    assert!(freshness["ageMs"].is_u64() && freshness["asOf"].is_string());
    assert_eq!(stale["properties"]["speed"]["value"], 1);
    let refused = world.get("world-token", &format!("{ARM}?maxAgeMs=0&user=ada")).await;
    problem(refused, "outside-unreachable").await;
    world.end().await;
}
