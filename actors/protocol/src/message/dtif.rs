//! Steps of the digital twin integration functions (FGMV-29 8.3, 9.2 but for steps 14 to 18, and 9.1 steps 16 to 18).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{DigitalTwinSystemMsg, Kept, MetaverseSystemMsg, TwinMsg, steps};
use crate::{
    JsonDoc, ObjectUri, Problem, Ref, StepId, SystemId, TwinId, UserId,
    access::{Right, TwinPermission},
    lease::Synchronization,
    registry::{Page, SystemQuery, TwinQuery, TwinSystem, TwinSystemDescription, TwinSystemListing},
    time::Timestamp,
    twin::{RegisteredTwin, TwinListing, TwinView},
};

/// Values of properties, by name.
pub type PropertyValues = BTreeMap<String, JsonDoc>;

/// 9.1 step 16: DTDA passes a third-party system's request on.
#[derive(Clone, Debug)]
pub struct ForwardAcquisition {
    /// Who asks.
    pub system: SystemId,
    /// Of which twins.
    pub twins: Arc<[TwinId]>,
    /// Which properties; absent: all.
    pub properties: Option<Arc<BTreeSet<String>>>,
    /// Whether DTDA wants to hear when they change.
    pub observe: bool,
}

/// 9.1 step 17: TSI asks DTAC whether the third-party system may read the twins.
#[derive(Clone, Debug)]
pub struct VerifyAcquisition {
    /// Who asks.
    pub system: SystemId,
    /// Of which twins.
    pub twins: Arc<[TwinId]>,
}

/// 9.1 step 17: it may, except these.
#[derive(Clone, Debug)]
pub struct AcquisitionVerified {
    /// The twins that it may not read, and why.
    pub refused: Vec<TwinRefusal>,
}

/// 9.1 step 17: TSI asks DTIA for what the twins are.
#[derive(Clone, Debug)]
pub struct CollectTwinInformation {
    /// Of which twins.
    pub twins: Arc<[TwinId]>,
    /// Which properties; absent: all.
    pub properties: Option<Arc<BTreeSet<String>>>,
    /// Whether DTDA wants to hear when they change.
    pub observe: bool,
}

/// 9.1 step 17: what they are.
#[derive(Clone, Debug)]
pub struct TwinInformationCollected {
    /// The twins that could be read, in the order asked for.
    pub twins: Vec<Arc<TwinView>>,
    /// The others, and why not.
    pub refused: Vec<TwinRefusal>,
}

/// 9.1 step 18: TSI answers.
#[derive(Clone, Debug)]
pub struct AcquisitionResponse {
    /// The twins that could be read, in the order asked for.
    pub twins: Vec<Arc<TwinView>>,
    /// The others, and why not.
    pub refused: Vec<TwinRefusal>,
}

/// 9.2 step 1: a digital twin system registers, with its list of twins.
#[derive(Clone, Debug)]
pub struct RegisterTwinSystem {
    /// What it registers.
    pub description: Box<TwinSystemDescription>,
}

/// 9.2 step 3: it is registered; it and its twins are found by the next search.
#[derive(Clone, Debug)]
pub struct TwinSystemRegistered {
    /// What is kept of it.
    pub system: Arc<TwinSystem>,
    /// Whether it was not registered before.
    pub is_new: bool,
}

/// Within step 2: DTSR tells the entities that derive something from its register, at first of all twins of a system,
/// then of what changed.
#[derive(Clone, Debug)]
pub struct KeepTwinSystem {
    /// The registered system.
    pub system: Arc<TwinSystem>,
    /// Those of its twins that are new or not as they were told before.
    pub twins: Arc<[RegisteredTwin]>,
    /// Those that it lists no more.
    pub gone: Arc<[RegisteredTwin]>,
}

/// Within step 2: DTSR tells a twin what it is.
#[derive(Clone, Debug)]
pub struct DescribeTwin {
    /// The twin system that maintains it.
    pub system: SystemId,
    /// That system's actor.
    pub system_entity: Ref<DigitalTwinSystemMsg>,
    /// What the list says of it.
    pub twin: Arc<RegisteredTwin>,
}

/// A twin that stands for an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Representation {
    /// The twin.
    pub twin: TwinId,
    /// Its actor.
    pub entity: Ref<TwinMsg>,
    /// The actor of the system that maintains it.
    pub system: Ref<DigitalTwinSystemMsg>,
}

