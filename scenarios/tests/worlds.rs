//! Both procedures in simulated worlds: every order that the links allow comes to the same good end.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use twinway_scenarios::{
    driver::{Fifo, Random},
    worlds::WORLDS,
};

#[test]
fn without_disturbance_every_world_comes_to_its_end() {
    for (name, _, make) in WORLDS {
        let mut world = make();
        assert!(world.run(0, &mut Fifo), "{name}: {:?}", world.violations());
        println!("{name}: {} actions, {} events", world.taken(), world.trace().len());
    }
}

#[test]
fn any_order_that_links_allow_comes_to_the_same_end() {
    for (name, _, make) in WORLDS {
        let mut world = make();
        for seed in 0..300 {
            assert!(world.run(seed, &mut Random::default()), "{name} seed {seed}: {:?}", world.violations());
        }
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
