//! FGMV-28 REQ-DT-08 and 7.1.3 step 7: who may be synchronized, and before whom.

use std::sync::Arc;

use twinway_protocol::{
    Behaviour, Effect, PendingKey, Problem, ProblemKind,
    access::{Right, TwinPermission},
    lease::{HolderClass, PriorityRule, Synchronization, Terms, Wanted},
    message::{
        DTAC, DTSR, RoleChanged, RulesChanged, SYNC_SUPERVISOR, SyncSupervisorMsg, SyncVerified, TwinGrant, VerifySync,
        Wire,
    },
    time::Timestamp,
};

use super::{grant, manage, permit};
use crate::{
    Settings, codec,
    dtif::{
        dtac::{Dtac, DtacRecord},
        sample::{
            Sample, from_snapshots, heard, object_actor, restarted, sent_to, system_id, twin, twin_id, twin_ids,
            twin_system, user,
        },
    },
    trial::Trial,
};

/// Operators weigh `operator`, the dispatcher 9 and in emergencies too, all others 1.
fn rules(operator: u8) -> Arc<Synchronization> {
    let role = |name: &str, priority, emergency| PriorityRule {
        role: Some(name.into()),
        priority,
        emergency,
        ..PriorityRule::default()
    };
    let world = PriorityRule {
        world: Some("plaza".parse().expect("it is a name")),
        priority: 2,
        emergency: true,
        ..PriorityRule::default()
    };
    Arc::new(Synchronization {
        priorities: vec![role("operator", operator, false), role("dispatcher", 9, true), world],
        default_priority: 1,
        grace_ms: 500,
        min_hold_ms: 40,
        hold_ms_max: 3,
        ..Synchronization::default()
    })
}

/// `arm` and `claw` stand for one object, `belt` and `oven` for one each, `ghost` for none. Only `arm` and `belt`
/// have rules, and `ghost`.
fn cell(of_arm: Option<Arc<Synchronization>>) -> Sample {
    let mut arm = twin("arm", Some("urn:arm"));
    arm.characteristics.synchronization = of_arm;
    let mut belt = twin("belt", Some("urn:belt"));
    belt.characteristics.synchronization = Some(rules(6));
    let mut ghost = twin("ghost", None);
    ghost.characteristics.synchronization = Some(rules(5));
    let twins = vec![arm, belt, twin("oven", Some("urn:oven")), ghost, twin("claw", Some("urn:arm"))];
    let mut system = twin_system("cell", 0, twins);
    system.twins[4].object = system.twins[0].object;
    system
}

fn keep(trial: &mut Trial<Dtac>, system: Sample) -> Vec<SyncSupervisorMsg> {
    told(trial.deliver(DTSR.id(), PendingKey::NONE, system.keep()))
}

/// What the supervisor is told.
fn told(effects: Vec<Effect<Wire>>) -> Vec<SyncSupervisorMsg> {
    let sent = sent_to::<SyncSupervisorMsg>(effects);
    assert!(sent.iter().all(|(meta, _)| meta.to == SYNC_SUPERVISOR.id()));
    sent.into_iter().map(|(_, message)| message).collect()
}

fn trial() -> Trial<Dtac> {
    let mut trial = Trial::new(DTAC.id(), &Settings::default());
    assert!(keep(&mut trial, cell(Some(rules(5)))).is_empty());
    trial
}

fn as_role(twin: &str, role: Option<&str>) -> TwinGrant {
    TwinGrant { role: role.map(Into::into), ..grant(twin, &[Right::Change], None) }
}

/// Of ada in the world `lab`, who wants to change.
fn question(twins: &[&str]) -> VerifySync {
    VerifySync {
        metaverse: system_id("world"),
        user: user("ada"),
        world: "lab".parse().expect("it is a name"),
        class: HolderClass::Person,
        twins: twin_ids(twins),
        right: Right::Change,
    }
}

fn ask(trial: &mut Trial<Dtac>, question: VerifySync) -> Result<SyncVerified, Problem> {
    heard(trial.deliver(SYNC_SUPERVISOR.id(), PendingKey::NONE, question)).expect("it is answered")
}

fn refused(trial: &mut Trial<Dtac>, question: VerifySync) -> (ProblemKind, String) {
    let problem = ask(trial, question).expect_err("it is refused");
    (problem.kind, problem.pointer.unwrap_or_default())
}

fn priority(trial: &mut Trial<Dtac>, question: VerifySync) -> u8 {
    ask(trial, question).expect("it may").wanted[0].priority
}

#[test]
fn who_may_is_told_the_objects_in_order_with_the_priority_of_req_dt_08_and_the_terms() {
    let mut trial = trial();
    permit(&mut trial, ["belt", "arm", "oven"].map(|twin| as_role(twin, Some("operator"))).into());
    let verified = ask(&mut trial, question(&["belt", "oven", "arm"])).expect("it may");
    let terms = Terms { grace_ms: 500, min_hold_ms: 40, hold_ms_max: 3 };
    let wanted = |slot, priority, terms| Wanted { object: object_actor(slot).id(), priority, terms };
    assert_eq!(verified.wanted, [wanted(1, 6, terms), wanted(2, 0, Terms::default()), wanted(0, 5, terms)]);
    assert_eq!(verified.role.as_deref(), Some("operator"));
}

