//! System and data collaboration (FGMV-29 8.2.4, 9.1 steps 12 to 14): metaverse systems use third-party systems and
//! share data with them, if TPSAA says that the user may.

mod calling;
mod chains;
mod checks;
mod circuit;
mod execution;
mod meaning;
mod record;
mod register;
mod steps;
mod undoing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, JsonDoc, Meta, Out, Pending, PendingKey, PermissionId, Problem, ProblemKind,
    Recovery, SystemId, UserId,
    message::{
        ExecuteService, ForgetThirdPartySystem, KeepThirdPartySystem, Kept, Reannounce, SdcMsg, ServiceExecuted,
        ServiceRequest, ServiceResult, ShareData, TPSAA, TPSR, UseThirdPartySystem, UserAuthorizationVerified,
        VerifyUserAuthorization, Wire,
    },
    registry::{Health, ThirdPartySystem},
};

pub use self::record::{Happening, Record, Started, Why};
use self::{
    calling::Facts,
    chains::{SETTLED, STALLED, SWEEP},
    circuit::Circuit,
    register::Register,
};
use super::converting::Conversion;
use crate::{
    Settings,
    mutation::{self, Mutation, broken},
    settings::pending_full,
};

/// The operation that sharing data counts as.
const SHARE: &str = "share";

/// System and data collaboration. The systems that it knows are derived from TPSR's register; it keeps the executions
/// of chains.
#[derive(Debug)]
pub struct Sdc {
    systems: BTreeMap<SystemId, Arc<ThirdPartySystem>>,
    /// Systems of which the monitoring says that they are offline.
    away: BTreeSet<SystemId>,
    /// Of systems whose last call failed, and of those that are or were away.
    circuits: BTreeMap<SystemId, Circuit>,
    register: Register,
    pending: Pending<Waiting>,
    /// Executions for which the table of questions had no room.
    stalled: BTreeSet<u64>,
    /// Executions that wait until a system is told again, after a crash.
    awaited: BTreeMap<SystemId, BTreeSet<u64>>,
    /// Whether the timer is set that forgets executions.
    sweeping: bool,
    settings: Settings,
}

/// Who asked, by the type of the question.
#[derive(Debug)]
enum WhoAsked {
    ToUse(Asker<UseThirdPartySystem>),
    ToShare(Asker<ShareData>),
}

impl WhoAsked {
    fn answer(self, answer: Result<ServiceResult, Problem>, out: &mut Out<'_, Sdc>) {
        match self {
            Self::ToUse(asker) => out.reply(asker, answer),
            Self::ToShare(asker) => out.reply(asker, answer),
        }
    }
}

/// A request, whichever way it was asked.
#[derive(Debug)]
struct Request {
    system: SystemId,
    metaverse: SystemId,
    user: UserId,
    request: Box<ServiceRequest>,
}

/// What an answer or a timer is waited for.
#[derive(Debug)]
enum Waiting {
    /// TPSAA is asked whether the user may.
    Verifying { who: WhoAsked, request: Request, system: Arc<ThirdPartySystem> },
    /// The third-party system is asked to do it.
    Executing { who: WhoAsked, system: SystemId, conversion: Option<Box<Conversion>> },
    /// An execution goes on then.
    Chain { number: u64, awaits: Await },
    /// The deadline of an execution.
    Deadline { number: u64 },
    /// Somebody waits for the end of an execution, for so long.
    Patience { number: u64 },
}

/// What an execution waits for.
#[derive(Debug)]
enum Await {
    /// Whether the user may call the step's operation.
    VerifyStep { step: u32 },
    /// Whether the user may undo it.
    VerifyUndo { step: u32, authorization: PermissionId, information: JsonDoc },
    /// The step's system.
    Step { step: u32, conversion: Option<Conversion> },
    /// The step's system, which is to undo it.
    Undo { step: u32, conversion: Option<Conversion> },
    /// That it is tried again.
    Pause,
}

