//! Beats, and what is stored of them.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::KeyId;
use crate::limits;
use crate::message::Message;
use crate::run::{Log, Run, RunId};
use crate::time::Timestamp;
use crate::timing::Grace;
use crate::words::words;

words! {
    /// What a beat says of its host.
    pub enum Signal: "signal" {
        /// All is well.
        Ok = "ok",
        /// The job ran and failed.
        Fail = "fail",
        /// The job begins to run.
        Start = "start",
        /// Nothing but a message to keep.
        Log = "log",
    }
}

/// How long a host may stay silent: 1 s to 400 d, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Interval(u64);

/// A number that is not an [`Interval`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an interval is 1000 to 34560000000 ms (1 s to 400 days), not {0}")]
pub struct IntervalError(u64);

impl Interval {
    /// The interval of so many milliseconds.
    pub fn from_millis(millis: u64) -> Result<Self, IntervalError> {
        let range = limits::INTERVAL_MIN.as_millis()..=limits::INTERVAL_MAX.as_millis();
        if range.contains(&u128::from(millis)) {
            Ok(Self(millis))
        } else {
            Err(IntervalError(millis))
        }
    }

    /// The interval of `duration`, or the closest one.
    #[must_use]
    pub(crate) fn at_most(duration: Duration) -> Self {
        let fits = duration.clamp(limits::INTERVAL_MIN, limits::INTERVAL_MAX);
        Self(u64::try_from(fits.as_millis()).unwrap_or(u64::MAX))
    }

    /// The interval in milliseconds.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// What people know of the interval of a host, which may have a schedule: at least [`limits::SCHEDULE_GAP`] then.
    pub(crate) fn known(self, scheduled: bool) -> Self {
        if scheduled {
            self.max(Self::at_most(limits::SCHEDULE_GAP))
        } else {
            self
        }
    }

    /// The interval as a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Default for Interval {
    fn default() -> Self {
        Self(u64::try_from(limits::INTERVAL_DEFAULT.as_millis()).unwrap_or(u64::MAX))
    }
}

impl TryFrom<u64> for Interval {
    type Error = IntervalError;
    fn try_from(millis: u64) -> Result<Self, IntervalError> {
        Self::from_millis(millis)
    }
}

impl TryFrom<Duration> for Interval {
    type Error = IntervalError;
    fn try_from(duration: Duration) -> Result<Self, IntervalError> {
        Self::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Interval> for u64 {
    fn from(interval: Interval) -> Self {
        interval.0
    }
}

/// One signal from a host, as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// When it arrived, by the server's clock.
    pub at: Timestamp,
    /// How long the host may stay silent from now on, with the grace.
    pub interval: Interval,
    /// Of this, how long it is late before it counts as missing.
    pub grace: Option<Grace>,
    /// Whether a schedule says when the next one is expected.
    pub scheduled: bool,
    /// Whether all is well.
    pub signal: Signal,
    /// Which run of the job it is about, if it says so.
    pub run_id: Option<RunId>,
    /// With [`Signal::Start`], how long the run may take.
    pub limit: Option<Interval>,
    /// Kept only with [`Signal::Fail`] and [`Signal::Log`].
    pub message: Option<Message>,
    /// The key that it came with, where one is known.
    pub key: Option<KeyId>,
    /// The address that it came from, where one is known: of the client behind trusted proxies.
    pub address: Option<IpAddr>,
}

impl Beat {
    /// An `ok` with the default interval.
    #[must_use]
    pub fn ok(at: Timestamp) -> Self {
        Self {
            at,
            interval: Interval::default(),
            grace: None,
            scheduled: false,
            signal: Signal::Ok,
            run_id: None,
            limit: None,
            message: None,
            key: None,
            address: None,
        }
    }
}

/// The last `fail` of a host. It outlives the `ok` that follows, so that the next sweep still finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When it arrived.
    pub at: Timestamp,
    /// The message of that beat.
    pub message: Option<Message>,
}

