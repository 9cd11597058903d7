//! Health: whether a beat can be stored and a notice be published now.

use std::sync::Arc;
use std::time::Duration;

use hb_domain::Timestamp;
use tokio::sync::Mutex;

use crate::ports::{Heartbeats, PortError, Topic};

/// How long a success is valid.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// How long a failure is valid: short, so that a recovery shows.
const BAD_FOR: Duration = Duration::from_secs(2);

/// A dependency that fails, and why.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    #[error(transparent)]
    Beats(PortError),
    #[error(transparent)]
    Topic(PortError),
}

type Checked = Result<(), Arc<Unhealthy>>;

/// Checks the service's dependencies, and caches the result.
pub struct Health {
    heartbeats: Arc<dyn Heartbeats>,
    topic: Arc<dyn Topic>,
    /// Held during a check, so that concurrent requests cause only one.
    last: Mutex<Option<(Timestamp, Checked)>>,
}

impl Health {
    #[must_use]
    pub fn new(heartbeats: Arc<dyn Heartbeats>, topic: Arc<dyn Topic>) -> Self {
        Self {
            heartbeats,
            topic,
            last: Mutex::new(None),
        }
    }

    /// The health at `now`, from a result that is at most 30 s old (2 s for a failure).
    pub async fn check(&self, now: Timestamp) -> Checked {
        let mut last = self.last.lock().await;
        if let Some((at, result)) = &*last
            && !at.is_ahead(now)
            && now.since(*at) < if result.is_ok() { GOOD_FOR } else { BAD_FOR }
        {
            return result.clone();
        }
        let result = match self.heartbeats.check().await {
            Ok(()) => self.topic.check().await.map_err(Unhealthy::Topic),
            Err(error) => Err(Unhealthy::Beats(error)),
        };
        let result = result.map_err(Arc::new);
        *last = Some((now, result.clone()));
        result
    }

    /// Discards an earlier success: something just failed.
    pub fn doubt(&self) {
        // A check that holds the lock is under way.
        if let Ok(mut last) = self.last.try_lock()
            && matches!(*last, Some((_, Ok(()))))
        {
            *last = None;
        }
    }
}
