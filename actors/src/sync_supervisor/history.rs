//! What happened to each object lately, for people who ask why they have it, or have it no more.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    EntityId, SystemId,
    lease::{Change, ClaimRef, Claimant, End, Priority, Token},
    message::{LeaseMoment, LeaseParty},
    time::Timestamp,
};

/// How many moments are kept for one object.
pub(super) const HISTORY_MOMENTS_MAX: usize = 32;

/// One moment, with everything that an operator may know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Moment {
    at: Timestamp,
    what: Arc<str>,
    arrival: u64,
    brief: bool,
    who: Option<(Arc<Claimant>, Priority)>,
    token: Token,
    end: Option<End>,
    note: Option<Arc<str>>,
}

/// Who somebody is, as far as `viewer` may know: users of its own system by name, of others what they weigh.
pub(super) fn party(who: &Claimant, priority: Priority, viewer: Option<&SystemId>) -> LeaseParty {
    let known = viewer.is_none_or(|viewer| *viewer == who.holder.system);
    LeaseParty {
        user: known.then(|| who.holder.user.clone()),
        world: known.then(|| who.holder.world.clone()),
        system: known.then(|| who.holder.system.clone()),
        class: who.holder.class,
        priority,
    }
}

impl Moment {
    /// The moment as `viewer` may see it; none: an operator. What an operator said is for operators.
    pub(super) fn shown_to(&self, viewer: Option<&SystemId>) -> LeaseMoment {
        let known = self.who.as_ref().is_none_or(|(who, _)| viewer.is_none_or(|viewer| *viewer == who.holder.system));
        LeaseMoment {
            at: self.at,
            what: Arc::clone(&self.what),
            party: self.who.as_ref().map(|(who, priority)| party(who, *priority, viewer)),
            token: Some(self.token).filter(|token| known && *token != Token::NONE),
            end: self.end,
            note: self.note.clone().filter(|_| viewer.is_none()),
        }
    }

    /// The moment as anybody may see it.
    pub(super) fn shown_to_all(&self) -> LeaseMoment {
        let party = self.who.as_ref().map(|(who, priority)| LeaseParty {
            user: None,
            world: None,
            system: None,
            class: who.holder.class,
            priority: *priority,
        });
        LeaseMoment { party, token: None, note: None, ..self.shown_to(None) }
    }
}

/// The newest moments of each object.
#[derive(Debug, Default)]
pub(super) struct History {
    objects: BTreeMap<EntityId, VecDeque<Moment>>,
}

impl History {
    pub(super) fn of(&self, object: EntityId) -> impl Iterator<Item = &Moment> {
        self.objects.get(&object).into_iter().flatten()
    }

    pub(super) fn push(&mut self, object: EntityId, moment: Moment) {
        let moments = self.objects.entry(object).or_default();
        if moments.len() >= HISTORY_MOMENTS_MAX {
            moments.pop_front();
        }
        moments.push_back(moment);
    }

    /// Who made the request with this number, as far as the object's history goes back.
    fn who(&self, object: EntityId, arrival: u64) -> Option<(Arc<Claimant>, Priority)> {
        let mut moments = self.objects.get(&object)?.iter().rev();
        moments.find(|moment| moment.arrival == arrival && moment.who.is_some())?.who.clone()
    }

    /// Whether the request with this number is for one change, as far as the object's history goes back.
    fn is_brief(&self, object: EntityId, arrival: u64) -> bool {
        let mut moments = self.objects.get(&object).into_iter().flatten().rev();
        moments.any(|moment| moment.arrival == arrival && moment.brief)
    }

