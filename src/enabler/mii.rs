//! What a metaverse system can do.

use std::{collections::BTreeSet, sync::Arc};

use serde::Serialize;
use twinway_protocol::{
    JsonDoc, PermissionId, Problem, ProblemKind, Ref, SystemId, TwinId, UserId,
    access::{Right, TwinPermission, UserAuthorization},
    lease::Token,
    message::{
        ChangeTerms, ChangeTwin, ListTwins, MetaverseSystemMsg, PropertyValues, ReadTwinPermission,
        ReadUserAuthorization, RequestTwinPropertiesAndPermission, RequestUserAuthorization, RunService,
        SearchThirdPartySystems, SearchTwinSystems, SelectTwins, SendTwinMessage, ShareData, TellUser, TwinRefusal,
        UseThirdPartySystem,
    },
    registry::{Page, Reach, SystemQuery, ThirdPartyListing, TwinQuery, TwinSystemListing},
    twin::{TwinListing, TwinView},
};

use super::Enabler;
use crate::outside::{EventsFrom, Session, SystemKind, Watch};

/// The enabler as one metaverse system sees it.
#[derive(Clone, Debug)]
pub struct Mii {
    pub(super) enabler: Enabler,
    pub(super) id: SystemId,
}

/// What a request for properties and permission gave (FGMV-29 9.2 step 12).
#[derive(Clone, Debug, Serialize)]
pub struct Granted {
    /// The permissions that were given.
    pub permissions: Vec<TwinPermission>,
    /// The twins, each with its properties.
    pub twins: Vec<Arc<TwinView>>,
    /// What was not given, and why.
    #[serde(skip)]
    pub refused: Vec<TwinRefusal>,
}

impl Mii {
    pub(super) fn new(enabler: Enabler, id: SystemId) -> Self {
        Self { enabler, id }
    }

    pub(super) async fn actor(&self) -> Result<Ref<MetaverseSystemMsg>, Problem> {
        self.enabler.actor(SystemKind::Metaverse, &self.id).await
    }

    /// Tells a user something by their device: the event `user.notified` (FGMV-28 7.2.1 step 6).
    ///
    /// # Errors
    /// [`ProblemKind::OutsideUnreachable`] when no device of that user is attached. Nobody is told then.
    pub async fn tell_user(&self, user: UserId, data: JsonDoc) -> Result<(), Problem> {
        self.enabler.ask(self.actor().await?, TellUser { user, data }).await.map(|_| ())
    }

    /// Says how this system is to be reached with events.
    ///
    /// # Errors
    /// Those of every request: overloaded, read-only, shutting down. Nothing was changed then.
    pub async fn set_reach(&self, reach: Reach) -> Result<(), Problem> {
        self.enabler.open(SystemKind::Metaverse, &self.id, Some(reach)).await.map(|_| ())
    }

    /// Opens this system's session: what it is told comes out of it. An earlier session ends.
    ///
    /// # Errors
    /// As for [`Mii::set_reach`], and when there are too many sessions.
    pub async fn session(&self) -> Result<Session, Problem> {
        self.actor().await?;
        self.enabler.outside().session(SystemKind::Metaverse, &self.id)
    }

    /// Hears this system's events, from after the event `from` says; any number of listeners can.
    ///
    /// # Errors
    /// As for [`Mii::session`].
    pub async fn events(&self, from: EventsFrom) -> Result<Session, Problem> {
        self.watch(from, Watch::default()).await
    }

    /// Hears those of its events that are wanted.
    ///
    /// # Errors
    /// As for [`Self::events`].
    pub async fn watch(&self, from: EventsFrom, watch: Watch) -> Result<Session, Problem> {
        self.actor().await?;
        self.enabler.outside().watch(SystemKind::Metaverse, &self.id, from, watch)
    }

