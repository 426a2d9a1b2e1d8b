//! Chains of third-party systems (FGMV-29 8.2.4): carried out, undone, and taken up after a crash at every record.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};
use twinway_protocol::{
    Behaviour, Effect, EntityId, Mailbox, PendingKey, PermissionId, Problem, ProblemKind, Recovery, Ref,
    access::AuthorizationGrant,
    collaboration::{Chain, Execution, ExecutionState, StepState},
    message::{
        CancelExecution, ExecuteService, ExecutionShown, KeepThirdPartySystem, MetaverseSystemMsg, ReadExecution,
        RunChain, SdcMsg, ServiceExecuted, ServiceRequest, ThirdPartySystemMsg, TpsaaMsg, UserAuthorizationVerified,
        Wire,
    },
    registry::ThirdPartySystem,
};

use crate::{
    Settings,
    sif::{
        sdc::{Happening, Record, Sdc},
        testing::{METAVERSE, answer, json as doc, key, registered, system_id},
    },
    trial::Trial,
};

const TPSR: EntityId = EntityId::new(twinway_protocol::message::TpsrMsg::KIND, 0, 0);
const SYSTEMS: [&str; 3] = ["shop", "factory", "courier"];

/// What a system answers; `None`: nothing.
type Answer = Option<Result<ServiceExecuted, Problem>>;

/// SDC with TPSAA, which permits, and three systems, which answer as a test says.
struct Scene<'a> {
    sdc: Trial<Sdc>,
    answers: Box<dyn FnMut(&ExecuteService) -> Answer + 'a>,
    /// What was asked: system, operation and key.
    asked: Vec<(String, String, String)>,
    permits: Box<dyn Fn(&str) -> bool>,
    /// What was told to the metaverse system.
    told: Vec<(&'static str, Value)>,
    timers: Vec<(u64, PendingKey)>,
    shown: Vec<Result<ExecutionShown, Problem>>,
}

