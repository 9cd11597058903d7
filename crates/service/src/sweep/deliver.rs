//! Brings pending notices to the topic: lease, publish, write down what became of it.

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
use crate::ports::{Clock, Ledger, PortResult, Record, Stored, Swap, Version};
use crate::swap::swap;

/// How often an outcome is written down anew when the record changed meanwhile, say by an admin.
const TRIES: u32 = 5;

/// A record with a notice.
pub(super) trait Deliverable: Record {
    /// Leases its notice.
    fn lease(self, owner: Uuid, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self>;
    /// The notice that is pending in it.
    fn notice(&self, region: &Region) -> Option<Notice>;
    /// How far the notice has come, while it is pending.
    fn pending(&self) -> Option<&Pending>;
    /// What publishing the notice of `sent` came to.
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

/// Keeps messages apart.
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

    /// Completes when the next message may go.
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
    /// Publishes the pending notices of these entries, as far as they are ready: few of a fleet and kind each by
    /// itself, many as digests.
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
        let send = async |stored: Stored| {
            let (steps, _) = self
                .publish(&*self.sweep.ports.ledger, stored.record, stored.version)
                .await?;
            Ok(steps)
        };
        let mut result = self.each(single, report, send).await;
        for group in many {
            result = result.and(self.batch(group, report).await);
        }
        result
    }

    /// Publishes the pending notice of a record, if it is ready and nobody else has leased it. Gives the record as it
    /// then is, as far as that is known.
    ///
    /// A crash anywhere in here leaves a lease that runs out; then the notice is published again, with the same id.
    pub(super) async fn publish<T: Deliverable>(
        &self,
        ledger: &dyn Ledger<T>,
        record: T,
        version: Version,
    ) -> PortResult<(Vec<Step>, Option<(T, Version)>)> {
        let (sweep, owner) = (self.sweep, self.sweep.ports.ids.token());
        let policy = &sweep.settings.delivery;
        if record
            .clone()
            .lease(owner, sweep.ports.clock.now(), policy)
            .is_none()
        {
            return Ok((vec![], None));
        }
        self.pace.wait(&*sweep.ports.clock).await;
        if self.in_time().is_err() {
            return Ok((vec![Step::OutOfTime], None));
        }
        let Some(leased) = record.lease(owner, sweep.ports.clock.now(), policy) else {
            return Ok((vec![], None));
        };
        let version = match swap(ledger, &*sweep.ports.ids, &leased, Some(version)).await? {
            Swap::Done(version) => version,
            Swap::Conflict(_) => return Ok((vec![Step::LostRace], None)),
        };
        let Some(notice) = leased.notice(&sweep.settings.region) else {
            return Ok((vec![], None));
        };
        if leased
            .pending()
            .and_then(|pending| pending.holder(sweep.ports.clock.now()))
            != Some(owner)
        {
            // Whoever was held up this long must not publish: somebody else may.
            return Ok((vec![Step::LostRace], None));
        }
        let outcome = sweep.ports.topic.publish(&notice).await;
        let now = sweep.ports.clock.now();
        let (mut current, mut version) = (leased.clone(), version);
        for _ in 0..TRIES {
            let Some(next) = current.clone().settled(&leased, owner, &outcome, now) else {
                break;
            };
            match swap(ledger, &*sweep.ports.ids, &next, Some(version)).await? {
                Swap::Conflict(Some(stored)) => {
                    (current, version) = (stored.record, stored.version);
                }
                Swap::Done(done) => {
                    (current, version) = (next, done);
                    break;
                }
                Swap::Conflict(None) => break,
            }
        }
        let step = match outcome {
            Publication::Accepted => Step::Accepted,
            Publication::Refused(cause) => Step::Refused(words(&notice, &cause)),
            Publication::Unknown(cause) => Step::Unknown(words(&notice, &cause)),
        };
        Ok((vec![step], Some((current, version))))
    }
}

/// A notice and what is to be said about it.
fn words(notice: &Notice, cause: &str) -> String {
    format!("notice {} of {}: {cause}", notice.id, notice.about_whom())
}
