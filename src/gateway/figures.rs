//! How many requests there were and how long they took, in Prometheus' text format.
//!
//! Counted by route, not by path: paths have ids, and would make a series each. Every worker counts for itself, so
//! that counting costs no worker the other's memory; they are added up when somebody asks. A histogram of the
//! `metrics` crate would keep every single value until then.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::routes::{self, Route};

/// The upper bounds of the histogram's buckets, in microseconds. What is slower stands in none but `+Inf`.
const BOUNDS_US: [u64; 13] =
    [100, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 30_000_000];
/// The classes of statuses, by their first digit less one.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What was counted of one route.
#[derive(Debug, Default)]
struct Series {
    by_class: [AtomicU64; CLASSES.len()],
    by_bound: [AtomicU64; BOUNDS_US.len()],
    micros: AtomicU64,
}

/// What one worker counts.
#[derive(Debug)]
pub(super) struct Figures {
    /// By the number of the route in the table; the last one is of requests for which there is no route.
    series: Vec<Series>,
}

impl Figures {
    fn new() -> Self {
        Self { series: (0..=routes::all().count()).map(|_| Series::default()).collect() }
    }

    /// Counts a request.
    pub(super) fn count(&self, route: Option<usize>, status: u16, took: Duration) {
        let Some(series) = route.map_or_else(|| self.series.last(), |number| self.series.get(number)) else { return };
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = usize::from(status / 100).saturating_sub(1).min(CLASSES.len() - 1);
        let bound = BOUNDS_US.iter().position(|bound| micros <= *bound);
        let counters = [series.by_class.get(class), bound.and_then(|bound| series.by_bound.get(bound))];
        counters.into_iter().flatten().for_each(|counter| {
            counter.fetch_add(1, Relaxed);
        });
        series.micros.fetch_add(micros, Relaxed);
    }
}

/// What all workers of a gateway counted.
#[derive(Debug, Default)]
pub(super) struct AllFigures(Mutex<Vec<Arc<Figures>>>);

impl AllFigures {
    /// The figures of one more worker.
    pub(super) fn of_worker(&self) -> Arc<Figures> {
        let figures = Arc::new(Figures::new());
        self.0.lock().push(Arc::clone(&figures));
        figures
    }

    /// Writes what was counted, route by route.
    pub(super) fn write(&self, text: &mut String) {
        let workers = self.0.lock().clone();
        let labels = routes::all().map(label).chain([r#"route="none""#.to_owned()]);
        let (mut totals, mut times) = (String::new(), String::new());
        for (number, label) in labels.enumerate() {
            let series: Vec<_> = workers.iter().filter_map(|figures| figures.series.get(number)).collect();
            write_series(&label, &series, &mut totals, &mut times);
        }
        text.push_str("# TYPE twinway_http_requests_total counter\n");
        text.push_str(&totals);
        text.push_str("# TYPE twinway_http_request_seconds histogram\n");
        text.push_str(&times);
    }
}

fn label(route: &Route) -> String {
    format!(r#"route="{}",method="{}""#, route.path, route.verb.as_str())
}

/// Writes one route's series, if there was a request. Writing to a string does not fail.
fn write_series(label: &str, series: &[&Series], totals: &mut String, times: &mut String) {
    let sum = |of: &dyn Fn(&Series) -> Option<u64>| series.iter().filter_map(|one| of(one)).sum::<u64>();
    let mut count = 0;
    for (index, class) in CLASSES.iter().enumerate() {
        let number = sum(&|one| Some(one.by_class.get(index)?.load(Relaxed)));
        if number > 0 {
            let _ = writeln!(totals, "twinway_http_requests_total{{{label},status=\"{class}\"}} {number}");
        }
        count += number;
    }
    if count == 0 {
        return;
    }
    let mut so_far = 0;
    for (index, bound) in BOUNDS_US.iter().enumerate() {
        so_far += sum(&|one| Some(one.by_bound.get(index)?.load(Relaxed)));
        let bound = Duration::from_micros(*bound).as_secs_f64();
        let _ = writeln!(times, "twinway_http_request_seconds_bucket{{{label},le=\"{bound}\"}} {so_far}");
    }
    // Counted a moment earlier than the buckets: a request in between must not make them contradict each other.
    let count = count.max(so_far);
    let seconds = Duration::from_micros(sum(&|one| Some(one.micros.load(Relaxed)))).as_secs_f64();
    let _ = writeln!(times, "twinway_http_request_seconds_bucket{{{label},le=\"+Inf\"}} {count}");
    let _ = writeln!(times, "twinway_http_request_seconds_sum{{{label}}} {seconds}");
    let _ = writeln!(times, "twinway_http_request_seconds_count{{{label}}} {count}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AllFigures, routes};

    #[test]
    fn what_every_worker_counted_is_added_up() {
        let all = AllFigures::default();
        let livez = routes::all().position(|route| route.path == "/livez");
        assert!(livez.is_some());
        for worker in [all.of_worker(), all.of_worker()] {
            worker.count(livez, 200, Duration::from_micros(100));
            worker.count(livez, 200, Duration::from_secs(60));
            worker.count(None, 404, Duration::from_micros(900));
        }
        let mut text = String::new();
        all.write(&mut text);
        for line in [
            r#"twinway_http_requests_total{route="/livez",method="GET",status="2xx"} 4"#,
            r#"twinway_http_requests_total{route="none",status="4xx"} 2"#,
            r#"twinway_http_request_seconds_bucket{route="/livez",method="GET",le="0.0001"} 2"#,
            r#"twinway_http_request_seconds_bucket{route="/livez",method="GET",le="30"} 2"#,
            r#"twinway_http_request_seconds_bucket{route="/livez",method="GET",le="+Inf"} 4"#,
            r#"twinway_http_request_seconds_count{route="/livez",method="GET"} 4"#,
            r#"twinway_http_request_seconds_bucket{route="none",le="0.0005"} 0"#,
            r#"twinway_http_request_seconds_bucket{route="none",le="0.001"} 2"#,
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("/readyz"), "what was never asked has no series");
    }
}
