//! Canaries: beats that the service sends to itself, to know when it could receive beats.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Caveat, Coverage, HostId, Receiver, Region, Regions, Timestamp, limits};

use crate::ports::{PortError, PortResult, Ports, Unreadable, every_open};
use crate::swap::{Update, update};

/// Sends a beat over the same path as a host's beat.
#[async_trait]
pub trait Caller: Send + Sync {
    /// Sends a beat of `host`; the error says why it was not acknowledged.
    async fn beat(&self, host: &HostId) -> Result<(), String>;
}

/// Why a canary proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    #[error("a canary beat was not acknowledged: {0}")]
    Unacknowledged(String),
    /// It was acknowledged, but the receiver's record could not be updated.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Sends canaries and records which were received.
pub struct Canaries {
    pub caller: Arc<dyn Caller>,
    pub ports: Ports,
    /// The region of the receiver.
    pub region: Region,
    /// A longer gap between two canaries is a blackout.
    pub fresh: Duration,
}

impl Canaries {
    /// Sends canaries once. Returns the length of the blackout that this ends, if there was one.
    pub async fn send(&self) -> Result<Option<Duration>, CanaryError> {
        let at = self.ports.clock.now();
        for n in 0..limits::CANARIES {
            self.caller
                .beat(&HostId::canary(n))
                .await
                .map_err(CanaryError::Unacknowledged)?;
        }
        let rule = |known: Option<Receiver>| -> Result<_, Infallible> {
            let known = known.unwrap_or_else(|| Receiver::new(self.region.clone()));
            // Not the instant of the canary, which may be long ago: what others have recorded since is not ahead of now.
            let right = known.as_of(self.ports.clock.now());
            Ok(right.with_canary(at, self.fresh))
        };
        let receiver = match update(&self.ports, &self.region, rule).await? {
            Update::Done(stored) => stored.record,
            Update::Contended(error) => return Err(error.into()),
        };
        let ended = receiver.blackouts.last().filter(|last| last.until == at);
        Ok(ended.map(|blackout| blackout.until.since(blackout.since)))
    }
}

/// The receivers of all regions.
pub(crate) struct Receivers {
    /// What a wrong clock wrote of them counts as now.
    pub(crate) known: Vec<Receiver>,
    /// The regions of which that is so.
    pub(crate) ahead: Vec<Region>,
    /// Records that cannot be read: their regions have a receiver of which nothing is known.
    pub(crate) unreadable: Vec<Unreadable>,
}

impl Receivers {
    /// As they are now: a listing may be of minutes ago, when a region lived that is dead, or the reverse.
    pub(crate) async fn load(ports: &Ports) -> PortResult<Self> {
        let (listed, mut unreadable) = every_open(&*ports.receivers).await?;
        let regions = listed.into_iter().map(|stored| stored.record.region);
        let regions: Vec<_> = regions.collect();
        let mut stored = Vec::new();
        for (region, answer) in regions
            .iter()
            .zip(ports.receivers.load_many(&regions).await)
        {
            match answer {
                Err(PortError::Unreadable { source, .. }) => unreadable.push(Unreadable {
                    key: region.to_string(),
                    cause: source.to_string(),
                }),
                answer => stored.extend(answer?),
            }
        }
        // Not the beginning of a sweep, which may be long ago: what was read is not ahead of now.
        let now = ports.clock.now();
        let known = || stored.iter().map(|stored| &stored.record);
        let wrong = known().filter(|receiver| receiver.is_ahead(now));
        Ok(Self {
            ahead: wrong.map(|receiver| receiver.region.clone()).collect(),
            known: known()
                .map(|receiver| receiver.clone().as_of(now))
                .collect(),
            unreadable,
        })
    }

    pub(crate) fn of(&self, region: &Region) -> Option<&Receiver> {
        self.known
            .iter()
            .find(|receiver| receiver.region == *region)
    }

    /// These regions, and the others whose record cannot be read.
    pub(crate) fn and_unreadable(&self, regions: &Regions) -> Regions {
        let unreadable = self
            .unreadable
            .iter()
            .filter_map(|item| item.key.parse().ok());
        let unreadable = unreadable.filter(|region| *region != regions.home);
        Regions {
            home: regions.home.clone(),
            living: regions.living.iter().cloned().chain(unreadable).collect(),
        }
    }

    /// Whether no other region than `region` is known.
    pub(crate) fn are_all_of(&self, region: &Region) -> bool {
        self.known.iter().all(|receiver| receiver.region == *region)
            && self
                .unreadable
                .iter()
                .all(|item| item.key == region.as_str())
    }

    /// Whether there is a record of `region` that cannot be read.
    pub(crate) fn is_unreadable(&self, region: &Region) -> bool {
        self.unreadable
            .iter()
            .any(|item| item.key == region.as_str())
    }

    /// [`Coverage::of`], where a region with an unreadable record is waited for like any other. Its blackouts are not
    /// known, so that notices name it in any case.
    pub(crate) fn coverage(
        &self,
        home: &Region,
        watermarks: &BTreeMap<Region, Timestamp>,
        now: Timestamp,
    ) -> Coverage {
        let unknown = self
            .unreadable
            .iter()
            .filter_map(|item| item.key.parse::<Region>().ok())
            .filter(|region| region != home);
        let mut receivers = self.known.clone();
        receivers.extend(unknown.clone().map(Receiver::new));
        let mut coverage = Coverage::of(home, &receivers, watermarks, now);
        let caveat = unknown.map(Caveat::RegionUnreachable).next();
        coverage.caveat = coverage.caveat.or(caveat);
        coverage
    }
}
