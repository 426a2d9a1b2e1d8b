//! Faults as actions: what was acknowledged outlives them, and everybody hears.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use twinway_scenarios::{driver::Random, driver::What, fault::Faults, worlds::WORLDS};

fn holds_under(faults: Faults, what: What) {
    let mut seen = 0;
    for (name, _, make) in WORLDS {
        let mut world = make().faults(faults);
        for seed in 0..300 {
            let held = world.run(seed, &mut Random::default());
            assert!(held, "{name} seed {seed}: {:?}\n{:#?}", world.violations(), world.told());
            seen += u32::from(world.told().iter().any(|told| told.what == what));
        }
    }
    assert!(seen > 100, "only {seen} runs had a {what:?}");
}

#[test]
fn a_lost_message_from_outside_costs_an_answer_and_no_more() {
    holds_under(Faults { drops: 2, ..Faults::NONE }, What::Drop);
}

#[test]
fn a_doubled_message_from_outside_does_no_harm() {
    holds_under(Faults { duplicates: 2, ..Faults::NONE }, What::Duplicate);
}

#[test]
fn timers_that_run_out_early_refuse_and_break_nothing() {
    holds_under(Faults { delays: 2, ..Faults::NONE }, What::Delay);
}

#[test]
fn a_panic_costs_one_turn() {
    holds_under(Faults { panics: 2, ..Faults::NONE }, What::Panic);
}

#[test]
fn an_entity_made_anew_comes_back_from_its_records() {
    holds_under(Faults { restarts: 2, ..Faults::NONE }, What::Restart);
}

#[test]
fn a_crash_costs_nothing_that_was_acknowledged() {
    holds_under(Faults { crashes: 2, ..Faults::NONE }, What::Crash);
}

#[test]
fn a_jump_of_the_wall_clock_changes_nothing() {
    holds_under(Faults { clock_jumps: 2, ..Faults::NONE }, What::ClockJump);
}