    /// Searches for third-party systems (FGMV-29 9.1 steps 4 and 5).
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`], which has the place of a mistake in the filter; of a sorted search [`ProblemKind::LimitReached`],
    /// and [`ProblemKind::CursorExpired`] when it has to begin again.
    pub async fn search_third_party_systems(&self, query: SystemQuery) -> Result<Page<ThirdPartyListing>, Problem> {
        let question = SearchThirdPartySystems { query: Box::new(query) };
        Ok(self.enabler.look(self.actor().await?, question).await?.page)
    }

    /// Asks that `user` may use a third-party system (9.1 steps 6 to 10). The answer may be pending: a person
    /// has to log in, and an event tells the decision.
    ///
    /// # Errors
    /// Unknown system, denied, or the system cannot be reached, fails or does not answer in time.
    pub async fn request_user_authorization(
        &self,
        system: SystemId,
        user: UserId,
        scope: BTreeSet<String>,
    ) -> Result<UserAuthorization, Problem> {
        let question = RequestUserAuthorization { system, metaverse: self.id.clone(), user, scope: Arc::new(scope) };
        Ok(*self.enabler.ask(self.actor().await?, question).await?.authorization)
    }

    /// Reads an authorization again.
    ///
    /// # Errors
    /// [`ProblemKind::RequestUnknown`] when this system has no such authorization.
    pub async fn user_authorization(&self, authorization: PermissionId) -> Result<UserAuthorization, Problem> {
        let question = ReadUserAuthorization { metaverse: self.id.clone(), authorization };
        Ok(*self.enabler.look(self.actor().await?, question).await?.authorization)
    }

    /// Runs a service with a third-party system (9.1 steps 11 to 14).
    ///
    /// # Errors
    /// The rejecting branch of step 14: no permission, or an expired one; and those of the system itself.
    pub async fn use_third_party_system(
        &self,
        system: SystemId,
        user: UserId,
        operation: &str,
        input: JsonDoc,
    ) -> Result<JsonDoc, Problem> {
        let question =
            UseThirdPartySystem { system, metaverse: self.id.clone(), user, operation: operation.into(), input };
        Ok(self.enabler.ask(self.actor().await?, question).await?.output)
    }

    /// Shares data with a third-party system (9.1 steps 11 to 14).
    ///
    /// # Errors
    /// As for [`Mii::use_third_party_system`].
    pub async fn share_data(
        &self,
        system: SystemId,
        user: UserId,
        topic: &str,
        data: JsonDoc,
    ) -> Result<JsonDoc, Problem> {
        let question = ShareData { system, metaverse: self.id.clone(), user, topic: topic.into(), data };
        Ok(self.enabler.ask(self.actor().await?, question).await?.output)
    }

    /// Searches for digital twin systems (9.2 steps 4 and 5).
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`], which has the place of a mistake in the filter; of a sorted search [`ProblemKind::LimitReached`],
    /// and [`ProblemKind::CursorExpired`] when it has to begin again.
    pub async fn search_twin_systems(&self, query: SystemQuery) -> Result<Page<TwinSystemListing>, Problem> {
        let question = SearchTwinSystems { query: Box::new(query) };
        Ok(self.enabler.look(self.actor().await?, question).await?.page)
    }

    /// Lists the twins of a system, or of all (9.2 steps 6 and 7).
    ///
    /// # Errors
    /// [`ProblemKind::SystemUnknown`].
    pub async fn list_twins(
        &self,
        system: Option<SystemId>,
        cursor: Option<String>,
        limit: Option<u32>,
    ) -> Result<Page<TwinListing>, Problem> {
        self.search_twins(TwinQuery { system, cursor, limit, ..TwinQuery::default() }).await
    }

    /// Searches for twins (9.2 steps 6 and 7), in the entries and Thing Descriptions of the lists of all twin systems. What was
    /// acknowledged is found by the next search; what matches throughout is on exactly one page.
    ///
    /// # Errors
    /// [`ProblemKind::SystemUnknown`], [`ProblemKind::InvalidQuery`] with the place of the mistake in a filter,
    /// [`ProblemKind::CursorExpired`], [`ProblemKind::LimitReached`] for a sort of too many.
    pub async fn search_twins(&self, query: TwinQuery) -> Result<Page<TwinListing>, Problem> {
        let question = ListTwins { metaverse: self.id.clone(), query: Box::new(query) };
        Ok(self.enabler.look(self.actor().await?, question).await?.page)
    }

    /// Selects twins to use, and lets others go (9.2 steps 6 and 7): all of it or nothing. Gives all that are selected now.
    ///
    /// # Errors
    /// [`ProblemKind::TwinUnknown`], [`ProblemKind::LimitReached`].
    pub async fn select_twins(&self, twins: Vec<TwinId>, release: Vec<TwinId>) -> Result<Vec<TwinId>, Problem> {
        self.select_twins_every(twins, release, None).await
    }

    /// The same, and says how often this system wants the values of `twins` asked for (FGMV-28 REQ-DT-07): every
    /// `period_ms` milliseconds; 0: not of itself; none: as it said before. It is told what was read at its own period,
    /// whatever others want; their twin system is asked as often as the shortest period needs.
    ///
    /// # Errors
    /// As for [`Mii::select_twins`], and a period out of bounds (`selection_period_ms_min`). Nothing was changed then.
    pub async fn select_twins_every(
        &self,
        twins: Vec<TwinId>,
        release: Vec<TwinId>,
        period_ms: Option<u32>,
    ) -> Result<Vec<TwinId>, Problem> {
        let actor = self.actor().await?;
        let (metaverse, twins, release) = (self.id.clone(), twins.into(), release.into());
        let question = SelectTwins { metaverse, metaverse_entity: actor, twins, release, period_ms };
        Ok(self.enabler.ask(actor, question).await?.selected)
    }

    /// Asks for the properties of selected twins and for permission (9.2 steps 8 to 12).
    ///
    /// # Errors
    /// [`ProblemKind::NotSelected`]; when every twin was refused for one reason, that reason.
    pub async fn request_permission(
        &self,
        user: UserId,
        twins: Vec<TwinId>,
        rights: BTreeSet<Right>,
    ) -> Result<Granted, Problem> {
        let (metaverse, twins, rights) = (self.id.clone(), twins.into(), Arc::new(rights));
        let question = RequestTwinPropertiesAndPermission { metaverse, user, twins, rights };
        let answer = self.enabler.ask(self.actor().await?, question).await?;
        let twins = answer.twins.iter().map(|twin| twin.shown_to(&self.id)).collect();
        Ok(Granted { permissions: answer.permissions, twins, refused: answer.refused })
    }

    /// What `user` may do with a twin.
    ///
    /// # Errors
    /// [`ProblemKind::PermissionMissing`], [`ProblemKind::PermissionExpired`].
    pub async fn permission(&self, user: UserId, twin: TwinId) -> Result<TwinPermission, Problem> {
        let question = ReadTwinPermission { metaverse: self.id.clone(), user, twin };
        Ok(*self.enabler.look(self.actor().await?, question).await?.permission)
    }

    /// Says that this system runs its service with these twins (9.2 step 13).
    ///
    /// # Errors
    /// Those of every request.
    pub async fn run_service(&self, twins: Vec<TwinId>) -> Result<(), Problem> {
        self.enabler.ask(self.actor().await?, RunService { twins: twins.into() }).await.map(|_| ())
    }

    /// A twin as it is published. Only a system that selected the twin reads it through its routes; the
    /// host program that embeds the enabler may read all.
    ///
    /// # Errors
    /// [`ProblemKind::TwinUnknown`].
    pub fn twin(&self, twin: &TwinId) -> Result<Arc<TwinView>, Problem> {
        let unknown = || Problem::new(ProblemKind::TwinUnknown, format!("there is no twin `{twin}`"));
        self.enabler.outside().twin(twin).ok_or_else(unknown)
    }

    /// Asks that a twin's object be changed (9.2 steps 15 to 18), with a lease for this one change. Gives the values
    /// that its properties have then.
    ///
    /// # Errors
    /// The rejecting branch of step 17: no permission, an expired one, an unknown or unchangeable property;
    /// [`ProblemKind::LeaseHeld`] when somebody else has the object; and those of the twin system itself.
    pub async fn change_twin(
        &self,
        user: UserId,
        twin: TwinId,
        values: PropertyValues,
    ) -> Result<PropertyValues, Problem> {
        self.change_twin_with(user, twin, values, None).await
    }

    /// As [`Mii::change_twin`], with the token of the user's sync lease.
    ///
    /// # Errors
    /// As for [`Mii::change_twin`]; and those of a token that does not count: [`ProblemKind::LeaseLost`] and its like.
    pub async fn change_twin_with(
        &self,
        user: UserId,
        twin: TwinId,
        values: PropertyValues,
        token: Option<Token>,
    ) -> Result<PropertyValues, Problem> {
        self.change_twin_on(user, twin, values, token, ChangeTerms::default()).await
    }

    /// As [`Mii::change_twin_with`], if the twin is still of the version that `terms` name, and only within their time.
    ///
    /// # Errors
    /// As for [`Mii::change_twin_with`]; [`ProblemKind::VersionMismatch`]; [`ProblemKind::DeadlineOver`].
    pub async fn change_twin_on(
        &self,
        user: UserId,
        twin: TwinId,
        values: PropertyValues,
        token: Option<Token>,
        terms: ChangeTerms,
    ) -> Result<PropertyValues, Problem> {
        let question = ChangeTwin { metaverse: self.id.clone(), user, twin, values: Arc::new(values), token, terms };
        let limit = self.enabler.settled_within();
        Ok(*self.enabler.ask_within(self.actor().await?, question, limit).await?.values)
    }

    /// Has one twin, an avatar for instance, send another a message (FGMV-28 REQ-DT-06).
    ///
    /// # Errors
    /// Unknown twins, or no permission to speak for the one and to the other.
    pub async fn send_twin_message(
        &self,
        user: UserId,
        from: TwinId,
        to: TwinId,
        content: JsonDoc,
    ) -> Result<(), Problem> {
        let question = SendTwinMessage { metaverse: self.id.clone(), user, from, to, content };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }
}
