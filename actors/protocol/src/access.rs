//! Who may do what: permissions on twins (FGMV-29 8.3.5) and authorizations at third-party systems (8.2.3).

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{JsonDoc, PermissionId, SystemId, TwinId, UserId, lease::Synchronization, time::Timestamp};

/// What a user may do with a twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Right {
    /// Read its properties and hear of their changes.
    Read,
    /// Change its properties, and with them the physical object.
    Change,
    /// Send it messages from another twin (FGMV-28 REQ-DT-06).
    Message,
    /// Have the physical object brought to a safe stop.
    Stop,
}

/// What an object can be asked to do at all (FGMV-29 8.3.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Characteristics {
    /// The properties that may be changed; absent: all that the description does not call read-only.
    #[serde(default)]
    pub changeable: Option<BTreeSet<String>>,
    /// How the twin is synchronized with its object, and by whom (FGMV-28 REQ-DT-08).
    #[serde(default, with = "apart")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Synchronization>))]
    pub synchronization: Option<Arc<Synchronization>>,
}

/// A permission of one user of one metaverse system on one twin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TwinPermission {
    /// Its id.
    pub id: PermissionId,
    /// The metaverse system through which the user acts.
    pub metaverse: SystemId,
    /// The user.
    pub user: UserId,
    /// The twin.
    pub twin: TwinId,
    /// What is permitted.
    pub rights: BTreeSet<Right>,
    /// When it ends; absent: when it is revoked.
    pub expires_at: Option<Timestamp>,
}

/// What a third-party system said of a user who asked to use it (FGMV-29 9.1 step 8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum AuthorizationDecision {
    /// The user may.
    Granted(AuthorizationGrant),
    /// The user may not, and why.
    Denied(String),
    /// A person has to log in first, at this address.
    Pending(String),
    /// The metaverse system has taken it back. A third-party system that takes one back denies it.
    Revoked,
}

/// What a granted authorization covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizationGrant {
    /// What the third-party system knows the user by.
    pub user_information: JsonDoc,
    /// The operations that the user may call; `*` stands for all.
    pub scope: BTreeSet<String>,
    /// When it ends; absent: when it is revoked.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// A user's authorization at a third-party system, as TPSAA keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UserAuthorization {
    /// Its id.
    pub id: PermissionId,
    /// The metaverse system through which the user acts.
    pub metaverse: SystemId,
    /// The user.
    pub user: UserId,
    /// The third-party system.
    pub system: SystemId,
    /// What it said.
    pub decision: AuthorizationDecision,
}

/// What documents carry and records do not: in a record it has no bytes, so that records from before it read as
/// ever, and whoever keeps it writes it down apart.
pub(crate) mod apart {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { value.serialize(serializer) } else { serializer.serialize_unit() }
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        if deserializer.is_human_readable() {
            return Option::deserialize(deserializer);
        }
        <()>::deserialize(deserializer).map(|()| None)
    }
}
