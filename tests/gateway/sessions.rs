//! WebSocket sessions, tickets and event streams.

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _, protocol::CloseFrame},
};

use crate::support::{LAMP, LAMP_PATH, World, json_of, problem, world};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl World {
    pub(crate) async fn open(&self, token: &str, path: &str) -> Socket {
        let url = format!("ws://{}{path}", self.gateway.address());
        let mut request = url.into_client_request().expect("a URL");
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        headers.insert("sec-websocket-protocol", "twinway.v1.json".parse().expect("a header"));
        let (socket, response) = connect_async(request).await.expect("it opens");
        assert_eq!(response.headers()["sec-websocket-protocol"], "twinway.v1.json");
        socket
    }

    async fn open_with_ticket(&self, ticket: &str) -> Result<Socket, u16> {
        let url = format!("ws://{}/mii/v1/session?ticket={ticket}", self.gateway.address());
        match connect_async(url).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) async fn say(socket: &mut Socket, frame: Value) {
    socket.send(Message::text(frame.to_string())).await.expect("it is sent");
}

/// The next text frame, or how the session was closed.
pub(crate) async fn hear(socket: &mut Socket) -> Result<Value, Option<CloseFrame>> {
    loop {
        match socket.next().await.expect("the session says how it ends").expect("no error") {
            Message::Text(text) => return Ok(serde_json::from_str(&text).expect("frames are JSON")),
            Message::Close(frame) => return Err(frame),
            _ => {}
        }
    }
}

#[actix_web::test]
async fn a_ticket_opens_one_session() {
    let world = world().await;
    let given = world.ask("world-token", Method::POST, "/v1/tickets").send().await.expect("it answers");
    let given = json_of(given, StatusCode::CREATED).await;
    let ticket = given["ticket"].as_str().expect("text");
    let mut socket = world.open_with_ticket(ticket).await.expect("it opens");
    say(&mut socket, json!({"call": "1", "method": "GET", "path": "/mii/v1/twins"})).await;
    let reply = hear(&mut socket).await.expect("a reply");
    assert_eq!(reply, json!({"reply": "1", "status": 200, "body": {"items": [], "next": null}}));
    assert_eq!(world.open_with_ticket(ticket).await.err(), Some(401));
    assert_eq!(world.open_with_ticket("").await.err(), Some(401));
    world.end().await;
}

#[actix_web::test]
async fn a_ticket_opens_nothing_but_a_session() {
    let world = world().await;
    let given = world.ask("world-token", Method::POST, "/v1/tickets").send().await.expect("it answers");
    let ticket = json_of(given, StatusCode::CREATED).await["ticket"].as_str().expect("text").to_owned();
    let url = world.url(&format!("/mii/v1/twins?ticket={ticket}"));
    problem(world.client.get(url).send().await.expect("it answers"), "unauthenticated").await;
    world.end().await;
}

#[actix_web::test]
async fn a_newer_session_takes_the_older_ones_place() {
    let world = world().await;
    let mut older = world.open("home-token", "/dii/v1/session").await;
    let _newer = world.open("home-token", "/dii/v1/session").await;
    let close = hear(&mut older).await.expect_err("it is closed").expect("with why");
    assert_eq!(u16::from(close.code), 4001);
    world.end().await;
}

#[actix_web::test]
async fn a_frame_that_is_not_understood_is_a_problem_and_the_session_stays() {
    let world = world().await;
    let mut socket = world.open("home-token", "/dii/v1/session").await;
    let cases = [
        (json!({"hello": 1}), "", "invalid-document"),
        (json!({"call": "a"}), "a", "invalid-document"),
        (json!({"call": "b", "method": "GET", "path": "/mii/v1/twins"}), "b", "not-allowed"),
        (json!({"call": "c", "method": "GET", "path": "/dii/v1/events"}), "c", "invalid-query"),
        (json!({"call": "d", "method": "GET", "path": "/nothing"}), "d", "route-unknown"),
        (
            json!({"call": "e", "method": "POST", "path": "/dii/v1/changes", "body": {"twin": 1}}),
            "e",
            "invalid-document",
        ),
        (json!({"answer": "7", "data": {"failed": "no"}}), "answer:7", "request-unknown"),
        (json!({"answer": "8", "data": {"failed": 1}}), "answer:8", "invalid-document"),
    ];
    for (frame, id, slug) in cases {
        say(&mut socket, frame).await;
        let reply = hear(&mut socket).await.expect("a reply");
        assert_eq!(
            (&reply["reply"], &reply["body"]["type"]),
            (&json!(id), &json!(format!("/problems/{slug}"))),
            "{reply}"
        );
        assert_eq!(reply["status"], reply["body"]["status"]);
    }
    world.end().await;
}

#[actix_web::test]
async fn an_array_of_calls_is_carried_out_side_by_side_and_answered_in_arrays() {
    let world = world().await;
    world.register_home().await;
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    let read = |id: &str, path: &str| json!({"call": id, "method": "GET", "path": path});
    let frames = json!([read("a", "/mii/v1/twins"), {"hello": 1}, read("b", LAMP_PATH), read("c", "/nothing")]);
    say(&mut socket, frames).await;
    let mut replies = Vec::new();
    while replies.len() < 4 {
        let heard = hear(&mut socket).await.expect("a frame");
        replies.extend(heard.as_array().expect("who sends arrays gets arrays").iter().cloned());
    }
    let mut told: Vec<_> = replies.iter().map(|reply| (reply["reply"].as_str(), reply["status"].as_u64())).collect();
    told.sort_unstable();
    assert_eq!(told, [(Some(""), Some(400)), (Some("a"), Some(200)), (Some("b"), Some(200)), (Some("c"), Some(404))]);
    say(&mut socket, json!([])).await;
    socket.send(Message::text("[{\"call\"")).await.expect("it is sent");
    let refused = hear(&mut socket).await.expect("a frame");
    assert_eq!(refused[0]["body"]["type"], "/problems/invalid-document", "{refused}");
    world.end().await;
}

#[actix_web::test]
async fn a_twin_system_is_asked_over_its_session_and_the_change_goes_through() {
    let world = world().await;
    world.register_home().await;
    let mut home = world.open("home-token", "/dii/v1/session").await;
    world.post("world-token", "/mii/v1/selections", json!({"select": [LAMP]})).await;

    let permission = json!({"user": "ada", "twins": [LAMP], "rights": ["read", "change"]});
    let asking = world.post("world-token", "/mii/v1/permissions", permission);
    let answering = async {
        let request = hear(&mut home).await.expect("a request");
        assert_eq!((&request["type"], &request["data"]["twins"]), (&json!("describeTwins"), &json!([LAMP])));
        let grant = json!({"twin": LAMP, "properties": {"on": false}, "rights": ["read", "change"]});
        say(&mut home, json!({"answer": request["request"], "data": {"describeTwins": {"twins": [grant]}}})).await;
        let reply = hear(&mut home).await.expect("a reply");
        assert_eq!(reply["status"], 204, "{reply}");
    };
    let outcome = json_of(futures_util::join!(asking, answering).0, StatusCode::OK).await;
    assert_eq!((&outcome["permissions"][0]["user"], &outcome["refused"]), (&json!("ada"), &json!([])));

    let path = format!("{LAMP_PATH}/properties/on?user=ada");
    let changing = world.ask("world-token", Method::PUT, &path).json(&true).send();
    let answering = async {
        let request = hear(&mut home).await.expect("a request");
        assert_eq!((&request["type"], &request["data"]["values"]), (&json!("applyChange"), &json!({"on": true})));
        let path = format!("/dii/v1/requests/{}/answer", request["request"].as_str().expect("text"));
        let answer = json!({"applyChange": {"values": {"on": true}}});
        let answered = world.post("home-token", &path, answer.clone()).await;
        assert_eq!(answered.status(), StatusCode::NO_CONTENT);
        problem(world.post("home-token", &path, answer).await, "request-unknown").await;
    };
    let changed = json_of(futures_util::join!(changing, answering).0.expect("it answers"), StatusCode::OK).await;
    assert_eq!(changed, json!({"values": {"on": true}}));
    world.end().await;
}

#[actix_web::test]
async fn events_are_heard_as_cloud_events_until_the_gateway_stops() {
    let world = world().await;
    world.register_home().await;
    world.post("world-token", "/mii/v1/selections", json!({"select": [LAMP]})).await;
    let stream = world.get("world-token", "/mii/v1/events").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["cache-control"], "no-cache");
    world.post("home-token", "/dii/v1/changes", json!({"twin": LAMP, "values": {"on": true}})).await;
    let mut chunks = stream.bytes_stream();
    let mut text = String::new();
    while !text.contains("data: ") || !text.ends_with("\n\n") {
        let chunk = chunks.next().await.expect("an event comes").expect("no error");
        text.push_str(std::str::from_utf8(&chunk).expect("it is text"));
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let event: Value = serde_json::from_str(data).expect("it is JSON");
    assert_eq!((&event["specversion"], &event["source"]), (&json!("1.0"), &json!("/twinway")), "{event}");
    assert_eq!(event["subject"], LAMP);
    world.end().await;
    while let Some(chunk) = chunks.next().await {
        chunk.expect("the stream ends in order");
    }
}

#[actix_web::test]
async fn a_last_event_id_that_is_no_number_is_refused() {
    let world = world().await;
    problem(world.get("world-token", "/mii/v1/events?lastEventId=x").await, "invalid-query").await;
    world.end().await;
}
