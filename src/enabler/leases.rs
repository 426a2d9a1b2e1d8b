//! Sync leases: what metaverse systems ask for (FGMV-28 7.1.3), and what operators do about them.

use std::{sync::Arc, time::Duration};

use twinway_protocol::{
    Problem, TwinId, UserId,
    lease::{RequestId, Token},
    message::{
        CancelSyncLease, CancelSyncReservation, KeepSyncLeases, LeaseBooking, LeaseListing, LeaseRequest, LeaseView,
        ListSyncLeases, OperateSyncLease, OperatorAct, PropertyValues, ReadSyncLease, ReleaseSyncLease, RenewSyncLease,
        RequestSyncLease, RequestSyncLeases, ReserveSync, SYNC_SUPERVISOR, ShownToken, StopTwin, SyncLease,
        YieldSyncLease,
    },
    registry::Page,
};

use super::{Enabler, Mii};

impl Enabler {
    /// How long the answer to something takes for which a gate is closed or fenced: a change without a token is one, since
    /// it takes a lease for itself.
    pub(super) fn settled_within(&self) -> Duration {
        self.inner.answer_within + self.inner.fence_within
    }

    /// How long the answer to a request takes that waits for so long. Everyone is answered by the supervisor; this only
    /// ends the waiting for an answer that is lost.
    fn granted_within(&self, wait_ms: u32) -> Duration {
        Duration::from_millis(wait_ms.into()) + self.inner.handover_within + self.settled_within()
    }

    /// What is with the object of a twin, as an operator sees it: everything.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::TwinUnknown`], [`twinway_protocol::ProblemKind::ObjectNone`].
    pub async fn lease(&self, twin: TwinId) -> Result<LeaseView, Problem> {
        Ok(*self.look(SYNC_SUPERVISOR, ReadSyncLease { metaverse: None, twin }).await?.view)
    }

    /// The objects that somebody has or waits for, or whose gate does not answer, as an operator sees them.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::InvalidQuery`].
    pub async fn leases(&self, cursor: Option<String>, limit: Option<u32>) -> Result<Page<LeaseListing>, Problem> {
        let question = ListSyncLeases { metaverse: None, cursor: cursor.map(String::into_boxed_str), limit };
        Ok(self.look(SYNC_SUPERVISOR, question).await?.page)
    }

    /// Revokes or clears the lease on the object of a twin, or ends its quarantine. It is written down with `by`: who,
    /// and why.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::TwinUnknown`], [`twinway_protocol::ProblemKind::ObjectNone`]; and
    /// [`twinway_protocol::ProblemKind::LeaseRequestUnknown`] when there is nothing to do it to.
    pub async fn operate_lease(&self, twin: TwinId, act: OperatorAct, by: &str) -> Result<(), Problem> {
        let question = OperateSyncLease { twin, act, by: by.into() };
        self.ask_within(SYNC_SUPERVISOR, question, self.settled_within()).await.map(|_| ())
    }
}

/// Sync leases: who is synchronized with a physical object (FGMV-28 7.1.3, REQ-DT-08).
impl Mii {
    fn shown(&self, user: UserId, twin: TwinId, token: Token) -> Box<ShownToken> {
        Box::new(ShownToken { metaverse: self.id.clone(), user, twin, token })
    }

    /// Asks for synchronization with the objects of twins, all of them or nothing (7.1.3 steps 7 to 10). The answer
    /// comes when it is granted, durable, and the objects are fenced; or when it cannot be had, within the request's
    /// `wait_ms` and what a handover takes. Dropping the future cancels nothing: [`Mii::cancel_lease_request`] does.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::LeaseHeld`] with who has it, and every other kind that begins with `lease-`,
    /// `object-` or `reservation-`; no permission; unknown twins. Nothing was changed then.
    pub async fn request_lease(&self, request: LeaseRequest) -> Result<SyncLease, Problem> {
        let within = self.enabler.granted_within(request.wait_ms);
        let question = RequestSyncLease { metaverse: self.id.clone(), request: Arc::new(request), one_shot: false };
        Ok(*self.enabler.ask_within(self.actor().await?, question, within).await?.lease)
    }

    /// Asks for several users at once, who all want the same twins (7.1.3 steps 6 to 11): they are decided together.
    /// Gives everyone's own answer, in their order; at most one is a lease.
    ///
    /// # Errors
    /// When they cannot be decided at all: not all for the same twins, or too many.
    pub async fn request_leases(
        &self,
        requests: Vec<LeaseRequest>,
    ) -> Result<Vec<Result<SyncLease, Problem>>, Problem> {
        let longest = requests.iter().map(|request| request.wait_ms).max().unwrap_or(0);
        let within = self.enabler.granted_within(longest);
        let requests = requests.into_iter().map(Arc::new).collect();
        let question = RequestSyncLeases { metaverse: self.id.clone(), requests };
        Ok(self.enabler.ask_within(self.actor().await?, question, within).await?.answers)
    }

