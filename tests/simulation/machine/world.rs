//! The world of one machine: time, chance, the disk, the true state of hosts and receivers, and what went wrong when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hb_domain::{FleetSettings, HostKey, SubscriptionId, Timestamp, Transition, limits};
use hb_service::testing::memory::Memory;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::mutants::Variant;
use super::receivers::{Dislike, Receipt, Receiver};
use super::troubles::{Chances, Trouble};
use crate::faults::Faults;
use crate::world::{START, Violation};

/// How soon a step of the wall clock is followed.
const FOLLOWED: i64 = 90_000;

/// A transition: a host and an epoch.
pub(crate) type Id = (HostKey, u64);

/// The true state of a host.
pub(crate) struct Host {
    pub(crate) up: bool,
    pub(crate) since: i64,
    /// In milliseconds.
    pub(crate) interval: i64,
    /// When its last beat was stored.
    pub(crate) beat: Option<i64>,
    /// When it last got no answer, however often it tried.
    pub(crate) lost: Option<i64>,
    /// When the service last read its beats to decide about it, and the last one that it found.
    pub(crate) read: i64,
    pub(crate) known: Option<i64>,
    /// It is new, and was heard only by a clock that is behind the last complete sweep.
    pub(crate) behind: bool,
}

/// What a receiver should have and what it has of a transition.
#[derive(Default)]
pub(crate) struct Fate {
    pub(crate) receipts: Vec<Receipt>,
    /// The success of a try is stored.
    pub(crate) recorded: bool,
    /// When the receiver first did not take it.
    pub(crate) failed: Option<i64>,
    /// When the first failed try was stored.
    pub(crate) failing: Option<i64>,
    /// It is given up: after final answers, or because a later one was delivered.
    pub(crate) dead: bool,
}

pub(crate) struct World {
    zero: Instant,
    pub(crate) rng: fastrand::Rng,
    pub(crate) variant: Variant,
    pub(crate) chances: Chances,
    /// Whether troubles happen. Receivers may dislike single notices for longer.
    pub(crate) on: bool,
    /// When troubles ended, and until when receivers refuse single notices for a while.
    pub(crate) calm_from: i64,
    pub(crate) liked_from: i64,
    pub(crate) faults: Faults,
    pub(crate) disk: Arc<Memory>,
    /// Which process runs, counted from 1, and whether it still does.
    pub(crate) life: u64,
    pub(crate) runs: bool,
    /// Whether it takes beats: not while it stops.
    pub(crate) listens: bool,
    pub(crate) paused_until: i64,
    /// No commit succeeds until then.
    pub(crate) full_until: i64,
    /// How far the wall clock is ahead, when it last stepped, and when it last stepped back.
    pub(crate) wall: i64,
    pub(crate) stepped: Option<i64>,
    pub(crate) set_back: Option<i64>,
    pub(crate) steps: u32,
    /// The last canary on record, when it was recorded, and when the last long time without one ended.
    heard: Option<Timestamp>,
    canary: i64,
    /// When the first one ever was recorded.
    pub(crate) first_canary: Option<i64>,
    pub(crate) gap_ended: i64,
    /// When the last canary came that did not change the record, because that was ahead of the clock, or the first beat
    /// that is stored before any canary of the clock.
    uncounted: Option<i64>,
    /// When the last long time after that ended: the service takes only a part of it for an outage.
    pub(crate) unseen_gap_ended: Option<i64>,
    /// When the last complete sweep began, by its own clock.
    swept: Timestamp,
    /// When the service last could not receive beats, or store them, or its time last stepped.
    pub(crate) outage_ended: i64,
    /// Wakes what waits for the end of the process.
    pub(crate) killed: Arc<Notify>,
    /// Tells the process to stop.
    pub(crate) stop: Option<watch::Sender<bool>>,
    pub(crate) hosts: BTreeMap<HostKey, Host>,
    pub(crate) receivers: BTreeMap<SubscriptionId, Receiver>,
    pub(crate) dislikes: BTreeMap<(SubscriptionId, String), Dislike>,
    pub(crate) claims: BTreeMap<Id, (Transition, i64)>,
    /// Transitions that were withdrawn, and until when people are not to hear of a recovery.
    pub(crate) withdrawn: BTreeSet<Id>,
    pub(crate) held_until: BTreeMap<Id, i64>,
    /// How long notices wait in groups.
    pub(crate) groups: FleetSettings,
    /// When the topic accepted each transition, in which notice.
    pub(crate) accepted: BTreeMap<Id, (i64, String)>,
    pub(crate) fates: BTreeMap<(SubscriptionId, Id), Fate>,
    /// How many final answers to a notice are stored; of a digest that is sent in parts, since it last took one.
    pub(crate) refused: BTreeMap<(SubscriptionId, String), u32>,
    /// The tries whose outcome is stored, by number and owner: a second time changes nothing.
    pub(crate) settled: BTreeSet<(i64, Uuid)>,
    /// The hosts that fall silent when all is well.
    pub(crate) silent: BTreeSet<HostKey>,
    pub(crate) trace: Vec<String>,
    pub(crate) violations: Vec<Violation>,
}