#[test]
fn the_role_of_the_permission_and_the_world_choose_the_rule() {
    let mut trial = trial();
    let plaza = || VerifySync { world: "plaza".parse().expect("it is a name"), ..question(&["arm"]) };
    permit(&mut trial, vec![as_role("arm", None)]);
    assert_eq!((priority(&mut trial, question(&["arm"])), priority(&mut trial, plaza())), (1, 2));
    permit(&mut trial, vec![as_role("arm", Some("guest"))]);
    assert_eq!(priority(&mut trial, question(&["arm"])), 1);
    permit(&mut trial, vec![as_role("arm", Some("dispatcher"))]);
    assert_eq!((priority(&mut trial, question(&["arm"])), priority(&mut trial, plaza())), (9, 9));
}

#[test]
fn a_role_weighs_only_on_the_twin_that_gives_it() {
    let mut trial = trial();
    permit(&mut trial, vec![as_role("arm", Some("dispatcher")), as_role("belt", Some("operator"))]);
    let verified = ask(&mut trial, question(&["arm", "belt"])).expect("it may");
    assert_eq!(verified.wanted.iter().map(|wanted| wanted.priority).collect::<Vec<_>>(), [9, 6]);
    assert_eq!(verified.role, None);
}

#[test]
fn what_stands_in_the_way_is_told_with_the_twin() {
    let mut trial = trial();
    let twins = ["arm", "belt", "ghost", "claw"].map(|twin| as_role(twin, None));
    permit(&mut trial, twins.into());
    let mut at = |twins: &[&str]| refused(&mut trial, question(twins));
    let first = |kind| (kind, "/twins/0".to_owned());
    let second = |kind| (kind, "/twins/1".to_owned());
    assert_eq!(at(&["arm", "nobody"]), second(ProblemKind::TwinUnknown));
    assert_eq!(at(&["arm", "ghost"]), second(ProblemKind::ObjectNone));
    assert_eq!(at(&["oven", "arm"]), first(ProblemKind::PermissionMissing));
    assert_eq!(at(&["arm", "claw"]), second(ProblemKind::LeaseSet));
    assert_eq!(at(&["arm", "arm"]), second(ProblemKind::LeaseSet));
    assert_eq!(at(&[]), (ProblemKind::LeaseSet, "/twins".to_owned()));
}

#[test]
fn a_permission_that_ended_or_gives_another_right_is_none() {
    let mut trial = trial();
    permit(
        &mut trial,
        vec![grant("arm", &[Right::Read, Right::Stop], None), grant("belt", &[Right::Change], Some(2_000))],
    );
    assert_eq!(refused(&mut trial, question(&["arm"])).0, ProblemKind::PermissionMissing);
    trial.now.wall = Timestamp::from_unix_ms(1_999);
    assert!(ask(&mut trial, question(&["belt"])).is_ok());
    trial.now.wall = Timestamp::from_unix_ms(2_000);
    assert_eq!(refused(&mut trial, question(&["belt"])), (ProblemKind::PermissionExpired, "/twins/0".to_owned()));
}

#[test]
fn to_stop_an_object_needs_the_right_and_the_object_and_no_rule() {
    let mut trial = trial();
    let stop = |twin: &str| VerifySync { right: Right::Stop, class: HolderClass::Emergency, ..question(&[twin]) };
    let rights = [("arm", Right::Stop), ("belt", Right::Change), ("ghost", Right::Stop)];
    permit(&mut trial, rights.map(|(twin, right)| grant(twin, &[right], None)).into());
    assert_eq!(ask(&mut trial, stop("arm")).expect("it may").wanted[0].object, object_actor(0).id());
    assert_eq!(refused(&mut trial, stop("belt")).0, ProblemKind::PermissionMissing);
    assert_eq!(refused(&mut trial, stop("ghost")).0, ProblemKind::ObjectNone);
}

#[test]
fn only_the_rule_that_counts_admits_the_emergency_class() {
    let mut trial = trial();
    let emergency = |twins: &[&str]| VerifySync { class: HolderClass::Emergency, ..question(twins) };
    let plaza = || VerifySync { world: "plaza".parse().expect("it is a name"), ..emergency(&["arm"]) };
    permit(&mut trial, vec![as_role("arm", Some("dispatcher")), as_role("oven", Some("dispatcher"))]);
    assert!(ask(&mut trial, emergency(&["arm"])).is_ok());
    assert_eq!(refused(&mut trial, emergency(&["arm", "oven"])), (ProblemKind::NotAllowed, "/twins/1".to_owned()));
    // The rule of the world would admit it, but that of the role counts.
    permit(&mut trial, vec![as_role("arm", Some("operator"))]);
    assert_eq!(refused(&mut trial, plaza()).0, ProblemKind::NotAllowed);
    permit(&mut trial, vec![as_role("arm", None)]);
    assert!(ask(&mut trial, plaza()).is_ok());
    let service = VerifySync { class: HolderClass::Service, ..question(&["arm"]) };
    assert!(ask(&mut trial, service).is_ok());
}

