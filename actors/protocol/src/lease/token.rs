//! The fencing token: what tells an older lease from a newer one, across crashes and restored backups.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A fencing token F (Burrows, "The Chubby lock service", OSDI 2006, calls it a sequencer): the epoch of the
/// supervisor that gave it, and its number within the epoch. Later tokens are larger. In documents it is text, `7.42`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Counts the lives of the supervisor.
    pub epoch: u64,
    /// Counts the tokens of the epoch, from 1.
    pub n: u64,
}

impl Token {
    /// Before any token: what nobody was ever given.
    pub const NONE: Self = Self { epoch: 0, n: 0 };
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.n)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Token {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        String::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Token {}

/// The text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is two numbers with a dot between them, such as `7.42`")]
pub struct TokenError;

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let (epoch, n) = text.split_once('.').ok_or(TokenError)?;
        let number = |digits: &str| {
            // What `parse` takes beside digits (a sign) is no token.
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten().ok_or(TokenError)
        };
        Ok(Self { epoch: number(epoch)?, n: number(n)? })
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.epoch, self.n).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            let (epoch, n) = <(u64, u64)>::deserialize(deserializer)?;
            Ok(Self { epoch, n })
        }
    }
}

/// The id that a requester gives a request, so that repeating it changes nothing. In documents a UUID
/// (RFC 9562): 32 hexadecimal digits, with or without hyphens.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Aligned to 16 bytes it would make every claim, record and effect larger.
#[repr(Rust, packed(8))]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0;
        let field = |from: u32, digits: u32| (id >> from) & ((1_u128 << (4 * digits)) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            field(96, 8),
            field(80, 4),
            field(64, 4),
            field(48, 4),
            field(0, 12)
        )
    }
}

/// The text is not a request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is a UUID: 32 hexadecimal digits, with or without hyphens")]
pub struct RequestIdError;

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(RequestIdError);
        }
        u128::from_str_radix(&digits, 16).map(Self).map_err(|_| RequestIdError)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { { self.0 }.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            u128::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RequestId, Token};

    proptest! {
        #[test]
        fn tokens_and_request_ids_read_back_from_documents(epoch: u64, n: u64, id: u128) {
            let (token, id) = (Token { epoch, n }, RequestId(id));
            prop_assert_eq!(token.to_string().parse(), Ok(token));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn what_is_no_token_is_refused(text in "[0-9.+ -]{0,6}") {
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let right = text.split_once('.').is_some_and(|(epoch, n)| digits(epoch) && digits(n));
            prop_assert_eq!(text.parse::<Token>().is_ok(), right);
        }
    }
}
