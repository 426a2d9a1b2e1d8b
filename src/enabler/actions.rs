//! Actions of twins (FGMV-29 8.3.4): invoked by metaverse systems, carried out by digital twin systems.

use twinway_protocol::{
    InvocationId, Problem, ProblemKind, TwinId, UserId,
    lease::Token,
    message::{ActionReport, CancelAction, ChangeTerms, InvokeAction, ReportAction, WhatToDo},
    twin::Invocation,
};

use super::{Dii, Mii};

impl Mii {
    /// Asks that a twin's object carry an action out (as 9.2 steps 15 to 18), with a lease for this one action where no
    /// token is shown. It is on its way then; `action.progress` and `action.ended` tell those who selected the twin what
    /// becomes of it.
    ///
    /// # Errors
    /// Those of a change; [`ProblemKind::ActionUnknown`]; an input that the twin's description does not allow, with its
    /// place; [`ProblemKind::LimitReached`] with too many actions of the twin under way.
    pub async fn invoke_action(
        &self,
        user: UserId,
        twin: TwinId,
        what: WhatToDo,
        token: Option<Token>,
        terms: ChangeTerms,
    ) -> Result<Invocation, Problem> {
        let metaverse = self.id.clone();
        let question = InvokeAction { metaverse, user, twin, what: Box::new(what), token, terms };
        let limit = self.enabler.settled_within();
        Ok(*self.enabler.ask_within(self.actor().await?, question, limit).await?.invocation)
    }

    /// An invocation, as it is published.
    ///
    /// # Errors
    /// [`ProblemKind::TwinUnknown`], [`ProblemKind::InvocationUnknown`].
    pub fn invocation(&self, twin: &TwinId, invocation: &InvocationId) -> Result<Invocation, Problem> {
        let view = self.twin(twin)?.shown_to(&self.id);
        let found = view.invocations.as_ref().and_then(|invocations| invocations.get(invocation));
        let unknown = || {
            let detail = format!("`{twin}` has no invocation `{invocation}`");
            Problem::new(ProblemKind::InvocationUnknown, detail)
        };
        found.cloned().ok_or_else(unknown)
    }

    /// Wants an own action no more. Its end tells whether it was cancelled in time.
    ///
    /// # Errors
    /// [`ProblemKind::InvocationUnknown`], [`ProblemKind::NotAllowed`] for somebody else's, and those of the twin system.
    pub async fn cancel_action(&self, user: UserId, twin: TwinId, invocation: InvocationId) -> Result<(), Problem> {
        let question = CancelAction { metaverse: self.id.clone(), user, twin, invocation };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }
}

impl Dii {
    /// Says how far an action of one of its twins has come, or how it ended. To repeat how it ended is no mistake.
    ///
    /// # Errors
    /// Not one of its twins, or [`ProblemKind::InvocationUnknown`].
    pub async fn report_action(
        &self,
        twin: TwinId,
        invocation: InvocationId,
        report: ActionReport,
    ) -> Result<(), Problem> {
        let question = ReportAction { twin, invocation, report: Box::new(report) };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }
}
