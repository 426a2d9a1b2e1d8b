//! The supervisor alone: DTAC, gates and metaverse systems are played by the tests.

use std::sync::Arc;

use twinway_protocol::{
    Effect, EntityId, PendingKey, Problem, ProblemKind, TwinId,
    lease::{End, Fencing, HolderClass, Phase, Terms, Token, Wanted},
    message::{
        DTAC, DTSR, DtacMsg, ExtendGate, FenceGate, ForgetTwinSystem, GateExtended, GateFenced, KeepSyncLeases, Kept,
        LeaseBooking, LeaseRequest, ListSyncLeases, MetaverseSystemMsg, OperateSyncLease, OperatorAct, PermissionLost,
        PhysicalObjectMsg, ReadSyncLease, ReleaseSyncLease, RenewSyncLease, RequestSyncLease, RequestSyncLeases,
        ReserveSync, RoleChanged, RulesChanged, SYNC_SUPERVISOR, ShownToken, SyncLease, SyncLeaseGranted,
        SyncLeaseSettled, SyncLeaseShown, SyncLeasesDecided, SyncLeasesKept, SyncVerified, TwinMsg, Wire,
        YieldSyncLease,
    },
};

use super::{
    SyncSupervisor,
    history::{ACTS_MAX, ONE_SHOT_MOMENTS_MAX},
};
use crate::{
    Settings,
    dtif::sample::{
        from_snapshots, heard, metaverse, object_actor, restarted, sent_to, system_id, twin, twin_actor, twin_id,
        twin_system, user,
    },
    trial::Trial,
};

mod keeping;
mod rights;
mod telling;

type Effects = Vec<Effect<Wire>>;

/// One object, `urn:arm`, for which the twins `arm` and `arm-too` stand; the supervisor has begun its life.
fn trial() -> Trial<SyncSupervisor> {
    begun(Trial::new(SYNC_SUPERVISOR.id(), &Settings::default())).0
}

fn begun(mut trial: Trial<SyncSupervisor>) -> (Trial<SyncSupervisor>, Effects) {
    let twins = vec![twin("arm", Some("urn:arm")), twin("arm-too", Some("urn:arm")), twin("idea", None)];
    let mut system = twin_system("works", 0, twins);
    for twin in system.twins.iter_mut().take(2) {
        twin.object = Some(object_actor(0));
    }
    trial.behaviour.keep(&system.twins);
    let effects = trial.recovered();
    (trial, effects)
}

fn asked(by: &str, priority: Option<u8>, wait_ms: u32) -> Arc<LeaseRequest> {
    Arc::new(LeaseRequest {
        user: user(by),
        world: None,
        class: HolderClass::Person,
        twins: vec![twin_id("arm")],
        request_id: None,
        priority,
        ttl_ms: 1_000,
        wait_ms,
        ask: false,
        requeue: false,
    })
}

fn verified(priority: u8) -> Result<SyncVerified, Problem> {
    let terms = Terms { grace_ms: 500, ..Terms::default() };
    Ok(SyncVerified { wanted: vec![Wanted { object: object_actor(0).id(), priority, terms }], role: None })
}

/// The questions to DTAC among `effects`, by their keys.
fn verifying(effects: Effects) -> Vec<PendingKey> {
    let questions = sent_to::<DtacMsg>(effects).into_iter();
    questions.filter(|(_, message)| matches!(message, DtacMsg::VerifySync(_))).map(|(meta, _)| meta.pending).collect()
}

/// FGMV-28 7.1.3 steps 7 and 8: `by` of the metaverse system in `slot` asks, and DTAC lets it pass at `priority`.
fn request(trial: &mut Trial<SyncSupervisor>, slot: u32, by: &str, priority: u8, wait_ms: u32) -> Effects {
    want(trial, slot, by, priority, wait_ms, false)
}

/// The same for one plain change (FGMV-28 7.1.3 step 18 ends it).
fn request_once(trial: &mut Trial<SyncSupervisor>, slot: u32, by: &str, priority: u8, wait_ms: u32) -> Effects {
    want(trial, slot, by, priority, wait_ms, true)
}

fn want(trial: &mut Trial<SyncSupervisor>, slot: u32, by: &str, priority: u8, wait_ms: u32, one_shot: bool) -> Effects {
    let request = RequestSyncLease {
        metaverse: system_id(&format!("world-{slot}")),
        request: asked(by, None, wait_ms),
        one_shot,
    };
    let effects = trial.deliver(metaverse(slot).id(), PendingKey::from_bits(7), request);
    let [key] = verifying(effects)[..] else { panic!("DTAC is asked") };
    trial.deliver(DTAC.id(), key, verified(priority))
}

