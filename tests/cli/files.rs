//! What the command does with files, without a daemon.

use std::fs;

use super::support::{code, run, text};

#[test]
fn the_configuration_in_effect_is_shown_and_can_be_read_again() {
    let shown = run(&["config", "show"]);
    assert_eq!((code(&shown), text(&shown.stderr)), (0, ""));
    let directory = tempfile::tempdir().expect("there is a place for it");
    let file = directory.path().join("twinway.toml");
    fs::write(&file, &shown.stdout).expect("it is written");
    let again = run(&["config", "show", file.to_str().expect("it is text")]);
    assert_eq!(text(&again.stdout), text(&shown.stdout), "{}", text(&again.stderr));
    let json = run(&["config", "show", "-o", "json"]);
    let config: serde_json::Value = serde_json::from_slice(&json.stdout).expect("it is one JSON document");
    assert_eq!(config["listen"], "127.0.0.1:7400");
}

#[test]
fn a_configuration_with_a_mistake_fails_the_check_and_a_missing_one_is_not_found() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let file = directory.path().join("twinway.toml");
    let path = file.to_str().expect("it is text");
    let output = run(&["config", "check", path]);
    assert_eq!(code(&output), 3);
    fs::write(&file, "listen = \"127.0.0.1:7400\"\nlistn = 1\n").expect("it is written");
    let output = run(&["config", "check", path]);
    assert_eq!((code(&output), text(&output.stdout)), (8, ""));
    assert!(text(&output.stderr).contains("twinway.toml:2:1"), "{}", text(&output.stderr));
    fs::write(&file, "listen = \"127.0.0.1:7401\"\n").expect("it is written");
    assert_eq!(code(&run(&["config", "check", "--config", path])), 0);
}

#[test]
fn a_journal_that_is_not_there_is_a_failure_and_not_a_sound_one() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let data = directory.path().join("nothing");
    let output = run(&["journal", "verify", "--data", data.to_str().expect("it is text")]);
    assert_eq!((code(&output), text(&output.stdout)), (1, ""));
    assert!(!data.exists(), "looking at a journal does not make one");
}
