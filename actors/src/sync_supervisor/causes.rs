//! What led to a lease, for the trace: a request that waited is a cause of what is done for it, in whose turn ever.

use std::collections::BTreeMap;

use twinway_protocol::{
    EntityId, EventId,
    lease::{Change, ClaimRef, Over},
};

/// The turns that requests and leases hang on. It is no larger than the table, and begins anew with each life.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// The turn in which a request came to the table, by the request's number.
    asked: BTreeMap<u64, EventId>,
    /// What led to the present lease of an object: its request, and then the answer of the gate.
    holding: BTreeMap<EntityId, EventId>,
}

impl Causes {
    /// An object's place in the table changes in turn `event`. What is not known here came of the journal, which turn
    /// `journal` read.
    pub(super) fn note(&mut self, object: EntityId, change: &Change, event: EventId, journal: EventId) {
        match change {
            Change::Queued(claim) => {
                self.asked.insert(claim.arrival, event);
            }
            Change::Granted { claim, over, .. } => {
                self.over(over.as_ref());
                let arrival = match claim {
                    ClaimRef::New(claim) => {
                        self.asked.insert(claim.arrival, event);
                        claim.arrival
                    }
                    ClaimRef::Known(arrival) => *arrival,
                };
                self.holding.insert(object, self.asked.get(&arrival).copied().unwrap_or(journal));
            }
            Change::Left { claim: ClaimRef::Known(arrival), .. } => {
                self.asked.remove(arrival);
            }
            Change::Ended { over, .. } => {
                self.over(Some(over));
                self.holding.remove(&object);
            }
            Change::Quarantined { over, .. } => {
                self.over(over.as_ref());
                self.holding.remove(&object);
            }
            _ => {}
        }
    }

    /// A lease is over; its request may wait again.
    fn over(&mut self, over: Option<&Over>) {
        if let Some(over) = over.filter(|over| over.back.is_none()) {
            self.asked.remove(&over.arrival);
        }
    }

    /// The gate of an object has answered in turn `event`.
    pub(super) fn fenced(&mut self, object: EntityId, event: EventId) {
        if let Some(cause) = self.holding.get_mut(&object) {
            *cause = event;
        }
    }

    /// What led to the present lease of an object.
    pub(super) fn of(&self, object: EntityId) -> Option<EventId> {
        self.holding.get(&object).copied()
    }
}
