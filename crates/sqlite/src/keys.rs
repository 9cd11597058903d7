//! API keys in SQLite. Of a secret only its SHA-256 is stored.

use async_trait::async_trait;
use hb_domain::{HostPrefix, Key, KeyId, KeyLimits, SecretHash, Timestamp};
use hb_service::ports::{Cursor, Keys, Page, PortResult};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use crate::row::{self, Decoded};
use crate::store::{Steps, Store};

const TABLE: &str = "keys";

const LOAD: &str = "
    SELECT id, name, hash, fleet, scope, prefixes, created, expires, revoked, used, max_hosts, max_interval, hosts
    FROM keys WHERE id = ?1";

const LIST: &str = "
    SELECT id, name, hash, fleet, scope, prefixes, created, expires, revoked, used, max_hosts, max_interval, hosts
    FROM keys
    WHERE id > ?1 ORDER BY id LIMIT ?2";

const CREATE: &str = "
    INSERT INTO keys (id, name, hash, fleet, scope, prefixes, created, expires, revoked, used, max_hosts, max_interval)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT DO NOTHING";

const CREATE_FIRST: &str = "
    INSERT INTO keys (id, name, hash, fleet, scope, prefixes, created, expires, revoked, used, max_hosts, max_interval)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 WHERE NOT EXISTS (SELECT 1 FROM keys)";

const REVOKE: &str = "UPDATE keys SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL";

const EXPIRE: &str = "UPDATE keys SET expires = min(ifnull(expires, ?2), ?2) WHERE id = ?1";

const LIMIT: &str = "UPDATE keys SET max_hosts = ?2, max_interval = ?3 WHERE id = ?1";

const NOTE_USE: &str = "UPDATE keys SET used = max(ifnull(used, ?2), ?2) WHERE id = ?1";

impl Store {
    /// Stores `key` if there is no key at all, not even a revoked one; `false` otherwise. Of several servers that
    /// start at once, one creates the first key.
    #[tracing::instrument(level = "debug", skip_all, fields(id = %key.id), err(level = "debug"))]
    pub async fn create_first_key(&self, key: &Key) -> PortResult<bool> {
        self.insert_key(CREATE_FIRST, key).await
    }

    async fn insert_key(&self, sql: &'static str, key: &Key) -> PortResult<bool> {
        let key = key.clone();
        let prefixes = key.host_prefixes.iter().map(HostPrefix::as_str);
        let prefixes = prefixes.collect::<serde_json::Value>().to_string();
        self.write(TABLE, Steps::One, move |connection| {
            let inserted = connection.prepare_cached(sql)?.execute(params![
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
                key.limits.hosts,
                key.limits.interval.map(row::millis),
            ])?;
            Ok(inserted == 1)
        })
        .await
    }

    /// Runs `sql` with the id and `values`; gives the key as it then is.
    async fn change_key(
        &self,
        sql: &'static str,
        id: &KeyId,
        values: Vec<Option<i64>>,
    ) -> PortResult<Option<Key>> {
        let id = *id;
        let changed = self.write(TABLE, Steps::Several, move |connection| {
            let mut values: Vec<Value> = values.into_iter().map(Value::from).collect();
            values.insert(0, id.as_str().to_owned().into());
            connection
                .prepare_cached(sql)?
                .execute(params_from_iter(values))?;
            find(connection, &id)
        });
        row::found(&self.what(TABLE), changed.await?)
    }
}

#[async_trait]
impl Keys for Store {
    #[tracing::instrument(level = "debug", skip_all, fields(%id), err(level = "debug"))]
    async fn load(&self, id: &KeyId) -> PortResult<Option<Key>> {
        let id = *id;
        let found = self.read(TABLE, move |connection| find(connection, &id));
        row::found(&self.what(TABLE), found.await?)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(id = %key.id), err(level = "debug"))]
    async fn create(&self, key: &Key) -> PortResult<bool> {
        self.insert_key(CREATE, key).await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%id), err(level = "debug"))]
    async fn revoke(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>> {
        self.change_key(REVOKE, id, vec![Some(at.as_millis())])
            .await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%id), err(level = "debug"))]
    async fn expire(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>> {
        self.change_key(EXPIRE, id, vec![Some(at.as_millis())])
            .await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%id), err(level = "debug"))]
    async fn note_use(&self, id: &KeyId, at: Timestamp) -> PortResult<()> {
        let id = *id;
        self.write(TABLE, Steps::One, move |connection| {
            let values = params![id.as_str(), at.day().as_millis()];
            connection
                .prepare_cached(NOTE_USE)?
                .execute(values)
                .map(drop)
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%id), err(level = "debug"))]
    async fn limit(&self, id: &KeyId, limits: &KeyLimits) -> PortResult<Option<Key>> {
        let values = vec![
            limits.hosts.map(i64::from),
            limits.interval.map(row::millis),
        ];
        self.change_key(LIMIT, id, values).await
    }

    /// Triggers count.
    async fn note_hosts(&self, id: &KeyId, _: u32) -> PortResult<Option<Key>> {
        Keys::load(self, id).await
    }

    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Key>> {
        let [id] = row::position(after.as_ref())?;
        self.read(TABLE, move |connection| {
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

pub(crate) fn key(row: &Row<'_>) -> Result<Key, row::Cause> {
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
        limits: KeyLimits {
            hosts: row::get(row, "max_hosts")?,
            interval: row::optional_millis(row, "max_interval")?,
        },
        hosts: row::get(row, "hosts")?,
    })
}
