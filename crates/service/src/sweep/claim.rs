//! From a candidate to a claim: confirmed by strongly consistent reads, decided, swapped in.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hb_domain::{Entry, Heartbeat, HostKey, Rules, State, Timestamp, decide};

use super::report::Step;
use super::{Pass, Stop, SweepReport};
use crate::ports::{PortResult, Stored, Swap, Version};
use crate::swap::swap;

impl Pass<'_> {
    /// Looks for changes, claims them and delivers their notices.
    pub(super) async fn claim(
        &self,
        open: &BTreeMap<HostKey, Stored>,
        last_sweep: Option<Timestamp>,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let policy = self.silence_policy().await?;
        report.regions_unheard = policy.regions_unheard();
        let mut scanned = self.scan(open, last_sweep, &policy, report).await?;
        let about_receiver = self.hold(&policy, &mut scanned, report).await?;
        let (marked, claims) = (policy.marked(), Mutex::new(about_receiver));
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
        let heard = self.sweep.ports.heartbeats.load(&key).await?;
        let Some(heartbeat) = heard
            .into_iter()
            .map(|h| h.heartbeat)
            .reduce(Heartbeat::merge)
        else {
            return Ok((vec![], None));
        };
        let stored = self.sweep.ports.ledger.load(&key).await?;
        let expected = stored.as_ref().map(|stored| stored.version);
        let entry = stored.map_or_else(|| Entry::new(key), |stored| stored.record);
        if let Some(claim) = decide(&entry, &heartbeat, self.now, rules) {
            return self.claimed(claim, expected).await;
        }
        if entry.state != State::Forgotten
            && let Some(next) = entry.rechecked()
        {
            // A conflict means that somebody else looked.
            swap(
                &*self.sweep.ports.ledger,
                &*self.sweep.ports.ids,
                &next,
                expected,
            )
            .await?;
        }
        Ok((vec![], None))
    }

    /// Swaps a claim in.
    pub(super) async fn claimed(
        &self,
        claim: Entry,
        expected: Option<Version>,
    ) -> PortResult<(Vec<Step>, Option<Stored>)> {
        match swap(
            &*self.sweep.ports.ledger,
            &*self.sweep.ports.ids,
            &claim,
            expected,
        )
        .await?
        {
            Swap::Conflict(_) => Ok((vec![Step::LostRace], None)),
            Swap::Done(version) => {
                let steps = claim.history.last().map(|told| Step::Claimed(told.kind));
                let writer = uuid::Uuid::nil();
                Ok((
                    steps.into_iter().collect(),
                    Some(Stored {
                        record: claim,
                        version,
                        writer,
                    }),
                ))
            }
        }
    }
}
