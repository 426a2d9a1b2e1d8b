//! Digital twin synchronization (DTS, FGMV-29 8.3.4): steps 14 to 18 of FGMV-29 9.2.
//!
//! A change of a physical object is made under a sync lease (FGMV-28 7.1.3). Whoever shows no token has one taken for
//! this change only.

mod invoking;

use std::sync::Arc;

use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, PendingKey, Problem, ProblemKind, Recovery, Ref,
    SystemId, TwinId, UserId,
    access::Right,
    lease::{HolderClass, Token},
    message::{
        AbandonSyncLeases, ApplyChange, ChangeApplied, ChangeCompleted, ChangeTwin, ChangeVerified, DTAC, DtsMsg,
        Errand, ForgetTwinSystem, InvokeAction, KeepTwinSystem, Kept, LeaseRequest, PhysicalChange, PhysicalObjectMsg,
        PropertyValues, ReflectChange, ReleaseSyncLease, RequestSyncLease, SYNC_SUPERVISOR, ShownToken, StopTwin,
        SyncLease, SyncLeaseGranted, SyncVerified, TwinMsg, VerifyChange, VerifySync, Wire,
    },
};

use crate::{NoRecord, Settings, settings::pending_full};

/// How much longer than the device may take to answer the lease of one change lasts, in milliseconds.
const ONE_SHOT_SLACK_MS: u64 = 1_000;

/// Something on its way from the virtual to the physical.
#[derive(Debug)]
enum Waiting {
    /// A change of a twin or an action, as the twin is to be asked, and how far it has come.
    Change { asker: Asking, wanted: Box<ApplyChange>, at: Stage },
    /// A safe stop.
    Stop { asker: Asker<StopTwin>, wanted: StopTwin },
}

/// Who waits for what becomes of it.
#[derive(Debug)]
enum Asking {
    /// Until the values are there.
    Change(Asker<ChangeTwin>),
    /// Until the action is on its way; none: it is.
    Action(Option<Asker<InvokeAction>>),
}

impl Asking {
    fn settle(self, answer: Result<ChangeCompleted, Problem>, out: &mut Out<'_, Dts>) {
        match (self, answer) {
            (Self::Change(asker), answer) => out.reply(asker, answer),
            (Self::Action(Some(asker)), Err(problem)) => out.reply(asker, Err(problem)),
            // That it began was told, and the twin tells how it ended.
            (Self::Action(_), _) => {}
        }
    }
}

/// How far a change has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Step 16.
    Verifying,
    /// A lease is asked for, for this change only; then it goes to this twin.
    Leasing(Ref<TwinMsg>),
    /// Step 17; with the token of the lease that ends with it.
    Applying(Option<Token>),
}

/// Digital twin synchronization. It remembers only what is under way.
#[derive(Debug)]
pub struct Dts {
    waiting: Pending<Waiting>,
    one_shot_ttl_ms: u32,
    one_shot_wait_ms: u32,
    answer_ms_max: u64,
    action_ms_max: u64,
}

impl Behaviour for Dts {
    type Wire = Wire;
    type Msg = DtsMsg;
    type Record = NoRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        // A lease that ends before the answer comes would stop the device in the middle.
        let answered_ms = settings.outside_answer_ms_max.saturating_add(ONE_SHOT_SLACK_MS);
        Self {
            waiting: Pending::new(settings.pending_questions_max, incarnation),
            one_shot_ttl_ms: settings.one_shot_ttl_ms.max(u32::try_from(answered_ms).unwrap_or(u32::MAX)),
            one_shot_wait_ms: settings.one_shot_wait_ms,
            answer_ms_max: settings.outside_answer_ms_max,
            action_ms_max: settings.action_ms_max,
        }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<DtsMsg>, out: &mut Out<'_, Self>) {
        match message {
            // Messages carry the addresses that they need, so that there is nothing to keep.
            DtsMsg::ForgetTwinSystem(_) => out.reply(meta.asker::<ForgetTwinSystem>(out.event()), Ok(Kept)),
            DtsMsg::KeepTwinSystem(_) => out.reply(meta.asker::<KeepTwinSystem>(out.event()), Ok(Kept)),
            DtsMsg::PhysicalChange(change) => reflect(change, out),
            DtsMsg::ChangeTwin(wanted) => self.change(&meta, wanted, out),
            DtsMsg::ChangeVerified(answer) => self.verified(&meta, answer, out),
            DtsMsg::SyncLeaseGranted(answer) => self.granted(&meta, answer, out),
            DtsMsg::ChangeApplied(answer) => self.applied(&meta, answer, out),
            DtsMsg::InvokeAction(wanted) => self.invoke(&meta, wanted, out),
            DtsMsg::ActionBegan(began) => self.began(began, out),
            DtsMsg::StopTwin(wanted) => self.stop(&meta, wanted, out),
            DtsMsg::SyncVerified(answer) => self.stop_verified(&meta, answer, out),
            // Nobody waits for the end of a lease that was taken for one change.
            DtsMsg::SyncLeaseSettled(_) => {}
        }
    }

    fn replay(&mut self, record: NoRecord) {
        match record {}
    }

    fn snapshot(&self, _part: u64, _into: &mut Vec<NoRecord>) {}

    fn recovered(&mut self, _why: Recovery, out: &mut Out<'_, Self>) {
        // Whoever asked for those changes has been told that they failed.
        out.send(SYNC_SUPERVISOR, AbandonSyncLeases);
    }
}

