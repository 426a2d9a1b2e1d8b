//! One execution of a chain (FGMV-29 8.2.4): what happened to it, as records, and what follows from that. No message and no clock.

use std::sync::Arc;

use serde_json::{Map, Value};
use twinway_protocol::{
    JsonDoc, PermissionId,
    collaboration::{self as view, Chain, ChainStep, ExecutionState, StepState, StepView},
    time::Timestamp,
};

use super::{
    meaning::Meaning,
    record::{Happening, Started, Why},
};
use crate::sif::transform::{Names, value};

/// How a step stands.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) state: StepState,
    pub(super) attempts: u32,
    pub(super) output: Option<JsonDoc>,
    pub(super) authorization: Option<PermissionId>,
    pub(super) undo: Option<PermissionId>,
    pub(super) information: JsonDoc,
    /// How often it was put off, and its compensation.
    pub(super) deferred: u32,
    /// An attempt that failed may have done it.
    doubt: bool,
    why: Option<Why>,
}

impl Step {
    /// Whether an attempt that has failed may have done it.
    pub(super) fn may_have_been_done(&self) -> bool {
        self.doubt
    }

    /// Whether the system may do it or have done it, and nobody has heard.
    pub(super) fn may_be_done(&self) -> bool {
        self.doubt || self.state == StepState::Running
    }
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The step's turn.
    Step(usize),
    /// The step is to be undone.
    Undo(usize),
    /// All is done: it ends like this.
    End(ExecutionState),
    /// It has ended.
    Nothing,
}

/// An execution, made of its records.
#[derive(Clone, Debug)]
pub(super) struct Execution {
    pub(super) started: Started,
    pub(super) chain: Arc<Chain>,
    pub(super) steps: Vec<Step>,
    pub(super) happened: Vec<(Timestamp, Happening)>,
    pub(super) cancelling: bool,
    why: Option<Why>,
    turned_back: bool,
    output: Option<JsonDoc>,
    pub(super) ended: Option<(ExecutionState, Timestamp)>,
}

impl Execution {
    /// An execution to which nothing has happened.
    pub(super) fn new(started: Started) -> Self {
        let step = Step {
            state: StepState::Waiting,
            attempts: 0,
            deferred: 0,
            output: None,
            authorization: None,
            undo: None,
            information: JsonDoc::null(),
            doubt: false,
            why: None,
        };
        Self {
            steps: vec![step; started.chain.steps.len()],
            chain: Arc::clone(&started.chain),
            started,
            happened: Vec::new(),
            cancelling: false,
            why: None,
            turned_back: false,
            output: None,
            ended: None,
        }
    }

    /// Takes over what happened.
    pub(super) fn apply(&mut self, at: Timestamp, happening: Happening) {
        self.happened.push((at, happening.clone()));
        match happening {
            Happening::Skipped { step } => self.set(step, StepState::Skipped, None),
            Happening::Sent { step, authorization, undo, information } => {
                if let Some(step) = self.step(step) {
                    // Sent before, and no answer was written down.
                    step.doubt |= step.state == StepState::Running;
                    step.attempts += 1;
                    step.authorization = Some(authorization);
                    step.undo = undo;
                    step.information = information;
                }
                self.set(step, StepState::Running, None);
            }
            Happening::Deferred { step, why } => self.defer(step, StepState::Retrying, why),
            Happening::Done { step, output } => {
                self.set(step, StepState::Succeeded, None);
                if let Some(step) = self.step(step) {
                    step.output = Some(output);
                    step.deferred = 0;
                }
            }
            Happening::Spoiled { step, why } => self.fail(step, StepState::Succeeded, why),
            Happening::Failed { step, why } => self.fail(step, StepState::Failed, why),
            Happening::Uncertain { step, why } => self.fail(step, StepState::Uncertain, why),
            Happening::CancelRequested => self.cancelling = true,
            Happening::TurnedBack { why } => self.turn_back(why),
            Happening::UndoSent { step } => self.set(step, StepState::Compensating, None),
            Happening::UndoDeferred { step, why } => self.defer(step, StepState::Compensating, why),
            Happening::Undone { step } => self.set(step, StepState::Compensated, None),
            Happening::UndoFailed { step, why } => self.set(step, StepState::CompensationFailed, Some(why)),
            Happening::Ended { state, output } => {
                self.output = output;
                self.ended = Some((state, at));
            }
        }
    }

    fn step(&mut self, step: u32) -> Option<&mut Step> {
        self.steps.get_mut(step as usize)
    }

    fn set(&mut self, step: u32, state: StepState, why: Option<Why>) {
        if let Some(step) = self.step(step) {
            step.state = state;
            // What stood in the way the last time is worth reading on, once it is done no more.
            step.why = why.or(step.why.take());
        }
    }

