//! What external systems and their actors say to each other beside the steps: opening, reports, answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    ActionEnded, ActionStopping, ApplyChange, CarryOutAction, ChangeApplied, DeviceFenced, ExecuteService, FenceDevice,
    ForwardTwinPropertiesRequest, ForwardUserAuthorization, Kept, MetaverseSystemMsg, PropertyValues,
    ReadTwinProperties, ServiceExecuted, StopAction, TwinPropertiesAndPermission, TwinPropertiesRead,
    UserAndPermissionInformation, UserDeviceMsg, steps,
};
use crate::{PendingKey, Problem, Ref, StepId, SystemId, TwinId, UserId, registry::Reach, time::Timestamp};

/// Gives the actor of an external system its name; the first message that it gets.
#[derive(Clone, Debug)]
pub struct OpenSystem {
    /// The system; of a user's device, the user.
    pub id: SystemId,
    /// How it is reached; absent: as before.
    pub reach: Option<Box<Reach>>,
}

/// A digital twin system tells that a twin's object has changed (before 9.2 step 14).
#[derive(Clone, Debug)]
pub struct ReportPhysicalChange {
    /// One of its twins.
    pub twin: TwinId,
    /// The new values.
    pub values: Arc<PropertyValues>,
    /// When the object changed; absent: now.
    pub at: Option<Timestamp>,
}

/// The twin shows the change, as durably as the loss window says.
#[derive(Clone, Copy, Debug)]
pub struct PhysicalChangeReported {
    /// The twin's version that shows it.
    pub version: u64,
}

/// A twin tells the reporting system that it shows the change.
#[derive(Clone, Copy, Debug)]
pub struct ChangeReflected {
    /// The report.
    pub report: PendingKey,
    /// The twin's version that shows it.
    pub version: u64,
}

/// A twin system's actor tells the object's actor what the object did: it goes to every twin of the object.
#[derive(Clone, Debug)]
pub struct ObserveChange {
    /// The twin for which it was reported.
    pub twin: TwinId,
    /// The new values.
    pub values: Arc<PropertyValues>,
    /// When.
    pub at: Timestamp,
    /// Who waits for it to be shown.
    pub reporter: super::Reporter,
}

/// What an external system is asked by the enabler, over its session or its webhook.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", tag = "type", content = "data")]
pub enum OutsideRequest {
    /// 9.1 step 7.
    AuthorizeUser(ForwardUserAuthorization),
    /// 9.1 step 14.
    ExecuteService(ExecuteService),
    /// 9.2 step 9.
    DescribeTwins(ForwardTwinPropertiesRequest),
    /// 9.2 step 17.
    ApplyChange(ApplyChange),
    /// 7.1.3 step 8, for devices that check tokens.
    FenceDevice(FenceDevice),
    /// An action, as 9.2 step 17; it is answered when the action has ended.
    InvokeAction(CarryOutAction),
    /// An action is wanted no more, or its lease has ended.
    CancelAction(StopAction),
    /// FGMV-28 REQ-DT-07: what the properties of a twin are now, on request or periodically.
    ReadProperties(ReadTwinProperties),
}

/// What an external system answers. The variant must be that of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum OutsideAnswer {
    /// 9.1 step 8.
    AuthorizeUser(UserAndPermissionInformation),
    /// 9.1 step 14x.
    ExecuteService(ServiceExecuted),
    /// 9.2 step 10.
    DescribeTwins(TwinPropertiesAndPermission),
    /// 9.2 step 18.
    ApplyChange(ChangeApplied),
    /// It could not be done, and why.
    Failed(String),
    /// 7.1.3 step 9.
    FenceDevice(DeviceFenced),
    /// How an action ended, as 9.2 step 18.
    InvokeAction(ActionEnded),
    /// It is tried.
    CancelAction(ActionStopping),
    /// They are these.
    ReadProperties(TwinPropertiesRead),
}

/// An external system answers a request.
#[derive(Clone, Debug)]
pub struct AnswerRequest {
    /// Which.
    pub request: PendingKey,
    /// With what.
    pub answer: Box<OutsideAnswer>,
}

/// The answer was the first to its request, and fits it.
#[derive(Clone, Copy, Debug)]
pub struct AnswerAccepted;

/// A request did not reach the external system, or its answer will not reach us.
#[derive(Clone, Debug)]
pub struct RequestUndelivered {
    /// Which.
    pub request: PendingKey,
    /// Why.
    pub problem: Box<Problem>,
    /// Whether it was handed to the system all the same, which may have acted on it, or may yet.
    pub handed_out: bool,
}

/// 9.2 step 13: a metaverse system runs its service with the twins that it selected.
#[derive(Clone, Debug)]
pub struct RunService {
    /// The twins that it uses.
    pub twins: Arc<[TwinId]>,
}

/// The service runs.
#[derive(Clone, Copy, Debug)]
pub struct ServiceRunning;

/// A user's device wants to hear what concerns the user at a metaverse system.
#[derive(Clone, Debug)]
pub struct AttachUserDevice {
    /// The metaverse system.
    pub metaverse: Ref<MetaverseSystemMsg>,
    /// The device.
    pub device: Ref<UserDeviceMsg>,
    /// The user.
    pub user: UserId,
}

/// The device is attached.
#[derive(Clone, Copy, Debug)]
pub struct UserDeviceAttached;

/// A metaverse system tells a user something by their device: a person has to log in (9.1 step 10, pending).
#[derive(Clone, Debug)]
pub struct NotifyUser {
    /// The type of the event.
    pub event: &'static str,
    /// What it is about.
    pub data: crate::JsonDoc,
}

steps! {
    ask OpenSystem -> Kept;
    ask ReportPhysicalChange -> PhysicalChangeReported;
    answer PhysicalChangeReported;
    tell ChangeReflected;
    tell ObserveChange;
    ask AnswerRequest -> AnswerAccepted;
    answer AnswerAccepted;
    tell RequestUndelivered;
    ask RunService -> ServiceRunning;
    answer ServiceRunning;
    ask AttachUserDevice -> UserDeviceAttached;
    answer UserDeviceAttached;
    tell NotifyUser;
}
