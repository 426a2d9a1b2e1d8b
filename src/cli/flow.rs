//! `twinway flow`: the flows of the texts, and traces checked against them.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use twinway::{
    protocol::flow::{Checker, Finding, Flow, Limits, Report},
    scenarios::flow::{self, Form},
    trace::{Read, read},
};

use super::{
    exit::{Exit, Failure},
    output::{Format, Output, printable},
};

/// Bytes of a trace that are read at once.
const READ_BYTES: usize = 1 << 18;

#[derive(Debug, Subcommand)]
pub(crate) enum FlowCommand {
    /// Lists the flows of FGMV-28 and FGMV-29.
    List,
    /// Shows a flow.
    Show {
        /// Its name, such as 9.2, or a file.
        #[arg(value_name = "FLOW")]
        flow: String,
        /// How it is shown.
        #[arg(long, value_enum)]
        format: Option<ShowFormat>,
    },
    /// Checks a recorded trace (`serve --trace`) against a flow. Ends with 0 if the flow holds, with 8 if not, and with
    /// 2 if the flow or the trace cannot be read.
    Check {
        /// The flow's name, such as 9.2, or a file.
        #[arg(value_name = "FLOW")]
        flow: String,
        /// The trace; `-` is standard input.
        #[arg(value_name = "TRACE")]
        trace: PathBuf,
        /// An order that was kept by luck is an error too.
        #[arg(long)]
        strict: bool,
        /// The trace begins with an empty data directory: what is not in it never happened.
        #[arg(long)]
        whole: bool,
        /// How many findings are shown; the others are counted.
        #[arg(long, value_name = "N", default_value_t = 20)]
        show: usize,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ShowFormat {
    /// For people, a line a step.
    Text,
    /// A sequence diagram for Mermaid.
    Mermaid,
    /// A sequence diagram as a picture.
    Svg,
    /// The order as a graph for Graphviz.
    Dot,
    /// For programs.
    Json,
}

pub(crate) fn run(command: &FlowCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        FlowCommand::List => list(output),
        FlowCommand::Show { flow, format } => {
            let flow = find(flow, Exit::NotFound)?;
            let form = match (format, output.format()) {
                (Some(ShowFormat::Text), _) | (None, Format::Table) => Form::Text,
                (Some(ShowFormat::Mermaid), _) => Form::Mermaid,
                (Some(ShowFormat::Svg), _) => Form::Svg,
                (Some(ShowFormat::Dot), _) => Form::Dot,
                (Some(ShowFormat::Json), _) | (None, Format::Json) => Form::Json,
            };
            output.bytes(flow::show(&flow, form).as_bytes())
        }
        FlowCommand::Check { flow, trace, strict, whole, show } => {
            let flow = find(flow, Exit::Usage)?;
            let checked = check(&flow, trace, *whole, *show)?;
            tell(&flow, &checked, output)?;
            let Report { missing, repeated, unexpected, broken, .. } = checked.report;
            let verdicts = checked.report.verdicts();
            match (checked.report.holds(), verdicts.lucky) {
                (true, 0) => Ok(()),
                (true, _) if !strict => Ok(()),
                (holds, lucky) => {
                    let lucky = if holds || *strict { format!(", {lucky} lucky") } else { String::new() };
                    let why = format!(
                        "{} does not hold: {} violated{lucky}, {missing} missing, {repeated} repeated, {unexpected} \
                         unexpected, {broken} broken",
                        flow.name(),
                        verdicts.violated
                    );
                    Err(Failure::Other(Exit::CheckFailed, why))
                }
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'f> {
    name: &'f str,
    clause: &'f str,
    title: &'f str,
    steps: usize,
}

fn list(output: &mut Output) -> Result<(), Failure> {
    let listed = |flow: &'static Arc<Flow>| Listed {
        name: flow.name(),
        clause: flow.clause(),
        title: flow.title(),
        steps: flow.steps().len(),
    };
    let flows: Vec<Listed<'_>> = flow::embedded().iter().map(listed).collect();
    match output.format() {
        Format::Json => output.json(&flows),
        Format::Table => {
            let row = |flow: Listed<'_>| {
                [flow.name, flow.clause, &flow.steps.to_string(), flow.title].map(str::to_owned).to_vec()
            };
            output.table(&["NAME", "CLAUSE", "STEPS", "TITLE"], flows.into_iter().map(row))
        }
    }
}

/// A flow of the texts, or one in a file.
fn find(name: &str, otherwise: Exit) -> Result<Arc<Flow>, Failure> {
    if let Some(flow) = flow::find(name) {
        return Ok(flow);
    }
    let path = Path::new(name);
    if path.extension().is_none_or(|extension| extension != "toml") && !path.exists() {
        let names: Vec<&str> = flow::embedded().iter().map(|flow| flow.name()).collect();
        let why = format!("there is no flow `{}`: known are {}, or name a file", printable(name), names.join(", "));
        return Err(Failure::Other(otherwise, why));
    }
    match flow::load(path) {
        Ok(flow) => Ok(Arc::new(flow)),
        Err(error @ flow::FlowFileError::Unreadable { .. }) => Err(Failure::Other(otherwise, error.to_string())),
        Err(error) => Err(Failure::usage(error.to_string())),
    }
}

/// What came of a check.
struct Checked {
    /// The trace, as findings name it.
    trace: String,
    report: Report,
    /// The first findings.
    findings: Vec<Finding>,
}

fn check(flow: &Arc<Flow>, trace: &Path, whole: bool, show: usize) -> Result<Checked, Failure> {
    let standard_input = trace == Path::new("-");
    let name = if standard_input { "standard input".to_owned() } else { trace.display().to_string() };
    let unreadable = |error: io::Error| Failure::usage(format!("{name}: {error}"));
    let input: Box<dyn BufRead> = if standard_input {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::with_capacity(READ_BYTES, File::open(trace).map_err(unreadable)?))
    };
    let mut checker = Checker::new(Arc::clone(flow), Limits { whole, ..Limits::any_order() });
    let mut findings = Vec::new();
    let mut keep = |finding: Finding| {
        if findings.len() < show {
            findings.push(finding);
        }
    };
    let mut other_flow: Option<(String, u64)> = None;
    let done = read(input, |line| match line {
        Read::Event(event) => {
            if other_flow.is_none()
                && let Some((name, _)) = event.step.filter(|(name, _)| *name != flow.name())
            {
                other_flow = Some((printable(name), event.place));
            }
            checker.event(&event, &mut keep);
        }
        Read::Lost(events) => checker.lost(events),
    });
    done.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    let report = checker.finish(&mut keep);
    if report.steps == 0 && report.unexpected == 0 {
        let other = other_flow.map(|(other, line)| format!("; there are steps of `{other}`, from line {line} on"));
        let why = format!(
            "{name}: none of its {} events is a step of {}{}",
            report.events,
            flow.name(),
            other.unwrap_or_default()
        );
        return Err(Failure::usage(why));
    }
    Ok(Checked { trace: name, report, findings })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportDocument<'r> {
    flow: &'r str,
    holds: bool,
    events: u64,
    steps: u64,
    instances: u64,
    edges: Vec<EdgeDocument>,
    missing: u64,
    repeated: u64,
    unexpected: u64,
    broken: u64,
    lost_events: u64,
    forgotten_events: u64,
    forgotten_parents: u64,
    forgotten_instances: u64,
    findings: Vec<FindingDocument>,
}

#[derive(Serialize)]
struct EdgeDocument {
    edge: String,
    satisfied: u64,
    lucky: u64,
    violated: u64,
    unjudged: u64,
}

#[derive(Serialize)]
struct FindingDocument {
    line: u64,
    event: String,
    finding: String,
}

fn tell(flow: &Flow, checked: &Checked, output: &mut Output) -> Result<(), Failure> {
    let Checked { trace, report, findings } = checked;
    if output.format() == Format::Json {
        return output.json(&document(flow, checked));
    }
    for finding in findings {
        output.line(&printable(&format!("{trace}:{}: {}", finding.place, finding.shown(flow))))?;
    }
    let verdicts = report.verdicts();
    let all = verdicts.lucky + verdicts.violated + report.missing + report.repeated + report.unexpected + report.broken;
    let more = all.saturating_sub(findings.len() as u64);
    if more > 0 {
        output.line(&format!("and {more} more"))?;
    }
    if all > 0 {
        output.line("")?;
    }
    // An edge to or from what happens outside has no verdicts.
    let seen = |step: usize| flow.steps().get(step).is_some_and(|step| !step.is_outside());
    let visible = |at: usize| flow.edges().get(at).is_some_and(|edge| seen(edge.from) && seen(edge.to));
    let rows = report.edges.iter().enumerate().filter(|(at, _)| visible(*at)).map(|(at, edge)| {
        let counts = [edge.satisfied, edge.lucky, edge.violated, edge.unjudged];
        [flow.shown_edge(at)].into_iter().chain(counts.map(|count| count.to_string())).collect()
    });
    output.table(&["ORDER", "SATISFIED", "LUCKY", "VIOLATED", "NOT JUDGED"], rows)?;
    output.line("")?;
    output.line(&format!(
        "{}: {} events, {} steps in {} instances",
        flow.name(),
        report.events,
        report.steps,
        report.instances
    ))?;
    let gaps = [
        (report.lost_events, "events were lost when it was recorded"),
        (report.forgotten_parents, "causes lie further back than is kept"),
        (report.forgotten_instances, "instances were given up before they were complete"),
    ];
    for (count, what) in gaps.iter().filter(|(count, _)| *count > 0) {
        output.line(&format!("{count} {what}: what hangs on them is not judged"))?;
    }
    Ok(())
}

fn document<'r>(flow: &'r Flow, checked: &Checked) -> ReportDocument<'r> {
    let Checked { report, findings, .. } = checked;
    let edge = |(at, edge): (usize, &twinway::protocol::flow::EdgeCount)| EdgeDocument {
        edge: flow.shown_edge(at),
        satisfied: edge.satisfied,
        lucky: edge.lucky,
        violated: edge.violated,
        unjudged: edge.unjudged,
    };
    let finding = |finding: &Finding| FindingDocument {
        line: finding.place,
        event: format!("{:?}", finding.event),
        finding: finding.shown(flow).to_string(),
    };
    ReportDocument {
        flow: flow.name(),
        holds: report.holds(),
        events: report.events,
        steps: report.steps,
        instances: report.instances,
        edges: report.edges.iter().enumerate().map(edge).collect(),
        missing: report.missing,
        repeated: report.repeated,
        unexpected: report.unexpected,
        broken: report.broken,
        lost_events: report.lost_events,
        forgotten_events: report.forgotten_events,
        forgotten_parents: report.forgotten_parents,
        forgotten_instances: report.forgotten_instances,
        findings: findings.iter().map(finding).collect(),
    }
}