impl Sdc {
    /// FGMV-29 9.1 steps 12 and 13.
    fn collaborate(&mut self, who: WhoAsked, request: Request, out: &mut Out<'_, Self>) {
        let system = match self.find(&request) {
            Ok(system) => system,
            Err(problem) => return who.answer(Err(problem), out),
        };
        let verify = VerifyUserAuthorization {
            system: request.system.clone(),
            metaverse: request.metaverse.clone(),
            user: request.user.clone(),
            operation: calling::operation(&request.request).into(),
        };
        if let Some(early) = mutation::unverified(&request.metaverse, &request.user, &request.request) {
            out.ask(system.entity, early, PendingKey::NONE);
        }
        match self.pending.insert(Waiting::Verifying { who, request, system }) {
            Ok(key) => out.ask(TPSAA, verify, key),
            Err(waiting) => refuse_full(waiting, out),
        }
    }

    /// The system that is asked, if what is asked of it is something that it offers.
    fn find(&self, request: &Request) -> Result<Arc<ThirdPartySystem>, Problem> {
        let Some(system) = self.systems.get(&request.system) else {
            let detail = format!("no third-party system `{}` is registered", request.system);
            return Err(Problem::new(ProblemKind::SystemUnknown, detail));
        };
        calling::offers(system, calling::operation(&request.request))?;
        Ok(Arc::clone(system))
    }

    /// FGMV-29 9.1 step 14: a valid request goes to the third-party system, an invalid one is rejected.
    fn verified(&mut self, meta: Meta, answer: Result<UserAuthorizationVerified, Problem>, out: &mut Out<'_, Self>) {
        let waits = |waiting: &Waiting| match waiting {
            Waiting::Verifying { .. } => true,
            Waiting::Chain { awaits, .. } => matches!(awaits, Await::VerifyStep { .. } | Await::VerifyUndo { .. }),
            _ => false,
        };
        if !self.pending.get_mut(meta.pending).is_some_and(|waiting| waits(waiting)) {
            return;
        }
        let (who, request, system) = match self.pending.take(meta.pending) {
            Some(Waiting::Verifying { who, request, system }) => (who, request, system),
            Some(Waiting::Chain { number, awaits }) => return self.chain_verified(number, awaits, answer, out),
            _ => return,
        };
        let question = answer.and_then(|verified| self.question_of(&request, &system, verified, out));
        let (question, conversion) = match question {
            Ok(question) => question,
            Err(_) if broken(Mutation::RejectionUnsaid) => return,
            Err(problem) => return who.answer(Err(problem), out),
        };
        let conversion = conversion.map(Box::new);
        match self.pending.insert(Waiting::Executing { who, system: request.system, conversion }) {
            Ok(key) => out.ask(system.entity, question, key),
            Err(waiting) => refuse_full(waiting, out),
        }
    }

    /// What the system is asked by a request that is no step of a chain.
    fn question_of(
        &mut self,
        request: &Request,
        system: &ThirdPartySystem,
        verified: UserAuthorizationVerified,
        out: &mut Out<'_, Self>,
    ) -> Result<(ExecuteService, Option<Conversion>), Problem> {
        let Request { metaverse, user, request, .. } = request;
        let key = format!("call-{:016x}", out.chance());
        let information = &verified.grant.user_information;
        let facts = Facts { metaverse, user: user.as_str(), information, key: &key };
        let (call, conversion) = calling::prepare(system, None, request, facts)?.unzip();
        self.admit(&system.description.id, out)?;
        let question = ExecuteService {
            authorization: verified.authorization,
            metaverse: metaverse.clone(),
            user: user.clone(),
            request: request.clone(),
            idempotency_key: Some(key.into()),
            context: None,
            call: call.map(Box::new),
        };
        Ok((question, conversion))
    }

    /// FGMV-29 9.1 step 14x.
    fn executed(&mut self, meta: Meta, answer: Result<ServiceExecuted, Problem>, out: &mut Out<'_, Self>) {
        let waits = |waiting: &Waiting| match waiting {
            Waiting::Executing { .. } => true,
            Waiting::Chain { awaits, .. } => matches!(awaits, Await::Step { .. } | Await::Undo { .. }),
            _ => false,
        };
        if !self.pending.get_mut(meta.pending).is_some_and(|waiting| waits(waiting)) {
            return;
        }
        match self.pending.take(meta.pending) {
            Some(Waiting::Executing { who, system, conversion }) => {
                let output = calling::converted(answer, conversion.map(|conversion| *conversion));
                self.heard_of(&system, output.as_ref().map(|_| ()), out);
                who.answer(output.map(|output| ServiceResult { output }), out);
            }
            Some(Waiting::Chain { number, awaits }) => self.chain_executed(number, awaits, answer, out),
            _ => {}
        }
    }
}