/// Within step 2: DTSR tells the actor of a physical object what stands for it.
#[derive(Clone, Debug)]
pub struct RepresentObject {
    /// The object.
    pub object: ObjectUri,
    /// All twins that stand for it.
    pub twins: Arc<[Representation]>,
    /// How it is synchronized, as the first of its twins says that has something to say.
    pub synchronization: Arc<Synchronization>,
}

/// 9.2 step 4: a metaverse system searches for digital twin systems.
#[derive(Clone, Debug)]
pub struct SearchTwinSystems {
    /// What they must be like.
    pub query: Box<SystemQuery>,
}

/// 9.2 step 5: those that are.
#[derive(Clone, Debug)]
pub struct TwinSystemsFound {
    /// A page of them.
    pub page: Page<TwinSystemListing>,
}

/// 9.2 step 6: a metaverse system looks at the twins of a system, or for those that match.
#[derive(Clone, Debug)]
pub struct ListTwins {
    /// Who asks.
    pub metaverse: SystemId,
    /// For which twins, and which page of them.
    pub query: Box<TwinQuery>,
}

/// 9.2 step 7: they are these.
#[derive(Clone, Debug)]
pub struct TwinsListed {
    /// A page of them.
    pub page: Page<TwinListing>,
}

/// 9.2 step 6: a metaverse system selects the twins that it wants to use.
#[derive(Clone, Debug)]
pub struct SelectTwins {
    /// Who selects.
    pub metaverse: SystemId,
    /// Its actor.
    pub metaverse_entity: Ref<MetaverseSystemMsg>,
    /// The twins to select.
    pub twins: Arc<[TwinId]>,
    /// The twins to let go.
    pub release: Arc<[TwinId]>,
    /// How often the values of `twins` are to be asked for, for this system, in milliseconds (FGMV-28 REQ-DT-07); 0: not
    /// of itself; absent: as it said before, and at first not.
    pub period_ms: Option<u32>,
}

/// 9.2 step 7: they are selected.
#[derive(Clone, Debug)]
pub struct TwinsSelected {
    /// All twins that the metaverse system has selected now, in the order of their ids.
    pub selected: Vec<TwinId>,
}

/// Within step 7: DTIA tells a twin who selected it, or let it go.
#[derive(Clone, Debug)]
pub struct WatchTwin {
    /// The metaverse system.
    pub metaverse: SystemId,
    /// Its actor.
    pub entity: Ref<MetaverseSystemMsg>,
    /// Whether it selected the twin; otherwise it let it go.
    pub selected: bool,
    /// How often it wants the twin synchronized, in milliseconds; absent: not of itself.
    pub period_ms: Option<u32>,
}

/// 9.2 step 8: a metaverse system asks for the properties of selected twins, and for permission.
#[derive(Clone, Debug)]
pub struct RequestTwinPropertiesAndPermission {
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// Of which twins.
    pub twins: Arc<[TwinId]>,
    /// What the user wants to do.
    pub rights: Arc<BTreeSet<Right>>,
}

/// 9.2 step 9: DTIA passes the request on to the twin system.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ForwardTwinPropertiesRequest {
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// Of which twins; all are this system's.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<TwinId>))]
    pub twins: Arc<[TwinId]>,
    /// What the user wants to do.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeSet<Right>))]
    pub rights: Arc<BTreeSet<Right>>,
}

/// What a twin system says of one twin and one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TwinGrant {
    /// The twin.
    pub twin: TwinId,
    /// Its properties' values now.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, JsonDoc>))]
    pub properties: PropertyValues,
    /// What the user may do; none: the permission is denied.
    pub rights: BTreeSet<Right>,
    /// When the permission ends; absent: when it is revoked.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// What the user is to this twin, for its rules of priority (FGMV-28 REQ-DT-08).
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub role: Option<Arc<str>>,
}

/// 9.2 step 10: the twin system answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TwinPropertiesAndPermission {
    /// What it says of each twin asked for.
    pub twins: Vec<TwinGrant>,
}

/// 9.2 step 10: DTIA hands the answer to DTAC.
#[derive(Clone, Debug)]
pub struct ManageTwinPermission {
    /// Who asked.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// What the twin systems said.
    pub twins: Vec<TwinGrant>,
}

/// 9.2 step 10: DTAC hands a twin its properties.
#[derive(Clone, Debug)]
pub struct AdoptProperties {
    /// Their values.
    pub values: Box<PropertyValues>,
}

/// A twin for which a permission was asked and not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwinRefusal {
    /// The twin.
    pub twin: TwinId,
    /// Why.
    pub problem: Problem,
}

