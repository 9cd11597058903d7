//! The last completed sweeps, in SQLite.

use async_trait::async_trait;
use hb_domain::Region;
use hb_service::ports::{CompletedSweep, PortError, PortResult, System};
use rusqlite::{Connection, Row, params};

use crate::row;
use crate::store::{Steps, Store};

const TABLE: &str = "system";

const LAST: &str = "SELECT name, value FROM system WHERE name = ?1";

/// Replaces an unreadable value: the next completed sweep repairs it.
const RECORD: &str = "
    INSERT INTO system (name, value) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE
        CASE WHEN json_valid(system.value)
        THEN ifnull(system.value ->> 'began' <= excluded.value ->> 'began', 1) ELSE 1 END";

#[async_trait]
impl System for Store {
    #[tracing::instrument(level = "debug", skip_all, fields(%region), err(level = "debug"))]
    async fn last_sweep(&self, region: &Region) -> PortResult<Option<CompletedSweep>> {
        let name = name(region);
        let found = self.read(TABLE, move |connection| {
            let mut statement = connection.prepare_cached(LAST)?;
            row::first(statement.query([name])?, 1, sweep)
        });
        row::found(&self.what(TABLE), found.await?)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%region), err(level = "debug"))]
    async fn record_sweep(&self, region: &Region, completed: &CompletedSweep) -> PortResult<()> {
        let name = name(region);
        let value = serde_json::to_string(completed)
            .map_err(|e| PortError::unreadable(self.what(TABLE), &name, e))?;
        self.write(TABLE, Steps::One, move |connection| {
            let mut record = connection.prepare_cached(RECORD)?;
            record.execute(params![name, value]).map(drop)
        })
        .await
    }
}

fn name(region: &Region) -> String {
    format!("sweep/{region}")
}

fn sweep(row: &Row<'_>) -> Result<CompletedSweep, row::Cause> {
    serde_json::from_str(&row::get::<String>(row, "value")?).map_err(|e| e.to_string())
}

/// Writes a value that differs from the stored one: an equal one would not reach the disk.
pub(crate) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "INSERT INTO system (name, value) VALUES ('probe', '1')
        ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)";
    connection.prepare_cached(sql)?.execute([]).map(drop)
}
