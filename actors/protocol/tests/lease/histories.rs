//! The fourteen invariants hold in every history of every world. `PROPTEST_CASES` says how many are tried.

use proptest::prelude::*;

use crate::actions::{history, run};

fn told(world: &crate::world::World, violations: &[twinway_protocol::lease::rules::Violation]) -> String {
    let story = world.story.as_ref().map(|story| story.join("\n")).unwrap_or_default();
    let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
    format!("{story}\n{}", violations.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fourteen_invariants_hold_in_every_history((setup, actions) in history(60)) {
        let (violations, _) = run(&setup, &actions, false);
        if !violations.is_empty() {
            let (violations, world) = run(&setup, &actions, true);
            return Err(TestCaseError::fail(told(&world, &violations)));
        }
    }
}
