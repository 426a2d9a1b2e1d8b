//! What metaverse systems and operators ask of the supervisor: read, checked by DTAC where it is about a user's right,
//! and put to the table.

use std::sync::Arc;

use twinway_protocol::{
    EntityId, Meta, Out, PendingKey, Problem, ProblemKind, SystemId, TwinId, UserId, WorldId,
    access::Right,
    lease::{Booking, Claimant, HolderClass, Input, Manner, Objects, Priority, Request, Shown},
    message::{
        CancelSyncLease, CancelSyncReservation, DTAC, KeepSyncLeases, LeaseRequest, ListSyncLeases, OperateSyncLease,
        OperatorAct, PermissionLost, ReadSyncLease, ReleaseSyncLease, RenewSyncLease, RequestSyncLease,
        RequestSyncLeases, ReserveSync, ShownToken, SyncLease, SyncLeaseShown, SyncLeasesDecided, SyncLeasesListed,
        SyncVerified, VerifySync, YieldSyncLease,
    },
    registry::Page,
};

use super::{Batch, SyncSupervisor, SyncSupervisorRecord, Waiting, carrying::name_of, part, view};
use crate::settings::pending_full;

/// The virtual world of a request: the one that it names, or else the metaverse system as a whole.
fn world_of(named: Option<&WorldId>, metaverse: &SystemId) -> WorldId {
    named.cloned().unwrap_or_else(|| WorldId::from(metaverse))
}

fn verify(metaverse: &SystemId, request: &LeaseRequest) -> VerifySync {
    VerifySync {
        metaverse: metaverse.clone(),
        user: request.user.clone(),
        world: world_of(request.world.as_ref(), metaverse),
        class: request.class,
        twins: request.twins.as_slice().into(),
        right: Right::Change,
    }
}

fn claimant(
    metaverse: &SystemId,
    (user, world, class): (&UserId, Option<&WorldId>, HolderClass),
    claimed: Option<Priority>,
    twins: &[TwinId],
    role: Option<Arc<str>>,
) -> Arc<Claimant> {
    let world = world_of(world, metaverse);
    let holder = twinway_protocol::lease::Holder { user: user.clone(), world, system: metaverse.clone(), class };
    Arc::new(Claimant { holder, role, claimed, twins: twins.into() })
}

/// A request as the table takes it.
fn request(
    system: EntityId,
    metaverse: &SystemId,
    asked: &LeaseRequest,
    verified: SyncVerified,
    one_shot: bool,
) -> Request {
    let SyncVerified { mut wanted, role } = verified;
    for wanted in &mut wanted {
        // What a requester claims can only lower what the rules give (FGMV-28 REQ-DT-08).
        wanted.priority = asked.priority.map_or(wanted.priority, |claimed| claimed.min(wanted.priority));
    }
    let user = (&asked.user, asked.world.as_ref(), asked.class);
    let objects = match &wanted[..] {
        [one] => Objects::One(*one),
        _ => Objects::Set(wanted.into()),
    };
    Request {
        system,
        id: asked.request_id,
        who: claimant(metaverse, user, asked.priority, &asked.twins, role),
        objects,
        ttl_ms: asked.ttl_ms,
        wait_ms: asked.wait_ms,
        manner: Manner { ask: asked.ask, requeue: asked.requeue, one_shot },
    }
}

impl SyncSupervisor {
    /// FGMV-28 7.1.3 step 7: DTAC says whether the user may, and at which priority.
    pub(super) fn request(&mut self, meta: &Meta, request: RequestSyncLease, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<RequestSyncLease>(out.event());
        let question = verify(&request.metaverse, &request.request);
        match self.waiting.insert(Waiting::Verifying { asker, request, system: meta.from }) {
            Ok(key) => out.ask(DTAC, question, key),
            Err(waiting) => Self::refuse(waiting, pending_full(), out),
        }
    }

