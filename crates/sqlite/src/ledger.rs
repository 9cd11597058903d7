//! Records in SQLite: ledger entries, digests, fleets and receivers. Each kind has a table of its own, all tables look alike,
//! and a record is one row that is swapped by its version.

use async_trait::async_trait;
use hb_service::codec;
use hb_service::ports::{
    Cursor, Ledger, Page, PortError, PortResult, Proposal, Record, Segment, Stored, Swap, Version,
    load_each, swap_each,
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
        let row = self.row(record, expected, writer)?;
        let current = self.write(T::TABLE, Steps::Several, move |connection| {
            row.swap::<T>(connection)
        });
        self.swapped(expected, current.await?)
    }

    /// All in one transaction: when it fails, so does each of them.
    #[tracing::instrument(level = "debug", skip_all, fields(table = T::TABLE, swaps = swaps.len()))]
    async fn swap_many(&self, swaps: &[Proposal<T>]) -> Vec<PortResult<Swap<T>>> {
        let rows = swaps
            .iter()
            .map(|swap| self.row(&swap.record, swap.expected, swap.writer));
        let (rows, bad): (Vec<_>, Vec<_>) = rows.partition(Result::is_ok);
        if !bad.is_empty() || rows.len() < 2 {
            return swap_each(self, swaps).await;
        }
        let rows: Vec<_> = rows.into_iter().flatten().collect();
        let swapped = self.write(T::TABLE, Steps::Several, move |connection| {
            rows.iter()
                .map(|row| row.swap::<T>(connection))
                .collect::<Result<Vec<_>, _>>()
        });
        match swapped.await {
            Ok(found) => swaps
                .iter()
                .zip(found)
                .map(|(swap, found)| self.swapped(swap.expected, found))
                .collect(),
            Err(_) => swap_each(self, swaps).await,
        }
    }

    #[tracing::instrument(level = "debug", skip_all, fields(table = T::TABLE, keys = keys.len()))]
    async fn load_many(&self, keys: &[T::Key]) -> Vec<PortResult<Option<Stored<T>>>> {
        let names: Vec<_> = keys.iter().map(ToString::to_string).collect();
        let found = self.read(T::TABLE, move |connection| {
            names
                .iter()
                .map(|key| find(connection, key))
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        if let Ok(found) = found.await {
            let what = self.what(T::TABLE);
            return found
                .into_iter()
                .map(|found| row::found(&what, found))
                .collect();
        }
        load_each(self, keys).await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(table = T::TABLE), err(level = "debug"))]
    async fn open(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        if segment.index > 0 {
            return Ok(Page::default());
        }
        let [key] = row::position(after.as_ref())?;
        self.read(T::TABLE, move |connection| {
            let mut statement = connection.prepare_cached(&open_sql(T::TABLE))?;
            row::page(statement.query(params![key, row::PAGE])?, 1, stored)
        })
        .await
    }
}

/// Whether a row was swapped in; the error is what stands in its place.
type RowSwap<T> = Result<(), Option<Decoded<Stored<T>>>>;

/// A record as a row, to be swapped in.
struct SwapRow {
    key: String,
    /// `None` when there is no row.
    version: Option<i64>,
    writer: String,
    open: bool,
    text: String,
}

impl SwapRow {
    fn swap<T: Record>(&self, connection: &Connection) -> rusqlite::Result<RowSwap<T>> {
        let sql = if self.version.is_some() {
            replace_sql(T::TABLE)
        } else {
            insert_sql(T::TABLE)
        };
        let values = params![self.key, self.version, self.writer, self.open, self.text];
        let changed = connection.prepare_cached(&sql)?.execute(values)?;
        if changed == 1 {
            Ok(Ok(()))
        } else {
            find(connection, &self.key).map(Err)
        }
    }
}

impl Store {
    fn row<T: Record>(
        &self,
        record: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<SwapRow> {
        let key = record.key().to_string();
        let text = codec::encode(record)
            .map_err(|error| PortError::unreadable(self.what(T::TABLE), &key, error))?;
        Ok(SwapRow {
            key,
            // No version beyond what SQLite can hold was ever assigned.
            version: expected.map(|version| i64::try_from(version).unwrap_or(-1)),
            writer: writer.to_string(),
            open: record.is_open(),
            text,
        })
    }

    fn swapped<T: Record>(
        &self,
        expected: Option<Version>,
        swapped: RowSwap<T>,
    ) -> PortResult<Swap<T>> {
        match swapped {
            Ok(()) => Ok(Swap::Done(expected.unwrap_or(0) + 1)),
            Err(found) => Ok(Swap::Conflict(row::found(&self.what(T::TABLE), found)?)),
        }
    }
}

fn find<T: Record>(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<Decoded<Stored<T>>>> {
    let mut statement = connection.prepare_cached(&load_sql(T::TABLE))?;
    row::first(statement.query([key])?, 1, stored)
}

pub(crate) fn stored<T: Record>(row: &Row<'_>) -> Result<Stored<T>, row::Cause> {
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
    use hb_domain::{Digest, Entry, FleetRecord, Receiver};

    use super::*;

    #[test]
    fn a_page_of_open_records_is_a_seek() {
        for table in [
            Entry::TABLE,
            Digest::TABLE,
            FleetRecord::TABLE,
            Receiver::TABLE,
        ] {
            let plan = crate::schema::plan(&open_sql(table));
            assert_eq!(
                plan,
                format!("SEARCH {table} USING INDEX {table}_open (key>?)")
            );
        }
    }
}
