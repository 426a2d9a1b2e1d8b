//! Sync leases: requests of metaverse systems (FGMV-28 7.1.3), and what supervisor and gates say to each other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ChangeCompleted, Kept, steps};
use crate::{
    JsonDoc, ObjectUri, Problem, StepId, SystemId, TwinId, UserId, WorldId,
    access::Right,
    lease::{Claimant, End, Fencing, Holder, HolderClass, Phase, Priority, RequestId, Synchronization, Token, Wanted},
    registry::Page,
    time::Timestamp,
};

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
    /// After losing the objects, wait for them again.
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

/// 7.1.3 step 7: a metaverse system asks for synchronization for one of its users.
#[derive(Clone, Debug)]
pub struct RequestSyncLease {
    /// The metaverse system.
    pub metaverse: SystemId,
    /// What the user wants.
    pub request: Arc<LeaseRequest>,
    /// It is for one change: it waits behind others of its kind only, and ends with it (9.2 step 15 without a token).
    pub one_shot: bool,
}

/// 7.1.3 step 10: the lease is granted: durable, and its gates are fenced.
#[derive(Clone, Debug)]
pub struct SyncLeaseGranted {
    /// The lease.
    pub lease: Box<SyncLease>,
}

/// 7.1.3 steps 6 and 7: several users ask at once, and are decided together.
#[derive(Clone, Debug)]
pub struct RequestSyncLeases {
    /// The metaverse system.
    pub metaverse: SystemId,
    /// What they want; each the same twins.
    pub requests: Arc<[Arc<LeaseRequest>]>,
}

/// 7.1.3 step 10: everyone's own answer, in the order of the requests; at most one is a lease.
#[derive(Clone, Debug)]
pub struct SyncLeasesDecided {
    /// The answers.
    pub answers: Vec<Result<SyncLease, Problem>>,
}

/// A token that a user shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownToken {
    /// The metaverse system that speaks for the user.
    pub metaverse: SystemId,
    /// The user.
    pub user: UserId,
    /// One of the twins of the lease.
    pub twin: TwinId,
    /// The token.
    pub token: Token,
}

/// A holder wants to keep its lease.
#[derive(Clone, Debug)]
pub struct RenewSyncLease {
    /// The token that it shows.
    pub shown: Box<ShownToken>,
    /// For how long from now on, in milliseconds.
    pub ttl_ms: u32,
}

/// A holder gives its objects back.
#[derive(Clone, Debug)]
pub struct ReleaseSyncLease {
    /// The token that it shows.
    pub shown: Box<ShownToken>,
}

/// A holder who was asked to yield answers.
#[derive(Clone, Debug)]
pub struct YieldSyncLease {
    /// The token that it shows.
    pub shown: Box<ShownToken>,
    /// Whether it yields.
    pub yields: bool,
}

/// A requester wants it no more.
#[derive(Clone, Debug)]
pub struct CancelSyncLease {
    /// The metaverse system.
    pub metaverse: SystemId,
    /// The requester's id of the request.
    pub request_id: RequestId,
}

/// It is done: released, cancelled, yielded, revoked. The gates have closed.
#[derive(Clone, Copy, Debug)]
pub struct SyncLeaseSettled;

/// A metaverse system is there: all its leases are renewed.
#[derive(Clone, Debug)]
pub struct KeepSyncLeases {
    /// The metaverse system.
    pub metaverse: SystemId,
}

