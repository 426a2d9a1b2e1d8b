//! Sync leases over sockets (FGMV-28 7.1.3): one holder, priority, fencing, and what users see of it.

use std::{sync::Arc, time::SystemTime};

use futures_util::{StreamExt as _, future::join};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use twinway::{
    actors::Settings,
    client::{Client, LeaseState},
    gateway::{GatewayConfig, NoHost},
    protocol::{
        ProblemKind,
        lease::Token,
        message::{LeaseRequest, OperatorAct},
        time::Timestamp,
    },
};

use crate::{
    sessions::{Socket, hear, say},
    support::{World, json_of, problem, world, world_with},
};

const ARM: &str = "/mii/v1/twins/arm";
pub(crate) const LEASE: &str = "/mii/v1/twins/arm/sync-lease";

/// An arm and a belt, whose rules give `boss` more than `ada` and `bob`; and a picture, which stands for nothing.
fn cell() -> Value {
    let twin = |id: &str, object: Option<&str>| {
        json!({"id": id, "physicalObject": object, "description": {
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": id,
            "securityDefinitions": {"nosec_sc": {"scheme": "nosec"}}, "security": "nosec_sc",
            "properties": {"on": {"type": "boolean", "forms": [{"href": "/on"}]}},
        }})
    };
    let mut twins = vec![twin("arm", Some("urn:arm")), twin("belt", Some("urn:belt")), twin("picture", None)];
    for twin in &mut twins[..2] {
        twin["characteristics"] = json!({"synchronization": {
            "defaultPriority": 1, "priorities": [{"user": "boss", "priority": 9}], "safeStop": {"on": false},
        }});
    }
    json!({"id": "home", "type": "cell", "title": "A cell", "twins": twins})
}

/// Answers whatever the twin system is asked, as a device does that does what it is told.
async fn serve_cell(mut socket: Socket) {
    while let Ok(frame) = hear(&mut socket).await {
        let (data, id) = (&frame["data"], &frame["request"]);
        let answer = match frame["type"].as_str() {
            Some("describeTwins") => {
                let twins = data["twins"].as_array().expect("a list").iter();
                let rights = ["read", "change", "message", "stop"];
                let grant = |twin| json!({"twin": twin, "properties": {"on": false}, "rights": rights});
                json!({"describeTwins": {"twins": twins.map(grant).collect::<Vec<_>>()}})
            }
            Some("applyChange") => json!({"applyChange": {"values": data["values"]}}),
            Some("fenceDevice") => json!({"fenceDevice": {"seen": data["token"]}}),
            _ => continue,
        };
        say(&mut socket, json!({"answer": id, "data": answer})).await;
    }
}

/// A world with the cell, in which ada, bob and boss may do everything.
async fn cell_world() -> World {
    cell_world_with(GatewayConfig::default()).await
}

/// The same, at a gateway with these limits.
pub(crate) async fn cell_world_with(config: GatewayConfig) -> World {
    let world = world_with(config, Arc::new(NoHost)).await;
    json_of(world.post("home-token", "/dii/v1/systems", cell()).await, StatusCode::CREATED).await;
    actix_web::rt::spawn(serve_cell(world.open("home-token", "/dii/v1/session").await));
    let twins = ["arm", "belt", "picture"];
    world.post("world-token", "/mii/v1/selections", json!({"select": twins})).await;
    for user in ["ada", "bob", "boss"] {
        let asked = json!({"user": user, "twins": twins, "rights": ["read", "change", "stop"]});
        json_of(world.post("world-token", "/mii/v1/permissions", asked).await, StatusCode::OK).await;
    }
    world
}

pub(crate) fn wants(user: &str) -> Value {
    json!({"user": user, "ttlMs": 60_000})
}

impl World {
    async fn acquire(&self, user: &str) -> String {
        let lease = json_of(self.post("world-token", LEASE, wants(user)).await, StatusCode::CREATED).await;
        assert_eq!((&lease["holder"]["user"], &lease["twins"]), (&json!(user), &json!(["arm"])), "{lease}");
        lease["token"].as_str().expect("text").to_owned()
    }

    async fn release(&self, user: &str, token: &str) -> Response {
        let path = format!("{LEASE}?user={user}&token={token}");
        self.ask("world-token", Method::DELETE, &path).send().await.expect("it answers")
    }

    async fn renew(&self, user: &str, token: &str, ttl_ms: u32) -> Response {
        let body = json!({"user": user, "token": token, "ttlMs": ttl_ms});
        self.ask("world-token", Method::PUT, LEASE).json(&body).send().await.expect("it answers")
    }

