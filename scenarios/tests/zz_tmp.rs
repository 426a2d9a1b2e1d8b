//! Temporary.
#![allow(clippy::expect_used, clippy::panic, reason = "t")]
use twinway_scenarios::{driver::Random, fault::Faults, worlds::WORLDS};
#[test]
fn zz() {
    let want = std::env::var("ZW").unwrap();
    let runs: u64 = std::env::var("ZN").unwrap_or("300".into()).parse().unwrap();
    for (name, _, make) in WORLDS {
        if *name != want {
            continue;
        }
        for f in std::env::var("ZF").unwrap().split(';') {
            let mut world = make().faults(Faults::parse(f).unwrap());
            let mut bad = 0;
            for seed in 0..runs {
                if !world.run(seed, &mut Random::default()) {
                    bad += 1;
                    if bad == 1 {
                        println!("{name} [{f}] seed {seed}: {:#?}", world.violations());
                        if std::env::var("ZT").is_ok() {
                            for e in world.trace() {
                                println!(
                                    "{:?} <- {:?} + {:?} {:?}->{:?} {:?} {}",
                                    e.event, e.cause, e.joined, e.from, e.to, e.step, e.name
                                );
                            }
                        }
                    }
                }
            }
            println!("{name} [{f}]: {bad} bad of {runs}");
        }
    }
}
