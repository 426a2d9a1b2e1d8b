//! FGMV-29 8.2.1: registrations change, are renewed, expire and end.

use twinway_protocol::{
    Effect, EntityId, Mailbox, PendingKey, Problem, ProblemKind,
    message::{
        Deregister, Deregistered, Heartbeat, Reannounce, RenewRegistration, ReportBreaker, SDC, SystemStands,
        ThirdPartySystemMsg, ThirdPartySystemRegistered, TpsdMsg, TpsrMsg, UpdateThirdPartySystem, Wire,
    },
    registry::{Breaker, BreakerState, Health, ThirdPartyDescription},
    signal::Signal,
};

use super::{super::Tpsr, registered, tpsr};
use crate::{
    sif::testing::{THIRD_PARTY, answer, description, key, shown, system_id, to_kind},
    standing::WATCH,
    trial::Trial,
};

fn update(tpsr: &mut Trial<Tpsr>, description: ThirdPartyDescription, if_version: Option<u64>) -> Vec<Effect<Wire>> {
    tpsr.deliver(THIRD_PARTY, key(5), UpdateThirdPartySystem { description: Box::new(description), if_version })
}

fn updated(effects: Vec<Effect<Wire>>) -> Option<Result<ThirdPartySystemRegistered, Problem>> {
    answer(effects, THIRD_PARTY, key(5))
}

fn titled(title: &str) -> ThirdPartyDescription {
    ThirdPartyDescription { title: title.to_owned(), ..description("shop") }
}

/// Everyone who was asked by `effects` keeps it.
fn keep_all(tpsr: &mut Trial<Tpsr>, effects: Vec<Effect<Wire>>) -> Vec<Effect<Wire>> {
    let asked = crate::trial::sent(effects).into_iter().filter(|(meta, _)| meta.pending != PendingKey::NONE);
    let mut last = Vec::new();
    for (meta, _) in asked.collect::<Vec<_>>() {
        assert!(last.is_empty(), "answered before everyone keeps it");
        last = tpsr.deliver(meta.to, meta.pending, TpsrMsg::Kept(Ok(twinway_protocol::message::Kept)));
    }
    last
}

/// The register after a restart: its records went through the codec of the journal.
fn restarted(before: &Trial<Tpsr>) -> Trial<Tpsr> {
    let mut after = tpsr();
    for record in &before.records {
        let bytes = crate::codec::encode(record).expect("a record can be written");
        twinway_protocol::Behaviour::replay(&mut after.behaviour, crate::codec::decode(&bytes).expect("and read"));
    }
    after.now = before.now;
    after
}

fn health(effects: &[Effect<Wire>]) -> Vec<(Health, bool)> {
    let standing = |effect: &Effect<Wire>| match effect {
        Effect::Signal(Signal::Standing { standing, changed, .. }) => Some((standing.health, *changed)),
        _ => None,
    };
    effects.iter().filter_map(standing).collect()
}

#[test]
fn a_description_changes_with_the_version_that_its_owner_saw() {
    let mut tpsr = tpsr();
    registered(&mut tpsr, "shop", 1);
    let refused = updated(update(&mut tpsr, titled("Boats"), Some(2))).expect("it is answered at once");
    assert_eq!(refused.expect_err("it is another version").kind, ProblemKind::VersionMismatch);
    let records = tpsr.records.len();
    let effects = update(&mut tpsr, titled("Boats"), Some(1));
    assert_eq!(tpsr.records.len(), records + 1);
    let kept = keep_all(&mut tpsr, effects);
    let system = updated(kept).expect("everyone keeps it").expect("it is changed").system;
    assert_eq!((system.version, system.description.title.as_str()), (2, "Boats"));
    let same = updated(update(&mut tpsr, titled("Boats"), None)).expect("it is answered at once");
    assert_eq!(same.expect("nothing changed").system.version, 2);
    assert_eq!(tpsr.records.len(), records + 1, "the same again changes nothing");
}

#[test]
fn only_its_own_actor_changes_a_registration() {
    let mut tpsr = tpsr();
    registered(&mut tpsr, "shop", 1);
    let other = EntityId::new(ThirdPartySystemMsg::KIND, 0, 9);
    let question = UpdateThirdPartySystem { description: Box::new(titled("Boats")), if_version: None };
    let refused: Result<ThirdPartySystemRegistered, _> =
        answer(tpsr.deliver(other, key(5), question), other, key(5)).expect("it is answered");
    assert_eq!(refused.expect_err("it is not its own").kind, ProblemKind::NotAllowed);
    let question = Deregister { system: system_id("shop"), if_version: None };
    let refused: Result<Deregistered, _> =
        answer(tpsr.deliver(other, key(5), question), other, key(5)).expect("it is answered");
    assert_eq!(refused.expect_err("it is not its own").kind, ProblemKind::NotAllowed);
}

