//! `twinway conformance`: what the two texts ask for, and what was executed just now that answers it.

use clap::{Args, ValueEnum};
use twinway::{
    scenario::{self, RunOptions},
    scenarios::{
        conformance::{self, Report, Steps, Verdict},
        scenario::Scenario,
    },
};

use super::{
    exit::{Exit, Failure},
    output::{Format, Output, printable},
    scenario::blocking,
};

#[derive(Debug, Args)]
pub(crate) struct ConformanceOptions {
    /// How the report is written.
    #[arg(long, value_enum)]
    format: Option<ReportFormat>,
    /// Only checks in simulated worlds: no daemon is started, and what only a scenario answers stays open.
    #[arg(long)]
    simulated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people, a line a clause.
    Table,
    /// For programs.
    Json,
    /// A page for a browser.
    Html,
}

pub(crate) fn run(options: &ConformanceOptions, output: &mut Output) -> Result<(), Failure> {
    let format = options.format.unwrap_or(match output.format() {
        Format::Json => ReportFormat::Json,
        Format::Table => ReportFormat::Table,
    });
    let program = std::env::current_exe().map_err(|error| Failure::other(format!("this program: {error}")))?;
    let mut play = |scenario: &Scenario, variant: Option<&str>| {
        let options = RunOptions {
            program: program.clone(),
            world: scenario.name.clone(),
            variant: variant.map(str::to_owned),
            seed: 0,
            trace: None,
        };
        played(scenario, &options)
    };
    let mut bar = output.progress("runs");
    let play: Option<conformance::Play<'_>> = if options.simulated { None } else { Some(&mut play) };
    let report = conformance::run(play, |progress| bar(progress.done as u64, progress.all as u64));
    drop(bar);
    match format {
        ReportFormat::Table => table(&report, output)?,
        ReportFormat::Json => output.json(&report)?,
        ReportFormat::Html => output.bytes(report.html().as_bytes())?,
    }
    match (report.count(Verdict::Broken), report.count(Verdict::Open)) {
        (0, 0) => Ok(()),
        (broken, open) => {
            let why = format!("{broken} clauses are broken, {open} are open, of {}", report.rows.len());
            Err(Failure::Other(Exit::CheckFailed, why))
        }
    }
}

/// Runs a scenario to its end.
fn played(scenario: &Scenario, options: &RunOptions) -> (Result<(), String>, Steps) {
    let outcome = match blocking(async { Ok(scenario::run(scenario, options, |_| {}).await) }) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(why)) => return (Err(why), Steps::new()),
        Err(_) => return (Err("there is no runtime for it".to_owned()), Steps::new()),
    };
    if outcome.holds {
        return (Ok(()), outcome.verdict.steps);
    }
    let failed = outcome.acts.iter().filter_map(|act| Some(format!("line {}: {}", act.line, act.failed.as_ref()?)));
    let findings = outcome.verdict.flows.iter().flat_map(|flow| {
        flow.findings.iter().filter(|_| !flow.holds).map(move |finding| format!("flow {}: {finding}", flow.flow))
    });
    (Err(failed.chain(findings).collect::<Vec<_>>().join("; ")), outcome.verdict.steps)
}

fn table(report: &Report, output: &mut Output) -> Result<(), Failure> {
    let rows = report.rows.iter().map(|row| {
        let verdict = match row.verdict {
            Verdict::Holds => "holds",
            Verdict::Broken => "BROKEN",
            Verdict::Open => "open",
        };
        let mut names: Vec<String> = report.of_row(row).map(|evidence| evidence.name.clone()).collect();
        let more = names.len().saturating_sub(3);
        names.truncate(3);
        if more > 0 {
            names.push(format!("and {more} more"));
        }
        vec![row.clause.id.clone(), verdict.to_owned(), row.clause.title.clone(), names.join(", ")]
    });
    output.table(&["CLAUSE", "VERDICT", "ASKED FOR", "EXECUTED"], rows)?;
    for evidence in report.evidence.iter().filter(|evidence| !evidence.holds) {
        let problem = evidence.problem.as_deref().unwrap_or_default();
        output.line(&printable(&format!("{} {} does not hold: {problem}", evidence.kind, evidence.name)))?;
    }
    let [holds, broken, open] = [Verdict::Holds, Verdict::Broken, Verdict::Open].map(|verdict| report.count(verdict));
    output.line(&format!(
        "{} clauses: {holds} hold, {broken} broken, {open} open; {} runs",
        report.rows.len(),
        report.evidence.len()
    ))
}
