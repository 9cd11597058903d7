//! Canaries: beats that the service sends to itself, to know whether it could hear one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{HostId, Receiver, Region, limits};

use crate::ports::{Ledger, PortError, PortResult, Ports, Swap};
use crate::swap::swap;

/// How often a canary is written down anew when a sweep changed the record meanwhile.
const TRIES: u32 = 5;

/// Sends a beat the whole way that a host's beat goes.
#[async_trait]
pub trait Caller: Send + Sync {
    /// Sends a beat of `host`; an error, in words, when it was not acknowledged.
    async fn beat(&self, host: &HostId) -> Result<(), String>;
}

/// Why a canary proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// It was not acknowledged.
    #[error("a canary beat was not acknowledged: {0}")]
    Unacknowledged(String),
    /// It was, but that could not be written down.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Sends canaries and remembers which were heard.
pub struct Canaries {
    /// The way.
    pub caller: Arc<dyn Caller>,
    /// The ports of the store.
    pub ports: Ports,
    /// Whose receiver it is.
    pub region: Region,
    /// A receiver that heard none for longer may have been deaf between.
    pub fresh: Duration,
}

impl Canaries {
    /// Sends canaries once. Gives how long the receiver was deaf before, if it was.
    pub async fn send(&self) -> Result<Option<Duration>, CanaryError> {
        let at = self.ports.clock.now();
        for n in 0..limits::CANARIES {
            self.caller
                .beat(&HostId::canary(n))
                .await
                .map_err(CanaryError::Unacknowledged)?;
        }
        let mut stored = self.ports.receivers.load(&self.region).await?;
        for _ in 0..TRIES {
            let version = stored.as_ref().map(|stored| stored.version);
            let known = stored.map_or_else(
                || Receiver::new(self.region.clone()),
                |stored| stored.record,
            );
            let before = known.blackouts.last().copied();
            let next = known.with_canary(at, self.fresh);
            let deaf = next.blackouts.last().filter(|last| before != Some(**last));
            let deaf = deaf.map(|blackout| blackout.until.since(blackout.since));
            match swap(&*self.ports.receivers, &*self.ports.ids, &next, version).await? {
                Swap::Done(_) => return Ok(deaf),
                Swap::Conflict(current) => stored = current,
            }
        }
        Ok(None)
    }
}

/// The receivers of all regions.
pub(crate) async fn receivers(ledger: &dyn Ledger<Receiver>) -> PortResult<Vec<Receiver>> {
    let (mut receivers, mut after) = (Vec::new(), None);
    loop {
        let page = ledger.open(after).await?;
        receivers.extend(page.items.into_iter().map(|stored| stored.record));
        after = page.next;
        if after.is_none() {
            return Ok(receivers);
        }
    }
}
