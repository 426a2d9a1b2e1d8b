//! A flow as a rule: what happens in a world is judged by the flow's file, as a recorded trace is.

use std::sync::Arc;

use twinway_protocol::{
    WireSet,
    flow::{Checker, FindingKind, Flow, Limits},
};

use super::{Found, Rule, Seen, Sights};
use crate::fault::Fault;

/// Events of one run that are kept, since others may name them as their parents.
const EVENTS_KEPT: usize = 1 << 14;

/// What happens is as a flow says: every edge is satisfied, none by luck, and no step is missing, unexpected or repeated.
/// Steps outside are judged as well: the [outside](crate::outside::Hands::took) of a world takes them. With faults a
/// step may be missing.
#[derive(Debug)]
pub struct FollowsFlow {
    name: String,
    checker: Checker,
    faults: bool,
}

impl FollowsFlow {
    /// By this flow.
    #[must_use]
    pub fn new(flow: Arc<Flow>) -> Self {
        Self::within(flow, true)
    }

    /// By this flow, of which another one contains spans: what a span needs before it is a precondition, and no missing
    /// step.
    #[must_use]
    pub fn contained(flow: Arc<Flow>) -> Self {
        Self::within(flow, false)
    }

    fn within(flow: Arc<Flow>, whole: bool) -> Self {
        let limits = Limits { events_kept: EVENTS_KEPT, outside: true, whole, ..Limits::in_order() };
        Self { name: format!("the flow {}", flow.name()), checker: Checker::new(flow, limits), faults: false }
    }
}

impl<W: WireSet> Rule<W> for FollowsFlow {
    fn name(&self) -> &str {
        &self.name
    }

    fn looks_at(&self) -> Sights {
        Sights::EVENT | Sights::FAULT | Sights::END
    }

    fn begin(&mut self) {
        self.checker.reset();
        self.faults = false;
    }

    fn see(&mut self, seen: &Seen<'_, W>, found: &mut Found) {
        match seen {
            Seen::Event(event) => {
                let flow = Arc::clone(self.checker.flow());
                let place = self.checker.report().events;
                self.checker.recorded::<W>(event, place, |finding| {
                    found.violated(finding.shown(&flow).to_string());
                });
            }
            Seen::Fault(fault) => {
                self.faults = true;
                if *fault == Fault::Crash {
                    self.checker.restarted();
                }
            }
            Seen::End { at_rest: true } => {
                let (flow, faults) = (Arc::clone(self.checker.flow()), self.faults);
                self.checker.end(|finding| {
                    if !(faults && matches!(finding.kind, FindingKind::Missing(_))) {
                        found.violated(finding.shown(&flow).to_string());
                    }
                });
            }
            _ => {}
        }
    }
}
