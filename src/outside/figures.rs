//! How sync leases stand, for Prometheus.

use std::fmt;

use metrics::{Counter, Gauge, Histogram};
use twinway_protocol::signal::LeaseFigures;

/// The metrics of sync leases. They are found once: every grant and every release shows all of them, and to look one up
/// costs more than to set it.
pub(super) struct LeaseMetrics {
    held: Gauge,
    waiting: Gauge,
    quarantined: Gauge,
    granted: Counter,
    preempted: Counter,
    granted_after: Histogram,
}

impl fmt::Debug for LeaseMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseMetrics").finish_non_exhaustive()
    }
}

impl LeaseMetrics {
    /// Those of the recorder that the process has now.
    pub(super) fn new() -> Self {
        Self {
            held: metrics::gauge!("twinway_lease_held"),
            waiting: metrics::gauge!("twinway_lease_waiting"),
            quarantined: metrics::gauge!("twinway_lease_quarantined"),
            granted: metrics::counter!("twinway_lease_granted_total"),
            preempted: metrics::counter!("twinway_lease_preempted_total"),
            granted_after: metrics::histogram!("twinway_lease_grant_seconds"),
        }
    }

    pub(super) fn show(&self, figures: LeaseFigures) {
        self.held.set(figures.held as f64);
        self.waiting.set(figures.waiting as f64);
        self.quarantined.set(figures.quarantined as f64);
        self.granted.absolute(figures.granted);
        if figures.preempted > 0 {
            self.preempted.increment(figures.preempted);
        }
        if let Some(after_ms) = figures.granted_after_ms {
            self.granted_after.record(after_ms as f64 / 1_000.0);
        }
    }
}
