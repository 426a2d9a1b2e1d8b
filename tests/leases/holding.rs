//! Who gets an object, and who does not (FGMV-28 7.1.3 steps 6 to 11).

use std::{collections::BTreeSet, time::Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    api::{Wish, lease_of, refused},
    plant::{SPEED, Thing},
    world::{LOBBY, PLAZA, World},
};

#[tokio::test]
async fn of_several_who_are_decided_together_the_highest_has_it_and_everyone_has_an_answer() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let users = ["worker-cyd", "chief-ada", "guest-fay", "chief-bob"];
    let requests: Vec<Value> = users.iter().map(|user| Wish::of(user).0).collect();
    let path = format!("{}/batch", lease_of("arm"));
    let decided = world.api(PLAZA).post(&path, &json!({ "requests": requests })).await.expect("they are decided");
    let answers = decided["answers"].as_array().expect("it is a list").clone();
    assert_eq!(answers.len(), users.len());
    for (user, answer) in users.iter().zip(&answers) {
        if *user == "chief-ada" {
            assert_eq!((&answer["lease"]["holder"]["user"], &answer["lease"]["priority"]), (&json!(user), &json!(9)));
        } else {
            let problem = &answer["problem"];
            assert_eq!((&problem["type"], &problem["status"]), (&json!("/problems/lease-held"), &json!(409)));
            assert_eq!(problem["lease"]["holder"]["priority"], 9, "{user}: {problem}");
        }
    }
}

#[tokio::test]
async fn of_many_equals_who_ask_at_once_one_hears_success_and_the_others_who_has_it() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let users = ["worker-cyd", "worker-dan", "worker-eve"];
    let asking = users.iter().flat_map(|user| [PLAZA, LOBBY].map(|system| (user, world.api(system))));
    let answers = join_all(asking.map(|(user, api)| async move { api.acquire("arm", &Wish::of(user)).await })).await;
    let granted: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    let [lease] = &granted[..] else { panic!("{granted:?}") };
    for answer in answers.iter().filter(|answer| answer.is_err()) {
        assert_eq!(refused(answer.clone(), 409, "lease-held").holder_priority(), Some(5));
    }
    let view = world.operator().view("arm").await;
    assert_eq!((&view["holder"]["user"], &view["token"]), (&json!(lease.holder.user), &json!(lease.token)));
}

#[tokio::test]
async fn an_equal_is_refused_and_users_of_another_system_are_not_named() {
    let world = World::start(&[Thing::new("arm")], "").await;
    world.api(PLAZA).acquire("arm", &Wish::of("worker-cyd")).await.expect("it is granted");
    for (system, named) in [(PLAZA, json!("worker-cyd")), (LOBBY, Value::Null)] {
        for user in ["worker-dan", "guest-fay"] {
            let refusal = refused(world.api(system).acquire("arm", &Wish::of(user)).await, 409, "lease-held");
            assert_eq!(refusal.document["lease"]["holder"]["user"], named);
            assert_eq!(refusal.holder_priority(), Some(5));
        }
        assert_eq!(world.api(system).view("arm").await["holder"]["user"], named);
    }
    assert_eq!(world.operator().view("arm").await["holder"]["user"], "worker-cyd");
}

#[tokio::test]
async fn a_claimed_priority_can_only_lower_what_the_rules_give() {
    let world = World::start(&[Thing::new("arm"), Thing::new("belt")], "").await;
    let plaza = world.api(PLAZA);
    let low = plaza.acquire("arm", &Wish::of("chief-ada").with("priority", 2)).await.expect("it is granted");
    let high = plaza.acquire("belt", &Wish::of("guest-fay").with("priority", 200)).await.expect("it is granted");
    assert_eq!((low.priority, high.priority), (2, 1));
}

#[tokio::test]
async fn two_twins_of_one_object_cannot_both_be_driven() {
    let arm = Thing::new("arm");
    let world = World::start(&[arm.clone(), Thing::also("arm-in-the-game", &arm)], "").await;
    let lease = world.api(PLAZA).acquire("arm", &Wish::of("worker-cyd")).await.expect("it is granted");
    refused(world.api(LOBBY).acquire("arm-in-the-game", &Wish::of("worker-dan")).await, 409, "lease-held");
    world.api(PLAZA).release("arm", "worker-cyd", lease.token).await.expect("it is given back");
    world.api(LOBBY).acquire("arm-in-the-game", &Wish::of("worker-dan")).await.expect("it is granted");
}