    /// Keeps a lease for `ttl_ms` from now on; it is never shortened.
    ///
    /// # Errors
    /// A token that does not count (any more), or too long a time.
    pub async fn renew_lease(
        &self,
        user: UserId,
        twin: TwinId,
        token: Token,
        ttl_ms: u32,
    ) -> Result<SyncLease, Problem> {
        let question = RenewSyncLease { shown: self.shown(user, twin, token), ttl_ms };
        Ok(*self.enabler.ask(self.actor().await?, question).await?.lease)
    }

    /// Gives the objects of a lease back. Their gates have closed when this answers.
    ///
    /// # Errors
    /// A token that does not count (any more).
    pub async fn release_lease(&self, user: UserId, twin: TwinId, token: Token) -> Result<(), Problem> {
        let (question, within) =
            (ReleaseSyncLease { shown: self.shown(user, twin, token) }, self.enabler.settled_within());
        self.enabler.ask_within(self.actor().await?, question, within).await.map(|_| ())
    }

    /// Answers all who asked for an object of the lease: gives it up, as [`Mii::release_lease`] does, or declines.
    ///
    /// # Errors
    /// A token that does not count (any more); [`twinway_protocol::ProblemKind::LeaseRequestUnknown`] when it is declined and
    /// nobody who waits has asked.
    pub async fn yield_lease(&self, user: UserId, twin: TwinId, token: Token, yields: bool) -> Result<(), Problem> {
        let (question, within) =
            (YieldSyncLease { shown: self.shown(user, twin, token), yields }, self.enabler.settled_within());
        self.enabler.ask_within(self.actor().await?, question, within).await.map(|_| ())
    }

    /// Wants what waits under this id no more.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::LeaseRequestUnknown`] when no such request waits.
    pub async fn cancel_lease_request(&self, request_id: RequestId) -> Result<(), Problem> {
        let question = CancelSyncLease { metaverse: self.id.clone(), request_id };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }

    /// Renews every lease of this system, each for as long as it was asked for. Gives how many there are.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn keep_leases(&self) -> Result<u32, Problem> {
        let question = KeepSyncLeases { metaverse: self.id.clone() };
        Ok(self.enabler.ask(self.actor().await?, question).await?.leases)
    }

    /// Has the object of a twin kept for later. Gives the reservation's number.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::ReservationWindow`], [`twinway_protocol::ProblemKind::ReservationTaken`], and
    /// those of [`Mii::request_lease`] about users and twins.
    pub async fn reserve(&self, twin: TwinId, booking: LeaseBooking) -> Result<u64, Problem> {
        let question = ReserveSync { metaverse: self.id.clone(), twin, booking: Arc::new(booking) };
        Ok(self.enabler.ask(self.actor().await?, question).await?.id)
    }

    /// Wants a reservation no more.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::LeaseRequestUnknown`] when this system has no such reservation.
    pub async fn cancel_reservation(&self, twin: TwinId, id: u64) -> Result<(), Problem> {
        let question = CancelSyncReservation { metaverse: Some(self.id.clone()), twin, id };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }

    /// What is with the object of a twin, as far as this system may know.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::TwinUnknown`], [`twinway_protocol::ProblemKind::ObjectNone`].
    pub async fn lease(&self, twin: TwinId) -> Result<LeaseView, Problem> {
        let question = ReadSyncLease { metaverse: Some(self.id.clone()), twin };
        Ok(*self.enabler.look(self.actor().await?, question).await?.view)
    }

    /// The objects that somebody has or waits for, or whose gate does not answer, as far as this system may know.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::InvalidQuery`].
    pub async fn leases(&self, cursor: Option<String>, limit: Option<u32>) -> Result<Page<LeaseListing>, Problem> {
        let cursor = cursor.map(String::into_boxed_str);
        let question = ListSyncLeases { metaverse: Some(self.id.clone()), cursor, limit };
        Ok(self.enabler.look(self.actor().await?, question).await?.page)
    }

    /// Has the object of a twin brought to a safe stop, whoever holds it. It is possible while nothing can be written
    /// down: a device must not run on because a disk is full.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::SafeStopNone`], no permission to stop it, and those of the twin system.
    pub async fn stop_twin(&self, user: UserId, twin: TwinId) -> Result<PropertyValues, Problem> {
        let question = StopTwin { metaverse: self.id.clone(), user, twin };
        Ok(*self.enabler.look(self.actor().await?, question).await?.values)
    }
}
