//! `twinway lease`, with a daemon that says what a test tells it to, and with a real one.

use std::time::Duration;

use serde_json::Value;

use super::{
    running::{Running, place},
    support::{code, daemon, run, text, twinway},
};

const LEASE: &str = r#"{"twins":["arm"],"holder":{"user":"ada","world":"plaza","system":"plaza","class":"person"},
    "token":"7.42","priority":3,"expiresInMs":60000,"fencing":"device"}"#;
const VIEW: &str = r#"{"object":"urn:arm","twins":["arm"],"phase":"held",
    "holder":{"user":"ada","world":"plaza","system":"plaza","class":"person","priority":3},
    "expiresInMs":59500,"waiting":102,
    "queue":[{"party":{"class":"person","priority":2},"objects":1,"waitsMs":1000}],"reservations":[],
    "history":[{"at":"2026-01-01T00:00:00Z","what":"ended","token":"7.41","end":"preempted","note":"root: why not"}],
    "explanation":"ada holds it.\nSomebody waits. \u001b[2J"}"#;

/// Runs a command against a daemon that answers it so; gives what it wrote and what it asked.
fn asked(status: &str, body: &str, arguments: &[&str]) -> (std::process::Output, String) {
    let (url, served) = daemon(status, "application/json", body);
    let output = run(&[arguments, &["--url", &url, "--as", "plaza"]].concat());
    (output, served.join().expect("it was asked"))
}

#[test]
fn what_is_acquired_is_its_token_for_scripts_and_the_whole_lease_for_programs() {
    let (output, line) = asked("201 Created", LEASE, &["lease", "acquire", "arm", "--user", "ada"]);
    assert_eq!((code(&output), text(&output.stdout), text(&output.stderr)), (0, "7.42\n", ""));
    assert!(line.starts_with("POST /mii/v1/twins/arm/sync-lease?as=plaza "), "{line}");
    let (output, line) = asked("201 Created", LEASE, &["lease", "acquire", "arm", "belt", "-o", "json"]);
    let lease: Value = serde_json::from_slice(&output.stdout).expect("it is one JSON document");
    assert_eq!((&lease["token"], &lease["fencing"]), (&"7.42".into(), &"device".into()));
    assert!(line.starts_with("POST /mii/v1/sync-leases?"), "{line}");
}

#[test]
fn an_object_that_somebody_else_has_ends_with_5() {
    for slug in ["lease-held", "lease-lost", "lease-wait-over", "reservation-taken"] {
        let body = format!(r#"{{"type":"/problems/{slug}","title":"So","status":409,"detail":"it is"}}"#);
        let (output, _) = asked("409 Conflict", &body, &["lease", "acquire", "arm"]);
        assert_eq!((code(&output), text(&output.stdout)), (5, ""), "{slug}");
    }
}

#[test]
fn a_lease_is_renewed_and_given_back_by_its_token() {
    let shown = ["arm", "--user", "ada", "--lease", "7.42"];
    let (output, line) = asked("200 OK", LEASE, &[&["lease", "renew"], &shown[..]].concat());
    assert_eq!((code(&output), text(&output.stdout)), (0, "7.42\n"));
    assert!(line.starts_with("PUT /mii/v1/twins/arm/sync-lease?"), "{line}");
    let (output, line) = asked("204 No Content", "", &[&["lease", "release"], &shown[..]].concat());
    assert_eq!((code(&output), text(&output.stdout), text(&output.stderr)), (0, "", ""));
    assert!(line.starts_with("DELETE /mii/v1/twins/arm/sync-lease?as=plaza&user=ada&token=7.42 "), "{line}");
    assert_eq!(code(&run(&["lease", "release", "arm", "--lease", "seven"])), 2);
    assert_eq!(code(&run(&["lease", "release", "arm"])), 2, "without a token there is nothing to give back");
}

#[test]
fn what_is_with_an_object_is_explained_in_words_and_listed_in_tables() {
    let (output, _) = asked("200 OK", VIEW, &["lease", "explain", "arm"]);
    assert_eq!(text(&output.stdout), "ada holds it.\nSomebody waits. \u{fffd}[2J\n");
    let (output, _) = asked("200 OK", VIEW, &["lease", "queue", "arm"]);
    let table = text(&output.stdout);
    assert!(table.contains("ada of plaza") && table.contains("somebody of another system"), "{table}");
    assert_eq!(text(&output.stderr), "101 more wait\n");
    let (output, _) = asked("200 OK", VIEW, &["lease", "history", "arm"]);
    let table = text(&output.stdout);
    assert!(table.contains("preempted, root: why not") && table.contains("7.41"), "{table}");
    let listing = r#"{"items":[{"object":"urn:arm","twin":"arm","phase":"quarantined","waiting":2}],"next":null}"#;
    let (output, _) = asked("200 OK", listing, &["lease", "list"]);
    let table = text(&output.stdout);
    assert!(table.contains("quarantined") && table.contains("nobody") && table.contains("urn:arm"), "{table}");
}

#[test]
fn an_operator_looks_and_acts_by_the_operators_routes() {
    let (url, served) = daemon("200 OK", "application/json", VIEW);
    assert_eq!(code(&run(&["lease", "explain", "arm", "--url", &url])), 0);
    assert!(served.join().expect("it was asked").starts_with("GET /ops/v1/twins/arm/sync-lease "));
    for act in ["clear", "revoke", "replace-gate"] {
        let (output, line) = asked("204 No Content", "", &["lease", act, "arm", "--reason", "it sticks"]);
        assert_eq!(code(&output), 0, "{act}");
        assert!(line.starts_with(&format!("POST /ops/v1/twins/arm/sync-lease/{act}?")), "{line}");
        assert_eq!(code(&run(&["lease", act, "arm"])), 2, "a reason is needed");
    }
}

#[test]
fn a_command_needs_a_lease_that_is_held_meanwhile() {
    let output = twinway(&["lease", "acquire", "arm", "--", "true"]).output().expect("it starts");
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("--hold"));
}

