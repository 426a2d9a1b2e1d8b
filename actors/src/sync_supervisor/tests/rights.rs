//! What the rules give, and what of it is lost or kept for later.

use super::*;

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
    assert!(format!("{effects:?}").contains("lease.unreserved"), "who had reserved it hears so");
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

/// FGMV-28 REQ-DT-08: what is reserved is weighed again as what is held and waited for, and dropped when it is refused.
#[test]
fn a_reservation_weighs_what_the_rules_give_now_and_goes_when_its_user_is_refused() {
    let mut trial = trial();
    reserve(&mut trial, None, 4);
    for (answer, priorities) in
        [(verified(6), vec![6]), (Err(Problem::new(ProblemKind::PermissionExpired, "it is over")), vec![])]
    {
        let changed = RulesChanged { twin: twin_id("arm"), synchronization: std::sync::Arc::default() };
        let [key] = verifying(trial.deliver(DTAC.id(), PendingKey::NONE, changed))[..] else { panic!("DTAC is asked") };
        trial.deliver(DTAC.id(), key, answer);
        for mut seen in [restarted(&trial, SYNC_SUPERVISOR.id()), from_snapshots(&trial, SYNC_SUPERVISOR.id(), &[0, 1])]
            .map(|trial| begun(trial).0)
        {
            let kept = read(&mut seen, None).reservations;
            assert_eq!(kept.iter().map(|kept| kept.party.priority).collect::<Vec<_>>(), priorities);
        }
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
