//! Flows and traces, as scripts see them.

use std::{fs, io::Write, process::Stdio};

use super::support::{code, run, text, twinway};

/// FGMV-29 9.2 steps 1 to 3.
const REGISTERED: [&str; 4] = [
    r#"{"format":"twinway-trace","version":1}"#,
    r#"{"event":"1.1","from":"DigitalTwinSystem/0","to":"Dtsr/0","flow":"9.2","step":"1","message":"RegisterTwinSystem","atNs":1}"#,
    r#"{"event":"1.2","cause":"1.1","from":"Dtsr/0","to":"Dtsr/0","flow":"9.2","step":"2","message":"own","atNs":2}"#,
    r#"{"event":"2.1","cause":"1.1","from":"Dtsr/0","to":"DigitalTwinSystem/0","flow":"9.2","step":"3","message":"TwinSystemRegistered","atNs":3}"#,
];

/// Checks lines against 9.2: the exit code, stdout and stderr.
fn check(lines: &[u8], arguments: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let file = directory.path().join("trace.jsonl");
    fs::write(&file, lines).expect("it is written");
    let output = run(&[&["flow", "check", "9.2", file.to_str().expect("it is text")], arguments].concat());
    (code(&output), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

fn lines(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

#[test]
fn the_nine_flows_are_listed_and_shown_in_every_form() {
    let list = run(&["flow", "list"]);
    assert_eq!((code(&list), text(&list.stdout).lines().count()), (0, 10));
    let list = run(&["flow", "list", "-o", "json"]);
    let flows: serde_json::Value = serde_json::from_slice(&list.stdout).expect("it is one JSON document");
    assert_eq!((flows.as_array().map(Vec::len), &flows[1]["steps"]), (Some(9), &19.into()));
    for (format, begins) in
        [("text", "9.2"), ("mermaid", "sequenceDiagram"), ("svg", "<svg"), ("dot", "digraph"), ("json", "{")]
    {
        let shown = run(&["flow", "show", "9.2", "--format", format]);
        assert_eq!((code(&shown), text(&shown.stderr)), (0, ""));
        assert!(text(&shown.stdout).starts_with(begins), "{format}");
    }
    assert_eq!(
        run(&["flow", "show", "9.2", "-o", "json"]).stdout,
        run(&["flow", "show", "9.2", "--format", "json"]).stdout
    );
    let unknown = run(&["flow", "show", "9.3"]);
    assert_eq!((code(&unknown), text(&unknown.stdout)), (3, ""));
    assert!(text(&unknown.stderr).contains("there is no flow `9.3`: known are 9.1, 9.2"));
}

#[test]
fn a_flow_that_holds_ends_with_0_and_one_that_does_not_with_8() {
    let (exit, shown, told) = check(&lines(&REGISTERED), &[]);
    assert_eq!((exit, told.as_str()), (0, ""));
    assert!(shown.contains("3 events, 3 steps in 1 instances"), "{shown}");

    let (exit, shown, told) = check(&lines(&[REGISTERED[0], REGISTERED[1], REGISTERED[3]]), &[]);
    assert_eq!(exit, 8);
    assert!(shown.contains("trace.jsonl:3: violated: 2 < 3 at 2.1: step 2 did not come before"), "{shown}");
    assert!(shown.contains("trace.jsonl:2: missing: step 2 of what 1.1 began"), "{shown}");
    assert!(told.contains("9.2 does not hold: 1 violated, 1 missing"), "{told}");

    let (exit, shown, _) =
        check(&lines(&[REGISTERED[0], REGISTERED[1], REGISTERED[3]]), &["-o", "json", "--show", "1"]);
    let report: serde_json::Value = serde_json::from_str(&shown).expect("it is one JSON document");
    assert_eq!((exit, &report["holds"], &report["findings"][0]["line"]), (8, &false.into(), &3.into()));
}

#[test]
fn luck_is_an_error_only_where_it_is_asked_to_be() {
    let apart = REGISTERED[3].replace(r#""cause":"1.1","#, r#""cause":"1.3","#);
    let tick = r#"{"event":"1.3","from":"Dtsr/0","to":"Dtsr/0","message":"Tick","atNs":3}"#;
    let trace = lines(&[REGISTERED[0], REGISTERED[1], REGISTERED[2], tick, &apart]);
    let (exit, shown, _) = check(&trace, &[]);
    assert_eq!(exit, 0, "{shown}");
    assert!(shown.contains("lucky: 2 < 3 at 2.1"), "{shown}");
    assert_eq!(check(&trace, &["--strict"]).0, 8);
}

#[test]
fn standard_input_is_a_trace_too() {
    let mut child = twinway(&["flow", "check", "9.2", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("it is piped").write_all(&lines(&REGISTERED)).expect("it listens");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((code(&output), text(&output.stderr)), (0, ""));
}

#[test]
fn what_cannot_be_read_ends_with_2_and_says_where() {
    let whole = lines(&REGISTERED);
    let cut_off = whole[..whole.len() - 20].to_vec();
    let not_text = [&whole[..], b"\xff\xfe\n"].concat();
    let unknown = |line: &str| lines(&[REGISTERED[0], line]);
    let many = REGISTERED[1].replace("9.2", "99");
    let many: Vec<String> = (1..=20_000).map(|n| many.replace("1.1", &format!("1.{n}"))).collect();
    let many = lines(&[&[REGISTERED[0]][..], &many.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    let planted = [
        (cut_off, "line 4: the trace ends within this line"),
        (not_text, "line 5: byte 1 is not UTF-8"),
        (Vec::new(), "line 1: it is empty, and no trace"),
        (b"{}\n".to_vec(), "line 1: the first line of a trace is"),
        (lines(&[r#"{"format":"twinway-trace","version":2}"#]), "line 1: the trace has version 2"),
        (unknown("{}"), "line 2: it is no event: `event` is missing"),
        (unknown("[]"), "line 2: it is no event"),
        (unknown(&REGISTERED[1].replace("1.1", "one")), "line 2: `one` is no event's id"),
        (unknown(&REGISTERED[1].replace("1.1", "16777216.1")), "line 2: `16777216.1` is no event's id"),
        (
            unknown(&REGISTERED[1].replace(r#""flow":"9.2","#, "")),
            "line 2: it is no event: `flow` and `step` go together",
        ),
        (unknown(&"x".repeat((1 << 20) + 1)), "line 2: it is longer than 1048576 bytes"),
        (many, "none of its 20000 events is a step of 9.2; there are steps of `99`, from line 2 on"),
        (lines(&[REGISTERED[0]]), "none of its 0 events is a step of 9.2"),
    ];
    for (trace, expected) in planted {
        let (exit, shown, told) = check(&trace, &[]);
        assert_eq!((exit, shown.as_str()), (2, ""), "{told}");
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert_eq!(code(&run(&["flow", "check", "9.2", "no-such-file"])), 2);
    assert_eq!(code(&run(&["flow", "check", "9.3", "-"])), 2);
}

#[test]
fn a_parent_that_never_happened_and_a_loop_of_parents_are_told_with_their_lines() {
    let orphan = REGISTERED[3].replace(r#""cause":"1.1""#, r#""cause":"7.7""#);
    let (exit, shown, _) = check(&lines(&[&REGISTERED[..3], &[&orphan]].concat()), &[]);
    assert_eq!(exit, 8);
    assert!(shown.contains("trace.jsonl:4: broken trace: 2.1 was caused by 7.7, which never happened"), "{shown}");
    let looped = REGISTERED[1].replace(r#""event":"1.1""#, r#""event":"1.1","cause":"2.1""#);
    let (exit, shown, _) = check(&lines(&[REGISTERED[0], &looped, REGISTERED[2], REGISTERED[3]]), &[]);
    assert_eq!(exit, 8);
    assert!(shown.contains("broken trace: 2.1 was caused by 1.1, and that by 2.1"), "{shown}");
}

#[test]
fn a_flow_of_ones_own_is_checked_and_its_mistakes_are_told() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let (flow, trace) = (directory.path().join("tea.toml"), directory.path().join("trace.jsonl"));
    let paths = [&flow, &trace].map(|path| path.to_str().expect("it is text"));
    fs::write(
        &flow,
        "name = \"tea\"\norder = [\"1 < 2\"]\n[entities]\nCook = \"cook\"\n[[step]]\nnumber = \"1\"\nown = \"Cook\"\n",
    )
    .expect("it is written");
    fs::write(&trace, lines(&REGISTERED)).expect("it is written");
    let output = run(&["flow", "check", paths[0], paths[1]]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("tea.toml:2:10: there is no step `2`"), "{}", text(&output.stderr));
}
