//! Carrying a chain out, step by step, and undoing it (FGMV-29 8.2.4, 9.1 steps 13 to 14x).
//!
//! Before a system is asked, that is written down; so a crash never has a step done twice without anybody knowing.

use std::sync::Arc;

use serde_json::Value;
use twinway_protocol::{
    JsonDoc, Out, PermissionId, Problem, ProblemKind, SystemId,
    collaboration::{ApiMapping, ChainStep, ExecutionContext, ExecutionState, Retry, StepState},
    message::{
        ExecuteService, ServiceExecuted, ServiceRequest, TPSAA, UserAuthorizationVerified, VerifyUserAuthorization,
    },
    registry::ThirdPartySystem,
};

use super::{
    Await, Happening, SHARE, Sdc, Waiting,
    calling::{self, Facts},
    execution::{Next, Step},
    meaning::Meaning,
};
use crate::{
    settings::pending_full,
    sif::{converting::Conversion, transform},
};

/// How often a step is tried again that does not say.
const RETRY: Retry = Retry { count: 2, backoff_ms: 200 };

/// What a step or its compensation is about to ask.
pub(super) struct Request<'r> {
    pub(super) system: &'r Arc<ThirdPartySystem>,
    pub(super) authorization: PermissionId,
    pub(super) information: &'r JsonDoc,
    pub(super) request: ServiceRequest,
    pub(super) mapping: Option<(&'r Arc<ApiMapping>, String)>,
    pub(super) undo: bool,
}

