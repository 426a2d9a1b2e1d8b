//! Which commands pass the gate (FGMV-29 9.2 step 17; FGMV-28 7.1.3 step 11).

use twinway_protocol::message::{ExtendGate, GateExtended, PhysicalObjectMsg, RestrictGate, WeighGate};

use super::*;

fn restrict(gate: &mut Gate, token: Token, restricted: bool) {
    gate.deliver(SYNC_SUPERVISOR.id(), PendingKey::NONE, RestrictGate { token, restricted });
}

fn extend(gate: &mut Gate, token: Token, ttl_ms: u64) -> Result<(), ProblemKind> {
    let effects = gate.deliver(SYNC_SUPERVISOR.id(), PendingKey::from_bits(9), ExtendGate { token, ttl_ms });
    let extended = heard::<GateExtended>(effects).expect("it is answered");
    extended.map(|GateExtended| ()).map_err(|problem| problem.kind)
}

#[test]
fn a_gate_that_begins_a_life_lets_nothing_through() {
    // Section "gate" of FGMV-28 7.1.3 steps 8 and 9: nobody passes before the gate was told who may.
    let mut gate = closed(Synchronization::default());
    assert_eq!(kind(&mut gate, token(1)), ProblemKind::LeaseTokenStale);
    fence(&mut gate, token(1), ada());
    passes(&mut gate, token(1));
}

#[test]
pub(super) fn only_the_newest_token_passes() {
    let mut gate = held(Synchronization::default());
    fence(&mut gate, token(2), bob());
    assert_eq!(kind(&mut gate, token(1)), ProblemKind::LeaseLost);
    // Nobody was given these for this object.
    assert_eq!(kind(&mut gate, token(3)), ProblemKind::LeaseTokenForeign);
    assert_eq!(kind(&mut gate, Token { epoch: 99, n: 1 }), ProblemKind::LeaseTokenUnknown);
    assert_eq!(refused(send(&mut gate, command("b", None))).kind, ProblemKind::LeaseHeld);
}

#[test]
fn a_token_between_the_last_two_of_an_object_is_another_objects() {
    // The holder of two objects has mixed up its tokens: of this object it has the newer one.
    let mut gate = held(Synchronization::default());
    fence(&mut gate, token(3), ada());
    assert_eq!(kind(&mut gate, token(2)), ProblemKind::LeaseTokenForeign);
    assert_eq!(kind(&mut gate, token(1)), ProblemKind::LeaseTokenStale);
    // What was before is not known any more, and in a new life nothing is.
    fence(&mut gate, token(5), ada());
    assert_eq!(kind(&mut gate, token(2)), ProblemKind::LeaseTokenStale);
    let mut gate = closed(Synchronization::default());
    fence(&mut gate, token(3), ada());
    assert_eq!(kind(&mut gate, token(2)), ProblemKind::LeaseTokenStale);
}

#[test]
fn who_lost_is_told_what_won_and_of_others_no_names() {
    // FGMV-28 REQ-DT-08: the priority is everybody's, the name is for the holder's own system.
    let mut gate = held(Synchronization::default());
    fence(&mut gate, token(2), bob());
    let lost = refused(send(&mut gate, command("b", Some(token(1))))).lease.expect("it says what won");
    let winner = lost.holder.expect("somebody won");
    assert_eq!((lost.token, lost.expires_in_ms, winner.priority), (Some(token(2)), Some(10_000), 5));
    assert_eq!((winner.user, winner.world, winner.system), (None, None, None));
    fence(&mut gate, token(3), Some(claimant("bob", "world")));
    let lost = refused(send(&mut gate, command("b", Some(token(1))))).lease.expect("it says what won");
    assert_eq!(lost.holder.expect("somebody won").user, Some(user("bob")));
}

#[test]
fn who_is_refused_is_told_what_the_holder_weighs_now() {
    // FGMV-28 REQ-DT-08: priorities can change while leases are held.
    let mut gate = held(Synchronization::default());
    fence(&mut gate, token(2), bob());
    let weighs = |gate: &mut Gate| {
        [None, Some(token(1))].map(|shown| {
            let context = refused(send(gate, command("b", shown))).lease.expect("it says who has it");
            context.holder.expect("somebody has it").priority
        })
    };
    for (of, priority) in [(token(2), 9), (token(1), 7)] {
        gate.deliver(SYNC_SUPERVISOR.id(), PendingKey::NONE, WeighGate { token: of, priority });
        assert_eq!(weighs(&mut gate), [9, 9], "only the holder's token counts");
    }
}

#[test]
fn the_holder_that_shows_its_earlier_token_is_told_its_present_one() {
    let mut gate = held(Synchronization::default());
    fence(&mut gate, token(2), ada());
    let stale = refused(send(&mut gate, command("b", Some(token(1)))));
    assert_eq!(stale.kind, ProblemKind::LeaseTokenStale);
    assert_eq!(stale.lease.and_then(|lease| lease.token), Some(token(2)));
}

#[test]
pub(super) fn a_token_is_good_for_its_holder_only() {
    let mut gate = held(Synchronization::default());
    for (name, system) in [("bob", "world"), ("ada", "arena")] {
        let change = ApplyChange { user: user(name), metaverse: system_id(system), ..command("b", Some(token(1))) };
        assert_eq!(refused(send(&mut gate, change)).kind, ProblemKind::LeaseNotYours);
    }
    passes(&mut gate, token(1));
}

