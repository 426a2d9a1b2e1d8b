//! Sync leases: requests of metaverse systems (FGMV-28 7.1.3), and what supervisor and gates say to each other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ChangeCompleted, Kept, steps};
pub use crate::lease::document::*;
use crate::{
    JsonDoc, ObjectUri, Problem, Step, StepId, SystemId, TwinId, UserId, WorldId,
    access::Right,
    lease::{Claimant, Fencing, HolderClass, Priority, RequestId, Synchronization, Token, Wanted},
    registry::Page,
    signal::Event,
    step_id,
};

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

/// 7.1.3 step 7, for several users who ask at once (step 6): they are decided together.
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

/// DTS began a new life, and knows no more of the leases that it had taken for single changes: they are given back.
#[derive(Clone, Copy, Debug)]
pub struct AbandonSyncLeases;

/// They are renewed.
#[derive(Clone, Copy, Debug)]
pub struct SyncLeasesKept {
    /// How many.
    pub leases: u32,
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

/// What is with the object.
#[derive(Clone, Debug)]
pub struct SyncLeaseShown {
    /// All of it.
    pub view: Box<LeaseView>,
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

/// 7.1.3 step 8: the supervisor has a gate accept nothing below a token, and the token from its holder only. For nobody
/// it is no step: the gate is closed.
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
    /// Open for the safe stop only: the holder is being revoked.
    pub restricted: bool,
}

/// 7.1.3 step 9: nothing sent under a lower token can act on the device any more. From a gate that is closed it is no
/// step.
#[derive(Clone, Copy, Debug)]
pub struct GateFenced {
    /// The token.
    pub token: Token,
    /// The life of the gate.
    pub incarnation: u32,
    /// How the gate knows.
    pub fencing: Fencing,
    /// A token that the device had seen before this life of the gate sent it, not below this one;
    /// [`Token::NONE`]: none such.
    pub seen_before: Token,
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

/// The supervisor tells a gate what its holder weighs now: whoever is refused hears it.
#[derive(Clone, Copy, Debug)]
pub struct WeighGate {
    /// The holder's token.
    pub token: Token,
    /// What the holder weighs.
    pub priority: Priority,
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
    /// The highest token that the device was sent before this one; absent: none, or it does not know.
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

/// What happened to the lease of an object, for all who selected one of its twins: told to its twins, or, by a supervisor
/// that does not know them yet, to its actor, and by that to its twins.
#[derive(Clone, Debug)]
pub struct ReflectLease {
    /// The twin; of an object's actor, any.
    pub twin: Option<TwinId>,
    /// What happened, without what only the holder's system may know.
    pub moment: Arc<LeaseMoment>,
}

/// What happened to the lease of a twin's object: the same event for all who selected the twin.
#[derive(Clone, Debug)]
pub struct TellLease {
    /// The event.
    pub event: Arc<Event>,
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

impl Step for SyncLeasesDecided {
    const STEP: Option<StepId> = Some(step_id!("7.1.3", "10"));
    const NAME: &'static str = "SyncLeasesDecided";
    /// A request that is refused is answered without steps 8 and 9, also with others beside it.
    fn is_refusal(&self) -> bool {
        self.answers.iter().all(Result::is_err)
    }
}

steps! {
    ask RequestSyncLease -> SyncLeaseGranted = "7.1.3" "7";
    answer SyncLeaseGranted = "7.1.3" "10";
    ask RequestSyncLeases -> SyncLeasesDecided = "7.1.3" "7";
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
    tell AbandonSyncLeases;
    tell RulesChanged;
    tell RoleChanged;
    control FenceGate = "7.1.3" "8";
    control GateFenced = "7.1.3" "9";
    control GateStarted;
    control RestrictGate;
    control WeighGate;
    ask ExtendGate -> GateExtended;
    answer GateExtended;
    ask FenceDevice -> DeviceFenced;
    answer DeviceFenced;
    tell NotifyLease;
    tell ReflectLease;
    tell TellLease;
    ask SetSynchronization -> Kept;
    ask StopTwin -> ChangeCompleted;
}
