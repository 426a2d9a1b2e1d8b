//! FGMV-28 7.3.2: whoever follows a permission is told whenever it changes, and after a restart too.

use twinway_protocol::{
    EntityId, Mailbox,
    message::{
        FollowTwinPermission, ForgetTwinSystem, GrantTwinPermission, MetaverseSystemMsg, PermissionGrant,
        RevokeTwinPermission, TwinPermissionChanged, TwinPermissionFollowed, UnfollowTwinPermission,
    },
};

use super::*;
use crate::dtif::sample::system_actor;

const PLAZA: EntityId = EntityId::new(MetaverseSystemMsg::KIND, 0, 5);
/// The part of the journal with what it follows.
const PART: u64 = 1 << 62 | 5;

fn follow(trial: &mut Trial<Dtac>) -> Option<TwinPermission> {
    let question = FollowTwinPermission { metaverse: system_id("world"), user: user("ada"), twin: twin_id("a") };
    let answers = sent_to::<MetaverseSystemMsg>(trial.deliver(PLAZA, PendingKey::NONE, question));
    let [(_, MetaverseSystemMsg::TwinPermissionFollowed(Ok(TwinPermissionFollowed { permission, .. })))] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    permission.as_deref().cloned()
}

/// What the follower is told, each as its rights; none: there is no permission any more.
fn told(effects: Vec<Effect<Wire>>) -> Vec<Option<Vec<Right>>> {
    let told = sent_to::<MetaverseSystemMsg>(effects).into_iter().filter_map(|(meta, message)| match message {
        MetaverseSystemMsg::TwinPermissionChanged(TwinPermissionChanged { permission, .. }) => {
            assert_eq!(meta.to, PLAZA);
            Some(permission.map(|permission| permission.rights.into_iter().collect()))
        }
        _ => None,
    });
    told.collect()
}

fn give(trial: &mut Trial<Dtac>, right: Right, expires_at: Option<u64>) -> Vec<Effect<Wire>> {
    let grant = Box::new(PermissionGrant {
        metaverse: system_id("world"),
        user: user("ada"),
        rights: [right].into(),
        expires_at: expires_at.map(Timestamp::from_unix_ms),
        role: None,
    });
    trial.deliver(system_actor(1).id(), PendingKey::NONE, GrantTwinPermission { twin: twin_id("a"), grant })
}

#[test]
fn whoever_follows_a_permission_hears_every_change_of_it_and_nobody_else_does() {
    let mut trial = trial();
    assert_eq!(follow(&mut trial), None, "there is none yet");
    assert_eq!(told(give(&mut trial, Right::Read, None)), [Some(vec![Right::Read])]);
    assert!(follow(&mut trial).is_some(), "there is one");
    assert_eq!(
        told(give(&mut trial, Right::Change, None)),
        [Some(vec![Right::Change])],
        "told once, however often it asked"
    );
    let given = read(&mut trial, "a").expect("there is one").id;
    let revoke = RevokeTwinPermission { twin: twin_id("a"), permission: given };
    assert_eq!(told(trial.deliver(system_actor(1).id(), PendingKey::NONE, revoke)), [None]);
    give(&mut trial, Right::Read, None);
    let gone = twin_system("home", 0, vec![twin("a", None)]).keep();
    let forget = ForgetTwinSystem { system: gone.system, twins: gone.twins };
    assert_eq!(told(trial.deliver(DTSR.id(), PendingKey::NONE, forget)), [None], "with its twin it ends");
    trial.deliver(PLAZA, PendingKey::NONE, UnfollowTwinPermission { user: user("ada"), twin: twin_id("a") });
    keep(&mut trial);
    assert!(told(give(&mut trial, Right::Read, None)).is_empty(), "it follows no longer");
}

#[test]
fn a_follower_hears_after_a_restart_what_it_may_have_missed() {
    let mut trial = trial();
    follow(&mut trial);
    give(&mut trial, Right::Read, None);
    for mut again in [restarted(&trial, DTAC.id()), from_snapshots(&trial, DTAC.id(), &[0, PART])] {
        assert_eq!(told(again.recovered()), [Some(vec![Right::Read])]);
        keep(&mut again);
        assert_eq!(told(give(&mut again, Right::Change, None)), [Some(vec![Right::Change])]);
    }
    trial.deliver(PLAZA, PendingKey::NONE, UnfollowTwinPermission { user: user("ada"), twin: twin_id("a") });
    for mut again in [restarted(&trial, DTAC.id()), from_snapshots(&trial, DTAC.id(), &[0, PART])] {
        assert!(told(again.recovered()).is_empty());
    }
}