    async fn switch(&self, user: &str, token: Option<&str>) -> Response {
        let path = format!("{ARM}/properties/on?user={user}");
        let change = self.ask("world-token", Method::PUT, &path).json(&true);
        let change = token.into_iter().fold(change, |change, token| change.header("sync-lease-token", token));
        change.send().await.expect("it answers")
    }

    async fn operate(&self, act: &str) -> Response {
        let path = format!("/ops/v1/twins/arm/sync-lease/{act}");
        self.post("operator-token", &path, json!({"reason": "the gripper sticks"})).await
    }

    async fn lease(&self) -> Value {
        json_of(self.get("world-token", LEASE).await, StatusCode::OK).await
    }

    fn client_of(&self, token: &str) -> Client {
        Client::new(self.url(""), token)
    }
}

#[actix_web::test]
async fn one_user_holds_the_object_and_only_that_user_changes_it_and_gives_it_back() {
    let world = cell_world().await;
    let token = world.acquire("ada").await;
    let view = world.lease().await;
    assert_eq!((&view["phase"], &view["holder"]["user"]), (&json!("held"), &json!("ada")), "{view}");
    assert!(view["explanation"].as_str().is_some_and(|words| words.contains("ada")), "{view}");
    let refusal = problem(world.post("world-token", LEASE, wants("bob")).await, "lease-held").await;
    assert_eq!(refusal["lease"]["holder"]["priority"], 1, "{refusal}");
    assert!(refusal["lease"]["expiresInMs"].as_u64().is_some_and(|ms| ms > 0), "{refusal}");
    problem(world.switch("bob", None).await, "lease-held").await;
    problem(world.switch("bob", Some(&token)).await, "lease-not-yours").await;
    assert_eq!(world.switch("ada", Some(&token)).await.status(), StatusCode::OK);
    let renewed = json_of(world.renew("ada", &token, 120_000).await, StatusCode::OK).await;
    assert!(renewed["expiresInMs"].as_u64().is_some_and(|ms| ms > 60_000), "{renewed}");
    problem(world.renew("bob", &token, 60_000).await, "lease-not-yours").await;
    problem(world.release("bob", &token).await, "lease-not-yours").await;
    assert_eq!(world.release("ada", &token).await.status(), StatusCode::NO_CONTENT);
    problem(world.release("ada", &token).await, "lease-ended").await;
    assert_eq!(world.lease().await["phase"], "free");
    assert_eq!(world.switch("bob", None).await.status(), StatusCode::OK, "a change takes a lease for itself");
    let again: Token = world.acquire("bob").await.parse().expect("a token");
    assert!(again > token.parse().expect("a token"));
    world.end().await;
}

#[actix_web::test]
async fn of_several_who_ask_at_once_one_hears_success_and_every_other_its_own_answer() {
    let world = cell_world().await;
    let requests = json!({"requests": [wants("ada"), wants("boss"), wants("bob")]});
    let decided = world.post("world-token", &format!("{LEASE}/batch"), requests).await;
    let answers = json_of(decided, StatusCode::OK).await["answers"].clone();
    assert_eq!(answers[1]["lease"]["holder"]["user"], "boss", "{answers}");
    for refused in [0, 2] {
        assert_eq!(answers[refused]["problem"]["type"], "/problems/lease-held", "{answers}");
    }
    world.end().await;
}

#[actix_web::test]
async fn a_higher_priority_takes_the_object_and_who_lost_it_is_told_and_moves_it_no_more() {
    let world = cell_world().await;
    let events = world.get("world-token", "/mii/v1/events?type=lease.*&twin=arm").await;
    let lost = world.acquire("ada").await;
    let won = world.acquire("boss").await;
    let refusal = problem(world.switch("ada", Some(&lost)).await, "lease-lost").await;
    assert_eq!(refusal["lease"]["holder"]["priority"], 9, "{refusal}");
    assert_eq!(refusal["lease"]["token"], won, "{refusal}");
    assert_eq!(world.switch("boss", Some(&won)).await.status(), StatusCode::OK);
    let (mut chunks, mut heard) = (events.bytes_stream(), String::new());
    while !heard.contains("event: io.twinway.lease.lost") || !heard.ends_with("\n\n") {
        let chunk = chunks.next().await.expect("events come").expect("no error");
        heard.push_str(std::str::from_utf8(&chunk).expect("it is text"));
    }
    assert!(!heard.contains("io.twinway.twin."), "only what was asked for: {heard}");
    world.end().await;
}

