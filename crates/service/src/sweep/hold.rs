//! What the receiver could hear, and what is held back while it may be at fault.

use std::collections::BTreeMap;

use hb_domain::{
    Breaker, Caveat, Coverage, Entry, Fleet, HostId, HostKey, Kind, Message, Receiver,
    ReceiverHealth, Rules, Timestamp, limits,
};

use super::scan::Scanned;
use super::{Pass, SweepReport, rules};
use crate::canary::receivers;
use crate::ports::{Heard, PortResult, Stored, Swap};
use crate::swap::swap;

/// How a sweep looks at silence.
pub(super) struct SilencePolicy {
    /// What surely is silence.
    pub(super) sure: Rules,
    /// What would be if the receiver at home heard, which it does not seem to.
    pub(super) raw: Option<Rules>,
    /// How the receiver at home hears.
    health: ReceiverHealth,
    home: Receiver,
}

impl SilencePolicy {
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
}

impl Pass<'_> {
    /// How silence is to be looked at in this sweep.
    pub(super) async fn silence_policy(&self) -> PortResult<SilencePolicy> {
        let settings = &self.sweep.settings;
        let receivers = receivers(&*self.sweep.ports.receivers).await?;
        let home = receivers
            .iter()
            .find(|receiver| receiver.region == settings.region)
            .cloned();
        let others = receivers
            .iter()
            .any(|receiver| receiver.region != settings.region);
        let watermarks = if others {
            self.watermarks().await?
        } else {
            BTreeMap::new()
        };
        let coverage = Coverage::of(&settings.region, &receivers, &watermarks, self.now);
        let home = home.unwrap_or_else(|| Receiver::new(settings.region.clone()));
        let health = home.health(self.now, &settings.canaries);
        let raw = rules(settings, coverage.clone());
        Ok(match health {
            ReceiverHealth::Down(since) => SilencePolicy {
                sure: rules(settings, coverage.up_to(since)),
                raw: Some(raw),
                health,
                home,
            },
            ReceiverHealth::Stale(Some(since)) => SilencePolicy {
                sure: rules(settings, coverage.up_to(since)),
                raw: None,
                health,
                home,
            },
            ReceiverHealth::Healthy | ReceiverHealth::Stale(None) => SilencePolicy {
                sure: raw,
                raw: None,
                health,
                home,
            },
        })
    }

    /// By region, the oldest of its canaries as it is seen from here.
    async fn watermarks(&self) -> PortResult<BTreeMap<hb_domain::Region, Timestamp>> {
        let mut oldest = BTreeMap::new();
        for n in 0..limits::CANARIES {
            for Heard {
                region, heartbeat, ..
            } in self.sweep.ports.heartbeats.load(&canary(n)).await?
            {
                let seen = oldest.entry(region).or_insert(heartbeat.last);
                *seen = heartbeat.last.min(*seen);
            }
        }
        Ok(oldest)
    }

    /// Takes the hosts out that are held, and marks those that were held long enough. Gives the notices about the
    /// receiver itself.
    pub(super) async fn hold(
        &self,
        policy: &SilencePolicy,
        scanned: &mut Scanned,
        report: &mut SweepReport,
    ) -> PortResult<Vec<Stored>> {
        let mut silent: BTreeMap<Fleet, u64> = BTreeMap::new();
        // Silence that is sure although the receiver is deaf began before.
        let sure = |doubtful: bool| !doubtful && policy.raw.is_some();
        for candidate in &scanned.candidates {
            if candidate.kind == Some(Kind::Missing) && !sure(candidate.doubtful) {
                *silent.entry(candidate.key.fleet.clone()).or_default() += 1;
            }
        }
        let verdict = |fleet: &Fleet| {
            let (silent, hosts) = (silent.get(fleet), scanned.hosts.get(fleet));
            let held = policy.home.holds.get(fleet).copied();
            Breaker::of(
                silent.copied().unwrap_or(0),
                hosts.copied().unwrap_or(0),
                policy.health,
                held,
                self.now,
            )
        };
        let fleets: Vec<_> = silent
            .keys()
            .chain(policy.home.holds.keys())
            .cloned()
            .collect();
        let verdicts: BTreeMap<_, _> = fleets
            .into_iter()
            .map(|fleet| {
                let verdict = verdict(&fleet);
                (fleet, verdict)
            })
            .collect();
        for candidate in &mut scanned.candidates {
            if candidate.kind == Some(Kind::Missing) && !sure(candidate.doubtful) {
                let verdict = verdicts.get(&candidate.key.fleet);
                candidate.doubtful = verdict.is_some_and(|verdict| *verdict == Breaker::Marked);
                candidate.held = verdict.is_some_and(|verdict| *verdict == Breaker::Hold);
            }
        }
        let before = scanned.candidates.len();
        scanned.candidates.retain(|candidate| !candidate.held);
        report.held = u64::try_from(before - scanned.candidates.len()).unwrap_or(u64::MAX);
        let mut told = Vec::new();
        for (fleet, verdict) in verdicts {
            let says = match verdict {
                Breaker::Hold => {
                    let (silent, hosts) = (silent.get(&fleet), scanned.hosts.get(&fleet));
                    Some(says(
                        silent.copied().unwrap_or(0),
                        hosts.copied().unwrap_or(0),
                    ))
                }
                Breaker::Closed if self.is_over(policy, &fleet) => None,
                Breaker::Closed | Breaker::Marked => continue,
            };
            self.write_hold(&fleet, says.is_some()).await?;
            told.extend(self.tell_receiver(fleet, says, report).await?);
        }
        Ok(told)
    }

    /// Whether a hold of `fleet` ends: the receiver hears again, or held long enough there is nobody left to hold.
    fn is_over(&self, policy: &SilencePolicy, fleet: &Fleet) -> bool {
        let held_for = |since: &Timestamp| self.now.since(*since);
        let held = policy.home.holds.get(fleet).map(held_for);
        held.is_some_and(|time| {
            policy.health == ReceiverHealth::Healthy
                || matches!(policy.health, ReceiverHealth::Stale(None)) && time >= limits::HOLD
        })
    }

    /// Remembers since when `fleet` is held, or that it is not.
    async fn write_hold(&self, fleet: &Fleet, held: bool) -> PortResult<()> {
        let sweep = self.sweep;
        let mut stored = sweep.ports.receivers.load(&sweep.settings.region).await?;
        loop {
            let version = stored.as_ref().map(|stored| stored.version);
            let known = stored.map(|stored| stored.record);
            let known = known.unwrap_or_else(|| Receiver::new(sweep.settings.region.clone()));
            if known.holds.contains_key(fleet) == held {
                return Ok(());
            }
            let mut next = known;
            if held {
                next.holds.insert(fleet.clone(), self.now);
            } else {
                next.holds.remove(fleet);
            }
            match swap(&*sweep.ports.receivers, &*sweep.ports.ids, &next, version).await? {
                Swap::Done(_) => return Ok(()),
                Swap::Conflict(current) => stored = current,
            }
        }
    }

    /// Claims the notice that the receiver is degraded, or that it is not any more.
    async fn tell_receiver(
        &self,
        fleet: Fleet,
        says: Option<Message>,
        report: &mut SweepReport,
    ) -> PortResult<Option<Stored>> {
        let key = HostKey::new(fleet, HostId::receiver());
        let stored = self.sweep.ports.ledger.load(&key).await?;
        let version = stored.as_ref().map(|stored| stored.version);
        let entry = stored.map_or_else(|| Entry::new(key), |stored| stored.record);
        let Some(entry) = entry.of_receiver(says, self.now) else {
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

fn canary(n: u8) -> HostKey {
    HostKey::new(Fleet::main(), HostId::canary(n))
}

fn says(silent: u64, hosts: u64) -> Message {
    let minutes = limits::HOLD.as_secs() / 60;
    Message::from(format!(
        "{silent} of {hosts} hosts seem silent, and no canary shows that beats arrive; their notices are held for up to \
         {minutes} min"
    ))
}
