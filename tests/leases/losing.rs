//! How a holder loses an object: to a higher priority, to an operator, and by its own consent.

use serde_json::json;
use twinway::protocol::message::SyncLease;

use super::{
    api::{Api, Wish, lease_of, refused},
    plant::{Command, SPEED, Thing},
    world::{LOBBY, PLAZA, World},
};

/// Longer than a few requests take, and shorter than anybody's patience, in milliseconds.
const GRACE_MS: u64 = 3_000;

fn chief() -> Wish {
    Wish::of("chief-ada").waiting()
}

async fn hold(api: &Api, wish: &Wish) -> SyncLease {
    api.acquire("arm", wish).await.expect("it is granted")
}

async fn drive(api: &Api, lease: &SyncLease, speed: u64) {
    let user = lease.holder.user.as_str();
    let changed = api.change("arm", user, Some(lease.token), &json!({ SPEED: speed })).await;
    assert_eq!(changed.expect("it holds")["values"][SPEED], speed);
}

/// Checks that the device was driven by the first, then brought to a safe stop, and only then driven by the second.
fn handed_over_at_rest(commands: &[Command], first: &str, second: &str) {
    let seen: Vec<_> = commands.iter().map(|command| (command.user.as_str(), command.stop)).collect();
    let stop = seen.iter().position(|(_, stop)| *stop).expect("it was stopped");
    let (before, after) = (&seen[..stop], &seen[stop..]);
    assert!(!before.is_empty() && before.iter().all(|command| *command == (first, false)), "{seen:?}");
    let driven: Vec<_> = after.iter().filter(|(_, stop)| !stop).collect();
    assert!(!driven.is_empty() && driven.iter().all(|(user, _)| *user == second), "{seen:?}");
    assert!(commands.iter().filter(|command| command.stop).all(|command| command.speed == 0));
}

#[tokio::test]
async fn a_higher_priority_takes_over_after_the_grace_and_the_old_holder_is_told_all_of_it() {
    let world = World::start(&[Thing::new("arm").with("graceMs", GRACE_MS)], "").await;
    let (plaza, lobby, mut ears) = (world.api(PLAZA), world.api(LOBBY), world.ears(PLAZA).await);
    let old = hold(&plaza, &Wish::of("worker-cyd").with("ttlMs", 60_000)).await;
    drive(&plaza, &old, 7).await;

    let winning = tokio::spawn({
        let lobby = lobby.clone();
        async move { hold(&lobby, &chief()).await }
    });
    let told = ears.hear("lease.revoking").await;
    assert_eq!((&told["user"], &told["by"]["priority"]), (&json!("worker-cyd"), &json!(9)));
    assert_eq!(told["by"].get("user"), None, "a user of another system is not named");
    assert!(told["inMs"].as_u64().is_some_and(|in_ms| in_ms <= GRACE_MS), "{told}");
    let change = plaza.change("arm", "worker-cyd", Some(old.token), &json!({ SPEED: 8 })).await;
    assert_eq!(refused(change, 409, "lease-revoking").token(), Some(old.token), "nobody else has it yet");
    refused(plaza.renew("arm", "worker-cyd", old.token, 60_000).await, 409, "lease-revoking");

    let lost = ears.hear("lease.lost").await;
    assert_eq!((&lost["token"], &lost["end"]), (&json!(old.token), &json!("preempted")));
    let new = winning.await.expect("it does not panic");
    assert!(new.token > old.token);
    drive(&lobby, &new, 9).await;
    let change = plaza.change("arm", "worker-cyd", Some(old.token), &json!({ SPEED: 8 })).await;
    let refusal = refused(change, 409, "lease-lost");
    assert_eq!((refusal.holder_priority(), refusal.token()), (Some(9), Some(new.token)));
    handed_over_at_rest(&world.plant.commands_of("arm"), "worker-cyd", "chief-ada");
}

#[tokio::test]
async fn without_grace_the_higher_priority_has_it_at_once_and_the_device_is_at_rest_between() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let mut ears = world.ears(PLAZA).await;
    let old = hold(&world.api(PLAZA), &Wish::of("worker-cyd")).await;
    drive(&world.api(PLAZA), &old, 7).await;
    let new = hold(&world.api(LOBBY), &Wish::of("chief-ada")).await;
    assert_eq!(ears.hear("lease.lost").await["token"], json!(old.token));
    drive(&world.api(LOBBY), &new, 9).await;
    handed_over_at_rest(&world.plant.commands_of("arm"), "worker-cyd", "chief-ada");
}

#[tokio::test]
async fn a_higher_one_that_goes_before_the_grace_is_over_leaves_the_lease_as_it_was() {
    let world = World::start(&[Thing::new("arm").with("graceMs", 60_000)], "").await;
    let mut ears = world.ears(PLAZA).await;
    let old = hold(&world.api(PLAZA), &Wish::of("worker-cyd").with("ttlMs", 60_000)).await;
    let id = "00000000-0000-4000-8000-000000000003";
    let waiting = tokio::spawn({
        let lobby = world.api(LOBBY);
        async move { lobby.acquire("arm", &chief().with("requestId", id)).await }
    });
    ears.hear("lease.revoking").await;
    let cancel = format!("/mii/v1/lease-requests/{id}");
    world.api(LOBBY).send(reqwest::Method::DELETE, &cancel, &[], None, None).await.expect("it is cancelled");
    refused(waiting.await.expect("it does not panic"), 409, "lease-cancelled");
    assert_eq!(ears.hear("lease.restored").await["token"], json!(old.token));
    drive(&world.api(PLAZA), &old, 7).await;
}