    /// Takes a change into the history. One change may be two moments: the end of a lease, and the grant of the next.
    /// Each is shown to `tell`, but those of leases for one change, which come and go too often to be news.
    pub(super) fn note(&mut self, object: EntityId, change: &Change, at: Timestamp, mut tell: impl FnMut(&Moment)) {
        let Some(name) = name(change) else { return };
        let blank = Moment {
            at,
            what: Arc::from(name),
            arrival: 0,
            brief: false,
            who: None,
            token: self.objects.get(&object).and_then(VecDeque::back).map_or(Token::NONE, |last| last.token),
            end: None,
            note: None,
        };
        let claimed = |claim: &ClaimRef| match claim {
            ClaimRef::Known(arrival) => (*arrival, self.who(object, *arrival)),
            ClaimRef::New(record) => (record.arrival, Some((Arc::clone(&record.who), record.objects.priority()))),
        };
        let one_shot = |claim: &ClaimRef| match claim {
            ClaimRef::Known(arrival) => self.is_brief(object, *arrival),
            ClaimRef::New(record) => record.manner.one_shot,
        };
        let moment = match change {
            Change::Queued(record) => {
                let who = Some((Arc::clone(&record.who), record.objects.priority()));
                Moment { arrival: record.arrival, brief: record.manner.one_shot, who, ..blank }
            }
            Change::Left { claim, end } => {
                let (arrival, who) = claimed(claim);
                Moment { arrival, brief: one_shot(claim), who, end: Some(*end), ..blank }
            }
            Change::Granted { claim, token, over } => {
                let ((arrival, who), brief) = (claimed(claim), one_shot(claim));
                if let Some(over) = over {
                    let ended = Moment {
                        what: Arc::from("ended"),
                        arrival: over.arrival,
                        brief: self.is_brief(object, over.arrival),
                        who: self.who(object, over.arrival),
                        end: Some(over.end),
                        ..blank.clone()
                    };
                    self.keep(object, ended, &mut tell);
                }
                Moment { arrival, brief, who, token: *token, ..blank }
            }
            Change::Refenced { token } => Moment { token: *token, ..blank },
            Change::Revoking { by } => {
                let arrival = by.unwrap_or_default();
                Moment { arrival, who: self.who(object, arrival), ..blank }
            }
            Change::Ended { over, token } => {
                let (who, brief) = (self.who(object, over.arrival), self.is_brief(object, over.arrival));
                Moment { arrival: over.arrival, brief, who, token: *token, end: Some(over.end), ..blank }
            }
            Change::Weighed { arrival, priority } => {
                let who = self.who(object, *arrival).map(|(who, _)| (who, *priority));
                Moment { arrival: *arrival, who, ..blank }
            }
            Change::Quarantined { token, over } => {
                let (who, end) = match over {
                    Some(over) => (self.who(object, over.arrival), Some(over.end)),
                    None => (None, None),
                };
                Moment { token: *token, who, end, ..blank }
            }
            Change::Reserved(reservation) => {
                let who = Some((Arc::clone(&reservation.who), reservation.wanted.priority));
                Moment { arrival: reservation.id, who, ..blank }
            }
            Change::Unreserved { id } => Moment { arrival: *id, who: self.who(object, *id), ..blank },
            _ => blank,
        };
        self.keep(object, moment, &mut tell);
    }

    fn keep(&mut self, object: EntityId, moment: Moment, tell: &mut impl FnMut(&Moment)) {
        if !moment.brief {
            tell(&moment);
        }
        self.push(object, moment);
    }

    /// An operator did something, and said who and why.
    pub(super) fn operated(&mut self, object: EntityId, what: &str, by: &Arc<str>, at: Timestamp) {
        let token = self.objects.get(&object).and_then(VecDeque::back).map_or(Token::NONE, |last| last.token);
        let (what, note) = (Arc::from(what), Some(Arc::clone(by)));
        self.push(object, Moment { at, what, arrival: 0, brief: false, who: None, token, end: None, note });
    }
}

fn name(change: &Change) -> Option<&'static str> {
    Some(match change {
        Change::Queued(_) => "queued",
        Change::Left { .. } => "left",
        Change::Granted { .. } => "granted",
        Change::Refenced { .. } => "refenced",
        Change::Revoking { .. } => "revoking",
        Change::Withdrawn => "withdrawn",
        Change::Ended { .. } => "ended",
        Change::Weighed { .. } => "weighed",
        Change::Quarantined { .. } => "quarantined",
        Change::Unquarantined => "unquarantined",
        Change::Reserved(_) => "reserved",
        Change::Unreserved { .. } => "unreserved",
        // These are of no object, or of snapshots only.
        Change::Retired | Change::Epoch(_) | Change::Remembered { .. } | Change::Stands { .. } => return None,
    })
}