impl<'a> Scene<'a> {
    fn new(settings: &Settings, answers: impl FnMut(&ExecuteService) -> Answer + 'a) -> Self {
        Self {
            sdc: Trial::new(EntityId::new(SdcMsg::KIND, 0, 0), settings),
            answers: Box::new(answers),
            asked: Vec::new(),
            permits: Box::new(|_| true),
            told: Vec::new(),
            timers: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// The same, with the systems known.
    fn open(settings: &Settings, answers: impl FnMut(&ExecuteService) -> Answer + 'a) -> Self {
        let mut scene = Self::new(settings, answers);
        scene.register();
        scene
    }

    fn register(&mut self) {
        for (slot, id) in (1..).zip(SYSTEMS) {
            let mut system = ThirdPartySystem::clone(&registered(id, slot));
            system.description.apis.clear();
            let effects = self.sdc.deliver(TPSR, key(1), KeepThirdPartySystem { system: Arc::new(system) });
            self.follow(effects);
        }
    }

    /// Delivers what follows until nobody has anything to say.
    fn follow(&mut self, effects: Vec<Effect<Wire>>) {
        let mut queue: VecDeque<_> = effects.into();
        while let Some(effect) = queue.pop_front() {
            let (wire, meta) = match effect {
                Effect::Send { wire: Some(wire), meta } => (wire, meta),
                Effect::Timer { after_ms, key } => {
                    self.timers.push((after_ms, key));
                    continue;
                }
                _ => continue,
            };
            let effects = match wire {
                Wire::Tpsaa(TpsaaMsg::VerifyUserAuthorization(question)) => {
                    let answer = if (self.permits)(&question.operation) {
                        Ok(verified(&question.operation))
                    } else {
                        Err(Problem::new(ProblemKind::PermissionMissing, "no"))
                    };
                    self.sdc.deliver(meta.to, meta.pending, SdcMsg::UserAuthorizationVerified(answer))
                }
                Wire::ThirdPartySystem(ThirdPartySystemMsg::ExecuteService(question)) => {
                    let slot = usize::try_from(meta.to.slot()).expect("it is small") - 1;
                    let operation = match &*question.request {
                        ServiceRequest::Use { operation, .. } => operation.to_string(),
                        ServiceRequest::Share { topic, .. } => format!("share {topic}"),
                    };
                    let idempotency = question.idempotency_key.clone().expect("it has a key").into_string();
                    self.asked.push((SYSTEMS[slot].to_owned(), operation, idempotency));
                    match (self.answers)(&question) {
                        Some(answer) => self.sdc.deliver(meta.to, meta.pending, SdcMsg::ServiceExecuted(answer)),
                        None => continue,
                    }
                }
                Wire::MetaverseSystem(MetaverseSystemMsg::NotifyExecution(notice)) => {
                    self.told.push((notice.event, notice.data.read().expect("it is JSON")));
                    continue;
                }
                Wire::MetaverseSystem(MetaverseSystemMsg::ExecutionShown(answer)) => {
                    self.shown.push(answer);
                    continue;
                }
                _ => continue,
            };
            queue.extend(effects);
        }
    }

    fn start(&mut self, chain: &Value) -> Result<Execution, Problem> {
        self.start_with(chain, None)
    }

    fn start_with(&mut self, chain: &Value, idempotency: Option<&str>) -> Result<Execution, Problem> {
        let chain: Chain = serde_json::from_value(chain.clone()).expect("it is a chain");
        let run = RunChain {
            metaverse: system_id("plaza"),
            chain: Arc::new(chain),
            key: idempotency.map(Into::into),
            wait_ms: 0,
        };
        let effects = self.sdc.deliver(METAVERSE, key(5), run);
        self.follow(effects);
        let shown = self.shown.pop().expect("it is answered")?;
        Ok(self.read(&shown.execution))
    }

    /// Runs every timer whose time is within `ms`, again and again.
    fn wait(&mut self, ms: u64) {
        while let Some(index) = self.timers.iter().position(|(after, _)| *after <= ms) {
            let (_, key) = self.timers.remove(index);
            let effects = self.sdc.timeout(key);
            self.follow(effects);
        }
    }

    fn read(&mut self, execution: &Execution) -> Execution {
        let question = ReadExecution { metaverse: system_id("plaza"), execution: execution.id.clone(), wait_ms: 0 };
        let effects = self.sdc.deliver(METAVERSE, key(6), question);
        *answer::<ExecutionShown>(effects, METAVERSE, key(6)).expect("an answer").expect("it is there").execution
    }

    fn operations(&self) -> Vec<String> {
        self.asked.iter().map(|(system, operation, _)| format!("{system} {operation}")).collect()
    }
}

fn verified(operation: &str) -> UserAuthorizationVerified {
    let grant = AuthorizationGrant {
        user_information: doc("{\"customer\":7}"),
        scope: ["*".to_owned()].into(),
        expires_at: None,
    };
    let authorization = PermissionId::new(format!("auth-{operation}")).expect("it is a name");
    UserAuthorizationVerified { authorization, grant: Box::new(grant) }
}

fn done(output: &Value) -> Answer {
    Some(Ok(ServiceExecuted { output: doc(&output.to_string()) }))
}

fn failed(kind: ProblemKind) -> Answer {
    Some(Err(Problem::new(kind, "no")))
}

/// What an operation is given.
fn input(question: &ExecuteService) -> Value {
    match &*question.request {
        ServiceRequest::Use { input, .. } => input.read().expect("it is JSON"),
        ServiceRequest::Share { data, .. } => data.read().expect("it is JSON"),
    }
}

fn operation(question: &ExecuteService) -> &str {
    match &*question.request {
        ServiceRequest::Use { operation, .. } => operation,
        ServiceRequest::Share { .. } => "share",
    }
}

/// An order: the shop sells, the factory makes, the courier brings (FGMV-28 7.1.2).
fn order() -> Value {
    json!({
        "user": "ada",
        "input": {"item": "lamp", "count": 2},
        "steps": [
            {"name": "sale", "system": "shop", "operation": "sell",
             "input": "{'article': input.item, 'pieces': input.count}", "output": "{'id': output.orderNumber}",
             "compensation": {"operation": "refund", "input": "{'order': results.sale.id}"}},
            {"name": "made", "system": "factory", "operation": "make", "idempotent": true,
             "input": "{'for': results.sale.id, 'who': user}",
             "compensation": {"operation": "scrap"}},
            {"name": "brought", "system": "courier", "operation": "bring", "input": "results.made"},
        ],
        "output": "{'order': results.sale.id, 'when': results.brought.day}",
    })
}

/// All three do what they are asked.
fn willing(question: &ExecuteService) -> Answer {
    match operation(question) {
        "sell" => done(&json!({"orderNumber": "o-1", "noise": true})),
        "make" => done(&json!({"parcel": 9})),
        "bring" => done(&json!({"day": "monday"})),
        _ => done(&json!("undone")),
    }
}

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
    let driver = scene.sdc.behaviour.register.get(0).and_then(|kept| kept.driver).expect("it is asked");
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

/// A new life with these records, through the journal's format. Its systems are told first, or last.
fn after_a_crash<'a>(
    records: &[Record],
    told_first: bool,
    answers: impl FnMut(&ExecuteService) -> Answer + 'a,
) -> Scene<'a> {
    let mut scene = Scene::new(&Settings::default(), answers);
    for record in records {
        let bytes = crate::codec::encode(record).expect("a record can be written");
        scene.sdc.behaviour.replay(crate::codec::decode(&bytes).expect("and read"));
    }
    if told_first {
        scene.register();
    }
    let effects = scene.sdc.starts(Recovery::Start);
    scene.follow(effects);
    scene.register();
    scene.wait(60_000);
    scene
}

