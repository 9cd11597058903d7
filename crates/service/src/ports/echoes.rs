//! Echoes: the topic's own copies of notices.

use async_trait::async_trait;
use hb_domain::Subject;

use super::{Page, PortResult};

/// The topic's own copy of a notice, which proves that it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The notice that was accepted.
    pub subject: Subject,
    /// The attempt that was accepted.
    pub attempt: u32,
    /// Acknowledges it. Only the adapter that made it can read it.
    pub receipt: String,
}

/// The echoes of all notices that the topic accepted.
#[async_trait]
pub trait Echoes: Send + Sync {
    /// Some of the echoes that are not acknowledged yet; none when there are no more for now. Each is delivered at
    /// least once, in any order. An unreadable one is reported, and stays in the queue.
    ///
    /// Only when `thorough` does none mean that there are none, which may take a second longer.
    async fn receive(&self, thorough: bool) -> PortResult<Page<Echo>>;

    /// Removes these echoes from the queue.
    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()>;
}
