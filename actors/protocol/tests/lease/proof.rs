//! The proof is proven: with any one check of the protocol taken out, some history shows it, and the rule says which.

use std::collections::BTreeMap;

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use twinway_protocol::lease::{
    mutation::{self, Mutation},
    rules::Rule,
};

use crate::actions::{history, run};

/// How many histories may be needed to notice a check that is missing.
const HISTORIES_MAX: usize = 8_000;

/// The rules that speak of what a check is for: one of them has to be broken.
fn rules_of(mutation: Mutation) -> &'static [Rule] {
    match mutation {
        Mutation::GrantWhileHeld => &[Rule::OneHolder],
        Mutation::GateTakesOlderFence => &[Rule::FenceNeverDecreases],
        Mutation::EpochStays | Mutation::SeenTokenIgnored => &[Rule::TokenUnique, Rule::NothingOfOlderEpoch],
        Mutation::ToldBeforeFenced | Mutation::ToldBeforeDurable => &[Rule::DurableThenFencedThenVisible],
        Mutation::NotFencedAfterRestart => &[Rule::NothingOfOlderEpoch],
        Mutation::HigherWaitsForEver => &[Rule::HigherHoldsInTime],
        Mutation::EqualEvicts => &[Rule::EqualNeverEvicts],
        Mutation::LastInFirstOut | Mutation::DeadWaiterStays => &[Rule::FifoWithinPriority],
        Mutation::IdsForgotten => &[Rule::RepeatedIdChangesNothing],
        Mutation::RestrictionIgnored => &[Rule::RestrictedToSafeStop],
        Mutation::WeightNotRecorded => &[Rule::ReplayGivesTheSame],
        Mutation::DeadlineByWallClock => &[Rule::ClocksBreakNothing],
        Mutation::DisplacedUnanswered => &[Rule::OneAnswerEach],
        Mutation::QueueForgotten => &[Rule::NotFreeWhileWanted],
        Mutation::AnybodysToken | Mutation::FencedWhileUnderWay => &[Rule::OneHolder],
        Mutation::GateOpen => &[Rule::FenceNeverDecreases, Rule::OneHolder],
    }
}

/// Tries histories until one of the rules is violated; says how many it took, and what was seen first.
#[expect(clippy::expect_used, reason = "a strategy that makes no history is a broken test")]
fn search(wanted: &[Rule]) -> Option<(usize, BTreeMap<Rule, usize>)> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let histories = history(60);
    let mut seen = BTreeMap::new();
    for tried in 1..=HISTORIES_MAX {
        let (setup, actions) = histories.new_tree(&mut runner).expect("a history").current();
        for violation in run(&setup, &actions, false).0 {
            *seen.entry(violation.rule).or_insert(0) += 1;
        }
        if wanted.iter().any(|rule| seen.contains_key(rule)) {
            return Some((tried, seen));
        }
    }
    None
}

#[test]
fn every_check_that_is_taken_out_is_noticed() {
    let mut unnoticed = Vec::new();
    println!("| check taken out | noticed by | histories |\n|---|---|---|");
    for mutation in Mutation::ALL {
        mutation::set(Some(*mutation));
        let found = search(rules_of(*mutation));
        mutation::set(None);
        match found {
            Some((tried, seen)) => {
                let rules: Vec<String> = seen.keys().map(|rule| format!("{} {rule:?}", rule.number())).collect();
                println!("| {mutation:?} | {} | {tried} |", rules.join(", "));
            }
            None => unnoticed.push(*mutation),
        }
    }
    assert!(unnoticed.is_empty(), "nothing notices that these checks are missing: {unnoticed:?}");
}

#[test]
fn no_rule_goes_without_a_check_that_is_taken_out() {
    let tried: Vec<Rule> = Mutation::ALL.iter().flat_map(|mutation| rules_of(*mutation)).copied().collect();
    let untried: Vec<Rule> = Rule::ALL.into_iter().filter(|rule| !tried.contains(rule)).collect();
    assert_eq!(untried, [], "each rule has to be seen failing");
}
