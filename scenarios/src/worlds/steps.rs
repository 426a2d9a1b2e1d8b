//! How often the steps of a procedure are taken.

use std::collections::BTreeMap;

use twinway_protocol::WireSet;

use crate::rule::{Found, Rule, Seen};

/// Every listed step of a flow is taken as often as it says when a run without faults comes to rest, and no other
/// step; with faults at least once.
#[derive(Debug)]
pub struct StepsAreTaken {
    flow: &'static str,
    expected: &'static [(&'static str, u32)],
    taken: BTreeMap<&'static str, u32>,
    faults: bool,
}

impl StepsAreTaken {
    /// Of this flow, each step as often as it says.
    #[must_use]
    pub fn new(flow: &'static str, expected: &'static [(&'static str, u32)]) -> Self {
        Self { flow, expected, taken: BTreeMap::new(), faults: false }
    }
}

impl<W: WireSet> Rule<W> for StepsAreTaken {
    fn name(&self) -> &str {
        "every step is taken"
    }

    fn begin(&mut self) {
        self.taken.clear();
        self.faults = false;
    }

    fn see(&mut self, seen: &Seen<'_, W>, found: &mut Found) {
        match seen {
            Seen::Event(event) => {
                if let Some(step) = event.step.filter(|step| step.flow == self.flow) {
                    *self.taken.entry(step.number).or_default() += 1;
                }
            }
            Seen::Fault(_) => self.faults = true,
            Seen::End { at_rest: true } => {
                for (number, expected) in self.expected {
                    let taken = self.taken.remove(number).unwrap_or_default();
                    if if self.faults { taken == 0 } else { taken != *expected } {
                        found.violated(format!("{} step {number} was taken {taken} times, not {expected}", self.flow));
                    }
                }
                if let Some((number, taken)) = self.taken.pop_first().filter(|_| !self.faults) {
                    found.violated(format!("{} step {number} was taken {taken} times, not 0", self.flow));
                }
            }
            _ => {}
        }
    }
}
