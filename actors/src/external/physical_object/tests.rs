//! The physical object's actor: step 14, and what passes its gate.

mod device;
mod fences;
#[cfg(feature = "mutations")]
mod mutations;
mod passing;
mod restarts;
mod stops;

use std::{collections::BTreeMap, sync::Arc};

use twinway_protocol::{
    Effect, EntityId, PendingKey, Problem, ProblemKind, Recovery,
    lease::{Claimant, Fencing, Holder, HolderClass, Synchronization, Token},
    message::{
        ApplyChange, ChangeApplied, DTSR, DeviceFenced, DigitalTwinSystemMsg, DtsrMsg, FenceDevice, FenceGate,
        GateFenced, GateStarted, LeaseMoment, ObserveChange, ReflectLease, Reporter, RepresentObject, Representation,
        SYNC_SUPERVISOR, SyncSupervisorMsg, TwinMsg, Wire,
    },
    time::Timestamp,
};

use super::PhysicalObject;
use crate::{
    Settings,
    dtif::sample::{
        from_snapshots, heard, json, object_actor, restarted, sent_to, system_actor, system_id, twin_actor, twin_id,
        user, values,
    },
    trial::{Trial, sent},
};

type Gate = Trial<PhysicalObject>;
type Effects = Vec<Effect<Wire>>;

/// Token `n` of the first epoch.
fn token(n: u64) -> Token {
    Token { epoch: 1, n }
}

/// `ada` of the metaverse system `world` unless it is said otherwise.
fn claimant(name: &str, system: &str) -> Arc<Claimant> {
    let holder = Holder {
        user: user(name),
        world: "plaza".parse().expect("it is a name"),
        system: system_id(system),
        class: HolderClass::Person,
    };
    Arc::new(Claimant { holder, role: None, claimed: None, twins: Box::from([twin_id("a")]) })
}

fn ada() -> Option<Arc<Claimant>> {
    Some(claimant("ada", "world"))
}

fn bob() -> Option<Arc<Claimant>> {
    Some(claimant("bob", "arena"))
}

/// How an object is synchronized that is fenced like this; its commands act for 2 s at most.
fn fenced_by(fencing: Fencing) -> Synchronization {
    Synchronization { fencing, command_ms_max: 2_000, ..Synchronization::default() }
}

fn with_safe_stop(fencing: Fencing) -> Synchronization {
    let still = BTreeMap::from([("on".to_owned(), json("false"))]);
    Synchronization { safe_stop: Some(still), ..fenced_by(fencing) }
}

fn undescribed() -> Gate {
    Trial::new(object_actor(0).id(), &Settings::default())
}

fn represent(gate: &mut Gate, synchronization: Synchronization) -> Effects {
    let twins = [("a", 4, 1), ("b", 5, 2)].map(|(twin, entity, system)| Representation {
        twin: twin_id(twin),
        entity: twin_actor(entity),
        system: system_actor(system),
    });
    let represent = RepresentObject {
        object: "urn:a".parse().expect("it is a name"),
        twins: Arc::new(twins),
        synchronization: Arc::new(synchronization),
    };
    gate.deliver(DTSR.id(), PendingKey::NONE, represent)
}

/// A gate that is represented, and closed.
fn closed(synchronization: Synchronization) -> Gate {
    let mut gate = undescribed();
    represent(&mut gate, synchronization);
    gate
}

/// A gate that lets `ada` through with token 1.
fn held(synchronization: Synchronization) -> Gate {
    let mut gate = closed(synchronization);
    assert_eq!(fenced(&fence(&mut gate, token(1), ada())), [token(1)]);
    gate
}

fn order(token: Token, to: Option<Arc<Claimant>>) -> FenceGate {
    FenceGate { token, to, priority: 5, ttl_ms: 10_000, stop: false, replaced: false, restricted: false }
}

fn fence(gate: &mut Gate, token: Token, to: Option<Arc<Claimant>>) -> Effects {
    fence_as(gate, order(token, to))
}

