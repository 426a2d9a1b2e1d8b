//! What becomes of a change on its way to the device, actions (FGMV-29 9.2 steps 15 to 18), and what watchers of a twin
//! are told.

use serde::{Deserialize, Serialize};

use super::{ApplyChange, ChangeApplied, ChangeVerified, Kept, PropertyValues, steps};
use crate::{
    InvocationId, JsonDoc, PendingKey, StepId, SystemId, TwinId, UserId,
    lease::Token,
    time::Timestamp,
    twin::{Invocation, InvocationState},
};

/// On which terms something is asked of a twin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeTerms {
    /// The version that the twin must have; absent: any.
    pub expects: Option<u64>,
    /// How long it is wanted, in milliseconds from when DTS hears of it; absent: as long as lease and device allow.
    pub within_ms: Option<u32>,
}

/// A gate tells a twin that a change of it is on its way to the device.
#[derive(Clone, Copy, Debug)]
pub struct ChangeUnderWay {
    /// The twin's key of it.
    pub change: PendingKey,
    /// The device must not act on it after this moment.
    pub until: Timestamp,
}

/// A gate tells a twin that the lease of a change has ended before the device answered.
#[derive(Clone, Copy, Debug)]
pub struct ChangeDropped {
    /// The twin's key of it.
    pub change: PendingKey,
}

/// A twin tells a metaverse system that selected it what happened.
#[derive(Clone, Debug)]
pub struct NotifyWatcher {
    /// The type of the event.
    pub event: &'static str,
    /// The twin.
    pub twin: TwinId,
    /// When.
    pub at: Timestamp,
    /// What it says.
    pub data: JsonDoc,
}

/// An action and its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhatToDo {
    /// The action's name.
    pub action: String,
    /// Its input, if it takes one.
    pub input: Option<JsonDoc>,
}

/// A metaverse system asks that an action of a twin be carried out (as 9.2 step 15).
#[derive(Clone, Debug)]
pub struct InvokeAction {
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// Of which twin.
    pub twin: TwinId,
    /// What to do.
    pub what: Box<WhatToDo>,
    /// The token of the user's lease; absent: a lease is taken for this action only.
    pub token: Option<Token>,
    /// On which terms it is asked for.
    pub terms: ChangeTerms,
}

/// The action is on its way to the device; what becomes of it is told to those who selected the twin.
#[derive(Clone, Debug)]
pub struct ActionInvoked {
    /// The invocation.
    pub invocation: Box<Invocation>,
}

/// DTS asks whether the user may have the action carried out, and whether the object can (as 9.2 step 16).
#[derive(Clone, Debug)]
pub struct VerifyAction {
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// Of which twin.
    pub twin: TwinId,
    /// What to do.
    pub what: Box<WhatToDo>,
}

/// What only the twin has to know of a change: within the daemon.
#[derive(Clone, Debug, Default)]
pub struct Errand {
    /// The version that the twin must have; absent: any.
    pub expects: Option<u64>,
    /// The action to carry out; absent: values are to be set.
    pub action: Option<ActionCall>,
}

/// The action of a change that is one.
#[derive(Clone, Debug)]
pub struct ActionCall {
    /// The invocation's id.
    pub invocation: InvocationId,
    /// What to do.
    pub what: WhatToDo,
    /// The key by which DTS hears that it is on its way.
    pub began: PendingKey,
}

/// A twin tells DTS that an action is on its way to the device, and written down.
#[derive(Clone, Debug)]
pub struct ActionBegan {
    /// DTS's key.
    pub began: PendingKey,
    /// The invocation.
    pub invocation: Box<Invocation>,
}

/// What a twin system is asked to carry out. It answers when the action has ended, and may report progress meanwhile.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct CarryOutAction(pub Box<ActionOrder>);

/// An action that is to be carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ActionOrder {
    /// The twin.
    pub twin: TwinId,
    /// The invocation, by which progress and end are reported.
    pub invocation: InvocationId,
    /// The action's name.
    pub action: String,
    /// Its input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<JsonDoc>,
    /// The metaverse system that asked.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// The token under which it is sent, for a device that checks; absent: the twin has no object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The device must have ended it by this moment.
    pub not_after: Timestamp,
}

