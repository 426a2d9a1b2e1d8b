//! What led to a lease, for the trace: a request that waited is a cause of what is done for it, in whose turn ever.

use std::collections::BTreeMap;

use twinway_protocol::{
    EntityId, EventId,
    lease::{Change, ClaimRef, Over, Token},
};

/// The turns that requests and leases hang on. It is no larger than the table, and begins anew with each life.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// The turn in which a request came to the table, by the request's number.
    asked: BTreeMap<u64, EventId>,
    /// The newest token of an object, and what led to its lease: the request, and then the answer of the gate.
    holding: BTreeMap<EntityId, (Token, EventId)>,
}

impl Causes {
    /// An object's place in the table changes in turn `event`. What is not known here came of the journal, which turn
    /// `journal` read.
    pub(super) fn note(&mut self, object: EntityId, change: &Change, event: EventId, journal: EventId) {
        match change {
            Change::Queued(claim) => {
                self.asked.insert(claim.arrival, event);
            }
            Change::Granted { claim, token, over } => {
                self.over(over.as_ref());
                let arrival = match claim {
                    ClaimRef::New(claim) => {
                        self.asked.insert(claim.arrival, event);
                        claim.arrival
                    }
                    ClaimRef::Known(arrival) => *arrival,
                };
                self.holding.insert(object, (*token, self.asked.get(&arrival).copied().unwrap_or(journal)));
            }
            Change::Refenced { token } => self.holding.entry(object).or_insert((*token, journal)).0 = *token,
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
    pub(super) fn fenced(&mut self, object: EntityId, token: Token, event: EventId) {
        if let Some((_, cause)) = self.holding.get_mut(&object).filter(|(newest, _)| *newest == token) {
            *cause = event;
        }
    }

    /// What led to the present lease of an object.
    pub(super) fn of(&self, object: EntityId) -> Option<EventId> {
        self.holding.get(&object).map(|(_, cause)| *cause)
    }
}
