//! The authorizations that TPSAA keeps, and what they permit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    PermissionId, Problem, ProblemKind, Ref, SystemId, UserId,
    access::{AuthorizationDecision, AuthorizationGrant, UserAuthorization},
    message::{AuthorizationParty, MetaverseSystemMsg, VerifyUserAuthorization},
    time::Timestamp,
};

use crate::{
    mutation::{Mutation, broken},
    sif::numbered::{Numbered, take_out},
};

/// How many authorizations are kept of one user of one metaverse system at one third-party system.
pub const USER_AUTHORIZATIONS_MAX: usize = 64;
/// How many authorizations are kept in all.
pub const AUTHORIZATIONS_MAX: usize = 4_000_000;

/// The operation that stands for all.
const ALL: &str = "*";

/// An authorization as it is kept, with what is needed when it is decided anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Counts the authorizations: a later one has a higher number.
    pub number: u64,
    /// The actor of the metaverse system, which is told of later decisions.
    pub metaverse_entity: Ref<MetaverseSystemMsg>,
    /// The operations that were asked for; none: whatever the third-party system gives.
    pub asked: Arc<BTreeSet<String>>,
    /// The authorization.
    pub authorization: UserAuthorization,
}

/// Whose authorization: a user of a metaverse system, at a third-party system.
type Holder = (SystemId, UserId, SystemId);

/// All authorizations.
#[derive(Debug, Default)]
pub(super) struct Register {
    pub(super) all: Numbered<Kept>,
    by_id: BTreeMap<PermissionId, u64>,
    by_holder: BTreeMap<Holder, BTreeSet<u64>>,
    by_metaverse: BTreeMap<SystemId, BTreeSet<u64>>,
    by_system: BTreeMap<SystemId, BTreeSet<u64>>,
}

impl Register {
    pub(super) fn get(&self, id: &PermissionId) -> Option<&Kept> {
        self.by_id.get(id).and_then(|number| self.all.get(*number))
    }

    /// Keeps an authorization, or a new decision about it.
    pub(super) fn keep(&mut self, kept: Kept) {
        self.by_id.insert(kept.authorization.id.clone(), kept.number);
        self.by_holder.entry(holder(&kept.authorization)).or_default().insert(kept.number);
        self.by_metaverse.entry(kept.authorization.metaverse.clone()).or_default().insert(kept.number);
        self.by_system.entry(kept.authorization.system.clone()).or_default().insert(kept.number);
        self.all.insert(kept.number, kept);
    }

    /// Forgets an authorization.
    pub(super) fn forget(&mut self, number: u64) {
        let Some(kept) = self.all.remove(number) else { return };
        self.by_id.remove(&kept.authorization.id);
        take_out(&mut self.by_metaverse, &kept.authorization.metaverse, number);
        take_out(&mut self.by_system, &kept.authorization.system, number);
        take_out(&mut self.by_holder, &holder(&kept.authorization), number);
    }

    /// The authorizations of one side, from the number `from` on.
    pub(super) fn of_party(&self, party: &AuthorizationParty, from: u64) -> impl Iterator<Item = &Kept> {
        let numbers = match party {
            AuthorizationParty::Metaverse(id) => self.by_metaverse.get(id),
            AuthorizationParty::ThirdParty(id) => self.by_system.get(id),
        };
        let numbers = numbers.into_iter().flat_map(move |numbers| numbers.range(from..));
        numbers.filter_map(|number| self.all.get(*number))
    }

    /// All authorizations at one third-party system, with their numbers and the actors of who asked for them.
    pub(super) fn of_system(&self, system: &SystemId) -> Vec<(u64, Ref<MetaverseSystemMsg>, UserAuthorization)> {
        let of_it = self.by_system.get(system).into_iter().flatten().filter_map(|number| self.all.get(*number));
        of_it.map(|kept| (kept.number, kept.metaverse_entity, kept.authorization.clone())).collect()
    }

    fn of(&self, holder: &Holder) -> impl DoubleEndedIterator<Item = &Kept> {
        self.by_holder.get(holder).into_iter().flatten().filter_map(|number| self.all.get(*number))
    }

