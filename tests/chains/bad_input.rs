//! Third parties and chains that mean no good: a clear problem, within limits, and the daemon goes on.

use serde_json::{Value, json};
use twinway::{
    client::ClientError,
    protocol::{ProblemKind, collaboration::ExecutionState, registry::ThirdPartyDescription},
};

use super::{
    daemon::{Daemon, Place},
    server::Act,
    world::{WAIT, World, chain, order, run},
};

async fn still_works(world: &World, daemon: &Daemon) {
    world.shop.now(super::world::sell);
    let execution = run(&daemon.client("plaza"), order()).await;
    assert_eq!(execution.state, ExecutionState::Succeeded, "{execution:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_party_that_streams_for_ever_is_cut_off_and_one_that_redirects_is_not_followed() {
    let (place, world) = (Place::new(""), World::start().await);
    let daemon = place.start();
    world.register(&daemon).await;
    let plaza = daemon.client("plaza");
    world.shop.now(|_| Act::Stream);
    let mut document = order();
    document["steps"][0]["compensation"] = Value::Null;
    let execution = run(&plaza, document).await;
    let problem = execution.problem.expect("it says why");
    assert_eq!((execution.state, problem.kind), (ExecutionState::Uncertain, ProblemKind::OutsideUnclear));
    assert!(problem.detail.contains("cut off"), "{problem:?}");

    let elsewhere = format!("{}/cgi/make", world.works.url);
    world.shop.now(move |_| Act::Redirect(elsewhere.clone()));
    let execution = run(&plaza, order()).await;
    assert_eq!(execution.problem.expect("it says why").kind, ProblemKind::OutsideFailed);
    assert!(world.works.seen().is_empty(), "nobody was sent there");
    still_works(&world, &daemon).await;
}

fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> (Option<ProblemKind>, Option<String>) {
    match answer.expect_err("it is refused") {
        ClientError::Problem(problem) => (problem.kind(), problem.pointer.clone()),
        other => panic!("it is refused by the daemon: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_or_a_mapping_that_cannot_be_is_refused_with_its_place() {
    let (place, world) = (Place::new(""), World::start().await);
    let daemon = place.start();
    world.register(&daemon).await;
    let plaza = daemon.client("plaza");
    let deep = "(".repeat(2_000);
    let long = format!("'{}'", "x".repeat(100_000));
    for (place, text) in [("/steps/1/input", "input.("), ("/steps/1/when", deep.as_str()), ("/output", long.as_str())] {
        let mut document = order();
        document["steps"][1]["when"] = json!("true");
        *document.pointer_mut(place).expect("it is there") = json!(text);
        let (kind, pointer) = refused(plaza.run_chain(&chain(document), None, WAIT).await);
        assert_eq!((kind, pointer.as_deref()), (Some(ProblemKind::InvalidDocument), Some(place)));
    }
    // What a metaverse system asks for leads to no place that the third party did not name.
    let mut document = order();
    document["steps"][0]["mapping"] = json!({"base": world.works.url, "path": "/cgi/make"});
    let (kind, pointer) = refused(plaza.run_chain(&chain(document), None, WAIT).await);
    assert_eq!((kind, pointer.as_deref()), (Some(ProblemKind::InvalidDocument), Some("/steps/0/mapping/base")));
    let mut document = order();
    document["steps"][0]["mapping"] = json!({"path": "/{up}/secret", "parameters": {"up": "'..'"}});
    let execution = run(&plaza, document).await;
    assert_eq!(execution.problem.expect("it says why").pointer.as_deref(), Some("/steps/0/mapping/parameters/up"));
    assert!(world.shop.seen().is_empty());

    let description = json!({"id": "evil", "type": "x", "title": "x", "apis": [
        {"operation": "o", "mapping": {"base": "file:///etc", "path": "/passwd"}}]});
    let description: ThirdPartyDescription = serde_json::from_value(description).expect("it is a description");
    let (kind, pointer) = refused(daemon.client("evil").register_third_party_system(&description).await);
    assert_eq!((kind, pointer.as_deref()), (Some(ProblemKind::InvalidDocument), Some("/apis/0/mapping/base")));
    still_works(&world, &daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_calls_itself_ends_at_a_depth() {
    let (place, world) = (Place::new(""), World::start().await);
    let daemon = place.start();
    world.register(&daemon).await;
    let plaza = daemon.client("plaza");
    world.shop.now(|_| Act::Hang);
    let mut document = order();
    let mut depth = 0;
    let kind = loop {
        match plaza.run_chain(&chain(document.clone()), None, std::time::Duration::ZERO).await {
            Ok(execution) => document["within"] = json!(execution.id),
            refusal => break refused(refusal),
        }
        depth += 1;
        assert!(depth < 100, "it has no end");
    };
    assert_eq!(kind, (Some(ProblemKind::LimitReached), Some("/within".to_owned())));
}
