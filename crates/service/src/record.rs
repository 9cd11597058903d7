//! Records a beat: the one thing that thousands of machines ask for.

use std::sync::Arc;

use hb_domain::{
    Beat, Denied, Heartbeat, HostId, HostKey, Interval, Key, Message, Region, Signal, Timestamp,
};

use crate::ports::{Heard, Heartbeats, PortError};

/// What a host says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The host.
    pub host: HostId,
    /// How long it may now stay silent.
    pub interval: Interval,
    /// What it says.
    pub signal: Signal,
    /// Kept with a `fail` only.
    pub message: Option<Message>,
}

/// Why a beat was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The key may not do that.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The beat could not be stored.
    #[error(transparent)]
    Unavailable(#[from] PortError),
}

/// Records beats of one region.
pub struct Recorder {
    heartbeats: Arc<dyn Heartbeats>,
    region: Region,
}

impl Recorder {
    /// Records into `heartbeats` what `region` hears.
    #[must_use]
    pub fn new(heartbeats: Arc<dyn Heartbeats>, region: Region) -> Self {
        Self { heartbeats, region }
    }

    /// Records what a host reported with `key` at `now`; durable when it returns.
    pub async fn record(
        &self,
        key: &Key,
        report: Report,
        now: Timestamp,
    ) -> Result<(), RecordError> {
        let Report {
            host,
            interval,
            signal,
            message,
        } = report;
        key.beats_for(&host)?;
        let heard = Heard {
            key: HostKey::new(key.fleet.clone(), host),
            region: self.region.clone(),
            heartbeat: Heartbeat::new(Beat {
                at: now,
                interval,
                signal,
                message,
            }),
        };
        Ok(self.heartbeats.record(&heard).await?)
    }
}
