//! Subscriptions to information of twins (FGMV-29 8.2.5).

use std::{collections::BTreeMap, sync::Arc};

use twinway_protocol::{
    Effect, PendingKey, Problem, ProblemKind, Ref,
    message::{
        AcquisitionResponse, DTAC, DTDA, DeliverTwinInformation, DeliveryReason, DtdaMsg, EndTwinSubscription,
        EndTwinSubscriptions, ListTwinSubscriptions, ReadTwinSubscription, RenewTwinSubscription,
        SubscribeTwinInformation, SubscriptionTerms, ThirdPartySystemMsg, TsiMsg, TwinAccessChanged,
        TwinInformationChanged, TwinRefusal, TwinSubscription, TwinSubscriptionShown, TwinSubscriptionsListed, Wire,
    },
    twin::{PropertyValue, TwinClass, TwinView},
};

use super::{Dtda, TSI};
use crate::{
    Settings,
    dtif::sample::{from_snapshots, heard, json, restarted, sent_to, system_id, twin_actor, twin_id},
    sif::testing::{THIRD_PARTY, key},
    trial::Trial,
};

type Effects = Vec<Effect<Wire>>;

fn dtda() -> Trial<Dtda> {
    Trial::new(DTDA.id(), &Settings::default())
}

fn terms(twins: &[&str]) -> SubscriptionTerms {
    SubscriptionTerms { twins: twins.iter().map(|twin| twin_id(twin)).collect(), ..SubscriptionTerms::default() }
}

fn subscribe(trial: &mut Trial<Dtda>, terms: SubscriptionTerms) -> Effects {
    let (system, entity) = (system_id("shop"), Ref::new(THIRD_PARTY));
    trial.deliver(THIRD_PARTY, key(3), SubscribeTwinInformation { system, entity, terms: Box::new(terms) })
}

/// The twins that TSI is asked for, and the key of the question.
fn asked(effects: Effects) -> Option<(PendingKey, Vec<String>)> {
    let mut asked = sent_to::<TsiMsg>(effects);
    let (meta, TsiMsg::ForwardAcquisition(question)) = asked.pop()? else { panic!("{asked:?}") };
    assert_eq!(meta.step, None, "nobody asked now: it is no step");
    Some((meta.pending, question.twins.iter().map(ToString::to_string).collect()))
}

fn view(id: &str, version: u64) -> Arc<TwinView> {
    let at = twinway_protocol::time::Timestamp::default();
    Arc::new(TwinView {
        id: twin_id(id),
        system: system_id("home"),
        physical_object: None,
        class: TwinClass::Object,
        version,
        properties: BTreeMap::from([("on".to_owned(), PropertyValue { value: json("true"), version, at })]),
        desired: None,
        invocations: None,
        description: json("{}"),
    })
}

fn refusal(twin: &str, kind: ProblemKind) -> TwinRefusal {
    TwinRefusal { twin: twin_id(twin), problem: Problem::new(kind, "no") }
}

fn answer(trial: &mut Trial<Dtda>, key: PendingKey, twins: &[(&str, u64)], refused: Vec<TwinRefusal>) -> Effects {
    let twins = twins.iter().map(|(id, version)| view(id, *version)).collect();
    trial.deliver(TSI, key, DtdaMsg::AcquisitionResponse(Ok(AcquisitionResponse { twins, refused })))
}

/// What a delivery says: why, which versions, and what is refused.
type Told = (DeliveryReason, Vec<(String, u64)>, Vec<(String, ProblemKind)>);

/// What the third-party system is told.
fn told(effects: Effects) -> Vec<Told> {
    let told = sent_to::<ThirdPartySystemMsg>(effects).into_iter().filter_map(|(_, message)| match message {
        ThirdPartySystemMsg::DeliverTwinInformation(told) => Some(told),
        _ => None,
    });
    let line = |told: DeliverTwinInformation| {
        let twins = told.twins.iter().map(|view| (view.id.to_string(), view.version)).collect();
        let refused = told.refused.iter().map(|refusal| (refusal.twin.to_string(), refusal.problem.kind)).collect();
        (told.reason, twins, refused)
    };
    told.map(line).collect()
}

/// The timers that a turn set.
fn timers(effects: &Effects) -> Vec<(u64, PendingKey)> {
    let timer = |effect: &Effect<Wire>| match effect {
        Effect::Timer { after_ms, key } => Some((*after_ms, *key)),
        _ => None,
    };
    effects.iter().filter_map(timer).collect()
}

/// Lets the time of the last timer of `effects` pass, and delivers it.
fn later(trial: &mut Trial<Dtda>, effects: &Effects) -> Effects {
    let (after_ms, key) = timers(effects).pop().expect("a timer is set");
    trial.now.monotonic_ms += after_ms;
    trial.now.wall = trial.now.wall.plus_ms(after_ms);
    trial.timeout(key)
}

