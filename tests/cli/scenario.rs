//! The use cases of FGMV-28 clause 7, run for real as scripts run them: a daemon, and a process for each party.

use std::{fs, path::Path};

use super::support::{code, run, text};

/// A house that shows a lamp, in few words.
const WORLD: &str = r#"
name = "lamp"
title = "A lamp is shown"
clause = ""
flow = "9.2"

[let]
level = 3

[[party]]
name = "house"
kind = "digital-twin"

[[act]]
name = "register"
by = "house"
step = "1"
to = "DTSR"
says = "registers at level ${level}"
call = "POST /dii/v1/systems"
body = { id = "house", type = "home", title = "A house" }
expect = "status == 201 && level == 3"

[[variant]]
name = "doubtful"
title = "something that does not hold is expected"
[[variant.act]]
name = "register"
by = "house"
says = "registers and is refused"
call = "POST /dii/v1/systems"
body = { id = "house", type = "home", title = "A house" }
expect = "status == 409"
"#;

/// Runs a world file: the exit code, stdout and stderr.
fn world(text_of: &[u8], arguments: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let file = directory.path().join("world.toml");
    fs::write(&file, text_of).expect("it is written");
    let output = run(&[&["scenario", "run", file.to_str().expect("it is text")], arguments].concat());
    (code(&output), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

/// The scenario and each of its variants, as `scenario list` shows them.
fn listed() -> Vec<serde_json::Value> {
    let list = run(&["scenario", "list", "-o", "json"]);
    serde_json::from_slice(&list.stdout).expect("it is one JSON document")
}

/// Runs a scenario of the texts and all its variants.
fn all_of(name: &str) {
    let runs = listed().iter().filter(|listed| listed["name"] == name).count();
    assert!(runs > 1, "{name} has unhappy paths");
    let output = run(&["scenario", "run", name, "--all"]);
    assert_eq!((code(&output), text(&output.stderr)), (0, ""), "{}", text(&output.stdout));
    let verdicts = text(&output.stdout).lines().filter(|line| line.ends_with("ms: holds")).count();
    // What an act says is a text with expressions in it: one that names what is not there would be told in its place.
    assert!(!text(&output.stdout).contains("of the expression"), "{}", text(&output.stdout));
    assert_eq!(verdicts, runs);
    assert!(text(&output.stdout).ends_with(&format!("{runs} of {runs} runs hold\n")));
}

#[test]
fn a_product_is_delivered_and_bound_or_it_is_told_why_not() {
    all_of("7.1.1");
}

#[test]
fn what_is_missing_is_ordered_or_it_is_told_why_not() {
    all_of("7.1.2");
}

#[test]
fn the_highest_of_many_who_ask_at_once_has_the_arm() {
    all_of("7.1.3");
}

#[test]
fn a_guest_is_let_in_or_stands_before_a_closed_door() {
    all_of("7.2.1");
}

#[test]
fn a_map_is_made_of_what_is_recorded_or_stays_as_it_was() {
    all_of("7.3.1");
}

#[test]
fn a_map_follows_a_robot_as_far_as_it_may() {
    all_of("7.3.2");
}

#[test]
fn what_is_at_a_place_is_found_by_who_may_know() {
    all_of("7.3.3");
}

#[test]
fn every_world_file_is_part_of_the_program_and_has_the_unhappy_paths_that_make_sense_for_it() {
    let listed = listed();
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/worlds")).expect("they are there");
    let worlds = files.filter(|file| {
        let file = file.as_ref().expect("it can be read").path();
        file.extension().is_some_and(|extension| extension == "toml")
    });
    let named = listed.iter().filter(|listed| listed["variant"].is_null()).count();
    assert_eq!(worlds.count(), named);

    let has = |name: &str, path: &str| {
        let titles = listed.iter().filter(|listed| listed["name"] == name && !listed["variant"].is_null());
        titles.filter_map(|listed| listed["title"].as_str()).any(|title| title.starts_with(path))
    };
    // What makes no sense for a scenario, and why, stands in `scenarios/worlds/README.md`.
    for name in ["7.1.1", "7.1.2", "7.1.3", "7.2.1", "7.3.1", "7.3.2", "7.3.3"] {
        assert!(has(name, "network cut"), "{name}");
        assert!(has(name, "permission missing"), "{name}");
        assert!(has(name, "device silent") || name == "7.3.3", "{name}");
    }
    for name in ["7.1.1", "7.1.2"] {
        assert!(has(name, "supplier refuses"), "{name}");
    }
    for (name, path) in [("7.1.1", "a user of lower priority"), ("7.1.3", "a user of lower"), ("7.2.1", "two users")] {
        assert!(has(name, path), "{name}");
    }
}

#[test]
fn the_demo_runs_the_seven_in_turn() {
    let output = run(&["scenario", "run", "--demo"]);
    assert_eq!((code(&output), text(&output.stderr)), (0, ""), "{}", text(&output.stdout));
    let begun = text(&output.stdout).lines().filter(|line| line.ends_with(')') && line.starts_with("7."));
    let names: Vec<&str> = begun.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["7.1.1", "7.1.2", "7.1.3", "7.2.1", "7.3.1", "7.3.2", "7.3.3"]);
    assert!(text(&output.stdout).ends_with("7 of 7 runs hold\n"));
}

#[test]
fn a_run_tells_each_act_and_the_verdict_as_text_and_as_json() {
    let (exit, shown, told) = world(WORLD.as_bytes(), &[]);
    assert_eq!((exit, told.as_str()), (0, ""));
    assert!(shown.contains("house → DTSR") && shown.contains("registers at level 3"), "{shown}");
    assert!(shown.contains("flow 9.2: holds: 3 steps"), "{shown}");

    let (exit, shown, _) = world(WORLD.as_bytes(), &["--json"]);
    let last: serde_json::Value = serde_json::from_str(shown.lines().last().expect("there are lines")).expect("JSON");
    assert_eq!((exit, &last["holds"], &last["acts"][0]["step"]), (0, &true.into(), &"1".into()));
}

#[test]
fn what_does_not_hold_ends_with_8_and_says_what_came_instead() {
    let (exit, shown, told) = world(WORLD.as_bytes(), &["--variant", "doubtful"]);
    assert_eq!(exit, 8);
    assert!(shown.contains("`status == 409` does not hold; status: 201"), "{shown}");
    assert!(told.contains("does not hold: lamp doubtful"), "{told}");
}

#[test]
fn a_mistake_in_a_world_file_is_told_with_its_line_and_nothing_is_run() {
    // What is changed to what, where the mistake is told, and how.
    let mistakes = [
        ("by = \"house\"\nstep", "by = \"hause\"\nstep", "hause", "there is no party `hause`; known are house"),
        ("step = \"1\"", "step = \"99\"", "step = \"99\"", "9.2 has no step `99`"),
        ("kind = \"digital-twin\"", "kind = \"toaster\"", "toaster", "a party is metaverse, digital-twin"),
        ("status == 201 &&", "status == 201 &&&", "&&&", "expression"),
        ("level ${level}", "level ${level", "level ${level", "does not end"),
        ("POST /dii", "BREW /dii", "BREW", "is no call"),
        ("flow = \"9.2\"", "flow = \"9.9\"", "9.9", "there is no flow `9.9`"),
        ("says = \"registers and", "sings = \"registers and", "sings", "unknown field `sings`"),
        ("[variant.act]]\nname = \"register", "[variant.act]]\nname = \"leave", "[variant.act]]", "the name `leave`"),
        ("[variant.act]]\nname = \"register", "[variant.act]]\nafter = \"leave", "after = ", "the name `leave`"),
        ("something that does", "\"\nwithout = [\"leave\"]\n#", "without = ", "the name `leave`"),
        ("step = \"1\"", "after = \"register\"", "after = ", "belong to a variant"),
        ("level = 3", "level = 3\n[chance]\nlevel = []", "level = []", "nothing to draw `level` from"),
        ("step = \"1\"", "times = 0", "times = 0", "from 1 to 10000 times"),
        ("step = \"1\"", "every_ms = 600_001", "every_ms", "for more than 600000 ms"),
        ("step = \"1\"", "download = \"nothing.png\"", "nothing.png", "No such file"),
        ("step = \"1\"", "recall = true", "by = \"house\"", "an act is one of"),
        ("says = \"registers at level ${level}\"\n", "", "[[act]]", "an act `says` what is done"),
    ];
    for (from, to, place, why) in mistakes {
        let wrong = WORLD.replacen(from, to, 1);
        assert_ne!(wrong, WORLD, "{from}");
        let line = wrong.lines().position(|line| line.contains(place)).expect("it is there") + 1;
        let (exit, shown, told) = world(wrong.as_bytes(), &[]);
        assert_eq!((exit, shown.as_str()), (2, ""), "{to}: {told}");
        assert!(told.contains(&format!("world.toml:{line}:")) && told.contains(why), "{to}: {told}");
    }
    let (exit, _, told) = world(b"name = \"\xff\"", &[]);
    assert!(exit == 2 && told.contains("world.toml:1:9: this is not UTF-8"), "{told}");
    let half = WORLD.len() / 2;
    let (exit, _, told) = world(&WORLD.as_bytes()[..half], &[]);
    assert!(exit == 2 && told.contains("world.toml:"), "{told}");
}

#[test]
fn scenarios_and_variants_that_are_not_there_are_told_with_those_that_are() {
    let unknown = run(&["scenario", "run", "7.9"]);
    assert_eq!(code(&unknown), 3);
    assert!(text(&unknown.stderr).contains("there is no scenario `7.9`: known are 7.1.1, 7.1.2, 7.1.3, 7.2.1"));
    let (exit, _, told) = world(WORLD.as_bytes(), &["--variant", "happy"]);
    assert!(exit != 0 && told.contains("`lamp` has no variant `happy`; known are: doubtful"), "{told}");
}

/// Two houses that register at once, in the seed's order.
const HOUSES: &str = r#"
name = "houses"
title = "Two register at once"
clause = ""
flow = "9.2"

[chance]
title = ["A house", "A mill", "A barn", "A shed", "A hut"]

[[party]]
name = "one"
kind = "digital-twin"

[[party]]
name = "two"
kind = "digital-twin"

[[act]]
name = "first"
together = "both"
by = "one"
says = "registers ${title}"
call = "POST /dii/v1/systems"
body = { id = "one", type = "home", title = "${title}" }
expect = "status == 201 && body.system.title == title"
keep = { who = "body.system.id" }

[[act]]
name = "second"
together = "both"
by = "two"
says = "registers another"
call = "POST /dii/v1/systems"
body = { id = "two", type = "home", title = "Another" }
expect = "status == 201"

[[act]]
name = "quiet"
by = "${who}"
says = "was asked nothing"
recall = true
expect = "size(heard) == 0"

[[variant]]
name = "changed"
title = "acts come and go, and say only what is different"
without = ["second"]
until = "last"
let = { title = "A tower" }
[[variant.act]]
before = "first"
by = "two"
says = "looks on"
[[variant.act]]
name = "first"
expect = "status == 201 && body.system.title == 'A tower'"
keep = { who = "'two'" }
[[variant.act]]
after = "first"
by = "two"
says = "looks away"
[[variant.act]]
name = "last"
after = "first"
by = "two"
says = "goes"

[[variant]]
name = "other-bytes"
title = "what is fetched is not the file"
until = "first"
[[variant.act]]
name = "first"
download = "world.toml"

[[variant]]
name = "cut"
title = "a house is gone for a moment"
until = "first"
[[variant.act]]
before = "first"
by = "one"
says = "is cut off"
away = true
[[variant.act]]
before = "first"
by = "one"
says = "is there again"
back = true
"#;

/// Runs [`HOUSES`]: the last line, and what was said in its order.
fn houses(arguments: &[&str]) -> (serde_json::Value, Vec<String>) {
    let (exit, shown, told) = world(HOUSES.as_bytes(), &[&["--json"], arguments].concat());
    assert_eq!(exit, 0, "{shown}{told}");
    let outcome: serde_json::Value =
        serde_json::from_str(shown.lines().last().expect("there are lines")).expect("JSON");
    let acts = outcome["acts"].as_array().expect("it is a list").iter();
    let says = acts.filter_map(|act| act["says"].as_str().map(str::to_owned)).collect();
    (outcome, says)
}

#[test]
fn a_seed_draws_the_same_again_and_another_one_something_else() {
    let drawn = |seed: &str| {
        let (outcome, says) = houses(&["--seed", seed]);
        assert_eq!(outcome["seed"].to_string(), seed);
        assert_eq!(says[0], format!("registers {}", outcome["drawn"]["title"].as_str().expect("it is text")));
        says
    };
    let first = drawn("1");
    assert_eq!(drawn("1"), first);
    assert!((2..9).any(|seed: u32| drawn(&seed.to_string()) != first), "{first:?}");

    let (_, shown, _) = world(HOUSES.as_bytes(), &["--seed", "1"]);
    let again = shown.lines().find(|line| line.contains("the same again:")).expect("it says how to repeat it");
    assert!(again.contains("drew title = ") && again.ends_with("world.toml --seed 1"), "{again}");
}

#[test]
fn a_variant_changes_adds_and_leaves_out_acts() {
    assert_eq!(
        houses(&["--variant", "changed"]).1,
        ["looks on", "registers A tower", "looks away", "goes"].map(str::to_owned)
    );
    assert_eq!(houses(&["--variant", "cut"]).1.len(), 3);
}

#[test]
fn what_is_fetched_and_is_not_the_file_does_not_hold() {
    let (exit, shown, _) = world(HOUSES.as_bytes(), &["--variant", "other-bytes"]);
    assert_eq!(exit, 8, "{shown}");
    assert!(shown.contains(&format!("and {} that are wanted, the first 0 are the same", HOUSES.len())), "{shown}");
}

#[test]
fn the_trace_of_a_run_can_be_kept_and_checked() {
    let directory = tempfile::tempdir().expect("there is a place for it");
    let trace = directory.path().join("trace.jsonl");
    let trace = trace.to_str().expect("it is text");
    let (exit, shown, told) = world(WORLD.as_bytes(), &["--trace", trace]);
    assert_eq!(exit, 0, "{shown}{told}");
    let checked = run(&["flow", "check", "9.2", trace, "--whole", "--strict"]);
    assert_eq!(code(&checked), 0, "{}", text(&checked.stdout));
}
