//! Spatial maps kept in order (FGMV-28 7.3): what is taken off them and deleted, what was recorded for them, and who still
//! lets them follow a twin.

use super::{Kept, MetaverseSystemMsg, ObservationPurpose, steps};
use crate::{
    MapId, Ref, StepId, SystemId, TwinId, UserId,
    access::TwinPermission,
    registry::Page,
    spatial::{KeptObservation, Observation, ObservationId},
};

/// A metaverse system deletes a map of its own, with all that stands on it and was recorded for it.
#[derive(Clone, Debug)]
pub struct DeleteMap {
    /// The map.
    pub map: MapId,
}

/// A twin system takes one of its twins off a map on which it may put twins.
#[derive(Clone, Debug)]
pub struct TakeTwinOffMap {
    /// The metaverse system's actor.
    pub metaverse_entity: Ref<MetaverseSystemMsg>,
    /// The twin system; its own actor fills it in.
    pub system: Option<SystemId>,
    /// The map.
    pub map: MapId,
    /// The twin.
    pub twin: TwinId,
}

/// Whether an upload under this request would be taken.
#[derive(Clone, Copy, Debug)]
pub struct CheckObservationRequest {
    /// The request.
    pub request: u32,
}

/// It would be.
#[derive(Clone, Debug)]
pub struct ObservationRequestStands {
    /// For whom and for what.
    pub purpose: ObservationPurpose,
}

/// Within 7.3.1 step 2.2: the metaverse system writes down what was recorded for a map of its own.
#[derive(Clone, Debug)]
pub struct KeepObservation {
    /// The map.
    pub map: MapId,
    /// Who recorded it.
    pub user: UserId,
    /// What it is; its bytes are kept already.
    pub observation: Box<Observation>,
}

/// What was recorded is to be forgotten: by the metaverse system for whose maps it was, or by the user who recorded it.
#[derive(Clone, Debug)]
pub struct ForgetObservation {
    /// The metaverse system's actor.
    pub metaverse_entity: Ref<MetaverseSystemMsg>,
    /// The observation.
    pub observation: ObservationId,
    /// Only what this user recorded; the device's actor fills it in.
    pub user: Option<UserId>,
}

/// Asks what was recorded for a map.
#[derive(Clone, Debug)]
pub struct ListObservations {
    /// The map.
    pub map: MapId,
    /// Only what this user recorded.
    pub user: Option<UserId>,
    /// Where the page before ended.
    pub cursor: Option<Box<str>>,
    /// At most this many.
    pub limit: Option<u32>,
}

/// It is this.
#[derive(Clone, Debug)]
pub struct ObservationsListed {
    /// A page of it.
    pub page: Page<KeptObservation>,
}

/// A user lets a twin's location be kept the same no longer (FGMV-28 7.3.2).
#[derive(Clone, Debug)]
pub struct WithdrawLocation {
    /// The user; the device's actor fills it in.
    pub user: Option<UserId>,
    /// The metaverse system's actor.
    pub metaverse_entity: Ref<MetaverseSystemMsg>,
    /// The map.
    pub map: MapId,
    /// The twin.
    pub twin: TwinId,
}

/// Asks DTAC what a user may do with a twin, and to be told whenever that changes, until the asker ends it.
#[derive(Clone, Debug)]
pub struct FollowTwinPermission {
    /// The metaverse system.
    pub metaverse: SystemId,
    /// The user.
    pub user: UserId,
    /// The twin.
    pub twin: TwinId,
}

/// What the user may do now.
#[derive(Clone, Debug)]
pub struct TwinPermissionFollowed {
    /// The user.
    pub user: UserId,
    /// The twin.
    pub twin: TwinId,
    /// The permission; absent: there is none that has not ended.
    pub permission: Option<Box<TwinPermission>>,
}

/// Tells DTAC that whoever asked need not hear of a permission any more.
#[derive(Clone, Debug)]
pub struct UnfollowTwinPermission {
    /// The user.
    pub user: UserId,
    /// The twin.
    pub twin: TwinId,
}

/// A permission was given, changed, revoked, or has ended.
#[derive(Clone, Debug)]
pub struct TwinPermissionChanged {
    /// The user.
    pub user: UserId,
    /// The twin.
    pub twin: TwinId,
    /// The permission; absent: there is none any more.
    pub permission: Option<Box<TwinPermission>>,
}

steps! {
    ask DeleteMap -> Kept;
    ask TakeTwinOffMap -> Kept;
    ask CheckObservationRequest -> ObservationRequestStands;
    answer ObservationRequestStands;
    ask KeepObservation -> Kept;
    ask ForgetObservation -> Kept;
    ask ListObservations -> ObservationsListed;
    answer ObservationsListed;
    ask WithdrawLocation -> Kept;
    ask FollowTwinPermission -> TwinPermissionFollowed;
    answer TwinPermissionFollowed;
    tell UnfollowTwinPermission;
    tell TwinPermissionChanged;
}
