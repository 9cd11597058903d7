//! The ports of one process over the disk of the machine. At every call other tasks run, the store may fail, the process
//! may be killed, or stand still.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    Entry, HostKey, Notice, ProcessTime, Publication, Receiver, Region, SubscriptionId, Timestamp,
    WebhookSecret,
};
use hb_service::ports::{
    Checkpoint, Clock, CompletedSweep, Cursor, DeliveryOutcome, DeliveryQueue, Echo, Echoes, Heard,
    Heartbeats, LeasedDelivery, Ledger, Page, PortError, PortResult, Ports, Record, Segment,
    Stored, Swap, System, Tally, Topic, Version,
};
use hb_service::testing::memory::{Memory, ports};
use uuid::Uuid;

use super::clock::reading;
use super::mutants::Variant;
use super::troubles::Trouble;
use super::world::{Machine, sleep};
use super::{deliveries, invariants};

const BEAT: &str = "hb serve: beat";
/// The error of a commit that succeeded.
const STORED: &str = "simulated, but stored";

/// A process of `hb serve`, as long as it lives, and what its clock knows.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) machine: Machine,
    pub(crate) life: u64,
    disk: Arc<Memory>,
    pub(crate) time: Arc<Mutex<ProcessTime>>,
}

impl Process {
    /// A process that begins now.
    pub(crate) async fn start(machine: &Machine) -> Self {
        let disk = machine.get().disk.clone();
        let last = System::last_sweep(&*disk, &Region::local()).await;
        let stored = last.ok().flatten().map(|sweep| sweep.ended);
        let time = ProcessTime::new(reading(machine)).resumed(stored.unwrap_or_default());
        let life = {
            let mut world = machine.get();
            world.life += 1;
            (world.runs, world.listens) = (true, true);
            world.life
        };
        Self {
            machine: machine.clone(),
            life,
            disk,
            time: Arc::new(Mutex::new(time)),
        }
    }

    /// All ports, for the use cases.
    pub(crate) fn ports(&self) -> Ports {
        let all = Arc::new(self.clone());
        Ports {
            heartbeats: all.clone(),
            ledger: all.clone(),
            digests: all.clone(),
            fleets: all.clone(),
            receivers: all.clone(),
            incarnations: all.clone(),
            topic: all.clone(),
            echoes: all.clone(),
            deliveries: Some(all.clone()),
            system: all.clone(),
            ..ports(&self.disk, all.clone(), all)
        }
    }

    /// Completes while the process runs and does not stand still.
    pub(crate) async fn runs(&self) {
        loop {
            let pause = {
                let world = self.machine.get();
                let lives = world.runs && world.life == self.life;
                lives.then(|| world.paused_until - world.now())
            };
            match pause {
                None => std::future::pending().await,
                Some(..=0) => return,
                Some(pause) => sleep(pause).await,
            }
        }
    }

    /// Something takes time; after it the process may be killed.
    pub(crate) async fn call(&self, name: &'static str) {
        if self.machine.get().takes_time() {
            self.machine.wait(0..8).await;
        }
        self.runs().await;
        self.may_die(name);
        self.runs().await;
    }

    fn may_die(&self, name: &'static str) {
        let mut world = self.machine.get();
        // Of all calls, most are those of beats.
        let often = name == BEAT && world.rng.u8(0..10) > 0;
        if !often && world.strikes(Trouble::Crash) {
            world.say(|| format!("the process is killed after {name}"));
            *world.faults.crashes.entry(name).or_default() += 1;
            world.runs = false;
            world.killed.notify_one();
        }
    }

    /// A read of the store.
    async fn read<T>(
        &self,
        name: &'static str,
        read: impl Future<Output = PortResult<T>>,
    ) -> PortResult<T> {
        self.call(name).await;
        if self.machine.get().strikes(Trouble::ReadFails) {
            return Err(PortError::unavailable(name, "simulated"));
        }
        read.await
    }

