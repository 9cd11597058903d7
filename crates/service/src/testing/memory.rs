//! Adapters that keep everything in memory: for tests, and as the simplest implementation of the ports.

mod audit;
mod clock;
mod deliveries;
mod heartbeats;
mod keys;
mod records;
mod slow;
mod subscriptions;
mod topic;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hb_domain::{
    Entry, HostKey, Key, KeyId, Notice, Publication, Receiver, Region, Subscription,
    SubscriptionId, Timestamp,
};
use tokio::sync::Notify;
use uuid::Uuid;

pub use self::audit::{Named, auditor};
pub use self::clock::{CountingIds, ManualClock};
pub use self::slow::Slow;
use crate::ports::{
    Checkpoint, Clock, CompletedSweep, Cursor, Echo, Heard, Ids, Ledger, Page, PortError,
    PortResult, Ports, Record, Unreadable, Version,
};

/// All ports over `memory`.
#[must_use]
pub fn ports(memory: &Arc<Memory>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Ports {
    memory.lock().clock = Some(clock.clone());
    Ports {
        heartbeats: memory.clone(),
        ledger: memory.clone(),
        digests: memory.clone(),
        fleets: memory.clone(),
        receivers: memory.clone(),
        incarnations: memory.clone(),
        keys: memory.clone(),
        topic: memory.clone(),
        echoes: memory.clone(),
        subscriptions: memory.clone(),
        deliveries: Some(memory.clone()),
        system: memory.clone(),
        audit: memory.clone(),
        clock,
        ids,
    }
}

/// Items of a page: few, so that tests have several pages.
const PAGE: usize = 100;

/// A record as text, its version and its writer.
type Row = (String, Version, Uuid);

/// All ports at once, over maps.
#[derive(Default)]
pub struct Memory {
    tables: Mutex<Tables>,
    added: Notify,
}

#[derive(Default)]
struct Tables {
    fails: Option<String>,
    heartbeats: BTreeMap<(String, String), Result<Heard, String>>,
    /// Records by table, as text like in any adapter, so that every test includes the codec.
    records: BTreeMap<&'static str, BTreeMap<String, Row>>,
    keys: BTreeMap<KeyId, Key>,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    sweeps: BTreeMap<Region, CompletedSweep>,
    checkpoints: BTreeMap<Region, Checkpoint>,
    acts: BTreeMap<String, String>,
    outcomes: Vec<Publication>,
    published: Vec<Notice>,
    echoes: Vec<Echo>,
    accepted: BTreeMap<String, Notice>,
    deliveries: deliveries::Deliveries,
    /// Dates what the topic accepts; without one it makes no deliveries.
    clock: Option<Arc<dyn Clock>>,
    calls: u64,
}

impl Tables {
    fn record(&mut self, heard: &Heard) {
        let key = (heard.key.to_string(), heard.region.to_string());
        let clock = self.clock.as_ref();
        let now = clock.map_or(heard.heartbeat.last, |clock| clock.now());
        let kept = match self.heartbeats.remove(&key) {
            Some(Ok(kept)) => Heard {
                heartbeat: kept.heartbeat.recorded(heard.heartbeat.clone(), now),
                ..kept
            },
            _ => Heard {
                heartbeat: heard.heartbeat.clone().stored(),
                ..heard.clone()
            },
        };
        self.heartbeats.insert(key, Ok(kept));
    }

    /// The key with the number of its hosts.
    fn key(&self, id: &KeyId) -> Option<Key> {
        let heard = self.heartbeats.values().flatten();
        let hosts: BTreeSet<_> = heard
            .filter(|heard| heard.heartbeat.key == Some(*id))
            .map(|heard| &heard.key)
            .collect();
        self.keys.get(id).map(|key| Key {
            hosts: u32::try_from(hosts.len()).unwrap_or(u32::MAX),
            ..key.clone()
        })
    }

    /// Adds the deliveries of an accepted notice.
    fn deliver(&mut self, notice: &Notice) {
        if let Some(clock) = &self.clock {
            self.deliveries
                .add(notice, self.subscriptions.values(), clock.now());
        }
    }
}

impl Memory {
    /// From now on every call fails for this cause; `None` ends that.
    pub fn fail_with(&self, cause: Option<&str>) {
        self.lock().fails = cause.map(ToOwned::to_owned);
    }

    /// Adds an echo, as of a notice that the topic accepted although the outcome was unknown.
    pub fn echo(&self, echo: Echo) {
        self.lock().echoes.push(echo);
    }

    /// Canaries of one machine show that for `time` until `now` all beats were received.
    pub async fn hear(&self, now: Timestamp, time: Duration) -> PortResult<()> {
        let region = Region::local();
        let known = Ledger::<Receiver>::load(self, &region).await?;
        let heard = Receiver::new(region)
            .with_canary(now.minus(time), time)
            .with_canary(now, time);
        let version = known.map(|known| known.version);
        self.swap(&heard, version, Uuid::nil()).await?;
        Ok(())
    }

    /// The outcomes of the next publishes, in order; all later ones are accepted.
    pub fn next_publications(&self, outcomes: impl IntoIterator<Item = Publication>) {
        self.lock().outcomes.extend(outcomes);
    }

    /// All notices ever published, in order, whatever the outcome.
    #[must_use]
    pub fn published(&self) -> Vec<Notice> {
        self.lock().published.clone()
    }

    /// The notices that the topic accepted, each once although it may have been accepted twice.
    #[must_use]
    pub fn accepted(&self) -> Vec<Notice> {
        self.lock().accepted.values().cloned().collect()
    }

    /// The number of calls of all ports.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Loses what is recorded of sweeps.
    pub fn lose_sweeps(&self) {
        let mut tables = self.lock();
        tables.sweeps.clear();
        tables.checkpoints.clear();
    }

    /// Makes the heartbeats and the ledger entry of `host` unreadable.
    pub fn spoil(&self, host: &HostKey) {
        let mut tables = self.lock();
        for (_, item) in tables
            .heartbeats
            .iter_mut()
            .filter(|((key, _), _)| *key == host.to_string())
        {
            *item = Err("garbage".to_owned());
        }
        drop(tables);
        self.spoil_record::<Entry>(host);
    }

    /// Makes one record unreadable, if it exists.
    pub fn spoil_record<T: Record>(&self, key: &T::Key) {
        let mut tables = self.lock();
        let records = tables.records.entry(T::TABLE).or_default();
        if let Some((text, ..)) = records.get_mut(&key.to_string()) {
            "garbage".clone_into(text);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the tables for one call.
    fn call(&self, what: &str) -> PortResult<MutexGuard<'_, Tables>> {
        let mut tables = self.lock();
        tables.calls += 1;
        match &tables.fails {
            Some(cause) => Err(PortError::unavailable(what, cause.clone())),
            None => Ok(tables),
        }
    }
}

/// A page of `map` after `cursor`; `read` makes an item of each row.
fn page<K: Ord, V, T>(
    map: &BTreeMap<K, V>,
    after: Option<K>,
    name: impl Fn(&K) -> String,
    read: impl Fn(&V) -> Result<T, String>,
) -> Page<T> {
    let mut page = Page::default();
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    for (key, value) in map.range((from, Bound::Unbounded)).take(PAGE) {
        match read(value) {
            Ok(item) => page.items.push(item),
            Err(cause) => page.unreadable.push(Unreadable {
                key: name(key),
                cause,
            }),
        }
        page.next = Some(Cursor(name(key)));
    }
    let full = page.items.len() + page.unreadable.len() == PAGE;
    page.next = page.next.filter(|_| full);
    page
}
