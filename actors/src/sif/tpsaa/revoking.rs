//! Authorizations after they were decided (FGMV-29 8.2.3): taken back by either side, and listed for both.

use twinway_protocol::{
    Out, Problem, ProblemKind,
    access::{AuthorizationDecision, UserAuthorization},
    message::{
        AuthorizationParty, ListUserAuthorizations, RevokeUserAuthorization, UserAuthorizationRevoked,
        UserAuthorizationSettled, own,
    },
    registry::Page,
};

use super::{Kept, Record, Tpsaa};

/// What a third-party system's taking back says to those who are refused by it.
const TAKEN_BACK: &str = "the system has taken the authorization back";

impl Tpsaa {
    /// One side takes an authorization back: from the answer on it permits nothing, and the other side is told. What
    /// was taken back already stays as it is.
    ///
    /// # Errors
    /// [`ProblemKind::RequestUnknown`] when the asker has no such authorization.
    pub(super) fn revoke(
        &mut self,
        message: &RevokeUserAuthorization,
        out: &mut Out<'_, Self>,
    ) -> Result<UserAuthorization, Problem> {
        let kept = self.register.get(&message.authorization).filter(|kept| is_of(kept, &message.party));
        let unknown = || {
            let detail = format!("there is no authorization `{}`", message.authorization);
            Problem::new(ProblemKind::RequestUnknown, detail)
        };
        let mut kept = kept.cloned().ok_or_else(unknown)?;
        let decision = match message.party {
            AuthorizationParty::Metaverse(_) => AuthorizationDecision::Revoked,
            AuthorizationParty::ThirdParty(_) => AuthorizationDecision::Denied(TAKEN_BACK.to_owned()),
        };
        let ended =
            matches!(kept.authorization.decision, AuthorizationDecision::Revoked | AuthorizationDecision::Denied(_));
        if ended {
            return Ok(kept.authorization);
        }
        kept.authorization.decision = decision;
        let (number, metaverse, authorization) = (kept.number, kept.metaverse_entity, kept.authorization.clone());
        self.write(number, Record::Decided(Box::new(kept)), out);
        out.own(own::AUTHORIZATION_MANAGED);
        let told = Box::new(authorization.clone());
        match message.party {
            AuthorizationParty::Metaverse(_) => {
                if let Some(system) = self.systems.get(&authorization.system) {
                    out.send(system.entity, UserAuthorizationRevoked { authorization: told });
                }
            }
            AuthorizationParty::ThirdParty(_) => out.send(metaverse, UserAuthorizationSettled { authorization: told }),
        }
        Ok(authorization)
    }

    /// The authorizations of one side, the oldest first. Cursors are numbers.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`] for a cursor that no page gave.
    pub(super) fn list(&self, question: &ListUserAuthorizations) -> Result<Page<UserAuthorization>, Problem> {
        let no_cursor = |_| Problem::new(ProblemKind::InvalidQuery, "`cursor` is not the `next` of a page");
        let from = match &question.cursor {
            Some(cursor) => cursor.parse::<u64>().map_err(no_cursor)?.saturating_add(1),
            None => 0,
        };
        let limit = Page::<()>::items(question.limit);
        let mut found = self.register.of_party(&question.party, from).filter(|kept| {
            let UserAuthorization { metaverse, user, system, .. } = &kept.authorization;
            let other = match question.party {
                AuthorizationParty::Metaverse(_) => system,
                AuthorizationParty::ThirdParty(_) => metaverse,
            };
            question.user.as_ref().is_none_or(|wanted| wanted == user)
                && question.other.as_ref().is_none_or(|wanted| wanted == other)
        });
        let items: Vec<_> = found.by_ref().take(limit).collect();
        let more = found.next().is_some();
        let next = items.last().filter(|_| more).map(|kept| kept.number.to_string());
        Ok(Page { items: items.into_iter().map(|kept| kept.authorization.clone()).collect(), next })
    }
}

fn is_of(kept: &Kept, party: &AuthorizationParty) -> bool {
    match party {
        AuthorizationParty::Metaverse(id) => kept.authorization.metaverse == *id,
        AuthorizationParty::ThirdParty(id) => kept.authorization.system == *id,
    }
}
