//! Limits, readiness, and a host that cannot write.

use std::sync::Arc;

use reqwest::{Method, StatusCode, header};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use twinway::{
    gateway::{GatewayConfig, Host, NoHost},
    protocol::{Problem, ProblemKind},
};

use crate::support::{home, json_of, problem, world_with};

#[actix_web::test]
async fn a_large_body_or_head_is_refused_with_the_limits_name() {
    let config = GatewayConfig { body_bytes_max: 1000, header_bytes_max: 2000, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    let body = json!({"id": "x".repeat(1000)});
    let document = problem(world.post("home-token", "/dii/v1/systems", body).await, "body-too-large").await;
    assert!(document["detail"].as_str().is_some_and(|detail| detail.contains("1000 bytes")), "{document}");
    let chunks = futures_util::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(vec![b' '; 100])));
    let streamed = world.ask("home-token", Method::POST, "/dii/v1/systems").header("content-type", "application/json");
    let response = streamed.body(reqwest::Body::wrap_stream(chunks)).send().await.expect("it answers");
    problem(response, "body-too-large").await;
    let long = world.ask("world-token", Method::GET, "/mii/v1/twins").header("x-long", "x".repeat(2000));
    problem(long.send().await.expect("it answers"), "header-too-large").await;
    world.end().await;
}

