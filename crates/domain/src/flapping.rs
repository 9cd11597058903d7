//! Hosts that go missing and come back again and again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::text::human_duration;
use crate::time::Timestamp;
use crate::transition::{Kind, Transition};

/// That a host went missing [`limits::FLAPPING`] times or more within [`limits::FLAPPING_WITHIN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flapping {
    /// How often, as far as its history goes back.
    pub times: u32,
    /// Since when it was missing the first of these times.
    pub since: Timestamp,
}

impl Flapping {
    /// Whether the host with this `history` flaps at `now`.
    pub(crate) fn of(history: &[Transition], now: Timestamp) -> Option<Self> {
        let from = now.minus(limits::FLAPPING_WITHIN);
        let mut missing = history
            .iter()
            .filter(|transition| transition.kind == Kind::Missing && transition.at > from);
        let since = missing.next()?.since;
        let times = 1 + u32::try_from(missing.count()).unwrap_or(u32::MAX - 1);
        (times >= limits::FLAPPING).then_some(Self { times, since })
    }

    /// For how long it must beat before people are notified that it recovered: twice as long each time.
    pub(crate) fn steady_for(self) -> Duration {
        let doubled = 1_u32.checked_shl(self.times.saturating_sub(limits::FLAPPING));
        limits::FLAPPING_STEADY
            .saturating_mul(doubled.unwrap_or(u32::MAX))
            .min(limits::FLAPPING_STEADIEST)
    }

    /// `flapping: 5th time in 40 min`, at `now`.
    pub(crate) fn text(self, now: Timestamp) -> String {
        let nth = if self.times == 3 { "rd" } else { "th" };
        let minutes = now.since(self.since).as_secs().div_ceil(60);
        let lasted = human_duration(Duration::from_mins(minutes.max(1)));
        format!("flapping: {}{nth} time in {lasted}", self.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beat::Interval;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis((28_000_000 + minutes) * 60_000).unwrap()
    }

    /// It went missing at these minutes, and recovered a minute later.
    fn history(minutes: &[i64]) -> Vec<Transition> {
        let transition = |kind, minute| Transition {
            grace: None,
            epoch: 1,
            kind,
            since: at(minute),
            last_beat: at(minute),
            interval: Interval::default(),
            message: None,
            at: at(minute),
            caveat: None,
            key: None,
            withdrawn: false,
            accepted: None,
        };
        let pair = |minute: &i64| {
            [
                transition(Kind::Missing, *minute),
                transition(Kind::Recovered, minute + 1),
            ]
        };
        minutes.iter().flat_map(pair).collect()
    }

    #[test]
    fn a_host_that_went_missing_three_times_within_an_hour_flaps() {
        let flapping = |minutes: &[i64], now| Flapping::of(&history(minutes), at(now));
        assert_eq!(flapping(&[], 60), None);
        assert_eq!(flapping(&[10, 20], 60), None);
        let third = Flapping {
            times: 3,
            since: at(10),
        };
        assert_eq!(flapping(&[10, 20, 50], 60), Some(third));
        assert_eq!(flapping(&[0, 20, 50], 60), None, "an hour ago");
        assert_eq!(third.text(at(50)), "flapping: 3rd time in 40 min");
        let fifth = flapping(&[10, 20, 30, 40, 50], 50).unwrap();
        assert_eq!(fifth.text(at(50)), "flapping: 5th time in 40 min");
    }

    #[test]
    fn each_time_it_must_beat_for_twice_as_long() {
        let minutes = |times| {
            let steady = Flapping {
                times,
                since: at(0),
            }
            .steady_for();
            steady.as_secs() / 60
        };
        assert_eq!([3, 4, 5, 6, 7, 8].map(minutes), [2, 4, 8, 16, 30, 30]);
        assert_eq!(minutes(u32::MAX), 30);
    }
}
