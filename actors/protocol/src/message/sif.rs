//! Steps of the systems integration functions (FGMV-29 8.2, 9.1).

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::steps;
use crate::{
    JsonDoc, PermissionId, StepId, SystemId, TwinId, UserId,
    access::{AuthorizationDecision, AuthorizationGrant, UserAuthorization},
    collaboration::{ApiCall, ExecutionContext},
    registry::{Page, SystemQuery, ThirdPartyDescription, ThirdPartyListing, ThirdPartySystem},
    twin::TwinView,
};

/// 9.1 step 1: a third-party system registers.
#[derive(Clone, Debug)]
pub struct RegisterThirdPartySystem {
    /// What it registers.
    pub description: Box<ThirdPartyDescription>,
}

/// 9.1 step 3: it is registered, and found by the next search.
#[derive(Clone, Debug)]
pub struct ThirdPartySystemRegistered {
    /// What is kept of it.
    pub system: Arc<ThirdPartySystem>,
    /// Whether it was not registered before.
    pub is_new: bool,
}

/// Within step 2: TPSR tells the entities that derive something from its register.
#[derive(Clone, Debug)]
pub struct KeepThirdPartySystem {
    /// The registered system.
    pub system: Arc<ThirdPartySystem>,
}

/// 9.1 step 4: a metaverse system searches for third-party systems.
#[derive(Clone, Debug)]
pub struct SearchThirdPartySystems {
    /// What they must be like.
    pub query: Box<SystemQuery>,
}

/// 9.1 step 5: those that are.
#[derive(Clone, Debug)]
pub struct ThirdPartySystemsFound {
    /// A page of them.
    pub page: Page<ThirdPartyListing>,
}

/// 9.1 step 6: a metaverse system asks that a user may use a third-party system.
#[derive(Clone, Debug)]
pub struct RequestUserAuthorization {
    /// The third-party system.
    pub system: SystemId,
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// The operations that the user wants to call.
    pub scope: Arc<BTreeSet<String>>,
}

/// 9.1 step 7: TPSAA passes the request on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ForwardUserAuthorization {
    /// The authorization that is asked for; a decision that comes later names it.
    pub authorization: PermissionId,
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// The operations that the user wants to call.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeSet<String>))]
    pub scope: Arc<BTreeSet<String>>,
    /// How the system's own API is called for it; absent: the system is asked by this very document.
    #[serde(skip)]
    pub call: Option<Box<ApiCall>>,
}

/// 9.1 step 8: the third-party system says what it knows of the user and what the user may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum UserAndPermissionInformation {
    /// Its decision.
    Decision(AuthorizationDecision),
    /// What its own API answered: its mapping makes the decision of it.
    #[serde(skip)]
    Answered(JsonDoc),
}

/// 9.1 step 8, later: a person has logged in, or the third-party system changed its mind.
#[derive(Clone, Debug)]
pub struct DecideUserAuthorization {
    /// The third-party system that decides.
    pub system: SystemId,
    /// Which authorization.
    pub authorization: PermissionId,
    /// Its decision.
    pub decision: Box<AuthorizationDecision>,
}

/// The later decision is kept.
#[derive(Clone, Debug)]
pub struct AuthorizationSettled {
    /// As it is kept.
    pub authorization: Box<UserAuthorization>,
}

/// 9.1 step 10: what came of the request: granted, or pending with where to log in.
#[derive(Clone, Debug)]
pub struct UserAuthorizationDecided {
    /// As it is kept.
    pub authorization: Box<UserAuthorization>,
}

/// 9.1 step 10, later: a pending authorization was decided.
#[derive(Clone, Debug)]
pub struct UserAuthorizationSettled {
    /// As it is kept.
    pub authorization: Box<UserAuthorization>,
}

/// A metaverse system reads an authorization again.
#[derive(Clone, Debug)]
pub struct ReadUserAuthorization {
    /// Who asks.
    pub metaverse: SystemId,
    /// Which.
    pub authorization: PermissionId,
}

/// 9.1 step 12: a metaverse system uses a third-party system.
#[derive(Clone, Debug)]
pub struct UseThirdPartySystem {
    /// The third-party system.
    pub system: SystemId,
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// Which operation.
    pub operation: Box<str>,
    /// With what.
    pub input: JsonDoc,
}

