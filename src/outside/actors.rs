//! What the way out asks of the actors.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use twinway_actors::runtime::Handle;
use twinway_protocol::{
    EntityId, Mailbox, Problem, ProblemKind, Ref, SystemId, TwinId,
    message::{
        AnswerRequest, DigitalTwinSystemMsg, MetaverseSystemMsg, OpenSystem, RequestUndelivered, SelectTwins,
        SessionChanged, ThirdPartySystemMsg, UserDeviceMsg, Wire,
    },
};

use super::SystemKind;

/// The actors of external systems, as the way out sees them: the runtime's [`Handle`], or a stand-in in tests.
pub trait Actors: fmt::Debug + Send + Sync + 'static {
    /// Makes an actor that has no name yet.
    ///
    /// # Errors
    /// Those of [`Handle::open`].
    fn make(&self, kind: SystemKind) -> Result<EntityId, Problem>;

    /// Names an actor, or changes how its system is reached; done when that is durable.
    fn name(&self, entity: EntityId, message: OpenSystem, within: Duration) -> BoxFuture<'_, Result<(), Problem>>;

    /// Hands an actor the answer to a request.
    fn answer(&self, entity: EntityId, message: AnswerRequest, within: Duration) -> BoxFuture<'_, Result<(), Problem>>;

    /// Tells an actor that a request did not arrive. It does not wait.
    ///
    /// # Errors
    /// [`ProblemKind::Overloaded`] when the actor's inbox is full: its own time limit ends the request then.
    fn undelivered(&self, entity: EntityId, message: RequestUndelivered) -> Result<(), Problem>;

    /// Tells an actor that its system's session opened or closed. It does not wait; an actor whose inbox is full learns
    /// by the answers, or by the silence.
    fn session(&self, _entity: EntityId, _open: bool) {}

    /// The twins that a metaverse system has selected, for who resumes and has to know what it may have missed; none: that
    /// cannot be said.
    fn selected(&self, _entity: EntityId, _system: SystemId, _within: Duration) -> BoxFuture<'_, Option<Vec<TwinId>>> {
        Box::pin(std::future::ready(None))
    }
}

impl Actors for Handle<Wire> {
    fn make(&self, kind: SystemKind) -> Result<EntityId, Problem> {
        self.open(kind.mailbox())
    }

    fn name(&self, entity: EntityId, message: OpenSystem, within: Duration) -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(async move {
            match kind(entity)? {
                SystemKind::Metaverse => self.ask(Ref::<MetaverseSystemMsg>::new(entity), message, within).await,
                SystemKind::DigitalTwin => self.ask(Ref::<DigitalTwinSystemMsg>::new(entity), message, within).await,
                SystemKind::ThirdParty => self.ask(Ref::<ThirdPartySystemMsg>::new(entity), message, within).await,
                SystemKind::UserDevice => self.ask(Ref::<UserDeviceMsg>::new(entity), message, within).await,
            }
            .map(|_| ())
        })
    }

    fn answer(&self, entity: EntityId, message: AnswerRequest, within: Duration) -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(async move {
            match kind(entity)? {
                SystemKind::DigitalTwin => self.ask(Ref::<DigitalTwinSystemMsg>::new(entity), message, within).await,
                SystemKind::ThirdParty => self.ask(Ref::<ThirdPartySystemMsg>::new(entity), message, within).await,
                SystemKind::Metaverse | SystemKind::UserDevice => return Err(asks_nothing(entity)),
            }
            .map(|_| ())
        })
    }

    fn undelivered(&self, entity: EntityId, message: RequestUndelivered) -> Result<(), Problem> {
        match kind(entity)? {
            SystemKind::DigitalTwin => self.tell(Ref::<DigitalTwinSystemMsg>::new(entity), message),
            SystemKind::ThirdParty => self.tell(Ref::<ThirdPartySystemMsg>::new(entity), message),
            SystemKind::Metaverse | SystemKind::UserDevice => Err(asks_nothing(entity)),
        }
    }

    fn session(&self, entity: EntityId, open: bool) {
        let told = match SystemKind::of(entity) {
            Some(SystemKind::DigitalTwin) => {
                self.tell(Ref::<DigitalTwinSystemMsg>::new(entity), SessionChanged { open })
            }
            Some(SystemKind::ThirdParty) => self.tell(Ref::<ThirdPartySystemMsg>::new(entity), SessionChanged { open }),
            _ => return,
        };
        if let Err(refused) = told {
            tracing::warn!(?entity, open, %refused, "a system's actor could not be told of its session");
        }
    }

    fn selected(&self, entity: EntityId, metaverse: SystemId, within: Duration) -> BoxFuture<'_, Option<Vec<TwinId>>> {
        Box::pin(async move {
            let actor = Ref::<MetaverseSystemMsg>::new(entity);
            let (twins, release) = ([].into(), [].into());
            // To select nothing and to let nothing go is to be told what is selected.
            let question = SelectTwins { metaverse, metaverse_entity: actor, twins, release, period_ms: None };
            Some(self.ask(actor, question, within).await.ok()?.selected)
        })
    }
}

impl SystemKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Metaverse, Self::DigitalTwin, Self::ThirdParty, Self::UserDevice];

    /// The number of the mailbox that the actors of these systems have.
    #[must_use]
    pub const fn mailbox(self) -> u8 {
        match self {
            Self::Metaverse => MetaverseSystemMsg::KIND,
            Self::DigitalTwin => DigitalTwinSystemMsg::KIND,
            Self::ThirdParty => ThirdPartySystemMsg::KIND,
            Self::UserDevice => UserDeviceMsg::KIND,
        }
    }

    /// The kind of system behind an actor; `None` for actors of other entities.
    #[must_use]
    pub fn of(entity: EntityId) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.mailbox() == entity.kind())
    }
}

fn kind(entity: EntityId) -> Result<SystemKind, Problem> {
    let other = || Problem::new(ProblemKind::Internal, format!("{entity:?} is not the actor of an external system"));
    SystemKind::of(entity).ok_or_else(other)
}

fn asks_nothing(entity: EntityId) -> Problem {
    Problem::new(ProblemKind::Internal, format!("the system behind {entity:?} is never asked anything"))
}
