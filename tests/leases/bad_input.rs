//! Bad input: each mistake is a problem of its own type, and changes nothing.

use reqwest::Method;
use serde_json::{Value, json};
use twinway::protocol::lease::Token;

use super::{
    api::{Api, Wish, lease_of, refused},
    plant::{SPEED, Thing},
    world::{LOBBY, PLAZA, World},
};

/// What an operator sees of an object, without what passes by itself.
async fn seen(operator: &Api, twin: &str) -> Value {
    let mut view = operator.view(twin).await;
    let passing = ["expiresInMs", "explanation"];
    view.as_object_mut().expect("it is an object").retain(|name, _| !passing.contains(&name.as_str()));
    view
}

async fn world() -> World {
    let things = [Thing::new("arm"), Thing::new("belt"), Thing::without_object("ghost")];
    World::start(&things, "lease_ttl_ms_max = 60000\nlease_wait_ms_max = 60000\nlease_set_objects_max = 2\n").await
}

#[tokio::test]
async fn a_request_that_is_not_acceptable_is_refused_and_changes_nothing() {
    let world = world().await;
    let (plaza, wish) = (world.api(PLAZA), Wish::of("worker-cyd"));
    world.api(LOBBY).acquire("arm", &Wish::of("worker-dan")).await.expect("it is granted");
    let before = seen(&world.operator(), "arm").await;
    for (twin, wish, status, slug) in [
        ("nothing", wish.clone(), 404, "twin-unknown"),
        ("ghost", wish.clone(), 409, "object-none"),
        ("arm", wish.clone().with("ttlMs", 0), 400, "lease-ttl"),
        ("arm", wish.clone().with("ttlMs", 60_001), 400, "lease-ttl"),
        ("arm", wish.clone().with("waitMs", 60_001), 400, "lease-wait"),
        ("arm", wish.clone().with("twins", json!(["belt"])), 400, "invalid-document"),
        ("arm", wish.clone().with("requestId", "7"), 400, "invalid-document"),
        ("arm", wish.clone().with("colour", "red"), 400, "invalid-document"),
        ("arm", wish.clone().with("ttlMs", "long"), 400, "invalid-document"),
        ("arm", wish.clone().with("class", "emergency"), 403, "not-allowed"),
        ("arm", Wish::of("nobody"), 403, "permission-missing"),
    ] {
        refused(plaza.acquire(twin, &wish).await, status, slug);
        assert_eq!(seen(&world.operator(), "arm").await, before, "after {slug}");
    }
    for twins in [&[][..], &["arm", "arm"], &["arm", "belt", "belt"]] {
        refused(plaza.acquire_set(twins, &wish).await, 400, "lease-set");
    }
    refused(plaza.acquire_set(&["belt", "ghost"], &wish).await, 409, "object-none");
    refused(plaza.acquire_set(&["belt", "nothing"], &wish).await, 404, "twin-unknown");
    assert_eq!(seen(&world.operator(), "arm").await, before);
    assert_eq!(seen(&world.operator(), "belt").await["phase"], "free");
}

