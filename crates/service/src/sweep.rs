//! One pass over all hosts: scan, decide, confirm, claim, deliver.
//!
//! A sweep holds open entries and candidates in memory, never the fleet. Any number of sweeps may run at the same
//! time, in any number of processes: a claim has one winner.

mod deliver;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, ready};
use futures::stream::{self, StreamExt, TryStreamExt};
use hb_domain::{DeliveryPolicy, Entry, Heartbeat, HostKey, Kind, Region, Rules, Timestamp, decide};
use serde::Serialize;

use crate::ports::{
    Clock, CompletedSweep, Heard, Heartbeats, Ids, Ledger, PortError, PortResult, Segment, Stored, Swap,
    System, Topic, Unreadable,
};
use crate::swap::swap;

/// Troubles that a report spells out; the rest is counted.
const TROUBLES: usize = 10;
/// How far the clocks of two machines may differ, when both follow a time service: far less than anyone notices in a
/// notice, far more than such clocks drift.
const SKEW: Duration = Duration::from_secs(5);
/// How long the echo of a notice may take until the notice is published again.
const ECHO_WAIT: Duration = Duration::from_mins(3);

/// What a sweep depends on besides its ports.
#[derive(Clone, Debug)]
pub struct SweepSettings {
    /// Whose sweep this is; stands in its notices.
    pub region: Region,
    /// When silence counts.
    pub rules: Rules,
    /// When a notice is tried again.
    pub delivery: DeliveryPolicy,
    /// In how many parts the hosts are scanned at the same time.
    pub segments: u32,
    /// How many hosts are confirmed, claimed and delivered at the same time.
    pub concurrency: usize,
}

impl SweepSettings {
    /// For one machine: one scan, no skew, and a topic that accepts a notice once, so that nothing waits for an echo.
    #[must_use]
    pub fn local() -> Self {
        Self {
            region: Region::local(),
            rules: Rules { skew: Duration::ZERO },
            delivery: DeliveryPolicy { lease: Duration::from_secs(10), echo_wait: Duration::ZERO },
            segments: 1,
            concurrency: 64,
        }
    }

    /// For several sweeps that may run at the same time on different machines, each of which may die at any moment,
    /// and for a topic that cannot recognise a notice. No sweep may live longer than `lease` after it began.
    #[must_use]
    pub fn distributed(region: Region, lease: Duration) -> Self {
        Self {
            region,
            rules: Rules { skew: SKEW },
            delivery: DeliveryPolicy { lease, echo_wait: ECHO_WAIT },
            segments: 4,
            concurrency: 32,
        }
    }
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Hosts looked at.
    pub hosts: u64,
    /// Stored items that could not be read, and were skipped.
    pub unreadable: u64,
    /// Transitions decided by this sweep.
    pub registered: u64,
    /// Likewise.
    pub missing: u64,
    /// Likewise.
    pub failing: u64,
    /// Likewise.
    pub recovered: u64,
    /// Claims and leases that somebody else had first.
    pub lost_races: u64,
    /// Notices that the topic accepted.
    pub accepted: u64,
    /// Notices that it refused; they are tried again.
    pub refused: u64,
    /// Notices of unknown outcome; they are tried again when no echo comes.
    pub unknown: u64,
    /// What a person should look at, in words; the first few.
    pub troubles: Vec<String>,
}

impl SweepReport {
    /// Counts a step; gives the error of one that failed, unless it is about one unreadable item only.
    fn count(&mut self, step: Step) -> PortResult<()> {
        match step {
            Step::LostRace => self.lost_races += 1,
            Step::Claimed(Kind::Registered) => self.registered += 1,
            Step::Claimed(Kind::Missing) => self.missing += 1,
            Step::Claimed(Kind::Failing) => self.failing += 1,
            Step::Claimed(Kind::Recovered) => self.recovered += 1,
            Step::Accepted => self.accepted += 1,
            Step::Refused(cause) => {
                self.refused += 1;
                self.note(|| format!("the topic refuses {cause}"));
            }
            Step::Unknown(cause) => {
                self.unknown += 1;
                self.note(|| format!("the topic does not say whether it has {cause}"));
            }
            Step::Failed(PortError::Unreadable { what, key, cause }) => {
                self.skip(&what, &Unreadable { key, cause });
            }
            Step::Failed(error) => return Err(error),
        }
        Ok(())
    }

    fn skip(&mut self, what: &str, item: &Unreadable) {
        self.unreadable += 1;
        self.note(|| {
            format!("{what} holds an unreadable item {}, which is skipped: {}", item.key, item.cause)
        });
    }

