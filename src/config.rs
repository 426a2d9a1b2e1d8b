//! The daemon's configuration: a TOML file in which every key may be left out.

mod check;
mod error;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fmt, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize, Serializer};
use twinway_actors::{Settings, runtime::Options};
use twinway_protocol::{SystemId, flow::Flow};

pub use check::TOKEN_BYTES_MIN;
pub use error::{ConfigError, Place};

use crate::{
    enabler::EnablerOptions,
    gateway::{GatewayConfig, Role},
    history::{HistoryOptions, Retention},
    observations::{OBSERVATION_BYTES_MAX, ObservationLimits},
    outside::OutsideLimits,
};

/// The environment variable that names the configuration file when nothing else does.
pub const CONFIG_VARIABLE: &str = "TWINWAY_CONFIG";

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the daemon listens.
    pub listen: SocketAddr,
    /// The directory of the journal.
    pub data: PathBuf,
    /// How many bytes of observations are kept in it (FGMV-28 7.3.1).
    pub observation_bytes_max: u64,
    /// How many observations are uploaded and read at once.
    pub observations: ObservationLimits,
    /// Who may speak, and for whom.
    pub tokens: Vec<TokenConfig>,
    /// What a client may use.
    pub limits: GatewayConfig,
    /// How actors are run.
    pub runtime: Options,
    /// The limits of the entities.
    pub entities: Settings,
    /// The way out to external systems.
    pub outside: OutsideConfig,
    /// How what happened is kept.
    pub journal: JournalConfig,
    /// How what twins were is kept.
    pub history: HistoryConfig,
    /// The record of the steps that were taken.
    pub trace: TraceConfig,
    /// The judge of what is done while it is done.
    pub monitor: MonitorConfig,
    /// What is logged.
    pub log: LogConfig,
}

/// A token, and who speaks with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The token, at least [`TOKEN_BYTES_MIN`] bytes. With `token_file`: read from there.
    #[serde(default, skip_serializing_if = "Secret::is_empty")]
    pub token: Secret,
    /// A file that holds the token; white space around it is cut.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// What the token is for.
    pub role: Role,
    /// The system that speaks with it; of an operator a name, of a device its user.
    pub id: SystemId,
}

/// Text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps `text` to itself.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text; whoever asks for it sees to it that it is not shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// The way out to external systems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutsideConfig {
    /// How many requests wait in one session's queue to be handed out.
    pub session_queue_max: usize,
    /// How many requests one session may have been handed out and not have answered.
    pub session_unanswered_max: usize,
    /// How many events are kept for each system; who is further behind gets a gap.
    pub events_kept_max: usize,
    /// Of how many events before those a gap can tell which versions of which twins were missed.
    pub events_marked_max: usize,
    /// How many webhook calls may be under way.
    pub webhook_calls_max: usize,
    /// How many requests to the webhook of one system may be under way or wait.
    pub webhook_calls_per_system_max: usize,
    /// How many requests to webhooks may be under way or wait.
    pub webhook_queue_max: usize,
    /// How long one webhook call may take, in milliseconds.
    pub webhook_answer_ms_max: u64,
    /// The pause before an event is sent to a webhook again, in milliseconds; four times as long each time.
    pub webhook_backoff_ms: u64,
}

/// How what happened is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// How much of the newest property values a crash may cost, in milliseconds; 0: nothing.
    pub loss_window_ms: u64,
    /// How many bytes of records may wait to be written.
    pub held_back_bytes_max: usize,
    /// How large the journal may grow, in bytes; absent: as large as the disk lets it.
    pub bytes_max: Option<u64>,
}

/// How what twins were is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryConfig {
    /// Whether it is kept.
    pub enabled: bool,
    /// How long a value that another has replaced is kept, in milliseconds.
    pub retention_ms: u64,
    /// How many bytes of values are kept; beyond that the oldest go early.
    pub bytes_max: u64,
    /// How many published views of twins may wait to be written; of those beyond, the newest of each twin is written.
    pub queue_max: usize,
}

/// The record of the steps that were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceConfig {
    /// Where it is written; absent: nowhere.
    pub file: Option<PathBuf>,
    /// The collector of OpenTelemetry that it is sent to while it is made, such as `http://127.0.0.1:4318/v1/traces`;
    /// absent: to none.
    pub otlp: Option<String>,
}

/// The monitor: it judges what the daemon does by flows and by the invariants of sync leases, counts verdicts as metrics
/// and logs what is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MonitorConfig {
    /// Whether it watches.
    pub enabled: bool,
    /// By which of the flows that come with Twinway (`twinway flow list`); empty: by both procedures of FGMV-29
    /// clause 9.
    pub flows: Vec<String>,
    /// Whether it judges sync leases by their invariants too.
    pub leases: bool,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`; or directives such as `info,twinway=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7400),
            data: PathBuf::from("twinway-data"),
            observation_bytes_max: OBSERVATION_BYTES_MAX,
            observations: ObservationLimits::default(),
            tokens: Vec::new(),
            limits: GatewayConfig::default(),
            runtime: Options::default(),
            entities: Settings::default(),
            outside: OutsideConfig::default(),
            journal: JournalConfig::default(),
            history: HistoryConfig::default(),
            trace: TraceConfig::default(),
            monitor: MonitorConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for OutsideConfig {
    fn default() -> Self {
        let limits = OutsideLimits::default();
        Self {
            session_queue_max: limits.session_queue_max,
            session_unanswered_max: limits.session_unanswered_max,
            events_kept_max: limits.events_kept_max,
            events_marked_max: limits.events_marked_max,
            webhook_calls_max: limits.webhook_calls_max,
            webhook_calls_per_system_max: limits.webhook_calls_per_system_max,
            webhook_queue_max: limits.webhook_queue_max,
            webhook_answer_ms_max: limits.webhook_answer_ms_max,
            webhook_backoff_ms: limits.webhook_backoff_ms,
        }
    }
}

