//! A gate that begins a new life does not know what its last one sent, but whether it sent anything (FGMV-28 7.1.3 steps
//! 8 and 9).

use super::*;
use crate::external::physical_object::PhysicalObjectRecord as Record;

/// The gate after a crash: its records are replayed, and it is represented again.
fn again(gate: &Gate, synchronization: Synchronization) -> Gate {
    let mut again: Gate = restarted(gate, object_actor(0).id());
    again.now = gate.now;
    again.recovered();
    represent(&mut again, synchronization);
    again
}

#[test]
fn a_gate_that_failed_tells_the_supervisor_and_asks_dtsr() {
    let mut gate = undescribed();
    let told: Vec<_> = sent(gate.recovered()).into_iter().map(|(_, wire)| wire).collect();
    assert!(
        matches!(
            &told[..],
            [
                Wire::Dtsr(DtsrMsg::Reannounce(_)),
                Wire::SyncSupervisor(SyncSupervisorMsg::GateStarted(GateStarted { incarnation })),
            ] if *incarnation == gate.behaviour.life
        ),
        "{told:?}"
    );
    assert!(gate.starts(Recovery::Start).is_empty(), "with the daemon, both begin anew and tell by themselves");
}

#[test]
fn what_was_let_through_before_is_closed_after() {
    // Invariant 5: after a restart nothing of an older epoch is accepted.
    let mut after = again(&held(Synchronization::default()), Synchronization::default());
    assert_eq!(kind(&mut after, token(1)), ProblemKind::LeaseTokenStale);
}

#[test]
fn a_lease_writes_one_record_before_its_first_command_leaves() {
    for fencing in [Fencing::Drained, Fencing::Device] {
        let mut gate = held(fenced_by(fencing));
        assert!(gate.records.is_empty());
        for _ in 0..100 {
            let key = passes(&mut gate, token(1));
            answer(&mut gate, key, done());
            later(&mut gate, 50);
        }
        assert!(matches!(&gate.records[..], [Record::Commanding { token: of, .. }] if *of == token(1)));
    }
}

#[test]
fn with_deadlines_the_record_always_reaches_as_far_as_the_last_command() {
    let mut gate = held(fenced_by(Fencing::Deadline));
    let mut commands = 0;
    for _ in 0..90 {
        let passed = forwarded(send(&mut gate, command("b", Some(token(1)))));
        let not_after = passed[0].2.not_after.expect("every command has one");
        let Some(Record::Commanding { until, .. }) = gate.records.last() else { panic!("it is written down") };
        assert!(not_after <= *until);
        commands += 1;
        later(&mut gate, 100);
    }
    assert!(gate.records.len() * 4 < commands, "{} records for {commands} commands", gate.records.len());
}

#[test]
fn a_fence_with_nothing_under_way_is_remembered() {
    let mut gate = held(fenced_by(Fencing::Drained));
    let key = passes(&mut gate, token(1));
    answer(&mut gate, key, done());
    fence(&mut gate, token(2), bob());
    assert!(matches!(&gate.records[..], [Record::Commanding { .. }, Record::Drained { token: of }] if *of == token(2)));
    let mut after = again(&gate, fenced_by(Fencing::Drained));
    assert_eq!(fenced(&fence(&mut after, token(3), bob())), [token(3)]);
    assert!(from_snapshots(&gate, object_actor(0).id(), &[0]).behaviour.commanding.is_none());
}

#[test]
fn a_snapshot_remembers_what_may_be_under_way() {
    let mut gate = held(fenced_by(Fencing::Drained));
    passes(&mut gate, token(1));
    let after = from_snapshots(&gate, object_actor(0).id(), &[0]);
    assert_eq!(after.behaviour.commanding, gate.behaviour.commanding);
    assert!(after.behaviour.commanding.is_some());
}

#[test]
fn drained_asks_the_device_after_a_restart_and_waits_until_it_answers() {
    // Who was asked before the crash answers nobody any more.
    for fencing in [Fencing::Drained, Fencing::Device] {
        let mut before = held(fenced_by(fencing));
        passes(&mut before, token(1));
        let mut gate = again(&before, fenced_by(fencing));
        let effects = fence(&mut gate, token(2), bob());
        assert!(fenced(&effects).is_empty());
        let asked = device_asked(effects);
        device_answers(&mut gate, asked[0].1, None);
        device_fails(&mut gate, asked[1].1);
        later(&mut gate, 3_600_000);
        // Who could not be reached is asked again, without the supervisor.
        let effects = gate.timeout(PendingKey::NONE);
        assert!(fenced(&effects).is_empty());
        let asked = device_asked(effects);
        device_answers(&mut gate, asked[0].1, None);
        assert_eq!(fenced(&device_answers(&mut gate, asked[1].1, None)), [token(2)]);
    }
}

#[test]
fn a_fence_that_comes_before_the_gate_was_told_to_begin_waits_for_the_device_too() {
    // The supervisor may begin first, and its fence overtake the gate's own beginning.
    let mut before = held(fenced_by(Fencing::Drained));
    passes(&mut before, token(1));
    let mut gate: Gate = restarted(&before, object_actor(0).id());
    represent(&mut gate, fenced_by(Fencing::Drained));
    let effects = fence(&mut gate, token(2), bob());
    assert!(fenced(&effects).is_empty());
    let asked = device_asked(effects);
    assert!(gate.starts(Recovery::Start).is_empty());
    device_answers(&mut gate, asked[0].1, None);
    assert_eq!(fenced(&device_answers(&mut gate, asked[1].1, None)), [token(2)]);
}

/// In how many milliseconds a gate with deadlines answers a fence after a crash, if both clocks go on.
fn waits_ms(gate: &mut Gate) -> u64 {
    let effects = fence(gate, token(2), bob());
    let timer = effects.iter().find_map(|effect| match effect {
        Effect::Timer { after_ms, .. } => Some(*after_ms),
        _ => None,
    });
    let Some(after_ms) = timer else { return 0 };
    later(gate, after_ms - 1);
    assert!(fenced(&gate.timeout(PendingKey::NONE)).is_empty());
    later(gate, 1);
    assert_eq!(fenced(&gate.timeout(PendingKey::NONE)), [token(2)]);
    after_ms
}

#[test]
fn deadline_waits_after_a_restart_for_as_long_as_a_command_may_act_whatever_the_clocks_say() {
    // Invariant 12. Commands act for 2 s, and their record reaches half a second further.
    let margin_ms = Settings::default().device_clock_margin_ms;
    let mut before = held(fenced_by(Fencing::Deadline));
    passes(&mut before, token(1));
    let waits_after = |wall_ms: u64| {
        let mut gate: Gate = restarted(&before, object_actor(0).id());
        gate.now.wall = Timestamp::from_unix_ms(wall_ms);
        gate.now.monotonic_ms = 0;
        gate.recovered();
        represent(&mut gate, fenced_by(Fencing::Deadline));
        waits_ms(&mut gate)
    };
    // The command left at 1 s; the record reaches until 3.5 s.
    assert_eq!(waits_after(1_000), 2_500 + margin_ms);
    assert_eq!(waits_after(1_600), 2_000 + margin_ms);
    // The wall clock may have been set ahead while the daemon was away, or it was away for long: nobody knows.
    assert_eq!(waits_after(90_000_000), 2_000 + margin_ms);
    // It was set back: what was written down says nothing.
    assert_eq!(waits_after(5), 2_000 + margin_ms);
}
