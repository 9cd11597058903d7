//! Runs of jobs: a `start` begins one, and the next `ok` or `fail` ends it.
//!
//! Runs that overlap tell themselves apart by an id: an `ok` with the id of another run leaves a run as it is. An `ok` without
//! one, and every `fail`, ends what runs, as at Healthchecks (its documentation, "Measuring script run time").

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::beat::{Heartbeat, Interval, Signal};
use crate::limits;
use crate::message::Message;
use crate::text::human_duration;
use crate::time::Timestamp;

/// What stands for the id of a run: a checksum of its text, so that any id takes four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(u32);

/// A string that is not the id of a run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the id of a run is 1 to {} characters, such as a UUID",
    limits::RUN_ID_CHARS
)]
pub struct RunIdError;

impl FromStr for RunId {
    type Err = RunIdError;
    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let fits = (1..=limits::RUN_ID_CHARS).contains(&text.chars().count());
        fits.then(|| Self(crc32fast::hash(text.as_bytes())))
            .ok_or(RunIdError)
    }
}

impl From<RunId> for u64 {
    fn from(id: RunId) -> Self {
        id.0.into()
    }
}

impl TryFrom<u64> for RunId {
    type Error = std::num::TryFromIntError;
    fn try_from(stored: u64) -> Result<Self, Self::Error> {
        stored.try_into().map(Self)
    }
}

/// The last run that a `start` began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it began.
    pub at: Timestamp,
    /// How long it may take; as long as the grace of the host, if nobody says.
    pub limit: Option<Interval>,
    /// Its id, if it has one.
    pub id: Option<RunId>,
    /// How long it took, if a beat of its id has ended it.
    pub took: Option<Duration>,
}

/// What a host last wanted to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// When.
    pub at: Timestamp,
    /// Its words.
    pub message: Message,
}

impl Run {
    /// The later one of both; of one run, with what either knows of its end.
    fn later(mine: Option<Self>, theirs: Option<Self>) -> Option<Self> {
        match (mine, theirs) {
            (Some(mine), Some(theirs)) if mine.at == theirs.at => {
                let took = [mine.took, theirs.took].into_iter().flatten().min();
                Some(Self { took, ..theirs })
            }
            (Some(mine), Some(theirs)) if mine.at > theirs.at => Some(mine),
            (mine, theirs) => theirs.or(mine),
        }
    }

    /// The same, if the last beat of `beats` ended it, by its id.
    fn ended_by(self, beats: &Heartbeat) -> Self {
        let same = beats.run_id.is_some() && beats.run_id == self.id;
        if !same || beats.last < self.at {
            return self;
        }
        let took = beats.last.since(self.at);
        Self {
            took: Some(self.took.map_or(took, |known| known.min(took))),
            ..self
        }
    }

    /// Why a host is missing whose run takes longer than `limit`.
    pub(crate) fn too_long(self, limit: Interval) -> Message {
        let limit = human_duration(limit.duration());
        Message::from(format!(
            "the run since {} takes longer than {limit}",
            self.at
        ))
    }
}

impl Heartbeat {
    /// The last run of both.
    pub(crate) fn merged_run(&self, other: &Self) -> Option<Run> {
        let run = Run::later(self.run, other.run)?;
        Some(run.ended_by(self).ended_by(other))
    }

    /// The run that is under way, when the last beat was at `last`, perhaps one that is not stored here.
    #[must_use]
    pub fn open_run(&self, last: Timestamp) -> Option<Run> {
        let run = self.run.filter(|run| run.took.is_none())?;
        let of_another = self.run_id.is_some() && self.run_id != run.id;
        let goes_on = of_another && self.signal == Signal::Ok && last == self.last;
        (last < run.at || goes_on).then_some(run)
    }