fn fence_as(gate: &mut Gate, order: FenceGate) -> Effects {
    gate.deliver(SYNC_SUPERVISOR.id(), PendingKey::NONE, order)
}

/// The tokens that the supervisor is told are fenced.
fn fenced(effects: &Effects) -> Vec<Token> {
    answers(effects).into_iter().map(|answer| answer.token).collect()
}

fn answers(effects: &Effects) -> Vec<GateFenced> {
    let answers = effects.iter().filter_map(|effect| match effect {
        Effect::Send { wire: Some(Wire::SyncSupervisor(SyncSupervisorMsg::GateFenced(answer))), .. } => Some(*answer),
        _ => None,
    });
    answers.collect()
}

fn command(twin: &str, shown: Option<Token>) -> ApplyChange {
    ApplyChange {
        twin: twin_id(twin),
        metaverse: system_id("world"),
        user: user("ada"),
        values: Arc::new(values(&[("on", "true")])),
        token: shown,
        not_after: None,
        stop: false,
        errand: None,
        system_entity: system_actor(2),
    }
}

fn send(gate: &mut Gate, change: ApplyChange) -> Effects {
    gate.deliver(twin_actor(5).id(), PendingKey::from_bits(3), change)
}

/// What reached twin systems, and where an answer goes.
fn forwarded(effects: Effects) -> Vec<(EntityId, PendingKey, ApplyChange)> {
    let passed = sent_to::<DigitalTwinSystemMsg>(effects).into_iter().filter_map(|(meta, message)| match message {
        DigitalTwinSystemMsg::ApplyChange(change) => Some((meta.to, meta.pending, change)),
        _ => None,
    });
    passed.collect()
}

/// Sends a command of `ada` that must pass; gives where its answer goes.
fn passes(gate: &mut Gate, shown: Token) -> PendingKey {
    let passed = forwarded(send(gate, command("b", Some(shown))));
    let [(_, key, change)] = &passed[..] else { panic!("it did not pass: {passed:?}") };
    assert_eq!(change.token, Some(shown));
    *key
}

/// Why a change did not pass.
fn refused(effects: Effects) -> Problem {
    let none =
        effects.iter().all(|effect| !matches!(effect, Effect::Send { wire: Some(Wire::DigitalTwinSystem(_)), .. }));
    assert!(none, "it reached a twin system: {effects:?}");
    heard::<ChangeApplied>(effects).expect("it is answered").expect_err("it is refused")
}

fn kind(gate: &mut Gate, shown: Token) -> ProblemKind {
    refused(send(gate, command("b", Some(shown)))).kind
}

fn done() -> Result<ChangeApplied, Problem> {
    Ok(ChangeApplied { values: Box::new(values(&[("on", "true")])), seen: None })
}

fn failed(kind: ProblemKind) -> Result<ChangeApplied, Problem> {
    Err(Problem::new(kind, "it failed"))
}

fn answer(gate: &mut Gate, key: PendingKey, answer: Result<ChangeApplied, Problem>) -> Effects {
    gate.deliver(system_actor(2).id(), key, answer)
}

/// The questions to devices whether they have fenced.
fn device_asked(effects: Effects) -> Vec<(EntityId, PendingKey, FenceDevice)> {
    let asked = sent_to::<DigitalTwinSystemMsg>(effects).into_iter().filter_map(|(meta, message)| match message {
        DigitalTwinSystemMsg::FenceDevice(question) => Some((meta.to, meta.pending, question)),
        _ => None,
    });
    asked.collect()
}

fn device_answers(gate: &mut Gate, key: PendingKey, seen: Option<Token>) -> Effects {
    gate.deliver(system_actor(1).id(), key, Ok(DeviceFenced { seen }))
}

fn device_fails(gate: &mut Gate, key: PendingKey) -> Effects {
    let failure: Result<DeviceFenced, _> = Err(Problem::new(ProblemKind::OutsideTimeout, "too late"));
    gate.deliver(system_actor(1).id(), key, failure)
}

/// Time passes, by both clocks.
fn later(gate: &mut Gate, ms: u64) {
    gate.now.monotonic_ms += ms;
    gate.now.wall = gate.now.wall.plus_ms(ms);
}

