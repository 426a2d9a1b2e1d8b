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

/// How many moments of leases are kept for one object.
pub(super) const LEASE_MOMENTS_MAX: usize = 32;

/// How many moments of leases for one change: those of the last few.
pub(super) const ONE_SHOT_MOMENTS_MAX: usize = 8;

/// How many acts of operators.
pub(super) const ACTS_MAX: usize = 32;

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

/// The newest moments of each object, of one sort, with their places among all moments.
#[derive(Debug, Default)]
struct Newest(BTreeMap<EntityId, VecDeque<(u64, Moment)>>);

impl Newest {
    fn of(&self, object: EntityId) -> impl DoubleEndedIterator<Item = &(u64, Moment)> {
        self.0.get(&object).into_iter().flatten()
    }

    fn push(&mut self, object: EntityId, place: u64, moment: Moment, max: usize) {
        let moments = self.0.entry(object).or_default();
        if moments.len() >= max {
            moments.pop_front();
        }
        moments.push_back((place, moment));
    }

    /// The object's newest token, as far as these moments know.
    fn token(&self, object: EntityId) -> Token {
        self.0.get(&object).and_then(VecDeque::back).map_or(Token::NONE, |(_, last)| last.token)
    }
}

/// The newest moments of each object. Each sort has a limit of its own, so that what comes often does not push out what
/// people ask for later.
#[derive(Debug, Default)]
pub(super) struct History {
    leases: Newest,
    one_shots: Newest,
    acts: Newest,
    /// Requests for one change that wait or are granted, by their numbers. It is no larger than the table.
    pending: BTreeMap<u64, (Arc<Claimant>, Priority)>,
    /// How many moments there were. Several may have one time, and clocks jump.
    moments: u64,
}

impl History {
    /// The moments of an object in the order in which they happened.
    pub(super) fn of(&self, object: EntityId) -> impl Iterator<Item = &Moment> {
        let sorts = [&self.leases, &self.one_shots, &self.acts];
        let mut moments: Vec<_> = sorts.into_iter().flat_map(|sort| sort.of(object)).collect();
        moments.sort_by_key(|(place, _)| *place);
        moments.into_iter().map(|(_, moment)| moment)
    }

    pub(super) fn push(&mut self, object: EntityId, moment: Moment) {
        self.moments += 1;
        let (sort, max) = match &moment {
            // Only operators say something.
            Moment { note: Some(_), .. } => (&mut self.acts, ACTS_MAX),
            Moment { brief: true, .. } => (&mut self.one_shots, ONE_SHOT_MOMENTS_MAX),
            _ => (&mut self.leases, LEASE_MOMENTS_MAX),
        };
        sort.push(object, self.moments, moment, max);
    }

    /// Who made the request with this number, as far as the object's history goes back.
    fn who(&self, object: EntityId, arrival: u64) -> Option<(Arc<Claimant>, Priority)> {
        if let Some(pending) = self.pending.get(&arrival) {
            return Some(pending.clone());
        }
        let mut moments = self.leases.of(object).rev().map(|(_, moment)| moment);
        moments.find(|moment| moment.arrival == arrival && moment.who.is_some())?.who.clone()
    }

    /// Whether the request with this number is for one change, and was not over before.
    fn is_brief(&self, arrival: u64) -> bool {
        self.pending.contains_key(&arrival)
    }

    fn token(&self, object: EntityId) -> Token {
        self.leases.token(object).max(self.one_shots.token(object))
    }

    /// Whether the lease with the object's newest token is for one change, as far as the object's history goes back.
    fn is_held_briefly(&self, object: EntityId) -> bool {
        let mut moments = self.one_shots.of(object).rev().map(|(_, moment)| moment);
        let granted = moments.find(|moment| &*moment.what == "granted");
        granted.is_some_and(|granted| granted.token == self.token(object))
    }

    /// Remembers who is for one change, also from a snapshot, whose changes have no moments.
    pub(super) fn learn(&mut self, change: &Change) {
        match change {
            Change::Queued(record) | Change::Granted { claim: ClaimRef::New(record), .. } if record.manner.one_shot => {
                self.pending.insert(record.arrival, (Arc::clone(&record.who), record.objects.priority()));
            }
            Change::Weighed { arrival, priority } => {
                if let Some((_, weighed)) = self.pending.get_mut(arrival) {
                    *weighed = *priority;
                }
            }
            _ => {}
        }
    }

    /// Forgets who is over with this change, and does not wait again.
    fn forget(&mut self, change: &Change) {
        let over = match change {
            Change::Left { claim: ClaimRef::Known(arrival), .. } => Some(*arrival),
            Change::Granted { over: Some(over), .. }
            | Change::Ended { over, .. }
            | Change::Quarantined { over: Some(over), .. } => Some(over.arrival).filter(|_| over.back.is_none()),
            _ => None,
        };
        if let Some(over) = over {
            self.pending.remove(&over);
        }
    }

    /// Takes a change into the history. One change may be two moments: the end of a lease, and the grant of the next.
    /// Each is shown to `tell`, but those of leases for one change, which come and go too often to be news.
    pub(super) fn note(&mut self, object: EntityId, change: &Change, at: Timestamp, mut tell: impl FnMut(&Moment)) {
        let Some(name) = name(change) else { return };
        self.learn(change);
        let blank = Moment {
            at,
            what: Arc::from(name),
            arrival: 0,
            brief: false,
            who: None,
            token: self.token(object),
            end: None,
            note: None,
        };
        let claimed = |claim: &ClaimRef| match claim {
            ClaimRef::Known(arrival) => (*arrival, self.who(object, *arrival)),
            ClaimRef::New(record) => (record.arrival, Some((Arc::clone(&record.who), record.objects.priority()))),
        };
        let one_shot = |claim: &ClaimRef| match claim {
            ClaimRef::Known(arrival) => self.is_brief(*arrival),
            ClaimRef::New(record) => record.manner.one_shot,
        };
        let moment = match change {
            Change::Queued(record) | Change::MovedUp(record) => {
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
                        brief: self.is_brief(over.arrival),
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
                let brief = self.is_held_briefly(object);
                Moment { arrival, brief, who: self.who(object, arrival), ..blank }
            }
            Change::Withdrawn => Moment { brief: self.is_held_briefly(object), ..blank },
            Change::Ended { over, token } => {
                let (who, brief) = (self.who(object, over.arrival), self.is_brief(over.arrival));
                Moment { arrival: over.arrival, brief, who, token: *token, end: Some(over.end), ..blank }
            }
            Change::Weighed { arrival, priority } => {
                let who = self.who(object, *arrival).map(|(who, _)| (who, *priority));
                Moment { arrival: *arrival, brief: self.is_brief(*arrival), who, ..blank }
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
        self.forget(change);
    }

    fn keep(&mut self, object: EntityId, moment: Moment, tell: &mut impl FnMut(&Moment)) {
        if !moment.brief {
            tell(&moment);
        }
        self.push(object, moment);
    }

    /// An operator did something, and said who and why.
    pub(super) fn operated(&mut self, object: EntityId, what: &str, by: &Arc<str>, at: Timestamp) {
        let token = self.token(object);
        let (what, note) = (Arc::from(what), Some(Arc::clone(by)));
        self.push(object, Moment { at, what, arrival: 0, brief: false, who: None, token, end: None, note });
    }
}

fn name(change: &Change) -> Option<&'static str> {
    Some(match change {
        Change::Queued(_) => "queued",
        Change::MovedUp(_) => "moved-up",
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
