//! FGMV-29 8.2.1 and 8.3.1: the performance of registered systems, measured where they are called.

use twinway_protocol::{
    Effect, EntityId, Mailbox, PendingKey,
    message::{
        AnswerRequest, ExecuteService, OpenSystem, OutsideAnswer, ReportPerformance, SdcMsg, ServiceExecuted,
        ServiceRequest, SessionChanged, TpsrMsg, Wire,
    },
    signal::Signal,
};

use super::REPORT;
use crate::{
    Settings,
    external::third_party_system::ThirdPartySystem,
    sif::testing::{CALLER, THIRD_PARTY, json, key, system_id},
    trial::{Trial, sent},
};

fn shop() -> Trial<ThirdPartySystem> {
    let mut trial = Trial::new(THIRD_PARTY, &Settings::default());
    trial.deliver(CALLER, key(1), OpenSystem { id: system_id("shop"), reach: None });
    trial
}

/// Asks the shop something; gives the request's id, and the timers that were set.
fn ask(shop: &mut Trial<ThirdPartySystem>) -> PendingKey {
    let request = Box::new(ServiceRequest::Use { operation: "order".into(), input: json("{}") });
    let question = ExecuteService {
        authorization: "auth-1".parse().expect("it is a name"),
        metaverse: system_id("plaza"),
        user: "ada".parse().expect("it is a name"),
        request,
        idempotency_key: None,
        context: None,
        call: None,
    };
    let effects = shop.deliver(EntityId::new(SdcMsg::KIND, 0, 0), key(7), question);
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Signal(Signal::Request { request, .. }) => Some(*request),
        _ => None,
    });
    asked.expect("it is asked")
}

fn answer(shop: &mut Trial<ThirdPartySystem>, request: PendingKey) -> Vec<Effect<Wire>> {
    let answer = Box::new(OutsideAnswer::ExecuteService(ServiceExecuted { output: json("1") }));
    shop.deliver(CALLER, key(2), AnswerRequest { request, answer })
}

fn reports(effects: Vec<Effect<Wire>>) -> Vec<ReportPerformance> {
    let to_register = |wire| match wire {
        Wire::Tpsr(TpsrMsg::ReportPerformance(report)) => Some(report),
        _ => None,
    };
    sent(effects).into_iter().filter_map(|(_, wire)| to_register(wire)).collect()
}

/// In how many milliseconds the register is to be told.
fn timers(effects: &[Effect<Wire>]) -> Vec<u64> {
    let after = |effect: &Effect<Wire>| match effect {
        Effect::Timer { after_ms, key } if *key == REPORT => Some(*after_ms),
        _ => None,
    };
    effects.iter().filter_map(after).collect()
}

fn pass(shop: &mut Trial<ThirdPartySystem>, ms: u64) {
    shop.now.monotonic_ms += ms;
    shop.now.wall = shop.now.wall.plus_ms(ms);
}

#[test]
fn calls_are_reported_by_a_timer_and_never_one_by_one() {
    let mut shop = shop();
    for ms in [10, 10, 10, 200] {
        let request = ask(&mut shop);
        pass(&mut shop, ms);
        assert!(reports(answer(&mut shop, request)).is_empty(), "no message a call");
    }
    let late = ask(&mut shop);
    assert!(reports(shop.timeout(late)).is_empty());
    let report_ms = Settings::default().performance_report_ms;
    pass(&mut shop, report_ms);
    let told = reports(shop.timeout(REPORT));
    let [report] = &told[..] else { panic!("one report: {told:?}") };
    let measured = &report.performance;
    assert_eq!((measured.calls, measured.failed, measured.error_rate), (5, 1, 0.2));
    assert_eq!((measured.p50_ms, measured.p99_ms), (Some(10.0), Some(200.0)));
    assert_eq!((report.failed_in_a_row, report.heard_ms_ago), (1, Some(report_ms)));
}

#[test]
fn a_window_that_empties_is_reported_and_then_nothing_is_any_more() {
    let mut shop = shop();
    let request = ask(&mut shop);
    let mut due = timers(&answer(&mut shop, request));
    let mut told = Vec::new();
    while let Some(after_ms) = due.pop() {
        pass(&mut shop, after_ms);
        let effects = shop.timeout(REPORT);
        due = timers(&effects);
        told.extend(reports(effects));
        assert!(told.len() < 20, "it comes to rest");
    }
    assert_eq!(told.last().map(|report| report.performance.calls), Some(0), "what was measured is forgotten");
    assert!(told.len() < 8, "the timer came to rest: {}", told.len());
}

#[test]
fn an_open_session_is_told_when_it_opens_and_when_it_closes() {
    let mut shop = shop();
    for open in [true, false] {
        let told = reports(shop.deliver(CALLER, PendingKey::NONE, SessionChanged { open }));
        assert_eq!(told.iter().map(|report| report.in_session).collect::<Vec<_>>(), [open]);
        assert!(reports(shop.deliver(CALLER, PendingKey::NONE, SessionChanged { open })).is_empty(), "it is no news");
    }
}

/// After a report, the next is due when the window looks different by itself. What happens before that is told as soon as ever.
#[test]
fn a_failure_after_a_quiet_report_is_told_as_soon_as_the_first() {
    let report_ms = Settings::default().performance_report_ms;
    let mut shop = shop();
    let request = ask(&mut shop);
    assert_eq!(timers(&answer(&mut shop, request)), [report_ms]);
    pass(&mut shop, report_ms);
    let effects = shop.timeout(REPORT);
    let quiet = timers(&effects);
    assert!(quiet.iter().all(|after_ms| *after_ms > report_ms) && quiet.len() == 1, "{quiet:?}");
    let unanswered = ask(&mut shop);
    assert_eq!(timers(&shop.timeout(unanswered)), [report_ms], "and not when the window empties");
    assert!(reports(shop.timeout(REPORT)).is_empty(), "it is not due yet");
    pass(&mut shop, report_ms);
    let told = reports(shop.timeout(REPORT));
    assert_eq!(told.iter().map(|report| report.failed_in_a_row).collect::<Vec<_>>(), [1]);
}
