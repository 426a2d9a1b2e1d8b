//! A twin with the age of what is known of it (FGMV-29 8.3.3).

use serde::Deserialize;
use twinway_protocol::{
    TwinId, UserId,
    twin::{Freshness, TwinView},
};

use super::{Client, ClientError};

/// A twin, and how old what is known of it is.
#[derive(Clone, Debug)]
pub struct TwinReading {
    /// The twin.
    pub view: TwinView,
    /// How old that is.
    pub freshness: Freshness,
}

#[derive(Deserialize)]
struct Aged {
    freshness: Freshness,
}

/// Reading twins. The errors are those of [`ClientError`].
impl Client {
    /// A twin with values that are at most `max_age_ms` milliseconds old: its system is asked for `user`, if need be.
    /// Without a bound it is what is known.
    ///
    /// # Errors
    /// Unknown twin; no permission of the user; a twin system that does not answer, or not with every value.
    pub async fn twin_not_older(
        &self,
        twin: &TwinId,
        user: &UserId,
        max_age_ms: Option<u64>,
    ) -> Result<TwinReading, ClientError> {
        let bound = max_age_ms.map(|ms| ms.to_string());
        self.reading(twin, user, ("maxAgeMs", bound.as_deref())).await
    }

    /// A twin after its system was asked for `user`; if that did not answer, what is known, said to be stale.
    ///
    /// # Errors
    /// Unknown twin, or no permission of the user.
    pub async fn twin_refreshed(&self, twin: &TwinId, user: &UserId) -> Result<TwinReading, ClientError> {
        self.reading(twin, user, ("refresh", Some("true"))).await
    }

    async fn reading(
        &self,
        twin: &TwinId,
        user: &UserId,
        (name, value): (&str, Option<&str>),
    ) -> Result<TwinReading, ClientError> {
        let path = ["mii", "v1", "twins", twin.as_str()];
        let text = self.get(&path).query("user", Some(user.as_str())).query(name, value).text().await?;
        // A description is kept byte for byte, which a document that is flattened would not.
        let unread = |error: serde_json::Error| ClientError::Protocol(error.to_string());
        let view = serde_json::from_str(&text).map_err(unread)?;
        let Aged { freshness } = serde_json::from_str(&text).map_err(unread)?;
        Ok(TwinReading { view, freshness })
    }
}
