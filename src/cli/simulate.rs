//! `twinway simulate`: runs a procedure in a simulated world, in any order that links allow, with faults if wanted.

use std::time::Instant;

use clap::Args;
use serde::Serialize;
use twinway::scenarios::{
    explore::{self, Failure as Bad, Plan, Strategy, Summary},
    fault::Faults,
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
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    flow: &'a str,
    runs: u64,
    distinct_traces: u64,
    violations: u64,
    /// Whether there is no other order.
    complete: bool,
    schedules_per_second: f64,
    first_seed: Option<u64>,
    /// The shortest schedule by which the same rule does not hold.
    schedule: Option<String>,
    violated: Vec<String>,
}

pub(crate) fn run(options: &SimulateOptions, output: &mut Output) -> Result<(), Failure> {
    let Some(flow) = &options.flow else {
        let rows = worlds::WORLDS.iter().map(|(name, what, _)| vec![(*name).to_owned(), (*what).to_owned()]);
        return output.table(&["FLOW", "WHAT IT IS"], rows);
    };
    let Some(world) = worlds::find(flow) else {
        let why = format!("no flow `{}` is simulated; these are: {}", printable(flow), known(flow).join(", "));
        return Err(Failure::Other(Exit::NotFound, why));
    };
    let mut world = world.faults(options.faults);
    let began = Instant::now();
    let summary = match &options.schedule {
        Some(schedule) => repeat(&mut world, schedule),
        None => {
            let mut progress = output.progress("runs");
            let strategy =
                if options.exhaustive { Strategy::Exhaustive { depth_max: DEPTH_MAX } } else { Strategy::Mixed };
            let plan = Plan { strategy, runs: options.runs, seed: options.seed, count_all: true };
            explore::explore(&mut world, &plan, |summary| {
                // A bar that moves with every run would take longer than the runs.
                if summary.runs % 256 == 0 || summary.runs == options.runs {
                    progress(summary.runs, options.runs);
                }
            })
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    show(flow, options, summary, seconds, output)
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
    Summary { runs: 1, distinct: 1, violations, actions: world.taken(), complete: false, failure }
}

fn show(
    flow: &str,
    options: &SimulateOptions,
    mut summary: Summary,
    seconds: f64,
    output: &mut Output,
) -> Result<(), Failure> {
    if let Some(failure) = &mut summary.failure {
        let faults = if options.faults.any() { format!(" --faults {}", options.faults) } else { String::new() };
        let schedule = &failure.shortest.schedule;
        failure.command = Some(format!("twinway simulate --flow {flow}{faults} --schedule '{schedule}'"));
    }
    let failure = summary.failure.as_ref();
    let shown = Shown {
        flow,
        runs: summary.runs,
        distinct_traces: summary.distinct,
        violations: summary.violations,
        complete: summary.complete,
        schedules_per_second: (summary.runs as f64 / seconds).round(),
        first_seed: failure.map(|failure| failure.found.seed),
        schedule: failure.map(|failure| failure.shortest.schedule.to_string()),
        violated: violated(failure),
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
                rows.push(vec!["every order".to_owned(), if shown.complete { "yes" } else { "no" }.to_owned()]);
            }
            if let Some(seed) = shown.first_seed {
                rows.push(vec!["first seed".to_owned(), seed.to_string()]);
            }
            output.table(&[], rows)?;
            if let Some(failure) = failure {
                output.line(&format!("\n{failure}"))?;
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
