//! Strategies find what is planted, shrink it to what a person can follow, and repeat it; the world means what the
//! runtime means.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod shop;

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};
use shop::{Planted, Wire, shop};
use twinway_protocol::EventId;
use twinway_scenarios::{
    testkit::{
        EveryCallIsAnswered, Failure, Faults, Fifo, Links, Order, Outcome, Plan, Promise, Replay, Schedule, Search,
        Seen, Strategy, What, WorldOptions, check, explore, replay, rule, schedules,
    },
    worlds::WORLDS,
};

const RACE: Planted = Planted { charge_first: true, forgets: false, panics: false };

fn strategies() -> [Strategy; 4] {
    [Strategy::Random, Strategy::Pct { depth: 2 }, Strategy::Mixed, Strategy::Exhaustive { depth_max: 100 }]
}

fn failure(planted: Planted, plan: &Plan) -> Failure {
    explore(&mut shop(planted), plan, |_| {}).failure.expect("the planted bug is found")
}

#[test]
fn a_sound_flow_holds_under_every_strategy() -> Outcome {
    for strategy in strategies() {
        check(shop(Planted::default()), &Plan::default().strategy(strategy))?;
    }
    Ok(())
}

#[test]
fn every_strategy_finds_a_planted_race_and_the_order_of_sending_does_not() {
    let mut world = shop(RACE);
    assert!(world.run(0, &mut Fifo), "{:?}", world.violations());
    for strategy in strategies() {
        let failure = failure(RACE, &Plan::default().strategy(strategy.clone()));
        // The charge becomes durable, and the bank's message arrives, before the till's.
        assert_eq!(failure.shortest.schedule.departures(), 2, "{strategy:?}\n{failure}");
        let again = replay(&mut shop(RACE), &failure.shortest.schedule).expect_err("it fails again");
        assert_eq!(again.shortest.trace, failure.shortest.trace);
    }
}

#[test]
fn the_shortest_schedule_is_one_that_a_person_can_follow() {
    let failure = failure(RACE, &Plan::default().strategy(Strategy::Random));
    let text = failure.to_string();
    for expected in [
        "violated: every call is answered: Buy of a caller was never answered",
        "1. Caller → Till: Buy",
        "Bank → Stock: 3 Ship",
        "sequenceDiagram",
        "e1_0->>e2_0: 2 Charge",
        "to repeat it: schedule ",
    ] {
        assert!(text.contains(expected), "no `{expected}` in\n{text}");
    }
    let marked = text.lines().filter(|line| line.starts_with('*')).count();
    assert_eq!(marked, failure.shortest.schedule.departures(), "{text}");
}

#[test]
fn proptest_makes_schedules_and_shrinks_them() {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let failed = runner.run(&schedules(20), |schedule| match replay(&mut shop(RACE), &schedule) {
        Ok(_) => Ok(()),
        Err(failure) => Err(TestCaseError::fail(failure.to_string())),
    });
    let Err(TestError::Fail(_, schedule)) = failed else { panic!("the planted race is not found: {failed:?}") };
    assert_eq!((schedule.seed, schedule.departures()), (0, 2), "{schedule}");
    let simplest = schedules(20).new_tree(&mut runner).expect("there are schedules");
    assert!(simplest.current().choices.len() <= 20);
}

#[test]
fn a_search_is_complete_and_prunes_what_commutes() {
    for (planted, bad) in [(Planted::default(), 0), (RACE, 1)] {
        let mut world = shop(planted);
        let plan =
            Plan { count_all: true, ..Plan::default().runs(10_000).strategy(Strategy::Exhaustive { depth_max: 100 }) };
        let summary = explore(&mut world, &plan, |_| {});
        assert!(summary.complete);
        assert_eq!(summary.violations.min(1), bad);
        // Nothing that random schedules reach is missed.
        let random = Plan { count_all: true, ..Plan::default().runs(2_000).strategy(Strategy::Random) };
        let random = explore(&mut world, &random, |_| {});
        assert_eq!(summary.distinct, random.distinct, "{} runs", summary.runs);
        assert!(summary.runs <= 4 * summary.distinct, "{} runs for {}", summary.runs, summary.distinct);
    }
}

