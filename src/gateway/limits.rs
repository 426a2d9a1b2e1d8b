//! What bounds the callers: a rate for each token, and slots for what stays open.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use twinway_protocol::{Problem, ProblemKind};

/// A token bucket, kept as the moment at which it is full again: one number, so that no lock is needed.
#[derive(Debug)]
pub(super) struct Rate {
    /// Nanoseconds that one request takes out.
    each_ns: u64,
    /// Nanoseconds by which a caller may be ahead.
    burst_ns: u64,
    /// When the bucket is full again, on the gateway's monotonic clock.
    full_at_ns: AtomicU64,
}

impl Rate {
    /// Lets `per_second` requests through, and `burst` at once; `per_second` 0 means all.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let each_ns = 1_000_000_000_u64.checked_div(u64::from(per_second)).unwrap_or(0);
        Self { each_ns, burst_ns: each_ns.saturating_mul(u64::from(burst.max(1))), full_at_ns: AtomicU64::new(0) }
    }

    /// Takes one request out at `now`, time since the gateway began.
    ///
    /// # Errors
    /// How long until there is one again.
    pub(super) fn take(&self, now: Duration) -> Result<(), Duration> {
        if self.each_ns == 0 {
            return Ok(());
        }
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let mut full_at = self.full_at_ns.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(self.each_ns);
            let ahead = next.saturating_sub(now);
            if ahead > self.burst_ns {
                return Err(Duration::from_nanos(ahead - self.burst_ns));
            }
            match self.full_at_ns.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => full_at = seen,
            }
        }
    }
}

/// A number of places; each is taken until its [`Slot`] is dropped.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    taken: Arc<AtomicUsize>,
    max: usize,
    /// The limit's name in the configuration.
    name: &'static str,
}

/// A place that is taken.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicUsize>);

impl Slots {
    pub(super) fn new(name: &'static str, max: usize) -> Self {
        Self { taken: Arc::default(), max, name }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`ProblemKind::LimitReached`] when all are taken.
    pub(super) fn take(&self) -> Result<Slot, Problem> {
        let full = |_| Problem::new(ProblemKind::LimitReached, format!("`{}` is {}", self.name, self.max));
        let one_more = |taken: usize| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).map_err(full)?;
        Ok(Slot(Arc::clone(&self.taken)))
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use twinway_protocol::ProblemKind;

    use super::{Rate, Slots};

    #[test]
    fn a_burst_passes_and_the_next_request_is_told_when_to_come_back() {
        let rate = Rate::new(10, 3);
        let now = Duration::from_secs(5);
        assert!((0..3).all(|_| rate.take(now).is_ok()));
        let wait = rate.take(now).expect_err("the burst is used up");
        assert_eq!(wait, Duration::from_millis(100));
        assert!(rate.take(now + wait).is_ok());
        assert!(rate.take(now + wait).is_err());
    }

    #[test]
    fn a_long_pause_gives_no_more_than_the_burst() {
        let rate = Rate::new(10, 2);
        let later = Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| rate.take(later).is_ok()).count(), 2);
    }

    #[test]
    fn no_rate_lets_everything_through() {
        let rate = Rate::new(0, 0);
        assert!((0..1000).all(|_| rate.take(Duration::ZERO).is_ok()));
    }

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped() {
        let slots = Slots::new("sessions_max", 1);
        let first = slots.take().expect("there is one");
        let problem = slots.take().expect_err("there is one only");
        assert_eq!(problem.kind, ProblemKind::LimitReached);
        assert!(problem.detail.contains("sessions_max"));
        drop(first);
        assert!(slots.take().is_ok());
    }
}