/// 9.1 step 12: a metaverse system shares data with a third-party system.
#[derive(Clone, Debug)]
pub struct ShareData {
    /// The third-party system.
    pub system: SystemId,
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// What the data is about.
    pub topic: Box<str>,
    /// The data.
    pub data: JsonDoc,
}

/// 9.1 step 13: SDC asks whether the user may.
#[derive(Clone, Debug)]
pub struct VerifyUserAuthorization {
    /// The third-party system.
    pub system: SystemId,
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// Which operation; sharing data on a topic is the operation `share`.
    pub operation: Box<str>,
}

/// 9.1 step 13: the user may.
#[derive(Clone, Debug)]
pub struct UserAuthorizationVerified {
    /// By this authorization.
    pub authorization: PermissionId,
    /// Which covers this.
    pub grant: Box<AuthorizationGrant>,
}

/// What a third-party system is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ServiceRequest {
    /// Carry an operation out.
    Use {
        /// Which.
        operation: Box<str>,
        /// With what.
        input: JsonDoc,
    },
    /// Take data.
    Share {
        /// What it is about.
        topic: Box<str>,
        /// The data.
        data: JsonDoc,
    },
}

/// 9.1 step 14: a valid request goes to the third-party system. An invalid one is answered with a problem instead.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExecuteService {
    /// The authorization under which it is asked.
    pub authorization: PermissionId,
    /// Who asks.
    pub metaverse: SystemId,
    /// For whom.
    pub user: UserId,
    /// What to do.
    pub request: Box<ServiceRequest>,
    /// The same whenever the same is asked again: a system that keeps it need not do anything twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<Box<str>>,
    /// The execution that it is a step of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Box<ExecutionContext>>,
    /// How the system's own API is called for it; absent: the system is asked by this very document.
    #[serde(skip)]
    pub call: Option<Box<ApiCall>>,
}

/// 9.1 step 14x: the third-party system has done it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceExecuted {
    /// What came of it.
    pub output: JsonDoc,
}

/// 9.1 step 14x: SDC passes the result on.
#[derive(Clone, Debug)]
pub struct ServiceResult {
    /// What came of it.
    pub output: JsonDoc,
}

/// 9.1 step 15: a third-party system asks for information of twins.
#[derive(Clone, Debug)]
pub struct AcquireTwinInformation {
    /// Who asks.
    pub system: SystemId,
    /// Of which twins.
    pub twins: Arc<[TwinId]>,
    /// Which properties; absent: all.
    pub properties: Option<Arc<BTreeSet<String>>>,
    /// Refuse everything if one of the twins cannot be read.
    pub strict: bool,
}

/// 9.1 step 19: what was asked for.
#[derive(Clone, Debug)]
pub struct TwinInformation {
    /// The twins that could be read, in the order asked for.
    pub twins: Vec<Arc<TwinView>>,
    /// The others, and why not.
    pub refused: Vec<TwinRefusal>,
}

steps! {
    ask RegisterThirdPartySystem -> ThirdPartySystemRegistered = "9.1" "1";
    answer ThirdPartySystemRegistered = "9.1" "3";
    ask KeepThirdPartySystem -> Kept;
    ask SearchThirdPartySystems -> ThirdPartySystemsFound = "9.1" "4";
    answer ThirdPartySystemsFound = "9.1" "5";
    ask RequestUserAuthorization -> UserAuthorizationDecided = "9.1" "6";
    ask ForwardUserAuthorization -> UserAndPermissionInformation = "9.1" "7";
    answer UserAndPermissionInformation = "9.1" "8";
    ask DecideUserAuthorization -> AuthorizationSettled = "9.1" "8";
    answer AuthorizationSettled;
    answer UserAuthorizationDecided = "9.1" "10";
    tell UserAuthorizationSettled = "9.1" "10";
    ask ReadUserAuthorization -> UserAuthorizationDecided;
    ask UseThirdPartySystem -> ServiceResult = "9.1" "12" or "14";
    ask ShareData -> ServiceResult = "9.1" "12" or "14";
    ask VerifyUserAuthorization -> UserAuthorizationVerified = "9.1" "13";
    answer UserAuthorizationVerified = "9.1" "13";
    ask ExecuteService -> ServiceExecuted = "9.1" "14";
    answer ServiceExecuted = "9.1" "14x";
    answer ServiceResult = "9.1" "14x";
    ask AcquireTwinInformation -> TwinInformation = "9.1" "15";
    answer TwinInformation = "9.1" "19";
}

use super::{Kept, TwinRefusal};
