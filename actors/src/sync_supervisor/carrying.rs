//! What the table says, carried out: written down, fenced, answered and told.

use std::sync::Arc;

use serde::Serialize;
use twinway_protocol::{
    EntityId, JsonDoc, Mailbox, Out, PendingKey, Problem, ProblemKind, Ref, SystemId, TwinId,
    lease::{Change, Claimant, Done, Effect, End, Grant, Input, Notice, Objects, Refused, RequestId, Token},
    message::{
        ExtendGate, FenceGate, LeaseParty, MetaverseSystemMsg, NotifyLease, OperatorAct, PhysicalObjectMsg,
        ReflectLease, RestrictGate, SyncLease, SyncLeaseGranted, SyncLeaseSettled, SyncLeasesKept, SyncReserved,
        WeighGate,
    },
    signal::{LeaseFigures, Signal},
};

use super::{
    Carried, KnownObject, SyncSupervisor, SyncSupervisorRecord, Waiting,
    history::{Moment, party},
    part,
    problem::problem,
    view,
};

/// What an operator's act is called.
pub(super) const fn name_of(act: OperatorAct) -> &'static str {
    match act {
        OperatorAct::Revoke => "operator-revoke",
        OperatorAct::Clear => "operator-clear",
        OperatorAct::ReplaceGate => "operator-replace-gate",
    }
}

fn gate(object: EntityId) -> Ref<PhysicalObjectMsg> {
    Ref::new(object)
}

/// FGMV-28 REQ-DT-07: the twins of an object hear what became of its lease, and tell it to all who selected them.
fn reflect(object: EntityId, known: Option<&KnownObject>, moment: &Moment, out: &mut Out<'_, SyncSupervisor>) {
    let moment = Arc::new(moment.shown_to_all());
    match known {
        Some(known) => {
            for (twin, actor) in &known.twins {
                let moment = Arc::clone(&moment);
                out.send(*actor, ReflectLease { twin: Some(twin.clone()), moment });
            }
        }
        // In a new life what stands for the object is heard later; its actor has not forgotten.
        None => out.send(gate(object), ReflectLease { twin: None, moment }),
    }
}

impl SyncSupervisor {
    /// One step of the table, and everything that follows from it.
    pub(super) fn step(&mut self, input: Input, out: &mut Out<'_, Self>) {
        let mut effects = std::mem::take(&mut self.effects);
        let watched = self.watched.then(|| input.clone());
        self.table.step(input, out.now(), &mut effects);
        if let Some(input) = watched {
            self.show_step(input, &effects, out);
        }
        let mut figures = LeaseFigures::default();
        // What is answered in a step that extends leases waits for the gates.
        let extended = effects.iter().filter(|effect| matches!(effect, Effect::Extend { .. })).count();
        let mut extending = PendingKey::NONE;
        if extended > 0 {
            extending = self.hold_answers(&mut effects, extended, out);
        }
        for effect in effects.drain(..) {
            self.carry_out(effect, extending, &mut figures, out);
        }
        self.effects = effects;
        self.arm(out);
        let counts = self.table.counts();
        if counts != self.shown || figures.preempted > 0 || figures.granted_after_ms.is_some() {
            (figures.held, figures.waiting) = (counts.leases, counts.waiting);
            (figures.quarantined, figures.granted) = (counts.quarantined, counts.granted);
            self.shown = counts;
            out.signal(Signal::Leases(figures));
        }
    }

    /// Sees to it that the table is looked at when something becomes due.
    fn arm(&mut self, out: &mut Out<'_, Self>) {
        let Some(due_ms) = self.table.due_ms() else { return };
        if self.armed_ms.last().is_none_or(|armed_ms| due_ms < *armed_ms) {
            self.armed_ms.push(due_ms);
            out.timer(due_ms.saturating_sub(out.now().monotonic_ms), PendingKey::NONE);
        }
    }

