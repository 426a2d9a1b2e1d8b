//! When a gate answers a fence (FGMV-28 7.1.3 steps 8 and 9).

use super::*;

#[test]
fn a_gate_with_nothing_under_way_answers_in_the_same_turn() {
    for fencing in [Fencing::Drained, Fencing::Deadline, Fencing::Device] {
        let mut gate = closed(fenced_by(fencing));
        let answers = answers(&fence(&mut gate, token(1), ada()));
        let [GateFenced { token: of, fencing: how, seen: Token::NONE, .. }] = &answers[..] else {
            panic!("{answers:?}")
        };
        assert_eq!((*of, *how), (token(1), fencing));
        assert!(gate.records.is_empty(), "a lease without a command writes nothing at the gate");
    }
}

#[test]
fn a_fence_that_comes_before_the_object_is_represented_waits_for_that() {
    let mut gate = undescribed();
    assert!(fenced(&fence(&mut gate, token(1), ada())).is_empty());
    assert_eq!(fenced(&represent(&mut gate, Synchronization::default())), [token(1)]);
    passes(&mut gate, token(1));
}

#[test]
pub(super) fn an_older_fence_changes_nothing() {
    // Invariant 2: the token that a gate accepts never decreases.
    let mut gate = held(Synchronization::default());
    fence(&mut gate, token(2), bob());
    assert!(fence(&mut gate, token(1), ada()).is_empty());
    assert_eq!(kind(&mut gate, token(1)), ProblemKind::LeaseLost);
    // Nor does it while a newer one is worked on.
    let mut gate = held(Synchronization::default());
    passes(&mut gate, token(1));
    assert!(fenced(&fence(&mut gate, token(3), bob())).is_empty());
    assert!(fence(&mut gate, token(2), ada()).is_empty());
    assert_eq!(gate.behaviour.gate.newest(), token(3));
}

#[test]
fn the_same_fence_again_is_answered_again_and_moves_no_deadline() {
    let mut gate = held(Synchronization::default());
    later(&mut gate, 9_000);
    assert_eq!(fenced(&fence(&mut gate, token(1), ada())), [token(1)]);
    later(&mut gate, 1_000);
    assert_eq!(kind(&mut gate, token(1)), ProblemKind::LeaseLost);
}

#[test]
fn from_the_receipt_of_a_fence_on_nothing_older_passes() {
    // FGMV-28 7.1.3 step 8: also while the gate waits for what is under way, and the new holder waits as well.
    let mut gate = held(Synchronization::default());
    let key = passes(&mut gate, token(1));
    assert!(fenced(&fence(&mut gate, token(2), ada())).is_empty());
    let stale = refused(send(&mut gate, command("b", Some(token(1)))));
    assert_eq!((stale.kind, stale.lease), (ProblemKind::LeaseTokenStale, None), "a token is told with its grant");
    assert_eq!(kind(&mut gate, token(2)), ProblemKind::LeaseTokenUnknown);
    assert_eq!(fenced(&answer(&mut gate, key, done())), [token(2)]);
    passes(&mut gate, token(2));
}

#[test]
pub(super) fn drained_means_that_every_earlier_command_was_answered() {
    let mut gate = held(fenced_by(Fencing::Drained));
    let keys = [passes(&mut gate, token(1)), passes(&mut gate, token(1))];
    assert!(fenced(&fence(&mut gate, token(2), bob())).is_empty());
    // That time passes proves nothing.
    later(&mut gate, 3_600_000);
    assert!(fenced(&gate.timeout(PendingKey::NONE)).is_empty());
    assert!(fenced(&answer(&mut gate, keys[0], done())).is_empty());
    // That the device failed is its own word, too: FGMV-29 9.2 step 18.
    let answers = answers(&answer(&mut gate, keys[1], failed(ProblemKind::OutsideFailed)));
    assert!(matches!(&answers[..], [GateFenced { fencing: Fencing::Drained, .. }]));
}

#[test]
fn what_never_left_has_not_to_be_waited_for() {
    for never_sent in [
        ProblemKind::OutsideUnreachable,
        ProblemKind::Overloaded,
        ProblemKind::LimitReached,
        ProblemKind::ShuttingDown,
        ProblemKind::ReadOnly,
    ] {
        let mut gate = held(fenced_by(Fencing::Drained));
        let key = passes(&mut gate, token(1));
        answer(&mut gate, key, failed(never_sent));
        assert_eq!(fenced(&fence(&mut gate, token(2), bob())), [token(2)], "{never_sent}");
    }
}