impl ApplyChange {
    /// What a twin system is asked instead, if it is an action that is to be carried out, until this moment.
    #[must_use]
    pub fn carry_out(&self, until: Timestamp) -> Option<CarryOutAction> {
        let call = self.errand.as_ref()?.action.as_ref()?;
        Some(CarryOutAction(Box::new(ActionOrder {
            twin: self.twin.clone(),
            invocation: call.invocation.clone(),
            action: call.what.action.clone(),
            input: call.what.input.clone(),
            metaverse: self.metaverse.clone(),
            user: self.user.clone(),
            token: self.token,
            not_after: until,
        })))
    }
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionEnded {
    /// `completed`, `failed` or `cancelled`.
    pub state: InvocationState,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<JsonDoc>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The values that properties have now.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, JsonDoc>))]
    pub values: PropertyValues,
    /// The highest token that the device was ever sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Token>,
}

impl From<ActionEnded> for ChangeApplied {
    fn from(ended: ActionEnded) -> Self {
        Self { values: Box::new(ended.values), seen: ended.seen }
    }
}

/// A gate tells a twin how an action of it ended, before it answers the change that the action was.
#[derive(Clone, Debug)]
pub struct ActionOver {
    /// The twin's key of it.
    pub change: PendingKey,
    /// How it ended.
    pub ended: Box<ActionEnded>,
}

/// A twin system tells how far an action has come.
#[derive(Clone, Debug)]
pub struct ReportAction {
    /// The twin.
    pub twin: TwinId,
    /// The invocation.
    pub invocation: InvocationId,
    /// What it says.
    pub report: Box<ActionReport>,
}

/// How far an action has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionReport {
    /// `running`, or how it ended.
    pub state: InvocationState,
    /// How much of it is done, in percent.
    #[serde(default)]
    pub progress: Option<u8>,
    /// In words.
    #[serde(default)]
    pub detail: Option<String>,
    /// What it gave, when it ended.
    #[serde(default)]
    pub output: Option<JsonDoc>,
}

/// A user wants an action that they invoked to be cancelled.
#[derive(Clone, Debug)]
pub struct CancelAction {
    /// The metaverse system that speaks for the user.
    pub metaverse: SystemId,
    /// The user.
    pub user: UserId,
    /// The twin.
    pub twin: TwinId,
    /// The invocation.
    pub invocation: InvocationId,
}

/// What a twin system is asked to cancel. The action's own answer says how it ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StopAction {
    /// The twin.
    pub twin: TwinId,
    /// The invocation.
    pub invocation: InvocationId,
}

/// The twin system was told to cancel it, and tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionStopping {}

/// A twin system tells of an event of a twin.
#[derive(Clone, Debug)]
pub struct EmitTwinEvent {
    /// The twin.
    pub twin: TwinId,
    /// Which, and what it says.
    pub emitted: Box<EmittedEvent>,
}

/// An event of a twin, as its description has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmittedEvent {
    /// The event's name.
    pub name: String,
    /// What it says.
    #[serde(default = "JsonDoc::null")]
    pub data: JsonDoc,
    /// When it happened; absent: now.
    #[serde(default)]
    pub at: Option<Timestamp>,
}

/// A metaverse system wants the values of a twin's properties as they are now (FGMV-28 REQ-DT-07, on request).
#[derive(Clone, Debug)]
pub struct RefreshTwin {
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// The twin.
    pub twin: TwinId,
}

/// The twin shows them.
#[derive(Clone, Copy, Debug)]
pub struct TwinRefreshed {
    /// The twin's version that shows them.
    pub version: u64,
}

/// A twin system is asked what the properties of a twin are now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReadTwinProperties {
    /// The twin.
    pub twin: TwinId,
}

/// They are these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TwinPropertiesRead {
    /// The values, by property.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, JsonDoc>))]
    pub values: PropertyValues,
}

/// DTAC tells a twin how often it is to be synchronized while somebody has selected it (FGMV-28 REQ-DT-07, periodic).
#[derive(Clone, Copy, Debug)]
pub struct SynchronizeEvery {
    /// The period, in milliseconds; none: only on request, and as its system reports.
    pub period_ms: Option<u32>,
}

steps! {
    ask EmitTwinEvent -> Kept;
    ask RefreshTwin -> TwinRefreshed;
    answer TwinRefreshed;
    ask ReadTwinProperties -> TwinPropertiesRead;
    answer TwinPropertiesRead;
    tell SynchronizeEvery;
    tell ChangeUnderWay;
    tell ChangeDropped;
    tell ActionOver;
    tell NotifyWatcher;
    ask InvokeAction -> ActionInvoked;
    answer ActionInvoked;
    ask VerifyAction -> ChangeVerified;
    tell ActionBegan;
    ask CarryOutAction -> ActionEnded;
    answer ActionEnded;
    ask ReportAction -> Kept;
    ask CancelAction -> ActionStopping;
    ask StopAction -> ActionStopping;
    answer ActionStopping;
}
