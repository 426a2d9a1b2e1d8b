//! Undoing what a chain has done, the last step first (FGMV-29 8.2.4).

use twinway_protocol::{JsonDoc, Out, Problem, ProblemKind, collaboration::Retry, message::ServiceRequest};

use super::{
    Await, Happening, Sdc, Waiting,
    meaning::Meaning,
    steps::{Request, number_of},
};
use crate::{settings::pending_full, sif::transform};

/// How often a compensation is tried again that does not say: what is left undone takes a person.
const UNDO_RETRY: Retry = Retry { count: 10, backoff_ms: 500 };

impl Sdc {
    /// Asks a system to undo a step. Gives whether the chain goes on at once.
    pub(super) fn undo_step(&mut self, number: u64, index: usize, out: &mut Out<'_, Self>) -> bool {
        let step = number_of(index);
        match self.try_undo(number, step, out) {
            Ok(()) => false,
            Err(problem) => {
                self.undo_failed(number, step, problem, out);
                false
            }
        }
    }

    fn try_undo(&mut self, number: u64, step: u32, out: &mut Out<'_, Self>) -> Result<(), Problem> {
        let index = step as usize;
        let gone = || Problem::new(ProblemKind::Internal, "the step is gone");
        let chain = self.chain(number).ok_or_else(gone)?;
        let declared = chain.steps.get(index).ok_or_else(gone)?;
        let undo = declared.compensation.as_ref().ok_or_else(gone)?;
        let Some(system) = self.system_for(number, &declared.system)? else { return Ok(()) };
        let execution = &self.register.all.get(number).ok_or_else(gone)?.execution;
        let (_, state) = execution.at(index).ok_or_else(gone)?;
        let input = match &undo.input {
            Some(text) => {
                let pointer = format!("/steps/{index}/compensation/input");
                let value = transform::evaluate(text, &execution.names(), &pointer)?;
                self.carried(&value, &pointer)?
            }
            None => state.output.clone().unwrap_or_else(JsonDoc::null),
        };
        let (authorization, information) = (state.undo.clone().ok_or_else(gone)?, state.information.clone());
        let request = Request {
            system: &system,
            authorization,
            information: &information,
            request: ServiceRequest::Use { operation: undo.operation.as_str().into(), input },
            mapping: undo.mapping.as_ref().map(|mapping| (mapping, format!("/steps/{index}/compensation/mapping"))),
            undo: true,
        };
        let (question, conversion) = self.question(number, declared, request)?;
        self.admit(&declared.system, out)?;
        let awaits = Await::Undo { step, conversion };
        let key = self.pending.insert(Waiting::Chain { number, awaits }).map_err(|_| pending_full())?;
        self.happen(number, Happening::UndoSent { step }, out);
        self.set_driver(number, Some(key));
        out.ask(system.entity, question, key);
        Ok(())
    }

    pub(super) fn undo_failed(&mut self, number: u64, step: u32, problem: Problem, out: &mut Out<'_, Self>) {
        let Some(chain) = self.chain(number) else { return };
        let deferred =
            self.register.all.get(number).and_then(|kept| Some(kept.execution.at(step as usize)?.1.deferred));
        let Some((declared, deferred)) = chain.steps.get(step as usize).zip(deferred) else { return };
        let retry = declared.compensation.as_ref().and_then(|undo| undo.retry).unwrap_or(UNDO_RETRY);
        // A compensation has its key, and by its contract may come more than once.
        let again = Meaning::of(problem.kind) != Meaning::Refused;
        let why = problem.into();
        if again && deferred < retry.count {
            self.happen(number, Happening::UndoDeferred { step, why }, out);
            return self.pause(number, retry, deferred, out);
        }
        self.happen(number, Happening::UndoFailed { step, why }, out);
        self.proceed(number, out);
    }
}
