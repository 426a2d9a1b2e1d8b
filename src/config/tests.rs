use std::path::Path;

use super::*;

const TOKEN: &str = "0123456789abcdef";

fn refusal(text: &str) -> String {
    Config::parse(text, Path::new("twinway.toml")).expect_err("it is wrong").to_string()
}

fn config(text: &str) -> Config {
    Config::parse(text, Path::new("twinway.toml")).expect("it is understood")
}

fn findings(text: &str) -> Vec<String> {
    config(text).check().expect_err("a value is out of bounds")
}

#[test]
fn an_empty_file_is_the_built_in_configuration() {
    assert_eq!(config(""), Config::default());
    assert_eq!(Config::default().check(), Ok(()));
    assert_eq!(config("").listen.to_string(), "127.0.0.1:7400");
}

#[test]
fn what_is_given_is_taken_over_and_the_rest_stays_as_built_in() {
    let given = config("listen = \"[::1]:80\"\n[limits]\nsessions_max = 3\n[entities]\noutside_answer_ms_max = 5");
    assert_eq!(given.listen.port(), 80);
    assert_eq!(given.limits.body_bytes_max, GatewayConfig::default().body_bytes_max);
    assert_eq!(given.outside_limits().sessions_max, 3);
    assert_eq!(given.outside_limits().answer_ms_max, 5);
}

#[test]
fn the_monitor_watches_by_flows_that_there_are() {
    let names = |config: &Config| config.monitor.flows().iter().map(|flow| flow.name().to_owned()).collect::<Vec<_>>();
    assert!(!config("").monitor.enabled);
    assert_eq!(names(&config("")), ["9.1", "9.2"]);
    let given = config("[monitor]\nenabled = true\nflows = [\"7.2.1\"]");
    assert_eq!((given.monitor.enabled, names(&given), given.check()), (true, vec!["7.2.1".to_owned()], Ok(())));
    let found = findings("[monitor]\nflows = [\"9.2\", \"9.3\"]");
    assert!(found[0].starts_with("`monitor.flows[1]` is `9.3`, which is no flow; these are: "), "{found:?}");
}

#[test]
fn a_misspelt_key_is_refused_with_its_place_and_the_one_that_was_meant() {
    let top = "data = \"d\"\nlisen = \"127.0.0.1:1\"";
    assert_eq!(refusal(top), "twinway.toml:2:1: `lisen`: there is no such setting; did you mean `listen`?");
    let nested = "[limits]\n  body_byte_max = 1";
    let expected =
        "twinway.toml:2:3: `limits.body_byte_max`: there is no such setting; did you mean `limits.body_bytes_max`?";
    assert_eq!(refusal(nested), expected);
    let table = "[outsid]\nsession_queue_max = 1";
    assert_eq!(refusal(table), "twinway.toml:1:2: `outsid`: there is no such setting; did you mean `outside`?");
}

