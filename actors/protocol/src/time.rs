//! Time as a value: what a turn is told, and what documents carry.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

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

    /// As RFC 3339 text, always with three digits of the second, so that moments sort as their texts do. Events and
    /// leases are written so often that a formatter for every calendar shows.
    fn rfc3339(self) -> String {
        let (days, of_day) = (self.0 / DAY_MS, self.0 % DAY_MS);
        let (year, month, day) = date(days);
        let (seconds, ms) = (of_day / 1_000, of_day % 1_000);
        let ([c1, c2], [y1, y2], [m1, m2], [d1, d2]) = (two(year / 100), two(year % 100), two(month), two(day));
        let ([h1, h2], [n1, n2], [s1, s2]) = (two(seconds / 3_600), two(seconds / 60 % 60), two(seconds % 60));
        let ([f1, f2], [_, f3]) = (two(ms / 10), two(ms % 10));
        let text = [
            c1, c2, y1, y2, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'.', f1, f2, f3,
            b'Z',
        ];
        // They are digits.
        String::from_utf8(text.to_vec()).unwrap_or_default()
    }
}

const DAY_MS: u64 = 86_400_000;

/// A number below a hundred in two digits.
const fn two(number: u64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// Year, month and day of the day with this number since 1970-01-01, of the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is a year's last: then the lengths of months follow one rule.
const fn date(days: u64) -> (u64, u64, u64) {
    /// From 0000-03-01 to 1970-01-01.
    const BEFORE: u64 = 719_468;
    const FOUR_CENTURIES: u64 = 146_097;
    let (era, day) = ((days + BEFORE) / FOUR_CENTURIES, (days + BEFORE) % FOUR_CENTURIES);
    let year = (day - day / 1_460 + day / 36_524 - day / (FOUR_CENTURIES - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
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
            serializer.serialize_str(&self.rfc3339())
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
    use std::num::NonZeroU8;

    use time::{
        OffsetDateTime,
        format_description::well_known::{
            Iso8601,
            iso8601::{Config, EncodedConfig, TimePrecision},
        },
    };

    use super::{DAY_MS, Timestamp};

    const MILLISECOND: EncodedConfig =
        Config::DEFAULT.set_time_precision(TimePrecision::Second { decimal_digits: NonZeroU8::new(3) }).encode();

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        let check = |ms: u64| {
            let moment = Timestamp::from_unix_ms(ms);
            let reference = OffsetDateTime::from_unix_timestamp_nanos(i128::from(moment.0) * 1_000_000);
            let reference = reference.expect("in range").format(&Iso8601::<MILLISECOND>).expect("it is written");
            assert_eq!(moment.to_string(), reference, "{ms}");
        };
        // Every day up to 2101, among them a century's leap day and one that is none, and some of every later year, at another
        // time of the day each; the first and the last moment of days; every fraction.
        let last = Timestamp::MAX.0 / DAY_MS;
        for day in (0..48_000).chain((48_000..=last).step_by(59)) {
            check(day * DAY_MS + day * 7_919 % DAY_MS);
        }
        (47_480..47_550).for_each(|day| [0, DAY_MS - 1].into_iter().for_each(|ms| check(day * DAY_MS + ms)));
        (0..1_100).for_each(check);
    }

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