    fn carry_out(
        &mut self,
        effect: Effect,
        extending: PendingKey,
        figures: &mut LeaseFigures,
        out: &mut Out<'_, Self>,
    ) {
        match effect {
            Effect::Record(object, change) => self.record(object, change, figures, out),
            // FGMV-28 7.1.3 step 8.
            Effect::Fence { object, token, to, priority, ttl_ms, stop, replaced, restricted } => {
                let closes = to.is_none();
                let fence = FenceGate { token, to, priority, ttl_ms, stop, replaced, restricted };
                if closes {
                    return out.send_beside(gate(object), fence);
                }
                self.join_cause(object, out);
                out.send(gate(object), fence);
            }
            Effect::Restrict { object, token, restricted } => {
                out.send(gate(object), RestrictGate { token, restricted })
            }
            Effect::Weigh { object, token, priority } => out.send(gate(object), WeighGate { token, priority }),
            Effect::Extend { object, token, ttl_ms } => out.ask(gate(object), ExtendGate { token, ttl_ms }, extending),
            Effect::Answer(reply, answer) => self.answer(PendingKey::from_bits(reply), answer, figures, out),
            Effect::Tell { system, who, id, notice, .. } => self.tell(system, &who, id, notice, out),
        }
    }

    /// The request for which an object is fenced, or the answer of its gate by which it is granted, led to this turn.
    fn join_cause(&self, object: EntityId, out: &mut Out<'_, Self>) {
        if let Some(cause) = self.causes.of(object).or(self.began) {
            out.join(cause);
        }
    }

    /// All gates of a lease that is granted, also by an earlier turn, led to the answer.
    fn join_grant(&self, objects: &Objects, out: &mut Out<'_, Self>) {
        for wanted in objects.as_slice() {
            self.join_cause(wanted.object, out);
        }
    }

    /// Writes a change down, and lets everyone who selected a twin of the object hear of it.
    fn record(
        &mut self,
        object: Option<EntityId>,
        change: Change,
        figures: &mut LeaseFigures,
        out: &mut Out<'_, Self>,
    ) {
        let at = out.now().wall;
        if let Change::Granted { over: Some(over), .. } | Change::Ended { over, .. } = &change {
            figures.preempted += u64::from(over.end == End::Preempted);
        }
        if let Some(object) = object {
            let event = out.event();
            self.causes.note(object, &change, event, self.began.unwrap_or(event));
            let known = self.objects.get(&object);
            self.history.note(object, &change, at, |moment| reflect(object, known, moment, out));
        }
        out.record(part(object), SyncSupervisorRecord::Changed { object, at, change });
    }

    /// Holds the answers of a step back until its gates have extended their leases.
    fn hold_answers(&mut self, effects: &mut Vec<Effect>, left: usize, out: &mut Out<'_, Self>) -> PendingKey {
        let place = effects.iter().rposition(|effect| matches!(effect, Effect::Answer(..)));
        let Some(Effect::Answer(reply, answer)) = place.map(|place| effects.remove(place)) else {
            return PendingKey::NONE;
        };
        let key = PendingKey::from_bits(reply);
        let carried = match (self.waiting.take(key), answer) {
            (Some(Waiting::Renewing(asker, object)), Ok(Done::Granted(grant))) => match self.lease_on(object, grant) {
                Ok(lease) => Carried::Renewed(asker, lease),
                Err(problem) => {
                    out.reply(asker, Err(problem));
                    return PendingKey::NONE;
                }
            },
            (Some(Waiting::Deciding { asker, who, objects, .. }), Ok(Done::Granted(grant))) => {
                self.join_grant(&objects, out);
                Carried::Taken(asker, view::lease(&who, grant))
            }
            (Some(Waiting::Keeping(asker)), Ok(Done::Kept(leases))) => Carried::Kept(asker, leases),
            (Some(waiting), answer) => {
                // It is about something else, and needs no gate.
                if let Ok(again) = self.waiting.insert(waiting) {
                    effects.push(Effect::Answer(again.to_bits(), answer));
                }
                return PendingKey::NONE;
            }
            (None, _) => return PendingKey::NONE,
        };
        match self.waiting.insert(Waiting::Extending { answer: Box::new(carried), left }) {
            Ok(key) => key,
            Err(waiting) => {
                Self::refuse(waiting, crate::settings::pending_full(), out);
                PendingKey::NONE
            }
        }
    }