/// Steps that a prefix of the records says were sent.
fn sent(records: &[Record]) -> Vec<u32> {
    let step = |record: &Record| match record {
        Record::Happened { what: Happening::Sent { step, .. }, .. } => Some(*step),
        _ => None,
    };
    records.iter().filter_map(step).collect()
}

#[test]
fn after_a_crash_at_any_record_a_chain_goes_on_or_is_undone_and_no_step_is_done_twice_unknowingly() {
    for (fails, told_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let answers = move |question: &ExecuteService| match operation(question) {
            "bring" if fails => failed(ProblemKind::OutsideFailed),
            _ => willing(question),
        };
        let mut whole = Scene::open(&Settings::default(), answers);
        whole.start(&order()).expect("it is acceptable");
        let records = std::mem::take(&mut whole.sdc.records);
        assert!(records.len() >= 8, "{records:?}");
        for cut in 1..=records.len() {
            let before = &records[..cut];
            let scene = after_a_crash(before, told_first, answers);
            let state = scene.sdc.behaviour.register.get(0).expect("it is kept").execution.view();
            assert!(state.state.has_ended(), "cut {cut}: {state:?}");
            let sent_before = sent(before);
            for (index, operation) in ["sell", "make", "bring"].into_iter().enumerate() {
                let index = u32::try_from(index).expect("it is small");
                let again = scene.asked.iter().any(|(_, asked, _)| asked == operation);
                let twice = sent_before.contains(&index) && again;
                assert!(!twice || operation == "make", "cut {cut}: {operation} was asked for twice: {state:?}");
            }
            // Where nobody knows, that is said, or it was undone.
            let left = |state| matches!(state, StepState::Uncertain | StepState::CompensationFailed);
            let uncertain = state.steps.iter().any(|step| left(step.state));
            assert_eq!(uncertain, state.state == ExecutionState::Uncertain, "cut {cut}: {state:?}");
            if state.state != ExecutionState::Succeeded && !uncertain {
                let kept =
                    state.steps.iter().zip(["shop", "factory"]).any(|(step, _)| step.state == StepState::Succeeded);
                assert!(!kept, "cut {cut}: something was not undone: {state:?}");
            }
        }
    }
}

#[test]
fn a_snapshot_makes_the_same_execution() {
    let mut scene = Scene::open(&Settings::default(), |question| match operation(question) {
        "make" => None,
        _ => willing(question),
    });
    let execution = scene.start_with(&order(), Some("k")).expect("it is acceptable");
    let mut records = Vec::new();
    scene.sdc.behaviour.snapshot(0, &mut records);
    let mut after = Trial::<Sdc>::new(EntityId::new(SdcMsg::KIND, 0, 0), &Settings::default());
    records.into_iter().for_each(|record| after.behaviour.replay(record));
    let kept = after.behaviour.register.by_id(&execution.id).expect("it is kept");
    assert_eq!(kept.execution.view(), scene.read(&execution));
    assert_eq!(kept.execution.started.metaverse_entity, Ref::new(METAVERSE));
    assert_eq!(after.behaviour.register.by_key(&system_id("plaza"), "k"), Some(0));
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
