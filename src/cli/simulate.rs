//! `twinway simulate`: runs a procedure in a simulated world, in any order that links allow, with faults if wanted.

use std::{path::PathBuf, time::Instant};

use clap::Args;
use serde::Serialize;
use twinway::scenarios::{
    explore::{self, Failure as Bad, Plan, Strategy, Summary},
    fault::Faults,
    regression::{Regression, RegressionError},
    run::Schedule,
    worlds,
};

use super::{
    exit::{Exit, Failure},
    output::{Format, Output, printable},
};

/// Where an exhaustive search goes on in the order of sending.
const DEPTH_MAX: usize = 1_000;

#[derive(Debug, Args)]
pub(crate) struct SimulateOptions {
    /// The world: the clause of its flow, and behind a `-` the unhappy branch that it shows, if it shows one. Without it,
    /// the worlds are listed.
    #[arg(long, value_name = "NAME")]
    flow: Option<String>,
    /// At most how many runs.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    runs: u64,
    /// The first seed; the others follow it.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// The most faults of a run, such as `drop,crash=2`: drop, duplicate, delay, panic, restart, crash, clock, or all.
    #[arg(long, value_name = "FAULTS", default_value = "", value_parser = Faults::parse, hide_default_value = true)]
    faults: Faults,
    /// Tries every order instead of random ones, as far as the runs reach.
    #[arg(long, conflicts_with = "schedule")]
    exhaustive: bool,
    /// Repeats one run, as a failure shows it.
    #[arg(long, value_name = "SCHEDULE")]
    schedule: Option<Schedule>,
    /// Repeats the run of a file that `--save` wrote, in its world and with its faults.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["flow", "runs", "seed", "faults", "exhaustive", "schedule"])]
    replay: Option<PathBuf>,
    /// Writes the shortest schedule by which a rule does not hold to a file in this folder, for `--replay` and for tests.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    flow: &'a str,
    runs: u64,
    /// Runs that were given up since they would have been the same as another.
    pruned: u64,
    distinct_traces: u64,
    violations: u64,
    /// Whether there is no other order.
    complete: bool,
    schedules_per_second: f64,
    first_seed: Option<u64>,
    /// The shortest schedule by which the same rule does not hold.
    schedule: Option<String>,
    violated: Vec<String>,
    /// The file that repeats it, if one was wanted.
    saved: Option<String>,
}

/// What is to be simulated, as the arguments or a file say.
struct Wanted {
    flow: String,
    faults: Faults,
    schedule: Option<Schedule>,
}

impl SimulateOptions {
    fn wanted(&self) -> Result<Option<Wanted>, Failure> {
        let Some(file) = &self.replay else {
            let wanted = |flow| Wanted { flow, faults: self.faults, schedule: self.schedule.clone() };
            return Ok(self.flow.clone().map(wanted));
        };
        let Regression { world, faults, schedule, .. } = Regression::read(file).map_err(|error| match error {
            RegressionError::WorldUnknown { .. } => Failure::Other(Exit::NotFound, error.to_string()),
            _ => Failure::usage(error.to_string()),
        })?;
        Ok(Some(Wanted { flow: world, faults, schedule: Some(schedule) }))
    }
}

