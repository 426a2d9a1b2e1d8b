//! Traces as spans of OpenTelemetry: what a collector and a file get, and what is told when it does not work.

mod collector;

use std::{collections::BTreeSet, fs, io::Write, path::Path, process::Stdio};

use collector::{Collector, Span, spans_of};

use super::{
    running::Running,
    support::{code, nobody, run, text, twinway},
};

const RECORDED: [&str; 5] = [
    r#"{"format":"twinway-trace","version":1,"begun":"2026-01-31T12:00:00Z"}"#,
    r#"{"event":"1.1","from":"DigitalTwinSystem/0","to":"Dtsr/0","flow":"9.2","step":"1","message":"RegisterTwinSystem","atNs":1000}"#,
    r#"{"event":"1.2","cause":"1.1","from":"Dtsr/0","to":"Dtsr/0","flow":"9.2","step":"2","message":"own","atNs":2000}"#,
    r#"{"event":"2.1","cause":"1.1","joined":["1.2"],"from":"Dtsr/0","to":"DigitalTwinSystem/0","flow":"9.2","step":"3","message":"TwinSystemRegistered refused","atNs":3000}"#,
    r#"{"event":"3.1","from":"Dts/0","to":"Dts/0","message":"Tick","atNs":4000}"#,
];

fn recorded(directory: &Path, lines: &[&str]) -> String {
    let file = directory.join("trace.jsonl");
    fs::write(&file, lines.iter().flat_map(|line| [line, "\n"]).collect::<String>()).expect("there is room");
    file.to_str().expect("it is text").to_owned()
}

fn attribute<'s>(span: &'s Span, key: &str) -> Option<&'s str> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.string_value.as_deref()
}

#[test]
fn a_collector_gets_every_event_as_a_span_of_the_trace_that_it_came_of() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let trace = recorded(directory.path(), &RECORDED);
    let collector = Collector::start(&["200 OK"]);
    let output = run(&["trace", "export", &trace, "--to", &collector.url]);
    assert_eq!((code(&output), text(&output.stderr)), (0, ""));
    assert!(text(&output.stdout).starts_with("4 spans in 1 requests"), "{}", text(&output.stdout));
    let spans = collector.spans();
    let [registers, own, answers, tick] = spans.as_slice() else { panic!("{spans:?}") };
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["9.2 step 1 RegisterTwinSystem", "9.2 step 2 own", "9.2 step 3 TwinSystemRegistered", "Tick"]);
    assert_eq!(registers.parent_span_id, None);
    assert_eq!([&own.parent_span_id, &answers.parent_span_id], [&Some(registers.span_id.clone()); 2]);
    assert_eq!([&own.trace_id, &answers.trace_id], [&registers.trace_id; 2]);
    assert_ne!(tick.trace_id, registers.trace_id, "it came of something else");
    let [link] = answers.links.as_slice() else { panic!("{answers:?}") };
    assert_eq!((&link.trace_id, &link.span_id), (&own.trace_id, &own.span_id));
    assert_eq!(registers.start_time_unix_nano, "1769860800000001000");
    assert_eq!((registers.kind, own.kind), (5, 1), "a message is consumed, an own step is internal");
    let told = ["twinway.flow.clause", "twinway.flow.step", "twinway.message", "messaging.destination.name"];
    assert_eq!(
        told.map(|key| attribute(answers, key)),
        [Some("9.2"), Some("3"), Some("TwinSystemRegistered"), Some("DigitalTwinSystem/0")]
    );
    let refused = answers.attributes.iter().find(|attribute| attribute.key == "twinway.refused");
    assert_eq!(refused.and_then(|refused| refused.value.bool_value), Some(true));
}

