//! The ports over the simulated world. At every call other tasks may run, the process may be killed, and faults may
//! happen.

mod heartbeats;
mod ledger;
mod topic;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Region, Timestamp};
use hb_service::ports::{
    Checkpoint, Clock, CompletedSweep, Ids, PortError, PortResult, Ports, System,
};
use hb_service::testing::memory::Memory;

use crate::executor::Wait;
use crate::faults::Fault;
use crate::world::{PARTITIONS, Shared, World, instant};

/// The ports of a process in a region.
#[derive(Clone)]
pub(crate) struct SimulatedPorts {
    pub(crate) world: Shared,
    pub(crate) region: Region,
    /// How far its clock differs from the others, in milliseconds.
    pub(crate) skew: i64,
    /// How far its clock was ahead of the right time when it began.
    pub(crate) ahead: i64,
    /// How long half a call takes, at most, in milliseconds.
    slowness: i64,
    /// Whether it is of an older version.
    older: bool,
    /// Which process it is.
    pub(crate) process: u64,
}

impl SimulatedPorts {
    /// Of a process that begins now.
    pub(crate) fn new(world: &Shared, region: &Region, skew: i64) -> Self {
        let (ahead, process) = {
            let mut world = world.get();
            world.processes += 1;
            (world.clocks + skew, world.processes)
        };
        Self {
            world: world.clone(),
            region: region.clone(),
            skew,
            ahead,
            slowness: 8,
            older: false,
            process,
        }
    }

    /// Of a process that may be of an older version.
    pub(crate) fn perhaps_older(mut self) -> Self {
        self.older = self.world.get().strikes(Fault::OlderVersion);
        self
    }

    /// Of a process whose calls may all take long: then time runs out in the middle of its candidates.
    pub(crate) fn perhaps_slow(mut self) -> Self {
        let mut world = self.world.get();
        let slow = if world.faults.on {
            world.strikes(Fault::SlowCalls)
        } else {
            world.throttled()
        };
        if slow {
            self.slowness = world.slowness();
            let slowness = self.slowness;
            world.say(|| format!("a process is slow: up to {slowness} ms for half a call"));
        }
        drop(world);
        self
    }

    /// All ports, for the use cases. Nothing here uses keys or subscriptions.
    pub(crate) fn all(&self) -> Ports {
        let all = Arc::new(self.clone());
        let unused = Arc::new(Memory::default());
        Ports {
            heartbeats: all.clone(),
            ledger: all.clone(),
            digests: all.clone(),
            fleets: all.clone(),
            receivers: all.clone(),
            incarnations: all.clone(),
            keys: unused.clone(),
            topic: all.clone(),
            echoes: all.clone(),
            subscriptions: unused.clone(),
            deliveries: None,
            system: all.clone(),
            audit: unused,
            clock: all.clone(),
            ids: all,
        }
    }

    /// The request takes time.
    async fn call(&self, name: &'static str) {
        let millis = self.world.get().rng.i64(0..self.slowness);
        Wait::new(&self.world, millis).await;
        self.world.get().last_call = name;
    }

    /// The reply takes time.
    async fn reply(&self, name: &'static str) {
        let millis = self.world.get().rng.i64(0..self.slowness);
        Wait::new(&self.world, millis).await;
        self.world.get().last_call = name;
    }

    fn unavailable(what: &str) -> PortError {
        PortError::unavailable(what, "simulated")
    }

    /// Fails at times, without an effect.
    fn may_fail(&self, what: &str) -> PortResult<()> {
        if self.world.get().strikes(Fault::StoreFails) {
            Err(Self::unavailable(what))
        } else {
            Ok(())
        }
    }
}

/// How long a copy takes to another region. It overtakes earlier ones of its partition by a moment at most.
fn delay(world: &mut World, key: &str) -> i64 {
    const MOMENT: i64 = 1_500;
    let partition = key.bytes().map(usize::from).sum::<usize>() % PARTITIONS;
    let alone = world.now + world.lags[partition] + world.rng.i64(50..MOMENT);
    let arrives = alone.max(world.horizons[partition] - MOMENT);
    world.horizons[partition] = world.horizons[partition].max(arrives);
    arrives - world.now
}

#[async_trait]
impl System for SimulatedPorts {
    async fn last_sweep(&self, region: &Region) -> PortResult<Option<CompletedSweep>> {
        self.call("system.last_sweep").await;
        self.may_fail("system")?;
        Ok(self.world.get().tables.sweeps.get(region).cloned())
    }

    async fn checkpoint(&self, region: &Region) -> PortResult<Option<Checkpoint>> {
        self.call("system.checkpoint").await;
        self.may_fail("system")?;
        Ok(self.world.get().tables.checkpoints.get(region).cloned())
    }

    async fn record_checkpoint(
        &self,
        region: &Region,
        checkpoint: &Checkpoint,
        now: Timestamp,
    ) -> PortResult<()> {
        self.call("system.record_checkpoint").await;
        self.may_fail("system")?;
        {
            let checkpoints = &mut self.world.get().tables.checkpoints;
            let known = checkpoints
                .entry(region.clone())
                .or_insert_with(|| checkpoint.clone());
            if checkpoint.began >= known.began || known.began.is_ahead(now) {
                known.clone_from(checkpoint);
            }
        }
        self.reply("system.record_checkpoint").await;
        Ok(())
    }

    async fn record_sweep(&self, region: &Region, sweep: &CompletedSweep) -> PortResult<()> {
        self.call("system.record_sweep").await;
        self.may_fail("system")?;
        {
            let mut world = self.world.get();
            // By the world's clock.
            let began = (sweep.began.as_millis() - self.ahead).min(world.now);
            let now = world.now;
            let quiet = world.without_sweep.entry(region.clone()).or_default();
            quiet.end(began, now);
            let known = world
                .tables
                .sweeps
                .entry(region.clone())
                .or_insert_with(|| sweep.clone());
            if sweep.began > known.began || known.began.is_ahead(sweep.ended) {
                known.clone_from(sweep);
            }
        }
        self.reply("system.record_sweep").await;
        Ok(())
    }
}

#[async_trait]
impl Clock for SimulatedPorts {
    fn now(&self) -> Timestamp {
        let world = self.world.get();
        instant(world.now + world.clocks + self.skew)
    }

    async fn sleep(&self, duration: Duration) {
        let millis = i64::try_from(duration.as_millis()).unwrap().max(1);
        Wait::new(&self.world, millis).await;
    }
}

impl Ids for SimulatedPorts {
    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.world.get().rng.fill(&mut bytes);
        bytes
    }
}
