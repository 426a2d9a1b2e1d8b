//! Authorizations at third-party systems after they were decided (FGMV-29 8.2.3): listed, and revoked by either side.

use super::steps;
use crate::{PermissionId, StepId, SystemId, UserId, access::UserAuthorization, registry::Page};

/// The side of an authorization that speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizationParty {
    /// The metaverse system through which the user acts.
    Metaverse(SystemId),
    /// The third-party system that decided.
    ThirdParty(SystemId),
}

/// One side takes an authorization back; the other is told.
#[derive(Clone, Debug)]
pub struct RevokeUserAuthorization {
    /// Who does.
    pub party: AuthorizationParty,
    /// Which.
    pub authorization: PermissionId,
}

/// One side lists its authorizations.
#[derive(Clone, Debug)]
pub struct ListUserAuthorizations {
    /// Who asks.
    pub party: AuthorizationParty,
    /// Only those of this user.
    pub user: Option<UserId>,
    /// Only those between the asker and this system.
    pub other: Option<SystemId>,
    /// Where the page before ended.
    pub cursor: Option<Box<str>>,
    /// At most this many.
    pub limit: Option<u32>,
}

/// A page of them, the oldest first.
#[derive(Clone, Debug)]
pub struct UserAuthorizationsListed {
    /// The page.
    pub page: Box<Page<UserAuthorization>>,
}

/// The metaverse system has taken an authorization back: TPSAA tells the third-party system.
#[derive(Clone, Debug)]
pub struct UserAuthorizationRevoked {
    /// As it is kept.
    pub authorization: Box<UserAuthorization>,
}

steps! {
    ask RevokeUserAuthorization -> AuthorizationSettled;
    ask ListUserAuthorizations -> UserAuthorizationsListed;
    answer UserAuthorizationsListed;
    tell UserAuthorizationRevoked;
}

use super::AuthorizationSettled;
