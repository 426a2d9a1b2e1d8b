//! Bad input gets a clear error, nothing is lost, and the actors go on working.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use twinway::{
    Enabler,
    enabler::{EnablerOptions, Sii},
    outside::Session,
    protocol::{
        PendingKey, Problem, ProblemKind,
        access::AuthorizationDecision,
        message::{
            ChangeApplied, OutsideAnswer, OutsideRequest, PropertyValues, ServiceExecuted, UserAndPermissionInformation,
        },
        registry::{Reach, SystemQuery},
        time::Timestamp,
    },
};

use super::{
    house::{House, entry, home, json, kind, lamp, name, names, rights, shop, twin_system, values},
    outsiders::{Answering, ada, everything_works, granted, granting_until, next_request, permitted, scope, willing},
};

/// An enabler with the home and the shop.
async fn registered(options: EnablerOptions) -> House {
    let house = House::in_memory(options).await;
    house.enabler.dii(name("home")).register(home()).await.expect("it is registered");
    house.enabler.sii(name("shop")).register(shop()).await.expect("it is registered");
    house
}

/// External systems have this long to answer: tests that wait for the end of it wait no longer.
const ANSWER_MS_MAX: u64 = 50;

fn impatient() -> EnablerOptions {
    let mut options = EnablerOptions::default();
    options.entities.outside_answer_ms_max = ANSWER_MS_MAX;
    options
}

/// Ends the house when it has shown that everything in it works.
async fn assert_works(house: House) {
    everything_works(&house.enabler).await.expect("everything works");
    house.enabler.shutdown().await.expect("it ends in order");
}

fn place<T: std::fmt::Debug>(answer: Result<T, Problem>) -> (ProblemKind, String) {
    let problem = answer.expect_err("it is refused");
    (problem.kind, problem.pointer.unwrap_or_else(|| "no place".to_owned()))
}

fn at(kind: ProblemKind, place: &str) -> (ProblemKind, String) {
    (kind, place.to_owned())
}

