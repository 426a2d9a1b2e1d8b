use std::sync::Arc;

use twinway_protocol::{
    Effect, PendingKey, Problem, ProblemKind, Ref,
    lease::Token,
    message::{
        AdoptProperties, ApplyChange, ChangeApplied, ChangeReflected, DTAC, DTIA, DTS, DTSR, DescribeTwin,
        DigitalTwinSystemMsg, DtsMsg, Kept, LeaseMoment, MetaverseSystemMsg, PassTwinMessage, PhysicalObjectMsg,
        ReadTwin, ReflectChange, ReflectLease, Reporter, TwinMessage, TwinMsg, TwinRead, WatchTwin, Wire,
    },
    signal::Signal,
    time::Timestamp,
    twin::{RegisteredTwin, TwinView},
};

mod pacing;
mod wanting;

use super::Twin;
use crate::{
    Settings,
    dtif::sample::{
        from_snapshots, heard, json, metaverse, object_actor, restarted, sent_to, system_actor, system_id, twin,
        twin_actor, twin_id, user, values,
    },
    trial::{Trial, sent},
};

fn me() -> Ref<TwinMsg> {
    twin_actor(3)
}

fn describe(trial: &mut Trial<Twin>, object: bool) -> Vec<Effect<Wire>> {
    let description = DescribeTwin {
        system: system_id("home"),
        system_entity: system_actor(1),
        twin: Arc::new(RegisteredTwin {
            entry: Arc::new(twin("a", object.then_some("urn:a"))),
            entity: me(),
            object: object.then(|| object_actor(2)),
        }),
    };
    trial.deliver(DTSR.id(), PendingKey::NONE, description)
}

fn undescribed() -> Trial<Twin> {
    Trial::new(me().id(), &Settings::default())
}

fn trial() -> Trial<Twin> {
    let mut trial = undescribed();
    describe(&mut trial, true);
    trial
}

fn watch(trial: &mut Trial<Twin>, name: &str, slot: u32, selected: bool) {
    let watch = WatchTwin { metaverse: system_id(name), entity: metaverse(slot), selected, period_ms: None };
    let effects = trial.deliver(DTIA.id(), PendingKey::NONE, watch);
    assert!(matches!(heard::<Kept>(effects), Some(Ok(_))));
}

fn report(trial: &mut Trial<Twin>, of: &[(&str, &str)], at: u64) -> Vec<Effect<Wire>> {
    let change = ReflectChange {
        twin: twin_id("a"),
        values: Arc::new(values(of)),
        at: Timestamp::from_unix_ms(at),
        version: 0,
        reporter: Some(Reporter { entity: system_actor(1), report: PendingKey::from_bits(8) }),
    };
    trial.deliver(DTS.id(), PendingKey::NONE, change)
}

fn read(trial: &mut Trial<Twin>) -> Result<Arc<TwinView>, ProblemKind> {
    let read = heard::<TwinRead>(trial.deliver(DTIA.id(), PendingKey::NONE, ReadTwin)).expect("it is answered");
    read.map(|read| read.view).map_err(|problem| problem.kind)
}

fn shown(trial: &mut Trial<Twin>, name: &str) -> Option<String> {
    let view = read(trial).expect("it is described");
    view.properties.get(name).map(|value| value.value.as_str().to_owned())
}

fn reflected(effects: Vec<Effect<Wire>>) -> Vec<(u32, u64)> {
    let changes = sent_to::<MetaverseSystemMsg>(effects).into_iter().filter_map(|(meta, message)| match message {
        MetaverseSystemMsg::ReflectChange(change) => Some((meta.to.slot(), change.version)),
        _ => None,
    });
    changes.collect()
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
        system_entity: ApplyChange::nowhere(),
    }
}

#[test]
fn before_it_is_described_it_answers_that_it_is_unknown() {
    let mut trial = undescribed();
    assert_eq!(read(&mut trial), Err(ProblemKind::TwinUnknown));
    let adopt = AdoptProperties { values: Box::new(values(&[("on", "true")])) };
    let answer = heard::<Kept>(trial.deliver(DTAC.id(), PendingKey::NONE, adopt)).expect("it is answered");
    assert_eq!(answer.expect_err("it is refused").kind, ProblemKind::TwinUnknown);
    let answer = heard::<ChangeApplied>(trial.deliver(DTS.id(), PendingKey::NONE, apply())).expect("it is answered");
    assert_eq!(answer.expect_err("it is refused").kind, ProblemKind::TwinUnknown);
    assert!(trial.records.is_empty());
}

#[test]
fn to_be_described_again_the_same_shows_nothing_new() {
    let mut trial = undescribed();
    let signals = |effects: Vec<Effect<Wire>>| {
        effects.iter().filter(|effect| matches!(effect, Effect::Signal(Signal::Twin(_)))).count()
    };
    assert_eq!(signals(describe(&mut trial, true)), 1);
    assert_eq!(signals(describe(&mut trial, true)), 0);
    assert_eq!(signals(describe(&mut trial, false)), 1);
    assert!(trial.records.is_empty(), "DTSR has written it down");
}

