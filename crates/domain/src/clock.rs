//! The time of a process: it follows a clock that never steps, and the wall clock only once that has stayed where it
//! was set.
//!
//! So a wall clock that is wrong for a moment dates nothing, and one that is set right after the start of the machine
//! is followed soon.

use std::time::Duration;

use crate::limits;
use crate::time::Timestamp;

/// Two clocks of a machine, read at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock, which may step.
    pub wall: Timestamp,
    /// The time since some instant, by a clock that never steps.
    pub elapsed: Duration,
}

/// A step of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// The time by the clock that never steps.
    pub from: Timestamp,
    /// What the wall clock showed instead.
    pub to: Timestamp,
}

/// What a reading shows that the one before did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockEvent {
    /// The wall clock stepped. It is not followed yet.
    Stepped(ClockStep),
    /// The wall clock is back, and was not followed.
    Returned,
    /// The step has lasted for [`limits::STEP_FOR`]: the process follows the wall clock.
    Followed(ClockStep),
}

/// The time of a process. Between two followed steps it never goes back.
#[derive(Clone, Debug)]
pub struct ProcessTime {
    /// Where the time runs from.
    anchor: Reading,
    /// How far the wall clock is ahead (in milliseconds; negative when it is behind) while it differs, and since when.
    differs: Option<(i64, Duration)>,
    /// The last step, and when it last showed.
    last: Option<(ClockStep, Duration)>,
}

impl ProcessTime {
    /// The time that begins with this reading.
    #[must_use]
    pub fn new(anchor: Reading) -> Self {
        Self {
            anchor,
            differs: None,
            last: None,
        }
    }

    /// A process before this one stored something at `stored`. When that is ahead, the clock was set back in between, or
    /// was wrong then.
    #[must_use]
    pub fn resumed(mut self, stored: Timestamp) -> Self {
        let Reading { wall, elapsed } = self.anchor;
        if stored.is_ahead(wall) {
            let step = ClockStep {
                from: stored,
                to: wall,
            };
            self.last = Some((step, elapsed));
        }
        self
    }

    /// The time at `reading`, and what that shows.
    pub fn read(&mut self, reading: Reading) -> (Timestamp, Option<ClockEvent>) {
        let Reading { wall, elapsed } = reading;
        let time = self
            .anchor
            .wall
            .plus(elapsed.saturating_sub(self.anchor.elapsed));
        let ahead = wall.as_millis() - time.as_millis();
        let above =
            |millis: i64| u128::from(millis.unsigned_abs()) > limits::STEP_ABOVE.as_millis();
        if !above(ahead) {
            let event = self.differs.take().map(|_| ClockEvent::Returned);
            return (time, event);
        }
        let step = ClockStep {
            from: time,
            to: wall,
        };
        match self.differs {
            // Another step than before begins anew.
            Some((before, since)) if !above(ahead - before) => {
                let (shown, _) = self.last.unwrap_or((step, elapsed));
                self.last = Some((shown, elapsed));
                if elapsed.saturating_sub(since) < limits::STEP_FOR {
                    return (time, None);
                }
                (self.anchor, self.differs) = (reading, None);
                (wall, Some(ClockEvent::Followed(step)))
            }
            _ => {
                self.differs = Some((ahead, elapsed));
                self.last = Some((step, elapsed));
                (time, Some(ClockEvent::Stepped(step)))
            }
        }
    }

