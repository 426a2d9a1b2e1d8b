//! What the demo tells: a line a step.

use std::time::Instant;

use parking_lot::Mutex;

/// Where the lines go, and since when the present procedure runs.
pub(super) struct Story {
    telling: Mutex<Telling>,
}

struct Telling {
    out: Box<dyn FnMut(String) + Send>,
    begun: Instant,
}

impl std::fmt::Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Story")
    }
}

/// Who takes a step, and whom it goes to.
pub(super) enum Way {
    /// From one to another.
    Between(&'static str, &'static str),
    /// Somebody's own.
    Own(&'static str),
}

impl Story {
    pub(super) fn new(out: impl FnMut(String) + Send + 'static) -> Self {
        Self { telling: Mutex::new(Telling { out: Box::new(out), begun: Instant::now() }) }
    }

    /// A headline; time counts from here.
    pub(super) fn begin(&self, headline: &str) {
        let mut telling = self.telling.lock();
        telling.begun = Instant::now();
        (telling.out)(String::new());
        (telling.out)(headline.to_owned());
    }

    /// Something beside the procedures.
    pub(super) fn say(&self, text: &str) {
        (self.telling.lock().out)(text.to_owned());
    }

    /// A step, with the milliseconds since the procedure began.
    pub(super) fn step(&self, number: &str, way: &Way, message: &str, result: &str) {
        let way = match way {
            Way::Between(from, to) => format!("{from} → {to}"),
            Way::Own(whose) => (*whose).to_owned(),
        };
        let mut telling = self.telling.lock();
        let ms = telling.begun.elapsed().as_secs_f64() * 1000.0;
        (telling.out)(format!("{number:>4}  {way:<26}  {message:<34}  {ms:>8.1} ms  {result}"));
    }

    /// Something besides the steps.
    pub(super) fn line(&self, text: &str) {
        (self.telling.lock().out)(format!("      {text}"));
    }
}
