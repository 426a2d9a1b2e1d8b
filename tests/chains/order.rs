//! An order that three systems carry out, each asked in its own shape (FGMV-29 8.2.4; FGMV-28 7.1.2).

use std::collections::BTreeSet;

use serde_json::json;
use twinway::protocol::{
    JsonDoc, ProblemKind,
    collaboration::{ExecutionState, StepState},
};

use super::{
    daemon::Place,
    server::Act,
    world::{World, ada, chain, order, run, system},
};

#[tokio::test(flavor = "multi_thread")]
async fn each_system_is_asked_in_its_own_shape_with_what_the_one_before_gave() {
    let (place, world) = (Place::new(""), World::start().await);
    let daemon = place.start();
    world.register(&daemon).await;
    let execution = run(&daemon.client("plaza"), order()).await;
    assert_eq!(execution.state, ExecutionState::Succeeded, "{execution:?}");
    let output: serde_json::Value = execution.output.expect("it has one").read().expect("it is JSON");
    assert_eq!(output, json!({"order": "o/1", "day": "monday"}));

    let shop = &world.shop.seen()[0];
    assert_eq!(shop.line(), "POST /api/customers/7/orders");
    assert_eq!(shop.json(), json!({"article": "lamp", "pieces": 2}));
    assert_eq!((shop.header("x-channel"), shop.header("content-type")), (Some("plaza"), Some("application/json")));
    let works = &world.works.seen()[0];
    assert_eq!(works.line(), "POST /cgi/make?order=o%2F1");
    assert_eq!(works.body, "colour=warm%20white&count=2");
    assert_eq!(works.header("content-type"), Some("application/x-www-form-urlencoded"));
    let courier = &world.courier.seen()[0];
    assert_eq!(courier.line(), "POST /twinway");
    let frame = courier.json();
    assert_eq!(frame["data"]["request"]["use"], json!({"operation": "bring", "input": {"parcel": 17, "to": "ada"}}));
    assert_eq!(frame["data"]["context"], json!({"execution": execution.id, "step": "brought", "depth": 0}));
    // A system that is asked again is asked by the same key, and every step has its own.
    let key = |step: &str| format!("{}/{step}", execution.id);
    assert_eq!(frame["data"]["idempotencyKey"], json!(key("brought")));
    assert_eq!(courier.header("idempotency-key"), Some(key("brought").as_str()));
    assert_eq!(shop.header("idempotency-key"), Some(key("sale").as_str()));
    assert_eq!(works.header("twinway-execution"), Some(execution.id.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_undone_in_reverse_order_when_the_third_system_fails() {
    let (place, world) = (Place::new(""), World::start().await);
    let daemon = place.start();
    world.register(&daemon).await;
    world.courier.now(|_| Act::Answer(200, json!({"failed": "no van"})));
    // The works is slow to scrap: the shop is not asked before that is done.
    let shop = world.shop.clone();
    world.works.now(move |seen| {
        if seen.target.starts_with("/cgi/scrap") {
            assert!(shop.seen().iter().all(|seen| seen.method != "DELETE"), "the shop was asked first");
        }
        super::world::make(seen)
    });
    let execution = run(&daemon.client("plaza"), order()).await;
    assert_eq!(execution.state, ExecutionState::Compensated, "{execution:?}");
    let problem = execution.problem.expect("it says why");
    assert_eq!((problem.kind, problem.detail.as_str()), (ProblemKind::OutsideFailed, "no van"));
    let states: Vec<_> = execution.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Compensated, StepState::Compensated, StepState::Failed]);
    let lines = |seen: Vec<super::server::Seen>| seen.iter().map(super::server::Seen::line).collect::<Vec<_>>();
    assert_eq!(lines(world.works.seen()), ["POST /cgi/make?order=o%2F1", "GET /cgi/scrap?job=17"]);
    assert_eq!(lines(world.shop.seen()), ["POST /api/customers/7/orders", "DELETE /api/customers/7/orders/o%2F1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_a_systems_own_words_is_told_and_a_busy_one_is_asked_again() {
    let (place, world) = (Place::new(""), World::start().await);
    let daemon = place.start();
    world.register(&daemon).await;
    let plaza = daemon.client("plaza");
    world.shop.now(|_| Act::Answer(409, json!({"reason": "sold out"})));
    let execution = run(&plaza, order()).await;
    assert_eq!(execution.problem.expect("it says why").detail, "it answered 409: sold out");
    assert_eq!(execution.state, ExecutionState::Failed);
    world.shop.now(super::world::sell);
    world.works.now(|_| Act::Answer(200, json!({"ok": 0, "why": "no glass"})));
    let execution = run(&plaza, order()).await;
    assert_eq!(execution.problem.expect("it says why").detail, "it answered 200: no glass");
    assert_eq!(execution.state, ExecutionState::Compensated);

    let before = world.works.seen().len();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    world.works.now(move |seen| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 | 1 => Act::Answer(503, json!("busy")),
        _ => super::world::make(seen),
    });
    let execution = run(&plaza, order()).await;
    assert_eq!((execution.state, execution.steps[1].attempts), (ExecutionState::Succeeded, 3));
    let keys: BTreeSet<_> =
        world.works.seen()[before..].iter().map(|seen| seen.header("idempotency-key").map(str::to_owned)).collect();
    assert_eq!(keys.len(), 1, "it can tell that it is asked the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operation_of_one_system_is_converted_too() {
    let (place, world) = (Place::new(""), World::start().await);
    let daemon = place.start();
    world.register(&daemon).await;
    let plaza = daemon.client("plaza");
    let input = JsonDoc::parse(r#"{"item":"lamp","count":1}"#).expect("it is JSON");
    let output = plaza.use_third_party_system(&system("shop"), &ada(), "sell", &input).await.expect("it sells");
    assert_eq!(output.as_str(), r#"{"id":"o/1"}"#);
    assert_eq!(world.shop.seen()[0].line(), "POST /api/customers/7/orders");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_again_has_the_same_answer_and_nothing_is_done_twice() {
    let (place, world) = (Place::new(""), World::start().await);
    let daemon = place.start();
    world.register(&daemon).await;
    let plaza = daemon.client("plaza");
    let first = plaza.run_chain(&chain(order()), Some("mine"), super::world::WAIT).await.expect("it is acceptable");
    let again = plaza.run_chain(&chain(order()), Some("mine"), super::world::WAIT).await.expect("it is the same");
    assert_eq!((first, world.shop.seen().len()), (again, 1));
    let listed = plaza.executions(Some(ExecutionState::Succeeded), None, None).await.expect("it lists");
    assert_eq!(listed.items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_shared_with_several_systems_and_one_that_fails_keeps_it_from_none() {
    let (place, world) = (Place::new(""), World::start().await);
    let daemon = place.start();
    world.register(&daemon).await;
    world.works.now(|_| Act::Answer(500, json!("no")));
    world.shop.now(|_| Act::Answer(200, json!({"executeService": {"output": "thanks"}})));
    let systems = [system("works"), system("shop"), system("courier")];
    let data = JsonDoc::parse(r#"{"warmth":3}"#).expect("it is JSON");
    let (plaza, ada) = (daemon.client("plaza"), ada());
    let kelvin = Some("{'kelvin': input.warmth * 900}");
    let shared = plaza.share_data_with(&systems, &ada, "taste", &data, kelvin);
    let execution = shared.await.expect("it is acceptable");
    let states: Vec<_> = execution.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Failed, StepState::Succeeded, StepState::Succeeded], "{execution:?}");
    let shared = json!({"share": {"topic": "taste", "data": {"kelvin": 2700}}});
    assert_eq!(world.courier.seen()[0].json()["data"]["request"], shared);
}