impl Sdc {
    /// Carries an execution on until it waits for somebody, or has ended.
    pub(super) fn proceed(&mut self, number: u64, out: &mut Out<'_, Self>) {
        // Every turn of this loop writes something down: it ends with the chain.
        loop {
            let Some(kept) = self.register.all.get(number) else { return };
            if kept.driver.is_some() {
                return;
            }
            let goes_on = match kept.execution.next() {
                Next::Step(index) => self.begin_step(number, index, out),
                Next::Undo(index) => self.undo_step(number, index, out),
                Next::End(state) => self.end(number, state, out),
                Next::Nothing => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// A step's turn. Gives whether the chain goes on at once.
    fn begin_step(&mut self, number: u64, index: usize, out: &mut Out<'_, Self>) -> bool {
        let (Some(kept), Some(chain), step) = (self.register.all.get(number), self.chain(number), number_of(index))
        else {
            return false;
        };
        let Some((declared, state)) = chain.steps.get(index).zip(kept.execution.steps.get(index)) else { return false };
        let stop = kept.stop(out.now().wall);
        // It was sent, and whoever was to hear the answer is gone: it is sent again only if its system knows the key.
        if state.state == StepState::Running && !declared.idempotent || stop.is_some() && state.may_be_done() {
            let problem = Problem::new(ProblemKind::OutsideUnclear, "nobody has heard whether the system did it");
            self.happen(number, Happening::Uncertain { step, why: problem.into() }, out);
            return true;
        }
        if let Some(problem) = stop {
            self.happen(number, Happening::TurnedBack { why: problem.into() }, out);
            return true;
        }
        if let (Some(when), StepState::Waiting) = (&declared.when, state.state) {
            match transform::holds(when, &kept.execution.names(), &format!("/steps/{index}/when")) {
                Ok(true) => {}
                Ok(false) => {
                    self.happen(number, Happening::Skipped { step }, out);
                    return true;
                }
                Err(problem) => return self.fail(number, step, problem, out),
            }
        }
        let system = match self.system_for(number, &declared.system) {
            Ok(Some(system)) => system,
            Ok(None) => return false,
            Err(problem) => return self.fail(number, step, problem, out),
        };
        if let Err(problem) = calling::offers(&system, operation(declared)) {
            return self.fail(number, step, problem.at(format!("/steps/{index}/operation")), out);
        }
        self.verify(number, Await::VerifyStep { step }, declared, operation(declared), out);
        false
    }

    /// The system, if it is known; `None`: it may be told yet, and the execution waits for that.
    pub(super) fn system_for(&mut self, number: u64, id: &SystemId) -> Result<Option<Arc<ThirdPartySystem>>, Problem> {
        if let Some(system) = self.systems.get(id) {
            return Ok(Some(Arc::clone(system)));
        }
        if self.register.all.get(number).is_some_and(|kept| kept.recovering) {
            self.awaited.entry(id.clone()).or_default().insert(number);
            return Ok(None);
        }
        Err(Problem::new(ProblemKind::SystemUnknown, format!("no third-party system `{id}` is registered")))
    }

    fn fail(&mut self, number: u64, step: u32, problem: Problem, out: &mut Out<'_, Self>) -> bool {
        let why = problem.into();
        // What failed now may have been done by an attempt before.
        let happening = if self.may_be_done(number, step) {
            Happening::Uncertain { step, why }
        } else {
            Happening::Failed { step, why }
        };
        self.happen(number, happening, out);
        true
    }

    /// Whether an attempt before may have done the step.
    pub(super) fn may_be_done(&self, number: u64, step: u32) -> bool {
        let step = self.register.all.get(number).and_then(|kept| kept.execution.steps.get(step as usize));
        step.is_some_and(Step::may_have_been_done)
    }

    /// FGMV-29 9.1 step 13, of a step or of what undoes it.
    fn verify(&mut self, number: u64, awaits: Await, step: &ChainStep, operation: &str, out: &mut Out<'_, Self>) {
        let Some(kept) = self.register.all.get(number) else { return };
        let question = VerifyUserAuthorization {
            system: step.system.clone(),
            metaverse: kept.execution.started.metaverse.clone(),
            user: kept.execution.chain.user.clone(),
            operation: operation.into(),
        };
        match self.pending.insert(Waiting::Chain { number, awaits }) {
            Ok(key) => {
                self.set_driver(number, Some(key));
                out.ask(TPSAA, question, key);
            }
            Err(_) => self.stall(number, out),
        }
    }

    /// TPSAA has said whether the user may.
    pub(super) fn chain_verified(
        &mut self,
        number: u64,
        awaits: Await,
        answer: Result<UserAuthorizationVerified, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        self.set_driver(number, None);
        let Some(chain) = self.chain(number) else { return };
        if self.register.all.get(number).is_some_and(|kept| kept.execution.cancelling) {
            return self.proceed(number, out);
        }
        let (step, before) = match awaits {
            Await::VerifyStep { step } => (step, None),
            Await::VerifyUndo { step, authorization, information } => (step, Some((authorization, information))),
            _ => return,
        };
        let Some(declared) = chain.steps.get(step as usize) else { return };
        let verified = match answer {
            Ok(verified) => verified,
            Err(problem) => {
                self.fail(number, step, problem, out);
                return self.proceed(number, out);
            }
        };
        match (before, &declared.compensation) {
            // What cannot be undone for lack of permission is not done.
            (None, Some(undo)) => {
                let information = verified.grant.user_information;
                let awaits = Await::VerifyUndo { step, authorization: verified.authorization, information };
                self.verify(number, awaits, declared, &undo.operation, out);
            }
            (None, None) => {
                self.send_step(number, step, verified.authorization, None, &verified.grant.user_information, out);
            }
            (Some((authorization, information)), _) => {
                self.send_step(number, step, authorization, Some(verified.authorization), &information, out);
            }
        }
    }

    /// FGMV-29 9.1 step 14.
    fn send_step(
        &mut self,
        number: u64,
        step: u32,
        authorization: PermissionId,
        undo: Option<PermissionId>,
        information: &JsonDoc,
        out: &mut Out<'_, Self>,
    ) {
        if let Err(problem) = self.try_step(number, step, &authorization, undo, information, out) {
            self.step_failed(number, step, problem, out);
        }
    }

    fn try_step(
        &mut self,
        number: u64,
        step: u32,
        authorization: &PermissionId,
        undo: Option<PermissionId>,
        information: &JsonDoc,
        out: &mut Out<'_, Self>,
    ) -> Result<(), Problem> {
        let index = step as usize;
        let gone = || Problem::new(ProblemKind::Internal, "the step is gone");
        let chain = self.chain(number).ok_or_else(gone)?;
        let declared = chain.steps.get(index).ok_or_else(gone)?;
        let kept = self.register.all.get(number).ok_or_else(gone)?;
        let system = Arc::clone(self.systems.get(&declared.system).ok_or_else(gone)?);
        let input = match &declared.input {
            Some(text) => {
                let pointer = format!("/steps/{index}/input");
                let value = transform::evaluate(text, &kept.execution.names(), &pointer)?;
                self.carried(&value, &pointer)?
            }
            None => chain.input.clone(),
        };
        let request = match (&declared.operation, &declared.topic) {
            (Some(operation), _) => ServiceRequest::Use { operation: operation.as_str().into(), input },
            (None, topic) => ServiceRequest::Share { topic: topic.as_deref().unwrap_or_default().into(), data: input },
        };
        let mapping = declared.mapping.as_ref().map(|mapping| (mapping, format!("/steps/{index}/mapping")));
        let authorized = authorization.clone();
        let request =
            Request { system: &system, authorization: authorized, information, request, mapping, undo: false };
        let (question, conversion) = self.question(number, declared, request)?;
        self.admit(&declared.system, out)?;
        let awaits = Await::Step { step, conversion };
        let key = self.pending.insert(Waiting::Chain { number, awaits }).map_err(|_| pending_full())?;
        let sent =
            Happening::Sent { step, authorization: authorization.clone(), undo, information: information.clone() };
        self.happen(number, sent, out);
        self.set_driver(number, Some(key));
        out.ask(system.entity, question, key);
        Ok(())
    }

    /// The document of a value that goes from one system to another.
    pub(super) fn carried(&self, value: &Value, pointer: &str) -> Result<JsonDoc, Problem> {
        let too_large = |problem: Problem| Problem { kind: ProblemKind::InvalidDocument, ..problem }.at(pointer);
        transform::document(value, self.settings.chain_data_bytes_max).map_err(too_large)
    }

    /// What the system is asked, and how its answer is to be read.
    pub(super) fn question(
        &self,
        number: u64,
        step: &ChainStep,
        request: Request<'_>,
    ) -> Result<(ExecuteService, Option<Conversion>), Problem> {
        let gone = || Problem::new(ProblemKind::Internal, "the execution is gone");
        let started = &self.register.all.get(number).ok_or_else(gone)?.execution.started;
        let chain = self.chain(number).ok_or_else(gone)?;
        let key = format!("{}/{}{}", started.id, step.name, if request.undo { "/compensation" } else { "" });
        let facts = Facts {
            metaverse: &started.metaverse,
            user: chain.user.as_str(),
            information: request.information,
            key: &key,
        };
        let own = request.mapping.as_ref().map(|(mapping, at)| (*mapping, at.as_str()));
        let (call, conversion) = calling::prepare(request.system, own, &request.request, facts)?.unzip();
        let context = ExecutionContext { execution: started.id.clone(), step: step.name.clone(), depth: started.depth };
        let question = ExecuteService {
            authorization: request.authorization,
            metaverse: started.metaverse.clone(),
            user: chain.user.clone(),
            request: Box::new(request.request),
            idempotency_key: Some(key.into()),
            context: Some(Box::new(context)),
            call: call.map(Box::new),
        };
        Ok((question, conversion))
    }

    /// FGMV-29 9.1 step 14x, of a chain.
    pub(super) fn chain_executed(
        &mut self,
        number: u64,
        awaits: Await,
        answer: Result<ServiceExecuted, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        self.set_driver(number, None);
        let (step, conversion, undo) = match awaits {
            Await::Step { step, conversion } => (step, conversion, false),
            Await::Undo { step, conversion } => (step, conversion, true),
            _ => return,
        };
        let output = calling::converted(answer, conversion);
        if let Some(system) = self.chain(number).and_then(|chain| Some(chain.steps.get(step as usize)?.system.clone()))
        {
            self.heard_of(&system, output.as_ref().map(|_| ()), out);
        }
        match (output, undo) {
            (Ok(output), false) => self.step_done(number, step, &output, out),
            (Err(problem), false) => return self.step_failed(number, step, problem, out),
            (Ok(_), true) => self.happen(number, Happening::Undone { step }, out),
            (Err(problem), true) => return self.undo_failed(number, step, problem, out),
        }
        self.proceed(number, out);
    }

    fn step_done(&mut self, number: u64, step: u32, output: &JsonDoc, out: &mut Out<'_, Self>) {
        let happening = match self.result(number, step, output) {
            Ok(output) => Happening::Done { step, output },
            Err(problem) => Happening::Spoiled { step, why: problem.into() },
        };
        self.happen(number, happening, out);
    }

    /// The result of a step, of what its system answered.
    fn result(&self, number: u64, step: u32, output: &JsonDoc) -> Result<JsonDoc, Problem> {
        let pointer = format!("/steps/{step}/output");
        let chain = self.chain(number);
        let text = chain.as_ref().and_then(|chain| chain.steps.get(step as usize)?.output.as_deref());
        let value = transform::value(output);
        let value = match (text, self.register.all.get(number)) {
            (Some(text), Some(kept)) => {
                let mut names = kept.execution.names();
                names.insert("output".to_owned(), value);
                transform::evaluate(text, &names, &pointer)?
            }
            _ => value,
        };
        self.carried(&value, &pointer)
    }

    fn step_failed(&mut self, number: u64, step: u32, problem: Problem, out: &mut Out<'_, Self>) {
        let Some(chain) = self.chain(number) else { return };
        let deferred =
            self.register.all.get(number).and_then(|kept| Some(kept.execution.at(step as usize)?.1.deferred));
        let Some((declared, deferred)) = chain.steps.get(step as usize).zip(deferred) else { return };
        let retry = declared.retry.unwrap_or(RETRY);
        let meaning = Meaning::of(problem.kind);
        let again = match meaning {
            Meaning::NotDone => true,
            // The system does nothing twice that has one key.
            Meaning::Unknown => declared.idempotent,
            Meaning::Refused => false,
        };
        let why = problem.into();
        if again && deferred < retry.count {
            self.happen(number, Happening::Deferred { step, why }, out);
            return self.pause(number, retry, deferred, out);
        }
        let happening = match meaning {
            Meaning::Unknown => Happening::Uncertain { step, why },
            Meaning::NotDone if self.may_be_done(number, step) => Happening::Uncertain { step, why },
            // One that refuses with the key in hand says that of every attempt.
            Meaning::NotDone | Meaning::Refused => Happening::Failed { step, why },
        };
        self.happen(number, happening, out);
        self.proceed(number, out);
    }

    /// A pause before the next try: any length up to a limit that doubles, so that those who failed together do not
    /// come again together.
    pub(super) fn pause(&mut self, number: u64, retry: Retry, before: u32, out: &mut Out<'_, Self>) {
        let longest = retry.backoff_ms.saturating_mul(1_u64.checked_shl(before).unwrap_or(u64::MAX));
        let longest = longest.min(self.settings.chain_backoff_ms_max);
        let after_ms = out.chance() % longest.saturating_add(1);
        match self.pending.insert(Waiting::Chain { number, awaits: Await::Pause }) {
            Ok(key) => {
                self.set_driver(number, Some(key));
                out.timer(after_ms, key);
            }
            Err(_) => self.stall(number, out),
        }
    }

    /// Everything is done or undone. Gives whether the chain goes on at once: its result may be impossible.
    fn end(&mut self, number: u64, state: ExecutionState, out: &mut Out<'_, Self>) -> bool {
        let output = match state {
            ExecutionState::Succeeded => match self.output(number) {
                Ok(output) => Some(output),
                Err(problem) => {
                    self.happen(number, Happening::TurnedBack { why: problem.into() }, out);
                    return true;
                }
            },
            _ => None,
        };
        self.happen(number, Happening::Ended { state, output }, out);
        false
    }

    /// The result of the whole.
    fn output(&self, number: u64) -> Result<JsonDoc, Problem> {
        let Some(kept) = self.register.all.get(number) else { return Ok(JsonDoc::null()) };
        let mut names = kept.execution.names();
        let value = match &kept.execution.chain.output {
            Some(text) => transform::evaluate(text, &names, "/output")?,
            None => names.remove("results").unwrap_or_default(),
        };
        self.carried(&value, "/output")
    }
}

/// The operation that a step counts as.
fn operation(step: &ChainStep) -> &str {
    step.operation.as_deref().unwrap_or(SHARE)
}

/// A chain has far fewer steps than this number can count.
pub(super) fn number_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
