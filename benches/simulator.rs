//! Schedules a second: FGMV-29 9.2 whole, with all its real behaviours, recording and rules, on one core; and the
//! simulator beside stateright, on a small flow.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a bench may stop at the first surprise, and prints")]

#[path = "../examples/planted_race.rs"]
#[expect(dead_code, unreachable_pub, reason = "as an example it is a program of its own")]
mod bar;
#[path = "simulator/beside.rs"]
mod beside;
mod common;
#[path = "simulator/model.rs"]
mod model;

use std::time::{Duration, Instant};

use common::{machine, median, rounds, verdict};
use twinway::{
    protocol::message::Wire,
    scenarios::{
        driver::{Driver, Fifo, Pct, Random},
        fault::Faults,
        world::World,
        worlds::{self, Make},
    },
};

/// That of the command `twinway`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUND: Duration = Duration::from_secs(2);

/// Schedules a second, and actions a schedule.
fn rate(make: Make, faults: Faults, driver: &mut dyn Driver) -> (f64, f64) {
    let mut world = make();
    world.set_faults(faults);
    let (mut runs, mut actions) = (0_u64, 0_u64);
    let round = if rounds(2) == 1 { Duration::from_millis(10) } else { ROUND };
    let began = Instant::now();
    while began.elapsed() < round {
        for _ in 0..16 {
            assert!(world.run(runs, driver), "seed {runs}: {:?}", world.violations());
            runs += 1;
            actions += world.taken();
        }
    }
    (runs as f64 / began.elapsed().as_secs_f64(), actions as f64 / runs as f64)
}

fn measure(what: &str, make: Make, faults: Faults, driver: &mut dyn Driver) -> f64 {
    let measured: Vec<_> = (0..rounds(5)).map(|_| rate(make, faults, driver)).collect();
    let actions = measured.first().map_or(0.0, |(_, actions)| *actions);
    let rate = median(measured.into_iter().map(|(rate, _)| rate).collect());
    println!("{what}: {rate:.0} schedules/s, {actions:.0} actions each, {:.0} ns an action", 1e9 / (rate * actions));
    rate
}

/// As `twinway simulate --flow 9.2` has it.
fn judged_9_2() -> World<Wire> {
    worlds::find("9.2").expect("it is a world")
}

fn main() {
    machine();
    let mut random = Random::default();
    let whole = measure("9.2, any order", worlds::procedure_9_2, Faults::NONE, &mut random);
    measure("9.2, in the order of sending", worlds::procedure_9_2, Faults::NONE, &mut Fifo);
    measure("9.2, PCT of depth 3", worlds::procedure_9_2, Faults::NONE, &mut Pct::new(3, 60));
    measure("9.2, any order, with faults", worlds::procedure_9_2, Faults::ONE_OF_EACH, &mut random);
    measure("9.2 rejected, any order", worlds::procedure_9_2_rejected, Faults::NONE, &mut random);
    measure("9.1, any order", worlds::procedure_9_1, Faults::NONE, &mut random);
    measure("9.2, any order, judged by its flow's file and all promises", judged_9_2, Faults::NONE, &mut random);
    verdict("9.2 whole, schedules a second", whole, 50_000.0, false);
    beside::compare();
}