    /// FGMV-28 7.1.3 steps 6 and 7: several users at once.
    pub(super) fn request_several(&mut self, meta: &Meta, asked: RequestSyncLeases, out: &mut Out<'_, Self>) {
        let RequestSyncLeases { metaverse, requests } = asked;
        let asker = meta.asker::<RequestSyncLeases>(out.event());
        let unverified = requests.len();
        if unverified == 0 {
            return out.reply(asker, Ok(SyncLeasesDecided { answers: Vec::new() }));
        }
        let batch = Batch {
            asker,
            system: meta.from,
            metaverse: metaverse.clone(),
            requests: Arc::clone(&requests),
            answers: vec![None; unverified],
            granted: None,
            verified: Vec::new(),
            unverified,
        };
        let batch = match self.waiting.insert(Waiting::Batch(Box::new(batch))) {
            Ok(key) => key,
            Err(waiting) => return Self::refuse(waiting, pending_full(), out),
        };
        for (index, request) in requests.iter().enumerate() {
            match self.waiting.insert(Waiting::OneOf { batch, index, wants: None }) {
                Ok(key) => out.ask(DTAC, verify(&metaverse, request), key),
                Err(_) => self.verified_of_batch(batch, index, Err(pending_full()), out),
            }
        }
    }

    /// DTAC has answered.
    pub(super) fn verified(&mut self, key: PendingKey, answer: Result<SyncVerified, Problem>, out: &mut Out<'_, Self>) {
        let answer = answer.and_then(|verified| {
            let gone = || Problem::new(ProblemKind::TwinUnknown, "no registered twin system lists the twin any more");
            if self.is_late(&verified.wanted) { Err(gone()) } else { Ok(verified) }
        });
        match (self.waiting.take(key), answer) {
            (Some(Waiting::OneOf { batch, index, .. }), answer) => self.verified_of_batch(batch, index, answer, out),
            (Some(Waiting::Verifying { asker, request: asked, system }), Ok(verified)) => {
                let request = request(system, &asked.metaverse, &asked.request, verified, asked.one_shot);
                let (who, objects) = (Arc::clone(&request.who), request.objects.clone());
                let since_ms = out.now().monotonic_ms;
                match self.waiting.insert(Waiting::Deciding { asker, who, objects, since_ms }) {
                    Ok(reply) => self.step(Input::Request(request, reply.to_bits()), out),
                    Err(waiting) => Self::refuse(waiting, pending_full(), out),
                }
            }
            (Some(Waiting::Booking { asker, request, system }), Ok(verified)) => {
                self.book(Waiting::Booking { asker, request, system }, verified, out);
            }
            (Some(Waiting::Weighing { object, arrival, claimed }), Ok(SyncVerified { wanted, .. })) => {
                if let Some(wanted) = wanted.first() {
                    let priority = claimed.map_or(wanted.priority, |claimed| claimed.min(wanted.priority));
                    self.step(Input::Weigh { object, arrival, priority }, out);
                }
            }
            // What it may not have any more it does not keep, nor wait for.
            (Some(Waiting::Weighing { object, arrival, .. }), Err(problem)) if problem.kind.status() == 403 => {
                self.step(Input::Deny { object, arrival }, out);
            }
            (Some(waiting), Err(problem)) => Self::refuse(waiting, problem, out),
            (Some(_) | None, _) => {}
        }
    }

    /// DTAC has answered for one of several; when it has for all, they are decided together.
    fn verified_of_batch(
        &mut self,
        key: PendingKey,
        index: usize,
        answer: Result<SyncVerified, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        let Some(Waiting::Batch(batch)) = self.waiting.get_mut(key) else { return };
        batch.unverified -= 1;
        match (answer, batch.requests.get(index)) {
            (Ok(verified), Some(asked)) => {
                let request = request(batch.system, &batch.metaverse, asked, verified, false);
                batch.verified.push((index, request));
            }
            (Ok(_), None) => {}
            (Err(problem), _) => {
                if let Some(answer) = batch.answers.get_mut(index) {
                    *answer = Some(Err(problem));
                }
            }
        }
        if batch.unverified > 0 {
            return;
        }
        let mut requests = Vec::new();
        for (index, request) in std::mem::take(&mut batch.verified) {
            let one =
                Waiting::OneOf { batch: key, index, wants: Some((Arc::clone(&request.who), request.objects.clone())) };
            match self.waiting.insert(one) {
                Ok(reply) => requests.push((request, reply.to_bits())),
                Err(_) => self.decided_of_batch(key, index, Err(pending_full()), out),
            }
        }
        if requests.is_empty() { self.settle_batch(key, out) } else { self.step(Input::Batch(requests), out) }
    }

