//! Schedules of cron, in a time zone.
//!
//! A job of a fixed time that daylight saving skips runs when the clocks have gone forward, and one in the hour that comes
//! twice runs once; a job of every hour or of every few minutes runs by the clock that people see. That is what Debian's cron
//! does (cron(8), "Notes"), and how jobs on real machines behave.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::host::name;
use crate::limits;
use crate::time::Timestamp;

/// A time zone by its name in the time zone database of IANA, such as `Europe/Berlin`; UTC by default.
///
/// The rules are those that were built in: every machine and region has the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

/// A string that is not a [`Zone`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "there is no time zone {0:?}: write a name of the IANA database, such as Europe/Berlin or UTC"
)]
pub struct ZoneError(String);

impl Zone {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// An instant as people read it: `10:02 CET`, or with the date when `now` is another day there.
    pub(crate) fn clock(&self, at: Timestamp, now: Timestamp) -> String {
        let (here, today) = (self.zoned(at), self.zoned(now).date());
        if here.date() == today {
            here.strftime("%H:%M %Z").to_string()
        } else {
            self.date(at)
        }
    }

    /// With the date: `2026-01-31 10:02 CET`.
    pub(crate) fn date(&self, at: Timestamp) -> String {
        self.zoned(at).strftime("%Y-%m-%d %H:%M %Z").to_string()
    }

    fn zoned(&self, at: Timestamp) -> jiff::Zoned {
        at.calendar().to_zoned(self.0.clone())
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl FromStr for Zone {
    type Err = ZoneError;
    fn from_str(text: &str) -> Result<Self, ZoneError> {
        static BUILT_IN: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
        let known = BUILT_IN.get(text.trim()).ok();
        known.map(Self).ok_or_else(|| {
            let shown = crate::text::line(text, limits::ZONE_CHARS);
            ZoneError(shown)
        })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;
    fn try_from(text: String) -> Result<Self, ZoneError> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.as_str().to_owned()
    }
}

/// When a job runs: the five fields of cron, or one of `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` and
/// `@annually`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule(String, Arc<Cron>);

/// A string that is not a [`Schedule`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScheduleError {
    /// It is not written as cron wants it.
    #[error("not a schedule of cron, such as '0 2 * * *' for 2 o'clock each day: {0}")]
    Syntax(String),
    /// Implementations of cron differ in what it means.
    #[error(
        "day of month {0} and day of week {1} together mean either of them, or both, depending on the cron; \
         write one of them as *"
    )]
    Ambiguous(String, String),
    /// It names no day that there is, such as 30 February.
    #[error("no day of the next years is in the schedule")]
    Never,
}

impl Schedule {
    /// The first instant of it after `at` by the clocks of `zone`; `None` when there is none within years.
    #[must_use]
    pub fn next(&self, at: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let next = self.1.find_next_occurrence(&zone.zoned(at), false).ok()?;
        Timestamp::from_millis(next.timestamp().as_millisecond()).ok()
    }

    /// The last instant of it at `at` or before; `None` when there is none within years.
    #[must_use]
    pub fn last(&self, at: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let last = self
            .1
            .find_previous_occurrence(&zone.zoned(at), true)
            .ok()?;
        Timestamp::from_millis(last.timestamp().as_millisecond()).ok()
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;
    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<_> = text.split_whitespace().collect();
        let written = fields.join(" ");
        if written.len() > limits::SCHEDULE_CHARS {
            return Err(ScheduleError::Syntax(format!(
                "it has more than {} characters",
                limits::SCHEDULE_CHARS
            )));
        }
        if let [_, _, day, _, weekday] = fields[..] {
            let any = |field: &str| field == "*" || field == "?";
            let steps = |field: &str| field.starts_with("*/");
            if steps(day) && !any(weekday) || steps(weekday) && !any(day) {
                return Err(ScheduleError::Ambiguous(day.to_owned(), weekday.to_owned()));
            }
        }
        let known = if written.eq_ignore_ascii_case("@midnight") {
            "@daily"
        } else {
            &written
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(known)
            .map_err(|error| ScheduleError::Syntax(explained(&error)))?;
        let schedule = Self(written, Arc::new(cron));
        match schedule.next(Timestamp::MIN, &Zone::default()) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never),
        }
    }
}

fn explained(error: &CronError) -> String {
    match error {
        CronError::EmptyPattern => "it is empty".to_owned(),
        CronError::IllegalCharacters(_) => "it has a character that no field may have".to_owned(),
        CronError::ComponentError(cause) => {
            let cause = cause.trim_end_matches('.');
            let (first, rest) = cause.split_at_checked(1).unwrap_or_default();
            first.to_lowercase() + rest
        }
        _ => "it has five fields: minute, hour, day of month, month, day of week".to_owned(),
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({:?})", self.0)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Schedule {}

impl Hash for Schedule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

name!(Schedule, ScheduleError);

#[cfg(test)]
mod tests;
