//! How long a host may stay silent: by an interval or by a schedule, and with a grace.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::beat::{Heartbeat, Interval};
use crate::entry::HostSettings;
use crate::limits;
use crate::schedule::{Schedule, Zone};
use crate::time::Timestamp;

/// How much later than expected a beat may come: 0 s to 30 d, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Grace(u64);

/// A number that is not a [`Grace`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a grace is 0 to 2592000000 ms (30 days), not {0}")]
pub struct GraceError(u64);

impl Grace {
    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// As how long a run may take: a second at least.
    #[must_use]
    pub fn interval(self) -> Interval {
        Interval::at_most(self.duration())
    }
}

/// Of a schedule, when nobody says another.
impl Default for Grace {
    fn default() -> Self {
        Self(u64::try_from(limits::SCHEDULE_GRACE.as_millis()).unwrap_or(u64::MAX))
    }
}

impl TryFrom<u64> for Grace {
    type Error = GraceError;
    fn try_from(millis: u64) -> Result<Self, GraceError> {
        let fits = u128::from(millis) <= limits::GRACE_LONGEST.as_millis();
        fits.then_some(Self(millis)).ok_or(GraceError(millis))
    }
}

impl TryFrom<Duration> for Grace {
    type Error = GraceError;
    fn try_from(duration: Duration) -> Result<Self, GraceError> {
        u64::try_from(duration.as_millis())
            .unwrap_or(u64::MAX)
            .try_into()
    }
}

impl From<Grace> for u64 {
    fn from(grace: Grace) -> Self {
        grace.0
    }
}

/// How long a host may stay silent from one of its beats on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// With the grace.
    pub interval: Interval,
    /// Of these, how long it is late before it counts as missing; `None` when it has no grace.
    pub grace: Option<Grace>,
}

impl Timing {
    /// Of a host that beats every `interval`.
    #[must_use]
    pub fn every(interval: Interval, grace: Option<Grace>) -> Self {
        let more = grace.map_or(Duration::ZERO, Grace::duration);
        Self {
            interval: Interval::at_most(interval.duration() + more),
            grace,
        }
    }

    /// Of a host that beat at `at`, and beats by a schedule. What comes a little before its time is that beat, sent by a clock
    /// that is ahead.
    #[must_use]
    pub fn by(schedule: &Schedule, zone: &Zone, grace: Option<Grace>, at: Timestamp) -> Self {
        let grace = grace.unwrap_or_default();
        let next = schedule.next(at.plus(limits::SCHEDULE_EARLY), zone);
        let interval = next.map_or(limits::INTERVAL_MAX, |next| next.since(at));
        Self {
            interval: Interval::at_most(interval + grace.duration()),
            grace: Some(grace),
        }
    }

    /// How long it is silent when all is well.
    #[must_use]
    pub fn usual(self) -> Duration {
        let grace = self.grace.map_or(Duration::ZERO, Grace::duration);
        self.interval.duration().saturating_sub(grace)
    }

    /// The same in milliseconds.
    #[must_use]
    pub fn usual_millis(self) -> u64 {
        u64::try_from(self.usual().as_millis()).unwrap_or(u64::MAX)
    }
}

impl HostSettings {
    /// How long the host may stay silent after `from`, its last beat or the end of a pause: as admins say, or as it sent.
    #[must_use]
    pub fn timing(&self, heartbeat: &Heartbeat, from: Timestamp) -> Timing {
        let sent = Timing {
            interval: heartbeat.interval,
            grace: heartbeat.grace,
        };
        let grace = self.grace.or(heartbeat.grace);
        match (&self.schedule, self.interval) {
            (Some(schedule), _) => Timing::by(schedule, &self.tz(), grace, from),
            (None, Some(interval)) => Timing::every(interval, self.grace),
            (None, None) if self.grace.is_some() => {
                Timing::every(Interval::at_most(sent.usual()), grace)
            }
            (None, None) => sent,
        }
    }

