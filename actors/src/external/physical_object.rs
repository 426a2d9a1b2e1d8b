//! The actor of a physical object: what happens to the object goes to all its twins (FGMV-29 9.2 step 14), and it is the
//! object's **gate**: what is asked of the object by one of its twins goes to its digital twin system only from who
//! holds the object's sync lease (FGMV-29 9.2 steps 17 and 18; FGMV-28 7.1.3 steps 8, 9 and 11).
//!
//! A gate that begins a life lets nothing through until it is fenced. It answers a fence when nothing that was sent under
//! a lower token can act on the device any more. The safe stop passes at all times.

mod fence;
mod gate;
mod under_way;

use std::sync::Arc;

use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, EventId, Mailbox, Meta, ObjectUri, Out, Pending, PendingKey, Problem,
    ProblemKind, Recovery, Ref,
    lease::{
        Fencing, Synchronization, Token,
        watch::{GateDid, Watched},
    },
    message::{
        ActionEnded, ActionOver, ApplyChange, ChangeApplied, ChangeUnderWay, DTSR, ExtendGate, GateExtended,
        GateFenced, GateStarted, Kept, ObserveChange, PhysicalChange, PhysicalObjectMsg, PropertyValues, Reannounce,
        ReflectLease, RepresentObject, Representation, RestrictGate, SYNC_SUPERVISOR, TwinMsg, WeighGate, Wire,
    },
    signal::Signal,
    time::Timestamp,
};

use crate::{Settings, settings::pending_full};
use fence::Work;
use gate::Gate;
pub use under_way::PhysicalObjectRecord;
use under_way::{Commanding, UnderWay};

/// How many questions a gate may ask beside `pending_questions_max` commands: a flood of commands stops no safe stop and
/// no fence.
const URGENT_QUESTIONS_MAX: usize = 1_024;

/// All of the actor's state is one part of the journal.
const PART: u64 = 0;

/// What a digital twin system was asked.
#[derive(Debug)]
enum Asked {
    /// To do what a holder wants, under this token; with the twin's key of it.
    Command { asker: Asker<ApplyChange>, token: Token, change: PendingKey },
    /// To bring the device to a safe stop, for a user; whether it came by the user's twin, which shows the new values.
    Stop(Asker<ApplyChange>, bool),
    /// To bring the device to a safe stop, since its holder did not let go by itself.
    SafeStop,
    /// To take nothing below this token any more.
    Fence(Token),
}

/// The actor of a physical object. What stands for the object comes from DTSR.
#[derive(Debug)]
pub struct PhysicalObject {
    object: Option<ObjectUri>,
    twins: Arc<[Representation]>,
    synchronization: Arc<Synchronization>,
    /// Its life since the daemon started: 0, and after a failure the turn in which it began again.
    life: u32,
    gate: Gate,
    /// A token that the device had seen and this life of the gate had not sent, not below ours then: a backup was
    /// restored.
    ahead: Token,
    asked: Pending<Asked>,
    under_way: UnderWay,
    commanding: Option<Commanding>,
    /// Whether this life of the gate has begun.
    began: bool,
    /// The turn in which the newest token was told: what led to the answer.
    fenced_in: EventId,
    /// The fence that is worked on.
    work: Option<Work>,
    /// A safe stop is asked for that a fence waits for.
    stopping: bool,
    questions_max: usize,
    answer_ms_max: u64,
    margin_ms: u64,
    /// How long after a failure a twin system is asked again.
    retry_ms: u64,
    /// Whether somebody judges what it does.
    watched: bool,
}

