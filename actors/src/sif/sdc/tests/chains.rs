//! Chains of third-party systems (FGMV-29 8.2.4): carried out, undone, refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use twinway_protocol::{
    Behaviour, EntityId, Mailbox, ProblemKind,
    collaboration::{ExecutionState, StepState},
    message::{
        CancelExecution, ExecutionShown, KeepThirdPartySystem, ReadExecution, SdcMsg, ThirdPartySystemMsg, TpsrMsg,
    },
};

use super::scene::{Scene, done, failed, input, operation, order, willing};
use crate::{
    Settings,
    sif::testing::{METAVERSE, answer, json as doc, key, registered, system_id},
};

#[test]
fn one_systems_data_becomes_the_next_ones() {
    let mut given = Vec::new();
    let mut scene = Scene::open(&Settings::default(), |question| {
        given.push(input(question));
        willing(question)
    });
    let execution = scene.start(&order()).expect("it is acceptable");
    assert_eq!(execution.state, ExecutionState::Succeeded, "{execution:?}");
    assert_eq!(execution.output, Some(doc(r#"{"order":"o-1","when":"monday"}"#)));
    assert_eq!(scene.operations(), ["shop sell", "factory make", "courier bring"]);
    let ends = scene.told.last().expect("it is told");
    assert_eq!((ends.0, &ends.1["state"]), ("execution.ended", &json!("succeeded")));
    let steps = scene.told.iter().filter(|(event, _)| *event == "execution.step").count();
    assert_eq!(steps, 6, "each step is told when it is sent and when it is done");
    drop(scene);
    let expected = [json!({"article": "lamp", "pieces": 2}), json!({"for": "o-1", "who": "ada"}), json!({"parcel": 9})];
    assert_eq!(given, expected);
}

#[test]
fn what_was_done_is_undone_in_reverse_order_when_a_later_system_fails() {
    let mut given = Vec::new();
    let mut scene = Scene::open(&Settings::default(), |question| match operation(question) {
        "bring" => failed(ProblemKind::OutsideFailed),
        "refund" | "scrap" => {
            given.push(input(question));
            done(&Value::Null)
        }
        _ => willing(question),
    });
    let execution = scene.start(&order()).expect("it is acceptable");
    assert_eq!(execution.state, ExecutionState::Compensated, "{execution:?}");
    assert_eq!(execution.problem.expect("it says why").kind, ProblemKind::OutsideFailed);
    let operations = ["shop sell", "factory make", "courier bring", "factory scrap", "shop refund"];
    assert_eq!(scene.operations(), operations);
    let states: Vec<_> = execution.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Compensated, StepState::Compensated, StepState::Failed]);
    let keys: BTreeSet<_> = scene.asked.iter().map(|(_, _, key)| key.clone()).collect();
    assert_eq!(keys.len(), 5, "every call has a key of its own");
    drop(scene);
    assert_eq!(given, [json!({"parcel": 9}), json!({"order": "o-1"})]);
}

#[test]
fn a_condition_that_is_not_true_skips_its_step() {
    let mut chain = order();
    chain["steps"][1]["when"] = json!("input.count > 2");
    chain["steps"][2]["input"] = json!("{'made': has(results.made)}");
    let mut given = Value::Null;
    let mut scene = Scene::open(&Settings::default(), |question| {
        given = input(question);
        willing(question)
    });
    let execution = scene.start(&chain).expect("it is acceptable");
    assert_eq!((execution.state, execution.steps[1].state), (ExecutionState::Succeeded, StepState::Skipped));
    assert_eq!(scene.operations(), ["shop sell", "courier bring"]);
    drop(scene);
    assert_eq!(given, json!({"made": false}));
}

#[test]
fn what_was_certainly_not_done_is_tried_again_with_the_same_key() {
    let mut times = 0;
    let mut scene = Scene::open(&Settings::default(), |question| {
        times += 1;
        if times <= 2 { failed(ProblemKind::OutsideUnreachable) } else { willing(question) }
    });
    let execution = scene.start(&order()).expect("it is acceptable");
    assert_eq!(execution.steps[0].state, StepState::Retrying);
    scene.wait(10_000);
    let execution = scene.read(&execution);
    assert_eq!((execution.state, execution.steps[0].attempts), (ExecutionState::Succeeded, 3));
    let keys: BTreeSet<_> = scene.asked.iter().take(3).map(|(_, _, key)| key.clone()).collect();
    assert_eq!(keys, BTreeSet::from([format!("{}/sale", execution.id)]));
}

#[test]
fn a_refusal_is_not_tried_again() {
    let mut scene = Scene::open(&Settings::default(), |_| failed(ProblemKind::OutsideFailed));
    let execution = scene.start(&order()).expect("it is acceptable");
    assert_eq!((execution.state, scene.asked.len()), (ExecutionState::Failed, 1));
}

#[test]
fn what_may_have_been_done_is_repeated_only_where_the_system_relies_on_the_key() {
    for (silent, times, state) in [("sell", 1, ExecutionState::Uncertain), ("make", 3, ExecutionState::Compensated)] {
        let mut scene = Scene::open(&Settings::default(), |question| {
            if operation(question) == silent { failed(ProblemKind::OutsideTimeout) } else { willing(question) }
        });
        let mut chain = order();
        // Nothing was sold under a number that anybody knows.
        chain["steps"][0]["compensation"]["input"] = json!("{'order': results.sale.id}");
        let execution = scene.start(&chain).expect("it is acceptable");
        scene.wait(10_000);
        let execution = scene.read(&execution);
        let asked = scene.operations().iter().filter(|asked| asked.ends_with(silent)).count();
        assert_eq!((asked, execution.state), (times, state), "{silent}: {execution:?}");
    }
}

#[test]
fn what_an_earlier_attempt_may_have_done_is_undone_whatever_the_last_one_says() {
    let mut attempts = 0;
    let mut scene = Scene::open(&Settings::default(), |question| match operation(question) {
        "make" => {
            attempts += 1;
            failed(if attempts == 1 { ProblemKind::OutsideTimeout } else { ProblemKind::OutsideUnreachable })
        }
        _ => willing(question),
    });
    let execution = scene.start(&order()).expect("it is acceptable");
    scene.wait(10_000);
    assert_eq!(scene.read(&execution).state, ExecutionState::Compensated);
    let asked = scene.operations();
    assert_eq!(asked[asked.len() - 2..], ["factory scrap", "shop refund"], "{asked:?}");
}

#[test]
fn a_compensation_is_asked_for_after_a_step_of_which_nobody_knows() {
    let mut chain = order();
    chain["steps"][0]["compensation"]["input"] = json!("{'known': has(results.sale)}");
    let mut given = Value::Null;
    let mut scene = Scene::open(&Settings::default(), |question| match operation(question) {
        "sell" => failed(ProblemKind::OutsideUnclear),
        _ => {
            given = input(question);
            done(&Value::Null)
        }
    });
    let execution = scene.start(&chain).expect("it is acceptable");
    assert_eq!(execution.state, ExecutionState::Compensated);
    assert_eq!(scene.operations(), ["shop sell", "shop refund"]);
    drop(scene);
    assert_eq!(given, json!({"known": false}));
}

#[test]
fn a_compensation_is_tried_again_and_one_that_is_refused_leaves_it_to_a_person() {
    for (kind, asked, state) in [
        (ProblemKind::OutsideTimeout, 11, ExecutionState::Uncertain),
        (ProblemKind::OutsideFailed, 1, ExecutionState::Uncertain),
    ] {
        let settings = Settings { circuit_failures_max: 100, ..Settings::default() };
        let mut scene = Scene::open(&settings, |question| match operation(question) {
            "refund" => failed(kind),
            "make" => failed(ProblemKind::OutsideFailed),
            _ => willing(question),
        });
        let execution = scene.start(&order()).expect("it is acceptable");
        scene.wait(30_000);
        let execution = scene.read(&execution);
        assert_eq!((execution.state, execution.steps[0].state), (state, StepState::CompensationFailed));
        assert_eq!(scene.operations().iter().filter(|operation| *operation == "shop refund").count(), asked);
    }
}

#[test]
fn what_cannot_be_undone_for_lack_of_permission_is_not_done() {
    let mut scene = Scene::open(&Settings::default(), willing);
    scene.permits = Box::new(|operation| operation != "scrap");
    let execution = scene.start(&order()).expect("it is acceptable");
    assert_eq!(execution.state, ExecutionState::Compensated);
    assert_eq!(scene.operations(), ["shop sell", "shop refund"]);
    assert_eq!(execution.steps[1].problem.as_ref().expect("it says why").kind, ProblemKind::PermissionMissing);
}

#[test]
fn an_optional_step_that_fails_ends_nothing() {
    let mut chain = order();
    chain["steps"][1]["optional"] = json!(true);
    chain["steps"][2]["input"] = json!("{}");
    let mut scene = Scene::open(&Settings::default(), |question| {
        if operation(question) == "make" { failed(ProblemKind::OutsideFailed) } else { willing(question) }
    });
    let execution = scene.start(&chain).expect("it is acceptable");
    assert_eq!((execution.state, execution.steps[1].state), (ExecutionState::Succeeded, StepState::Failed));
}

#[test]
fn an_expression_that_does_not_fit_the_data_is_told_with_its_place_and_undoes() {
    let mut chain = order();
    chain["steps"][1]["input"] = json!("results.sale.nothing");
    let mut scene = Scene::open(&Settings::default(), willing);
    let execution = scene.start(&chain).expect("it is acceptable");
    assert_eq!(execution.state, ExecutionState::Compensated);
    let problem = execution.problem.expect("it says why");
    assert_eq!((problem.kind, problem.pointer.as_deref()), (ProblemKind::InvalidDocument, Some("/steps/1/input")));
    assert!(problem.detail.contains("column"), "{problem:?}");
}

#[test]
fn data_beyond_the_limit_is_told_and_what_was_done_is_undone() {
    let settings = Settings { chain_data_bytes_max: 200, ..Settings::default() };
    let mut scene = Scene::open(&settings, |question| match operation(question) {
        "make" => done(&json!("x".repeat(500))),
        _ => willing(question),
    });
    let execution = scene.start(&order()).expect("it is acceptable");
    assert_eq!(scene.operations(), ["shop sell", "factory make", "factory scrap", "shop refund"]);
    assert!(execution.problem.expect("it says why").detail.contains("chain_data_bytes_max"));
}

#[test]
fn the_deadline_ends_what_is_under_way_and_what_was_done_is_undone() {
    let mut scene = Scene::open(&Settings::default(), |question| match operation(question) {
        "make" => None,
        _ => willing(question),
    });
    let mut chain = order();
    chain["deadlineMs"] = json!(700);
    let execution = scene.start(&chain).expect("it is acceptable");
    assert_eq!(execution.state, ExecutionState::Running);
    scene.wait(700);
    let execution = scene.read(&execution);
    assert_eq!(execution.state, ExecutionState::Compensated);
    assert_eq!(execution.problem.expect("it says why").kind, ProblemKind::OutsideTimeout);
    // The factory may have made it: it is asked to scrap it.
    assert_eq!(scene.operations(), ["shop sell", "factory make", "factory scrap", "shop refund"]);
}

#[test]
fn a_cancelled_execution_waits_for_the_system_that_is_asked_and_then_turns_back() {
    let mut scene = Scene::open(&Settings::default(), |question| match operation(question) {
        "make" => None,
        _ => willing(question),
    });
    let execution = scene.start(&order()).expect("it is acceptable");
    let cancel = CancelExecution { metaverse: system_id("plaza"), execution: execution.id.clone() };
    let effects = scene.sdc.deliver(METAVERSE, key(8), cancel);
    scene.follow(effects);
    assert_eq!(scene.read(&execution).state, ExecutionState::Running);
    let other = CancelExecution { metaverse: system_id("arena"), execution: execution.id.clone() };
    let refused = answer::<ExecutionShown>(scene.sdc.deliver(METAVERSE, key(8), other), METAVERSE, key(8));
    assert_eq!(refused.expect("an answer").map(|_| ()).map_err(|p| p.kind), Err(ProblemKind::RequestUnknown));
    scene.answers = Box::new(willing);
    // The factory answers.
    let driver = scene.sdc.behaviour.register.all.get(0).and_then(|kept| kept.driver).expect("it is asked");
    let answer = SdcMsg::ServiceExecuted(done(&json!({"parcel": 9})).expect("an answer"));
    let effects = scene.sdc.deliver(EntityId::new(ThirdPartySystemMsg::KIND, 0, 2), driver, answer);
    scene.follow(effects);
    let execution = scene.read(&execution);
    assert_eq!(execution.state, ExecutionState::Compensated);
    assert_eq!(execution.problem.expect("it says why").kind, ProblemKind::ExecutionCancelled);
    assert_eq!(scene.operations(), ["shop sell", "factory make", "factory scrap", "shop refund"]);
}

#[test]
fn the_same_key_again_is_the_same_request() {
    let mut scene = Scene::open(&Settings::default(), willing);
    let first = scene.start_with(&order(), Some("k-1")).expect("it is acceptable");
    let again = scene.start_with(&order(), Some("k-1")).expect("it is the same");
    assert_eq!((again, scene.asked.len()), (first, 3));
    let mut other = order();
    other["input"]["count"] = json!(3);
    let refused = scene.start_with(&other, Some("k-1")).expect_err("it is another");
    assert_eq!(refused.kind, ProblemKind::RequestIdReused);
}

#[test]
fn a_chain_that_calls_itself_ends_at_a_depth() {
    let settings = Settings { chain_depth_max: 2, ..Settings::default() };
    let mut scene = Scene::open(&settings, |_| None);
    let mut chain = order();
    let mut depth = 0;
    let refused = loop {
        match scene.start(&chain) {
            Ok(execution) => chain["within"] = json!(execution.id),
            Err(problem) => break problem,
        }
        depth += 1;
    };
    assert_eq!((depth, refused.kind, refused.pointer.as_deref()), (3, ProblemKind::LimitReached, Some("/within")));
    assert!(refused.detail.contains("chain_depth_max"));
    chain["within"] = json!("exec-none");
    assert_eq!(scene.start(&chain).expect_err("it is unknown").kind, ProblemKind::RequestUnknown);
}

#[test]
fn executions_under_way_have_a_limit_for_each_metaverse_system() {
    let settings = Settings { executions_under_way_max: 1, ..Settings::default() };
    let mut scene = Scene::open(&settings, |_| None);
    scene.start(&order()).expect("it is the first");
    let refused = scene.start(&order()).expect_err("it is the second");
    assert_eq!(refused.kind, ProblemKind::LimitReached);
    assert!(refused.detail.contains("executions_under_way_max"));
}

#[test]
fn a_system_that_keeps_failing_is_left_alone_and_probed_with_one_call() {
    let settings = Settings { circuit_failures_max: 2, circuit_open_ms: 5_000, ..Settings::default() };
    let mut scene = Scene::open(&settings, |_| failed(ProblemKind::OutsideTimeout));
    let mut chain = order();
    chain["steps"][0]["compensation"] = Value::Null;
    for _ in 0..4 {
        scene.start(&chain).expect("it is acceptable");
    }
    assert_eq!(scene.asked.len(), 2, "two calls have opened the circuit");
    scene.sdc.now.monotonic_ms += 5_000;
    scene.answers = Box::new(willing);
    let execution = scene.start(&chain).expect("it is acceptable");
    assert_eq!(execution.state, ExecutionState::Succeeded);
}

#[test]
fn an_execution_is_forgotten_when_its_time_is_over() {
    let mut scene = Scene::open(&Settings::default(), willing);
    let execution = scene.start(&order()).expect("it is acceptable");
    let kept_ms = Settings::default().execution_kept_ms;
    scene.sdc.now.wall = scene.sdc.now.wall.plus_ms(kept_ms);
    scene.wait(kept_ms);
    let question = ReadExecution { metaverse: system_id("plaza"), execution: execution.id, wait_ms: 0 };
    let read = answer::<ExecutionShown>(scene.sdc.deliver(METAVERSE, key(6), question), METAVERSE, key(6));
    assert_eq!(read.expect("an answer").map(|_| ()).map_err(|p| p.kind), Err(ProblemKind::RequestUnknown));
    let mut records = Vec::new();
    scene.sdc.behaviour.snapshot(0, &mut records);
    assert!(records.is_empty(), "nothing of it is left");
}

#[test]
fn a_chain_that_cannot_be_is_refused_with_the_place_before_anything_is_done() {
    let cases: [(&str, Value); 9] = [
        ("/steps", json!([])),
        ("/steps/0/name", json!("1st")),
        ("/steps/0", json!(null)),
        ("/steps/1/name", json!("sale")),
        ("/steps/0/input", json!("input.")),
        ("/steps/0/when", json!("(((")),
        ("/deadlineMs", json!(0)),
        ("/steps/0/retry", json!({"count": 1_000, "backoffMs": 1})),
        ("/steps/0/mapping", json!({"base": "http://evil.example", "path": "/x"})),
    ];
    for (place, value) in cases {
        let mut chain = order();
        match place {
            "/steps/0" => chain["steps"][0]["operation"] = value,
            _ => *member(&mut chain, place) = value,
        }
        let mut scene = Scene::open(&Settings::default(), willing);
        let refused = scene.start(&chain).expect_err(place);
        assert_eq!(refused.kind, ProblemKind::InvalidDocument, "{place}");
        assert!(refused.pointer.as_deref().is_some_and(|pointer| pointer.starts_with(place)), "{place}: {refused:?}");
        assert!(scene.asked.is_empty() && scene.sdc.records.is_empty(), "{place}");
    }
}

/// A member of the chain, which it may not have yet.
fn member<'c>(chain: &'c mut Value, place: &str) -> &'c mut Value {
    let (parent, member) = place.rsplit_once('/').expect("it is a pointer");
    let parent = if parent.is_empty() { chain } else { chain.pointer_mut(parent).expect("its parent is there") };
    &mut parent[member]
}

