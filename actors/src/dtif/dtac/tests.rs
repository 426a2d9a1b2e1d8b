//! FGMV-29 8.3.5, and steps 10, 11 and 16 of 9.2.

mod following;
mod rights;
mod synchronizing;

use std::sync::Arc;

use twinway_protocol::{
    Effect, PendingKey, Problem, ProblemKind,
    access::{Right, TwinPermission},
    message::{
        AcquisitionVerified, ChangeVerified, DTAC, DTIA, DTS, DTSR, DtiaMsg, Kept, ManageTwinPermission,
        ReadTwinPermission, SendTwinMessage, TSI, TwinGrant, TwinMessageSent, TwinMsg, TwinPermissionManaged,
        TwinPermissionShown, VerifyAcquisition, VerifyChange, Wire, own,
    },
    time::Timestamp,
    twin::TwinEntry,
};

use super::Dtac;
use crate::{
    Settings,
    dtif::sample::{
        caller, from_snapshots, heard, json, restarted, sent_to, system_id, twin, twin_actor, twin_id, twin_ids,
        twin_system, user, values,
    },
    trial::Trial,
};

fn keep(trial: &mut Trial<Dtac>) {
    let mut shy = twin("shy", None);
    shy.characteristics.changeable = Some(["level".to_owned()].into());
    shy.access.clear();
    let open = TwinEntry { access: [(system_id("*"), [Right::Read].into())].into(), ..twin("open", None) };
    let system = twin_system("home", 0, vec![twin("a", None), shy, open]);
    assert!(heard::<Kept>(trial.deliver(DTSR.id(), PendingKey::NONE, system.keep())).is_some());
}

fn trial() -> Trial<Dtac> {
    let mut trial = Trial::new(DTAC.id(), &Settings::default());
    keep(&mut trial);
    trial
}

fn grant(twin: &str, rights: &[Right], expires_at: Option<u64>) -> TwinGrant {
    TwinGrant {
        twin: twin_id(twin),
        properties: values(&[("on", "true")]),
        rights: rights.iter().copied().collect(),
        expires_at: expires_at.map(Timestamp::from_unix_ms),
        role: None,
    }
}

fn manage(trial: &mut Trial<Dtac>, twins: Vec<TwinGrant>) -> Vec<Effect<Wire>> {
    let answers = ManageTwinPermission { metaverse: system_id("world"), user: user("ada"), twins };
    trial.deliver(DTIA.id(), PendingKey::from_bits(3), answers)
}

/// Steps 10 and 11, with every twin keeping its properties.
fn permit(trial: &mut Trial<Dtac>, twins: Vec<TwinGrant>) -> TwinPermissionManaged {
    let mut last = manage(trial, twins);
    while !last.iter().any(|effect| matches!(effect, Effect::Send { wire: Some(Wire::Dtia(_)), .. })) {
        for (meta, _) in sent_to::<TwinMsg>(last.split_off(0)) {
            last = trial.deliver(meta.to, meta.pending, Ok(Kept));
        }
    }
    heard(last).expect("it is answered").expect("it is managed")
}

fn verify(trial: &mut Trial<Dtac>, twin: &str, wanted: &[(&str, &str)]) -> Result<ChangeVerified, Problem> {
    let values = Arc::new(values(wanted));
    let change = VerifyChange { metaverse: system_id("world"), user: user("ada"), twin: twin_id(twin), values };
    heard(trial.deliver(DTS.id(), PendingKey::NONE, change)).expect("it is answered")
}

fn refused(trial: &mut Trial<Dtac>, twin: &str, wanted: &[(&str, &str)]) -> (ProblemKind, Option<String>) {
    let problem = verify(trial, twin, wanted).expect_err("it is refused");
    (problem.kind, problem.pointer)
}

fn read(trial: &mut Trial<Dtac>, twin: &str) -> Result<TwinPermission, ProblemKind> {
    let question = ReadTwinPermission { metaverse: system_id("world"), user: user("ada"), twin: twin_id(twin) };
    let shown = heard(trial.deliver(caller(), PendingKey::NONE, question)).expect("it is answered");
    shown.map(|shown: TwinPermissionShown| *shown.permission).map_err(|problem| problem.kind)
}

