//! How often the steps of a procedure are taken.

use twinway_protocol::WireSet;

use crate::rule::{Found, Rule, Seen, Sights};

/// Every listed step of a flow is taken as often as it says when a run without faults comes to rest, and no other
/// step; with faults at least once.
#[derive(Debug)]
pub struct StepsAreTaken {
    flow: &'static str,
    expected: Vec<(&'static str, u32)>,
    /// Whether the orders differ in how often a step is taken: then it is at least as often.
    at_least: bool,
    /// How often each of `expected` was taken.
    taken: Vec<u32>,
    /// A step that is not expected, if one was taken.
    other: Option<&'static str>,
    faults: bool,
}

impl StepsAreTaken {
    /// Of this flow, each step as often as it says.
    #[must_use]
    pub fn new(flow: &'static str, expected: &[(&'static str, u32)]) -> Self {
        let expected = expected.to_vec();
        Self { flow, expected, at_least: false, taken: Vec::new(), other: None, faults: false }
    }

    /// Of this flow, each step at least as often as it says.
    #[must_use]
    pub fn at_least(flow: &'static str, expected: &[(&'static str, u32)]) -> Self {
        Self { at_least: true, ..Self::new(flow, expected) }
    }
}

impl<W: WireSet> Rule<W> for StepsAreTaken {
    fn name(&self) -> &str {
        "every step is taken"
    }

    fn looks_at(&self) -> Sights {
        Sights::EVENT | Sights::FAULT | Sights::END
    }

    fn begin(&mut self) {
        self.taken.clear();
        self.taken.resize(self.expected.len(), 0);
        self.other = None;
        self.faults = false;
    }

    fn see(&mut self, seen: &Seen<'_, W>, found: &mut Found) {
        match seen {
            Seen::Event(event) => {
                let Some(step) = event.step.filter(|step| step.flow == self.flow) else { return };
                let place = self.expected.iter().position(|(number, _)| *number == step.number);
                match place.and_then(|place| self.taken.get_mut(place)) {
                    Some(taken) => *taken += 1,
                    None => self.other = Some(step.number),
                }
            }
            Seen::Fault(_) => self.faults = true,
            Seen::End { at_rest: true } => {
                for ((number, expected), taken) in self.expected.iter().zip(&self.taken) {
                    let wrong = match (self.faults, self.at_least) {
                        (true, _) => *taken == 0,
                        (false, true) => taken < expected,
                        (false, false) => taken != expected,
                    };
                    if wrong {
                        found.violated(format!("{} step {number} was taken {taken} times, not {expected}", self.flow));
                    }
                }
                if let Some(number) = self.other.filter(|_| !self.faults) {
                    found.violated(format!("{} step {number} was taken, which it has not", self.flow));
                }
            }
            _ => {}
        }
    }
}