    /// What must be forgotten before `holder` gets one more authorization, if anything.
    ///
    /// # Errors
    /// [`ProblemKind::LimitReached`] when the user has [`USER_AUTHORIZATIONS_MAX`] that are good: none of those is
    /// ever dropped.
    pub(super) fn make_room(&self, holder: &Holder, now: Timestamp) -> Result<Option<u64>, Problem> {
        if self.by_holder.get(holder).map_or(0, BTreeSet::len) < USER_AUTHORIZATIONS_MAX {
            return Ok(None);
        }
        // What permits nothing any more goes first, then logins that never came.
        let useless = self.of(holder).find(|kept| match &kept.authorization.decision {
            AuthorizationDecision::Granted(grant) => expired(grant, now),
            AuthorizationDecision::Denied(_) | AuthorizationDecision::Revoked => true,
            AuthorizationDecision::Pending(_) => false,
        });
        let pending = |kept: &&Kept| matches!(kept.authorization.decision, AuthorizationDecision::Pending(_));
        match useless.or_else(|| self.of(holder).find(pending)) {
            Some(kept) => Ok(Some(kept.number)),
            None => {
                let detail = format!("a user has at most {USER_AUTHORIZATIONS_MAX} authorizations at one system");
                Err(Problem::new(ProblemKind::LimitReached, detail))
            }
        }
    }

    /// Whatever was granted to anybody: what a planted bug takes for the user's.
    fn anybodys(&self) -> Option<(&PermissionId, &AuthorizationGrant)> {
        self.all.entries().find_map(|kept| match &kept.authorization.decision {
            AuthorizationDecision::Granted(grant) => Some((&kept.authorization.id, grant)),
            _ => None,
        })
    }

    /// FGMV-29 9.1 step 13: the newest grant that covers the operation and has not ended.
    ///
    /// # Errors
    /// [`ProblemKind::PermissionDenied`] when the system's newest word is no, [`ProblemKind::PermissionExpired`] when
    /// there was a grant, otherwise [`ProblemKind::PermissionMissing`].
    pub(super) fn verify(
        &self,
        question: &VerifyUserAuthorization,
        now: Timestamp,
    ) -> Result<(&PermissionId, &AuthorizationGrant), Problem> {
        let holder = (question.metaverse.clone(), question.user.clone(), question.system.clone());
        let grants = || {
            self.of(&holder).rev().filter_map(|kept| match &kept.authorization.decision {
                AuthorizationDecision::Granted(grant) if covers(grant, &question.operation) => {
                    Some((&kept.authorization.id, grant))
                }
                _ => None,
            })
        };
        if broken(Mutation::AuthorizationUnchecked)
            && let Some(any) = self.anybodys()
        {
            return Ok(any);
        }
        if let Some(valid) = grants().find(|(_, grant)| !expired(grant, now)) {
            return Ok(valid);
        }
        let newest = self.of(&holder).next_back().map(|kept| &kept.authorization.decision);
        if let Some(AuthorizationDecision::Denied(reason)) = newest {
            return Err(denied(&question.system, reason));
        }
        if let Some(AuthorizationDecision::Revoked) = newest {
            let detail = format!("the authorization of `{}` at `{}` was revoked", question.user, question.system);
            return Err(Problem::new(ProblemKind::PermissionDenied, detail));
        }
        let (kind, what) = match grants().next() {
            Some(_) => (ProblemKind::PermissionExpired, "the authorization has ended"),
            None => (ProblemKind::PermissionMissing, "no authorization covers it"),
        };
        let VerifyUserAuthorization { user, operation, system, .. } = question;
        Err(Problem::new(kind, format!("`{user}` may not call `{operation}` of `{system}`: {what}")))
    }
}

/// Whose authorization it is.
pub(super) fn holder(authorization: &UserAuthorization) -> Holder {
    (authorization.metaverse.clone(), authorization.user.clone(), authorization.system.clone())
}

/// What an asker hears of a denial.
pub(super) fn denied(system: &SystemId, reason: &str) -> Problem {
    Problem::new(ProblemKind::PermissionDenied, format!("`{system}` denied it: {reason}"))
}

/// Operations that a decision grants although nobody asked for them. Who asked for nothing in particular, or for all,
/// takes what is given.
pub(super) fn not_asked<'d>(asked: &BTreeSet<String>, decision: &'d AuthorizationDecision) -> Vec<&'d str> {
    match decision {
        AuthorizationDecision::Granted(grant) if !asked.is_empty() && !asked.contains(ALL) => {
            grant.scope.iter().filter(|operation| !asked.contains(*operation)).map(String::as_str).collect()
        }
        _ => Vec::new(),
    }
}

fn covers(grant: &AuthorizationGrant, operation: &str) -> bool {
    grant.scope.contains(operation) || grant.scope.contains(ALL)
}

fn expired(grant: &AuthorizationGrant, now: Timestamp) -> bool {
    grant.expires_at.is_some_and(|end| end <= now)
}
