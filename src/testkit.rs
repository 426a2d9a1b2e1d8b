//! The kit for property tests of flows: worlds of your own behaviours, or of ours, in which every message waits until
//! a driver lets it arrive. `examples/planted_race.rs` is a whole one.
//!
//! A test is a world and a [`check`]. When it fails, it shows the shortest bad schedule as a numbered list and as a
//! sequence diagram, and the command that repeats it: with the variable [`SCHEDULE`] in the environment a check runs
//! that one schedule.
//!
//! ```
//! use twinway::testkit::{Outcome, Plan, check, worlds};
//!
//! fn procedure_9_2_holds_in_any_order() -> Outcome {
//!     check(worlds::procedure_9_2(), &Plan::default().runs(50))
//! }
//! procedure_9_2_holds_in_any_order().unwrap();
//! ```

use twinway_protocol::WireSet;

pub use twinway_scenarios::testkit::*;

/// The variable that holds the schedule to repeat.
pub const SCHEDULE: &str = "TWINWAY_SCHEDULE";

/// Looks for an order in which a rule of `world` does not hold; with [`SCHEDULE`] set, only in that one.
///
/// # Errors
/// The first that was found, shrunk, and ready to be shown.
///
/// # Panics
/// When [`SCHEDULE`] is set and no schedule.
pub fn check<W: WireSet>(mut world: World<W>, plan: &Plan) -> Outcome {
    let outcome = match std::env::var(SCHEDULE) {
        // To test another schedule than the one asked for would be worse than to stop.
        #[allow(clippy::panic, reason = "it runs in tests only, and there is nothing sensible to go on with")]
        Ok(text) => match text.parse() {
            Ok(schedule) => replay(&mut world, &schedule).map(|_| ()),
            Err(why) => panic!("{SCHEDULE}: {why}"),
        },
        Err(_) => twinway_scenarios::testkit::check(world, plan),
    };
    outcome.map_err(|mut failure| {
        // A test's thread has the test's name.
        let thread = std::thread::current();
        let test = thread.name().filter(|name| *name != "main").unwrap_or_default().to_owned();
        let command = format!("{SCHEDULE}='{}' cargo test {test}", failure.shortest.schedule);
        failure.command = Some(command.trim_end().to_owned());
        failure
    })
}
