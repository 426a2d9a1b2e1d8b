//! What the runtime remembers of its turns: a short ring always, and everything when somebody listens.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
    mpsc::SyncSender,
};

use twinway_protocol::trace::TraceEvent;

/// Some events of one actor, in its order.
#[derive(Debug, Default)]
pub struct TraceChunk {
    /// The events.
    pub events: Vec<TraceEvent>,
    _room: Room,
}

/// The room that a chunk takes until its listener has dropped it.
#[derive(Debug, Default)]
struct Room {
    events: usize,
    waiting: Arc<AtomicUsize>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.events, Ordering::Relaxed);
    }
}

/// Where chunks of events go while somebody listens. A listener that does not keep up loses whole chunks, and
/// what is lost is counted: recording never holds an actor back.
#[derive(Clone, Debug)]
pub struct TraceFeed {
    chunks: SyncSender<TraceChunk>,
    /// How many events wait for the listener.
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
    lost: Arc<AtomicU64>,
    /// Another listener that hears the same.
    other: Option<Arc<TraceFeed>>,
}

impl TraceFeed {
    /// Feeds `chunks`: as many as the channel holds, and at most 4 million events (about 300 MB).
    #[must_use]
    pub fn new(chunks: SyncSender<TraceChunk>) -> Self {
        let (waiting, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        Self { chunks, waiting, waiting_max: EVENTS_WAITING_MAX, lost, other: None }
    }

    /// As this one, with room for so many events before the listener.
    #[must_use]
    pub fn waiting_at_most(self, events: usize) -> Self {
        Self { waiting_max: events, ..self }
    }

    /// Feeds both: each has its own channel, and loses for itself what it does not keep up with.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let other = match self.other {
            None => other,
            Some(first) => other.and((*first).clone()),
        };
        Self { other: Some(Arc::new(other)), ..self }
    }

    /// How many events the listener missed so far, to be asked again and again; of several, the first.
    pub fn lost(&self) -> impl Fn() -> u64 + Send + use<> {
        // Holding the feed itself would keep the listener's channel open for ever.
        let lost = Arc::clone(&self.lost);
        move || lost.load(Ordering::Relaxed)
    }

    fn send(&self, events: Vec<TraceEvent>) {
        if let Some(other) = &self.other {
            other.send(events.clone());
        }
        let count = events.len();
        let room = Room { events: count, waiting: Arc::clone(&self.waiting) };
        let full = self.waiting.fetch_add(count, Ordering::Relaxed) + count > self.waiting_max;
        if full || self.chunks.try_send(TraceChunk { events, _room: room }).is_err() {
            self.lost.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

/// How many events wait for a listener before the next are lost and counted.
const EVENTS_WAITING_MAX: usize = 4 << 20;
/// A chunk is handed over when it has this many events, or is this old. To wake a listener takes microseconds: that is
/// little for so many.
const CHUNK_EVENTS_MAX: usize = 16_384;
/// A chunk has room for so many events at first.
const CHUNK_EVENTS_MIN: usize = 8;
/// See [`CHUNK_EVENTS_MAX`], in milliseconds.
const CHUNK_AGE_MS_MAX: u64 = 10;

/// The events of one actor: without a listener the newest few, with one those not handed over yet.
#[derive(Debug)]
pub(crate) struct Tracer {
    events: Vec<TraceEvent>,
    /// Where the next event goes in a full ring; otherwise behind the last event.
    next: usize,
    ring_max: usize,
    feed: Option<TraceFeed>,
    /// When the oldest event that is not handed over happened.
    since_ms: Option<u64>,
    /// How many events the next chunk is given room for.
    expected: usize,
}

impl Tracer {
    pub(crate) fn new(ring_max: usize, feed: Option<TraceFeed>) -> Self {
        // A ring grows as it is filled: most actors of a large register take a few turns in their lives.
        let next = if feed.is_some() { usize::MAX } else { 0 };
        Self { events: Vec::new(), next, ring_max, feed, since_ms: None, expected: CHUNK_EVENTS_MIN }
    }

    // Written straight into its place: an event that is made elsewhere and copied costs twice as much, because wide
    // loads wait for the narrow stores before them.
    #[inline(always)]
    pub(crate) fn record(&mut self, event: TraceEvent, now_ms: u64) {
        if let Some(slot) = self.events.get_mut(self.next) {
            *slot = event;
            self.next += 1;
            if self.next == self.ring_max {
                self.next = 0;
            }
            return;
        }
        if self.since_ms.is_none() && self.feed.is_some() {
            self.begin_chunk(now_ms);
        }
        self.events.push(event);
        if self.feed.is_none() {
            self.fill_ring();
        } else if self.events.len() >= CHUNK_EVENTS_MAX {
            self.hand_over();
        }
    }

    /// An actor that is quiet has no memory for a chunk: there may be a hundred thousand of them.
    fn begin_chunk(&mut self, now_ms: u64) {
        self.since_ms = Some(now_ms);
        self.events.reserve_exact(self.expected);
    }

    /// An event was put behind the last one of a ring that is not full.
    fn fill_ring(&mut self) {
        self.events.truncate(self.ring_max);
        self.next = self.events.len().checked_rem(self.ring_max).unwrap_or(0);
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
            // As many as last time will come, more or less: a busy actor's chunk does not grow piece by piece.
            self.expected = self.events.len().next_power_of_two().clamp(CHUNK_EVENTS_MIN, CHUNK_EVENTS_MAX);
            feed.send(std::mem::take(&mut self.events));
        }
    }

    /// The newest events, the oldest of them first.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &TraceEvent> {
        let (newer, older) = self.events.split_at(self.next.min(self.events.len()));
        older.iter().chain(newer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use twinway_protocol::{EntityId, EventId, trace::TraceEvent};

    use super::{TraceFeed, Tracer};

    fn event(count: u64) -> TraceEvent {
        let (event, me) = (EventId::new(1, count), EntityId::from_bits(0));
        let (cause, joined) = (EventId::NONE, Box::default());
        TraceEvent { event, cause, joined, from: me, to: me, step: None, name: "test", at_ns: 0 }
    }

    #[test]
    fn a_ring_keeps_the_newest_events_in_their_order() {
        let mut ring = Tracer::new(3, None);
        let mut none = Tracer::new(0, None);
        for count in 1..=5 {
            ring.record(event(count), 0);
            none.record(event(count), 0);
            let kept: Vec<_> = ring.recent().cloned().collect();
            assert_eq!(kept, (count.saturating_sub(2).max(1)..=count).map(event).collect::<Vec<_>>());
            assert_eq!(none.recent().count(), 0);
        }
    }

    #[test]
    fn what_does_not_fit_before_a_listener_is_lost_and_counted_until_it_has_dropped_a_chunk() {
        let (chunks, listener) = sync_channel(10);
        let feed = TraceFeed::new(chunks).waiting_at_most(3);
        let (lost, mut tracer) = (feed.lost(), Tracer::new(0, Some(feed)));
        let mut two = || {
            (1..=2).for_each(|count| tracer.record(event(count), 0));
            assert_eq!(tracer.due_ms(), Some(10));
            tracer.hand_over();
        };
        two();
        two();
        assert_eq!(lost(), 2);
        assert_eq!(listener.recv().expect("the first chunk").events, [event(1), event(2)]);
        two();
        assert_eq!((lost(), listener.try_iter().count()), (2, 1));
    }
}
