//! The stage: a daemon on a socket with a data directory of its own, and a process for each party.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    task::JoinHandle,
};
use twinway_protocol::SystemId;
use twinway_scenarios::scenario::{Kind, Scenario};

use super::{Order, RunOptions, order::Told};
use crate::{
    config::{Config, Secret, TokenConfig},
    daemon::Daemon,
    gateway::Role,
};

/// The environment variable by which a party gets its token: other users of the machine see arguments.
const TOKEN_VARIABLE: &str = "TWINWAY_TOKEN";
/// How much chance a token has, in bytes.
const TOKEN_BYTES: usize = 32;
/// How long a party may take to be there, and to go.
const PARTY_WITHIN: Duration = Duration::from_secs(30);
/// How much of what a party says when it fails is shown, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 4_096;

/// A daemon and its parties.
pub(super) struct Stage {
    daemon: Daemon,
    directory: tempfile::TempDir,
    parties: Vec<Running>,
    told: mpsc::UnboundedReceiver<(usize, Told)>,
}

/// A party's process.
struct Running {
    child: Child,
    orders: Option<ChildStdin>,
    reader: JoinHandle<()>,
}

impl Stage {
    /// Starts everything.
    pub(super) async fn begin(scenario: &Scenario, options: &RunOptions) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| format!("a place for the daemon's data: {error}"))?;
        let settings = scenario.settings.clone();
        let mut config: Config = serde_json::from_value(settings).map_err(|error| format!("`settings`: {error}"))?;
        config.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        config.data = directory.path().join("data");
        config.trace.file = Some(trace_file(directory.path()));
        let mut tokens = Vec::new();
        for party in &scenario.parties {
            let id = SystemId::new(party.name.as_str()).map_err(|error| error.to_string())?;
            tokens.push(TokenConfig { token: Secret::new(chance()?), token_file: None, role: role(party.kind), id });
        }
        let secrets: Vec<String> = tokens.iter().map(|token| token.token.expose().to_owned()).collect();
        let daemon = Daemon::start(&config, tokens).await.map_err(|error| error.to_string())?;
        let (tell, told) = mpsc::unbounded_channel();
        let mut stage = Self { daemon, directory, parties: Vec::new(), told };
        for (number, (party, token)) in scenario.parties.iter().zip(&secrets).enumerate() {
            let running = Running::start(options, &party.name, &stage.daemon.url(), token, number, tell.clone())?;
            stage.parties.push(running);
        }
        drop(tell);
        stage.wait_for_all(scenario).await?;
        Ok(stage)
    }

    async fn wait_for_all(&mut self, scenario: &Scenario) -> Result<(), String> {
        let mut missing: Vec<usize> = (0..self.parties.len()).collect();
        while !missing.is_empty() {
            match tokio::time::timeout(PARTY_WITHIN, self.told.recv()).await {
                Ok(Some((number, Told::Ready))) => missing.retain(|other| *other != number),
                Ok(Some((number, Told::Failed(why)))) => {
                    let name = scenario.parties.get(number).map_or("?", |party| &party.name);
                    return Err(format!("`{name}`: {why}"));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Err("a party did not come".to_owned()),
            }
        }
        Ok(())
    }

    /// Tells a party that it is its turn.
    pub(super) async fn order(&mut self, party: usize, order: &Order) -> Result<(), String> {
        let mut line = serde_json::to_vec(order).map_err(|error| error.to_string())?;
        line.push(b'\n');
        let orders =
            self.parties.get_mut(party).and_then(|party| party.orders.as_mut()).ok_or("there is no such party")?;
        let written = async {
            orders.write_all(&line).await?;
            orders.flush().await
        };
        written.await.map_err(|error| format!("a party is gone: {error}"))
    }

    /// What a party tells next, and which.
    pub(super) async fn told(&mut self) -> Result<(usize, Told), String> {
        self.told.recv().await.ok_or_else(|| "all parties are gone".to_owned())
    }

    /// Ends everything in order, and gives the directory with the trace.
    pub(super) async fn end(self) -> Result<tempfile::TempDir, String> {
        let Self { daemon, directory, parties, told } = self;
        drop(told);
        for mut party in parties {
            // A party ends when its orders do.
            drop(party.orders.take());
            if tokio::time::timeout(PARTY_WITHIN, party.child.wait()).await.is_err() {
                let _ = party.child.kill().await;
            }
            party.reader.abort();
        }
        daemon.stop().await.map_err(|error| error.to_string())?;
        Ok(directory)
    }
}

/// Where the daemon writes its trace.
pub(super) fn trace_file(directory: &Path) -> PathBuf {
    directory.join("trace.jsonl")
}

impl Running {
    fn start(
        options: &RunOptions,
        name: &str,
        url: &str,
        token: &str,
        number: usize,
        tell: mpsc::UnboundedSender<(usize, Told)>,
    ) -> Result<Self, String> {
        let mut command = Command::new(&options.program);
        command.args(["scenario", "party", &options.world, "--name", name, "--url", url]);
        if let Some(variant) = &options.variant {
            command.args(["--variant", variant]);
        }
        command.args(["--seed", &options.seed.to_string()]);
        command.env(TOKEN_VARIABLE, token).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", options.program.display()))?;
        let (orders, output, complaints) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let reader = tokio::spawn(async move {
            if let Some(output) = output {
                let mut lines = BufReader::new(output).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let told = serde_json::from_str(&line).unwrap_or_else(|error| Told::Failed(error.to_string()));
                    // Nobody listens any more when the story is over.
                    let _ = tell.send((number, told));
                }
            }
            let mut complaint = String::new();
            if let Some(complaints) = complaints {
                let _ = complaints.take(COMPLAINT_BYTES_MAX).read_to_string(&mut complaint).await;
            }
            let _ = tell.send((number, Told::Failed(format!("its process has ended: {}", complaint.trim()))));
        });
        Ok(Self { child, orders, reader })
    }
}

fn role(kind: Kind) -> Role {
    match kind {
        Kind::Metaverse => Role::Metaverse,
        Kind::DigitalTwin => Role::TwinSystem,
        Kind::ThirdParty => Role::ThirdParty,
        Kind::UserDevice => Role::Device,
    }
}

fn chance() -> Result<String, String> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
