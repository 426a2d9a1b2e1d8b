//! When something does not answer: devices that are silent, and a daemon that is killed.

use serde_json::{Value, json};

use super::{
    api::{Api, Wish, refused},
    daemon::TOKEN,
    plant::{SPEED, Thing},
    world::{LOBBY, PLAZA, World},
};

/// A gate may take this long to be fenced, and is asked again as soon.
const SHORT_FENCES: &str = "lease_fence_ms_max = 400\nlease_fence_retry_ms = 200\n";

/// Long enough for a device to come back, which is asked for it soon.
const RETRIED: &str = "lease_return_ms = 60000\nlease_fence_ms_max = 60000\nlease_fence_retry_ms = 50\n";

/// A holder drove the device, which then says nothing any more; a chief of the other system wants it.
async fn silent_under_its_holder(fencing: &str) -> (World, tokio::task::JoinHandle<Result<Value, String>>) {
    let thing = Thing::new("arm").with("fencing", fencing).with("commandMsMax", 300_000);
    let world = World::start(&[thing], SHORT_FENCES).await;
    let (plaza, lobby) = (world.api(PLAZA), world.api(LOBBY));
    let lease = plaza.acquire("arm", &Wish::of("worker-cyd").with("ttlMs", 60_000)).await.expect("it is granted");
    plaza.change("arm", "worker-cyd", Some(lease.token), &json!({ SPEED: 7 })).await.expect("it holds");
    world.plant.be_silent(true);
    refused(lobby.acquire("arm", &Wish::of("chief-ada")).await, 503, "object-quarantined");
    let waiting = tokio::spawn(async move {
        let granted = lobby.acquire("arm", &Wish::of("chief-bob").waiting()).await;
        granted.map(|lease| json!(lease)).map_err(|failure| format!("{failure:?}"))
    });
    let view = world.operator().until_waiting("arm", 1).await;
    assert_eq!((&view["phase"], view.get("holder")), (&json!("quarantined"), None));
    refused(world.api(PLAZA).acquire("arm", &Wish::of("worker-dan")).await, 503, "object-quarantined");
    let change = plaza.change("arm", "worker-cyd", Some(lease.token), &json!({ SPEED: 8 })).await;
    refused(change, 409, "lease-lost");
    (world, waiting)
}

#[tokio::test]
async fn an_object_whose_device_does_not_stop_is_nobodys_until_it_answers() {
    for fencing in ["drained", "deadline", "device"] {
        let (world, waiting) = silent_under_its_holder(fencing).await;
        assert!(!waiting.is_finished());
        world.plant.be_silent(false);
        let lease = waiting.await.expect("it does not panic").expect("it is granted");
        assert_eq!(lease["holder"]["user"], "chief-bob");
        let commands = world.plant.commands_of("arm");
        assert!(commands.iter().all(|command| command.stop || command.user == "worker-cyd"), "{commands:?}");
        assert!(commands.last().is_some_and(|command| command.stop), "{commands:?}");
    }
}

#[tokio::test]
async fn an_operator_who_has_seen_to_the_device_ends_its_quarantine() {
    let (world, waiting) = silent_under_its_holder("drained").await;
    world.operator().operate("arm", "replace-gate", "the arm is unplugged").await.expect("it is done");
    let lease = waiting.await.expect("it does not panic").expect("it is granted");
    assert_eq!(lease["holder"]["user"], "chief-bob");
    let history = world.operator().view("arm").await["history"].to_string();
    assert!(history.contains("unquarantined") && history.contains("the arm is unplugged"), "{history}");
    refused(world.operator().operate("arm", "replace-gate", "again").await, 404, "lease-request-unknown");
}

/// A script that goes on after `lease clear` relies on that the device is at rest.
#[tokio::test]
async fn a_lease_that_is_cleared_while_its_device_is_silent_is_told_as_a_failure() {
    let thing = Thing::new("arm").with("fencing", "drained").with("commandMsMax", 300_000);
    let world = World::start(&[thing], SHORT_FENCES).await;
    let plaza = world.api(PLAZA);
    for silent in [false, true] {
        let lease = plaza.acquire("arm", &Wish::of("worker-cyd").with("ttlMs", 60_000)).await.expect("it is granted");
        plaza.change("arm", "worker-cyd", Some(lease.token), &json!({ SPEED: 7 })).await.expect("it holds");
        world.plant.be_silent(silent);
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_twinway"));
        command.args(["lease", "clear", "arm", "--reason", "it sticks", "--url", world.url()]);
        let output = command.env("TWINWAY_TOKEN", TOKEN).output().await.expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.success(), said.contains("quarantine")), (!silent, silent), "{said}");
    }
    world.plant.be_silent(false);
}

/// A daemon that comes back is there before its twin systems are.
#[tokio::test]
async fn a_lease_outlasts_that_its_device_cannot_be_reached_for_a_moment() {
    for fencing in ["drained", "device"] {
        let mut world = World::start(&[Thing::new("arm").with("fencing", fencing)], RETRIED).await;
        let wish = Wish::of("worker-cyd").with("ttlMs", 60_000);
        let lease = world.api(PLAZA).acquire("arm", &wish).await.expect("it is granted");
        let change = world.api(PLAZA).change("arm", "worker-cyd", Some(lease.token), &json!({ SPEED: 1 })).await;
        change.expect("it holds");
        world.restart().await;
        let view = world.operator().until("arm", |view| view["phase"] != "fencing").await;
        assert_eq!((&view["phase"], &view["holder"]["user"]), (&json!("held"), &json!("worker-cyd")), "{fencing}");
    }
}

