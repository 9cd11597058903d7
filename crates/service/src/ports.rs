//! What the use cases need from the world. An adapter is a page; rules stay in `hb_domain`.
//!
//! "Not found" is `Ok(None)`, a lost race is a value, and an error means that nobody knows or that nothing was
//! done: never silence.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    ConfirmationToken, Digest, Entry, Heartbeat, HostKey, Key, KeyId, Notice, NoticeId,
    Publication, Receiver, Region, Standing, Subject, Subscription, SubscriptionId, Timestamp,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why an adapter could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The technology behind the port does not answer, or refuses; trying later may help.
    #[error("{what} is unavailable: {cause}")]
    Unavailable {
        /// The thing, such as `table heartbeats`.
        what: String,
        /// What it said.
        cause: String,
    },
    /// A stored item cannot be read; trying again will not help.
    #[error("{what} holds an unreadable item {key}: {cause}")]
    Unreadable {
        /// The thing, such as `table ledger`.
        what: String,
        /// Which item.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl PortError {
    /// An error of the technology behind `what`.
    pub fn unavailable(what: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self::Unavailable {
            what: what.into(),
            cause: cause.to_string(),
        }
    }

    /// An error of one stored item.
    pub fn unreadable(
        what: impl Into<String>,
        key: impl Into<String>,
        cause: impl fmt::Display,
    ) -> Self {
        Self::Unreadable {
            what: what.into(),
            key: key.into(),
            cause: cause.to_string(),
        }
    }
}

/// What a port gives.
pub type PortResult<T> = Result<T, PortError>;

/// Where a page ended; only the adapter that made it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

/// Part of a listing.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What could be read.
    pub items: Vec<T>,
    /// What could not: each is an error for one item, and not the end of the page.
    pub unreadable: Vec<Unreadable>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            unreadable: Vec::new(),
            next: None,
        }
    }
}

/// A stored item that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub cause: String,
}

/// What one region knows of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The host.
    pub key: HostKey,
    /// The region that heard it.
    pub region: Region,
    /// What is kept of its beats there.
    pub heartbeat: Heartbeat,
}

/// One of `of` parts of a scan, which together hold every host once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which part, from 0.
    pub index: u32,
    /// Of how many.
    pub of: u32,
}

impl Segment {
    /// The only segment of a scan in one part.
    pub const WHOLE: Self = Self { index: 0, of: 1 };
}

/// The beats of all hosts. Written by the recording of beats alone.
#[async_trait]
pub trait Heartbeats: Send + Sync {
    /// Merges what was `heard` into what is stored, as [`Heartbeat::merge`] does; durable when it returns.
    ///
    /// Idempotent, and the order of calls does not matter. It never writes `first`, `interval` or `signal` of an
    /// older beat over those of a newer one.
    async fn record(&self, heard: &Heard) -> PortResult<()>;

    /// All that is stored of `host`, one element a region, in a strongly consistent read.
    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>>;

    /// One page of all that is stored, perhaps a little stale. The regions of a host follow each other. An
    /// adapter may put everything into segment 0 and leave the others empty. Failure messages may be left out.
    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>>;

    /// Where a scan goes on behind `host` and all its regions, whether it is stored or not.
    fn behind(&self, host: &HostKey) -> Cursor;

    /// Deletes what is stored of `host`, unless it beat after `up_to`.
    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()>;

    /// Whether a beat could be recorded now: writes something, durably, that is no beat.
    async fn check(&self) -> PortResult<()>;
}

/// The version of a record: rises with each swap.
pub type Version = u64;

/// What a ledger keeps: a value that is swapped as a whole.
pub trait Record:
    Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// What names it.
    type Key: Clone + Ord + fmt::Display + Send + Sync + 'static;

    /// The name of its table.
    const TABLE: &'static str;

    /// Its name.
    fn key(&self) -> &Self::Key;

    /// Whether a sweep must know it.
    fn is_open(&self) -> bool;

    /// What is wrong with one that was read, if anything.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

impl Record for Entry {
    type Key = HostKey;
    const TABLE: &'static str = "ledger";

    fn key(&self) -> &HostKey {
        &self.key
    }

    fn is_open(&self) -> bool {
        self.is_open()
    }

    fn check(&self) -> Result<(), String> {
        if self.pending.is_some()
            && self
                .history
                .last()
                .is_none_or(|told| told.epoch != self.epoch)
        {
            return Err(format!(
                "a notice is pending but the history does not end with epoch {}",
                self.epoch
            ));
        }
        Ok(())
    }
}

impl Record for Digest {
    type Key = NoticeId;
    const TABLE: &'static str = "digests";

    fn key(&self) -> &NoticeId {
        &self.id
    }

    fn is_open(&self) -> bool {
        self.is_open()
    }
}

/// The receivers of all regions are always open: a sweep must know each.
impl Record for Receiver {
    type Key = Region;
    const TABLE: &'static str = "receivers";