#[test]
fn step_14_reaches_everyone_who_selected_it_and_the_reporter() {
    let mut trial = trial();
    watch(&mut trial, "world", 1, true);
    watch(&mut trial, "arena", 2, true);
    assert_eq!(reflected(report(&mut trial, &[("on", "true")], 500)), [(2, 1), (1, 1)]);
    let told = sent_to::<DigitalTwinSystemMsg>(report(&mut trial, &[("level", "7")], 501));
    assert!(matches!(&told[..], [(_, DigitalTwinSystemMsg::ChangeReflected(ChangeReflected { version: 2, report }))]
        if *report == PendingKey::from_bits(8)));
    assert_eq!((shown(&mut trial, "on").as_deref(), shown(&mut trial, "level").as_deref()), (Some("true"), Some("7")));
    watch(&mut trial, "arena", 2, false);
    assert_eq!(reflected(report(&mut trial, &[("on", "false")], 502)), [(1, 3)]);
}

#[test]
fn an_older_value_never_overwrites_a_newer() {
    let mut trial = trial();
    watch(&mut trial, "world", 1, true);
    report(&mut trial, &[("on", "true")], 500);
    let records = trial.records.len();
    let late = report(&mut trial, &[("on", "false")], 499);
    assert_eq!(trial.records.len(), records);
    let told = sent(late);
    assert!(
        matches!(&told[..], [(_, Wire::DigitalTwinSystem(DigitalTwinSystemMsg::ChangeReflected(told)))]
        if told.version == 1),
        "only the reporter hears of it: {told:?}"
    );
    assert_eq!(shown(&mut trial, "on").as_deref(), Some("true"));
    // The newer part of a mixed report counts.
    report(&mut trial, &[("on", "false"), ("level", "3")], 499);
    assert_eq!((shown(&mut trial, "on").as_deref(), shown(&mut trial, "level").as_deref()), (Some("true"), Some("3")));
    // Of the same moment, the later report counts.
    report(&mut trial, &[("on", "false")], 500);
    assert_eq!(shown(&mut trial, "on").as_deref(), Some("false"));
}

#[test]
fn what_the_description_does_not_name_is_not_shown() {
    let mut trial = trial();
    watch(&mut trial, "world", 1, true);
    let changes = sent_to::<MetaverseSystemMsg>(report(&mut trial, &[("on", "true"), ("colour", "1")], 500));
    assert!(matches!(&changes[..], [(_, MetaverseSystemMsg::ReflectChange(change))]
        if *change.values == values(&[("on", "true")])));
    assert_eq!(shown(&mut trial, "colour"), None);
    assert!(reflected(report(&mut trial, &[("colour", "1")], 501)).is_empty());
}

#[test]
fn to_watch_twice_is_written_once() {
    let mut trial = trial();
    watch(&mut trial, "world", 1, true);
    watch(&mut trial, "world", 1, true);
    watch(&mut trial, "arena", 2, false);
    assert_eq!(trial.records.len(), 1);
    // Its actor may have another address now.
    watch(&mut trial, "world", 5, true);
    assert_eq!(reflected(report(&mut trial, &[("on", "true")], 500)), [(5, 1)]);
}

#[test]
fn step_10_is_shown_but_not_as_a_change_of_the_object() {
    let mut trial = trial();
    watch(&mut trial, "world", 1, true);
    let adopt = AdoptProperties { values: Box::new(values(&[("on", "true"), ("colour", "1")])) };
    let effects = trial.deliver(DTAC.id(), PendingKey::NONE, adopt);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Signal(Signal::Twin(view)) if view.version == 1)));
    assert!(reflected(effects).is_empty());
    let view = read(&mut trial).expect("it is described");
    assert_eq!((view.properties.len(), view.properties["on"].at), (1, trial.now.wall));
}

#[test]
fn steps_17_and_18_go_by_the_object_and_everyone_hears_of_the_change() {
    let mut trial = trial();
    watch(&mut trial, "world", 1, true);
    // A clock outside that runs ahead does not hide what was done on request.
    report(&mut trial, &[("on", "false")], 9_000);
    let asked = sent_to::<PhysicalObjectMsg>(trial.deliver(DTS.id(), PendingKey::from_bits(4), apply()));
    let [(meta, PhysicalObjectMsg::ApplyChange(change))] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((meta.to, change.system_entity), (object_actor(2).id(), system_actor(1)));
    let done = || Ok(ChangeApplied { values: Box::new(values(&[("on", "true")])), seen: None });
    let mut effects = trial.deliver(object_actor(2).id(), meta.pending, done());
    let (_, answer) = sent_to::<DtsMsg>(effects.split_off(effects.len() - 1)).pop().expect("DTS is answered last");
    assert!(matches!(answer, DtsMsg::ChangeApplied(Ok(_))));
    assert_eq!(reflected(effects), [(1, 2)]);
    assert_eq!(shown(&mut trial, "on").as_deref(), Some("true"));
    assert!(trial.deliver(object_actor(2).id(), meta.pending, done()).is_empty(), "an answer counts once");
}

