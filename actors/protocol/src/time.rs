//! Time as a value: what a turn is told, and what documents carry.

use std::{fmt, num::NonZeroU8};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use time::{
    OffsetDateTime,
    format_description::well_known::{
        Iso8601, Rfc3339,
        iso8601::{Config, EncodedConfig, TimePrecision},
    },
};

/// RFC 3339 is a profile of ISO 8601; this is it with three digits of the second.
const TO_THE_MILLISECOND: Iso8601<MILLISECOND> = Iso8601;
const MILLISECOND: EncodedConfig =
    Config::DEFAULT.set_time_precision(TimePrecision::Second { decimal_digits: NonZeroU8::new(3) }).encode();

/// The two clocks as one turn sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back and means nothing across a restart. Deadlines use it.
    pub monotonic_ms: u64,
    /// The wall clock, which can jump. Documents and expiries use it.
    pub wall: Timestamp,
}

/// A moment of the wall clock, in milliseconds since 1970-01-01T00:00:00Z. In documents: RFC 3339 text.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, format = DateTime))]
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last moment that RFC 3339 can write: the end of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The moment this many milliseconds after the epoch, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn from_unix_ms(ms: u64) -> Self {
        Self(ms.min(Self::MAX.0))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// The moment `ms` milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self::from_unix_ms(self.0.saturating_add(ms))
    }

    /// Reads RFC 3339 text; digits below the millisecond are cut.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(Self::from_unix_ms)
    }

    /// Always with three digits of the second, so that moments sort as texts do.
    fn rfc3339(self) -> Option<String> {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).ok()?.format(&TO_THE_MILLISECOND).ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339().ok_or(fmt::Error)?)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let text = self.rfc3339().ok_or_else(|| S::Error::custom("the moment is out of range"))?;
            serializer.serialize_str(&text)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            Self::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not an RFC 3339 moment after 1970")))
        } else {
            u64::deserialize(deserializer).map(Self::from_unix_ms)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn a_moment_is_rfc_3339_text_in_a_document() {
        let moment = Timestamp::from_unix_ms(1_700_000_000_123);
        let text = serde_json::to_string(&moment).expect("a moment is a string");
        assert_eq!(text, "\"2023-11-14T22:13:20.123Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&text).expect("it reads back"), moment);
    }

    #[test]
    fn moments_sort_as_their_texts_do() {
        let texts = [0, 7, 70, 700, 1_000].map(|ms| Timestamp::from_unix_ms(ms).to_string());
        assert_eq!(texts.first().map(String::as_str), Some("1970-01-01T00:00:00.000Z"));
        assert!(texts.is_sorted(), "{texts:?}");
    }

    #[test]
    fn the_last_moment_can_be_written() {
        assert_eq!(Timestamp::from_unix_ms(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
