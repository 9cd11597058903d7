//! The port to the topic's own copies of notices.

use async_trait::async_trait;
use hb_domain::Subject;

use super::{Page, PortResult};

/// The topic's own copy of a notice, which proves that it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Which notice.
    pub subject: Subject,
    /// At which attempt.
    pub attempt: u32,
    /// What acknowledges it; only the adapter that made it can read it.
    pub receipt: String,
}

/// The echoes of all notices that the topic accepted.
#[async_trait]
pub trait Echoes: Send + Sync {
    /// Some of the echoes that were not acknowledged yet; none when there are no more for now. Each comes at least
    /// once, in any order. What cannot be read is told, and stays.
    async fn receive(&self) -> PortResult<Page<Echo>>;

    /// These need not come again.
    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()>;
}
