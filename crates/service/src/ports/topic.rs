//! The port to the topic, where notices are published.

use async_trait::async_trait;
use hb_domain::{Notice, Publication};

use super::PortResult;

/// Where notices are published.
#[async_trait]
pub trait Topic: Send + Sync {
    /// Publishes `notice` once, without retries of its own. An error of the way there is an outcome, too.
    async fn publish(&self, notice: &Notice) -> Publication;

    /// Whether a notice could be published now.
    async fn check(&self) -> PortResult<()>;
}
