//! What was acknowledged is there after a restart, and answers as before.

use std::fmt::Debug;

use twinway::{
    Enabler,
    outside::{EventsFrom, Outgoing, SystemKind},
    protocol::{
        PermissionId, Problem, ProblemKind,
        access::AuthorizationDecision,
        message::{OutsideAnswer, OutsideRequest, UserAndPermissionInformation},
        registry::{Page, Performance, Reach, Standing, SystemQuery, ThirdPartyDescription, TwinSystemDescription},
        time::Timestamp,
    },
};

use super::{
    house::{House, entry, home, json, name, names, nothing_is_lost, rights, shop, twin_system, values},
    outsiders::{Answering, ada, everything_works, granted, granting_until, next_request, permitted, scope, willing},
};

/// A twin system that is reached by a webhook.
fn barn() -> TwinSystemDescription {
    let mut barn = twin_system("barn", &[entry("hen", "urn:hen")]);
    barn.reach = Reach::Webhook("http://barn.example/hook".to_owned());
    barn
}

/// A third-party system that is reached by a webhook.
fn mill() -> ThirdPartyDescription {
    let mut mill = shop();
    mill.id = name("mill");
    mill.title = "Wind mill".to_owned();
    mill.reach = Reach::Webhook("http://mill.example/hook".to_owned());
    mill
}

/// What the shop decides, by the user.
fn deciding(asked: &OutsideRequest) -> OutsideAnswer {
    let OutsideRequest::AuthorizeUser(question) = asked else { return willing(asked) };
    let decision = match question.user.as_str() {
        "eve" => AuthorizationDecision::Denied("not you".to_owned()),
        "pat" => AuthorizationDecision::Pending("http://shop.example/login".to_owned()),
        _ => granted(&question.scope),
    };
    OutsideAnswer::AuthorizeUser(UserAndPermissionInformation::Decision(decision))
}

/// Fills an enabler with something of everything. Gives the authorizations of Ada and of Pat.
async fn fill(enabler: &Enabler) -> [PermissionId; 2] {
    let (home_system, shop_system) = (enabler.dii(name("home")), enabler.sii(name("shop")));
    home_system.register(home()).await.expect("it is registered");
    shop_system.register(shop()).await.expect("it is registered");
    enabler.dii(name("barn")).register(barn()).await.expect("it is registered");
    enabler.sii(name("mill")).register(mill()).await.expect("it is registered");
    let world = enabler.mii(name("world"));
    world.set_reach(Reach::Webhook("http://world.example/hook".to_owned())).await.expect("it is kept");
    world.select_twins(names(&["hen", "lamp", "spot"]), names(&[])).await.expect("they are registered");
    world.select_twins(vec![], names(&["hen"])).await.expect("it is let go");

    let past = Some(Timestamp::from_unix_ms(1_000));
    let answering = Answering::twin_system(home_system.clone(), move |asked| granting_until(asked, past)).await;
    permitted(&world, &["spot"]).await;
    drop(answering);
    let _home = Answering::twin_system(home_system.clone(), willing).await;
    permitted(&world, &["lamp"]).await;
    world.change_twin(ada(), name("lamp"), values(&[("on", "true")])).await.expect("it is done");
    home_system.report(name("lamp"), values(&[("power", "6.5")]), None).await.expect("it is shown");
    home_system.report(name("spot"), values(&[("on", "false")]), None).await.expect("it is shown");

    let _shop = Answering::third_party(shop_system, deciding).await;
    let ask = |user: &str| world.request_user_authorization(name("shop"), name(user), scope());
    ask("eve").await.expect_err("she is denied");
    [ask("ada").await.expect("it is granted").id, ask("pat").await.expect("it is pending").id]
}

fn line<T: Debug>(what: T) -> String {
    format!("{what:?}")
}

/// What an enabler answers to questions that change nothing, refusals with them.
/// What was found, without what was measured: that begins anew with each life.
fn registered<T>(found: Result<Page<T>, Problem>, standing: fn(&mut T) -> &mut Standing) -> Result<Page<T>, Problem> {
    found.map(|mut page| {
        for listing in &mut page.items {
            let standing = standing(listing);
            (standing.heard_at, standing.performance) = (None, Performance::default());
        }
        page
    })
}

