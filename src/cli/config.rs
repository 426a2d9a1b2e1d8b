//! `twinway config`: what the daemon would be started with.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use twinway::config::{Config, ConfigError};

use super::{
    exit::{Exit, Failure},
    output::{Format, Output},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Reads a configuration and tells what is wrong with it.
    Check(Source),
    /// Shows the configuration in effect, with every default written out and no token.
    Show(Source),
}

#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The file; without one, that of `TWINWAY_CONFIG`; without that, what is built in.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same, as `serve` takes it.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
}

impl Source {
    fn path(&self) -> Option<&Path> {
        self.file.as_deref().or(self.config.as_deref())
    }
}

pub(crate) fn run(command: &ConfigCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check(source) => {
            load(source)?;
            match output.format() {
                Format::Json => output.json(&serde_json::json!({ "ok": true })),
                Format::Table => output.line("the configuration is sound"),
            }
        }
        ConfigCommand::Show(source) => {
            let config = load(source)?;
            match output.format() {
                Format::Json => output.json(&config),
                Format::Table => {
                    let text = config.to_toml().map_err(|error| Failure::other(error.to_string()))?;
                    output.bytes(text.as_bytes())
                }
            }
        }
    }
}

fn load(source: &Source) -> Result<Config, Failure> {
    Config::load(source.path()).map_err(|error| {
        let exit = match &error {
            ConfigError::Unreadable { error, .. } if error.kind() == std::io::ErrorKind::NotFound => Exit::NotFound,
            ConfigError::Unreadable { .. } => Exit::Failure,
            ConfigError::Wrong(_) | ConfigError::Invalid { .. } => Exit::CheckFailed,
        };
        Failure::Other(exit, error.to_string())
    })
}
