//! The daemon: configuration, journal, enabler and gateway in one, started and stopped in order.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use twinway_actors::{
    port::journal::{Journal, JournalError},
    runtime::{StartError, TraceFeed},
};
use twinway_protocol::{JsonDoc, Problem, ProblemKind};

use crate::{
    Enabler,
    config::{Config, TokenConfig},
    enabler::EnablerOptions,
    gateway::{self, Gateway, GatewayOptions, Host, Principal, Principals, TokenError},
    history::{History, HistoryError, HistoryOptions, SqliteHistory},
    journal::{self, DataDirectory, SqliteJournal, SqliteOptions},
    monitor::{LeaseFeed, LeaseMonitor, Monitor},
    observations::{DirectoryStore, Observations},
    outside::{KeptEvents, wall},
    trace::{TraceExport, TraceFile},
};

/// Why the daemon did not start, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The journal: in use, damaged, of another version, or out of reach.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What the journal holds was not taken over.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Two tokens are the same, or one cannot be sent.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The history cannot be kept.
    #[error("{}: {error}", file.display())]
    History {
        /// Its file: it can be taken away, and what twins were is forgotten then.
        file: PathBuf,
        /// Why.
        error: HistoryError,
    },
    /// A socket or a file.
    #[error("{what}: {error}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        error: io::Error,
    },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> DaemonError {
    let what = what.into();
    move |error| DaemonError::Io { what, error }
}

fn not_listening(address: SocketAddr, error: io::Error) -> DaemonError {
    let help = match error.kind() {
        io::ErrorKind::AddrInUse => {
            " (is another twinway running? `listen` in the configuration, or --listen, takes another)"
        }
        _ => "",
    };
    DaemonError::Io { what: format!("listening on {address}{help}"), error }
}

/// A daemon that runs. Dropping it leaves it running; [`Daemon::stop`] ends it in order.
#[derive(Debug)]
pub struct Daemon {
    enabler: Enabler,
    gateway: Gateway,
    listeners: Listeners,
    data: PathBuf,
}

/// The directory of backups, within the data directory.
const BACKUPS: &str = "backups";
/// The directory of observations, within the data directory.
const OBSERVATIONS: &str = "observations";
/// The file of the history, within the data directory.
const HISTORY: &str = "history.sqlite";
/// The file of the events of the run before, within the data directory.
const EVENTS: &str = "events.json";

impl Daemon {
    /// Starts a daemon: the data directory is locked, the journal replayed, and then the sockets are opened. Call it
    /// within a tokio runtime.
    ///
    /// `tokens` are accepted beside those of the configuration.
    ///
    /// # Errors
    /// When something is in the way; nothing runs then, and the data directory is as it was.
    pub async fn start(config: &Config, tokens: Vec<TokenConfig>) -> Result<Self, DaemonError> {
        let principals = Principals::new(
            config
                .tokens
                .iter()
                .cloned()
                .chain(tokens)
                .map(|token| (token.token.expose().to_owned(), Principal { role: token.role, id: token.id })),
        )?;
        let listener = TcpListener::bind(config.listen).map_err(|error| not_listening(config.listen, error))?;
        let directory = Arc::new(DataDirectory::open(&config.data)?);
        let data = directory.path().to_path_buf();
        let options = SqliteOptions {
            loss_window_ms: config.journal.loss_window_ms,
            held_back_bytes_max: config.journal.held_back_bytes_max,
            bytes_max: config.journal.bytes_max,
            ..SqliteOptions::default()
        };
        let opened = SqliteJournal::open(directory, &options).map_err(|error| advise(error, &data))?;
        let journal: Arc<dyn Journal> = Arc::new(opened);
        // Before the first verdict is counted.
        let metrics = recorder();
        let (listeners, trace, leases) = Listeners::begin(config)?;
        let kept = DirectoryStore::open(&data.join(OBSERVATIONS), config.observation_bytes_max);
        let observations =
            Observations::limited(kept.map_err(io_error("the directory of observations"))?, config.observations);
        let history = history(config, &data)?;
        let events = earlier_events(&data);
        let options = EnablerOptions { trace, leases, observations, history, events, ..config.enabler_options() };
        let enabler = Enabler::start(options, journal).await.map_err(|error| match error {
            StartError::Journal(error) => StartError::Journal(advise(error, &data)),
            other => other,
        })?;
        let host = Arc::new(DaemonHost { enabler: enabler.clone(), data: data.clone(), metrics });
        let options = GatewayOptions { config: config.limits.clone(), host };
        let gateway =
            gateway::serve(enabler.clone(), principals, options, listener).await.map_err(io_error("the gateway"))?;
        Ok(Self { enabler, gateway, listeners, data })
    }

