//! How a sweep judges silence: when beats could be received, and whether that is certain.

use std::collections::BTreeMap;
use std::sync::Arc;

use hb_domain::{
    Caveat, Coverage, Fleet, HostId, HostKey, Kind, Maintenance, Receiver, ReceiverHealth, Region,
    Regions, Rules, Timestamp, limits,
};

use super::{Pass, SweepReport, SweepSettings};
use crate::canary::Receivers;
use crate::ports::{Heard, PortResult, Record, Unreadable};
use crate::swap::update;

/// How a sweep judges silence.
pub(super) struct SilencePolicy {
    /// What is certainly silence.
    pub(super) sure: Rules,
    /// What would be silence if the receiver of this region worked, which it does not seem to.
    pub(super) raw: Option<Rules>,
    pub(super) health: ReceiverHealth,
    /// Whether the last canary is not ahead of this sweep's clock. Otherwise that clock may be the wrong one: what seems
    /// to be of the future counts as now, but is left as it is.
    pub(super) may_mend: bool,
    /// Since when each fleet is held; `None` when the receiver's record cannot be read. Then all that is not sure is
    /// held, for as long as that lasts.
    pub(super) holds: Option<BTreeMap<Fleet, Timestamp>>,
    /// This region, and those that have a say.
    pub(super) regions: Regions,
    /// The same, and those whose record cannot be read: they may have received what is not known here.
    pub(super) may_know: Regions,
    /// Whether no other region is known.
    pub(super) alone: bool,
    /// Whether the canaries arrive, but show nothing about the network of the machine.
    pub(super) checks_network: bool,
    /// While hosts are held because no host was heard: the newest beat of any host.
    pub(super) unheard_since: Option<Timestamp>,
}

impl SilencePolicy {
    fn new(
        settings: &SweepSettings,
        receivers: &Receivers,
        coverage: Coverage,
        regions: Regions,
        maintenance: &Arc<Maintenance>,
        now: Timestamp,
    ) -> Self {
        let home = receivers.of(&regions.home);
        let readable = !receivers.is_unreadable(&regions.home);
        let health = match home {
            _ if !readable => ReceiverHealth::Down(Timestamp::MIN),
            Some(receiver) => receiver.health(now, &settings.canaries),
            None => ReceiverHealth::Stale(None),
        };
        let rules = |coverage| Rules {
            skew: settings.skew,
            coverage,
            newest_beat: None,
            maintenance: maintenance.clone(),
        };
        let (sure, raw) = match health {
            ReceiverHealth::Down(since) => (coverage.clone().up_to(since), Some(rules(coverage))),
            ReceiverHealth::Stale(Some(since)) => (coverage.up_to(since), None),
            ReceiverHealth::Healthy | ReceiverHealth::Stale(None) => (coverage, None),
        };
        let arrive = raw.is_none() && health != ReceiverHealth::Stale(None);
        let holds = home.map(|receiver| receiver.holds.clone());
        Self {
            sure: rules(sure),
            raw,
            health,
            may_mend: true,
            holds: readable.then(|| holds.unwrap_or_default()),
            alone: receivers.are_all_of(&regions.home),
            may_know: receivers.and_unreadable(&regions),
            regions,
            checks_network: settings.canaries.local && arrive,
            unheard_since: home.and_then(|receiver| receiver.unheard_since),
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

    /// Whether a hold ends that began at `since`: the receiver works again and hosts are heard, or the time is up and no
    /// host is left to hold.
    pub(super) fn is_over(&self, since: Timestamp, unheard: bool, now: Timestamp) -> bool {
        match self.health {
            ReceiverHealth::Healthy => !unheard,
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
        for region in &receivers.ahead {
            let rule = |known: Option<Receiver>| {
                let now = self.sweep.ports.clock.now();
                let wrong = known.filter(|known| known.is_ahead(now));
                wrong.map(|known| known.as_of(now)).ok_or(())
            };
            // When others change it at every try, one of them is a canary, which overwrites it as well.
            let _ = update(&self.sweep.ports, region, rule).await?;
        }
        for item in &receivers.unreadable {
            report.skip(&format!("table {}", Receiver::TABLE), item);
        }
        let others = receivers.known.iter().filter(|known| known.region != *home);
        let (living, silent): (Vec<_>, Vec<_>) = others.partition(|other| other.lives(self.now));
        let at_home = |item: &Unreadable| item.key == home.as_str();
        let others_readable = receivers.unreadable.iter().all(at_home);
        // A region that lives is asked, whatever has arrived from it.
        let watermarks = if !silent.is_empty() || !others_readable {
            self.watermarks().await?
        } else {
            BTreeMap::new()
        };
        let mut coverage = receivers.coverage(home, &watermarks, self.now);
        for other in &living {
            // What it could not hear, it cannot answer for.
            match other.health(self.now, &settings.canaries) {
                ReceiverHealth::Healthy | ReceiverHealth::Stale(None) => {}
                ReceiverHealth::Stale(Some(heard)) | ReceiverHealth::Down(heard) => {
                    coverage = coverage.up_to(heard);
                }
            }
        }
        let regions = Regions {
            home: home.clone(),
            living: living
                .into_iter()
                .map(|other| other.region.clone())
                .collect(),
        };
        let read = self.sweep.ports.clock.now().plus(settings.skew);
        let heard = receivers.of(home).and_then(|receiver| receiver.heard);
        Ok(SilencePolicy {
            may_mend: !receivers.ahead.contains(home) && heard.is_none_or(|heard| heard <= read),
            ..SilencePolicy::new(
                settings,
                &receivers,
                coverage,
                regions,
                self.maintenance,
                self.now,
            )
        })
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
                let last = heartbeat.last.as_of(self.sweep.ports.clock.now());
                let seen = oldest.entry(region).or_insert(last);
                *seen = last.min(*seen);
            }
        }
        Ok(oldest)
    }
}
