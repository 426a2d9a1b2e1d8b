//! FGMV-29 8.3.5: rights and characteristics, kept, changed and read per twin.

use twinway_protocol::{
    PermissionId,
    message::{
        CharacteristicsShown, GrantTwinPermission, ListTwinPermissions, PassPermission, PermissionGrant,
        PermissionLost, PermissionsOf, RevokeTwinPermission, SetCharacteristics, SyncSupervisorMsg, SynchronizeEvery,
        TwinCharacteristics, TwinPermissionsListed,
    },
};

use super::*;
use crate::dtif::sample::system_actor;

fn list(trial: &mut Trial<Dtac>, of: PermissionsOf, limit: u32) -> Vec<(TwinPermission, Option<String>)> {
    let question = ListTwinPermissions { of: Box::new(of), cursor: None, limit: Some(limit) };
    let listed = heard::<TwinPermissionsListed>(trial.deliver(system_actor(1).id(), PendingKey::NONE, question));
    let page = listed.expect("it is answered").expect("it is listed").page;
    page.items.into_iter().map(|item| (item, page.next.clone())).collect()
}

fn give(trial: &mut Trial<Dtac>, twin: &str, who: &str, expires_at: Option<u64>) -> (PermissionId, Vec<Effect<Wire>>) {
    let grant = Box::new(PermissionGrant {
        metaverse: system_id("world"),
        user: user(who),
        rights: [Right::Change].into(),
        expires_at: expires_at.map(Timestamp::from_unix_ms),
        role: None,
    });
    let mut effects =
        trial.deliver(system_actor(1).id(), PendingKey::NONE, GrantTwinPermission { twin: twin_id(twin), grant });
    let others = effects.split_off(0);
    let id = list(trial, PermissionsOf::User(system_id("world"), user(who)), 100);
    let id = id.into_iter().find(|(found, _)| found.twin == twin_id(twin)).expect("it is listed").0.id;
    (id, others)
}

fn ended(effects: &[Effect<Wire>]) -> (usize, usize) {
    let told = effects.iter().filter(|effect| {
        matches!(
            effect,
            Effect::Send {
                wire: Some(Wire::Twin(TwinMsg::PassPermission(PassPermission { event: "permission.ended", .. }))),
                ..
            }
        )
    });
    let lost = effects.iter().filter(|effect| {
        matches!(
            effect,
            Effect::Send {
                wire: Some(Wire::SyncSupervisor(SyncSupervisorMsg::PermissionLost(PermissionLost { .. }))),
                ..
            }
        )
    });
    (told.count(), lost.count())
}

#[test]
fn what_is_granted_is_listed_by_twin_and_by_user_in_pages_and_counts() {
    let mut trial = trial();
    give(&mut trial, "a", "ada", None);
    give(&mut trial, "a", "bob", None);
    give(&mut trial, "open", "ada", None);
    let on_a = list(&mut trial, PermissionsOf::Twin(twin_id("a")), 1);
    assert_eq!((on_a.len(), on_a[0].0.user.as_str(), on_a[0].1.as_deref()), (1, "ada", Some("0")));
    let of_ada = list(&mut trial, PermissionsOf::User(system_id("world"), user("ada")), 100);
    assert_eq!(of_ada.iter().map(|(found, _)| found.twin.as_str()).collect::<Vec<_>>(), ["a", "open"]);
    assert!(verify(&mut trial, "a", &[("on", "true")]).is_ok());
}

#[test]
fn a_revoked_permission_is_gone_for_good_and_its_end_is_told_once() {
    let mut trial = trial();
    let (permission, _) = give(&mut trial, "a", "ada", None);
    let revoke = RevokeTwinPermission { twin: twin_id("a"), permission };
    let effects = trial.deliver(system_actor(1).id(), PendingKey::NONE, revoke.clone());
    assert_eq!(ended(&effects), (1, 1));
    let again = heard::<Kept>(trial.deliver(system_actor(1).id(), PendingKey::NONE, revoke)).expect("it is answered");
    assert_eq!(again.expect_err("it is refused").kind, ProblemKind::PermissionUnknown);
    for mut after in [restarted(&trial, DTAC.id()), from_snapshots(&trial, DTAC.id(), &[0])] {
        keep(&mut after);
        let refused = verify(&mut after, "a", &[("on", "true")]).expect_err("it is refused");
        assert_eq!(refused.kind, ProblemKind::PermissionMissing);
    }
}

#[test]
fn a_permission_that_expires_is_told_when_it_does_also_after_a_restart() {
    let mut trial = trial();
    let (_, effects) = give(&mut trial, "a", "ada", Some(5_000));
    let timer = |effects: &[Effect<Wire>]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Timer { after_ms, key } => Some((*after_ms, *key)),
            _ => None,
        })
    };
    let (after_ms, key) = timer(&effects).expect("it is set");
    assert_eq!(after_ms, 4_000);
    let mut again = restarted(&trial, DTAC.id());
    assert_eq!(timer(&again.recovered()), Some((4_000, key)));
    keep(&mut again);
    for trial in [&mut trial, &mut again] {
        assert_eq!(ended(&trial.timeout(key)), (0, 0), "it is not over yet");
        trial.now.wall = Timestamp::from_unix_ms(5_000);
        assert_eq!(ended(&trial.timeout(key)), (1, 1));
        let refused = verify(trial, "a", &[("on", "true")]).expect_err("it is refused");
        assert_eq!(refused.kind, ProblemKind::PermissionExpired);
    }
}

#[test]
fn what_was_said_anew_of_a_twin_counts_after_a_restart_and_until_something_else_is_registered() {
    let mut trial = trial();
    give(&mut trial, "shy", "ada", None);
    assert!(verify(&mut trial, "shy", &[("on", "true")]).is_err(), "it is registered as unchangeable");
    let said =
        TwinCharacteristics { changeable: Some(["on".to_owned()].into()), period_ms: Some(500), ..Default::default() };
    let set = SetCharacteristics { twin: twin_id("shy"), characteristics: Box::new(said.clone()) };
    let effects = trial.deliver(system_actor(1).id(), PendingKey::NONE, set);
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Send {
            wire: Some(Wire::Twin(TwinMsg::SynchronizeEvery(SynchronizeEvery { period_ms: Some(500) }))),
            ..
        }
    )));
    let shown = heard::<CharacteristicsShown>(effects).expect("it is answered").expect("it is kept");
    assert_eq!(*shown.characteristics, said);
    let mut again = restarted(&trial, DTAC.id());
    keep(&mut again);
    assert!(verify(&mut again, "shy", &[("on", "true")]).is_ok());
    // The system registers something else of the twin: that is the newer word.
    let mut shy = twin("shy", None);
    shy.characteristics.changeable = Some([].into());
    let system = twin_system("home", 0, vec![shy]);
    again.deliver(DTSR.id(), PendingKey::NONE, system.keep());
    let refused = verify(&mut again, "shy", &[("on", "true")]).expect_err("it is refused");
    assert_eq!(refused.kind, ProblemKind::BehaviourNotPermitted);
}