    /// One of several is decided.
    pub(super) fn decided_of_batch(
        &mut self,
        key: PendingKey,
        index: usize,
        answer: Result<SyncLease, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        if let Some(Waiting::Batch(batch)) = self.waiting.get_mut(key)
            && let Some(place) = batch.answers.get_mut(index)
        {
            if answer.is_ok() {
                batch.granted = Some(out.event());
            }
            *place = Some(answer);
        }
        self.settle_batch(key, out);
    }

    /// FGMV-28 7.1.3 steps 10 and 11: everyone's own answer, when all have one.
    fn settle_batch(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        let Some(Waiting::Batch(batch)) = self.waiting.get_mut(key) else { return };
        if batch.unverified > 0 || batch.answers.iter().any(Option::is_none) {
            return;
        }
        if let Some(Waiting::Batch(batch)) = self.waiting.take(key) {
            // What led to the lease led to this answer, however late the others' answers came.
            batch.granted.into_iter().for_each(|granted| out.join(granted));
            let answers = batch.answers.into_iter().flatten().collect();
            out.reply(batch.asker, Ok(SyncLeasesDecided { answers }));
        }
    }

    /// The token that somebody shows, for the table.
    fn shown(&self, meta: &Meta, shown: ShownToken) -> Result<Shown, Problem> {
        let ShownToken { user, twin, token, .. } = shown;
        Ok(Shown { object: self.object(&twin)?, token, system: meta.from, user })
    }

    /// Puts something to the table for whoever waits.
    fn put(&mut self, waiting: Waiting, input: impl FnOnce(u64) -> Input, out: &mut Out<'_, Self>) {
        match self.waiting.insert(waiting) {
            Ok(reply) => self.step(input(reply.to_bits()), out),
            Err(waiting) => Self::refuse(waiting, pending_full(), out),
        }
    }

    pub(super) fn renew(&mut self, meta: &Meta, shown: ShownToken, ttl_ms: u32, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<RenewSyncLease>(out.event());
        match self.shown(meta, shown) {
            Ok(shown) => {
                let waiting = Waiting::Renewing(asker, shown.object);
                self.put(waiting, |reply| Input::Renew { shown, ttl_ms, reply }, out);
            }
            Err(problem) => out.reply(asker, Err(problem)),
        }
    }

    pub(super) fn release(&mut self, meta: &Meta, shown: ShownToken, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ReleaseSyncLease>(out.event());
        match self.shown(meta, shown) {
            Ok(shown) => self.put(Waiting::Releasing(asker), |reply| Input::Release { shown, reply }, out),
            Err(problem) => out.reply(asker, Err(problem)),
        }
    }

    pub(super) fn answer_ask(&mut self, meta: &Meta, shown: ShownToken, yields: bool, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<YieldSyncLease>(out.event());
        match self.shown(meta, shown) {
            Ok(shown) => self.put(Waiting::Yielding(asker), |reply| Input::Yield { shown, yields, reply }, out),
            Err(problem) => out.reply(asker, Err(problem)),
        }
    }

    pub(super) fn cancel(&mut self, meta: &Meta, message: &CancelSyncLease, out: &mut Out<'_, Self>) {
        let (system, id) = (meta.from, message.request_id);
        let asker = meta.asker::<CancelSyncLease>(out.event());
        self.put(Waiting::Cancelling(asker), |reply| Input::Cancel { system, id, reply }, out);
    }

