use async_trait::async_trait;
use hb_domain::{Key, KeyId, KeyLimits, Timestamp};

use super::{Memory, page};
use crate::ports::{Cursor, Keys, Page, PortResult};

#[async_trait]
impl Keys for Memory {
    async fn load(&self, id: &KeyId) -> PortResult<Option<Key>> {
        Ok(self.call("table keys")?.key(id))
    }

    async fn create(&self, key: &Key) -> PortResult<bool> {
        let mut tables = self.call("table keys")?;
        let free = !tables.keys.contains_key(&key.id);
        tables.keys.entry(key.id).or_insert_with(|| key.clone());
        Ok(free)
    }

    async fn revoke(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>> {
        let mut tables = self.call("table keys")?;
        let key = tables.keys.get_mut(id);
        Ok(key.map(|key| {
            key.revoked.get_or_insert(at);
            key.clone()
        }))
    }

    async fn expire(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>> {
        let mut tables = self.call("table keys")?;
        Ok(tables.keys.get_mut(id).map(|key| {
            key.expires = Some(key.expires.map_or(at, |expires| expires.min(at)));
            key.clone()
        }))
    }

    async fn note_use(&self, id: &KeyId, at: Timestamp) -> PortResult<()> {
        let mut tables = self.call("table keys")?;
        if let Some(key) = tables.keys.get_mut(id) {
            key.used = key.used.max(Some(at.day()));
        }
        Ok(())
    }

    async fn limit(&self, id: &KeyId, limits: &KeyLimits) -> PortResult<Option<Key>> {
        let mut tables = self.call("table keys")?;
        if let Some(key) = tables.keys.get_mut(id) {
            key.limits = *limits;
        }
        Ok(tables.key(id))
    }

    async fn note_hosts(&self, id: &KeyId, _: u32) -> PortResult<Option<Key>> {
        Ok(self.call("table keys")?.key(id))
    }

    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Key>> {
        let after = after.and_then(|c| c.0.parse().ok());
        Ok(page(
            &self.call("table keys")?.keys,
            after,
            ToString::to_string,
            |key| Ok(key.clone()),
        ))
    }
}
