//! Beside stateright, which searches a model of the same small flow: how long each takes for every order of messages,
//! and to find the planted race. The two do not do the same: stateright visits every state of a model once, the simulator
//! runs the behaviours themselves, once for each order that differs in more than what commutes.

use std::time::Instant;

use stateright::{Checker as _, HasDiscoveries, Model as _};
use twinway::testkit::{Driver, Plan, Random, Strategy, explore};

use super::{
    bar::bar,
    common::{median, rounds},
    model::Bar,
};

/// How many customers order at once, for every order of messages; and for the race.
const CUSTOMERS: usize = 3;
const CUSTOMERS_OF_THE_RACE: [usize; 2] = [1, 3];
/// More schedules than there are.
const SCHEDULES_MAX: u64 = 10_000_000;
/// Points of a run at which an exhaustive search branches: more than a run has.
const DEPTH_MAX: usize = 1_000;

/// Seconds, and what was gone through in them.
struct Searched {
    seconds: f64,
    steps: f64,
    /// Orders of messages, or states.
    distinct: f64,
}

/// The simulator goes through every order of messages.
fn every_order() -> Searched {
    let began = Instant::now();
    let plan = Plan::default().runs(SCHEDULES_MAX).strategy(Strategy::Exhaustive { depth_max: DEPTH_MAX });
    let summary = explore(&mut bar(true, CUSTOMERS), &plan, |_| {});
    let seconds = began.elapsed().as_secs_f64();
    assert!(summary.complete && summary.violations == 0, "{summary:?}");
    Searched { seconds, steps: summary.actions as f64, distinct: summary.distinct as f64 }
}

/// Stateright goes through every state of its model.
fn every_state() -> Searched {
    let began = Instant::now();
    let checker = Bar { mended: true, customers: CUSTOMERS as u8 }.checker().threads(1).spawn_bfs().join();
    let seconds = began.elapsed().as_secs_f64();
    assert!(checker.is_done() && checker.discoveries().is_empty(), "the mended bar is as it should be");
    Searched { seconds, steps: checker.state_count() as f64, distinct: checker.unique_state_count() as f64 }
}

/// Seconds until the simulator has a schedule that shows the race, from nothing.
fn race_by_chance(customers: usize, seed: u64) -> f64 {
    let began = Instant::now();
    let (mut world, mut driver) = (bar(false, customers), Random::default());
    let driver: &mut dyn Driver = &mut driver;
    let found = (seed..).take(SCHEDULES_MAX as usize).any(|seed| !world.run(seed, driver));
    assert!(found, "the planted race is not found");
    began.elapsed().as_secs_f64()
}

/// The same with the shortest schedule, ready to be shown.
fn race_shown(customers: usize, seed: u64) -> f64 {
    let began = Instant::now();
    let plan = Plan::default().runs(SCHEDULES_MAX).seed(seed).strategy(Strategy::Random);
    let failure = explore(&mut bar(false, customers), &plan, |_| {}).failure;
    assert!(failure.is_some_and(|failure| !failure.to_string().is_empty()), "the planted race is not found");
    began.elapsed().as_secs_f64()
}

/// Seconds until stateright has a path to the race, from nothing.
fn race_in_the_model(customers: usize) -> f64 {
    let began = Instant::now();
    let model = Bar { mended: false, customers: customers as u8 };
    let checker = model.checker().threads(1).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    assert!(checker.discovery("what is brewed was ground").is_some(), "the planted race is not found");
    began.elapsed().as_secs_f64()
}

fn shown(what: &str, of: &str, searched: &[Searched]) {
    let middle = |figure: fn(&Searched) -> f64| median(searched.iter().map(figure).collect());
    let (seconds, steps) = (middle(|of| of.seconds), middle(|of| of.steps));
    let distinct = middle(|of| of.distinct);
    println!(
        "{what}: {distinct:.0} {of}, {steps:.0} states visited in {:.2} ms, {:.0} states/s",
        seconds * 1e3,
        steps / seconds
    );
}

/// Both, in turns.
pub(crate) fn compare() {
    println!(
        "\nbeside stateright 0.31, one thread each, the bar of examples/planted_race.rs, {CUSTOMERS} customers, mended:"
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds(11) {
        ours.push(every_order());
        theirs.push(every_state());
    }
    shown("simulator, every order of messages", "orders", &ours);
    shown("stateright, every state", "states", &theirs);
    for customers in CUSTOMERS_OF_THE_RACE {
        let (mut found, mut told, mut modelled) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds(101) as u64 {
            found.push(race_by_chance(customers, round * 1_000));
            told.push(race_shown(customers, round * 1_000));
            modelled.push(race_in_the_model(customers));
        }
        let (found, told, modelled) = (median(found), median(told), median(modelled));
        println!(
            "planted race, {customers} customers: simulator {:.1} us, shrunk and shown {:.1} us; stateright {:.1} us",
            found * 1e6,
            told * 1e6,
            modelled * 1e6
        );
    }
}
