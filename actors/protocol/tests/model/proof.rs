//! The model is proven: with a check of the protocol taken out, the search finds the order of events that shows it.

use stateright::{Checker as _, HasDiscoveries, Model as _};
use twinway_protocol::lease::{Fencing, mutation::Mutation};

use crate::{
    leases::{Budget, Leases},
    worlds::{ASKS_UNTIL_MS, TERMS, wish},
};

/// What the search finds first in a small world without a check, and in how many steps.
fn found(without: Mutation, way: Fencing, budget: Budget) -> (Vec<&'static str>, usize) {
    let world = Leases {
        objects: vec![(TERMS, way)],
        wishes: vec![wish(&[0], 1), wish(&[0], 1), wish(&[0], 2)],
        budget,
        asks_until_ms: ASKS_UNTIL_MS,
        without: Some(without),
    };
    let checker = world.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let failures = checker
        .discoveries()
        .into_iter()
        .filter(|(name, _)| checker.model().property(name).expectation.discovery_is_failure());
    let failures: Vec<_> = failures.map(|(name, path)| (name, path.into_actions().len())).collect();
    let steps = failures.iter().map(|(_, steps)| *steps).min().unwrap_or(0);
    (failures.into_iter().map(|(name, _)| name).collect(), steps)
}

#[test]
fn fourteen_checks_that_are_taken_out_are_found_by_the_search() {
    let none = Budget::default();
    let command = Budget { commands: 1, ..none };
    let commands = Budget { commands: 2, ..none };
    let death = Budget { deaths: 1, ..none };
    let cases = [
        (Mutation::GrantWhileHeld, Fencing::Device, none, "1 one holder"),
        (Mutation::GateTakesOlderFence, Fencing::Drained, Budget { copies: 1, ..none }, "2 fence never decreases"),
        (Mutation::GateOpen, Fencing::Device, Budget { deaths: 1, ..command }, "2 fence never decreases"),
        (Mutation::EpochStays, Fencing::Device, death, "3 token unique"),
        (Mutation::ToldBeforeFenced, Fencing::Device, none, "4 durable, then fenced, then visible"),
        (Mutation::ToldBeforeDurable, Fencing::Device, none, "4 durable, then fenced, then visible"),
        (Mutation::NotFencedAfterRestart, Fencing::Device, death, "5 nothing of older epoch"),
        (Mutation::HigherWaitsForEver, Fencing::Device, none, "6 higher holds in time"),
        (Mutation::EqualEvicts, Fencing::Device, none, "7 equal never evicts"),
        (Mutation::LastInFirstOut, Fencing::Device, none, "8 first come, first served"),
        (Mutation::IdsForgotten, Fencing::Device, Budget { repeats: 1, ..none }, "9 repeated id changes nothing"),
        (Mutation::RestrictionIgnored, Fencing::Device, command, "10 restricted to safe stop"),
        (Mutation::QueueForgotten, Fencing::Device, Budget { releases: 1, ..none }, "14 not free while wanted"),
        (Mutation::FencedWhileUnderWay, Fencing::Device, commands, "1 one holder"),
    ];
    let mut unfound = Vec::new();
    println!("| check taken out | found by the search | steps |\n|---|---|---|");
    for (without, way, budget, wanted) in cases {
        let (failures, steps) = found(without, way, budget);
        println!("| {without:?} | {} | {steps} |", failures.join("; "));
        if !failures.contains(&wanted) {
            unfound.push((without, failures));
        }
    }
    assert!(unfound.is_empty(), "the search does not find that these checks are missing: {unfound:?}");
}
