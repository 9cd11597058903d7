//! The port to what is stored of all beats.

use async_trait::async_trait;
use hb_domain::{Heartbeat, HostKey, Region, Timestamp};

use super::{Cursor, Page, PortResult};

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
