//! Flow files: the texts' nine, what can be wrong with one, and that steps and messages fit each other.

use std::collections::BTreeSet;

use proptest::prelude::*;
use twinway_protocol::{
    Problem, ProblemKind, StepId,
    flow::{Branch, Flow, OWN},
    message::{Wire, own},
};
use twinway_scenarios::flow::{Form, embedded, files, find, load, read, show};

/// A flow of three steps, into which mistakes are planted.
const TEA: &str = r#"name = "tea"
order = ["1 < 2 ... 3"]

[entities]
Guest = "guest"
Cook = "cook"

[[step]]
number = "1"
from = "Guest"
to = "Cook"
message = ["Order"]

[[step]]
number = "2"
own = "Cook"

[[step]]
number = "3"
from = "Cook"
to = "Guest"
hops = ["Cook -> Guest: Serve"]
"#;

fn mistake(text: &str) -> String {
    match read("tea.toml", text.as_bytes(), embedded()) {
        Ok(_) => "no mistake".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_nine_flows_of_the_texts_are_there_and_sound() {
    for (name, text) in files() {
        let flow = read(name, text.as_bytes(), embedded()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(flow.name(), *name);
    }
    let names: Vec<&str> = embedded().iter().map(|flow| flow.name()).collect();
    assert_eq!(names, ["9.1", "9.2", "7.1.1", "7.1.2", "7.1.3", "7.2.1", "7.3.1", "7.3.2", "7.3.3"]);
    assert!(find("9.3").is_none());
    let counts = embedded().iter().map(|flow| flow.steps().iter().filter(|step| !step.extension).count());
    assert_eq!(counts.collect::<Vec<_>>(), [19, 18, 4, 7, 11, 9, 7, 5, 4], "as many as the texts number");
}

#[test]
fn every_step_of_the_texts_names_its_clause() {
    for flow in embedded() {
        for step in flow.steps() {
            let number = step.number.trim_end_matches('x');
            let clause = if flow.name().starts_with('9') {
                format!("{} step {number}", flow.clause())
            } else {
                format!("{}.3 step {number}", flow.clause())
            };
            assert_eq!(step.clause, clause);
            assert!(!step.title.is_empty(), "{clause}");
        }
    }
}

#[test]
fn the_edges_of_9_1_and_9_2_are_those_of_the_design() {
    let edges = |name: &str| {
        let flow = find(name).expect("it is one of the nine");
        (0..flow.edges().len()).map(|edge| flow.shown_edge(edge)).collect::<Vec<_>>()
    };
    assert_eq!(
        edges("9.1").join(", "),
        "1 < 2, 2 < 3, 4 < 5, 5 ... 6, 6 < 7, 7 < 8, 8 < 9, 9 < 10, 10 ... 11, 11 < 12, 12 < 13, 13 < 14, 14 < 14x, \
         14 ... 15, 15 < 16, 16 < 17, 17 < 18, 18 < 19"
    );
    assert_eq!(
        edges("9.2").join(", "),
        "1 < 2, 2 < 3, 4 < 5, 5 ... 6, 6 < 7, 7 ... 8, 8 < 9, 9 < 10, 10 < 11, 11 < 12, 12 ... 13, 13 ... 15, 15 < 16, \
         16 < 17, 17 < 18, 18 < 18x, 12 ... 14, 10 < 12"
    );
}

/// The flows whose steps are all messages and own steps of the traced system, but for what only the world does.
const CARRIED: [&str; 5] = ["9.1", "9.2", "7.3.1", "7.3.2", "7.3.3"];

/// Flow, number and message of everything that the protocol's types say is a step.
fn steps_of_the_protocol() -> BTreeSet<(String, String, String)> {
    let entry = |step: StepId, message: &str| (step.flow.to_owned(), step.number.to_owned(), message.to_owned());
    let rejection = Problem::new(ProblemKind::PermissionMissing, "no");
    let mut steps = BTreeSet::new();
    for accepted in Wire::ACCEPTED {
        steps.extend(accepted.step.map(|step| entry(step, accepted.message)));
        if let Some((answer, refused)) = accepted.answered {
            steps.extend(refused(&rejection).map(|step| entry(step, answer)));
        }
    }
    steps.extend(own::ALL.iter().map(|(_, step)| entry(*step, OWN)));
    steps
}

fn steps_of(flow: &Flow) -> BTreeSet<(String, String, String)> {
    let hops = flow.steps().iter().flat_map(|step| &step.hops);
    hops.flat_map(|hop| hop.messages.iter().map(|message| (hop.flow.clone(), hop.number.clone(), message.clone())))
        .collect()
}

#[test]
fn every_step_that_is_carried_has_its_message_and_every_step_message_its_step() {
    let said: BTreeSet<_> = CARRIED.iter().flat_map(|name| steps_of(&find(name).expect("it is there"))).collect();
    let known: BTreeSet<_> =
        steps_of_the_protocol().into_iter().filter(|(flow, ..)| said.iter().any(|(known, ..)| known == flow)).collect();
    assert!(known.len() > 40, "only {} steps: is the registry whole?", known.len());
    assert_eq!(
        said.difference(&known).collect::<Vec<_>>(),
        Vec::<&(String, String, String)>::new(),
        "without a message"
    );
    assert_eq!(known.difference(&said).collect::<Vec<_>>(), Vec::<&(String, String, String)>::new(), "without a step");
}

#[test]
fn whom_a_hop_reaches_accepts_its_message_and_who_takes_an_own_step_is_right() {
    for name in CARRIED {
        let flow = find(name).expect("it is there");
        for hop in flow.steps().iter().flat_map(|step| &step.hops) {
            for message in &hop.messages {
                let accepts = if message == OWN {
                    own::ALL
                        .iter()
                        .any(|(who, step)| *who == hop.to && (step.flow, step.number) == (&*hop.flow, &*hop.number))
                } else {
                    Wire::ACCEPTED.iter().any(|line| line.mailbox == hop.to && line.message == message)
                };
                assert!(accepts, "{} does not accept {message} of {name} step {}", hop.to, hop.number);
            }
        }
    }
}

#[test]
fn a_span_binds_where_it_begins_and_where_it_ends() {
    let flow = find("7.2.1").expect("it is there");
    let hops = |number: &str| {
        let step = flow.steps().iter().find(|step| step.number == number).expect("it is there");
        step.hops
            .iter()
            .map(|hop| format!("{}/{} {} -> {} {:?}", hop.flow, hop.number, hop.from, hop.to, hop.branch))
            .collect::<Vec<_>>()
    };
    assert_eq!(hops("4"), ["9.2/14 PhysicalObject -> DigitalTwinSystem Main"]);
    assert_eq!(hops("5"), ["9.2/14 Twin -> MetaverseSystem Main"]);
    assert_eq!(hops("8"), ["9.2/15 MetaverseSystem -> Dts Main"]);
    assert_eq!(hops("9"), ["9.2/18 Twin -> Dts Main", "9.2/17 Dts -> MetaverseSystem Rejected"]);
    assert!(flow.steps().iter().any(|step| step.hops.iter().any(|hop| hop.branch == Branch::Rejected)));
}

#[test]
fn a_mistake_is_told_with_its_line_and_its_cause() {
    assert!(read("tea.toml", TEA.as_bytes(), &[]).is_ok());
    let planted = [
        (("1 < 2 ... 3", "1 < 2 < 1"), "tea.toml:2:10: the order is a circle: "),
        (("1 < 2 ... 3", "1 < 4"), "tea.toml:2:10: there is no step `4`"),
        (("1 < 2 ... 3", "1 < < 3"), "tea.toml:2:10: `1 < < 3` is no order"),
        (("1 < 2 ... 3", "1 2"), "tea.toml:2:10: `1 2` is no order"),
        (("1 < 2 ... 3", "1 <"), "tea.toml:2:10: `1 <` is no order"),
        (("[\"1 < 2 ... 3\"]", "[\"1 < 2 ... 3\", \"1 ... 2\"]"), "tea.toml:2:25: there are two edges from `1` to `2`"),
        (("\"Guest\"\nto", "\"Gast\"\nto"), "tea.toml:9:10: there is no entity `Gast`; known are Guest, Cook"),
        (("number = \"2\"", "number = \"1\""), "tea.toml:15:10: step `1` is there twice"),
        (("number = \"2\"", "number = \"2nd step\""), "tea.toml:15:10: `2nd step` is no number of a step"),
        (("message = [\"Order\"]", "message = []"), "tea.toml:9:10: step `1` has no message type"),
        (
            ("[\"Order\"]", "[\"outside\"]"),
            "tea.toml:9:10: step `1` has a message `outside`, which no message of a trace",
        ),
        (("[\"Order\"]", "[\"Order refused\"]"), "tea.toml:9:10: step `1` has a message `Order refused`, which"),
        (("[\"Order\"]", "[\"\"]"), "tea.toml:9:10: step `1` has a message ``, which no message of a trace"),
        (("hops = [", "rejected = ["), "tea.toml:19:10: step `3` has no message type"),
        (("hops = [", "later = ["), "tea.toml:19:10: step `3` has no message type"),
        (("message = [\"Order\"]", ""), "tea.toml:9:10: step `1` has no message type"),
        (("message = [\"Order\"]", "carried_by = \"post\""), "tea.toml:12:14: `post`: what carries a step"),
        (("Cook -> Guest: Serve", "Cook Guest Serve"), "tea.toml:22:9: `Cook Guest Serve` is no hop"),
        (("Cook -> Guest: Serve", "Cook -> Guest: Serve tea"), "tea.toml:22:9: `Cook -> Guest: Serve tea` is no hop"),
        (("Cook -> Guest: Serve", "Cook -> Guest: own"), "tea.toml:19:10: step `3` is taken by one entity alone"),
        (("Serve\"]", "Serve\"]\ncarried_by = \"outside\""), "tea.toml:23:14: step `3` is carried by messages"),
        (("own = \"Cook\"", ""), "tea.toml:15:10: step `2` says either `from` and `to`"),
        (("own = \"Cook\"", "own = \"Cook\"\nmessage = [\"A\"]"), "tea.toml:15:10: step `2` is more than one of"),
        (("to = \"Cook\"", "two = \"Cook\""), "tea.toml:11:1: unknown field `two`"),
        (
            ("own = \"Cook\"", "own = \"Cook\"\ncontains = { flow = \"9.9\", steps = \"1\" }"),
            "tea.toml:15:10: step `2`",
        ),
        (("name = \"tea\"", "name = \"\""), "tea.toml:1:8: the flow has no name"),
        (("name = \"tea\"", ""), "missing field `name`"),
    ];
    for ((from, to), expected) in planted {
        assert!(TEA.contains(from), "{from}");
        let said = mistake(&TEA.replacen(from, to, 1));
        assert!(said.contains(expected), "{to}: {said}");
    }
}

#[test]
fn a_span_of_what_is_not_there_is_a_mistake() {
    let contains = |flow: &str, steps: &str| {
        let span = format!("contains = {{ flow = \"{flow}\", steps = \"{steps}\" }}");
        mistake(&TEA.replacen("message = [\"Order\"]", &span, 1))
    };
    assert!(contains("9.9", "1").starts_with("tea.toml:12:12: there is no flow `9.9`; known are 9.1, 9.2"));
    assert!(contains("9.2", "1-99").starts_with("tea.toml:12:12: there is no step `99` in 9.2"));
    assert!(contains("9.2", "5-1").starts_with("tea.toml:12:12: step 1 comes before step 5 in 9.2"));
    assert!(contains("7.3.2", "1").starts_with("tea.toml:12:12: steps 1 of 7.3.2 happen outside"));
}

#[test]
fn more_steps_than_a_verdict_has_bits_are_a_mistake() {
    let step = |number: usize| format!("[[step]]\nnumber = \"{number}\"\nown = \"A\"\n");
    let flow =
        |steps: usize| format!("name = \"many\"\n[entities]\nA = \"a\"\n{}", (0..steps).map(step).collect::<String>());
    assert!(read("many.toml", flow(64).as_bytes(), &[]).is_ok());
    assert!(mistake(&flow(65)).contains("there are 65 steps, and at most 64 can be judged together"));
    let hops = |count: usize| {
        let hops: Vec<String> = (0..count).map(|hop| format!("\"A -> A: M{hop}\"")).collect();
        format!(
            "name = \"many\"\n[entities]\nA = \"a\"\n[[step]]\nnumber = \"1\"\nfrom = \"A\"\nto = \"A\"\nhops = [{}]\n",
            hops.join(", ")
        )
    };
    assert!(read("many.toml", hops(128).as_bytes(), &[]).is_ok());
    assert!(mistake(&hops(129)).contains("the steps have 129 hops together, and at most 128 can be judged together"));
    let huge = "#".repeat((1 << 20) + 1);
    assert!(mistake(&huge).contains("a flow file has at most 1048576 bytes"));
}

#[test]
fn what_is_not_utf_8_or_cut_off_is_told_with_its_line() {
    let mut bytes = TEA.as_bytes().to_vec();
    bytes[50] = 0xff;
    let said = read("tea.toml", &bytes, &[]).expect_err("it is not text").to_string();
    assert_eq!(said, "tea.toml:5:2: this is not UTF-8");
    for end in (0..TEA.len() - 1).filter(|end| TEA.is_char_boundary(*end)) {
        // A file that ends within a step is a mistake; there are few places where what is left is whole.
        if let Ok(flow) = read("tea.toml", &TEA.as_bytes()[..end], &[]) {
            assert_eq!(flow.steps().len(), 3, "cut off at {end}");
        }
    }
}

#[test]
fn a_file_of_ones_own_is_loaded_and_one_that_is_not_there_is_told() {
    let directory = std::env::temp_dir().join(format!("twinway-flows-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("there is a place for it");
    let path = directory.join("tea.toml");
    std::fs::write(&path, TEA).expect("it is written");
    let flow = load(&path).expect("it is sound");
    std::fs::remove_dir_all(&directory).expect("it was made here");
    assert_eq!((flow.name(), flow.steps().len()), ("tea", 3));
    assert!(load(&path).expect_err("it is gone").to_string().contains("tea.toml"));
}

#[test]
fn every_flow_can_be_shown_in_every_form() {
    for flow in embedded() {
        for form in [Form::Text, Form::Mermaid, Form::Svg, Form::Dot, Form::Json] {
            let shown = show(flow, form);
            assert!(shown.ends_with('\n') && shown.contains(flow.steps()[0].number.as_str()), "{form:?}");
        }
        let json: serde_json::Value = serde_json::from_str(&show(flow, Form::Json)).expect("it is JSON");
        assert_eq!(json["steps"].as_array().map(Vec::len), Some(flow.steps().len()));
    }
    let flow = find("9.2").expect("it is there");
    assert!(show(&flow, Form::Mermaid).contains("    MetaverseSystem->>Dts: 15 ChangeTwin\n"));
    assert!(show(&flow, Form::Dot).contains(" -> "));
    assert!(show(&flow, Form::Text).contains("15 < 16   Dts -> Dtac"));
}

#[test]
fn what_a_file_calls_its_steps_is_no_markup() {
    let text = TEA.replace("number = \"2\"", "number = \"2\"\ntitle = \"</text><script>\\u001b\"");
    let flow = read("tea.toml", text.as_bytes(), &[]).expect("it is sound");
    assert!(!show(&flow, Form::Svg).contains("<script>"));
    assert!(!show(&flow, Form::Mermaid).contains('<'));
    for form in [Form::Text, Form::Svg, Form::Dot, Form::Mermaid] {
        assert!(!show(&flow, form).contains('\u{1b}'));
    }
}

#[test]
fn every_entity_is_a_participant_of_its_own_in_a_diagram_whatever_it_is_called() {
    // Of these, letters that diagrams take are left of none or the same; and `end` is a word of Mermaid's.
    for (guest, cook) in [("厨师", "客人"), ("a-b", "a_b"), ("end", "End")] {
        let text =
            TEA.replace("Guest = \"guest\"\nCook = \"cook\"", &format!("\"{guest}\" = \"\"\n\"{cook}\" = \"cook\""));
        let text = text.replace("\"Guest\"", &format!("\"{guest}\"")).replace("\"Cook\"", &format!("\"{cook}\""));
        let text = text.replace("Cook -> Guest", &format!("{cook} -> {guest}"));
        let flow = read("tea.toml", text.as_bytes(), &[]).unwrap_or_else(|error| panic!("{error}"));
        let shown = show(&flow, Form::Mermaid);
        let participants = shown.lines().filter_map(|line| line.strip_prefix("    participant "));
        let named: Vec<(&str, &str)> = participants.filter_map(|line| line.split_once(" as ")).collect();
        let [(one, title), (other, _)] = named[..] else { panic!("{shown}") };
        assert!(one != other && ![one, other].contains(&"end") && !title.trim().is_empty(), "{shown}");
        assert!(shown.contains(&format!("    {one}->>{other}: 1 Order\n")), "{shown}");
    }
}

/// The example of the flows' README is one that loads.
#[test]
fn the_flow_that_the_readme_shows_is_sound() {
    let readme = include_str!("../flows/README.md");
    let lines = readme
        .lines()
        .skip_while(|line| !line.starts_with("    name = "))
        .map(|line| (line, line.strip_prefix("    ")));
    let shown: Vec<&str> = lines.map_while(|(line, shown)| shown.or_else(|| line.is_empty().then_some(""))).collect();
    let flow = read("README.md", shown.join("\n").as_bytes(), &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((flow.name(), flow.steps().len()), ("tea", 3));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: ProptestConfig::default().cases.max(300), ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read("x", &bytes, embedded());
    }

    #[test]
    fn a_damaged_file_is_read_or_told(at in 0_usize..5_000, byte in any::<u8>(), cut in 0_usize..8, twice in any::<bool>()) {
        let (_, text) = files()[1];
        let mut bytes = text.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes.splice(at..(at + cut).min(text.len()), [byte].into_iter().cycle().take(if twice { 2 } else { 1 }));
        match read("x", &bytes, embedded()) {
            Ok(flow) => {
                let _ = show(&flow, Form::Svg);
            }
            Err(error) => prop_assert!(error.to_string().starts_with("x:")),
        }
    }
}
