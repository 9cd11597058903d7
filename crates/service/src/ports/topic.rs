//! The topic to which notices are published.

use async_trait::async_trait;
use hb_domain::{Notice, Publication};

use super::PortResult;

/// A topic: it passes each notice on to its subscriptions.
#[async_trait]
pub trait Topic: Send + Sync {
    /// Publishes `notice` once, without retries. An error of the connection is an outcome as well.
    async fn publish(&self, notice: &Notice) -> Publication;

    /// Whether a notice could be published now.
    async fn check(&self) -> PortResult<()>;
}