#[actix_web::test]
async fn who_waits_stands_in_the_queue_until_it_is_cancelled_or_the_object_is_free() {
    let world = cell_world().await;
    let token = world.acquire("ada").await;
    let id = "0189d7e0-0000-7000-8000-000000000001";
    let mut waiting = wants("bob");
    waiting["waitMs"] = json!(60_000);
    let mut cancelled = waiting.clone();
    cancelled["requestId"] = json!(id);
    let queue = async |length: usize| loop {
        let queue = world.get("world-token", &format!("{LEASE}/queue")).await;
        let queue = json_of(queue, StatusCode::OK).await;
        if queue["waiting"] == length && queue["queue"].as_array().is_some_and(|all| all.len() == length) {
            return queue;
        }
    };
    let cancel = async {
        assert_eq!(queue(1).await["queue"][0]["party"]["user"], "bob");
        let path = format!("/mii/v1/lease-requests/{id}");
        let gone = world.ask("world-token", Method::DELETE, &path).send().await.expect("it answers");
        assert_eq!(gone.status(), StatusCode::NO_CONTENT);
        let again = world.ask("world-token", Method::DELETE, &path).send().await.expect("it answers");
        problem(again, "lease-cancelled").await;
    };
    let (refused, ()) = join(world.post("world-token", LEASE, cancelled), cancel).await;
    problem(refused, "lease-cancelled").await;
    let release = async {
        queue(1).await;
        assert_eq!(world.release("ada", &token).await.status(), StatusCode::NO_CONTENT);
    };
    let (granted, ()) = join(world.post("world-token", LEASE, waiting), release).await;
    assert_eq!(json_of(granted, StatusCode::CREATED).await["holder"]["user"], "bob");
    world.end().await;
}

#[actix_web::test]
async fn the_same_request_again_has_the_same_answer_and_another_one_under_its_id_is_refused() {
    let world = cell_world().await;
    let mut request = wants("ada");
    request["requestId"] = json!("0189d7e0-0000-7000-8000-000000000002");
    let first = json_of(world.post("world-token", LEASE, request.clone()).await, StatusCode::CREATED).await;
    let second = json_of(world.post("world-token", LEASE, request.clone()).await, StatusCode::CREATED).await;
    assert_eq!(first["token"], second["token"]);
    request["user"] = json!("bob");
    problem(world.post("world-token", LEASE, request).await, "request-id-reused").await;
    world.end().await;
}

#[actix_web::test]
async fn a_set_is_had_as_a_whole_or_not_at_all() {
    let world = cell_world().await;
    let token = world.acquire("ada").await;
    let set = json!({"user": "bob", "twins": ["belt", "arm"], "ttlMs": 60_000});
    problem(world.post("world-token", "/mii/v1/sync-leases", set.clone()).await, "lease-held").await;
    let belt = json_of(world.get("world-token", "/mii/v1/twins/belt/sync-lease").await, StatusCode::OK).await;
    assert_eq!(belt["phase"], "free");
    world.release("ada", &token).await;
    let lease = json_of(world.post("world-token", "/mii/v1/sync-leases", set).await, StatusCode::CREATED).await;
    assert_eq!(lease["twins"], json!(["belt", "arm"]));
    let page = json_of(world.get("world-token", "/mii/v1/sync-leases?limit=1").await, StatusCode::OK).await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
    assert!(page["next"].is_string(), "{page}");
    let kept = world.ask("world-token", Method::POST, "/mii/v1/sync-leases/keep-alive").send().await;
    assert_eq!(json_of(kept.expect("it answers"), StatusCode::OK).await, json!({"leases": 1}));
    world.end().await;
}

#[actix_web::test]
async fn a_reservation_is_listed_until_it_is_cancelled() {
    let world = cell_world().await;
    let booking =
        |user: &str, from: &str, until: &str| json!({"user": user, "from": from, "until": until, "ttlMs": 1_000});
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later").as_millis();
    let now = Timestamp::from_unix_ms(u64::try_from(now).expect("it is not that late"));
    let (from, until) = (now.plus_ms(3_600_000).to_string(), now.plus_ms(7_200_000).to_string());
    let path = format!("{ARM}/reservations");
    let made =
        json_of(world.post("world-token", &path, booking("ada", &from, &until)).await, StatusCode::CREATED).await;
    assert_eq!(world.lease().await["reservations"][0]["id"], made["id"]);
    problem(world.post("world-token", &path, booking("bob", &from, &until)).await, "reservation-taken").await;
    problem(world.post("world-token", &path, booking("bob", &until, &from)).await, "reservation-window").await;
    let one = format!("{path}/{}", made["id"]);
    let gone = async || world.ask("world-token", Method::DELETE, &one).send().await.expect("it answers");
    assert_eq!(gone().await.status(), StatusCode::NO_CONTENT);
    problem(gone().await, "lease-request-unknown").await;
    assert_eq!(world.lease().await["reservations"], json!([]));
    world.end().await;
}

