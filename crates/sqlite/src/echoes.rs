//! What the topic accepted, told from its own rows.

use async_trait::async_trait;
use hb_service::codec;
use hb_service::ports::{Echo, Echoes, Page, PortResult};
use rusqlite::{Row, params};

use crate::row;
use crate::store::{Steps, Store};

const TABLE: &str = "notices";

const RECEIVE: &str =
    "SELECT identity, notice FROM notices WHERE echoed = 0 ORDER BY identity LIMIT ?1";

const ACKNOWLEDGE: &str = "UPDATE notices SET echoed = 1 WHERE echoed = 0 AND identity IN (SELECT value FROM json_each(?1))";

/// The echoes of the topic of a [`Store`].
#[derive(Clone, Debug)]
pub struct SqliteEchoes {
    store: Store,
}

impl SqliteEchoes {
    /// The echoes in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Echoes for SqliteEchoes {
    async fn receive(&self) -> PortResult<Page<Echo>> {
        let page = self.store.read(TABLE, |connection| {
            let mut statement = connection.prepare_cached(RECEIVE)?;
            row::page(statement.query([row::PAGE])?, 1, echo)
        });
        Ok(Page {
            next: None,
            ..page.await?
        })
    }

    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()> {
        let identities = serde_json::Value::from(receipts).to_string();
        let done = self.store.write(TABLE, Steps::One, move |connection| {
            connection
                .prepare_cached(ACKNOWLEDGE)?
                .execute(params![identities])
        });
        done.await.map(drop)
    }
}

fn echo(row: &Row<'_>) -> Result<Echo, row::Cause> {
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
    fn nothing_to_echo_costs_a_look_into_an_index() {
        let plan = crate::schema::plan(RECEIVE);
        assert_eq!(plan, "SCAN notices USING INDEX notices_to_echo");
    }
}