/// Nobody waits for what is refused anyway, and nothing more is read on the connection.
#[actix_web::test]
async fn a_body_that_is_said_to_be_too_large_is_refused_before_it_comes() {
    let config = GatewayConfig { body_bytes_max: 1000, upload_bytes_max: 1000, ..GatewayConfig::default() };
    let world = world_with(GatewayConfig { request_body_ms_max: 3_600_000, ..config }, Arc::new(NoHost)).await;
    for (path, token, media) in [
        ("/dii/v1/systems", "home-token", "application/json"),
        ("/device/v1/observations?request=1&pose=1", "ada-token", "image/png"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(world.gateway.address()).await.expect("it connects");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {token}\r\ncontent-type: {media}\r\n\
             content-length: 1001\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the connection is closed");
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("/problems/body-too-large"), "{path}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    world.end().await;
}

#[actix_web::test]
async fn a_body_that_does_not_come_is_given_up_by_the_limit_that_it_passes_first() {
    let long = GatewayConfig { request_body_ms_max: 3_600_000, upload_ms_max: 3_600_000, ..GatewayConfig::default() };
    let upload =
        ("/device/v1/observations?request=1&pose=%7B%22local%22:%7B%22x%22:1,%22y%22:1,%22z%22:1%7D%7D", "ada-token");
    for (config, (path, token), media, limit) in [
        (
            GatewayConfig { request_body_ms_max: 1, ..long.clone() },
            ("/dii/v1/systems", "home-token"),
            "application/json",
            "request_body_ms_max",
        ),
        (GatewayConfig { request_body_ms_max: 1, ..long.clone() }, upload, "image/png", "request_body_ms_max"),
        (GatewayConfig { upload_ms_max: 1, ..long }, upload, "image/png", "upload_ms_max"),
    ] {
        let world = world_with(config, Arc::new(NoHost)).await;
        world.factory().await;
        let request = world.request_observations().await;
        let path = path.replace("request=1", &format!("request={request}"));
        let mut stream = tokio::net::TcpStream::connect(world.gateway.address()).await.expect("it connects");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {token}\r\ncontent-type: {media}\r\n\
             content-length: 500\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it is sent");
        let (mut answer, mut piece) = (String::new(), [0; 1_024]);
        // Without a limit this would wait for ever.
        while !answer.contains(limit) {
            let length = stream.read(&mut piece).await.expect("it is told");
            assert!(length > 0, "{limit}: {answer}");
            answer.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        world.end().await;
    }
}

#[actix_web::test]
async fn a_token_that_asks_too_often_is_told_when_to_come_back_and_others_are_not_hurt() {
    let config = GatewayConfig { requests_per_second_max: 1, requests_burst_max: 2, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    let mut refused = None;
    // However slow the machine: of many requests sent at once, one is too many.
    for responses in
        futures_util::future::join_all((0..50).map(|_| world.get("home-token", "/dii/v1/systems/home"))).await
    {
        if responses.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(responses);
        }
    }
    let refused = refused.expect("one is too many");
    assert!(refused.headers()[header::RETRY_AFTER].to_str().expect("text").parse::<u64>().is_ok_and(|wait| wait > 0));
    problem(refused, "too-many-requests").await;
    assert_eq!(world.get("operator-token", "/ops/v1/status").await.status(), StatusCode::OK);
    world.end().await;
}

struct FullDisk;

impl Host for FullDisk {
    fn unready(&self) -> Vec<String> {
        vec!["the disk is full".to_owned()]
    }
    fn writable(&self) -> Result<(), Problem> {
        Err(Problem::new(ProblemKind::ReadOnly, "the disk is full"))
    }
    fn metrics(&self) -> String {
        "up 1\n".to_owned()
    }
}

#[actix_web::test]
async fn a_host_that_cannot_write_refuses_changes_says_why_and_is_read() {
    let world = world_with(GatewayConfig::default(), Arc::new(FullDisk)).await;
    problem(world.post("home-token", "/dii/v1/systems", home()).await, "read-only").await;
    assert_eq!(world.get("world-token", "/mii/v1/twins").await.status(), StatusCode::OK);
    let ready = json_of(
        world.client.get(world.url("/readyz")).send().await.expect("it answers"),
        StatusCode::SERVICE_UNAVAILABLE,
    )
    .await;
    assert_eq!(ready, json!({"status": "not-ready", "reasons": ["the disk is full"]}));
    let live = json_of(world.client.get(world.url("/livez")).send().await.expect("it answers"), StatusCode::OK).await;
    assert_eq!(live, json!({"status": "ok"}));
    let status = json_of(world.get("operator-token", "/ops/v1/status").await, StatusCode::OK).await;
    assert_eq!(status["condition"], "the disk is full");
    let metrics = world.get("operator-token", "/metrics").await.text().await.expect("text");
    assert!(metrics.starts_with("up 1\n"), "{metrics}");
    let refused = r#"twinway_http_requests_total{route="/dii/v1/systems",method="POST",status="5xx"} 1"#;
    assert!(metrics.lines().any(|line| line == refused), "{metrics}");
    world.end().await;
}

#[actix_web::test]
async fn pages_of_other_origins_may_call_only_when_the_configuration_says_so() {
    let origin = "https://world.example";
    let config = GatewayConfig { allowed_origins: vec![origin.to_owned()], ..GatewayConfig::default() };
    for (config, origin, allowed) in [
        (config.clone(), origin, true),
        (config, "https://evil.example", false),
        (GatewayConfig::default(), origin, false),
    ] {
        let world = world_with(config, Arc::new(NoHost)).await;
        let asked = world.client.request(Method::OPTIONS, world.url("/mii/v1/twins")).header("origin", origin);
        let response = asked.send().await.expect("it answers");
        assert_eq!(response.status() == StatusCode::NO_CONTENT, allowed);
        assert_eq!(response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), allowed);
        for (name, needed) in [
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                &["authorization", "if-match", "sync-lease-token", "idempotency-key"][..],
            ),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, &["etag", "age"]),
        ] {
            let said = response.headers().get(name).map_or("", |value| value.to_str().expect("it is text"));
            let said: Vec<&str> = said.split(", ").collect();
            assert_eq!(needed.iter().all(|name| said.contains(name)), allowed, "{said:?}");
        }
        world.end().await;
    }
}

#[actix_web::test]
async fn streams_beyond_the_limit_are_refused_and_an_ended_one_makes_room() {
    let config = GatewayConfig { subscriptions_max: 1, heartbeat_ms: 5, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    let first = world.get("world-token", "/mii/v1/events").await;
    assert_eq!(first.status(), StatusCode::OK);
    let document = problem(world.get("home-token", "/dii/v1/events").await, "limit-reached").await;
    assert!(document["detail"].as_str().is_some_and(|detail| detail.contains("subscriptions_max")), "{document}");
    drop(first);
    // The gateway learns of the hang-up by a heartbeat that cannot be sent.
    while world.get("home-token", "/dii/v1/events").await.status() != StatusCode::OK {}
    world.end().await;
}
