//! The last completed sweeps and checkpoints, in SQLite.

use async_trait::async_trait;
use hb_domain::{Region, Timestamp, limits};
use hb_service::ports::{Checkpoint, CompletedSweep, PortError, PortResult, System};
use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::row;
use crate::store::{Steps, Store};

const TABLE: &str = "system";

const LAST: &str = "SELECT name, value FROM system WHERE name = ?1";

/// Replaces an unreadable value, or one that is later than `?3`: the next completed sweep repairs it.
const RECORD: &str = "
    INSERT INTO system (name, value) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE
        CASE WHEN json_valid(system.value)
        THEN ifnull(system.value ->> 'began' <= excluded.value ->> 'began' OR system.value ->> 'began' > ?3, 1)
        ELSE 1 END";

#[async_trait]
impl System for Store {
    #[tracing::instrument(level = "debug", skip_all, fields(%region), err(level = "debug"))]
    async fn last_sweep(&self, region: &Region) -> PortResult<Option<CompletedSweep>> {
        self.value(format!("sweep/{region}")).await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%region), err(level = "debug"))]
    async fn record_sweep(&self, region: &Region, completed: &CompletedSweep) -> PortResult<()> {
        self.set_value(format!("sweep/{region}"), completed, completed.ended)
            .await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%region), err(level = "debug"))]
    async fn checkpoint(&self, region: &Region) -> PortResult<Option<Checkpoint>> {
        self.value(format!("checkpoint/{region}")).await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%region), err(level = "debug"))]
    async fn record_checkpoint(
        &self,
        region: &Region,
        checkpoint: &Checkpoint,
        now: Timestamp,
    ) -> PortResult<()> {
        self.set_value(format!("checkpoint/{region}"), checkpoint, now)
            .await
    }
}

impl Store {
    async fn value<T: DeserializeOwned + Send + 'static>(
        &self,
        name: String,
    ) -> PortResult<Option<T>> {
        let found = self.read(TABLE, move |connection| {
            let mut statement = connection.prepare_cached(LAST)?;
            row::first(statement.query([name])?, 1, decode)
        });
        row::found(&self.what(TABLE), found.await?)
    }

    /// Unless one that began later is stored, and not so much later than `now` that a wrong clock wrote it.
    async fn set_value(
        &self,
        name: String,
        value: &impl Serialize,
        now: Timestamp,
    ) -> PortResult<()> {
        let value = serde_json::to_string(value)
            .map_err(|e| PortError::unreadable(self.what(TABLE), &name, e))?;
        let ahead = now.plus(limits::FUTURE_SKEW).as_millis();
        self.write(TABLE, Steps::One, move |connection| {
            let mut record = connection.prepare_cached(RECORD)?;
            record.execute(params![name, value, ahead]).map(drop)
        })
        .await
    }
}

pub(crate) fn decode<T: DeserializeOwned>(row: &Row<'_>) -> Result<T, row::Cause> {
    serde_json::from_str(&row::get::<String>(row, "value")?).map_err(|e| e.to_string())
}

/// Writes a value that differs from the stored one: an equal one would not reach the disk.
pub(crate) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "INSERT INTO system (name, value) VALUES ('probe', '1')
        ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)";
    connection.prepare_cached(sql)?.execute([]).map(drop)
}