impl MonitorConfig {
    /// What is watched when nothing is named.
    const FLOWS: [&str; 2] = ["9.1", "9.2"];

    /// The flows that it watches by; names that are no flow are left out, which [`Config::check`] does not let pass.
    #[must_use]
    pub fn flows(&self) -> Vec<Arc<Flow>> {
        let named = self.flows.iter().map(String::as_str);
        let all = named.chain(Self::FLOWS.into_iter().filter(|_| self.flows.is_empty()));
        all.filter_map(twinway_scenarios::flow::find).collect()
    }
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self { enabled: false, flows: Vec::new(), leases: true }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { loss_window_ms: 100, held_back_bytes_max: 64 * 1024 * 1024, bytes_max: None }
    }
}

impl Default for HistoryConfig {
    fn default() -> Self {
        let HistoryOptions { retention, queue_max } = HistoryOptions::default();
        Self { enabled: true, retention_ms: retention.retention_ms, bytes_max: retention.bytes_max, queue_max }
    }
}

impl From<&HistoryConfig> for HistoryOptions {
    fn from(config: &HistoryConfig) -> Self {
        let retention = Retention { retention_ms: config.retention_ms, bytes_max: config.bytes_max };
        Self { retention, queue_max: config.queue_max }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        // What the server's library tells of its threads is nothing an operator can use.
        Self { level: "info,actix_server=warn".to_owned(), format: LogFormat::Text }
    }
}

impl Config {
    /// Reads the file at `path`; without one the file that `TWINWAY_CONFIG` names; without that, what is built in.
    /// What is read has passed [`Config::check`].
    ///
    /// # Errors
    /// The file cannot be read, is not understood (with the place), or has values out of bounds (all of them).
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_named(path, std::env::var_os(CONFIG_VARIABLE))
    }

    fn load_named(path: Option<&Path>, named: Option<OsString>) -> Result<Self, ConfigError> {
        let named = named.filter(|name| !name.is_empty()).map(PathBuf::from);
        match path.map(Path::to_path_buf).or(named) {
            Some(path) => Self::read(&path),
            None => Ok(Self::default()),
        }
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::parse(&read_text(path)?, path)?;
        let mut problems = Vec::new();
        for (index, token) in config.tokens.iter_mut().enumerate() {
            let Some(file) = &token.token_file else { continue };
            if !token.token.is_empty() {
                problems.push(format!("tokens[{index}] has both `token` and `token_file`"));
                continue;
            }
            // Beside the configuration, wherever the daemon was started.
            let file = path.parent().unwrap_or_else(|| Path::new("")).join(file);
            token.token = Secret::new(read_text(&file)?.trim());
        }
        problems.extend(config.check().err().into_iter().flatten());
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid { file: path.to_path_buf(), problems }) }
    }

    /// Reads a configuration from text that came from `file`, and does not look at its values.
    ///
    /// # Errors
    /// Where the text is not TOML, or names what is no setting, or gives a setting a value of the wrong type.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let wrong = |key: Option<String>, error: &toml::de::Error| {
            ConfigError::Wrong(Box::new(Place::of(file, text, key, error)))
        };
        let deserializer = toml::Deserializer::parse(text).map_err(|error| wrong(None, &error))?;
        serde_path_to_error::deserialize(deserializer)
            .map_err(|error| wrong(Some(error.path().to_string()), error.inner()))
    }

    /// The configuration as it is in effect, with every default written out and no token shown.
    ///
    /// # Errors
    /// When a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// What an enabler of this configuration is started with.
    #[must_use]
    pub fn enabler_options(&self) -> EnablerOptions {
        EnablerOptions {
            runtime: Options { loss_window_ms: self.journal.loss_window_ms, ..self.runtime.clone() },
            entities: self.entities.clone(),
            outside: self.outside_limits(),
            ..EnablerOptions::default()
        }
    }

    /// The limits of the way out.
    #[must_use]
    pub fn outside_limits(&self) -> OutsideLimits {
        let outside = &self.outside;
        OutsideLimits {
            sessions_max: self.limits.sessions_max,
            listeners_max: self.limits.subscriptions_max,
            session_queue_max: outside.session_queue_max,
            session_unanswered_max: outside.session_unanswered_max,
            events_kept_max: outside.events_kept_max,
            events_marked_max: outside.events_marked_max,
            answer_ms_max: self.entities.outside_answer_ms_max,
            webhook_calls_max: outside.webhook_calls_max,
            webhook_calls_per_system_max: outside.webhook_calls_per_system_max,
            webhook_queue_max: outside.webhook_queue_max,
            webhook_answer_ms_max: outside.webhook_answer_ms_max,
            webhook_backoff_ms: outside.webhook_backoff_ms,
        }
    }
}

fn read_text(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file).map_err(|error| ConfigError::Unreadable { file: file.to_path_buf(), error })
}
