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

#[test]
fn every_scenario_of_the_texts_holds_and_so_do_its_unhappy_paths() {
    let list = run(&["scenario", "list", "-o", "json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&list.stdout).expect("it is one JSON document");
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/worlds")).expect("they are there");
    let worlds = files.filter(|file| {
        let file = file.as_ref().expect("it can be read").path();
        file.extension().is_some_and(|extension| extension == "toml")
    });
    let named = listed.iter().filter(|listed| listed["variant"].is_null()).count();
    assert_eq!(worlds.count(), named, "every world file is part of the program");
    let unhappy = listed.len() - named;
    assert!(unhappy >= named, "each scenario has an unhappy path: {named} scenarios, {unhappy} variants");

    let output = run(&["scenario", "run", "--all"]);
    assert_eq!((code(&output), text(&output.stderr)), (0, ""), "{}", text(&output.stdout));
    let verdicts = text(&output.stdout).lines().filter(|line| line.ends_with("ms: holds")).count();
    assert_eq!(verdicts, listed.len());
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
        ("[variant.act]]\nname = \"register", "[variant.act]]\nname = \"leave", "doubtful", "the name `leave`"),
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
