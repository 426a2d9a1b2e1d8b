//! The client against a tiny server that says what a test tells it to.

mod leases;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{Request, Response},
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use twinway_protocol::{
    ProblemKind, SystemId, TwinId, UserId,
    message::{OutsideAnswer, OutsideRequest},
};

use super::{Client, ClientError, Closing, Incoming, Told};
use crate::outside::{EventsFrom, SystemKind};

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    (listener, url)
}

/// Reads a request up to the end of its body.
async fn take(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).await.expect("the client sends");
        assert!(count > 0, "the client hung up after: {text}");
        text.push_str(std::str::from_utf8(&piece[..count]).expect("a test sends text"));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return text;
        }
    }
}

/// Serves one connection after the other, each with its answer; gives what was asked.
fn serve(listener: TcpListener, answers: Vec<String>) -> JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("the client connects");
            asked.push(take(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.expect("the client listens");
            stream.shutdown().await.expect("the client listens");
        }
        asked
    })
}

fn http(status: &str, media_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn stream_of(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{body}")
}

fn twin(id: &str) -> TwinId {
    TwinId::new(id).expect("it is a name")
}

#[tokio::test]
async fn a_problem_of_the_daemon_comes_as_that_problem() {
    let (listener, url) = listen().await;
    let body =
        r#"{"type":"/problems/twin-unknown","title":"No such twin","status":404,"detail":"there is no twin `x`"}"#;
    let server = serve(listener, vec![http("404 Not Found", "application/problem+json", body)]);
    let error = Client::new(url, "t").twin(&twin("x")).await.expect_err("it is refused");
    assert_eq!(error.kind(), Some(ProblemKind::TwinUnknown));
    assert_eq!(error.to_string(), "No such twin: there is no twin `x`");
    server.await.expect("the server ends");
}

#[tokio::test]
async fn a_refusal_that_is_no_problem_document_becomes_one() {
    let (listener, url) = listen().await;
    let server = serve(listener, vec![http("502 Bad Gateway", "text/html", "<h1>nothing here</h1>")]);
    let error = Client::new(url, "t").status().await.expect_err("it is refused");
    let document = error.to_document();
    assert_eq!((document.status, document.problem_type.as_str()), (502, "about:blank"));
    assert_eq!(document.detail, "<h1>nothing here</h1>");
    server.await.expect("the server ends");
}

#[tokio::test]
async fn an_answer_of_another_form_is_a_protocol_error() {
    let (listener, url) = listen().await;
    let server = serve(listener, vec![http("200 OK", "text/html", "<h1>welcome</h1>")]);
    let error = Client::new(url, "t").status().await.expect_err("it cannot be read");
    assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
    server.await.expect("the server ends");
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable_and_silence_is_a_timeout() {
    let (listener, url) = listen().await;
    let client = Client::new(&url, "t");
    let silent = client.clone().within(Duration::from_millis(50)).status().await;
    assert_eq!(silent.expect_err("nobody answers"), ClientError::Timeout);
    drop(listener);
    let error = client.status().await.expect_err("nobody is there");
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
    let error = client.session(SystemKind::Metaverse).await.expect_err("nobody is there");
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn an_address_that_is_none_is_told_by_the_first_request() {
    for address in ["", "127.0.0.1:7400", "https://localhost", "mailto:a@b"] {
        let error = Client::new(address, "t").status().await.expect_err("it is no address");
        assert!(matches!(error, ClientError::Protocol(_)), "{address}: {error:?}");
    }
}

#[tokio::test]
async fn an_id_stays_one_segment_of_the_path_and_the_token_goes_along() {
    let (listener, url) = listen().await;
    let server = serve(listener, vec![http("200 OK", "application/json", r#"{"values":{"on":true}}"#)]);
    let client = Client::new(url, "secret").acting_as(SystemId::new("plaza").expect("it is a name"));
    let values = [("on".to_owned(), twinway_protocol::JsonDoc::parse("true").expect("it is JSON"))].into();
    let user = UserId::new("a&b").expect("it is a name");
    let now = client.change_twin(&user, &twin("urn:x/y?z"), &values).await.expect("it is answered");
    assert_eq!(now, values);
    let asked = server.await.expect("the server ends").remove(0);
    assert!(
        asked.starts_with("PATCH /mii/v1/twins/urn:x%2Fy%3Fz/properties?as=plaza&user=a%26b HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(asked.contains("authorization: Bearer secret\r\n"), "{asked}");
    assert!(asked.contains("content-type: application/merge-patch+json\r\n"), "{asked}");
    assert!(asked.ends_with("\r\n\r\n{\"on\":true}"), "{asked}");
    assert!(!format!("{client:?}").contains("secret"));
}

fn event(number: u64) -> String {
    format!(
        "id: {number}\nevent: io.twinway.twin.changed\ndata: {{\"specversion\":\"1.0\",\"id\":\"plaza-{number}\",\"source\":\"/twinway\",\"type\":\"io.twinway.twin.changed\",\"subject\":\"lamp\",\"data\":{{ \"on\":true}}}}\n\n"
    )
}

#[tokio::test]
async fn a_broken_event_stream_goes_on_behind_the_last_event() {
    let (listener, url) = listen().await;
    let first = format!(": beat\n\n{}{}data: half", event(1), event(2));
    let second = format!("id: 5\nevent: gap\ndata: {{\"missed\":3}}\n\n{}", event(6));
    let refusal = r#"{"type":"/problems/unauthenticated","title":"No valid token","status":401}"#;
    let refusal = http("401 Unauthorized", "application/problem+json", refusal);
    let server = serve(listener, vec![stream_of(&first), stream_of(&second), refusal]);
    let client = Client::new(url, "t");
    let mut stream = client.events(SystemKind::Metaverse, EventsFrom::Now).await.expect("it opens");
    let mut numbers = Vec::new();
    loop {
        match stream.next().await {
            Ok(Told::Event { number, event }) => {
                assert_eq!(event.data.as_str(), r#"{ "on":true}"#);
                numbers.push(number);
            }
            Ok(Told::Gap(gap)) => numbers.push(gap.missed),
            Err(error) => break assert_eq!(error.kind(), Some(ProblemKind::Unauthenticated)),
        }
    }
    assert_eq!(numbers, [1, 2, 3, 6]);
    let asked = server.await.expect("the server ends");
    let resumed: Vec<_> =
        asked.iter().map(|head| head.lines().find(|line| line.starts_with("last-event-id"))).collect();
    assert_eq!(resumed, [None, Some("last-event-id: 2"), Some("last-event-id: 6")]);
}

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

async fn accept(listener: &TcpListener) -> Socket {
    let (stream, _) = listener.accept().await.expect("the client connects");
    #[allow(clippy::result_large_err, reason = "the callback's type is the library's")]
    let check = |request: &Request, mut response: Response| {
        assert_eq!(request.uri().path(), "/dii/v1/session");
        assert_eq!(request.headers()["authorization"], "Bearer t");
        let protocol = request.headers()["sec-websocket-protocol"].clone();
        response.headers_mut().insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    tokio_tungstenite::accept_hdr_async(stream, check).await.expect("the client shakes hands")
}

async fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.expect("the client listens");
}

async fn hear(socket: &mut Socket) -> String {
    let message = socket.next().await.expect("the client speaks").expect("and is understood");
    message.into_text().expect("it is text").to_string()
}

const APPLY: &str = r#"{"twin":"lamp","metaverse":"plaza","user":"ana","values":{"on": true}}"#;

#[tokio::test]
async fn requests_events_gaps_and_replies_come_out_of_a_session_and_answers_go_in() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut socket = accept(&listener).await;
        // The members' order is the daemon's business.
        say(&mut socket, &format!(r#"{{"data":{APPLY},"request":"7","type":"applyChange"}}"#)).await;
        let answer = hear(&mut socket).await;
        say(&mut socket, r#"{"reply":"answer:7","status":204}"#).await;
        say(&mut socket, r#"{"request":"8","type":"sing","data":{}}"#).await;
        let unknown = hear(&mut socket).await;
        say(&mut socket, r#"{"gap":{"missed":2}}"#).await;
        say(&mut socket, r#"{"added":"later"}"#).await;
        socket.close(None).await.expect("the client listens");
        (answer, unknown)
    });
    let mut session = Client::new(url, "t").session(SystemKind::DigitalTwin).await.expect("it opens");
    let Incoming::Request { id, body } = session.next().await else { panic!("a request is first") };
    let OutsideRequest::ApplyChange(change) = *body else { panic!("it is a change") };
    assert_eq!(change.values["on"].as_str(), "true");
    session.answer(&id, &OutsideAnswer::Failed("no bulb".to_owned())).await.expect("it is open");
    let Incoming::Reply { id, status, .. } = session.next().await else { panic!("a reply is next") };
    assert_eq!((id.as_str(), status), ("answer:7", 204));
    assert!(matches!(session.next().await, Incoming::Gap(gap) if gap.missed == 2));
    assert!(matches!(session.next().await, Incoming::Closed(Closing::Ended(_))));
    assert!(matches!(session.next().await, Incoming::Closed(Closing::Ended(_))));
    let (answer, unknown) = server.await.expect("the server ends");
    assert_eq!(answer, r#"{"answer":"7","data":{"failed":"no bulb"}}"#);
    assert_eq!(unknown, r#"{"answer":"8","data":{"failed":"requests of type `sing` are not understood"}}"#);
}

#[tokio::test]
async fn a_standing_session_comes_back_until_another_takes_its_place() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        drop(accept(&listener).await);
        let mut socket = accept(&listener).await;
        say(&mut socket, &format!(r#"{{"request":"7","type":"applyChange","data":{APPLY}}}"#)).await;
        let frame = CloseFrame { code: CloseCode::from(4001), reason: "taken over".into() };
        socket.close(Some(frame)).await.expect("the client listens");
        while socket.next().await.is_some() {}
    });
    let mut session = Client::new(url, "t").standing_session(SystemKind::DigitalTwin).await.expect("it opens");
    assert!(matches!(session.next().await, Incoming::Request { .. }));
    assert!(matches!(session.next().await, Incoming::Closed(Closing::TakenOver)));
    drop(session);
    server.await.expect("the server ends");
}

#[tokio::test]
async fn a_session_that_is_refused_says_why() {
    let (listener, url) = listen().await;
    let body = r#"{"type":"/problems/limit-reached","title":"A limit is reached","status":429,"detail":"sessions"}"#;
    let server = serve(listener, vec![http("429 Too Many Requests", "application/problem+json", body)]);
    let error = Client::new(url, "t").session(SystemKind::DigitalTwin).await.expect_err("it is refused");
    assert!(matches!(&error, ClientError::Problem(problem) if problem.status == 429), "{error:?}");
    server.await.expect("the server ends");
}
