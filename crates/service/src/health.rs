//! Can a beat be stored and a notice be published now?

use std::sync::Arc;
use std::time::Duration;

use hb_domain::Timestamp;
use tokio::sync::Mutex;

use crate::ports::{Heartbeats, PortError, Topic};

/// How long "all is well" is believed.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// How long trouble is believed: short, so that the end of it shows.
const BAD_FOR: Duration = Duration::from_secs(2);

/// Which dependency does not work, and why.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// Beats cannot be stored.
    #[error(transparent)]
    Beats(PortError),
    /// Notices cannot be published.
    #[error(transparent)]
    Topic(PortError),
}

type Checked = Result<(), Arc<Unhealthy>>;

/// Checks the service's dependencies, at most once in a while.
pub struct Health {
    heartbeats: Arc<dyn Heartbeats>,
    topic: Arc<dyn Topic>,
    /// Held during a check, so that many who ask at once cause one.
    last: Mutex<Option<(Timestamp, Checked)>>,
}

impl Health {
    /// Checks these two.
    #[must_use]
    pub fn new(heartbeats: Arc<dyn Heartbeats>, topic: Arc<dyn Topic>) -> Self {
        Self {
            heartbeats,
            topic,
            last: Mutex::new(None),
        }
    }

    /// Whether all is well, as of at most 30 s (2 s for trouble) before `now`.
    pub async fn check(&self, now: Timestamp) -> Checked {
        let mut last = self.last.lock().await;
        if let Some((at, result)) = &*last
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

    /// Believes no older answer: something just failed.
    pub fn doubt(&self) {
        // Whoever holds the lock is checking right now.
        if let Ok(mut last) = self.last.try_lock()
            && matches!(*last, Some((_, Ok(()))))
        {
            *last = None;
        }
    }
}
