//! Simulated worlds from the command line: a schedule is written down, and repeated from its file.

use std::{fs, path::Path};

use super::support::{code, run, text};

/// Repeats the schedule of a file with this text: the exit code, stdout and stderr.
fn replay(contents: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let file = directory.path().join("failure.toml");
    fs::write(&file, contents).expect("it is written");
    let output = run(&["simulate", "--replay", file.to_str().expect("it is text"), "-o", "json"]);
    (code(&output), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

#[test]
fn a_schedule_in_a_file_is_repeated_in_its_world_with_its_faults() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/regressions/9.2-SilentAfterFailure.toml");
    let kept = fs::read_to_string(kept).expect("it is there");
    let (exit, shown, told) = replay(&kept);
    assert_eq!((exit, told.as_str()), (0, ""), "the bug that it was found with is not planted");
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("it is JSON");
    assert_eq!((&shown["flow"], &shown["runs"], &shown["violations"]), (&"9.2".into(), &1.into(), &0.into()));
}

#[test]
fn a_file_that_is_no_schedule_is_told_with_its_line() {
    let (exit, _, told) = replay("world = \"9.2\"\nschedule = 3\n");
    assert_eq!(exit, 2, "{told}");
    assert!(told.contains("line 2"), "{told}");
    let (exit, _, told) = replay("world = \"9.3\"\nschedule = \"1:\"\n");
    assert_eq!(exit, 3, "{told}");
    assert!(told.contains("9.3"), "{told}");
    let output = run(&["simulate", "--replay", "nowhere.toml"]);
    assert_eq!(code(&output), 2);
    let output = run(&["simulate", "--replay", "nowhere.toml", "--flow", "9.2"]);
    assert_eq!(code(&output), 2, "a file names its world itself");
}

#[test]
fn nothing_is_saved_when_every_rule_holds() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let folder = directory.path().join("failures");
    let output = run(&[
        "simulate",
        "--flow",
        "9.2",
        "--runs",
        "5",
        "--save",
        folder.to_str().expect("it is text"),
        "-o",
        "json",
    ]);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!((code(&output), &shown["saved"], folder.exists()), (0, &serde_json::Value::Null, false));
}
