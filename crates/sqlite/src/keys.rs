//! API keys in SQLite. Of the secret only its SHA-256 is here.

use async_trait::async_trait;
use hb_domain::{Key, KeyId, SecretHash, Timestamp};
use hb_service::ports::{Cursor, Keys, Page, PortResult};
use rusqlite::{Connection, Row, params};

use crate::row::{self, Decoded};
use crate::store::{Steps, Store};

const TABLE: &str = "keys";

const LOAD: &str = "
    SELECT id, name, hash, fleet, scope, prefixes, created, expires, revoked, used FROM keys WHERE id = ?1";

const LIST: &str = "
    SELECT id, name, hash, fleet, scope, prefixes, created, expires, revoked, used FROM keys
    WHERE id > ?1 ORDER BY id LIMIT ?2";

const CREATE: &str = "
    INSERT INTO keys (id, name, hash, fleet, scope, prefixes, created, expires, revoked, used)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING";

const CREATE_FIRST: &str = "
    INSERT INTO keys (id, name, hash, fleet, scope, prefixes, created, expires, revoked, used)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE NOT EXISTS (SELECT 1 FROM keys)";

/// The API keys of a [`Store`].
#[derive(Clone, Debug)]
pub struct SqliteKeys {
    store: Store,
}

impl SqliteKeys {
    /// The keys in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Stores `key` if there is no key at all, revoked ones counted; `false` when there is. Of several servers that
    /// start at once, one makes the first key.
    pub async fn create_first(&self, key: &Key) -> PortResult<bool> {
        self.insert(CREATE_FIRST, key).await
    }

    async fn insert(&self, sql: &'static str, key: &Key) -> PortResult<bool> {
        let key = key.clone();
        let prefixes: Vec<_> = key
            .host_prefixes
            .iter()
            .map(hb_domain::HostPrefix::as_str)
            .collect();
        let prefixes = serde_json::Value::from(prefixes).to_string();
        let inserted = self
            .store
            .write(TABLE, Steps::One, move |connection| {
                connection.prepare_cached(sql)?.execute(params![
                    key.id.as_str(),
                    key.name.as_str(),
                    key.hash.as_bytes(),
                    key.fleet.as_str(),
                    key.scope.to_string(),
                    prefixes,
                    key.created.as_millis(),
                    key.expires.map(Timestamp::as_millis),
                    key.revoked.map(Timestamp::as_millis),
                    key.used.map(Timestamp::as_millis),
                ])
            })
            .await?;
        Ok(inserted == 1)
    }
}

#[async_trait]
impl Keys for SqliteKeys {
    async fn load(&self, id: &KeyId) -> PortResult<Option<Key>> {
        let id = id.clone();
        let found = self
            .store
            .read(TABLE, move |connection| find(connection, &id))
            .await?;
        row::found(&self.store.what(TABLE), found)
    }

    async fn create(&self, key: &Key) -> PortResult<bool> {
        self.insert(CREATE, key).await
    }

    async fn revoke(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>> {
        let id = id.clone();
        let revoked = self
            .store
            .write(TABLE, Steps::Several, move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE keys SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL",
                    )?
                    .execute(params![id.as_str(), at.as_millis()])?;
                find(connection, &id)
            })
            .await?;
        row::found(&self.store.what(TABLE), revoked)
    }

    async fn expire(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>> {
        let id = id.clone();
        let expired = self
            .store
            .write(TABLE, Steps::Several, move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE keys SET expires = min(ifnull(expires, ?2), ?2) WHERE id = ?1",
                    )?
                    .execute(params![id.as_str(), at.as_millis()])?;
                find(connection, &id)
            })
            .await?;
        row::found(&self.store.what(TABLE), expired)
    }

    async fn note_use(&self, id: &KeyId, at: Timestamp) -> PortResult<()> {
        let id = id.clone();
        self.store
            .write(TABLE, Steps::One, move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE keys SET used = max(ifnull(used, ?2), ?2) WHERE id = ?1",
                    )?
                    .execute(params![id.as_str(), at.day().as_millis()])
            })
            .await
            .map(drop)
    }

    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Key>> {
        let [id] = row::position(after.as_ref())?;
        self.store
            .read(TABLE, move |connection| {
                let mut statement = connection.prepare_cached(LIST)?;
                row::page(statement.query(params![id, row::PAGE])?, 1, key)
            })
            .await
    }
}

fn find(connection: &Connection, id: &KeyId) -> rusqlite::Result<Option<Decoded<Key>>> {
    let mut statement = connection.prepare_cached(LOAD)?;
    row::first(statement.query([id.as_str()])?, 1, key)
}

fn key(row: &Row<'_>) -> Result<Key, row::Cause> {
    Ok(Key {
        id: row::parsed(row, "id")?,
        name: row::parsed(row, "name")?,
        hash: SecretHash::from_bytes(row::get(row, "hash")?),
        fleet: row::parsed(row, "fleet")?,
        scope: row::parsed(row, "scope")?,
        host_prefixes: serde_json::from_str(&row::get::<String>(row, "prefixes")?)
            .map_err(|e| format!("column prefixes: {e}"))?,
        created: row::instant(row, "created")?,
        expires: row::optional_instant(row, "expires")?,
        revoked: row::optional_instant(row, "revoked")?,
        used: row::optional_instant(row, "used")?,
    })
}
