//! The port to records that are swapped as a whole: host entries, digests and receivers.

use std::fmt;

use async_trait::async_trait;
use hb_domain::{Digest, Entry, HostKey, NoticeId, Receiver, Region};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Cursor, Page, PortResult};

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
    pub record: T,
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
    async fn swap(
        &self,
        record: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>>;

    /// One page of the open records ([`Record::is_open`]), perhaps a little stale.
    async fn open(&self, after: Option<Cursor>) -> PortResult<Page<Stored<T>>>;
}
