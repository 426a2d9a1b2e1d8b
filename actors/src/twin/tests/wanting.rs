//! What is wanted of a twin (FGMV-29 8.3.4, 9.2 steps 17 and 18), by itself and across a restart.

use twinway_protocol::{
    InvocationId, Meta,
    message::{
        ActionCall, ActionReport, CarryOutAction, ChangeDropped, ChangeUnderWay, Errand, NotifyWatcher, ReportAction,
        WhatToDo,
    },
    twin::{Invocation, InvocationState},
};

use super::*;

const UNTIL: u64 = 60_000;

fn invocation() -> InvocationId {
    InvocationId::new("inv-1").expect("it is a name")
}

fn act() -> ApplyChange {
    let what = WhatToDo { action: "rest".into(), input: None };
    let action = Some(ActionCall { invocation: invocation(), what, began: PendingKey::from_bits(8) });
    ApplyChange { values: Arc::default(), errand: Some(Box::new(Errand { expects: None, action })), ..apply() }
}

/// Asks for a change and gives the key by which the object's gate was asked.
fn ask(trial: &mut Trial<Twin>, change: ApplyChange) -> PendingKey {
    let asked = sent_to::<PhysicalObjectMsg>(trial.deliver(DTS.id(), PendingKey::from_bits(3), change));
    let [(Meta { pending, .. }, PhysicalObjectMsg::ApplyChange(_))] = &asked[..] else { panic!("{asked:?}") };
    *pending
}

fn pass(trial: &mut Trial<Twin>, change: PendingKey) -> Vec<Effect<Wire>> {
    let until = Timestamp::from_unix_ms(UNTIL);
    trial.deliver(object_actor(2).id(), PendingKey::NONE, ChangeUnderWay { change, until })
}

fn desired(trial: &mut Trial<Twin>) -> Vec<String> {
    let view = read(trial).expect("it is described");
    view.desired.iter().flat_map(|desired| desired.keys().cloned()).collect()
}

fn shown_invocation(trial: &mut Trial<Twin>) -> Invocation {
    read(trial).expect("it is described").invocations.as_ref().expect("there is one")[&invocation()].clone()
}

fn events(effects: Vec<Effect<Wire>>) -> Vec<&'static str> {
    let told = sent_to::<MetaverseSystemMsg>(effects).into_iter();
    told.filter_map(|(_, message)| match message {
        MetaverseSystemMsg::NotifyWatcher(NotifyWatcher { event, .. }) => Some(event),
        _ => None,
    })
    .collect()
}

#[test]
fn a_value_is_desired_from_when_the_gate_let_it_pass_until_its_lease_ends() {
    let mut trial = trial();
    watch(&mut trial, "world", 1, true);
    let change = ask(&mut trial, apply());
    assert!(desired(&mut trial).is_empty(), "what the gate refuses was never desired");
    pass(&mut trial, change);
    assert_eq!(desired(&mut trial), ["on"]);
    let dropped = trial.deliver(object_actor(2).id(), PendingKey::NONE, ChangeDropped { change });
    assert_eq!(events(dropped), ["twin.desired.dropped"]);
    assert!(desired(&mut trial).is_empty());
    // The device had done it before the fence reached it: that is what the object is now.
    let done = Ok(ChangeApplied { values: Box::new(values(&[("on", "true")])), seen: None });
    let answered = trial.deliver(object_actor(2).id(), change, done);
    assert!(heard::<ChangeApplied>(answered).is_some_and(|answer| answer.is_ok()));
    assert_eq!(shown(&mut trial, "on").as_deref(), Some("true"));
}

#[test]
fn a_newer_desired_value_outlives_the_answer_to_the_older_one() {
    let mut trial = trial();
    let older = ask(&mut trial, apply());
    pass(&mut trial, older);
    let values = Arc::new(values(&[("on", "false")]));
    let newer = ask(&mut trial, ApplyChange { values, ..apply() });
    pass(&mut trial, newer);
    let refused = Err(Problem::new(ProblemKind::OutsideFailed, "no"));
    trial.deliver(object_actor(2).id(), older, TwinMsg::ChangeApplied(refused));
    assert_eq!(desired(&mut trial), ["on"]);
}

