//! Subscriptions in SQLite.
//!
//! An e-mail address gets nothing but a question before it is confirmed: a typo must not mail a stranger for ever. A URL
//! needs no such proof, since whoever is there asked for nothing and loses nothing.

use async_trait::async_trait;
use std::collections::BTreeMap;

use hb_domain::{
    ConfirmationToken, Endpoint, Filter, Protocol, Subscription, SubscriptionId, SubscriptionState,
};
use hb_service::ports::{Cursor, Page, PortError, PortResult, Subscriptions};
use rusqlite::{OptionalExtension, Row, params};

use crate::row;
use crate::store::{Steps, Store};
use crate::topic;

const TABLE: &str = "subscriptions";

/// The subscription that every server has without asking: its own console. Its id is never given to another.
pub const CONSOLE: &str = "console";

const LIST: &str = "
    SELECT id, protocol, address, filter, created FROM subscriptions
    WHERE id > ?1 ORDER BY id LIMIT ?2";

/// The subscriptions of a [`Store`], without the console.
#[derive(Clone, Debug)]
pub struct SqliteSubscriptions {
    store: Store,
}

impl SqliteSubscriptions {
    /// The subscriptions in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Subscriptions for SqliteSubscriptions {
    async fn add(
        &self,
        subscription: &Subscription,
        token: &ConfirmationToken,
    ) -> PortResult<bool> {
        let Subscription {
            id,
            endpoint,
            filter,
            created,
        } = subscription.clone();
        if id.as_str() == CONSOLE {
            return Ok(false);
        }
        let token = (endpoint.protocol() == Protocol::Email).then(|| token.reveal().to_owned());
        let filter = serde_json::to_string(&filter)
            .map_err(|e| PortError::unreadable(self.store.what(TABLE), id.to_string(), e))?;
        let added = self
            .store
            .write(TABLE, Steps::Several, move |connection| {
                let added = connection
                    .prepare_cached(
                        "INSERT INTO subscriptions (id, protocol, address, filter, created, token)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![
                        id.as_str(),
                        endpoint.protocol().to_string(),
                        endpoint.address(),
                        filter,
                        created.as_millis(),
                        token,
                    ])?;
                if added == 1 && token.is_some() {
                    topic::ask(connection, id.as_str(), created.as_millis())?;
                }
                Ok(added)
            })
            .await?;
        self.store.announce();
        Ok(added == 1)
    }

    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Subscription>> {
        let [id] = row::position(after.as_ref())?;
        self.store
            .read(TABLE, move |connection| {
                let mut statement = connection.prepare_cached(LIST)?;
                row::page(statement.query(params![id, row::PAGE])?, 1, subscription)
            })
            .await
    }

    async fn states(&self) -> PortResult<BTreeMap<SubscriptionId, SubscriptionState>> {
        self.store
            .read(TABLE, |connection| {
                let mut statement = connection
                    .prepare_cached("SELECT id, token IS NULL AS ok FROM subscriptions")?;
                let state = |row: &Row<'_>| {
                    let confirmed: bool = row::get(row, "ok")?;
                    Ok((
                        row::parsed(row, "id")?,
                        if confirmed {
                            SubscriptionState::Confirmed
                        } else {
                            SubscriptionState::Pending
                        },
                    ))
                };
                // An id that cannot be read is told by the listing.
                Ok(row::all(statement.query([])?, 1, state)?
                    .into_iter()
                    .flatten()
                    .collect())
            })
            .await
    }

    async fn confirm(&self, token: &ConfirmationToken) -> PortResult<bool> {
        let token = token.reveal().to_owned();
        self.store
            .write(TABLE, Steps::Several, move |connection| {
                let sql = "UPDATE subscriptions SET token = NULL WHERE token = ?1 RETURNING id";
                let mut statement = connection.prepare_cached(sql)?;
                let id = statement
                    .query_row([token], |row| row.get::<_, String>(0))
                    .optional()?;
                let Some(id) = id else { return Ok(false) };
                // Who confirmed needs no further copy of the question.
                connection
                    .prepare_cached(
                        "DELETE FROM deliveries WHERE notice = ?1 AND state IN ('due', 'waiting')",
                    )?
                    .execute([topic::asking(&id)])?;
                Ok(true)
            })
            .await
    }

    async fn remove(&self, id: &SubscriptionId) -> PortResult<bool> {
        let id = id.clone();
        let removed = self
            .store
            .write(TABLE, Steps::Several, move |connection| {
                connection
                    .prepare_cached(
                        "DELETE FROM deliveries WHERE subscription = ?1 AND state IN ('due', 'waiting')
                         AND ?1 <> 'console'",
                    )?
                    .execute([id.as_str()])?;
                connection.prepare_cached("DELETE FROM subscriptions WHERE id = ?1")?.execute([id.as_str()])
            })
            .await?;
        Ok(removed == 1)
    }
}

fn subscription(row: &Row<'_>) -> Result<Subscription, row::Cause> {
    Ok(Subscription {
        id: row::parsed(row, "id")?,
        endpoint: endpoint(row)?,
        filter: filter(row)?,
        created: row::instant(row, "created")?,
    })
}

/// What the columns `protocol` and `address` say.
pub(crate) fn endpoint(row: &Row<'_>) -> Result<Endpoint, row::Cause> {
    let protocol = serde_json::Value::from(row::get::<String>(row, "protocol")?);
    let protocol: Protocol =
        serde_json::from_value(protocol).map_err(|e| format!("column protocol: {e}"))?;
    // The error of an address may show it, and of a webhook it is a secret.
    Endpoint::parse(protocol, &row::get::<String>(row, "address")?)
        .map_err(|_| format!("column address: not one of {protocol}"))
}

/// What the column `filter` says.
pub(crate) fn filter(row: &Row<'_>) -> Result<Filter, row::Cause> {
    serde_json::from_str(&row::get::<String>(row, "filter")?)
        .map_err(|e| format!("column filter: {e}"))
}