#[tokio::test]
async fn an_invalid_registration_is_refused_with_its_place_and_changes_nothing() {
    let house = registered(EnablerOptions::default()).await;
    let barn = house.enabler.dii(name("barn"));
    let broken = lamp("Lamp").replace(r#""href": "/on""#, r#""href": 7"#);
    let entries = [entry("hen", "urn:hen"), format!(r#"{{"id": "cow", "description": {broken}}}"#)];
    let refused = barn.register(twin_system("barn", &entries)).await;
    let href = "/twins/1/description/properties/on/forms/0/href";
    assert_eq!(place(refused), at(ProblemKind::InvalidDocument, href));

    let twice = barn.register(twin_system("barn", &[entry("hen", "urn:hen"), entry("hen", "urn:hen")])).await;
    assert_eq!(place(twice), at(ProblemKind::InvalidDocument, "/twins/1/id"));
    let as_other = barn.register(twin_system("stable", &[])).await;
    assert_eq!(place(as_other), at(ProblemKind::NotAllowed, "/id"));
    let mut unreachable = twin_system("barn", &[]);
    unreachable.reach = Reach::Webhook("ftp://barn.example".to_owned());
    assert_eq!(place(barn.register(unreachable).await), at(ProblemKind::InvalidDocument, "/reach/webhook"));

    let mill = house.enabler.sii(name("mill"));
    let mut nameless = shop();
    nameless.id = name("mill");
    nameless.apis[0].operation = String::new();
    assert_eq!(place(mill.register(nameless).await), at(ProblemKind::InvalidDocument, "/apis/0/operation"));
    assert_eq!(place(mill.register(shop()).await), at(ProblemKind::NotAllowed, "/id"));

    let world = house.enabler.mii(name("world"));
    assert_eq!(world.search_twin_systems(SystemQuery::default()).await.expect("it is understood").items.len(), 1);
    assert_eq!(
        world.search_third_party_systems(SystemQuery::default()).await.expect("it is understood").items.len(),
        1
    );
    assert_eq!(kind(world.twin(&name("hen"))), ProblemKind::TwinUnknown);
    barn.register(twin_system("barn", &[entry("hen", "urn:hen")])).await.expect("a good one is registered");
    assert_works(house).await;
}

#[tokio::test]
async fn a_second_registration_that_differs_is_refused_with_what_differs() {
    let house = registered(EnablerOptions::default()).await;
    let home_system = house.enabler.dii(name("home"));
    let kept = home_system.register(home()).await.expect("the same again changes nothing");
    let mut other = twin_system("home", &[entry("lamp", "urn:lamp:9"), entry("cat", "urn:cat")]);
    other.title = "Another home".to_owned();
    let problem = home_system.register(other).await.expect_err("it differs");
    assert_eq!(problem.kind, ProblemKind::AlreadyRegistered);
    assert_eq!(problem.differences, ["title", "twins: `spot` removed", "twins: `cat` added", "twins: `lamp` changed"]);
    assert_eq!(home_system.register(home()).await.expect("it is as it was").system, kept.system);

    let shop_system = house.enabler.sii(name("shop"));
    let kept = shop_system.register(shop()).await.expect("the same again changes nothing");
    let mut other = shop();
    other.apis.clear();
    other.service_charge = None;
    let problem = shop_system.register(other).await.expect_err("it differs");
    assert_eq!(problem.kind, ProblemKind::AlreadyRegistered);
    for member in ["apis", "serviceCharge"] {
        assert!(problem.differences.iter().any(|found| found.starts_with(member)), "{:?}", problem.differences);
    }
    assert_eq!(shop_system.register(shop()).await.expect("it is as it was").system, kept.system);
    assert_works(house).await;
}

#[tokio::test]
async fn what_another_system_has_is_not_given_away() {
    let house = registered(EnablerOptions::default()).await;
    let barn = house.enabler.dii(name("barn"));
    let listed = barn.register(twin_system("barn", &[entry("lamp", "urn:other")])).await;
    assert_eq!(place(listed), at(ProblemKind::TwinListedElsewhere, "/twins/0/id"));
    let owned = barn.register(twin_system("barn", &[entry("hen", "urn:lamp:1")])).await;
    assert_eq!(place(owned), at(ProblemKind::ObjectOwned, "/twins/0/physicalObject"));
    // Of another system's twin nobody reports, and nobody decides about another system's authorizations.
    let reported = barn.report(name("lamp"), values(&[("on", "true")]), None).await;
    assert_eq!(kind(reported), ProblemKind::TwinUnknown);
    let _shop = Answering::third_party(house.enabler.sii(name("shop")), willing).await;
    let world = house.enabler.mii(name("world"));
    let authorization = world.request_user_authorization(name("shop"), ada(), scope()).await.expect("it is granted");
    let mill = house.enabler.sii(name("mill"));
    let denied = AuthorizationDecision::Denied("no".to_owned());
    let decided = mill.decide_user_authorization(authorization.id.clone(), denied).await;
    assert_eq!(kind(decided), ProblemKind::NotAllowed);
    let elsewhere = house.enabler.mii(name("elsewhere"));
    assert_eq!(kind(elsewhere.user_authorization(authorization.id).await), ProblemKind::RequestUnknown);
    assert_works(house).await;
}

#[tokio::test]
async fn unknown_ids_are_told_as_what_they_are() {
    let house = registered(EnablerOptions::default()).await;
    let (enabler, world) = (&house.enabler, house.enabler.mii(name("world")));
    let twin = |id: &str| names(&[id]);
    assert_eq!(kind(world.twin(&name("x"))), ProblemKind::TwinUnknown);
    assert_eq!(kind(world.select_twins(twin("x"), vec![]).await), ProblemKind::TwinUnknown);
    assert_eq!(kind(world.select_twins(names(&["lamp", "x"]), vec![]).await), ProblemKind::TwinUnknown);
    assert_eq!(kind(world.request_permission(ada(), twin("x"), rights()).await), ProblemKind::TwinUnknown);
    // All or nothing: the lamp was not selected with what does not exist.
    assert_eq!(kind(world.request_permission(ada(), twin("lamp"), rights()).await), ProblemKind::NotSelected);
    assert_eq!(place(world.request_permission(ada(), vec![], rights()).await).1, "/twins");
    assert_eq!(place(world.request_permission(ada(), twin("lamp"), BTreeSet::new()).await).1, "/rights");
    assert_eq!(kind(world.permission(ada(), name("x")).await), ProblemKind::PermissionMissing);
    assert_eq!(kind(world.list_twins(Some(name("x")), None, None).await), ProblemKind::SystemUnknown);
    assert_eq!(kind(world.change_twin(ada(), name("x"), values(&[("on", "1")])).await), ProblemKind::TwinUnknown);
    let sent = world.send_twin_message(ada(), name("x"), name("lamp"), json("1")).await;
    assert_eq!(kind(sent), ProblemKind::TwinUnknown);

    let asked = world.request_user_authorization(name("x"), ada(), scope()).await;
    assert_eq!(kind(asked), ProblemKind::SystemUnknown);
    let used = world.use_third_party_system(name("x"), ada(), "order", json("{}")).await;
    assert_eq!(kind(used), ProblemKind::SystemUnknown);
    let used = world.use_third_party_system(name("shop"), ada(), "explode", json("{}")).await;
    assert_eq!(place(used), at(ProblemKind::InvalidDocument, "/operation"));
    assert_eq!(kind(world.user_authorization(name("x")).await), ProblemKind::RequestUnknown);

    let home_system = enabler.dii(name("home"));
    let reported = home_system.report(name("lamp"), values(&[("a/b", "1")]), None).await;
    assert_eq!(place(reported), at(ProblemKind::PropertyUnknown, "/values/a~1b"));
    let reported = home_system.report(name("lamp"), PropertyValues::new(), None).await;
    assert_eq!(place(reported), at(ProblemKind::InvalidDocument, "/values"));
    let answer = || OutsideAnswer::Failed("it fell over".to_owned());
    let unknown = PendingKey::from_bits(7);
    assert_eq!(kind(home_system.answer(unknown, answer()).await), ProblemKind::RequestUnknown);
    let shop_system = enabler.sii(name("shop"));
    assert_eq!(kind(shop_system.answer(unknown, answer()).await), ProblemKind::RequestUnknown);
    assert_eq!(kind(shop_system.acquire(twin("x"), None).await), ProblemKind::TwinUnknown);
    assert_eq!(place(shop_system.acquire(vec![], None).await), at(ProblemKind::InvalidDocument, "/twins"));
    let denied = AuthorizationDecision::Denied("no".to_owned());
    let decided = shop_system.decide_user_authorization(name("x"), denied).await;
    assert_eq!(kind(decided), ProblemKind::RequestUnknown);
    assert_works(house).await;
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused() {
    let house = registered(EnablerOptions::default()).await;
    let world = house.enabler.mii(name("world"));
    let object = SystemQuery { physical_object: Some("urn:lamp:1".to_owned()), ..SystemQuery::default() };
    assert_eq!(kind(world.search_third_party_systems(object).await), ProblemKind::InvalidQuery);
    let operation = SystemQuery { operation: Some("order".to_owned()), ..SystemQuery::default() };
    assert_eq!(kind(world.search_twin_systems(operation).await), ProblemKind::InvalidQuery);
    let cursor = Some("no name has a space".to_owned());
    assert_eq!(kind(world.list_twins(None, cursor, None).await), ProblemKind::InvalidQuery);
    assert_works(house).await;
}

#[tokio::test]
async fn what_is_not_permitted_is_rejected() {
    let house = registered(EnablerOptions::default()).await;
    let world = house.enabler.mii(name("world"));
    let answering = Answering::twin_system(house.enabler.dii(name("home")), willing).await;
    permitted(&world, &["lamp"]).await;
    let change = |user: &str, twin: &str, wanted: PropertyValues| {
        let (world, user, twin) = (world.clone(), name(user), name(twin));
        async move { world.change_twin(user, twin, wanted).await }
    };
    let on = || values(&[("on", "true")]);
    assert_eq!(kind(change("bob", "lamp", on()).await), ProblemKind::PermissionMissing);
    assert_eq!(kind(change("ada", "spot", on()).await), ProblemKind::PermissionMissing);
    let elsewhere = house.enabler.mii(name("elsewhere"));
    assert_eq!(kind(elsewhere.change_twin(ada(), name("lamp"), on()).await), ProblemKind::PermissionMissing);
    let power = change("ada", "lamp", values(&[("power", "1")])).await;
    assert_eq!(place(power), at(ProblemKind::BehaviourNotPermitted, "/power"));
    let colour = change("ada", "lamp", values(&[("colour", "1")])).await;
    assert_eq!(place(colour), at(ProblemKind::PropertyUnknown, "/colour"));
    assert_eq!(place(change("ada", "lamp", values(&[])).await), at(ProblemKind::InvalidDocument, ""));
    assert_eq!(world.twin(&name("lamp")).expect("it is registered").version, 0, "nothing was changed");
    let used = world.use_third_party_system(name("shop"), ada(), "order", json("{}")).await;
    assert_eq!(kind(used), ProblemKind::PermissionMissing);
    let mill = house.enabler.sii(name("mill"));
    assert_eq!(kind(mill.acquire(names(&["lamp"]), None).await), ProblemKind::PermissionMissing);
    drop(answering);
    assert_works(house).await;
}

#[tokio::test]
async fn an_expired_permission_permits_nothing_and_can_be_asked_for_again() {
    let house = registered(EnablerOptions::default()).await;
    let world = house.enabler.mii(name("world"));
    let past = Timestamp::from_unix_ms(1_000);
    let answering =
        Answering::twin_system(house.enabler.dii(name("home")), move |asked| granting_until(asked, Some(past))).await;
    permitted(&world, &["lamp"]).await;
    let changed = world.change_twin(ada(), name("lamp"), values(&[("on", "true")])).await;
    assert_eq!(kind(changed), ProblemKind::PermissionExpired);
    assert_eq!(kind(world.permission(ada(), name("lamp")).await), ProblemKind::PermissionExpired);
    drop(answering);

    let shop_system = house.enabler.sii(name("shop"));
    let ended = move |asked: &OutsideRequest| {
        let mut answer = willing(asked);
        if let OutsideAnswer::AuthorizeUser(UserAndPermissionInformation::Decision(AuthorizationDecision::Granted(
            grant,
        ))) = &mut answer
        {
            grant.expires_at = Some(past);
        }
        answer
    };
    let answering = Answering::third_party(shop_system, ended).await;
    world.request_user_authorization(name("shop"), ada(), scope()).await.expect("it is granted");
    let used = world.use_third_party_system(name("shop"), ada(), "order", json("{}")).await;
    assert_eq!(kind(used), ProblemKind::PermissionExpired);
    drop(answering);
    assert_works(house).await;
}

#[tokio::test]
async fn a_denied_permission_is_told_as_denied() {
    let house = registered(EnablerOptions::default()).await;
    let world = house.enabler.mii(name("world"));
    let deny = |asked: &OutsideRequest| {
        let mut answer = willing(asked);
        if let OutsideAnswer::DescribeTwins(said) = &mut answer {
            said.twins.iter_mut().for_each(|twin| twin.rights.clear());
        }
        answer
    };
    let answering = Answering::twin_system(house.enabler.dii(name("home")), deny).await;
    world.select_twins(names(&["lamp"]), vec![]).await.expect("it is registered");
    let asked = world.request_permission(ada(), names(&["lamp"]), rights()).await;
    assert_eq!(kind(asked), ProblemKind::PermissionDenied);
    drop(answering);
    let denied = |_: &OutsideRequest| {
        let decision = AuthorizationDecision::Denied("you owe us money".to_owned());
        OutsideAnswer::AuthorizeUser(UserAndPermissionInformation::Decision(decision))
    };
    let answering = Answering::third_party(house.enabler.sii(name("shop")), denied).await;
    let problem = world.request_user_authorization(name("shop"), ada(), scope()).await.expect_err("it is denied");
    assert_eq!(problem.kind, ProblemKind::PermissionDenied);
    assert!(problem.detail.contains("you owe us money"), "{problem}");
    drop(answering);
    assert_works(house).await;
}

#[tokio::test]
async fn systems_that_are_nowhere_are_unreachable() {
    let house = registered(EnablerOptions::default()).await;
    let world = house.enabler.mii(name("world"));
    world.select_twins(names(&["lamp"]), vec![]).await.expect("it is registered");
    let asked = world.request_permission(ada(), names(&["lamp"]), rights()).await;
    assert_eq!(kind(asked), ProblemKind::OutsideUnreachable);
    let asked = world.request_user_authorization(name("shop"), ada(), scope()).await;
    assert_eq!(kind(asked), ProblemKind::OutsideUnreachable);
    assert_works(house).await;
}

/// Asks that Ada may use the shop, and hands out the question that comes out of the shop's session.
async fn asked_shop(
    enabler: &Enabler,
    session: &mut Session,
) -> (tokio::task::JoinHandle<Result<(), Problem>>, PendingKey, OutsideRequest) {
    let world = enabler.mii(name("world"));
    let asking =
        tokio::spawn(async move { world.request_user_authorization(name("shop"), ada(), scope()).await.map(|_| ()) });
    let (request, body) = next_request(session).await;
    (asking, request, body)
}

async fn shop_session(house: &House) -> (Sii, Session) {
    let shop_system = house.enabler.sii(name("shop"));
    let session = shop_system.session().await.expect("there is room");
    (shop_system, session)
}

#[tokio::test]
async fn a_system_that_never_answers_is_given_up() {
    let house = registered(EnablerOptions::default()).await;
    let home_system = house.enabler.dii(name("home"));
    let answering = Answering::twin_system(home_system, willing).await;
    permitted(&house.enabler.mii(name("world")), &["lamp"]).await;
    drop(answering);
    let house = house.restarted_with(impatient()).await;

    let (shop_system, mut session) = shop_session(&house).await;
    let (asking, request, body) = asked_shop(&house.enabler, &mut session).await;
    assert_eq!(kind(asking.await.expect("it ends")), ProblemKind::OutsideTimeout);
    // What comes too late answers nothing.
    assert_eq!(kind(shop_system.answer(request, willing(&body)).await), ProblemKind::RequestUnknown);

    let (home_system, world) = (house.enabler.dii(name("home")), house.enabler.mii(name("world")));
    let _silent = home_system.session().await.expect("there is room");
    let change = || world.change_twin(ada(), name("lamp"), values(&[("on", "true")]));
    assert_eq!(kind(change().await), ProblemKind::OutsideTimeout);
    let asked = world.request_permission(ada(), names(&["lamp"]), rights()).await;
    assert_eq!(kind(asked), ProblemKind::OutsideTimeout);
    assert_eq!(world.twin(&name("lamp")).expect("it is registered").version, 0, "nothing was changed");
    // The permission from before is untouched.
    world.permission(ada(), name("lamp")).await.expect("it was granted");
    let _willing = Answering::twin_system(home_system, willing).await;
    // On a busy machine a willing system may be too slow for so short a limit: then once more.
    while let Err(problem) = change().await {
        assert_eq!(problem.kind, ProblemKind::OutsideTimeout);
    }
    assert_eq!(world.twin(&name("lamp")).expect("it is registered").properties["on"].value, json("true"));
}

#[tokio::test]
async fn what_was_given_up_is_not_asked_later() {
    let house = registered(impatient()).await;
    let (shop_system, silent) = shop_session(&house).await;
    let world = house.enabler.mii(name("world"));
    let ask = |user: &str| world.request_user_authorization(name("shop"), name(user), scope());
    // While the second is waited for, the first has been given up for as long.
    assert_eq!(kind(ask("first").await), ProblemKind::OutsideTimeout);
    assert_eq!(kind(ask("second").await), ProblemKind::OutsideTimeout);
    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    let heard = Arc::clone(&asked);
    let hearing = move |request: &OutsideRequest| {
        let OutsideRequest::AuthorizeUser(question) = request else { panic!("nothing else is asked") };
        heard.lock().insert(question.user.to_string());
        willing(request)
    };
    let _willing = Answering::third_party(shop_system, hearing).await;
    assert!(silent.replaced());
    // On a busy machine a willing system may be too slow for so short a limit: then once more.
    while let Err(problem) = ask("third").await {
        assert_eq!(problem.kind, ProblemKind::OutsideTimeout);
    }
    let asked = asked.lock();
    assert!(asked.contains("third") && !asked.contains("first"), "{asked:?}");
}

#[tokio::test]
async fn a_second_answer_is_refused_and_the_first_one_counts() {
    let house = registered(EnablerOptions::default()).await;
    let (shop_system, mut session) = shop_session(&house).await;
    let (asking, request, body) = asked_shop(&house.enabler, &mut session).await;
    shop_system.answer(request, willing(&body)).await.expect("it waits for the answer");
    let denied = AuthorizationDecision::Denied("no".to_owned());
    let other = OutsideAnswer::AuthorizeUser(UserAndPermissionInformation::Decision(denied));
    for again in [willing(&body), other] {
        assert_eq!(kind(shop_system.answer(request, again).await), ProblemKind::RequestUnknown);
    }
    asking.await.expect("it ends").expect("the first answer granted it");
    drop(session);
    assert_works(house).await;
}

#[tokio::test]
async fn an_answer_of_the_wrong_kind_leaves_the_request_waiting() {
    let house = registered(EnablerOptions::default()).await;
    let (shop_system, mut session) = shop_session(&house).await;
    let (asking, request, body) = asked_shop(&house.enabler, &mut session).await;
    let wrong = [
        OutsideAnswer::ExecuteService(ServiceExecuted { output: json("1") }),
        OutsideAnswer::ApplyChange(ChangeApplied { values: Box::default(), seen: None }),
    ];
    for wrong in wrong {
        assert_eq!(kind(shop_system.answer(request, wrong).await), ProblemKind::AnswerMismatch);
    }
    shop_system.answer(request, willing(&body)).await.expect("it waits still");
    asking.await.expect("it ends").expect("it is granted");
    drop(session);
    assert_works(house).await;
}

#[tokio::test]
async fn an_answer_for_anothers_request_does_not_reach_it() {
    let house = registered(EnablerOptions::default()).await;
    let (shop_system, mut session) = shop_session(&house).await;
    let (asking, request, body) = asked_shop(&house.enabler, &mut session).await;
    // Another third party, and a twin system, that have got to know the request's id.
    let mill = house.enabler.sii(name("mill"));
    let granted_by_mill = mill.answer(request, willing(&body)).await;
    assert_eq!(kind(granted_by_mill), ProblemKind::RequestUnknown);
    let home_system = house.enabler.dii(name("home"));
    assert_eq!(kind(home_system.answer(request, willing(&body)).await), ProblemKind::RequestUnknown);
    // Of two requests of its own it answers each by its own id.
    let (asking_too, request_too, body_too) = asked_shop(&house.enabler, &mut session).await;
    assert_ne!(request, request_too);
    shop_system.answer(request_too, OutsideAnswer::Failed("no".to_owned())).await.expect("it waits");
    assert_eq!(kind(asking_too.await.expect("it ends")), ProblemKind::OutsideFailed);
    assert_eq!(kind(shop_system.answer(request_too, willing(&body_too)).await), ProblemKind::RequestUnknown);
    shop_system.answer(request, willing(&body)).await.expect("it waits still");
    asking.await.expect("it ends").expect("it is granted");
    drop(session);
    assert_works(house).await;
}

#[tokio::test]
async fn a_system_that_answers_nonsense_has_failed() {
    let house = registered(EnablerOptions::default()).await;
    let world = house.enabler.mii(name("world"));
    // More than what was asked for.
    let generous = |_: &OutsideRequest| {
        let decision = granted(&BTreeSet::from(["*".to_owned()]));
        OutsideAnswer::AuthorizeUser(UserAndPermissionInformation::Decision(decision))
    };
    let answering = Answering::third_party(house.enabler.sii(name("shop")), generous).await;
    let asked = world.request_user_authorization(name("shop"), ada(), scope()).await;
    assert_eq!(kind(asked), ProblemKind::OutsideFailed);
    drop(answering);
    // Nothing, and properties that the twin does not have.
    let home_system = house.enabler.dii(name("home"));
    world.select_twins(names(&["lamp"]), vec![]).await.expect("it is registered");
    for forgetful in [true, false] {
        let nonsense = move |asked: &OutsideRequest| {
            let mut answer = willing(asked);
            if let OutsideAnswer::DescribeTwins(said) = &mut answer {
                said.twins.iter_mut().for_each(|twin| twin.properties = values(&[("colour", "1")]));
                said.twins.retain(|_| !forgetful);
            }
            answer
        };
        let answering = Answering::twin_system(home_system.clone(), nonsense).await;
        let asked = world.request_permission(ada(), names(&["lamp"]), rights()).await;
        assert_eq!(kind(asked), ProblemKind::OutsideFailed);
        drop(answering);
    }
    assert_eq!(world.twin(&name("lamp")).expect("it is registered").version, 0, "nothing was changed");
    assert_works(house).await;
}

#[tokio::test]
async fn a_system_that_hangs_up_is_unreachable_for_what_it_was_asked() {
    let house = registered(EnablerOptions::default()).await;
    let (shop_system, mut session) = shop_session(&house).await;
    let (asking, request, body) = asked_shop(&house.enabler, &mut session).await;
    drop(session);
    assert_eq!(kind(asking.await.expect("it ends")), ProblemKind::OutsideUnreachable);
    assert_eq!(kind(shop_system.answer(request, willing(&body)).await), ProblemKind::RequestUnknown);

    let home_system = house.enabler.dii(name("home"));
    let world = house.enabler.mii(name("world"));
    let answering = Answering::twin_system(home_system.clone(), willing).await;
    permitted(&world, &["lamp"]).await;
    drop(answering);
    let mut session = home_system.session().await.expect("there is room");
    let changing = {
        let world = world.clone();
        tokio::spawn(async move { world.change_twin(ada(), name("lamp"), values(&[("on", "true")])).await })
    };
    let _change = next_request(&mut session).await;
    drop(session);
    assert_eq!(kind(changing.await.expect("it ends")), ProblemKind::OutsideUnclear);
    assert_eq!(world.twin(&name("lamp")).expect("it is registered").version, 0, "nothing was changed");
    assert_works(house).await;
}
