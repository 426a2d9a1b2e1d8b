//! News of what others did, in sessions whose client sends arrays (FGMV-28 REQ-DT-07).

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use twinway::gateway::{GatewayConfig, NoHost};

use crate::{
    sessions::{Socket, hear, say},
    support::{LAMP, LAMP_PATH, World, world_with},
};

/// Longer than any test runs.
const LONG_MS: u64 = 3_600_000;

async fn report(world: &World, on: bool) {
    let change = json!({"twin": LAMP, "values": {"on": on}});
    assert!(world.post("home-token", "/dii/v1/changes", change).await.status().is_success());
}

async fn call(socket: &mut Socket) {
    say(socket, json!([{"call": "read", "method": "GET", "path": LAMP_PATH}])).await;
}

async fn heard(socket: &mut Socket) -> Value {
    hear(socket).await.expect("a frame")
}

#[actix_web::test]
async fn news_waits_for_a_reply_and_what_presses_comes_at_once_behind_it() {
    let config = GatewayConfig { session_gather_ms: LONG_MS, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    world.register_home().await;
    world.post("world-token", "/mii/v1/selections", json!({"select": [LAMP]})).await;
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    // What comes once in a while does not wait; these came one behind the other.
    for _ in 0..2 {
        call(&mut socket).await;
        assert!(heard(&mut socket).await.is_array(), "the reply");
    }

    report(&world, true).await;
    call(&mut socket).await;
    assert!(heard(&mut socket).await.is_array(), "what is told of the change was to wait");
    // The change is answered before it is told; it goes with one of the next replies.
    let mut unanswered = 0;
    let first = loop {
        call(&mut socket).await;
        unanswered += 1;
        let frame = heard(&mut socket).await;
        if !frame.is_array() {
            break frame;
        }
        unanswered -= 1;
    };
    // No reply is left with which the rest could go.
    for _ in 0..unanswered {
        assert!(heard(&mut socket).await.is_array(), "the reply");
    }
    assert_eq!(
        (&first["event"]["type"], &first["event"]["subject"]),
        (&json!("io.twinway.twin.changed"), &json!(LAMP))
    );

    report(&world, false).await;
    let gone = world.ask("home-token", Method::DELETE, "/dii/v1/systems/home").send().await.expect("it answers");
    assert!(gone.status().is_success());
    let mut told = Vec::new();
    while told.last().is_none_or(|kind| kind != "io.twinway.twin.gone") {
        let frame = heard(&mut socket).await;
        if let Some(kind) = frame["event"]["type"].as_str() {
            told.push(kind.to_owned());
        }
    }
    assert_eq!(told, ["io.twinway.twin.changed", "io.twinway.twin.gone"]);
    world.end().await;
}

#[actix_web::test]
async fn news_is_told_at_the_end_of_its_wait_and_at_once_to_who_sends_no_arrays() {
    for (config, arrays) in [
        (GatewayConfig { session_gather_ms: 5, ..GatewayConfig::default() }, true),
        (GatewayConfig { session_gather_ms: LONG_MS, ..GatewayConfig::default() }, false),
    ] {
        let world = world_with(config, Arc::new(NoHost)).await;
        world.register_home().await;
        world.post("world-token", "/mii/v1/selections", json!({"select": [LAMP]})).await;
        let mut socket = world.open("world-token", "/mii/v1/session").await;
        if arrays {
            call(&mut socket).await;
            assert!(heard(&mut socket).await.is_array(), "the reply");
        }
        for on in [true, false, true] {
            report(&world, on).await;
            let told = heard(&mut socket).await;
            assert_eq!(told["event"]["data"]["values"], json!({"on": on}), "{told}");
        }
        world.end().await;
    }
}
