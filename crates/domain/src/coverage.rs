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
    /// Whether canaries stay on the machine, and so prove nothing about its network.
    pub local: bool,
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
    /// While hosts are held because no host was heard: the newest beat of any host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unheard_since: Option<Timestamp>,
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
            unheard_since: None,
        }
    }

    /// Records the arrival of a canary that was sent at `at`, perhaps long ago. When the one before was no longer `fresh`,
    /// the time between is a blackout.
    #[must_use]
    pub fn with_canary(mut self, at: Timestamp, fresh: Duration) -> Self {
        if let Some(since) = self.heard.filter(|heard| at.since(*heard) > fresh) {
            self.add_blackout(Blackout { since, until: at });
        }
        self.first = self.first.or(Some(at));
        self.heard = self.heard.max(Some(at));
        self
    }

    /// Keeps at most [`limits::BLACKOUTS`]: the two with the shortest time between them become one. A host is reported
    /// later then, but no blackout is forgotten.
    fn add_blackout(&mut self, blackout: Blackout) {
        self.blackouts.push(blackout);
        self.blackouts
            .sort_by_key(|blackout| (blackout.since, blackout.until));
        while self.blackouts.len() > limits::BLACKOUTS {
            let between = |pair: &[Blackout]| pair[1].since.since(pair[0].until);
            let closest = self.blackouts.windows(2).enumerate();
            let Some((at, _)) = closest.min_by_key(|(_, pair)| between(pair)) else {
                return;
            };
            let later = self.blackouts.remove(at + 1);
            self.blackouts[at].until = self.blackouts[at].until.max(later.until);
        }
    }

    /// Holds the notices of `fleet` from `now` on; because no host was heard since `unheard_since`, if that is the
    /// reason. `None` when this is known.
    #[must_use]
    pub fn holding(
        mut self,
        fleet: &Fleet,
        now: Timestamp,
        unheard_since: Option<Timestamp>,
    ) -> Option<Self> {
        let known = self.holds.contains_key(fleet)
            && (unheard_since.is_none() || self.unheard_since.is_some());
        self.holds.entry(fleet.clone()).or_insert(now);
        self.unheard_since = self.unheard_since.or(unheard_since);
        (!known).then_some(self)
    }

    /// Holds the notices of `fleet` no longer; `None` when they are not held.
    #[must_use]
    pub fn released(mut self, fleet: &Fleet) -> Option<Self> {
        self.holds.remove(fleet)?;
        Some(self)
    }

    /// A host was heard again at `at`: the time without any was a blackout. `None` when there was none.
    #[must_use]
    pub fn heard_again(mut self, at: Timestamp) -> Option<Self> {
        let since = self.unheard_since.take()?;
        self.add_blackout(Blackout { since, until: at });
        Some(self)
    }

    /// Whether it works at `now`, for other regions: its last canary is recent enough to wait for its word.
    #[must_use]
    pub fn lives(&self, now: Timestamp) -> bool {
        let quiet = |heard| now.since(heard) > limits::REGION_DEAD_AFTER;
        self.heard.is_some_and(|heard| !quiet(heard))
    }

    /// Whether a wrong clock wrote any of its instants, as seen at `now`.
    #[must_use]
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        *self != self.clone().as_of(now)
    }

    /// The same, with the instants that a wrong clock wrote brought to `now`.
    #[must_use]
    pub fn as_of(mut self, now: Timestamp) -> Self {
        self.first = self.first.map(|first| first.as_of(now));
        self.heard = self.heard.map(|heard| heard.as_of(now));
        for blackout in &mut self.blackouts {
            blackout.since = blackout.since.as_of(now);
            blackout.until = blackout.until.as_of(now);
        }
        self.blackouts
            .retain(|blackout| blackout.since < blackout.until);
        for since in self.holds.values_mut() {
            *since = since.as_of(now);
        }
        self.unheard_since = self.unheard_since.map(|since| since.as_of(now));
        self
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
    /// A region that lives ([`Receiver::lives`]) limits nothing: it is asked ([`decide_among`](crate::decide_among)). For one
    /// that does not, notices have a caveat. Its copies are waited for while they arrive: they show nothing about other
    /// partitions of the table, but much about hosts that beat. A blackout of such a region counts for as long as it was
    /// waited for; one of a region that lives as a whole, so that both see the same.
    #[must_use]
    pub fn of(
        home: &Region,
        receivers: &[Receiver],
        watermarks: &BTreeMap<Region, Timestamp>,
        now: Timestamp,
    ) -> Self {
        let mut coverage = Self::default();
        for receiver in receivers {
            let counts_whole = receiver.region == *home || receiver.lives(now);
            let waited = |blackout: &Blackout| {
                let end = blackout.since.plus(limits::REGION_DEAD_AFTER);
                Blackout {
                    until: if counts_whole {
                        blackout.until
                    } else {
                        blackout.until.min(end)
                    },
                    ..*blackout
                }
            };
            coverage
                .blackouts
                .extend(receiver.blackouts.iter().map(waited));
        }
        // Of the time before the first canary of any region nothing is known.
        let first = receivers.iter().filter_map(|receiver| receiver.first).min();
        coverage.blackouts.extend(first.map(|first| Blackout {
            since: Timestamp::MIN,
            until: first,
        }));
        coverage
            .blackouts
            .sort_by_key(|blackout| (blackout.since, blackout.until));
        let known = receivers
            .iter()
            .map(|receiver| &receiver.region)
            .chain(watermarks.keys());
        let lives = |region: &Region| {
            let living = |receiver: &Receiver| receiver.region == *region && receiver.lives(now);
            receivers.iter().any(living)
        };
        for region in known.filter(|region| *region != home && !lives(region)) {
            let late = watermarks.get(region);
            if let Some(seen) = late.filter(|seen| now.since(**seen) <= limits::REGION_DEAD_AFTER) {
                coverage = coverage.up_to(*seen);
            }
            coverage.caveat = Some(Caveat::RegionUnreachable(region.clone()));
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

    /// When a host with its last beat at `last` is overdue: after `interval` of covered silence, and after each blackout
    /// until then not before it had one interval (at most [`limits::GRACE`]) to beat again. Its maintenance `windows` are
    /// blackouts as well.
    ///
    /// Blackouts that follow each other within their graces put it off by [`limits::GRACES`] graces at most.
    #[must_use]
    pub fn overdue(&self, last: Timestamp, interval: Duration, windows: &[Blackout]) -> Timestamp {
        let grace = interval.min(limits::GRACE);
        let (mut from, mut left, mut graces) = (last, interval, grace * limits::GRACES);
        let all = self.blackouts.iter().chain(windows);
        let mut all: Vec<_> = all.filter(|blackout| blackout.until > last).collect();
        all.sort_by_key(|blackout| (blackout.since, blackout.until));
        let mut blackouts = all.into_iter();
        while let Some(blackout) = blackouts.find(|blackout| blackout.until > from) {
            let covered = blackout.since.since(from);
            if covered > left {
                break;
            }
            left -= covered;
            from = blackout.until;
            let more = grace.saturating_sub(left).min(graces);
            graces -= more;
            left += more;
        }
        from.plus(left)
    }

    /// The longest blackout in the silence from `last` to `deadline`, when a beat may have been lost in it although the
    /// host was well: after other blackouts a host with an `interval` of at most [`limits::GRACE`] has beaten again, if it
    /// was well.
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
            let overlaps = blackout.until > last && blackout.since < deadline;
            let matters = interval > limits::GRACE || blackout.until.plus(interval) > deadline;
            blackout.since > Timestamp::MIN && overlaps && matters
        };
        let longest = self.blackouts.iter().filter(within);
        let longest = longest.max_by_key(|blackout| blackout.until.since(blackout.since));
        longest.copied()
    }

    /// Since when only single beats were heard, when none was since the `newest` one: at each of these a blackout ended, and
    /// the next one began.
    #[must_use]
    pub fn hardly_heard_since(&self, newest: Timestamp) -> Timestamp {
        let mut since = newest;
        for blackout in self.blackouts.iter().rev() {
            if blackout.until == since && blackout.since > Timestamp::MIN {
                since = blackout.since;
            }
        }
        since
    }

    /// Up to when silence counts at `now`.
    #[must_use]
    pub fn covered_until(&self, now: Timestamp) -> Timestamp {
        self.until.map_or(now, |until| until.min(now))
    }
}

#[cfg(test)]
mod tests;
