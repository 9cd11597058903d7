//! Beats, and what is kept of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::time::Timestamp;
use crate::words::words;

words! {
    /// What a beat says of its host.
    pub enum Signal: "signal" {
        /// All is well.
        Ok = "ok",
        /// The job ran and failed.
        Fail = "fail",
    }
}

/// How long a host may stay silent: 1 s to 365 d, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Interval(u64);

/// A number that is no [`Interval`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an interval is 1000 to 31536000000 ms (1 s to 365 days), not {0}")]
pub struct IntervalError(u64);

impl Interval {
    /// Reads milliseconds.
    pub fn from_millis(millis: u64) -> Result<Self, IntervalError> {
        let range = limits::INTERVAL_MIN.as_millis()..=limits::INTERVAL_MAX.as_millis();
        if range.contains(&u128::from(millis)) {
            Ok(Self(millis))
        } else {
            Err(IntervalError(millis))
        }
    }

    /// Milliseconds.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// The same as a duration.
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

/// What a failing host says about it: at most 1 KiB of text, cut there, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Message(String);

impl Message {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing is left of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Line breaks stay; other control characters become blanks, and blanks at both ends go.
impl From<String> for Message {
    fn from(text: String) -> Self {
        let plain: String = text
            .trim()
            .chars()
            .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
            .collect();
        let end = plain.floor_char_boundary(limits::MESSAGE_BYTES);
        Self(plain[..end].to_owned())
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        message.0
    }
}

/// One signal from a host, as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// When it arrived, by the server's clock.
    pub at: Timestamp,
    /// How long the host may now stay silent.
    pub interval: Interval,
    /// What it says.
    pub signal: Signal,
    /// Kept only with [`Signal::Fail`].
    pub message: Option<Message>,
}

/// The last `fail` of a host. It outlives the `ok` that follows, so that the sweep between can still tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When it arrived.
    pub at: Timestamp,
    /// What the host said about it.
    pub message: Option<Message>,
}

/// What is kept of all beats of a host in one region; or, merged, in all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The first beat ever heard.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
    /// The interval sent with the last one.
    pub interval: Interval,
    /// The signal of the last one.
    pub signal: Signal,
    /// The last `fail`.
    pub failure: Option<Failure>,
}

impl Heartbeat {
    /// What is kept after the first beat.
    #[must_use]
    pub fn new(beat: Beat) -> Self {
        let failure = (beat.signal == Signal::Fail).then_some(Failure {
            at: beat.at,
            message: beat.message,
        });
        Self {
            first: beat.at,
            last: beat.at,
            interval: beat.interval,
            signal: beat.signal,
            failure,
        }
    }

    /// What is kept when `other` was heard as well, be it later, earlier, or in another region.
    ///
    /// The newer beat wins and so does the newer failure, each by itself: a `fail` that arrives late is not lost
    /// behind a newer `ok`. Of two beats in one millisecond `other` wins.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let first = self.first.min(other.first);
        let failure = match (&self.failure, &other.failure) {
            (Some(mine), Some(theirs)) if mine.at > theirs.at => self.failure.clone(),
            (_, Some(_)) => other.failure.clone(),
            (_, None) => self.failure.clone(),
        };
        let newer = if other.last >= self.last { other } else { self };
        Self {
            first,
            failure,
            ..newer
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn beat(at: i64, signal: Signal) -> Heartbeat {
        Heartbeat::new(Beat {
            at: Timestamp::from_millis(at).unwrap(),
            interval: Interval::default(),
            signal,
            message: (signal == Signal::Fail).then(|| Message::from(format!("at {at}"))),
        })
    }

    #[test]
    fn intervals_have_two_ends() {
        for good in [1_000, 600_000, 31_536_000_000] {
            assert_eq!(Interval::from_millis(good).unwrap().as_millis(), good);
        }
        for bad in [0, 999, 31_536_000_001, u64::MAX] {
            assert_eq!(Interval::from_millis(bad), Err(IntervalError(bad)));
        }
        assert_eq!(Interval::default().as_millis(), 600_000);
    }

    #[test]
    fn messages_are_cut_between_characters() {
        let message = Message::from("ä".repeat(1000));
        assert_eq!(message.as_str().len(), 1024);
        assert_eq!(
            Message::from("a\u{1b}[2Jb\nc\r\n".to_owned()).as_str(),
            "a [2Jb\nc"
        );
    }

    #[test]
    fn a_late_fail_is_not_lost_behind_a_newer_ok() {
        let kept = beat(2, Signal::Ok).merge(beat(1, Signal::Fail));
        assert_eq!((kept.last.as_millis(), kept.signal), (2, Signal::Ok));
        assert_eq!(kept.failure.unwrap().at.as_millis(), 1);
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(mut beats in prop::collection::vec((0..1_000_i64, any::<bool>()), 1..20)) {
            beats.sort_by_key(|b| b.0);
            beats.dedup_by_key(|b| b.0);
            let signal = |fail| if fail { Signal::Fail } else { Signal::Ok };
            let all = |order: &[(i64, bool)]| {
                order.iter().map(|(at, fail)| beat(*at, signal(*fail))).reduce(Heartbeat::merge)
            };
            let forth = all(&beats);
            beats.reverse();
            prop_assert_eq!(forth, all(&beats));
        }
    }
}
