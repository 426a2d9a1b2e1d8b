//! A lease that is kept, against a server that says how it stands with it.

use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};
use twinway_protocol::{ProblemKind, message::LeaseRequest, problem::LeaseContext};

use super::{http, listen, take};
use crate::client::{Client, ClientError, LeaseState};

/// How long the lease lasts by the server's word, in milliseconds: longer than any test.
const LONG_MS: u64 = 600_000;

/// Renewed every 10 ms.
fn request() -> LeaseRequest {
    serde_json::from_value(json!({"user": "ada", "twins": ["arm"], "ttlMs": 30})).expect("it is a request")
}

fn lease(token: &str, expires_in_ms: u64) -> Value {
    let holder = json!({"user": "ada", "world": "world", "system": "world", "class": "person"});
    json!({"twins": ["arm"], "holder": holder, "token": token, "priority": 1, "expiresInMs": expires_in_ms, "fencing": "drained"})
}

fn view(phase: &str, token: &str) -> Value {
    json!({"object": "urn:arm", "twins": ["arm"], "phase": phase, "token": token, "expiresInMs": LONG_MS,
        "revokedInMs": (phase == "revoking").then_some(LONG_MS), "waiting": 0, "queue": [], "reservations": [],
        "history": [], "explanation": "so", "holder": {"user": "ada", "class": "person", "priority": 1}})
}

fn problem(kind: ProblemKind) -> String {
    let document = json!({"type": format!("/problems/{}", kind.slug()), "title": kind.title(), "status": kind.status(),
        "lease": {"token": "1.9"}});
    http(&format!("{} No", kind.status()), "application/problem+json", &document.to_string())
}

fn found(document: &Value) -> String {
    http("200 OK", "application/json", &document.to_string())
}

/// Answers requests as `answer` says, except that it has no events to tell; what was asked comes out.
fn daemon(listener: TcpListener, answer: impl Fn(&str) -> String + Send + 'static) -> UnboundedReceiver<String> {
    let (told, asked) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = take(&mut stream).await;
            let events = request.starts_with("GET /mii/v1/events?");
            let answer = if events { problem(ProblemKind::NotAllowed) } else { answer(&request) };
            stream.write_all(answer.as_bytes()).await.expect("the client listens");
            stream.shutdown().await.expect("the client listens");
            if told.send(request).is_err() {
                return;
            }
        }
    });
    asked
}

/// The next request that begins so.
async fn next(asked: &mut UnboundedReceiver<String>, start: &str) -> String {
    loop {
        let request = asked.recv().await.expect("it is asked");
        if request.starts_with(start) {
            return request;
        }
    }
}

fn granted() -> String {
    http("201 Created", "application/json", &lease("1.5", LONG_MS).to_string())
}

#[tokio::test]
async fn a_lease_that_is_lost_tells_why_and_cannot_be_given_back() {
    let (listener, url) = listen().await;
    let mut asked = daemon(listener, |request| match request {
        post if post.starts_with("POST ") => granted(),
        _ => problem(ProblemKind::LeaseLost),
    });
    let held = Client::new(url, "t").hold(request()).await.expect("it is granted");
    assert_eq!(held.lease().token.to_string(), "1.5");
    let why = held.lost().await;
    assert_eq!(why.kind(), Some(ProblemKind::LeaseLost));
    let newest = LeaseContext { token: "1.9".parse().ok(), ..LeaseContext::default() };
    assert_eq!(why.to_document().lease.as_deref(), Some(&newest));
    assert_eq!(held.release().await.expect_err("it is lost").kind(), Some(ProblemKind::LeaseLost));
    let post = next(&mut asked, "POST /mii/v1/twins/arm/sync-lease ").await;
    assert!(!post.contains("requestId\":null"), "asking again must be the same request: {post}");
    assert!(next(&mut asked, "PUT /mii/v1/twins/arm/sync-lease ").await.contains("\"token\":\"1.5\""));
}

#[tokio::test]
async fn a_revocation_is_told_before_the_lease_ends_and_it_can_still_be_given_back() {
    let (listener, url) = listen().await;
    let mut asked = daemon(listener, |request| match request.split(' ').next() {
        Some("POST") => granted(),
        Some("PUT") => problem(ProblemKind::LeaseRevoking),
        Some("GET") => found(&view("revoking", "1.5")),
        _ => http("204 No Content", "application/json", ""),
    });
    let held = Client::new(url, "t").hold(request()).await.expect("it is granted");
    let revoking = LeaseState::Revoking { ends_in_ms: LONG_MS };
    held.watch().wait_for(|state| *state == revoking).await.expect("it is told");
    held.release().await.expect("it is given back");
    next(&mut asked, "DELETE /mii/v1/twins/arm/sync-lease?user=ada&token=1.5 ").await;
}

#[tokio::test]
async fn after_the_daemons_new_life_the_lease_goes_on_under_its_new_token() {
    let (listener, url) = listen().await;
    let mut asked = daemon(listener, |request| match request.split(' ').next() {
        Some("POST") => granted(),
        Some("PUT") if request.contains("\"1.5\"") => problem(ProblemKind::LeaseTokenStale),
        Some("PUT") => found(&lease("2.1", LONG_MS)),
        Some("GET") => found(&view("held", "2.1")),
        _ => http("204 No Content", "application/json", ""),
    });
    let held = Client::new(url, "t").hold(request()).await.expect("it is granted");
    while !next(&mut asked, "PUT ").await.contains("\"2.1\"") {}
    assert_eq!(held.token().to_string(), "2.1");
    assert_eq!(*held.watch().borrow(), LeaseState::Held);
    drop(held);
    next(&mut asked, "DELETE /mii/v1/twins/arm/sync-lease?user=ada&token=2.1 ").await;
}

#[tokio::test]
async fn a_lease_is_not_counted_on_for_longer_than_it_lasts_without_the_daemon() {
    let (listener, url) = listen().await;
    let _asked = daemon(listener, |request| match request.split(' ').next() {
        Some("POST") => http("201 Created", "application/json", &lease("1.5", 100).to_string()),
        _ => problem(ProblemKind::Overloaded),
    });
    let held = Client::new(url, "t").hold(request()).await.expect("it is granted");
    assert_eq!(held.lost().await, ClientError::Timeout);
}