    pub(super) fn keep_alive(&mut self, meta: &Meta, out: &mut Out<'_, Self>) {
        let (system, asker) = (meta.from, meta.asker::<KeepSyncLeases>(out.event()));
        self.put(Waiting::Keeping(asker), |reply| Input::KeepAlive { system, reply }, out);
    }

    /// A user wants an object for later: as for now, DTAC says at which priority.
    pub(super) fn reserve(&mut self, meta: &Meta, request: ReserveSync, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ReserveSync>(out.event());
        let question = VerifySync {
            metaverse: request.metaverse.clone(),
            user: request.booking.user.clone(),
            world: world_of(request.booking.world.as_ref(), &request.metaverse),
            class: HolderClass::Person,
            twins: [request.twin.clone()].into(),
            right: Right::Change,
        };
        match self.waiting.insert(Waiting::Booking { asker, request, system: meta.from }) {
            Ok(key) => out.ask(DTAC, question, key),
            Err(waiting) => Self::refuse(waiting, pending_full(), out),
        }
    }

    fn book(&mut self, booking: Waiting, verified: SyncVerified, out: &mut Out<'_, Self>) {
        let (Waiting::Booking { request, system, .. }, Some(wanted)) = (&booking, verified.wanted.first()) else {
            return;
        };
        let ReserveSync { metaverse, twin, booking: asked } = request;
        let mut wanted = *wanted;
        wanted.priority = asked.priority.map_or(wanted.priority, |claimed| claimed.min(wanted.priority));
        let user = (&asked.user, asked.world.as_ref(), HolderClass::Person);
        let who = claimant(metaverse, user, asked.priority, std::slice::from_ref(twin), verified.role);
        let (system, from, until, ttl_ms) = (*system, asked.from, asked.until, asked.ttl_ms);
        let booked = Booking { system, who, wanted, from, until, ttl_ms };
        self.put(booking, |reply| Input::Reserve(booked, reply), out);
    }