    /// Where it listens, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.gateway.address())
    }

    /// The enabler inside.
    #[must_use]
    pub fn enabler(&self) -> &Enabler {
        &self.enabler
    }

    /// Stops in order: takes no new requests, finishes those under way, makes everything durable, lets the data
    /// directory go.
    ///
    /// # Errors
    /// What did not end in order; everything has ended all the same.
    pub async fn stop(self) -> Result<(), DaemonError> {
        let Self { enabler, gateway, listeners, data } = self;
        gateway.stop().await;
        let ended = enabler.shutdown().await;
        if let Err(error) = keep_events(&data, &enabler) {
            tracing::warn!(%error, "events are not kept: who resumes after the next start is told of a gap");
        }
        drop(enabler);
        ended.map_err(DaemonError::from).and(listeners.finish())
    }
}

/// Those who listen to what the actors do; none of them can hold an actor back.
#[derive(Debug, Default)]
struct Listeners {
    trace: Option<TraceFile>,
    export: Option<TraceExport>,
    monitor: Option<Monitor>,
    leases: Option<LeaseMonitor>,
}

impl Listeners {
    /// Those that the configuration wants, and what feeds them.
    fn begin(config: &Config) -> Result<(Self, Option<TraceFeed>, Option<LeaseFeed>), DaemonError> {
        let (mut listeners, mut feeds, mut leases) = (Self::default(), Vec::new(), None);
        if let Some(path) = &config.trace.file {
            let (file, feed) = TraceFile::begin(path).map_err(io_error(path.display().to_string()))?;
            listeners.trace = Some(file);
            feeds.push(feed);
        }
        if let Some(url) = &config.trace.otlp {
            let (export, feed) = TraceExport::begin(url).map_err(io_error("the export of the trace"))?;
            listeners.export = Some(export);
            feeds.push(feed);
        }
        if config.monitor.enabled {
            let (monitor, feed) = Monitor::begin(&config.monitor.flows()).map_err(io_error("the monitor"))?;
            listeners.monitor = Some(monitor);
            feeds.push(feed);
        }
        if config.monitor.enabled && config.monitor.leases {
            let judged = LeaseMonitor::begin(config.entities.lease.clone());
            let (monitor, feed) = judged.map_err(io_error("the monitor of sync leases"))?;
            listeners.leases = Some(monitor);
            leases = Some(feed);
        }
        Ok((listeners, feeds.into_iter().reduce(TraceFeed::and), leases))
    }

    /// Ends them: the actors have ended before.
    fn finish(self) -> Result<(), DaemonError> {
        let traced = self.trace.map_or(Ok(()), TraceFile::finish).map_err(io_error("the trace"));
        let exported = self.export.map_or(Ok(()), TraceExport::finish).map_err(io_error("the export of the trace"));
        // What it found is counted and logged already.
        let watched =
            self.monitor.map_or(Ok(()), |monitor| monitor.finish().map(drop)).map_err(io_error("the monitor"));
        let judged = self.leases.map_or(Ok(()), |leases| leases.finish().map(drop));
        traced.and(exported).and(watched).and(judged.map_err(io_error("the monitor of sync leases")))
    }
}

/// The events that the run before kept. Their file is taken away first: after a crash it would be of a run long ago.
fn earlier_events(data: &Path) -> KeptEvents {
    let file = data.join(EVENTS);
    let Ok(text) = std::fs::read_to_string(&file) else { return KeptEvents::default() };
    let read = std::fs::remove_file(&file).map_err(|error| error.to_string()).and_then(|()| {
        // A crash of the machine must not bring it back.
        let synced = std::fs::File::open(data).and_then(|directory| directory.sync_all());
        synced.map_err(|error| error.to_string())?;
        KeptEvents::read(&text).map_err(|error| error.to_string())
    });
    read.unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), %error, "the events of the run before are not used");
        KeptEvents::default()
    })
}