#[test]
fn a_system_that_deregisters_is_forgotten_by_everyone_before_it_hears_so() {
    let mut tpsr = tpsr();
    registered(&mut tpsr, "shop", 1);
    let effects = tpsr.deliver(THIRD_PARTY, key(5), Deregister { system: system_id("shop"), if_version: None });
    let told = shown(&effects);
    for kind in ["Tpsd", "Tpsaa", "Sdc", "ThirdPartySystem"] {
        assert!(told.contains(&format!("ForgetThirdPartySystem to {kind}")), "{told:?}");
    }
    // One that cannot take it is told again, until it has.
    let (meta, _) = to_kind(effects, TpsdMsg::KIND);
    let full = Problem::new(ProblemKind::Overloaded, "its inbox is full");
    let effects = tpsr.deliver(meta.to, meta.pending, TpsrMsg::Kept(Err(full)));
    let [Effect::Timer { key: timer, .. }] = effects.as_slice() else { panic!("it is told again: {effects:?}") };
    let effects = tpsr.timeout(*timer);
    let last = keep_all(&mut tpsr, effects);
    assert!(answer::<Deregistered>(last, THIRD_PARTY, key(5)).expect("everyone forgot").is_ok());

    let mut after = restarted(&tpsr);
    assert!(shown(&after.recovered()).is_empty(), "nothing is registered");
    registered(&mut tpsr, "shop", 1);
}

#[test]
fn a_lifetime_ends_is_renewed_and_survives_a_restart() {
    let mut tpsr = tpsr();
    let lasting = ThirdPartyDescription { lifetime_ms: Some(60_000), ..description("shop") };
    let effects = super::register(&mut tpsr, THIRD_PARTY, 1, lasting);
    keep_all(&mut tpsr, effects);
    for lifetime_ms in [999, u64::MAX] {
        let question = RenewRegistration { system: system_id("shop"), lifetime_ms: Some(lifetime_ms) };
        let refused: Result<SystemStands, _> =
            answer(tpsr.deliver(THIRD_PARTY, key(6), question), THIRD_PARTY, key(6)).expect("it is answered");
        assert_eq!(refused.expect_err("it is out of bounds").kind, ProblemKind::LimitReached);
    }
    let forward = |tpsr: &mut Trial<Tpsr>, ms: u64| {
        tpsr.now.monotonic_ms += ms;
        tpsr.now.wall = tpsr.now.wall.plus_ms(ms);
    };
    forward(&mut tpsr, 60_000);
    let effects = tpsr.timeout(WATCH);
    assert_eq!(health(&effects), [(Health::Expired, true)]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Signal(Signal::Event { event, .. })
        if event.kind == "system.standing")));

    let mut after = restarted(&tpsr);
    assert_eq!(health(&after.recovered()), [(Health::Expired, false)], "it was told before");
    let effects = after.deliver(THIRD_PARTY, key(6), Heartbeat { system: system_id("shop") });
    assert_eq!(health(&effects), [(Health::Expired, false)], "it is there, and not renewed");
    let renew = RenewRegistration { system: system_id("shop"), lifetime_ms: None };
    let effects = after.deliver(THIRD_PARTY, key(6), renew);
    assert_eq!(health(&effects), [(Health::Healthy, true)]);
    let stands: SystemStands = answer(effects, THIRD_PARTY, key(6)).expect("it is answered").expect("it is renewed");
    assert_eq!(stands.standing.expires_at, Some(after.now.wall.plus_ms(60_000)));
}

/// FGMV-29 8.2.4: whether a system is called at all is shown beside what is measured of it.
#[test]
fn the_breaker_of_a_system_is_part_of_how_it_stands() {
    let mut tpsr = tpsr();
    registered(&mut tpsr, "shop", 1);
    let standing = |effects: Vec<Effect<Wire>>| match to_kind(effects, TpsdMsg::KIND).1 {
        Wire::Tpsd(TpsdMsg::KeepStanding(keep)) => keep.standing.breaker.expect("it has one"),
        other => panic!("{other:?}"),
    };
    let opened = Breaker { state: BreakerState::Open, since: tpsr.now.wall };
    let report = |breaker| ReportBreaker { system: system_id("shop"), breaker };
    let effects = tpsr.deliver(SDC.id(), PendingKey::NONE, report(opened));
    assert_eq!(health(&effects), [(Health::Healthy, false)], "its health is another matter");
    assert_eq!(standing(effects), opened);
    assert!(tpsr.deliver(SDC.id(), PendingKey::NONE, report(opened)).is_empty(), "that is no news");
    tpsr.now.wall = tpsr.now.wall.plus_ms(9);
    let effects = tpsr.deliver(SDC.id(), PendingKey::NONE, Reannounce);
    let closed = Breaker { state: BreakerState::Closed, since: tpsr.now.wall };
    assert_eq!(standing(effects), closed, "SDC has forgotten it, and calls the system again");
}
