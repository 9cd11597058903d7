//! Records beats, of the hosts that a key may beat for.
//!
//! What follows from a beat is decided by the sweep.

use std::sync::Arc;

use hb_domain::{Beat, Denied, Heartbeat, HostId, HostKey, Key, Region};

use crate::ports::{Heard, Heartbeats, PortError};

/// Why a beat was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The key may not beat for the host.
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
    /// Records beats received in `region` into `heartbeats`.
    #[must_use]
    pub fn new(heartbeats: Arc<dyn Heartbeats>, region: Region) -> Self {
        Self { heartbeats, region }
    }

    /// Records a beat that `host` sent with `key`; durable when it returns.
    pub async fn record(&self, key: &Key, host: HostId, beat: Beat) -> Result<(), RecordError> {
        key.beats_for(&host)?;
        key.allows(beat.interval)?;
        let beat = Beat {
            key: Some(key.id),
            ..beat
        };
        let heard = Heard {
            key: HostKey::new(key.fleet.clone(), host),
            region: self.region.clone(),
            heartbeat: Heartbeat::new(beat),
        };
        if self.heartbeats.record_with(&heard, key).await? {
            Ok(())
        } else {
            Err(Denied::Full(key.most_hosts(), heard.key.host).into())
        }
    }
}
