//! Third-party systems and devices over sockets, and the limits of sessions.

use std::sync::Arc;

use futures_util::join;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use twinway::gateway::{GatewayConfig, NoHost};

use crate::{
    sessions::{Socket, hear, say},
    support::{LAMP, World, home, json_of, problem, world, world_with},
};

fn shop() -> Value {
    json!({"id": "shop", "type": "commerce", "title": "A shop", "apis": [{"operation": "buy"}]})
}

/// What ada asks the shop for.
fn asking() -> Value {
    json!({"system": "shop", "user": "ada", "scope": ["buy"]})
}

impl World {
    /// Registers the shop and opens its session.
    async fn open_shop(&self) -> Socket {
        let listing = json_of(self.post("shop-token", "/sii/v1/systems", shop()).await, StatusCode::CREATED).await;
        assert_eq!(json_of(self.get("shop-token", "/sii/v1/systems/shop").await, StatusCode::OK).await, listing);
        self.open("shop-token", "/sii/v1/session").await
    }
}

/// Answers the next request, which is of this type, over the session that it came by.
async fn answer(shop: &mut Socket, kind: &str, data: Value) {
    let request = hear(shop).await.expect("a request");
    assert_eq!(request["type"], kind, "{request}");
    say(shop, json!({"answer": request["request"], "data": data})).await;
    assert_eq!(hear(shop).await.expect("a reply")["status"], 204);
}

fn granted() -> Value {
    json!({"authorizeUser": {"decision": {"granted": {"userInformation": {"account": 7}, "scope": ["buy"]}}}})
}

#[actix_web::test]
async fn a_third_party_system_authorizes_and_serves_over_its_session() {
    let world = world().await;
    let mut shop = world.open_shop().await;
    let asked = world.post("world-token", "/mii/v1/user-authorizations", asking());
    let (asked, ()) = join!(asked, answer(&mut shop, "authorizeUser", granted()));
    let place = asked.headers()["location"].to_str().expect("text").to_owned();
    let authorization = json_of(asked, StatusCode::CREATED).await;
    assert_eq!(authorization["decision"]["granted"]["userInformation"], json!({"account": 7}));
    assert_eq!(json_of(world.get("world-token", &place).await, StatusCode::OK).await, authorization);

    let called = json!({"system": "shop", "user": "ada", "operation": "buy", "input": {"lamps": 2}});
    let called = world.post("world-token", "/mii/v1/service-calls", called);
    let output = json!({"executeService": {"output": {"paid": true}}});
    let (called, ()) = join!(called, answer(&mut shop, "executeService", output));
    assert_eq!(json_of(called, StatusCode::OK).await, json!({"output": {"paid": true}}));
    world.end().await;
}

#[actix_web::test]
async fn a_third_party_system_is_told_of_the_twins_that_it_may_read_only() {
    let world = world().await;
    world.post("shop-token", "/sii/v1/systems", shop()).await;
    let mut open = home();
    open["twins"][0]["access"] = json!({"shop": ["read"]});
    let mut closed = open["twins"][0].clone();
    closed["id"] = json!("closed");
    closed["physicalObject"] = json!("urn:closed");
    closed["access"] = json!({});
    open["twins"].as_array_mut().expect("a list").push(closed);
    assert_eq!(world.post("home-token", "/dii/v1/systems", open).await.status(), StatusCode::CREATED);
    let of = |twin: &str| world.post("shop-token", "/sii/v1/twin-information", json!({"twins": [twin]}));
    assert_eq!(json_of(of(LAMP).await, StatusCode::OK).await["twins"][0]["id"], LAMP);
    assert_eq!(of("closed").await.status(), StatusCode::FORBIDDEN);
    world.end().await;
}

#[actix_web::test]
async fn a_session_has_no_more_calls_under_way_than_the_limit_and_the_others_go_on() {
    let config = GatewayConfig { session_calls_max: 1, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    let mut shop = world.open_shop().await;
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    let call =
        |id: &str| json!({"call": id, "method": "POST", "path": "/mii/v1/user-authorizations", "body": asking()});
    say(&mut socket, call("first")).await;
    say(&mut socket, call("second")).await;
    let refused = hear(&mut socket).await.expect("a reply");
    assert_eq!((&refused["reply"], &refused["body"]["type"]), (&json!("second"), &json!("/problems/limit-reached")));
    assert!(refused["body"]["detail"].as_str().is_some_and(|detail| detail.contains("session_calls_max")));
    answer(&mut shop, "authorizeUser", granted()).await;
    let reply = hear(&mut socket).await.expect("a reply");
    assert_eq!((&reply["reply"], &reply["status"]), (&json!("first"), &json!(201)));
    world.end().await;
}

#[actix_web::test]
async fn a_session_beyond_the_limit_is_refused_with_the_limits_name() {
    let config = GatewayConfig { sessions_max: 1, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    let _first = world.open("world-token", "/mii/v1/session").await;
    let document = problem(world.get("home-token", "/dii/v1/session").await, "limit-reached").await;
    assert!(document["detail"].as_str().is_some_and(|detail| detail.contains("sessions_max")), "{document}");
    world.end().await;
}

#[actix_web::test]
async fn a_device_is_attached_by_its_own_token_and_hears_events() {
    let world = world().await;
    let attachment = json!({"metaverse": "world"});
    problem(world.post("world-token", "/mii/v1/devices", attachment.clone()).await, "not-allowed").await;
    assert_eq!(world.post("ada-token", "/mii/v1/devices", attachment).await.status(), StatusCode::NO_CONTENT);
    let stream = world.get("ada-token", "/mii/v1/devices/events").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    drop(stream);
    world.end().await;
}

#[actix_web::test]
async fn a_head_has_the_headers_of_a_get_and_no_body() {
    let world = world().await;
    world.register_home().await;
    let path = crate::support::LAMP_PATH;
    let got = world.get("world-token", path).await;
    let head = world.ask("world-token", Method::HEAD, path).send().await.expect("it answers");
    assert_eq!(head.status(), StatusCode::OK);
    for name in ["content-type", "content-length", "etag", "x-content-type-options"] {
        assert_eq!(head.headers()[name], got.headers()[name], "{name}");
    }
    assert!(head.bytes().await.expect("it ends").is_empty());
    world.end().await;
}