    fn note(&mut self, trouble: impl FnOnce() -> String) {
        if self.troubles.len() < TROUBLES {
            self.troubles.push(trouble());
        }
    }
}

/// A sweep that did not reach its end; the next one starts from the beginning.
#[derive(Debug, thiserror::Error)]
#[error("the sweep stopped after {} hosts: {source}", report.hosts)]
pub struct SweepError {
    /// How far it came.
    pub report: Box<SweepReport>,
    /// What stopped it: the first cause, where there were several.
    pub source: Stop,
}

/// What stops a sweep.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// A store failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// It was told to end by now.
    #[error("its time is over")]
    OutOfTime,
}

/// Sweeps.
pub struct Sweep {
    /// The beats.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Where notices go.
    pub topic: Arc<dyn Topic>,
    /// Where completed sweeps are remembered.
    pub system: Arc<dyn System>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for writer tokens.
    pub ids: Arc<dyn Ids>,
    /// Everything else.
    pub settings: SweepSettings,
}

/// What one step of a sweep came to.
enum Step {
    LostRace,
    Claimed(Kind),
    Accepted,
    Refused(String),
    Unknown(String),
    Failed(PortError),
}

impl Sweep {
    /// Sweeps once. What could be done is done, also when an error is returned.
    pub async fn run(&self) -> Result<SweepReport, SweepError> {
        self.run_until(Timestamp::MAX).await
    }

    /// Sweeps once, and begins nothing more after `until`: what is under way then, a publish above all, is finished.
    pub async fn run_until(&self, until: Timestamp) -> Result<SweepReport, SweepError> {
        let mut report = SweepReport { began: self.clock.now(), ..SweepReport::default() };
        let result = self.pass(&mut report, until).await;
        report.ended = self.clock.now();
        let completed = CompletedSweep { began: report.began, ended: report.ended, hosts: report.hosts };
        let result = match result {
            Ok(()) => self.system.record_sweep(&self.settings.region, &completed).await.map_err(Stop::from),
            error => error,
        };
        match result {
            Ok(()) => Ok(report),
            Err(source) => Err(SweepError { report: Box::new(report), source }),
        }
    }

    async fn pass(&self, report: &mut SweepReport, until: Timestamp) -> Result<(), Stop> {
        let now = report.began;
        let last_sweep = self.system.last_sweep(&self.settings.region).await?.map(|sweep| sweep.began);
        let open = self.open_entries(report).await?;
        let unsent: Vec<_> = open.values().filter(|stored| stored.entry.pending.is_some()).cloned().collect();
        let sent =
            self.each(unsent, until, report, |stored| self.deliver(stored.entry, stored.version)).await;
        let candidates = self.candidates(&open, last_sweep, until, report).await?;
        drop(open);
        let settled = self.each(candidates, until, report, |key| self.settle(key, now)).await;
        sent.and(settled)
    }

    fn in_time(&self, until: Timestamp) -> Result<(), Stop> {
        if self.clock.now() < until { Ok(()) } else { Err(Stop::OutOfTime) }
    }

    /// Does `work` for all `items`, several at a time; one that fails does not keep the others from theirs.
    async fn each<T, F>(
        &self,
        items: Vec<T>,
        until: Timestamp,
        report: &mut SweepReport,
        work: impl Fn(T) -> F,
    ) -> Result<(), Stop>
    where
        F: Future<Output = PortResult<Vec<Step>>>,
    {
        let steps = |item| match self.in_time(until) {
            Ok(()) => {
                Either::Left(work(item).map(|steps| Ok(steps.unwrap_or_else(|e| vec![Step::Failed(e)]))))
            }
            Err(stop) => Either::Right(ready(Err(stop))),
        };
        let mut results = stream::iter(items).map(steps).buffer_unordered(self.settings.concurrency);
        let mut first_stop = Ok(());
        while let Some(result) = results.next().await {
            match result {
                Ok(steps) => {
                    for step in steps {
                        first_stop = first_stop.and(report.count(step).map_err(Stop::from));
                    }
                }
                Err(stop) => first_stop = first_stop.and(Err(stop)),
            }
        }
        first_stop
    }

    async fn open_entries(&self, report: &mut SweepReport) -> PortResult<HashMap<HostKey, Stored>> {
        let (mut open, mut after) = (HashMap::new(), None);
        loop {
            let page = self.ledger.open(after).await?;
            page.unreadable.iter().for_each(|item| report.skip("table ledger", item));
            for mut stored in page.items {
                if stored.entry.pending.is_none() {
                    // Only a pending notice is told from it; the history would be most of the memory.
                    stored.entry.history = Vec::new();
                }
                open.insert(stored.entry.key.clone(), stored);
            }
            after = page.next;
            if after.is_none() {
                return Ok(open);
            }
        }
    }