    /// The last step, for as long as people are shown it.
    #[must_use]
    pub fn last_step(&self, elapsed: Duration) -> Option<ClockStep> {
        let recent = |at: Duration| elapsed.saturating_sub(at) < limits::STEP_SHOWN;
        self.last
            .filter(|(_, at)| recent(*at))
            .map(|(step, _)| step)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const YEAR: i64 = 365 * 86_400;

    /// The reading after so many seconds, of a wall clock that is so many seconds ahead.
    fn reading(seconds: i64, ahead: i64) -> Reading {
        Reading {
            wall: Timestamp::from_millis((1_700_000_000 + seconds + ahead) * 1_000).unwrap(),
            elapsed: Duration::from_secs(u64::try_from(100 + seconds).unwrap()),
        }
    }

    fn right(seconds: i64) -> Timestamp {
        reading(seconds, 0).wall
    }

    fn step(seconds: i64, ahead: i64) -> ClockStep {
        ClockStep {
            from: right(seconds),
            to: reading(seconds, ahead).wall,
        }
    }

    #[test]
    fn six_seconds_at_another_year_change_nothing() {
        let mut time = ProcessTime::new(reading(0, 0));
        for (seconds, ahead, event) in [
            (9, 0, None),
            (10, YEAR, Some(ClockEvent::Stepped(step(10, YEAR)))),
            (15, YEAR, None),
            (16, 0, Some(ClockEvent::Returned)),
            (17, 0, None),
        ] {
            assert_eq!(time.read(reading(seconds, ahead)), (right(seconds), event));
        }
        let shown = |seconds| time.last_step(reading(seconds, 0).elapsed);
        assert_eq!(shown(16), Some(step(10, YEAR)));
        assert_eq!((shown(15 + 3_899), shown(15 + 3_900)), (shown(16), None));
    }

    #[test]
    fn a_lasting_step_is_followed_after_a_minute() {
        for ahead in [-2 * 3_600, 3, YEAR] {
            let mut time = ProcessTime::new(reading(0, 0));
            let stepped = ClockEvent::Stepped(step(10, ahead));
            assert_eq!(time.read(reading(10, ahead)), (right(10), Some(stepped)));
            assert_eq!(time.read(reading(69, ahead)), (right(69), None));
            let (now, event) = time.read(reading(70, ahead));
            assert_eq!(now, reading(70, ahead).wall);
            assert_eq!(event, Some(ClockEvent::Followed(step(70, ahead))));
            assert_eq!(
                time.read(reading(71, ahead)),
                (reading(71, ahead).wall, None)
            );
        }
    }

    #[test]
    fn a_clock_that_keeps_stepping_is_not_followed() {
        let mut time = ProcessTime::new(reading(0, 0));
        for seconds in 1..1_000 {
            let ahead = if seconds % 59 < 30 { 7_200 } else { -7_200 };
            assert_eq!(time.read(reading(seconds, ahead)).0, right(seconds));
        }
    }

    #[test]
    fn a_leap_second_is_no_step() {
        let mut time = ProcessTime::new(reading(0, 0));
        for ahead in [-2, -1, 1, 2] {
            assert_eq!(time.read(reading(100, ahead)), (right(100), None));
        }
    }

    #[test]
    fn a_start_before_what_is_stored_is_shown() {
        let started = ProcessTime::new(reading(0, 0));
        let elapsed = reading(1, 0).elapsed;
        let shown = |stored| started.clone().resumed(stored).last_step(elapsed);
        assert_eq!((shown(right(60)), shown(right(-9))), (None, None));
        let back = ClockStep {
            from: right(61),
            to: right(0),
        };
        assert_eq!(shown(right(61)), Some(back));
    }

    proptest! {
        /// Whatever the wall clock does, the time is right to the allowed step, or goes on as it was; it goes back only when
        /// a step is followed, and that shows where the wall clock has been for a minute.
        #[test]
        fn time_goes_back_only_when_a_step_is_followed(
            walk in prop::collection::vec((1..40_i64, prop::sample::select(vec![0, 1, -7_200, 7_200, YEAR, -YEAR])), 1..200),
        ) {
            let mut time = ProcessTime::new(reading(0, 0));
            let (mut seconds, mut before, mut same) = (0, right(0), (0, 0));
            for (later, ahead) in walk {
                seconds += later;
                if (same.1 - ahead).abs() > 2 {
                    same = (seconds, ahead);
                }
                let (now, event) = time.read(reading(seconds, ahead));
                if let Some(ClockEvent::Followed(step)) = event {
                    prop_assert_eq!((now, step.to), (reading(seconds, ahead).wall, now));
                    prop_assert!(seconds - same.0 >= 60);
                } else {
                    prop_assert_eq!(now.since(before), Duration::from_secs(u64::try_from(later).unwrap()));
                }
                if seconds - same.0 >= 100 {
                    let off = now.as_millis() - reading(seconds, ahead).wall.as_millis();
                    prop_assert!(off.abs() <= 2_000);
                }
                before = now;
            }
        }
    }
}
