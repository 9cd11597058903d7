//! Adapters that keep everything in memory: for tests, and as the simplest reading of the ports.

mod deliveries;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    ConfirmationToken, Entry, HostKey, Key, KeyId, Notice, Publication, Region, Subscription,
    SubscriptionId, SubscriptionState, Timestamp,
};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::codec;
use crate::ports::{
    Clock, CompletedSweep, Cursor, Echo, Echoes, Heard, Heartbeats, Ids, Keys, Ledger, Page,
    PortError, PortResult, Ports, Record, Segment, Stored, Subscriptions, Swap, System, Topic,
    Unreadable, Version,
};

/// All ports over `memory`.
#[must_use]
pub fn ports(memory: &Arc<Memory>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Ports {
    memory.lock().clock = Some(clock.clone());
    Ports {
        heartbeats: memory.clone(),
        ledger: memory.clone(),
        digests: memory.clone(),
        receivers: memory.clone(),
        keys: memory.clone(),
        topic: memory.clone(),
        echoes: memory.clone(),
        subscriptions: memory.clone(),
        deliveries: Some(memory.clone()),
        system: memory.clone(),
        clock,
        ids,
    }
}

/// Items in a page: small, so that tests turn pages.
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
    /// Records by table, as text, as any adapter keeps them, so that the codec is in every test.
    records: BTreeMap<&'static str, BTreeMap<String, Row>>,
    keys: BTreeMap<KeyId, Key>,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    sweeps: BTreeMap<Region, CompletedSweep>,
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
    /// Adds the deliveries of an accepted notice.
    fn deliver(&mut self, notice: &Notice) {
        if let Some(clock) = &self.clock {
            self.deliveries
                .add(notice, self.subscriptions.values(), clock.now());
        }
    }
}

impl Memory {
    /// From now on every call fails for this cause; `None` heals.
    pub fn fail_with(&self, cause: Option<&str>) {
        self.lock().fails = cause.map(ToOwned::to_owned);
    }

    /// The topic turns out to have accepted what nobody knew of.
    pub fn echo(&self, echo: Echo) {
        self.lock().echoes.push(echo);
    }

    /// The outcomes of the next publishes, the first first; after them all are accepted.
    pub fn next_publications(&self, outcomes: impl IntoIterator<Item = Publication>) {
        self.lock().outcomes.extend(outcomes);
    }

    /// All notices ever published, in order, whatever became of them.
    #[must_use]
    pub fn published(&self) -> Vec<Notice> {
        self.lock().published.clone()
    }

    /// The notices that the topic accepted, by identity: accepting twice is accepting once.
    #[must_use]
    pub fn accepted(&self) -> Vec<Notice> {
        self.lock().accepted.values().cloned().collect()
    }

    /// How many calls were made on all ports.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Makes what is stored of `host` unreadable: its heartbeats and its ledger entry.
    pub fn spoil(&self, host: &HostKey) {
        let mut tables = self.lock();
        for (_, item) in tables
            .heartbeats
            .iter_mut()
            .filter(|((key, _), _)| *key == host.to_string())
        {
            *item = Err("garbage".to_owned());
        }
        let entries = tables.records.entry(Entry::TABLE).or_default();
        if let Some((text, ..)) = entries.get_mut(&host.to_string()) {
            "garbage".clone_into(text);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables, for one call.
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

#[async_trait]
impl Heartbeats for Memory {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        let mut tables = self.call("table heartbeats")?;
        let key = (heard.key.to_string(), heard.region.to_string());
        let kept = match tables.heartbeats.remove(&key) {
            Some(Ok(kept)) => Heard {
                heartbeat: kept.heartbeat.merge(heard.heartbeat.clone()),
                ..kept
            },
            _ => heard.clone(),
        };
        tables.heartbeats.insert(key, Ok(kept));
        Ok(())
    }

    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        let tables = self.call("table heartbeats")?;
        let of_host = tables
            .heartbeats
            .iter()
            .filter(|((key, _), _)| *key == host.to_string());
        let unreadable = |cause: &String| {
            PortError::unreadable("table heartbeats", host.to_string(), cause.clone())
        };
        of_host
            .map(|(_, heard)| heard.clone().map_err(|cause| unreadable(&cause)))
            .collect()
    }

    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        let tables = self.call("table heartbeats")?;
        if segment.index > 0 {
            return Ok(Page::default());
        }
        let split = |text: String| {
            text.split_once(' ')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
        };
        let name = |(host, region): &(String, String)| format!("{host} {region}");
        Ok(page(
            &tables.heartbeats,
            after.and_then(|c| split(c.0)),
            name,
            Clone::clone,
        ))
    }

