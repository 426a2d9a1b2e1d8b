//! Every world with a name: each order that the links allow comes to the same good end, with faults too, and is as the
//! flow files say.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise, and tell"
)]

use std::collections::BTreeSet;

use twinway_protocol::{
    flow::{Checker, Checkers, Limits, Traced},
    message::Wire,
    trace::TraceEvent,
};
use twinway_scenarios::{
    driver::{Fifo, Random},
    explore::{Plan, explore},
    fault::Faults,
    flow,
    worlds::WORLDS,
};

/// How many schedules of each world are tried in every run of the tests: half of them with faults.
const SCHEDULES: u64 = 500;
/// And how many when there is time.
const SCHEDULES_LONG: u64 = 10_000;

#[test]
fn without_disturbance_every_world_comes_to_its_end() {
    for (name, _, make) in WORLDS {
        let mut world = make();
        assert!(world.run(0, &mut Fifo), "{name}: {:?}", world.violations());
        println!("{name}: {} actions, {} events", world.taken(), world.trace().len());
    }
}

/// So many schedules of every world, each link under its own promise: the rules hold, and no edge of a flow is lucky.
fn hold(schedules: u64, faults: Faults) {
    for (name, _, make) in WORLDS {
        let mut world = make().faults(faults);
        let summary = explore(&mut world, &Plan::default().runs(schedules), |_| {});
        println!("{name} [{faults}]: {} schedules, {} distinct traces", summary.runs, summary.distinct);
        assert!(summary.failure.is_none(), "{name} [{faults}]:\n{}", summary.failure.expect("there is one"));
        assert_eq!(summary.runs, schedules);
    }
}

#[test]
fn any_order_that_links_allow_comes_to_the_same_end() {
    hold(SCHEDULES / 2, Faults::NONE);
}

#[test]
fn any_order_with_faults_comes_to_the_same_end() {
    hold(SCHEDULES / 2, Faults::ONE_OF_EACH);
}

#[test]
#[ignore = "a long search: `./check.sh --long` runs it, optimized"]
fn ten_thousand_orders_come_to_the_same_end() {
    hold(SCHEDULES_LONG, Faults::NONE);
}

#[test]
#[ignore = "a long search: `./check.sh --long` runs it, optimized"]
fn ten_thousand_orders_with_faults_come_to_the_same_end() {
    hold(SCHEDULES_LONG, Faults::ONE_OF_EACH);
}

/// Which steps of a flow a trace takes; those that contain spans by the steps of these.
fn steps_taken(trace: &[TraceEvent], name: &str) -> BTreeSet<String> {
    let flow = flow::find(name).expect("it is a flow of the texts");
    let taken = |flow: &str, number: &str| {
        trace.iter().filter_map(|event| event.step).any(|step| (step.flow, step.number) == (flow, number))
    };
    let is_taken = |step: &&twinway_protocol::flow::FlowStep| {
        let main = step.hops.last().map_or((name, &*step.number), |hop| (&*hop.flow, &*hop.number));
        taken(main.0, main.1)
    };
    flow.steps().iter().filter(is_taken).map(|step| step.number.clone()).collect()
}

#[test]
fn where_all_goes_well_every_step_of_the_flow_is_taken() {
    for name in ["7.1.1", "7.1.2", "7.1.3", "7.2.1", "7.3.1", "7.3.2", "7.3.3", "9.1", "9.2"] {
        let (_, _, make) = WORLDS.iter().find(|(known, ..)| *known == name).expect("it has its world");
        let mut world = make();
        assert!(world.run(0, &mut Fifo), "{name}: {:?}", world.violations());
        let all: BTreeSet<String> =
            flow::find(name).expect("it is there").steps().iter().map(|step| step.number.clone()).collect();
        assert_eq!(steps_taken(world.trace(), name), all, "{name}");
    }
}

#[test]
fn an_unhappy_branch_ends_where_it_says() {
    let ends = [
        ("7.1.1-denied", "3"),
        ("7.1.1-refused", "3"),
        ("7.1.2-complete", "4"),
        ("7.1.2-denied", "4"),
        ("7.1.2-refused", "7"),
        ("7.3.1-absurd", "6"),
        ("7.3.1-unreached", "2.2"),
        ("7.3.2-denied", "4"),
        ("7.3.3-absurd", "2"),
        ("7.3.3-stranger", "2"),
    ];
    for (name, never) in ends {
        let (_, _, make) = WORLDS.iter().find(|(known, ..)| *known == name).expect("it has its world");
        let mut world = make();
        assert!(world.run(0, &mut Fifo), "{name}: {:?}", world.violations());
        let flow = name.split_once('-').expect("it is a branch").0;
        assert!(!steps_taken(world.trace(), flow).contains(never), "{name} takes step {never}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for (name, _, make) in WORLDS {
        let (mut first, mut second) = (make(), make());
        let mut different = 0;
        for seed in 0..20 {
            first.run(seed, &mut Random::default());
            let before = second.trace().to_vec();
            // The second world has another past in its memory.
            second.run(seed + 1_000, &mut Random::default());
            second.run(seed, &mut Random::default());
            assert_eq!(first.trace(), second.trace(), "{name} seed {seed}");
            assert_eq!((first.choices(), first.told()), (second.choices(), second.told()), "{name} seed {seed}");
            different += u32::from(before != second.trace());
        }
        assert!(different > 15, "{name}: seeds make no difference");
    }
}

#[test]
fn what_a_runtime_recorded_is_judged_as_what_was_read_by_all_flows_at_once() {
    for (name, _, make) in WORLDS {
        let mut world = make();
        let flows = flow::embedded();
        let (first, others) = flows.split_first().expect("there are flows");
        let mut together = Checkers::new(first.clone(), others.iter().cloned(), Limits::in_order());
        for seed in 0..5 {
            world.run(seed, &mut Random::default());
            together.reset();
            let mut found = vec![Vec::new(); flows.len()];
            for (place, event) in (0..).zip(world.trace()) {
                together.recorded::<Wire>(event, place, |flow, finding| found[flow].push(finding));
            }
            together.end(|flow, finding| found[flow].push(finding));
            for ((flow, report), found) in together.reports().zip(found) {
                let mut alone = Checker::new(flow.clone(), Limits::in_order());
                let mut read = Vec::new();
                for (place, event) in (0..).zip(world.trace()) {
                    alone.event(&Traced::of::<Wire>(event, place), |finding| read.push(finding));
                }
                let alone = alone.finish(|finding| read.push(finding));
                assert_eq!((report, found), (&alone, read), "{name} seed {seed}, the flow {}", flow.name());
            }
        }
    }
}
