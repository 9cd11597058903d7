//! The intervals of hosts: from 30 s to 25 h, and changed by a later beat.
//!
//! A host with a long interval has sent its last beat before the run begins, so that its deadline may fall into it.

use hb_domain::{Beat, Heartbeat, HostKey, Interval};
use hb_service::ports::Heard;

use crate::faults::Fault;
use crate::world::{Quiet, START, Truth, World, instant};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// The longest interval whose silence a run can always judge.
const JUDGED: i64 = 8 * MINUTE;
const SHORT: [i64; 5] = [30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, JUDGED];
const LONG: [i64; 5] = [30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 25 * HOUR];
/// How long before the run the receivers began to work.
pub(crate) const BEFORE: i64 = 26 * HOUR;
/// How long after its deadline a silence is decided at the latest when faults have ended: twice [`in_time`].
const SLACK: i64 = 4 * MINUTE;
/// How long an admin pauses a host.
const PAUSE: i64 = 3 * MINUTE;
/// Until a clock that was wrong is right for all that it wrote.
const MENDED: i64 = MINUTE;

/// How soon a silence is decided without faults: an interval, the skew, two sweeps, and what clocks may differ.
pub(crate) fn in_time(interval: i64) -> i64 {
    interval + 2_000 + 120_000 + 5_000
}

impl Truth {
    /// A host that has always beaten every minute.
    pub(crate) fn new() -> Self {
        Self {
            up: true,
            since: START,
            interval: MINUTE,
            announced: MINUTE,
            longest: MINUTE,
            beat: None,
            lost: None,
        }
    }

    /// Whether silence and return of the host can be judged in any run.
    pub(crate) fn is_judged(&self) -> bool {
        self.longest <= JUDGED
    }

    /// It announces an interval with its next beats.
    fn announce(&mut self, interval: i64) {
        self.announced = interval;
        self.longest = self.longest.max(interval);
    }
}

impl World {
    /// A host falls silent or comes back, now.
    pub(crate) fn turn(&mut self, key: &HostKey, up: bool) {
        let since = self.now;
        if let Some(truth) = self.truth.get_mut(key).filter(|truth| truth.up != up) {
            (truth.up, truth.since) = (up, since);
            self.say(|| format!("{key} {}", if up { "comes back" } else { "falls silent" }));
        }
    }

    /// A new host, perhaps with an interval of its own.
    pub(crate) fn add_host(&mut self, key: &HostKey) {
        let mut truth = Truth::new();
        if self.strikes(Fault::OtherInterval) {
            let long = self.rng.u8(0..4) == 0;
            let from = if long { &LONG[..] } else { &SHORT[..] };
            let interval = from[self.rng.usize(0..from.len())];
            (truth.announced, truth.longest) = (interval, interval);
            truth.interval = interval;
            if long {
                self.begin_before(key, &mut truth);
            }
        }
        self.truth.insert(key.clone(), truth);
    }

    /// Its last beat was before the run; one in three has fallen silent then.
    fn begin_before(&mut self, key: &HostKey, truth: &mut Truth) {
        truth.up = self.rng.u8(0..3) > 0;
        let ago = if truth.up {
            truth.interval * self.rng.i64(0..400) / 1_000
        } else {
            truth.interval - self.rng.i64(3..25) * MINUTE
        };
        truth.since = START - ago;
        truth.beat = Some(truth.since);
        let (up, interval) = (truth.up, truth.interval / SECOND);
        self.say(|| format!("{key} beats every {interval} s, last {ago} ms ago, up: {up}"));
        let heard = Heard {
            key: key.clone(),
            region: self.regions[0].clone(),
            heartbeat: Heartbeat::new(Beat {
                interval: millis(truth.interval),
                ..Beat::ok(instant(truth.since))
            }),
        };
        for region in self.regions.clone() {
            self.tables.put(&region, heard.clone(), truth.since);
            // No scan is so old.
            let beats = self.tables.beats[&region].clone();
            self.tables.old_beats.insert(region, beats);
        }
    }

    /// A host may change its interval: it says so with its next beats, and goes on as before until one is received. One
    /// that an admin has set is left alone.
    pub(crate) fn may_change_interval(&mut self, key: &HostKey) {
        if self.administered.contains(key) || !self.truth[key].is_judged() {
            return;
        }
        if self.strikes(Fault::IntervalChanges) {
            let interval = SHORT[self.rng.usize(0..SHORT.len())];
            self.say(|| format!("{key} beats every {} s from now on", interval / SECOND));
            if let Some(truth) = self.truth.get_mut(key) {
                truth.announce(interval);
            }
        }
    }

    /// How long after a beat a host sends the next one, if it is well.
    pub(crate) fn pause_after_beat(&mut self, key: &HostKey) -> i64 {
        self.truth[key].interval * self.rng.i64(333..417) / 1_000
    }

    /// When a time without canaries last ended, since the run began.
    pub(crate) fn last_gap(&self) -> Option<i64> {
        let ended = self.without_canary.values().filter_map(Quiet::ended);
        ended.max()
    }

    /// The interval of the last beat of a host. Once the beats that several regions have stored of it are brought to now,
    /// nothing shows which of them was the last.
    pub(crate) fn interval_of(&self, truth: &Truth) -> i64 {
        if self.wrong_clock.is_some() && !self.is_one_machine() {
            truth.longest
        } else {
            truth.interval
        }
    }

    /// By when a host that is silent must be missing. After a blackout it has at most its whole interval once more.
    pub(crate) fn due(&self, key: &HostKey, truth: &Truth) -> i64 {
        let wrong = self.wrong_clock.map(|at| at + MENDED);
        // To restored receivers, none of the canaries since the backup arrived.
        let gap = self.last_gap().max(self.operations.restored);
        let silent = Some(truth.since).max(gap).max(wrong);
        let (interval, pause) = if self.administered.contains(key) {
            (truth.longest, PAUSE)
        } else {
            (self.interval_of(truth), 0)
        };
        silent.unwrap_or(truth.since) + interval + pause + SLACK
    }
}

pub(crate) fn millis(interval: i64) -> Interval {
    Interval::from_millis(interval.unsigned_abs()).unwrap()
}
