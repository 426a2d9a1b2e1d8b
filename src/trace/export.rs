//! The trace of a running enabler, sent to a collector of OpenTelemetry while it is made.
//!
//! It cannot hold the enabler back: what a slow or silent collector leaves no room for is lost to it, and counted
//! (`twinway_trace_export_dropped_total`, by reason, beside `twinway_trace_export_spans_total`).

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;
use twinway_actors::runtime::{TraceChunk, TraceFeed};

use super::{
    collector::{Accepted, Collector, CollectorError},
    otlp::{Request, Spanned, Spans},
    wall,
};

/// How many chunks of events wait for the exporter before the next are lost and counted.
const CHUNKS_WAITING_MAX: usize = 1_024;
/// How many events wait for it, in all chunks together.
const EVENTS_WAITING_MAX: usize = 1 << 18;
/// When nothing came for so long, nothing older comes, and what is ready goes out.
const SETTLED_AFTER: Duration = Duration::from_millis(200);
/// How long the end of an enabler waits for what is not sent yet.
const FINISH_WITHIN: Duration = Duration::from_secs(2);
/// How many failures are logged in one life; the others are counted only.
const FAILURES_LOGGED_MAX: u64 = 100;

/// An export that runs.
#[derive(Debug)]
pub struct TraceExport {
    chunks: SyncSender<TraceChunk>,
    ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl TraceExport {
    /// Begins to send to the collector at `url`, and gives where the events go.
    ///
    /// # Errors
    /// When nothing can be sent there, or no thread can be had.
    pub fn begin(url: &str) -> io::Result<(Self, TraceFeed)> {
        let collector =
            Collector::new(url).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: {why}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, chunks) = mpsc::sync_channel(CHUNKS_WAITING_MAX);
        let feed = TraceFeed::new(sender.clone()).waiting_at_most(EVENTS_WAITING_MAX);
        let (lost, ending) = (feed.lost(), Arc::new(AtomicBool::new(false)));
        let sending = Sending { collector, runtime, ending: Arc::clone(&ending), logged: 0, gave_up: None };
        let mut export = Export { spans: Spans::new(wall()), sending };
        let thread =
            std::thread::Builder::new().name("twinway-otlp".to_owned()).spawn(move || export.run(&chunks, &lost))?;
        Ok((Self { chunks: sender, ending, thread }, feed))
    }

    /// Sends what is left, as far as that goes quickly, and ends: the actors that feed it have ended before.
    ///
    /// # Errors
    /// When the exporter itself failed.
    pub fn finish(self) -> io::Result<()> {
        self.ending.store(true, Ordering::Release);
        // A chunk without events is the end. Where there is no room for it, the exporter looks at the flag.
        let _ended = self.chunks.try_send(TraceChunk::default());
        self.thread.join().map_err(|_| io::Error::other("the thread that exports the trace panicked"))
    }
}

struct Export {
    spans: Spans,
    sending: Sending,
}

impl Export {
    fn run(&mut self, chunks: &Receiver<TraceChunk>, lost: &dyn Fn() -> u64) {
        let mut told = 0;
        for reason in REASONS {
            dropped(reason, 0);
        }
        metrics::counter!("twinway_trace_export_spans_total").absolute(0);
        loop {
            let missing = lost() - told;
            told += missing;
            dropped("behind", missing);
            match chunks.recv_timeout(SETTLED_AFTER) {
                Ok(chunk) if chunk.events.is_empty() => break,
                Ok(chunk) => chunk.events.iter().for_each(|event| self.take(Spanned::from(event))),
                Err(RecvTimeoutError::Timeout) if self.sending.is_ending() => break,
                Err(RecvTimeoutError::Timeout) => self.settle(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.settle();
    }

    fn take(&mut self, event: Spanned) {
        match self.spans.push(event) {
            Ok(request) => self.sending.send(request),
            // Actors count their events: neither a loop nor an event that is there twice comes of a running enabler.
            Err(_) => dropped("broken", 1),
        }
    }

    /// All that came goes out.
    fn settle(&mut self) {
        while self.spans.waiting() > 0 {
            match self.spans.settle_one() {
                Ok(request) => self.sending.send(request),
                Err(_) => dropped("broken", 1),
            }
        }
        let rest = self.spans.take_request();
        self.sending.send(rest);
    }
}

/// Why spans are not exported.
const REASONS: [&str; 4] = ["behind", "unreachable", "refused", "broken"];

fn dropped(reason: &'static str, spans: u64) {
    metrics::counter!("twinway_trace_export_dropped_total", "reason" => reason).increment(spans);
}

struct Sending {
    collector: Collector,
    runtime: Runtime,
    ending: Arc<AtomicBool>,
    logged: u64,
    /// When it ends at the latest, once it is ending.
    gave_up: Option<Instant>,
}

impl Sending {
    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Whether the enabler has ended, and what is not sent by now never is.
    fn is_over(&mut self) -> bool {
        self.is_ending() && Instant::now() >= *self.gave_up.get_or_insert_with(|| Instant::now() + FINISH_WITHIN)
    }

    fn send(&mut self, request: Option<Request>) {
        let Some(Request { body, spans }) = request else { return };
        let spans = spans as u64;
        let sent = if self.is_over() { Err(at_the_end()) } else { self.send_unless_over(body) };
        match sent {
            Ok(accepted) => {
                let taken = spans.saturating_sub(accepted.rejected);
                metrics::counter!("twinway_trace_export_spans_total").increment(taken);
                dropped("refused", accepted.rejected);
                if accepted.rejected > 0 {
                    self.log(&accepted.message);
                }
            }
            Err(error) => {
                let reason = if matches!(error, CollectorError::Refused(_)) { "refused" } else { "unreachable" };
                dropped(reason, spans);
                self.log(&error.to_string());
            }
        }
    }

    fn send_unless_over(&mut self, body: Vec<u8>) -> Result<Accepted, CollectorError> {
        let collector = self.collector.clone();
        let mut sending = Box::pin(async move { collector.send(body).await });
        loop {
            let waited = async { tokio::time::timeout(SETTLED_AFTER, &mut sending).await };
            match self.runtime.block_on(waited) {
                Ok(sent) => return sent,
                Err(_) if self.is_over() => return Err(at_the_end()),
                Err(_) => {}
            }
        }
    }

    fn log(&mut self, why: &str) {
        self.logged += 1;
        if self.logged <= FAILURES_LOGGED_MAX {
            tracing::warn!(why, "spans were not exported");
        }
    }
}

fn at_the_end() -> CollectorError {
    CollectorError::Unreachable("the enabler has ended".to_owned())
}
