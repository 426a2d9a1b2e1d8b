//! What a digital twin system can do.

use std::sync::Arc;

use twinway_protocol::{
    PendingKey, Problem, Ref, SystemId, TwinId,
    lease::Synchronization,
    message::{
        DigitalTwinSystemMsg, OutsideAnswer, PropertyValues, RegisterTwinSystem, ReportPhysicalChange,
        SetSynchronization, TwinSystemRegistered,
    },
    registry::TwinSystemDescription,
    time::Timestamp,
};

use super::Enabler;
use crate::outside::{EventsFrom, Session, SystemKind, Watch, check_reach};

/// The enabler as one digital twin system sees it.
#[derive(Clone, Debug)]
pub struct Dii {
    pub(super) enabler: Enabler,
    pub(super) id: SystemId,
}

impl Dii {
    pub(super) fn new(enabler: Enabler, id: SystemId) -> Self {
        Self { enabler, id }
    }

    pub(super) async fn actor(&self) -> Result<Ref<DigitalTwinSystemMsg>, Problem> {
        self.enabler.actor(SystemKind::DigitalTwin, &self.id).await
    }

    /// Registers the system and its twins (FGMV-29 9.2 steps 1 to 3). The same again changes nothing but the
    /// end of a lifetime.
    ///
    /// # Errors
    /// An invalid description with its place, a twin or object that belongs to another system, or
    /// [`twinway_protocol::ProblemKind::AlreadyRegistered`] with what differs. Nothing was changed then.
    pub async fn register(&self, description: TwinSystemDescription) -> Result<TwinSystemRegistered, Problem> {
        super::same_id(&self.id, &description.id)?;
        check_reach(&description.reach).map_err(|problem| problem.at("/reach/webhook"))?;
        let question = RegisterTwinSystem { description: Box::new(description) };
        self.enabler.ask(self.actor().await?, question).await
    }

    /// Opens this system's session: what it is asked comes out of it. An earlier session ends.
    ///
    /// # Errors
    /// Those of every request, and when there are too many sessions.
    pub async fn session(&self) -> Result<Session, Problem> {
        self.actor().await?;
        self.enabler.outside().session(SystemKind::DigitalTwin, &self.id)
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
        self.enabler.outside().watch(SystemKind::DigitalTwin, &self.id, from, watch)
    }

    /// Answers a request (9.2 steps 10 and 18).
    ///
    /// # Errors
    /// The request is unknown or answered already, or the answer does not fit it: then it still waits.
    pub async fn answer(&self, request: PendingKey, answer: OutsideAnswer) -> Result<(), Problem> {
        self.enabler.answer(self.actor().await?, request, answer).await
    }

    /// Tells that the object of a twin has changed (9.2 step 14). Gives the twin's version that shows it.
    ///
    /// # Errors
    /// Not one of its twins, or a property that the twin does not have.
    pub async fn report(&self, twin: TwinId, values: PropertyValues, at: Option<Timestamp>) -> Result<u64, Problem> {
        let question = ReportPhysicalChange { twin, values: Arc::new(values), at };
        Ok(self.enabler.ask(self.actor().await?, question).await?.version)
    }

    /// Says anew how one of its twins is synchronized with its object, and by whom (FGMV-28 REQ-DT-08). It counts at
    /// once: who holds the object may be outranked by it.
    ///
    /// # Errors
    /// Not one of its twins, a twin without an object, or rules that are not acceptable.
    pub async fn set_synchronization(&self, twin: TwinId, synchronization: Synchronization) -> Result<(), Problem> {
        let question = SetSynchronization { twin, synchronization: Arc::new(synchronization) };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }
}
