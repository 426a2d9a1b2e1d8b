//! The commands with a running daemon: lists, watching, backup, and the ends.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use twinway::{
    client::Client,
    protocol::{JsonDoc, message::PropertyValues},
};

use super::support::{code, run, text, twinway};

/// How long anything may take: only what hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

const TOKENS: &str = r#"
[[tokens]]
token = "home-token-of-the-tests"
role = "twin-system"
id = "home"
[[tokens]]
token = "shop-token-of-the-tests"
role = "third-party"
id = "shop"
[log]
level = "warn"
"#;
const HOME: &str = r#"{"id": "home", "type": "home", "title": "A home", "twins": [{"id": "lamp", "physicalObject": "urn:lamp",
    "description": {"@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Lamp", "security": "none",
        "securityDefinitions": {"none": {"scheme": "nosec"}}, "properties": {"on": {"type": "boolean", "forms": [{"href": "/on"}]}}}}]}"#;
const SHOP: &str = r#"{"id": "shop", "type": "market", "title": "A shop", "apis": [{"operation": "order"}]}"#;

/// A process that is killed unless it has ended.
pub(crate) struct Running {
    child: Child,
    pub(crate) lines: mpsc::Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (told, lines) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        Self { child, lines }
    }

    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it says something")
    }

    /// Waits until it ends by itself; gives its exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }

    /// Ends it by a signal; gives its exit code and what it wrote to stderr.
    pub(crate) fn end(&mut self, signal: &str) -> (Option<i32>, String) {
        let sent =
            Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("there is a `kill`");
        assert!(sent.success());
        let mut told = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut told).expect("it is text");
        (self.child.wait().expect("it ends").code(), told)
    }
}

struct Daemon {
    process: Running,
    url: String,
    data: PathBuf,
    token: String,
}