fn fences(effects: &mut Effects) -> Vec<FenceGate> {
    let sent = sent_to::<PhysicalObjectMsg>(std::mem::take(effects)).into_iter();
    sent.filter_map(|(_, message)| if let PhysicalObjectMsg::FenceGate(fence) = message { Some(fence) } else { None })
        .collect()
}

/// FGMV-28 7.1.3 step 9.
fn fenced(trial: &mut Trial<SyncSupervisor>, token: Token) -> Effects {
    let answer = GateFenced { token, incarnation: 1, fencing: Fencing::Drained, seen_before: Token::NONE };
    trial.deliver(object_actor(0).id(), PendingKey::NONE, answer)
}

fn hold(trial: &mut Trial<SyncSupervisor>, slot: u32, by: &str, priority: u8) -> SyncLease {
    let mut effects = request(trial, slot, by, priority, 0);
    let [fence] = &fences(&mut effects)[..] else { panic!("the gate is fenced") };
    let effects = fenced(trial, fence.token);
    *heard::<SyncLeaseGranted>(effects).expect("it is answered").expect("it is granted").lease
}

/// FGMV-28 7.1.3 step 10: a user of the first metaverse system gives the object back.
fn let_go(trial: &mut Trial<SyncSupervisor>, by: &str, token: Token) -> Effects {
    let release = ReleaseSyncLease { shown: shown(0, by, token) };
    trial.deliver(metaverse(0).id(), PendingKey::from_bits(5), release)
}

fn shown(slot: u32, by: &str, token: Token) -> Box<ShownToken> {
    let metaverse = system_id(&format!("world-{slot}"));
    Box::new(ShownToken { metaverse, user: user(by), twin: twin_id("arm-too"), token })
}

fn read(trial: &mut Trial<SyncSupervisor>, by: Option<&str>) -> Box<twinway_protocol::message::LeaseView> {
    let message = ReadSyncLease { metaverse: by.map(system_id), twin: twin_id("arm") };
    let effects = trial.deliver(metaverse(0).id(), PendingKey::from_bits(3), message);
    heard::<SyncLeaseShown>(effects).expect("it is answered").expect("it is known").view
}

/// What one twin of the object is told of its lease.
fn told(effects: &[Effect<Wire>]) -> Vec<(String, Option<End>)> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Send { wire: Some(Wire::Twin(TwinMsg::ReflectLease(told))), meta } if meta.to == twin_actor(0).id() => {
            Some(&told.moment)
        }
        _ => None,
    });
    told.map(|moment| (moment.what.to_string(), moment.end)).collect()
}

#[test]
fn a_grant_is_written_down_fenced_and_then_told() {
    let mut trial = trial();
    let written = trial.records.len();
    let mut effects = request(&mut trial, 0, "ada", 5, 0);
    assert!(trial.records.len() > written);
    let fences = fences(&mut effects);
    let [FenceGate { token, to: Some(to), priority: 5, ttl_ms: 1_000, stop: false, .. }] = &fences[..] else {
        panic!("{fences:?}")
    };
    assert_eq!((&to.holder.user, to.holder.system.as_str()), (&user("ada"), "world-0"));
    // A gate that answers for another token opens nothing.
    assert!(heard::<SyncLeaseGranted>(fenced(&mut trial, Token { n: token.n + 1, ..*token })).is_none());
    let effects = fenced(&mut trial, *token);
    let lease = heard::<SyncLeaseGranted>(effects).expect("it is answered").expect("it is granted").lease;
    assert_eq!((lease.token, lease.priority, lease.expires_in_ms), (*token, 5, 1_000));
}

#[test]
fn what_dtac_refuses_and_what_is_no_object_reaches_no_gate() {
    let mut trial = trial();
    let question = RequestSyncLease { metaverse: system_id("w"), request: asked("ada", None, 0), one_shot: false };
    let [key] = verifying(trial.deliver(metaverse(0).id(), PendingKey::from_bits(7), question))[..] else {
        panic!("DTAC is asked")
    };
    let refused: Result<SyncVerified, _> = Err(Problem::new(ProblemKind::PermissionMissing, "none"));
    let effects = trial.deliver(DTAC.id(), key, refused);
    let problem = heard::<SyncLeaseGranted>(effects).expect("it is answered").expect_err("it is refused");
    assert_eq!(problem.kind, ProblemKind::PermissionMissing);
    for (twin, kind) in [("idea", ProblemKind::ObjectNone), ("nothing", ProblemKind::TwinUnknown)] {
        let shown = Box::new(ShownToken { twin: twin_id(twin), ..*shown(0, "ada", Token { epoch: 1, n: 1 }) });
        let effects = trial.deliver(metaverse(0).id(), PendingKey::from_bits(7), ReleaseSyncLease { shown });
        let problem = heard::<SyncLeaseSettled>(effects).expect("it is answered").expect_err("it is refused");
        assert_eq!(problem.kind, kind);
    }
}

