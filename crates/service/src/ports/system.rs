//! What the service records about itself.

use async_trait::async_trait;
use hb_domain::{Region, Timestamp};
use serde::{Deserialize, Serialize};

use super::PortResult;

/// A sweep that completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedSweep {
    /// When it began: it has seen everything before.
    pub began: Timestamp,
    /// When it completed.
    pub ended: Timestamp,
    /// How many hosts it scanned.
    pub hosts: u64,
}

/// Records about the service itself.
#[async_trait]
pub trait System: Send + Sync {
    /// The last completed sweep of `region`.
    async fn last_sweep(&self, region: &Region) -> PortResult<Option<CompletedSweep>>;

    /// Records a completed sweep, unless a later one is recorded.
    async fn record_sweep(&self, region: &Region, sweep: &CompletedSweep) -> PortResult<()>;
}
