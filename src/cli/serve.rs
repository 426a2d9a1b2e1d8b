//! `twinway serve`: the daemon, from its first line to its last.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use tokio::sync::watch;
use twinway::{
    config::{Config, Secret, TokenConfig},
    daemon::Daemon,
    demo::{self, DemoTokens},
    gateway::Role,
    protocol::SystemId,
};

use super::{
    exit::{Exit, Failure},
    log,
    output::{Format, Output},
};

/// The name of the file with an operator's token, in the data directory.
const TOKEN_FILE: &str = "token";
/// How much chance a token has, in bytes: nobody guesses 256 bits.
const TOKEN_BYTES: usize = 32;

/// What `serve` takes.
#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen, in place of what the configuration says.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// The data directory, in place of what the configuration says.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Starts a small world of external systems, which runs both procedures of FGMV-29 clause 9 and lives on.
    #[arg(long)]
    pub(crate) demo: bool,
    /// Where to record the steps that are taken.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Judges what is done by the flows while it is done, as `[monitor]` of the configuration does.
    #[arg(long)]
    pub(crate) monitor: bool,
}

/// A daemon that runs.
struct Running {
    /// Where it listens.
    url: String,
    /// Its data directory.
    data: PathBuf,
    /// An operator's token.
    operator_token: String,
    daemon: Daemon,
}

/// Runs the daemon until it is told to stop. Ctrl-C or SIGTERM drains it and ends with 0; a second one ends it at once.
pub(crate) fn serve(options: ServeOptions) -> ExitCode {
    let output = Output::new(Format::Table);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.finish(Err(Failure::other(format!("no runtime: {error}")))),
    };
    let done = runtime.block_on(run(&options, output));
    // What was not finished within the drain is not waited for.
    runtime.shutdown_background();
    output.finish(done)
}

async fn run(options: &ServeOptions, mut output: Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let demo_tokens = if options.demo { Some(demo_tokens()?) } else { None };
    let running = start(options, demo_tokens.as_ref()).await?;
    greet(&running, options.demo, &mut output)?;

    let (stop_demo, stopped) = watch::channel(false);
    let mut demo = demo_tokens.map(|tokens| tokio::spawn(live(running.url.clone(), tokens, output, stopped)));
    signals.next().await;
    output.note("stopping; once more to stop at once");
    tokio::select! {
        () = signals.next() => Err(Failure::other("stopped at once")),
        drained = async {
            // The world of the demo goes first: it would only see the daemon go.
            stop_demo.send_replace(true);
            if let Some(demo) = demo.as_mut() {
                let _ = demo.await;
            }
            running.daemon.stop().await.map_err(|error| Failure::other(error.to_string()))
        } => drained,
    }
}

/// Starts the daemon. An operator's token and those of the demo world are added to those of the configuration.
async fn start(options: &ServeOptions, demo_tokens: Option<&DemoTokens>) -> Result<Running, Failure> {
    let mut config = Config::load(options.config.as_deref()).map_err(|error| Failure::other(error.to_string()))?;
    if let Some(listen) = options.listen {
        config.listen = listen;
    }
    if let Some(data) = &options.data {
        config.data.clone_from(data);
    }
    if let Some(trace) = &options.trace {
        config.trace.file = Some(trace.clone());
    }
    config.monitor.enabled |= options.monitor;
    log::begin(&config.log)?;
    let operator_token = operator_token(&config.data)?;
    let mut tokens = vec![token(&operator_token, Role::Operator, "operator")?];
    if let Some(DemoTokens { home, advisor, plaza }) = demo_tokens {
        tokens.push(token(home, Role::TwinSystem, demo::HOME)?);
        tokens.push(token(advisor, Role::ThirdParty, demo::ADVISOR)?);
        tokens.push(token(plaza, Role::Metaverse, demo::PLAZA)?);
    }
    let daemon = Daemon::start(&config, tokens).await.map_err(|error| Failure::other(error.to_string()))?;
    Ok(Running { url: daemon.url(), data: config.data, operator_token, daemon })
}

fn token(text: &str, role: Role, id: &str) -> Result<TokenConfig, Failure> {
    let id = SystemId::new(id).map_err(|error| Failure::other(format!("`{id}`: {error}")))?;
    Ok(TokenConfig { token: Secret::new(text), token_file: None, role, id })
}

fn greet(running: &Running, demo: bool, output: &mut Output) -> Result<(), Failure> {
    let Running { url, operator_token, .. } = running;
    output.line(&format!("twinway {} at {url}", env!("CARGO_PKG_VERSION")))?;
    if demo {
        output.line(&format!("operator token: {operator_token}"))?;
        output.line(&format!("try: curl -H 'Authorization: Bearer {operator_token}' {url}/mii/v1/twins"))
    } else {
        output.line(&format!("operator token in {}", running.data.join(TOKEN_FILE).display()))
    }
}

/// Lets the demo world live. That it ends by itself is told, and the daemon goes on.
async fn live(url: String, tokens: DemoTokens, mut output: Output, stopped: watch::Receiver<bool>) {
    let tell = move |line: String| {
        // Whoever reads may have hung up: the daemon goes on.
        let _ = output.line(&line);
    };
    if let Err(error) = demo::run(url, tokens, tell, stopped).await {
        output.note(&format!("the demo has ended: {error}"));
    }
}

fn demo_tokens() -> Result<DemoTokens, Failure> {
    Ok(DemoTokens { home: new_token()?, advisor: new_token()?, plaza: new_token()? })
}

fn new_token() -> Result<String, Failure> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Failure::other(format!("no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The operator's token of the data directory; made at the first start, for its owner's eyes only.
fn operator_token(data: &Path) -> Result<String, Failure> {
    let path = data.join(TOKEN_FILE);
    let failed = |error: io::Error| Failure::other(format!("{}: {error}", path.display()));
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => {
            Err(Failure::Other(Exit::Failure, format!("{} is empty; remove it to get a new token", path.display())))
        }
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = new_token()?;
            make_private(data).map_err(failed)?;
            write_token(&path, &token).map_err(failed)?;
            Ok(token)
        }
        Err(error) => Err(failed(error)),
    }
}

/// What is in the data directory is its owner's.
fn make_private(data: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(data)
}

/// Written beside and moved into place, so that a crash leaves no half token.
fn write_token(path: &Path, token: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// What tells the daemon to stop.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let failed = |error: io::Error| Failure::other(format!("signals cannot be heard: {error}"));
            let terminate = signal(SignalKind::terminate()).map_err(failed)?;
            let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
            Ok(Self { terminate, interrupt })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::operator_token;

    #[test]
    fn the_token_of_the_first_start_is_that_of_every_later_one_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().expect("there is a place for it");
        let data = directory.path().join("data");
        let first = operator_token(&data).expect("it is made");
        assert_eq!(first.len(), 64);
        assert_eq!(operator_token(&data).expect("it is read"), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(data.join("token")).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let mode = std::fs::metadata(&data).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        std::fs::write(data.join("token"), "\n").expect("it is written");
        assert!(operator_token(&data).is_err(), "an empty token would let everyone in");
    }
}