impl Behaviour for PhysicalObject {
    type Wire = Wire;
    type Msg = PhysicalObjectMsg;
    type Record = PhysicalObjectRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        let questions_max = settings.pending_questions_max;
        Self {
            object: None,
            twins: Arc::from([]),
            synchronization: Arc::default(),
            life: 0,
            gate: Gate::default(),
            ahead: Token::NONE,
            asked: Pending::new(questions_max.saturating_add(URGENT_QUESTIONS_MAX), incarnation),
            under_way: UnderWay::default(),
            commanding: None,
            began: false,
            fenced_in: EventId::NONE,
            work: None,
            stopping: false,
            questions_max,
            answer_ms_max: settings.outside_answer_ms_max,
            margin_ms: settings.device_clock_margin_ms,
            retry_ms: settings.lease.lease_fence_retry_ms,
            watched: settings.lease_watched,
        }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<PhysicalObjectMsg>, out: &mut Out<'_, Self>) {
        use PhysicalObjectMsg as Msg;
        // Others that began before may speak before this entity was told to begin.
        self.begin(out);
        match message {
            Msg::RepresentObject(representation) => self.represent(&meta, representation, out),
            Msg::ObserveChange(change) => self.observe(&change, out),
            Msg::FenceGate(fence) => self.fence(fence, out),
            Msg::RestrictGate(RestrictGate { token, restricted }) => {
                if self.gate.restrict(token, restricted) {
                    self.show_gate(GateDid::Restricted(token, restricted), out);
                }
            }
            Msg::WeighGate(WeighGate { token, priority }) => self.gate.weigh(token, priority),
            Msg::ExtendGate(extension) => self.extend(&meta, extension, out),
            Msg::ApplyChange(change) if change.stop => self.stop(&meta, change, out),
            Msg::ApplyChange(change) => self.apply(&meta, change, out),
            Msg::ChangeApplied(answer) => self.applied(&meta, answer, out),
            Msg::ActionEnded(answer) => self.action_ended(&meta, answer, out),
            Msg::DeviceFenced(answer) => self.device_fenced(&meta, answer, out),
            Msg::ReflectLease(reflected) => self.reflect_lease(&reflected, out),
        }
    }

    /// A command's time is over, or that until a failure is tried to mend: a fence may have waited for that.
    fn timeout(&mut self, _key: PendingKey, out: &mut Out<'_, Self>) {
        if let Some(work) = &mut self.work {
            work.try_again();
        }
        self.advance(out);
    }

    fn replay(&mut self, record: PhysicalObjectRecord) {
        self.commanding = match record {
            PhysicalObjectRecord::Commanding { token, until, within_ms } => {
                Some(Commanding { token, until, within_ms })
            }
            PhysicalObjectRecord::Drained { .. } => None,
        };
    }

    fn snapshot(&self, _part: u64, into: &mut Vec<PhysicalObjectRecord>) {
        into.extend(self.commanding.map(Commanding::record));
    }

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        self.begin(out);
        // When the daemon starts, DTSR recovers too and tells everybody, and the supervisor fences every gate.
        if why == Recovery::Failure {
            out.send(DTSR, Reannounce);
            // Turns are counted through all lives of an entity: what an earlier life says is told from what this one says.
            self.life = out.event().to_bits() as u32;
            out.send(SYNC_SUPERVISOR, GateStarted { incarnation: self.life });
        }
    }
}

impl PhysicalObject {
    /// Begins the gate's life, once: what an earlier one may have sent is under way.
    fn begin(&mut self, out: &Out<'_, Self>) {
        let commanding = self.commanding.filter(|_| !self.began);
        self.began = true;
        if let Some(commanding) = commanding {
            self.under_way.unknown(commanding, self.margin_ms, out.now());
        }
    }

    /// Within FGMV-29 9.2 step 2: what stands for the object, and how it is synchronized.
    fn represent(&mut self, meta: &Meta, representation: RepresentObject, out: &mut Out<'_, Self>) {
        let RepresentObject { object, twins, synchronization } = representation;
        if twins.is_empty() {
            // FGMV-29 8.3.1: nothing stands for it any more; the supervisor has closed the gate before this.
            for asked in self.asked.drain().collect::<Vec<_>>() {
                refuse(asked, gone(&object), out);
            }
            out.reply(meta.asker::<RepresentObject>(out.event()), Ok(Kept));
            return out.stop();
        }
        (self.object, self.twins, self.synchronization) = (Some(object), twins, synchronization);
        out.reply(meta.asker::<RepresentObject>(out.event()), Ok(Kept));
        self.advance(out);
    }

    /// FGMV-29 9.2 step 14: every twin of the object hears of it, by the system that maintains it.
    fn observe(&self, change: &ObserveChange, out: &mut Out<'_, Self>) {
        // A report that comes before DTSR has said what stands for the object is not passed on, so that its
        // reporter is told that it failed, and repeats it.
        if !self.twins.iter().any(|twin| twin.twin == change.twin) {
            return;
        }
        for twin in self.twins.iter() {
            let physical = PhysicalChange {
                twin: twin.twin.clone(),
                entity: twin.entity,
                values: Arc::clone(&change.values),
                at: change.at,
                reporter: (twin.twin == change.twin).then_some(change.reporter),
            };
            out.send(twin.system, physical);
        }
    }

    /// FGMV-29 9.2 step 14: what a safe stop did that no twin had asked for is shown by every twin.
    fn show(&self, values: &PropertyValues, out: &mut Out<'_, Self>) {
        if values.is_empty() {
            return;
        }
        let values = Arc::new(values.clone());
        for twin in self.twins.iter() {
            let (values, at) = (Arc::clone(&values), out.now().wall);
            let change = PhysicalChange { twin: twin.twin.clone(), entity: twin.entity, values, at, reporter: None };
            out.send(twin.system, change);
        }
    }