    fn key(&self) -> &Region {
        &self.region
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T = Entry> {
    /// The record.
    pub entry: T,
    /// Its version.
    pub version: Version,
    /// Who swapped it in: one token per attempt to swap.
    pub writer: Uuid,
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap<T = Entry> {
    /// The new record is stored, under this version.
    Done(Version),
    /// The expected version is not there any more; this is what is. The new record was not stored, unless the
    /// writer in it is one's own: then an earlier reply was lost.
    Conflict(Option<Stored<T>>),
}

/// Records that are swapped as a whole, strongly consistent, in all regions: the ledger itself with one entry a host,
/// digests, and receivers. Every rule lives in `hb_domain`.
#[async_trait]
pub trait Ledger<T: Record = Entry>: Send + Sync {
    /// The record of `key`.
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>>;

    /// Stores `entry` if the stored one still has the version `expected`; `None` expects that there is none.
    async fn swap(&self, entry: &T, expected: Option<Version>, writer: Uuid)
    -> PortResult<Swap<T>>;

    /// One page of the open records ([`Record::is_open`]), perhaps a little stale.
    async fn open(&self, after: Option<Cursor>) -> PortResult<Page<Stored<T>>>;
}

/// API keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// The key of this id.
    async fn load(&self, id: &KeyId) -> PortResult<Option<Key>>;

    /// Stores a new key; `false` when its id is taken.
    async fn create(&self, key: &Key) -> PortResult<bool>;

    /// Marks the key as revoked at `at`, unless it is already; gives it as it then is, `None` when there is none.
    async fn revoke(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>>;

    /// Lets the key expire at `at`, unless it does before; gives it as it then is, `None` when there is none.
    async fn expire(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>>;

    /// Notes that the key was used on the day of `at`, unless a later day is noted.
    async fn note_use(&self, id: &KeyId, at: Timestamp) -> PortResult<()>;

    /// One page of all keys, in the order of their ids.
    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Key>>;
}

/// Where notices are published.
#[async_trait]
pub trait Topic: Send + Sync {
    /// Publishes `notice` once, without retries of its own. An error of the way there is an outcome, too.
    async fn publish(&self, notice: &Notice) -> Publication;

    /// Whether a notice could be published now.
    async fn check(&self) -> PortResult<()>;
}

/// The topic's own copy of a notice, which proves that it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Which notice.
    pub subject: Subject,
    /// At which attempt.
    pub attempt: u32,
    /// What acknowledges it; only the adapter that made it can read it.
    pub receipt: String,
}

/// The echoes of all notices that the topic accepted.
#[async_trait]
pub trait Echoes: Send + Sync {
    /// Some of the echoes that were not acknowledged yet; none when there are no more for now. Each comes at least
    /// once, in any order. What cannot be read is told, and stays.
    async fn receive(&self) -> PortResult<Page<Echo>>;

    /// These need not come again.
    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()>;
}

/// Who listens to the topic.
#[async_trait]
pub trait Subscriptions: Send + Sync {
    /// Adds a subscription; `false` when its id is taken. Where the topic has no tokens of its own, `token` is what
    /// confirms it, if it must be confirmed; the endpoint, and nobody else, gets to know it.
    async fn add(&self, subscription: &Subscription, token: &ConfirmationToken)
    -> PortResult<bool>;

    /// How each subscription stands.
    async fn standings(&self) -> PortResult<BTreeMap<SubscriptionId, Standing>>;

    /// Confirms what `token` was sent for; `false` when it was sent for nothing here.
    async fn confirm(&self, token: &ConfirmationToken) -> PortResult<bool>;

    /// One page of all subscriptions, in the order of their ids.
    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Subscription>>;

    /// Removes a subscription and what it has not yet got; `false` when there is none.
    async fn remove(&self, id: &SubscriptionId) -> PortResult<bool>;
}

/// How the deliveries of one subscription stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Not delivered yet, to be tried again.
    pub due: u64,
    /// Delivered.
    pub delivered: u64,
    /// Given up after [`hb_domain::limits::DELIVERY_FOR`].
    pub dead: u64,
    /// What the endpoint said at the last failed try, while anything is due or dead.
    pub last_error: Option<String>,
}

/// What became of accepted notices, where the topic knows it.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// The tally of each subscription that ever got a notice.
    async fn tally(&self) -> PortResult<BTreeMap<SubscriptionId, Tally>>;
}

/// A sweep that reached its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedSweep {
    /// When it began: all that happened before was seen.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How many hosts it looked at.
    pub hosts: u64,
}

/// What the service remembers of itself.
#[async_trait]
pub trait System: Send + Sync {
    /// The last completed sweep of `region`.
    async fn last_sweep(&self, region: &Region) -> PortResult<Option<CompletedSweep>>;

    /// Remembers a completed sweep, unless a later one is remembered.
    async fn record_sweep(&self, region: &Region, sweep: &CompletedSweep) -> PortResult<()>;
}

/// The time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Completes when `duration` has passed.
    async fn sleep(&self, duration: Duration);
}

/// Randomness.
pub trait Ids: Send + Sync {
    /// 32 unpredictable bytes.
    fn random(&self) -> [u8; 32];

    /// A random token of 128 bits.
    fn token(&self) -> Uuid {
        let bytes = self.random();
        uuid::Builder::from_random_bytes(std::array::from_fn(|i| bytes[i])).into_uuid()
    }
}