#[tokio::test]
async fn the_same_request_again_has_the_same_answer_and_changes_nothing() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let wish = Wish::of("worker-cyd").with("requestId", "00000000-0000-4000-8000-000000000001");
    let first = world.api(PLAZA).acquire("arm", &wish).await.expect("it is granted");
    let again = world.api(PLAZA).acquire("arm", &wish).await.expect("it is the same");
    assert_eq!((first.token, first.holder), (again.token, again.holder));
    let other = Wish::of("worker-dan").with("requestId", wish.0["requestId"].clone());
    refused(world.api(PLAZA).acquire("arm", &other).await, 409, "request-id-reused");
    // What was refused stays refused.
    let late = Wish::of("worker-dan").with("requestId", "00000000-0000-4000-8000-000000000002");
    refused(world.api(PLAZA).acquire("arm", &late).await, 409, "lease-held");
    world.api(PLAZA).release("arm", "worker-cyd", first.token).await.expect("it is given back");
    refused(world.api(PLAZA).acquire("arm", &late).await, 409, "lease-held");
    assert_eq!(world.operator().view("arm").await["phase"], "free");
}

/// A system that is there keeps all of its leases by one message; one that has vanished loses them after their time, and
/// not before.
#[tokio::test]
async fn a_keep_alive_renews_all_leases_of_a_system_and_without_it_they_end_after_their_time() {
    let world = World::start(&["arm", "belt", "oven"].map(Thing::new), "").await;
    let mut ears = world.ears(LOBBY).await;
    let ttl_ms: u64 = 1_500;
    let wish = |user: &str| Wish::of(user).with("ttlMs", ttl_ms);
    let kept = world.api(PLAZA);
    let arm = kept.acquire("arm", &wish("worker-cyd")).await.expect("it is granted");
    let belt = kept.acquire("belt", &wish("worker-dan")).await.expect("it is granted");
    let began = Instant::now();
    world.api(LOBBY).acquire("oven", &wish("worker-eve")).await.expect("it is granted");
    let keeping = async {
        loop {
            let answer = kept.post("/mii/v1/sync-leases/keep-alive", &Value::Null).await.expect("they are renewed");
            assert_eq!(answer["leases"], 2);
        }
    };
    let lost = tokio::select! {
        lost = ears.hear("lease.lost") => lost,
        () = keeping => unreachable!("it goes on for ever"),
    };
    assert!(began.elapsed().as_millis() as u64 >= ttl_ms, "it was lost after {:?}", began.elapsed());
    assert_eq!((&lost["end"], &lost["twins"]), (&json!("expired"), &json!(["oven"])));
    kept.change("arm", "worker-cyd", Some(arm.token), &json!({ SPEED: 1 })).await.expect("it still holds");
    kept.change("belt", "worker-dan", Some(belt.token), &json!({ SPEED: 1 })).await.expect("it still holds");
    // Who did not let go by itself leaves a device that is brought to a safe stop, though nothing was commanded.
    world.plant.until_heard("oven", |commands| commands.last().is_some_and(|command| command.stop)).await;
    world.operator().until("oven", |view| view["phase"] == "free").await;
}

#[tokio::test]
async fn a_renewal_extends_and_never_shortens() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let plaza = world.api(PLAZA);
    let lease = plaza.acquire("arm", &Wish::of("worker-cyd").with("ttlMs", 60_000)).await.expect("it is granted");
    let shorter = plaza.renew("arm", "worker-cyd", lease.token, 1).await.expect("it is renewed");
    assert!(shorter.expires_in_ms > 1_000, "{shorter:?}");
    let longer = plaza.renew("arm", "worker-cyd", lease.token, 600_000).await.expect("it is renewed");
    assert!(longer.expires_in_ms > 60_000, "{longer:?}");
    assert_eq!(longer.token, lease.token);
}

#[tokio::test]
async fn tokens_increase_with_every_lease_on_an_object() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let mut tokens = Vec::new();
    for user in ["worker-cyd", "worker-dan", "worker-cyd", "guest-fay"] {
        let lease = world.api(PLAZA).acquire("arm", &Wish::of(user)).await.expect("it is granted");
        world.api(PLAZA).release("arm", user, lease.token).await.expect("it is given back");
        tokens.push(lease.token);
    }
    let in_order: Vec<_> = tokens.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(tokens, in_order);
}