/// What is stored of all beats of a host in one region; or, merged, in all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The first beat.
    pub first: Timestamp,
    /// The last beat.
    pub last: Timestamp,
    /// The interval of the last beat, with its grace.
    pub interval: Interval,
    /// The grace of the last beat, if it had one.
    pub grace: Option<Grace>,
    /// The signal of the last beat: `ok` or `fail`.
    pub signal: Signal,
    /// Which run of the job the last beat is about, if it said so.
    pub run_id: Option<RunId>,
    /// The last run that a `start` began.
    pub run: Option<Run>,
    /// The last `log`.
    pub log: Option<Log>,
    /// The last `fail`.
    pub failure: Option<Failure>,
    /// The key of the last beat, where one is known.
    pub key: Option<KeyId>,
    /// The address that the last beat came from, where one is known.
    pub address: Option<IpAddr>,
    /// The interval of the first beat, where it is known: people were told of it when the host registered.
    pub first_interval: Option<Interval>,
}

impl Heartbeat {
    /// The heartbeat of one beat. That of a `start` or a `log` is [none](Self::is_note), until it is [stored](Self::stored) of a
    /// new host.
    #[must_use]
    pub fn new(beat: Beat) -> Self {
        let Beat {
            at,
            signal,
            run_id,
            message,
            ..
        } = beat;
        let note = matches!(signal, Signal::Start | Signal::Log);
        let (first, last) = if note {
            // A run that begins is not over.
            (at.minus(Duration::from_millis(1)), Timestamp::MIN)
        } else {
            (at, at)
        };
        let run = (signal == Signal::Start).then_some(Run {
            at,
            limit: beat.limit,
            id: run_id,
            took: None,
        });
        Self {
            first,
            last,
            interval: beat.interval,
            grace: beat.grace,
            signal: if note { Signal::Ok } else { signal },
            run_id: run_id.filter(|_| !note),
            run,
            log: match (signal, &message) {
                (Signal::Log, Some(message)) => Some(Log {
                    at,
                    message: message.clone(),
                }),
                _ => None,
            },
            failure: (signal == Signal::Fail).then_some(Failure { at, message }),
            key: beat.key,
            address: beat.address,
            first_interval: Some(beat.interval.known(beat.scheduled)),
        }
    }

    /// Whether it is only of a `start` or a `log`: no beat of a known host.
    #[must_use]
    pub fn is_note(&self) -> bool {
        self.last == Timestamp::MIN
    }

    /// What is stored of it when nothing is stored of its host: a note makes the host known.
    #[must_use]
    pub fn stored(self) -> Self {
        let last = if self.is_note() {
            self.first
        } else {
            self.last
        };
        Self { last, ..self }
    }

