//! Delivers pending notices to the topic: lease, publish, record the outcome.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use hb_domain::{
    DeliveryPolicy, Digest, Entry, Notice, NoticeId, Pending, Publication, Reader, Region,
    Severity, Timestamp, Transition,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::claim::kind_of;
use super::groups::Group;
use super::report::Step;
use super::{Pass, Stop, SweepReport};
use crate::ports::{Clock, PortResult, Stored, Version};
use crate::swap::{Kept, Update, swap, swap_many, update_from};

/// A record with a notice.
pub(super) trait Deliverable: Kept {
    /// With its notice leased.
    fn lease(self, owner: Uuid, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self>;
    /// With its notice as of now, when a wrong clock wrote its lease.
    fn mended(&self, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self>;
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

    fn mended(&self, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self> {
        let pending = Some(self.pending.as_ref()?.mended(now, policy)?);
        Some(Self {
            pending,
            ..self.clone()
        })
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

    fn mended(&self, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self> {
        let pending = Some(self.pending.as_ref()?.mended(now, policy)?);
        Some(Self {
            pending,
            ..self.clone()
        })
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
        // The clock may have been set back since.
        let wait = next.since(clock.now()).min(self.gap);
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
        *next = clock.now().plus(self.gap);
    }
}

/// A subscription may want one severity only, so that a digest has one.
fn by_severity(drafts: Vec<Draft>) -> impl Iterator<Item = Vec<Draft>> {
    let mut parts: BTreeMap<Option<Severity>, Vec<Draft>> = BTreeMap::new();
    for draft in drafts {
        let last = draft.entry().history.last();
        let severity = last.map(Transition::severity);
        parts.entry(severity).or_default().push(draft);
    }
    parts.into_values()
}

/// An entry with a pending notice: a claim, or one that is stored.
pub(super) enum Draft {
    Claim(Proposed),
    Stored(Stored),
}

/// An entry that is to be swapped in.
pub(super) struct Proposed {
    pub(super) entry: Entry,
    /// The version that it replaces.
    pub(super) expected: Option<Version>,
    /// Of a claim: what marks its host as settled.
    pub(super) mark: Option<u64>,
    /// Whether a notice that waited is withdrawn.
    pub(super) withdraws: bool,
}

impl Draft {
    pub(super) fn entry(&self) -> &Entry {
        match self {
            Self::Claim(claim) => &claim.entry,
            Self::Stored(stored) => &stored.record,
        }
    }

    pub(super) fn into_proposed(self) -> Proposed {
        match self {
            Self::Claim(claim) => claim,
            Self::Stored(stored) => Proposed {
                entry: stored.record,
                expected: Some(stored.version),
                mark: None,
                withdraws: false,
            },
        }
    }
}

impl Pass<'_> {
    /// Publishes the pending notices of these entries, as far as they are ready and their groups may send: one of a group by
    /// itself, more as a digest. Claims are swapped in before, in any case.
    pub(super) async fn deliver(
        &self,
        drafts: Vec<Draft>,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let mut groups: BTreeMap<Group, (Timestamp, Vec<Draft>)> = BTreeMap::new();
        let (mut alone, mut many, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let now = self.sweep.ports.clock.now();
        for draft in drafts {
            match self.group_of(draft.entry(), now) {
                Some((group, at)) => {
                    let (oldest, drafts) = groups.entry(group).or_insert((at, Vec::new()));
                    *oldest = at.min(*oldest);
                    drafts.push(draft);
                }
                None if draft.entry().is_untouched() => held.push(draft),
                None => alone.push(draft),
            }
        }
        let is_claim = |draft: &Draft| matches!(draft, Draft::Claim(_));
        let mut result = Ok(());
        for (group, (oldest, drafts)) in groups {
            let may_send = if drafts.iter().any(is_claim) && self.waits(&group).await {
                Ok(false)
            } else {
                self.may_send(&group, oldest, report).await
            };
            if !matches!(may_send, Ok(true)) {
                result = result.and(may_send.map(drop));
                held.extend(drafts);
                continue;
            }
            for part in by_severity(drafts) {
                if part.len() == 1 {
                    alone.extend(part);
                } else {
                    many.push(part);
                }
            }
        }
        held.retain(is_claim);
        let held = held.into_iter().map(Draft::into_proposed).collect();
        result = result.and(self.swap_in(held, None, report).await.1);
        result = result.and(self.publish_alone(alone, report).await);
        for part in many {
            result = result.and(self.batch(part, report).await);
        }
        result
    }

    async fn publish_alone(
        &self,
        drafts: Vec<Draft>,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let (mut stored, mut claims) = (Vec::new(), Vec::new());
        for draft in drafts {
            match draft {
                Draft::Stored(one) => stored.push(one),
                Draft::Claim(claim) => claims.push(claim),
            }
        }
        let (claimed, result) = self.swap_in(claims, None, report).await;
        stored.extend(claimed);
        let send = async |stored: Stored| Ok(self.publish(stored).await?.0);
        result.and(self.each(stored, report, send).await)
    }

    /// Swaps in these entries, into a digest if one is given, and counts and marks those that are claims.
    pub(super) async fn swap_in(
        &self,
        entries: Vec<Proposed>,
        digest: Option<&NoticeId>,
        report: &mut SweepReport,
    ) -> (Vec<Stored>, Result<(), Stop>) {
        let part = self.part(entries.len());
        let (mut rest, mut work) = (entries.into_iter().peekable(), Vec::new());
        while rest.peek().is_some() {
            let part = rest.by_ref().take(part).collect();
            work.push(self.swap_part(part, digest).boxed());
        }
        let mut done = stream::iter(work).buffered(self.sweep.settings.concurrency);
        let (mut stored, mut result) = (Vec::new(), Ok(()));
        while let Some((some, steps)) = done.next().await {
            stored.extend(some);
            for step in steps {
                result = result.and(report.count(step));
            }
        }
        (stored, result)
    }

    async fn swap_part(
        &self,
        part: Vec<Proposed>,
        digest: Option<&NoticeId>,
    ) -> (Vec<Stored>, Vec<Step>) {
        if self.in_time().is_err() {
            return (vec![], vec![Step::OutOfTime]);
        }
        let now = self.sweep.ports.clock.now();
        let (mut proposals, mut marks, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for Proposed {
            entry,
            expected,
            mark,
            withdraws,
        } in part
        {
            let entry = match mark {
                Some(_) => self.of_incarnation(entry).await,
                None => Ok(entry),
            };
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    steps.push(Step::Failed(error));
                    continue;
                }
            };
            let entry = match digest {
                Some(digest) => entry.batched(digest, now),
                None => Some(entry),
            };
            if let Some(entry) = entry {
                marks.push((
                    mark,
                    withdraws,
                    entry.failure,
                    entry.epoch,
                    entry.key.clone(),
                ));
                proposals.push((entry, expected));
            }
        }
        let mut stored = Vec::new();
        let swapped = swap_many(&self.sweep.ports, proposals).await;
        for (swapped, (mark, withdraws, failure, epoch, key)) in swapped.into_iter().zip(marks) {
            match swapped {
                Ok(Ok(record)) => {
                    if let Some(mark) = mark {
                        self.sweep.settled.insert(mark);
                        let decided = kind_of(&record.record).map(Step::Claimed);
                        steps.extend(decided.filter(|_| record.record.pending.is_some()));
                        steps.extend(withdraws.then_some(Step::Withdrawn));
                    }
                    steps.extend(digest.map(|_| Step::Batched));
                    stored.push(record);
                }
                Ok(Err(current)) => {
                    steps.push(Step::LostRace);
                    let decided = |now: &Stored| now.record.epoch >= epoch;
                    if mark.is_some() && !current.as_ref().is_some_and(decided) {
                        steps.push(Step::Undecided(key));
                    }
                    let Some(current) = current else { continue };
                    if let Some(failure) = failure {
                        let kept = self.keep_failure(&current.record.key, failure).await;
                        steps.extend(kept.err().map(Step::Failed));
                    }
                    self.keep_lost(current).await;
                }
                Err(error) => steps.push(Step::Failed(error)),
            }
        }
        (stored, steps)
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
        let stored = match stored.record.mended(ports.clock.now(), policy) {
            None => stored,
            Some(mended) => match swap(ports, mended, Some(stored.version)).await? {
                Ok(mended) => mended,
                Err(_) => return Ok((vec![Step::LostRace], None)),
            },
        };
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
        let settings = &self.sweep.settings;
        let Some(notice) = leased.record.notice(&settings.region) else {
            return Ok((vec![], None));
        };
        let notice = Notice {
            reader: Reader {
                tz: self.zones.get(&notice.fleet).cloned().unwrap_or_default(),
                hb: settings.hb.clone(),
            },
            ..notice
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
