//! Requests that are outside: what an external system was asked and has not answered yet (FGMV-29 9.1 steps 7
//! and 14, 9.2 steps 9 and 17, and the fence of FGMV-28 7.1.3 step 8).

use std::collections::BTreeMap;

use twinway_protocol::{
    Answers, Ask, Asker, Behaviour, Out, PendingKey, Problem, ProblemKind, SystemId,
    message::{
        AnswerAccepted, AnswerRequest, ApplyChange, CarryOutAction, ExecuteService, FenceDevice,
        ForwardTwinPropertiesRequest, ForwardUserAuthorization, OutsideAnswer, OutsideRequest, ReadTwinProperties,
        ReportPerformance, RequestUndelivered, StopAction, Wire,
    },
    signal::Signal,
};

use super::measuring::{Measured, REPORT};
use crate::{
    Settings,
    mutation::{Mutation, broken},
};

/// A question that leaves the daemon.
pub(crate) trait OutsideQuestion: Ask<Answer: Answers<Wire>> {
    /// The question as the outside gets it.
    fn body(self) -> OutsideRequest;
    /// Keeps the right to answer it.
    fn waiting(asker: Asker<Self>) -> Waiting
    where
        Self: Sized;
}

/// Declares the questions, each with the variant of [`OutsideRequest`] and [`OutsideAnswer`] that is its own.
macro_rules! questions {
    ($($Kind:ident($Question:ident);)*) => {
        /// Who waits for an answer from outside, by the kind of request.
        #[derive(Debug)]
        pub(crate) enum Waiting {
            $($Kind(Asker<$Question>),)*
        }

        impl Waiting {
            fn fits(&self, answer: &OutsideAnswer) -> bool {
                // That something failed is an answer to everything.
                matches!(answer, OutsideAnswer::Failed(_))
                    $(|| matches!((self, answer), (Self::$Kind(_), OutsideAnswer::$Kind(_))))*
            }

            /// Whether it may have acted on a request that was handed out, and nobody will say that it has.
            fn is_unclear_after(&self, problem: &Problem) -> bool {
                match self {
                    Self::ApplyChange(_) | Self::FenceDevice(_) | Self::InvokeAction(_) => problem.kind != ProblemKind::OutsideTimeout,
                    // What a third-party system answers, it says; here it was only cut off.
                    Self::ExecuteService(_) => problem.kind == ProblemKind::OutsideUnreachable,
                    _ => false,
                }
            }

            fn refuse<B: Behaviour<Wire = Wire>>(self, problem: Problem, out: &mut Out<'_, B>) {
                match self { $(Self::$Kind(asker) => out.reply(asker, Err(problem)),)* }
            }

            fn settle<B: Behaviour<Wire = Wire>>(self, answer: OutsideAnswer, out: &mut Out<'_, B>) {
                match (self, answer) {
                    $((Self::$Kind(asker), OutsideAnswer::$Kind(answer)) => out.reply(asker, Ok(answer)),)*
                    (waiting, OutsideAnswer::Failed(what)) => {
                        waiting.refuse(Problem::new(ProblemKind::OutsideFailed, what), out);
                    }
                    // `fits` was asked before; should it ever be forgotten, the asker still hears.
                    (waiting, _) => waiting.refuse(mismatch(), out),
                }
            }
        }

        $(impl OutsideQuestion for $Question {
            fn body(self) -> OutsideRequest {
                OutsideRequest::$Kind(self)
            }
            fn waiting(asker: Asker<Self>) -> Waiting {
                Waiting::$Kind(asker)
            }
        })*
    };
}

questions! {
    AuthorizeUser(ForwardUserAuthorization);
    ExecuteService(ExecuteService);
    DescribeTwins(ForwardTwinPropertiesRequest);
    ApplyChange(ApplyChange);
    FenceDevice(FenceDevice);
    InvokeAction(CarryOutAction);
    CancelAction(StopAction);
    ReadProperties(ReadTwinProperties);
}

