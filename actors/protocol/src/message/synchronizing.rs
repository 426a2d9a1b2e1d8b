//! Steps of synchronization, in both directions (FGMV-29 8.3.4, 9.2 steps 14 to 18).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ChangeTerms, DigitalTwinSystemMsg, Errand, PropertyValues, TwinMsg, steps};
use crate::{PendingKey, Ref, StepId, SystemId, TwinId, UserId, lease::Token, time::Timestamp};

/// 9.2 step 14: the physical object has changed.
#[derive(Clone, Debug)]
pub struct PhysicalChange {
    /// The twin whose values these are; for an object with several twins, one message a twin.
    pub twin: TwinId,
    /// That twin's actor.
    pub entity: Ref<TwinMsg>,
    /// The new values.
    pub values: Arc<PropertyValues>,
    /// When the object changed, as its system says.
    pub at: Timestamp,
    /// Who is told when the twin shows the change.
    pub reporter: Option<Reporter>,
}

/// Who waits for a change to be shown by the twin that it was reported for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// The twin system's actor.
    pub entity: Ref<DigitalTwinSystemMsg>,
    /// Its key.
    pub report: PendingKey,
}

/// 9.2 step 14: the change is reflected: DTS to the twin, and the twin to the metaverse systems that selected it.
#[derive(Clone, Debug)]
pub struct ReflectChange {
    /// The twin.
    pub twin: TwinId,
    /// The new values.
    pub values: Arc<PropertyValues>,
    /// When the object changed.
    pub at: Timestamp,
    /// The twin's version that shows it; 0 on the way to the twin.
    pub version: u64,
    /// Who is told when the twin shows the change.
    pub reporter: Option<Reporter>,
}

/// 9.2 step 15: a metaverse system asks that an object be changed.
#[derive(Clone, Debug)]
pub struct ChangeTwin {
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// Which twin.
    pub twin: TwinId,
    /// The values that its properties shall have.
    pub values: Arc<PropertyValues>,
    /// The token of the user's lease; absent: a lease is taken for this change only.
    pub token: Option<Token>,
    /// On which terms it is asked for.
    pub terms: ChangeTerms,
}

/// 9.2 step 16: DTS asks whether the user may.
#[derive(Clone, Debug)]
pub struct VerifyChange {
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// Which twin.
    pub twin: TwinId,
    /// The values that its properties shall have.
    pub values: Arc<PropertyValues>,
}

/// 9.2 step 16: the user may.
#[derive(Clone, Copy, Debug)]
pub struct ChangeVerified {
    /// The twin's actor.
    pub entity: Ref<TwinMsg>,
    /// Whether the twin has an object, for which a lease is needed.
    pub has_object: bool,
}

/// 9.2 step 17: a valid request goes by the twin and its object to the twin system. An invalid one is answered
/// with a problem instead.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApplyChange {
    /// The twin.
    pub twin: TwinId,
    /// The metaverse system that asked.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// The values that its properties shall have.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, crate::JsonDoc>))]
    pub values: Arc<PropertyValues>,
    /// The token under which it is sent, for a device that checks; absent: the twin has no object, or it is a safe stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The device must not act on it after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// What else the twin has to know; absent: nothing.
    #[serde(skip)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub errand: Option<Box<Errand>>,
    /// It is the safe stop: no token is needed, and the gate fills the values in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop: bool,
    /// The actor of the twin system.
    #[serde(skip_serializing, default = "ApplyChange::nowhere")]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub system_entity: Ref<DigitalTwinSystemMsg>,
}

impl ApplyChange {
    /// The twin fills the address in: it knows the system that maintains it.
    #[must_use]
    pub fn nowhere() -> Ref<DigitalTwinSystemMsg> {
        Ref::new(crate::EntityId::from_bits(0))
    }
}

/// 9.2 step 18: the twin system has done it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeApplied {
    /// The values that the properties have now.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, crate::JsonDoc>))]
    pub values: Box<PropertyValues>,
    /// The highest token that the device was ever sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Token>,
}

/// 9.2 step 18x: DTS tells the metaverse system.
#[derive(Clone, Debug)]
pub struct ChangeCompleted {
    /// The values that the properties have now.
    pub values: Box<PropertyValues>,
}

steps! {
    tell PhysicalChange = "9.2" "14";
    tell ReflectChange = "9.2" "14";
    ask ChangeTwin -> ChangeCompleted = "9.2" "15" or "17";
    ask VerifyChange -> ChangeVerified = "9.2" "16";
    answer ChangeVerified = "9.2" "16";
    ask ApplyChange -> ChangeApplied = "9.2" "17";
    answer ChangeApplied = "9.2" "18";
    answer ChangeCompleted = "9.2" "18x";
}
