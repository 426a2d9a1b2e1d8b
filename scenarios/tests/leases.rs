//! The invariants of sync leases hold in every order of FGMV-28 7.1.3, with faults; and where a check of the protocol is
//! taken out, the simulator shows which invariant is broken.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use twinway_scenarios::{
    driver::{Fifo, Random},
    fault::Faults,
    worlds::{lease_invariants, procedure_7_1_3},
};

/// How many schedules a kind of faults is tried with.
const SCHEDULES: u64 = 300;

fn holds_under(faults: Faults) {
    let mut world = procedure_7_1_3().rule(lease_invariants()).faults(faults);
    for seed in 0..SCHEDULES {
        let held = world.run(seed, &mut Random::default());
        assert!(held, "{faults} seed {seed}: {:#?}", world.violations());
    }
}

#[test]
fn in_the_order_of_sending_the_object_goes_from_one_to_the_next_and_somebody_is_revoked() {
    let mut world = procedure_7_1_3().rule(lease_invariants());
    assert!(world.run(0, &mut Fifo), "{:#?}", world.violations());
    let told = |name: &str| world.trace().iter().filter(|event| event.name == name).count();
    assert!(told("GateFenced") >= 3, "{}", told("GateFenced"));
    assert!(told("RestrictGate") >= 1, "nobody is revoked");
}

#[test]
fn the_invariants_hold_in_any_order() {
    holds_under(Faults::NONE);
}

#[test]
fn the_invariants_hold_when_entities_panic() {
    holds_under(Faults { panics: 2, ..Faults::NONE });
}

#[test]
fn the_invariants_hold_when_entities_are_made_anew() {
    holds_under(Faults { restarts: 2, ..Faults::NONE });
}

#[test]
fn the_invariants_hold_across_crashes() {
    holds_under(Faults { crashes: 2, ..Faults::NONE });
}

#[test]
fn the_invariants_hold_when_time_passes_early() {
    holds_under(Faults { delays: 3, ..Faults::NONE });
}

#[test]
fn the_invariants_hold_when_messages_are_lost_and_doubled_and_the_clock_jumps() {
    holds_under(Faults { drops: 2, duplicates: 2, clock_jumps: 2, ..Faults::NONE });
}

#[test]
fn the_invariants_hold_under_all_faults_at_once() {
    holds_under(Faults::ONE_OF_EACH);
}