/// Within step 11: DTAC has written the permissions down.
#[derive(Clone, Debug)]
pub struct TwinPermissionManaged {
    /// Those that were given.
    pub permissions: Vec<TwinPermission>,
    /// Those that were not.
    pub refused: Vec<TwinRefusal>,
}

/// 9.2 step 12: DTIA answers the metaverse system.
#[derive(Clone, Debug)]
pub struct TwinPropertiesAndPermissionGranted {
    /// The permissions that were given.
    pub permissions: Vec<TwinPermission>,
    /// The twins, each with its properties.
    pub twins: Vec<Arc<TwinView>>,
    /// What was not given.
    pub refused: Vec<TwinRefusal>,
}

/// A metaverse system reads what a user may do with a twin.
#[derive(Clone, Debug)]
pub struct ReadTwinPermission {
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// With which twin.
    pub twin: TwinId,
}

/// What the user may do.
#[derive(Clone, Debug)]
pub struct TwinPermissionShown {
    /// The permission.
    pub permission: Box<TwinPermission>,
}

/// Asks a twin for what it is.
#[derive(Clone, Copy, Debug)]
pub struct ReadTwin;

/// What the twin is.
#[derive(Clone, Debug)]
pub struct TwinRead {
    /// As readers see it.
    pub view: Arc<TwinView>,
}

/// FGMV-28 REQ-DT-06: an avatar or another twin sends a twin a message.
#[derive(Clone, Debug)]
pub struct SendTwinMessage {
    /// The metaverse system through which the user acts.
    pub metaverse: SystemId,
    /// The user.
    pub user: UserId,
    /// The twin that sends.
    pub from: TwinId,
    /// The twin that receives.
    pub to: TwinId,
    /// What it says.
    pub content: JsonDoc,
}

/// DTAC let the message pass.
#[derive(Clone, Copy, Debug)]
pub struct TwinMessageSent;

/// DTAC tells the sending twin to send.
#[derive(Clone, Debug)]
pub struct PassTwinMessage {
    /// The receiving twin's actor.
    pub entity: Ref<TwinMsg>,
    /// The message.
    pub message: Box<TwinMessage>,
}

/// A message from one twin to another, and to the metaverse systems that selected the receiver.
#[derive(Clone, Debug)]
pub struct TwinMessage {
    /// The twin that sent it.
    pub from: TwinId,
    /// The twin that receives it.
    pub to: TwinId,
    /// The user for whom it was sent.
    pub user: UserId,
    /// What it says.
    pub content: JsonDoc,
}

steps! {
    ask ForwardAcquisition -> AcquisitionResponse = "9.1" "16";
    ask VerifyAcquisition -> AcquisitionVerified = "9.1" "17";
    answer AcquisitionVerified = "9.1" "17";
    ask CollectTwinInformation -> TwinInformationCollected = "9.1" "17";
    answer TwinInformationCollected = "9.1" "17";
    answer AcquisitionResponse = "9.1" "18";
    ask RegisterTwinSystem -> TwinSystemRegistered = "9.2" "1";
    answer TwinSystemRegistered = "9.2" "3";
    ask KeepTwinSystem -> Kept;
    ask DescribeTwin -> Kept;
    ask RepresentObject -> Kept;
    ask SearchTwinSystems -> TwinSystemsFound = "9.2" "4";
    answer TwinSystemsFound = "9.2" "5";
    ask ListTwins -> TwinsListed = "9.2" "6";
    answer TwinsListed = "9.2" "7";
    ask SelectTwins -> TwinsSelected = "9.2" "6";
    answer TwinsSelected = "9.2" "7";
    ask WatchTwin -> Kept;
    ask RequestTwinPropertiesAndPermission -> TwinPropertiesAndPermissionGranted = "9.2" "8";
    ask ForwardTwinPropertiesRequest -> TwinPropertiesAndPermission = "9.2" "9";
    answer TwinPropertiesAndPermission = "9.2" "10";
    ask ManageTwinPermission -> TwinPermissionManaged = "9.2" "10";
    ask AdoptProperties -> Kept = "9.2" "10";
    answer TwinPermissionManaged;
    answer TwinPropertiesAndPermissionGranted = "9.2" "12";
    ask ReadTwinPermission -> TwinPermissionShown;
    answer TwinPermissionShown;
    ask ReadTwin -> TwinRead;
    answer TwinRead;
    ask SendTwinMessage -> TwinMessageSent;
    answer TwinMessageSent;
    tell PassTwinMessage;
    tell TwinMessage;
}
