use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Message, Timestamp};
use sha2::{Digest, Sha256};

use crate::ports::{Clock, Ids};

/// A clock that stands still until it is set.
pub struct ManualClock(AtomicI64, Mutex<Option<Message>>);

impl ManualClock {
    /// A clock set to `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_millis()), Mutex::default())
    }

    /// Sets the time, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }

    /// What operators see of it from now on.
    pub fn set_trouble(&self, trouble: Option<Message>) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Moves the time forwards.
    pub fn advance(&self, duration: Duration) {
        self.set(self.now().plus(duration));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::MIN)
    }

    fn trouble(&self) -> Option<Message> {
        self.1
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Moves the time forwards at once.
    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// Bytes that look random and are the same in each run.
#[derive(Default)]
pub struct CountingIds(AtomicU64);

impl Ids for CountingIds {
    fn random(&self) -> [u8; 32] {
        Sha256::digest(self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes()).into()
    }
}