/// Keeps the newest events for the next run.
fn keep_events(data: &Path, enabler: &Enabler) -> io::Result<()> {
    let text = enabler.outside().kept_events()?;
    let (part, file) = (data.join(format!("{EVENTS}.part")), data.join(EVENTS));
    std::fs::write(&part, text)?;
    std::fs::rename(part, file)
}

/// What keeps what twins were, if the configuration wants it.
fn history(config: &Config, data: &Path) -> Result<Option<History>, DaemonError> {
    if !config.history.enabled {
        return Ok(None);
    }
    let begun = SqliteHistory::open(&data.join(HISTORY), wall())
        .and_then(|store| History::start(store, &HistoryOptions::from(&config.history)));
    Ok(Some(begun.map_err(|error| DaemonError::History { file: data.join(HISTORY), error })?))
}

/// Adds to what is wrong with a journal where it is and what to do.
fn advise(error: JournalError, data: &Path) -> JournalError {
    let JournalError::Corrupt(what) = error else { return error };
    let data = data.display();
    JournalError::Corrupt(format!(
        "{what}\nThe daemon does not start on it, and has changed nothing in {data}.\nTo see how far it is sound: \
         twinway journal verify {data}\nTo go on from a backup, in another directory: twinway journal restore \
         BACKUP --data DIR"
    ))
}

/// The bounds of the histogram of how long a granted lease was asked for, s. It is measured in whole milliseconds.
const GRANT_BOUNDS_S: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0];

/// The process's one recorder of metrics: a second daemon in the process has none of its own.
fn recorder() -> Option<PrometheusHandle> {
    // Buckets can be added up over daemons and over time, which quantiles that the daemon reckons itself cannot.
    let grants = Matcher::Full("twinway_lease_grant_seconds".to_owned());
    PrometheusBuilder::new().set_buckets_for_metric(grants, &GRANT_BOUNDS_S).ok()?.install_recorder().ok()
}

/// What the gateway asks of the daemon.
struct DaemonHost {
    enabler: Enabler,
    data: PathBuf,
    metrics: Option<PrometheusHandle>,
}

impl Host for DaemonHost {
    fn unready(&self) -> Vec<String> {
        self.enabler.impediments()
    }

    fn writable(&self) -> Result<(), Problem> {
        self.enabler.writable()
    }

    fn counts(&self) -> BTreeMap<String, u64> {
        self.enabler.counts()
    }

    fn metrics(&self) -> String {
        let Some(recorder) = &self.metrics else { return String::new() };
        for (name, value) in self.enabler.counts() {
            // Prometheus knows no 64-bit integers; counts stay exact up to 2^53.
            metrics::gauge!(format!("twinway_{}", snake(&name))).set(value as f64);
        }
        recorder.run_upkeep();
        recorder.render()
    }

    fn backup(&self, file: String) -> BoxFuture<'static, Result<JsonDoc, Problem>> {
        let data = self.data.clone();
        Box::pin(async move {
            let run = move || backup(&data, &file);
            let failed = |error: tokio::task::JoinError| Problem::new(ProblemKind::Internal, error.to_string());
            tokio::task::spawn_blocking(run).await.map_err(failed)?
        })
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Writes a backup beside the journal, under a plain file name.
fn backup(data: &Path, file: &str) -> Result<JsonDoc, Problem> {
    let plain = !file.is_empty()
        && !file.starts_with('.')
        && file.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if !plain {
        let detail = "a backup's name has letters, digits, `.`, `-` and `_`, and does not begin with a dot";
        return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/file"));
    }
    let failed = |error: String| Problem::new(ProblemKind::Internal, error);
    let backups = data.join(BACKUPS);
    std::fs::create_dir_all(&backups).map_err(|error| failed(format!("{}: {error}", backups.display())))?;
    let path = backups.join(file);
    if path.exists() {
        return Err(Problem::new(ProblemKind::AlreadyRegistered, format!("there is a backup `{file}` already")));
    }
    let report = journal::backup(data, &path).map_err(|error| failed(error.to_string()))?;
    JsonDoc::from_value(&report).map_err(|error| failed(error.to_string()))
}
