//! What the service itself could have heard: silence counts only while somebody listened.
//!
//! The service sends beats to itself along the whole way of a host's beat, the canaries. While they arrive, the receiver
//! hears; when they do not, it is deaf, and whatever hosts did then, nobody knows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::{Fleet, Region};
use crate::limits;
use crate::time::Timestamp;
use crate::transition::Caveat;

/// A time in which a receiver could not have heard a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blackout {
    /// The last canary before.
    pub since: Timestamp,
    /// The first one after.
    pub until: Timestamp,
}

/// How long a receiver is believed after its last canary.
#[derive(Clone, Copy, Debug)]
pub struct CanaryPolicy {
    /// It surely hears so long after it: a little longer than from one canary to the next. Of what comes later nothing
    /// is known until the next one.
    pub fresh: Duration,
    /// It is deaf this long after it, and people are to know.
    pub down_after: Duration,
}

/// What is remembered of the receiver of a region; swapped as a whole, like a ledger entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receiver {
    /// Whose it is.
    pub region: Region,
    /// When it first heard a canary: of what was before, nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When it last heard a canary; `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Timestamp>,
    /// When it was deaf, oldest first.
    #[serde(default)]
    pub blackouts: Vec<Blackout>,
    /// Since when notices of a fleet are held, because the receiver may be at fault.
    #[serde(default)]
    pub holds: BTreeMap<Fleet, Timestamp>,
}

/// How a receiver hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverHealth {
    /// A canary showed it just now.
    Healthy,
    /// Nothing shows it: the last canary was then, and the next one is late; or there never was any.
    Stale(Option<Timestamp>),
    /// It does not, since then.
    Down(Timestamp),
}

impl Receiver {
    /// A receiver that nothing is known of.
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

    /// It heard a canary that was sent at `at`. When the one before was not `fresh` any more, it may have been deaf
    /// between.
    #[must_use]
    pub fn with_canary(mut self, at: Timestamp, fresh: Duration) -> Self {
        if let Some(since) = self.heard.filter(|heard| at.since(*heard) > fresh) {
            self.blackouts.push(Blackout { since, until: at });
            let surplus = self.blackouts.len().saturating_sub(limits::BLACKOUTS);
            self.blackouts.drain(..surplus);
        }
        self.first = self.first.or(Some(at));
        self.heard = self.heard.max(Some(at));
        self
    }

    /// How it hears at `now`.
    #[must_use]
    pub fn health(&self, now: Timestamp, policy: &CanaryPolicy) -> ReceiverHealth {
        match self.heard {
            Some(heard) if now.since(heard) <= policy.fresh => ReceiverHealth::Healthy,
            Some(heard) if now.since(heard) > policy.down_after => ReceiverHealth::Down(heard),
            heard => ReceiverHealth::Stale(heard),
        }
    }
}

/// How far, and with which gaps, beats were surely heard. The default heard everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// When nobody could be heard, by their beginning.
    pub blackouts: Vec<Blackout>,
    /// Up to when all was heard; `None` means up to now.
    pub until: Option<Timestamp>,
    /// What a notice must say about it.
    pub caveat: Option<Caveat>,
}

impl Coverage {
    /// What was heard in region `home`, given the receivers of all regions, and by region the oldest of its canaries
    /// as it is seen from here: older beats of that region are surely here. That the receiver at home may be deaf right
    /// now is not in it.
    ///
    /// A region that lags behind is waited for, and one of which nothing came for [`limits::REGION_DEAD_AFTER`] is not:
    /// then notices say so. Of the blackouts of another region no more counts than it was waited for.
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

    /// The same, when nothing was heard after `until`.
    #[must_use]
    pub fn up_to(self, until: Timestamp) -> Self {
        Self {
            until: Some(self.until.map_or(until, |known| known.min(until))),
            ..self
        }
    }

    /// When a host is overdue that was last heard at `last`: after `interval` of heard silence, and, when it could not
    /// speak for a while, not before it had one interval (at most [`limits::GRACE`]) to do so.
    #[must_use]
    pub fn overdue(&self, last: Timestamp, interval: Duration) -> Timestamp {
        let (mut from, mut left, mut earliest) = (last, interval, Timestamp::MIN);
        for blackout in self
            .blackouts
            .iter()
            .filter(|blackout| blackout.until > last)
        {
            let heard = blackout.since.since(from);
            if heard > left {
                break;
            }
            left -= heard;
            from = from.max(blackout.until);
            earliest = earliest.max(blackout.until.plus(interval.min(limits::GRACE)));
        }
        from.plus(left).max(earliest)
    }

    /// Up to when silence counts at `now`.
    #[must_use]
    pub fn covered_until(&self, now: Timestamp) -> Timestamp {
        self.until.map_or(now, |until| until.min(now))
    }
}

/// What is to be done about hosts of a fleet that seem silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Tell it.
    Closed,
    /// Tell nothing yet; the receiver may be at fault.
    Hold,
    /// Tell it, marked: it was held long enough.
    Marked,
}

impl Breaker {
    /// The rule, when `silent` of the `hosts` of a fleet are to be told missing in one sweep. They are held since
    /// `held`, if they are.
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
            // While a canary is late, silence counts up to the last one; those whom that makes silent are.
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