/// A subscription to `a` and `b` at version 1, with nothing left to be read.
fn subscribed(trial: &mut Trial<Dtda>) -> TwinSubscription {
    let (key, _) = asked(subscribe(trial, terms(&["a", "b"]))).expect("TSI is asked");
    let effects = answer(trial, key, &[("a", 1), ("b", 1)], Vec::new());
    let effects = later(trial, &effects);
    let (key, twins) = asked(effects).expect("what changed meanwhile is not missed");
    assert_eq!(twins, ["a", "b"]);
    assert_eq!(told(answer(trial, key, &[("a", 1), ("b", 1)], Vec::new())), []);
    listed(trial).pop().expect("it is kept")
}

fn listed(trial: &mut Trial<Dtda>) -> Vec<TwinSubscription> {
    let question = ListTwinSubscriptions { system: system_id("shop"), cursor: None, limit: None };
    let listed = heard::<TwinSubscriptionsListed>(trial.deliver(THIRD_PARTY, key(4), question));
    listed.expect("it is answered").expect("it is a list").page.items
}

fn changed(trial: &mut Trial<Dtda>, twin: &str) -> Effects {
    trial.deliver(twin_actor(0).id(), PendingKey::NONE, TwinInformationChanged { twin: twin_id(twin) })
}

fn access(trial: &mut Trial<Dtda>, changed: &[&str], gone: &[&str]) -> Effects {
    let ids = |of: &[&str]| of.iter().map(|twin| twin_id(twin)).collect();
    trial.deliver(DTAC.id(), PendingKey::NONE, TwinAccessChanged { changed: ids(changed), gone: ids(gone) })
}

#[test]
fn a_subscription_begins_with_what_the_twins_are_and_names_those_that_may_not_be_read() {
    let mut trial = dtda();
    let (key, _) = asked(subscribe(&mut trial, terms(&["a", "c"]))).expect("TSI is asked");
    assert_eq!(trial.records.len(), 0);
    let effects = answer(&mut trial, key, &[("a", 7)], vec![refusal("c", ProblemKind::PermissionMissing)]);
    assert_eq!(trial.records.len(), 1, "it is durable before it is answered");
    let messages = sent_to::<ThirdPartySystemMsg>(effects);
    let [(_, ThirdPartySystemMsg::TwinSubscriptionShown(Ok(shown))), (_, _)] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_eq!(shown.refused.len(), 1);
    assert_eq!(shown.subscription.twins, [twin_id("a")].into());

    let strict = SubscriptionTerms { strict: true, ..terms(&["a", "c"]) };
    let (key, _) = asked(subscribe(&mut trial, strict)).expect("TSI is asked");
    let effects = answer(&mut trial, key, &[("a", 7)], vec![refusal("c", ProblemKind::PermissionMissing)]);
    let refused = heard::<TwinSubscriptionShown>(effects).expect("it is answered").expect_err("it is strict");
    assert_eq!(refused.kind, ProblemKind::PermissionMissing);
    assert_eq!(listed(&mut trial).len(), 1);
}

#[test]
fn a_flood_of_changes_is_one_delivery_an_interval_of_what_changed() {
    let mut trial = dtda();
    subscribed(&mut trial);
    let first = changed(&mut trial, "a");
    assert_eq!(timers(&first).len(), 1);
    assert_eq!(timers(&changed(&mut trial, "a")), [], "the timer is set already");
    let (key, twins) = asked(later(&mut trial, &first)).expect("it is time");
    assert_eq!(twins, ["a"]);
    let effects = answer(&mut trial, key, &[("a", 9)], Vec::new());
    assert_eq!(timers(&effects), [], "nobody asks again before something changes");
    assert_eq!(told(effects), [(DeliveryReason::Changed, vec![("a".to_owned(), 9)], vec![])]);
    assert!(changed(&mut trial, "x").is_empty());
}

#[test]
fn what_changes_while_it_is_read_is_read_again() {
    let mut trial = dtda();
    subscribed(&mut trial);
    let first = changed(&mut trial, "a");
    let (key, _) = asked(later(&mut trial, &first)).expect("it is time");
    assert!(changed(&mut trial, "a").is_empty());
    let effects = answer(&mut trial, key, &[("a", 2)], Vec::new());
    let again = later(&mut trial, &effects);
    assert_eq!(asked(again).expect("it is read again").1, ["a"]);
}