#[actix_web::test]
async fn whoever_may_stop_the_device_stops_it_whoever_holds_it() {
    let world = cell_world().await;
    let token = world.acquire("boss").await;
    assert_eq!(world.switch("boss", Some(&token)).await.status(), StatusCode::OK);
    let stopped = world.ask("world-token", Method::POST, &format!("{ARM}/stop?user=bob")).send().await;
    assert_eq!(json_of(stopped.expect("it answers"), StatusCode::OK).await, json!({"values": {"on": false}}));
    world.end().await;
}

#[actix_web::test]
async fn an_operator_sees_everybody_and_what_it_does_is_written_down() {
    let world = cell_world().await;
    let token = world.acquire("ada").await;
    let path = "/ops/v1/twins/arm/sync-lease";
    let seen = json_of(world.get("operator-token", path).await, StatusCode::OK).await;
    assert_eq!((&seen["holder"]["system"], &seen["token"]), (&json!("world"), &json!(token)));
    let all = json_of(world.get("operator-token", "/ops/v1/sync-leases").await, StatusCode::OK).await;
    assert_eq!((&all["items"][0]["twin"], &all["next"]), (&json!("arm"), &json!(null)), "{all}");
    problem(world.get("world-token", path).await, "not-allowed").await;
    assert_eq!(world.operate("clear").await.status(), StatusCode::NO_CONTENT);
    problem(world.switch("ada", Some(&token)).await, "lease-lost").await;
    let history = json_of(world.get("operator-token", path).await, StatusCode::OK).await;
    let notes: Vec<_> =
        history["history"].as_array().expect("a list").iter().filter_map(|one| one["note"].as_str()).collect();
    assert_eq!(notes, ["root: the gripper sticks"], "{history}");
    world.end().await;
}

#[actix_web::test]
async fn rules_that_change_take_the_object_from_who_is_outranked_by_them() {
    let world = cell_world().await;
    let lost = world.acquire("ada").await;
    let mut waiting = wants("bob");
    waiting["waitMs"] = json!(60_000);
    let promote = async {
        while world.lease().await["waiting"] != 1 {}
        let rules = json!({"defaultPriority": 1, "priorities": [{"user": "bob", "priority": 5}]});
        let path = "/dii/v1/twins/arm/synchronization";
        let set = world.ask("home-token", Method::PUT, path).json(&rules).send().await.expect("it answers");
        assert_eq!(set.status(), StatusCode::NO_CONTENT);
    };
    let (granted, ()) = join(world.post("world-token", LEASE, waiting), promote).await;
    assert_eq!(json_of(granted, StatusCode::CREATED).await["priority"], 5);
    problem(world.switch("ada", Some(&lost)).await, "lease-lost").await;
    world.end().await;
}

#[actix_web::test]
async fn every_mistake_has_its_own_problem_and_changes_nothing() {
    let world = cell_world().await;
    let at = |twin: &str| format!("/mii/v1/twins/{twin}/sync-lease");
    let post = async |path: &str, body: Value| world.post("world-token", path, body).await;
    problem(post(&at("nothing"), wants("ada")).await, "twin-unknown").await;
    problem(post(&at("picture"), wants("ada")).await, "object-none").await;
    problem(post(LEASE, wants("stranger")).await, "permission-missing").await;
    for ttl_ms in [0, u32::MAX] {
        problem(post(LEASE, json!({"user": "ada", "ttlMs": ttl_ms})).await, "lease-ttl").await;
    }
    let wait = Settings::default().lease.lease_wait_ms_max + 1;
    problem(post(LEASE, json!({"user": "ada", "ttlMs": 1, "waitMs": wait})).await, "lease-wait").await;
    for twins in [json!([]), json!(["arm", "arm"])] {
        let set = json!({"user": "ada", "ttlMs": 1_000, "twins": twins});
        problem(post("/mii/v1/sync-leases", set).await, "lease-set").await;
    }
    assert_eq!(world.lease().await["phase"], "free");

    let token = world.acquire("ada").await;
    let belt = json_of(post(&at("belt"), wants("bob")).await, StatusCode::CREATED).await["token"].clone();
    problem(world.switch("ada", belt.as_str()).await, "lease-token-foreign").await;
    problem(world.switch("ada", Some("9.1")).await, "lease-token-unknown").await;
    problem(world.renew("ada", &token, u32::MAX).await, "lease-ttl").await;
    assert_eq!(world.switch("ada", Some(&token)).await.status(), StatusCode::OK);
    world.end().await;
}