async fn seen(enabler: &Enabler, authorizations: &[PermissionId; 2]) -> Vec<String> {
    let world = enabler.mii(name("world"));
    let (home_system, shop_system) = (enabler.dii(name("home")), enabler.sii(name("shop")));
    let _shop = Answering::third_party(shop_system.clone(), deciding).await;
    let text = |text: &str| SystemQuery { text: Some(text.to_owned()), ..SystemQuery::default() };
    let mut seen = vec![
        line(registered(world.search_twin_systems(SystemQuery::default()).await, |found| &mut found.standing)),
        line(registered(world.search_twin_systems(text("BARN")).await, |found| &mut found.standing)),
        line(registered(world.search_third_party_systems(SystemQuery::default()).await, |found| &mut found.standing)),
        line(registered(world.search_third_party_systems(text("wind")).await, |found| &mut found.standing)),
        line(world.list_twins(None, None, None).await),
        line(world.select_twins(vec![], vec![]).await),
        line(world.user_authorization(authorizations[0].clone()).await),
        line(world.user_authorization(authorizations[1].clone()).await),
        line(home_system.register(home()).await),
        line(shop_system.register(shop()).await),
        line(shop_system.acquire(names(&["lamp", "spot"]), None).await),
        line(enabler.dii(name("thief")).register(twin_system("thief", &[entry("lamp", "urn:x")])).await),
        line(enabler.dii(name("thief")).register(twin_system("thief", &[entry("x", "urn:lamp:1")])).await),
        line(home_system.register(twin_system("home", &[])).await),
        line(world.request_permission(ada(), names(&["hen"]), rights()).await),
        line(world.change_twin(ada(), name("spot"), values(&[("on", "1")])).await),
        line(world.change_twin(ada(), name("lamp"), values(&[("power", "1")])).await),
    ];
    for twin in ["lamp", "spot", "hen", "thief"] {
        seen.push(line(world.twin(&name(twin))));
        for user in ["ada", "bob"] {
            seen.push(line(world.permission(name(user), name(twin)).await));
        }
    }
    for user in ["ada", "eve", "pat", "bob"] {
        seen.push(line(world.use_third_party_system(name("shop"), name(user), "order", json("{}")).await));
    }
    let outside = enabler.outside();
    for (kind, id) in [
        (SystemKind::Metaverse, "world"),
        (SystemKind::DigitalTwin, "home"),
        (SystemKind::DigitalTwin, "barn"),
        (SystemKind::ThirdParty, "shop"),
        (SystemKind::ThirdParty, "mill"),
    ] {
        seen.push(line((outside.entity(kind, &name(id)), outside.reach(kind, &name(id)))));
        assert!(outside.reach(kind, &name(id)).is_some(), "{id}");
    }
    seen
}

/// Changes the lamp by the world and by its system: versions go on, and the world hears of both.
async fn goes_on(enabler: &Enabler) {
    let (world, system) = (enabler.mii(name("world")), enabler.dii(name("home")));
    let _home = Answering::twin_system(system.clone(), willing).await;
    let mut events = world.events(EventsFrom::Now).await.expect("there is room");
    let before = world.twin(&name("lamp")).expect("it is registered").version;
    world.change_twin(ada(), name("lamp"), values(&[("on", "false")])).await.expect("the permission is there");
    assert_eq!(world.twin(&name("lamp")).expect("it is registered").version, before + 1);
    let reported = system.report(name("lamp"), values(&[("power", "7")]), None).await.expect("it is shown");
    assert_eq!(reported, before + 2);
    for _ in 0..2 {
        let Some(Outgoing::Event { event, .. }) = events.next().await else { panic!("an event was to come") };
        assert_eq!((event.kind, event.subject.as_str()), ("twin.changed", "lamp"));
    }
}

/// Ends an enabler and starts it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    InOrder,
    Crash,
}

/// Fills the house and takes it through two ends, with snapshots before each or without.
async fn assert_all_is_there(mut house: House, end: End, snapshots: bool) {
    let authorizations = fill(&house.enabler).await;
    let mut before = seen(&house.enabler, &authorizations).await;
    for time in 1..=2 {
        if snapshots {
            let long = house.journal.stats().expect("it can be read").replay_bytes;
            house.enabler.checkpoint().await.expect("there is room");
            let stats = house.journal.stats().expect("it can be read");
            assert!(stats.snapshots > 0 && stats.replay_bytes < long, "what snapshots hold was cut off: {stats:?}");
        }
        house = match end {
            End::InOrder => house.restarted().await,
            End::Crash => house.crashed().await,
        };
        let after = seen(&house.enabler, &authorizations).await;
        assert_eq!(after.len(), before.len());
        for (after, before) in after.iter().zip(&before) {
            assert_eq!(after, before, "time {time}");
        }
        goes_on(&house.enabler).await;
        before = seen(&house.enabler, &authorizations).await;
    }
    pending_is_decided(&house.enabler, &authorizations[1]).await;
    everything_works(&house.enabler).await.expect("everything works");
    house.enabler.shutdown().await.expect("it ends in order");
}