pub(crate) fn run(options: &SimulateOptions, output: &mut Output) -> Result<(), Failure> {
    let Some(wanted) = options.wanted()? else {
        let rows = worlds::WORLDS.iter().map(|(name, what, _)| vec![(*name).to_owned(), (*what).to_owned()]);
        return output.table(&["FLOW", "WHAT IT IS"], rows);
    };
    let flow = &wanted.flow;
    let Some(world) = worlds::find(flow) else {
        let why = format!("no flow `{}` is simulated; these are: {}", printable(flow), known(flow).join(", "));
        return Err(Failure::Other(Exit::NotFound, why));
    };
    let mut world = world.faults(wanted.faults);
    let began = Instant::now();
    let summary = match &wanted.schedule {
        Some(schedule) => repeat(&mut world, schedule),
        None => {
            let mut progress = output.progress("runs");
            let strategy =
                if options.exhaustive { Strategy::Exhaustive { depth_max: DEPTH_MAX } } else { Strategy::Mixed };
            let plan = Plan { strategy, runs: options.runs, seed: options.seed, count_all: true };
            explore::explore(&mut world, &plan, |summary| {
                // A bar that moves with every run would take longer than the runs.
                let tried = summary.runs + summary.pruned;
                if tried % 256 == 0 || tried == options.runs {
                    progress(tried, options.runs);
                }
            })
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    let saved = save(&wanted, options, summary.failure.as_ref(), output);
    show(&wanted, options, (summary, seconds), saved, output)
}

/// Writes the failure down, where that is wanted; gives the file. That it cannot is no reason not to show the failure.
fn save(wanted: &Wanted, options: &SimulateOptions, failure: Option<&Bad>, output: &Output) -> Option<PathBuf> {
    let (Some(folder), Some(failure)) = (&options.save, failure) else { return None };
    let saved = Regression::of(&wanted.flow, wanted.faults, failure).save(folder);
    saved.map_err(|error| output.note(&format!("error: nothing can be saved in {}: {error}", folder.display()))).ok()
}

/// The worlds of the flow that a name begins with; of all flows, if it begins with none.
fn known(name: &str) -> Vec<&'static str> {
    let flow_of = |name: &str| name.split_once('-').map_or(name, |(flow, _)| flow).to_owned();
    let all = || worlds::WORLDS.iter().map(|(name, ..)| *name);
    let own: Vec<_> = all().filter(|known| flow_of(known) == flow_of(name)).collect();
    if own.is_empty() { all().collect() } else { own }
}

fn repeat(world: &mut twinway::scenarios::world::World<twinway::protocol::message::Wire>, of: &Schedule) -> Summary {
    let failure = explore::replay(world, of).err().map(|failure| *failure);
    let violations = u64::from(failure.is_some());
    Summary { runs: 1, distinct: 1, violations, actions: world.taken(), failure, ..Summary::default() }
}

fn show(
    wanted: &Wanted,
    options: &SimulateOptions,
    (mut summary, seconds): (Summary, f64),
    saved: Option<PathBuf>,
    output: &mut Output,
) -> Result<(), Failure> {
    let Wanted { flow, faults, .. } = wanted;
    if let Some(failure) = &mut summary.failure {
        let faults = if faults.any() { format!(" --faults {faults}") } else { String::new() };
        let schedule = &failure.shortest.schedule;
        failure.command = Some(format!("twinway simulate --flow {flow}{faults} --schedule '{schedule}'"));
    }
    let failure = summary.failure.as_ref();
    let shown = Shown {
        flow,
        runs: summary.runs,
        pruned: summary.pruned,
        distinct_traces: summary.distinct,
        violations: summary.violations,
        complete: summary.complete,
        schedules_per_second: (summary.runs as f64 / seconds).round(),
        first_seed: failure.map(|failure| failure.found.seed),
        schedule: failure.map(|failure| failure.shortest.schedule.to_string()),
        violated: violated(failure),
        saved: saved.map(|path| path.display().to_string()),
    };
    match output.format() {
        Format::Json => output.json(&shown)?,
        Format::Table => {
            let mut rows = vec![
                vec!["runs".to_owned(), shown.runs.to_string()],
                vec!["distinct traces".to_owned(), shown.distinct_traces.to_string()],
                vec!["violations".to_owned(), shown.violations.to_string()],
                vec!["schedules a second".to_owned(), shown.schedules_per_second.to_string()],
            ];
            if options.exhaustive {
                rows.push(vec!["pruned".to_owned(), format!("{}, each the same as another", shown.pruned)]);
                let every = match (shown.complete, shown.runs + shown.pruned < options.runs) {
                    (true, _) => "yes".to_owned(),
                    (false, true) => format!("no: what comes after {DEPTH_MAX} deliveries was not varied"),
                    (false, false) => format!("no: there are more than {}", options.runs),
                };
                rows.push(vec!["every order".to_owned(), every]);
            }
            if let Some(seed) = shown.first_seed {
                rows.push(vec!["first seed".to_owned(), seed.to_string()]);
            }
            output.table(&[], rows)?;
            if let Some(failure) = failure {
                output.line(&format!("\n{failure}"))?;
            }
            if let Some(file) = &shown.saved {
                output.line(&format!("saved: {file}"))?;
            }
        }
    }
    match summary.violations {
        0 => Ok(()),
        count => {
            let why = format!("a rule does not hold in {count} of {} runs", shown.runs);
            Err(Failure::Other(Exit::CheckFailed, why))
        }
    }
}

fn violated(failure: Option<&Bad>) -> Vec<String> {
    failure.iter().flat_map(|failure| &failure.shortest.violations).map(ToString::to_string).collect()
}
