//! Requests that are outside: what an external system was asked and has not answered yet (FGMV-29 9.1 steps 7
//! and 14, 9.2 steps 9 and 17, and the fence of FGMV-28 7.1.3 step 8).

use std::collections::BTreeMap;

use twinway_protocol::{
    Answers, Ask, Asker, Behaviour, Out, PendingKey, Problem, ProblemKind,
    message::{
        AnswerAccepted, AnswerRequest, ApplyChange, ExecuteService, FenceDevice, ForwardTwinPropertiesRequest,
        ForwardUserAuthorization, OutsideAnswer, OutsideRequest, RequestUndelivered, Wire,
    },
    signal::Signal,
};

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

            fn moves_a_device(&self) -> bool {
                matches!(self, Self::ApplyChange(_) | Self::FenceDevice(_))
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
}

/// The table of requests that are outside, for the actor of one external system.
///
/// A request's key leaves the daemon and may come back after a restart, or from somebody who guesses. So it is
/// drawn by chance: it is never the key of another request, and knowing one tells nothing of the next.
#[derive(Debug)]
pub(crate) struct OutsideRequests {
    waiting: BTreeMap<PendingKey, Waiting>,
    questions_max: usize,
    answer_ms_max: u64,
}

impl OutsideRequests {
    /// An empty table.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            waiting: BTreeMap::new(),
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
        if self.waiting.len() >= self.questions_max {
            let detail = format!("pending_questions_max: {} requests wait for this system", self.questions_max);
            return out.reply(asker, Err(Problem::new(ProblemKind::LimitReached, detail)));
        }
        let request = self.fresh_key(out);
        self.waiting.insert(request, T::waiting(asker));
        out.timer(self.answer_ms_max, request);
        out.signal(Signal::Request { entity: out.me(), request, body: Box::new(question.body()) });
    }

    fn fresh_key<B: Behaviour<Wire = Wire>>(&self, out: &mut Out<'_, B>) -> PendingKey {
        loop {
            let key = PendingKey::from_bits(out.chance());
            if key != PendingKey::NONE && !self.waiting.contains_key(&key) {
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
            Some(waiting) if !waiting.fits(&message.answer) => {
                self.waiting.insert(message.request, waiting);
                Err(mismatch())
            }
            Some(waiting) => {
                waiting.settle(*message.answer, out);
                Ok(AnswerAccepted)
            }
        };
        out.reply(asker, accepted);
    }

    /// The request that an answer is for: the one that it names.
    fn meant(&self, message: &AnswerRequest) -> PendingKey {
        if broken(Mutation::AnswerOfAnother) && !self.waiting.contains_key(&message.request) {
            let mut waiting = self.waiting.iter();
            return waiting.find(|(_, waiting)| waiting.fits(&message.answer)).map_or(message.request, |(key, _)| *key);
        }
        message.request
    }

    /// A request did not arrive: its asker hears why. Of what moves a device, the gate has to know whether it was
    /// handed out all the same: then it may act yet, and no answer will say that it has.
    pub(crate) fn undelivered<B: Behaviour<Wire = Wire>>(&mut self, message: RequestUndelivered, out: &mut Out<'_, B>) {
        let RequestUndelivered { request, problem, handed_out } = message;
        if let Some(waiting) = self.waiting.remove(&request) {
            let unclear = handed_out && problem.kind != ProblemKind::OutsideTimeout && waiting.moves_a_device();
            let problem = if unclear { Problem { kind: ProblemKind::OutsideUnclear, ..*problem } } else { *problem };
            waiting.refuse(problem, out);
        }
    }

    /// A request's time has run out. That of a request which was answered means nothing.
    pub(crate) fn timeout<B: Behaviour<Wire = Wire>>(&mut self, request: PendingKey, out: &mut Out<'_, B>) {
        if let Some(waiting) = self.waiting.remove(&request) {
            let detail = format!("no answer came within outside_answer_ms_max = {} ms", self.answer_ms_max);
            waiting.refuse(Problem::new(ProblemKind::OutsideTimeout, detail), out);
        }
    }
}

fn mismatch() -> Problem {
    Problem::new(ProblemKind::AnswerMismatch, "this is an answer to another kind of request")
}
