//! Records in SQLite: ledger entries, digests and receivers, each one row, swapped by its version.

use async_trait::async_trait;
use hb_service::codec;
use hb_service::ports::{
    Cursor, Ledger, Page, PortError, PortResult, Record, Stored, Swap, Version,
};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::row::{self, Decoded};
use crate::store::{Steps, Store};

/// The records of a [`Store`], of every kind: each kind has a table of its own, and all tables look alike.
#[derive(Clone, Debug)]
pub struct SqliteLedger {
    store: Store,
}

impl SqliteLedger {
    /// The records in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

fn load_sql(table: &str) -> String {
    format!("SELECT key, version, writer, record FROM {table} WHERE key = ?1")
}

fn open_sql(table: &str) -> String {
    format!(
        "SELECT key, version, writer, record FROM {table} WHERE open = 1 AND key > ?1 ORDER BY key LIMIT ?2"
    )
}

fn insert_sql(table: &str) -> String {
    format!(
        "INSERT INTO {table} (key, version, writer, open, record) VALUES (?1, 1, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING"
    )
}

fn replace_sql(table: &str) -> String {
    format!(
        "UPDATE {table} SET version = version + 1, writer = ?3, open = ?4, record = ?5
         WHERE key = ?1 AND version = ?2"
    )
}

#[async_trait]
impl<T: Record> Ledger<T> for SqliteLedger {
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        let key = key.to_string();
        let found = self
            .store
            .read(T::TABLE, move |connection| find(connection, &key))
            .await?;
        row::found(&self.store.what(T::TABLE), found)
    }

    async fn swap(
        &self,
        entry: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        let key = entry.key().to_string();
        let text = codec::encode(entry)
            .map_err(|error| PortError::unreadable(self.store.what(T::TABLE), &key, error))?;
        // A version that SQLite cannot hold was never given out.
        let version = expected.map(|version| i64::try_from(version).unwrap_or(-1));
        let open = entry.is_open();
        let current = self
            .store
            .write(T::TABLE, Steps::Several, move |connection| {
                let sql = if version.is_some() {
                    replace_sql(T::TABLE)
                } else {
                    insert_sql(T::TABLE)
                };
                let values = params![key, version, writer.to_string(), open, text];
                let changed = connection.prepare_cached(&sql)?.execute(values)?;
                if changed == 1 {
                    Ok(None)
                } else {
                    find(connection, &key).map(Some)
                }
            })
            .await?;
        match current {
            None => Ok(Swap::Done(expected.unwrap_or(0) + 1)),
            Some(found) => Ok(Swap::Conflict(row::found(
                &self.store.what(T::TABLE),
                found,
            )?)),
        }
    }

    async fn open(&self, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        let [key] = row::position(after.as_ref())?;
        self.store
            .read(T::TABLE, move |connection| {
                let mut statement = connection.prepare_cached(&open_sql(T::TABLE))?;
                row::page(statement.query(params![key, row::PAGE])?, 1, stored)
            })
            .await
    }
}

fn find<T: Record>(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<Decoded<Stored<T>>>> {
    let mut statement = connection.prepare_cached(&load_sql(T::TABLE))?;
    row::first(statement.query([key])?, 1, stored)
}

fn stored<T: Record>(row: &Row<'_>) -> Result<Stored<T>, row::Cause> {
    let entry: T = codec::decode(&row::get::<String>(row, "record")?).map_err(|e| e.to_string())?;
    if entry.key().to_string() != row::get::<String>(row, "key")? {
        return Err(format!("the record is of {}", entry.key()));
    }
    let version = row::get::<i64>(row, "version")?;
    Ok(Stored {
        record: entry,
        version: version
            .try_into()
            .map_err(|_| format!("column version: {version} is negative"))?,
        writer: row::parsed(row, "writer")?,
    })
}

#[cfg(test)]
mod tests {
    use hb_domain::{Digest, Entry, Receiver};

    use super::*;

    #[test]
    fn a_page_of_open_records_is_a_seek() {
        for table in [Entry::TABLE, Digest::TABLE, Receiver::TABLE] {
            let plan = crate::schema::plan(&open_sql(table));
            assert_eq!(
                plan,
                format!("SEARCH {table} USING INDEX {table}_open (key>?)")
            );
        }
    }
}
