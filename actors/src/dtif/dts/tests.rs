//! DTS's part in FGMV-29 9.2: steps 14 to 18x, and the lease of one change (FGMV-28 7.1.3).

use std::sync::Arc;

use twinway_protocol::{
    Effect, EntityId, PendingKey, Problem, ProblemKind, StepId,
    access::Right,
    lease::{Fencing, Holder, HolderClass, Token, Wanted},
    message::{
        ApplyChange, ChangeApplied, ChangeCompleted, ChangeTerms, ChangeTwin, ChangeVerified, DTAC, DTS, DtacMsg,
        DtsMsg, MetaverseSystemMsg, PhysicalChange, PhysicalObjectMsg, ReflectChange, ReleaseSyncLease,
        RequestSyncLease, SYNC_SUPERVISOR, StopTwin, SyncLease, SyncLeaseGranted, SyncLeaseSettled, SyncSupervisorMsg,
        SyncVerified, TwinMsg, Wire,
    },
    time::Timestamp,
};

use super::Dts;
use crate::{
    Settings,
    dtif::sample::{
        heard, metaverse, object_actor, sent_to, system_actor, system_id, twin_actor, twin_id, user, values,
    },
    trial::Trial,
};

fn trial(settings: &Settings) -> Trial<Dts> {
    Trial::new(DTS.id(), settings)
}

fn wanted() -> ChangeTwin {
    let values = Arc::new(values(&[("on", "true")]));
    ChangeTwin {
        metaverse: system_id("world"),
        user: user("ada"),
        twin: twin_id("a"),
        values,
        token: None,
        terms: ChangeTerms::default(),
    }
}

/// Steps 15 and 16, up to the question to DTAC.
fn asked(trial: &mut Trial<Dts>) -> PendingKey {
    let effects = trial.deliver(metaverse(1).id(), PendingKey::from_bits(3), wanted());
    let verify = sent_to::<DtacMsg>(effects);
    let [(meta, DtacMsg::VerifyChange(question))] = &verify[..] else { panic!("{verify:?}") };
    assert_eq!(question.twin, twin_id("a"));
    meta.pending
}

fn rejected(trial: &mut Trial<Dts>, from: EntityId, key: PendingKey, answer: impl Into<DtsMsg>) -> Option<StepId> {
    let answers = sent_to::<MetaverseSystemMsg>(trial.deliver(from, key, answer));
    let [(meta, MetaverseSystemMsg::ChangeCompleted(Err(_)))] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((meta.to, meta.pending), (metaverse(1).id(), PendingKey::from_bits(3)));
    meta.step
}

#[test]
fn steps_15_to_18x_go_by_dtac_and_the_twin() {
    let mut trial = trial(&Settings::default());
    let key = asked(&mut trial);
    let verified = Ok(ChangeVerified { entity: twin_actor(5), has_object: false });
    let apply = sent_to::<TwinMsg>(trial.deliver(DTAC.id(), key, verified));
    let [(meta, TwinMsg::ApplyChange(ApplyChange { user: by, .. }))] = &apply[..] else { panic!("{apply:?}") };
    assert_eq!((meta.to, by), (twin_actor(5).id(), &user("ada")));
    let applied = Ok(ChangeApplied { values: Box::new(values(&[("on", "true")])), seen: None });
    let effects = trial.deliver(twin_actor(5).id(), meta.pending, applied);
    let completed = heard::<ChangeCompleted>(effects).expect("it is answered").expect("it is done");
    assert_eq!(*completed.values, values(&[("on", "true")]));
    // An answer that comes twice finds nothing.
    let again = Ok(ChangeApplied { values: Box::default(), seen: None });
    assert!(trial.deliver(twin_actor(5).id(), meta.pending, again).is_empty());
}

#[test]
fn an_invalid_request_is_rejected_in_step_17_and_reaches_no_twin() {
    let mut trial = trial(&Settings::default());
    let key = asked(&mut trial);
    let answer: Result<ChangeVerified, _> = Err(Problem::new(ProblemKind::PermissionExpired, "yesterday"));
    assert_eq!(rejected(&mut trial, DTAC.id(), key, answer), Some(twinway_protocol::step_id!("9.2", "17")));
}

#[test]
fn a_failure_of_the_twin_system_is_no_rejection() {
    let mut trial = trial(&Settings::default());
    let key = asked(&mut trial);
    trial.deliver(DTAC.id(), key, Ok(ChangeVerified { entity: twin_actor(5), has_object: false }));
    let answer: Result<ChangeApplied, _> = Err(Problem::new(ProblemKind::OutsideFailed, "broken"));
    let step = rejected(&mut trial, twin_actor(5).id(), key, answer);
    assert_eq!(step, Some(twinway_protocol::step_id!("9.2", "18x")));
}

