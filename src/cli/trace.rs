//! `twinway trace`: recorded traces, handed on to other tools.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use serde::Serialize;
use tokio::runtime::Runtime;
use twinway::{
    protocol::time::Timestamp,
    trace::{
        Collector, CollectorError, Recorded, TraceError,
        otlp::{Request, SpanError, Spanned, Spans},
        read_recorded,
    },
};

use super::{
    exit::{Exit, Failure},
    output::{Format, Output},
};

/// Bytes of a trace that are read at once.
const READ_BYTES: usize = 1 << 18;

#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Makes spans of OpenTelemetry (OTLP in JSON) of a recorded trace (`serve --trace`), and writes or sends them. The
    /// same trace gives the same spans.
    Export {
        /// The trace; `-` is standard input.
        #[arg(value_name = "TRACE")]
        trace: PathBuf,
        /// A file, `-` for standard output (a request a line), or a collector, such as http://127.0.0.1:4318/v1/traces.
        #[arg(long, value_name = "FILE|-|URL", default_value = "-")]
        to: String,
        /// When the recording began, in RFC 3339; for traces that do not say so themselves.
        #[arg(long, value_name = "MOMENT", value_parser = moment)]
        begun: Option<Timestamp>,
    },
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write RFC 3339, such as 2026-01-31T12:00:00Z".to_owned())
}

pub(crate) fn run(command: &TraceCommand, output: &mut Output) -> Result<(), Failure> {
    let TraceCommand::Export { trace, to, begun } = command;
    let mut target = Target::open(to)?;
    let exported = export(trace, *begun, &mut target)?;
    match target {
        // The spans are the output.
        Target::Standard(_) => Ok(()),
        _ if output.format() == Format::Json => output.json(&exported),
        _ => output.line(&format!(
            "{} spans in {} requests to {to}; {} rejected, {} events lost when it was recorded",
            exported.spans, exported.requests, exported.rejected, exported.lost
        )),
    }
}

/// Where spans go.
enum Target {
    Standard(BufWriter<io::Stdout>),
    File(BufWriter<File>, String),
    Collector(Collector, Runtime),
}

impl Target {
    fn open(to: &str) -> Result<Self, Failure> {
        if to == "-" {
            return Ok(Self::Standard(BufWriter::new(io::stdout())));
        }
        if to.contains("://") {
            let collector = Collector::new(to).map_err(|why| Failure::usage(format!("{to}: {why}")))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Failure::other(format!("no runtime: {error}")))?;
            return Ok(Self::Collector(collector, runtime));
        }
        let file = File::create(to).map_err(|error| Failure::other(format!("{to}: {error}")))?;
        Ok(Self::File(BufWriter::new(file), to.to_owned()))
    }

    /// Hands a request over; gives how many spans were rejected.
    fn take(&mut self, request: &Request) -> Result<u64, Failure> {
        match self {
            Self::Standard(stdout) => line(stdout, &request.body).map_err(Failure::Output)?,
            Self::File(file, name) => {
                line(file, &request.body).map_err(|error| Failure::other(format!("{name}: {error}")))?;
            }
            Self::Collector(collector, runtime) => {
                let sent = runtime.block_on(collector.send(request.body.clone()));
                return sent.map(|accepted| accepted.rejected).map_err(|error| match error {
                    CollectorError::Unreachable(_) => Failure::Other(Exit::Unreachable, error.to_string()),
                    CollectorError::Refused(_) => Failure::other(error.to_string()),
                });
            }
        }
        Ok(0)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Standard(stdout) => stdout.flush().map_err(Failure::Output),
            Self::File(file, name) => file.flush().map_err(|error| Failure::other(format!("{name}: {error}"))),
            Self::Collector(..) => Ok(()),
        }
    }
}

fn line(to: &mut impl Write, body: &[u8]) -> io::Result<()> {
    to.write_all(body)?;
    to.write_all(b"\n")
}

/// What was exported.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Exported {
    spans: u64,
    requests: u64,
    rejected: u64,
    lost: u64,
}

/// Why an export ends early.
enum Stopped {
    Trace(TraceError),
    Failed(Failure),
}

impl From<TraceError> for Stopped {
    fn from(error: TraceError) -> Self {
        Self::Trace(error)
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn broken((error, line): (SpanError, u64)) -> Stopped {
    Stopped::Trace(TraceError { line, why: error.to_string() })
}

fn export(trace: &Path, begun: Option<Timestamp>, target: &mut Target) -> Result<Exported, Failure> {
    let standard_input = trace == Path::new("-");
    let name = if standard_input { "standard input".to_owned() } else { trace.display().to_string() };
    let unreadable = |error: io::Error| Failure::usage(format!("{name}: {error}"));
    let input: Box<dyn BufRead> = if standard_input {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::with_capacity(READ_BYTES, File::open(trace).map_err(unreadable)?))
    };
    export_from(input, begun, target).map_err(|stopped| match stopped {
        Stopped::Trace(error) => Failure::usage(format!("{name}: {error}")),
        Stopped::Failed(failure) => failure,
    })
}

fn export_from(input: impl BufRead, begun: Option<Timestamp>, target: &mut Target) -> Result<Exported, Stopped> {
    let mut exported = Exported::default();
    let mut spans = Spans::new(begun.unwrap_or_default());
    let mut hand_over = |request: Option<Request>, exported: &mut Exported| -> Result<(), Stopped> {
        let Some(request) = request else { return Ok(()) };
        let rejected = target.take(&request)?;
        exported.requests += 1;
        exported.rejected += rejected;
        exported.spans += (request.spans as u64).saturating_sub(rejected);
        Ok(())
    };
    read_recorded(input, |recorded| match recorded {
        Recorded::Begun(said) => {
            spans = Spans::new(begun.or(said).unwrap_or_default());
            Ok(())
        }
        Recorded::Lost(events) => {
            exported.lost += events;
            Ok(())
        }
        Recorded::Event { traced, from, to, at_ns } => {
            let event = Spanned {
                event: traced.event,
                cause: traced.cause,
                joined: traced.joined.into(),
                from: from.into(),
                to: to.into(),
                step: traced.step.map(|(flow, step)| (flow.to_owned().into(), step.to_owned().into())),
                name: traced.name.to_owned().into(),
                at_ns,
                place: traced.place,
            };
            hand_over(spans.push(event).map_err(broken)?, &mut exported)
        }
    })?;
    while spans.waiting() > 0 {
        hand_over(spans.settle_one().map_err(broken)?, &mut exported)?;
    }
    hand_over(spans.take_request(), &mut exported)?;
    target.flush()?;
    Ok(exported)
}
