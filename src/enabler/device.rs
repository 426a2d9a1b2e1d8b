//! What a user's device can do.

use twinway_protocol::{
    Problem, Ref, SystemId, UserId,
    message::{AttachUserDevice, MetaverseSystemMsg, UserDeviceMsg},
};

use super::Enabler;
use crate::outside::{EventsFrom, Session, SystemKind, Watch};

/// The enabler as one user's device sees it.
#[derive(Clone, Debug)]
pub struct Device {
    pub(super) enabler: Enabler,
    pub(super) user: UserId,
}

impl Device {
    pub(super) fn new(enabler: Enabler, user: UserId) -> Self {
        Self { enabler, user }
    }

    /// A device goes by its user's name.
    fn id(&self) -> Result<SystemId, Problem> {
        let refused = |error: twinway_protocol::NameError| {
            Problem::new(twinway_protocol::ProblemKind::InvalidQuery, error.to_string())
        };
        SystemId::new(self.user.as_str()).map_err(refused)
    }

    pub(super) async fn actor(&self) -> Result<Ref<UserDeviceMsg>, Problem> {
        self.enabler.actor(SystemKind::UserDevice, &self.id()?).await
    }

    /// Has the device hear what concerns its user at a metaverse system, such as where to log in (FGMV-29 9.1
    /// step 10, pending).
    ///
    /// # Errors
    /// Those of every request: overloaded, read-only, shutting down. Nothing was changed then.
    pub async fn attach(&self, metaverse: &SystemId) -> Result<(), Problem> {
        let device = self.actor().await?;
        let metaverse: Ref<MetaverseSystemMsg> = self.enabler.actor(SystemKind::Metaverse, metaverse).await?;
        let question = AttachUserDevice { metaverse, device, user: self.user.clone() };
        self.enabler.ask(device, question).await.map(|_| ())
    }

    /// Hears the device's events, from after the event `from` says; any number of listeners can.
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
        self.enabler.outside().watch(SystemKind::UserDevice, &self.id()?, from, watch)
    }
}
