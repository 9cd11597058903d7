//! How a sweep judges silence: when beats could be received, and whether that is certain.

use std::collections::BTreeMap;

use hb_domain::{
    Caveat, Coverage, Fleet, HostId, HostKey, Kind, Receiver, ReceiverHealth, Region, Rules,
    Timestamp, limits,
};

use super::{Pass, SweepReport};
use crate::canary::Receivers;
use crate::ports::{Heard, PortResult, Record};

/// How a sweep judges silence.
pub(super) struct SilencePolicy {
    /// What is certainly silence.
    pub(super) sure: Rules,
    /// What would be silence if the receiver of this region worked, which it does not seem to.
    pub(super) raw: Option<Rules>,
    pub(super) health: ReceiverHealth,
    /// Since when each fleet is held; `None` when the receiver's record cannot be read. Then all that is not sure is
    /// held, for as long as that lasts.
    pub(super) holds: Option<BTreeMap<Fleet, Timestamp>>,
}

impl SilencePolicy {
    fn new(
        rules: impl Fn(Coverage) -> Rules,
        coverage: Coverage,
        health: ReceiverHealth,
        holds: Option<BTreeMap<Fleet, Timestamp>>,
    ) -> Self {
        let (sure, raw) = match health {
            ReceiverHealth::Down(since) => (coverage.clone().up_to(since), Some(rules(coverage))),
            ReceiverHealth::Stale(Some(since)) => (coverage.up_to(since), None),
            ReceiverHealth::Healthy | ReceiverHealth::Stale(None) => (coverage, None),
        };
        Self {
            sure: rules(sure),
            raw,
            health,
            holds,
        }
    }

    /// How many other regions are not waited for: with two regions, none or one.
    pub(super) fn regions_unheard(&self) -> u64 {
        u64::from(matches!(
            self.sure.coverage.caveat,
            Some(Caveat::RegionUnreachable(_))
        ))
    }

    /// Whether the receiver may be at fault when this seems to have happened to a host. Silence that is sure although
    /// the receiver is down began before.
    pub(super) fn may_hold(&self, kind: Option<Kind>, doubtful: bool) -> bool {
        kind == Some(Kind::Missing) && (doubtful || self.raw.is_none())
    }

    /// The rules for a host that was held long enough.
    pub(super) fn marked(&self) -> Rules {
        let rules = self.raw.as_ref().unwrap_or(&self.sure);
        let coverage = Coverage {
            caveat: Some(Caveat::ReceiverDown),
            ..rules.coverage.clone()
        };
        Rules {
            coverage,
            ..rules.clone()
        }
    }

    /// Whether a hold ends that began at `since`: the receiver works again, or the time is up and no host is left to
    /// hold.
    pub(super) fn is_over(&self, since: Timestamp, now: Timestamp) -> bool {
        match self.health {
            ReceiverHealth::Healthy => true,
            ReceiverHealth::Stale(None) => now.since(since) >= limits::HOLD,
            ReceiverHealth::Stale(Some(_)) | ReceiverHealth::Down(_) => false,
        }
    }
}

impl Pass<'_> {
    /// How this sweep judges silence.
    pub(super) async fn silence_policy(
        &self,
        report: &mut SweepReport,
    ) -> PortResult<SilencePolicy> {
        let settings = &self.sweep.settings;
        let home = &settings.region;
        let receivers = Receivers::load(&self.sweep.ports).await?;
        for item in &receivers.unreadable {
            report.skip(&format!("table {}", Receiver::TABLE), item);
        }
        let others = receivers.known.iter().any(|known| known.region != *home)
            || receivers
                .unreadable
                .iter()
                .any(|item| item.key != home.as_str());
        let watermarks = if others {
            self.watermarks().await?
        } else {
            BTreeMap::new()
        };
        let (health, holds) = if receivers.is_unreadable(home) {
            (ReceiverHealth::Down(Timestamp::MIN), None)
        } else {
            let known = receivers.of(home);
            let health = known.map_or(ReceiverHealth::Stale(None), |receiver| {
                receiver.health(self.now, &settings.canaries)
            });
            let holds = known.map(|receiver| receiver.holds.clone());
            (health, Some(holds.unwrap_or_default()))
        };
        let coverage = receivers.coverage(home, &watermarks, self.now);
        let rules = |coverage| Rules {
            skew: settings.skew,
            coverage,
        };
        Ok(SilencePolicy::new(rules, coverage, health, holds))
    }

    /// By region, the oldest of its canaries as seen from here.
    async fn watermarks(&self) -> PortResult<BTreeMap<Region, Timestamp>> {
        let mut oldest = BTreeMap::new();
        for n in 0..limits::CANARIES {
            let canary = HostKey::new(Fleet::main(), HostId::canary(n));
            for Heard {
                region, heartbeat, ..
            } in self.sweep.ports.heartbeats.load(&canary).await?
            {
                let seen = oldest.entry(region).or_insert(heartbeat.last);
                *seen = heartbeat.last.min(*seen);
            }
        }
        Ok(oldest)
    }
}
