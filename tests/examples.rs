//! The examples run and show what they promise.

#![allow(clippy::expect_used, reason = "a test may stop at the first surprise")]

use std::process::{Command, Output};

fn example(name: &str) -> Output {
    // Cargo builds the examples with the tests, beside them.
    let tests = std::env::current_exe().expect("a test knows where it is");
    let profile = tests.parent().and_then(|deps| deps.parent()).expect("tests lie two folders deep");
    Command::new(profile.join("examples").join(name)).output().expect("the example was built")
}

#[test]
fn an_enabler_embedded_in_a_host_reads_and_changes_a_twin() {
    let run = example("embed");
    let told = String::from_utf8_lossy(&run.stdout);
    let values: Vec<_> = told.lines().filter_map(|line| line.split("value: ").nth(1)?.split(',').next()).collect();
    assert_eq!((run.status.success(), values), (true, vec!["true", "false"]), "{told}");
}

#[cfg(feature = "testkit")]
#[test]
fn a_planted_race_is_found_and_shown_as_a_list_and_a_diagram() {
    let run = example("planted_race");
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{told}");
    for expected in [
        "violated: what is brewed was ground: hot water",
        "*3. Till → Brewer: 3 Brew",
        "sequenceDiagram",
        "to repeat it: TWINWAY_SCHEDULE='",
        "Mended: the rules hold in every order",
    ] {
        assert!(told.contains(expected), "no `{expected}` in\n{told}");
    }
}
