//! Simulated worlds, as scripts see them.

use twinway::scenarios::{
    fault::Faults,
    run::Schedule,
    worlds::{WORLDS, find},
};

use super::support::{code, run, text};

/// What a table says behind a name.
fn cell<'t>(table: &'t str, name: &str) -> &'t str {
    let line = table.lines().map(str::trim_start).find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no `{name}` in\n{table}")).trim_start_matches(name).trim()
}

#[test]
fn the_worlds_are_listed_each_with_what_it_is() {
    let list = run(&["simulate"]);
    assert_eq!((code(&list), text(&list.stderr)), (0, ""));
    for (name, what, _) in WORLDS {
        assert_eq!(cell(text(&list.stdout), &format!("{name} ")), what);
    }
}

#[test]
fn a_world_whose_rules_hold_ends_with_0_and_a_summary() {
    let done = run(&["simulate", "--flow", "7.1.1", "--runs", "20", "--seed", "7", "--faults", "crash,drop=2"]);
    let shown = text(&done.stdout);
    assert_eq!(code(&done), 0, "{shown}{}", text(&done.stderr));
    assert_eq!((cell(shown, "runs"), cell(shown, "violations")), ("20", "0"));
    let distinct: u64 = cell(shown, "distinct traces").parse().expect("it is a number");
    assert!((2..=20).contains(&distinct), "{distinct}");
}

#[test]
fn a_program_gets_the_summary_as_json() {
    let done = run(&["simulate", "--flow", "9.2-rejected", "--runs", "5", "-o", "json"]);
    let summary: serde_json::Value = serde_json::from_slice(&done.stdout).expect("it is one JSON document");
    assert_eq!((code(&done), &summary["runs"], &summary["violations"]), (0, &5.into(), &0.into()));
    assert_eq!((&summary["flow"], &summary["firstSeed"]), (&"9.2-rejected".into(), &serde_json::Value::Null));
}

#[test]
fn the_same_seed_gives_the_same_runs() {
    let distinct = || {
        let done = run(&["simulate", "--flow", "7.2.1", "--runs", "10", "--seed", "3", "-o", "json"]);
        let summary: serde_json::Value = serde_json::from_slice(&done.stdout).expect("it is one JSON document");
        summary["distinctTraces"].clone()
    };
    assert_eq!(distinct(), distinct());
}

#[test]
fn an_exhaustive_search_says_whether_it_saw_every_order() {
    let done = run(&["simulate", "--flow", "7.1.1-denied", "--runs", "30", "--exhaustive"]);
    assert_eq!((code(&done), cell(text(&done.stdout), "every order")), (0, "no: there are more than 30"));
    // All 30 are accounted for: some were given up as the same as another.
    let done = run(&["simulate", "--flow", "7.1.1-denied", "--runs", "30", "--exhaustive", "-o", "json"]);
    let summary: serde_json::Value = serde_json::from_slice(&done.stdout).expect("it is one JSON document");
    let of = |key: &str| summary[key].as_u64().expect("a number");
    assert_eq!((of("runs") + of("pruned"), summary["complete"].as_bool()), (30, Some(false)));
    assert!(of("pruned") > 0, "{summary}");
}

/// A failure shows a schedule, and this is how one is repeated.
#[test]
fn a_schedule_is_repeated_and_is_one_run() {
    let mut world = find("7.1.2").expect("it is there").faults(Faults::parse("crash").expect("it is a fault"));
    assert!(world.run(5, &mut twinway::scenarios::driver::Random::default()), "{:?}", world.violations());
    let schedule: Schedule = world.last(5).schedule;
    let schedule = schedule.to_string();
    let again = run(&["simulate", "--flow", "7.1.2", "--faults", "crash", "--schedule", &schedule, "-o", "json"]);
    let summary: serde_json::Value = serde_json::from_slice(&again.stdout).expect("it is one JSON document");
    assert_eq!((code(&again), &summary["runs"], &summary["violations"]), (0, &1.into(), &0.into()));
}

#[test]
fn a_flow_that_is_not_simulated_ends_with_3_and_the_names_of_those_that_are() {
    let unknown = run(&["simulate", "--flow", "9.3"]);
    assert_eq!((code(&unknown), text(&unknown.stdout)), (3, ""));
    let told = text(&unknown.stderr);
    assert!(told.contains("no flow `9.3` is simulated"), "{told}");
    for (name, ..) in WORLDS {
        assert!(told.contains(name), "no {name} in {told}");
    }
    // The name of a flow, and more behind it: only its own worlds.
    let told = run(&["simulate", "--flow", "7.2.1-open"]);
    assert!(text(&told.stderr).contains("these are: 7.2.1, 7.2.1-denied, 7.2.1-silent\n"), "{}", text(&told.stderr));
}

#[test]
fn what_cannot_be_read_ends_with_2() {
    for wrong in [["--faults", "flood"], ["--schedule", "1:x"], ["--runs", "many"], ["--seed", "-1"]] {
        let told = run(&[&["simulate", "--flow", "9.2"], &wrong[..]].concat());
        assert_eq!((code(&told), text(&told.stdout)), (2, ""), "{wrong:?}");
    }
}
