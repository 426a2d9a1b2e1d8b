//! What the runtime remembers of its turns: a short ring always, and everything when somebody listens.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc::SyncSender,
};

use twinway_protocol::trace::TraceEvent;

/// Some events of one actor, in its order.
#[derive(Debug)]
pub struct TraceChunk {
    /// The events.
    pub events: Vec<TraceEvent>,
}

/// Where chunks of events go while somebody listens. A listener that does not keep up loses whole chunks, and
/// what is lost is counted: recording never holds an actor back.
#[derive(Clone, Debug)]
pub struct TraceFeed {
    chunks: SyncSender<TraceChunk>,
    lost: Arc<AtomicU64>,
}

impl TraceFeed {
    /// Feeds `chunks`.
    #[must_use]
    pub fn new(chunks: SyncSender<TraceChunk>) -> Self {
        Self { chunks, lost: Arc::new(AtomicU64::new(0)) }
    }

    /// How many events the listener missed so far, to be asked again and again.
    pub fn lost(&self) -> impl Fn() -> u64 + Send + use<> {
        // Holding the feed itself would keep the listener's channel open for ever.
        let lost = Arc::clone(&self.lost);
        move || lost.load(Ordering::Relaxed)
    }

    fn send(&self, events: Vec<TraceEvent>) {
        let count = events.len() as u64;
        if self.chunks.try_send(TraceChunk { events }).is_err() {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// A chunk is handed over when it has this many events, or is this old.
const CHUNK_EVENTS_MAX: usize = 1_024;
/// See [`CHUNK_EVENTS_MAX`], in milliseconds.
const CHUNK_AGE_MS_MAX: u64 = 5;

/// The events of one actor: without a listener the newest few, with one those not handed over yet.
#[derive(Debug)]
pub(crate) struct Tracer {
    events: Vec<TraceEvent>,
    /// Where the next event goes, once the ring is full.
    next: usize,
    ring_max: usize,
    feed: Option<TraceFeed>,
    /// When the oldest event that is not handed over happened.
    since_ms: Option<u64>,
}

impl Tracer {
    pub(crate) fn new(ring_max: usize, feed: Option<TraceFeed>) -> Self {
        let capacity = if feed.is_some() { CHUNK_EVENTS_MAX } else { ring_max };
        Self { events: Vec::with_capacity(capacity), next: 0, ring_max, feed, since_ms: None }
    }

    // Written straight into its place: an event that is made elsewhere and copied costs twice as much, because wide
    // loads wait for the narrow stores before them.
    #[inline(always)]
    pub(crate) fn record(&mut self, event: TraceEvent, now_ms: u64) {
        if self.feed.is_none()
            && let Some(slot) = self.events.get_mut(self.next)
        {
            *slot = event;
            self.next += 1;
            if self.next == self.ring_max {
                self.next = 0;
            }
        } else {
            self.append(event, now_ms);
        }
    }

    fn append(&mut self, event: TraceEvent, now_ms: u64) {
        if self.feed.is_some() {
            self.since_ms.get_or_insert(now_ms);
            self.events.push(event);
            if self.events.len() >= CHUNK_EVENTS_MAX {
                self.hand_over();
            }
        } else if self.events.len() < self.ring_max {
            self.events.push(event);
            self.next = self.events.len() % self.ring_max;
        }
    }

    /// When what was recorded is to be handed over at the latest.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.since_ms.map(|since_ms| since_ms + CHUNK_AGE_MS_MAX)
    }

    /// Hands over what is not handed over yet.
    pub(crate) fn hand_over(&mut self) {
        self.since_ms = None;
        if let Some(feed) = &self.feed
            && !self.events.is_empty()
        {
            feed.send(std::mem::replace(&mut self.events, Vec::with_capacity(CHUNK_EVENTS_MAX)));
        }
    }

    /// The newest events, the oldest of them first.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &TraceEvent> {
        let (newer, older) = self.events.split_at(self.next.min(self.events.len()));
        older.iter().chain(newer)
    }
}
