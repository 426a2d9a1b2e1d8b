//! What goes out in one frame, and what waits for it, in sessions whose client sends arrays (FGMV-28 REQ-DT-07).

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use twinway::gateway::{GatewayConfig, NoHost};

use crate::{
    leases::{LEASE, cell_world_with, wants},
    sessions::{Socket, hear, say},
    support::{LAMP, LAMP_PATH, World, json_of, world_with},
};

/// Longer than any test runs.
const LONG_MS: u64 = 3_600_000;

fn gathering(session_gather_ms: u64) -> GatewayConfig {
    GatewayConfig { session_gather_ms, ..GatewayConfig::default() }
}

async fn report(world: &World, on: bool) {
    let change = json!({"twin": LAMP, "values": {"on": on}});
    assert!(world.post("home-token", "/dii/v1/changes", change).await.status().is_success());
}

async fn call(socket: &mut Socket, path: &str) {
    say(socket, json!([{"call": "read", "method": "GET", "path": path}])).await;
}

async fn heard(socket: &mut Socket) -> Value {
    hear(socket).await.expect("a frame")
}

/// What the next frame says, piece by piece: what it replies to, or the type of an event.
async fn pieces(socket: &mut Socket) -> Vec<String> {
    let frame = heard(socket).await;
    let name = |piece: &Value| {
        let name = piece["reply"].as_str().or(piece["event"]["type"].as_str());
        name.expect("a reply or an event").trim_start_matches("io.twinway.").to_owned()
    };
    frame.as_array().expect("who sends arrays gets arrays").iter().map(name).collect()
}

/// Opens a session in which news waits: what comes once in a while does not, so that something is said twice.
async fn waiting_session(world: &World, path: &str) -> Socket {
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    for _ in 0..2 {
        call(&mut socket, path).await;
        assert_eq!(pieces(&mut socket).await, ["read"]);
    }
    socket
}

#[actix_web::test]
async fn news_waits_for_a_reply_and_what_presses_comes_at_once_behind_it() {
    let world = world_with(gathering(LONG_MS), Arc::new(NoHost)).await;
    world.register_home().await;
    world.post("world-token", "/mii/v1/selections", json!({"select": [LAMP]})).await;
    let mut socket = waiting_session(&world, LAMP_PATH).await;

    report(&world, true).await;
    // The change is answered before it is told; it goes with one of the next replies, in its frame.
    loop {
        call(&mut socket, LAMP_PATH).await;
        match &*pieces(&mut socket).await {
            [reply] => assert_eq!(reply, "read", "what is told of the change was to wait"),
            both => {
                assert_eq!(both, ["read", "twin.changed"]);
                break;
            }
        }
    }

    report(&world, false).await;
    let gone = world.ask("home-token", Method::DELETE, "/dii/v1/systems/home").send().await.expect("it answers");
    assert!(gone.status().is_success());
    assert_eq!(pieces(&mut socket).await, ["twin.changed", "twin.gone"]);
    world.end().await;
}

#[actix_web::test]
async fn who_loses_a_lease_is_told_at_once_while_news_of_it_waits() {
    let world = cell_world_with(gathering(LONG_MS)).await;
    let mut socket = waiting_session(&world, LEASE).await;
    json_of(world.post("world-token", LEASE, wants("ada")).await, StatusCode::CREATED).await;
    // Its grant is news (`lease.changed`); nothing more is said in the session.
    let reason = json!({"reason": "the arm is needed"});
    let cleared = world.post("operator-token", "/ops/v1/twins/arm/sync-lease/clear", reason).await;
    assert_eq!(cleared.status(), StatusCode::NO_CONTENT);
    let told = pieces(&mut socket).await;
    assert!(told.contains(&"lease.lost".to_owned()), "nothing else was to come before it: {told:?}");
    world.end().await;
}

#[actix_web::test]
async fn news_is_told_at_the_end_of_its_wait_and_at_once_to_who_sends_no_arrays() {
    for (config, arrays) in [(gathering(5), true), (gathering(LONG_MS), false)] {
        let world = world_with(config, Arc::new(NoHost)).await;
        world.register_home().await;
        world.post("world-token", "/mii/v1/selections", json!({"select": [LAMP]})).await;
        let mut socket = world.open("world-token", "/mii/v1/session").await;
        if arrays {
            call(&mut socket, LAMP_PATH).await;
            assert_eq!(pieces(&mut socket).await, ["read"]);
        }
        for on in [true, false, true] {
            report(&world, on).await;
            let frame = heard(&mut socket).await;
            let told = if arrays { &frame[0] } else { &frame };
            assert_eq!(told["event"]["data"]["values"], json!({"on": on}), "{frame}");
        }
        world.end().await;
    }
}

#[actix_web::test]
async fn a_frame_of_many_replies_ends_where_it_gets_large_and_none_is_lost() {
    let world = world_with(gathering(LONG_MS), Arc::new(NoHost)).await;
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    // Each of them is repeated in the problem that replies to it.
    let long = "x".repeat(4_000);
    let calls: Vec<_> =
        (0..100).map(|n| json!({"call": format!("{n}"), "method": "GET", "path": format!("/{long}")})).collect();
    say(&mut socket, Value::Array(calls)).await;
    let (mut replies, mut largest) = (Vec::new(), 0);
    while replies.len() < 100 {
        let frame = heard(&mut socket).await;
        largest = largest.max(frame.to_string().len());
        let told =
            frame.as_array().expect("an array").iter().map(|reply| reply["reply"].as_str().expect("an id").to_owned());
        replies.extend(told);
    }
    replies.sort_unstable_by_key(|id| id.parse::<u32>().expect("a number"));
    assert_eq!(replies, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(largest < 128 * 1024, "{largest}");
    world.end().await;
}