/// They are renewed.
#[derive(Clone, Copy, Debug)]
pub struct SyncLeasesKept {
    /// How many.
    pub leases: u32,
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

/// A user wants an object for later.
#[derive(Clone, Debug)]
pub struct ReserveSync {
    /// The metaverse system.
    pub metaverse: SystemId,
    /// The twin whose object it is.
    pub twin: TwinId,
    /// What the user wants.
    pub booking: Arc<LeaseBooking>,
}

/// The object is reserved.
#[derive(Clone, Copy, Debug)]
pub struct SyncReserved {
    /// The reservation's number.
    pub id: u64,
}

/// A reservation is wanted no more.
#[derive(Clone, Debug)]
pub struct CancelSyncReservation {
    /// The metaverse system that made it; absent: an operator.
    pub metaverse: Option<SystemId>,
    /// The twin whose object it is.
    pub twin: TwinId,
    /// The reservation's number.
    pub id: u64,
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

/// An operator acts. It is written down with who did it and why.
#[derive(Clone, Debug)]
pub struct OperateSyncLease {
    /// The twin whose object it is.
    pub twin: TwinId,
    /// What to do.
    pub act: OperatorAct,
    /// Who, and why.
    pub by: Arc<str>,
}

/// Reads what is with the object of a twin.
#[derive(Clone, Debug)]
pub struct ReadSyncLease {
    /// The metaverse system that asks; absent: an operator, who sees everything.
    pub metaverse: Option<SystemId>,
    /// The twin.
    pub twin: TwinId,
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
    /// `weighed`, `reserved`, `unreserved`, `operator`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub what: Arc<str>,
    /// About whom, if it is about somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<LeaseParty>,
    /// The object's newest token then.
    pub token: Token,
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

/// What is with the object.
#[derive(Clone, Debug)]
pub struct SyncLeaseShown {
    /// All of it.
    pub view: Box<LeaseView>,
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

/// Lists objects that somebody has or waits for, or whose gate does not answer.
#[derive(Clone, Debug)]
pub struct ListSyncLeases {
    /// The metaverse system that asks; absent: an operator.
    pub metaverse: Option<SystemId>,
    /// Where the page before ended.
    pub cursor: Option<Box<str>>,
    /// At most this many.
    pub limit: Option<u32>,
}

/// They are these.
#[derive(Clone, Debug)]
pub struct SyncLeasesListed {
    /// A page of them, in the order of their objects' addresses.
    pub page: Page<LeaseListing>,
}

/// The supervisor asks DTAC whether a user may synchronize twins, and with which priority (FGMV-28 REQ-DT-08).
#[derive(Clone, Debug)]
pub struct VerifySync {
    /// The metaverse system that speaks for the user.
    pub metaverse: SystemId,
    /// The user.
    pub user: UserId,
    /// The virtual world.
    pub world: WorldId,
    /// What kind of requester it wants to be.
    pub class: HolderClass,
    /// The twins.
    pub twins: Arc<[TwinId]>,
    /// What the user wants to do: change them, or stop them.
    pub right: Right,
}

/// The user may.
#[derive(Clone, Debug)]
pub struct SyncVerified {
    /// The objects of the twins, in their order, with the user's priority and the terms.
    pub wanted: Vec<Wanted>,
    /// What the permission says the user is.
    pub role: Option<Arc<str>>,
}

/// DTAC tells the supervisor that a twin's rules of priority are these now.
#[derive(Clone, Debug)]
pub struct RulesChanged {
    /// The twin.
    pub twin: TwinId,
    /// What its characteristics say now.
    pub synchronization: Arc<Synchronization>,
}

/// DTAC tells the supervisor that a user's permission says something else of the user now.
#[derive(Clone, Debug)]
pub struct RoleChanged {
    /// The metaverse system that speaks for the user.
    pub metaverse: SystemId,
    /// The user.
    pub user: UserId,
    /// The twin.
    pub twin: TwinId,
    /// What the user is now.
    pub role: Option<Arc<str>>,
}

/// 7.1.3 step 8: the supervisor has a gate accept nothing below a token, and the token from its holder only.
#[derive(Clone, Debug)]
pub struct FenceGate {
    /// The token.
    pub token: Token,
    /// Who may use it; none: nobody.
    pub to: Option<Arc<Claimant>>,
    /// What the holder weighs.
    pub priority: Priority,
    /// How long the gate accepts it, in milliseconds from its opening.
    pub ttl_ms: u64,
    /// Bring the device to a safe stop first.
    pub stop: bool,
    /// The device was seen to be at rest: nothing has to be waited for.
    pub replaced: bool,
}

/// 7.1.3 step 9: nothing sent under a lower token can act on the device any more.
#[derive(Clone, Copy, Debug)]
pub struct GateFenced {
    /// The token.
    pub token: Token,
    /// The life of the gate.
    pub incarnation: u32,
    /// How the gate knows.
    pub fencing: Fencing,
    /// The highest token that the device says it has seen.
    pub seen: Token,
}

/// A gate began a new life, and is closed.
#[derive(Clone, Copy, Debug)]
pub struct GateStarted {
    /// Its life.
    pub incarnation: u32,
}

/// The supervisor has a gate accept the safe stop only, or everything again.
#[derive(Clone, Copy, Debug)]
pub struct RestrictGate {
    /// The holder's token.
    pub token: Token,
    /// Whether only the safe stop is accepted.
    pub restricted: bool,
}

/// The supervisor has a gate accept a token for longer.
#[derive(Clone, Copy, Debug)]
pub struct ExtendGate {
    /// The holder's token.
    pub token: Token,
    /// How long from now on, in milliseconds.
    pub ttl_ms: u64,
}

/// The gate does; or it has another token by now, which it says by a problem.
#[derive(Clone, Copy, Debug)]
pub struct GateExtended;

/// A digital twin system that checks tokens itself is asked to refuse older ones from now on, and to answer when
/// nothing that it was sent with an older one can act any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FenceDevice {
    /// The object.
    pub object: ObjectUri,
    /// One of its twins.
    pub twin: TwinId,
    /// The token. Lower ones are to be refused.
    pub token: Token,
}

/// It does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceFenced {
    /// The highest token that the device was ever sent.
    #[serde(default)]
    pub seen: Option<Token>,
}

/// What becomes of a requester without its asking: told by its session or webhook.
#[derive(Clone, Debug)]
pub struct NotifyLease {
    /// The type of the event.
    pub event: &'static str,
    /// The first twin that it is about.
    pub twin: TwinId,
    /// What it says.
    pub data: JsonDoc,
}

/// What happened to the lease of an object: by its actor and its twins to all who selected one of them.
#[derive(Clone, Debug)]
pub struct ReflectLease {
    /// The twin; of an object's actor, any.
    pub twin: Option<TwinId>,
    /// What happened, without what only the holder's system may know.
    pub moment: Arc<LeaseMoment>,
}

/// A digital twin system says anew how a twin is synchronized with its object (FGMV-28 REQ-DT-08).
#[derive(Clone, Debug)]
pub struct SetSynchronization {
    /// One of its twins.
    pub twin: TwinId,
    /// What its characteristics say from now on.
    pub synchronization: Arc<Synchronization>,
}

/// A user who may stop an object has it brought to a safe stop, whoever holds it.
#[derive(Clone, Debug)]
pub struct StopTwin {
    /// The metaverse system that speaks for the user.
    pub metaverse: SystemId,
    /// The user.
    pub user: UserId,
    /// The twin.
    pub twin: TwinId,
}

steps! {
    ask RequestSyncLease -> SyncLeaseGranted = "7.1.3" "7";
    answer SyncLeaseGranted = "7.1.3" "10";
    ask RequestSyncLeases -> SyncLeasesDecided = "7.1.3" "7";
    answer SyncLeasesDecided = "7.1.3" "10";
    ask RenewSyncLease -> SyncLeaseGranted;
    ask ReleaseSyncLease -> SyncLeaseSettled;
    ask YieldSyncLease -> SyncLeaseSettled;
    ask CancelSyncLease -> SyncLeaseSettled;
    answer SyncLeaseSettled;
    ask KeepSyncLeases -> SyncLeasesKept;
    answer SyncLeasesKept;
    ask ReserveSync -> SyncReserved;
    answer SyncReserved;
    ask CancelSyncReservation -> SyncLeaseSettled;
    ask OperateSyncLease -> SyncLeaseSettled;
    ask ReadSyncLease -> SyncLeaseShown;
    answer SyncLeaseShown;
    ask ListSyncLeases -> SyncLeasesListed;
    answer SyncLeasesListed;
    ask VerifySync -> SyncVerified;
    answer SyncVerified;
    tell RulesChanged;
    tell RoleChanged;
    control FenceGate = "7.1.3" "8";
    control GateFenced = "7.1.3" "9";
    control GateStarted;
    control RestrictGate;
    ask ExtendGate -> GateExtended;
    answer GateExtended;
    ask FenceDevice -> DeviceFenced;
    answer DeviceFenced;
    tell NotifyLease;
    tell ReflectLease;
    ask SetSynchronization -> Kept;
    ask StopTwin -> ChangeCompleted;
}
