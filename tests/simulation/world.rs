//! The simulated world: time, chance, stores, topic and what is known to be true. One seed decides all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hb_domain::{HostKey, Region, Subject, Timestamp, Transition};

use crate::faults::{Fault, Faults};
use crate::store::Tables;

/// The stories begin here.
pub(crate) const START: i64 = 1_700_000_000_000;

/// A promise that was broken: its name, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) words: String,
}

/// A copy of a notice that the topic accepted.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) subject: Subject,
    pub(crate) attempt: u32,
    /// The hosts and epochs that it tells.
    pub(crate) tells: Vec<(HostKey, u64)>,
    pub(crate) region: Region,
    pub(crate) at: i64,
    /// When its echo can be received; `None` when it is lost.
    pub(crate) echo: Option<i64>,
}

/// An echo in the queue of a region.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) region: Region,
    /// From when on it can be received: until then it is on its way, or somebody else has received it.
    pub(crate) visible: i64,
    pub(crate) subject: Subject,
    pub(crate) attempt: u32,
    pub(crate) receipt: String,
}

/// What hosts really do.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    /// Whether it sends beats, and since when.
    pub(crate) up: bool,
    pub(crate) since: i64,
}

pub(crate) struct World {
    /// Milliseconds since 1970, as nobody in the world knows it.
    pub(crate) now: i64,
    pub(crate) rng: fastrand::Rng,
    pub(crate) faults: Faults,
    pub(crate) regions: Vec<Region>,
    pub(crate) tables: Tables,
    /// Every transition that was ever claimed.
    pub(crate) claims: BTreeMap<(HostKey, u64), Transition>,
    pub(crate) accepted: Vec<Accepted>,
    /// Which notices told a transition.
    pub(crate) told_by: BTreeMap<(HostKey, u64), BTreeSet<Subject>>,
    /// Echoes that nobody has acknowledged.
    pub(crate) echoes: Vec<Message>,
    /// When the echoes of attempts were acknowledged.
    pub(crate) echoed: BTreeMap<(Subject, u32), i64>,
    /// When the last sweep began that was completed, by region.
    pub(crate) completed: BTreeMap<Region, i64>,
    pub(crate) truth: BTreeMap<HostKey, Truth>,
    /// How far copies in other regions lag behind, in milliseconds.
    pub(crate) lag: i64,
    /// When the last of them arrives that are on their way.
    pub(crate) horizon: i64,
    /// Regions that hear nobody.
    pub(crate) deaf: BTreeSet<Region>,
    /// When a region last heard nobody.
    pub(crate) last_deaf: i64,
    /// Regions that reach neither the ledger nor the other region.
    pub(crate) cut_off: BTreeSet<Region>,
    /// Hosts that an admin forgot: with the host its pending notice goes.
    pub(crate) forgotten: BTreeSet<HostKey>,
    /// When a host last said that it failed, and was heard.
    pub(crate) failed: BTreeMap<HostKey, i64>,
    /// Hosts that an admin changed in any way.
    pub(crate) administered: BTreeSet<HostKey>,
    /// The host that falls silent when all is calm, and when.
    pub(crate) last_silent: Option<(HostKey, i64)>,
    pub(crate) trace: Vec<String>,
    pub(crate) violations: Vec<Violation>,
    /// Set when a task went on, so that the scheduler knows whether all of it waits.
    pub(crate) progress: bool,
    /// The earliest instant that a task waits for.
    pub(crate) waits: i64,
    pub(crate) last_call: &'static str,
    pub(crate) receipts: u64,
}

/// The world, as all tasks share it. There is one thread.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn new(seed: u64, regions: u8, faults: Faults, eventual: bool) -> Self {
        let names = ["eu-west-1", "us-east-1"];
        let regions: Vec<Region> = names
            .iter()
            .take(usize::from(regions))
            .map(|name| name.parse().unwrap())
            .collect();
        Self(Arc::new(Mutex::new(World {
            now: START,
            rng: fastrand::Rng::with_seed(seed),
            faults,
            tables: Tables::new(&regions, eventual),
            regions,
            claims: BTreeMap::new(),
            accepted: Vec::new(),
            told_by: BTreeMap::new(),
            echoes: Vec::new(),
            echoed: BTreeMap::new(),
            completed: BTreeMap::new(),
            truth: BTreeMap::new(),
            lag: 0,
            horizon: START,
            deaf: BTreeSet::new(),
            last_deaf: START,
            cut_off: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            failed: BTreeMap::new(),
            administered: BTreeSet::new(),
            last_silent: None,
            trace: Vec::new(),
            violations: Vec::new(),
            progress: false,
            waits: i64::MAX,
            last_call: "",
            receipts: 0,
        })))
    }

    pub(crate) fn get(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Whether a fault strikes now.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let chance = self.faults.chance(fault);
        let strikes = chance > 0 && self.rng.u32(0..1_000) < chance;
        if strikes {
            self.faults.hit(fault);
        }
        strikes
    }

    pub(crate) fn say(&mut self, words: impl FnOnce() -> String) {
        let line = format!("{:>9.3} {}", self.seconds(), words());
        self.trace.push(line);
    }

    /// Seconds since the beginning.
    pub(crate) fn seconds(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "hours in milliseconds")]
        let millis = (self.now - START) as f64;
        millis / 1_000.0
    }

    pub(crate) fn violated(&mut self, invariant: &'static str, words: String) {
        self.say(|| format!("VIOLATED {invariant}: {words}"));
        self.violations.push(Violation { invariant, words });
    }
}

/// An instant of the world as a process sees it.
pub(crate) fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}