#[test]
fn steps_10_and_11_write_down_before_the_answer_and_hand_the_twins_their_properties() {
    let mut trial = trial();
    let effects = manage(&mut trial, vec![grant("a", &[Right::Change], None), grant("shy", &[Right::Read], None)]);
    assert_eq!(trial.records.len(), 2);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Own(step) if *step == own::TWIN_PERMISSION_MANAGED)));
    let adopt = sent_to::<TwinMsg>(effects);
    assert_eq!(adopt.iter().map(|(meta, _)| meta.to).collect::<Vec<_>>(), [twin_actor(0).id(), twin_actor(1).id()]);
    let first = trial.deliver(adopt[0].0.to, adopt[0].0.pending, Ok(Kept));
    assert!(first.is_empty(), "answered before every twin has its properties");
    let answers = sent_to::<DtiaMsg>(trial.deliver(adopt[1].0.to, adopt[1].0.pending, Ok(Kept)));
    let [(meta, DtiaMsg::TwinPermissionManaged(Ok(managed)))] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(meta.pending, PendingKey::from_bits(3));
    assert!(managed.permissions[0].id.as_str().starts_with("perm-") && managed.permissions[0].id.as_str().len() == 21);
    assert_ne!(managed.permissions[0].id, managed.permissions[1].id);
}

#[test]
fn no_right_is_a_denial_and_writes_nothing() {
    let mut trial = trial();
    let managed = permit(&mut trial, vec![grant("a", &[], None), grant("nobody", &[Right::Read], None)]);
    let kinds: Vec<_> = managed.refused.iter().map(|refusal| refusal.problem.kind).collect();
    assert_eq!(kinds, [ProblemKind::PermissionDenied, ProblemKind::TwinUnknown]);
    assert!(managed.permissions.is_empty() && trial.records.is_empty());
}

#[test]
fn a_twin_that_cannot_take_its_properties_is_refused_alone() {
    let mut trial = trial();
    let effects = manage(&mut trial, vec![grant("a", &[Right::Read], None), grant("shy", &[Right::Read], None)]);
    let adopt = sent_to::<TwinMsg>(effects);
    let failure: Result<Kept, _> = Err(Problem::new(ProblemKind::Internal, "it fell over"));
    trial.deliver(adopt[0].0.to, adopt[0].0.pending, failure);
    let last = trial.deliver(adopt[1].0.to, adopt[1].0.pending, Ok(Kept));
    let managed = heard::<TwinPermissionManaged>(last).expect("it is answered").expect("it is managed");
    assert_eq!(managed.permissions.len(), 1);
    assert_eq!(managed.refused[0].twin, twin_id("a"));
}

#[test]
fn a_newer_permission_replaces_the_older() {
    let mut trial = trial();
    permit(&mut trial, vec![grant("a", &[Right::Change], None)]);
    let newer = permit(&mut trial, vec![grant("a", &[Right::Read], None)]);
    assert_eq!(read(&mut trial, "a").as_ref(), Ok(&newer.permissions[0]));
    assert_eq!(refused(&mut trial, "a", &[("on", "true")]).0, ProblemKind::PermissionMissing);
}

#[test]
fn step_16_lets_pass_what_the_user_may_and_the_object_can() {
    let mut trial = trial();
    permit(&mut trial, vec![grant("a", &[Right::Change], None), grant("shy", &[Right::Change], None)]);
    assert_eq!(verify(&mut trial, "a", &[("on", "true")]).expect("it may").entity, twin_actor(0));
    assert!(verify(&mut trial, "shy", &[("level", "1")]).is_ok());
    let at = |place: &str| Some(place.to_owned());
    assert_eq!(refused(&mut trial, "a", &[("power", "9")]), (ProblemKind::BehaviourNotPermitted, at("/power")));
    assert_eq!(refused(&mut trial, "shy", &[("on", "true")]), (ProblemKind::BehaviourNotPermitted, at("/on")));
    assert_eq!(refused(&mut trial, "a", &[("on", "true"), ("x/y", "1")]), (ProblemKind::PropertyUnknown, at("/x~1y")));
    assert_eq!(refused(&mut trial, "a", &[]), (ProblemKind::InvalidDocument, at("")));
    assert_eq!(refused(&mut trial, "nobody", &[("on", "true")]).0, ProblemKind::TwinUnknown);
    assert_eq!(refused(&mut trial, "open", &[("on", "true")]).0, ProblemKind::PermissionMissing);
}

