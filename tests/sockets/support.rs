//! Processes: a daemon with tokens of its own, and the external systems of the examples.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use reqwest::{Method, Response};
use serde_json::Value;
use tempfile::TempDir;
use twinway::client::Client;

use crate::trace::Trace;

/// How long anything may take: only what hangs takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Who has a token: the name that the token begins with, the role, and the id.
const HOLDERS: [(&str, &str, &str); 5] = [
    ("home", "twin-system", "home"),
    ("advisor", "third-party", "advisor"),
    ("plaza", "metaverse", "plaza"),
    ("device", "device", "ana"),
    ("operator", "operator", "root"),
];

pub(crate) fn token(holder: &str) -> String {
    format!("{holder}-token-of-the-tests")
}

/// A process whose lines are read as they come. It is killed when dropped, unless it has ended.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    name: String,
}

impl Process {
    fn start(name: &str, mut command: Command) -> Self {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (told, lines) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        Self { child, stdin, lines, name: name.to_owned() }
    }

    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{} says nothing: {error}", self.name))
    }

    pub(crate) fn type_line(&mut self) {
        let mut stdin = self.stdin.as_ref().expect("it is open");
        stdin.write_all(b"\n").expect("it reads");
    }

    /// Ends an external system by the end of its stdin.
    pub(crate) fn hang_up(mut self) {
        drop(self.stdin.take());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("there is a `kill`");
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended in order already, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `twinway serve` on a free port.
pub(crate) struct Daemon {
    process: Process,
    directory: TempDir,
    pub(crate) url: String,
    http: reqwest::Client,
}

impl Daemon {
    /// Starts one; `settings` are tables of its configuration.
    pub(crate) fn start(settings: &str) -> Self {
        let directory = TempDir::new().expect("there is a place for it");
        let tokens = HOLDERS.map(|(holder, role, id)| {
            format!("[[tokens]]\ntoken = \"{}\"\nrole = \"{role}\"\nid = \"{id}\"\n", token(holder))
        });
        let config = directory.path().join("twinway.toml");
        fs::write(&config, format!("{}[log]\nlevel = \"warn\"\n{settings}", tokens.concat())).expect("there is room");
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinway"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(config);
        command.arg("--data").arg(directory.path().join("data")).arg("--trace").arg(directory.path().join("trace"));
        let process = Process::start("the daemon", command);
        let url = process.line().rsplit(' ').next().expect("it says where").to_owned();
        Self { process, directory, url, http: reqwest::Client::new() }
    }

    /// Starts an example as the external system that `holder` is, and waits until it is registered.
    pub(crate) fn join(&self, example: &str, holder: &str) -> Process {
        let mut command = Command::new(built_example(example));
        command.env("TWINWAY_URL", &self.url).env("TWINWAY_TOKEN", token(holder));
        let process = Process::start(example, command);
        assert_eq!(process.line(), "ready");
        process
    }

    pub(crate) fn client(&self, holder: &str) -> Client {
        Client::new(&self.url, token(holder))
    }

    /// Sends a body as it is.
    pub(crate) async fn send(&self, holder: &str, method: Method, path: &str, body: impl Into<String>) -> Response {
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(token(holder));
        let sent = request.header("content-type", "application/json").body(body.into()).send().await;
        sent.expect("it answers")
    }

    pub(crate) async fn post(&self, holder: &str, path: &str, body: &Value) -> Response {
        self.send(holder, Method::POST, path, body.to_string()).await
    }

    /// Checks that an answer is a problem document of this kind, which the daemon explains without a token.
    pub(crate) async fn problem(&self, response: Response, status: u16, slug: &str) -> Value {
        let (found, media) = (response.status().as_u16(), response.headers().get("content-type").cloned());
        let text = response.text().await.expect("a body");
        assert_eq!(found, status, "{text}");
        assert_eq!(media.expect("it has a type"), "application/problem+json");
        let document: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!((&document["type"], &document["status"]), (&format!("/problems/{slug}").into(), &status.into()));
        let explained = self.http.get(format!("{}/problems/{slug}", self.url)).send().await.expect("it answers");
        assert_eq!(explained.status(), 200, "{slug} is explained");
        let explained: Value = explained.json().await.expect("it is JSON");
        assert_eq!(explained["title"], document["title"], "{explained}");
        document
    }

    /// Ends the daemon in order and reads its trace.
    pub(crate) fn end(mut self) -> Trace {
        self.process.signal("-TERM");
        let status = self.process.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0));
        let text = fs::read_to_string(self.directory.path().join("trace")).expect("it was recorded");
        Trace::read(&text)
    }
}

/// Cargo builds the examples with the tests, beside them.
fn built_example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a file");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("it is in `deps`");
    let path = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "there is no {}; run all tests, or `cargo build --examples` first", path.display());
    path
}

pub(crate) async fn json_of(response: Response, status: u16) -> Value {
    let found = response.status().as_u16();
    let text = response.text().await.expect("a body");
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).expect("it is JSON")
}
