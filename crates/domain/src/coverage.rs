//! When beats could be received: silence counts only then.
//!
//! The service sends beats to itself, the canaries, along the whole path of a host's beat. While they arrive, the
//! receiver works; when they stop, it is down, and what hosts did meanwhile is unknown.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::{Fleet, Region};
use crate::limits;
use crate::time::Timestamp;
use crate::transition::Caveat;

/// A time in which a receiver could not have received a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blackout {
    /// The last canary before.
    pub since: Timestamp,
    /// The first one after.
    pub until: Timestamp,
}

/// How long a receiver counts as working after its last canary.
#[derive(Clone, Copy, Debug)]
pub struct CanaryPolicy {
    /// It certainly works this long: a little longer than from one canary to the next. What comes later is unknown until
    /// the next one.
    pub fresh: Duration,
    /// It is down after this, and people are notified.
    pub down_after: Duration,
}

/// The record of the receiver of a region; swapped as a whole, like a ledger entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receiver {
    /// Where it receives.
    pub region: Region,
    /// Its first canary: the time before is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// Its last canary; `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Timestamp>,
    /// When it was down, oldest first.
    #[serde(default)]
    pub blackouts: Vec<Blackout>,
    /// Since when notices of a fleet are held, because the receiver may be at fault.
    #[serde(default)]
    pub holds: BTreeMap<Fleet, Timestamp>,
}

/// Whether a receiver works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverHealth {
    /// A canary arrived just now.
    Healthy,
    /// Unknown: the last canary was then, and the next one is late; or there was none yet.
    Stale(Option<Timestamp>),
    /// It is down: the last canary was then.
    Down(Timestamp),
}

impl Receiver {
    /// A receiver without canaries.
    #[must_use]
    pub fn new(region: Region) -> Self {
        Self {
            region,
            first: None,
            heard: None,
            blackouts: Vec::new(),
            holds: BTreeMap::new(),
        }
    }

    /// Records the arrival of a canary that was sent at `at`. When the one before was no longer `fresh`, the time between
    /// is a blackout.
    #[must_use]
    pub fn with_canary(mut self, at: Timestamp, fresh: Duration) -> Self {
        if let Some(since) = self.heard.filter(|heard| at.since(*heard) > fresh) {
            self.blackouts.push(Blackout { since, until: at });
            self.merge_closest();
        }
        self.first = self.first.or(Some(at));
        self.heard = self.heard.max(Some(at));
        self
    }

    /// Keeps at most [`limits::BLACKOUTS`]: the two with the shortest time between them become one. A host is reported
    /// later then, but no blackout is forgotten.
    fn merge_closest(&mut self) {
        while self.blackouts.len() > limits::BLACKOUTS {
            let between = |pair: &[Blackout]| pair[1].since.since(pair[0].until);
            let closest = self.blackouts.windows(2).enumerate();
            let Some((at, _)) = closest.min_by_key(|(_, pair)| between(pair)) else {
                return;
            };
            self.blackouts[at].until = self.blackouts.remove(at + 1).until;
        }
    }

    /// Its health at `now`.
    #[must_use]
    pub fn health(&self, now: Timestamp, policy: &CanaryPolicy) -> ReceiverHealth {
        match self.heard {
            Some(heard) if now.since(heard) <= policy.fresh => ReceiverHealth::Healthy,
            Some(heard) if now.since(heard) > policy.down_after => ReceiverHealth::Down(heard),
            heard => ReceiverHealth::Stale(heard),
        }
    }
}

/// Until when, and with which gaps, beats could be received. The default has no gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The gaps, by their beginning.
    pub blackouts: Vec<Blackout>,
    /// The end; `None` means now.
    pub until: Option<Timestamp>,
    /// The caveat of notices that depend on it.
    pub caveat: Option<Caveat>,
}