    /// Whether a wrong clock wrote any of its instants, as seen at `now`.
    #[must_use]
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        let failed = self.failure.as_ref().map_or(self.last, |last| last.at);
        let instants = [self.first, self.last, failed];
        instants.into_iter().any(|instant| instant.is_ahead(now))
    }

    /// The same, with the instants that a wrong clock wrote brought to `now`.
    #[must_use]
    pub fn as_of(self, now: Timestamp) -> Self {
        let failure = self.failure.map(|failure| Failure {
            at: failure.at.as_of(now),
            ..failure
        });
        let run = self.run.map(|run| Run {
            at: run.at.as_of(now),
            ..run
        });
        Self {
            first: self.first.as_of(now),
            last: self.last.as_of(now),
            failure,
            run,
            ..self
        }
    }

    /// Whether the interval is [`limits::INTERVAL_RAISE`] times as long as `known`, or longer.
    #[must_use]
    pub fn has_raised(&self, known: Interval) -> bool {
        self.interval.as_millis() >= known.as_millis() * limits::INTERVAL_RAISE
    }

    /// Whether its instants are those of `other`: it was not written since that was read.
    #[must_use]
    pub fn has_instants_of(&self, other: &Self) -> bool {
        let instants = |of: &Self| (of.first, of.last, of.failure.as_ref().map(|last| last.at));
        instants(self) == instants(other)
    }

    /// What a region stores after `beat` arrived there: [`Heartbeat::merge`], except that a stored beat or failure is
    /// replaced when it is so much later than `now`, the instant of the write, that a wrong clock wrote it.
    ///
    /// Not the instant of the beat: a process that was held up between the arrival and the write would replace what
    /// others have written since.
    ///
    /// A failure that a wrong clock wrote remains until another one arrives, later than the last beat: its instant still
    /// tells whether people were notified of it ([`Entry::mended`](crate::Entry::mended)).
    #[must_use]
    pub fn recorded(self, beat: Self, now: Timestamp) -> Self {
        if beat.is_note() {
            let now = now.max(beat.first);
            // A later run of a wrong clock gives way.
            let ahead = |run: &Run| run.at.is_ahead(now) && beat.run.is_some();
            let run = self.run.filter(|run| !ahead(run));
            return Self { run, ..self }.merge(beat);
        }
        let (now, last) = (now.max(beat.last), self.last);
        let is_right = |failure: &Failure| !failure.at.is_ahead(now) && failure.at <= last;
        let stored = Self {
            // Not the later instant of the write: the beat wins, with its interval and its signal.
            last: if last.is_ahead(now) { beat.last } else { last },
            failure: self
                .failure
                .filter(|failure| beat.failure.is_none() || is_right(failure)),
            ..self
        };
        stored.merge(beat)
    }

    /// The heartbeat of the beats in both, be `other` later, earlier, or from another region.
    ///
    /// The newer beat and the newer failure win independently: a `fail` that arrives late is not lost behind a newer
    /// `ok`. Of two beats in one millisecond `other` wins.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        // Of a known host a note is not the first beat.
        let (earlier, later) = match (self.is_note(), other.is_note()) {
            (false, true) => (&self, &self),
            (true, false) => (&other, &other),
            _ if other.first < self.first => (&other, &self),
            _ => (&self, &other),
        };
        let (first, first_interval) = (
            earlier.first,
            earlier.first_interval.or(later.first_interval),
        );
        let failure = match (&self.failure, &other.failure) {
            (Some(mine), Some(theirs)) if mine.at > theirs.at => self.failure.clone(),
            (_, Some(_)) => other.failure.clone(),
            (_, None) => self.failure.clone(),
        };
        let run = self.merged_run(&other);
        let logged = |of: &Self| of.log.as_ref().map(|log| log.at);
        let log = if logged(&self) > logged(&other) {
            self.log.clone()
        } else {
            other.log.clone()
        };
        let newer = if other.last >= self.last { other } else { self };
        Self {
            first,
            run,
            log,
            failure,
            first_interval,
            ..newer
        }
    }
}

/// Beats for the property tests of this crate and of the adapters.
#[cfg(any(test, feature = "testing"))]
#[expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "for tests only"
)]
pub mod strategy {
    use proptest::prelude::*;

    use std::net::IpAddr;

    use super::{Beat, Grace, Heartbeat, Interval, Message, Signal};
    use crate::key::KeyId;
    use crate::limits;
    use crate::time::Timestamp;

    /// Any beat, at one of few instants, so that many beats fall into one millisecond; some of a clock that is far ahead.
    pub fn beat() -> impl Strategy<Value = Beat> {
        let ahead = i64::try_from(limits::FUTURE_SKEW.as_millis()).unwrap();
        let fields = (
            prop_oneof![4 => 1..7_i64, 1 => ahead + 1..ahead + 10],
            1_000..1_010_u64,
            prop::sample::select(&[Signal::Ok, Signal::Fail][..]),
            prop::option::of("[a-zü\n]{0,3}"),
        );
        fields.prop_map(|(at, interval, signal, message)| Beat {
            at: Timestamp::from_millis(at).unwrap(),
            interval: Interval::from_millis(interval).unwrap(),
            grace: Grace::try_from(interval % 4)
                .ok()
                .filter(|_| interval % 2 == 0),
            scheduled: interval % 3 == 0,
            run_id: None,
            limit: None,
            signal,
            message: message.map(Message::from),
            key: Some(KeyId::from_random([u8::try_from(interval % 3).unwrap(); 7])),
            address: Some(IpAddr::from([
                10,
                0,
                0,
                u8::try_from(interval % 3).unwrap(),
            ])),
        })
    }

    /// Any heartbeat; some are merged already, as a copy of another store would be.
    pub fn heartbeat() -> impl Strategy<Value = Heartbeat> {
        prop::collection::vec(beat(), 1..3).prop_map(|beats| {
            let all = beats.into_iter().map(Heartbeat::new);
            all.reduce(Heartbeat::merge).unwrap()
        })
    }

