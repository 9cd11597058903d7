//! Instants of the server's clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits;

/// An instant in milliseconds since 1970-01-01T00:00:00Z, between the years 1970 and 9999.
///
/// The default is [`Timestamp::MIN`]. Arithmetic saturates at both ends: no stored number can make it panic.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "i64", into = "i64")]
pub struct Timestamp(i64);

/// A number that is not a [`Timestamp`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} ms is not an instant between the years 1970 and 9999")]
pub struct TimestampError(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);
    /// 9999-12-30T22:00:00Z, the last whole second that `jiff` can write.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// The instant so many milliseconds after 1970.
    pub fn from_millis(millis: i64) -> Result<Self, TimestampError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(TimestampError(millis))
        }
    }

    /// The instant in milliseconds since 1970.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// This instant, `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis).min(Self::MAX.0))
    }

    /// This instant, `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis).max(Self::MIN.0))
    }

    /// The time from `earlier` to this instant; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// Whether it lies so far after `now` that only a wrong clock can have written it.
    #[must_use]
    pub fn is_ahead(self, now: Self) -> bool {
        self.since(now) > limits::FUTURE_SKEW
    }

    /// What it counts as at `now`: itself, or `now` if a wrong clock has written it.
    #[must_use]
    pub fn as_of(self, now: Self) -> Self {
        if self.is_ahead(now) { now } else { self }
    }

    /// The start of its day, in UTC.
    #[must_use]
    pub fn day(self) -> Self {
        Self(self.0 - self.0 % 86_400_000)
    }

    /// The same instant in calendar terms.
    pub(crate) fn calendar(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl TryFrom<i64> for Timestamp {
    type Error = TimestampError;
    fn try_from(millis: i64) -> Result<Self, Self::Error> {
        Self::from_millis(millis)
    }
}

impl From<Timestamp> for i64 {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.0
    }
}

/// RFC 3339 in UTC, whole seconds, rounded down: `2026-01-31T10:02:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.calendar().strftime("%Y-%m-%dT%H:%M:%SZ").fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_last_instant_are_formatted() {
        assert_eq!(Timestamp::MIN.to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T22:00:00Z");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX.plus(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.minus(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::MIN.since(Timestamp::MAX), Duration::ZERO);
    }

    #[test]
    fn an_instant_more_than_a_minute_ahead_counts_as_now() {
        let now = Timestamp(1_000_000);
        for (instant, expected) in [(0, 0), (1_060_000, 1_060_000), (1_060_001, 1_000_000)] {
            assert_eq!(Timestamp(instant).as_of(now), Timestamp(expected));
        }
        assert!(Timestamp::MAX.is_ahead(now) && !now.is_ahead(now));
    }

    #[test]
    fn a_day_begins_at_midnight() {
        let day = |millis| Timestamp(millis).day().to_string();
        assert_eq!([day(0), day(86_399_999)], ["1970-01-01T00:00:00Z"; 2]);
        assert_eq!(day(86_400_000), "1970-01-02T00:00:00Z");
    }

    #[test]
    fn numbers_outside_the_range_are_refused() {
        assert_eq!(Timestamp::from_millis(-1), Err(TimestampError(-1)));
        assert!(Timestamp::from_millis(i64::MAX).is_err());
    }
}
