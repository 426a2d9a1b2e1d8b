//! `twinway journal`: the files of a data directory. Backup works while a daemon runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use twinway::{actors::port::journal::JournalError, journal};

use super::{
    exit::{Exit, Failure},
    output::{Format, Output},
};

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Checks a journal completely: every checksum, and that all is there that was acknowledged.
    Verify {
        /// A data directory or a backup; without one, that of `--data`.
        path: Option<PathBuf>,
        #[command(flatten)]
        data: Data,
    },
    /// Shows the numbers of a journal, without checking it.
    Stats {
        /// A data directory or a backup; without one, that of `--data`.
        path: Option<PathBuf>,
        #[command(flatten)]
        data: Data,
    },
    /// Writes a backup to a new file, and checks it.
    Backup {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        data: Data,
    },
    /// Makes a data directory from a backup.
    Restore {
        /// The backup.
        file: PathBuf,
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Data {
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = "twinway-data")]
    data: PathBuf,
}

pub(crate) fn run(command: JournalCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        JournalCommand::Verify { path, data } => {
            let report = journal::verify_with(&path.unwrap_or(data.data), &mut output.progress("commits checked"))
                .map_err(failure)?;
            show(&report, output)?;
            match report.damage {
                Some(damage) => Err(Failure::Other(Exit::CheckFailed, format!("the journal is damaged {damage}"))),
                None => Ok(()),
            }
        }
        JournalCommand::Stats { path, data } => {
            show(&journal::stats(&path.unwrap_or(data.data)).map_err(failure)?, output)
        }
        JournalCommand::Backup { file, data } => {
            let done = journal::backup_with(&data.data, &file, &mut output.progress("pages copied"));
            show(&done.map_err(failure)?, output)
        }
        JournalCommand::Restore { file, data } => {
            let done = journal::restore_with(&file, &data.data, &mut output.progress("pages copied"));
            show(&done.map_err(failure)?, output)
        }
    }
}

fn failure(error: JournalError) -> Failure {
    let exit = match error {
        JournalError::Corrupt(_) => Exit::CheckFailed,
        _ => Exit::Failure,
    };
    Failure::Other(exit, error.to_string())
}

/// A report as it is, a line a number: reports grow, and the table with them.
fn show(report: &impl Serialize, output: &mut Output) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return output.json(report);
    }
    let report = serde_json::to_value(report).map_err(|error| Failure::other(error.to_string()))?;
    let rows = report.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let shown = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    output.table(&[], rows.map(|(name, value)| vec![name.replace('_', " "), shown(value)]))
}
