//! The port to what the service remembers of itself.

use async_trait::async_trait;
use hb_domain::{Region, Timestamp};
use serde::{Deserialize, Serialize};

use super::PortResult;

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
