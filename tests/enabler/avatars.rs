//! Avatars are twins, and send other twins messages as far as they may (FGMV-28 REQ-DT-06).

use std::collections::BTreeSet;

use twinway::{
    enabler::{EnablerOptions, Mii},
    outside::{EventsFrom, Outgoing, Session},
    protocol::{
        Problem, ProblemKind,
        access::Right,
        message::{OutsideAnswer, OutsideRequest},
        signal::Event,
        twin::TwinClass,
    },
};

use super::{
    house::{House, entry, json, kind, lamp, name, names, twin_system},
    outsiders::{Answering, ada, willing},
};

/// An avatar of Ada, one of Bob, and a lamp.
async fn house() -> (House, Answering) {
    let house = House::in_memory(EnablerOptions::default()).await;
    let avatar = |id: &str| {
        let description = lamp(id);
        format!(r#"{{"id": "{id}", "class": "avatar", "description": {description}}}"#)
    };
    let home = house.enabler.dii(name("home"));
    let listed = twin_system("home", &[avatar("ada-avatar"), avatar("bob-avatar"), entry("lamp", "urn:lamp:1")]);
    home.register(listed).await.expect("avatars are twins");
    let answering = Answering::twin_system(home, willing).await;
    (house, answering)
}

async fn permit(world: &Mii, twins: &[&str], rights: &[Right]) {
    world.select_twins(names(twins), vec![]).await.expect("they are registered");
    let rights: BTreeSet<Right> = rights.iter().copied().collect();
    let granted = world.request_permission(ada(), names(twins), rights).await.expect("the system is willing");
    assert_eq!(granted.permissions.len(), twins.len());
}

async fn say(world: &Mii, from: &str, to: &str, content: &str) -> Result<(), Problem> {
    world.send_twin_message(ada(), name(from), name(to), json(content)).await
}

async fn next_event(events: &mut Session) -> std::sync::Arc<Event> {
    match events.next().await {
        Some(Outgoing::Event { event, .. }) => event,
        other => panic!("an event was to come: {other:?}"),
    }
}

#[tokio::test]
async fn an_avatar_is_listed_as_what_it_is() {
    let (house, _home) = house().await;
    let world = house.enabler.mii(name("world"));
    assert_eq!(world.twin(&name("ada-avatar")).expect("it is registered").class, TwinClass::Avatar);
    let listed = world.list_twins(None, None, None).await.expect("it is understood").items;
    let classes: Vec<_> = listed.iter().map(|twin| (twin.id.as_str(), twin.class)).collect();
    let expected = [("ada-avatar", TwinClass::Avatar), ("bob-avatar", TwinClass::Avatar), ("lamp", TwinClass::Object)];
    assert_eq!(classes, expected);
}

#[tokio::test]
async fn a_message_reaches_the_worlds_that_selected_the_receiver() {
    let (house, _home) = house().await;
    let (here, there, nowhere) =
        (house.enabler.mii(name("here")), house.enabler.mii(name("there")), house.enabler.mii(name("nowhere")));
    permit(&here, &["ada-avatar", "bob-avatar"], &[Right::Message]).await;
    permit(&here, &["lamp"], &[Right::Message]).await;
    there.select_twins(names(&["bob-avatar", "lamp"]), vec![]).await.expect("they are registered");
    nowhere.select_twins(names(&["ada-avatar"]), vec![]).await.expect("it is registered");
    let mut heard_there = there.events(EventsFrom::Now).await.expect("there is room");
    let mut heard_here = here.events(EventsFrom::Now).await.expect("there is room");
    let mut heard_nowhere = nowhere.events(EventsFrom::Now).await.expect("there is room");

    say(&here, "ada-avatar", "bob-avatar", r#"{"says": "hello"}"#).await.expect("she may");
    for events in [&mut heard_there, &mut heard_here] {
        let event = next_event(events).await;
        assert_eq!((event.kind, event.subject.as_str()), ("twin.message", "bob-avatar"));
        let data = r#"{"from":"ada-avatar","to":"bob-avatar","user":"ada","content":{"says": "hello"}}"#;
        assert_eq!(event.data.as_str(), data);
    }
    // From a thing to an avatar and back: all twins send.
    say(&here, "lamp", "bob-avatar", "1").await.expect("it may");
    say(&here, "bob-avatar", "lamp", "2").await.expect("it may");
    // Messages of different pairs may overtake each other.
    let both = [next_event(&mut heard_there).await, next_event(&mut heard_there).await];
    let both = both.map(|event| event.subject.clone());
    assert_eq!(BTreeSet::from(both), BTreeSet::from(["bob-avatar".to_owned(), "lamp".to_owned()]));

    // Who selected only the sender hears nothing of it: the next that comes there is a message to the sender.
    say(&here, "bob-avatar", "ada-avatar", "3").await.expect("it may");
    assert_eq!(next_event(&mut heard_nowhere).await.subject, "ada-avatar");
}

#[tokio::test]
async fn a_message_needs_permission_on_both_twins() {
    let (house, home) = house().await;
    let world = house.enabler.mii(name("world"));
    let mut events = world.events(EventsFrom::Now).await.expect("there is room");
    assert_eq!(kind(say(&world, "ada-avatar", "bob-avatar", "1").await), ProblemKind::PermissionMissing);
    permit(&world, &["ada-avatar"], &[Right::Message]).await;
    assert_eq!(kind(say(&world, "ada-avatar", "bob-avatar", "2").await), ProblemKind::PermissionMissing);
    permit(&world, &["bob-avatar"], &[Right::Read, Right::Change]).await;
    assert_eq!(kind(say(&world, "ada-avatar", "bob-avatar", "3").await), ProblemKind::PermissionMissing);
    permit(&world, &["bob-avatar"], &[Right::Message]).await;
    say(&world, "ada-avatar", "bob-avatar", "4").await.expect("now she may");
    // Whoever may change a twin speaks for it; the permission is that user's, in that world.
    permit(&world, &["ada-avatar"], &[Right::Change]).await;
    say(&world, "ada-avatar", "bob-avatar", "5").await.expect("she may");
    let as_bob = world.send_twin_message(name("bob"), name("ada-avatar"), name("bob-avatar"), json("6")).await;
    assert_eq!(kind(as_bob), ProblemKind::PermissionMissing);
    let elsewhere = house.enabler.mii(name("elsewhere"));
    assert_eq!(kind(say(&elsewhere, "ada-avatar", "bob-avatar", "7").await), ProblemKind::PermissionMissing);
    drop(home);

    // A permission that ended is none.
    let ended = |asked: &OutsideRequest| {
        let mut answer = willing(asked);
        if let OutsideAnswer::DescribeTwins(said) = &mut answer {
            said.twins.iter_mut().for_each(|twin| twin.expires_at = Some(Default::default()));
        }
        answer
    };
    let home = house.enabler.dii(name("home"));
    let answering = Answering::twin_system(home.clone(), ended).await;
    permit(&world, &["bob-avatar"], &[Right::Message]).await;
    assert_eq!(kind(say(&world, "ada-avatar", "bob-avatar", "8").await), ProblemKind::PermissionExpired);

    // Only what was let pass has come, in its order.
    drop(answering);
    let _home = Answering::twin_system(home, willing).await;
    permit(&world, &["bob-avatar"], &[Right::Message]).await;
    say(&world, "ada-avatar", "bob-avatar", "9").await.expect("she may again");
    for expected in ["4", "5", "9"] {
        let said = next_event(&mut events).await.data.read::<serde_json::Value>().expect("it is JSON");
        assert_eq!(said["content"].to_string(), expected);
    }
}
