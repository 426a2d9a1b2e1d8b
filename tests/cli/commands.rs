//! Exit codes, and what goes to which stream.

use std::process::Stdio;

use super::support::{code, daemon, nobody, run, text, twinway};

#[test]
fn a_mistake_of_usage_ends_with_2_and_writes_nothing_to_stdout() {
    for arguments in
        [&["twin"][..], &["twin", "show"], &["fly"], &["twin", "list", "--frob"], &["-o", "xml", "twin", "list"]]
    {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_value_without_a_name_is_a_mistake_of_usage_too() {
    let output = run(&["twin", "set", "lamp", "on"]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("NAME=VALUE"));
}

#[test]
fn help_and_version_are_results() {
    let version = run(&["--version"]);
    assert_eq!((code(&version), text(&version.stdout)), (0, concat!("twinway ", env!("CARGO_PKG_VERSION"), "\n")));
    let help = run(&["--help"]);
    assert_eq!(code(&help), 0);
    assert!(text(&help.stdout).contains("Exit codes"));
}

#[test]
fn a_daemon_that_is_not_there_ends_with_6() {
    let output = run(&["system", "list", "--url", &nobody()]);
    assert_eq!(code(&output), 6);
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).starts_with("error: The daemon cannot be reached"));
}

#[test]
fn json_has_only_data_on_stdout_and_a_problem_document_on_stderr() {
    let output = run(&["twin", "show", "lamp", "-o", "json", "--url", &nobody()]);
    assert_eq!(code(&output), 6);
    assert!(output.stdout.is_empty());
    let document: serde_json::Value = serde_json::from_slice(&output.stderr).expect("it is one JSON document");
    assert_eq!(document["title"], "The daemon cannot be reached");
    assert_eq!(document["status"], 503);
}

#[test]
fn what_the_daemon_refuses_ends_with_its_code() {
    for (status, slug, expected) in [
        ("404 Not Found", "twin-unknown", 3),
        ("403 Forbidden", "not-allowed", 4),
        ("409 Conflict", "object-owned", 5),
        ("504 Gateway Timeout", "outside-timeout", 7),
        ("503 Service Unavailable", "overloaded", 1),
    ] {
        let number = status.split(' ').next().expect("a status begins with its number");
        let body = format!(r#"{{"type":"/problems/{slug}","title":"So","status":{number},"detail":"it is"}}"#);
        let (url, served) = daemon(status, "application/problem+json", &body);
        let output = run(&["-o", "json", "twin", "show", "lamp", "--url", &url]);
        assert_eq!(code(&output), expected, "{slug}");
        let document: serde_json::Value = serde_json::from_slice(&output.stderr).expect("it is one JSON document");
        assert_eq!(document["type"], format!("/problems/{slug}"));
        assert!(served.join().expect("it was asked").starts_with("GET /mii/v1/twins/lamp "));
    }
}

const TWINS: &str = r#"{"items":[{"id":"lamp","system":"home","title":"Lamp \u001b[2J","physicalObject":"urn:lamp","class":"object","selected":false}],"next":null}"#;

#[test]
fn a_list_is_a_table_for_people_and_json_for_programs() {
    let (url, served) = daemon("200 OK", "application/json", TWINS);
    let output = run(&["twin", "list", "--url", &url, "--as", "plaza"]);
    assert_eq!((code(&output), text(&output.stderr)), (0, ""));
    let table = text(&output.stdout);
    let mut lines = table.lines();
    assert!(lines.next().is_some_and(|head| head.contains("SYSTEM")), "{table}");
    assert!(lines.next().is_some_and(|row| row.contains("lamp") && row.contains("urn:lamp")), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours and no foreign control characters: {table:?}");
    assert!(served.join().expect("it was asked").contains("as=plaza"));

    let (url, served) = daemon("200 OK", "application/json", TWINS);
    let filter = "'on'in twin.properties";
    let output =
        run(&["twin", "search", "LAMP", "--filter", filter, "--sort=-twin.title", "-o", "json", "--url", &url]);
    assert_eq!((code(&output), text(&output.stderr)), (0, ""));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is one JSON document");
    assert_eq!(found[0]["id"], "lamp");
    let asked = served.join().expect("it was asked");
    assert!(["text=LAMP", "filter=", "twin.properties", "sort="].iter().all(|part| asked.contains(part)), "{asked}");
}

#[test]
fn a_description_comes_byte_for_byte() {
    let description = "{ \"title\" : \"Lamp\",\n \"n\":1.0}";
    let (url, _served) = daemon("200 OK", "application/td+json", description);
    let output = run(&["twin", "show", "lamp", "--description", "--url", &url]);
    assert_eq!((code(&output), text(&output.stdout)), (0, format!("{description}\n").as_str()));
}

#[test]
fn a_system_says_of_which_kind_it_is() {
    let body = r#"{"items":[{"system":{"id":"home","type":"home","title":"Home","properties":{"area":120.50}},"twinCount":3,"registeredAt":"2026-01-01T00:00:00Z"}],"next":null}"#;
    let (url, served) = daemon("200 OK", "application/json", body);
    let output = run(&["system", "list", "--kind", "twin-system", "-o", "json", "--url", &url]);
    assert_eq!((code(&output), text(&output.stderr)), (0, ""));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is one JSON document");
    assert_eq!((&found[0]["kind"], &found[0]["system"]["id"]), (&"twin-system".into(), &"home".into()));
    assert!(text(&output.stdout).contains("120.50"), "documents are carried as they came");
    assert!(served.join().expect("it was asked").starts_with("GET /mii/v1/twin-systems?"));
}

#[test]
fn completions_are_written_for_every_shell_and_a_reader_that_hangs_up_is_no_error() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), 0, "{shell}");
        assert!(text(&output.stdout).contains("twinway"), "{shell}");
    }
    let mut child =
        twinway(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((code(&output), text(&output.stderr)), (0, ""));
}