#[tokio::test]
async fn whoever_averts_harm_waits_for_no_grace() {
    let thing = Thing::new("arm").with("graceMs", 600_000).with("minHoldMs", 600_000).with(
        "priorities",
        json!([{ "role": "chief", "priority": 9, "emergency": true }, { "role": "worker", "priority": 5 }]),
    );
    let world = World::start(&[thing], "").await;
    hold(&world.api(PLAZA), &Wish::of("worker-cyd")).await;
    let wish = Wish::of("worker-dan").with("class", "emergency");
    refused(world.api(PLAZA).acquire("arm", &wish).await, 403, "not-allowed");
    let new = hold(&world.api(LOBBY), &Wish::of("chief-ada").with("class", "emergency")).await;
    drive(&world.api(LOBBY), &new, 9).await;
}

#[tokio::test]
async fn a_holder_who_is_asked_may_yield() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let (plaza, mut ears) = (world.api(PLAZA), world.ears(PLAZA).await);
    let old = hold(&plaza, &Wish::of("worker-cyd")).await;
    let asking = tokio::spawn({
        let lobby = world.api(LOBBY);
        async move { hold(&lobby, &Wish::of("guest-fay").waiting().with("ask", true)).await }
    });
    assert_eq!(ears.hear("lease.asked").await["by"]["priority"], 1);
    drive(&plaza, &old, 7).await;
    let yields = json!({ "user": "worker-cyd", "token": old.token, "yields": true });
    plaza.post(&format!("{}/yield", lease_of("arm")), &yields).await.expect("it is yielded");
    let new = asking.await.expect("it does not panic");
    drive(&world.api(LOBBY), &new, 1).await;
    assert!(world.plant.commands_of("arm").iter().all(|command| !command.stop), "it was given, not taken");
}

#[tokio::test]
async fn a_holder_who_is_asked_may_decline_and_keeps_it() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let (plaza, mut ears) = (world.api(PLAZA), world.ears(PLAZA).await);
    let old = hold(&plaza, &Wish::of("worker-cyd")).await;
    let asking = tokio::spawn({
        let lobby = world.api(LOBBY);
        async move { lobby.acquire("arm", &Wish::of("worker-dan").waiting().with("ask", true)).await }
    });
    ears.hear("lease.asked").await;
    let declines = json!({ "user": "worker-cyd", "token": old.token, "yields": false });
    plaza.post(&format!("{}/yield", lease_of("arm")), &declines).await.expect("it is declined");
    refused(asking.await.expect("it does not panic"), 409, "lease-declined");
    drive(&plaza, &old, 7).await;
}

#[tokio::test]
async fn who_said_so_waits_again_after_losing_it() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let mut ears = world.ears(PLAZA).await;
    let old = hold(&world.api(PLAZA), &Wish::of("worker-cyd").waiting().with("requeue", true)).await;
    let new = hold(&world.api(LOBBY), &Wish::of("chief-ada")).await;
    assert_eq!(ears.hear("lease.lost").await["requeued"], true);
    world.api(LOBBY).release("arm", "chief-ada", new.token).await.expect("it is given back");
    let again = ears.hear("lease.granted").await;
    let token = again["token"].as_str().expect("it has one").parse().expect("it is a token");
    assert!(token > new.token && new.token > old.token);
    let change = world.api(PLAZA).change("arm", "worker-cyd", Some(token), &json!({ SPEED: 2 })).await;
    change.expect("it holds again");
}

#[tokio::test]
async fn rules_that_change_while_it_is_held_revoke_who_is_outranked_now_and_drop_nobody() {
    let thing = Thing::new("arm").with("graceMs", GRACE_MS);
    let world = World::start(std::slice::from_ref(&thing), "").await;
    let mut ears = world.ears(PLAZA).await;
    let old = hold(&world.api(PLAZA), &Wish::of("worker-cyd")).await;
    let waiting = tokio::spawn({
        let lobby = world.api(LOBBY);
        async move { hold(&lobby, &Wish::of("guest-fay").waiting()).await }
    });
    world.operator().until_waiting("arm", 1).await;
    let rules = thing.with("priorities", json!([{ "role": "guest", "priority": 8 }])).synchronization;
    let path = "/dii/v1/twins/arm/synchronization";
    let put = world.api("plant").send(reqwest::Method::PUT, path, &[], None, Some(&rules)).await;
    put.expect("they are taken over");
    assert_eq!(ears.hear("lease.revoking").await["by"]["priority"], 8);
    assert_eq!(world.operator().view("arm").await["holder"]["user"], "worker-cyd", "it is revoked, not dropped");
    let new = waiting.await.expect("it does not panic");
    assert!(new.priority == 8 && new.token > old.token, "{new:?}");
}

#[tokio::test]
async fn an_operator_takes_it_back_and_it_is_written_down_who_did_and_why() {
    let world = World::start(&[Thing::new("arm").with("graceMs", GRACE_MS)], "").await;
    let (operator, mut ears) = (world.operator(), world.ears(PLAZA).await);
    for (act, told) in [("clear", "lease.lost"), ("revoke", "lease.revoking")] {
        refused(operator.operate("arm", act, "to see").await, 404, "lease-request-unknown");
        hold(&world.api(PLAZA), &Wish::of("worker-cyd")).await;
        operator.operate("arm", act, "the fence is open").await.expect("it is done");
        ears.hear(told).await;
        let view = operator.until("arm", |view| view["phase"] == "free").await;
        let history = view["history"].as_array().expect("it is a list").clone();
        let noted = history.iter().any(|moment| {
            moment["note"].as_str().is_some_and(|note| note.contains("root") && note.contains("the fence is open"))
        });
        assert!(noted, "{history:?}");
    }
}
