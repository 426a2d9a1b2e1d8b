//! The supervisor of sync leases: one for all physical objects (FGMV-28 7.1.3, REQ-DT-07, REQ-DT-08; FGMV-29 8.3.4).
//!
//! It owns no decision: the [`Table`] decides. It asks DTAC who may want what, feeds the table, and carries out what the
//! table says: writes down, fences gates, answers and tells.

mod asking;
mod carrying;
mod causes;
mod history;
mod problem;
mod retiring;
mod view;
mod watching;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, EventId, Mailbox, ObjectUri, Out, Pending, PendingKey, Problem, ProblemKind,
    Recovery, Ref, SystemId, TwinId,
    lease::{Change, Claimant, Counts, EPOCHS_AHEAD_MAX, Effect, Input, Objects, Request, Table},
    message::{
        CancelSyncLease, CancelSyncReservation, DTSR, ForgetTwinSystem, GateFenced, KeepSyncLeases, KeepTwinSystem,
        LeaseRequest, OperateSyncLease, OperatorAct, PhysicalObjectMsg, Reannounce, ReleaseSyncLease, RenewSyncLease,
        RequestSyncLease, RequestSyncLeases, ReserveSync, SyncLease, SyncSupervisorMsg, TwinMsg, Wire, YieldSyncLease,
    },
    time::Timestamp,
    twin::RegisteredTwin,
};

use crate::Settings;
use causes::Causes;
use history::{History, Moment};
use retiring::Teller;

/// A physical object that twins stand for.
#[derive(Debug)]
struct KnownObject {
    entity: EntityId,
    uri: ObjectUri,
    twins: Vec<(TwinId, Ref<TwinMsg>)>,
}

/// Several requests that are decided together.
#[derive(Debug)]
struct Batch {
    asker: Asker<RequestSyncLeases>,
    system: EntityId,
    metaverse: SystemId,
    requests: Arc<[Arc<LeaseRequest>]>,
    /// What came of each.
    answers: Vec<Option<Result<SyncLease, Problem>>>,
    /// The turn in which one of them was granted: the others may be answered later.
    granted: Option<EventId>,
    /// Those whom DTAC let pass, with their places.
    verified: Vec<(usize, Request)>,
    /// How many wait for DTAC.
    unverified: usize,
}

/// What waits for an answer.
#[derive(Debug)]
enum Waiting {
    /// A request, for DTAC.
    Verifying {
        asker: Asker<RequestSyncLease>,
        request: RequestSyncLease,
        system: EntityId,
    },
    /// A request, for the table; since when, on the monotonic clock in milliseconds.
    Deciding {
        asker: Asker<RequestSyncLease>,
        who: Arc<Claimant>,
        objects: Objects,
        since_ms: u64,
    },
    /// One of several requests, for DTAC or the table: where the whole is, and which it is.
    OneOf {
        batch: PendingKey,
        index: usize,
        wants: Option<(Arc<Claimant>, Objects)>,
    },
    Batch(Box<Batch>),
    Renewing(Asker<RenewSyncLease>, EntityId),
    Releasing(Asker<ReleaseSyncLease>),
    Yielding(Asker<YieldSyncLease>),
    Cancelling(Asker<CancelSyncLease>),
    Keeping(Asker<KeepSyncLeases>),
    Booking {
        asker: Asker<ReserveSync>,
        request: ReserveSync,
        system: EntityId,
    },
    Unreserving(Asker<CancelSyncReservation>),
    Operating(Asker<OperateSyncLease>),
    /// The end of an object that nothing stands for any more: where the whole is, and which object.
    Retiring {
        whole: PendingKey,
        object: EntityId,
    },
    /// Who told of such objects, and how many of them have not ended.
    Retired(Teller, usize),
    /// A claim whose priority may have changed, for DTAC.
    Weighing {
        object: EntityId,
        arrival: u64,
        claimed: Option<u8>,
    },
    /// An answer that waits until this many gates have extended a lease.
    Extending {
        answer: Box<Carried>,
        left: usize,
    },
}

/// An answer that is ready to leave.
#[derive(Debug)]
enum Carried {
    Renewed(Asker<RenewSyncLease>, SyncLease),
    Taken(Asker<RequestSyncLease>, SyncLease),
    Kept(Asker<KeepSyncLeases>, u32),
}

