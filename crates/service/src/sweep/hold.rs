//! Holds back notices of silence while the service may be at fault.

use std::collections::BTreeMap;

use hb_domain::{
    Breaker, Entry, Fleet, HostId, HostKey, Message, Receiver, SilentHosts, State, Timestamp,
    limits,
};

use super::claim::kind_of;
use super::open::OpenHosts;
use super::report::Step;
use super::scan::Scanned;
use super::silence::SilencePolicy;
use super::{Pass, SweepReport};
use crate::ports::{PortError, PortResult, Stored};
use crate::swap::{Update, swap, update};

/// What the open entries say about their fleets.
#[derive(Default)]
pub(super) struct OpenFleets {
    /// How many hosts became missing in the [`limits::HOLD`] before.
    went_missing: BTreeMap<Fleet, u64>,
    /// Since when people know that the receiver is degraded.
    degraded: BTreeMap<Fleet, Timestamp>,
}

impl OpenFleets {
    pub(super) fn add(&mut self, entry: &Entry, now: Timestamp) {
        let fleet = &entry.key.fleet;
        if entry.went_missing_since(now.minus(limits::HOLD)) {
            *self.went_missing.entry(fleet.clone()).or_default() += 1;
        }
        if entry.key.host == HostId::receiver() && entry.state == State::Failing {
            self.degraded.insert(fleet.clone(), entry.basis);
        }
    }
}

/// What a sweep found in a fleet that seems silent or is held.
struct FleetSilence {
    silent: SilentHosts,
    held: Option<Timestamp>,
    verdict: Breaker,
}

impl FleetSilence {
    /// The message of the notice that the receiver is degraded.
    fn message(&self, unheard: bool) -> Message {
        let minutes = limits::HOLD.as_secs() / 60;
        let proof = if unheard {
            "no beat of any host shows that they reach this machine"
        } else {
            "no canary shows that beats arrive"
        };
        Message::from(format!(
            "{} of {} hosts seem silent, and {proof}; their notices are held for up to {minutes} min",
            self.silent.now, self.silent.hosts
        ))
    }
}

/// On one machine, the newest beat of any host ([`Rules::newest_beat`](hb_domain::Rules)). `None` where there are too few
/// hosts to tell a lost network from lost hosts.
pub(super) fn newest_beat(
    policy: &SilencePolicy,
    scanned: &Scanned,
    report: &SweepReport,
) -> Option<Timestamp> {
    let away = report.counts.missing + report.counts.paused;
    let hosts = scanned.hosts.values().sum::<u64>().saturating_sub(away);
    let enough = usize::try_from(hosts).is_ok_and(|hosts| hosts >= limits::NETWORK_HOSTS);
    (policy.checks_network && enough).then_some(scanned.network.newest)
}