/// FGMV-29 9.2 step 14: what the object did is shown by its twin.
fn reflect(change: PhysicalChange, out: &mut Out<'_, Dts>) {
    let PhysicalChange { twin, entity, values, at, reporter } = change;
    out.send(entity, ReflectChange { twin, values, at, version: 0, reporter });
}

impl Dts {
    /// FGMV-29 9.2 steps 15 and 16: a wanted change is verified first.
    fn change(&mut self, meta: &Meta, wanted: ChangeTwin, out: &mut Out<'_, Self>) {
        let asker = meta.asker(out.event());
        let not_after = match self.deadline(wanted.terms, self.answer_ms_max, out) {
            Ok(not_after) => not_after,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let ChangeTwin { metaverse, user, twin, values, token, terms } = wanted;
        let verify = VerifyChange {
            metaverse: metaverse.clone(),
            user: user.clone(),
            twin: twin.clone(),
            values: values.clone(),
        };
        let wanted = Box::new(ApplyChange {
            values,
            token,
            not_after,
            errand: terms.expects.map(|version| Box::new(Errand { expects: Some(version), action: None })),
            ..blank(metaverse, user, twin)
        });
        match self.waiting.insert(Waiting::Change { asker: Asking::Change(asker), wanted, at: Stage::Verifying }) {
            Ok(key) => out.ask(DTAC, verify, key),
            Err(waiting) => refuse(waiting, pending_full(), out),
        }
    }

    /// FGMV-29 9.2 step 17: a valid request goes to the twin, and by it to the twin system; an invalid one is rejected.
    fn verified(&mut self, meta: &Meta, answer: Result<ChangeVerified, Problem>, out: &mut Out<'_, Self>) {
        let (wait_ms, ttl_ms) = (self.one_shot_wait_ms, self.one_shot_ttl_ms);
        let Some(Waiting::Change { wanted, at, .. }) = self.waiting.get_mut(meta.pending) else { return };
        match answer {
            Ok(ChangeVerified { entity, has_object: true }) if wanted.token.is_none() => {
                *at = Stage::Leasing(entity);
                out.ask(SYNC_SUPERVISOR, one_shot(wanted, ttl_ms, wait_ms), meta.pending);
            }
            Ok(ChangeVerified { entity, .. }) => {
                *at = Stage::Applying(None);
                out.ask(entity, ApplyChange::clone(wanted), meta.pending);
            }
            Err(problem) => self.complete(meta.pending, Err(problem), out),
        }
    }

    /// FGMV-29 9.2 step 17: the lease for this change is there; or it is not, and the request is rejected.
    fn granted(&mut self, meta: &Meta, answer: Result<SyncLeaseGranted, Problem>, out: &mut Out<'_, Self>) {
        match (self.waiting.get_mut(meta.pending), answer) {
            (Some(Waiting::Change { wanted, at, .. }), Ok(SyncLeaseGranted { lease })) => match *at {
                Stage::Leasing(entity) => {
                    *at = Stage::Applying(Some(lease.token));
                    let token = Some(lease.token);
                    out.ask(entity, ApplyChange { token, ..ApplyChange::clone(wanted) }, meta.pending);
                }
                Stage::Verifying | Stage::Applying(_) => give_back(&lease, out),
            },
            (Some(Waiting::Change { at: Stage::Leasing(_), .. }), Err(problem)) => {
                self.complete(meta.pending, Err(problem), out);
            }
            // It was asked for before this entity failed: nobody is there to use it.
            (_, Ok(SyncLeaseGranted { lease })) => give_back(&lease, out),
            (_, Err(_)) => {}
        }
    }

    /// FGMV-29 9.2 steps 18 and 18x: the twin system has answered.
    fn applied(&mut self, meta: &Meta, answer: Result<ChangeApplied, Problem>, out: &mut Out<'_, Self>) {
        self.complete(meta.pending, answer.map(|ChangeApplied { values, .. }| ChangeCompleted { values }), out);
    }

    /// FGMV-29 9.2 steps 15 and 16 for the safe stop: no lease is needed, but the right to stop the object.
    fn stop(&mut self, meta: &Meta, wanted: StopTwin, out: &mut Out<'_, Self>) {
        let asker = meta.asker(out.event());
        let world = match wanted.metaverse.as_str().parse() {
            Ok(world) => world,
            Err(error) => {
                let problem = Problem::new(ProblemKind::InvalidDocument, format!("{error}"));
                return out.reply(asker, Err(problem.at("/metaverse")));
            }
        };
        let verify = VerifySync {
            metaverse: wanted.metaverse.clone(),
            user: wanted.user.clone(),
            world,
            class: HolderClass::Person,
            twins: Arc::from([wanted.twin.clone()]),
            right: Right::Stop,
        };
        match self.waiting.insert(Waiting::Stop { asker, wanted }) {
            Ok(key) => out.ask(DTAC, verify, key),
            Err(waiting) => refuse(waiting, pending_full(), out),
        }
    }

    /// FGMV-29 9.2 step 17 for the safe stop: straight to the object, which knows what stops it.
    fn stop_verified(&mut self, meta: &Meta, answer: Result<SyncVerified, Problem>, out: &mut Out<'_, Self>) {
        let Some(Waiting::Stop { wanted, .. }) = self.waiting.get_mut(meta.pending) else { return };
        let object = answer.and_then(|verified| {
            let first = verified.wanted.first().map(|wanted| wanted.object);
            first.ok_or_else(|| no_object(&wanted.twin))
        });
        match object {
            Ok(object) => {
                let StopTwin { metaverse, user, twin } = wanted.clone();
                let stop = ApplyChange { stop: true, ..blank(metaverse, user, twin) };
                out.ask(Ref::<PhysicalObjectMsg>::new(object), stop, meta.pending);
            }
            Err(problem) => self.complete(meta.pending, Err(problem), out),
        }
    }

    fn complete(&mut self, key: PendingKey, answer: Result<ChangeCompleted, Problem>, out: &mut Out<'_, Self>) {
        match (self.waiting.take(key), answer) {
            (Some(Waiting::Change { asker, wanted, at }), answer) => {
                // A lease for one change ends with it, whatever came of it.
                if let Stage::Applying(Some(token)) = at {
                    let ApplyChange { metaverse, user, twin, .. } = *wanted;
                    release(ShownToken { metaverse, user, twin, token }, out);
                }
                asker.settle(answer, out);
            }
            (Some(Waiting::Stop { asker, .. }), answer) => out.reply(asker, answer),
            (None, _) => {}
        }
    }
}

fn refuse(waiting: Waiting, problem: Problem, out: &mut Out<'_, Dts>) {
    match waiting {
        Waiting::Change { asker, .. } => asker.settle(Err(problem), out),
        Waiting::Stop { asker, .. } => out.reply(asker, Err(problem)),
    }
}

/// Nothing yet for the twin to do, in this user's name.
fn blank(metaverse: SystemId, user: UserId, twin: TwinId) -> ApplyChange {
    ApplyChange {
        twin,
        metaverse,
        user,
        values: Arc::new(PropertyValues::new()),
        token: None,
        not_after: None,
        errand: None,
        stop: false,
        system_entity: ApplyChange::nowhere(),
    }
}

/// FGMV-28 7.1.3 step 7 for one change: it waits for others of its kind, never for a lease.
fn one_shot(wanted: &ApplyChange, ttl_ms: u32, wait_ms: u32) -> RequestSyncLease {
    let request = LeaseRequest {
        user: wanted.user.clone(),
        world: None,
        class: HolderClass::Person,
        twins: vec![wanted.twin.clone()],
        request_id: None,
        priority: None,
        ttl_ms,
        wait_ms,
        ask: false,
        requeue: false,
    };
    RequestSyncLease { metaverse: wanted.metaverse.clone(), request: Arc::new(request), one_shot: true }
}

fn give_back(lease: &SyncLease, out: &mut Out<'_, Dts>) {
    let (Some(twin), holder) = (lease.twins.first().cloned(), lease.holder.clone()) else { return };
    release(ShownToken { metaverse: holder.system, user: holder.user, twin, token: lease.token }, out);
}

fn release(shown: ShownToken, out: &mut Out<'_, Dts>) {
    out.ask(SYNC_SUPERVISOR, ReleaseSyncLease { shown: Box::new(shown) }, PendingKey::NONE);
}

fn no_object(twin: &TwinId) -> Problem {
    Problem::new(ProblemKind::ObjectNone, format!("`{twin}` stands for no physical object"))
}

#[cfg(test)]
mod tests;
