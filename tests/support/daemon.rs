//! The daemon as a process: started, spoken to, killed.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use twinway::client::Client;

/// The operator's token.
pub(crate) const TOKEN: &str = "operator-operator-operator-operator";
/// How long anything in these tests may take before it is a failure.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// A directory with a configuration and the daemon's data.
pub(crate) struct Place {
    root: PathBuf,
    _temp: Option<TempDir>,
}

impl Place {
    /// A place on the usual file system. `settings` are the tables of the configuration after the tokens.
    pub(crate) fn new(settings: &str) -> Self {
        let temp = TempDir::new().expect("there is room");
        Self { _temp: None, ..Self::within(temp.path(), settings) }.keeping(temp)
    }

    /// A place in a directory that somebody else cares for.
    pub(crate) fn within(root: &Path, settings: &str) -> Self {
        let place = Self { root: root.to_path_buf(), _temp: None };
        let mut text = "listen = \"127.0.0.1:0\"\n".to_owned();
        writeln!(text, "data = {:?}", place.data()).expect("a text grows");
        writeln!(text, "[[tokens]]\ntoken = \"{TOKEN}\"\nrole = \"operator\"\nid = \"root\"").expect("a text grows");
        writeln!(text, "[log]\nlevel = \"warn\"\n{settings}").expect("a text grows");
        fs::write(place.config(), text).expect("there is room");
        place
    }

    fn keeping(mut self, temp: TempDir) -> Self {
        self._temp = Some(temp);
        self
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    fn config(&self) -> PathBuf {
        self.root.join("twinway.toml")
    }

    fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// What the daemon logged since it was started the last time.
    fn logged(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn spawn(&self) -> Child {
        let log = File::create(self.log()).expect("there is room");
        let mut command = twinway();
        command.arg("serve").arg("--config").arg(self.config());
        command.stdout(Stdio::piped()).stderr(log).spawn().expect("it starts")
    }

    /// Starts the daemon, which may not come up.
    pub(crate) fn try_start(&self) -> Started {
        let mut process = self.spawn();
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it can be read");
        match line.split_once(" at ") {
            Some((_, url)) => Started::Up(Daemon { url: url.trim().to_owned(), process, _output: Box::new(output) }),
            None => {
                let status = process.wait().expect("it ends");
                Started::Ended(status, self.logged())
            }
        }
    }

    pub(crate) fn start(&self) -> Daemon {
        match self.try_start() {
            Started::Up(daemon) => daemon,
            Started::Ended(status, log) => panic!(
                "it did not start: {status}
{log}"
            ),
        }
    }

    /// Starts the daemon and kills it `after` that, wherever it is then.
    pub(crate) fn start_and_kill(&self, after: Duration) {
        let mut process = self.spawn();
        std::thread::sleep(after);
        process.kill().expect("it is ours");
        process.wait().expect("it ends");
    }

    /// `twinway journal …` on this place's data.
    pub(crate) fn journal(&self, what: &str) -> Output {
        twinway().args(["-o", "json", "journal", what]).arg(self.data()).output().expect("it starts")
    }
}

fn twinway() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinway"));
    for name in ["TWINWAY_URL", "TWINWAY_TOKEN", "TWINWAY_CONFIG", "TWINWAY_USER"] {
        command.env_remove(name);
    }
    command
}

/// What came of a start.
pub(crate) enum Started {
    Up(Daemon),
    /// It ended by itself, and logged this.
    Ended(ExitStatus, String),
}

/// A daemon that runs. Dropping it kills it.
pub(crate) struct Daemon {
    pub(crate) url: String,
    pub(crate) process: Child,
    /// Open for as long as the process lives: it may say more.
    _output: Box<dyn Read + Send>,
}

impl Daemon {
    /// A client with the operator's token.
    pub(crate) fn operator(&self) -> Client {
        Client::new(&self.url, TOKEN)
    }

    /// A client that acts as `system`.
    pub(crate) fn client(&self, system: &str) -> Client {
        self.operator().acting_as(system.parse().expect("it is a name"))
    }

    /// SIGKILL, and nothing else.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A runtime for clients.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("there are threads")
}