    /// A gate has extended a lease, or could not: then it has a newer token, and the lease is about to be over.
    pub(super) fn extended(&mut self, key: PendingKey, answer: Result<(), Problem>, out: &mut Out<'_, Self>) {
        let Some(Waiting::Extending { answer: carried, left }) = self.waiting.get_mut(key) else { return };
        *left -= 1;
        let kept = matches!(&**carried, Carried::Kept(..));
        if *left > 0 && (answer.is_ok() || kept) {
            return;
        }
        let Some(Waiting::Extending { answer: carried, .. }) = self.waiting.take(key) else { return };
        match (*carried, answer) {
            (Carried::Kept(asker, leases), _) => out.reply(asker, Ok(SyncLeasesKept { leases })),
            (Carried::Renewed(asker, lease), answer) => {
                out.reply(asker, answer.map(|()| SyncLeaseGranted { lease: Box::new(lease) }));
            }
            (Carried::Taken(asker, lease), answer) => {
                out.reply(asker, answer.map(|()| SyncLeaseGranted { lease: Box::new(lease) }));
            }
        }
    }

    fn lease_on(&self, object: EntityId, grant: Grant) -> Result<SyncLease, Problem> {
        let holder = self.table.view(object, 0).and_then(|seen| seen.holder);
        let none = || Problem::new(ProblemKind::LeaseEnded, "nobody holds it any more");
        holder.map(|claim| view::lease(&claim.who, grant)).ok_or_else(none)
    }

    /// The table has answered somebody.
    fn answer(
        &mut self,
        key: PendingKey,
        answer: Result<Done, Refused>,
        figures: &mut LeaseFigures,
        out: &mut Out<'_, Self>,
    ) {
        let Some(waiting) = self.waiting.take(key) else { return };
        let settled = |answer: &Result<Done, Problem>| answer.clone().map(|_| SyncLeaseSettled);
        let viewer = self.viewer(&waiting);
        let answer = answer.map_err(|refused| problem(refused, self.table.limits(), viewer.as_ref()));
        match (waiting, answer) {
            (Waiting::Deciding { asker, who, objects, since_ms }, Ok(Done::Granted(grant))) => {
                figures.granted_after_ms = Some(out.now().monotonic_ms.saturating_sub(since_ms));
                self.join_grant(&objects, out);
                out.reply(asker, Ok(SyncLeaseGranted { lease: Box::new(view::lease(&who, grant)) }));
            }
            (Waiting::OneOf { batch, index, wants: Some((who, objects)) }, answer) => {
                if answer.is_ok() {
                    self.join_grant(&objects, out);
                }
                let answer = answer.and_then(|done| match done {
                    Done::Granted(grant) => Ok(view::lease(&who, grant)),
                    _ => Err(mistaken()),
                });
                self.decided_of_batch(batch, index, answer, out);
            }
            (Waiting::Renewing(asker, object), Ok(Done::Granted(grant))) => {
                let lease = self.lease_on(object, grant);
                out.reply(asker, lease.map(|lease| SyncLeaseGranted { lease: Box::new(lease) }));
            }
            (Waiting::Releasing(asker), answer) => out.reply(asker, settled(&answer)),
            (Waiting::Yielding(asker), answer) => out.reply(asker, settled(&answer)),
            (Waiting::Cancelling(asker), answer) => out.reply(asker, settled(&answer)),
            (Waiting::Unreserving(asker), answer) => out.reply(asker, settled(&answer)),
            // It is over, whatever the gate said: an object that is quarantined goes with its actor.
            (Waiting::Retiring { whole, object }, _) => self.retired(whole, object, out),
            (Waiting::Operating(asker), answer) => out.reply(asker, settled(&answer)),
            (Waiting::Keeping(asker), Ok(Done::Kept(leases))) => out.reply(asker, Ok(SyncLeasesKept { leases })),
            (Waiting::Booking { asker, .. }, Ok(Done::Reserved(id))) => out.reply(asker, Ok(SyncReserved { id })),
            (waiting, Err(problem)) => Self::refuse(waiting, problem, out),
            (waiting, Ok(_)) => Self::refuse(waiting, mistaken(), out),
        }
    }

