//! The monitor: judges what a running enabler does by flows, on a thread of its own.
//!
//! It listens to the feed of traces ([`EnablerOptions::trace`](crate::enabler::EnablerOptions)), counts verdicts as metrics
//! and logs what is not as a flow says. It cannot hold the enabler back: what it is too slow for is lost to it, counted,
//! and not judged.
//!
//! Of the [invariants of sync leases](twinway_protocol::lease::rules) a trace shows none: it says who sent what because of
//! what, and has no tokens, holders, priorities, deadlines or records. [`LeaseMonitor`] judges them by what the
//! supervisor and the gates let be seen.

mod leases;

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::JoinHandle,
    time::Duration,
};

use twinway_actors::runtime::{TraceChunk, TraceFeed};
use twinway_protocol::{
    flow::{Checkers, Finding, FindingKind, Flow, Limits, Report},
    message::Wire,
};

pub use leases::{LeaseFeed, LeaseMonitor};

/// How many chunks of events wait for the monitor before the next are lost and counted.
const CHUNKS_WAITING_MAX: usize = 8_192;
/// How long chunks gather before they are judged. To be woken for each costs both sides more than to judge it.
const GATHERED_FOR: Duration = Duration::from_millis(5);
/// When nothing came for so long, nothing older comes: actors hand their events over much sooner.
const SETTLED_AFTER: Duration = Duration::from_millis(100);
/// How many later events an event waits for in a busy enabler.
const SETTLE_EVENTS: usize = 1 << 14;
/// Events that are kept, for all flows together.
const EVENTS_KEPT: usize = 1 << 17;
/// How many findings are logged in one life; the others are counted only.
const FINDINGS_LOGGED_MAX: u64 = 1_000;

/// A monitor that watches.
#[derive(Debug)]
pub struct Monitor {
    chunks: SyncSender<TraceChunk>,
    thread: JoinHandle<Vec<(Arc<Flow>, Report)>>,
}

impl Monitor {
    /// Begins to watch by `flows`, and gives where the events go.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn begin(flows: &[Arc<Flow>]) -> io::Result<(Self, TraceFeed)> {
        let (sender, chunks) = mpsc::sync_channel(CHUNKS_WAITING_MAX);
        let feed = TraceFeed::new(sender.clone());
        let lost = feed.lost();
        let limits = Limits { settle_events: SETTLE_EVENTS, events_kept: EVENTS_KEPT, ..Limits::any_order() };
        let mut all = flows.iter().cloned();
        let checkers = all.next().map(|first| Checkers::new(first, all, limits));
        let watch = Watch { checkers, verdicts: flows.iter().map(Told::new).collect(), logged: 0 };
        let thread =
            std::thread::Builder::new().name("twinway-monitor".to_owned()).spawn(move || watch.run(&chunks, &lost))?;
        Ok((Self { chunks: sender, thread }, feed))
    }

    /// Ends the watch, and gives what came of each flow: the actors that feed it have ended before.
    ///
    /// # Errors
    /// When the monitor itself failed.
    pub fn finish(self) -> io::Result<Vec<(Arc<Flow>, Report)>> {
        // A chunk without events is the end: the feed itself may be kept by whoever keeps a handle.
        let _ended = self.chunks.send(TraceChunk::default());
        self.thread.join().map_err(|_| io::Error::other("the monitor's thread panicked"))
    }
}

/// What the thread has.
struct Watch {
    /// None when there is no flow to watch by.
    checkers: Option<Checkers>,
    verdicts: Vec<Told>,
    logged: u64,
}

/// What was told of a flow.
struct Told {
    flow: Arc<Flow>,
    satisfied: u64,
    /// Looked up once: it is counted with every chunk.
    counted: metrics::Counter,
}

impl Told {
    fn new(flow: &Arc<Flow>) -> Self {
        // A verdict that was never given is shown as none, and not left out.
        VERDICTS.into_iter().for_each(|verdict| counter(flow, verdict).absolute(0));
        Self { flow: Arc::clone(flow), satisfied: 0, counted: counter(flow, "satisfied") }
    }
}

