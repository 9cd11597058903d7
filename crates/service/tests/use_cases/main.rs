//! The use cases over in-memory adapters: the contract, authentication, sweeps in trouble, and what admins do.
#![expect(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]

mod auth;
mod contract;
mod hosts;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use hb_domain::{Beat, Fleet, Heartbeat, HostKey, Interval, Region, Signal, Timestamp};
use hb_service::memory::{CountingIds, ManualClock, Memory};
use hb_service::ports::{Clock, Heard, Heartbeats};
use hb_service::{Sweep, SweepSettings};

/// A store and a clock.
struct Bench {
    memory: Arc<Memory>,
    clock: Arc<ManualClock>,
    ids: Arc<CountingIds>,
}

impl Bench {
    fn new() -> Self {
        let start = Timestamp::from_millis(1_700_000_000_000).unwrap();
        Self { memory: Arc::default(), clock: Arc::new(ManualClock::new(start)), ids: Arc::default() }
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// A beat of `name` now, with an interval of a minute.
    async fn beat(&self, name: &str) {
        self.beat_every(name, Duration::from_mins(1)).await;
    }

    async fn beat_every(&self, name: &str, interval: Duration) {
        let interval = Interval::try_from(interval).unwrap();
        let beat = Beat { at: self.clock.now(), interval, signal: Signal::Ok, message: None };
        let heard = Heard { key: host(name), region: Region::local(), heartbeat: Heartbeat::new(beat) };
        self.memory.record(&heard).await.unwrap();
    }

    fn sweep(&self) -> Sweep {
        Sweep {
            heartbeats: self.memory.clone(),
            ledger: self.memory.clone(),
            digests: self.memory.clone(),
            receivers: self.memory.clone(),
            echoes: self.memory.clone(),
            topic: self.memory.clone(),
            system: self.memory.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            settings: SweepSettings::local(),
        }
    }
}

fn host(name: &str) -> HostKey {
    HostKey::new(Fleet::main(), name.parse().unwrap())
}