#[test]
fn a_search_of_both_procedures_finds_no_bad_order() {
    for (name, _, make) in WORLDS {
        let mut world = make();
        let mut search = Search::new(12);
        assert!(search.run(&mut world, 0, 500), "{name}: {:?}", world.violations());
        assert!(search.runs() > 10, "{name}: {} runs", search.runs());
    }
}

#[test]
fn nothing_leaves_before_its_records_are_durable_and_batched_records_may_be_lost() {
    let visible = || {
        rule("what is visible is durable", |written: &mut Vec<(EventId, u64)>, seen: &Seen<'_, Wire>, found| match seen
        {
            Seen::Record { event, position, .. } => written.push((*event, *position)),
            Seen::Durable { position } => written.retain(|(_, written)| written > position),
            Seen::Sent { meta, .. } if written.iter().any(|(event, _)| *event == meta.cause) => {
                found.violated(format!("{meta:?} left too early"));
            }
            _ => {}
        })
    };
    let plan = Plan::default().strategy(Strategy::Random);
    check(shop(Planted::default()).rule(visible()), &plan).expect("every effect waits");
    let forgets = Planted { forgets: true, ..Planted::default() };
    check(shop(forgets).rule(visible()), &plan).expect_err("a batched record does not hold anything back");
    let options = || WorldOptions { loss_window_ms: 0, ..WorldOptions::default() };
    check(shop(forgets).options(options()).rule(visible()), &plan).expect("without a window every effect waits");
}

#[test]
fn a_panic_of_a_behaviour_is_contained_and_told() {
    let panics = Planted { panics: true, ..RACE };
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let failure = explore(&mut shop(panics).rule(twinway_scenarios::testkit::NobodyPanics), &Plan::default(), |_| {});
    std::panic::set_hook(quiet);
    let failure = failure.failure.expect("it is found");
    let text = failure.to_string();
    assert!(text.contains("nobody panics: Stock 3:0 panicked: nothing is reserved"), "{text}");
}

#[test]
fn only_orders_that_links_promise_are_explored() {
    // The stock is told to reserve before the bank is told to charge: only a link without causal order lets `Ship` in first.
    let plan = Plan::default().strategy(Strategy::Exhaustive { depth_max: 100 });
    let with =
        |order| shop(Planted::default()).links(Links::default().inside(Promise { order, ..Promise::IN_PROCESS }));
    assert!(explore(&mut with(Order::Causal), &plan, |_| {}).failure.is_none());
    for order in [Order::Fifo, Order::Unordered] {
        let failure = explore(&mut with(order), &plan, |_| {}).failure.expect("Ship overtakes Reserve");
        assert!(failure.to_string().contains("Buy of a caller was never answered"), "{failure}");
    }
}

#[test]
fn a_crash_takes_what_was_not_durable_and_no_more() {
    let charged = |least: usize| {
        rule("a charge that was told is kept", move |seen_charges: &mut usize, seen: &Seen<'_, Wire>, found| match seen
        {
            Seen::Answered { .. } => *seen_charges += 1,
            Seen::End { .. } if *seen_charges < least => found.violated("the buyer was not served"),
            _ => {}
        })
    };
    let faults = Faults { crashes: 1, ..Faults::NONE };
    let mut world = shop(Planted::default()).rule(charged(1)).faults(faults);
    let summary = explore(&mut world, &Plan::default().strategy(Strategy::Random), |_| {});
    assert!(summary.failure.is_none(), "{:?}", summary.failure);
    let mut crashed = 0;
    for seed in 0..200 {
        world.run(seed, &mut twinway_scenarios::testkit::Random::with_fault_every(4));
        crashed += u32::from(world.told().iter().any(|told| told.what == What::Crash));
    }
    assert!(crashed > 100, "{crashed} of 200 runs crashed");
}

#[test]
fn a_schedule_past_its_end_goes_on_in_the_order_of_sending() {
    let mut world = shop(RACE);
    world.run(3, &mut Fifo);
    let fifo = world.trace().to_vec();
    world.run(3, &mut Replay::new(&[]));
    assert_eq!(world.trace(), fifo);
    let wild = Schedule { seed: 3, choices: vec![u32::MAX; 50] };
    let run = replay(&mut shop(Planted::default()), &wild).expect("the last is as good as any");
    assert!(run.schedule.choices.iter().all(|choice| *choice < 10));
    let _named = EveryCallIsAnswered::default();
}