#[test]
fn executions_that_ended_make_room_for_new_ones_and_those_under_way_do_not() {
    let settings = Settings { executions_kept_max: 1, ..Settings::default() };
    let mut scene = Scene::open(&settings, willing);
    let first = scene.start(&order()).expect("it is acceptable");
    scene.answers = Box::new(|_| None);
    let second = scene.start(&order()).expect("the first has ended");
    assert_eq!(scene.read(&second).state, ExecutionState::Running);
    let question = ReadExecution { metaverse: system_id("plaza"), execution: first.id, wait_ms: 0 };
    let read = answer::<ExecutionShown>(scene.sdc.deliver(METAVERSE, key(6), question), METAVERSE, key(6));
    assert_eq!(read.expect("an answer").map(|_| ()).map_err(|p| p.kind), Err(ProblemKind::RequestUnknown));
    let refused = scene.start(&order()).expect_err("nothing has ended");
    assert!(refused.detail.contains("executions_kept_max"), "{}", refused.detail);
}

#[test]
fn a_step_that_its_system_does_not_offer_is_not_asked_for() {
    let mut scene = Scene::open(&Settings::default(), willing);
    let offers = KeepThirdPartySystem { system: registered("factory", 2) };
    let effects = scene.sdc.deliver(EntityId::new(TpsrMsg::KIND, 0, 0), key(1), offers);
    scene.follow(effects);
    let execution = scene.start(&order()).expect("it is acceptable");
    let problem = execution.problem.expect("it says why");
    assert!(problem.detail.contains("offers no operation `make`"), "{}", problem.detail);
    assert_eq!(scene.operations(), ["shop sell", "shop refund"]);
}
