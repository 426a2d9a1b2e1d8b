//! Authorizations at third-party systems after they were decided (FGMV-29 8.2.3), for both sides.

use twinway_protocol::{
    PermissionId, Problem, SystemId, UserId,
    access::UserAuthorization,
    message::{AuthorizationParty, ListUserAuthorizations, RevokeUserAuthorization},
    registry::Page,
};

use super::{Mii, Sii};

/// Which authorizations a list shall have.
#[derive(Clone, Debug, Default)]
pub struct AuthorizationQuery {
    /// Only those of this user.
    pub user: Option<UserId>,
    /// Only those between the asker and this system.
    pub other: Option<SystemId>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// At most this many.
    pub limit: Option<u32>,
}

impl AuthorizationQuery {
    fn question(self, party: AuthorizationParty) -> ListUserAuthorizations {
        let Self { user, other, cursor, limit } = self;
        ListUserAuthorizations { party, user, other, cursor: cursor.map(String::into_boxed_str), limit }
    }
}

impl Mii {
    /// The authorizations that this system asked for, the oldest first.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::InvalidQuery`] for a cursor that no page gave.
    pub async fn user_authorizations(&self, query: AuthorizationQuery) -> Result<Page<UserAuthorization>, Problem> {
        let question = query.question(AuthorizationParty::Metaverse(self.id.clone()));
        Ok(*self.enabler.look(self.actor().await?, question).await?.page)
    }

    /// Takes an authorization back: it permits nothing any more, and the third-party system is told by an event.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::RequestUnknown`] when this system has no such authorization.
    pub async fn revoke_user_authorization(&self, authorization: PermissionId) -> Result<UserAuthorization, Problem> {
        let party = AuthorizationParty::Metaverse(self.id.clone());
        let question = RevokeUserAuthorization { party, authorization };
        Ok(*self.enabler.ask(self.actor().await?, question).await?.authorization)
    }
}

impl Sii {
    /// The authorizations that this system decided about, the oldest first.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::InvalidQuery`] for a cursor that no page gave.
    pub async fn user_authorizations(&self, query: AuthorizationQuery) -> Result<Page<UserAuthorization>, Problem> {
        let question = query.question(AuthorizationParty::ThirdParty(self.id.clone()));
        Ok(*self.enabler.look(self.actor().await?, question).await?.page)
    }

    /// Takes an authorization back: it permits nothing any more, and the metaverse system is told by an event.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::RequestUnknown`] when this system was asked for no such authorization.
    pub async fn revoke_user_authorization(&self, authorization: PermissionId) -> Result<UserAuthorization, Problem> {
        let party = AuthorizationParty::ThirdParty(self.id.clone());
        let question = RevokeUserAuthorization { party, authorization };
        Ok(*self.enabler.ask(self.actor().await?, question).await?.authorization)
    }
}
