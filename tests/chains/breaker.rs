//! The circuit breaker of a third-party system over sockets (FGMV-29 8.2.4): opened by calls and by the monitoring of 8.2.1,
//! shown beside what was measured, found by it, and half-open when the system is heard of again.

use std::time::Instant;

use serde_json::json;
use twinway::{
    client::{Client, Registered},
    protocol::{
        JsonDoc, ProblemKind,
        registry::{BreakerState, Health, Standing, SystemQuery, ThirdPartyDescription},
    },
};

use super::{
    daemon::{Daemon, Place, WAIT_MAX},
    server::{Act, Server},
    world::{ada, system},
};

/// Two calls in a row that are not answered make a system offline, and its breaker would stay open for long.
const SETTINGS: &str = "[entities]\ncircuit_failures_max = 2\ncircuit_open_ms = 3600000\nperformance_report_ms = 10\n\
    [entities.health]\noffline_failed_in_a_row = 2\n";

fn bank(url: &str) -> ThirdPartyDescription {
    let base = format!("{url}/api");
    let document = json!({
        "id": "bank", "type": "bank", "title": "A bank", "reach": {"webhook": format!("{url}/twinway")},
        "apis": [{"operation": "pay", "mapping": {"base": base, "path": "/payments"}}],
    });
    serde_json::from_value(document).expect("it is a description")
}

/// How the bank stands as soon as it stands so.
async fn stands(daemon: &Daemon, so: impl Fn(&Standing) -> bool) -> Standing {
    let begin = Instant::now();
    loop {
        let standing = daemon.client("bank").third_party_system(&system("bank")).await.expect("it is there").standing;
        if so(&standing) {
            return standing;
        }
        assert!(begin.elapsed() < WAIT_MAX, "{standing:?}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn pay(plaza: &Client) -> Result<JsonDoc, ProblemKind> {
    let paid = plaza.use_third_party_system(&system("bank"), &ada(), "pay", &JsonDoc::null()).await;
    paid.map_err(|error| error.kind().expect("it is refused by the daemon"))
}

fn is(state: BreakerState) -> impl Fn(&Standing) -> bool {
    move |standing| standing.breaker.is_some_and(|breaker| breaker.state == state)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_is_shown_and_found_and_opens_for_a_probe_when_the_system_is_heard_of_again() {
    let (place, server) = (Place::new(SETTINGS), Server::start(|_| Act::Answer(200, json!("paid"))).await);
    let daemon = place.start();
    let (plaza, own) = (daemon.client("plaza"), daemon.client("bank"));
    own.register_third_party_system(&bank(&server.url)).await.expect("it registers");
    let scope = std::collections::BTreeSet::from(["*".to_owned()]);
    plaza.request_user_authorization(&system("bank"), &ada(), &scope).await.expect("it is granted");
    assert_eq!(pay(&plaza).await.expect("it is there").as_str(), "\"paid\"");
    let closed = stands(&daemon, is(BreakerState::Closed)).await.breaker.expect("it has one");

    // It moves to where nobody is: port 9 of this machine discards nothing, for nobody listens there.
    own.replace_third_party_system(&bank("http://127.0.0.1:9"), None).await.expect("it changes");
    for _ in 0..2 {
        assert_eq!(pay(&plaza).await, Err(ProblemKind::OutsideUnreachable));
    }
    let open = stands(&daemon, is(BreakerState::Open)).await.breaker.expect("it has one");
    assert!(open.since >= closed.since, "it says since when");
    stands(&daemon, |standing| standing.health == Health::Offline).await;
    let found = async |filter: &str| {
        let query = SystemQuery { filter: Some(filter.to_owned()), ..SystemQuery::default() };
        plaza.search_third_party_systems(&query).await.expect("it is understood").items.len()
    };
    assert_eq!(found("breaker.state == 'open'").await, 1);
    assert_eq!(found("breaker.state == 'closed'").await, 0);

    own.replace_third_party_system(&bank(&server.url), None).await.expect("it changes");
    let asked = server.seen().len();
    assert_eq!(pay(&plaza).await, Err(ProblemKind::OutsideUnreachable), "it is left alone, though it would answer");
    assert_eq!(server.seen().len(), asked);
    own.heartbeat(Registered::ThirdParty, &system("bank")).await.expect("it is registered");
    stands(&daemon, is(BreakerState::HalfOpen)).await;
    assert_eq!(pay(&plaza).await.expect("one call is let through").as_str(), "\"paid\"");
    stands(&daemon, is(BreakerState::Closed)).await;
}
