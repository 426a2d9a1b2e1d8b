//! Bad input over sockets: each mistake has its problem document, which the daemon explains, and afterwards everybody
//! is served as before.

use reqwest::Method;
use serde_json::{Value, json};
use twinway::{
    client::{Client, Incoming, Session},
    outside::SystemKind,
    protocol::message::{OutsideAnswer, OutsideRequest},
};

use crate::support::{Daemon, PATIENCE, Process, json_of};

fn shop() -> Value {
    json!({"id": "advisor", "type": "consulting", "title": "Shop", "apis": [{"operation": "advise"}]})
}

/// A third-party system that is registered, with its session in the test's hands.
async fn third_party(daemon: &Daemon) -> Session {
    let session = daemon.client("advisor").session(SystemKind::ThirdParty).await.expect("it opens");
    json_of(daemon.post("advisor", "/sii/v1/systems", &shop()).await, 201).await;
    session
}

async fn next(session: &mut Session) -> Incoming {
    tokio::time::timeout(PATIENCE, session.next()).await.expect("something comes")
}

async fn request(session: &mut Session) -> (String, OutsideRequest) {
    match next(session).await {
        Incoming::Request { id, body } => (id, *body),
        other => panic!("{other:?}"),
    }
}

/// The status and the problem's type of the reply to an answer.
async fn reply(session: &mut Session, to: &str) -> (u16, Value) {
    match next(session).await {
        Incoming::Reply { id, status, body } => {
            assert_eq!(id, format!("answer:{to}"));
            let body: Value = body.map_or(Value::Null, |body| body.read().expect("it is JSON"));
            (status, body["type"].clone())
        }
        other => panic!("{other:?}"),
    }
}

fn answer(document: Value) -> OutsideAnswer {
    serde_json::from_value(document).expect("it is an answer")
}

fn granted(scope: &str) -> OutsideAnswer {
    answer(json!({"authorizeUser": {"decision": {"granted": {"userInformation": {}, "scope": [scope]}}}}))
}

fn authorization() -> Value {
    json!({"system": "advisor", "user": "ana", "scope": ["advise"]})
}

fn service_call() -> Value {
    json!({"system": "advisor", "user": "ana", "operation": "advise", "input": 1})
}

/// 9.1 steps 6 to 14x go through: nobody is stuck.
async fn is_served(daemon: &Daemon, session: &mut Session) {
    let answering = async {
        let (id, _) = request(session).await;
        session.answer(&id, &granted("advise")).await.expect("it is sent");
        assert_eq!(reply(session, &id).await.0, 204);
        let (id, _) = request(session).await;
        session.answer(&id, &answer(json!({"executeService": {"output": "well"}}))).await.expect("it is sent");
        assert_eq!(reply(session, &id).await.0, 204);
    };
    let asking = async {
        json_of(daemon.post("plaza", "/mii/v1/user-authorizations", &authorization()).await, 201).await;
        let output = json_of(daemon.post("plaza", "/mii/v1/service-calls", &service_call()).await, 200).await;
        assert_eq!(output, json!({"output": "well"}));
    };
    tokio::join!(answering, asking);
}