#[tokio::test]
async fn a_token_that_does_not_count_is_refused_by_its_own_kind_and_changes_nothing() {
    let world = world().await;
    let plaza = world.api(PLAZA);
    let arm = plaza.acquire("arm", &Wish::of("worker-cyd")).await.expect("it is granted").token;
    let belt = plaza.acquire("belt", &Wish::of("worker-cyd")).await.expect("it is granted").token;
    let before = seen(&world.operator(), "arm").await;
    let guessed = Token { n: belt.n + 1_000, ..belt };
    let later = Token { epoch: arm.epoch + 1, n: 1 };
    for (system, user, token, slugs) in [
        (PLAZA, "worker-cyd", belt, ["lease-token-foreign", "lease-token-foreign"]),
        (PLAZA, "worker-cyd", guessed, ["lease-token-unknown", "lease-token-foreign"]),
        (PLAZA, "worker-cyd", later, ["lease-token-unknown", "lease-token-unknown"]),
        (PLAZA, "worker-cyd", Token::NONE, ["lease-token-unknown", "lease-lost"]),
        (PLAZA, "worker-dan", arm, ["lease-not-yours", "lease-not-yours"]),
        (LOBBY, "worker-cyd", arm, ["lease-not-yours", "lease-not-yours"]),
    ] {
        let api = world.api(system);
        let what = format!("{user} of {system} with {token}");
        let [by_supervisor, by_gate] = slugs;
        let status = if by_supervisor == "lease-not-yours" { 403 } else { 409 };
        println!("{what}");
        refused(api.renew("arm", user, token, 10_000).await, status, by_supervisor);
        refused(api.release("arm", user, token).await, status, by_supervisor);
        let yields = json!({ "user": user, "token": token, "yields": true });
        refused(api.post(&format!("{}/yield", lease_of("arm")), &yields).await, status, by_supervisor);
        let change = api.change("arm", user, Some(token), &json!({ SPEED: 1 })).await.expect_err("it is refused");
        let refusal = change.refusal();
        assert!([by_gate, "lease-token-stale"].contains(&refusal.slug.as_str()), "{what}: {}", refusal.document);
        assert_eq!(seen(&world.operator(), "arm").await, before, "{what}");
    }
    assert_eq!(world.plant.commands_of("arm"), []);
    refused(plaza.renew("arm", "worker-cyd", arm, 60_001).await, 400, "lease-ttl");
    plaza.change("arm", "worker-cyd", Some(arm), &json!({ SPEED: 1 })).await.expect("it still holds");
}

#[tokio::test]
async fn what_was_given_back_cannot_be_given_back_or_kept_again() {
    let world = world().await;
    let plaza = world.api(PLAZA);
    let lease = plaza.acquire("arm", &Wish::of("worker-cyd")).await.expect("it is granted");
    plaza.release("arm", "worker-cyd", lease.token).await.expect("it is given back");
    let before = seen(&world.operator(), "arm").await;
    refused(plaza.release("arm", "worker-cyd", lease.token).await, 409, "lease-ended");
    refused(plaza.renew("arm", "worker-cyd", lease.token, 10_000).await, 409, "lease-ended");
    let change = plaza.change("arm", "worker-cyd", Some(lease.token), &json!({ SPEED: 1 })).await;
    refused(change, 409, "lease-lost");
    assert_eq!(seen(&world.operator(), "arm").await, before);
    assert_eq!(world.plant.commands_of("arm"), []);
}

#[tokio::test]
async fn a_token_of_an_earlier_life_of_the_daemon_is_told_as_that() {
    let mut world = world().await;
    let lease = world.api(PLAZA).acquire("arm", &Wish::of("worker-cyd")).await.expect("it is granted");
    world.restart().await;
    world.operator().until("arm", |view| view["phase"] == "held").await;
    let plaza = world.api(PLAZA);
    let own = refused(plaza.renew("arm", "worker-cyd", lease.token, 10_000).await, 409, "lease-token-stale");
    assert!(own.token().is_some_and(|token| token > lease.token), "{}", own.document);
    let other =
        refused(world.api(LOBBY).renew("arm", "worker-dan", lease.token, 10_000).await, 409, "lease-token-stale");
    assert_eq!(other.token(), None, "the token of a lease is for its holder only");
}

#[tokio::test]
async fn what_is_no_token_and_what_no_operator_does_is_refused() {
    let world = world().await;
    let (plaza, operator) = (world.api(PLAZA), world.operator());
    let query = [("user", "worker-cyd"), ("token", "seven")];
    let release = plaza.send(Method::DELETE, &lease_of("arm"), &query, None, None).await;
    refused(release, 400, "invalid-query");
    refused(operator.operate("arm", "explode", "why not").await, 400, "invalid-query");
    refused(operator.operate("arm", "clear", " ").await, 400, "invalid-document");
    refused(operator.operate("nothing", "clear", "to see").await, 404, "twin-unknown");
    refused(operator.operate("ghost", "clear", "to see").await, 409, "object-none");
    let id = "00000000-0000-4000-8000-000000000009";
    for id in [id, "7"] {
        let path = format!("/mii/v1/lease-requests/{id}");
        let (status, slug) = if id == "7" { (400, "invalid-query") } else { (404, "lease-request-unknown") };
        refused(plaza.send(Method::DELETE, &path, &[], None, None).await, status, slug);
    }
}
