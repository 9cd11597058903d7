//! One pass over all hosts: read echoes, scan, decide, confirm, claim, deliver.
//!
//! A sweep keeps open entries, candidates and claims in memory, never the fleet. Any number of sweeps may run at the same
//! time, in any number of processes and regions: each claim has one winner.

mod claim;
mod confirm;
mod crowd;
mod deliver;
mod digest;
mod echo;
mod groups;
mod hold;
mod mend;
mod open;
mod reminders;
mod report;
mod scan;
mod settled;
mod silence;
mod sites;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use hb_domain::{
    CanaryPolicy, DeliveryPolicy, Entry, Fleet, FleetSettings, Incarnation, Maintenance, Reader,
    Region, Timestamp, Zone, limits,
};
use tokio::sync::{Mutex, OnceCell};

use self::crowd::Crowd;
use self::deliver::Pace;
use self::groups::Groups;
use self::report::Step;
pub use self::report::{HostCounts, KindCounts, SweepReport};
use self::settled::Settled;
use self::sites::Sites;
use crate::incarnation::incarnation;
use crate::ports::{PortError, PortResult, Ports};

/// How far the clocks of two machines may differ when both follow a time service: much more than such clocks drift, and
/// too little to matter in a notice.
const SKEW: Duration = Duration::from_secs(5);
/// How long to wait for the echo of a notice before the notice is published again.
const ECHO_WAIT: Duration = Duration::from_mins(3);

#[derive(Clone, Debug)]
pub struct SweepSettings {
    /// The region of the sweep, which its notices name.
    pub region: Region,
    /// The program that sweeps, as people see it; empty when nobody says.
    pub program: String,
    pub skew: Duration,
    /// When a notice is retried.
    pub delivery: DeliveryPolicy,
    /// How long a canary proves that the receiver works.
    pub canaries: CanaryPolicy,
    /// In how many concurrent parts the hosts are scanned.
    pub segments: u32,
    /// How many parts of the hosts are confirmed, claimed and delivered concurrently.
    pub concurrency: usize,
    /// Most hosts of a part, which are read or swapped together, without a look at the time.
    pub part: usize,
    /// Most messages a second to the topic; `None` for no limit.
    pub messages_per_second: Option<u32>,
    /// What counts for fleets that have no such settings of their own.
    pub groups: FleetSettings,
    /// The command by which the readers of notices call this service.
    pub hb: String,
}

impl SweepSettings {
    /// For one machine: one scan, no skew, a topic that accepts each notice once, so that no notice waits for an echo,
    /// and canaries every 3 s.
    #[must_use]
    pub fn local() -> Self {
        let seconds = Duration::from_secs;
        Self {
            region: Region::local(),
            program: String::new(),
            skew: Duration::ZERO,
            delivery: DeliveryPolicy {
                lease: seconds(10),
                echo_wait: Duration::ZERO,
            },
            canaries: CanaryPolicy {
                fresh: seconds(7),
                down_after: seconds(13),
                local: true,
            },
            segments: 1,
            concurrency: 8,
            part: 250,
            messages_per_second: None,
            groups: FleetSettings::default(),
            hb: Reader::default().hb,
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
            program: String::new(),
            skew: SKEW,
            delivery: DeliveryPolicy {
                lease,
                echo_wait: ECHO_WAIT,
            },
            canaries: CanaryPolicy {
                fresh: seconds(75),
                down_after: seconds(135),
                local: false,
            },
            segments: 4,
            concurrency: 32,
            part: limits::BATCH,
            messages_per_second: Some(limits::MESSAGES_PER_SECOND),
            groups: FleetSettings::default(),
            hb: Reader::default().hb,
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
    settled: Arc<Settled>,
    crowd: Arc<Crowd>,
}

/// A sweep while it runs.
#[derive(Clone, Copy)]
struct Pass<'a> {
    sweep: &'a Sweep,
    /// When it began, which is the time of all its decisions.
    now: Timestamp,
    /// No new work starts after this.
    until: Timestamp,
    pace: &'a Pace,
    groups: &'a Mutex<Groups>,
    /// Counted by the scan of all hosts.
    sites: &'a OnceLock<Sites>,
    /// Read when the sweep begins.
    maintenance: &'a Arc<Maintenance>,
    /// The time zones of fleets that have one, likewise.
    zones: &'a BTreeMap<Fleet, Zone>,
    /// Read, or drawn, with the first claim.
    incarnation: &'a OnceCell<Option<Incarnation>>,
}

impl Sweep {
    /// A sweep over these ports, to be run again and again.
    #[must_use]
    pub fn new(ports: Ports, settings: SweepSettings) -> Self {
        Self {
            ports,
            settings,
            settled: Arc::default(),
            crowd: Arc::default(),
        }
    }