    /// The zone of the schedule.
    #[must_use]
    pub fn tz(&self) -> Zone {
        self.tz.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beat::Beat;

    const HOUR: u64 = 3_600_000;

    fn at(time: &str) -> Timestamp {
        let at: jiff::Timestamp = time.parse().unwrap();
        Timestamp::from_millis(at.as_millisecond()).unwrap()
    }

    fn grace(millis: u64) -> Option<Grace> {
        millis.try_into().ok()
    }

    fn millis(timing: Timing) -> (u64, Option<u64>) {
        (timing.interval.into(), timing.grace.map(Into::into))
    }

    #[test]
    fn a_schedule_counts_from_the_beat_to_its_next_time_and_the_grace() {
        let nightly: Schedule = "0 2 * * *".parse().unwrap();
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let by = |beat, grace| millis(Timing::by(&nightly, &berlin, grace, at(beat)));
        // 02:10 in Berlin.
        let day = 24 * HOUR - 10 * 60_000;
        assert_eq!(
            by("2026-01-30T01:10:00Z", grace(60_000)),
            (day + 60_000, grace(60_000).map(Into::into))
        );
        assert_eq!(
            by("2026-01-30T01:10:00Z", None),
            (day + HOUR, Some(HOUR)),
            "an hour unless given"
        );
        // A clock that is ahead by a minute, and one that is ahead by more.
        assert_eq!(by("2026-01-30T00:59:00Z", grace(0)).0, 24 * HOUR + 60_000);
        assert_eq!(by("2026-01-30T00:58:59Z", grace(0)).0, 61_000);
        // The night of 29 March has 23 hours.
        assert_eq!(by("2026-03-28T01:00:00Z", grace(0)).0, 24 * HOUR);
        assert_eq!(by("2026-03-29T01:00:00Z", grace(0)).0, 23 * HOUR);
    }

    #[test]
    fn a_yearly_job_fits_and_what_is_rarer_is_cut() {
        let by = |schedule: &str, from| {
            let schedule: Schedule = schedule.parse().unwrap();
            millis(Timing::by(&schedule, &Zone::default(), None, at(from))).0
        };
        assert_eq!(
            by("@yearly", "2027-12-31T23:59:30Z"),
            366 * 24 * HOUR + HOUR + 30_000
        );
        let longest = u64::try_from(limits::INTERVAL_MAX.as_millis()).unwrap();
        assert_eq!(by("0 0 29 2 *", "2028-02-29T00:00:00Z"), longest);
    }

    #[test]
    fn admins_override_what_a_host_sends() {
        let sent = Heartbeat::new(Beat {
            interval: Interval::from_millis(5 * HOUR).unwrap(),
            grace: grace(HOUR),
            ..Beat::ok(at("2026-01-30T12:00:00Z"))
        });
        let settings = HostSettings::default;
        let schedule = Some("@daily".parse().unwrap());
        let cases = [
            (settings(), (5 * HOUR, Some(HOUR))),
            (
                HostSettings {
                    grace: grace(0),
                    ..settings()
                },
                (4 * HOUR, Some(0)),
            ),
            (
                HostSettings {
                    interval: Interval::from_millis(HOUR).ok(),
                    ..settings()
                },
                (HOUR, None),
            ),
            (
                HostSettings {
                    interval: Interval::from_millis(HOUR).ok(),
                    grace: grace(HOUR),
                    ..settings()
                },
                (2 * HOUR, Some(HOUR)),
            ),
            (
                HostSettings {
                    schedule: schedule.clone(),
                    ..settings()
                },
                (13 * HOUR, Some(HOUR)),
            ),
            (
                HostSettings {
                    schedule,
                    tz: "Europe/Berlin".parse().ok(),
                    grace: grace(0),
                    ..settings()
                },
                (11 * HOUR, Some(0)),
            ),
        ];
        for (settings, expected) in cases {
            assert_eq!(
                millis(settings.timing(&sent, sent.last)),
                expected,
                "{settings:?}"
            );
        }
    }
}