#[test]
fn a_gate_that_is_fenced_for_nobody_is_shut() {
    let mut gate = held(Synchronization::default());
    fence(&mut gate, token(2), None);
    assert_eq!(kind(&mut gate, token(1)), ProblemKind::LeaseLost);
    assert_eq!(kind(&mut gate, token(2)), ProblemKind::LeaseTokenUnknown);
}

#[test]
fn a_lease_passes_until_its_deadline_by_the_monotonic_clock() {
    // A wall clock that jumps neither ends a lease nor prolongs it.
    let mut gate = held(Synchronization::default());
    gate.now.wall = gate.now.wall.plus_ms(3_600_000);
    passes(&mut gate, token(1));
    gate.now.wall = Timestamp::from_unix_ms(1);
    gate.now.monotonic_ms += 9_999;
    passes(&mut gate, token(1));
    gate.now.monotonic_ms += 1;
    assert_eq!(kind(&mut gate, token(1)), ProblemKind::LeaseLost);
}

#[test]
fn a_renewal_extends_the_lease_and_never_shortens_it() {
    let mut gate = held(Synchronization::default());
    assert_eq!(extend(&mut gate, token(1), 60_000), Ok(()));
    assert_eq!(extend(&mut gate, token(1), 5), Ok(()));
    gate.now.monotonic_ms += 59_999;
    passes(&mut gate, token(1));
    assert_eq!(extend(&mut gate, token(2), 60_000), Err(ProblemKind::LeaseLost));
    fence(&mut gate, token(2), bob());
    assert_eq!(extend(&mut gate, token(1), 60_000), Err(ProblemKind::LeaseLost));
}

#[test]
fn a_lease_that_is_renewed_while_its_gate_is_being_fenced_lasts_as_long_as_that_says() {
    let mut gate = held(Synchronization::default());
    let key = passes(&mut gate, token(1));
    assert!(fenced(&fence(&mut gate, token(2), ada())).is_empty());
    assert_eq!(extend(&mut gate, token(1), 60_000), Err(ProblemKind::LeaseLost));
    assert_eq!(extend(&mut gate, token(2), 60_000), Ok(()));
    later(&mut gate, 1_000);
    assert_eq!(fenced(&answer(&mut gate, key, done())), [token(2)]);
    later(&mut gate, 58_999);
    passes(&mut gate, token(2));
    later(&mut gate, 1);
    assert_eq!(kind(&mut gate, token(2)), ProblemKind::LeaseLost);
    // What one lease was extended by is not the next one's.
    let mut gate = held(Synchronization::default());
    let key = passes(&mut gate, token(1));
    fence(&mut gate, token(2), ada());
    extend(&mut gate, token(2), 60_000).expect("it is extended");
    fence(&mut gate, token(3), bob());
    answer(&mut gate, key, done());
    later(&mut gate, 10_000);
    let late = ApplyChange { user: user("bob"), metaverse: system_id("arena"), ..command("b", Some(token(3))) };
    assert_eq!(refused(send(&mut gate, late)).kind, ProblemKind::LeaseLost);
}

#[test]
pub(super) fn while_the_holder_is_revoked_only_the_safe_stop_passes() {
    let mut gate = held(with_safe_stop(Fencing::Drained));
    restrict(&mut gate, token(1), true);
    assert_eq!(kind(&mut gate, token(1)), ProblemKind::LeaseRevoking);
    let stop = ApplyChange { stop: true, ..command("b", None) };
    assert_eq!(forwarded(send(&mut gate, stop)).len(), 1);
    restrict(&mut gate, token(1), false);
    passes(&mut gate, token(1));
}

#[test]
fn a_restriction_of_another_token_restricts_nobody() {
    let mut gate = held(Synchronization::default());
    fence(&mut gate, token(2), ada());
    restrict(&mut gate, token(1), true);
    passes(&mut gate, token(2));
}

#[test]
fn a_command_carries_its_token_and_may_act_no_longer_than_its_lease() {
    // FGMV-29 9.2 step 17; `command_ms_max` is 2 s here, and the lease lasts 10 s.
    let mut gate = held(fenced_by(Fencing::Deadline));
    for (ms, acts_ms) in [(0, 2_000), (9_500, 500)] {
        later(&mut gate, ms);
        let passed = forwarded(send(&mut gate, command("b", Some(token(1)))));
        let [(_, _, change)] = &passed[..] else { panic!("{passed:?}") };
        assert_eq!((change.token, change.not_after), (Some(token(1)), Some(gate.now.wall.plus_ms(acts_ms))));
    }
    // Undeclared, it is as long as an external system may take to answer.
    let mut gate = closed(Synchronization::default());
    fence_as(&mut gate, FenceGate { ttl_ms: 60_000, ..order(token(1), ada()) });
    let passed = forwarded(send(&mut gate, command("b", Some(token(1)))));
    assert_eq!(passed[0].2.not_after, Some(gate.now.wall.plus_ms(Settings::default().outside_answer_ms_max)));
}

#[test]
fn a_full_table_is_told_and_stops_no_stop() {
    let settings = Settings { pending_questions_max: 1, ..Settings::default() };
    let mut gate: Gate = Trial::new(object_actor(0).id(), &settings);
    represent(&mut gate, with_safe_stop(Fencing::Drained));
    fence(&mut gate, token(1), ada());
    passes(&mut gate, token(1));
    assert_eq!(kind(&mut gate, token(1)), ProblemKind::LimitReached);
    let stop = PhysicalObjectMsg::from(ApplyChange { stop: true, ..command("b", None) });
    assert_eq!(forwarded(gate.deliver(twin_actor(5).id(), PendingKey::from_bits(3), stop)).len(), 1);
}
