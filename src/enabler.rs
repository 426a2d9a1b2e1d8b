//! The integration enabler as a library: one handle, and a typed view of it for each kind of external system.

mod acquiring;
mod actions;
mod authorizations;
mod device;
mod dii;
mod executions;
mod history;
mod information;
mod leases;
mod mii;
mod registrations;
mod rights;
mod sii;
mod space;
mod start;

use std::{fmt, sync::Arc, time::Duration};

use actix_rt::ArbiterHandle;
use parking_lot::Mutex;
use twinway_actors::{
    port::journal::Journal,
    runtime::{Handle, System},
};
use twinway_protocol::{
    Answers, Ask, EntityId, Mailbox, PendingKey, Problem, ProblemKind, Ref, SystemId, UserId,
    message::{AnswerRequest, OpenSystem, OutsideAnswer, Wire},
    registry::Reach,
};

pub use acquiring::Acquired;
pub use authorizations::AuthorizationQuery;
pub use device::Device;
pub use dii::Dii;
pub use information::Wanted;
pub(crate) use information::{freshness, wall};
pub use mii::{Granted, Mii};
pub use rights::Characteristics;
pub use sii::Sii;
pub use space::Recorded;
pub use start::EnablerOptions;

use crate::{
    observations::Observations,
    outside::{Outside, SystemKind},
};

/// The running enabler. Clones are cheap and work from any thread and any async runtime.
#[derive(Clone, Debug)]
pub struct Enabler {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) handle: Handle<Wire>,
    pub(crate) outside: Arc<Outside>,
    journal: Arc<dyn Journal>,
    system: Mutex<Option<System<Wire>>>,
    /// How long a caller waits for an answer: longer than an external system may take.
    pub(crate) answer_within: Duration,
    /// How long a gate may take to be closed or fenced.
    pub(crate) fence_within: Duration,
    /// How long whoever is to lose an object may keep it at most.
    pub(crate) handover_within: Duration,
    /// Where the bytes of observations are (FGMV-28 7.3.1).
    pub(crate) observations: Observations,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("outside", &self.outside).finish_non_exhaustive()
    }
}

impl Enabler {
    /// The threads that run its actors.
    pub(crate) fn arbiters(&self) -> &[ArbiterHandle] {
        self.inner.handle.arbiters()
    }

    /// What metaverse system `id` can do (the MII of ITU-T Y.4240's naming).
    #[must_use]
    pub fn mii(&self, id: SystemId) -> Mii {
        Mii::new(self.clone(), id)
    }

    /// What digital twin system `id` can do.
    #[must_use]
    pub fn dii(&self, id: SystemId) -> Dii {
        Dii::new(self.clone(), id)
    }

    /// What third-party system `id` can do.
    #[must_use]
    pub fn sii(&self, id: SystemId) -> Sii {
        Sii::new(self.clone(), id)
    }

    /// What the device of `user` can do.
    #[must_use]
    pub fn device(&self, user: UserId) -> Device {
        Device::new(self.clone(), user)
    }

    /// What is published for readers, and the way out to external systems.
    #[must_use]
    pub fn outside(&self) -> &Arc<Outside> {
        &self.inner.outside
    }

    /// Asks for something that is written down.
    pub(crate) async fn ask<M, T>(&self, to: Ref<M>, question: T) -> Result<T::Answer, Problem>
    where
        M: Mailbox<Wire = Wire> + From<T>,
        T: Ask,
        T::Answer: Answers<Wire>,
    {
        self.ask_within(to, question, self.inner.answer_within).await
    }

    /// As [`Enabler::ask`], of what may take longer than any external system's answer.
    pub(crate) async fn ask_within<M, T>(&self, to: Ref<M>, question: T, limit: Duration) -> Result<T::Answer, Problem>
    where
        M: Mailbox<Wire = Wire> + From<T>,
        T: Ask,
        T::Answer: Answers<Wire>,
    {
        self.writable()?;
        self.inner.handle.ask(to, question, limit).await
    }

    /// Asks for something that leaves everything as it is.
    pub(crate) async fn look<M, T>(&self, to: Ref<M>, question: T) -> Result<T::Answer, Problem>
    where
        M: Mailbox<Wire = Wire> + From<T>,
        T: Ask,
        T::Answer: Answers<Wire>,
    {
        self.inner.handle.ask(to, question, self.inner.answer_within).await
    }

    /// The actor that speaks for an external system; it is made when the system comes for the first time.
    pub(crate) async fn actor<M>(&self, kind: SystemKind, id: &SystemId) -> Result<Ref<M>, Problem>
    where
        M: Mailbox<Wire = Wire> + From<OpenSystem>,
    {
        match self.inner.outside.entity(kind, id) {
            Some(entity) => Ok(Ref::new(entity)),
            None => self.open(kind, id, None).await.map(Ref::new),
        }
    }

    /// Makes the actor of an external system, or changes how it is reached.
    pub(crate) async fn open(
        &self,
        kind: SystemKind,
        id: &SystemId,
        reach: Option<Reach>,
    ) -> Result<EntityId, Problem> {
        self.inner.outside.open(&self.inner.handle, kind, id, reach, self.inner.answer_within).await
    }

    pub(crate) async fn answer<M>(&self, to: Ref<M>, request: PendingKey, answer: OutsideAnswer) -> Result<(), Problem>
    where
        M: Mailbox<Wire = Wire> + From<AnswerRequest>,
    {
        self.ask(to, AnswerRequest { request, answer: Box::new(answer) }).await?;
        self.inner.outside.answered(to.id(), request);
        Ok(())
    }
}

/// A system registers itself, nobody else.
fn same_id(own: &SystemId, named: &SystemId) -> Result<(), Problem> {
    if own == named {
        return Ok(());
    }
    let detail = format!("the description names `{named}`, but `{own}` registers");
    Err(Problem::new(ProblemKind::NotAllowed, detail).at("/id"))
}
