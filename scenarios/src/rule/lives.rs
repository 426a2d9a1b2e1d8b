//! The rule that an entity's new life has nothing to do with the questions of an earlier one.

use std::collections::BTreeMap;

use twinway_protocol::{EntityId, EventId, Meta, PendingKey, WireSet};

use super::{Found, Rule, Seen, Sights};
use crate::fault::Fault;

/// A question that was delivered, as its answer will know it.
#[derive(Clone, Copy, Debug)]
struct Question {
    /// The turn that took it.
    taken_in: EventId,
    asker: EntityId,
    pending: PendingKey,
    /// The turn that asked it.
    asked_in: EventId,
}

/// An answer to a question that an entity asked before it failed changes nothing in its life after that: whoever waited
/// for it was told of the failure.
#[derive(Debug, Default)]
pub struct EarlierLivesAreOver {
    /// The newest event of each entity.
    newest: BTreeMap<EntityId, EventId>,
    /// The last event of the life before.
    ended: BTreeMap<EntityId, EventId>,
    questions: Vec<Question>,
    /// Answers that are under way, with the turn that asked.
    answers: Vec<(Meta, EventId)>,
    /// The turns that answers led to, and the events that may have led to them.
    joined: BTreeMap<EventId, Box<[EventId]>>,
    stale: Vec<EventId>,
    /// Answers that may be acted upon all the same.
    given_back: &'static [&'static str],
}

impl EarlierLivesAreOver {
    /// The same where these types of answer oblige even who did not ask for them: what they bring is given back.
    #[must_use]
    pub fn given_back(mut self, answers: &'static [&'static str]) -> Self {
        self.given_back = answers;
        self
    }

    fn sent_answer(&mut self, meta: &Meta) {
        let joined = self.joined.get(&meta.cause).map_or(&[][..], |joined| joined);
        let mut questions = self.questions.iter().rev();
        let answered = questions.find(|question| {
            (question.asker, question.pending) == (meta.to, meta.pending)
                && (question.taken_in == meta.cause || joined.contains(&question.taken_in))
        });
        if let Some(question) = answered {
            self.answers.push((*meta, question.asked_in));
        }
    }

    fn answered(&mut self, event: EventId, meta: &Meta) {
        let Some(at) = self.answers.iter().position(|(answer, _)| answer == meta) else { return };
        let (_, asked_in) = self.answers.swap_remove(at);
        let ended = self.ended.get(&meta.to);
        if ended.is_some_and(|ended| ended.actor() == asked_in.actor() && asked_in.to_bits() <= ended.to_bits()) {
            self.stale.push(event);
        }
    }
}

impl<W: WireSet> Rule<W> for EarlierLivesAreOver {
    fn name(&self) -> &str {
        "an earlier life is over"
    }

    fn looks_at(&self) -> Sights {
        Sights::EVENT | Sights::DELIVERY | Sights::SENT | Sights::FAILURE | Sights::FAULT
    }

    fn begin(&mut self) {
        *self = Self { given_back: self.given_back, ..Self::default() };
    }

    fn see(&mut self, seen: &Seen<'_, W>, found: &mut Found) {
        match seen {
            Seen::Event(event) => {
                self.newest.insert(event.to, event.event);
                if !event.joined.is_empty() {
                    self.joined.insert(event.event, event.joined.clone());
                }
            }
            Seen::Delivery { event, meta, wire } if meta.pending != PendingKey::NONE => {
                if wire.refusal().is_some() {
                    let (asker, pending, asked_in) = (meta.from, meta.pending, meta.cause);
                    self.questions.push(Question { taken_in: *event, asker, pending, asked_in });
                } else if !self.given_back.contains(&wire.describe().1) {
                    self.answered(*event, meta);
                }
            }
            Seen::Sent { meta, wire } => {
                if self.stale.contains(&meta.cause) {
                    found.violated(format!("{} follows from an answer to an earlier life", wire.describe().1));
                }
                if meta.pending != PendingKey::NONE && wire.refusal().is_none() {
                    self.sent_answer(meta);
                }
            }
            Seen::Failed { entity, .. } => {
                if let Some(newest) = self.newest.get(entity) {
                    self.ended.insert(*entity, *newest);
                }
            }
            Seen::Fault(Fault::Crash) => Rule::<W>::begin(self),
            _ => {}
        }
    }
}
