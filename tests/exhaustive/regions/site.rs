//! What one region stores and knows, and how it judges silence.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hb_domain::{
    Beat, Coverage, Entry, Failure, Heartbeat, Interval, Receiver, ReceiverHealth, Region, Regions,
    Rules, Signal, Timestamp,
};

use super::{Broken, SKEW, Setting};

/// Region `n` of two.
pub(crate) fn region(n: usize) -> &'static Region {
    static REGIONS: OnceLock<[Region; 2]> = OnceLock::new();
    &REGIONS.get_or_init(|| ["eu", "us"].map(|name| name.parse().unwrap()))[n]
}

/// How far the clock of region `n` is ahead.
pub(crate) fn ahead(n: usize) -> Duration {
    Duration::from_secs(if n == 0 { 0 } else { 4 })
}

/// The beats of the host in one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Beats {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) failed: Option<Timestamp>,
    pub(crate) last_is_ok: bool,
}

impl Beats {
    pub(crate) fn new(at: Timestamp, is_ok: bool) -> Self {
        Self {
            first: at,
            last: at,
            failed: (!is_ok).then_some(at),
            last_is_ok: is_ok,
        }
    }

    pub(crate) fn heartbeat(self, interval: Interval) -> Heartbeat {
        Heartbeat {
            first: self.first,
            interval,
            signal: if self.last_is_ok {
                Signal::Ok
            } else {
                Signal::Fail
            },
            failure: self.failed.map(|at| Failure { at, message: None }),
            ..Heartbeat::new(Beat::ok(self.last))
        }
    }

    /// With a later beat.
    pub(crate) fn and(self, later: Self, interval: Interval) -> Self {
        let both = self.heartbeat(interval).merge(later.heartbeat(interval));
        Self {
            first: both.first,
            last: both.last,
            failed: both.failure.map(|failure| failure.at),
            last_is_ok: both.signal == Signal::Ok,
        }
    }
}

/// A change that a sweep is about to swap in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Draft {
    pub(crate) next: Arc<Entry>,
    /// Whether the entry is still the one that was read.
    pub(crate) current: bool,
}

/// A host that may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidate {
    /// Whether the region's beats of it were scanned: not when it was found by its inquiry.
    pub(crate) scanned: Option<(Beats, usize)>,
    pub(crate) seems_missing: bool,
    /// True only if the receiver works, which is not certain.
    pub(crate) doubtful: bool,
}

/// The next step of a sweep, with its local copies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    Idle,
    /// To scan, given the open entry.
    Scan(Option<Arc<Entry>>),
    /// To read the entry of a candidate.
    Confirm(Candidate),
    /// To read the beats and decide, given the entry, and whether that is still current.
    Decide(Arc<Entry>, bool),
    /// To claim a transition.
    Claim(Draft),
    /// To change an entry without a transition.
    Change(Draft),
    /// To keep the entry open because of a failure.
    Keep(Timestamp),
    /// To deliver the pending notice, if the entry is still the one that was read.
    Deliver(bool),
}

/// The sweep of a region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sweep {
    pub(crate) at: At,
    /// When it began, which is the time of its decisions.
    pub(crate) began: Timestamp,
    /// The receivers of both regions as it read them.
    pub(crate) receivers: Option<Arc<[Receiver; 2]>>,
}

pub(crate) const NO_SWEEP: Sweep = Sweep {
    at: At::Idle,
    began: Timestamp::MIN,
    receivers: None,
};

/// One region.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Site {
    /// Whether its receiver works now.
    pub(crate) works: bool,
    /// The record of its receiver in the ledger.
    pub(crate) receiver: Receiver,
    /// What it has received of the host.
    pub(crate) received: Option<Beats>,
    /// What has arrived of what the other one received.
    pub(crate) copied: Option<Beats>,
    /// When its last completed sweep began.
    pub(crate) last_sweep: Timestamp,
    /// Whether it has swept since the last step of time.
    pub(crate) swept: bool,
    pub(crate) sweep: Sweep,
}

impl Site {
    /// The beats stored in this region `me`, and the region of the newest one.
    pub(crate) fn stored(&self, me: usize, interval: Interval) -> Option<(Beats, usize)> {
        match (self.received, self.copied) {
            (None, None) => None,
            (Some(mine), None) => Some((mine, me)),
            (None, Some(theirs)) => Some((theirs, 1 - me)),
            (Some(mine), Some(theirs)) => {
                let newest = if theirs.last >= mine.last { 1 - me } else { me };
                Some((mine.and(theirs, interval), newest))
            }
        }
    }
}

/// How a sweep judges silence, as `SilencePolicy` of `hb_service`.
pub(crate) struct Policy {
    /// What is certainly silence.
    pub(crate) sure: Rules,
    /// What would be silence if the receiver of this region worked, which it does not seem to.
    pub(crate) raw: Option<Rules>,
    pub(crate) health: ReceiverHealth,
    pub(crate) regions: Regions,
}

impl Policy {
    pub(crate) fn new(
        setting: &Setting,
        home: usize,
        receivers: &[Receiver; 2],
        now: Timestamp,
    ) -> Self {
        let (mine, other) = (&receivers[home], &receivers[1 - home]);
        let lives = other.lives(now);
        // The canaries of the other region are copied at once; those that were not recorded were not sent.
        let seen = other.heard.map(|heard| (other.region.clone(), heard));
        let watermarks: BTreeMap<_, _> = seen.into_iter().filter(|_| !lives).collect();
        let mut coverage = Coverage::of(&mine.region, receivers, &watermarks, now);
        let asks = lives && setting.broken != Some(Broken::TrustsCopies);
        if let ReceiverHealth::Stale(Some(heard)) | ReceiverHealth::Down(heard) =
            other.health(now, &setting.canaries())
            && lives
        {
            coverage = coverage.up_to(heard);
        }
        if setting.broken == Some(Broken::NoBlackouts) {
            coverage.blackouts.clear();
        }
        let rules = |coverage| Rules {
            skew: SKEW,
            coverage,
            newest_beat: None,
            maintenance: std::sync::Arc::default(),
        };
        let health = mine.health(now, &setting.canaries());
        let (sure, raw) = match health {
            ReceiverHealth::Down(since) => (coverage.clone().up_to(since), Some(rules(coverage))),
            ReceiverHealth::Stale(Some(since)) => (coverage.up_to(since), None),
            ReceiverHealth::Healthy | ReceiverHealth::Stale(None) => (coverage, None),
        };
        Self {
            sure: rules(sure),
            raw,
            health,
            regions: Regions {
                home: mine.region.clone(),
                living: asks.then(|| other.region.clone()).into_iter().collect(),
            },
        }
    }

    /// Whether the receiver may be at fault when the host seems to be missing.
    pub(crate) fn may_hold(&self, candidate: Candidate) -> bool {
        candidate.seems_missing && (candidate.doubtful || self.raw.is_none())
    }
}
