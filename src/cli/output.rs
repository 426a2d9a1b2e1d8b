//! The only place that writes: results to stdout, errors to stderr.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::exit::{Exit, Failure};

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document; of what is watched, one a line.
    Json,
}

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    /// Colours on stderr: only for a terminal, and not where `NO_COLOR` is set (no-color.org).
    colours: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { format, colours: wanted && io::stderr().is_terminal() }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Writes text as it is.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::Output)
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(Failure::Output)
    }

    /// Writes a JSON document, over many lines for people who look.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::other(error.to_string()))?;
        self.line(&text)
    }

    /// Writes a JSON document in one line: one of many that come with time.
    pub(crate) fn json_line<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::other(error.to_string()))?;
        self.line(&text)
    }

    /// Writes a table, each row one line.
    pub(crate) fn table(&mut self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if !head.is_empty() {
            table.set_header(head.to_vec());
        }
        let rows = rows.into_iter().map(|row| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
        table.add_rows(rows);
        self.line(&table.trim_fmt())
    }

    /// Shows on a terminal how much is done, and of how much; elsewhere nothing. The bar goes when the work is over.
    pub(crate) fn progress(&self, what: &'static str) -> impl FnMut(u64, u64) + use<> {
        // It draws to stderr, and only where that is a terminal.
        let bar = ProgressBar::new(0).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, {eta} to go") {
            bar.set_style(style);
        }
        move |done, of| {
            bar.set_length(of);
            bar.set_position(done);
        }
    }

    /// Ends the command: tells what went wrong, and gives the exit code.
    pub(crate) fn finish(&self, done: Result<(), Failure>) -> ExitCode {
        match done {
            Ok(()) => Exit::Ok.into(),
            Err(Failure::Status(code)) => ExitCode::from(code),
            Err(failure) => {
                let exit = failure.exit();
                if exit != Exit::Ok {
                    self.failure(&failure);
                }
                exit.into()
            }
        }
    }

    fn failure(&self, failure: &Failure) {
        let document = failure.document();
        let text = match self.format {
            Format::Json => serde_json::to_string(&document).unwrap_or_else(|error| error.to_string()),
            Format::Table if self.colours => format!("\u{1b}[1;31merror\u{1b}[0m: {}", printable_lines(&document)),
            Format::Table => format!("error: {}", printable_lines(&document)),
        };
        self.note(&text);
    }

    /// Writes a line to stderr. That nobody reads it is no reason to fail.
    pub(crate) fn note(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

fn printable_lines(text: &impl std::fmt::Display) -> String {
    text.to_string().lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// Text of others without control characters: a name must not move the cursor of the terminal that shows it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_name_cannot_write_escape_sequences() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
