//! The sides of a comparison, their rounds, and what is printed of them.

use std::time::Duration;

use super::{common::median, drive::Seen, process::cpu};

/// What a round of a side showed.
struct Figures {
    seen: Seen,
    /// Processor time of the server and of the clients, in microseconds a pair.
    server_us: f64,
    clients_us: f64,
}

/// One of those who are compared.
pub(crate) struct Side<'a> {
    name: &'a str,
    run: Box<dyn Fn() -> Seen + 'a>,
    server: Box<dyn Fn() -> Duration + 'a>,
    rounds: Vec<Figures>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(name: &'a str, run: impl Fn() -> Seen + 'a, server: impl Fn() -> Duration + 'a) -> Self {
        Self { name, run: Box::new(run), server: Box::new(server), rounds: Vec::new() }
    }

    pub(crate) fn name(&self) -> &'a str {
        self.name
    }

    fn round(&mut self) {
        let before = ((self.server)(), cpu("self"));
        let seen = (self.run)();
        let (server, clients) = ((self.server)() - before.0, cpu("self") - before.1);
        let pairs = seen.count() as f64;
        let each = |used: Duration| used.as_secs_f64() * 1e6 / pairs;
        self.rounds.push(Figures { server_us: each(server), clients_us: each(clients), seen });
    }

    fn of(&self, figure: impl Fn(&Figures) -> f64) -> Vec<f64> {
        self.rounds.iter().map(figure).collect()
    }

    fn print(&self) {
        let middle = |figure: fn(&Figures) -> f64| median(self.of(figure));
        println!(
            "  {:<54} {:>9.0} {:>10.0} {:>10.0} {:>10.0} {:>10.0} {:>9.1} {:>9.1}",
            self.name,
            median(pairs(self)),
            middle(|round| round.seen.acquired(0.5)),
            middle(|round| round.seen.acquired(0.99)),
            middle(|round| round.seen.whole(0.5)),
            middle(|round| round.seen.whole(0.99)),
            middle(|round| round.server_us),
            middle(|round| round.clients_us),
        );
    }
}

/// Pairs a second, by round.
pub(crate) fn pairs(side: &Side<'_>) -> Vec<f64> {
    side.of(|round| round.seen.pairs_per_s)
}

/// The 99th percentile of a pair, by round.
pub(crate) fn whole_p99(side: &Side<'_>) -> Vec<f64> {
    side.of(|round| round.seen.whole(0.99))
}

/// The median, over the rounds, of a figure of one side over that of another in the same round.
pub(crate) fn ratio(one: &Side<'_>, other: &Side<'_>, figure: fn(&Side<'_>) -> Vec<f64>) -> f64 {
    median(figure(one).iter().zip(figure(other)).map(|(one, other)| one / other).collect())
}

/// Runs the rounds of all sides, alternating, and prints their medians. A first, unmeasured round of each warms up.
pub(crate) fn compare(what: &str, sides: &mut [Side<'_>], rounds: usize) {
    for side in sides.iter_mut() {
        side.round();
        side.rounds.clear();
    }
    for _ in 0..rounds {
        sides.iter_mut().for_each(Side::round);
    }
    println!("\n{what}: medians of {rounds} rounds; times and processor time in microseconds");
    println!(
        "  {:<54} {:>9} {:>10} {:>10} {:>10} {:>10} {:>9} {:>9}",
        "", "pairs/s", "acq p50", "acq p99", "pair p50", "pair p99", "cpu serv", "cpu cli"
    );
    sides.iter().for_each(Side::print);
}