/// What the supervisor writes down.
#[derive(Debug, Serialize, Deserialize)]
pub enum SyncSupervisorRecord {
    /// The table has changed.
    Changed {
        /// The object; none: the whole table.
        object: Option<EntityId>,
        /// When.
        at: Timestamp,
        /// How.
        change: Change,
    },
    /// An operator acted.
    Operated {
        /// The object.
        object: EntityId,
        /// When.
        at: Timestamp,
        /// What they did.
        act: OperatorAct,
        /// Who, and why.
        by: Arc<str>,
    },
    /// In a snapshot: something that happened to an object.
    Past {
        /// The object.
        object: EntityId,
        /// What.
        moment: Moment,
    },
}

/// The supervisor of sync leases.
#[derive(Debug)]
pub struct SyncSupervisor {
    table: Table,
    /// What has an object, by its twins.
    twins: BTreeMap<TwinId, Option<EntityId>>,
    objects: BTreeMap<EntityId, KnownObject>,
    /// Objects that are about to end.
    ending: BTreeSet<EntityId>,
    history: History,
    waiting: Pending<Waiting>,
    /// The timers that are pending, on the monotonic clock: each before the one under it, for none can be taken back.
    armed_ms: Vec<u64>,
    shown: Counts,
    /// The turn in which the table's life began. What is older came of the journal.
    began: Option<EventId>,
    causes: Causes,
    /// Whether somebody judges what it does.
    watched: bool,
    /// Kept for its memory.
    effects: Vec<Effect>,
}

/// The part of the journal that is of no object.
const WHOLE: u64 = 0;

/// The part of the journal that holds an object.
fn part(object: Option<EntityId>) -> u64 {
    object.map_or(WHOLE, |object| u64::from(object.slot()) + 1)
}

fn object_of(part: u64) -> Option<EntityId> {
    let slot = u32::try_from(part.checked_sub(1)?).ok()?;
    Some(EntityId::new(PhysicalObjectMsg::KIND, 0, slot))
}