    fn behind(&self, host: &HostKey) -> Cursor {
        // No name of a region is that great.
        Cursor(format!("{host} \u{10ffff}"))
    }

    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()> {
        let mut tables = self.call("table heartbeats")?;
        let newer =
            |heard: &Result<Heard, String>| heard.as_ref().is_ok_and(|h| h.heartbeat.last > up_to);
        tables
            .heartbeats
            .retain(|(key, _), heard| *key != host.to_string() || newer(heard));
        Ok(())
    }

    async fn check(&self) -> PortResult<()> {
        self.call("table heartbeats").map(|_| ())
    }
}

fn stored<T: Record>(key: &str, (text, version, writer): &Row) -> PortResult<Stored<T>> {
    let unreadable = |error| PortError::unreadable(format!("table {}", T::TABLE), key, error);
    let entry = codec::decode(text).map_err(unreadable)?;
    Ok(Stored {
        record: entry,
        version: *version,
        writer: *writer,
    })
}

#[async_trait]
impl<T: Record> Ledger<T> for Memory {
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        let (mut tables, key) = (self.call(&format!("table {}", T::TABLE))?, key.to_string());
        tables
            .records
            .entry(T::TABLE)
            .or_default()
            .get(&key)
            .map(|row| stored(&key, row))
            .transpose()
    }

    async fn swap(
        &self,
        entry: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        let (mut tables, key) = (
            self.call(&format!("table {}", T::TABLE))?,
            entry.key().to_string(),
        );
        let text = codec::encode(entry).map_err(|e| PortError::unreadable(T::TABLE, &key, e))?;
        let records = tables.records.entry(T::TABLE).or_default();
        let current = records.get(&key);
        if current.map(|(_, version, _)| *version) != expected {
            return Ok(Swap::Conflict(
                current.map(|row| stored(&key, row)).transpose()?,
            ));
        }
        let version = expected.unwrap_or(0) + 1;
        records.insert(key, (text, version, writer));
        Ok(Swap::Done(version))
    }

    async fn open(&self, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        let mut tables = self.call(&format!("table {}", T::TABLE))?;
        let records = tables.records.entry(T::TABLE).or_default();
        let read = |row: &Row| stored("", row).map_err(|e| e.to_string());
        let mut page: Page<Stored<T>> = page(records, after.map(|c| c.0), Clone::clone, read);
        page.items.retain(|stored| stored.record.is_open());
        Ok(page)
    }
}

#[async_trait]
impl Keys for Memory {
    async fn load(&self, id: &KeyId) -> PortResult<Option<Key>> {
        Ok(self.call("table keys")?.keys.get(id).cloned())
    }

    async fn create(&self, key: &Key) -> PortResult<bool> {
        let mut tables = self.call("table keys")?;
        let free = !tables.keys.contains_key(&key.id);
        tables
            .keys
            .entry(key.id.clone())
            .or_insert_with(|| key.clone());
        Ok(free)
    }

