//! The clock, as a port.

use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Message, Timestamp};

/// A clock. The only way to ask for the time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// What is wrong with the machine's clock, for operators; `None` while it keeps time.
    fn trouble(&self) -> Option<Message> {
        None
    }

    /// Completes when `duration` has passed.
    async fn sleep(&self, duration: Duration);
}
