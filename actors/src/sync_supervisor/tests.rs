//! The supervisor alone: DTAC, gates and metaverse systems are played by the tests.

use std::sync::Arc;

use twinway_protocol::{
    Effect, EntityId, PendingKey, Problem, ProblemKind, TwinId,
    lease::{End, Fencing, HolderClass, Phase, Terms, Token, Wanted},
    message::{
        DTAC, DTSR, DtacMsg, ExtendGate, FenceGate, ForgetTwinSystem, GateExtended, GateFenced, KeepSyncLeases, Kept,
        LeaseBooking, LeaseRequest, ListSyncLeases, MetaverseSystemMsg, OperateSyncLease, OperatorAct, PermissionLost,
        PhysicalObjectMsg, ReadSyncLease, ReleaseSyncLease, RenewSyncLease, RequestSyncLease, RequestSyncLeases,
        ReserveSync, RoleChanged, SYNC_SUPERVISOR, ShownToken, SyncLease, SyncLeaseGranted, SyncLeaseSettled,
        SyncLeaseShown, SyncLeasesDecided, SyncLeasesKept, SyncVerified, TwinMsg, Wire, YieldSyncLease,
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

/// Who is told of what became of a lease.
fn reflected(effects: &[Effect<Wire>]) -> Vec<(EntityId, Option<TwinId>)> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Send { wire: Some(Wire::Twin(TwinMsg::ReflectLease(told))), meta } => Some((meta.to, told)),
        Effect::Send { wire: Some(Wire::PhysicalObject(PhysicalObjectMsg::ReflectLease(told))), meta } => {
            Some((meta.to, told))
        }
        _ => None,
    });
    told.map(|(to, told)| (to, told.twin.clone())).collect()
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

/// FGMV-28 REQ-DT-07: also if somebody else, or one plain change, comes after it in the same step.
#[test]
fn the_end_of_a_lease_is_told_whoever_has_the_object_next() {
    let ended = || ("ended".to_owned(), Some(End::Preempted));
    let granted = || ("granted".to_owned(), None);
    for (one_shot, expected) in [(false, vec![ended(), granted()]), (true, vec![ended()])] {
        let mut trial = trial();
        hold(&mut trial, 0, "ada", 5);
        want(&mut trial, 1, "chief", 9, 0, one_shot);
        trial.now.monotonic_ms += 500;
        let mut effects = trial.timeout(PendingKey::NONE);
        assert_eq!(told(&effects), expected, "one-shot: {one_shot}");
        let [fence] = &fences(&mut effects)[..] else { panic!("the next is about to have it") };
        assert_eq!(fence.to.as_ref().map(|to| &to.holder.user), Some(&user("chief")));
    }
}

/// Plain changes come and go too often to be news.
#[test]
fn a_plain_change_that_ends_nobodys_lease_is_not_told() {
    let mut trial = trial();
    let mut effects = request_once(&mut trial, 0, "ada", 5, 0);
    assert_eq!(told(&effects), []);
    let [ada] = &fences(&mut effects)[..] else { panic!("the gate is fenced") };
    assert_eq!(told(&fenced(&mut trial, ada.token)), []);
    // Another waits behind it, and has the object in the step in which the first lets go.
    assert_eq!(told(&request_once(&mut trial, 0, "bob", 5, 60_000)), []);
    let mut effects = let_go(&mut trial, "ada", ada.token);
    assert_eq!(told(&effects), []);
    let [bob] = &fences(&mut effects)[..] else { panic!("the gate is fenced for the next") };
    fenced(&mut trial, bob.token);
    // Of a lease that comes after it, the lease alone is told.
    assert_eq!(told(&request(&mut trial, 0, "eve", 5, 60_000)), [("queued".to_owned(), None)]);
    assert_eq!(told(&let_go(&mut trial, "bob", bob.token)), [("granted".to_owned(), None)]);
}

#[test]
fn one_plain_change_before_another_is_not_told_but_one_before_a_lease_is() {
    for (one_shot, expected) in [(true, vec![]), (false, vec![("revoking".to_owned(), None)])] {
        let mut trial = trial();
        let [fence] = &fences(&mut want(&mut trial, 0, "ada", 5, 0, one_shot))[..] else { panic!("it is granted") };
        fenced(&mut trial, fence.token);
        assert_eq!(told(&request_once(&mut trial, 0, "chief", 9, 0)), expected);
    }
}