/// The lease that a user holds now, as an operator sees it.
async fn held(operator: &Api, twin: &str, user: &str) -> Value {
    operator.until(twin, |view| view["phase"] == "held" && view["holder"]["user"] == user).await
}

#[tokio::test]
async fn what_was_granted_before_a_kill_is_held_after_it_by_a_newer_token() {
    let things = [Thing::new("arm"), Thing::new("belt").with("fencing", "device")];
    let mut world = World::start(&things, "lease_return_ms = 60000\n").await;
    let wish = Wish::of("worker-cyd").with("requestId", "00000000-0000-4000-8000-000000000005");
    let arm = world.api(PLAZA).acquire("arm", &wish).await.expect("it is granted");
    let belt = world.api(LOBBY).acquire("belt", &Wish::of("guest-fay")).await.expect("it is granted");
    world.restart().await;
    let seen = held(&world.operator(), "arm", "worker-cyd").await;
    assert_eq!(seen["holder"]["priority"], 5);
    let change = world.api(PLAZA).change("arm", "worker-cyd", Some(arm.token), &json!({ SPEED: 1 })).await;
    let refusal = refused(change, 409, "lease-token-stale");
    assert!(refusal.token().is_some_and(|token| token.epoch > arm.token.epoch), "{}", refusal.document);

    // By the same request, by asking anew, and by a keep-alive with what the problem says.
    let again = world.api(PLAZA).acquire("arm", &wish).await.expect("it is still granted");
    assert_eq!(Some(again.token), refusal.token());
    let returned = world.api(LOBBY).acquire("belt", &Wish::of("guest-fay")).await.expect("it comes back");
    assert!(returned.token.epoch > belt.token.epoch && returned.holder == belt.holder);
    for (system, twin, lease) in [(PLAZA, "arm", again), (LOBBY, "belt", returned)] {
        let (api, user) = (world.api(system), lease.holder.user.as_str());
        api.change(twin, user, Some(lease.token), &json!({ SPEED: 2 })).await.expect("it holds");
    }
}

#[tokio::test]
async fn a_holder_who_does_not_come_back_after_a_kill_loses_it_and_the_device_is_stopped() {
    let mut world = World::start(&[Thing::new("arm")], "lease_return_ms = 300\n").await;
    let wish = Wish::of("worker-cyd").with("ttlMs", 3_600_000);
    world.api(PLAZA).acquire("arm", &wish).await.expect("it is granted");
    world.restart().await;
    let next = world.api(LOBBY).acquire("arm", &Wish::of("guest-fay").waiting()).await.expect("it is free again");
    assert!(world.plant.commands_of("arm").iter().any(|command| command.stop), "{next:?}");
}

#[tokio::test]
async fn those_who_waited_before_a_kill_wait_after_it_in_the_same_order() {
    let mut world = World::start(&[Thing::new("arm")], "lease_return_ms = 60000\n").await;
    let plaza = world.api(PLAZA);
    plaza.acquire("arm", &Wish::of("chief-ada")).await.expect("it is granted");
    let mut waiting = Vec::new();
    for (place, user) in ["guest-fay", "worker-cyd", "worker-dan"].into_iter().enumerate() {
        let (plaza, wish) = (plaza.clone(), Wish::of(user).waiting());
        waiting.push(tokio::spawn(async move { plaza.acquire("arm", &wish).await }));
        world.operator().until_waiting("arm", place as u64 + 1).await;
    }
    world.restart().await;
    for lost in waiting {
        assert!(matches!(lost.await.expect("it does not panic"), Err(super::api::Failure::Lost(_))));
    }
    let mut ears = world.ears(PLAZA).await;
    let view = world.operator().until_waiting("arm", 3).await;
    let queue = view["queue"].as_array().expect("it is a list").clone();
    let users: Vec<_> = queue.iter().map(|waiting| waiting["party"]["user"].as_str().expect("it is named")).collect();
    assert_eq!(users, ["worker-cyd", "worker-dan", "guest-fay"]);
    let plaza = world.api(PLAZA);
    let lease = plaza.acquire("arm", &Wish::of("chief-ada")).await.expect("it comes back");
    plaza.release("arm", "chief-ada", lease.token).await.expect("it is given back");
    // Nobody waits for an answer any more: whoever is next is told by its session.
    loop {
        let granted = ears.hear("lease.granted").await;
        if granted["user"] == "worker-cyd" {
            break;
        }
        assert_eq!(granted["user"], "chief-ada", "{granted}");
    }
    held(&world.operator(), "arm", "worker-cyd").await;
}

#[tokio::test]
async fn a_higher_priority_takes_over_from_a_holder_who_has_not_come_back_yet() {
    let mut world = World::start(&[Thing::new("arm")], "lease_return_ms = 3600000\n").await;
    let old = world.api(PLAZA).acquire("arm", &Wish::of("worker-cyd")).await.expect("it is granted");
    world.restart().await;
    let new = world.api(LOBBY).acquire("arm", &Wish::of("chief-ada").waiting()).await.expect("it is granted");
    assert!(new.token > old.token);
    let change = world.api(LOBBY).change("arm", "chief-ada", Some(new.token), &json!({ SPEED: 1 })).await;
    change.expect("it holds");
    assert!(world.plant.commands_of("arm").iter().any(|command| command.stop), "it was brought to rest first");
}