    fn defer(&mut self, step: u32, state: StepState, why: Why) {
        let unknown = Meaning::of(why.kind) == Meaning::Unknown;
        self.set(step, state, Some(why));
        if let Some(step) = self.step(step) {
            step.doubt |= unknown;
            step.deferred += 1;
        }
    }

    /// A step that the chain cannot do without turns it back: in the same record, so that no crash comes between.
    fn fail(&mut self, step: u32, state: StepState, why: Why) {
        self.set(step, state, Some(why.clone()));
        if let Some(step) = self.step(step) {
            step.deferred = 0;
        }
        if !self.chain.steps.get(step as usize).is_some_and(|step| step.optional) {
            self.turn_back(why);
        }
    }

    /// The first reason counts.
    fn turn_back(&mut self, why: Why) {
        self.turned_back = true;
        self.why.get_or_insert(why);
    }

    /// The step's declaration, and how it stands.
    pub(super) fn at(&self, index: usize) -> Option<(&ChainStep, &Step)> {
        self.chain.steps.get(index).zip(self.steps.get(index))
    }

    /// Whether what was done is being undone, or has been.
    pub(super) fn has_turned_back(&self) -> bool {
        self.turned_back
    }

    /// What is to be done next, if nothing is under way.
    pub(super) fn next(&self) -> Next {
        use StepState as S;
        if self.ended.is_some() {
            return Next::Nothing;
        }
        if !self.turned_back {
            let open = |step: &Step| matches!(step.state, S::Waiting | S::Running | S::Retrying);
            return self.steps.iter().position(open).map_or(Next::End(ExecutionState::Succeeded), Next::Step);
        }
        let undone = |(declared, step): (&ChainStep, &Step)| match step.state {
            S::Succeeded | S::Uncertain => declared.compensation.is_some(),
            S::Compensating => true,
            _ => false,
        };
        let all = self.chain.steps.iter().zip(&self.steps);
        all.rev().position(undone).map_or_else(
            || Next::End(self.end()),
            // Counted from the last one.
            |from_the_end| Next::Undo(self.steps.len() - 1 - from_the_end),
        )
    }

    /// The step whose turn it is, if its system may do it or have done it.
    pub(super) fn in_doubt(&self) -> Option<u32> {
        let Next::Step(index) = self.next() else { return None };
        self.steps.get(index).filter(|step| step.may_be_done()).and_then(|_| u32::try_from(index).ok())
    }

    /// How it ends that turned back.
    fn end(&self) -> ExecutionState {
        use StepState as S;
        let any = |wanted: fn(&Step) -> bool| self.steps.iter().any(wanted);
        if any(|step| matches!(step.state, S::Uncertain | S::CompensationFailed)) {
            ExecutionState::Uncertain
        } else if any(|step| step.state == S::Compensated) {
            ExecutionState::Compensated
        } else {
            ExecutionState::Failed
        }
    }

    /// What expressions know: the input, the user, and the results of the steps that are done.
    pub(super) fn names(&self) -> Names {
        let mut results = Map::new();
        for (declared, step) in self.chain.steps.iter().zip(&self.steps) {
            if let Some(output) = &step.output {
                results.insert(declared.name.clone(), value(output));
            }
        }
        let mut names = Names::new();
        names.insert("input".to_owned(), value(&self.chain.input));
        names.insert("user".to_owned(), Value::String(self.chain.user.to_string()));
        names.insert("results".to_owned(), Value::Object(results));
        names
    }

    /// How it stands.
    pub(super) fn state(&self) -> ExecutionState {
        match self.ended {
            Some((state, _)) => state,
            None if self.turned_back => ExecutionState::Compensating,
            None => ExecutionState::Running,
        }
    }

    /// How it stands, for those who may see it.
    pub(super) fn view(&self) -> view::Execution {
        let step = |(declared, step): (&ChainStep, &Step)| StepView {
            name: declared.name.clone(),
            system: declared.system.clone(),
            state: step.state,
            attempts: step.attempts,
            output: step.output.clone(),
            problem: step.why.as_ref().map(Why::shown),
        };
        view::Execution {
            id: self.started.id.clone(),
            metaverse: self.started.metaverse.clone(),
            user: self.chain.user.clone(),
            state: self.state(),
            started_at: self.started.at,
            deadline_at: self.started.deadline_at,
            ended_at: self.ended.map(|(_, at)| at),
            steps: self.chain.steps.iter().zip(&self.steps).map(step).collect(),
            output: self.output.clone(),
            problem: self.why.as_ref().map(Why::shown),
        }
    }
}