impl Behaviour for SyncSupervisor {
    type Wire = Wire;
    type Msg = SyncSupervisorMsg;
    type Record = SyncSupervisorRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            table: Table::new(settings.lease.clone()),
            twins: BTreeMap::new(),
            objects: BTreeMap::new(),
            ending: BTreeSet::new(),
            history: History::default(),
            waiting: Pending::new(settings.pending_questions_max, incarnation),
            armed_ms: Vec::new(),
            shown: Counts::default(),
            began: None,
            causes: Causes::default(),
            watched: settings.lease_watched,
            effects: Vec::new(),
        }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<SyncSupervisorMsg>, out: &mut Out<'_, Self>) {
        use SyncSupervisorMsg as Msg;
        // Others that began before may speak before this entity was told to begin.
        self.begin(Recovery::Start, out);
        match message {
            Msg::ForgetTwinSystem(ForgetTwinSystem { twins, .. }) => {
                self.retire(&twins, Teller::Forgetting(meta.asker(out.event())), out);
            }
            Msg::KeepTwinSystem(KeepTwinSystem { twins, gone, .. }) => {
                self.keep(&twins);
                // A priority may have changed before a crash that this entity had not heard of.
                for twin in twins.iter() {
                    self.weigh_again(&twin.entry.id, |_| true, out);
                }
                self.retire(&gone, Teller::Keeping(meta.asker(out.event())), out);
            }
            // FGMV-28 7.1.3 steps 7 and 10.
            Msg::RequestSyncLease(request) => self.request(&meta, request, out),
            Msg::RequestSyncLeases(requests) => self.request_several(&meta, requests, out),
            Msg::SyncVerified(answer) => self.verified(meta.pending, answer, out),
            Msg::CancelSyncLease(message) => self.cancel(&meta, &message, out),
            // FGMV-28 7.1.3 step 9.
            Msg::GateFenced(GateFenced { token, incarnation, fencing, seen_before }) => {
                self.causes.fenced(meta.from, token, out.event());
                if seen_before.epoch.saturating_sub(token.epoch) > EPOCHS_AHEAD_MAX {
                    let object = self.objects.get(&meta.from).map(|known| &known.uri);
                    tracing::error!(?object, seen = %seen_before, "a device tells a token that no backup explains: it is not believed");
                }
                self.step(Input::Fenced { object: meta.from, token, incarnation, fencing, seen_before }, out);
            }
            Msg::GateStarted(started) => {
                self.step(Input::GateStarted { object: meta.from, incarnation: started.incarnation }, out);
            }
            Msg::GateExtended(answer) => self.extended(meta.pending, answer.map(|_| ()), out),
            Msg::AbandonSyncLeases(_) => self.step(Input::Abandon { system: meta.from }, out),
            Msg::RenewSyncLease(message) => self.renew(&meta, *message.shown, message.ttl_ms, out),
            Msg::ReleaseSyncLease(message) => self.release(&meta, *message.shown, out),
            Msg::YieldSyncLease(message) => self.answer_ask(&meta, *message.shown, message.yields, out),
            Msg::KeepSyncLeases(_) => self.keep_alive(&meta, out),
            Msg::ReserveSync(message) => self.reserve(&meta, message, out),
            Msg::CancelSyncReservation(message) => self.unreserve(&meta, &message, out),
            Msg::OperateSyncLease(message) => self.operate(&meta, &message, out),
            Msg::ReadSyncLease(message) => self.read(&meta, &message, out),
            Msg::ListSyncLeases(message) => self.list(&meta, &message, out),
            // FGMV-28 REQ-DT-08: priorities can change while leases are held.
            Msg::RulesChanged(changed) => self.weigh_again(&changed.twin, |_| true, out),
            Msg::PermissionLost(lost) => self.permission_lost(&lost, out),
            Msg::RoleChanged(changed) => {
                self.weigh_again(
                    &changed.twin,
                    |who| who.holder.system == changed.metaverse && who.holder.user == changed.user,
                    out,
                );
            }
        }
    }

    fn timeout(&mut self, _key: PendingKey, out: &mut Out<'_, Self>) {
        // A timer that was set before a shorter one is pending yet, and is not set again.
        let now_ms = out.now().monotonic_ms;
        while self.armed_ms.pop_if(|armed_ms| *armed_ms <= now_ms).is_some() {}
        self.step(Input::Tick, out);
    }

    fn replay(&mut self, record: SyncSupervisorRecord) {
        match record {
            SyncSupervisorRecord::Changed { object, at, change } => {
                self.table.replay(object, &change);
                match object {
                    // A snapshot's changes have no moment of their own: its moments follow them.
                    _ if at == Timestamp::default() => self.history.learn(&change),
                    Some(object) => self.history.note(object, &change, at, |_| ()),
                    None => {}
                }
            }
            SyncSupervisorRecord::Operated { object, at, act, by } => {
                self.history.operated(object, carrying::name_of(act), &by, at);
            }
            SyncSupervisorRecord::Past { object, moment } => self.history.push(object, moment),
        }
    }

    fn snapshot(&self, part: u64, into: &mut Vec<SyncSupervisorRecord>) {
        let object = object_of(part);
        let mut changes = Vec::new();
        self.table.snapshot(object, &mut changes);
        into.extend(changes.into_iter().map(|change| SyncSupervisorRecord::Changed {
            object,
            at: Timestamp::default(),
            change,
        }));
        if let Some(object) = object {
            let past = self.history.of(object);
            into.extend(past.map(|moment| SyncSupervisorRecord::Past { object, moment: moment.clone() }));
        }
    }

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        self.begin(why, out);
        // When the daemon starts, DTSR recovers too and tells everybody.
        if why == Recovery::Failure {
            out.send(DTSR, Reannounce);
        }
    }
}

impl SyncSupervisor {
    /// The table that decides, for whoever judges it by [`rules`](twinway_protocol::lease::rules).
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Begins the table's life, once.
    fn begin(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        if self.began.is_none() {
            self.began = Some(out.event());
            self.show_beginning(out);
            self.step(Input::Recover(why), out);
        }
    }

    /// Within FGMV-29 9.2 step 2: which twins stand for which objects.
    fn keep(&mut self, twins: &[RegisteredTwin]) {
        for twin in twins {
            let object = twin.object.map(|object| object.id());
            self.twins.insert(twin.entry.id.clone(), object);
            let (Some(entity), Some(uri)) = (object, &twin.entry.physical_object) else { continue };
            let known = self.objects.entry(entity).or_insert_with(|| KnownObject {
                entity,
                uri: uri.clone(),
                twins: Vec::new(),
            });
            match known.twins.iter_mut().find(|(id, _)| *id == twin.entry.id) {
                Some((_, actor)) => *actor = twin.entity,
                None => known.twins.push((twin.entry.id.clone(), twin.entity)),
            }
        }
    }

    fn object(&self, twin: &TwinId) -> Result<EntityId, Problem> {
        let unknown = || Problem::new(ProblemKind::TwinUnknown, format!("no registered twin system lists `{twin}`"));
        let none = || Problem::new(ProblemKind::ObjectNone, format!("`{twin}` stands for no physical object"));
        self.twins.get(twin).ok_or_else(unknown)?.ok_or_else(none)
    }
}

#[cfg(test)]
mod tests;
