//! The safe stop: owed before a fence is answered, and anybody's who has the right (FGMV-29 9.2 step 17).

use twinway_protocol::message::{DTS, PhysicalChange};

use super::*;

fn forced(token: Token) -> FenceGate {
    FenceGate { stop: true, ..order(token, bob()) }
}

/// The only safe stop among these effects: where its answer goes.
fn stop_of(effects: Effects) -> PendingKey {
    let passed = forwarded(effects);
    let [(_, key, change)] = &passed[..] else { panic!("no safe stop: {passed:?}") };
    assert!(change.stop && change.token.is_none() && change.not_after.is_none());
    assert_eq!(*change.values, values(&[("on", "false")]));
    *key
}

#[test]
fn a_holder_that_did_not_let_go_is_stopped_before_the_next_one_passes() {
    let mut gate = held(with_safe_stop(Fencing::Drained));
    let effects = fence_as(&mut gate, forced(token(2)));
    assert!(fenced(&effects).is_empty());
    let key = stop_of(effects);
    let effects = answer(&mut gate, key, done());
    assert_eq!(fenced(&effects), [token(2)]);
    // FGMV-29 9.2 step 14: the twins show what the stop did.
    let shown = sent_to::<DigitalTwinSystemMsg>(effects).into_iter().filter_map(|(_, message)| match message {
        DigitalTwinSystemMsg::PhysicalChange(PhysicalChange { twin, .. }) => Some(twin.to_string()),
        _ => None,
    });
    assert_eq!(shown.collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn without_an_answer_to_the_safe_stop_the_fence_is_not_answered() {
    let mut gate = held(with_safe_stop(Fencing::Drained));
    let first = stop_of(fence_as(&mut gate, forced(token(2))));
    assert!(fence_as(&mut gate, forced(token(2))).is_empty(), "it is under way already");
    assert!(answer(&mut gate, first, failed(ProblemKind::OutsideTimeout)).is_empty());
    let second = stop_of(fence_as(&mut gate, forced(token(2))));
    // A device that says that it cannot stop has not stopped.
    assert!(answer(&mut gate, second, failed(ProblemKind::OutsideFailed)).is_empty());
    let third = stop_of(fence_as(&mut gate, forced(token(2))));
    assert_eq!(fenced(&answer(&mut gate, third, done())), [token(2)]);
}

#[test]
fn after_the_stop_what_is_under_way_is_still_waited_for() {
    let mut gate = held(with_safe_stop(Fencing::Drained));
    let command = passes(&mut gate, token(1));
    let stop = stop_of(fence_as(&mut gate, forced(token(2))));
    assert!(fenced(&answer(&mut gate, stop, done())).is_empty());
    assert_eq!(fenced(&answer(&mut gate, command, done())), [token(2)]);
}

#[test]
fn an_object_that_names_no_safe_stop_is_owed_none() {
    let mut gate = held(fenced_by(Fencing::Drained));
    assert_eq!(fenced(&fence_as(&mut gate, forced(token(2)))), [token(2)]);
}

#[test]
fn a_newer_fence_waits_for_the_stop_that_is_under_way() {
    let mut gate = held(with_safe_stop(Fencing::Drained));
    let key = stop_of(fence_as(&mut gate, forced(token(2))));
    assert!(fence_as(&mut gate, forced(token(3))).is_empty(), "one stop at a time");
    assert_eq!(fenced(&answer(&mut gate, key, done())), [token(3)]);
}

#[test]
fn whoever_may_stop_can_stop_in_every_state_without_a_token() {
    let stop = || ApplyChange { stop: true, ..command("b", None) };
    let mut unfenced = closed(with_safe_stop(Fencing::Drained));
    stop_of(send(&mut unfenced, stop()));
    let mut shut = held(with_safe_stop(Fencing::Drained));
    fence(&mut shut, token(2), None);
    stop_of(send(&mut shut, stop()));
    let mut of_another = closed(with_safe_stop(Fencing::Drained));
    fence(&mut of_another, token(1), bob());
    stop_of(send(&mut of_another, stop()));
    let mut closing = held(with_safe_stop(Fencing::Drained));
    passes(&mut closing, token(1));
    fence(&mut closing, token(2), bob());
    stop_of(send(&mut closing, stop()));
}

#[test]
fn a_stop_that_dts_sends_finds_the_twins_system_and_is_shown_by_all() {
    let mut gate = held(with_safe_stop(Fencing::Drained));
    let stop = ApplyChange { stop: true, system_entity: ApplyChange::nowhere(), ..command("b", None) };
    let passed = forwarded(gate.deliver(DTS.id(), PendingKey::from_bits(3), stop));
    let [(to, key, _)] = &passed[..] else { panic!("{passed:?}") };
    assert_eq!(*to, system_actor(2).id());
    let effects = answer(&mut gate, *key, done());
    let shown = effects.iter().filter(|effect| {
        matches!(
            effect,
            Effect::Send { wire: Some(Wire::DigitalTwinSystem(DigitalTwinSystemMsg::PhysicalChange(_))), .. }
        )
    });
    assert_eq!(shown.count(), 2);
    assert!(heard::<ChangeApplied>(effects).expect("DTS is answered").is_ok());
}

#[test]
fn an_object_without_a_safe_stop_says_so() {
    let mut gate = held(Synchronization::default());
    let stop = ApplyChange { stop: true, ..command("b", None) };
    assert_eq!(refused(send(&mut gate, stop)).kind, ProblemKind::SafeStopNone);
}