impl Coverage {
    /// The coverage as seen from region `home`, given the receivers of all regions, and by region the oldest of its
    /// canaries as stored here: older beats of that region have certainly arrived here. It leaves out that the
    /// receiver at home may be down right now.
    ///
    /// The sweep waits for a region that lags behind, but not for one from which nothing came for
    /// [`limits::REGION_DEAD_AFTER`]: then notices have a caveat. A blackout of another region counts for as long as it
    /// was waited for.
    #[must_use]
    pub fn of(
        home: &Region,
        receivers: &[Receiver],
        watermarks: &BTreeMap<Region, Timestamp>,
        now: Timestamp,
    ) -> Self {
        let mut coverage = Self::default();
        for receiver in receivers {
            let at_home = receiver.region == *home;
            let waited = |blackout: &Blackout| {
                let end = blackout.since.plus(limits::REGION_DEAD_AFTER);
                Blackout {
                    until: if at_home {
                        blackout.until
                    } else {
                        blackout.until.min(end)
                    },
                    ..*blackout
                }
            };
            let unknown = receiver.first.map(|first| Blackout {
                since: Timestamp::MIN,
                until: first,
            });
            coverage
                .blackouts
                .extend(unknown.iter().chain(&receiver.blackouts).map(waited));
        }
        coverage
            .blackouts
            .sort_by_key(|blackout| (blackout.since, blackout.until));
        let known = receivers
            .iter()
            .map(|receiver| &receiver.region)
            .chain(watermarks.keys());
        for region in known.filter(|region| *region != home) {
            match watermarks.get(region) {
                Some(seen) if now.since(*seen) <= limits::REGION_DEAD_AFTER => {
                    coverage = coverage.up_to(*seen);
                }
                _ => coverage.caveat = Some(Caveat::RegionUnreachable(region.clone())),
            }
        }
        coverage
    }

    /// The same, but ending at `until`.
    #[must_use]
    pub fn up_to(self, until: Timestamp) -> Self {
        Self {
            until: Some(self.until.map_or(until, |known| known.min(until))),
            ..self
        }
    }

    /// When a host with its last beat at `last` is overdue: after `interval` of covered silence, and after a blackout
    /// not before it had one interval (at most [`limits::GRACE`]) to beat again.
    #[must_use]
    pub fn overdue(&self, last: Timestamp, interval: Duration) -> Timestamp {
        let (mut from, mut left, mut earliest) = (last, interval, Timestamp::MIN);
        for blackout in self
            .blackouts
            .iter()
            .filter(|blackout| blackout.until > last)
        {
            let covered = blackout.since.since(from);
            if covered > left {
                break;
            }
            left -= covered;
            from = from.max(blackout.until);
            earliest = earliest.max(blackout.until.plus(interval.min(limits::GRACE)));
        }
        from.plus(left).max(earliest)
    }

    /// The longest blackout in the silence from `last` to `deadline`, when a beat may have been lost in it although the
    /// host was well: a host with an `interval` of at most [`limits::GRACE`] has beaten again since, if it was well.
    ///
    /// The time before the first canary is left out: nothing is known of it.
    #[must_use]
    pub fn doubt(
        &self,
        last: Timestamp,
        interval: Duration,
        deadline: Timestamp,
    ) -> Option<Blackout> {
        let within = |blackout: &&Blackout| {
            blackout.since > Timestamp::MIN && blackout.until > last && blackout.since < deadline
        };
        let longest = self.blackouts.iter().filter(within);
        let longest = longest.max_by_key(|blackout| blackout.until.since(blackout.since));
        longest.filter(|_| interval > limits::GRACE).copied()
    }

    /// Up to when silence counts at `now`.
    #[must_use]
    pub fn covered_until(&self, now: Timestamp) -> Timestamp {
        self.until.map_or(now, |until| until.min(now))
    }
}

/// What to do about hosts of a fleet that seem silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Notify.
    Closed,
    /// Hold the notices: the receiver may be at fault.
    Hold,
    /// Notify with a caveat: the notices were held long enough.
    Marked,
}

impl Breaker {
    /// The rule, when `silent` of the `hosts` of a fleet would become missing in one sweep. `held` is since when their
    /// notices are held, if they are.
    #[must_use]
    pub fn of(
        silent: u64,
        hosts: u64,
        health: ReceiverHealth,
        held: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let many = silent >= limits::BREAKER_HOSTS
            && silent.saturating_mul(100) > hosts.saturating_mul(limits::BREAKER_PERCENT);
        let doubtful = match health {
            // While a canary is late, silence counts up to the last one, so these hosts are silent all the same.
            ReceiverHealth::Healthy | ReceiverHealth::Stale(Some(_)) => false,
            ReceiverHealth::Stale(None) => many,
            ReceiverHealth::Down(_) => silent > 0,
        };
        if !doubtful {
            Self::Closed
        } else if held.is_some_and(|since| now.since(since) >= limits::HOLD) {
            Self::Marked
        } else {
            Self::Hold
        }
    }
}

#[cfg(test)]
mod tests;