/// The table of requests that are outside, for the actor of one external system.
///
/// A request's key leaves the daemon and may come back after a restart, or from somebody who guesses. So it is
/// drawn by chance: it is never the key of another request, and knowing one tells nothing of the next.
#[derive(Debug)]
pub(crate) struct OutsideRequests {
    /// With when each was asked, on the monotonic clock in milliseconds.
    waiting: BTreeMap<PendingKey, (Waiting, u64)>,
    measured: Measured,
    questions_max: usize,
    answer_ms_max: u64,
}

impl OutsideRequests {
    /// An empty table.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            waiting: BTreeMap::new(),
            measured: Measured::new(settings),
            questions_max: settings.pending_questions_max,
            answer_ms_max: settings.outside_answer_ms_max,
        }
    }

    /// Asks the external system `question`, for at most `outside_answer_ms_max`. A full table is answered at once.
    pub(crate) fn ask<B, T>(&mut self, asker: Asker<T>, question: T, out: &mut Out<'_, B>)
    where
        B: Behaviour<Wire = Wire>,
        T: OutsideQuestion,
    {
        self.ask_for(self.answer_ms_max, asker, question, out);
    }

    /// As [`OutsideRequests::ask`], for at most `answer_ms`. Gives the request, unless the table is full.
    pub(crate) fn ask_for<B, T>(
        &mut self,
        answer_ms: u64,
        asker: Asker<T>,
        question: T,
        out: &mut Out<'_, B>,
    ) -> Option<PendingKey>
    where
        B: Behaviour<Wire = Wire>,
        T: OutsideQuestion,
    {
        if self.waiting.len() >= self.questions_max {
            let detail = format!("pending_questions_max: {} requests wait for this system", self.questions_max);
            out.reply(asker, Err(Problem::new(ProblemKind::LimitReached, detail)));
            return None;
        }
        let request = self.fresh_key(out);
        self.waiting.insert(request, (T::waiting(asker), out.now().monotonic_ms));
        out.timer(answer_ms, request);
        out.signal(Signal::Request { entity: out.me(), request, body: Box::new(question.body()) });
        Some(request)
    }

    /// Whether a request waits for its answer.
    pub(crate) fn is_waiting(&self, request: PendingKey) -> bool {
        self.waiting.contains_key(&request)
    }

    /// A request is answered in another way than by its id. An answer that does not fit is none.
    pub(crate) fn settle<B: Behaviour<Wire = Wire>>(
        &mut self,
        request: PendingKey,
        answer: OutsideAnswer,
        out: &mut Out<'_, B>,
    ) {
        if self.waiting.get(&request).is_some_and(|(waiting, _)| waiting.fits(&answer))
            && let Some((waiting, _)) = self.waiting.remove(&request)
        {
            waiting.settle(answer, out);
        }
    }

    fn fresh_key<B: Behaviour<Wire = Wire>>(&self, out: &mut Out<'_, B>) -> PendingKey {
        loop {
            let key = PendingKey::from_bits(out.chance());
            if key != PendingKey::NONE && key != REPORT && !self.waiting.contains_key(&key) {
                return key;
            }
        }
    }

    /// The external system answers. The first answer that fits settles the request; what does not fit leaves it waiting.
    pub(crate) fn answer<B: Behaviour<Wire = Wire>>(
        &mut self,
        asker: Asker<AnswerRequest>,
        mut message: AnswerRequest,
        out: &mut Out<'_, B>,
    ) {
        message.request = self.meant(&message);
        let accepted = match self.waiting.remove(&message.request) {
            None => Err(Problem::new(ProblemKind::RequestUnknown, "no request with this id waits for an answer")),
            Some((waiting, asked_ms)) if !waiting.fits(&message.answer) => {
                self.waiting.insert(message.request, (waiting, asked_ms));
                Err(mismatch())
            }
            Some((waiting, asked_ms)) => {
                self.measured.answered(asked_ms, matches!(*message.answer, OutsideAnswer::Failed(_)), out);
                waiting.settle(*message.answer, out);
                Ok(AnswerAccepted)
            }
        };
        out.reply(asker, accepted);
    }

    /// The request that an answer is for: the one that it names.
    fn meant(&self, message: &AnswerRequest) -> PendingKey {
        if broken(Mutation::AnswerOfAnother) && !self.waiting.contains_key(&message.request) {
            let fits = self.waiting.iter().find(|(_, (waiting, _))| waiting.fits(&message.answer));
            return fits.map_or(message.request, |(key, _)| *key);
        }
        message.request
    }

    /// A request did not arrive: its asker hears why. Of what moves a device or runs a service, it has to know whether
    /// it was handed out all the same: then the system may act yet, and no answer will say that it has.
    pub(crate) fn undelivered<B: Behaviour<Wire = Wire>>(&mut self, message: RequestUndelivered, out: &mut Out<'_, B>) {
        let RequestUndelivered { request, problem, handed_out } = message;
        // An action goes on without the session or the call that it was handed out by, and its end is told in another way.
        let is_silent = matches!(problem.kind, ProblemKind::OutsideUnreachable | ProblemKind::OutsideTimeout);
        if handed_out && is_silent && matches!(self.waiting.get(&request), Some((Waiting::InvokeAction(_), _))) {
            return;
        }
        if let Some((waiting, _)) = self.waiting.remove(&request) {
            // That the daemon ends, or asks too much at once, says nothing of the system.
            if !matches!(problem.kind, ProblemKind::ShuttingDown | ProblemKind::Overloaded) {
                self.measured.unanswered(out);
            }
            let unclear = handed_out && waiting.is_unclear_after(&problem);
            let problem = if unclear { Problem { kind: ProblemKind::OutsideUnclear, ..*problem } } else { *problem };
            waiting.refuse(problem, out);
        }
    }

    /// A request's time has run out. That of a request which was answered means nothing. Gives what the register of
    /// `system` is to be told, when that is due.
    pub(crate) fn timeout<B: Behaviour<Wire = Wire>>(
        &mut self,
        request: PendingKey,
        system: Option<&SystemId>,
        out: &mut Out<'_, B>,
    ) -> Option<ReportPerformance> {
        if request == REPORT {
            let is_due = self.measured.due(out);
            return is_due.then(|| Some(self.measured.report(system?.clone(), out.now().monotonic_ms))).flatten();
        }
        if let Some((waiting, _)) = self.waiting.remove(&request) {
            self.measured.unanswered(out);
            let detail = match &waiting {
                Waiting::InvokeAction(_) => "the action's end was not told in time".to_owned(),
                _ => format!("no answer came within outside_answer_ms_max = {} ms", self.answer_ms_max),
            };
            waiting.refuse(Problem::new(ProblemKind::OutsideTimeout, detail), out);
        }
        None
    }

    /// The system's session opened or closed: gives what its register is to be told, if that is news.
    pub(crate) fn session(&mut self, open: bool, system: Option<&SystemId>, now_ms: u64) -> Option<ReportPerformance> {
        let is_news = self.measured.session(open, now_ms);
        is_news.then(|| Some(self.measured.report(system?.clone(), now_ms))).flatten()
    }

    /// What a register that has recovered is to be told again, if there is anything.
    pub(crate) fn told_again(&self, system: &SystemId, now_ms: u64) -> Option<ReportPerformance> {
        self.measured.is_something().then(|| self.measured.report(system.clone(), now_ms))
    }

    /// The system is registered no more: what it was asked and has not answered is refused.
    pub(crate) fn refuse_all<B: Behaviour<Wire = Wire>>(&mut self, detail: &str, out: &mut Out<'_, B>) {
        for (_, (waiting, _)) in std::mem::take(&mut self.waiting) {
            // It may act on it all the same: who asked has to know.
            let problem = Problem::new(ProblemKind::OutsideUnreachable, detail);
            let unclear = waiting.is_unclear_after(&problem);
            let problem = if unclear { Problem { kind: ProblemKind::OutsideUnclear, ..problem } } else { problem };
            waiting.refuse(problem, out);
        }
    }
}

fn mismatch() -> Problem {
    Problem::new(ProblemKind::AnswerMismatch, "this is an answer to another kind of request")
}
