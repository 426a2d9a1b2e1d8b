//! The last events of one external system, numbered, from which every listener reads with a cursor of its own.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use twinway_protocol::{TwinId, signal::Event, time::Timestamp};

use super::{
    EventsFrom, Outgoing,
    gap::{Gap, Mark, Marks, version},
    kept::Earlier,
};

/// Room for this many events a millisecond before the numbers of one run of the daemon could meet those of the next.
const NUMBERS_A_MS: u64 = 1_000;

/// The newest events of one system.
///
/// Nothing is copied for a listener, so that a slow one costs nobody anything: when it has fallen behind what is
/// kept, it is told how many it missed.
#[derive(Debug)]
pub(super) struct Ring {
    /// The number that the first event of this run got, or will get.
    begin: u64,
    /// The number of the oldest event that is kept.
    first: u64,
    events: VecDeque<Arc<Event>>,
    /// What is known of those before.
    marks: Marks,
    kept_max: usize,
}

impl Ring {
    /// No event yet, in a run of the daemon that began at `run`.
    ///
    /// Numbers go up by one within a run and start anew, far above those of the run before, so that a number
    /// never names two events.
    pub(super) fn new(run: Timestamp, kept_max: usize, marked_max: usize) -> Self {
        let begin = run.unix_ms().saturating_mul(NUMBERS_A_MS).saturating_add(1);
        Self { begin, first: begin, events: VecDeque::new(), marks: Marks::new(marked_max), kept_max: kept_max.max(1) }
    }

    /// One that goes on with what an earlier run kept.
    pub(super) fn resumed(earlier: Earlier, kept_max: usize, marked_max: usize) -> Self {
        let Earlier { first, events, .. } = earlier;
        let mut ring = Self { begin: first, first, events: VecDeque::new(), marks: Marks::new(marked_max), kept_max };
        events.into_iter().for_each(|event| ring.push(event));
        ring
    }

    /// What is kept, with the number of its first.
    pub(super) fn kept(&self) -> (u64, impl DoubleEndedIterator<Item = &Arc<Event>> + ExactSizeIterator) {
        (self.first, self.events.iter())
    }

    /// The number that the next event gets.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.events.len() as u64)
    }

    pub(super) fn push(&mut self, event: Arc<Event>) {
        if self.events.len() >= self.kept_max {
            if let Some(oldest) = self.events.pop_front() {
                self.marks.push(&oldest);
            }
            self.first = self.first.saturating_add(1);
        }
        self.events.push_back(event);
    }

    /// Where a listener begins.
    pub(super) fn cursor(&self, from: EventsFrom) -> Cursor {
        match from {
            EventsFrom::Now => Cursor { next: self.end(), gap: None },
            EventsFrom::After(seen) => {
                let next = seen.saturating_add(1);
                if (self.begin..=self.end()).contains(&next) {
                    Cursor { next, gap: None }
                } else {
                    // A number of another run: what came between the runs cannot be counted.
                    Cursor { next: self.begin, gap: Some(Box::default()) }
                }
            }
        }
    }

    /// Of each twin, the version that the first event shows which is kept.
    pub(super) fn first_versions(&self) -> BTreeMap<TwinId, u64> {
        let mut first = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.twin.is_some()) {
            if let (Some(twin), Some(version)) = (event.twin.clone(), version(event)) {
                first.entry(twin).or_insert(version);
            }
        }
        first
    }

    /// The cursor that has been told nothing of this run yet.
    pub(super) fn start(&self) -> Cursor {
        Cursor { next: self.begin, gap: None }
    }

    /// Whether something comes at the cursor.
    pub(super) fn has_more(&self, cursor: &Cursor) -> bool {
        cursor.gap.is_some() || cursor.next < self.end()
    }

    /// What comes at the cursor, which goes on behind it; `None`: nothing yet. Gaps are of what `concerns` the reader.
    pub(super) fn read(&self, cursor: &mut Cursor, concerns: impl Fn(&Mark) -> bool) -> Option<Outgoing> {
        if cursor.next < self.first {
            let gap = self.marks.gap(cursor.next, self.first, concerns);
            cursor.gap = match (cursor.gap.take(), gap) {
                (Some(before), Some(gap)) => Some(Box::new(before.and(gap))),
                (before, gap) => before.or(gap.map(Box::new)),
            };
            cursor.next = self.first;
        }
        if let Some(gap) = cursor.gap.take() {
            return Some(Outgoing::Gap(*gap));
        }
        let index = usize::try_from(cursor.next.checked_sub(self.first)?).ok()?;
        let event = Arc::clone(self.events.get(index)?);
        let number = cursor.next;
        cursor.next = cursor.next.saturating_add(1);
        Some(Outgoing::Event { number, event, skipped: 0 })
    }
}

/// How far somebody has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The number of the next event to tell.
    pub(super) next: u64,
    /// A gap that is to be told first.
    pub(super) gap: Option<Box<Gap>>,
}

#[cfg(test)]
mod tests {
    use twinway_protocol::JsonDoc;

    use super::*;

    fn event(subject: &str) -> Arc<Event> {
        let (at, data) = (Timestamp::from_unix_ms(1), JsonDoc::null());
        Arc::new(Event::new("twin.changed", subject.into(), None, at, data))
    }

    fn ring(kept: usize, pushed: usize) -> Ring {
        let mut ring = Ring::new(Timestamp::from_unix_ms(1), kept, 100);
        (0..pushed).for_each(|n| ring.push(event(&n.to_string())));
        ring
    }

    fn read_all(ring: &Ring, mut cursor: Cursor) -> Vec<String> {
        std::iter::from_fn(|| ring.read(&mut cursor, |_| true))
            .map(|out| match out {
                Outgoing::Event { number, event, .. } => format!("{number}:{}", event.subject),
                Outgoing::Gap(gap) => format!("gap {}", gap.missed),
                Outgoing::Request { .. } => "request".into(),
            })
            .collect()
    }

    #[test]
    fn a_listener_that_resumes_gets_what_came_behind_its_last_event() {
        let ring = ring(10, 3);
        assert_eq!(read_all(&ring, ring.cursor(EventsFrom::After(1_001))), ["1002:1", "1003:2"]);
        assert_eq!(read_all(&ring, ring.cursor(EventsFrom::After(1_003))), [""; 0]);
        assert_eq!(read_all(&ring, ring.cursor(EventsFrom::Now)), [""; 0]);
    }

    #[test]
    fn what_is_kept_no_more_is_counted_in_one_gap() {
        let ring = ring(2, 6);
        assert_eq!(read_all(&ring, ring.cursor(EventsFrom::After(1_001))), ["gap 3", "1005:4", "1006:5"]);
        assert_eq!(read_all(&ring, ring.cursor(EventsFrom::After(1_004))), ["1005:4", "1006:5"]);
    }

    #[test]
    fn a_number_of_another_run_gives_a_gap_of_unknown_size() {
        let ring = ring(2, 3);
        assert_eq!(read_all(&ring, ring.cursor(EventsFrom::After(7))), ["gap 0", "1002:1", "1003:2"]);
        assert_eq!(read_all(&ring, ring.cursor(EventsFrom::After(9_999))), ["gap 0", "1002:1", "1003:2"]);
        assert_eq!(read_all(&ring, ring.cursor(EventsFrom::After(u64::MAX))), ["gap 0", "1002:1", "1003:2"]);
    }
}
