//! The verdict: the daemon's own trace, judged by the checker that also serves tests, simulator and monitor.

use std::{fs::File, io::BufReader, path::Path, sync::Arc};

use serde::Serialize;
use twinway_protocol::flow::{Checker, Flow, Limits};
use twinway_scenarios::{conformance::Steps, flow, scenario::Scenario};

use super::ActDone;
use crate::trace::{Read, read};

/// What the checker says of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Whether every flow holds, and every step of the scenario's flow was taken or may be left out.
    pub holds: bool,
    /// What is said of each flow that the trace has steps of.
    pub flows: Vec<FlowVerdict>,
    /// The steps that were taken, by the acts too, by flow and number.
    #[serde(skip)]
    pub steps: Steps,
}

/// What the checker says of a run by one flow.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowVerdict {
    /// The flow.
    pub flow: String,
    /// Whether it holds.
    pub holds: bool,
    /// Deliveries and own steps of it.
    pub steps: u64,
    /// Orders that were kept because one caused the other.
    pub satisfied: u64,
    /// Orders that were kept by luck.
    pub lucky: u64,
    /// Orders that were broken.
    pub violated: u64,
    /// What was found, in words.
    pub findings: Vec<String>,
}

/// How many findings are told of each flow.
const FINDINGS_MAX: usize = 20;

/// Judges the trace in `file` by the scenario's flow, and by the two flows of FGMV-29 that it contains spans of.
pub(super) fn judge(scenario: &Scenario, acts: &[ActDone], file: &Path) -> Result<Verdict, String> {
    let mut flows = vec![Arc::clone(&scenario.flow)];
    flows.extend(["9.1", "9.2"].into_iter().filter_map(flow::find).filter(|flow| flow.name() != scenario.flow.name()));
    let mut verdicts = Vec::new();
    let acted = acts.iter().filter(|act| act.failed.is_none()).filter_map(|act| act.step.clone());
    let mut steps: Steps = acted.map(|number| (scenario.flow.name().to_owned(), number)).collect();
    for flow in flows {
        let own = flow.name() == scenario.flow.name();
        let verdict = by_flow(&flow, file, &mut steps)?;
        if own || verdict.steps > 0 {
            verdicts.push(verdict);
        }
    }
    if let Some(verdict) = verdicts.first_mut() {
        outside(&scenario.flow, acts, verdict);
    }
    Ok(Verdict { holds: verdicts.iter().all(|verdict| verdict.holds), flows: verdicts, steps })
}

fn by_flow(flow: &Arc<Flow>, file: &Path, steps: &mut Steps) -> Result<FlowVerdict, String> {
    let input = File::open(file).map_err(|error| format!("the trace: {error}"))?;
    let mut checker = Checker::new(Arc::clone(flow), Limits { whole: true, ..Limits::any_order() });
    let mut findings = Vec::new();
    let mut keep = |finding: twinway_protocol::flow::Finding| {
        if findings.len() < FINDINGS_MAX {
            findings.push(finding.shown(flow).to_string());
        }
    };
    read(BufReader::new(input), |line| match line {
        Read::Event(event) => {
            if let Some((of, number)) = event.step.filter(|(of, _)| *of == flow.name()) {
                steps.insert((of.to_owned(), number.to_owned()));
            }
            checker.event(&event, &mut keep);
        }
        Read::Lost(events) => checker.lost(events),
    })
    .map_err(|error| format!("the trace: {error}"))?;
    let report = checker.finish(&mut keep);
    let verdicts = report.verdicts();
    Ok(FlowVerdict {
        flow: flow.name().to_owned(),
        holds: report.holds() && verdicts.lucky == 0,
        steps: report.steps,
        satisfied: verdicts.satisfied,
        lucky: verdicts.lucky,
        violated: verdicts.violated,
        findings,
    })
}

/// Steps that happen outside the daemon are in no trace: the acts of the parties are judged for the flow's order.
fn outside(flow: &Flow, acts: &[ActDone], verdict: &mut FlowVerdict) {
    let first = |number: &str| acts.iter().position(|act| act.step.as_deref() == Some(number));
    for edge in flow.edges() {
        let (from, to) = (flow.number(edge.from), flow.number(edge.to));
        if let (Some(earlier), Some(later)) = (first(from), first(to))
            && earlier > later
        {
            verdict.holds = false;
            verdict.violated += 1;
            verdict.findings.push(format!("step {to} was taken before step {from}"));
        }
    }
}
