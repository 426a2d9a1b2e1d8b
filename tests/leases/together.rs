//! Sets of objects: all or nothing, and never a deadlock.

use serde_json::json;

use super::{
    api::{Wish, refused},
    plant::{SPEED, Thing},
    world::{LOBBY, PLAZA, World},
};

const CELL: [&str; 3] = ["arm", "belt", "oven"];

#[tokio::test]
async fn a_set_is_had_as_a_whole_or_not_at_all() {
    let world = World::start(&CELL.map(Thing::new), "").await;
    let (plaza, lobby) = (world.api(PLAZA), world.api(LOBBY));
    let belt = lobby.acquire("belt", &Wish::of("worker-dan")).await.expect("it is granted");
    let wish = Wish::of("worker-cyd").with("ttlMs", 60_000);
    refused(plaza.acquire_set(&CELL, &wish).await, 409, "lease-held");
    for twin in ["arm", "oven"] {
        assert_eq!(world.operator().view(twin).await["phase"], "free", "nothing of it is kept");
    }
    lobby.release("belt", "worker-dan", belt.token).await.expect("it is given back");
    let lease = plaza.acquire_set(&CELL, &wish).await.expect("it is granted");
    assert_eq!(lease.twins.iter().map(|twin| twin.as_str()).collect::<Vec<_>>(), CELL);
    for twin in CELL {
        plaza.change(twin, "worker-cyd", Some(lease.token), &json!({ SPEED: 4 })).await.expect("it holds each");
        refused(lobby.acquire(twin, &Wish::of("worker-dan")).await, 409, "lease-held");
    }
    plaza.release("oven", "worker-cyd", lease.token).await.expect("one of them gives all back");
    for twin in CELL {
        lobby.acquire(twin, &Wish::of("worker-dan")).await.expect("it is free");
    }
}

#[tokio::test]
async fn a_set_revokes_nobody_before_it_can_have_everything() {
    let world = World::start(&CELL.map(Thing::new), "").await;
    let (plaza, lobby) = (world.api(PLAZA), world.api(LOBBY));
    let arm = lobby.acquire("arm", &Wish::of("worker-dan")).await.expect("it is granted");
    let oven = lobby.acquire("oven", &Wish::of("chief-bob")).await.expect("it is granted");
    let set = tokio::spawn({
        let plaza = plaza.clone();
        async move { plaza.acquire_set(&CELL, &Wish::of("chief-ada").waiting()).await }
    });
    world.operator().until_waiting("oven", 1).await;
    // It is above the holder of the arm, but has to wait for the oven.
    lobby.change("arm", "worker-dan", Some(arm.token), &json!({ SPEED: 4 })).await.expect("it still holds");
    lobby.release("oven", "chief-bob", oven.token).await.expect("it is given back");
    let lease = set.await.expect("it does not panic").expect("it is granted");
    let change = lobby.change("arm", "worker-dan", Some(arm.token), &json!({ SPEED: 4 })).await;
    assert_eq!(refused(change, 409, "lease-lost").token(), Some(lease.token));
}

#[tokio::test]
async fn sets_that_cross_each_other_are_all_served() {
    let world = World::start(&CELL.map(Thing::new), "").await;
    let sets = [["arm", "belt"], ["belt", "oven"], ["oven", "arm"]];
    let users = ["worker-cyd", "worker-dan", "worker-eve"];
    let turns = users.into_iter().zip(sets).map(|(user, set)| {
        let plaza = world.api(PLAZA);
        tokio::spawn(async move {
            for speed in 1..=5 {
                let lease = plaza.acquire_set(&set, &Wish::of(user).waiting()).await.expect("it has its turn");
                for twin in set {
                    let change = plaza.change(twin, user, Some(lease.token), &json!({ SPEED: speed })).await;
                    change.expect("it holds both");
                }
                plaza.release(set[0], user, lease.token).await.expect("it is given back");
            }
        })
    });
    for turn in turns.collect::<Vec<_>>() {
        turn.await.expect("nobody waits for ever");
    }
}