/// The world, shared by all tasks of the one thread.
#[derive(Clone)]
pub(crate) struct Machine(Arc<Mutex<World>>);

impl Machine {
    pub(crate) fn new(seed: u64, variant: Variant) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let chances = variant.chances(Chances::drawn(&mut rng));
        let groups = crate::run::groups(&mut rng);
        #[expect(
            clippy::disallowed_methods,
            reason = "it stands still until all tasks wait"
        )]
        let zero = Instant::now();
        Self(Arc::new(Mutex::new(World {
            zero,
            rng,
            variant: Variant::Sound,
            chances,
            on: true,
            calm_from: i64::MAX,
            liked_from: i64::MAX,
            faults: Faults::default(),
            disk: Arc::default(),
            life: 0,
            runs: false,
            listens: false,
            paused_until: 0,
            full_until: 0,
            wall: 0,
            stepped: None,
            set_back: None,
            steps: 0,
            heard: None,
            canary: START,
            first_canary: None,
            gap_ended: START,
            uncounted: None,
            unseen_gap_ended: None,
            swept: Timestamp::MIN,
            outage_ended: START,
            killed: Arc::default(),
            stop: None,
            hosts: BTreeMap::new(),
            receivers: BTreeMap::new(),
            dislikes: BTreeMap::new(),
            claims: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            held_until: BTreeMap::new(),
            groups,
            accepted: BTreeMap::new(),
            fates: BTreeMap::new(),
            refused: BTreeMap::new(),
            settled: BTreeSet::new(),
            silent: BTreeSet::new(),
            trace: Vec::new(),
            violations: Vec::new(),
        })))
    }

    pub(crate) fn get(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a random time of so many milliseconds.
    pub(crate) async fn wait(&self, millis: std::ops::Range<i64>) {
        let millis = self.get().rng.i64(millis);
        sleep(millis).await;
    }
}

/// Lets so many milliseconds pass.
pub(crate) async fn sleep(millis: i64) {
    tokio::time::sleep(Duration::from_millis(millis.max(0).unsigned_abs())).await;
}

impl World {
    /// Milliseconds since 1970, without the error of any clock.
    pub(crate) fn now(&self) -> i64 {
        START + i64::try_from(self.zero.elapsed().as_millis()).unwrap()
    }

    /// Whether this happens now.
    pub(crate) fn strikes(&mut self, trouble: Trouble) -> bool {
        let chance = if self.on || trouble.outlasts() && self.now() < self.liked_from {
            self.chances.of(trouble)
        } else {
            0
        };
        let strikes = chance > 0 && self.rng.u32(0..1_000) < chance;
        if strikes {
            self.faults.note(trouble.name());
        }
        strikes
    }