#[test]
fn a_permission_ends_when_its_time_has_come() {
    let mut trial = trial();
    permit(&mut trial, vec![grant("a", &[Right::Change], Some(2_000))]);
    trial.now.wall = Timestamp::from_unix_ms(1_999);
    assert!(verify(&mut trial, "a", &[("on", "true")]).is_ok());
    trial.now.wall = Timestamp::from_unix_ms(2_000);
    assert_eq!(refused(&mut trial, "a", &[("on", "true")]).0, ProblemKind::PermissionExpired);
    assert_eq!(read(&mut trial, "a"), Err(ProblemKind::PermissionExpired));
}

#[test]
fn a_restart_forgets_no_permission() {
    let mut trial = trial();
    permit(&mut trial, vec![grant("a", &[Right::Change], None), grant("shy", &[Right::Read], None)]);
    permit(&mut trial, vec![grant("a", &[Right::Read], Some(9_000))]);
    let before = (read(&mut trial, "a"), read(&mut trial, "shy"), read(&mut trial, "open"));
    for mut again in [restarted(&trial, DTAC.id()), from_snapshots(&trial, DTAC.id(), &[1, 0, 2])] {
        assert_eq!((read(&mut again, "a"), read(&mut again, "shy"), read(&mut again, "open")), before);
        keep(&mut again);
        assert_eq!(refused(&mut again, "a", &[("on", "true")]).0, ProblemKind::PermissionMissing);
        // A new holder gets a part of its own.
        permit(&mut again, vec![grant("open", &[Right::Read], None)]);
        let mut part = Vec::new();
        twinway_protocol::Behaviour::snapshot(&again.behaviour, 2, &mut part);
        assert_eq!(part.len(), 1);
    }
}

#[test]
fn step_17_of_9_1_asks_the_entry_who_may_read() {
    let mut trial = trial();
    let mut may = |system: &str, twins: &[&str]| {
        let question = VerifyAcquisition { system: system_id(system), twins: twin_ids(twins) };
        let answer = heard::<AcquisitionVerified>(trial.deliver(TSI.id(), PendingKey::NONE, question));
        let refused = answer.expect("it is answered").expect("it is judged").refused;
        refused.into_iter().map(|refusal| (refusal.twin.to_string(), refusal.problem.kind)).collect::<Vec<_>>()
    };
    assert_eq!(may("grid", &["a", "open"]), []);
    assert_eq!(may("shop", &["open"]), []);
    assert_eq!(may("shop", &["open", "a"]), [("a".to_owned(), ProblemKind::PermissionMissing)]);
    assert_eq!(may("grid", &["shy"]), [("shy".to_owned(), ProblemKind::PermissionMissing)]);
    assert_eq!(may("grid", &["nobody"]), [("nobody".to_owned(), ProblemKind::TwinUnknown)]);
}

#[test]
fn a_twin_message_needs_a_right_on_both_twins() {
    let mut trial = trial();
    let send = |trial: &mut Trial<Dtac>, from: &str, to: &str| {
        let message = SendTwinMessage {
            metaverse: system_id("world"),
            user: user("ada"),
            from: twin_id(from),
            to: twin_id(to),
            content: json("\"hello\""),
        };
        trial.deliver(caller(), PendingKey::NONE, message)
    };
    let answer = |effects| heard::<TwinMessageSent>(effects).expect("it is answered").map_err(|problem| problem.kind);
    assert_eq!(answer(send(&mut trial, "a", "shy")).err(), Some(ProblemKind::PermissionMissing));
    permit(&mut trial, vec![grant("a", &[Right::Change], None), grant("shy", &[Right::Message], None)]);
    let passed = sent_to::<TwinMsg>(send(&mut trial, "a", "shy"));
    let [(meta, TwinMsg::PassTwinMessage(message))] = &passed[..] else { panic!("{passed:?}") };
    assert_eq!((meta.to, message.entity), (twin_actor(0).id(), twin_actor(1)));
    assert!(answer(send(&mut trial, "a", "shy")).is_ok());
    assert_eq!(answer(send(&mut trial, "shy", "a")).err(), Some(ProblemKind::PermissionMissing));
    assert_eq!(answer(send(&mut trial, "a", "nobody")).err(), Some(ProblemKind::TwinUnknown));
}