#[test]
fn a_physical_change_goes_to_the_twin() {
    let mut trial = trial(&Settings::default());
    let (twin, at) = (twin_id("a"), Timestamp::from_unix_ms(7));
    let values = Arc::new(values(&[("on", "true")]));
    let change = PhysicalChange { twin, entity: twin_actor(5), values, at, reporter: None };
    let reflect = sent_to::<TwinMsg>(trial.deliver(system_actor(0).id(), PendingKey::NONE, change));
    let [(meta, TwinMsg::ReflectChange(ReflectChange { version: 0, .. }))] = &reflect[..] else {
        panic!("{reflect:?}")
    };
    assert_eq!(meta.to, twin_actor(5).id());
}

#[test]
fn an_answer_from_before_a_crash_completes_no_change_of_after_it() {
    let mut before = trial(&Settings::default());
    let old = asked(&mut before);
    let mut after = trial(&Settings::default());
    after.recovered();
    asked(&mut after);
    let done = Ok(ChangeApplied { values: Box::default(), seen: None });
    assert!(after.deliver(twin_actor(5).id(), old, done).is_empty());
}

#[test]
fn a_full_table_is_told() {
    let mut trial = trial(&Settings { pending_questions_max: 1, ..Settings::default() });
    asked(&mut trial);
    let effects = trial.deliver(metaverse(1).id(), PendingKey::from_bits(3), wanted());
    let problem = heard::<ChangeCompleted>(effects).expect("it is answered").expect_err("it is refused");
    assert_eq!(problem.kind, ProblemKind::LimitReached);
}

/// The token of the lease that is granted here.
const TOKEN: Token = Token { epoch: 2, n: 7 };

fn granted() -> SyncLeaseGranted {
    let world = "world".parse().expect("it is a name");
    let lease = SyncLease {
        twins: vec![twin_id("a")],
        holder: Holder { user: user("ada"), world, system: system_id("world"), class: HolderClass::Person },
        token: TOKEN,
        priority: 3,
        expires_in_ms: 15_000,
        fencing: Fencing::Drained,
        revoked_in_ms: None,
    };
    SyncLeaseGranted { lease: Box::new(lease) }
}

/// Step 16 of a twin with an object, up to the question for a lease.
fn leasing(trial: &mut Trial<Dts>) -> (PendingKey, RequestSyncLease) {
    let key = asked(trial);
    let verified = Ok(ChangeVerified { entity: twin_actor(5), has_object: true });
    let mut asked = sent_to::<SyncSupervisorMsg>(trial.deliver(DTAC.id(), key, verified));
    let Some((meta, SyncSupervisorMsg::RequestSyncLease(request))) = asked.pop() else { panic!("{asked:?}") };
    (meta.pending, request)
}

/// The tokens that are given back, each asked for without waiting for an answer.
fn released(effects: &[Effect<Wire>]) -> Vec<Token> {
    let released = effects.iter().filter_map(|effect| match effect {
        Effect::Send {
            wire: Some(Wire::SyncSupervisor(SyncSupervisorMsg::ReleaseSyncLease(ReleaseSyncLease { shown }))),
            meta,
        } => {
            assert_eq!((meta.pending, &shown.user, &shown.twin), (PendingKey::NONE, &user("ada"), &twin_id("a")));
            Some(shown.token)
        }
        _ => None,
    });
    released.collect()
}

#[test]
fn a_change_of_an_object_without_a_token_takes_a_lease_that_ends_with_it() {
    // FGMV-29 9.2 steps 15 to 18x around FGMV-28 7.1.3 steps 7 to 10, whatever the twin system answers.
    let done = || Ok(ChangeApplied { values: Box::default(), seen: None });
    for answer in [done(), Err(Problem::new(ProblemKind::OutsideTimeout, "too late"))] {
        let mut trial = trial(&Settings::default());
        let (key, request) = leasing(&mut trial);
        assert!(request.one_shot);
        let of = request.request;
        assert_eq!((&of.user, &of.twins[..], of.wait_ms), (&user("ada"), &[twin_id("a")][..], 2_000));
        assert!(u64::from(of.ttl_ms) > Settings::default().outside_answer_ms_max);
        let apply = sent_to::<TwinMsg>(trial.deliver(SYNC_SUPERVISOR.id(), key, Ok(granted())));
        let [(meta, TwinMsg::ApplyChange(change))] = &apply[..] else { panic!("{apply:?}") };
        assert_eq!((meta.to, change.token), (twin_actor(5).id(), Some(TOKEN)));
        let succeeded = answer.is_ok();
        let effects = trial.deliver(twin_actor(5).id(), meta.pending, answer);
        assert_eq!(released(&effects), [TOKEN]);
        assert_eq!(heard::<ChangeCompleted>(effects).expect("it is answered at once").is_ok(), succeeded);
        // What the supervisor says to the release changes nothing.
        assert!(trial.deliver(SYNC_SUPERVISOR.id(), PendingKey::NONE, Ok(SyncLeaseSettled)).is_empty());
    }
}

