//! Actions that a digital twin system carries out (as FGMV-29 9.2 steps 17 and 18).

use twinway_protocol::{
    InvocationId,
    message::{ActionEnded, ActionOrder, ActionReport, CarryOutAction, ReportAction, TwinMsg},
    twin::InvocationState,
};

use super::*;

const UNTIL: u64 = 60_000;

fn order() -> CarryOutAction {
    CarryOutAction(Box::new(ActionOrder {
        twin: twin_id("a"),
        invocation: InvocationId::new("inv-1").expect("it is a name"),
        action: "rest".into(),
        input: None,
        metaverse: system_id("world"),
        user: user("ada"),
        token: None,
        not_after: Timestamp::from_unix_ms(UNTIL),
    }))
}

fn ended(effects: Vec<Effect<Wire>>) -> Vec<Result<ActionEnded, ProblemKind>> {
    let heard = sent_to::<PhysicalObjectMsg>(effects).into_iter();
    heard
        .filter_map(|(_, message)| match message {
            PhysicalObjectMsg::ActionEnded(ended) => Some(ended.map_err(|problem| problem.kind)),
            _ => None,
        })
        .collect()
}

fn report(trial: &mut Trial<DigitalTwinSystem>, twin: &str, state: InvocationState) -> Vec<Effect<Wire>> {
    let report = Box::new(ActionReport { state, progress: None, detail: None, output: None });
    let invocation = InvocationId::new("inv-1").expect("it is a name");
    trial.deliver(caller(), PendingKey::from_bits(3), ReportAction { twin: twin_id(twin), invocation, report })
}

#[test]
fn an_action_outlives_the_session_that_it_was_handed_out_by_and_its_gate_hears_its_reported_end() {
    let mut trial = trial();
    let effects = trial.deliver(object_actor(2).id(), PendingKey::from_bits(6), order());
    let limit = Settings::default().outside_answer_ms_max;
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Timer { after_ms, .. } if *after_ms == UNTIL - 1_000 + limit))
    );
    let request = request(&effects);
    let problem = Box::new(Problem::new(ProblemKind::OutsideUnreachable, "the session closed"));
    let undelivered = RequestUndelivered { request, problem, handed_out: true };
    assert!(ended(trial.deliver(caller(), PendingKey::NONE, undelivered)).is_empty());

    let told = report(&mut trial, "a", InvocationState::Completed);
    let to_twin = told
        .iter()
        .filter(|effect| matches!(effect, Effect::Send { wire: Some(Wire::Twin(TwinMsg::ReportAction(_))), .. }));
    assert_eq!(to_twin.count(), 1, "the twin knows it from before a restart");
    let said = ended(told);
    assert!(matches!(&said[..], [Ok(ended)] if ended.state == InvocationState::Completed), "{said:?}");
    assert!(ended(report(&mut trial, "a", InvocationState::Completed)).is_empty(), "its gate hears it once");
}

#[test]
fn an_action_that_never_left_has_failed_and_of_one_that_broke_off_nobody_knows() {
    for (handed_out, problem, kind) in [
        (false, ProblemKind::OutsideUnreachable, ProblemKind::OutsideUnreachable),
        (true, ProblemKind::OutsideFailed, ProblemKind::OutsideUnclear),
    ] {
        let mut trial = trial();
        let request = request(&trial.deliver(object_actor(2).id(), PendingKey::from_bits(6), order()));
        let problem = Box::new(Problem::new(problem, "no"));
        let undelivered = RequestUndelivered { request, problem, handed_out };
        assert_eq!(ended(trial.deliver(caller(), PendingKey::NONE, undelivered)), [Err(kind)]);
    }
}

#[test]
fn a_system_reports_actions_of_its_own_twins_only() {
    let mut trial = trial();
    let refused = heard::<Kept>(report(&mut trial, "x", InvocationState::Running)).expect("it is answered");
    assert_eq!(refused.expect_err("it is refused").kind, ProblemKind::TwinUnknown);
}