    /// The metaverse system that an answer goes to; none: an operator, or one that asked by a token.
    fn viewer(&self, waiting: &Waiting) -> Option<SystemId> {
        match waiting {
            Waiting::Deciding { who, .. } | Waiting::OneOf { wants: Some((who, _)), .. } => {
                Some(who.holder.system.clone())
            }
            Waiting::Booking { request, .. } => Some(request.metaverse.clone()),
            Waiting::Renewing(asker, _) => self.system_of(asker.id()),
            Waiting::Releasing(asker) => self.system_of(asker.id()),
            Waiting::Yielding(asker) => self.system_of(asker.id()),
            Waiting::Cancelling(asker) => self.system_of(asker.id()),
            _ => None,
        }
    }

    /// A system of which nothing is known is told as little as one that never held anything.
    fn system_of(&self, system: EntityId) -> Option<SystemId> {
        let known = self.table.leases_of(system).next().map(|claim| claim.who.holder.system.clone());
        known.or_else(|| "?".parse().ok())
    }

    /// Tells a requester something by its system's session or webhook.
    fn tell(&self, system: EntityId, who: &Claimant, id: Option<RequestId>, notice: Notice, out: &mut Out<'_, Self>) {
        let asked = if let Notice::Asked { by, .. } = &notice { self.asked_for(who, by) } else { Vec::new() };
        let Some(twin) = asked.first().or(who.twins.first()) else { return };
        // DTS takes leases for single changes, and hears only answers.
        if system.kind() != MetaverseSystemMsg::KIND {
            return;
        }
        let told = Told { asked: &asked, ..Told::new(who, id, notice) };
        let event = told.event;
        let data = JsonDoc::from_value(&told).unwrap_or_else(|_| JsonDoc::null());
        out.send(Ref::<MetaverseSystemMsg>::new(system), NotifyLease { event, twin: twin.clone(), data });
    }

    /// The twins of a lease whose objects `by` asks for, as its holder names them: `by` may know others of the same objects.
    fn asked_for(&self, who: &Claimant, by: &Claimant) -> Vec<TwinId> {
        let object = |twin: &TwinId| self.twins.get(twin).copied().flatten();
        let wanted: Vec<EntityId> = by.twins.iter().filter_map(object).collect();
        let asked = who.twins.iter().filter(|twin| object(twin).is_some_and(|object| wanted.contains(&object)));
        asked.cloned().collect()
    }

    /// Whoever waits is told that it came to nothing.
    pub(super) fn refuse(waiting: Waiting, problem: Problem, out: &mut Out<'_, Self>) {
        match waiting {
            Waiting::Verifying { asker, .. } | Waiting::Deciding { asker, .. } => out.reply(asker, Err(problem)),
            Waiting::Batch(batch) => out.reply(batch.asker, Err(problem)),
            Waiting::Renewing(asker, _) => out.reply(asker, Err(problem)),
            Waiting::Releasing(asker) => out.reply(asker, Err(problem)),
            Waiting::Yielding(asker) => out.reply(asker, Err(problem)),
            Waiting::Cancelling(asker) => out.reply(asker, Err(problem)),
            Waiting::Keeping(asker) => out.reply(asker, Err(problem)),
            Waiting::Booking { asker, .. } => out.reply(asker, Err(problem)),
            Waiting::Unreserving(asker) => out.reply(asker, Err(problem)),
            Waiting::Operating(asker) => out.reply(asker, Err(problem)),
            Waiting::Extending { answer, .. } => match *answer {
                Carried::Renewed(asker, _) => out.reply(asker, Err(problem)),
                Carried::Taken(asker, _) => out.reply(asker, Err(problem)),
                Carried::Kept(asker, _) => out.reply(asker, Err(problem)),
            },
            Waiting::Retired(teller, _) => teller.answer(Err(problem), out),
            Waiting::Retiring { .. } => {}
            // Nobody waits for these by themselves.
            Waiting::OneOf { .. } | Waiting::Weighing { .. } => {}
        }
    }
}