#[test]
fn with_the_permission_a_subscription_loses_the_twin_and_is_told_and_with_the_last_twin_it_ends() {
    let mut trial = dtda();
    let id = subscribed(&mut trial).id;
    let (key, twins) = asked(access(&mut trial, &["a"], &[])).expect("it is verified at once");
    assert_eq!(twins, ["a"]);
    let effects = answer(&mut trial, key, &[], vec![refusal("a", ProblemKind::PermissionMissing)]);
    let lost = vec![("a".to_owned(), ProblemKind::PermissionMissing)];
    assert_eq!(told(effects), [(DeliveryReason::Changed, vec![], lost)]);
    assert_eq!(listed(&mut trial)[0].twins, [twin_id("b")].into());
    assert!(changed(&mut trial, "a").is_empty());

    let effects = access(&mut trial, &[], &["b"]);
    let lost = vec![("b".to_owned(), ProblemKind::TwinUnknown)];
    assert_eq!(told(effects), [(DeliveryReason::NoTwins, vec![], lost)]);
    let question = ReadTwinSubscription { system: system_id("shop"), subscription: id };
    let gone = heard::<TwinSubscriptionShown>(trial.deliver(THIRD_PARTY, super::key(5), question));
    assert_eq!(gone.expect("it is answered").expect_err("it ended").kind, ProblemKind::SubscriptionUnknown);
}

#[test]
fn a_twin_that_cannot_be_read_for_a_while_stays_and_is_told_once() {
    let mut trial = dtda();
    subscribed(&mut trial);
    let mut effects = changed(&mut trial, "a");
    let mut refusals = Vec::new();
    for _ in 0..5 {
        let (key, twins) = asked(later(&mut trial, &effects)).expect("it is tried again");
        assert_eq!(twins, ["a"]);
        effects =
            trial.deliver(TSI, key, DtdaMsg::AcquisitionResponse(Err(Problem::new(ProblemKind::Internal, "it fell"))));
        let timers = timers(&effects);
        refusals.extend(told(std::mem::take(&mut effects)));
        effects = timers.into_iter().map(|(after_ms, key)| Effect::Timer { after_ms, key }).collect();
    }
    assert_eq!(refusals, [(DeliveryReason::Changed, vec![], vec![("a".to_owned(), ProblemKind::Internal)])]);
    let (key, _) = asked(later(&mut trial, &effects)).expect("it is tried again");
    let effects = answer(&mut trial, key, &[("a", 3)], Vec::new());
    assert_eq!(timers(&effects), []);
    assert_eq!(told(effects), [(DeliveryReason::Changed, vec![("a".to_owned(), 3)], vec![])]);
}

#[test]
fn a_subscription_by_period_is_told_everything_each_time() {
    let mut trial = dtda();
    let by_period = SubscriptionTerms { period_ms: Some(500), ..terms(&["a"]) };
    let (key, _) = asked(subscribe(&mut trial, by_period)).expect("TSI is asked");
    let mut effects = answer(&mut trial, key, &[("a", 1)], Vec::new());
    for _ in 0..3 {
        assert!(changed(&mut trial, "a").is_empty(), "changes are not what it waits for");
        let (key, _) = asked(later(&mut trial, &effects)).expect("the period is over");
        let answered = answer(&mut trial, key, &[("a", 1)], Vec::new());
        assert_eq!(timers(&answered).iter().map(|(after_ms, _)| *after_ms).collect::<Vec<_>>(), [500]);
        effects = timers(&answered).into_iter().map(|(after_ms, key)| Effect::Timer { after_ms, key }).collect();
        assert_eq!(told(answered), [(DeliveryReason::Period, vec![("a".to_owned(), 1)], vec![])]);
    }
}

#[test]
fn a_restart_forgets_no_subscription_and_tells_everything_again() {
    let mut trial = dtda();
    let before = subscribed(&mut trial);
    access(&mut trial, &[], &["b"]);
    for mut again in [restarted(&trial, DTDA.id()), from_snapshots(&trial, DTDA.id(), &[0, 1])] {
        again.now = trial.now;
        let kept = listed(&mut again).pop().expect("it is kept");
        assert_eq!(
            (kept.id, kept.expires_at, kept.twins),
            (before.id.clone(), before.expires_at, [twin_id("a")].into())
        );
        let effects = again.recovered();
        let (key, _) = asked(later(&mut again, &effects)).expect("it is read when the others are there too");
        let effects = answer(&mut again, key, &[("a", 1)], Vec::new());
        assert_eq!(told(effects), [(DeliveryReason::Resumed, vec![("a".to_owned(), 1)], vec![])]);
    }
}

