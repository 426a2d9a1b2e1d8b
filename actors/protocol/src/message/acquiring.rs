//! Information of twins for third-party systems as a subscription (FGMV-29 8.2.5, 8.3.6; 9.1 steps 15 to 19, again and again).

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{ThirdPartySystemMsg, TwinRefusal, steps};
use crate::{Ref, StepId, SubscriptionId, SystemId, TwinId, registry::Page, time::Timestamp, twin::TwinView};

/// What a third-party system subscribes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscriptionTerms {
    /// The twins, at least one and at most `request_twins_max`.
    pub twins: Vec<TwinId>,
    /// Which properties; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<BTreeSet<String>>,
    /// Tell what the twins are each time that this many milliseconds have passed; absent: when something has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_ms: Option<u64>,
    /// On change: at least this many milliseconds between two deliveries; absent: 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_interval_ms: Option<u64>,
    /// How long the subscription lasts, in milliseconds; absent: a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_ms: Option<u64>,
    /// Refuse everything if one of the twins may not be read; otherwise those are left out and named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

/// A subscription of a third-party system, as DTDA keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TwinSubscription {
    /// Its id.
    pub id: SubscriptionId,
    /// The third-party system.
    pub system: SystemId,
    /// The twins that it may still read.
    pub twins: BTreeSet<TwinId>,
    /// Which properties; absent: all.
    pub properties: Option<BTreeSet<String>>,
    /// How often it is told what the twins are, in milliseconds; absent: when something has changed.
    pub period_ms: Option<u64>,
    /// The least time between two deliveries, in milliseconds.
    pub min_interval_ms: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A third-party system subscribes.
#[derive(Clone, Debug)]
pub struct SubscribeTwinInformation {
    /// Who asks.
    pub system: SystemId,
    /// Its actor.
    pub entity: Ref<ThirdPartySystemMsg>,
    /// To what.
    pub terms: Box<SubscriptionTerms>,
}

/// A third-party system reads one of its subscriptions.
#[derive(Clone, Debug)]
pub struct ReadTwinSubscription {
    /// Who asks.
    pub system: SystemId,
    /// Which.
    pub subscription: SubscriptionId,
}

/// A third-party system wants a subscription to last longer.
#[derive(Clone, Debug)]
pub struct RenewTwinSubscription {
    /// Who asks.
    pub system: SystemId,
    /// Which.
    pub subscription: SubscriptionId,
    /// How long from now on, in milliseconds; absent: a day. It never ends earlier than it would have.
    pub lifetime_ms: Option<u64>,
}

/// A third-party system wants no more deliveries of a subscription.
#[derive(Clone, Debug)]
pub struct EndTwinSubscription {
    /// Who asks.
    pub system: SystemId,
    /// Which.
    pub subscription: SubscriptionId,
}

/// A subscription as it is, or was at its end.
#[derive(Clone, Debug)]
pub struct TwinSubscriptionShown {
    /// The subscription.
    pub subscription: Box<TwinSubscription>,
    /// When it was made: the twins that it does not have, and why.
    pub refused: Vec<TwinRefusal>,
}

/// A third-party system lists its subscriptions.
#[derive(Clone, Debug)]
pub struct ListTwinSubscriptions {
    /// Who asks.
    pub system: SystemId,
    /// Where the page before ended.
    pub cursor: Option<Box<str>>,
    /// At most this many.
    pub limit: Option<u32>,
}

/// They are these.
#[derive(Clone, Debug)]
pub struct TwinSubscriptionsListed {
    /// A page of them.
    pub page: Box<Page<TwinSubscription>>,
}

/// Why a third-party system is told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum DeliveryReason {
    /// It has just subscribed.
    Subscribed,
    /// The daemon or DTDA began anew: what was told before may come again.
    Resumed,
    /// Twins have changed, or may not be read any more.
    Changed,
    /// A period is over.
    Period,
    /// The subscription has expired: nothing follows.
    Expired,
    /// The system may read none of the twins any more: nothing follows.
    NoTwins,
}

/// 9.1 step 19, of a subscription: DTDA tells the third-party system what the twins are.
#[derive(Clone, Debug)]
pub struct DeliverTwinInformation {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Why now.
    pub reason: DeliveryReason,
    /// The twins that there is something new of, or all that were asked for.
    pub twins: Vec<Arc<TwinView>>,
    /// The twins that could not be read. Those that may not be read any more are out of the subscription.
    pub refused: Vec<TwinRefusal>,
}

/// DTIA tells a twin that DTDA wants to hear of its next change: of one, until it is told so again.
#[derive(Clone, Copy, Debug)]
pub struct ObserveTwin;

/// A twin shows something else than when it was told to say so.
#[derive(Clone, Debug)]
pub struct TwinInformationChanged {
    /// The twin.
    pub twin: TwinId,
}

/// DTAC tells DTDA that what third-party systems may read has changed (FGMV-29 8.3.5).
#[derive(Clone, Debug)]
pub struct TwinAccessChanged {
    /// Twins whose access rules are not what they were.
    pub changed: Vec<TwinId>,
    /// Twins that no system lists any more.
    pub gone: Vec<TwinId>,
}

/// A third-party system is registered no more: its subscriptions end.
#[derive(Clone, Debug)]
pub struct EndTwinSubscriptions {
    /// The system.
    pub system: SystemId,
}

steps! {
    ask SubscribeTwinInformation -> TwinSubscriptionShown;
    ask ReadTwinSubscription -> TwinSubscriptionShown;
    ask RenewTwinSubscription -> TwinSubscriptionShown;
    ask EndTwinSubscription -> TwinSubscriptionShown;
    answer TwinSubscriptionShown;
    ask ListTwinSubscriptions -> TwinSubscriptionsListed;
    answer TwinSubscriptionsListed;
    tell DeliverTwinInformation;
    tell ObserveTwin;
    tell TwinInformationChanged;
    tell TwinAccessChanged;
    tell EndTwinSubscriptions;
}