impl Watch {
    fn run(mut self, chunks: &Receiver<TraceChunk>, lost: &dyn Fn() -> u64) -> Vec<(Arc<Flow>, Report)> {
        let mut told = 0;
        let mut settled = true;
        loop {
            let chunk = match next(chunks, settled) {
                Ok(chunk) if chunk.events.is_empty() => break,
                Ok(chunk) => chunk,
                Err(RecvTimeoutError::Timeout) => TraceChunk::default(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            settled = chunk.events.is_empty();
            let missing = lost() - told;
            told += missing;
            if missing > 0 {
                metrics::counter!("twinway_flow_events_lost_total").increment(missing);
            }
            self.take(&chunk, missing);
        }
        let Self { checkers, verdicts, mut logged } = self;
        let Some(mut checkers) = checkers else { return Vec::new() };
        checkers.end(|flow, finding| {
            if let Some(told) = verdicts.get(flow) {
                tell(&told.flow, &finding, &mut logged);
            }
        });
        checkers.reports().map(|(flow, report)| (Arc::clone(flow), report.clone())).collect()
    }

    /// Judges some events; none at all means that all before are there.
    fn take(&mut self, chunk: &TraceChunk, missing: u64) {
        let Self { checkers: Some(checkers), verdicts, logged } = self else { return };
        if missing > 0 {
            checkers.lost(missing);
        }
        let mut found = |flow: usize, finding: Finding| {
            if let Some(told) = verdicts.get(flow) {
                tell(&told.flow, &finding, logged);
            }
        };
        for event in &chunk.events {
            checkers.recorded::<Wire>(event, 0, &mut found);
        }
        if chunk.events.is_empty() {
            checkers.settle(found);
        }
        for (told, (_, report)) in verdicts.iter_mut().zip(checkers.reports()) {
            let satisfied = report.verdicts().satisfied;
            told.counted.increment(satisfied - told.satisfied);
            told.satisfied = satisfied;
        }
    }
}

/// The next chunk. Who has judged all that there was lets some gather, unless all is settled.
fn next(chunks: &Receiver<TraceChunk>, settled: bool) -> Result<TraceChunk, RecvTimeoutError> {
    if let Ok(chunk) = chunks.try_recv() {
        return Ok(chunk);
    }
    if !settled {
        std::thread::sleep(GATHERED_FOR);
    }
    chunks.recv_timeout(SETTLED_AFTER)
}

/// All verdicts that are counted. What is missing is known when a trace is over, and a running enabler is never done.
const VERDICTS: [&str; 6] = ["satisfied", "lucky", "violated", "repeated", "unexpected", "broken"];

fn counter(flow: &Flow, verdict: &'static str) -> metrics::Counter {
    metrics::counter!("twinway_flow_verdicts_total", "flow" => flow.name().to_owned(), "verdict" => verdict)
}

fn tell(flow: &Flow, finding: &Finding, logged: &mut u64) {
    let verdict = match finding.kind {
        FindingKind::Lucky(_) => "lucky",
        FindingKind::Violated(_) => "violated",
        // What an enabler had not done yet when it ended is no mistake of it: only what it did is told.
        FindingKind::Missing(_) => return,
        FindingKind::Repeated(_) => "repeated",
        FindingKind::BothOfChoice(_)
        | FindingKind::AfterEnd(_)
        | FindingKind::UnknownStep
        | FindingKind::OtherWay(_) => "unexpected",
        FindingKind::UnknownParent(_) | FindingKind::Loop(_) | FindingKind::SameEvent => "broken",
    };
    counter(flow, verdict).increment(1);
    *logged += 1;
    if *logged <= FINDINGS_LOGGED_MAX {
        tracing::warn!(flow = flow.name(), finding = %finding.shown(flow), "an order was not kept, or only by luck");
    }
}
