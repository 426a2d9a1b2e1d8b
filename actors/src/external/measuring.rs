//! What the actor of an external system measures of its system (FGMV-29 8.2.1 and 8.3.1): how fast it answers, how often
//! it fails, and when it was last heard of. The register is told by a timer, never a message a call.

use hdrhistogram::Histogram;
use twinway_protocol::{
    Behaviour, Out, PendingKey, SystemId,
    message::{ReportPerformance, Wire},
    registry::Performance,
};

use crate::Settings;

/// The key of the timer by which the register is told. Keys of requests are never this one.
pub(crate) const REPORT: PendingKey = PendingKey::from_bits(u64::MAX - 1);
/// In how many slices a window is forgotten.
const SLICES: u64 = 4;
/// The longest time that is told apart from longer ones, in milliseconds; no request is waited for as long.
const LATENCY_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// A slice of the window.
#[derive(Debug)]
struct Slice {
    /// Which it is: the monotonic clock by the length of a slice.
    number: u64,
    calls: u64,
    failed: u64,
    /// How long answers took, in milliseconds.
    latencies: Histogram<u16>,
}

impl Slice {
    fn new(number: u64) -> Option<Self> {
        // Two figures tell 100 ms from 101: enough for a promise, and small enough for thousands of systems.
        let latencies = Histogram::new(2).ok()?;
        Some(Self { number, calls: 0, failed: 0, latencies })
    }
}

/// What is measured of one system. It costs nothing until the system is first called.
#[derive(Debug)]
pub(crate) struct Measured {
    slices: Vec<Slice>,
    failed_in_a_row: u32,
    heard_ms: Option<u64>,
    in_session: bool,
    /// When the register is told next, on the monotonic clock in milliseconds.
    armed_ms: Option<u64>,
    window_ms: u64,
    report_ms: u64,
}

impl Measured {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            slices: Vec::new(),
            failed_in_a_row: 0,
            heard_ms: None,
            in_session: false,
            armed_ms: None,
            window_ms: settings.health.window_ms.max(SLICES),
            report_ms: settings.performance_report_ms.max(1),
        }
    }

    fn slice_ms(&self) -> u64 {
        (self.window_ms / SLICES).max(1)
    }

    fn forget_old(&mut self, now_ms: u64) {
        let oldest = (now_ms / self.slice_ms()).saturating_sub(SLICES - 1);
        self.slices.retain(|slice| slice.number >= oldest);
    }

    fn count<B: Behaviour<Wire = Wire>>(&mut self, latency_ms: Option<u64>, failed: bool, out: &mut Out<'_, B>) {
        let now_ms = out.now().monotonic_ms;
        let number = now_ms / self.slice_ms();
        self.forget_old(now_ms);
        if self.slices.last().is_none_or(|slice| slice.number != number) {
            self.slices.extend(Slice::new(number));
        }
        if let Some(slice) = self.slices.last_mut() {
            slice.calls += 1;
            slice.failed += u64::from(failed);
            if let Some(ms) = latency_ms {
                // It has room for what came so far: that is little where answers are quick.
                let _ = slice.latencies.record(ms.min(LATENCY_MS_MAX));
            }
        }
        self.arm(self.report_ms, out);
    }

    fn arm<B: Behaviour<Wire = Wire>>(&mut self, after_ms: u64, out: &mut Out<'_, B>) {
        // What is due sooner is told sooner: after a quiet report the next one is far away.
        let due_ms = out.now().monotonic_ms.saturating_add(after_ms);
        if self.armed_ms.is_none_or(|armed_ms| armed_ms > due_ms) {
            self.armed_ms = Some(due_ms);
            out.timer(after_ms, REPORT);
        }
    }

    /// The system answered a call that was asked at `asked_ms`; `failed`: with a failure.
    pub(crate) fn answered<B: Behaviour<Wire = Wire>>(&mut self, asked_ms: u64, failed: bool, out: &mut Out<'_, B>) {
        let now_ms = out.now().monotonic_ms;
        self.heard_ms = Some(now_ms);
        // A system that says that it failed is there.
        self.failed_in_a_row = 0;
        self.count(Some(now_ms.saturating_sub(asked_ms)), failed, out);
    }

    /// A call was not answered in time, or did not reach the system.
    pub(crate) fn unanswered<B: Behaviour<Wire = Wire>>(&mut self, out: &mut Out<'_, B>) {
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        self.count(None, true, out);
    }

    /// The system's session opened or closed; tells whether that is news.
    pub(crate) fn session(&mut self, open: bool, now_ms: u64) -> bool {
        self.heard_ms = Some(now_ms);
        if open {
            self.failed_in_a_row = 0;
        }
        std::mem::replace(&mut self.in_session, open) != open
    }

    /// Whether there is anything that a register which forgot it has to be told.
    pub(crate) fn is_something(&self) -> bool {
        self.in_session || !self.slices.is_empty()
    }

    /// A timer ran out: tells whether there is something to report. The next report is due when that looks different by
    /// itself.
    pub(crate) fn due<B: Behaviour<Wire = Wire>>(&mut self, out: &mut Out<'_, B>) -> bool {
        let now_ms = out.now().monotonic_ms;
        // A timer that one which ran out sooner has replaced means nothing.
        if self.armed_ms.is_none_or(|armed_ms| armed_ms > now_ms) {
            return false;
        }
        self.armed_ms = None;
        self.forget_old(now_ms);
        if let Some(first) = self.slices.first() {
            // Nobody is called: the oldest slice leaves the window at some time, and then there is one less.
            let leaves_ms = first.number.saturating_add(SLICES).saturating_mul(self.slice_ms());
            self.arm(leaves_ms.saturating_sub(now_ms).max(self.report_ms), out);
        }
        true
    }

    /// What the register is told.
    pub(crate) fn report(&self, system: SystemId, now_ms: u64) -> ReportPerformance {
        ReportPerformance {
            system,
            performance: Box::new(self.performance()),
            failed_in_a_row: self.failed_in_a_row,
            heard_ms_ago: self.heard_ms.map(|heard_ms| now_ms.saturating_sub(heard_ms)),
            in_session: self.in_session,
        }
    }

    fn performance(&self) -> Performance {
        let calls = self.slices.iter().map(|slice| slice.calls).sum::<u64>();
        let failed = self.slices.iter().map(|slice| slice.failed).sum::<u64>();
        let mut slices = self.slices.iter().map(|slice| &slice.latencies);
        let mut all = slices.next().cloned();
        if let Some(all) = &mut all {
            for latencies in slices {
                // It grows as far as they have.
                let _ = all.add(latencies);
            }
        }
        let quantile = |q| all.as_ref().filter(|all| !all.is_empty()).map(|all| all.value_at_quantile(q) as f64);
        Performance {
            window_ms: self.window_ms,
            calls,
            failed,
            error_rate: if calls == 0 { 0.0 } else { failed as f64 / calls as f64 },
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            availability: None,
        }
    }
}

#[cfg(test)]
mod tests;
