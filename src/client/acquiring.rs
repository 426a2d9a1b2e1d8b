//! Information of twins for third-party systems, at once and as subscriptions (FGMV-29 8.2.5).

use std::collections::BTreeSet;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use twinway_protocol::{
    SubscriptionId, TwinId,
    message::{SubscriptionTerms, TwinSubscription},
    registry::Page,
    twin::TwinView,
};

use super::{Client, ClientError, RefusedTwin, registrations::RenewalBody};

#[derive(Serialize)]
struct AcquisitionBody<'b> {
    twins: &'b [TwinId],
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<&'b BTreeSet<String>>,
    strict: bool,
}

/// Information of some twins.
#[derive(Clone, Debug, Deserialize)]
pub struct AcquiredTwins {
    /// Those that could be read, in the order asked for.
    pub twins: Vec<TwinView>,
    /// The others, and why not.
    pub refused: Vec<RefusedTwin>,
}

/// What was subscribed to.
#[derive(Clone, Debug, Deserialize)]
pub struct SubscribedTwins {
    /// The subscription.
    pub subscription: TwinSubscription,
    /// The twins that it does not have, and why.
    pub refused: Vec<RefusedTwin>,
}

const SUBSCRIPTIONS: [&str; 4] = ["sii", "v1", "twin-information", "subscriptions"];

/// Information of twins. The errors are those of [`ClientError`].
impl Client {
    /// Asks for information of twins (9.1 steps 15 to 19), in the order of `twins`; of all properties if none are named.
    ///
    /// # Errors
    /// An unknown twin, or one that this system may not read.
    pub async fn acquire_twin_information(
        &self,
        twins: &[TwinId],
        properties: Option<&BTreeSet<String>>,
    ) -> Result<Vec<TwinView>, ClientError> {
        Ok(self.acquire(AcquisitionBody { twins, properties, strict: true }).await?.twins)
    }

    /// The same; twins that cannot be read are named, and the others come.
    ///
    /// # Errors
    /// When all were refused for one reason, that reason.
    pub async fn acquire_some_twin_information(
        &self,
        twins: &[TwinId],
        properties: Option<&BTreeSet<String>>,
    ) -> Result<AcquiredTwins, ClientError> {
        self.acquire(AcquisitionBody { twins, properties, strict: false }).await
    }

    async fn acquire(&self, body: AcquisitionBody<'_>) -> Result<AcquiredTwins, ClientError> {
        self.post(&["sii", "v1", "twin-information"]).body(&body).json().await
    }

    /// Subscribes to information of twins: it comes as events `twin.information`.
    ///
    /// # Errors
    /// Terms that are not acceptable, too many subscriptions, or no twin that this system may read.
    pub async fn subscribe_twin_information(&self, terms: &SubscriptionTerms) -> Result<SubscribedTwins, ClientError> {
        self.post(&SUBSCRIPTIONS).body(terms).json().await
    }

    /// This system's subscriptions, a page at a time.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn twin_subscriptions(
        &self,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<TwinSubscription>, ClientError> {
        let limit = limit.map(|limit| limit.to_string());
        self.get(&SUBSCRIPTIONS).query("cursor", cursor).query("limit", limit.as_deref()).json().await
    }

    /// One of this system's subscriptions.
    ///
    /// # Errors
    /// It has none of this id.
    pub async fn twin_subscription(&self, id: &SubscriptionId) -> Result<TwinSubscription, ClientError> {
        let [sii, v1, information, subscriptions] = SUBSCRIPTIONS;
        self.get(&[sii, v1, information, subscriptions, id.as_str()]).json().await
    }

    /// Has one of this system's subscriptions last longer: for `lifetime_ms` from now on, or a day. It never ends
    /// earlier than it would have.
    ///
    /// # Errors
    /// It has none of this id, or a lifetime out of bounds.
    pub async fn renew_twin_subscription(
        &self,
        id: &SubscriptionId,
        lifetime_ms: Option<u64>,
    ) -> Result<TwinSubscription, ClientError> {
        let [sii, v1, information, subscriptions] = SUBSCRIPTIONS;
        let path = [sii, v1, information, subscriptions, id.as_str(), "renew"];
        self.post(&path).body(&RenewalBody { lifetime_ms }).json().await
    }

    /// Ends one of this system's subscriptions.
    ///
    /// # Errors
    /// It has none of this id.
    pub async fn end_twin_subscription(&self, id: &SubscriptionId) -> Result<(), ClientError> {
        let [sii, v1, information, subscriptions] = SUBSCRIPTIONS;
        self.call(Method::DELETE, &[sii, v1, information, subscriptions, id.as_str()]).done().await
    }
}