    pub(super) fn unreserve(&mut self, meta: &Meta, message: &CancelSyncReservation, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<CancelSyncReservation>(out.event());
        let object = match self.object(&message.twin) {
            Ok(object) => object,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let (id, system) = (message.id, message.metaverse.as_ref().map(|_| meta.from));
        self.put(Waiting::Unreserving(asker), |reply| Input::Unreserve { object, id, system, reply }, out);
    }

    /// An operator acts, and it is written down who did and why.
    pub(super) fn operate(&mut self, meta: &Meta, message: &OperateSyncLease, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<OperateSyncLease>(out.event());
        let object = match self.object(&message.twin) {
            Ok(object) => object,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let (at, act, by) = (out.now().wall, message.act, Arc::clone(&message.by));
        self.history.operated(object, name_of(act), &by, at);
        out.record(part(Some(object)), SyncSupervisorRecord::Operated { object, at, act, by });
        let input = |reply| match act {
            OperatorAct::Revoke => Input::Revoke { object, grace: true, reply },
            OperatorAct::Clear => Input::Revoke { object, grace: false, reply },
            OperatorAct::ReplaceGate => Input::ReplaceGate { object, reply },
        };
        self.put(Waiting::Operating(asker), input, out);
    }

    /// FGMV-28 REQ-DT-08: the rules for a twin, or what a user is to it, have changed: DTAC is asked again about all
    /// who hold or want its object through it, now or later.
    pub(super) fn weigh_again(
        &mut self,
        twin: &TwinId,
        concerned: impl Fn(&Claimant) -> bool,
        out: &mut Out<'_, Self>,
    ) {
        let Some(view) = self.object(twin).ok().and_then(|object| self.table.view(object, usize::MAX)) else { return };
        let object = view.object;
        let claims = view.holder.into_iter().chain(view.queue).map(|claim| (claim.arrival, claim.who, claim.objects));
        let kept = view.reservations.into_iter().map(|kept| (kept.id, kept.who, Objects::One(kept.wanted)));
        for (arrival, who, objects) in claims.chain(kept) {
            let mut pairs = who.twins.iter().zip(objects.as_slice());
            if !concerned(&who) || !pairs.any(|(named, wanted)| named == twin && wanted.object == object) {
                continue;
            }
            let holder = &who.holder;
            let question = VerifySync {
                metaverse: holder.system.clone(),
                user: holder.user.clone(),
                world: holder.world.clone(),
                class: holder.class,
                twins: [twin.clone()].into(),
                right: Right::Change,
            };
            let weighing = Waiting::Weighing { object, arrival, claimed: who.claimed };
            // With a full table it keeps the priority that it has.
            if let Ok(key) = self.waiting.insert(weighing) {
                out.ask(DTAC, question, key);
            }
        }
    }

    /// FGMV-29 8.3.5: who may not change the object any more does not keep it from others, now or later: it is taken from
    /// them with their grace, and what they wait for or have reserved is dropped.
    pub(super) fn permission_lost(&mut self, lost: &PermissionLost, out: &mut Out<'_, Self>) {
        let Some(view) = self.object(&lost.twin).ok().and_then(|object| self.table.view(object, usize::MAX)) else {
            return;
        };
        let object = view.object;
        let is_theirs = |who: &Claimant| {
            who.holder.system == lost.metaverse && who.holder.user == lost.user && who.twins.contains(&lost.twin)
        };
        // First what is to come: whoever is next after the holder must not be them.
        let kept = view.reservations.iter().map(|kept| (kept.id, &kept.who));
        let claims = view.queue.iter().chain(&view.holder).map(|claim| (claim.arrival, &claim.who));
        for (arrival, _) in kept.chain(claims).filter(|(_, who)| is_theirs(who)) {
            self.step(Input::Deny { object, arrival }, out);
        }
    }

    pub(super) fn read(&mut self, meta: &Meta, message: &ReadSyncLease, out: &mut Out<'_, Self>) {
        let viewer = message.metaverse.as_ref();
        // What is due is done first, so that nobody is shown what is over already.
        self.step(Input::Tick, out);
        let shown = self.object(&message.twin).and_then(|object| {
            let unknown = || Problem::new(ProblemKind::TwinUnknown, "it is not registered yet");
            let known = self.objects.get(&object).ok_or_else(unknown)?;
            let seen = self.table.view(object, view::QUEUE_SHOWN_MAX);
            Ok(SyncLeaseShown { view: Box::new(view::view(known, seen, &self.history, viewer)) })
        });
        out.reply(meta.asker::<ReadSyncLease>(out.event()), shown);
    }

    /// In the order of the objects' addresses, which do not change.
    pub(super) fn list(&mut self, meta: &Meta, message: &ListSyncLeases, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ListSyncLeases>(out.event());
        self.step(Input::Tick, out);
        let from = match message.cursor.as_deref().map(str::parse::<u32>) {
            None => 0,
            Some(Ok(last)) => last.saturating_add(1),
            Some(Err(_)) => {
                let detail = "`cursor` is not one that a page before has given";
                return out.reply(asker, Err(Problem::new(ProblemKind::InvalidQuery, detail)));
            }
        };
        let limit = Page::<()>::items(message.limit);
        let (mut items, mut last, mut next) = (Vec::new(), None, None);
        for object in self.table.objects(from) {
            let Some(seen) = self.table.view(object, 0) else { continue };
            let idle = seen.holder.is_none() && seen.waiting == 0 && seen.phase == twinway_protocol::lease::Phase::Free;
            let Some(known) = self.objects.get(&object).filter(|_| !idle) else { continue };
            let Some(item) = view::listing(known, &seen, message.metaverse.as_ref()) else { continue };
            if items.len() == limit {
                next = last.map(|slot: u32| slot.to_string());
                break;
            }
            last = Some(object.slot());
            items.push(item);
        }
        out.reply(asker, Ok(SyncLeasesListed { page: Page { items, next } }));
    }
}