#[test]
fn a_restart_forgets_no_role() {
    let mut trial = trial();
    permit(&mut trial, vec![as_role("arm", Some("dispatcher")), as_role("belt", Some("operator"))]);
    permit(&mut trial, vec![as_role("oven", None), as_role("belt", None)]);
    for mut again in [restarted(&trial, DTAC.id()), from_snapshots(&trial, DTAC.id(), &[2, 0, 1])] {
        assert!(keep(&mut again, cell(Some(rules(5)))).is_empty(), "when the daemon starts nothing has changed");
        let weights = ["arm", "belt", "oven"].map(|twin| priority(&mut again, question(&[twin])));
        assert_eq!(weights, [9, 1, 0]);
    }
}

#[test]
fn a_journal_of_before_reads_as_ever() {
    // Written by the version before permissions had roles.
    let golden: &[u8] = &[
        1, 0, 3, 6, 112, 101, 114, 109, 45, 49, 5, 119, 111, 114, 108, 100, 3, 97, 100, 97, 1, 97, 1, 1, 1, 251, 40, 35,
    ];
    let mut trial = Trial::<Dtac>::new(DTAC.id(), &Settings::default());
    trial.behaviour.replay(codec::decode(golden).expect("it decodes"));
    let mut part = Vec::new();
    trial.behaviour.snapshot(3, &mut part);
    let expected = TwinPermission {
        id: "perm-1".parse().expect("it is a name"),
        metaverse: system_id("world"),
        user: user("ada"),
        twin: twin_id("a"),
        rights: [Right::Change].into(),
        expires_at: Some(Timestamp::from_unix_ms(9_000)),
    };
    let [DtacRecord::Permitted { number: 3, permission }] = &part[..] else { panic!("{part:?}") };
    assert_eq!(permission, &expected);
    assert_eq!(codec::encode(&part[0]).expect("it encodes"), golden);
}

#[test]
fn the_supervisor_hears_when_a_user_is_something_else_now() {
    let mut trial = trial();
    let changed = |trial: &mut Trial<Dtac>, role| {
        let told = told(manage(trial, vec![as_role("arm", role)]));
        told.into_iter()
            .map(|message| match message {
                SyncSupervisorMsg::RoleChanged(RoleChanged { metaverse, user: who, twin, role }) => {
                    assert_eq!((metaverse, who, twin), (system_id("world"), user("ada"), twin_id("arm")));
                    role
                }
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert!(changed(&mut trial, Some("guest")).is_empty(), "who had no permission has no lease");
    assert!(changed(&mut trial, Some("guest")).is_empty());
    assert_eq!(changed(&mut trial, Some("operator")), [Some("operator".into())]);
    assert_eq!(changed(&mut trial, None), [None]);
    assert!(changed(&mut trial, None).is_empty());
    // What was before a restart is known after it.
    let mut again = restarted(&trial, DTAC.id());
    keep(&mut again, cell(None));
    assert_eq!(changed(&mut again, Some("guest")), [Some("guest".into())]);
}

/// The twins of which the supervisor is told other rules, with the priority of operators.
fn others(told: Vec<SyncSupervisorMsg>) -> Vec<(String, Option<u8>)> {
    let others = told.into_iter().map(|message| match message {
        SyncSupervisorMsg::RulesChanged(RulesChanged { twin, synchronization }) => {
            (twin.to_string(), synchronization.priorities.first().map(|rule| rule.priority))
        }
        other => panic!("{other:?}"),
    });
    others.collect()
}

#[test]
fn the_supervisor_hears_when_the_rules_of_a_twin_are_others_now() {
    let mut trial = trial();
    permit(&mut trial, vec![as_role("arm", Some("operator"))]);
    assert!(keep(&mut trial, cell(Some(rules(5)))).is_empty());
    assert_eq!(others(keep(&mut trial, cell(Some(rules(8))))), [("arm".to_owned(), Some(8))]);
    assert_eq!(priority(&mut trial, question(&["arm"])), 8);
    assert_eq!(others(keep(&mut trial, cell(None))), [("arm".to_owned(), None)]);
    assert_eq!(priority(&mut trial, question(&["arm"])), 0);
}

#[test]
fn rules_of_a_twin_without_an_object_concern_nobody() {
    let mut trial = trial();
    let mut system = cell(Some(rules(5)));
    Arc::make_mut(&mut system.twins[3].entry).characteristics.synchronization = Some(rules(8));
    assert!(keep(&mut trial, system).is_empty());
}

#[test]
fn after_a_failure_the_supervisor_hears_all_rules_again() {
    let mut again = restarted(&trial(), DTAC.id());
    again.recovered();
    let told = others(keep(&mut again, cell(Some(rules(8)))));
    assert_eq!(told, [("arm".to_owned(), Some(8)), ("belt".to_owned(), Some(6))]);
    assert!(keep(&mut again, cell(Some(rules(8)))).is_empty());
}