    /// The holder keeps the object for longer; the gate knows before the holder does.
    fn extend(&mut self, meta: &Meta, ExtendGate { token, ttl_ms }: ExtendGate, out: &mut Out<'_, Self>) {
        let now_ms = out.now().monotonic_ms;
        let extended = self.gate.extend(token, now_ms.saturating_add(ttl_ms));
        out.reply(meta.asker::<ExtendGate>(out.event()), extended.map(|()| GateExtended));
    }

    /// FGMV-29 9.2 step 17: only the holder's commands pass, in time, with the token that counts.
    fn apply(&mut self, meta: &Meta, change: ApplyChange, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ApplyChange>(out.event());
        let now = out.now();
        let passes = self
            .represented(&change)
            .and_then(|()| self.gate.check(change.token, &change.metaverse, &change.user, now.monotonic_ms));
        let token = match passes {
            Ok(_) if self.asked.len() >= self.questions_max => return out.reply(asker, Err(pending_full())),
            Ok(token) => token,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let left_ms = self.gate.left_ms(now.monotonic_ms);
        let longest_ms = if change.errand.as_ref().is_some_and(|errand| errand.action.is_some()) {
            self.action_ms(left_ms)
        } else {
            self.command_ms_max()
        };
        let wanted_ms = change.not_after.map_or(u64::MAX, |end| end.unix_ms().saturating_sub(now.wall.unix_ms()));
        if wanted_ms == 0 {
            let detail = "the deadline was over before the command could be sent";
            return out.reply(asker, Err(Problem::new(ProblemKind::DeadlineOver, detail)));
        }
        let within_ms = left_ms.min(longest_ms).min(wanted_ms);
        let not_after = now.wall.plus_ms(within_ms);
        self.write_down(token, longest_ms, not_after, out);
        match self.asked.insert(Asked::Command { asker, token, change: meta.pending }) {
            Ok(key) => {
                if self.watched {
                    let who = self.gate.named(&change.metaverse, &change.user);
                    self.show_gate(GateDid::Accepted(token, who), out);
                }
                self.under_way.sent(within_ms, self.margin_ms, now);
                if meta.from.kind() == TwinMsg::KIND {
                    let twin = Ref::<TwinMsg>::new(meta.from);
                    out.send(twin, ChangeUnderWay { change: meta.pending, until: not_after });
                }
                let to = change.system_entity;
                match change.carry_out(not_after) {
                    Some(action) => out.ask(to, action, key),
                    None => out.ask(to, ApplyChange { not_after: Some(not_after), ..change }, key),
                }
            }
            Err(asked) => refuse(asked, pending_full(), out),
        }
    }

    /// Before a command leaves, it is written down that it may have left: a gate that begins a life without this knew
    /// nothing of it.
    fn write_down(&mut self, token: Token, longest_ms: u64, not_after: Timestamp, out: &mut Out<'_, Self>) {
        let covered = self.commanding.as_ref().is_some_and(|written| {
            let any_time = self.synchronization.fencing != Fencing::Deadline;
            written.token == token && (any_time || written.covers(not_after, longest_ms))
        });
        if !covered {
            let record = Commanding::of(token, longest_ms, out.now().wall).record();
            out.record(PART, record.clone());
            self.replay(record);
        }
    }

    /// For how long the device may carry an action out, in milliseconds: its lease is not renewed there.
    fn action_ms(&self, left_ms: u64) -> u64 {
        match self.synchronization.command_ms_max {
            0 => left_ms,
            declared => u64::from(declared),
        }
    }

    /// FGMV-29 9.2 step 17 for the safe stop: it passes whoever holds the object, and whatever the gate is doing.
    fn stop(&mut self, meta: &Meta, change: ApplyChange, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ApplyChange>(out.event());
        let Some(stands) = self.twins.iter().find(|twin| twin.twin == change.twin) else {
            return out.reply(asker, Err(stands_not(&change)));
        };
        let Some(values) = self.synchronization.safe_stop.clone() else {
            let detail = format!("the characteristics of `{}` name no safe stop", change.twin);
            return out.reply(asker, Err(Problem::new(ProblemKind::SafeStopNone, detail)));
        };
        let by_twin = change.system_entity != ApplyChange::nowhere();
        let (system, values) = (stands.system, Arc::new(values));
        match self.asked.insert(Asked::Stop(asker, by_twin)) {
            Ok(key) => {
                let stop = ApplyChange { values, token: None, not_after: None, system_entity: system, ..change };
                out.ask(system, stop, key);
            }
            Err(asked) => refuse(asked, pending_full(), out),
        }
    }

    /// FGMV-29 9.2 step 18.
    fn applied(&mut self, meta: &Meta, answer: Result<ChangeApplied, Problem>, out: &mut Out<'_, Self>) {
        let Some(asked) = self.asked.take(meta.pending) else { return };
        if let Ok(ChangeApplied { seen: Some(seen), .. }) = &answer {
            self.saw(*seen, false, out);
        }
        match asked {
            Asked::Command { asker, token, .. } => {
                self.under_way.answered(token, &answer);
                out.reply(asker, answer);
            }
            Asked::Stop(asker, by_twin) => {
                if let (Ok(applied), false) = (&answer, by_twin) {
                    self.show(&applied.values, out);
                }
                out.reply(asker, answer);
            }
            Asked::SafeStop => self.stopped(answer, out),
            // A device answers a fence otherwise.
            Asked::Fence(_) => {}
        }
        self.advance(out);
    }

    /// FGMV-29 9.2 step 18, of an action: the twin hears how it ended.
    fn action_ended(&mut self, meta: &Meta, answer: Result<ActionEnded, Problem>, out: &mut Out<'_, Self>) {
        if let (Ok(ended), Some(Asked::Command { asker, change, .. })) = (&answer, self.asked.get_mut(meta.pending)) {
            let over = ActionOver { change: *change, ended: Box::new(ended.clone()) };
            out.send(Ref::<TwinMsg>::new(asker.id()), over);
        }
        self.applied(meta, answer.map(ChangeApplied::from), out);
    }

    /// A device that has seen a higher token than ours was driven by a daemon whose records we do not have: the
    /// supervisor goes above it.
    ///
    /// The newest token itself counts only if the device had it `before` this life of the gate sent it.
    fn saw(&mut self, seen: Token, before: bool, out: &mut Out<'_, Self>) {
        let newest = self.gate.newest();
        if seen < newest || (seen == newest && !before) || seen <= self.ahead {
            return;
        }
        self.ahead = seen;
        if self.work.is_none() {
            self.say_fenced(newest, out);
        }
    }

    /// What the gate did, for the judge of the invariants. Said before anything that follows from it leaves.
    fn show_gate(&self, did: GateDid, out: &mut Out<'_, Self>) {
        if self.watched {
            let watched = Watched::Gate { object: out.me(), did };
            out.signal(Signal::LeaseWatched(Box::new(watched), out.now()));
        }
    }

    fn say_fenced(&self, token: Token, out: &mut Out<'_, Self>) {
        let (incarnation, fencing) = (self.life, self.synchronization.fencing);
        let seen_before = if self.ahead >= token { self.ahead } else { Token::NONE };
        let fenced = GateFenced { token, incarnation, fencing, seen_before };
        // FGMV-28 7.1.3 step 9 is the answer of an object that somebody has now.
        if self.gate.is_anybodys() {
            out.join(self.fenced_in);
            out.send(SYNC_SUPERVISOR, fenced);
        } else {
            out.send_beside(SYNC_SUPERVISOR, fenced);
        }
    }

    /// FGMV-28 REQ-DT-07: all who selected one of the twins hear what became of the lease.
    fn reflect_lease(&self, reflected: &ReflectLease, out: &mut Out<'_, Self>) {
        for twin in self.twins.iter() {
            let moment = Arc::clone(&reflected.moment);
            out.send(twin.entity, ReflectLease { twin: Some(twin.twin.clone()), moment });
        }
    }

    fn represented(&self, change: &ApplyChange) -> Result<(), Problem> {
        if self.twins.iter().any(|twin| twin.twin == change.twin) { Ok(()) } else { Err(stands_not(change)) }
    }

    /// For how long the device may act on a command, in milliseconds.
    fn command_ms_max(&self) -> u64 {
        match self.synchronization.command_ms_max {
            0 => self.answer_ms_max,
            declared => u64::from(declared),
        }
    }
}

fn refuse(asked: Asked, problem: Problem, out: &mut Out<'_, PhysicalObject>) {
    match asked {
        Asked::Command { asker, .. } | Asked::Stop(asker, _) => out.reply(asker, Err(problem)),
        Asked::SafeStop | Asked::Fence(_) => {}
    }
}

fn gone(object: &ObjectUri) -> Problem {
    Problem::new(ProblemKind::TwinUnknown, format!("no twin stands for `{object}` any more"))
}

fn stands_not(change: &ApplyChange) -> Problem {
    let detail = format!("`{}` does not stand for this object, or not yet", change.twin);
    Problem::new(ProblemKind::TwinUnknown, detail)
}

#[cfg(test)]
mod tests;
