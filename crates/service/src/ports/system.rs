//! What the service records about itself.

use async_trait::async_trait;
use hb_domain::{Region, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Cursor, PortResult};

/// A sweep that completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedSweep {
    /// When it began: it has seen everything before.
    pub began: Timestamp,
    /// When it completed.
    pub ended: Timestamp,
    /// How many hosts it scanned.
    pub hosts: u64,
    /// The program that swept, such as `0.1.0 (0d10dc84c91f)`; empty of an earlier one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
}

/// How far a round over all new hosts has come. A round that does not fit into one sweep goes on in the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When the round began.
    pub began: Timestamp,
    /// The position in each segment of the scan.
    pub positions: Vec<Position>,
}

/// A position in a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// Nothing was looked at.
    Start,
    /// Everything up to here was looked at.
    After(Cursor),
    /// Everything was looked at.
    End,
}

/// Records about the service itself.
#[async_trait]
pub trait System: Send + Sync {
    /// The last completed sweep of `region`.
    async fn last_sweep(&self, region: &Region) -> PortResult<Option<CompletedSweep>>;

    /// Records a completed sweep, unless a later one is recorded. One that began more than
    /// [`FUTURE_SKEW`](hb_domain::limits::FUTURE_SKEW) after the end of this one was recorded by a wrong clock, and is
    /// replaced.
    async fn record_sweep(&self, region: &Region, sweep: &CompletedSweep) -> PortResult<()>;

    /// The last recorded checkpoint of `region`. One that began before the last completed sweep is obsolete.
    async fn checkpoint(&self, region: &Region) -> PortResult<Option<Checkpoint>>;

    /// Records a checkpoint at `now`, unless one of a later round is recorded. One whose round began more than
    /// [`FUTURE_SKEW`](hb_domain::limits::FUTURE_SKEW) after `now` was recorded by a wrong clock, and is replaced.
    async fn record_checkpoint(
        &self,
        region: &Region,
        checkpoint: &Checkpoint,
        now: Timestamp,
    ) -> PortResult<()>;
}
