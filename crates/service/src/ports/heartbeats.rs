//! Heartbeats: what is stored of the beats of all hosts.

use async_trait::async_trait;
use hb_domain::{Heartbeat, HostKey, Key, Region, Timestamp};

use super::{Cursor, Page, PortResult};

/// What one region stores of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The host that sent the beats.
    pub key: HostKey,
    /// The region that received the beats.
    pub region: Region,
    /// What is stored of its beats there.
    pub heartbeat: Heartbeat,
}

impl Heard {
    /// What two regions store of one host, with the region that received the newer beat.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let newer = if other.heartbeat.last >= self.heartbeat.last {
            other.region
        } else {
            self.region
        };
        Self {
            key: self.key,
            region: newer,
            heartbeat: self.heartbeat.merge(other.heartbeat),
        }
    }
}

/// One of `of` parts of a scan, which together contain every host once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index of the part, from 0.
    pub index: u32,
    /// Number of parts.
    pub of: u32,
}

impl Segment {
    /// The only segment of a scan that is not divided.
    pub const WHOLE: Self = Self { index: 0, of: 1 };
}

/// The heartbeats of all hosts. The recording of beats writes them, an admin who expects one, and a sweep that finds the future in them.
#[async_trait]
pub trait Heartbeats: Send + Sync {
    /// Stores `heard` as [`Heartbeat::recorded`] says, at the instant of the write, or at the beat's own where no request
    /// can live for [`FUTURE_SKEW`](hb_domain::limits::FUTURE_SKEW). Durable when it returns.
    ///
    /// Idempotent, and independent of the order of calls as long as the beats lie within that time: `first`, `interval` and `signal` of an older beat never replace
    /// those of a newer one.
    async fn record(&self, heard: &Heard) -> PortResult<()>;

    /// The same of a beat that came with `key`; `false`, and nothing is stored, when the host is new and the key has all
    /// the hosts that it may have. How many it has is known to the adapter, or else as the key says.
    async fn record_with(&self, heard: &Heard, key: &Key) -> PortResult<bool> {
        if key.is_full() && self.load(&heard.key).await?.is_empty() {
            return Ok(false);
        }
        self.record(heard).await.map(|()| true)
    }

    /// All that is stored of `host`, one element a region, by a strongly consistent read.
    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>>;

    /// The same of several hosts, in the order of the hosts. One that fails does not affect the others.
    async fn load_many(&self, hosts: &[HostKey]) -> Vec<PortResult<Vec<Heard>>> {
        let mut loaded = Vec::with_capacity(hosts.len());
        for host in hosts {
            loaded.push(self.load(host).await);
        }
        loaded
    }

    /// One page of all that is stored, perhaps slightly stale. The regions of a host are adjacent. An adapter may
    /// put everything into segment 0 and leave the others empty. Failure messages may be omitted.
    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>>;

    /// Brings the instants of `ahead`, as they were read, to `now` where a wrong clock wrote them
    /// ([`Heartbeat::as_of`]). Changes nothing that was written since.
    async fn mend(&self, ahead: &[Heard], now: Timestamp) -> PortResult<()>;

    /// The position in a scan after `host` and all its regions, whether it is stored or not.
    fn behind(&self, host: &HostKey) -> Cursor;

    /// Deletes what is stored of `host`, unless it has sent a beat after `up_to`.
    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()>;

    /// Whether a beat could be recorded now: makes a durable write that is not a beat.
    async fn check(&self) -> PortResult<()>;
}