    /// How long the last run took, if it is over.
    #[must_use]
    pub fn last_took(&self) -> Option<Duration> {
        let run = self.run.filter(|_| self.open_run(self.last).is_none())?;
        Some(run.took.unwrap_or_else(|| self.last.since(run.at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beat::Beat;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + second * 1_000).unwrap()
    }

    fn beat(second: i64, signal: Signal, id: &str) -> Heartbeat {
        Heartbeat::new(Beat {
            signal,
            run_id: id.parse().ok(),
            ..Beat::ok(at(second))
        })
    }

    fn start(second: i64, id: &str) -> Heartbeat {
        beat(second, Signal::Start, id)
    }

    fn ok(second: i64, id: &str) -> Heartbeat {
        beat(second, Signal::Ok, id)
    }

    /// When the run that is under way began, and how long the last one took, after these.
    fn after(beats: &[Heartbeat]) -> (Option<i64>, Option<u64>) {
        let host = ok(0, "").recorded_all(beats);
        let open = host.open_run(host.last);
        (
            open.map(|run| (run.at.as_millis() - 1_000_000) / 1_000),
            host.last_took().map(|took| took.as_secs()),
        )
    }

    impl Heartbeat {
        fn recorded_all(self, beats: &[Self]) -> Self {
            beats
                .iter()
                .fold(self, |host, beat| host.recorded(beat.clone(), at(999)))
        }
    }

    #[test]
    fn the_next_beat_ends_a_run_and_one_of_another_run_does_not() {
        let fail = |second, id| beat(second, Signal::Fail, id);
        let cases = [
            (vec![start(1, "")], (Some(1), None)),
            (vec![start(1, ""), ok(5, "")], (None, Some(4))),
            (vec![start(1, ""), fail(5, "")], (None, Some(4))),
            (vec![start(1, ""), start(3, ""), ok(5, "")], (None, Some(2))),
            (vec![start(1, "a"), ok(5, "a")], (None, Some(4))),
            (vec![start(1, "a"), ok(5, "")], (None, Some(4))),
            (vec![start(1, "a"), ok(5, "b")], (Some(1), None)),
            (vec![start(1, ""), ok(5, "b")], (Some(1), None)),
            (vec![start(1, "a"), fail(5, "b")], (None, Some(4))),
            // They overlap.
            (
                vec![start(1, "b"), start(2, "a"), ok(3, "a"), ok(9, "b")],
                (None, Some(1)),
            ),
            (
                vec![start(1, "a"), start(2, "b"), ok(3, "a")],
                (Some(2), None),
            ),
            (
                vec![start(1, "a"), start(2, "b"), ok(3, "a"), ok(9, "b")],
                (None, Some(7)),
            ),
            // Out of order.
            (vec![ok(5, ""), start(1, "")], (None, Some(4))),
            (vec![ok(5, "a"), start(1, "a")], (None, Some(4))),
            (vec![start(3, ""), start(1, "")], (Some(3), None)),
        ];
        for (beats, expected) in cases {
            assert_eq!(after(&beats), expected, "{beats:?}");
        }
    }

    #[test]
    fn a_start_is_no_beat_and_a_log_changes_nothing_else() {
        let host = ok(0, "");
        let started = host.clone().recorded(start(5, "a"), at(5));
        assert_eq!((started.last, started.first), (at(0), at(0)));
        let log = Heartbeat::new(Beat {
            signal: Signal::Log,
            message: Some(Message::from("half done".to_owned())),
            interval: Interval::from_millis(1_000).unwrap(),
            ..Beat::ok(at(6))
        });
        let logged = started.clone().recorded(log, at(6));
        let kept = logged.log.clone().unwrap();
        assert_eq!((kept.at, kept.message.as_str()), (at(6), "half done"));
        assert_eq!(
            Heartbeat {
                log: None,
                ..logged
            },
            started
        );
    }

    #[test]
    fn a_new_host_that_starts_is_known_since_then_and_runs() {
        let host = start(5, "").stored();
        assert!(host.last < at(5) && host.first == host.last);
        assert_eq!(host.open_run(host.last).map(|run| run.at), Some(at(5)));
        let ended = host.recorded(ok(8, ""), at(8));
        assert_eq!(ended.last_took(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn what_the_ledger_knows_of_a_later_beat_ends_a_run() {
        let host = ok(0, "").recorded(start(5, "a"), at(5));
        assert!(host.open_run(at(4)).is_some());
        assert_eq!(host.open_run(at(5)), None);
    }
}