    /// Whether the next call takes time: without faults few do, since it matters less then what happens in between.
    pub(crate) fn takes_time(&mut self) -> bool {
        self.on || self.rng.u8(0..8) == 0
    }

    /// A premise of an invariant was true.
    pub(crate) fn note(&mut self, premise: &'static str) {
        self.faults.note(premise);
    }

    pub(crate) fn say(&mut self, words: impl FnOnce() -> String) {
        let millis = self.now() - START;
        let line = format!("{:>5}.{:03} {}", millis / 1_000, millis % 1_000, words());
        self.trace.push(line);
    }

    pub(crate) fn violated(&mut self, invariant: &'static str, words: String) {
        self.say(|| format!("VIOLATED {invariant}: {words}"));
        self.violations.push(Violation { invariant, words });
    }

    /// Whether the wall clock stepped at `at` or later; a step is followed only later.
    pub(crate) fn stepped_since(&self, at: i64) -> bool {
        self.stepped.is_some_and(|stepped| stepped + FOLLOWED > at)
    }

    /// The same of a step back.
    pub(crate) fn set_back_since(&self, at: i64) -> bool {
        self.set_back.is_some_and(|stepped| stepped + FOLLOWED > at)
    }

    /// A host falls silent or comes back, now.
    pub(crate) fn turn(&mut self, key: &HostKey, up: bool) {
        let since = self.now();
        if let Some(host) = self.hosts.get_mut(key).filter(|host| host.up != up) {
            (host.up, host.since) = (up, since);
            self.say(|| format!("{key} {}", if up { "comes back" } else { "falls silent" }));
        }
    }

    /// A beat was stored, now, which is `clock` to the process.
    pub(crate) fn beat_is_stored(&mut self, key: &HostKey, dated: Timestamp, clock: Timestamp) {
        let now = self.now();
        if self.heard > Some(clock) {
            self.uncounted.get_or_insert(now);
        }
        if let Some(host) = self.hosts.get_mut(key) {
            host.beat = Some(now);
        }
        self.beat_is_dated(key, dated);
    }

    /// The beats of a host are stored with an instant, perhaps of a wrong clock.
    pub(crate) fn beat_is_dated(&mut self, key: &HostKey, dated: Timestamp) {
        let mut claims = self
            .claims
            .range((key.clone(), 0)..=(key.clone(), u64::MAX));
        let is_new = claims.next().is_none();
        let behind = dated <= self.swept.minus(limits::NEWS_MARGIN);
        if let Some(host) = self.hosts.get_mut(key) {
            host.behind |= is_new && behind;
        }
    }

    /// A sweep that began at `began` is complete. One by a clock that is far behind the last one looks at all hosts.
    pub(crate) fn swept(&mut self, began: Timestamp) {
        if std::mem::replace(&mut self.swept, began).is_ahead(began) {
            for host in self.hosts.values_mut() {
                host.behind = false;
            }
        }
    }

    /// The service reads the beats of one host, to decide about it.
    pub(crate) fn beats_are_read(&mut self, key: &HostKey) {
        let now = self.now();
        if let Some(host) = self.hosts.get_mut(key) {
            (host.read, host.known) = (now, host.beat);
        }
    }

    /// The record of canaries was stored, perhaps `ahead` of the clock. A long time without a new one is what the service
    /// takes for an outage.
    pub(crate) fn heard(&mut self, heard: Option<Timestamp>, ahead: bool) {
        const FRESH: i64 = 7_000;
        let now = self.now();
        if self.uncounted.is_some_and(|at| now - at > FRESH) {
            self.unseen_gap_ended = Some(now);
        }
        self.uncounted = ahead.then_some(now);
        if std::mem::replace(&mut self.heard, heard) == heard {
            return;
        }
        self.first_canary = self.first_canary.or(Some(now));
        if now - self.canary > FRESH {
            self.gap_ended = now;
        }
        self.canary = now;
    }
}
