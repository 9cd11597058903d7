//! Holds back notices of silence while the receiver may be at fault.

use std::collections::BTreeMap;

use hb_domain::{Breaker, Entry, Fleet, HostId, HostKey, Message, Receiver, Timestamp, limits};

use super::claim::kind_of;
use super::report::Step;
use super::scan::Scanned;
use super::silence::SilencePolicy;
use super::{Pass, SweepReport};
use crate::ports::{PortResult, Stored};
use crate::swap::{Update, swap, update};

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
    /// Decides of each fleet that seems silent whether its notices are held, and records that. Returns the notices about
    /// the receiver itself as well.
    pub(super) async fn hold(
        &self,
        policy: &SilencePolicy,
        scanned: &Scanned,
        report: &mut SweepReport,
    ) -> PortResult<(Vec<Stored>, BTreeMap<Fleet, Breaker>)> {
        let fleets = self.silent_fleets(policy, scanned);
        let held = fleets.values().filter(|one| one.verdict == Breaker::Hold);
        report.held = held.map(|fleet| fleet.silent).sum();
        let verdicts = fleets
            .iter()
            .map(|(fleet, silence)| (fleet.clone(), silence.verdict))
            .collect();
        let mut claimed = Vec::new();
        if policy.holds.is_none() {
            // A hold that cannot be recorded has no beginning and no end that people could be notified of.
            return Ok((claimed, verdicts));
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
        Ok((claimed, verdicts))
    }

    fn silent_fleets(
        &self,
        policy: &SilencePolicy,
        scanned: &Scanned,
    ) -> BTreeMap<Fleet, FleetSilence> {
        let held = policy.holds.iter().flat_map(BTreeMap::keys);
        let mut silent: BTreeMap<Fleet, u64> = held.map(|fleet| (fleet.clone(), 0)).collect();
        silent.extend(
            scanned
                .silent
                .iter()
                .map(|(fleet, count)| (fleet.clone(), *count)),
        );
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
        let Ok(stored) = swap(&self.sweep.ports, entry, version).await? else {
            // Neither a claim nor a lost one is an error.
            let _ = report.count(Step::LostRace);
            return Ok(None);
        };
        if let Some(kind) = kind_of(&stored.record) {
            let _ = report.count(Step::Claimed(kind));
        }
        Ok(Some(stored))
    }
}
