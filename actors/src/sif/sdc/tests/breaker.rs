//! FGMV-29 8.2.4: the circuit breaker of a third-party system, fed by the monitoring of 8.2.1 as by the calls.

use std::sync::Arc;

use twinway_protocol::{
    Effect, PendingKey, Problem, ProblemKind,
    message::{
        ForgetThirdPartySystem, KeepStanding, KeepThirdPartySystem, SdcMsg, ServiceExecuted, ServiceResult,
        ThirdPartySystemMsg, TpsaaMsg, TpsrMsg, Wire,
    },
    registry::{BreakerState, Health, Standing},
    time::Timestamp,
};

use super::{Sdc, TPSAA, TPSR, call, scene::verified, sdc};
use crate::{
    Settings,
    sif::testing::{METAVERSE, THIRD_PARTY, answer, json, key, registered, system_id, to_kind},
    trial::Trial,
};
use twinway_protocol::Mailbox;

const SETTINGS: fn() -> Settings =
    || Settings { circuit_failures_max: 2, circuit_open_ms: 5_000, ..Settings::default() };

/// What the register is told of the breaker.
fn told(effects: &[Effect<Wire>]) -> Vec<(BreakerState, Timestamp)> {
    let report = |effect: &Effect<Wire>| match effect {
        Effect::Send { wire: Some(Wire::Tpsr(TpsrMsg::ReportBreaker(report))), .. } => {
            Some((report.breaker.state, report.breaker.since))
        }
        _ => None,
    };
    effects.iter().filter_map(report).collect()
}

fn monitored(sdc: &mut Trial<Sdc>, health: Health) -> Vec<Effect<Wire>> {
    let standing = Standing { health, ..Standing::default() };
    sdc.deliver(TPSR, PendingKey::NONE, KeepStanding { system: system_id("shop"), standing: Arc::new(standing) })
}

/// A call until it is sent, or refused: what followed, and the question's key if it was sent.
fn asked(sdc: &mut Trial<Sdc>) -> (Vec<Effect<Wire>>, Option<PendingKey>) {
    let pending = to_kind(call(sdc, "order"), TpsaaMsg::KIND).0.pending;
    let effects = sdc.deliver(TPSAA, pending, SdcMsg::UserAuthorizationVerified(Ok(verified("order"))));
    let sent = effects.iter().find_map(|effect| match effect {
        Effect::Send { wire: Some(Wire::ThirdPartySystem(ThirdPartySystemMsg::ExecuteService(_))), meta } => {
            Some(meta.pending)
        }
        _ => None,
    });
    (effects, sent)
}

fn refused(effects: Vec<Effect<Wire>>) -> Problem {
    answer::<ServiceResult>(effects, METAVERSE, key(5)).expect("it is answered").expect_err("it is refused")
}

fn executed(sdc: &mut Trial<Sdc>, asked: PendingKey, kind: Option<ProblemKind>) -> Vec<Effect<Wire>> {
    let answer = match kind {
        None => Ok(ServiceExecuted { output: json("1") }),
        Some(kind) => Err(Problem::new(kind, "no")),
    };
    sdc.deliver(THIRD_PARTY, asked, SdcMsg::ServiceExecuted(answer))
}

#[test]
fn a_system_that_the_monitoring_calls_offline_is_asked_by_one_call_and_again_when_it_returns() {
    let mut sdc = sdc(&SETTINGS());
    assert_eq!(told(&monitored(&mut sdc, Health::Offline)), [(BreakerState::HalfOpen, sdc.now.wall)]);
    assert_eq!(told(&monitored(&mut sdc, Health::Offline)), [], "that is known");
    let probe = asked(&mut sdc).1.expect("silence alone refuses nobody");
    let (effects, sent) = asked(&mut sdc);
    assert!(sent.is_none(), "the others wait for what becomes of it");
    let problem = refused(effects);
    assert_eq!(problem.kind, ProblemKind::OutsideUnreachable);
    assert!(problem.detail.contains("circuit is open"), "{}", problem.detail);
    let effects = executed(&mut sdc, probe, Some(ProblemKind::OutsideTimeout));
    assert_eq!(told(&effects), [(BreakerState::Open, sdc.now.wall)]);
    assert!(asked(&mut sdc).1.is_none(), "it is not called");
    // Long before the pause is over it is there again.
    sdc.now.wall = sdc.now.wall.plus_ms(10);
    assert_eq!(told(&monitored(&mut sdc, Health::Degraded)), [(BreakerState::HalfOpen, sdc.now.wall)]);
    let probe = asked(&mut sdc).1.expect("one call is let through");
    let effects = executed(&mut sdc, probe, None);
    assert_eq!(told(&effects), [(BreakerState::Closed, sdc.now.wall)]);
    assert!(asked(&mut sdc).1.is_some() && asked(&mut sdc).1.is_some(), "now it is called");
}

#[test]
fn calls_that_fail_open_the_breaker_and_the_register_hears_since_when() {
    let mut sdc = sdc(&SETTINGS());
    for failure in 0..2 {
        let sent = asked(&mut sdc).1.expect("it is called");
        sdc.now.wall = sdc.now.wall.plus_ms(7);
        let expected = if failure == 0 { vec![] } else { vec![(BreakerState::Open, sdc.now.wall)] };
        assert_eq!(told(&executed(&mut sdc, sent, Some(ProblemKind::OutsideTimeout))), expected);
    }
    let since = sdc.now.wall;
    sdc.now.wall = sdc.now.wall.plus_ms(1);
    let again = sdc.deliver(TPSR, key(1), KeepThirdPartySystem { system: registered("shop", 1) });
    assert_eq!(told(&again), [(BreakerState::Open, since)], "a register that forgot it is told again");
    sdc.now.monotonic_ms += 5_000;
    let (effects, probe) = asked(&mut sdc);
    assert_eq!(told(&effects), [(BreakerState::HalfOpen, sdc.now.wall)]);
    let effects = executed(&mut sdc, probe.expect("one call is let through"), Some(ProblemKind::OutsideTimeout));
    assert_eq!(told(&effects), [(BreakerState::Open, sdc.now.wall)], "it is as it was");
    let forget = ForgetThirdPartySystem { system: system_id("shop"), entity: registered("shop", 1).entity };
    sdc.deliver(TPSR, key(1), forget);
    sdc.deliver(TPSR, key(1), KeepThirdPartySystem { system: registered("shop", 1) });
    assert!(asked(&mut sdc).1.is_some(), "whoever registers again begins anew");
}

#[test]
fn a_refusal_is_no_failure() {
    let mut sdc = sdc(&SETTINGS());
    for _ in 0..3 {
        let sent = asked(&mut sdc).1.expect("it is called");
        assert_eq!(told(&executed(&mut sdc, sent, Some(ProblemKind::OutsideFailed))), []);
    }
}

#[test]
fn failures_that_are_long_ago_open_nothing() {
    let mut sdc = sdc(&SETTINGS());
    for _ in 0..4 {
        let sent = asked(&mut sdc).1.expect("it is called");
        assert_eq!(told(&executed(&mut sdc, sent, Some(ProblemKind::OutsideTimeout))), []);
        sdc.now.monotonic_ms += SETTINGS().circuit_window_ms + 1;
    }
}
