//! Changes of a twin and its object: with a token, without one, and what needs none (FGMV-29 9.2 steps 14 to 18).

use serde_json::json;

use super::{
    api::{Wish, refused},
    plant::{Heard, PLANT, SPEED, Thing},
    world::{LOBBY, PLAZA, World},
};

#[tokio::test]
async fn a_change_without_a_token_takes_a_lease_for_itself_and_gives_it_back() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let plaza = world.api(PLAZA);
    for speed in 1..=3 {
        plaza.change("arm", "guest-fay", None, &json!({ SPEED: speed })).await.expect("nobody has it");
        world.operator().until("arm", |view| view["phase"] == "free").await;
    }
    let commands = world.plant.commands_of("arm");
    let tokens: Vec<_> = commands.iter().map(|command| command.token.expect("it has one")).collect();
    assert!(tokens.len() == 3 && tokens.is_sorted_by(|earlier, later| earlier < later), "{commands:?}");
    assert!(commands.iter().all(|command| !command.stop && command.not_after_ms.is_some()), "{commands:?}");
}

#[tokio::test]
async fn a_change_without_a_token_is_refused_while_somebody_holds_the_object() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let lease = world.api(PLAZA).acquire("arm", &Wish::of("worker-cyd")).await.expect("it is granted");
    for (system, user) in [(PLAZA, "worker-dan"), (LOBBY, "worker-dan"), (LOBBY, "guest-fay")] {
        let change = world.api(system).change("arm", user, None, &json!({ SPEED: 1 })).await;
        assert_eq!(refused(change, 409, "lease-held").holder_priority(), Some(5), "{user} of {system}");
    }
    let own = world.api(PLAZA).change("arm", "worker-cyd", None, &json!({ SPEED: 1 })).await;
    refused(own, 409, "lease-held");
    assert_eq!(world.plant.commands_of("arm"), []);
    world.api(PLAZA).release("arm", "worker-cyd", lease.token).await.expect("it is given back");
    let change = world.api(LOBBY).change("arm", "guest-fay", None, &json!({ SPEED: 1 })).await;
    change.expect("it is free");
}

#[tokio::test]
async fn changes_of_many_users_without_tokens_come_one_after_the_other() {
    let world = World::start(&[Thing::new("arm")], "").await;
    world.plant.be_silent(true);
    let users = ["worker-cyd", "worker-dan", "guest-fay", "guest-gil"];
    let changing = users.into_iter().map(|user| {
        let plaza = world.api(PLAZA);
        tokio::spawn(async move { plaza.change("arm", user, None, &json!({ SPEED: 1 })).await })
    });
    let changing: Vec<_> = changing.collect();
    world.operator().until_waiting("arm", users.len() as u64 - 1).await;
    world.plant.be_silent(false);
    for change in changing {
        change.await.expect("it does not panic").expect("it has its turn");
    }
    assert_eq!(world.plant.unanswered_max(), 1);
    let commands = world.plant.commands_of("arm");
    assert!(commands.len() == users.len() && commands.is_sorted_by_key(|command| command.token), "{commands:?}");
}

#[tokio::test]
async fn a_twin_that_stands_for_no_object_needs_no_lease_and_has_none() {
    let world = World::start(&[Thing::without_object("ghost")], "").await;
    let plaza = world.api(PLAZA);
    plaza.change("ghost", "guest-fay", None, &json!({ SPEED: 1 })).await.expect("it is changed");
    refused(plaza.acquire("ghost", &Wish::of("guest-fay")).await, 409, "object-none");
    let [command] = &world.plant.commands_of("ghost")[..] else { panic!("one change was made") };
    assert_eq!(command.token, None);
}

#[tokio::test]
async fn looking_at_a_twin_and_hearing_of_its_changes_takes_no_lease() {
    let world = World::start(&[Thing::new("arm")], "").await;
    let mut ears = world.ears(LOBBY).await;
    world.api(PLAZA).acquire("arm", &Wish::of("worker-cyd")).await.expect("it is granted");
    let values = serde_json::from_value(json!({ SPEED: 42 })).expect("they are values");
    let twin = "arm".parse().expect("it is a name");
    world.client(PLANT).report_change(&twin, &values, None).await.expect("its twin shows it");
    ears.hear("twin.changed").await;
    let seen = world.client(LOBBY).twin_property(&twin, SPEED).await.expect("everybody may look");
    assert_eq!(seen.value.as_str(), "42");
    assert_eq!(world.operator().view("arm").await["waiting"], 0);
}

#[tokio::test]
async fn whoever_may_stop_the_device_can_whoever_holds_it() {
    let world = World::start(&[Thing::new("arm"), Thing::new("lamp").with("safeStop", json!(null))], "").await;
    let lease = world.api(PLAZA).acquire("arm", &Wish::of("chief-ada")).await.expect("it is granted");
    refused(world.api(LOBBY).stop("arm", "guest-fay").await, 403, "permission-missing");
    refused(world.api(LOBBY).stop("lamp", "worker-dan").await, 409, "safe-stop-none");
    world.api(LOBBY).stop("arm", "worker-dan").await.expect("it is stopped");
    let [command] = &world.plant.commands_of("arm")[..] else { panic!("one stop was made") };
    assert_eq!((command.stop, command.token, command.speed), (true, None, 0));
    let change = world.api(PLAZA).change("arm", "chief-ada", Some(lease.token), &json!({ SPEED: 1 })).await;
    change.expect("its holder goes on");
}

#[tokio::test]
async fn every_command_says_until_when_the_device_may_act_on_it() {
    let world = World::start(&[Thing::new("arm").with("commandMsMax", 700)], "").await;
    let began = super::plant::now_ms();
    let lease = world.api(PLAZA).acquire("arm", &Wish::of("worker-cyd")).await.expect("it is granted");
    let change = world.api(PLAZA).change("arm", "worker-cyd", Some(lease.token), &json!({ SPEED: 1 })).await;
    change.expect("it is changed");
    let [command] = &world.plant.commands_of("arm")[..] else { panic!("one change was made") };
    let not_after_ms = command.not_after_ms.expect("it says so");
    assert!((began..=super::plant::now_ms() + 700).contains(&not_after_ms), "{command:?}");
}

#[tokio::test]
async fn a_device_that_checks_tokens_answers_the_fence_itself() {
    let world = World::start(&[Thing::new("arm").with("fencing", "device")], "").await;
    let lease = world.api(PLAZA).acquire("arm", &Wish::of("worker-cyd")).await.expect("it is granted");
    let change = world.api(PLAZA).change("arm", "worker-cyd", Some(lease.token), &json!({ SPEED: 1 })).await;
    change.expect("it holds");
    world.api(PLAZA).release("arm", "worker-cyd", lease.token).await.expect("it is given back");
    let next = world.api(LOBBY).acquire("arm", &Wish::of("worker-dan")).await.expect("it is granted");
    // Before the release was answered, the device refused what was sent under the lease.
    let heard: Vec<_> = world.plant.lines_of("arm").into_iter().map(|line| line.heard).collect();
    let closed = |heard: &Heard| matches!(heard, Heard::Fence(token) if *token > lease.token && *token <= next.token);
    assert!(heard.len() > 1 && heard.iter().skip(1).all(closed), "{heard:?}");
    assert_eq!(json!(lease.fencing), "device");
}
