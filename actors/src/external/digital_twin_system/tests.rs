//! A digital twin system's part in FGMV-29 9.2: steps 1, 10, 14 and 18.

use std::sync::Arc;

use twinway_protocol::{
    Effect, PendingKey, Problem, ProblemKind,
    lease::Token,
    message::{
        AnswerAccepted, AnswerRequest, ApplyChange, ChangeApplied, ChangeReflected, DTIA, DTS, DTSR, DeviceFenced,
        DtsMsg, DtsrMsg, FenceDevice, ForwardTwinPropertiesRequest, Kept, ObserveChange, OpenSystem, OutsideAnswer,
        OutsideRequest, PhysicalChange, PhysicalChangeReported, PhysicalObjectMsg, RegisterTwinSystem,
        ReportPhysicalChange, RequestUndelivered, SetSynchronization, TwinPropertiesAndPermission,
        TwinSystemRegistered, Wire,
    },
    registry::Reach,
    signal::Signal,
    time::Timestamp,
};

mod actions;

use super::DigitalTwinSystem;
use crate::{
    Settings,
    dtif::sample::{
        caller, description, from_snapshots, heard, object_actor, restarted, sent_to, system_actor, system_id, twin,
        twin_actor, twin_id, twin_ids, twin_system, user, values,
    },
    trial::{Trial, sent},
};

fn open(trial: &mut Trial<DigitalTwinSystem>, id: &str, reach: Option<Reach>) -> Vec<Effect<Wire>> {
    trial.deliver(caller(), PendingKey::NONE, OpenSystem { id: system_id(id), reach: reach.map(Box::new) })
}

fn opened() -> Trial<DigitalTwinSystem> {
    let mut trial = Trial::new(system_actor(1).id(), &Settings::default());
    assert!(heard::<Kept>(open(&mut trial, "home", None)).expect("it is answered").is_ok());
    trial
}

fn keep(trial: &mut Trial<DigitalTwinSystem>) -> Vec<Effect<Wire>> {
    let system = twin_system("home", 1, vec![twin("a", Some("urn:a")), twin("b", None)]);
    trial.deliver(DTSR.id(), PendingKey::NONE, system.keep())
}

fn trial() -> Trial<DigitalTwinSystem> {
    let mut trial = opened();
    keep(&mut trial);
    trial
}

fn reaches(effects: &[Effect<Wire>]) -> Vec<Reach> {
    let signals = effects.iter().filter_map(|effect| match effect {
        Effect::Signal(Signal::Opened { reach, .. }) => Some(reach.clone()),
        _ => None,
    });
    signals.collect()
}

fn register(trial: &mut Trial<DigitalTwinSystem>, id: &str) -> Vec<Effect<Wire>> {
    let message = RegisterTwinSystem { description: Box::new(description(id, Vec::new())) };
    trial.deliver(caller(), PendingKey::from_bits(3), message)
}

fn report(trial: &mut Trial<DigitalTwinSystem>, twin: &str, of: &[(&str, &str)], at: Option<u64>) -> Vec<Effect<Wire>> {
    let values = Arc::new(values(of));
    let report = ReportPhysicalChange { twin: twin_id(twin), values, at: at.map(Timestamp::from_unix_ms) };
    trial.deliver(caller(), PendingKey::from_bits(3), report)
}

fn apply() -> ApplyChange {
    ApplyChange {
        twin: twin_id("a"),
        metaverse: system_id("world"),
        user: user("ada"),
        values: Arc::new(values(&[("on", "true")])),
        token: None,
        not_after: None,
        stop: false,
        errand: None,
        system_entity: system_actor(1),
    }
}

fn request(effects: &[Effect<Wire>]) -> PendingKey {
    let requests = effects.iter().find_map(|effect| match effect {
        Effect::Signal(Signal::Request { request, .. }) => Some(*request),
        _ => None,
    });
    requests.expect("something is asked outside")
}

