//! What a third-party system can do.

use twinway_protocol::{
    PendingKey, PermissionId, Problem, Ref, SystemId,
    access::{AuthorizationDecision, UserAuthorization},
    message::{
        DecideUserAuthorization, OutsideAnswer, RegisterThirdPartySystem, ThirdPartySystemMsg,
        ThirdPartySystemRegistered,
    },
    registry::ThirdPartyDescription,
};

use super::Enabler;
use crate::outside::{EventsFrom, Session, SystemKind, Watch, check_reach};

/// The enabler as one third-party system sees it.
#[derive(Clone, Debug)]
pub struct Sii {
    pub(super) enabler: Enabler,
    pub(super) id: SystemId,
}

impl Sii {
    pub(super) fn new(enabler: Enabler, id: SystemId) -> Self {
        Self { enabler, id }
    }

    pub(super) async fn actor(&self) -> Result<Ref<ThirdPartySystemMsg>, Problem> {
        self.enabler.actor(SystemKind::ThirdParty, &self.id).await
    }

    /// Registers the system (FGMV-29 9.1 steps 1 to 3). The same again changes nothing but the
    /// end of a lifetime.
    ///
    /// # Errors
    /// An invalid description with its place, or [`twinway_protocol::ProblemKind::AlreadyRegistered`] with what
    /// differs. Nothing was changed then.
    pub async fn register(&self, description: ThirdPartyDescription) -> Result<ThirdPartySystemRegistered, Problem> {
        super::same_id(&self.id, &description.id)?;
        check_reach(&description.reach).map_err(|problem| problem.at("/reach/webhook"))?;
        let question = RegisterThirdPartySystem { description: Box::new(description) };
        self.enabler.ask(self.actor().await?, question).await
    }

    /// Opens this system's session: what it is asked comes out of it. An earlier session ends.
    ///
    /// # Errors
    /// Those of every request, and when there are too many sessions.
    pub async fn session(&self) -> Result<Session, Problem> {
        self.actor().await?;
        self.enabler.outside().session(SystemKind::ThirdParty, &self.id)
    }

    /// Hears this system's events, from after the event `from` says; any number of listeners can.
    ///
    /// # Errors
    /// Those of every request, and when there are too many listeners.
    pub async fn events(&self, from: EventsFrom) -> Result<Session, Problem> {
        self.watch(from, Watch::default()).await
    }

    /// Hears those of its events that are wanted.
    ///
    /// # Errors
    /// As for [`Self::events`].
    pub async fn watch(&self, from: EventsFrom, watch: Watch) -> Result<Session, Problem> {
        self.actor().await?;
        self.enabler.outside().watch(SystemKind::ThirdParty, &self.id, from, watch)
    }

    /// Answers a request (9.1 steps 8 and 14x).
    ///
    /// # Errors
    /// The request is unknown or answered already, or the answer does not fit it: then it still waits.
    pub async fn answer(&self, request: PendingKey, answer: OutsideAnswer) -> Result<(), Problem> {
        self.enabler.answer(self.actor().await?, request, answer).await
    }

    /// Decides about an authorization, later than it was asked for: a person logged in, or it is revoked (9.1 step 8).
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::RequestUnknown`] when this system was asked for no such authorization.
    pub async fn decide_user_authorization(
        &self,
        authorization: PermissionId,
        decision: AuthorizationDecision,
    ) -> Result<UserAuthorization, Problem> {
        let question = DecideUserAuthorization { system: self.id.clone(), authorization, decision: Box::new(decision) };
        Ok(*self.enabler.ask(self.actor().await?, question).await?.authorization)
    }
}
