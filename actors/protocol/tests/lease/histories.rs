//! The fourteen invariants hold in every history of every world. `TWINWAY_HISTORIES` or else `PROPTEST_CASES` says how
//! many are tried.

use proptest::{
    prelude::*,
    test_runner::{FailurePersistence, FileFailurePersistence},
};

use crate::actions::{history, run};

fn told(world: &crate::world::World, violations: &[twinway_protocol::lease::rules::Violation]) -> String {
    let story = world.story.as_ref().map(|story| story.join("\n")).unwrap_or_default();
    let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
    format!("{story}\n{}", violations.join("\n"))
}

#[expect(clippy::disallowed_methods, reason = "how long to search is said by who runs the tests")]
fn config() -> ProptestConfig {
    let cases = std::env::var("TWINWAY_HISTORIES").ok().and_then(|cases| cases.parse().ok());
    let usual = ProptestConfig::default();
    let cases = cases.unwrap_or(usual.cases);
    ProptestConfig { cases, max_shrink_iters: 20_000, failure_persistence: regressions(), ..usual }
}

/// What was found once is tried first, for ever.
fn regressions() -> Option<Box<dyn FailurePersistence>> {
    Some(Box::new(FileFailurePersistence::Direct("tests/lease/regressions.txt")))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_fourteen_invariants_hold_in_every_history((setup, actions) in history(60)) {
        let (violations, _) = run(&setup, &actions, false);
        if !violations.is_empty() {
            let (violations, world) = run(&setup, &actions, true);
            return Err(TestCaseError::fail(told(&world, &violations)));
        }
    }
}