    /// A commit, which may also fail when all is stored. `seen` looks at what was stored.
    async fn write<T>(
        &self,
        name: &'static str,
        effect: impl Future<Output = PortResult<T>>,
        seen: impl FnOnce(&T) + Send,
    ) -> PortResult<T> {
        self.call(name).await;
        {
            let mut world = self.machine.get();
            if world.now() < world.full_until || world.strikes(Trouble::CommitFails) {
                return Err(PortError::unavailable(name, "simulated"));
            }
        }
        let done = effect.await?;
        seen(&done);
        if self.machine.get().on {
            self.call(name).await;
        }
        if self.machine.get().strikes(Trouble::CommitReplyLost) {
            return Err(PortError::unavailable(name, STORED));
        }
        Ok(done)
    }
}

#[async_trait]
impl Heartbeats for Process {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        let stored = |(): &()| {
            let (dated, now) = (heard.heartbeat.last, Clock::now(self));
            let mut world = self.machine.get();
            world.beat_is_stored(&heard.key, dated, now);
        };
        let effect = Heartbeats::record(&*self.disk, heard);
        self.write(BEAT, effect, stored).await
    }

    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        let loaded = async {
            self.machine.get().beats_are_read(host);
            Heartbeats::load(&*self.disk, host).await
        };
        self.read("hb serve: load beats", loaded).await
    }

    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        let scanned = Heartbeats::scan(&*self.disk, segment, after);
        self.read("hb serve: scan", scanned).await
    }

    async fn mend(&self, ahead: &[Heard], now: Timestamp) -> PortResult<()> {
        let effect = Heartbeats::mend(&*self.disk, ahead, now);
        let stored = |(): &()| {
            let mut world = self.machine.get();
            for heard in ahead {
                world.beat_is_dated(&heard.key, now);
            }
        };
        self.write("hb serve: mend", effect, stored).await
    }

    fn behind(&self, host: &HostKey) -> Cursor {
        self.disk.behind(host)
    }

    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()> {
        self.disk.forget(host, up_to).await
    }

    async fn check(&self) -> PortResult<()> {
        Ok(())
    }
}

#[async_trait]
impl<T: Record> Ledger<T> for Process {
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        let loaded = Ledger::<T>::load(&*self.disk, key);
        self.read("hb serve: load", loaded).await
    }

    async fn swap(
        &self,
        record: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        let stored = |swap: &Swap<T>| {
            if let Swap::Conflict(_) = swap {
                return;
            }
            let now = Clock::now(self);
            let mut world = self.machine.get();
            let record: &dyn Any = record;
            if let Some(entry) = record.downcast_ref::<Entry>() {
                invariants::claimed(&mut world, entry);
            } else if let Some(receiver) = record.downcast_ref::<Receiver>() {
                world.heard(receiver.heard, receiver.heard > Some(now));
            }
        };
        let effect = Ledger::<T>::swap(&*self.disk, record, expected, writer);
        self.write("hb serve: swap", effect, stored).await
    }

    async fn open(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        let page = Ledger::<T>::open(&*self.disk, segment, after);
        self.read("hb serve: open", page).await
    }
}

#[async_trait]
impl Topic for Process {
    async fn publish(&self, notice: &Notice) -> Publication {
        let effect = async {
            match Topic::publish(&*self.disk, notice).await {
                Publication::Accepted => Ok(()),
                other => Err(PortError::unavailable("topic", format!("{other:?}"))),
            }
        };
        let stored = |(): &()| invariants::accepted(&mut self.machine.get(), notice);
        match self.write("hb serve: publish", effect, stored).await {
            Ok(()) => Publication::Accepted,
            // Of a commit that fails it is not known whether all is stored; before it, it is.
            Err(error) if error.to_string().contains(STORED) || self.machine.get().rng.bool() => {
                Publication::Unknown(error.to_string())
            }
            Err(error) => Publication::Refused(error.to_string()),
        }
    }

    async fn check(&self) -> PortResult<()> {
        Ok(())
    }
}

