//! The worlds that are searched to their end. `TWINWAY_MODEL_LONG=1` searches larger ones, some minutes each if optimized:
//! every message that may be lost or doubled besides makes a world about ten times as large.

use stateright::{Checker as _, HasDiscoveries, Model as _};
use twinway_protocol::lease::{Fencing, Terms};

use crate::leases::{Budget, Leases, Wish};

pub(crate) const TERMS: Terms = Terms { grace_ms: 20, min_hold_ms: 0, hold_ms_max: 0 };

#[expect(clippy::disallowed_methods, reason = "how far to search is said by who runs the tests")]
fn long() -> bool {
    std::env::var("TWINWAY_MODEL_LONG").is_ok_and(|long| long == "1")
}

/// Until when requests arrive, in milliseconds: within the first revocation too.
pub(crate) const ASKS_UNTIL_MS: u64 = 30;

/// A wish of somebody who waits: longer than a lease lasts, or, of the higher priority, longer than a revocation takes.
pub(crate) fn wish(objects: &'static [usize], priority: u8) -> Wish {
    Wish { objects, priority, wait_ms: if priority == 1 { 300 } else { 100 } }
}

/// Searches a world to its end; a rule that does not hold fails with the way there.
fn search(name: &str, world: Leases) {
    let checker = world.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {states} states, {depth} deep");
    for (property, path) in checker.discoveries() {
        if checker.model().property(property).expectation.discovery_is_failure() {
            let last = path.last_state().violations();
            let actions: Vec<String> = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
            panic!("{property} does not hold: {last:?}, after\n{}", actions.join("\n"));
        }
    }
    // What has to be possible was seen, and the search came to its end.
    checker.assert_properties();
    assert!(checker.is_done());
}

fn three(budget: Budget) -> Leases {
    Leases {
        objects: vec![(TERMS, Fencing::Device)],
        wishes: vec![wish(&[0], 1), wish(&[0], 1), wish(&[0], 2)],
        budget,
        asks_until_ms: ASKS_UNTIL_MS,
        without: None,
    }
}

#[test]
fn three_who_want_one_object_break_no_rule_in_any_order() {
    let budget = Budget { commands: 1, releases: 1, ..Budget::default() };
    let budget = if long() { Budget { copies: 1, ..budget } } else { budget };
    search("three for one object", three(budget));
}

#[test]
fn three_who_want_one_object_of_a_slow_gate_break_no_rule_in_any_order() {
    let budget = Budget { releases: 1, slow: 1, ..Budget::default() };
    let budget = if long() { Budget { commands: 1, ..budget } } else { budget };
    search("three for one object of a slow gate", three(budget));
}

#[test]
fn a_daemon_that_dies_anywhere_breaks_no_rule_in_any_order() {
    let budget = Budget { commands: 1, deaths: 1, ..Budget::default() };
    let budget = if long() { Budget { releases: 1, ..budget } } else { budget };
    let world = Leases { wishes: vec![wish(&[0], 1), wish(&[0], 2)], ..three(budget) };
    search("two for one object, and a death", world);
}

#[test]
fn a_set_against_a_single_breaks_no_rule_in_any_order() {
    let budget = Budget { commands: 1, slow: 1, ..Budget::default() };
    let budget = if long() { Budget { releases: 1, ..budget } } else { budget };
    let objects = vec![(TERMS, Fencing::Drained), (TERMS, Fencing::Deadline)];
    let world = Leases { objects, wishes: vec![wish(&[0, 1], 2), wish(&[0], 1)], ..three(budget) };
    search("a set against a single", world);
}
