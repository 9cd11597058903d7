//! Records in SQLite: ledger entries, digests and receivers. Each kind has a table of its own, all tables look alike,
//! and a record is one row that is swapped by its version.

use async_trait::async_trait;
use hb_service::codec;
use hb_service::ports::{
    Cursor, Ledger, Page, PortError, PortResult, Record, Stored, Swap, Version,
};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::row::{self, Decoded};
use crate::store::{Steps, Store};

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
impl<T: Record> Ledger<T> for Store {
    #[tracing::instrument(level = "debug", skip_all, fields(table = T::TABLE, %key), err(level = "debug"))]
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        let key = key.to_string();
        let found = self.read(T::TABLE, move |connection| find(connection, &key));
        row::found(&self.what(T::TABLE), found.await?)
    }

    #[tracing::instrument(
        level = "debug",
        skip_all,
        fields(table = T::TABLE, key = %record.key(), ?expected),
        err(level = "debug")
    )]
    async fn swap(
        &self,
        record: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        let key = record.key().to_string();
        let text = codec::encode(record)
            .map_err(|error| PortError::unreadable(self.what(T::TABLE), &key, error))?;
        // No version beyond what SQLite can hold was ever assigned.
        let version = expected.map(|version| i64::try_from(version).unwrap_or(-1));
        let open = record.is_open();
        let current = self.write(T::TABLE, Steps::Several, move |connection| {
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
        });
        match current.await? {
            None => Ok(Swap::Done(expected.unwrap_or(0) + 1)),
            Some(found) => Ok(Swap::Conflict(row::found(&self.what(T::TABLE), found)?)),
        }
    }

    #[tracing::instrument(level = "debug", skip_all, fields(table = T::TABLE), err(level = "debug"))]
    async fn open(&self, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        let [key] = row::position(after.as_ref())?;
        self.read(T::TABLE, move |connection| {
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
    let record: T =
        codec::decode(&row::get::<String>(row, "record")?).map_err(|e| e.to_string())?;
    if record.key().to_string() != row::get::<String>(row, "key")? {
        return Err(format!("the record belongs to {}", record.key()));
    }
    let version = row::get::<i64>(row, "version")?;
    Ok(Stored {
        record,
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
