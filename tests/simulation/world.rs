//! The simulated world: time, randomness, stores, topic and the true state of hosts. One seed determines everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hb_domain::{
    Fleet, FleetRecord, FleetSettings, HostKey, Kind, Region, Subject, Timestamp, Transition,
};

use crate::faults::{Fault, Faults};
use crate::operations::Operations;
use crate::store::Tables;
use crate::unreadable::Damage;
use crate::windows::Planned;

/// The start of every run.
pub(crate) const START: i64 = 1_700_000_000_000;

/// The partitions of the table of heartbeats. Each is copied on its own.
pub(crate) const PARTITIONS: usize = 4;

/// A violated invariant, and how.
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
    /// The hosts and epochs in it.
    pub(crate) transitions: Vec<(HostKey, u64)>,
    pub(crate) region: Region,
    /// The process that published it.
    pub(crate) process: u64,
    pub(crate) at: i64,
    /// When its echo can be received; `None` when it is lost.
    pub(crate) echo: Option<i64>,
}

/// An echo in the queue of a region.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) region: Region,
    /// When it can be received: until then it is in transit, or hidden by another receiver.
    pub(crate) visible: i64,
    pub(crate) subject: Subject,
    pub(crate) attempt: u32,
    pub(crate) receipt: String,
}

/// How long nothing came from a region.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quiet {
    last: i64,
    /// When the last long time without anything ended.
    ended: i64,
    /// When the last one ended that the service takes for a blackout.
    gap: i64,
}

impl Quiet {
    /// A long time: at least one sweep or canary of every minute did not come, or was not completed.
    const LONG: i64 = 110_000;
    /// A blackout: 75 s by the clocks of two canaries.
    const GAP: i64 = 74_000;
    /// How long ago it may have ended: an inquiry that it left without an answer ends after five minutes, and is decided on
    /// by the next sweep.
    pub(crate) const RECENT: i64 = 360_000;

    /// Something came, of the instant `at`. What is late ends no blackout when it was sent in time.
    pub(crate) fn end(&mut self, at: i64, now: i64) {
        if at > self.last {
            if now - self.last > Self::LONG {
                self.ended = now;
            }
            if at - self.last > Self::GAP {
                self.gap = now;
            }
            self.last = at;
        }
    }

    /// Something came at `at`, and always before.
    pub(crate) fn until(at: i64) -> Self {
        Self {
            last: at,
            ended: 0,
            gap: 0,
        }
    }

    /// Nothing is expected any more; a long time may have ended just now.
    pub(crate) fn ended_for_ever(now: i64) -> Self {
        Self {
            last: i64::MAX,
            ended: now,
            gap: 0,
        }
    }

    /// When the last blackout ended, of one that something is expected from.
    pub(crate) fn ended(&self) -> Option<i64> {
        (self.gap > 0 && self.last < i64::MAX).then_some(self.gap)
    }

    /// Whether it is a long time, or one ended after `at`.
    pub(crate) fn is_news(&self, at: i64, now: i64) -> bool {
        self.ended > at || now - self.last > Self::LONG
    }

    /// Whether it is a long time now, or was a long time lately.
    pub(crate) fn was_long(&self, now: i64) -> bool {
        now - self.last > Self::LONG || now - self.ended < Self::RECENT
    }
}

/// The true state of a host.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    /// Whether it sends beats, and since when.
    pub(crate) up: bool,
    pub(crate) since: i64,
    /// The interval of its last beat, by which it sends the next one.
    pub(crate) interval: i64,
    /// The interval that it sends with the next one, and the longest that it ever sent.
    pub(crate) announced: i64,
    pub(crate) longest: i64,
    /// When its last beat was stored.
    pub(crate) beat: Option<i64>,
    /// When it last got no answer, however often it tried.
    pub(crate) lost: Option<i64>,
}