#[test]
fn a_command_without_an_answer_is_no_drained_command() {
    // Nobody knows whether the device acts yet. One that answers a fence has dealt with it.
    for unclear in [ProblemKind::OutsideTimeout, ProblemKind::OutsideUnclear, ProblemKind::Internal] {
        let mut gate = held(fenced_by(Fencing::Drained));
        let key = passes(&mut gate, token(1));
        answer(&mut gate, key, failed(unclear));
        let effects = fence(&mut gate, token(2), bob());
        assert!(fenced(&effects).is_empty(), "{unclear}");
        let asked = device_asked(effects);
        assert_eq!(asked.len(), 2, "both systems stand for the object: {unclear}");
        assert!(fenced(&device_answers(&mut gate, asked[0].1, None)).is_empty());
        let answered = answers(&device_answers(&mut gate, asked[1].1, None));
        assert!(matches!(&answered[..], [GateFenced { fencing: Fencing::Drained, .. }]), "{unclear}");
    }
}

#[test]
fn deadline_means_that_no_command_may_act_any_more() {
    // Commands act for 2 s; clocks of devices may be off by the margin.
    let mut gate = held(fenced_by(Fencing::Deadline));
    let margin_ms = Settings::default().device_clock_margin_ms;
    passes(&mut gate, token(1));
    later(&mut gate, 500);
    let effects = fence(&mut gate, token(2), bob());
    assert!(fenced(&effects).is_empty());
    let timers = effects.iter().filter_map(|effect| match effect {
        Effect::Timer { after_ms, .. } => Some(*after_ms),
        _ => None,
    });
    assert_eq!(timers.collect::<Vec<_>>(), [1_500 + margin_ms]);
    // The wall clock may jump meanwhile.
    gate.now.wall = gate.now.wall.plus_ms(86_400_000);
    assert!(fenced(&gate.timeout(PendingKey::NONE)).is_empty());
    gate.now.monotonic_ms += 1_499 + margin_ms;
    assert!(fenced(&gate.timeout(PendingKey::NONE)).is_empty());
    gate.now.monotonic_ms += 1;
    assert_eq!(fenced(&gate.timeout(PendingKey::NONE)), [token(2)]);
    assert!(fenced(&gate.timeout(PendingKey::NONE)).is_empty(), "it is answered once");
}

#[test]
fn deadline_has_not_to_be_waited_for_when_everything_was_answered() {
    let mut gate = held(fenced_by(Fencing::Deadline));
    let key = passes(&mut gate, token(1));
    assert!(fenced(&fence(&mut gate, token(2), bob())).is_empty());
    assert_eq!(fenced(&answer(&mut gate, key, done())), [token(2)]);
}

#[test]
fn a_newer_fence_takes_the_place_of_one_that_is_worked_on() {
    let mut gate = held(Synchronization::default());
    let key = passes(&mut gate, token(1));
    fence(&mut gate, token(2), bob());
    fence(&mut gate, token(3), Some(claimant("eve", "arena")));
    assert_eq!(fenced(&answer(&mut gate, key, done())), [token(3)]);
    assert_eq!(kind(&mut gate, token(2)), ProblemKind::LeaseLost);
}

#[test]
fn an_operator_who_has_seen_the_device_at_rest_ends_the_wait() {
    let mut gate = held(with_safe_stop(Fencing::Drained));
    let key = passes(&mut gate, token(1));
    answer(&mut gate, key, failed(ProblemKind::OutsideTimeout));
    passes(&mut gate, token(1));
    let owed = FenceGate { stop: true, ..order(token(2), None) };
    assert!(fenced(&fence_as(&mut gate, owed.clone())).is_empty());
    assert_eq!(fenced(&fence_as(&mut gate, FenceGate { stop: false, replaced: true, ..owed })), [token(2)]);
    // What was under way is forgotten for the next fence as well.
    assert_eq!(fenced(&fence(&mut gate, token(3), bob())), [token(3)]);
}

#[test]
fn an_answer_to_a_command_of_before_a_fence_counts_for_no_later_one() {
    let mut gate = held(fenced_by(Fencing::Drained));
    let old = passes(&mut gate, token(1));
    fence_as(&mut gate, FenceGate { replaced: true, ..order(token(2), ada()) });
    passes(&mut gate, token(2));
    assert!(heard::<ChangeApplied>(answer(&mut gate, old, done())).is_some(), "its asker still hears");
    assert!(fenced(&fence(&mut gate, token(3), bob())).is_empty(), "that of the second token is under way");
}