#[test]
fn the_same_trace_gives_the_same_spans_in_a_file_and_on_standard_output() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let trace = recorded(directory.path(), &RECORDED);
    let file = directory.path().join("spans.jsonl");
    let written = run(&["trace", "export", &trace, "--to", file.to_str().expect("it is text")]);
    assert_eq!(code(&written), 0);
    let mut child =
        twinway(&["trace", "export", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = fs::read(&trace).expect("it is there");
    child.stdin.take().expect("it is piped").write_all(&lines).expect("it listens");
    let shown = child.wait_with_output().expect("it ends").stdout;
    assert_eq!(fs::read(&file).expect("it is written"), shown);
    assert_eq!(text(&shown).lines().map(|line| spans_of(line.as_bytes()).len()).sum::<usize>(), 4);
}

#[test]
fn a_long_trace_goes_out_in_requests_of_a_limited_size() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let events = (1..=2_000).map(|n| {
        let cause = if n > 1 { format!(r#""cause":"1.{}","#, n - 1) } else { String::new() };
        format!(r#"{{"event":"1.{n}",{cause}"from":"Dts/0","to":"Dts/0","message":"Tick","atNs":{n}}}"#)
    });
    let lines: Vec<String> = std::iter::once(RECORDED[0].to_owned()).chain(events).collect();
    let trace = recorded(directory.path(), &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let output = run(&["trace", "export", &trace]);
    let requests: Vec<Vec<Span>> = text(&output.stdout).lines().map(|line| spans_of(line.as_bytes())).collect();
    assert_eq!(requests.iter().map(Vec::len).collect::<Vec<_>>(), [512, 512, 512, 464]);
    let traces: BTreeSet<&str> = requests.iter().flatten().map(|span| span.trace_id.as_str()).collect();
    let ids: BTreeSet<&str> = requests.iter().flatten().map(|span| span.span_id.as_str()).collect();
    assert_eq!((traces.len(), ids.len()), (1, 2_000), "one began all of them");
}

#[test]
fn a_collector_that_is_busy_is_asked_again_and_one_that_does_not_want_it_is_not() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let trace = recorded(directory.path(), &RECORDED);
    let busy = Collector::start(&["503 Service Unavailable", "429 Too Many Requests", "200 OK"]);
    assert_eq!(code(&run(&["trace", "export", &trace, "--to", &busy.url])), 0);
    assert_eq!(busy.bodies().len(), 3, "the third was taken");
    let unwilling = Collector::start(&["400 Bad Request"]);
    let output = run(&["trace", "export", &trace, "--to", &unwilling.url]);
    assert_eq!((code(&output), unwilling.bodies().len()), (1, 1));
    assert!(text(&output.stderr).contains("the collector answers 400"), "{}", text(&output.stderr));
    let output = run(&["trace", "export", &trace, "--to", &format!("{}/v1/traces", nobody())]);
    assert_eq!(code(&output), 6);
}

#[test]
fn what_cannot_be_exported_ends_with_2_and_says_where() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let looped = RECORDED[1].replace(r#""event":"1.1""#, r#""event":"1.1","cause":"2.1""#);
    let planted = [
        (vec![RECORDED[0], &looped, RECORDED[3]], "line 2: event 1.1 is among its own causes"),
        (vec![RECORDED[0], RECORDED[1], RECORDED[1]], "line 3: event 1.1 is there twice"),
        (vec![RECORDED[0], "{}"], "line 2: it is no event: `event` is missing"),
        (vec![r#"{"format":"twinway-trace","version":1,"begun":"noon"}"#], "line 1: `noon`, when it was begun"),
    ];
    for (lines, expected) in planted {
        let trace = recorded(directory.path(), &lines);
        let output = run(&["trace", "export", &trace]);
        assert_eq!((code(&output), text(&output.stdout)), (2, ""), "{expected}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    let https = run(&["trace", "export", "-", "--to", "https://127.0.0.1/v1/traces"]);
    assert_eq!(code(&https), 2);
    assert!(text(&https.stderr).contains("no TLS"), "{}", text(&https.stderr));
}

/// `serve --demo` with a collector of its own, until it is told to stop.
fn demo(directory: &Path, url: &str) -> (String, Running) {
    let config = directory.join("twinway.toml");
    fs::write(&config, format!("[log]\nlevel = \"error\"\n[trace]\notlp = \"{url}\"\n")).expect("there is room");
    let mut command = twinway(&["serve", "--demo", "--listen", "127.0.0.1:0", "--config"]);
    command.arg(config).arg("--data").arg(directory.join("data"));
    let running = Running::start(command);
    let daemon = running.line().rsplit(' ').next().expect("it says where").to_owned();
    while !running.line().contains("Both procedures are done") {}
    (daemon, running)
}

#[test]
fn a_daemon_sends_its_spans_while_it_runs() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let collector = Collector::start(&["200 OK"]);
    let (_, mut running) = demo(directory.path(), &collector.url);
    assert_eq!(running.end("-TERM").0, Some(0));
    let spans = collector.spans();
    for name in ["9.2 step 1 RegisterTwinSystem", "9.2 step 15 ChangeTwin", "9.1 step 1 RegisterThirdPartySystem"] {
        assert!(spans.iter().any(|span| span.name == name), "{name}");
    }
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "each goes out once");
    let known = |span: &Span| span.parent_span_id.as_ref().is_none_or(|parent| ids.contains(parent.as_str()));
    assert!(spans.iter().all(known), "every parent is there too");
}

#[test]
fn a_daemon_whose_collector_is_gone_works_counts_and_ends_in_order() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let (daemon, mut running) = demo(directory.path(), &format!("{}/v1/traces", nobody()));
    let token = fs::read_to_string(directory.path().join("data/token")).expect("it has left one");
    let dropped = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let shown = runtime.block_on(async {
            let asked = reqwest::Client::new().get(format!("{daemon}/metrics")).bearer_auth(token.trim()).send();
            asked.await.expect("it answers").text().await.expect("it is text")
        });
        let line =
            shown.lines().find(|line| line.starts_with("twinway_trace_export_dropped_total{reason=\"unreachable\"}"));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        count.unwrap_or_else(|| panic!("no count in {shown}"))
    };
    // Each request is given up after its last attempt; until then there is nothing to wait for.
    while dropped() == 0.0 {
        std::thread::yield_now();
    }
    assert_eq!(running.end("-TERM").0, Some(0));
}