/// The table of questions is full: whoever asked hears so.
fn refuse_full(waiting: Waiting, out: &mut Out<'_, Sdc>) {
    if let Waiting::Verifying { who, .. } | Waiting::Executing { who, .. } = waiting {
        who.answer(Err(pending_full()), out);
    }
}

impl Behaviour for Sdc {
    type Wire = Wire;
    type Msg = SdcMsg;
    type Record = Record;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            systems: BTreeMap::new(),
            away: BTreeSet::new(),
            circuits: BTreeMap::new(),
            register: Register::default(),
            pending: Pending::new(settings.pending_questions_max, incarnation),
            stalled: BTreeSet::new(),
            awaited: BTreeMap::new(),
            sweeping: false,
            settings: settings.clone(),
        }
    }

    fn handle(&mut self, envelope: Envelope<SdcMsg>, out: &mut Out<'_, Self>) {
        let meta = envelope.meta;
        let event = out.event();
        match envelope.message {
            SdcMsg::KeepThirdPartySystem(message) => {
                let id = message.system.description.id.clone();
                self.systems.insert(id.clone(), message.system);
                out.reply(meta.asker::<KeepThirdPartySystem>(event), Ok(Kept));
                self.tell_breaker(&id, out);
                self.known(&id, out);
            }
            SdcMsg::ForgetThirdPartySystem(message) => {
                self.systems.remove(&message.system);
                self.forget_circuit(&message.system, out);
                out.reply(meta.asker::<ForgetThirdPartySystem>(event), Ok(Kept));
            }
            SdcMsg::KeepStanding(message) => {
                self.monitored(&message.system, message.standing.health == Health::Offline, out);
            }
            SdcMsg::UseThirdPartySystem(message) => {
                let UseThirdPartySystem { system, metaverse, user, operation, input } = message;
                let request = Box::new(ServiceRequest::Use { operation, input });
                self.collaborate(WhoAsked::ToUse(meta.asker(event)), Request { system, metaverse, user, request }, out);
            }
            SdcMsg::ShareData(message) => {
                let ShareData { system, metaverse, user, topic, data } = message;
                let request = Box::new(ServiceRequest::Share { topic, data });
                self.collaborate(
                    WhoAsked::ToShare(meta.asker(event)),
                    Request { system, metaverse, user, request },
                    out,
                );
            }
            SdcMsg::RunChain(message) => self.run(meta, message, out),
            SdcMsg::ReadExecution(message) => self.read(meta, &message, out),
            SdcMsg::CancelExecution(message) => self.cancel(meta, &message, out),
            SdcMsg::ListExecutions(message) => self.list(meta, &message, out),
            SdcMsg::UserAuthorizationVerified(answer) => self.verified(meta, answer, out),
            SdcMsg::ServiceExecuted(answer) => self.executed(meta, answer, out),
        }
    }

    fn timeout(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        match key {
            SWEEP => return self.sweep(out),
            STALLED => return self.take_up_stalled(out),
            SETTLED => return self.settled(out),
            _ => {}
        }
        // The time of what was answered means nothing; a question has no timer of ours.
        match self.pending.take(key) {
            Some(Waiting::Chain { number, .. }) => {
                self.set_driver(number, None);
                self.proceed(number, out);
            }
            Some(Waiting::Deadline { number }) => self.deadline(number, out),
            Some(Waiting::Patience { number }) => {
                let waiter = self.register.all.get_mut(number).and_then(|kept| kept.waiters.remove(&key));
                if let Some(waiter) = waiter {
                    self.tell_waiter(number, waiter, out);
                }
            }
            _ => {}
        }
    }

    fn replay(&mut self, record: Record) {
        self.register.replay(record);
    }

    fn snapshot(&self, part: u64, into: &mut Vec<Record>) {
        self.register.snapshot(part, into);
    }

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        // When the daemon starts, TPSR recovers too and tells everybody.
        if why == Recovery::Failure {
            out.send(TPSR, Reannounce);
        }
        self.take_up(out);
    }
}

#[cfg(test)]
mod tests;