impl Daemon {
    fn start(directory: &Path, data: &str) -> Self {
        let (config, data) = (directory.join("twinway.toml"), directory.join(data));
        fs::write(&config, TOKENS).expect("there is room");
        let mut command = twinway(&["serve", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(config).arg("--data").arg(&data);
        let process = Running::start(command);
        let url = process.line().rsplit(' ').next().expect("it says where").to_owned();
        let token = fs::read_to_string(data.join("token")).expect("it has left one").trim().to_owned();
        Self { process, url, data, token }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        twinway(&[arguments, &["--url", &self.url, "--token", &self.token]].concat())
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it starts")
    }

    /// What a command that succeeds writes, as JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(&[arguments, &["-o", "json"]].concat());
        assert_eq!((code(&output), text(&output.stderr)), (0, ""), "{arguments:?}");
        serde_json::from_slice(&output.stdout).expect("stdout is one JSON document")
    }

    fn register_home(&self) {
        let home = serde_json::from_str(HOME).expect("it is a description");
        wait(self.client("home").register_twin_system(&home)).expect("it registers");
        self.report(true);
    }

    fn report(&self, on: bool) {
        let on = PropertyValues::from([("on".to_owned(), JsonDoc::from_value(&on).expect("it is JSON"))]);
        wait(self.client("home").report_change(&"lamp".parse().expect("a name"), &on, None)).expect("it is told");
    }

    fn register_shop(&self) {
        let shop = serde_json::from_str(SHOP).expect("it is a description");
        wait(self.client("shop").register_third_party_system(&shop)).expect("it registers");
    }

    fn client(&self, holder: &str) -> Client {
        Client::new(&self.url, format!("{holder}-token-of-the-tests"))
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there are threads").block_on(work)
}

pub(crate) fn place() -> TempDir {
    TempDir::new().expect("there is a place for it")
}

#[test]
fn systems_and_twins_are_listed_shown_and_found() {
    let directory = place();
    let mut daemon = Daemon::start(directory.path(), "data");
    daemon.register_home();
    daemon.register_shop();
    let table = daemon.ask(&["system", "list"]);
    assert_eq!((code(&table), text(&table.stderr)), (0, ""));
    assert!(text(&table.stdout).contains("1 twin") && text(&table.stdout).contains("order"), "{table:?}");
    for (arguments, pointer, expected) in [
        (&["system", "list", "--kind", "third-party"][..], "/0/system/id", "shop"),
        (&["system", "search", "home"], "/0/system/id", "home"),
        (&["system", "list", "--operation", "order"], "/0/system/id", "shop"),
        (&["system", "search", "--filter", "'order' in apis", "--sort", "-charge.amount"], "/0/system/id", "shop"),
        (&["system", "search", "--filter", "twins.count > 0"], "/0/system/id", "home"),
        (&["system", "list", "--filter", "system.id == 'home'"], "/0/system/id", "home"),
        (&["system", "show", "home"], "/kind", "twin-system"),
        (&["twin", "list", "--system", "home"], "/0/id", "lamp"),
        (&["twin", "search", "LAMP"], "/0/physicalObject", "urn:lamp"),
        (&["twin", "show", "lamp"], "/system", "home"),
    ] {
        let found = daemon.json(arguments);
        assert_eq!(found.pointer(pointer), Some(&expected.into()), "{arguments:?}: {found}");
        assert!(found.as_array().is_none_or(|found| found.len() == 1), "{arguments:?}: {found}");
    }
    assert_eq!(daemon.json(&["twin", "search", "nothing"]), Value::Array(Vec::new()));
    for arguments in [["system", "show"], ["twin", "show"]] {
        let output = daemon.ask(&[&arguments[..], &["nothing", "-o", "json"]].concat());
        assert_eq!((code(&output), text(&output.stdout)), (3, ""));
        let document: Value = serde_json::from_slice(&output.stderr).expect("stderr is one problem document");
        assert_eq!(document["status"], 404);
    }
    assert_eq!(daemon.process.end("-TERM"), (Some(0), "stopping; once more to stop at once\n".to_owned()));
}

/// FGMV-29 8.2.5 and 8.3.5, by hand: what a twin can be asked, and what others may know of it; and Thing Models.
#[test]
fn access_to_a_twin_is_shown_changed_and_given_and_a_subscription_is_made_renewed_and_ended() {
    let directory = place();
    let daemon = Daemon::start(directory.path(), "data");
    daemon.register_home();
    daemon.register_shop();
    let file = |name: &str, document: &str| {
        let path = directory.path().join(name);
        fs::write(&path, document).expect("there is room");
        path.to_str().expect("it is text").to_owned()
    };
    let home = |arguments: &[&str]| daemon.json(&[&["access"], arguments, &["--as", "home"]].concat());
    let model = r#"{"@context": "https://www.w3.org/2022/wot/td/v1.1", "@type": "tm:ThingModel", "title": "A lamp"}"#;
    let model_file = file("model", model);
    assert_eq!(code(&daemon.ask(&["system", "register-model", "lamp-model", &model_file, "--as", "home"])), 0);
    assert_eq!(text(&daemon.ask(&["system", "model", "lamp-model", "--as", "home"]).stdout).trim_end(), model);
    assert_eq!(code(&daemon.ask(&["system", "model", "other", "--as", "home"])), 3);
    let patch = file("patch", r#"{"changeable": [], "access": {"shop": ["read"]}}"#);
    let changed = home(&["update", "lamp", &patch]);
    assert_eq!(changed["characteristics"]["access"], serde_json::json!({"shop": ["read"]}));
    let rules = file("rules", r#"{"priorities": [{"role": "medic", "priority": 200}]}"#);
    home(&["priorities", "lamp", &rules]);
    let nobody = daemon.ask(&["access", "show", "lamp"]);
    assert_eq!(code(&nobody), 3);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("`--as SYSTEM`"), "it says how to speak for the home");
    let shown = home(&["show", "lamp"]);
    assert_eq!(shown["synchronization"]["priorities"][0]["priority"], 200);
    assert_eq!(shown["characteristics"], changed["characteristics"]);
    let given = home(&["grant", "lamp", "--metaverse", "plaza", "--user", "ada", "--right", "read", "--right", "stop"]);
    assert_eq!(given["rights"], serde_json::json!(["read", "stop"]));
    assert_eq!(home(&["list", "lamp"]), serde_json::json!([given]));
    assert_eq!(daemon.json(&["access", "of", "ada", "--as", "plaza"]), serde_json::json!([given]));
    let id = given["id"].as_str().expect("text");
    assert_eq!(code(&daemon.ask(&["access", "revoke", "lamp", id, "--as", "home"])), 0);
    assert_eq!(code(&daemon.ask(&["access", "revoke", "lamp", id, "--as", "home"])), 3);
    assert_eq!(code(&daemon.ask(&["access", "grant", "lamp", "--metaverse", "a", "--user", "b", "--right", "fly"])), 2);

    let shop = |arguments: &[&str]| daemon.json(&[&["acquisition"], arguments, &["--as", "shop"]].concat());
    assert_eq!(shop(&["read", "lamp", "--property", "on"])[0]["properties"]["on"]["value"], true);
    let made = shop(&["subscribe", "lamp", "--min-interval-ms", "100", "--lifetime-ms", "60000"]);
    let id = made["id"].as_str().expect("text");
    let renewed = shop(&["renew", id]);
    assert!(renewed["expiresAt"].as_str() > made["expiresAt"].as_str());
    assert_eq!(shop(&["list"]), serde_json::json!([renewed]));
    assert_eq!(shop(&["show", id]), renewed);
    let end = || code(&daemon.ask(&["acquisition", "end", id, "--as", "shop"]));
    assert_eq!((end(), end()), (0, 3));
    // What is told is shown, of this subscription only, and that it is made.
    let follow =
        ["acquisition", "subscribe", "lamp", "--min-interval-ms", "100", "--follow", "--as", "shop", "-o", "json"];
    let mut followed = Running::start(daemon.command(&follow));
    let line = |text: String| -> Value { serde_json::from_str(&text).expect("a line is one JSON document") };
    let made = line(followed.line());
    let told = line(followed.line());
    assert_eq!((&told["subject"], &told["data"]["reason"]), (&made["id"], &"subscribed".into()));
    daemon.report(false);
    assert_eq!(line(followed.line())["data"]["twins"][0]["properties"]["on"]["value"], false);
    assert_eq!(followed.end("-INT"), (Some(0), String::new()));
}

#[test]
fn a_token_that_may_not_or_is_missing_ends_with_4_and_says_how_to_give_one() {
    let directory = place();
    let daemon = Daemon::start(directory.path(), "data");
    let with = |arguments: &[&str]| run(&[&["twin", "list", "--url", &daemon.url], arguments].concat());
    let output = with(&["--token", "shop-token-of-the-tests"]);
    assert_eq!((code(&output), text(&output.stdout)), (4, ""));
    assert!(text(&output.stderr).contains("does not allow"), "{output:?}");
    let output = with(&["--token-file", "/nowhere/token"]);
    assert_eq!(code(&output), 4);
    assert!(text(&output.stderr).contains("--token") && text(&output.stderr).contains("/nowhere/token"), "{output:?}");
    let file = daemon.data.join("token");
    assert_eq!(code(&with(&["--token-file", file.to_str().expect("it is text")])), 0);
}

#[test]
fn an_address_that_is_none_is_a_mistake_of_usage_and_a_daemon_that_is_silent_ends_with_7() {
    for url in ["127.0.0.1:7400", "https://127.0.0.1:7400", "http://"] {
        let output = run(&["twin", "list", "--url", url]);
        assert_eq!(code(&output), 2, "{url}");
        assert!(text(&output.stderr).contains("http://"), "{output:?}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("it is bound"));
    assert_eq!(code(&run(&["twin", "list", "--url", &url, "--timeout-ms", "50"])), 7);
}

#[test]
fn what_is_watched_is_told_as_it_happens_until_ctrl_c() {
    let directory = place();
    let daemon = Daemon::start(directory.path(), "data");
    daemon.register_home();
    let mut systems = Running::start(daemon.command(&["system", "watch", "--every-ms", "10", "-o", "json"]));
    let change = |line: String| {
        let line: Value = serde_json::from_str(&line).expect("a line is one JSON document");
        (line["change"].clone(), line["system"]["id"].clone())
    };
    assert_eq!(change(systems.line()), ("there".into(), "home".into()));
    daemon.register_shop();
    assert_eq!(change(systems.line()), ("there".into(), "shop".into()));
    assert_eq!(systems.end("-INT"), (Some(0), String::new()));

    let mut twins = Running::start(daemon.command(&["twin", "watch", "lamp", "-o", "json"]));
    // When it listens is not told, so changes come until one is seen.
    let line = (0_u32..).find_map(|n| {
        daemon.report(n % 2 == 0);
        let heard = twins.lines.recv_timeout(Duration::from_millis(50)).ok();
        assert!(heard.is_some() || n < 1_000, "nothing is heard");
        heard
    });
    let event: Value = serde_json::from_str(&line.expect("it is heard")).expect("a line is one JSON document");
    assert_eq!((&event["type"], &event["subject"]), (&"io.twinway.twin.changed".into(), &"lamp".into()));
    assert_eq!(twins.end("-INT"), (Some(0), String::new()));
    assert_eq!(code(&daemon.ask(&["twin", "watch", "nothing"])), 3);
}

#[test]
fn a_backup_of_a_running_daemon_makes_a_daemon_that_answers_the_same() {
    let directory = place();
    let mut daemon = Daemon::start(directory.path(), "data");
    daemon.register_home();
    daemon.register_shop();
    let all = |daemon: &Daemon| {
        [&["system", "list"][..], &["twin", "list"], &["twin", "show", "lamp"]].map(|arguments| daemon.json(arguments))
    };
    let before = all(&daemon);
    let (data, file) = (daemon.data.clone(), directory.path().join("backup"));
    let journal = |arguments: &[&str], path: &Path, data: &Path| {
        let mut command = twinway(&[&["journal"], arguments].concat());
        let output = command.arg(path).arg("--data").arg(data).output().expect("it starts");
        (code(&output), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    let (exit, report, told) = journal(&["backup", "-o", "json"], &file, &data);
    assert_eq!((exit, told.as_str()), (0, ""), "no progress bar where there is no terminal");
    assert!(
        serde_json::from_str::<Value>(&report).is_ok_and(|report| report["commits"].as_u64() > Some(0)),
        "{report}"
    );
    assert_eq!(journal(&["backup"], &file, &data).0, 1, "a backup is never written over");
    assert_eq!(journal(&["verify"], &file, &data).0, 0);
    assert_eq!(journal(&["restore"], &file, &data).0, 1, "neither is a journal");
    let restored = directory.path().join("restored");
    let (exit, _, told) = journal(&["restore"], &file, &restored);
    assert_eq!((exit, told.as_str()), (0, ""));
    assert_eq!(daemon.process.end("-TERM").0, Some(0));
    let after = Daemon::start(directory.path(), "restored");
    assert_eq!(all(&after), before);
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused_and_the_first_goes_on() {
    let directory = place();
    let daemon = Daemon::start(directory.path(), "data");
    let data = daemon.data.to_str().expect("it is text");
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--data", data]);
    assert_eq!((code(&output), text(&output.stdout)), (1, ""));
    let told = text(&output.stderr);
    assert!(told.contains("in use by process") && told.contains(data), "{told}");
    assert_eq!(daemon.json(&["twin", "list"]), Value::Array(Vec::new()));
}

#[test]
fn the_line_that_the_demo_gives_to_try_works() {
    let directory = place();
    let data = directory.path().join("data");
    let mut command = twinway(&["serve", "--demo", "--listen", "127.0.0.1:0", "--data"]);
    command.arg(data);
    let mut demo = Running::start(command);
    let greeting = [demo.line(), demo.line(), demo.line()];
    let tried = greeting[2].strip_prefix("try: ").expect("it gives a line").to_owned();
    while !demo.line().contains("Both procedures are done") {}
    let (_, token) = greeting[1].split_once(": ").expect("it gives its token");
    let (request, url) = tried.rsplit_once(' ').expect("it ends with the address");
    assert_eq!(request, format!("curl -H 'Authorization: Bearer {token}'"));
    let answer = match Command::new("sh").args(["-c", &format!("{tried} --silent --show-error --fail")]).output() {
        Ok(output) if output.status.success() => text(&output.stdout).to_owned(),
        Ok(output) if output.status.code() != Some(127) => panic!("{output:?}"),
        // Without curl, the same request.
        _ => {
            let sent = async { reqwest::Client::new().get(url).bearer_auth(token).send().await?.text().await };
            wait(sent).expect("it answers")
        }
    };
    let answer: Value = serde_json::from_str(&answer).expect("it is JSON");
    assert_eq!(answer["items"].as_array().map(Vec::len), Some(3), "{answer}");
    // It says how to see more, and lives on: what changes is seen.
    assert!(demo.line().contains("twinway scenario run --demo"));
    assert!(demo.line().contains("plaza sees"));
    assert_eq!(demo.end("-INT").0, Some(0));
}
