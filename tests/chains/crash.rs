//! SIGKILL while a chain is under way (FGMV-29 8.2.4): it goes on where it was, or is undone.

use std::time::Duration;

use twinway::protocol::collaboration::{ExecutionState, StepState};

use super::{
    daemon::{Place, runtime},
    server::{Act, Seen},
    world::{WAIT, World, chain, make, order},
};

fn making(seen: &Seen) -> bool {
    seen.target.starts_with("/cgi/make")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_a_system_that_relies_on_the_key_is_sent_again_and_the_chain_goes_on() {
    let (place, world) = (Place::new(""), World::start().await);
    let mut daemon = place.start();
    world.register(&daemon).await;
    world.works.now(|_| Act::Hang);
    let begun = daemon.client("plaza").run_chain(&chain(order()), Some("k"), Duration::ZERO).await.expect("it begins");
    world.works.until(making).await;
    daemon.kill();
    world.works.now(make);
    let daemon = place.start();
    let execution = daemon.client("plaza").execution(&begun.id, WAIT).await.expect("it is kept");
    assert_eq!(execution.state, ExecutionState::Succeeded, "{execution:?}");
    let works = world.works.seen();
    let keys: Vec<_> = works.iter().map(|seen| seen.header("idempotency-key")).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1], "the works can tell that it is asked the same");
    assert_eq!((world.shop.seen().len(), world.courier.seen().len()), (1, 1), "nobody else was asked twice");
    // The request has its answer across the crash.
    let again = daemon.client("plaza").run_chain(&chain(order()), Some("k"), WAIT).await.expect("it is the same");
    assert_eq!(again, execution);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_may_not_be_repeated_is_not_and_everything_is_undone() {
    let (place, world) = (Place::new(""), World::start().await);
    let mut daemon = place.start();
    world.register(&daemon).await;
    world.works.now(|_| Act::Hang);
    let mut document = order();
    document["steps"][1]["idempotent"] = false.into();
    document["steps"][1]["compensation"]["input"] = "{'job': has(results.made) ? results.made.job : 0}".into();
    let begun = daemon.client("plaza").run_chain(&chain(document), None, Duration::ZERO).await.expect("it begins");
    world.works.until(making).await;
    daemon.kill();
    world.works.now(make);
    let daemon = place.start();
    let execution = daemon.client("plaza").execution(&begun.id, WAIT).await.expect("it is kept");
    assert_eq!(execution.state, ExecutionState::Compensated, "{execution:?}");
    assert_eq!(execution.steps[1].state, StepState::Compensated);
    let lines: Vec<_> = world.works.seen().iter().map(Seen::line).collect();
    assert_eq!(lines, ["POST /cgi/make?order=o%2F1", "GET /cgi/scrap?job=0"]);
    assert_eq!(world.shop.seen().last().map(|seen| seen.method.clone()).as_deref(), Some("DELETE"));
    assert!(world.courier.seen().is_empty());
}

#[test]
fn an_execution_that_is_being_undone_goes_on_with_that_however_often_the_daemon_is_killed() {
    let place = Place::new("");
    let runtime = runtime();
    runtime.block_on(async {
        let world = World::start().await;
        let mut daemon = place.start();
        world.register(&daemon).await;
        world.courier.now(|_| Act::Answer(200, serde_json::json!({"failed": "no van"})));
        world.works.now(|seen| if making(seen) { make(seen) } else { Act::Hang });
        let begun = daemon.client("plaza").run_chain(&chain(order()), None, Duration::ZERO).await.expect("it begins");
        world.works.until(|seen| !making(seen)).await;
        daemon.kill();
        // Somewhere in its start, or after it.
        place.start_and_kill(Duration::from_millis(60));
        world.works.now(make);
        let mut daemon = place.start();
        let execution = daemon.client("plaza").execution(&begun.id, WAIT).await.expect("it is kept");
        assert_eq!(execution.state, ExecutionState::Compensated, "{execution:?}");
        assert_eq!(world.courier.seen().len(), 1);
        daemon.kill();
    });
    let verified = place.journal("verify");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
