//! Information of twins for third-party systems, at once and as subscriptions (FGMV-29 8.2.5; 9.1 steps 15 to 19).

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    Problem, SubscriptionId, TwinId,
    message::{
        AcquireTwinInformation, EndTwinSubscription, ListTwinSubscriptions, ReadTwinSubscription,
        RenewTwinSubscription, SubscribeTwinInformation, SubscriptionTerms, TwinRefusal, TwinSubscription,
    },
    registry::Page,
    twin::TwinView,
};

use super::Sii;

/// Information of some twins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// Those that could be read, in the order asked for.
    pub twins: Vec<Arc<TwinView>>,
    /// The others, and why not.
    pub refused: Vec<TwinRefusal>,
}

impl Sii {
    /// Asks for information of twins (9.1 steps 15 to 19), in the order of `twins`: of all of them or of none.
    ///
    /// # Errors
    /// An unknown twin, or one that this system may not read.
    pub async fn acquire(
        &self,
        twins: Vec<TwinId>,
        properties: Option<BTreeSet<String>>,
    ) -> Result<Vec<Arc<TwinView>>, Problem> {
        Ok(self.acquire_some(twins, properties, true).await?.twins)
    }

    /// As [`Sii::acquire`]; unless it is `strict`, twins that cannot be read are named, and the others come.
    ///
    /// # Errors
    /// When all were refused for one reason, that reason.
    pub async fn acquire_some(
        &self,
        twins: Vec<TwinId>,
        properties: Option<BTreeSet<String>>,
        strict: bool,
    ) -> Result<Acquired, Problem> {
        let (system, twins, properties) = (self.id.clone(), twins.into(), properties.map(Arc::new));
        let question = AcquireTwinInformation { system, twins, properties, strict };
        let answer = self.enabler.ask(self.actor().await?, question).await?;
        let twins = answer.twins.iter().map(|twin| twin.shown_to(&self.id)).collect();
        Ok(Acquired { twins, refused: answer.refused })
    }

    /// Subscribes to information of twins. It comes as events `twin.information` to this system's session, webhook or
    /// listeners, at least once, at first at once; before each delivery it is verified that the system may read the
    /// twins. A twin that it may not read any more is out of the subscription, and an event says so.
    ///
    /// # Errors
    /// Terms that are not acceptable, with their place; too many subscriptions; no twin that this system may read.
    /// Nothing was changed then.
    pub async fn subscribe_twins(
        &self,
        terms: SubscriptionTerms,
    ) -> Result<(TwinSubscription, Vec<TwinRefusal>), Problem> {
        let actor = self.actor().await?;
        let question = SubscribeTwinInformation { system: self.id.clone(), entity: actor, terms: Box::new(terms) };
        let shown = self.enabler.ask(actor, question).await?;
        Ok((*shown.subscription, shown.refused))
    }

    /// One of this system's subscriptions.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::SubscriptionUnknown`].
    pub async fn twin_subscription(&self, subscription: SubscriptionId) -> Result<TwinSubscription, Problem> {
        let question = ReadTwinSubscription { system: self.id.clone(), subscription };
        Ok(*self.enabler.look(self.actor().await?, question).await?.subscription)
    }

    /// This system's subscriptions, in the order of their ids.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn twin_subscriptions(
        &self,
        cursor: Option<String>,
        limit: Option<u32>,
    ) -> Result<Page<TwinSubscription>, Problem> {
        let cursor = cursor.map(String::into_boxed_str);
        let question = ListTwinSubscriptions { system: self.id.clone(), cursor, limit };
        Ok(*self.enabler.look(self.actor().await?, question).await?.page)
    }

    /// Has one of this system's subscriptions last longer: for `lifetime_ms` from now on, or a day. It never ends
    /// earlier than it would have.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::SubscriptionUnknown`], or a lifetime out of bounds. Nothing was changed then.
    pub async fn renew_twin_subscription(
        &self,
        subscription: SubscriptionId,
        lifetime_ms: Option<u64>,
    ) -> Result<TwinSubscription, Problem> {
        let question = RenewTwinSubscription { system: self.id.clone(), subscription, lifetime_ms };
        Ok(*self.enabler.ask(self.actor().await?, question).await?.subscription)
    }

    /// Ends one of this system's subscriptions. Deliveries that are under way can still come.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::SubscriptionUnknown`].
    pub async fn end_twin_subscription(&self, subscription: SubscriptionId) -> Result<(), Problem> {
        let question = EndTwinSubscription { system: self.id.clone(), subscription };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }
}
