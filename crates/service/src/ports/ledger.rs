//! Ledgers: records that are swapped as a whole. Host entries, digests, fleets, receivers and the incarnation.

use std::fmt;

use async_trait::async_trait;
use hb_domain::{
    Digest, Entry, Fleet, FleetRecord, HostKey, Incarnation, NoticeId, Receiver, Region,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Cursor, Page, PortResult, Segment, Unreadable, every_page};

/// The version of a record. Each swap increases it.
pub type Version = u64;

/// What a ledger stores: a value that is swapped as a whole.
pub trait Record:
    Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The type of its key.
    type Key: Clone + Ord + fmt::Display + Send + Sync + 'static;

    /// The table that stores it.
    const TABLE: &'static str;

    /// The key of this record.
    fn key(&self) -> &Self::Key;

    /// Whether a sweep has to read it.
    fn is_open(&self) -> bool;

    /// An error when a record that was read contradicts itself.
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
                .is_none_or(|last| last.epoch != self.epoch)
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

/// Fleets are always open, so that they can be listed. A sweep reads those of which it sends.
impl Record for FleetRecord {
    type Key = Fleet;
    const TABLE: &'static str = "fleets";

    fn key(&self) -> &Fleet {
        &self.fleet
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// Receivers are always open: a sweep reads all of them.
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

/// There is one. It is never listed.
impl Record for Incarnation {
    type Key = &'static str;
    const TABLE: &'static str = "incarnations";

    fn key(&self) -> &&'static str {
        &"current"
    }

    fn is_open(&self) -> bool {
        false
    }
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T = Entry> {
    /// The record itself.
    pub record: T,
    /// Its current version.
    pub version: Version,
    /// The token of the swap that stored it: each swap has its own.
    pub writer: Uuid,
}

/// A record to be swapped in.
#[derive(Clone, Debug)]
pub struct Proposal<T = Entry> {
    /// What is to be stored.
    pub record: T,
    /// The version that it replaces; `None` when there is no record.
    pub expected: Option<Version>,
    /// The token of this swap.
    pub writer: Uuid,
}

/// The outcome of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap<T = Entry> {
    /// The new record is stored, under this version.
    Done(Version),
    /// The stored version is not the expected one; this is the stored record. The new one was not stored, unless this
    /// has the token of the caller: then the reply to an earlier try was lost.
    Conflict(Option<Stored<T>>),
}

/// Records that are swapped as a whole, strongly consistent in all regions: host entries, digests, fleets, receivers
/// and the incarnation. All rules are in `hb_domain`.
#[async_trait]
pub trait Ledger<T: Record = Entry>: Send + Sync {
    /// The record with this key.
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>>;

    /// The records with these keys, in the order of the keys. One that fails does not affect the others.
    async fn load_many(&self, keys: &[T::Key]) -> Vec<PortResult<Option<Stored<T>>>> {
        load_each(self, keys).await
    }

    /// Stores `record` if the stored version is `expected`; `None` expects that there is no record.
    async fn swap(
        &self,
        record: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>>;

    /// Swaps each of these records by itself, in this order; they have different keys.
    async fn swap_many(&self, swaps: &[Proposal<T>]) -> Vec<PortResult<Swap<T>>> {
        swap_each(self, swaps).await
    }

    /// One page of the open records ([`Record::is_open`]), perhaps slightly stale. An adapter may put all of them into
    /// segment 0 and leave the others empty.
    async fn open(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Stored<T>>>;
}

/// All open records, and those that cannot be read.
pub async fn every_open<T: Record>(
    ledger: &(impl Ledger<T> + ?Sized),
) -> PortResult<(Vec<Stored<T>>, Vec<Unreadable>)> {
    every_page(|after| ledger.open(Segment::WHOLE, after)).await
}

/// Loads one record after the other: what [`Ledger::load_many`] does where the store has no better way, or when that
/// fails.
pub async fn load_each<T: Record>(
    ledger: &(impl Ledger<T> + ?Sized),
    keys: &[T::Key],
) -> Vec<PortResult<Option<Stored<T>>>> {
    let mut loaded = Vec::with_capacity(keys.len());
    for key in keys {
        loaded.push(ledger.load(key).await);
    }
    loaded
}

/// Swaps one record after the other, likewise.
pub async fn swap_each<T: Record>(
    ledger: &(impl Ledger<T> + ?Sized),
    swaps: &[Proposal<T>],
) -> Vec<PortResult<Swap<T>>> {
    let mut swapped = Vec::with_capacity(swaps.len());
    for swap in swaps {
        swapped.push(ledger.swap(&swap.record, swap.expected, swap.writer).await);
    }
    swapped
}