/// FGMV-28 REQ-DT-07.
#[test]
fn every_twin_of_an_object_hears_what_became_of_its_lease() {
    let mut trial = trial();
    let twins = [("arm", 0), ("arm-too", 1)].map(|(twin, slot)| (twin_actor(slot).id(), Some(twin_id(twin))));
    assert_eq!(reflected(&request(&mut trial, 0, "ada", 5, 0)), twins);
    // In a new life it does not know yet what stands for the object: the object's actor does.
    let mut again = restarted(&trial, SYNC_SUPERVISOR.id());
    assert_eq!(reflected(&again.recovered()), [(object_actor(0).id(), None)]);
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
fn a_priority_that_changes_is_asked_of_dtac_and_weighed_again() {
    let mut trial = trial();
    hold(&mut trial, 0, "ada", 5);
    request(&mut trial, 1, "bob", 4, 60_000);
    let changed = RoleChanged {
        metaverse: system_id("world-1"),
        user: user("bob"),
        twin: TwinId::new("arm").expect("it is a name"),
        role: Some("chief".into()),
    };
    let [key] = verifying(trial.deliver(DTAC.id(), PendingKey::NONE, changed))[..] else { panic!("DTAC is asked") };
    trial.deliver(DTAC.id(), key, verified(6));
    let view = read(&mut trial, None);
    assert_eq!((view.phase, view.queue[0].party.priority), (Phase::Revoking, 6));
}

/// FGMV-28 REQ-DT-08: what the holder weighs is told by its gate.
#[test]
fn the_gate_hears_that_its_holder_weighs_something_else() {
    let mut trial = trial();
    let lease = hold(&mut trial, 0, "ada", 5);
    let (metaverse, twin, role) = (system_id("world-0"), twin_id("arm"), Some("chief".into()));
    let changed = RoleChanged { metaverse, user: user("ada"), twin, role };
    let [key] = verifying(trial.deliver(DTAC.id(), PendingKey::NONE, changed))[..] else { panic!("DTAC is asked") };
    let told = sent_to::<PhysicalObjectMsg>(trial.deliver(DTAC.id(), key, verified(7)));
    let [(meta, PhysicalObjectMsg::WeighGate(weighed))] = &told[..] else { panic!("{told:?}") };
    assert_eq!((meta.to, weighed.token, weighed.priority), (object_actor(0).id(), lease.token, 7));
}

/// FGMV-28 REQ-DT-08: a claimed priority only lowers what the rules give, also when they change.
#[test]
fn who_claimed_a_lower_priority_keeps_it_when_the_rules_give_a_higher_one() {
    let mut trial = trial();
    hold(&mut trial, 0, "ada", 5);
    let (metaverse_system, bob) = (system_id("world-1"), asked("bob", Some(4), 60_000));
    let wants = RequestSyncLease { metaverse: metaverse_system.clone(), request: bob, one_shot: false };
    let asked = trial.deliver(metaverse(1).id(), PendingKey::from_bits(7), wants);
    let [key] = verifying(asked)[..] else { panic!("DTAC is asked") };
    trial.deliver(DTAC.id(), key, verified(4));
    let (twin, role) = (twin_id("arm"), Some("chief".into()));
    let changed = RoleChanged { metaverse: metaverse_system, user: user("bob"), twin, role };
    let [key] = verifying(trial.deliver(DTAC.id(), PendingKey::NONE, changed))[..] else { panic!("DTAC is asked") };
    trial.deliver(DTAC.id(), key, verified(200));
    let view = read(&mut trial, None);
    assert_eq!((view.phase, view.queue[0].party.priority), (Phase::Held, 4));
}

/// FGMV-29 8.3.5: with a permission goes the lease that is held under it, and no other.
#[test]
fn a_lost_permission_revokes_the_lease_that_is_held_under_it_and_no_other() {
    for (metaverse, by, twin, phase) in [
        ("world-0", "ada", "arm", Phase::Revoking),
        ("world-0", "bob", "arm", Phase::Held),
        ("world-1", "ada", "arm", Phase::Held),
        ("world-0", "ada", "arm-too", Phase::Held),
    ] {
        let mut trial = trial();
        hold(&mut trial, 0, "ada", 5);
        let lost = PermissionLost { metaverse: system_id(metaverse), user: user(by), twin: twin_id(twin) };
        trial.deliver(DTAC.id(), PendingKey::NONE, lost);
        assert_eq!(read(&mut trial, None).phase, phase, "{by} of {metaverse}, on {twin}");
    }
}

/// FGMV-29 8.3.5: who lost the permission is not given the object later either, by waiting for it or by having reserved it.
#[test]
fn with_a_lost_permission_go_the_place_in_line_and_the_reservation() {
    let mut trial = trial();
    hold(&mut trial, 0, "ada", 5);
    request(&mut trial, 1, "bob", 4, 60_000);
    reserve(&mut trial, None, 4);
    let view = read(&mut trial, None);
    assert_eq!((view.waiting, view.reservations.len()), (1, 1));
    let lost = PermissionLost { metaverse: system_id("world-1"), user: user("bob"), twin: twin_id("arm") };
    let effects = trial.deliver(DTAC.id(), PendingKey::NONE, lost);
    let answer = heard::<SyncLeaseGranted>(effects).expect("who waited is answered");
    assert_eq!(answer.expect_err("with no lease").kind, ProblemKind::PermissionMissing);
    let view = read(&mut trial, None);
    assert_eq!((view.phase, view.waiting, view.reservations.len()), (Phase::Held, 0, 0));
}

/// What DTAC refuses when it is asked anew is no one's any more; what it cannot answer changes nothing.
#[test]
fn who_is_refused_when_weighed_again_does_not_keep_the_object() {
    for (answer, phase) in [
        (ProblemKind::PermissionExpired, Phase::Revoking),
        (ProblemKind::NotAllowed, Phase::Revoking),
        (ProblemKind::TwinUnknown, Phase::Held),
        (ProblemKind::Overloaded, Phase::Held),
    ] {
        let mut trial = trial();
        hold(&mut trial, 0, "ada", 5);
        let (metaverse, twin) = (system_id("world-0"), twin_id("arm"));
        let changed = RoleChanged { metaverse, user: user("ada"), twin, role: None };
        let [key] = verifying(trial.deliver(DTAC.id(), PendingKey::NONE, changed))[..] else { panic!("DTAC is asked") };
        trial.deliver(DTAC.id(), key, Err::<SyncVerified, _>(Problem::new(answer, "no")));
        assert_eq!(read(&mut trial, None).phase, phase, "{answer:?}");
    }
}

/// `bob` of the second metaverse system wants the object from one second on, for one second.
fn reserve(trial: &mut Trial<SyncSupervisor>, claimed: Option<u8>, given: u8) {
    let (from, until) = (trial.now.wall.plus_ms(1_000), trial.now.wall.plus_ms(2_000));
    let booking = LeaseBooking { user: user("bob"), world: None, from, until, ttl_ms: 500, priority: claimed };
    let wants = ReserveSync { metaverse: system_id("world-1"), twin: twin_id("arm"), booking: Arc::new(booking) };
    let asked = trial.deliver(metaverse(1).id(), PendingKey::from_bits(7), wants);
    let [key] = verifying(asked)[..] else { panic!("DTAC is asked") };
    trial.deliver(DTAC.id(), key, verified(given));
}

#[test]
fn a_reservation_claims_no_more_than_the_rules_give() {
    for (claimed, given) in [(None, 4), (Some(200), 4), (Some(3), 3)] {
        let mut trial = trial();
        reserve(&mut trial, claimed, 4);
        assert_eq!(read(&mut trial, None).reservations[0].party.priority, given, "{claimed:?}");
    }
}

#[test]
fn an_explanation_says_by_whom_and_when_the_object_is_reserved_and_promises_nothing_then() {
    let window = "at priority 4 from 1970-01-01T00:00:02.000Z to 1970-01-01T00:00:03.000Z.";
    let promised = "Until 1970-01-01T00:00:02.000Z a request is granted at once;";
    let by = "`bob` of `world-1` (in `world-1`, through `arm`)";
    let others = "a user of another system";
    for (viewer, by) in [(None, by), (Some("world-1"), by), (Some("world-0"), others)] {
        let mut trial = trial();
        assert!(read(&mut trial, viewer).explanation.ends_with("A request is granted at once."));
        reserve(&mut trial, None, 4);
        let text = read(&mut trial, viewer).explanation;
        let reserved = format!("It is reserved by {by} {window} {promised}");
        assert!(text.starts_with(&format!("Nobody ever had `urn:arm`. {reserved}")), "{text}");
        // The same is said when somebody had it before.
        let lease = hold(&mut trial, 0, "ada", 5);
        let text = read(&mut trial, viewer).explanation;
        assert!(text.ends_with(&format!("It is reserved by {by} {window}")), "{text}");
        let [closes] = &fences(&mut let_go(&mut trial, "ada", lease.token))[..] else { panic!("the gate closes") };
        fenced(&mut trial, closes.token);
        let text = read(&mut trial, viewer).explanation;
        assert!(text.starts_with(&format!("Nobody has `urn:arm`. {reserved}")), "{text}");
        // In the reserved time it is the reserver's, and nobody is promised anything.
        trial.now.wall = trial.now.wall.plus_ms(1_500);
        let view = read(&mut trial, viewer);
        assert_eq!(view.phase, Phase::Fencing);
        assert!(view.explanation.starts_with(&format!("{by} is about to have `urn:arm`")), "{}", view.explanation);
        assert!(!view.explanation.contains("at once"), "{}", view.explanation);
    }
}

#[test]
fn an_operators_act_is_written_down_with_who_and_why_and_shown_to_operators_only() {
    let mut trial = trial();
    let lease = hold(&mut trial, 0, "ada", 5);
    let act = OperateSyncLease { twin: twin_id("arm"), act: OperatorAct::Clear, by: "olga: it smokes".into() };
    let mut effects = trial.deliver(EntityId::new(255, 0, 0), PendingKey::from_bits(4), act);
    let [fence] = &fences(&mut effects)[..] else { panic!("the gate closes") };
    assert!(fence.stop && fence.to.is_none() && fence.token > lease.token);
    assert!(heard::<SyncLeaseSettled>(fenced(&mut trial, fence.token)).expect("it is answered").is_ok());
    let noted = |view: &twinway_protocol::message::LeaseView| view.history.iter().any(|moment| moment.note.is_some());
    assert!(noted(&read(&mut trial, None)));
    assert!(!noted(&read(&mut trial, Some("world-0"))));
}

/// One plain change, from its request to its end.
fn change_once(trial: &mut Trial<SyncSupervisor>, by: &str) {
    let mut effects = request_once(trial, 0, by, 5, 0);
    let [fence] = &fences(&mut effects)[..] else { panic!("the gate is fenced") };
    fenced(trial, fence.token);
    let [closes] = &fences(&mut let_go(trial, by, fence.token))[..] else { panic!("the gate closes") };
    fenced(trial, closes.token);
}

fn operate(trial: &mut Trial<SyncSupervisor>, by: &str) {
    let act = OperateSyncLease { twin: twin_id("arm"), act: OperatorAct::Clear, by: by.into() };
    let mut effects = trial.deliver(EntityId::new(255, 0, 0), PendingKey::from_bits(4), act);
    for fence in fences(&mut effects) {
        fenced(trial, fence.token);
    }
}

#[test]
fn plain_changes_push_neither_operators_acts_nor_leases_out_of_the_history() {
    let mut before = trial();
    hold(&mut before, 0, "ada", 5);
    operate(&mut before, "olga: it smokes");
    let early: Vec<_> = read(&mut before, None).history;
    let whats: Vec<_> = early.iter().map(|moment| &*moment.what).collect();
    assert_eq!(whats, ["granted", "operator-clear", "ended"]);
    for n in 0..40 {
        change_once(&mut before, &format!("bob-{n}"));
    }
    let seen = read(&mut before, None).history;
    assert_eq!(seen[..3], early[..]);
    // The last of the plain changes are still shown, and no more than are of use.
    let late: Vec<_> = seen[3..].iter().map(|moment| (&*moment.what, moment.party.as_ref())).collect();
    assert_eq!(late.len(), ONE_SHOT_MOMENTS_MAX);
    let last = late.last().and_then(|(what, party)| Some((*what, party.as_ref()?.user.clone()?)));
    assert_eq!(last, Some(("ended", user("bob-39"))));
    // In the order in which they happened, although all of it happened in one millisecond.
    hold(&mut before, 0, "eve", 5);
    operate(&mut before, "olga: again");
    let seen = read(&mut before, None).history;
    let whats: Vec<_> = seen[seen.len() - 4..].iter().map(|moment| &*moment.what).collect();
    assert_eq!(whats, ["ended", "granted", "operator-clear", "ended"]);
    let id = SYNC_SUPERVISOR.id();
    for mut again in [restarted(&before, id), from_snapshots(&before, id, &[0, 1])] {
        again = begun(again).0;
        let after = read(&mut again, None).history;
        assert_eq!(after[..seen.len()], seen[..]);
    }
}

#[test]
fn operators_acts_are_kept_up_to_a_limit_of_their_own() {
    let mut trial = trial();
    hold(&mut trial, 0, "ada", 5);
    for n in 0..ACTS_MAX + 5 {
        operate(&mut trial, &format!("olga: {n}"));
    }
    let history = read(&mut trial, None).history;
    let notes: Vec<_> = history.iter().filter_map(|moment| moment.note.as_deref()).collect();
    assert_eq!(notes.len(), ACTS_MAX);
    assert_eq!((notes[0], *notes.last().expect("there are some")), ("olga: 5", &*format!("olga: {}", ACTS_MAX + 4)));
    // The lease that was there before them is, too.
    assert!(history.iter().any(|moment| &*moment.what == "granted"));
}

/// Those in line are known for what they are, however many there are.
#[test]
fn a_long_line_of_plain_changes_is_told_to_nobody_also_after_a_restart() {
    let mut before = trial();
    let mut effects = request_once(&mut before, 0, "ada", 5, 0);
    let [ada] = &fences(&mut effects)[..] else { panic!("the gate is fenced") };
    fenced(&mut before, ada.token);
    for n in 0..5 * ONE_SHOT_MOMENTS_MAX {
        request_once(&mut before, 0, &format!("bob-{n}"), 5, 60_000);
    }
    let mut effects = let_go(&mut before, "ada", ada.token);
    assert_eq!(told(&effects), []);
    let id = SYNC_SUPERVISOR.id();
    let again = [restarted(&before, id), from_snapshots(&before, id, &[0, 1])].map(begun);
    let [bob] = &fences(&mut effects)[..] else { panic!("the gate is fenced for the next") };
    let live = fenced(&mut before, bob.token);
    for (mut trial, mut effects) in again.into_iter().chain([(before, live)]) {
        let token = fences(&mut effects).first().map_or(bob.token, |fence| fence.token);
        fenced(&mut trial, token);
        assert_eq!(told(&let_go(&mut trial, "bob-0", token)), []);
        let history = read(&mut trial, None).history;
        let last = history.last().and_then(|moment| Some((&*moment.what, moment.party.as_ref()?.user.clone()?)));
        assert_eq!(last, Some(("granted", user("bob-1"))));
    }
}

/// Takes the timers of `effects` to those that are pending, as the runtime does.
fn set(trial: &Trial<SyncSupervisor>, effects: &[Effect<Wire>], pending: &mut Vec<u64>) {
    pending.extend(effects.iter().filter_map(|effect| match effect {
        Effect::Timer { after_ms, .. } => Some(trial.now.monotonic_ms + after_ms),
        _ => None,
    }));
}

/// Time passes, and timers run out; gives all that follows.
fn pass(trial: &mut Trial<SyncSupervisor>, ms: u64, pending: &mut Vec<u64>) -> Effects {
    let (until_ms, mut all) = (trial.now.monotonic_ms + ms, Vec::new());
    while let Some(next) = (0..pending.len()).min_by_key(|n| pending[*n]).filter(|n| pending[*n] <= until_ms) {
        trial.now.monotonic_ms = trial.now.monotonic_ms.max(pending.swap_remove(next));
        let effects = trial.timeout(PendingKey::NONE);
        set(trial, &effects, pending);
        all.extend(effects);
    }
    trial.now.monotonic_ms = until_ms;
    all
}

#[test]
fn short_waits_behind_a_lease_leave_no_timers_behind() {
    let (mut trial, mut pending) = (trial(), Vec::new());
    let mut effects = request(&mut trial, 0, "ada", 5, 0);
    set(&trial, &effects, &mut pending);
    let &[FenceGate { token, .. }] = &fences(&mut effects)[..] else { panic!("the gate is fenced") };
    let effects = fenced(&mut trial, token);
    set(&trial, &effects, &mut pending);
    let mut timers_max = 0;
    for n in 0..200 {
        if n % 50 == 0 {
            let renew = RenewSyncLease { shown: shown(0, "ada", token), ttl_ms: 9_000 };
            let effects = trial.deliver(metaverse(0).id(), PendingKey::from_bits(5), renew);
            set(&trial, &effects, &mut pending);
        }
        let effects = request(&mut trial, 1, "bob", 4, 50);
        set(&trial, &effects, &mut pending);
        let effects = pass(&mut trial, 60, &mut pending);
        assert_eq!(told(&effects), [("left".to_owned(), Some(End::WaitOver))]);
        timers_max = timers_max.max(pending.len());
    }
    assert!(timers_max <= 4, "{timers_max} timers are pending");
    // Those that are left are enough: the lease ends when it is due.
    let effects = pass(&mut trial, 9_000, &mut pending);
    assert_eq!(told(&effects), [("ended".to_owned(), Some(End::Expired))]);
}

#[test]
fn what_is_written_down_gives_holder_queue_and_history_again_and_a_new_epoch() {
    let mut before = trial();
    let lease = hold(&mut before, 0, "ada", 5);
    request(&mut before, 1, "bob", 4, 60_000);
    let seen = read(&mut before, None);
    let id = SYNC_SUPERVISOR.id();
    for again in [restarted(&before, id), from_snapshots(&before, id, &[0, 1])] {
        let (mut after, mut effects) = begun(again);
        let [fence] = &fences(&mut effects)[..] else { panic!("its gate is fenced anew") };
        assert!(fence.token.epoch > lease.token.epoch);
        fenced(&mut after, fence.token);
        let again = read(&mut after, None);
        assert_eq!((again.phase, &again.holder), (Phase::Held, &seen.holder));
        assert_eq!(again.queue.iter().map(|one| &one.party).collect::<Vec<_>>(), [&seen.queue[0].party]);
        assert!(again.history.len() > seen.history.len());
        assert_eq!(again.history[..seen.history.len()], seen.history[..]);
    }
}

/// FGMV-29 8.3.1: the twin system of `urn:arm` is deregistered.
fn forget(trial: &mut Trial<SyncSupervisor>) -> Effects {
    let mut sample = twin_system("works", 0, vec![twin("arm", Some("urn:arm")), twin("arm-too", Some("urn:arm"))]);
    sample.twins.iter_mut().for_each(|twin| twin.object = Some(object_actor(0)));
    let forget = ForgetTwinSystem { system: sample.system, twins: sample.twins.into() };
    trial.deliver(DTSR.id(), PendingKey::from_bits(8), forget)
}

#[test]
fn who_gave_an_object_back_is_answered_though_its_twin_system_is_deregistered_meanwhile() {
    let mut trial = trial();
    let lease = hold(&mut trial, 0, "ada", 5);
    let release = ReleaseSyncLease { shown: shown(0, "ada", lease.token) };
    let mut effects = trial.deliver(metaverse(0).id(), PendingKey::from_bits(5), release);
    let [fence] = &fences(&mut effects)[..] else { panic!("the gate closes") };
    assert!(heard::<Kept>(forget(&mut trial)).is_none(), "what the device was sent is under way still");
    let to: Vec<_> = fenced(&mut trial, fence.token)
        .into_iter()
        .filter_map(|effect| if let Effect::Send { meta, .. } = effect { Some((meta.to, meta.pending)) } else { None })
        .filter(|(_, pending)| *pending != PendingKey::NONE)
        .collect();
    assert_eq!(to, [(metaverse(0).id(), PendingKey::from_bits(5)), (DTSR.id(), PendingKey::from_bits(8))]);
    assert!(trial.behaviour.waiting.is_empty());
}

#[test]
fn who_loses_an_object_because_its_twin_system_is_deregistered_hears_so() {
    let mut trial = trial();
    hold(&mut trial, 0, "ada", 5);
    request(&mut trial, 1, "bob", 5, 60_000);
    let effects = forget(&mut trial);
    let told = sent_to::<MetaverseSystemMsg>(effects);
    let lost = told.iter().find_map(|(_, message)| match message {
        MetaverseSystemMsg::NotifyLease(notice) => Some(notice),
        _ => None,
    });
    let lost = lost.expect("the holder is told");
    let said = lost.data.as_str();
    assert!(lost.event == "lease.lost" && said.contains("\"retired\"") && said.contains("deregistered"), "{said}");
    let refused = told.iter().find_map(|(_, message)| match message {
        MetaverseSystemMsg::SyncLeaseGranted(answer) => answer.as_ref().err(),
        _ => None,
    });
    let refused = refused.expect("who waits is answered");
    assert_eq!(refused.kind, ProblemKind::TwinUnknown);
    assert!(refused.detail.contains("deregistered"), "{refused}");
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
