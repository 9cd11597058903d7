//! The clock, as a port.

use std::time::Duration;

use async_trait::async_trait;
use hb_domain::Timestamp;

/// A clock. The only way to ask for the time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// Completes when `duration` has passed.
    async fn sleep(&self, duration: Duration);
}