    async fn revoke(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>> {
        let mut tables = self.call("table keys")?;
        let key = tables.keys.get_mut(id);
        Ok(key.map(|key| {
            key.revoked.get_or_insert(at);
            key.clone()
        }))
    }

    async fn expire(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>> {
        let mut tables = self.call("table keys")?;
        Ok(tables.keys.get_mut(id).map(|key| {
            key.expires = Some(key.expires.map_or(at, |expires| expires.min(at)));
            key.clone()
        }))
    }

    async fn note_use(&self, id: &KeyId, at: Timestamp) -> PortResult<()> {
        let mut tables = self.call("table keys")?;
        if let Some(key) = tables.keys.get_mut(id) {
            key.used = key.used.max(Some(at.day()));
        }
        Ok(())
    }

    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Key>> {
        let after = after.and_then(|c| c.0.parse().ok());
        Ok(page(
            &self.call("table keys")?.keys,
            after,
            ToString::to_string,
            |key| Ok(key.clone()),
        ))
    }
}

#[async_trait]
impl Subscriptions for Memory {
    /// All are confirmed at once.
    async fn add(&self, subscription: &Subscription, _: &ConfirmationToken) -> PortResult<bool> {
        let mut tables = self.call("table subscriptions")?;
        let free = !tables.subscriptions.contains_key(&subscription.id);
        tables
            .subscriptions
            .entry(subscription.id.clone())
            .or_insert_with(|| subscription.clone());
        Ok(free)
    }

    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Subscription>> {
        let after = after.and_then(|c| c.0.parse().ok());
        let tables = self.call("table subscriptions")?;
        Ok(page(
            &tables.subscriptions,
            after,
            ToString::to_string,
            |item| Ok(item.clone()),
        ))
    }

    async fn states(&self) -> PortResult<BTreeMap<SubscriptionId, SubscriptionState>> {
        let tables = self.call("table subscriptions")?;
        Ok(tables
            .subscriptions
            .keys()
            .map(|id| (id.clone(), SubscriptionState::Confirmed))
            .collect())
    }

    async fn confirm(&self, _: &ConfirmationToken) -> PortResult<bool> {
        self.call("table subscriptions").map(|_| false)
    }

    async fn remove(&self, id: &SubscriptionId) -> PortResult<bool> {
        let mut tables = self.call("table subscriptions")?;
        tables.deliveries.remove(id);
        Ok(tables.subscriptions.remove(id).is_some())
    }
}

#[async_trait]
impl Topic for Memory {
    async fn publish(&self, notice: &Notice) -> Publication {
        let mut tables = match self.call("topic") {
            Ok(tables) => tables,
            Err(error) => return Publication::Refused(error.to_string()),
        };
        tables.published.push(notice.clone());
        let outcome = if tables.outcomes.is_empty() {
            Publication::Accepted
        } else {
            tables.outcomes.remove(0)
        };
        if outcome == Publication::Accepted {
            let receipt = tables.published.len().to_string();
            tables.echoes.push(Echo {
                subject: notice.subject(),
                attempt: notice.attempt,
                receipt,
            });
            if !tables.accepted.contains_key(&notice.identity()) {
                tables.accepted.insert(notice.identity(), notice.clone());
                tables.deliver(notice);
                self.added.notify_one();
            }
        }
        outcome
    }

    async fn check(&self) -> PortResult<()> {
        self.call("topic").map(|_| ())
    }
}

#[async_trait]
impl Echoes for Memory {
    async fn receive(&self) -> PortResult<Page<Echo>> {
        let items = self.call("queue echo")?.echoes.clone();
        Ok(Page {
            items,
            ..Page::default()
        })
    }

    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()> {
        self.call("queue echo")?
            .echoes
            .retain(|echo| !receipts.contains(&echo.receipt));
        Ok(())
    }
}

#[async_trait]
impl System for Memory {
    async fn last_sweep(&self, region: &Region) -> PortResult<Option<CompletedSweep>> {
        Ok(self.call("table system")?.sweeps.get(region).copied())
    }

    async fn record_sweep(&self, region: &Region, sweep: &CompletedSweep) -> PortResult<()> {
        let mut tables = self.call("table system")?;
        let known = tables.sweeps.entry(region.clone()).or_insert(*sweep);
        if sweep.began > known.began {
            *known = *sweep;
        }
        Ok(())
    }
}

/// A clock that stands still until it is told otherwise.
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_millis()))
    }

    /// Shows `now` from now on, be it later or earlier.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        self.set(self.now().plus(duration));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::MIN)
    }

    /// Lets the time pass at once.
    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// Numbers that look random and are the same at each run.
#[derive(Default)]
pub struct CountingIds(AtomicU64);

impl Ids for CountingIds {
    fn random(&self) -> [u8; 32] {
        Sha256::digest(self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes()).into()
    }
}