#[test]
fn who_is_refused_hears_of_the_holder_what_it_may_know() {
    let mut trial = trial();
    let lease = hold(&mut trial, 0, "ada", 5);
    for (slot, name) in [(0, Some("ada")), (1, None)] {
        let effects = request(&mut trial, slot, "bob", 5, 0);
        let problem = heard::<SyncLeaseGranted>(effects).expect("it is answered").expect_err("equals never evict");
        assert_eq!(problem.kind, ProblemKind::LeaseHeld);
        let context = problem.lease.expect("it says who holds");
        let holder = context.holder.expect("somebody does");
        assert_eq!(holder.user.as_ref().map(twinway_protocol::UserId::as_str), name);
        assert_eq!((holder.priority, context.token), (5, Some(lease.token)));
    }
}

#[test]
fn several_at_once_get_an_answer_each_and_at_most_one_a_lease() {
    let mut trial = trial();
    let requests: Arc<[_]> = ["ada", "bob", "eve"].map(|by| asked(by, None, 0)).into();
    let question = RequestSyncLeases { metaverse: system_id("world-0"), requests };
    let keys = verifying(trial.deliver(metaverse(0).id(), PendingKey::from_bits(9), question));
    assert_eq!(keys.len(), 3);
    let mut effects = Vec::new();
    for (key, answer) in keys.into_iter().zip([verified(3), verified(8), verified(3)]) {
        effects = trial.deliver(DTAC.id(), key, answer);
    }
    let [fence] = &fences(&mut effects)[..] else { panic!("one is about to have it") };
    let effects = fenced(&mut trial, fence.token);
    let answers = heard::<SyncLeasesDecided>(effects).expect("it is answered").expect("each is decided").answers;
    let users: Vec<_> = answers.iter().map(|answer| answer.as_ref().map(|lease| lease.holder.user.clone())).collect();
    assert_eq!(users[1], Ok(user("bob")));
    assert!(users[0].is_err() && users[2].is_err());
}

#[test]
fn a_renewal_is_answered_when_the_gate_knows() {
    let mut trial = trial();
    let lease = hold(&mut trial, 0, "ada", 5);
    let renew = RenewSyncLease { shown: shown(0, "ada", lease.token), ttl_ms: 9_000 };
    let effects = trial.deliver(metaverse(0).id(), PendingKey::from_bits(5), renew);
    let asked = sent_to::<PhysicalObjectMsg>(effects);
    let [(meta, PhysicalObjectMsg::ExtendGate(ExtendGate { token, ttl_ms: 9_000 }))] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert_eq!(*token, lease.token);
    let effects = trial.deliver(object_actor(0).id(), meta.pending, Ok(GateExtended));
    let renewed = heard::<SyncLeaseGranted>(effects).expect("it is answered").expect("it is renewed").lease;
    assert_eq!((renewed.token, renewed.expires_in_ms), (lease.token, 9_000));
    // One message renews all that a system holds.
    let keep = KeepSyncLeases { metaverse: system_id("world-0") };
    let asked = sent_to::<PhysicalObjectMsg>(trial.deliver(metaverse(0).id(), PendingKey::from_bits(6), keep));
    let [(meta, PhysicalObjectMsg::ExtendGate(_))] = &asked[..] else { panic!("{asked:?}") };
    let effects = trial.deliver(object_actor(0).id(), meta.pending, Ok(GateExtended));
    assert_eq!(heard::<SyncLeasesKept>(effects).expect("it is answered").expect("they are kept").leases, 1);
}

#[test]
fn a_higher_priority_revokes_and_the_holder_is_told_by_whom_as_far_as_it_may_know() {
    let mut trial = trial();
    hold(&mut trial, 0, "ada", 5);
    let effects = request(&mut trial, 1, "chief", 9, 0);
    let told = sent_to::<MetaverseSystemMsg>(effects);
    let notice = told.iter().find_map(|(meta, message)| match message {
        MetaverseSystemMsg::NotifyLease(notice) => Some((meta.to, notice)),
        _ => None,
    });
    let (to, notice) = notice.expect("the holder is told");
    assert_eq!((to, notice.event), (metaverse(0).id(), "lease.revoking"));
    let said = notice.data.as_str();
    assert!(said.contains("\"inMs\":500") && said.contains("\"priority\":9") && !said.contains("chief"), "{said}");
    assert_eq!(read(&mut trial, Some("world-0")).phase, Phase::Revoking);
}