fn answer(trial: &mut Trial<DigitalTwinSystem>, request: PendingKey, answer: OutsideAnswer) -> Vec<Effect<Wire>> {
    trial.deliver(caller(), PendingKey::NONE, AnswerRequest { request, answer: Box::new(answer) })
}

#[test]
fn it_is_opened_once_and_says_so_every_time() {
    let mut trial = opened();
    assert_eq!(reaches(&open(&mut trial, "home", None)), [Reach::Session]);
    assert_eq!(trial.records.len(), 1);
    let hook = || Reach::Webhook("https://home.example/hook".to_owned());
    assert_eq!(reaches(&open(&mut trial, "home", Some(hook()))), [hook()]);
    // What was said last when opening stays, whatever is registered or left out.
    assert_eq!(reaches(&keep(&mut trial)), [hook()]);
    assert_eq!(reaches(&open(&mut trial, "home", None)), [hook()]);
    let refused = heard::<Kept>(open(&mut trial, "barn", None)).expect("it is answered").expect_err("it is refused");
    assert_eq!(refused.kind, ProblemKind::NotAllowed);
    for mut again in [restarted(&trial, system_actor(1).id()), from_snapshots(&trial, system_actor(1).id(), &[0])] {
        let effects = again.recovered();
        assert_eq!(reaches(&effects), [hook()]);
        assert!(matches!(&sent(effects)[..], [(_, Wire::Dtsr(DtsrMsg::Reannounce(_)))]));
    }
}

#[test]
fn steps_1_and_3_go_to_dtsr_and_back() {
    let mut trial = opened();
    let asked = sent_to::<DtsrMsg>(register(&mut trial, "home"));
    let [(meta, DtsrMsg::RegisterTwinSystem(_))] = &asked[..] else { panic!("{asked:?}") };
    let done = Ok(TwinSystemRegistered { system: twin_system("home", 1, Vec::new()).system, is_new: true });
    let answers = sent(trial.deliver(DTSR.id(), meta.pending, done));
    assert!(matches!(&answers[..], [(meta, Wire::Caller(_))] if meta.pending == PendingKey::from_bits(3)));
}

#[test]
fn a_system_registers_no_other() {
    for mut trial in [opened(), Trial::new(system_actor(1).id(), &Settings::default())] {
        let refused = heard::<TwinSystemRegistered>(register(&mut trial, "barn")).expect("it is answered");
        assert_eq!(refused.expect_err("it is refused").kind, ProblemKind::NotAllowed);
    }
}

#[test]
fn a_change_of_an_object_goes_by_its_actor_and_is_answered_when_it_is_shown() {
    let mut trial = trial();
    let observed = sent_to::<PhysicalObjectMsg>(report(&mut trial, "a", &[("on", "true")], Some(700)));
    let [(meta, PhysicalObjectMsg::ObserveChange(ObserveChange { at, reporter, .. }))] = &observed[..] else {
        panic!("{observed:?}")
    };
    assert_eq!((meta.to, *at), (object_actor(10).id(), Timestamp::from_unix_ms(700)));
    let reflected = ChangeReflected { report: reporter.report, version: 5 };
    let answer = heard::<PhysicalChangeReported>(trial.deliver(twin_actor(10).id(), PendingKey::NONE, reflected));
    assert_eq!(answer.expect("it is answered").expect("it is shown").version, 5);
    assert!(trial.deliver(twin_actor(10).id(), PendingKey::NONE, reflected).is_empty(), "once");
    assert!(trial.timeout(reporter.report).is_empty(), "the timer of an answered report means nothing");
}

#[test]
fn a_twin_without_an_object_reports_straight_to_dts() {
    let mut trial = trial();
    let sent = sent_to::<DtsMsg>(report(&mut trial, "b", &[("on", "true")], None));
    let [(_, DtsMsg::PhysicalChange(change))] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((change.entity, change.at), (twin_actor(11), trial.now.wall));
    assert!(change.reporter.is_some());
}

