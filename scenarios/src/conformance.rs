//! Conformance: what the two texts ask for, and what was executed just now that answers it.
//!
//! A [`Clause`] is a requirement of FGMV-28 clause 8, a function that FGMV-29 clause 8 gives an entity, or a step of one of
//! the nine flows. Nothing here says by hand that a clause is met: a [`Check`] names the clauses that it answers where it
//! is written, a world file names its own, and which steps were taken is read from the traces of the runs. A clause that
//! nothing answered is open.

mod clause;
mod report;

use std::collections::BTreeSet;

use twinway_protocol::message::Wire;

pub use clause::{Clause, Kind, clauses};
pub use report::{Evidence, Report, Row, Verdict};

use crate::{
    explore::{Plan, Strategy, explore},
    flow,
    scenario::{self, Scenario},
    world::World,
    worlds,
};

/// How many orders of its messages each check is run in.
pub const ORDERS: u64 = 50;

/// A world that must hold, and the clauses that it answers if it does.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name: what is guaranteed.
    pub name: &'static str,
    /// What is guaranteed, in a sentence.
    pub what: &'static str,
    /// The ids of the clauses.
    pub answers: &'static [&'static str],
    /// Makes the world.
    pub make: fn() -> World<Wire>,
}

/// All checks that simulated worlds make.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    worlds::checks::all()
}

/// Steps of flows by flow and number.
pub type Steps = BTreeSet<(String, String)>;

/// Runs a scenario against a daemon: whether it holds and why not, and which steps its trace has. The sockets belong to
/// whoever runs the report.
pub type Play<'p> = &'p mut dyn FnMut(&Scenario, Option<&str>) -> (Result<(), String>, Steps);

/// What is about to run, of how many.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'p> {
    /// Its name.
    pub name: &'p str,
    /// How many have run.
    pub done: usize,
    /// How many there are.
    pub all: usize,
}

/// Runs every check, every named world and, with `play`, every scenario with its variants, and says of each clause what
/// came of it.
pub fn run(play: Option<Play<'_>>, mut progress: impl FnMut(Progress<'_>)) -> Report {
    let worlds = worlds::WORLDS;
    let scenarios: Vec<(&Scenario, Option<&str>)> = match play {
        Some(_) => scenario::embedded().iter().flat_map(variants).collect(),
        None => Vec::new(),
    };
    let all = checks().count() + worlds.len() + scenarios.len();
    let mut evidence = Vec::new();
    for check in checks() {
        progress(Progress { name: check.name, done: evidence.len(), all });
        let (result, _) = hold(&mut (check.make)());
        // Only what it says: which steps a world of some clause happens to take is no answer to them.
        evidence.push(Evidence::new("check", check.name, check.what.trim(), result).answering(check.answers));
    }
    for (name, what, make) in worlds {
        progress(Progress { name, done: evidence.len(), all });
        let (result, steps) = hold(&mut make());
        let of = name.split('-').next().unwrap_or(name);
        evidence.push(Evidence::new("simulated world", name, what, result).taking(of, &steps));
    }
    if let Some(play) = play {
        for (scenario, variant) in scenarios {
            let name = variant.map_or_else(|| scenario.name.clone(), |variant| format!("{} {variant}", scenario.name));
            progress(Progress { name: &name, done: evidence.len(), all });
            let (result, steps) = play(scenario, variant);
            let variant = variant.and_then(|variant| scenario.variant(variant));
            let (title, clauses) =
                variant.map_or((&scenario.title, &scenario.clauses), |variant| (&variant.title, &variant.clauses));
            let shown = Evidence::new("scenario", &name, title, result).taking(scenario.flow.name(), &steps);
            evidence.push(shown.answering(clauses));
        }
    }
    Report::of(clauses(), evidence)
}

fn variants(scenario: &Scenario) -> impl Iterator<Item = (&Scenario, Option<&str>)> {
    let variants = scenario.variants.iter().map(|variant| Some(variant.name.as_str()));
    [None].into_iter().chain(variants).map(move |variant| (scenario, variant))
}

/// Whether all rules of the world hold in [`ORDERS`] orders, and which steps were taken.
fn hold(world: &mut World<Wire>) -> (Result<(), String>, Steps) {
    let mut steps = Steps::new();
    let plan = Plan { strategy: Strategy::Mixed, runs: ORDERS, seed: 0, count_all: false };
    let summary = explore(world, &plan, |_| {});
    for event in world.trace() {
        steps.extend(event.step.map(|step| (step.flow.to_owned(), step.number.to_owned())));
    }
    let result = summary.failure.map_or(Ok(()), |failure| {
        let violated = failure.shortest.violations.iter().map(ToString::to_string);
        Err(violated.collect::<Vec<_>>().join("; "))
    });
    (result, steps)
}

/// The steps of the flow named `of` that a trace with these `steps` has taken: its own, and those that are spans of others.
fn taken(of: &str, steps: &Steps) -> Vec<String> {
    let has = |flow: &str, number: &str| steps.contains(&(flow.to_owned(), number.to_owned()));
    let mut ids = Vec::new();
    for flow in flow::embedded() {
        for step in flow.steps() {
            let own = step.contains.is_none() && has(flow.name(), &step.number);
            let span =
                flow.name() == of && step.contains.is_some() && step.hops.iter().any(|hop| has(&hop.flow, &hop.number));
            if own || span {
                ids.push(clause::of_step(flow, step));
            }
        }
    }
    ids
}
