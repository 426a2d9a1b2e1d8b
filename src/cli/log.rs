//! Where the daemon's log goes: to stderr, as the configuration says.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};
use twinway::config::{LogConfig, LogFormat};

use super::exit::Failure;

/// Begins to log. `RUST_LOG` has the last word on the level.
pub(crate) fn begin(config: &LogConfig) -> Result<(), Failure> {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| config.level.clone());
    let filter = EnvFilter::try_new(&level).map_err(|error| Failure::other(format!("`{level}`: {error}")))?;
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    // A line that cannot be written, on a full disk for one, is let go: to complain on the same stream would panic.
    let log = log.log_internal_errors(false);
    let begun = match config.format {
        LogFormat::Text => log.finish().try_init(),
        LogFormat::Json => log.json().finish().try_init(),
    };
    begun.map_err(|error| Failure::other(format!("the log cannot begin: {error}")))
}