impl Pass<'_> {
    /// Decides of each fleet that seems silent whether its notices are held, and records that. Returns the notices about
    /// the receiver itself as well.
    pub(super) async fn hold(
        &self,
        policy: &SilencePolicy,
        open: &OpenFleets,
        scanned: &Scanned,
        report: &mut SweepReport,
    ) -> PortResult<(Vec<Stored>, BTreeMap<Fleet, Breaker>)> {
        let newest = scanned.network.newest;
        let returned = policy.unheard_since.is_some_and(|since| newest > since);
        let unheard = policy.checks_network
            && (policy.unheard_since.is_some() || scanned.network.is_unheard());
        let unheard_since = unheard.then_some(newest);
        let fleets = self.silent_fleets(policy, open, scanned, unheard_since);
        let mut verdicts = BTreeMap::new();
        for (fleet, silence) in &fleets {
            let verdict = if returned {
                Breaker::Hold
            } else {
                silence.verdict
            };
            if verdict == Breaker::Hold {
                report.held += silence.silent.now;
            }
            verdicts.insert(fleet.clone(), verdict);
        }
        if returned {
            // The next sweep knows of the blackout, and gives those that were silent their grace.
            self.update_receiver(|receiver| receiver.heard_again(newest))
                .await?;
            return Ok((Vec::new(), verdicts));
        }
        let mut claimed = Vec::new();
        for (fleet, silence) in fleets {
            match (silence.verdict, silence.held) {
                (Breaker::Hold, held) => {
                    self.update_receiver(|receiver| {
                        receiver.holding(&fleet, self.now, unheard_since)
                    })
                    .await?;
                    if self.is_due(policy, held) {
                        let message = Some(silence.message(unheard));
                        claimed.extend(self.claim_receiver(fleet, message, report).await?.0);
                    }
                }
                (Breaker::Closed, Some(since)) if policy.is_over(since, unheard, self.now) => {
                    let (notice, known) = self.claim_receiver(fleet.clone(), None, report).await?;
                    claimed.extend(notice);
                    // Until people know that it works again, the hold stays on record.
                    if known {
                        self.update_receiver(|receiver| receiver.released(&fleet))
                            .await?;
                    }
                }
                // The time without beats is to be a blackout all the same.
                (Breaker::Marked, _) if unheard => {
                    self.update_receiver(|receiver| {
                        receiver.holding(&fleet, self.now, unheard_since)
                    })
                    .await?;
                }
                (Breaker::Closed | Breaker::Marked, _) => {}
            }
        }
        Ok((claimed, verdicts))
    }

    /// Whether people are to be notified that the receiver is degraded. Not at once: after a stop of the whole service
    /// the first canary is about to arrive. A hold that cannot be recorded begins with that notice.
    fn is_due(&self, policy: &SilencePolicy, held: Option<Timestamp>) -> bool {
        let fresh = self.sweep.settings.canaries.fresh;
        let due = held.is_some_and(|since| self.now.since(since) >= fresh);
        due || policy.holds.is_none()
    }

    fn silent_fleets(
        &self,
        policy: &SilencePolicy,
        open: &OpenFleets,
        scanned: &Scanned,
        unheard_since: Option<Timestamp>,
    ) -> BTreeMap<Fleet, FleetSilence> {
        // What people know counts when the record cannot be read, or could not be. Several regions share that notice.
        let mut held = if policy.alone || policy.holds.is_none() {
            open.degraded.clone()
        } else {
            BTreeMap::new()
        };
        held.extend(policy.holds.clone().unwrap_or_default());
        // A single beat ends a hold, but nobody waits for another 15 min after it.
        let coverage = &policy.sure.coverage;
        let hardly_heard = unheard_since
            .map(|newest| coverage.hardly_heard_since(newest))
            .filter(|since| Some(*since) < unheard_since);
        let fleets = held.keys().chain(scanned.silent.keys());
        let judged = fleets.map(|fleet| {
            let silent = SilentHosts {
                now: scanned.silent.get(fleet).copied().unwrap_or(0),
                before: open.went_missing.get(fleet).copied().unwrap_or(0),
                hosts: scanned.hosts.get(fleet).copied().unwrap_or(0),
            };
            let held = held.get(fleet).copied();
            let since = held.into_iter().chain(hardly_heard).min();
            let unheard = unheard_since.is_some();
            let verdict = Breaker::of(silent, policy.health, unheard, since, self.now);
            let silence = FleetSilence {
                silent,
                held,
                verdict,
            };
            (fleet.clone(), silence)
        });
        judged.collect()
    }

    /// Changes the record of the own receiver, if it can be read.
    async fn update_receiver(
        &self,
        change: impl Fn(Receiver) -> Option<Receiver>,
    ) -> PortResult<()> {
        let region = &self.sweep.settings.region;
        let new = || Receiver::new(region.clone());
        let rule = |known: Option<Receiver>| change(known.unwrap_or_else(new)).ok_or(());
        match update(&self.sweep.ports, region, rule).await {
            Ok(Update::Done(_) | Update::Declined(..)) | Err(PortError::Unreadable { .. }) => {
                Ok(())
            }
            Ok(Update::Contended(error)) | Err(error) => Err(error),
        }
    }

    /// Claims the notice that the receiver is degraded, or that it works again. Returns also whether people know, or are
    /// about to.
    async fn claim_receiver(
        &self,
        fleet: Fleet,
        message: Option<Message>,
        report: &mut SweepReport,
    ) -> PortResult<(Option<Stored>, bool)> {
        let receiver = HostKey::new(fleet, HostId::receiver());
        self.claim_own(receiver, message, report).await
    }

    /// Claims the notice that this machine's clock stepped, or that it has kept time since.
    pub(super) async fn claim_clock(
        &self,
        open: &OpenHosts,
        report: &mut SweepReport,
    ) -> PortResult<Option<Stored>> {
        let clock = HostKey::new(Fleet::main(), HostId::clock());
        let trouble = self.sweep.ports.clock.trouble();
        if trouble.is_none() && !open.contains(&clock) {
            return Ok(None);
        }
        Ok(self.claim_own(clock, trouble, report).await?.0)
    }

    /// Claims the notice that a host of the service's own fails for the reason in `message`, or that it works again.
    pub(super) async fn claim_own(
        &self,
        key: HostKey,
        message: Option<Message>,
        report: &mut SweepReport,
    ) -> PortResult<(Option<Stored>, bool)> {
        let stored = self.sweep.ports.ledger.load(&key).await?;
        let version = stored.as_ref().map(|stored| stored.version);
        let entry = stored.map_or_else(|| Entry::new(key), |stored| stored.record);
        let known = (entry.state == State::Failing) == message.is_some();
        let Some(entry) = entry.of_receiver(message, self.now) else {
            return Ok((None, known));
        };
        let entry = self.of_incarnation(entry).await?;
        let Ok(stored) = swap(&self.sweep.ports, entry, version).await? else {
            // Neither a claim nor a lost one is an error.
            let _ = report.count(Step::LostRace);
            return Ok((None, false));
        };
        if let Some(kind) = kind_of(&stored.record) {
            let _ = report.count(Step::Claimed(kind));
        }
        Ok((Some(stored), true))
    }
}
