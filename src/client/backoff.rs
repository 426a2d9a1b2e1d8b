//! How long to wait before the next attempt.

use std::time::Duration;

/// The first wait, in milliseconds; each one after it is twice as long.
const FIRST_MS: u64 = 100;
/// The longest wait, in milliseconds.
const WAIT_MS_MAX: u64 = 5_000;

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: between half of the doubled time and all of it, so that the clients of a
    /// daemon that restarts do not all come at once.
    pub(super) fn failed(&mut self) -> Duration {
        let full = FIRST_MS.saturating_mul(1 << self.failures.min(16)).min(WAIT_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        let half = full / 2;
        let chance = getrandom::u32().map_or(half, |chance| u64::from(chance) % (half + 1));
        Duration::from_millis(half + chance)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, WAIT_MS_MAX};

    #[test]
    fn waits_grow_to_a_limit_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        let first = backoff.failed();
        assert!(first >= Duration::from_millis(50) && first <= Duration::from_millis(100));
        for _ in 0..100 {
            assert!(backoff.failed() <= Duration::from_millis(WAIT_MS_MAX));
        }
        assert!(backoff.failed() >= Duration::from_millis(WAIT_MS_MAX / 2));
        backoff.succeeded();
        assert!(backoff.failed() <= Duration::from_millis(100));
    }
}
