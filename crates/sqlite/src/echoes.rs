//! Echoes of the topic on one machine, read from the rows of its notices.

use async_trait::async_trait;
use hb_service::codec;
use hb_service::ports::{Echo, Echoes, Page, PortResult};
use rusqlite::{Row, params};

use crate::row;
use crate::store::{Steps, Store};

const TABLE: &str = "notices";

const RECEIVE: &str =
    "SELECT identity, notice FROM notices WHERE echoed = 0 ORDER BY identity LIMIT ?1";

const ACKNOWLEDGE: &str = "
    UPDATE notices SET echoed = 1
    WHERE echoed = 0 AND identity IN (SELECT value FROM json_each(?1))";

#[async_trait]
impl Echoes for Store {
    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn receive(&self, _: bool) -> PortResult<Page<Echo>> {
        let page = self.read(TABLE, |connection| {
            let mut statement = connection.prepare_cached(RECEIVE)?;
            row::page(statement.query([row::PAGE])?, 1, echo)
        });
        Ok(Page {
            next: None,
            ..page.await?
        })
    }

    #[tracing::instrument(level = "debug", skip_all, fields(?receipts), err(level = "debug"))]
    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()> {
        let identities = serde_json::Value::from(receipts).to_string();
        self.write(TABLE, Steps::One, move |connection| {
            let mut acknowledge = connection.prepare_cached(ACKNOWLEDGE)?;
            acknowledge.execute(params![identities]).map(drop)
        })
        .await
    }
}

pub(crate) fn echo(row: &Row<'_>) -> Result<Echo, row::Cause> {
    let notice =
        codec::decode_notice(&row::get::<String>(row, "notice")?).map_err(|e| e.to_string())?;
    Ok(Echo {
        subject: notice.subject(),
        attempt: notice.attempt,
        receipt: row::get(row, "identity")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receiving_no_echoes_is_one_index_lookup() {
        let plan = crate::schema::plan(RECEIVE);
        assert_eq!(plan, "SCAN notices USING INDEX notices_to_echo");
    }
}
