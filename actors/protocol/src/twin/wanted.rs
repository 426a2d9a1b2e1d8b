//! What is wanted of a twin's object and has not come about yet (FGMV-29 9.2 steps 15 to 18).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{InvocationId, JsonDoc, SystemId, UserId, time::Timestamp};

/// Who wants something of a twin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Requester {
    /// The metaverse system that speaks for the user.
    pub system: SystemId,
    /// The user.
    pub user: UserId,
}

/// A value that a property shall have: it is on its way to the device, which has neither applied nor refused it.
///
/// It dies with the sync lease that it was sent under, and at `until`: it is never carried out later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DesiredValue {
    /// The value.
    pub value: JsonDoc,
    /// The twin's version when it was sent.
    pub version: u64,
    /// When it was sent.
    pub at: Timestamp,
    /// The device must not act on it after this moment.
    pub until: Timestamp,
    /// Who wants it; absent: a user of another system than the reader's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Requester>,
}

/// What is wanted of a twin, by property.
pub type DesiredValues = BTreeMap<String, DesiredValue>;

/// Why a desired value, or an action, was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum DropReason {
    /// The sync lease that it was sent under has ended: released, expired, or taken by a higher priority.
    LeaseEnded,
    /// Its deadline is over.
    Deadline,
}

/// How far an invocation of an action has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum InvocationState {
    /// It was sent to the device, which has not said anything yet.
    Pending,
    /// The device carries it out.
    Running,
    /// It is done.
    Completed,
    /// It could not be done, or nobody knows whether it was.
    Failed,
    /// It was cancelled before it was done.
    Cancelled,
    /// It was given up: its lease has ended, or its deadline is over.
    Dropped,
}

impl InvocationState {
    /// Whether nothing more comes of it.
    #[must_use]
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// An invocation of an action of a twin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Invocation {
    /// Its id.
    pub id: InvocationId,
    /// The action's name.
    pub action: String,
    /// How far it has come.
    pub state: InvocationState,
    /// How much of it is done, in percent, if its twin system says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u8>,
    /// What its twin system says of it, in words, or why it ended like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<JsonDoc>,
    /// When it was sent.
    pub at: Timestamp,
    /// The device must have ended it by this moment.
    pub until: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Who invoked it; absent: a user of another system than the reader's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Requester>,
}

/// The invocations of a twin's actions that it shows.
pub type Invocations = BTreeMap<InvocationId, Invocation>;
