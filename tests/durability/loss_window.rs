//! With a loss window, reports may be lost with the last moments before a crash, and nothing else may.

use std::time::Instant;

use twinway::protocol::JsonDoc;

use super::{
    check::check,
    daemon::{Place, WAIT_MAX, runtime},
    facts::{Facts, Registration},
    world::{POWER, advisor, home, lamp, number, system, values},
};

/// The numbers of a journal that a daemon writes.
fn truncated(place: &Place) -> u64 {
    let output = place.journal("stats");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let numbers: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    numbers["truncated"].as_u64().expect("it is a number")
}

#[test]
fn a_report_is_as_durable_as_whatever_is_acknowledged_after_it() {
    // The window is longer than the test: nothing is written but for the sake of what has to be.
    let place = Place::new("[journal]\nloss_window_ms = 600000\n");
    runtime().block_on(async {
        let mut daemon = place.start();
        let home_client = daemon.client("home");
        home_client.register_twin_system(&home("home", 2)).await.expect("it registers");
        let mut reported = Vec::new();
        for (twin, value) in (1..=20).map(|value| (lamp("home", value % 2), value)) {
            let version = home_client.report_change(&twin, &values(POWER, value), None).await;
            reported.push((twin, value, version.expect("its twin shows it")));
        }
        daemon.client("advisor").register_third_party_system(&advisor("advisor")).await.expect("it registers");
        daemon.kill();
        daemon = place.start();
        for (twin, value, version) in reported.into_iter().rev().take(2) {
            let view = daemon.client("looker").twin(&twin).await.expect("it is there");
            assert_eq!((view.version, &view.properties[POWER].value), (version, &number(value)));
        }
    });
}

#[test]
fn what_was_acknowledged_is_there_after_the_journal_was_shortened() {
    // Snapshots may wait for the whole window; what they cover must not go before they are written.
    let place = Place::new("[journal]\nloss_window_ms = 600000\n[runtime]\ncheckpoint_bytes = 4096\n");
    let mut facts = Facts::default();
    runtime().block_on(async {
        let mut daemon = place.start();
        let mut shortened = 0;
        for round in 0..3 {
            for number in 0..5 {
                let id = format!("advisor-{round}-{number}");
                let mut sent = advisor(&id);
                sent.properties.insert("padding".to_owned(), JsonDoc::from_value(&"x".repeat(1_000)).expect("text"));
                let listing = daemon.client(&id).register_third_party_system(&sent).await.expect("it registers");
                let registration = Registration { acknowledged: Some(listing), ..Registration::sent(sent) };
                facts.advisors.insert(system(&id), registration);
            }
            let began = Instant::now();
            while truncated(&place) == shortened {
                assert!(began.elapsed() < WAIT_MAX, "the journal is not shortened");
            }
            shortened = truncated(&place);
            daemon.kill();
            daemon = place.start();
            check(&daemon, &mut facts).await;
        }
    });
}