#[tokio::test]
async fn what_is_no_document_of_the_interface_is_refused_with_its_place() {
    let daemon = Daemon::start("");
    let mut session = third_party(&daemon).await;
    let systems = "/sii/v1/systems";
    let calls = "/mii/v1/service-calls";
    for (holder, path, body, pointer) in [
        ("advisor", systems, r#"{"id": "#.to_owned(), None),
        ("advisor", systems, "\u{7f}".to_owned(), None),
        ("advisor", systems, "[]".to_owned(), Some("")),
        ("advisor", systems, shop().to_string().replace("\"advise\"", "7"), Some("/apis/0/operation")),
        ("plaza", calls, service_call().to_string().replace("\"ana\"", "{}"), Some("/user")),
        ("plaza", calls, json!({"system": "advisor"}).to_string(), Some("")),
        (
            "plaza",
            "/mii/v1/permissions",
            r#"{"user":"ana","twins":["lamp"],"rights":["fly"]}"#.to_owned(),
            Some("/rights/0"),
        ),
    ] {
        let document =
            daemon.problem(daemon.send(holder, Method::POST, path, body.as_str()).await, 400, "invalid-document").await;
        if let Some(pointer) = pointer {
            assert_eq!(document["pointer"], pointer, "{body}: {document}");
        }
    }
    is_served(&daemon, &mut session).await;
}

#[tokio::test]
async fn an_unknown_id_is_said_to_be_unknown() {
    let daemon = Daemon::start("");
    let mut session = third_party(&daemon).await;
    let get = async |holder, path: &str| daemon.send(holder, Method::GET, path, "").await;
    daemon.problem(get("plaza", "/mii/v1/twins/nothing").await, 404, "twin-unknown").await;
    daemon.problem(get("plaza", "/mii/v1/twin-systems/nothing/twins").await, 404, "system-unknown").await;
    daemon.problem(get("operator", "/sii/v1/systems/nothing").await, 404, "system-unknown").await;
    let select = json!({"select": ["nothing"], "release": []});
    daemon.problem(daemon.post("plaza", "/mii/v1/selections", &select).await, 404, "twin-unknown").await;
    let mut call = service_call();
    call["system"] = json!("nothing");
    daemon.problem(daemon.post("plaza", "/mii/v1/service-calls", &call).await, 404, "system-unknown").await;
    let failed = json!({"failed": "so"});
    for id in ["0", "18446744073709551615", "x"] {
        let path = format!("/sii/v1/requests/{id}/answer");
        daemon.problem(daemon.post("advisor", &path, &failed).await, 404, "request-unknown").await;
    }
    is_served(&daemon, &mut session).await;
}

#[tokio::test]
async fn a_registration_with_other_contents_is_refused_with_what_differs_and_changes_nothing() {
    let daemon = Daemon::start("");
    let mut session = third_party(&daemon).await;
    let mut other = shop();
    other["title"] = json!("Another shop");
    other["serviceCharge"] = json!({"amount": 1.5, "currency": "EUR"});
    let document =
        daemon.problem(daemon.post("advisor", "/sii/v1/systems", &other).await, 409, "already-registered").await;
    let differences =
        document["differences"].as_array().expect("a list").iter().map(Value::to_string).collect::<String>();
    assert!(differences.contains("title") && differences.contains("serviceCharge"), "{document}");
    let kept = json_of(daemon.send("advisor", Method::GET, "/sii/v1/systems/advisor", "").await, 200).await;
    assert_eq!(kept["system"]["title"], "Shop");
    assert_eq!(json_of(daemon.post("advisor", "/sii/v1/systems", &shop()).await, 200).await, kept);
    is_served(&daemon, &mut session).await;
}

#[tokio::test]
async fn a_permission_past_its_end_is_told_as_expired() {
    let daemon = Daemon::start("");
    let mut session = third_party(&daemon).await;
    let expired = json!({"authorizeUser": {"decision": {"granted":
        {"userInformation": {}, "scope": ["advise"], "expiresAt": "2001-01-01T00:00:00Z"}}}});
    let answering = async {
        let (id, _) = request(&mut session).await;
        session.answer(&id, &answer(expired)).await.expect("it is sent");
        assert_eq!(reply(&mut session, &id).await.0, 204);
    };
    let call = authorization();
    let asking = daemon.post("plaza", "/mii/v1/user-authorizations", &call);
    tokio::join!(answering, asking);
    let call = daemon.post("plaza", "/mii/v1/service-calls", &service_call()).await;
    daemon.problem(call, 403, "permission-expired").await;
    is_served(&daemon, &mut session).await;
}

#[tokio::test]
async fn a_third_party_that_answers_twice_or_for_another_request_is_told_so_and_the_request_still_waits() {
    let daemon = Daemon::start("");
    let mut session = third_party(&daemon).await;
    let answering = async {
        let (id, _) = request(&mut session).await;
        for (to, wrong, status, slug) in [
            ("7", granted("advise"), 404, "request-unknown"),
            (id.as_str(), answer(json!({"executeService": {"output": 1}})), 409, "answer-mismatch"),
        ] {
            session.answer(to, &wrong).await.expect("it is sent");
            assert_eq!(reply(&mut session, to).await, (status, json!(format!("/problems/{slug}"))));
        }
        // Neither may another system answer in its place.
        let path = format!("/dii/v1/requests/{id}/answer");
        let by_another = daemon.post("home", &path, &json!({"failed": "ha"})).await;
        daemon.problem(by_another, 404, "request-unknown").await;
        session.answer(&id, &granted("advise")).await.expect("it is sent");
        assert_eq!(reply(&mut session, &id).await.0, 204);
        session.answer(&id, &granted("advise")).await.expect("it is sent");
        assert_eq!(reply(&mut session, &id).await, (404, json!("/problems/request-unknown")));
    };
    let asking = async {
        json_of(daemon.post("plaza", "/mii/v1/user-authorizations", &authorization()).await, 201).await;
    };
    tokio::join!(answering, asking);
    is_served(&daemon, &mut session).await;
}

#[tokio::test]
async fn a_third_party_that_never_answers_is_given_up_and_its_late_answer_refused() {
    let daemon = Daemon::start("[entities]\noutside_answer_ms_max = 3000\n");
    let mut session = third_party(&daemon).await;
    let asked = daemon.post("plaza", "/mii/v1/user-authorizations", &authorization()).await;
    daemon.problem(asked, 504, "outside-timeout").await;
    let (id, _) = request(&mut session).await;
    session.answer(&id, &granted("advise")).await.expect("it is sent");
    assert_eq!(reply(&mut session, &id).await, (404, json!("/problems/request-unknown")));
    is_served(&daemon, &mut session).await;
}

#[tokio::test]
async fn a_third_party_that_hangs_up_in_the_middle_fails_what_waited_for_it_and_may_come_back() {
    let daemon = Daemon::start("");
    let mut session = third_party(&daemon).await;
    let hanging_up = async {
        request(&mut session).await;
        drop(session);
    };
    let call = authorization();
    let asking = daemon.post("plaza", "/mii/v1/user-authorizations", &call);
    // It is told at once: the daemon would wait much longer for an answer.
    let ((), asked) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(hanging_up, asking) }).await.expect("it is told");
    daemon.problem(asked, 503, "outside-unreachable").await;
    let mut session = daemon.client("advisor").session(SystemKind::ThirdParty).await.expect("it opens again");
    is_served(&daemon, &mut session).await;
}

/// The same with a process that is killed: nobody says goodbye then.
#[tokio::test]
async fn a_twin_system_that_dies_is_unreachable_until_it_is_back() {
    let daemon = Daemon::start("");
    let plaza = daemon.client("plaza");
    drop(daemon.join("twin_system", "home"));
    ask_for_the_lamp(&daemon, &plaza, Err(())).await;
    let home: Process = daemon.join("twin_system", "home");
    ask_for_the_lamp(&daemon, &plaza, Ok(())).await;
    home.hang_up();
}

async fn ask_for_the_lamp(daemon: &Daemon, plaza: &Client, expected: Result<(), ()>) {
    plaza.select_twins(&["lamp".parse().expect("a name")], &[]).await.expect("it is selected");
    let body = json!({"user": "ana", "twins": ["lamp"], "rights": ["read"]});
    let asked = daemon.post("plaza", "/mii/v1/permissions", &body).await;
    match expected {
        Ok(()) => assert_eq!(json_of(asked, 200).await["refused"], json!([])),
        Err(()) => drop(daemon.problem(asked, 503, "outside-unreachable").await),
    }
}
