//! What admins did, as it is recorded; and who they are.

use async_trait::async_trait;
use hb_domain::{Act, Timestamp, Who};

use super::{Cursor, Page, PortResult};

/// Stores acts of admins. An act is never changed, and lost only when it is older than
/// [`AUDIT_KEPT`](hb_domain::limits::AUDIT_KEPT).
#[async_trait]
pub trait Audit: Send + Sync {
    /// Records an act. Once more, as after a lost reply, changes nothing.
    async fn record(&self, act: &Act) -> PortResult<()>;

    /// One page of the acts at `since` or later, in the order of their ids.
    async fn list(&self, since: Timestamp, after: Option<Cursor>) -> PortResult<Page<Act>>;
}

/// Knows who runs this program.
#[async_trait]
pub trait Identity: Send + Sync {
    /// Who that is, as the operating system or the cloud knows it.
    async fn who(&self) -> PortResult<Who>;
}