pub(crate) struct World {
    /// Milliseconds since 1970, without the error of any clock.
    pub(crate) now: i64,
    pub(crate) rng: fastrand::Rng,
    pub(crate) faults: Faults,
    pub(crate) regions: Vec<Region>,
    pub(crate) tables: Tables,
    /// Every transition that was ever claimed.
    pub(crate) claims: BTreeMap<(HostKey, u64), Transition>,
    /// When.
    pub(crate) claimed: BTreeMap<(HostKey, u64), i64>,
    pub(crate) accepted: Vec<Accepted>,
    /// Transitions that were withdrawn.
    pub(crate) withdrawn: BTreeSet<(HostKey, u64)>,
    /// Until when people are not to hear of the recovery of a host that flaps.
    pub(crate) held_until: BTreeMap<(HostKey, u64), i64>,
    /// How long notices wait in groups.
    pub(crate) groups: FleetSettings,
    /// The maintenance window of a fleet.
    pub(crate) window: Option<Planned>,
    /// Which host, by its place among all, goes missing and comes back again and again.
    pub(crate) flapper: Option<usize>,
    /// The records of the fleets, and which process has sent what.
    pub(crate) fleets: BTreeMap<Fleet, FleetRecord>,
    pub(crate) sends: BTreeSet<(u64, Fleet, Kind)>,
    /// Which process began the last reminder of each fleet.
    pub(crate) reminding: BTreeMap<Fleet, u64>,
    /// When the last reminder of each fleet was accepted.
    pub(crate) reminders: BTreeMap<Fleet, i64>,
    /// The notices of each transition.
    pub(crate) published_by: BTreeMap<(HostKey, u64), BTreeSet<Subject>>,
    /// Echoes that were not acknowledged yet.
    pub(crate) echoes: Vec<Message>,
    /// When the echoes of attempts were acknowledged.
    pub(crate) echoed: BTreeMap<(Subject, u32), i64>,
    /// When the last sweep began that had no trouble, by region: it has read all echoes.
    pub(crate) completed: BTreeMap<Region, i64>,
    /// When the echoes of a region were last not read, although a sweep asked for them.
    pub(crate) echoes_unread: BTreeMap<Region, i64>,
    /// The time since the last canary on record, and since the last completed sweep, of each region.
    pub(crate) without_canary: BTreeMap<Region, Quiet>,
    pub(crate) without_sweep: BTreeMap<Region, Quiet>,
    /// The last canary on record of each region.
    pub(crate) heard: BTreeMap<Region, Option<Timestamp>>,
    pub(crate) truth: BTreeMap<HostKey, Truth>,
    /// The delay of copies to other regions, by partition, in milliseconds.
    pub(crate) lags: [i64; PARTITIONS],
    /// When the last copy in transit arrives, by partition.
    pub(crate) horizons: [i64; PARTITIONS],
    /// Whether no heartbeats are copied, though everything else works.
    pub(crate) replication_down: bool,
    /// Regions that receive no beats.
    pub(crate) receivers_down: BTreeSet<Region>,
    /// When a receiver was last down.
    pub(crate) last_receiver_down: i64,
    /// Regions that reach neither the ledger nor the other region.
    pub(crate) cut_off: BTreeSet<Region>,
    /// Hosts that an admin has forgotten, and with them their pending notices.
    pub(crate) forgotten: BTreeSet<HostKey>,
    /// When the last failure of a host was received, and what the clocks of the service showed then.
    pub(crate) failed: BTreeMap<HostKey, (i64, i64)>,
    /// Hosts that an admin changed in any way.
    pub(crate) administered: BTreeSet<HostKey>,
    /// The hosts that fall silent in the calm phase, and when that must have been decided.
    pub(crate) silent: BTreeMap<HostKey, i64>,
    /// How far all clocks of the service are ahead, in milliseconds.
    pub(crate) clocks: i64,
    /// When they last stepped.
    pub(crate) stepped: Option<i64>,
    /// When the last canary of each region arrived, if its clock was right.
    pub(crate) canaries: BTreeMap<Region, Option<i64>>,
    /// The open inquiry about a host: when it began, and whether by a clock that is ahead by more than the skew.
    pub(crate) asked: BTreeMap<HostKey, (Timestamp, bool)>,
    /// What cannot be read.
    pub(crate) damage: Damage,
    /// What operators have done to the stage.
    pub(crate) operations: Operations,
    /// When any clock was last wrong.
    pub(crate) wrong_clock: Option<i64>,
    /// When the clock of a process was last far behind.
    pub(crate) behind: Option<i64>,
    /// When an instant of a host's beats was last brought to now.
    pub(crate) mended: BTreeMap<HostKey, i64>,
    pub(crate) trace: Vec<String>,
    pub(crate) violations: Vec<Violation>,
    /// Set when a task made progress, so that the executor knows whether all of it waits.
    pub(crate) progress: bool,
    /// The earliest instant that a task waits for.
    pub(crate) waits: i64,
    pub(crate) last_call: &'static str,
    /// Until when the process that runs now may publish.
    pub(crate) lives_until: i64,
    /// Set when the process that runs now has outlived that, and ends before the effect of its call.
    pub(crate) ended: bool,
    pub(crate) receipts: u64,
    /// How many processes there were.
    pub(crate) processes: u64,
    /// When a host that beats was last reported missing, with a caveat.
    pub(crate) false_alarms: BTreeMap<HostKey, i64>,
}

/// The world, shared by all tasks of the one thread.
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
            claimed: BTreeMap::new(),
            accepted: Vec::new(),
            withdrawn: BTreeSet::new(),
            held_until: BTreeMap::new(),
            groups: FleetSettings::default(),
            window: None,
            flapper: None,
            fleets: BTreeMap::new(),
            sends: BTreeSet::new(),
            reminding: BTreeMap::new(),
            reminders: BTreeMap::new(),
            published_by: BTreeMap::new(),
            echoes: Vec::new(),
            echoed: BTreeMap::new(),
            completed: BTreeMap::new(),
            echoes_unread: BTreeMap::new(),
            without_canary: BTreeMap::new(),
            without_sweep: BTreeMap::new(),
            heard: BTreeMap::new(),
            truth: BTreeMap::new(),
            lags: [0; PARTITIONS],
            horizons: [START; PARTITIONS],
            replication_down: false,
            receivers_down: BTreeSet::new(),
            last_receiver_down: START,
            cut_off: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            failed: BTreeMap::new(),
            administered: BTreeSet::new(),
            silent: BTreeMap::new(),
            clocks: 0,
            stepped: None,
            canaries: BTreeMap::new(),
            asked: BTreeMap::new(),
            damage: Damage::default(),
            operations: Operations::default(),
            wrong_clock: None,
            behind: None,
            mended: BTreeMap::new(),
            trace: Vec::new(),
            violations: Vec::new(),
            progress: false,
            waits: i64::MAX,
            last_call: "",
            lives_until: i64::MAX,
            ended: false,
            receipts: 0,
            processes: 0,
            false_alarms: BTreeMap::new(),
        })))
    }

    pub(crate) fn get(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Whether a fault happens now.
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

pub(crate) fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}
