//! The use cases over in-memory adapters: the contract, authentication, sweeps with faults, and administration.
#![expect(
    clippy::unwrap_used,
    reason = "a failed assertion is what a test is for"
)]

mod any_step;
mod audit;
mod auth;
mod clock_steps;
mod conditions;
mod contract;
mod coverage;
mod digests;
mod echo_queue;
mod echoes;
mod groups;
mod hosts;
mod incarnations;
mod keys;
mod limited;
mod maintenance;
mod network;
mod races;
mod reminders;
mod stale_index;
mod subscriptions;
mod sweep;
mod unreadable_receiver;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Beat, FleetSettings, Heartbeat, HostKey, Interval, Region, Signal, Timestamp};
use hb_service::ports::{Clock, Cursor, Heard, Heartbeats, Page, PortResult, Ports, Segment};
use hb_service::testing::memory::{self, CountingIds, ManualClock, Memory};
use hb_service::{Sweep, SweepSettings};

/// For one machine, with notices that leave at once.
fn at_once() -> SweepSettings {
    SweepSettings {
        groups: FleetSettings::AT_ONCE,
        ..SweepSettings::local()
    }
}

/// For one of several regions, likewise.
fn distributed(lease: Duration) -> SweepSettings {
    SweepSettings {
        groups: FleetSettings::AT_ONCE,
        ..SweepSettings::distributed(Region::local(), lease)
    }
}

/// A store and a clock.
struct Bench {
    memory: Arc<Memory>,
    clock: Arc<ManualClock>,
    ids: Arc<CountingIds>,
}

impl Bench {
    fn new() -> Self {
        let start = Timestamp::from_millis(1_700_000_000_000).unwrap();
        Self {
            memory: Arc::default(),
            clock: Arc::new(ManualClock::new(start)),
            ids: Arc::default(),
        }
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Records a beat of `name` now, with an interval of a minute.
    async fn beat(&self, name: &str) {
        self.beat_every(name, Duration::from_mins(1)).await;
    }

    async fn beat_every(&self, name: &str, interval: Duration) {
        self.signal(name, interval, Signal::Ok).await;
    }

    async fn signal(&self, name: &str, interval: Duration, signal: Signal) {
        self.signal_in(Region::local(), name, interval, signal)
            .await;
    }

    async fn signal_in(&self, region: Region, name: &str, interval: Duration, signal: Signal) {
        let interval = Interval::try_from(interval).unwrap();
        let beat = Beat {
            interval,
            signal,
            ..Beat::ok(self.clock.now())
        };
        let heard = Heard {
            key: host(name),
            region,
            heartbeat: Heartbeat::new(beat),
        };
        self.memory.record(&heard).await.unwrap();
    }

    fn ports(&self) -> Ports {
        memory::ports(&self.memory, self.clock.clone(), self.ids.clone())
    }

    fn sweep(&self) -> Sweep {
        Sweep::new(self.ports(), at_once())
    }

    /// A sweep with some of the ports replaced.
    fn sweep_with(&self, replace: impl FnOnce(&mut Ports)) -> Sweep {
        let mut sweep = self.sweep();
        replace(&mut sweep.ports);
        sweep
    }
}

/// The heartbeats of a bench, with a fault.
struct Beats {
    inner: Arc<Memory>,
    /// A stale copy that scans return.
    scans: Option<Page<Heard>>,
    /// Whether `forget` deletes anything.
    forgets: bool,
    /// What happens before each scan.
    before_scan: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Beats {
    fn of(bench: &Bench) -> Self {
        Self {
            inner: bench.memory.clone(),
            scans: None,
            forgets: true,
            before_scan: None,
        }
    }
}

#[async_trait]
impl Heartbeats for Beats {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        self.inner.record(heard).await
    }

    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        Heartbeats::load(&*self.inner, host).await
    }

    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        self.before_scan.as_ref().inspect(|happen| happen());
        match &self.scans {
            Some(old) => Ok(old.clone()),
            None => self.inner.scan(segment, after).await,
        }
    }

    async fn mend(&self, ahead: &[Heard], now: Timestamp) -> PortResult<()> {
        self.inner.mend(ahead, now).await
    }

    fn behind(&self, host: &HostKey) -> Cursor {
        self.inner.behind(host)
    }

    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()> {
        if self.forgets {
            self.inner.forget(host, up_to).await
        } else {
            Ok(())
        }
    }

    async fn check(&self) -> PortResult<()> {
        Heartbeats::check(&*self.inner).await
    }
}

/// A host of fleet `main`, or of another one: `lab|web-01`.
fn host(name: &str) -> HostKey {
    let (fleet, name) = name.split_once('|').unwrap_or(("main", name));
    HostKey::new(fleet.parse().unwrap(), name.parse().unwrap())
}
