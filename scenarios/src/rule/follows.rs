//! The rule that a flow is kept: the checker of traces, asked while a run goes on.

use std::sync::Arc;

use twinway_protocol::{
    WireSet,
    flow::{Checker, Finding, FindingKind, Flow, Limits, REFUSED, Traced},
};

use super::{Found, Rule, Seen};
use crate::fault::Fault;

/// Events of a run that the checker keeps: more than any run of a world has that comes to rest.
const EVENTS_KEPT: usize = 1 << 16;
/// Instances of a flow's chains in one run that the checker keeps.
const INSTANCES_OPEN: usize = 1 << 12;

/// Whatever a run does, it does in the order of this flow: a whole flow, where no fault is in the way.
///
/// Every run is judged as it happens, so that it ends where the order is broken. A fault excuses what follows from it
/// and no more: after any, steps that never came and orders kept by luck; after a doubling, steps that came twice; after
/// a crash, `...` edges, for the new life does not know what the outside saw in the old one; and where somebody failed,
/// that a refusal has not the answer's causes behind it.
#[derive(Debug)]
pub struct FollowsFlow {
    flow: Arc<Flow>,
    name: String,
    /// `...` edges that the world's outside does not keep, as the flow's file writes them.
    loose: &'static [&'static str],
    checker: Option<Checker>,
    place: u64,
    had: Had,
}

/// The faults that a run had.
#[derive(Clone, Copy, Debug, Default)]
struct Had {
    any: bool,
    failure: bool,
    duplicate: bool,
    crash: bool,
}

impl FollowsFlow {
    /// Judges by this flow.
    #[must_use]
    pub fn new(flow: Arc<Flow>) -> Self {
        let name = format!("the flow {}", flow.name());
        Self { flow, name, loose: &[], checker: None, place: 0, had: Had::default() }
    }

    /// The same in a world whose outside does not keep these `...` edges, each as the flow's file writes it: they say
    /// when somebody outside begins something, and nothing inside can hold them.
    #[must_use]
    pub fn loose(mut self, edges: &'static [&'static str]) -> Self {
        self.loose = edges;
        self
    }
}

/// Whether a finding is no violation, for what it is in this run.
fn is_excused(finding: FindingKind, flow: &Flow, loose: &[&str], had: Had, refused: bool) -> bool {
    match finding {
        FindingKind::Missing(_) => had.any,
        FindingKind::Lucky(_) => had.any,
        FindingKind::Repeated(_) => had.duplicate,
        FindingKind::Violated(edge) if flow.edges().get(edge).is_some_and(|edge| edge.must_cause) => {
            had.failure && refused
        }
        FindingKind::Violated(edge) => had.crash || loose.contains(&flow.shown_edge(edge).as_str()),
        _ => false,
    }
}

impl<W: WireSet> Rule<W> for FollowsFlow {
    fn name(&self) -> &str {
        &self.name
    }

    fn begin(&mut self) {
        let limits = Limits { events_kept: EVENTS_KEPT, instances_open: INSTANCES_OPEN, ..Limits::in_order() };
        self.checker = Some(Checker::new(Arc::clone(&self.flow), limits));
        (self.place, self.had) = (0, Had::default());
    }

    fn see(&mut self, seen: &Seen<'_, W>, found: &mut Found) {
        let (flow, loose, had) = (&self.flow, self.loose, self.had);
        let refused = matches!(seen, Seen::Event(event) if event.name.ends_with(REFUSED));
        let tell = |finding: Finding| {
            if !is_excused(finding.kind, flow, loose, had, refused) {
                found.violated(finding.shown(flow).to_string());
            }
        };
        match seen {
            Seen::Event(event) => {
                self.place += 1;
                if let Some(checker) = &mut self.checker {
                    checker.event(&Traced::of::<W>(event, self.place), tell);
                }
            }
            Seen::Failed { .. } => (self.had.any, self.had.failure) = (true, true),
            Seen::Fault(fault) => {
                self.had.any = true;
                self.had.duplicate |= matches!(fault, Fault::Duplicate { .. });
                self.had.crash |= matches!(fault, Fault::Crash);
            }
            Seen::End { at_rest: true } => {
                if let Some(checker) = self.checker.take() {
                    checker.finish(tell);
                }
            }
            _ => {}
        }
    }
}
