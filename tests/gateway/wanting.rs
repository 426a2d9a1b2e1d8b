//! What is wanted of a twin (FGMV-29 8.3.4, 9.2 steps 15 to 18): desired values, actions, and how they end.

use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    sessions::{Socket, hear, say},
    support::{World, json_of, problem, world},
};

pub(crate) const ARM: &str = "/mii/v1/twins/arm";
pub(crate) const LEASE: &str = "/mii/v1/twins/arm/sync-lease";

fn cell() -> Value {
    let forms = json!([{"href": "/"}]);
    json!({"id": "home", "type": "cell", "title": "A cell", "twins": [{
        "id": "arm", "physicalObject": "urn:arm", "description": {
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Arm",
            "securityDefinitions": {"nosec_sc": {"scheme": "nosec"}}, "security": "nosec_sc",
            "properties": {
                "speed": {"type": "integer", "minimum": 0, "maximum": 10, "forms": forms},
                "color": {"type": "object", "properties": {"r": {"type": "integer"}}, "forms": forms},
            },
            "actions": {
                "fetch": {"input": {"type": "object", "required": ["shelf"]}, "forms": forms},
                "rest": {"forms": forms},
            },
            "events": {"jam": {"data": {"type": "object", "required": ["joint"]}, "forms": forms}},
        },
    }]})
}

/// A world in which ada and bob may change the arm; its twin system and its watcher are the sockets.
pub(crate) async fn cell_world() -> (World, Socket, Socket) {
    let world = world().await;
    json_of(world.post("home-token", "/dii/v1/systems", cell()).await, StatusCode::CREATED).await;
    let mut home = world.open("home-token", "/dii/v1/session").await;
    let watcher = world.open("world-token", "/mii/v1/session").await;
    world.post("world-token", "/mii/v1/selections", json!({"select": ["arm"]})).await;
    for user in ["ada", "bob"] {
        let asked = world.post(
            "world-token",
            "/mii/v1/permissions",
            json!({"user": user, "twins": ["arm"], "rights": ["change"]}),
        );
        let answer = async {
            let (id, _) = asked_of(&mut home, "describeTwins").await;
            let grant =
                json!({"twin": "arm", "properties": {"speed": 1, "color": {"r": 7, "g": 8}}, "rights": ["change"]});
            say(&mut home, json!({"answer": id, "data": {"describeTwins": {"twins": [grant]}}})).await;
        };
        let (outcome, ()) = tokio::join!(asked, answer);
        json_of(outcome, StatusCode::OK).await;
    }
    (world, home, watcher)
}

/// The next request of this type that the twin system hears, with its id.
pub(crate) async fn asked_of(home: &mut Socket, kind: &str) -> (Value, Value) {
    loop {
        let frame = hear(home).await.expect("the session stands");
        if frame["type"] == kind {
            return (frame["request"].clone(), frame["data"].clone());
        }
    }
}

/// The next event of this type that the watcher hears.
pub(crate) async fn told(watcher: &mut Socket, kind: &str) -> Value {
    loop {
        let frame = hear(watcher).await.expect("the session stands");
        if frame["event"]["type"] == format!("io.twinway.{kind}") {
            return frame["event"]["data"].clone();
        }
    }
}

async fn answer(home: &mut Socket, id: Value, data: Value) {
    say(home, json!({"answer": id, "data": data})).await;
}

impl World {
    async fn patch(&self, query: &str, tag: Option<&str>, body: Value) -> Response {
        let path = format!("{ARM}/properties?user=ada{query}");
        let patch = self.ask("world-token", Method::PATCH, &path);
        let patch = tag.into_iter().fold(patch, |patch, tag| patch.header(header::IF_MATCH, tag));
        let patch = patch.header(header::CONTENT_TYPE, "application/merge-patch+json").body(body.to_string());
        patch.send().await.expect("it answers")
    }

    async fn arm(&self) -> Value {
        json_of(self.get("world-token", ARM).await, StatusCode::OK).await
    }
}