    /// Hosts for which something seems to have changed, by a perhaps stale look at all of them.
    async fn candidates(
        &self,
        open: &HashMap<HostKey, Stored>,
        last_sweep: Option<Timestamp>,
        until: Timestamp,
        report: &mut SweepReport,
    ) -> Result<Vec<HostKey>, Stop> {
        let now = report.began;
        let changed = |key: &HostKey, heartbeat: &Heartbeat| {
            let assumed = || Cow::Owned(Entry::assumed(key, heartbeat, last_sweep));
            let entry = open.get(key).map_or_else(assumed, |stored| Cow::Borrowed(&stored.entry));
            decide(&entry, heartbeat, now, &self.settings.rules).is_some()
        };
        let (of, hosts) = (self.settings.segments, AtomicU64::new(0));
        let look = |key: &HostKey, heartbeat: &Heartbeat| {
            hosts.fetch_add(1, Ordering::Relaxed);
            changed(key, heartbeat)
        };
        let segments = (0..of).map(|index| self.scan(Segment { index, of }, until, &look));
        let scans: Result<Vec<_>, _> =
            stream::iter(segments).buffer_unordered(of.max(1) as usize).try_collect().await;
        // Also of a scan that did not reach its end: how far it came.
        report.hosts = hosts.load(Ordering::Relaxed);
        let mut candidates = Vec::new();
        for scan in scans? {
            scan.unreadable.iter().for_each(|item| report.skip("table heartbeats", item));
            candidates.extend(scan.candidates);
        }
        Ok(candidates)
    }

    async fn scan(
        &self,
        segment: Segment,
        until: Timestamp,
        changed: &impl Fn(&HostKey, &Heartbeat) -> bool,
    ) -> Result<Scanned, Stop> {
        let mut scanned = Scanned::default();
        // The regions of a host follow each other, perhaps across two pages.
        let mut host: Option<Heard> = None;
        let mut after = None;
        loop {
            self.in_time(until)?;
            let page = self.heartbeats.scan(segment, after).await?;
            scanned.unreadable.extend(page.unreadable);
            for heard in page.items {
                host = Some(match host.take() {
                    Some(before) if before.key == heard.key => {
                        Heard { heartbeat: before.heartbeat.merge(heard.heartbeat), ..before }
                    }
                    before => {
                        scanned.host(before, changed);
                        heard
                    }
                });
            }
            after = page.next;
            if after.is_none() {
                scanned.host(host, changed);
                return Ok(scanned);
            }
        }
    }

    /// Confirms a candidate by strongly consistent reads, claims its transition and delivers the notice.
    async fn settle(&self, key: HostKey, now: Timestamp) -> PortResult<Vec<Step>> {
        let heard = self.heartbeats.load(&key).await?;
        let Some(heartbeat) = heard.into_iter().map(|h| h.heartbeat).reduce(Heartbeat::merge) else {
            return Ok(vec![]);
        };
        let stored = self.ledger.load(&key).await?;
        let expected = stored.as_ref().map(|stored| stored.version);
        let entry = stored.map_or_else(|| Entry::new(key), |stored| stored.entry);
        let Some(claim) = decide(&entry, &heartbeat, now, &self.settings.rules) else { return Ok(vec![]) };
        match swap(&*self.ledger, &*self.ids, &claim, expected).await? {
            Swap::Conflict(_) => Ok(vec![Step::LostRace]),
            Swap::Done(version) => {
                let claimed = claim.history.last().map(|told| Step::Claimed(told.kind));
                let delivered = self.deliver(claim, version).await;
                let delivered = delivered.unwrap_or_else(|error| vec![Step::Failed(error)]);
                Ok(claimed.into_iter().chain(delivered).collect())
            }
        }
    }
}

/// What a scan of one segment found.
#[derive(Default)]
struct Scanned {
    unreadable: Vec<Unreadable>,
    candidates: Vec<HostKey>,
}

impl Scanned {
    fn host(&mut self, heard: Option<Heard>, changed: &impl Fn(&HostKey, &Heartbeat) -> bool) {
        let Some(Heard { key, heartbeat, .. }) = heard else { return };
        if changed(&key, &heartbeat) {
            self.candidates.push(key);
        }
    }
}
