//! Exploring a world: many runs, a summary, and the shortest schedule by which a rule does not hold.

use std::{collections::HashSet, fmt};

use twinway_protocol::{WireSet, trace::TraceEvent};

use crate::{
    driver::{Chance, Driver, Fifo, Pct, Random, Replay, Search},
    render,
    run::{Run, Schedule},
    shrink::shrink,
    world::World,
};

/// How a world is explored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Any order, with equal chances.
    Random,
    /// By priorities that change at `depth - 1` points.
    Pct {
        /// How many ordering constraints a bug may need.
        depth: u32,
    },
    /// Both of these in turn: the seed says which.
    Mixed,
    /// Every order, branching at the first `depth_max` points of a run.
    Exhaustive {
        /// See [`Search::new`].
        depth_max: usize,
    },
}

/// How much to explore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How.
    pub strategy: Strategy,
    /// At most so many runs.
    pub runs: u64,
    /// The first seed; the others follow it.
    pub seed: u64,
    /// Whether to go on after a rule did not hold, to count.
    pub count_all: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { strategy: Strategy::Mixed, runs: 1_000, seed: 0, count_all: false }
    }
}

impl Plan {
    /// The same with so many runs.
    #[must_use]
    pub fn runs(mut self, runs: u64) -> Self {
        self.runs = runs;
        self
    }

    /// The same from this seed on.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The same by another strategy.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }
}

/// What came of exploring.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many runs there were.
    pub runs: u64,
    /// How many more were given up since they would have been the same as another (exhaustive searches only).
    pub pruned: u64,
    /// How many of the runs differ in more than the order of what commutes.
    pub distinct: u64,
    /// In how many a rule did not hold.
    pub violations: u64,
    /// How many actions they took.
    pub actions: u64,
    /// Whether there is no other order (only an exhaustive search can tell).
    pub complete: bool,
    /// The first run in which a rule did not hold, shrunk.
    pub failure: Option<Failure>,
}

/// A run in which a rule did not hold.
#[derive(Clone)]
pub struct Failure {
    /// As it was found.
    pub found: Schedule,
    /// After how many runs.
    pub after_runs: u64,
    /// The shortest one by which the same rule does not hold.
    pub shortest: Run,
    /// The command that repeats it, if there is one.
    pub command: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = &self.shortest;
        for violation in &run.violations {
            writeln!(f, "violated: {violation}")?;
        }
        writeln!(f, "found in run {}, with seed {}", self.after_runs, self.found.seed)?;
        let departures = run.schedule.departures();
        writeln!(f, "the shortest schedule leaves the order of sending {departures} times (marked *):\n")?;
        f.write_str(&render::numbered_list(run))?;
        writeln!(f, "\n```mermaid\n{}```\n", render::mermaid(run))?;
        match &self.command {
            Some(command) => writeln!(f, "to repeat it: {command}"),
            None => writeln!(f, "to repeat it: schedule {}", run.schedule),
        }
    }
}

impl fmt::Debug for Failure {
    // A test that returns its failure shows it by `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl std::error::Error for Failure {}

/// What tells traces apart that differ in more than the order of what commutes: ids of events count each entity's
/// turns, so that a sum over all events knows every entity's order and every cause, and no order between entities.
#[must_use]
pub fn fingerprint(trace: &[TraceEvent]) -> u64 {
    let of_event = |event: &TraceEvent| {
        let mut chance = Chance(event.event.to_bits());
        let mut mixed = chance.next() ^ event.cause.to_bits();
        let (first, length) = (event.name.as_bytes().first().copied(), event.name.len() as u64);
        for bits in event.joined.iter().map(|joined| joined.to_bits()) {
            mixed ^= Chance(bits ^ 1).next();
        }
        mixed ^= event.from.to_bits() ^ (u64::from(first.unwrap_or_default()) << 40) ^ (length << 48);
        Chance(mixed).next()
    };
    trace.iter().fold(0, |sum: u64, event| sum.wrapping_add(of_event(event)))
}

/// Explores a world. `progress` hears of every run, with the summary so far.
pub fn explore<W: WireSet>(world: &mut World<W>, plan: &Plan, mut progress: impl FnMut(&Summary)) -> Summary {
    let mut summary = Summary::default();
    let mut traces = HashSet::new();
    if let Strategy::Exhaustive { depth_max } = plan.strategy {
        let mut search = Search::new(depth_max);
        while !search.is_over() && search.runs() + search.pruned() < plan.runs {
            let tried = search.runs();
            let held = search.run(world, plan.seed, search.runs() + search.pruned() + 1);
            summary.pruned = search.pruned();
            if search.runs() > tried {
                note(world, plan.seed, held, &mut summary, &mut traces);
            }
            progress(&summary);
            if !held {
                if !plan.count_all {
                    break;
                }
                search.skip();
            }
        }
        summary.complete = search.is_complete();
    } else {
        let mut drivers: Vec<Box<dyn Driver>> = match plan.strategy {
            Strategy::Pct { depth } => vec![Box::new(Pct::new(depth, points(world)))],
            Strategy::Mixed => {
                vec![Box::new(Random::default()), Box::new(Pct::new(3, points(world))), Box::new(Random::default())]
            }
            _ => vec![Box::new(Random::default())],
        };
        let count = drivers.len() as u64;
        for seed in (0..plan.runs).map(|run| plan.seed.wrapping_add(run)) {
            let Some(driver) = drivers.get_mut((seed % count) as usize) else { break };
            let held = world.run(seed, &mut **driver);
            note(world, seed, held, &mut summary, &mut traces);
            progress(&summary);
            if !held && !plan.count_all {
                break;
            }
        }
    }
    if let Some(failure) = &mut summary.failure {
        failure.shortest = shrink(world, &failure.found);
    }
    summary
}

/// About how many points with a choice a run of this world has.
fn points<W: WireSet>(world: &mut World<W>) -> u64 {
    world.run(0, &mut Fifo);
    world.choices().len() as u64
}

fn note<W: WireSet>(world: &World<W>, seed: u64, held: bool, summary: &mut Summary, traces: &mut HashSet<u64>) {
    summary.runs += 1;
    summary.actions += world.taken();
    summary.distinct += u64::from(traces.insert(fingerprint(world.trace())));
    if !held {
        summary.violations += 1;
        if summary.failure.is_none() {
            let shortest = world.last(seed);
            let found = shortest.schedule.clone();
            summary.failure = Some(Failure { found, after_runs: summary.runs, shortest, command: None });
        }
    }
}

/// Runs a world by one schedule.
///
/// # Errors
/// The run, unshrunk, if a rule does not hold.
pub fn replay<W: WireSet>(world: &mut World<W>, schedule: &Schedule) -> Result<Run, Box<Failure>> {
    let held = world.run(schedule.seed, &mut Replay::new(&schedule.choices));
    let shortest = world.last(schedule.seed);
    if held {
        return Ok(shortest);
    }
    Err(Box::new(Failure { found: schedule.clone(), after_runs: 1, shortest, command: None }))
}
