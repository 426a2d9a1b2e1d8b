//! Connections: how many there may be, and how they end.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use twinway::{
    actors::runtime::Options,
    enabler::EnablerOptions,
    gateway::{GatewayConfig, NoHost},
};

use crate::support::{World, world_of, world_with};

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.gateway.address()).await.expect("it connects")
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("it is sent");
}

const LIVE: &str = "GET /livez HTTP/1.1\r\nhost: here\r\n\r\n";

/// Reads until `end` has come.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let (mut answer, mut piece) = (String::new(), [0; 1_024]);
    while !answer.contains(end) {
        let length = stream.read(&mut piece).await.expect("it answers");
        assert!(length > 0, "the connection ended: {answer}");
        answer.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    answer
}

/// The head of an answer, and the body if there is any by then.
async fn answer(stream: &mut TcpStream) -> String {
    read_to(stream, "\r\n\r\n").await
}

#[actix_web::test]
async fn who_comes_when_as_many_connections_are_open_as_may_be_is_served_when_one_of_them_ends() {
    let config = GatewayConfig { connections_max: 2, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    let mut open = [connect(&world).await, connect(&world).await];
    for stream in &mut open {
        send(stream, LIVE).await;
        assert!(answer(stream).await.starts_with("HTTP/1.1 200 "));
    }
    let mut late = connect(&world).await;
    send(&mut late, LIVE).await;
    for _ in 0..50 {
        for stream in &mut open {
            send(stream, LIVE).await;
            assert!(answer(stream).await.starts_with("HTTP/1.1 200 "));
        }
    }
    let early = late.try_read(&mut [0; 16]).expect_err("it is not served yet");
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    drop(open);
    assert!(answer(&mut late).await.starts_with("HTTP/1.1 200 "));
    world.end().await;
}

#[actix_web::test]
async fn connections_of_many_threads_reach_the_same_actors() {
    let runtime = Options { arbiters: 3, ..Options::default() };
    let options = EnablerOptions { runtime, ..EnablerOptions::default() };
    let world = world_of(GatewayConfig::default(), Arc::new(NoHost), options).await;
    assert_eq!(world.register_home().await.status(), 201);
    let asks = (0..12).map(|_| async {
        let mut stream = connect(&world).await;
        let ask = "GET /dii/v1/systems/home HTTP/1.1\r\nhost: here\r\nauthorization: Bearer home-token\r\n\r\n";
        for _ in 0..3 {
            send(&mut stream, ask).await;
            let answer = read_to(&mut stream, "A house").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    });
    futures_util::future::join_all(asks).await;
    world.end().await;
}

/// A connection that waits for its next request is not waited for, and one with a call under way is.
#[actix_web::test]
async fn a_gateway_that_stops_finishes_the_call_under_way_and_ends_connections_that_wait() {
    let hour_ms = 3_600_000;
    let config = GatewayConfig { shutdown_ms_max: hour_ms, keep_alive_ms: hour_ms, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    let mut idle = connect(&world).await;
    send(&mut idle, LIVE).await;
    answer(&mut idle).await;
    let body = json!({"id": "home", "type": "home", "title": "A house", "twins": []}).to_string();
    let mut busy = connect(&world).await;
    let head = format!(
        "POST /dii/v1/systems HTTP/1.1\r\nhost: here\r\nauthorization: Bearer home-token\r\nexpect: 100-continue\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    send(&mut busy, &head).await;
    // From now on its body is waited for.
    assert!(answer(&mut busy).await.starts_with("HTTP/1.1 100 "));
    let World { gateway, enabler, .. } = world;
    let stopping = actix_web::rt::spawn(gateway.stop());
    assert_eq!(idle.read(&mut [0; 16]).await.expect("it ends in order"), 0, "nothing more comes");
    assert!(!stopping.is_finished(), "a call is under way");
    send(&mut busy, &body).await;
    let answered = answer(&mut busy).await;
    assert!(answered.starts_with("HTTP/1.1 201 "), "{answered}");
    stopping.await.expect("it ends");
    enabler.shutdown().await.expect("the enabler ends");
}

/// A call that does not come to its end does not keep the gateway for ever.
#[actix_web::test]
async fn a_gateway_that_stops_closes_what_takes_too_long() {
    let hour_ms = 3_600_000;
    let config = GatewayConfig { shutdown_ms_max: 1, request_body_ms_max: hour_ms, ..GatewayConfig::default() };
    let world = world_with(config, Arc::new(NoHost)).await;
    let mut busy = connect(&world).await;
    let head = "POST /dii/v1/systems HTTP/1.1\r\nhost: here\r\nauthorization: Bearer home-token\r\n\
                expect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n";
    send(&mut busy, head).await;
    answer(&mut busy).await;
    tokio::time::timeout(Duration::from_secs(60), world.end()).await.expect("it ends within its limit");
    assert_eq!(busy.read(&mut [0; 16]).await.unwrap_or(0), 0, "nothing more comes");
}