#[async_trait]
impl Echoes for Process {
    async fn receive(&self, thorough: bool) -> PortResult<Page<Echo>> {
        let name = "hb serve: receive echoes";
        if self.machine.get().strikes(Trouble::EchoesFail) {
            return Err(PortError::unavailable(name, "simulated"));
        }
        let received = Echoes::receive(&*self.disk, thorough);
        self.read(name, received).await
    }

    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()> {
        let effect = Echoes::acknowledge(&*self.disk, receipts);
        let name = "hb serve: acknowledge echoes";
        self.write(name, effect, |()| {}).await
    }
}

#[async_trait]
impl System for Process {
    async fn last_sweep(&self, region: &Region) -> PortResult<Option<CompletedSweep>> {
        let last = System::last_sweep(&*self.disk, region);
        self.read("hb serve: last sweep", last).await
    }

    async fn checkpoint(&self, region: &Region) -> PortResult<Option<Checkpoint>> {
        let checkpoint = System::checkpoint(&*self.disk, region);
        self.read("hb serve: checkpoint", checkpoint).await
    }

    async fn record_checkpoint(
        &self,
        region: &Region,
        checkpoint: &Checkpoint,
        now: Timestamp,
    ) -> PortResult<()> {
        let effect = System::record_checkpoint(&*self.disk, region, checkpoint, now);
        let name = "hb serve: record checkpoint";
        self.write(name, effect, |()| {}).await
    }

    async fn record_sweep(&self, region: &Region, sweep: &CompletedSweep) -> PortResult<()> {
        let effect = System::record_sweep(&*self.disk, region, sweep);
        let stored = |(): &()| self.machine.get().swept(sweep.began);
        self.write("hb serve: record sweep", effect, stored).await
    }
}

#[async_trait]
impl DeliveryQueue for Process {
    async fn due(&self, now: Timestamp) -> PortResult<Vec<SubscriptionId>> {
        let due = DeliveryQueue::due(&*self.disk, now);
        self.read("hb serve: due", due).await
    }

    async fn lease(
        &self,
        wanted: BTreeMap<SubscriptionId, usize>,
        running: Vec<i64>,
        owner: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> PortResult<Vec<LeasedDelivery>> {
        let effect = async {
            let leased = self.disk.lease(wanted, running, owner, now, until).await?;
            if self.machine.get().variant == Variant::RecordsFirst {
                for leased in &leased {
                    let delivered = DeliveryOutcome::Delivered;
                    self.disk.settle(leased, owner, delivered, now).await?;
                }
            }
            Ok(leased)
        };
        self.write("hb serve: lease", effect, |_| {}).await
    }

    async fn settle(
        &self,
        leased: &LeasedDelivery,
        owner: Uuid,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> PortResult<Vec<String>> {
        let variant = self.machine.get().variant;
        if variant == Variant::ForgetsDelivered && outcome == DeliveryOutcome::Delivered {
            return Ok(Vec::new());
        }
        let outcome = variant.outcome(outcome, now);
        let effect = self.disk.settle(leased, owner, outcome.clone(), now);
        let stored = |overtaken: &Vec<String>| {
            let mut world = self.machine.get();
            if world.settled.insert((leased.number, owner)) {
                deliveries::settled(&mut world, leased, &outcome, overtaken);
            }
        };
        self.write("hb serve: settle", effect, stored).await
    }

    async fn clean(&self, before: Timestamp) -> PortResult<bool> {
        let effect = DeliveryQueue::clean(&*self.disk, before);
        self.write("hb serve: clean", effect, |_| {}).await
    }

    async fn tally(&self) -> PortResult<BTreeMap<SubscriptionId, Tally>> {
        self.disk.tally().await
    }

    async fn rotate_secret(
        &self,
        id: &SubscriptionId,
        secret: WebhookSecret,
        now: Timestamp,
        overlap: Duration,
    ) -> PortResult<bool> {
        self.disk.rotate_secret(id, secret, now, overlap).await
    }

    async fn added(&self) {
        self.disk.added().await;
        self.runs().await;
    }
}
