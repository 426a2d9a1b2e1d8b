//! Who waits, and for what: the queue, and reservations for later.

use serde_json::json;
use tokio::task::JoinHandle;
use twinway::protocol::{message::SyncLease, time::Timestamp};

use super::{
    api::{Api, Failure, Wish, refused},
    plant::{SPEED, Thing, now_ms},
    world::{LOBBY, PLAZA, World},
};

/// Asks, and waits.
fn wait(api: &Api, wish: Wish) -> JoinHandle<Result<SyncLease, Failure>> {
    let api = api.clone();
    tokio::spawn(async move { api.acquire("arm", &wish).await })
}

#[tokio::test]
async fn the_higher_goes_first_and_of_equals_who_came_first() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let (plaza, operator) = (world.api(PLAZA), world.operator());
    let mut lease = plaza.acquire("arm", &Wish::of("chief-ada")).await.expect("it is granted");
    let order = ["guest-fay", "worker-cyd", "worker-dan", "guest-gil", "worker-eve", "chief-bob"];
    let mut waiting = Vec::new();
    for (place, user) in order.into_iter().enumerate() {
        waiting.push((user, wait(&plaza, Wish::of(user).waiting())));
        operator.until_waiting("arm", place as u64 + 1).await;
    }
    let next = ["chief-bob", "worker-cyd", "worker-dan", "worker-eve", "guest-fay", "guest-gil"];
    let view = operator.view("arm").await;
    let queue = view["queue"].as_array().expect("it is a list").clone();
    let queued: Vec<_> = queue.iter().map(|waiting| waiting["party"]["user"].as_str().expect("it is named")).collect();
    assert_eq!(queued, next);
    for user in next {
        plaza.release("arm", lease.holder.user.as_str(), lease.token).await.expect("it is given back");
        let place = waiting.iter().position(|(waiting, _)| *waiting == user).expect("it waits");
        let granted = waiting.swap_remove(place).1.await.expect("it does not panic").expect("it is granted");
        assert!(granted.token > lease.token && waiting.iter().all(|(_, waiting)| !waiting.is_finished()));
        lease = granted;
    }
}

#[tokio::test]
async fn who_has_waited_long_enough_is_told_and_stands_in_nobodys_way() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let plaza = world.api(PLAZA);
    let held = plaza.acquire("arm", &Wish::of("chief-ada")).await.expect("it is granted");
    let short = Wish::of("worker-cyd").with("waitMs", 50);
    refused(plaza.acquire("arm", &short).await, 409, "lease-wait-over");
    let waiting = wait(&plaza, Wish::of("worker-dan").waiting());
    world.operator().until_waiting("arm", 1).await;
    plaza.release("arm", "chief-ada", held.token).await.expect("it is given back");
    waiting.await.expect("it does not panic").expect("it is granted");
}

#[tokio::test]
async fn a_requester_whose_connection_breaks_keeps_its_place_and_has_its_answer_by_asking_again() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let plaza = world.api(PLAZA);
    let held = plaza.acquire("arm", &Wish::of("chief-ada")).await.expect("it is granted");
    let wish = Wish::of("worker-dan").waiting().with("requestId", "00000000-0000-4000-8000-000000000004");
    let waiting = wait(&world.api(LOBBY), wish.clone());
    world.operator().until_waiting("arm", 1).await;
    waiting.abort();
    assert!(waiting.await.expect_err("it is aborted").is_cancelled());
    plaza.release("arm", "chief-ada", held.token).await.expect("it is given back");
    let view = world.operator().until("arm", |view| view["phase"] == "held").await;
    let again = world.api(LOBBY).acquire("arm", &wish).await.expect("it is granted");
    assert_eq!((&view["holder"]["user"], &view["token"]), (&json!("worker-dan"), &json!(again.token)));
}

#[tokio::test]
async fn what_is_reserved_is_free_when_its_time_comes_and_waits_to_be_claimed() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let (mut winner, mut loser) = (world.ears(PLAZA).await, world.ears(LOBBY).await);
    // Long enough for a lease to be taken before.
    let (from, until) = (now_ms() + 1_500, now_ms() + 3_600_000);
    let at = |ms: u64| Timestamp::from_unix_ms(ms);
    let booking = json!({ "user": "worker-cyd", "from": at(from), "until": at(until), "ttlMs": 60_000 });
    let reservations = "/mii/v1/twins/arm/reservations";
    let reserved = world.api(PLAZA).post(reservations, &booking).await.expect("it is reserved");
    assert!(reserved["id"].is_u64());
    let equal = json!({ "user": "worker-dan", "from": at(from + 1), "until": at(until), "ttlMs": 60_000 });
    refused(world.api(LOBBY).post(reservations, &equal).await, 409, "reservation-taken");

    let wish = Wish::of("guest-fay").with("ttlMs", 600_000);
    let lease = world.api(LOBBY).acquire("arm", &wish).await.expect("it is granted for now");
    assert!(lease.expires_in_ms <= 1_500, "it ends when the reservation starts: {lease:?}");
    assert_eq!(loser.hear("lease.lost").await["token"], json!(lease.token));
    assert!(now_ms() >= from, "not before");
    let granted = winner.hear("lease.granted").await;
    assert_eq!(granted["user"], "worker-cyd");
    let token = granted["token"].as_str().expect("it has one").parse().expect("it is a token");
    let change = world.api(PLAZA).change("arm", "worker-cyd", Some(token), &json!({ SPEED: 3 })).await;
    change.expect("it holds");
}

#[tokio::test]
async fn a_reservation_that_cannot_be_is_refused_and_one_that_is_cancelled_is_gone() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let (plaza, reservations) = (world.api(PLAZA), "/mii/v1/twins/arm/reservations");
    let (at, day_ms) = (|ms: u64| Timestamp::from_unix_ms(now_ms() + ms), 86_400_000);
    let booking = |from, until| json!({ "user": "worker-cyd", "from": from, "until": until, "ttlMs": 60_000 });
    for (from, until) in [(at(2 * day_ms), at(day_ms)), (at(day_ms), at(day_ms)), (at(400 * day_ms), at(401 * day_ms))]
    {
        refused(plaza.post(reservations, &booking(from, until)).await, 400, "reservation-window");
    }
    let reserved = plaza.post(reservations, &booking(at(day_ms), at(2 * day_ms))).await.expect("it is reserved");
    let path = format!("{reservations}/{}", reserved["id"]);
    let cancel = async |api: Api| api.send(reqwest::Method::DELETE, &path, &[], None, None).await;
    refused(cancel(world.api(LOBBY)).await, 403, "lease-not-yours");
    cancel(plaza.clone()).await.expect("it is gone");
    refused(cancel(plaza.clone()).await, 404, "lease-request-unknown");
    assert_eq!(plaza.view("arm").await["reservations"], json!([]));
}
