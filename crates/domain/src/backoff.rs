//! Pauses before retries, for how long there are retries, and how clients spread their requests.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::host::HostId;
use crate::limits;
use crate::time::Timestamp;

/// The pause after the `tries`-th failure: 2 s, doubled each time, at most 5 min.
///
/// `spread` (any number) shortens it by up to a quarter, so that senders that failed together do not return together.
#[must_use]
pub fn pause(tries: u32, spread: u8) -> Duration {
    let doubled = limits::PAUSE_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(20));
    let whole = doubled.min(limits::PAUSE_LONGEST);
    whole.saturating_sub(whole / 4 * u32::from(spread) / u32::from(u8::MAX))
}

/// The instants of a delivery that decide when it yields and when it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// From when on its age counts: when its notice was accepted, or later.
    pub from: Timestamp,
    /// When the first failed try ended.
    pub failing: Option<Timestamp>,
    /// When the last failed try ended.
    pub last: Option<Timestamp>,
}

impl Tries {
    /// The instants as they count for a try that begins at `now`: none lies in the future, and of the time since the last
    /// try [`limits::DELIVERY_UNTRIED`] counts at most. To apply it again changes nothing.
    #[must_use]
    pub fn as_of(self, now: Timestamp) -> Self {
        let right = |instant: Timestamp| instant.as_of(now);
        let (from, last) = (right(self.from), self.last.map(right));
        let untried = now.since(last.unwrap_or(from).max(from));
        let surplus = untried.saturating_sub(limits::DELIVERY_UNTRIED);
        let later = |instant: Timestamp| right(instant).plus(surplus);
        Self {
            from: later(from),
            failing: self.failing.map(later),
            last: last.map(later),
        }
    }
}

/// The pause of a client after its `tries`-th failure: a random part of [`pause`], given a random `spread`. So a fleet
/// that lost its server all at once does not return all at once ("full jitter": AWS Architecture Blog, "Exponential
/// Backoff And Jitter").
#[must_use]
pub fn jittered(tries: u32, spread: u32) -> Duration {
    pause(tries, 0).mul_f64(f64::from(spread) / f64::from(u32::MAX))
}

/// This host's delay within a span of `within`, always the same: so a fleet whose cron jobs all start on the minute
/// spreads its beats evenly.
#[must_use]
pub fn splay(host: &HostId, within: Duration) -> Duration {
    let hash = Sha256::digest(host.as_str());
    let place = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    within.mul_f64(f64::from(place) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let seconds: Vec<_> = [0, 1, 2, 3, 8, 9, u32::MAX]
            .map(|tries| pause(tries, 0).as_secs())
            .into();
        assert_eq!(seconds, [2, 2, 4, 8, 256, 300, 300]);
        assert_eq!(pause(1, u8::MAX), Duration::from_millis(1_500));
    }

    #[test]
    fn a_delivery_ages_by_half_a_day_at_most_without_a_try() {
        let at = |hours: u64| Timestamp::MIN.plus(Duration::from_hours(hours));
        let tries = |from: u64, failing: Option<u64>, last: Option<u64>| Tries {
            from: at(from),
            failing: failing.map(at),
            last: last.map(at),
        };
        for (stored, now, expected) in [
            (tries(0, None, None), 12, tries(0, None, None)),
            (tries(0, None, None), 100, tries(88, None, None)),
            (tries(0, Some(1), Some(13)), 25, tries(0, Some(1), Some(13))),
            (tries(0, Some(1), Some(13)), 26, tries(1, Some(2), Some(14))),
            // Of a wrong clock.
            (
                tries(100, Some(101), Some(102)),
                5,
                tries(5, Some(5), Some(5)),
            ),
            (tries(100, None, Some(3)), 5, tries(5, None, Some(3))),
        ] {
            let counted = stored.as_of(at(now));
            assert_eq!(counted, expected, "{stored:?} at {now}");
            assert_eq!(counted.as_of(at(now)), counted);
        }
    }

    #[test]
    fn jitter_takes_any_part_of_the_pause() {
        let parts = [
            (1, 0),
            (1, u32::MAX),
            (4, u32::MAX / 2),
            (u32::MAX, u32::MAX),
        ];
        let seconds: Vec<_> = parts
            .map(|(tries, spread)| jittered(tries, spread).as_secs_f64().round())
            .into();
        assert_eq!(seconds, [0.0, 2.0, 8.0, 300.0]);
    }

    #[test]
    fn splay_spreads_a_fleet_evenly_and_never_changes_for_a_host() {
        let within = Duration::from_mins(1);
        let places = (0..1_000).map(|i| splay(&format!("web-{i}").parse().unwrap(), within));
        let early = places
            .inspect(|place| assert!(*place < within))
            .filter(|place| *place < within / 2)
            .count();
        assert!((400..600).contains(&early), "{early}");
        assert_eq!(
            splay(&"web-01".parse().unwrap(), within).as_millis(),
            2_722,
            "never changes"
        );
    }
}
