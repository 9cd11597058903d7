//! One pass over all hosts: read echoes, scan, decide, confirm, claim, deliver.
//!
//! A sweep keeps open entries, candidates and claims in memory, never the fleet. Any number of sweeps may run at the same
//! time, in any number of processes and regions: each claim has one winner.

mod claim;
mod deliver;
mod digest;
mod echo;
mod hold;
mod report;
mod scan;
mod silence;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, ready};
use futures::stream::{self, StreamExt};
use hb_domain::{CanaryPolicy, DeliveryPolicy, HostKey, Region, Timestamp, limits};

use self::deliver::Pace;
use self::report::Step;
pub use self::report::{HostCounts, KindCounts, SweepReport};
use crate::ports::{CompletedSweep, PortError, PortResult, Ports, Stored, every_page};
use crate::swap::Kept;

/// How far the clocks of two machines may differ when both follow a time service: much more than such clocks drift, and
/// too little to matter in a notice.
const SKEW: Duration = Duration::from_secs(5);
/// How long to wait for the echo of a notice before the notice is published again.
const ECHO_WAIT: Duration = Duration::from_mins(3);

#[derive(Clone, Debug)]
pub struct SweepSettings {
    /// The region of the sweep, which its notices name.
    pub region: Region,
    pub skew: Duration,
    /// When a notice is retried.
    pub delivery: DeliveryPolicy,
    /// How long a canary proves that the receiver works.
    pub canaries: CanaryPolicy,
    /// In how many concurrent parts the hosts are scanned.
    pub segments: u32,
    /// How many hosts are confirmed, claimed and delivered concurrently.
    pub concurrency: usize,
    /// Most messages a second to the topic; `None` for no limit.
    pub messages_per_second: Option<u32>,
}

impl SweepSettings {
    /// For one machine: one scan, no skew, a topic that accepts each notice once, so that no notice waits for an echo,
    /// and canaries every 3 s.
    #[must_use]
    pub fn local() -> Self {
        let seconds = Duration::from_secs;
        Self {
            region: Region::local(),
            skew: Duration::ZERO,
            delivery: DeliveryPolicy {
                lease: seconds(10),
                echo_wait: Duration::ZERO,
            },
            canaries: CanaryPolicy {
                fresh: seconds(7),
                down_after: seconds(13),
            },
            segments: 1,
            concurrency: 64,
            messages_per_second: None,
        }
    }

    /// For concurrent sweeps on different machines, each of which may crash at any time, for a topic that cannot
    /// recognise a notice, and for canaries every minute, the shortest schedule of AWS (Amazon `EventBridge` Scheduler
    /// user guide, "Schedule types"): a canary that is 15 s late opens no blackout, a lost one does. No sweep may run
    /// for longer than `lease`.
    #[must_use]
    pub fn distributed(region: Region, lease: Duration) -> Self {
        let seconds = Duration::from_secs;
        Self {
            region,
            skew: SKEW,
            delivery: DeliveryPolicy {
                lease,
                echo_wait: ECHO_WAIT,
            },
            canaries: CanaryPolicy {
                fresh: seconds(75),
                down_after: seconds(135),
            },
            segments: 4,
            concurrency: 32,
            messages_per_second: Some(limits::MESSAGES_PER_SECOND),
        }
    }
}

/// A sweep that did not complete. The next one starts from the beginning.
#[derive(Debug, thiserror::Error)]
#[error("the sweep stopped after {} hosts: {source}", report.hosts)]
pub struct SweepError {
    /// What it did until then.
    pub report: Box<SweepReport>,
    /// Why it stopped: the first cause of several.
    pub source: Stop,
}

#[derive(Debug, thiserror::Error)]
pub enum Stop {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("it ran out of time")]
    OutOfTime,
}

#[derive(Clone)]
pub struct Sweep {
    pub ports: Ports,
    pub settings: SweepSettings,
}

/// A sweep while it runs.
struct Pass<'a> {
    sweep: &'a Sweep,
    /// When it began, which is the time of all its decisions.
    now: Timestamp,
    /// No new work starts after this.
    until: Timestamp,
    pace: Pace,
}

impl Sweep {
    /// Sweeps once. An error does not undo what was done.
    pub async fn run(&self) -> Result<SweepReport, SweepError> {
        self.run_until(Timestamp::MAX).await
    }

