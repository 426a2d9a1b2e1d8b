//! The examples run and show what they promise.

#![allow(clippy::expect_used, reason = "a test may stop at the first surprise")]

use std::process::Command;

#[test]
fn an_enabler_embedded_in_a_host_reads_and_changes_a_twin() {
    // Cargo builds the examples with the tests, beside them.
    let tests = std::env::current_exe().expect("a test knows where it is");
    let profile = tests.parent().and_then(|deps| deps.parent()).expect("tests lie two folders deep");
    let run = Command::new(profile.join("examples").join("embed")).output().expect("the example was built");
    let told = String::from_utf8_lossy(&run.stdout);
    let values: Vec<_> = told.lines().filter_map(|line| line.split("value: ").nth(1)?.split(',').next()).collect();
    assert_eq!((run.status.success(), values), (true, vec!["true", "false"]), "{told}");
}