#[test]
fn an_object_that_somebody_holds_rejects_the_change_in_step_17() {
    let mut trial = trial(&Settings::default());
    let (key, _) = leasing(&mut trial);
    let answer: Result<SyncLeaseGranted, _> = Err(Problem::new(ProblemKind::LeaseHeld, "bob has it"));
    let step = rejected(&mut trial, SYNC_SUPERVISOR.id(), key, answer);
    assert_eq!(step, Some(twinway_protocol::step_id!("9.2", "17")));
}

#[test]
fn a_change_with_a_token_takes_no_other_lease_and_ends_none() {
    let mut trial = trial(&Settings::default());
    let change = ChangeTwin { token: Some(TOKEN), ..wanted() };
    let verify = sent_to::<DtacMsg>(trial.deliver(metaverse(1).id(), PendingKey::from_bits(3), change));
    let verified = Ok(ChangeVerified { entity: twin_actor(5), has_object: true });
    let apply = sent_to::<TwinMsg>(trial.deliver(DTAC.id(), verify[0].0.pending, verified));
    let [(meta, TwinMsg::ApplyChange(change))] = &apply[..] else { panic!("{apply:?}") };
    assert_eq!(change.token, Some(TOKEN));
    let done = Ok(ChangeApplied { values: Box::default(), seen: None });
    assert!(released(&trial.deliver(twin_actor(5).id(), meta.pending, done)).is_empty());
}

#[test]
fn a_lease_that_is_granted_to_nobody_any_more_is_given_back() {
    let mut before = trial(&Settings::default());
    let (old, _) = leasing(&mut before);
    let mut after = trial(&Settings::default());
    after.recovered();
    assert_eq!(released(&after.deliver(SYNC_SUPERVISOR.id(), old, Ok(granted()))), [TOKEN]);
}

fn stop(trial: &mut Trial<Dts>) -> PendingKey {
    let stop = StopTwin { metaverse: system_id("world"), user: user("ada"), twin: twin_id("a") };
    let verify = sent_to::<DtacMsg>(trial.deliver(metaverse(1).id(), PendingKey::from_bits(3), stop));
    let [(meta, DtacMsg::VerifySync(question))] = &verify[..] else { panic!("{verify:?}") };
    assert_eq!((&question.twins[..], question.right), (&[twin_id("a")][..], Right::Stop));
    meta.pending
}

#[test]
fn a_safe_stop_needs_the_right_and_no_lease() {
    let mut trial = trial(&Settings::default());
    let key = stop(&mut trial);
    let wanted = vec![Wanted { object: object_actor(2).id(), priority: 0, terms: Default::default() }];
    let asked = sent_to::<PhysicalObjectMsg>(trial.deliver(DTAC.id(), key, Ok(SyncVerified { wanted, role: None })));
    let [(meta, PhysicalObjectMsg::ApplyChange(change))] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((meta.to, change.stop, change.token), (object_actor(2).id(), true, None));
    let done = Ok(ChangeApplied { values: Box::new(values(&[("on", "false")])), seen: None });
    let stopped = heard::<ChangeCompleted>(trial.deliver(meta.to, meta.pending, done)).expect("it is answered");
    assert_eq!(*stopped.expect("it is stopped").values, values(&[("on", "false")]));
}

#[test]
fn who_has_not_the_right_to_stop_stops_nothing() {
    for (answer, kind) in [
        (Err(Problem::new(ProblemKind::PermissionMissing, "no")), ProblemKind::PermissionMissing),
        (Ok(SyncVerified { wanted: Vec::new(), role: None }), ProblemKind::ObjectNone),
    ] {
        let mut trial = trial(&Settings::default());
        let key = stop(&mut trial);
        let effects = trial.deliver(DTAC.id(), key, answer);
        assert_eq!(effects.len(), 1, "only the answer: {effects:?}");
        let answer = heard::<ChangeCompleted>(effects).expect("it is answered");
        assert_eq!(answer.expect_err("it is refused").kind, kind);
    }
}