#[test]
fn a_change_of_an_older_version_is_refused_before_anything_is_asked() {
    let mut trial = trial();
    report(&mut trial, &[("on", "true")], 500);
    let errand = Some(Box::new(Errand { expects: Some(0), action: None }));
    let effects = trial.deliver(DTS.id(), PendingKey::from_bits(3), ApplyChange { errand, ..apply() });
    let answer = heard::<ChangeApplied>(effects).expect("it is answered");
    assert_eq!(answer.expect_err("it is refused").kind, ProblemKind::VersionMismatch);
}

#[test]
fn an_action_that_was_under_way_before_a_restart_ends_by_what_its_system_says_or_by_its_deadline() {
    let mut trial = trial();
    let change = ask(&mut trial, act());
    let began = sent_to::<DtsMsg>(pass(&mut trial, change));
    assert!(matches!(&began[..], [(_, DtsMsg::ActionBegan(began))] if began.invocation.id == invocation()));
    for mut again in [restarted(&trial, me().id()), from_snapshots(&trial, me().id(), &[0])] {
        let timers = again.recovered().into_iter().filter_map(|effect| match effect {
            Effect::Timer { key, after_ms } => Some((key, after_ms)),
            _ => None,
        });
        let timers: Vec<_> = timers.into_iter().collect();
        let [(key, after_ms)] = timers[..] else { panic!("{timers:?}") };
        assert_eq!(after_ms, UNTIL - 1_000);
        describe(&mut again, true);
        watch(&mut again, "world", 1, true);
        assert_eq!(shown_invocation(&mut again).state, InvocationState::Pending);
        let said = |state| ActionReport { state, progress: Some(50), detail: None, output: None };
        let report =
            |state| ReportAction { twin: twin_id("a"), invocation: invocation(), report: Box::new(said(state)) };
        let running = again.deliver(system_actor(1).id(), PendingKey::NONE, report(InvocationState::Running));
        assert_eq!(events(running), ["action.progress"]);
        let mut late = restarted(&again, me().id());
        let ended = again.deliver(system_actor(1).id(), PendingKey::NONE, report(InvocationState::Completed));
        assert_eq!(events(ended), ["action.ended"]);
        assert_eq!(shown_invocation(&mut again).state, InvocationState::Completed);
        assert!(events(again.timeout(key)).is_empty(), "it has ended");
        // In another life nobody says anything: it ends all the same.
        let _ = late.recovered();
    }
}

#[test]
fn an_action_that_nobody_says_anything_of_is_dropped_at_its_deadline_and_its_system_is_told() {
    let mut trial = trial();
    watch(&mut trial, "world", 1, true);
    let change = ask(&mut trial, act());
    pass(&mut trial, change);
    let over = trial.timeout(change);
    assert!(over.iter().any(|effect| matches!(
        effect,
        Effect::Send { wire: Some(Wire::DigitalTwinSystem(DigitalTwinSystemMsg::StopAction(_))), .. }
    )));
    assert_eq!(events(over), ["action.ended"]);
    assert_eq!(shown_invocation(&mut trial).state, InvocationState::Dropped);
    let answered =
        trial.deliver(object_actor(2).id(), change, Ok(ChangeApplied { values: Box::default(), seen: None }));
    assert!(events(answered).is_empty(), "it ended once");
}

#[test]
fn a_twin_without_an_object_hands_an_action_to_its_system_at_once() {
    let mut trial = undescribed();
    describe(&mut trial, false);
    let until = Some(Timestamp::from_unix_ms(UNTIL));
    let asked = trial.deliver(DTS.id(), PendingKey::from_bits(3), ApplyChange { not_after: until, ..act() });
    let asked = sent_to::<DigitalTwinSystemMsg>(asked);
    assert!(matches!(&asked[..], [(_, DigitalTwinSystemMsg::CarryOutAction(CarryOutAction(order)))]
        if order.not_after.unix_ms() == UNTIL && order.action == "rest"));
}
