//! The port to the time.

use std::time::Duration;

use async_trait::async_trait;
use hb_domain::Timestamp;

/// The time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Completes when `duration` has passed.
    async fn sleep(&self, duration: Duration);
}
