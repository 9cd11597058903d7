//! What admins did, in SQLite.

use async_trait::async_trait;
use hb_domain::{Act, ActId, Timestamp, limits};
use hb_service::ports::{Audit, Cursor, Page, PortError, PortResult};
use rusqlite::{Row, params};

use crate::row;
use crate::store::{Steps, Store};

const TABLE: &str = "audit";

const RECORD: &str = "INSERT INTO audit (id, act) VALUES (?1, ?2) ON CONFLICT DO NOTHING";

/// With each act at most two old ones go: the table does not grow, and a clock that shows another year loses little.
const CLEAN: &str = "
    DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < ?1 ORDER BY id LIMIT 2)";

const LIST: &str = "SELECT id, act FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2";

#[async_trait]
impl Audit for Store {
    #[tracing::instrument(level = "debug", skip_all, fields(act = %act.kind), err(level = "debug"))]
    async fn record(&self, act: &Act) -> PortResult<()> {
        let id = act.id.clone();
        let over = ActId::before(act.at.minus(limits::AUDIT_KEPT));
        let act = serde_json::to_string(act)
            .map_err(|e| PortError::unreadable(self.what(TABLE), id.as_str(), e))?;
        self.write(TABLE, Steps::Several, move |connection| {
            let mut record = connection.prepare_cached(RECORD)?;
            record.execute(params![id.as_str(), act])?;
            connection.prepare_cached(CLEAN)?.execute([over]).map(drop)
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn list(&self, since: Timestamp, after: Option<Cursor>) -> PortResult<Page<Act>> {
        let after = after.unwrap_or_else(|| row::behind(&[&ActId::before(since)]));
        let [id] = row::position(Some(&after))?;
        self.read(TABLE, move |connection| {
            let mut statement = connection.prepare_cached(LIST)?;
            row::page(statement.query(params![id, row::PAGE])?, 1, act)
        })
        .await
    }
}

pub(crate) fn act(row: &Row<'_>) -> Result<Act, row::Cause> {
    serde_json::from_str(&row::get::<String>(row, "act")?).map_err(|e| format!("column act: {e}"))
}
