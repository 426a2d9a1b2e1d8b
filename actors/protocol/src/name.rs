//! Names that the outside gives: of systems, twins, objects and users.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no character.
    #[error("a name cannot be empty")]
    Empty,
    /// The name is longer than [`NAME_BYTES_MAX`] bytes.
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// The name has a control character or white space.
    #[error("a name has no white space and no control characters")]
    Character,
}

/// The longest name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 512;

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        Err(NameError::Empty)
    } else if text.len() > NAME_BYTES_MAX {
        Err(NameError::TooLong)
    } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        // Most names: no letter has to be looked up.
        Ok(())
    } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Err(NameError::Character)
    } else {
        Ok(())
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $Name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
        pub struct $Name(Arc<str>);

        impl $Name {
            /// Checks and keeps a name.
            ///
            /// # Errors
            /// When it is empty, too long, or has white space or control characters.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, NameError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        // A map by names is asked by text without making a name of it first.
        impl Borrow<str> for $Name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::str::FromStr for $Name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    )*};
}

names! {
    /// The id of an external system: a metaverse, digital twin or third-party system (FGMV-29 8.2.1, 8.3.1).
    SystemId
    /// The id of a digital twin, unique in a metaverse (FGMV-28 REQ-DT-01).
    TwinId
    /// The URI of a physical object that twins stand for.
    ObjectUri
    /// A user of a metaverse system, as that system names them.
    UserId
    /// A virtual world of a metaverse system.
    WorldId
    /// A permission that was granted, by which it is read, shown and revoked.
    PermissionId
    /// An execution of a chain of third-party systems (FGMV-29 8.2.4).
    ExecutionId
    /// A spatial map of a metaverse system (FGMV-28 7.3.1).
    MapId
    /// An entry of a spatial map; of a twin's entry, the twin's id.
    EntryId
    /// A region of a spatial map that not everybody may see.
    RegionId
    /// An invocation of an action, by which it is followed and cancelled.
    InvocationId
    /// A third-party system's subscription to information of twins (FGMV-29 8.2.5).
    SubscriptionId
}

/// A metaverse system as a whole is a world, for whom it has no other.
impl From<&SystemId> for WorldId {
    fn from(system: &SystemId) -> Self {
        Self(Arc::clone(&system.0))
    }
}

/// A twin's entry on a map goes by the twin's name.
impl From<&TwinId> for EntryId {
    fn from(twin: &TwinId) -> Self {
        Self(Arc::clone(&twin.0))
    }
}
