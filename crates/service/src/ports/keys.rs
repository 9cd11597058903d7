//! The port to API keys.

use async_trait::async_trait;
use hb_domain::{Key, KeyId, Timestamp};

use super::{Cursor, Page, PortResult};

/// API keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// The key of this id.
    async fn load(&self, id: &KeyId) -> PortResult<Option<Key>>;

    /// Stores a new key; `false` when its id is taken.
    async fn create(&self, key: &Key) -> PortResult<bool>;

    /// Marks the key as revoked at `at`, unless it is already; gives it as it then is, `None` when there is none.
    async fn revoke(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>>;

    /// Lets the key expire at `at`, unless it does before; gives it as it then is, `None` when there is none.
    async fn expire(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>>;

    /// Notes that the key was used on the day of `at`, unless a later day is noted.
    async fn note_use(&self, id: &KeyId, at: Timestamp) -> PortResult<()>;

    /// One page of all keys, in the order of their ids.
    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Key>>;
}
