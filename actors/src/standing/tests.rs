//! FGMV-29 8.2.1 and 8.3.1: the status of registered systems, by the operator's rules.

use twinway_protocol::{
    message::ReportPerformance,
    registry::{Health, Performance, Reach, ServiceLevel},
    time::{Now, Timestamp},
};

use super::{Moved, Standings, Terms};
use crate::{Settings, sif::testing::system_id};

const LEVEL: ServiceLevel = ServiceLevel { availability: None, p99_ms: Some(100.0), description: None };
const WEBHOOK: Reach = Reach::Webhook(String::new());

fn at(ms: u64) -> Now {
    Now { monotonic_ms: 1_000 + ms, wall: Timestamp::from_unix_ms(1_000_000 + ms) }
}

fn watching(reach: &Reach) -> Standings {
    let mut standings = Standings::new(&Settings::default());
    standings.watch(
        &system_id("shop"),
        Terms { level: Some(&LEVEL), reach, registered_at: at(0).wall, has_breaker: true },
        at(0),
    );
    standings
}

fn calls(calls: u64, failed: u64, p99_ms: f64) -> ReportPerformance {
    let performance = Performance {
        window_ms: 60_000,
        calls,
        failed,
        error_rate: failed as f64 / calls as f64,
        p50_ms: Some(1.0),
        p99_ms: Some(p99_ms),
        availability: None,
    };
    ReportPerformance {
        system: system_id("shop"),
        performance: Box::new(performance),
        failed_in_a_row: 0,
        heard_ms_ago: Some(0),
        in_session: false,
    }
}

fn health(moved: Option<Moved>) -> Health {
    moved.expect("it is watched").standing.health
}

#[test]
fn what_makes_a_system_worse_is_apart_from_what_makes_it_better() {
    let mut standings = watching(&WEBHOOK);
    for (failed, expected) in
        [(10, Health::Healthy), (11, Health::Degraded), (6, Health::Degraded), (5, Health::Healthy)]
    {
        let moved = standings.report(calls(100, failed, 10.0), at(1));
        assert_eq!(health(moved), expected, "{failed} of 100 failed");
    }
    for (p99_ms, expected) in [(100.0, Health::Healthy), (120.0, Health::Degraded), (100.0, Health::Healthy)] {
        assert_eq!(health(standings.report(calls(100, 0, p99_ms), at(2))), expected, "p99 {p99_ms} ms");
    }
    assert_eq!(health(standings.report(calls(4, 4, 10.0), at(3))), Health::Healthy, "too few to judge by");
}

#[test]
fn calls_in_a_row_that_nobody_answers_make_a_system_offline_until_it_is_heard_of() {
    let mut standings = watching(&WEBHOOK);
    let mut report = calls(5, 5, 10.0);
    report.failed_in_a_row = 5;
    let moved = standings.report(report, at(1)).expect("it is watched");
    assert_eq!((moved.standing.health, moved.stood.is_some()), (Health::Offline, true));
    assert!(moved.standing.reason.as_ref().is_some_and(|why| why.contains("last 5 calls")), "{:?}", moved.standing);
    let moved = standings.heartbeat(&system_id("shop"), at(2));
    assert_eq!(moved.standing.health, Health::Degraded, "it is there, but its calls failed");
    assert_eq!(health(standings.report(calls(5, 0, 10.0), at(3))), Health::Healthy);
}

#[test]
fn silence_means_something_of_those_who_give_signs() {
    let silence_ms = Settings::default().health.offline_silence_ms;
    let shop = system_id("shop");
    let mut webhook = watching(&WEBHOOK);
    assert_eq!(webhook.arm(at(0)), None, "a webhook that nobody calls is silent, and healthy");
    webhook.heartbeat(&shop, at(5));
    assert_eq!(webhook.arm(at(5)), Some(silence_ms), "from its first heartbeat on it is waited for");

    let mut session = watching(&Reach::Session);
    assert_eq!(session.arm(at(0)), Some(silence_ms));
    let moved = session.tick(at(silence_ms)).pop().expect("it is due");
    assert_eq!(moved.standing.health, Health::Offline);
    assert_eq!(session.arm(at(silence_ms)), None, "nothing more is to come: no timer goes on for ever");
    let mut open = calls(5, 0, 10.0);
    open.in_session = true;
    assert_eq!(health(session.report(open, at(silence_ms + 1))), Health::Healthy);
    assert_eq!(session.arm(at(silence_ms + 1)), None, "an open session counts, however silent");
}

#[test]
fn a_registration_that_is_not_renewed_expires_is_kept_and_comes_back() {
    let shop = system_id("shop");
    let mut standings = watching(&WEBHOOK);
    standings.renew(&shop, Some(at(5_000).wall), at(0));
    assert_eq!(standings.arm(at(0)), Some(5_000));
    assert!(standings.tick(at(4_999)).is_empty());
    let moved = standings.tick(at(5_000)).pop().expect("it is due");
    assert_eq!((moved.standing.health, moved.stood.is_some()), (Health::Expired, true));
    assert_eq!(standings.heartbeat(&shop, at(6_000)).standing.health, Health::Expired, "a heartbeat renews nothing");
    let moved = standings.renew(&shop, Some(at(12_000).wall), at(7_000));
    assert_eq!((moved.standing.health, moved.standing.since), (Health::Healthy, at(7_000).wall));
    let away = 2_000.0 / 7_000.0;
    let measured = moved.standing.performance.availability.expect("it is measured");
    assert!((measured - (1.0 - away)).abs() < 1e-9, "{measured}");
}

#[test]
fn the_same_standing_is_no_news() {
    let mut standings = watching(&WEBHOOK);
    assert!(standings.report(calls(5, 0, 10.0), at(1)).is_some_and(|moved| moved.is_news));
    let mut again = calls(5, 0, 10.0);
    again.heard_ms_ago = Some(1);
    assert!(standings.report(again, at(2)).is_some_and(|moved| !moved.is_news && moved.stood.is_none()));
}