#[actix_web::test]
async fn what_is_not_understood_is_refused_before_anybody_is_asked() {
    let world = world().await;
    world.post("home-token", "/dii/v1/systems", cell()).await;
    for token in ["7", "7.x", "-1.2", ""] {
        problem(world.switch("ada", Some(token)).await, "invalid-query").await;
        problem(world.release("ada", token).await, "invalid-query").await;
    }
    let other = json!({"user": "ada", "ttlMs": 1, "twins": ["belt"]});
    let refusal = problem(world.post("world-token", LEASE, other.clone()).await, "invalid-document").await;
    assert_eq!(refusal["pointer"], "/twins");
    let batch = json!({"requests": [wants("ada"), other]});
    let refusal = problem(world.post("world-token", &format!("{LEASE}/batch"), batch).await, "invalid-document").await;
    assert_eq!(refusal["pointer"], "/requests/1/twins");
    problem(world.operate("destroy").await, "invalid-query").await;
    let path = "/ops/v1/twins/arm/sync-lease/clear";
    let refusal = problem(world.post("operator-token", path, json!({"reason": " "})).await, "invalid-document").await;
    assert_eq!(refusal["pointer"], "/reason");
    problem(world.post("world-token", path, json!({"reason": "I want it"})).await, "not-allowed").await;
    for path in ["/mii/v1/lease-requests/7", &format!("{ARM}/reservations/first")] {
        problem(world.ask("world-token", Method::DELETE, path).send().await.expect("it answers"), "invalid-query")
            .await;
    }
    world.end().await;
}

/// The replies of a frame; events come in frames too.
fn replies_of(frame: &Value) -> Vec<Value> {
    let pieces = frame.as_array().expect("who sends arrays gets arrays");
    pieces.iter().filter(|piece| piece["reply"].is_string()).cloned().collect()
}

#[actix_web::test]
async fn a_lease_is_asked_for_and_used_within_a_session_and_calls_come_in_arrays() {
    let world = cell_world().await;
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    say(
        &mut socket,
        json!([
            {"call": "arm", "method": "POST", "path": LEASE, "body": wants("ada")},
            {"call": "belt", "method": "POST", "path": "/mii/v1/twins/belt/sync-lease", "body": wants("ada")},
        ]),
    )
    .await;
    let mut replies = Vec::new();
    while replies.len() < 2 {
        let heard = hear(&mut socket).await.expect("a frame");
        replies.extend(replies_of(&heard));
    }
    let arm = replies.iter().find(|reply| reply["reply"] == "arm").expect("it is answered");
    assert_eq!(arm["status"], 201, "{arm}");
    let change = json!({"call": "on", "method": "PUT", "path": format!("{ARM}/properties/on?user=ada"),
        "body": true, "leaseToken": arm["body"]["token"]});
    say(&mut socket, json!([change])).await;
    let changed = loop {
        if let Some(reply) = replies_of(&hear(&mut socket).await.expect("a frame")).pop() {
            break reply;
        }
    };
    assert_eq!((&changed["reply"], &changed["status"]), (&json!("on"), &json!(200)), "{changed}");
    world.end().await;
}

#[actix_web::test]
async fn a_held_lease_is_renewed_and_given_back_and_tells_when_it_is_lost() {
    let world = cell_world().await;
    let client = world.client_of("world-token");
    let mut request: LeaseRequest = serde_json::from_value(wants("ada")).expect("a request");
    request.twins = vec!["arm".parse().expect("a name")];
    request.ttl_ms = 3_000;
    let held = client.hold(request.clone()).await.expect("it is granted");
    let twin = "arm".parse().expect("a name");
    let mut least = u64::MAX;
    // What is left of it grows again only when it is renewed.
    loop {
        let view = world.lease().await;
        let left = view["expiresInMs"].as_u64().unwrap_or_else(|| panic!("it is held: {view}"));
        if left > least {
            break;
        }
        least = left;
    }
    assert_eq!(*held.watch().borrow(), LeaseState::Held);
    held.release().await.expect("it is given back");
    assert_eq!(world.lease().await["phase"], "free");

    let held = client.hold(request.clone()).await.expect("it is granted");
    let operator = world.client_of("operator-token");
    operator.operate_lease(&twin, OperatorAct::Clear, "a test").await.expect("it is cleared");
    assert_eq!(held.lost().await.kind(), Some(ProblemKind::LeaseLost));
    assert_eq!(held.release().await.expect_err("it is lost").kind(), Some(ProblemKind::LeaseLost));

    drop(client.hold(request).await.expect("it is granted"));
    while world.lease().await["phase"] != "free" {}
    world.end().await;
}
