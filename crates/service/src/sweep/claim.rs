//! From a candidate to a claim: confirmed by strongly consistent reads, decided, swapped in.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hb_domain::{Entry, Heartbeat, HostKey, Rules, State, Timestamp, decide};

use super::report::Step;
use super::{Pass, Stop, SweepReport};
use crate::ports::{PortResult, Stored, Version};
use crate::swap::swap;

impl Pass<'_> {
    /// Looks for changes, claims them and delivers their notices.
    pub(super) async fn claim(
        &self,
        open: &BTreeMap<HostKey, Stored>,
        last_sweep: Option<Timestamp>,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let policy = self.silence_policy(report).await?;
        report.regions_unheard = policy.regions_unheard();
        let mut scanned = self.scan(open, last_sweep, &policy, report).await?;
        let about_receiver = self.hold(&policy, &mut scanned, report).await?;
        let marked = policy.marked();
        let claims = Mutex::new(about_receiver);
        let rules = |doubtful| if doubtful { &marked } else { &policy.sure };
        let settle = async |(key, doubtful)| {
            let (steps, claimed) = self.settle(key, rules(doubtful)).await?;
            claims
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(claimed);
            Ok(steps)
        };
        let candidates = scanned
            .candidates
            .into_iter()
            .map(|candidate| (candidate.key, candidate.doubtful));
        let settled = self.each(candidates, report, settle).await;
        let claims = claims.into_inner().unwrap_or_else(PoisonError::into_inner);
        let delivered = self.deliver(claims, report).await;
        settled.and(delivered)
    }

    /// Confirms a candidate by strongly consistent reads and claims its transition.
    async fn settle(&self, key: HostKey, rules: &Rules) -> PortResult<(Vec<Step>, Option<Stored>)> {
        let ports = &self.sweep.ports;
        let heard = ports.heartbeats.load(&key).await?;
        let Some(heartbeat) = heard
            .into_iter()
            .map(|h| h.heartbeat)
            .reduce(Heartbeat::merge)
        else {
            return Ok((vec![], None));
        };
        let stored = ports.ledger.load(&key).await?;
        let expected = stored.as_ref().map(|stored| stored.version);
        let entry = stored.map_or_else(|| Entry::new(key), |stored| stored.record);
        if let Some(claim) = decide(&entry, &heartbeat, self.now, rules) {
            return self.claimed(claim, expected).await;
        }
        let next = if entry.state == State::Forgotten {
            entry.reopened()
        } else {
            entry.rechecked()
        };
        if let Some(next) = next {
            // After a lost race, whoever won it has rechecked the host.
            let _ = swap(ports, next, expected).await?;
        }
        Ok((vec![], None))
    }

    /// Swaps a claim in.
    pub(super) async fn claimed(
        &self,
        claim: Entry,
        expected: Option<Version>,
    ) -> PortResult<(Vec<Step>, Option<Stored>)> {
        let Ok(stored) = swap(&self.sweep.ports, claim, expected).await? else {
            return Ok((vec![Step::LostRace], None));
        };
        let decided = stored.record.history.last();
        let steps = decided.map(|last| Step::Claimed(last.kind));
        Ok((steps.into_iter().collect(), Some(stored)))
    }
}