    /// The beats of a host in the order of their arrival.
    pub fn history() -> impl Strategy<Value = Vec<Heartbeat>> {
        prop::collection::vec(heartbeat(), 1..12)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn beat(at: i64, signal: Signal) -> Heartbeat {
        Heartbeat::new(Beat {
            signal,
            message: (signal == Signal::Fail).then(|| Message::from(format!("at {at}"))),
            ..Beat::ok(Timestamp::from_millis(at).unwrap())
        })
    }

    #[test]
    fn intervals_outside_the_limits_are_refused() {
        for good in [1_000, 600_000, 34_560_000_000] {
            assert_eq!(Interval::from_millis(good).unwrap().as_millis(), good);
        }
        for bad in [0, 999, 34_560_000_001, u64::MAX] {
            assert_eq!(Interval::from_millis(bad), Err(IntervalError(bad)));
        }
        assert_eq!(Interval::default().as_millis(), 600_000);
    }

    #[test]
    fn a_late_fail_is_not_lost_behind_a_newer_ok() {
        let kept = beat(2, Signal::Ok).merge(beat(1, Signal::Fail));
        assert_eq!((kept.last.as_millis(), kept.signal), (2, Signal::Ok));
        assert_eq!(kept.failure.unwrap().at.as_millis(), 1);
    }

    #[test]
    fn a_beat_replaces_what_a_wrong_clock_stored() {
        let ahead = 61_001;
        let kept = beat(ahead, Signal::Fail).recorded(beat(1_000, Signal::Ok), Timestamp::MIN);
        assert_eq!(
            (kept.first.as_millis(), kept.last.as_millis(), kept.signal),
            (1_000, 1_000, Signal::Ok)
        );
        let failed = |kept: &Heartbeat| kept.failure.as_ref().unwrap().at.as_millis();
        assert_eq!(failed(&kept), ahead, "only a failure replaces a failure");
        assert_eq!(
            failed(&kept.recorded(beat(2_000, Signal::Fail), Timestamp::MIN)),
            2_000
        );
        let late = beat(61_000, Signal::Fail).recorded(beat(1_000, Signal::Fail), Timestamp::MIN);
        assert_eq!(
            (late.last.as_millis(), failed(&late)),
            (61_000, 61_000),
            "a late beat is none of a wrong clock"
        );
        let now = Timestamp::from_millis(ahead).unwrap();
        let held_up = beat(ahead, Signal::Ok).recorded(beat(1_000, Signal::Ok), now);
        assert_eq!(held_up.last, now, "and neither is one that is written late");
    }

    proptest! {
        /// The order of arrival matters only for beats that are further apart: then the clocks differ, and the beat that
        /// arrives decides which one is right.
        #[test]
        fn beats_within_the_skew_are_recorded_as_they_merge(mut history in strategy::history()) {
            let earliest = history.iter().map(|heartbeat| heartbeat.last).min().unwrap();
            history.retain(|heartbeat| !heartbeat.last.is_ahead(earliest));
            let recorded = history.clone().into_iter().reduce(|stored, beat| stored.recorded(beat, Timestamp::MIN));
            prop_assert_eq!(recorded, history.into_iter().reduce(Heartbeat::merge));
        }

        /// Whatever was stored before, nothing but a failure remains ahead of the last beat.
        #[test]
        fn the_last_beat_to_arrive_decides_beyond_the_skew(history in strategy::history()) {
            let last = history.last().unwrap().last;
            let stored = history.into_iter().reduce(|stored, beat| stored.recorded(beat, Timestamp::MIN)).unwrap();
            prop_assert!(!stored.last.is_ahead(last) && !stored.first.is_ahead(last));
        }

        #[test]
        fn the_order_of_arrival_does_not_matter(beats in prop::collection::vec(strategy::beat(), 1..20)) {
            let mut beats: Vec<_> = beats.into_iter().map(Heartbeat::new).collect();
            beats.sort_by_key(|beat| beat.last);
            beats.dedup_by_key(|beat| beat.last);
            let forth = beats.clone().into_iter().reduce(Heartbeat::merge);
            prop_assert_eq!(beats.into_iter().rev().reduce(Heartbeat::merge), forth);
        }
    }
}