#[test]
fn a_report_of_the_future_is_of_now() {
    let mut trial = trial();
    let sent = sent_to::<DtsMsg>(report(&mut trial, "b", &[("on", "true")], Some(99_000)));
    assert!(matches!(&sent[..], [(_, DtsMsg::PhysicalChange(change))] if change.at == trial.now.wall));
}

#[test]
fn a_change_that_is_not_shown_in_time_is_answered_so() {
    let mut trial = trial();
    let effects = report(&mut trial, "a", &[("on", "true")], None);
    let timers = effects.iter().find_map(|effect| match effect {
        Effect::Timer { key, after_ms } => Some((*key, *after_ms)),
        _ => None,
    });
    let (key, after_ms) = timers.expect("a timer is set");
    assert_eq!(after_ms, Settings::default().outside_answer_ms_max);
    let answer = heard::<PhysicalChangeReported>(trial.timeout(key)).expect("it is answered");
    assert_eq!(answer.expect_err("it failed").kind, ProblemKind::Internal);
}

#[test]
fn a_report_is_checked_against_the_description() {
    let mut trial = trial();
    let mut refused = |twin: &str, of: &[(&str, &str)]| {
        let answer = heard::<PhysicalChangeReported>(report(&mut trial, twin, of, None)).expect("it is answered");
        let problem = answer.expect_err("it is refused");
        (problem.kind, problem.pointer.unwrap_or_default())
    };
    assert_eq!(refused("c", &[("on", "true")]), (ProblemKind::TwinUnknown, String::new()));
    assert_eq!(refused("a", &[]), (ProblemKind::InvalidDocument, "/values".to_owned()));
    assert_eq!(
        refused("a", &[("on", "true"), ("a~b", "1")]),
        (ProblemKind::PropertyUnknown, "/values/a~0b".to_owned())
    );
}

#[test]
fn step_14_passes_what_the_object_says_on_to_dts() {
    let mut trial = trial();
    let change = PhysicalChange {
        twin: twin_id("a"),
        entity: twin_actor(10),
        values: Arc::new(values(&[("on", "true")])),
        at: Timestamp::from_unix_ms(700),
        reporter: None,
    };
    let sent = sent_to::<DtsMsg>(trial.deliver(object_actor(10).id(), PendingKey::NONE, change));
    assert!(matches!(&sent[..], [(_, DtsMsg::PhysicalChange(change))] if change.entity == twin_actor(10)));
}

#[test]
fn steps_9_and_10_go_outside_and_back() {
    let mut trial = trial();
    let question = ForwardTwinPropertiesRequest {
        metaverse: system_id("world"),
        user: user("ada"),
        twins: twin_ids(&["a"]),
        rights: Arc::default(),
    };
    let effects = trial.deliver(DTIA.id(), PendingKey::from_bits(6), question);
    assert!(effects.iter().any(|effect| matches!(effect,
        Effect::Signal(Signal::Request { body, .. }) if matches!(**body, OutsideRequest::DescribeTwins(_)))));
    let key = request(&effects);
    let said = OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission { twins: Vec::new() });
    let answers = sent(answer(&mut trial, key, said));
    assert!(matches!(&answers[..], [(meta, Wire::Dtia(_)), (_, Wire::Caller(_))]
        if meta.pending == PendingKey::from_bits(6)));
}

#[test]
fn steps_17_and_18_take_the_first_answer_that_fits() {
    let mut trial = trial();
    let key = request(&trial.deliver(object_actor(10).id(), PendingKey::from_bits(6), apply()));
    let kind_of = |effects| heard::<AnswerAccepted>(effects).expect("it is answered").map_err(|problem| problem.kind);
    let other = OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission { twins: Vec::new() });
    assert_eq!(kind_of(answer(&mut trial, key, other)).err(), Some(ProblemKind::AnswerMismatch));
    let done = || OutsideAnswer::ApplyChange(ChangeApplied { values: Box::default(), seen: None });
    let applied = sent_to::<PhysicalObjectMsg>(answer(&mut trial, key, done()));
    assert!(matches!(&applied[..], [(_, PhysicalObjectMsg::ChangeApplied(Ok(_)))]));
    assert_eq!(kind_of(answer(&mut trial, key, done())).err(), Some(ProblemKind::RequestUnknown));
}