fn mistaken() -> Problem {
    Problem::new(ProblemKind::Internal, "the lease table answered something else than it was asked")
}

/// What somebody is told who had anything of an object that is retired.
const GONE: &str =
    "Nothing stands for one of the objects any more: its twin system was deregistered, or lists it no more.";

/// What a requester is told without having asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    #[serde(skip)]
    event: &'static str,
    twins: &'a [TwinId],
    /// Those of them that somebody asks for.
    #[serde(skip_serializing_if = "<[TwinId]>::is_empty")]
    asked: &'a [TwinId],
    user: &'a twinway_protocol::UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<SyncLease>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<LeaseParty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requeued: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation: Option<u64>,
    /// What may be done now, for a person.
    advice: &'static str,
}

impl<'a> Told<'a> {
    fn new(who: &'a Claimant, request_id: Option<RequestId>, notice: Notice) -> Self {
        let viewer = Some(&who.holder.system);
        let blank = Self {
            event: "lease.changed",
            twins: &who.twins,
            asked: &[],
            user: &who.holder.user,
            request_id,
            token: None,
            lease: None,
            by: None,
            in_ms: None,
            end: None,
            requeued: None,
            reservation: None,
            advice: "",
        };
        let lease = |grant: Grant| Some(view::lease(who, grant));
        match notice {
            Notice::Granted(grant) => Self {
                event: "lease.granted",
                token: Some(grant.token),
                lease: lease(grant),
                advice: "Show this token with every change; an earlier one is worth nothing now.",
                ..blank
            },
            Notice::Revoking { by, priority, in_ms } => Self {
                event: "lease.revoking",
                by: by.map(|by| party(&by, priority, viewer)),
                in_ms: Some(in_ms),
                advice: "Until the grace is over only the safe stop and a release are accepted.",
                ..blank
            },
            Notice::Withdrawn(grant) => Self {
                event: "lease.restored",
                token: Some(grant.token),
                lease: lease(grant),
                advice: "The revocation is withdrawn: the lease holds as before.",
                ..blank
            },
            Notice::Lost { token, end, requeued } => Self {
                event: "lease.lost",
                token: Some(token),
                end: Some(end),
                requeued: Some(requeued),
                advice: match end {
                    End::Retired => GONE,
                    _ => "The token is worth nothing now. Ask again to have the objects.",
                },
                ..blank
            },
            Notice::Left(End::Retired) => Self { event: "lease.left", end: Some(End::Retired), advice: GONE, ..blank },
            Notice::Left(end) => {
                Self { event: "lease.left", end: Some(end), advice: "The request waits no more.", ..blank }
            }
            Notice::Asked { by, priority } => Self {
                event: "lease.asked",
                by: Some(party(&by, priority, viewer)),
                advice: "Somebody asks you to yield. Yield or decline; nothing is forced.",
                ..blank
            },
            Notice::Unreserved(id) => Self {
                event: "lease.unreserved",
                reservation: Some(id),
                advice: "A higher priority reserved the time.",
                ..blank
            },
            Notice::Dropped { id, end } => {
                let advice = match end {
                    End::Retired => GONE,
                    End::Denied => "Its user may not change the object any more.",
                    _ => "An operator dropped the reservation.",
                };
                Self { event: "lease.unreserved", reservation: Some(id), end: Some(end), advice, ..blank }
            }
        }
    }
}
