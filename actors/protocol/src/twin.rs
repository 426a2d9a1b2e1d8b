//! Twins: what a list says of them, and what readers see.

mod description;
mod freshness;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use description::{Affordances, DEPTH_MAX, DESCRIPTION_BYTES_MAX, PropertyAffordance};
pub use freshness::{Freshness, InformationSource, StaleReason, TwinInformationOf};
pub use wanted::{DesiredValue, DesiredValues, DropReason, Invocation, InvocationState, Invocations, Requester};

use crate::{
    JsonDoc, ObjectUri, Ref, SystemId, TwinId,
    access::{Characteristics, Right},
    message::{PhysicalObjectMsg, TwinMsg},
    time::Timestamp,
};

/// What a twin stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum TwinClass {
    /// A thing.
    #[default]
    Object,
    /// A user.
    Avatar,
}

/// One entry of a twin system's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TwinEntry {
    /// The twin's id, unique among all twins (FGMV-28 REQ-DT-01).
    pub id: TwinId,
    /// The object that it stands for; absent: none.
    #[serde(default)]
    pub physical_object: Option<ObjectUri>,
    /// What it stands for.
    #[serde(default)]
    pub class: TwinClass,
    /// A W3C WoT Thing Description 1.1, kept byte for byte.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub description: JsonDoc,
    /// What can be asked of the object at all.
    #[serde(default)]
    pub characteristics: Characteristics,
    /// What systems may do without a permission of a user: third-party systems reading the twin
    /// (FGMV-29 9.1 step 17). The id `*` stands for every third-party system.
    #[serde(default)]
    pub access: BTreeMap<SystemId, BTreeSet<Right>>,
}

/// A twin as DTSR keeps it: its entry, and the actors behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisteredTwin {
    /// What its system's list says.
    pub entry: Arc<TwinEntry>,
    /// Its actor.
    pub entity: Ref<TwinMsg>,
    /// The actor of its physical object.
    pub object: Option<Ref<PhysicalObjectMsg>>,
}

/// A property's value, as last reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PropertyValue {
    /// The value.
    pub value: JsonDoc,
    /// Counts the changes of the twin; the change that set this value had this number.
    pub version: u64,
    /// When it was set.
    pub at: Timestamp,
}

/// A twin as readers see it: published when what it shows is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TwinView {
    /// The twin.
    pub id: TwinId,
    /// The twin system that maintains it.
    pub system: SystemId,
    /// The object that it stands for.
    pub physical_object: Option<ObjectUri>,
    /// What it stands for.
    pub class: TwinClass,
    /// Counts its changes.
    pub version: u64,
    /// The values of its properties, as last reported.
    pub properties: BTreeMap<String, PropertyValue>,
    /// The values that properties shall have and do not have yet; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<BTreeMap<String, DesiredValue>>))]
    pub desired: Option<Box<DesiredValues>>,
    /// The actions that are carried out, and the last that were; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<BTreeMap<String, Invocation>>))]
    pub invocations: Option<Box<Invocations>>,
    /// Its Thing Description.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub description: JsonDoc,
}

impl TwinView {
    /// The view as a metaverse or third-party system may have it: users of other systems are not named.
    #[must_use]
    pub fn shown_to(self: &Arc<Self>, reader: &SystemId) -> Arc<Self> {
        let is_foreign = |by: &Option<Requester>| by.as_ref().is_some_and(|by| by.system != *reader);
        let desired = self.desired.iter().flat_map(|desired| desired.values()).map(|desired| &desired.by);
        let invoked = self.invocations.iter().flat_map(|invoked| invoked.values()).map(|invoked| &invoked.by);
        if !desired.chain(invoked).any(is_foreign) {
            return Arc::clone(self);
        }
        let mut view = Self::clone(self);
        let desired = view.desired.iter_mut().flat_map(|desired| desired.values_mut()).map(|desired| &mut desired.by);
        let invoked = view.invocations.iter_mut().flat_map(|invoked| invoked.values_mut()).map(|found| &mut found.by);
        for by in desired.chain(invoked) {
            by.take_if(|by| by.system != *reader);
        }
        Arc::new(view)
    }
}

/// A twin as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TwinListing {
    /// The twin.
    pub id: TwinId,
    /// The twin system that maintains it.
    pub system: SystemId,
    /// The title of its description.
    pub title: String,
    /// The object that it stands for.
    pub physical_object: Option<ObjectUri>,
    /// What it stands for.
    pub class: TwinClass,
    /// Whether the asking metaverse system has selected it.
    pub selected: bool,
    /// How often that system has it synchronized, in milliseconds; absent: not of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_ms: Option<u32>,
}
