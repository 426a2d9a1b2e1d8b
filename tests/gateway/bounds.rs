//! What bounds a WebSocket session, and for whom it speaks.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use twinway::gateway::{GatewayConfig, NoHost};

use crate::{
    sessions::{Socket, hear, say},
    support::{LAMP, json_of, world, world_with},
};

/// Says frames in one array, and gives the replies to all of them.
async fn replies(socket: &mut Socket, frames: Vec<Value>) -> Vec<Value> {
    let count = frames.len();
    say(socket, Value::Array(frames)).await;
    let mut replies = Vec::new();
    while replies.len() < count {
        match hear(socket).await.expect("replies") {
            Value::Array(some) => replies.extend(some),
            other => panic!("{other}"),
        }
    }
    replies
}

#[actix_web::test]
async fn subscriptions_and_answers_count_as_requests() {
    let config = GatewayConfig { requests_per_second_max: 1, requests_burst_max: 2, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    let subscribe = |number: usize| json!({"subscribe": number.to_string()});
    let answer = |number: usize| json!({"answer": number.to_string(), "data": {"failed": "no"}});
    let frames: [(&str, &str, Vec<Value>); 2] = [
        ("world-token", "/mii/v1/session", (0..20).map(subscribe).collect()),
        ("home-token", "/dii/v1/session", (0..20).map(answer).collect()),
    ];
    for (token, path, frames) in frames {
        let mut socket = world.open(token, path).await;
        let replies = replies(&mut socket, frames).await;
        // However slow the machine: of many at once, one is too many.
        assert!(replies.iter().any(|reply| reply["status"] == 429), "{replies:?}");
    }
    world.end().await;
}

#[actix_web::test]
async fn a_subscription_has_an_id_that_is_neither_empty_nor_long() {
    let world = world().await;
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    let frames = [0, 129, 128].map(|bytes| json!({"subscribe": "x".repeat(bytes)}));
    let statuses: Vec<Value> =
        replies(&mut socket, frames.to_vec()).await.iter().map(|reply| reply["status"].clone()).collect();
    assert_eq!(statuses, [400, 400, 204]);
    world.end().await;
}

#[actix_web::test]
async fn a_message_over_the_limit_ends_the_session() {
    let config = GatewayConfig { body_bytes_max: 1_000, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    say(&mut socket, json!({"call": "x".repeat(2_000), "method": "GET", "path": "/mii/v1/twins"})).await;
    let close = hear(&mut socket).await.expect_err("it is closed").expect("with why");
    assert_eq!(u16::from(close.code), 1009, "{close:?}");
    world.end().await;
}

#[actix_web::test]
async fn a_client_of_which_nothing_is_heard_is_told_so_and_hung_up_on() {
    let config = GatewayConfig { heartbeat_ms: 5, session_silence_ms_max: 20, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    let mut stream = tokio::net::TcpStream::connect(world.gateway.address()).await.expect("it connects");
    let head = "GET /mii/v1/session HTTP/1.1\r\nhost: here\r\nauthorization: Bearer world-token\r\nconnection: Upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        sec-websocket-protocol: twinway.v1.json\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    let (mut heard, mut piece) = (Vec::new(), [0; 1_024]);
    // It answers no ping. Without an end to that this would wait for ever.
    while !String::from_utf8_lossy(&heard).contains("nothing was heard of the client") {
        let length = stream.read(&mut piece).await.expect("it is read");
        assert!(length > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&piece[..length]);
    }
    assert!(heard.starts_with(b"HTTP/1.1 101 "));
    world.end().await;
}

#[actix_web::test]
async fn an_operators_session_speaks_for_the_system_that_it_was_opened_for() {
    let world = world().await;
    world.register_home().await;
    let mut socket = world.open("operator-token", "/mii/v1/session?as=lobby").await;
    let select = json!({"call": "1", "method": "POST", "path": "/mii/v1/selections", "body": {"select": [LAMP]}});
    let replied = replies(&mut socket, vec![select]).await;
    assert_eq!(replied[0]["status"], 200, "{replied:?}");
    for (system, selected) in [("lobby", true), ("root", false)] {
        let list = world.get("operator-token", &format!("/mii/v1/twins?as={system}")).await;
        let list = json_of(list, StatusCode::OK).await;
        assert_eq!(list["items"][0]["selected"], selected, "{list}");
    }
    world.end().await;
}