/// FGMV-29 8.3.5: what a twin can be asked is what its own description allows.
#[actix_web::test]
async fn a_value_that_the_description_does_not_allow_is_refused_with_its_place() {
    let (world, _home, _watcher) = cell_world().await;
    for (body, place) in [
        (json!({"speed": 11}), "/speed"),
        (json!({"speed": "fast"}), "/speed"),
        (json!({"color": {"r": "red"}}), "/color/r"),
    ] {
        let refused = problem(world.patch("", None, body).await, "invalid-document").await;
        assert_eq!(refused["pointer"], place, "{refused}");
    }
    world.end().await;
}

/// FGMV-29 9.2 steps 17 and 18: what is wanted stands beside what is, until the device has answered.
#[actix_web::test]
async fn a_desired_value_stands_beside_the_reported_one_until_the_device_answers() {
    let (world, mut home, _watcher) = cell_world().await;
    let change = world.patch("&deadlineMs=9000", None, json!({"speed": 5, "color": {"r": 9}}));
    let device = async {
        let (id, data) = asked_of(&mut home, "applyChange").await;
        let arm = world.arm().await;
        assert_eq!((&arm["properties"]["speed"]["value"], &arm["desired"]["speed"]["value"]), (&json!(1), &json!(5)));
        assert_eq!(arm["desired"]["color"]["value"], json!({"r": 9, "g": 8}), "merged into what was reported");
        assert_eq!(arm["desired"]["speed"]["by"], json!({"system": "world", "user": "ada"}));
        assert_eq!(arm["desired"]["speed"]["until"], data["notAfter"], "the device knows the same deadline");
        let others = world.ask("operator-token", Method::GET, ARM).header("twinway-as", "other").send().await;
        let others = json_of(others.expect("it answers"), StatusCode::OK).await;
        assert_eq!(others["desired"]["speed"].get("by"), None, "another system is not told who");
        answer(&mut home, id, json!({"applyChange": {"values": {"speed": 5}}})).await;
    };
    let (changed, ()) = tokio::join!(change, device);
    assert_eq!(json_of(changed, StatusCode::OK).await["values"], json!({"speed": 5}));
    let arm = world.arm().await;
    assert_eq!((arm["properties"]["speed"]["value"].as_i64(), arm.get("desired")), (Some(5), None));
    world.end().await;
}

/// RFC 9110 13.1.1: who decided by an older version decides again.
#[actix_web::test]
async fn a_change_that_names_an_older_version_changes_nothing() {
    let (world, mut home, _watcher) = cell_world().await;
    let tag = world.get("world-token", ARM).await.headers()[header::ETAG].to_str().expect("text").to_owned();
    let change = world.patch("", Some(&tag), json!({"speed": 5}));
    let device = async {
        let (id, _) = asked_of(&mut home, "applyChange").await;
        answer(&mut home, id, json!({"applyChange": {"values": {"speed": 5}}})).await;
    };
    let (changed, ()) = tokio::join!(change, device);
    assert_eq!(changed.status(), StatusCode::OK);
    let refused = world.patch("", Some(&tag), json!({"speed": 6})).await;
    assert_eq!(refused.status(), StatusCode::PRECONDITION_FAILED);
    problem(refused, "version-mismatch").await;
    // Without a merge in between it is the twin itself that judges.
    let put = world.ask("world-token", Method::PUT, &format!("{ARM}/properties/speed?user=ada")).json(&6);
    problem(put.header(header::IF_MATCH, &tag).send().await.expect("it answers"), "version-mismatch").await;
    assert_eq!(world.arm().await["properties"]["speed"]["value"], 5);
    world.end().await;
}

