//! Who calls: static tokens, each of one principal.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use twinway_protocol::{Problem, ProblemKind, SystemId};

use super::limits::Rate;

/// What a token's holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A metaverse system: the routes of MII.
    Metaverse,
    /// A digital twin system: the routes of DII.
    TwinSystem,
    /// A third-party system: the routes of SII.
    ThirdParty,
    /// A user's device; its id is the user's name.
    Device,
    /// Whoever runs the daemon: every route, for every system.
    Operator,
}

impl Role {
    /// The role as configurations write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metaverse => "metaverse",
            Self::TwinSystem => "twin-system",
            Self::ThirdParty => "third-party",
            Self::Device => "device",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// What it is.
    pub role: Role,
    /// The system it speaks for; of a device, the user; of an operator, a name.
    pub id: SystemId,
}

/// Why a list of tokens was refused. No token is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// A token has another character than RFC 6750 allows in a header, or none at all.
    #[error("the token of {0} `{1}` is empty or has characters that a bearer token cannot have")]
    Unusable(Role, SystemId),
    /// Two principals have one token.
    #[error("{0} `{1}` has the token of another principal")]
    Shared(Role, SystemId),
}

/// A principal, and what its token has used of its rate.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) principal: Principal,
    pub(super) rate: Rate,
}

struct Entry {
    token: Box<[u8]>,
    known: Arc<Known>,
}

/// The tokens that are accepted.
///
/// They are found by a hash with a random key and then compared in constant time: how long a look-up takes
/// says nothing about how much of a token was right.
pub struct Principals {
    hasher: RandomState,
    by_hash: BTreeMap<u64, Vec<Entry>>,
}

impl fmt::Debug for Principals {
    // Tokens are secrets: logs show how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Principals({})", self.by_hash.len())
    }
}

impl Principals {
    /// Accepts these tokens.
    ///
    /// # Errors
    /// A token that no header can carry, or one that two principals have.
    pub fn new(tokens: impl IntoIterator<Item = (String, Principal)>) -> Result<Self, TokenError> {
        let mut principals = Self { hasher: RandomState::new(), by_hash: BTreeMap::new() };
        for (token, principal) in tokens {
            let (role, id) = (principal.role, principal.id.clone());
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(TokenError::Unusable(role, id));
            }
            if principals.find(&token).is_some() {
                return Err(TokenError::Shared(role, id));
            }
            let known = Arc::new(Known { principal, rate: Rate::new(0, 0) });
            let entry = Entry { token: token.as_bytes().into(), known };
            principals.by_hash.entry(principals.hasher.hash_one(token.as_bytes())).or_default().push(entry);
        }
        Ok(principals)
    }

    /// The same tokens, each bounded to so many requests.
    pub(super) fn limited(mut self, per_second: u32, burst: u32) -> Self {
        for entry in self.by_hash.values_mut().flatten() {
            let principal = entry.known.principal.clone();
            entry.known = Arc::new(Known { principal, rate: Rate::new(per_second, burst) });
        }
        self
    }

    fn find(&self, token: &str) -> Option<&Arc<Known>> {
        let entries = self.by_hash.get(&self.hasher.hash_one(token.as_bytes()))?;
        let same = |entry: &&Entry| bool::from(entry.token.ct_eq(token.as_bytes()));
        entries.iter().find(same).map(|entry| &entry.known)
    }

    /// Whose token an `Authorization` header has.
    ///
    /// # Errors
    /// [`ProblemKind::Unauthenticated`].
    pub(super) fn authenticate(&self, authorization: Option<&str>) -> Result<&Arc<Known>, Problem> {
        let refuse = |detail: &str| Problem::new(ProblemKind::Unauthenticated, detail);
        let header = authorization.ok_or_else(|| refuse("the request has no `Authorization` header"))?;
        let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(refuse("the `Authorization` header is not of the scheme `Bearer`"));
        }
        self.find(token.trim()).ok_or_else(|| refuse("the token is not one of the daemon's"))
    }
}

#[cfg(test)]
mod tests {
    use twinway_protocol::{ProblemKind, SystemId};

    use super::{Principal, Principals, Role, TokenError};

    fn principal(role: Role, id: &str) -> Principal {
        Principal { role, id: SystemId::new(id).expect("a name") }
    }

    #[test]
    fn a_token_speaks_for_its_own_principal_only() {
        let tokens = [
            ("token-a".to_owned(), principal(Role::Metaverse, "a")),
            ("token-b".to_owned(), principal(Role::TwinSystem, "b")),
        ];
        let principals = Principals::new(tokens).expect("they are usable");
        let who = |header| principals.authenticate(Some(header)).map(|known| known.principal.id.to_string());
        assert_eq!(who("Bearer token-b").as_deref(), Ok("b"));
        assert_eq!(who("bearer token-a").as_deref(), Ok("a"));
        for wrong in ["Bearer token-", "Bearer token-aa", "Basic token-a", "token-a", "Bearer", "Bearer "] {
            assert_eq!(who(wrong).expect_err(wrong).kind, ProblemKind::Unauthenticated);
        }
        assert!(principals.authenticate(None).is_err());
    }

    #[test]
    fn a_token_of_two_principals_is_refused() {
        let tokens =
            [("t".to_owned(), principal(Role::Metaverse, "a")), ("t".to_owned(), principal(Role::Operator, "b"))];
        assert!(matches!(Principals::new(tokens), Err(TokenError::Shared(Role::Operator, _))));
        let blank = [("a b".to_owned(), principal(Role::Metaverse, "a"))];
        assert!(matches!(Principals::new(blank), Err(TokenError::Unusable(Role::Metaverse, _))));
    }

    #[test]
    fn logs_show_no_token() {
        let tokens = [("secret".to_owned(), principal(Role::Metaverse, "a"))];
        assert!(!format!("{:?}", Principals::new(tokens).expect("usable")).contains("secret"));
    }
}