/// What was pending before the restarts is decided after them, and the world hears of it.
async fn pending_is_decided(enabler: &Enabler, pats: &PermissionId) {
    let (world, shop_system) = (enabler.mii(name("world")), enabler.sii(name("shop")));
    let mut events = world.events(EventsFrom::Now).await.expect("there is room");
    let decided = shop_system.decide_user_authorization(pats.clone(), granted(&scope())).await;
    decided.expect("the shop was asked for it");
    let Some(Outgoing::Event { event, .. }) = events.next().await else { panic!("an event was to come") };
    assert_eq!((event.kind, event.subject.as_str()), ("authorization.decided", pats.as_str()));
    let _shop = Answering::third_party(shop_system, deciding).await;
    let used = world.use_third_party_system(name("shop"), name("pat"), "order", json("{}")).await;
    used.expect("Pat has logged in");
}

#[tokio::test]
async fn all_is_there_after_an_end_in_order_on_disk() {
    assert_all_is_there(House::on_disk(nothing_is_lost()).await, End::InOrder, false).await;
}

#[tokio::test]
async fn all_is_there_after_an_end_in_order_on_disk_from_snapshots() {
    assert_all_is_there(House::on_disk(nothing_is_lost()).await, End::InOrder, true).await;
}

#[tokio::test]
async fn all_is_there_after_an_end_in_order_in_memory() {
    assert_all_is_there(House::in_memory(nothing_is_lost()).await, End::InOrder, false).await;
}

#[tokio::test]
async fn all_is_there_after_a_crash() {
    assert_all_is_there(House::in_memory(nothing_is_lost()).await, End::Crash, false).await;
}

#[tokio::test]
async fn all_is_there_after_a_crash_from_snapshots() {
    assert_all_is_there(House::in_memory(nothing_is_lost()).await, End::Crash, true).await;
}

#[tokio::test]
async fn who_waits_when_the_enabler_ends_is_told_so() {
    let house = House::in_memory(nothing_is_lost()).await;
    let shop_system = house.enabler.sii(name("shop"));
    shop_system.register(shop()).await.expect("it is registered");
    let mut silent = shop_system.session().await.expect("there is room");
    let world = house.enabler.mii(name("world"));
    let asking = tokio::spawn(async move { world.request_user_authorization(name("shop"), ada(), scope()).await });
    let _asked = next_request(&mut silent).await;
    house.enabler.shutdown().await.expect("it ends in order");
    let problem = asking.await.expect("it ends").expect_err("nobody answered");
    assert_eq!(problem.kind, ProblemKind::Internal);
    assert!(problem.detail.contains("the daemon ended"), "{problem}");
    assert!(silent.next().await.is_none(), "the session has ended too");
}

#[tokio::test]
async fn what_is_not_durable_is_neither_visible_nor_there_after_a_crash() {
    let mut options = nothing_is_lost();
    // What hangs at the journal that is lost is not worth waiting for.
    options.runtime.drain_ms_max = 1;
    let house = House::in_memory(options).await;
    let world = house.enabler.mii(name("world"));
    let home_system = house.enabler.dii(name("home"));
    let _known = home_system.session().await.expect("there is room");
    assert!(world.search_twin_systems(SystemQuery::default()).await.expect("it is understood").items.is_empty());
    let journal = house.memory().expect("it is in memory");
    journal.hold();
    let registering = tokio::spawn(async move { home_system.register(home()).await });
    while journal.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(world.search_twin_systems(SystemQuery::default()).await.expect("it is understood").items.is_empty());
    world.twin(&name("lamp")).expect_err("it is not published");
    assert!(!registering.is_finished(), "it is not acknowledged");

    let house = house.crashed().await;
    registering.await.expect("it ends").expect_err("it is never acknowledged");
    let world = house.enabler.mii(name("world"));
    assert!(world.search_twin_systems(SystemQuery::default()).await.expect("it is understood").items.is_empty());
    house.enabler.dii(name("home")).register(home()).await.expect("it can be repeated");
    world.twin(&name("lamp")).expect("now it is published");
}