#[test]
fn a_subscription_ends_when_it_expires_when_it_is_ended_and_with_the_registration() {
    let mut trial = dtda();
    let (asked_key, _) = asked(subscribe(&mut trial, SubscriptionTerms { lifetime_ms: Some(5_000), ..terms(&["a"]) }))
        .expect("TSI is asked");
    let effects = answer(&mut trial, asked_key, &[("a", 1)], Vec::new());
    let (after_ms, expiry) = timers(&effects)[0];
    assert_eq!(after_ms, 5_000);
    assert_eq!(timers(&trial.timeout(expiry)), [(5_000, expiry)], "the wall clock decides");
    trial.now.wall = trial.now.wall.plus_ms(5_000);
    assert_eq!(told(trial.timeout(expiry)), [(DeliveryReason::Expired, vec![], vec![])]);

    let end = |subscription: &TwinSubscription, system: &str| EndTwinSubscription {
        system: system_id(system),
        subscription: subscription.id.clone(),
    };
    let mine = subscribed(&mut trial);
    let foreign = heard::<TwinSubscriptionShown>(trial.deliver(THIRD_PARTY, key(5), end(&mine, "mill")));
    assert_eq!(foreign.expect("it is answered").expect_err("not its own").kind, ProblemKind::SubscriptionUnknown);
    let ended = heard::<TwinSubscriptionShown>(trial.deliver(THIRD_PARTY, key(5), end(&mine, "shop")));
    assert!(ended.expect("it is answered").is_ok());
    assert!(changed(&mut trial, "a").is_empty());
    subscribed(&mut trial);
    trial.deliver(THIRD_PARTY, PendingKey::NONE, EndTwinSubscriptions { system: system_id("shop") });
    assert_eq!(listed(&mut trial), []);
    assert_eq!(listed(&mut restarted(&trial, DTDA.id())), []);
}

#[test]
fn a_renewed_subscription_lasts_longer_also_after_a_restart_and_never_shorter() {
    let mut trial = dtda();
    let mine = subscribed(&mut trial);
    let renew = |trial: &mut Trial<Dtda>, system: &str, lifetime_ms| {
        let (system, subscription) = (system_id(system), mine.id.clone());
        let question = RenewTwinSubscription { system, subscription, lifetime_ms };
        let answer = heard::<TwinSubscriptionShown>(trial.deliver(THIRD_PARTY, key(5), question));
        answer.expect("it is answered").map(|shown| shown.subscription.expires_at)
    };
    assert_eq!(renew(&mut trial, "shop", Some(1_000)), Ok(mine.expires_at), "it ends no earlier than was said");
    let now = trial.now.wall;
    assert_eq!(renew(&mut trial, "shop", Some(200_000_000)), Ok(now.plus_ms(200_000_000)));
    let kind = |refused: Result<_, Problem>| refused.expect_err("it is refused").kind;
    assert_eq!(kind(renew(&mut trial, "mill", None)), ProblemKind::SubscriptionUnknown);
    assert_eq!(kind(renew(&mut trial, "shop", Some(1))), ProblemKind::InvalidDocument);

    let mut again = restarted(&trial, DTDA.id());
    assert_eq!(listed(&mut again)[0].expires_at, now.plus_ms(200_000_000));
    let mut again = from_snapshots(&trial, DTDA.id(), &[0]);
    assert_eq!(listed(&mut again)[0].expires_at, now.plus_ms(200_000_000));
    // The timer of the end that was said at first finds time left, and tells nobody an end.
    trial.now.wall = mine.expires_at;
    let effects = trial.timeout(PendingKey::from_bits(1));
    assert_eq!((told(effects), listed(&mut trial).len()), (vec![], 1));
}

#[test]
fn terms_that_make_no_sense_or_ask_too_much_are_refused_at_their_place() {
    let settings = Settings { twin_subscriptions_max: 1, ..Settings::default() };
    let mut trial = Trial::<Dtda>::new(DTDA.id(), &settings);
    let mut refused = |terms: SubscriptionTerms| {
        let answer = heard::<TwinSubscriptionShown>(subscribe(&mut trial, terms)).expect("it is answered");
        answer.expect_err("it is refused").pointer.unwrap_or_default()
    };
    assert_eq!(refused(terms(&[])), "/twins");
    assert_eq!(refused(SubscriptionTerms { properties: Some([].into()), ..terms(&["a"]) }), "/properties");
    assert_eq!(refused(SubscriptionTerms { period_ms: Some(1), ..terms(&["a"]) }), "/periodMs");
    assert_eq!(refused(SubscriptionTerms { lifetime_ms: Some(u64::MAX), ..terms(&["a"]) }), "/lifetimeMs");
    let both = SubscriptionTerms { period_ms: Some(500), min_interval_ms: Some(500), ..terms(&["a"]) };
    assert_eq!(refused(both), "/minIntervalMs");
    // Two are asked at once, and there is room for one.
    let questions: Vec<_> = (0..2).filter_map(|_| asked(subscribe(&mut trial, terms(&["a"])))).collect();
    let answers = questions.into_iter().map(|(key, _)| {
        let messages = sent_to::<ThirdPartySystemMsg>(answer(&mut trial, key, &[("a", 1)], Vec::new()));
        matches!(messages[0].1, ThirdPartySystemMsg::TwinSubscriptionShown(Ok(_)))
    });
    assert_eq!(answers.collect::<Vec<_>>(), [true, false]);
}
