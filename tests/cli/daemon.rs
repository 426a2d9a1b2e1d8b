//! A daemon with its demo world, in processes of their own: both procedures of FGMV-29 clause 9 as they are told, the
//! commands as its clients, and an orderly end.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::support::{code, run, text, twinway};

/// How long the test waits for anything at all: only a daemon that hangs takes it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Daemon {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended in order already, unless the test has failed.
        let _ = self.child.kill();
    }
}

impl Daemon {
    fn start(data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().expect("it is text");
        let mut command = twinway(&["serve", "--demo", "--listen", "127.0.0.1:0", "--data", data]);
        command.args(more);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (told, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// The lines up to the one that has `mark`.
    fn until(&self, mark: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.contains(mark)) {
            let next = self.lines.recv_timeout(PATIENCE);
            lines.push(next.unwrap_or_else(|error| panic!("{error}: no `{mark}` after {lines:#?}")));
        }
        lines
    }

    /// Sends a signal; nothing in the standard library does.
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("there is a `kill`");
        assert!(sent.success());
    }
}

fn steps(lines: &[String]) -> Vec<&str> {
    let numbers = lines.iter().filter(|line| line.contains(" ms  "));
    numbers.filter_map(|line| line.split_whitespace().next()).collect()
}

fn ask(url: &str, token: &str, arguments: &[&str]) -> Output {
    run(&[arguments, &["--url", url, "--token", token]].concat())
}

#[test]
fn the_demo_tells_both_procedures_the_commands_see_it_and_a_signal_ends_it_in_order() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let data = directory.path().join("data");
    let mut daemon = Daemon::start(&data, &[]);
    let greeting = daemon.until("twinway ");
    let url = greeting[0].rsplit(' ').next().expect("it says where").to_owned();
    let integrated = daemon.until("FGMV-29 9.1");
    assert_eq!(
        steps(&integrated).join(" "),
        "1 2 3 4 5 6 7 6 7 8 9 10 11 12 13 14 14 15 16 17 18 18x 15 16 17",
        "9.2, and its rejecting branch: {integrated:#?}"
    );
    assert!(integrated.iter().any(|line| line.contains("ChangeRejected") && line.contains("permission-missing")));
    let integrated = daemon.until("Both procedures are done");
    assert_eq!(
        steps(&integrated).join(" "),
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 14x 14x 11 12 13 14",
        "9.1, and its rejecting branch: {integrated:#?}"
    );
    assert!(integrated.iter().any(|line| line.contains("ServiceRejected") && line.contains("permission-missing")));

    let token = std::fs::read_to_string(data.join("token")).expect("serve has left it");
    let token = token.trim();
    let systems = ask(&url, token, &["system", "list", "-o", "json"]);
    assert_eq!((code(&systems), text(&systems.stderr)), (0, ""));
    let systems: serde_json::Value = serde_json::from_slice(&systems.stdout).expect("it is one JSON document");
    assert_eq!(
        (&systems[0]["system"]["id"], &systems[1]["system"]["id"]),
        (&"home".into(), &"lighting-advisor".into())
    );
    assert_eq!(code(&ask(&url, token, &["system", "show", "lighting-advisor"])), 0);
    assert_eq!(code(&ask(&url, token, &["twin", "show", "nothing"])), 3);
    assert_eq!(code(&ask(&url, "another token altogether", &["twin", "list"])), 4);
    // Whoever lives in the home may change it, after asking; guests may not.
    let set = ask(&url, token, &["twin", "set", "lamp", "brightness=33", "--user", "ana", "-o", "json"]);
    assert_eq!((code(&set), text(&set.stderr)), (0, ""));
    let now: serde_json::Value = serde_json::from_slice(&set.stdout).expect("it is one JSON document");
    assert_eq!(now["brightness"], 33);
    assert_eq!(code(&ask(&url, token, &["twin", "set", "lamp", "brightness=34", "--user", "guest"])), 4);
    let was = ask(&url, token, &["twin", "history", "lamp", "--property", "brightness"]);
    assert_eq!(code(&was), 0, "{}", text(&was.stderr));
    assert!(text(&was.stdout).lines().last().is_some_and(|line| line.ends_with("brightness = 33")), "{was:?}");
    let then = ask(&url, token, &["twin", "history", "lamp", "--at", "2000-01-01T00:00:00Z", "-o", "json"]);
    let then: serde_json::Value = serde_json::from_slice(&then.stdout).expect("it is one JSON document");
    assert_eq!(then["properties"], serde_json::json!({}));
    let mistaken = ask(&url, token, &["twin", "watch", "lamp", "--filter", "data.values.on >"]);
    assert_ne!(code(&mistaken), 0);
    assert!(text(&mistaken.stderr).contains("column"), "{}", text(&mistaken.stderr));

    daemon.signal("-INT");
    assert_eq!(daemon.child.wait().expect("it ends").code(), Some(0));
    assert_eq!(code(&ask(&url, token, &["twin", "list"])), 6);
    let data = data.to_str().expect("it is text");
    assert_eq!(code(&run(&["journal", "verify", "--data", data])), 0);
}

/// What the daemon counts of a verdict on a flow.
fn verdicts(metrics: &str, flow: &str, verdict: &str) -> Option<u64> {
    let named = |line: &&str| {
        line.starts_with("twinway_flow_verdicts_total{")
            && line.contains(&format!("flow=\"{flow}\""))
            && line.contains(&format!("verdict=\"{verdict}\""))
    };
    metrics.lines().find(named)?.rsplit(' ').next()?.parse().ok()
}

fn metrics_of(url: &str, token: &str) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    let head = format!(
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("it listens");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text
}

#[test]
fn a_daemon_that_is_told_to_judges_itself_by_the_flows_beside_its_trace() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let (data, trace) = (directory.path().join("data"), directory.path().join("trace.jsonl"));
    let mut daemon = Daemon::start(&data, &["--monitor", "--trace", trace.to_str().expect("it is text")]);
    let url = daemon.until("twinway ")[0].rsplit(' ').next().expect("it says where").to_owned();
    daemon.until("Both procedures are done");
    let token = std::fs::read_to_string(data.join("token")).expect("serve has left it");
    let began = std::time::Instant::now();
    // It judges what happened when what came before is there: soon after.
    let metrics = loop {
        let metrics = metrics_of(&url, token.trim());
        let judged = |flow| verdicts(&metrics, flow, "satisfied").is_some_and(|count| count > 0);
        if judged("9.1") && judged("9.2") {
            break metrics;
        }
        assert!(began.elapsed() < PATIENCE, "it judges nothing: {metrics}");
        thread::yield_now();
    };
    for flow in ["9.1", "9.2"] {
        for verdict in ["lucky", "violated", "unexpected", "repeated", "broken"] {
            assert_eq!(verdicts(&metrics, flow, verdict), Some(0), "{flow} {verdict}: {metrics}");
        }
        assert!(verdicts(&metrics, flow, "unexpected").is_some(), "{metrics}");
    }
    daemon.signal("-INT");
    assert_eq!(daemon.child.wait().expect("it ends").code(), Some(0));
    let checked = run(&["flow", "check", "9.2", trace.to_str().expect("it is text")]);
    assert_eq!(code(&checked), 0, "both hear everything: {}", text(&checked.stdout));
}
