//! The simulator's proof is proven: with a check of the lease protocol taken out, a schedule of FGMV-28 7.1.3 breaks an
//! invariant that speaks of it.

#![cfg(feature = "mutations")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use twinway_protocol::lease::mutation::{self, Mutation};
use twinway_scenarios::{
    driver::Random,
    fault::Faults,
    worlds::{lease_invariants, procedure_7_1_3},
};

/// How many schedules may be needed to notice a check that is missing.
const SCHEDULES_MAX: u64 = 2_000;

/// The checks that the world can miss, with the invariants that speak of each.
const TAKEN_OUT: &[(Mutation, &[u8])] = &[
    (Mutation::GrantWhileHeld, &[1]),
    (Mutation::EpochStays, &[3, 5]),
    (Mutation::ToldBeforeFenced, &[4]),
    (Mutation::NotFencedAfterRestart, &[5]),
    (Mutation::HigherWaitsForEver, &[6]),
    (Mutation::EqualEvicts, &[7]),
    (Mutation::LastInFirstOut, &[8]),
    (Mutation::DeadWaiterStays, &[8]),
    (Mutation::IdsForgotten, &[9]),
    (Mutation::RestrictionIgnored, &[10]),
    (Mutation::DeadlineByWallClock, &[12]),
    (Mutation::DisplacedUnanswered, &[13]),
    (Mutation::QueueForgotten, &[14]),
    (Mutation::AnybodysToken, &[1]),
    (Mutation::FencedWhileUnderWay, &[1]),
    (Mutation::GateOpen, &[1, 2]),
    (Mutation::WeightNotRecorded, &[11]),
];

/// How many schedules it took until one of these invariants was broken, and what was said.
fn search(wanted: &[u8], faults: Faults) -> Option<(u64, String)> {
    let mut world = procedure_7_1_3().rule(lease_invariants()).faults(faults);
    (0..SCHEDULES_MAX).find_map(|seed| {
        world.run(seed, &mut Random::default());
        let said = world
            .violations()
            .iter()
            .map(|violation| violation.what.clone())
            .find(|what| wanted.iter().any(|number| what.starts_with(&format!("invariant {number} "))))?;
        Some((seed + 1, said))
    })
}

#[test]
fn every_check_that_is_taken_out_is_noticed_by_the_simulator() {
    let mut unnoticed = Vec::new();
    println!("| check taken out | faults | runs | noticed as |\n|---|---|---|---|");
    for (mutation, wanted) in TAKEN_OUT {
        mutation::set(Some(*mutation));
        let kinds = [Faults::NONE, Faults::ONE_OF_EACH];
        let found = kinds.iter().find_map(|faults| Some((faults, search(wanted, *faults)?)));
        mutation::set(None);
        match found {
            Some((faults, (runs, said))) => println!("| {mutation:?} | {faults} | {runs} | {said} |"),
            None => unnoticed.push(*mutation),
        }
    }
    assert!(unnoticed.is_empty(), "the simulator does not notice that these checks are missing: {unnoticed:?}");
}