fn observe(gate: &mut Gate, twin: &str) -> Vec<(u32, u32, bool)> {
    let reporter = Reporter { entity: system_actor(1), report: PendingKey::from_bits(8) };
    let values = Arc::new(values(&[("on", "true")]));
    let change = ObserveChange { twin: twin_id(twin), values, at: Timestamp::from_unix_ms(5), reporter };
    let sent = sent_to::<DigitalTwinSystemMsg>(gate.deliver(system_actor(1).id(), PendingKey::NONE, change));
    let changes = sent.into_iter().map(|(meta, message)| {
        let DigitalTwinSystemMsg::PhysicalChange(change) = message else { panic!("{message:?}") };
        (meta.to.slot(), change.entity.id().slot(), change.reporter.is_some())
    });
    changes.collect()
}

#[test]
fn step_14_goes_to_every_twin_and_the_reporter_hears_of_one() {
    // FGMV-29 9.2 step 14: without any lease, held or not.
    let mut gate = closed(Synchronization::default());
    assert_eq!(observe(&mut gate, "b"), [(1, 4, false), (2, 5, true)]);
}

#[test]
fn what_does_not_stand_for_the_object_neither_reports_nor_changes_it() {
    assert!(observe(&mut closed(Synchronization::default()), "c").is_empty());
    for (mut gate, twin) in [(held(Synchronization::default()), "c"), (undescribed(), "a")] {
        assert_eq!(refused(send(&mut gate, command(twin, Some(token(1))))).kind, ProblemKind::TwinUnknown);
    }
}

#[test]
fn steps_17_and_18_go_to_the_twin_system_and_back() {
    let mut gate = held(Synchronization::default());
    let passed = forwarded(send(&mut gate, command("b", Some(token(1)))));
    let [(to, key, _)] = &passed[..] else { panic!("{passed:?}") };
    assert_eq!(*to, system_actor(2).id());
    let answers = sent_to::<TwinMsg>(answer(&mut gate, *key, done()));
    let [(meta, TwinMsg::ChangeApplied(Ok(_)))] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((meta.to, meta.pending), (twin_actor(5).id(), PendingKey::from_bits(3)));
}

/// A desired value has a deadline, and dies with it (FGMV-29 8.3.4): a window does not open ten minutes later.
#[test]
fn a_command_carries_its_deadline_to_the_device_and_one_that_is_over_does_not_leave() {
    let mut gate = held(Synchronization::default());
    let until = |ms| ApplyChange { not_after: Some(Timestamp::from_unix_ms(ms)), ..command("b", Some(token(1))) };
    let now_ms = gate.now.wall.unix_ms();
    let passed = forwarded(send(&mut gate, until(now_ms + 400)));
    assert_eq!(passed[0].2.not_after, Some(Timestamp::from_unix_ms(now_ms + 400)), "no later than it is wanted");
    assert_eq!(refused(send(&mut gate, until(now_ms))).kind, ProblemKind::DeadlineOver);
    assert_eq!(refused(send(&mut gate, until(now_ms - 1))).kind, ProblemKind::DeadlineOver);
}

#[test]
fn what_becomes_of_a_lease_reaches_every_twin_by_its_own_name() {
    // FGMV-28 REQ-DT-07.
    let mut gate = held(Synchronization::default());
    let moment = LeaseMoment {
        at: Timestamp::from_unix_ms(1),
        what: "granted".into(),
        party: None,
        token: Some(token(1)),
        end: None,
        note: None,
    };
    let reflect = ReflectLease { twin: None, moment: Arc::new(moment) };
    let told = sent_to::<TwinMsg>(gate.deliver(SYNC_SUPERVISOR.id(), PendingKey::NONE, reflect));
    let told = told.into_iter().map(|(meta, message)| match message {
        TwinMsg::ReflectLease(told) => (meta.to.slot(), told.twin.expect("it names its twin").to_string()),
        other => panic!("{other:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), [(4, "a".to_owned()), (5, "b".to_owned())]);
}
