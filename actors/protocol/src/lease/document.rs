//! What requesters write of leases, and what readers are shown: the documents of the interfaces.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{End, Fencing, Holder, HolderClass, Phase, Priority, RequestId, Token};
use crate::{ObjectUri, SystemId, TwinId, UserId, WorldId, time::Timestamp};

/// What a user of a metaverse system wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseRequest {
    /// The user.
    pub user: UserId,
    /// The virtual world in which the user acts; absent: the metaverse system's own name.
    #[serde(default)]
    pub world: Option<WorldId>,
    /// What kind of requester it is.
    #[serde(default)]
    pub class: HolderClass,
    /// The twins whose objects are wanted: all of them or nothing. Where a path names the twin they may be left out.
    #[serde(default)]
    pub twins: Vec<TwinId>,
    /// The requester's id of this request, a UUID: repeating it changes nothing.
    #[serde(default)]
    pub request_id: Option<RequestId>,
    /// At most this priority; it can only lower what the rules give.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// How long the lease lasts without a renewal, in milliseconds.
    pub ttl_ms: u32,
    /// How long to wait if it cannot be had at once, in milliseconds; 0: not at all.
    #[serde(default)]
    pub wait_ms: u32,
    /// Ask the holder to yield, where nothing can be forced.
    #[serde(default)]
    pub ask: bool,
    /// After losing the objects to a higher priority, or to a gate that is silent, wait for them again.
    #[serde(default)]
    pub requeue: bool,
}

/// A lease, as its holder sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SyncLease {
    /// The twins whose objects it covers.
    pub twins: Vec<TwinId>,
    /// Who holds it.
    pub holder: Holder,
    /// Its token: every change of a twin shows it.
    pub token: Token,
    /// What it weighs.
    pub priority: Priority,
    /// How long it lasts without a renewal, in milliseconds from now.
    pub expires_in_ms: u64,
    /// How its objects are fenced; of several the weakest.
    pub fencing: Fencing,
    /// If it is being revoked: in how many milliseconds it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_in_ms: Option<u64>,
}

/// What a user wants for later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseBooking {
    /// The user.
    pub user: UserId,
    /// The virtual world in which the user acts; absent: the metaverse system's own name.
    #[serde(default)]
    pub world: Option<WorldId>,
    /// From when the object is kept.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How long the lease lasts without a renewal, in milliseconds.
    pub ttl_ms: u32,
    /// At most this priority; it can only lower what the rules give.
    #[serde(default)]
    pub priority: Option<Priority>,
}

/// What an operator can do about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum OperatorAct {
    /// Revoke its lease, with the grace of its terms.
    Revoke,
    /// End its lease at once.
    Clear,
    /// Say that its device was seen to be at rest: quarantine ends without the device's answer.
    ReplaceGate,
}

/// Who holds or wants an object, as far as the reader may know: users of its own system by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LeaseParty {
    /// The user; absent: of another system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The virtual world; absent: of another system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world: Option<WorldId>,
    /// The metaverse system; absent: another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemId>,
    /// What kind of requester it is.
    pub class: HolderClass,
    /// What it weighs.
    pub priority: Priority,
}

/// One who waits for an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct WaitingView {
    /// Who.
    pub party: LeaseParty,
    /// How many objects it wants at once.
    pub objects: u32,
    /// How long it still waits, in milliseconds.
    pub waits_ms: u64,
}

/// A reservation, as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReservationView {
    /// Its number.
    pub id: u64,
    /// Who.
    pub party: LeaseParty,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// Something that happened to the lease of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LeaseMoment {
    /// When.
    pub at: Timestamp,
    /// What: `granted`, `revoking`, `withdrawn`, `ended`, `refenced`, `quarantined`, `unquarantined`, `queued`, `left`,
    /// `weighed`, `moved-up`, `reserved`, `unreserved`, `operator-revoke`, `operator-clear`, `operator-replace-gate`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub what: Arc<str>,
    /// About whom, if it is about somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<LeaseParty>,
    /// The object's newest token then; absent: there was none yet, or it is another system's to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Why it ended, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// What an operator said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub note: Option<Arc<str>>,
}

/// What is with an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LeaseView {
    /// The object.
    pub object: ObjectUri,
    /// The twins that stand for it.
    pub twins: Vec<TwinId>,
    /// What it is going through.
    pub phase: Phase,
    /// Who has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<LeaseParty>,
    /// The token; absent: of another system's lease, or nobody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// How long the lease lasts without a renewal, in milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// If it is being revoked: in how many milliseconds it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_in_ms: Option<u64>,
    /// How it is fenced, if somebody has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fencing: Option<Fencing>,
    /// How many wait.
    pub waiting: u32,
    /// Those who wait, first the next; the first hundred.
    pub queue: Vec<WaitingView>,
    /// The reservations.
    pub reservations: Vec<ReservationView>,
    /// What happened lately, the newest last.
    pub history: Vec<LeaseMoment>,
    /// In words: who holds, why, who is next, and what may be done now.
    pub explanation: String,
}

/// One object of a list of leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LeaseListing {
    /// The object.
    pub object: ObjectUri,
    /// One of its twins.
    pub twin: TwinId,
    /// What it is going through.
    pub phase: Phase,
    /// Who has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<LeaseParty>,
    /// How long the lease lasts without a renewal, in milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// How many wait.
    pub waiting: u32,
}