#[test]
fn who_is_asked_to_yield_hears_which_of_its_twins_is_asked_for_and_declines_only_if_asked() {
    let mut trial = trial();
    // The twins `belt` and `belt-too` stand for another object.
    let mut other =
        twin_system("works-too", 1, vec![twin("belt", Some("urn:belt")), twin("belt-too", Some("urn:belt"))]);
    other.twins.iter_mut().for_each(|twin| twin.object = Some(object_actor(1)));
    trial.behaviour.keep(&other.twins);
    let wants = |trial: &mut Trial<SyncSupervisor>, slot, by, twins: &[&str], objects: &[u32], wait_ms| {
        let twins = twins.iter().map(|twin| twin_id(twin)).collect();
        let request = Arc::new(LeaseRequest { twins, ask: true, ..(*asked(by, None, wait_ms)).clone() });
        let metaverse_system = system_id(&format!("world-{slot}"));
        let request = RequestSyncLease { metaverse: metaverse_system, request, one_shot: false };
        let [key] = verifying(trial.deliver(metaverse(slot).id(), PendingKey::from_bits(7), request))[..] else {
            panic!("DTAC is asked")
        };
        let wanted = |slot: &u32| Wanted { object: object_actor(*slot).id(), priority: 5, terms: Terms::default() };
        let wanted = objects.iter().map(wanted).collect();
        trial.deliver(DTAC.id(), key, Ok(SyncVerified { wanted, role: None }))
    };
    let mut effects = wants(&mut trial, 0, "ada", &["arm", "belt"], &[0, 1], 0);
    let token = fences(&mut effects)[0].token;
    for slot in [0, 1] {
        let answer = GateFenced { token, incarnation: 1, fencing: Fencing::Drained, seen_before: Token::NONE };
        trial.deliver(object_actor(slot).id(), PendingKey::NONE, answer);
    }
    let decline = |trial: &mut Trial<SyncSupervisor>| {
        let declined = YieldSyncLease { shown: shown(0, "ada", token), yields: false };
        let effects = trial.deliver(metaverse(0).id(), PendingKey::from_bits(5), declined);
        heard::<SyncLeaseSettled>(effects.into_iter().rev().collect()).expect("it is answered").map(drop)
    };
    assert_eq!(decline(&mut trial).map_err(|problem| problem.kind), Err(ProblemKind::LeaseRequestUnknown));
    let effects = wants(&mut trial, 1, "bob", &["belt-too"], &[1], 60_000);
    let told = sent_to::<MetaverseSystemMsg>(effects);
    let [(_, MetaverseSystemMsg::NotifyLease(notice))] = &told[..] else { panic!("{told:?}") };
    assert_eq!((notice.event, &notice.twin), ("lease.asked", &twin_id("belt")));
    assert!(notice.data.as_str().contains(r#""asked":["belt"]"#), "{}", notice.data.as_str());
    // The lease is shown by its other object.
    assert_eq!(decline(&mut trial), Ok(()));
}

#[test]
fn a_list_shows_what_somebody_has_and_skips_what_nobody_wants() {
    let mut trial = trial();
    let list = || ListSyncLeases { metaverse: Some(system_id("world-1")), cursor: None, limit: None };
    let listed = |effects| {
        let listed = heard::<twinway_protocol::message::SyncLeasesListed>(effects);
        listed.expect("it is answered").expect("it is listed").page.items
    };
    assert!(listed(trial.deliver(metaverse(1).id(), PendingKey::from_bits(1), list())).is_empty());
    hold(&mut trial, 0, "ada", 5);
    let items = listed(trial.deliver(metaverse(1).id(), PendingKey::from_bits(1), list()));
    let [item] = &items[..] else { panic!("{items:?}") };
    let holder = item.holder.as_ref().expect("somebody has it");
    assert_eq!((item.object.as_str(), holder.priority, &holder.user), ("urn:arm", 5, &None));
    for (viewer, knows) in [(Some("world-0"), true), (Some("world-1"), false), (None, true)] {
        assert_eq!(read(&mut trial, viewer).explanation.contains("ada"), knows, "{viewer:?}");
    }
}