    /// Sweeps once, and starts no new work after `until`. Work under way then, above all a publish, is finished.
    pub async fn run_until(&self, until: Timestamp) -> Result<SweepReport, SweepError> {
        let mut report = SweepReport {
            began: self.ports.clock.now(),
            ..SweepReport::default()
        };
        let pace = Pace::new(self.settings.messages_per_second);
        let result = Pass {
            sweep: self,
            now: report.began,
            until,
            pace,
        }
        .run(&mut report)
        .await;
        report.ended = self.ports.clock.now();
        let completed = CompletedSweep {
            began: report.began,
            ended: report.ended,
            hosts: report.hosts,
        };
        let result = match result {
            Ok(()) => self
                .ports
                .system
                .record_sweep(&self.settings.region, &completed)
                .await
                .map_err(Stop::from),
            error => error,
        };
        match result {
            Ok(()) => Ok(report),
            Err(source) => Err(SweepError {
                report: Box::new(report),
                source,
            }),
        }
    }
}

impl Pass<'_> {
    async fn run(&self, report: &mut SweepReport) -> Result<(), Stop> {
        let sweep = self.sweep;
        let last_sweep = sweep
            .ports
            .system
            .last_sweep(&sweep.settings.region)
            .await?
            .map(|sweep| sweep.began);
        // Without the echoes it is unknown which notices of unknown outcome were accepted: those wait.
        let mut echoes = self.echoes(false, report).await;
        let open = self.open_entries(report).await?;
        if echoes.is_ok() {
            echoes = self.echoes_in_doubt(&open, report).await;
        }
        for stored in open.values() {
            report.counts.count(stored.record.state_at(self.now));
        }
        let digests = self.digests(echoes.is_ok(), report).await;
        let orphans = self.orphans(&open, report).await;
        let unsent = open
            .values()
            .filter(|stored| stored.record.pending.is_some())
            .cloned();
        let unsent = unsent.filter(|stored| echoes.is_ok() || !stored.record.is_in_doubt());
        let unsent = unsent
            .filter(|stored| stored.record.digest().is_none())
            .chain(orphans.ready);
        let sent = self.deliver(unsent.collect(), report).await;
        let claimed = self.claim(&open, last_sweep, report).await;
        echoes
            .and(digests)
            .and(orphans.result)
            .and(sent)
            .and(claimed)
    }

    fn in_time(&self) -> Result<(), Stop> {
        if self.sweep.ports.clock.now() < self.until {
            Ok(())
        } else {
            Err(Stop::OutOfTime)
        }
    }

    /// Does `work` for all `items`, several at a time. A failure of one does not affect the others.
    async fn each<T, F>(
        &self,
        items: impl IntoIterator<Item = T>,
        report: &mut SweepReport,
        work: impl Fn(T) -> F,
    ) -> Result<(), Stop>
    where
        F: Future<Output = PortResult<Vec<Step>>>,
    {
        let steps = |item| match self.in_time() {
            Ok(()) => Either::Left(
                work(item).map(|steps| steps.unwrap_or_else(|e| vec![Step::Failed(e)])),
            ),
            Err(_) => Either::Right(ready(vec![Step::OutOfTime])),
        };
        let mut results = stream::iter(items)
            .map(steps)
            .buffer_unordered(self.sweep.settings.concurrency);
        let mut first_stop = Ok(());
        while let Some(steps) = results.next().await {
            for step in steps {
                first_stop = first_stop.and(report.count(step));
            }
        }
        first_stop
    }

    async fn open_entries(
        &self,
        report: &mut SweepReport,
    ) -> PortResult<BTreeMap<HostKey, Stored>> {
        let slim = |mut stored: Stored| {
            if stored.record.pending.is_none() {
                // Only a pending notice needs the history, which would be most of the memory.
                stored.record.history = Vec::new();
            }
            (stored.record.key.clone(), stored)
        };
        Ok(self.open(report).await?.into_iter().map(slim).collect())
    }

    /// All open records of a ledger.
    async fn open<T: Kept>(&self, report: &mut SweepReport) -> PortResult<Vec<Stored<T>>> {
        let ledger = T::ledger(&self.sweep.ports);
        let (open, unreadable) = every_page(|after| ledger.open(after)).await?;
        for item in &unreadable {
            report.skip(&format!("table {}", T::TABLE), item);
        }
        Ok(open)
    }
}