/// The demo's world, whose inhabitant `ana` may do everything with the lamp.
struct Demo {
    process: Running,
    remote: Vec<String>,
}

impl Demo {
    fn start(data: &std::path::Path) -> Self {
        let mut command = twinway(&["serve", "--demo", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(data);
        let process = Running::start(command);
        let url = process.line().rsplit(' ').next().expect("it says where").to_owned();
        while !process.line().contains("Both procedures are done") {}
        let token_file = data.join("token").to_str().expect("it is text").to_owned();
        Self { process, remote: ["--url".to_owned(), url, "--token-file".to_owned(), token_file].to_vec() }
    }

    fn ask(&self, arguments: &[&str]) -> std::process::Output {
        let remote: Vec<_> = self.remote.iter().map(String::as_str).collect();
        run(&[&arguments[..1], &remote, &arguments[1..]].concat())
    }

    fn phase(&self) -> Value {
        let output = self.ask(&["lease", "explain", "lamp", "-o", "json"]);
        let view: Value = serde_json::from_slice(&output.stdout).expect("it is one JSON document");
        view["phase"].clone()
    }
}

#[test]
fn a_lease_is_held_while_a_command_runs_and_the_exit_code_is_the_commands() {
    let directory = place();
    let mut demo = Demo::start(&directory.path().join("data"));
    let change = format!("\"$0\" twin {} set lamp brightness=41", demo.remote.join(" "));
    // The command's own changes show its lease; everyone else's find it held.
    let script = format!("{change} --user ana && {{ {change} --user ben --lease 1.1; {change} --user ana; exit 3; }}");
    let binary = env!("CARGO_BIN_EXE_twinway");
    let hold = ["lease", "acquire", "lamp", "--user", "ana", "--hold", "--", "sh", "-c", &script, binary];
    let output = demo.ask(&hold);
    assert_eq!(code(&output), 3, "{output:?}");
    assert_eq!(demo.phase(), "free");
    let missing = ["lease", "acquire", "lamp", "--user", "ana", "--hold", "--", "no-such-command"];
    assert_eq!(code(&demo.ask(&missing)), 1);
    assert_eq!(demo.phase(), "free");

    let mut command = twinway(&["lease", "acquire", "lamp", "--user", "ana", "--hold"]);
    let mut holder = Running::start({
        command.args(&demo.remote);
        command
    });
    let token = holder.line();
    assert_eq!(demo.phase(), "held");
    let refused = demo.ask(&["twin", "set", "lamp", "brightness=42", "--user", "ana"]);
    assert_eq!(code(&refused), 5, "a change without the token: {refused:?}");
    let shown = demo.ask(&["twin", "set", "lamp", "brightness=42", "--user", "ana", "--lease", &token]);
    assert_eq!(code(&shown), 0, "{shown:?}");
    assert_eq!(holder.end("-INT"), (Some(0), String::new()));
    assert_eq!(demo.phase(), "free");
    assert_eq!(demo.process.end("-TERM").0, Some(0));
}

#[test]
fn who_holds_a_lease_hears_when_an_operator_ends_it_and_whoever_watches_sees_it() {
    let directory = place();
    let demo = Demo::start(&directory.path().join("data"));
    let start = |arguments: &[&str]| {
        let mut command = twinway(arguments);
        command.args(&demo.remote);
        Running::start(command)
    };
    // When it listens is not told, so leases come and go until one is seen.
    let seen = |format| {
        let mut watch = start(&["lease", "watch", "lamp", "-o", format]);
        let seen = (0_u32..).find_map(|n| {
            let output = demo.ask(&["lease", "acquire", "lamp", "--user", "ana", "--hold", "--", "true"]);
            assert_eq!(code(&output), 0, "{output:?}");
            let heard = watch.lines.recv_timeout(Duration::from_millis(50)).ok();
            assert!(heard.is_some() || n < 1_000, "nothing is heard");
            heard
        });
        assert_eq!(watch.end("-INT"), (Some(0), String::new()));
        seen.expect("it is seen")
    };
    let event: Value = serde_json::from_str(&seen("json")).expect("a line is one JSON document");
    assert_eq!(event["type"], "io.twinway.lease.changed", "{event}");
    // Everybody who selected the twin hears it, so nobody is named in it, nor is the token.
    assert_eq!((event["data"].get("token"), event["data"]["party"].get("user")), (None, None), "{event}");
    let line = seen("table");
    assert!(line.contains("lamp  lease.changed  ") && line.contains(": somebody at priority 0"), "{line}");

    let holder = start(&["lease", "acquire", "lamp", "--user", "ana", "--hold"]);
    holder.line();
    assert_eq!(code(&demo.ask(&["lease", "clear", "lamp", "--reason", "it flickers"])), 0);
    assert_eq!(holder.wait(), Some(5));
    let history = demo.ask(&["lease", "history", "lamp"]);
    assert!(text(&history.stdout).contains("it flickers"), "{history:?}");
}
