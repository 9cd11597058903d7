//! API keys, as they are stored.

use async_trait::async_trait;
use hb_domain::{Key, KeyId, KeyLimits, Timestamp};

use super::{Cursor, Page, PortResult};

/// Stores API keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// The key with this id.
    async fn load(&self, id: &KeyId) -> PortResult<Option<Key>>;

    /// Stores a new key; `false` when its id is taken.
    async fn create(&self, key: &Key) -> PortResult<bool>;

    /// Marks the key as revoked at `at`, unless it already is. Returns the key afterwards; `None` when there is none.
    async fn revoke(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>>;

    /// Lets the key expire at `at`, unless it expires earlier. Returns the key afterwards; `None` when there is none.
    async fn expire(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>>;

    /// Records that the key was used on the day of `at`, unless a later day is recorded.
    async fn note_use(&self, id: &KeyId, at: Timestamp) -> PortResult<()>;

    /// Limits the key so from now on. Returns the key afterwards; `None` when there is none.
    async fn limit(&self, id: &KeyId, limits: &KeyLimits) -> PortResult<Option<Key>>;

    /// Records that so many hosts beat with the key, as a sweep has counted them, where the store does not count them
    /// itself. Returns the key afterwards; `None` when there is none.
    async fn note_hosts(&self, id: &KeyId, hosts: u32) -> PortResult<Option<Key>>;

    /// One page of all keys, in the order of their ids.
    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Key>>;
}
