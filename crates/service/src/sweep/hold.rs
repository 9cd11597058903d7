//! What the receiver could receive, and what is held back while it may be at fault.

use std::collections::BTreeMap;

use hb_domain::{
    Breaker, Caveat, Coverage, Entry, Fleet, HostId, HostKey, Kind, Message, Receiver,
    ReceiverHealth, Region, Rules, Timestamp, limits,
};

use super::scan::{Candidate, Scanned};
use super::{Pass, SweepReport};
use crate::canary::Receivers;
use crate::ports::{Heard, PortResult, Record, Stored};
use crate::swap::{Update, update};

/// How a sweep judges silence.
pub(super) struct SilencePolicy {
    /// What is certainly silence.
    pub(super) sure: Rules,
    /// What would be silence if the receiver of this region worked, which it does not seem to.
    pub(super) raw: Option<Rules>,
    health: ReceiverHealth,
    /// Since when each fleet is held; `None` when the receiver's record cannot be read. Then all that is not sure is
    /// held, for as long as that lasts.
    holds: Option<BTreeMap<Fleet, Timestamp>>,
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

    /// Whether the receiver may be at fault for this candidate. Silence that is sure although the receiver is down began
    /// before.
    fn may_hold(&self, candidate: &Candidate) -> bool {
        candidate.kind == Some(Kind::Missing) && (candidate.doubtful || self.raw.is_none())
    }

    /// Whether a hold ends that began at `since`: the receiver works again, or the time is up and no host is left to
    /// hold.
    fn is_over(&self, since: Timestamp, now: Timestamp) -> bool {
        match self.health {
            ReceiverHealth::Healthy => true,
            ReceiverHealth::Stale(None) => now.since(since) >= limits::HOLD,
            ReceiverHealth::Stale(Some(_)) | ReceiverHealth::Down(_) => false,
        }
    }
}

/// What a sweep found in a fleet that seems silent or is held.
struct FleetSilence {
    silent: u64,
    hosts: u64,
    held: Option<Timestamp>,
    verdict: Breaker,
}

impl FleetSilence {
    /// The message of the notice that the receiver is degraded.
    fn message(&self) -> Message {
        let minutes = limits::HOLD.as_secs() / 60;
        Message::from(format!(
            "{} of {} hosts seem silent, and no canary shows that beats arrive; their notices are held for up to \
             {minutes} min",
            self.silent, self.hosts
        ))
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

    /// Removes the hosts that are held, and marks those that were held long enough. Returns the notices about the
    /// receiver itself.
    pub(super) async fn hold(
        &self,
        policy: &SilencePolicy,
        scanned: &mut Scanned,
        report: &mut SweepReport,
    ) -> PortResult<Vec<Stored>> {
        let fleets = self.silent_fleets(policy, scanned);
        let before = scanned.candidates.len();
        scanned.candidates.retain_mut(|candidate| {
            if !policy.may_hold(candidate) {
                return true;
            }
            let verdict = fleets.get(&candidate.key.fleet).map(|fleet| fleet.verdict);
            candidate.doubtful = verdict == Some(Breaker::Marked);
            verdict != Some(Breaker::Hold)
        });
        report.held = u64::try_from(before - scanned.candidates.len()).unwrap_or(u64::MAX);
        let mut claimed = Vec::new();
        if policy.holds.is_none() {
            // A hold that cannot be recorded has no beginning and no end that people could be notified of.
            return Ok(claimed);
        }
        for (fleet, silence) in fleets {
            let message = match (silence.verdict, silence.held) {
                (Breaker::Hold, _) => Some(silence.message()),
                (Breaker::Closed, Some(since)) if policy.is_over(since, self.now) => None,
                (Breaker::Closed | Breaker::Marked, _) => continue,
            };
            self.write_hold(&fleet, message.is_some()).await?;
            claimed.extend(self.claim_receiver(fleet, message, report).await?);
        }
        Ok(claimed)
    }

    fn silent_fleets(
        &self,
        policy: &SilencePolicy,
        scanned: &Scanned,
    ) -> BTreeMap<Fleet, FleetSilence> {
        let held = policy.holds.iter().flat_map(BTreeMap::keys);
        let mut silent: BTreeMap<Fleet, u64> = held.map(|fleet| (fleet.clone(), 0)).collect();
        for candidate in &scanned.candidates {
            if policy.may_hold(candidate) {
                *silent.entry(candidate.key.fleet.clone()).or_default() += 1;
            }
        }
        let judged = silent.into_iter().map(|(fleet, silent)| {
            let hosts = scanned.hosts.get(&fleet).copied().unwrap_or(0);
            let held = policy
                .holds
                .as_ref()
                .and_then(|holds| holds.get(&fleet).copied());
            let verdict = Breaker::of(silent, hosts, policy.health, held, self.now);
            let silence = FleetSilence {
                silent,
                hosts,
                held,
                verdict,
            };
            (fleet, silence)
        });
        judged.collect()
    }

    /// Records since when `fleet` is held, or that it is not.
    async fn write_hold(&self, fleet: &Fleet, held: bool) -> PortResult<()> {
        let region = &self.sweep.settings.region;
        let rule = |known: Option<Receiver>| {
            let mut next = known.unwrap_or_else(|| Receiver::new(region.clone()));
            if next.holds.contains_key(fleet) == held {
                return Err(());
            }
            if held {
                next.holds.insert(fleet.clone(), self.now);
            } else {
                next.holds.remove(fleet);
            }
            Ok(next)
        };
        match update(&self.sweep.ports, region, rule).await? {
            Update::Done(_) | Update::Declined(..) => Ok(()),
            Update::Contended(error) => Err(error),
        }
    }

    /// Claims the notice that the receiver is degraded, or that it works again.
    async fn claim_receiver(
        &self,
        fleet: Fleet,
        message: Option<Message>,
        report: &mut SweepReport,
    ) -> PortResult<Option<Stored>> {
        let key = HostKey::new(fleet, HostId::receiver());
        let stored = self.sweep.ports.ledger.load(&key).await?;
        let version = stored.as_ref().map(|stored| stored.version);
        let entry = stored.map_or_else(|| Entry::new(key), |stored| stored.record);
        let Some(entry) = entry.of_receiver(message, self.now) else {
            return Ok(None);
        };
        let (steps, claimed) = self.claimed(entry, version).await?;
        for step in steps {
            // Neither a claim nor a lost one is an error.
            let _ = report.count(step);
        }
        Ok(claimed)
    }
}
