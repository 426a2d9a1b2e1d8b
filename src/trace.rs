//! The trace on disk: every delivery and own step of a run, as JSON Lines.
//!
//! The first line names the format: `{"format":"twinway-trace","version":1,"begun":"2026-01-31T12:00:00Z"}`; `begun`,
//! the wall clock when the recording began, may be missing. Every other line is one event, in the
//! order in which the actors handed their events over: within an actor its own order, between actors none; what came
//! before what is said by `cause` and `joined`. A line `{"lost":n}` says that `n` events are missing from there on.
//! [`read()`] reads it again, [`otlp`] makes spans of OpenTelemetry of it.

mod collector;
mod export;
pub mod otlp;
mod read;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use twinway_actors::runtime::{TraceChunk, TraceFeed};
use twinway_protocol::{EntityId, EventId, WireSet, message::Wire, time::Timestamp, trace::TraceEvent};

pub use collector::{Accepted, Collector, CollectorError, check_url};
pub use export::TraceExport;
pub use read::{LINE_BYTES_MAX, Read, Recorded, TraceError, read, read_recorded};

/// The name of the format, as the first line has it.
pub const FORMAT: &str = "twinway-trace";
/// The version of the format that this build writes.
pub const VERSION: u32 = 1;
/// How many chunks of events wait for the disk before the next are lost and counted.
const CHUNKS_WAITING_MAX: usize = 4_096;
/// What was written is flushed when nothing came for so long.
const FLUSH_AFTER: Duration = Duration::from_millis(20);

/// A line of the trace.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'e> {
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    joined: Vec<String>,
    from: String,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'e str>,
    message: &'e str,
    at_ns: u64,
}

#[derive(Serialize)]
struct Header {
    format: &'static str,
    version: u32,
    begun: Timestamp,
}

/// The wall clock.
fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[derive(Serialize)]
struct Lost {
    lost: u64,
}

fn entity(id: EntityId) -> String {
    format!("{}/{}", Wire::kind_name(id.kind()), id.slot())
}

fn event(id: EventId) -> String {
    format!("{id:?}")
}

impl<'e> From<&'e TraceEvent> for Line<'e> {
    fn from(traced: &'e TraceEvent) -> Self {
        Self {
            event: event(traced.event),
            cause: (traced.cause != EventId::NONE).then(|| event(traced.cause)),
            joined: traced.joined.iter().copied().map(event).collect(),
            from: entity(traced.from),
            to: entity(traced.to),
            flow: traced.step.map(|step| step.flow),
            step: traced.step.map(|step| step.number),
            message: traced.name,
            at_ns: traced.at_ns,
        }
    }
}

/// A trace that is being written.
#[derive(Debug)]
pub struct TraceFile {
    chunks: SyncSender<TraceChunk>,
    writer: JoinHandle<io::Result<()>>,
}

impl TraceFile {
    /// Begins a trace at `path`, which is made anew, and gives where the events go.
    ///
    /// # Errors
    /// When the file cannot be made, or no thread can be had.
    pub fn begin(path: &Path) -> io::Result<(Self, TraceFeed)> {
        let mut file = BufWriter::new(File::create(path)?);
        write_line(&mut file, &Header { format: FORMAT, version: VERSION, begun: wall() })?;
        file.flush()?;
        let (sender, chunks) = mpsc::sync_channel(CHUNKS_WAITING_MAX);
        let feed = TraceFeed::new(sender.clone());
        let lost = feed.lost();
        let writer = std::thread::Builder::new().name("twinway-trace".to_owned()).spawn(move || {
            let written = write_all(&mut file, &chunks, &lost);
            if let Err(error) = &written {
                tracing::error!(%error, "the trace ends here: it cannot be written");
            }
            written
        })?;
        Ok((Self { chunks: sender, writer }, feed))
    }

    /// Writes what was handed over, and ends: the actors that feed it have ended before.
    ///
    /// # Errors
    /// What stood in the way of writing.
    pub fn finish(self) -> io::Result<()> {
        // A chunk without events is the end: the feed itself may be kept by whoever keeps a handle.
        let _ended = self.chunks.send(TraceChunk::default());
        self.writer.join().map_err(|_| io::Error::other("the thread that writes the trace panicked"))?
    }
}

fn write_all(file: &mut BufWriter<File>, chunks: &Receiver<TraceChunk>, lost: &dyn Fn() -> u64) -> io::Result<()> {
    let mut told = 0;
    loop {
        match chunks.recv_timeout(FLUSH_AFTER) {
            Ok(chunk) if chunk.events.is_empty() => return file.flush(),
            Ok(chunk) => {
                let missing = lost() - told;
                if missing > 0 {
                    write_line(file, &Lost { lost: missing })?;
                    told += missing;
                }
                for traced in &chunk.events {
                    write_line(file, &Line::from(traced))?;
                }
            }
            Err(RecvTimeoutError::Timeout) => file.flush()?,
            Err(RecvTimeoutError::Disconnected) => return file.flush(),
        }
    }
}

fn write_line<T: Serialize>(file: &mut BufWriter<File>, line: &T) -> io::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::TraceFile;

    #[test]
    fn a_trace_ends_although_somebody_still_holds_its_feed() {
        let directory = tempfile::tempdir().expect("there is a place for it");
        let path = directory.path().join("trace");
        let (trace, feed) = TraceFile::begin(&path).expect("it begins");
        trace.finish().expect("it ends");
        drop(feed);
        let written = std::fs::read_to_string(&path).expect("it is there");
        assert!(written.starts_with("{\"format\":\"twinway-trace\",\"version\":1,\"begun\":\"20"), "{written}");
        assert_eq!(written.lines().count(), 1);
    }
}