#[test]
fn a_twin_without_an_object_asks_its_system_and_a_failure_changes_nothing() {
    let mut trial = undescribed();
    describe(&mut trial, false);
    let asked = sent_to::<DigitalTwinSystemMsg>(trial.deliver(DTS.id(), PendingKey::from_bits(4), apply()));
    let [(meta, DigitalTwinSystemMsg::ApplyChange(_))] = &asked[..] else { panic!("{asked:?}") };
    let failure: Result<ChangeApplied, _> = Err(Problem::new(ProblemKind::OutsideTimeout, "too late"));
    let answer = heard::<ChangeApplied>(trial.deliver(system_actor(1).id(), meta.pending, failure));
    assert_eq!(answer.expect("it is answered").expect_err("it failed").kind, ProblemKind::OutsideTimeout);
    assert!(trial.records.is_empty());
}

#[test]
fn a_message_passes_from_twin_to_twin_to_those_who_selected_it() {
    let mut trial = trial();
    watch(&mut trial, "world", 1, true);
    let message =
        || TwinMessage { from: twin_id("a"), to: twin_id("b"), user: user("ada"), content: json("\"hello\"") };
    let pass = PassTwinMessage { entity: twin_actor(9), message: Box::new(message()) };
    let passed = sent_to::<TwinMsg>(trial.deliver(DTAC.id(), PendingKey::NONE, pass));
    assert!(matches!(&passed[..], [(meta, TwinMsg::TwinMessage(_))] if meta.to == twin_actor(9).id()));
    let heard = sent_to::<MetaverseSystemMsg>(trial.deliver(twin_actor(8).id(), PendingKey::NONE, message()));
    assert!(matches!(&heard[..], [(meta, MetaverseSystemMsg::TwinMessage(_))] if meta.to == metaverse(1).id()));
}

#[test]
fn after_a_restart_it_shows_the_same_to_the_same() {
    let mut trial = trial();
    watch(&mut trial, "world", 1, true);
    watch(&mut trial, "arena", 2, true);
    report(&mut trial, &[("on", "true"), ("level", "3")], 500);
    report(&mut trial, &[("on", "false")], 501);
    watch(&mut trial, "arena", 2, false);
    let before = read(&mut trial).expect("it is described");
    for mut again in [restarted(&trial, me().id()), from_snapshots(&trial, me().id(), &[0])] {
        let asked: Vec<_> = sent(again.recovered()).into_iter().map(|(meta, _)| meta.to).collect();
        assert_eq!(asked, [DTAC.id(), DTSR.id(), DTIA.id()]);
        assert_eq!(read(&mut again), Err(ProblemKind::TwinUnknown));
        describe(&mut again, true);
        assert_eq!(read(&mut again).as_ref(), Ok(&before));
        assert_eq!(reflected(report(&mut again, &[("on", "true")], 502)), [(1, 3)]);
    }
}

#[test]
fn what_is_reported_before_the_description_is_there_afterwards() {
    let mut trial = undescribed();
    report(&mut trial, &[("on", "true"), ("colour", "1")], 500);
    describe(&mut trial, true);
    assert_eq!(shown(&mut trial, "on").as_deref(), Some("true"));
    assert_eq!(shown(&mut trial, "colour"), None);
}

#[test]
fn a_twin_is_small() {
    assert!(size_of::<Twin>() <= 64, "a twin has {} bytes", size_of::<Twin>());
}

#[test]
fn what_becomes_of_the_lease_of_its_object_reaches_those_who_selected_it() {
    // FGMV-28 REQ-DT-07.
    let mut trial = trial();
    watch(&mut trial, "world", 1, true);
    watch(&mut trial, "arena", 2, true);
    let moment = LeaseMoment {
        at: Timestamp::from_unix_ms(1),
        what: "granted".into(),
        party: None,
        token: Some(Token { epoch: 1, n: 1 }),
        end: None,
        note: None,
    };
    let reflect = ReflectLease { twin: Some(twin_id("a")), moment: Arc::new(moment) };
    let told = sent_to::<MetaverseSystemMsg>(trial.deliver(object_actor(2).id(), PendingKey::NONE, reflect));
    let told = told.iter().map(|(meta, message)| {
        let MetaverseSystemMsg::TellLease(told) = message else { panic!("{message:?}") };
        assert_eq!((told.event.kind, &told.event.twin), ("lease.changed", &Some(twin_id("a"))));
        meta.to.slot()
    });
    assert_eq!(told.collect::<Vec<_>>(), [2, 1]);
}
