//! Rights and characteristics of twins, kept, changed and read (FGMV-29 8.3.5).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Kept, TwinPermissionShown, steps};
use crate::{
    JsonDoc, PermissionId, StepId, SystemId, TwinId, UserId,
    access::{Right, TwinPermission},
    lease::Synchronization,
    registry::Page,
    time::Timestamp,
};

/// Whose permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermissionsOf {
    /// All on a twin.
    Twin(TwinId),
    /// All of a user of a metaverse system.
    User(SystemId, UserId),
}

/// Asks which permissions there are, ended ones among them.
#[derive(Clone, Debug)]
pub struct ListTwinPermissions {
    /// Whose.
    pub of: Box<PermissionsOf>,
    /// Where the page before ended.
    pub cursor: Option<Box<str>>,
    /// At most this many.
    pub limit: Option<u32>,
}

/// They are these.
#[derive(Clone, Debug)]
pub struct TwinPermissionsListed {
    /// A page of them.
    pub page: Page<TwinPermission>,
}

/// What a twin system lets a user do, without having been asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PermissionGrant {
    /// The metaverse system through which the user acts.
    pub metaverse: SystemId,
    /// The user.
    pub user: UserId,
    /// What is permitted, in place of what was permitted before.
    pub rights: BTreeSet<Right>,
    /// When it ends; absent: when it is revoked.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// What the user is to this twin, for its rules of priority (FGMV-28 REQ-DT-08).
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub role: Option<Arc<str>>,
}

/// A twin system permits something.
#[derive(Clone, Debug)]
pub struct GrantTwinPermission {
    /// One of its twins.
    pub twin: TwinId,
    /// What.
    pub grant: Box<PermissionGrant>,
}

/// A twin system revokes a permission.
#[derive(Clone, Debug)]
pub struct RevokeTwinPermission {
    /// One of its twins.
    pub twin: TwinId,
    /// The permission.
    pub permission: PermissionId,
}

/// What a twin's object can be asked at all, and what third-party systems may do with the twin (FGMV-29 8.3.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TwinCharacteristics {
    /// The properties that may be changed; absent: all that the description does not call read-only.
    pub changeable: Option<BTreeSet<String>>,
    /// The actions that may be invoked; absent: all that the description has.
    pub invocable: Option<BTreeSet<String>>,
    /// What third-party systems may do without a permission of a user; `*` stands for every one.
    pub access: BTreeMap<SystemId, BTreeSet<Right>>,
    /// How often the twin's values are asked for while somebody has selected it, in milliseconds (FGMV-28 REQ-DT-07);
    /// absent: on request only, and as its system reports.
    pub period_ms: Option<u32>,
}

/// Reads a twin's characteristics.
#[derive(Clone, Debug)]
pub struct ReadCharacteristics {
    /// The twin.
    pub twin: TwinId,
}

/// They are these.
#[derive(Clone, Debug)]
pub struct CharacteristicsShown {
    /// What counts now.
    pub characteristics: Box<TwinCharacteristics>,
    /// Who is synchronized with the twin's object before whom, and on which terms; none: nothing was said of it.
    pub synchronization: Option<Arc<Synchronization>>,
    /// The data schemas of the description that judge nothing: where each stands, and why.
    pub unjudged: Vec<(String, String)>,
}

/// A twin system says anew what a twin can be asked, in place of what it registered.
#[derive(Clone, Debug)]
pub struct SetCharacteristics {
    /// One of its twins.
    pub twin: TwinId,
    /// All of it.
    pub characteristics: Box<TwinCharacteristics>,
}

/// DTAC has a twin tell the metaverse system of a user what became of the user's permission.
#[derive(Clone, Debug)]
pub struct PassPermission {
    /// The metaverse system; it is told if it selected the twin.
    pub metaverse: SystemId,
    /// The type of the event.
    pub event: &'static str,
    /// What it says.
    pub data: JsonDoc,
}

/// DTAC tells the supervisor that a user may no longer change a twin: a lease on its object is revoked, with grace.
#[derive(Clone, Debug)]
pub struct PermissionLost {
    /// The metaverse system that speaks for the user.
    pub metaverse: SystemId,
    /// The user.
    pub user: UserId,
    /// The twin.
    pub twin: TwinId,
}

steps! {
    ask ListTwinPermissions -> TwinPermissionsListed;
    answer TwinPermissionsListed;
    ask GrantTwinPermission -> TwinPermissionShown;
    ask RevokeTwinPermission -> Kept;
    ask ReadCharacteristics -> CharacteristicsShown;
    answer CharacteristicsShown;
    ask SetCharacteristics -> CharacteristicsShown;
    tell PassPermission;
    tell PermissionLost;
}