    /// The same sweep, which remembers what it has settled, with other settings.
    #[must_use]
    pub fn with_settings(self, settings: SweepSettings) -> Self {
        Self { settings, ..self }
    }

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
        self.settled.age(report.began);
        let result = self.pass(until, &mut report).await;
        report.ended = self.ports.clock.now();
        match result {
            Ok(()) => Ok(report),
            Err(source) => Err(SweepError {
                report: Box::new(report),
                source,
            }),
        }
    }

    async fn pass(&self, until: Timestamp, report: &mut SweepReport) -> Result<(), Stop> {
        let now = report.began;
        let (groups, maintenance, zones) = Groups::read(&self.ports, now, report).await?;
        Pass {
            sweep: self,
            now,
            until,
            pace: &Pace::new(self.settings.messages_per_second),
            groups: &Mutex::new(groups),
            sites: &OnceLock::new(),
            maintenance: &Arc::new(maintenance),
            zones: &zones,
            incarnation: &OnceCell::new(),
        }
        .run(report)
        .await
    }
}

impl<'a> Pass<'a> {
    /// The claim with the incarnation of the stored data in its notice.
    async fn of_incarnation(&self, claim: Entry) -> PortResult<Entry> {
        let known = self.incarnation;
        let known = known.get_or_try_init(|| incarnation(&self.sweep.ports));
        Ok(match known.await? {
            Some(incarnation) => claim.of_incarnation(incarnation),
            None => claim,
        })
    }

    /// Old notices, then changes, then the notices that are left: each gets its part of the time, so that none of
    /// them waits for ever behind the others. What waits in a group is sent
    /// last, when the changes show that it is still so; then reminders.
    async fn run(&self, report: &mut SweepReport) -> Result<(), Stop> {
        let early = self.with_share(1, 3);
        // Without the echoes it is unknown which notices of unknown outcome were accepted: those wait.
        let mut echoes = early.echoes(false, report).await;
        let (open, sent) = self.open_entries(&self.with_share(1, 4), report).await;
        let open = open?;
        if echoes.is_ok() && open.doubt {
            echoes = early.echoes(true, report).await;
        }
        let old = self.with_share(1, 4);
        let digests = old.digests(echoes.is_ok(), open.doubt, report).await;
        let doubtful = match echoes {
            Ok(()) => old.send_waiting(open.doubtful, report).await,
            Err(_) => Ok(()),
        };
        let due = self.is_any_group_due().await;
        let changes = if due { self.with_share(3, 4) } else { *self };
        let claimed = changes.claim(&open.hosts, &open.fleets, report).await;
        let recorded = match &claimed {
            Ok(None) | Err(_) => Ok(()),
            Ok(Some(sweep)) => {
                let (system, region) = (&self.sweep.ports.system, &self.sweep.settings.region);
                system.record_sweep(region, sweep).await
            }
        };
        let lost = self.send_lost(report).await;
        let sent = match sent.and(doubtful).and(lost) {
            Ok(()) if !due => Ok(()),
            Ok(()) | Err(Stop::OutOfTime) => self.send_rest(echoes.is_ok(), report).await,
            sent => sent,
        };
        let reminded = match &claimed {
            Ok(_) => self.remind(&open.troubles, report).await,
            Err(_) => Ok(()),
        };
        echoes
            .and(digests)
            .and(sent)
            .and(reminded)
            .and(claimed.map(drop))
            .and(recorded.map_err(Stop::from))
    }

    /// This pass with `part` of `of` parts of the time that is left.
    fn with_share(&self, part: u32, of: u32) -> Pass<'a> {
        if !self.is_limited() {
            return *self;
        }
        let now = self.sweep.ports.clock.now();
        Pass {
            until: now.plus(self.until.since(now) * part / of),
            ..*self
        }
    }

    /// How many of `items` go into one call, so that all calls run concurrently, and each is small.
    fn part(&self, items: usize) -> usize {
        items
            .div_ceil(self.sweep.settings.concurrency)
            .clamp(1, self.sweep.settings.part.max(1))
    }

    /// Whether the time is limited at all.
    fn is_limited(&self) -> bool {
        self.until != Timestamp::MAX
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
        let work = &work;
        let steps = |item| async move {
            match self.in_time() {
                Ok(()) => work(item).await.unwrap_or_else(|e| vec![Step::Failed(e)]),
                Err(_) => vec![Step::OutOfTime],
            }
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
}