/// FGMV-28 7.1.3 step 11: a desired value dies with its lease, and who selected the twin hears of it.
#[actix_web::test]
async fn a_desired_value_dies_with_its_lease_and_watchers_are_told() {
    let (world, mut home, mut watcher) = cell_world().await;
    let wanted = json!({"user": "ada", "ttlMs": 60_000});
    let lease = json_of(world.post("world-token", LEASE, wanted).await, StatusCode::CREATED).await;
    let token = lease["token"].as_str().expect("text").to_owned();
    let path = format!("{ARM}/properties/speed?user=ada");
    let change = world.ask("world-token", Method::PUT, &path).header("sync-lease-token", &token).json(&5).send();
    let release = format!("{LEASE}?user=ada&token={token}");
    let lose = async {
        let (id, _) = asked_of(&mut home, "applyChange").await;
        let released = world.ask("world-token", Method::DELETE, &release).send();
        let dropped = async {
            let dropped = told(&mut watcher, "twin.desired.dropped").await;
            assert_eq!(dropped["values"], json!({"speed": 5}));
            assert_eq!(dropped["why"], "leaseEnded");
            assert_eq!(world.arm().await.get("desired"), None);
            // The fence waits for it: what the device did before it heard is shown.
            answer(&mut home, id, json!({"applyChange": {"values": {"speed": 3}}})).await;
        };
        let (released, ()) = tokio::join!(released, dropped);
        assert!(released.expect("it answers").status().is_success());
    };
    let (changed, ()) = tokio::join!(change, lose);
    assert_eq!(json_of(changed.expect("it answers"), StatusCode::OK).await["values"], json!({"speed": 3}));
    world.end().await;
}

#[actix_web::test]
async fn what_is_not_confirmed_by_its_deadline_is_given_up_and_the_bound_of_it_is_told() {
    let (world, mut home, mut watcher) = cell_world().await;
    problem(world.patch("&deadlineMs=0", None, json!({"speed": 5})).await, "invalid-query").await;
    problem(world.patch("&deadlineMs=10001", None, json!({"speed": 5})).await, "invalid-query").await;
    let change = world.patch("&deadlineMs=50", None, json!({"speed": 5}));
    let device = async {
        let asked = asked_of(&mut home, "applyChange").await;
        let dropped = told(&mut watcher, "twin.desired.dropped").await;
        assert_eq!(dropped["why"], "deadline");
        asked
    };
    let (changed, (id, _)) = tokio::join!(change, device);
    problem(changed, "deadline-over").await;
    // The device had done it after all: that is a fact.
    answer(&mut home, id, json!({"applyChange": {"values": {"speed": 5}}})).await;
    let changed = told(&mut watcher, "twin.changed").await;
    assert_eq!(changed["values"], json!({"speed": 5}));
    world.end().await;
}