#[test]
fn a_key_that_is_near_to_none_is_refused_with_all_that_there_are() {
    let text = refusal("[trace]\ncolour = 1");
    assert_eq!(text, "twinway.toml:2:1: `trace.colour`: there is no such setting; known are file, otlp");
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_place_and_key() {
    let text = refusal("[journal]\nloss_window_ms = \"soon\"");
    assert!(text.starts_with("twinway.toml:2:18: `journal.loss_window_ms`: "), "{text}");
    assert!(text.contains("expected u64"), "{text}");
    let text = refusal("[[tokens]]\ntoken = \"x\"\nrole = \"king\"\nid = \"a\"");
    assert!(text.starts_with("twinway.toml:3:8: `tokens[0].role`: "), "{text}");
    assert!(text.contains("twin-system"), "{text}");
    let text = refusal("[[tokens]]\ntoken = \"x\"\nrole = \"operator\"\nid = \"two words\"");
    assert!(text.starts_with("twinway.toml:4:6: `tokens[0].id`: "), "{text}");
}

#[test]
fn a_token_without_an_id_is_refused() {
    let text = refusal("[[tokens]]\ntoken = \"x\"\nrole = \"operator\"");
    assert!(text.contains("tokens[0]") && text.contains("missing field `id`"), "{text}");
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_place() {
    let text = refusal("data = \"d\"\nlisten = ");
    assert!(text.starts_with("twinway.toml:2:"), "{text}");
}

#[test]
fn all_values_out_of_bounds_are_told_at_once() {
    let text = "data = \"\"\n[limits]\nbody_bytes_max = 0\nticket_ttl_ms = 0\n[runtime]\nturn_budget = 0\nrestart_backoff_ms = 9000
        [entities.lease]\nlease_ttl_ms_max = 0\nlease_queue_max = 0
        [outside]\nevents_kept_max = 0\n[journal]\nbytes_max = 1\n[log]\nlevel = \"loud=very\"";
    let findings = findings(text);
    let keys = [
        "data",
        "limits.body_bytes_max",
        "limits.ticket_ttl_ms",
        "runtime.turn_budget",
        "runtime.restart_backoff_ms",
        "entities.lease.lease_queue_max",
        "entities.lease.lease_ttl_ms_max",
        "outside.events_kept_max",
        "journal.bytes_max",
        "log.level",
    ];
    assert_eq!(findings.len(), keys.len(), "{findings:?}");
    for (finding, key) in findings.iter().zip(keys) {
        assert!(finding.starts_with(&format!("`{key}` is ")), "{finding}");
    }
}

#[test]
fn bad_tokens_are_named_by_their_place_and_never_shown() {
    let entry =
        |token: &str, id: &str| format!("[[tokens]]\ntoken = \"{token}\"\nrole = \"operator\"\nid = \"{id}\"\n");
    let text =
        [entry(TOKEN, "a"), entry("short", "b"), entry(TOKEN, "c"), entry("", "d"), entry("has a space in it", "e")];
    let findings = findings(&text.concat());
    assert_eq!(
        findings,
        [
            "tokens[1] (of `b`) has 5 bytes; a token has at least 16",
            "tokens[2] (of `c`) is the same token as tokens[0]",
            "tokens[3] (of `d`) has neither `token` nor `token_file`, or an empty one",
            "tokens[4] (of `e`) has white space or characters beyond ASCII",
        ]
    );
}

#[test]
fn what_is_shown_has_every_default_and_no_token() {
    let given = config(&format!("[[tokens]]\ntoken = \"{TOKEN}\"\nrole = \"twin-system\"\nid = \"urn:home\""));
    let shown = given.to_toml().expect("it can be written");
    assert!(!shown.contains(TOKEN) && !format!("{given:?}").contains(TOKEN));
    assert!(shown.contains("token = \"***\"") && shown.contains("header_bytes_max = 16384"), "{shown}");
    let again = config(&shown);
    assert_eq!(Config { tokens: Vec::new(), ..again }, Config { tokens: Vec::new(), ..given });
}

#[test]
fn a_file_is_found_by_its_path_then_by_the_environment() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, two) = (dir.path().join("one.toml"), dir.path().join("two.toml"));
    fs::write(&one, "data = \"one\"").expect("it is written");
    fs::write(&two, "data = \"two\"").expect("it is written");
    let data = |path: Option<&Path>, named: Option<&Path>| {
        Config::load_named(path, named.map(|path| path.as_os_str().to_owned())).expect("it loads").data
    };
    assert_eq!(data(Some(&one), Some(&two)), Path::new("one"));
    assert_eq!(data(None, Some(&two)), Path::new("two"));
    assert_eq!(data(None, Some(Path::new(""))), Config::default().data);
    assert_eq!(data(None, None), Config::default().data);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Some(Path::new("no/such.toml"))).expect_err("there is none");
    assert!(error.to_string().starts_with("no/such.toml: "), "{error}");
}

#[test]
fn a_token_comes_from_a_file_beside_the_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("twinway.toml");
    let entry = "[[tokens]]\ntoken_file = \"secret\"\nrole = \"operator\"\nid = \"a\"\n";
    fs::write(&path, entry).expect("it is written");
    let error = Config::load(Some(&path)).expect_err("the token's file is not there");
    assert!(error.to_string().contains("secret"), "{error}");
    fs::write(dir.path().join("secret"), format!("{TOKEN}\n")).expect("it is written");
    let loaded = Config::load(Some(&path)).expect("it loads");
    assert_eq!(loaded.tokens.first().map(|token| token.token.expose()), Some(TOKEN));
    fs::write(&path, format!("{entry}token = \"{TOKEN}\"\n")).expect("it is written");
    let error = Config::load(Some(&path)).expect_err("there are two");
    assert!(error.to_string().contains("tokens[0] has both `token` and `token_file`"), "{error}");
}

#[test]
fn loading_refuses_values_out_of_bounds() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("twinway.toml");
    fs::write(&path, "[outside]\nwebhook_calls_max = 0").expect("it is written");
    let error = Config::load(Some(&path)).expect_err("nothing could ever be called");
    assert!(error.to_string().contains("`outside.webhook_calls_max` is 0"), "{error}");
}
