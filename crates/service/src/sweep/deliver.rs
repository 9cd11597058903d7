//! Delivers pending notices to the topic: lease, publish, record the outcome.

use std::collections::BTreeMap;
use std::time::Duration;

use hb_domain::{
    DeliveryPolicy, Digest, Entry, Fleet, Kind, Notice, Pending, Publication, Region, Timestamp,
    limits,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::report::Step;
use super::{Pass, Stop, SweepReport};
use crate::ports::{Clock, PortResult, Stored};
use crate::swap::{Kept, Update, swap, update_from};

/// A record with a notice.
pub(super) trait Deliverable: Kept {
    /// With its notice leased.
    fn lease(self, owner: Uuid, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self>;
    /// Its pending notice.
    fn notice(&self, region: &Region) -> Option<Notice>;
    /// The progress of its pending notice.
    fn pending(&self) -> Option<&Pending>;
    /// With the outcome of publishing the notice of `sent`.
    fn settled(
        self,
        sent: &Self,
        owner: Uuid,
        outcome: &Publication,
        now: Timestamp,
    ) -> Option<Self>;
}

impl Deliverable for Entry {
    fn lease(self, owner: Uuid, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self> {
        self.leased(owner, now, policy)
    }

    fn notice(&self, region: &Region) -> Option<Notice> {
        Notice::of(self, region)
    }

    fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    fn settled(
        self,
        sent: &Self,
        owner: Uuid,
        outcome: &Publication,
        now: Timestamp,
    ) -> Option<Self> {
        let attempt = sent.pending.as_ref()?.attempt;
        self.published(sent.epoch, owner, attempt, outcome, now)
    }
}

impl Deliverable for Digest {
    fn lease(self, owner: Uuid, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self> {
        self.leased(owner, now, policy)
    }

    fn notice(&self, region: &Region) -> Option<Notice> {
        Notice::of_digest(self, region)
    }

    fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    fn settled(
        self,
        sent: &Self,
        owner: Uuid,
        outcome: &Publication,
        now: Timestamp,
    ) -> Option<Self> {
        let attempt = sent.pending.as_ref()?.attempt;
        self.published(owner, attempt, outcome, now)
    }
}

/// Limits the rate of messages.
pub(super) struct Pace {
    gap: Duration,
    next: Mutex<Timestamp>,
}

impl Pace {
    pub(super) fn new(per_second: Option<u32>) -> Self {
        let gap = per_second.map_or(Duration::ZERO, |count| {
            Duration::from_secs(1) / count.max(1)
        });
        Self {
            gap,
            next: Mutex::new(Timestamp::MIN),
        }
    }

    /// Completes when the next message may be sent.
    async fn wait(&self, clock: &dyn Clock) {
        if self.gap.is_zero() {
            return;
        }
        let mut next = self.next.lock().await;
        let wait = next.since(clock.now());
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
        *next = clock.now().plus(self.gap);
    }
}

impl Pass<'_> {
    /// Publishes the pending notices of these entries, as far as they are ready: few of one fleet and kind one by one,
    /// many as digests.
    pub(super) async fn deliver(
        &self,
        entries: Vec<Stored>,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let mut groups: BTreeMap<(Fleet, Kind), Vec<Stored>> = BTreeMap::new();
        let mut single = Vec::new();
        for stored in entries {
            let kind = stored.record.history.last().map(|last| last.kind);
            match kind.filter(|_| stored.record.can_batch(self.sweep.ports.clock.now())) {
                Some(kind) => groups
                    .entry((stored.record.key.fleet.clone(), kind))
                    .or_default()
                    .push(stored),
                None => single.push(stored),
            }
        }
        let (many, few): (Vec<_>, Vec<_>) = groups
            .into_values()
            .partition(|group| group.len() > limits::DIGEST_ABOVE);
        single.extend(few.into_iter().flatten());
        let send = async |stored: Stored| Ok(self.publish(stored).await?.0);
        let mut result = self.each(single, report, send).await;
        for group in many {
            result = result.and(self.batch(group, report).await);
        }
        result
    }

    /// Publishes the pending notice of a record, if it is ready and no one else has leased it. Returns the record as it
    /// is afterwards, as far as that is known.
    ///
    /// A crash anywhere in here leaves a lease that runs out; then the notice is published again, with the same id.
    pub(super) async fn publish<T: Deliverable>(
        &self,
        stored: Stored<T>,
    ) -> PortResult<(Vec<Step>, Option<Stored<T>>)> {
        let ports = &self.sweep.ports;
        let policy = &self.sweep.settings.delivery;
        let owner = ports.ids.token();
        let ready = stored.record.clone();
        if ready.lease(owner, ports.clock.now(), policy).is_none() {
            return Ok((vec![], None));
        }
        self.pace.wait(&*ports.clock).await;
        if self.in_time().is_err() {
            return Ok((vec![Step::OutOfTime], None));
        }
        let Some(leased) = stored.record.lease(owner, ports.clock.now(), policy) else {
            return Ok((vec![], None));
        };
        let Ok(leased) = swap(ports, leased, Some(stored.version)).await? else {
            return Ok((vec![Step::LostRace], None));
        };
        let Some(notice) = leased.record.notice(&self.sweep.settings.region) else {
            return Ok((vec![], None));
        };
        let pending = leased.record.pending();
        if pending.and_then(|pending| pending.holder(ports.clock.now())) != Some(owner) {
            // The lease ran out meanwhile: another sweep may be publishing the notice.
            return Ok((vec![Step::LostRace], None));
        }
        let outcome = ports.topic.publish(&notice).await;
        let after = self.record_outcome(leased, owner, &outcome).await?;
        let step = match outcome {
            Publication::Accepted => Step::Accepted,
            Publication::Refused(cause) => Step::Refused(words(&notice, &cause)),
            Publication::Unknown(cause) => Step::Unknown(words(&notice, &cause)),
        };
        Ok((vec![step], after))
    }

    /// Records the outcome of publishing the notice of `leased`, although the record may have changed meanwhile. When
    /// others change it at every try, the lease runs out as after a crash.
    async fn record_outcome<T: Deliverable>(
        &self,
        leased: Stored<T>,
        owner: Uuid,
        outcome: &Publication,
    ) -> PortResult<Option<Stored<T>>> {
        let ports = &self.sweep.ports;
        let now = ports.clock.now();
        let sent = leased.record.clone();
        let rule = |current: Option<T>| {
            current
                .and_then(|current| current.settled(&sent, owner, outcome, now))
                .ok_or(())
        };
        let update = update_from(ports, sent.key(), Some(leased), rule).await?;
        Ok(match update {
            Update::Done(stored) => Some(stored),
            Update::Declined(stored, ()) => stored,
            Update::Contended(_) => None,
        })
    }
}

fn words(notice: &Notice, cause: &str) -> String {
    format!("notice {} of {}: {cause}", notice.id, notice.about_whom())
}
