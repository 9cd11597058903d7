//! The ledger in SQLite: an entry is one row, swapped by its version.

use async_trait::async_trait;
use hb_domain::{Entry, HostKey};
use hb_service::codec;
use hb_service::ports::{Cursor, Ledger, Page, PortError, PortResult, Stored, Swap, Version};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::row::{self, Decoded};
use crate::store::{Steps, Store};

const TABLE: &str = "ledger";

const LOAD: &str = "SELECT fleet, host, version, writer, entry FROM ledger WHERE fleet = ?1 AND host = ?2";

const OPEN: &str = "
    SELECT fleet, host, version, writer, entry FROM ledger
    WHERE open = 1 AND (fleet, host) > (?1, ?2)
    ORDER BY fleet, host LIMIT ?3";

const INSERT: &str = "
    INSERT INTO ledger (fleet, host, version, writer, open, entry) VALUES (?1, ?2, 1, ?4, ?5, ?6)
    ON CONFLICT DO NOTHING";

const REPLACE: &str = "
    UPDATE ledger SET version = version + 1, writer = ?4, open = ?5, entry = ?6
    WHERE fleet = ?1 AND host = ?2 AND version = ?3";

/// The ledger of a [`Store`].
#[derive(Clone, Debug)]
pub struct SqliteLedger {
    store: Store,
}

impl SqliteLedger {
    /// The ledger in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn load(&self, host: &HostKey) -> PortResult<Option<Stored>> {
        let host = host.clone();
        let found = self.store.read(TABLE, move |connection| find(connection, &host)).await?;
        row::found(&self.store.what(TABLE), found)
    }

    async fn swap(&self, entry: &Entry, expected: Option<Version>, writer: Uuid) -> PortResult<Swap> {
        let text = codec::encode_entry(entry)
            .map_err(|e| PortError::unreadable(self.store.what(TABLE), entry.key.to_string(), e))?;
        // A version that SQLite cannot hold was never given out.
        let version = expected.map(|version| i64::try_from(version).unwrap_or(-1));
        let (key, open) = (entry.key.clone(), entry.is_open());
        let current = self
            .store
            .write(TABLE, Steps::Several, move |connection| {
                let sql = if version.is_some() { REPLACE } else { INSERT };
                let (fleet, host) = (key.fleet.as_str(), key.host.as_str());
                let values = params![fleet, host, version, writer.to_string(), open, text];
                let changed = connection.prepare_cached(sql)?.execute(values)?;
                if changed == 1 { Ok(None) } else { find(connection, &key).map(Some) }
            })
            .await?;
        match current {
            None => Ok(Swap::Done(expected.unwrap_or(0) + 1)),
            Some(found) => Ok(Swap::Conflict(row::found(&self.store.what(TABLE), found)?)),
        }
    }

    async fn open(&self, after: Option<Cursor>) -> PortResult<Page<Stored>> {
        let [fleet, host] = row::position(after.as_ref())?;
        self.store
            .read(TABLE, move |connection| {
                let mut statement = connection.prepare_cached(OPEN)?;
                row::page(statement.query(params![fleet, host, row::PAGE])?, 2, stored)
            })
            .await
    }
}

fn find(connection: &Connection, host: &HostKey) -> rusqlite::Result<Option<Decoded<Stored>>> {
    let mut statement = connection.prepare_cached(LOAD)?;
    row::first(statement.query([host.fleet.as_str(), host.host.as_str()])?, 2, stored)
}

fn stored(row: &Row<'_>) -> Result<Stored, row::Cause> {
    let entry = codec::decode_entry(&row::get::<String>(row, "entry")?).map_err(|e| e.to_string())?;
    let key = HostKey::new(row::parsed(row, "fleet")?, row::parsed(row, "host")?);
    if entry.key != key {
        return Err(format!("the entry is of {}", entry.key));
    }
    let version = row::get::<i64>(row, "version")?;
    Ok(Stored {
        entry,
        version: version.try_into().map_err(|_| format!("column version: {version} is negative"))?,
        writer: row::parsed(row, "writer")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_open_entries_is_a_seek() {
        let plan = crate::schema::plan(OPEN);
        assert_eq!(plan, "SEARCH ledger USING INDEX ledger_open ((fleet,host)>(?,?))");
    }
}