#[test]
fn a_request_that_is_not_answered_or_not_delivered_is_a_problem() {
    let mut trial = trial();
    let kind = |effects| heard::<ChangeApplied>(effects).expect("it is answered").expect_err("it failed").kind;
    let key = request(&trial.deliver(DTS.id(), PendingKey::from_bits(6), apply()));
    assert_eq!(kind(trial.timeout(key)), ProblemKind::OutsideTimeout);
    let request = request(&trial.deliver(DTS.id(), PendingKey::from_bits(6), apply()));
    let problem = Box::new(Problem::new(ProblemKind::OutsideUnreachable, "no session"));
    let undelivered = RequestUndelivered { request, problem, handed_out: false };
    assert_eq!(kind(trial.deliver(caller(), PendingKey::NONE, undelivered)), ProblemKind::OutsideUnreachable);
}

#[test]
fn a_fence_goes_outside_and_its_answer_back_to_the_gate() {
    // FGMV-28 7.1.3 steps 8 and 9, for devices that check tokens.
    let mut trial = trial();
    let token = Token { epoch: 1, n: 4 };
    let fence = FenceDevice { object: "urn:a".parse().expect("it is a name"), twin: twin_id("a"), token };
    let effects = trial.deliver(object_actor(2).id(), PendingKey::from_bits(6), fence);
    let key = request(&effects);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Signal(Signal::Request { body, .. })
        if matches!(&**body, OutsideRequest::FenceDevice(asked) if asked.token == token))));
    let fenced = OutsideAnswer::FenceDevice(DeviceFenced { seen: Some(token) });
    let back = sent_to::<PhysicalObjectMsg>(answer(&mut trial, key, fenced));
    let [(meta, PhysicalObjectMsg::DeviceFenced(Ok(answer)))] = &back[..] else { panic!("{back:?}") };
    assert_eq!((meta.pending, answer.seen), (PendingKey::from_bits(6), Some(token)));
}

#[test]
fn a_change_that_was_handed_out_and_will_not_be_answered_is_unclear() {
    // FGMV-29 9.2 step 17: nobody knows whether it was carried out, and its gate has to know that.
    for (handed_out, kind) in [(true, ProblemKind::OutsideUnclear), (false, ProblemKind::OutsideUnreachable)] {
        let mut trial = trial();
        let request = request(&trial.deliver(object_actor(2).id(), PendingKey::from_bits(6), apply()));
        let problem = Box::new(Problem::new(ProblemKind::OutsideUnreachable, "the session closed"));
        let undelivered = RequestUndelivered { request, problem, handed_out };
        let answer = heard::<ChangeApplied>(trial.deliver(caller(), PendingKey::NONE, undelivered));
        assert_eq!(answer.expect("it is answered").expect_err("it failed").kind, kind);
    }
}

#[test]
fn a_system_says_how_its_own_twins_are_synchronized_and_no_others() {
    // FGMV-28 REQ-DT-08.
    let mut trial = trial();
    let mut set = |twin: &str| {
        let message = SetSynchronization { twin: twin_id(twin), synchronization: Arc::default() };
        trial.deliver(caller(), PendingKey::from_bits(3), message)
    };
    let refused = heard::<Kept>(set("x")).expect("it is answered").expect_err("it is refused");
    assert_eq!(refused.kind, ProblemKind::TwinUnknown);
    let asked = sent_to::<DtsrMsg>(set("a"));
    let [(meta, DtsrMsg::SetSynchronization(_))] = &asked[..] else { panic!("{asked:?}") };
    let kept = heard::<Kept>(trial.deliver(DTSR.id(), meta.pending, Ok(Kept)));
    assert!(kept.expect("it is answered").is_ok());
}