/// FGMV-29 8.3.4: an action is invoked under permission and lease, tells how far it comes, and ends once.
#[actix_web::test]
async fn an_action_tells_how_far_it_comes_and_how_it_ends() {
    let (world, mut home, mut watcher) = cell_world().await;
    let invoke = format!("{ARM}/actions/fetch?user=ada");
    let invoked = world.post("world-token", &invoke, json!({"input": {"shelf": 3}})).await;
    let invocation = json_of(invoked, StatusCode::ACCEPTED).await;
    assert_eq!((&invocation["state"], &invocation["action"]), (&json!("pending"), &json!("fetch")));
    let id = invocation["id"].as_str().expect("text");
    let (request, data) = asked_of(&mut home, "invokeAction").await;
    assert_eq!((&data["invocation"], &data["input"]), (&invocation["id"], &json!({"shelf": 3})));

    let report = format!("/dii/v1/twins/arm/invocations/{id}");
    let said = json!({"state": "running", "progress": 40, "detail": "at shelf 2"});
    assert_eq!(world.post("home-token", &report, said).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(told(&mut watcher, "action.progress").await["progress"], 40);
    let path = format!("{ARM}/invocations/{id}");
    let shown = json_of(world.get("world-token", &path).await, StatusCode::OK).await;
    assert_eq!((&shown["state"], &shown["detail"]), (&json!("running"), &json!("at shelf 2")));

    let ended = json!({"invokeAction": {"state": "completed", "output": {"box": 17}, "values": {"speed": 0}}});
    answer(&mut home, request, ended).await;
    let over = told(&mut watcher, "action.ended").await;
    assert_eq!((&over["state"], &over["output"]), (&json!("completed"), &json!({"box": 17})));
    assert_eq!(json_of(world.get("world-token", &path).await, StatusCode::OK).await, over);
    // Its own lease ends with it: the object can be had again.
    let lease = world.post("world-token", LEASE, json!({"user": "bob", "ttlMs": 1000, "waitMs": 5000})).await;
    json_of(lease, StatusCode::CREATED).await;
    world.end().await;
}

#[actix_web::test]
async fn an_action_is_cancelled_by_who_invoked_it_and_by_nobody_else() {
    let (world, mut home, mut watcher) = cell_world().await;
    let invoked = world.post("world-token", &format!("{ARM}/actions/rest?user=ada"), json!({})).await;
    let id = json_of(invoked, StatusCode::ACCEPTED).await["id"].as_str().expect("text").to_owned();
    let (request, _) = asked_of(&mut home, "invokeAction").await;
    let cancel =
        |user: &str| world.ask("world-token", Method::DELETE, &format!("{ARM}/invocations/{id}?user={user}")).send();
    problem(cancel("bob").await.expect("it answers"), "not-allowed").await;
    let cancelled = cancel("ada");
    let device = async {
        let (stop, data) = asked_of(&mut home, "cancelAction").await;
        assert_eq!(data["invocation"], *id);
        answer(&mut home, stop, json!({"cancelAction": {}})).await;
        answer(&mut home, request, json!({"invokeAction": {"state": "cancelled"}})).await;
    };
    let (cancelled, ()) = tokio::join!(cancelled, device);
    assert_eq!(cancelled.expect("it answers").status(), StatusCode::ACCEPTED);
    assert_eq!(told(&mut watcher, "action.ended").await["state"], "cancelled");
    world.end().await;
}

#[actix_web::test]
async fn an_action_whose_lease_ends_is_dropped_and_its_twin_system_is_told_to_end_it() {
    let (world, mut home, mut watcher) = cell_world().await;
    let lease = world.post("world-token", LEASE, json!({"user": "ada", "ttlMs": 60_000})).await;
    let token = json_of(lease, StatusCode::CREATED).await["token"].as_str().expect("text").to_owned();
    let invoke = world.ask("world-token", Method::POST, &format!("{ARM}/actions/rest?user=ada")).json(&json!({}));
    let invoked = invoke.header("sync-lease-token", &token).send().await.expect("it answers");
    json_of(invoked, StatusCode::ACCEPTED).await;
    let (request, _) = asked_of(&mut home, "invokeAction").await;
    let release = format!("{LEASE}?user=ada&token={token}");
    let released = world.ask("world-token", Method::DELETE, &release).send();
    let device = async {
        let (stop, _) = asked_of(&mut home, "cancelAction").await;
        answer(&mut home, stop, json!({"cancelAction": {}})).await;
        assert_eq!(told(&mut watcher, "action.ended").await["state"], "dropped");
        answer(&mut home, request, json!({"invokeAction": {"state": "cancelled"}})).await;
    };
    let (released, ()) = tokio::join!(released, device);
    assert!(released.expect("it answers").status().is_success(), "the fence waited for the device");
    world.end().await;
}

#[actix_web::test]
async fn an_action_that_the_twin_does_not_have_or_an_input_that_it_does_not_take_is_refused() {
    let (world, _home, _watcher) = cell_world().await;
    let invoke = async |name: &str, user: &str, body: Value| {
        world.post("world-token", &format!("{ARM}/actions/{name}?user={user}"), body).await
    };
    problem(invoke("dance", "ada", json!({})).await, "action-unknown").await;
    problem(invoke("rest", "eve", json!({})).await, "permission-missing").await;
    let refused = problem(invoke("fetch", "ada", json!({"input": {}})).await, "invalid-document").await;
    assert_eq!(refused["pointer"], "/input");
    problem(invoke("fetch", "ada", json!({})).await, "invalid-document").await;
    problem(world.get("world-token", &format!("{ARM}/invocations/inv-1")).await, "invocation-unknown").await;
    let report = world.post("home-token", "/dii/v1/twins/arm/invocations/inv-1", json!({"state": "running"})).await;
    problem(report, "invocation-unknown").await;
    world.end().await;
}
