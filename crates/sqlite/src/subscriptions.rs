//! Subscriptions in SQLite, without the console, which has no row.
//!
//! An e-mail address gets nothing but a request to confirm until it is confirmed: a typo must not mail a stranger for
//! ever. A URL needs no confirmation: nothing is lost where a wrong one leads.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hb_domain::{
    ConfirmationToken, Filter, Protocol, Subscription, SubscriptionId, SubscriptionState,
};
use hb_service::ports::{CONSOLE, Cursor, Page, PortError, PortResult, Subscriptions};
use rusqlite::{OptionalExtension, Row, params};

use crate::deliveries;
use crate::row;
use crate::store::{Steps, Store};

const TABLE: &str = "subscriptions";

const INSERT: &str = "
    INSERT INTO subscriptions (id, protocol, address, filter, created, token)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";

const LIST: &str = "
    SELECT id, protocol, address, filter, created FROM subscriptions
    WHERE id > ?1 ORDER BY id LIMIT ?2";

const CONFIRM: &str = "UPDATE subscriptions SET token = NULL WHERE token = ?1 RETURNING id";

#[async_trait]
impl Subscriptions for Store {
    #[tracing::instrument(
        level = "debug",
        skip_all,
        fields(id = %subscription.id, protocol = %subscription.endpoint.protocol()),
        err(level = "debug")
    )]
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
            .map_err(|e| PortError::unreadable(self.what(TABLE), id.to_string(), e))?;
        let added = self.write(TABLE, Steps::Several, move |connection| {
            let added = connection.prepare_cached(INSERT)?.execute(params![
                id.as_str(),
                endpoint.protocol().to_string(),
                endpoint.address(),
                filter,
                created.as_millis(),
                token,
            ])?;
            if added == 1 && token.is_some() {
                deliveries::request_confirmation(connection, &id, created)?;
            }
            Ok(added == 1)
        });
        let added = added.await?;
        self.delivery_added().notify_one();
        Ok(added)
    }

    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Subscription>> {
        let [id] = row::position(after.as_ref())?;
        self.read(TABLE, move |connection| {
            let mut statement = connection.prepare_cached(LIST)?;
            row::page(statement.query(params![id, row::PAGE])?, 1, subscription)
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn states(&self) -> PortResult<BTreeMap<SubscriptionId, SubscriptionState>> {
        self.read(TABLE, |connection| {
            let mut statement =
                connection.prepare_cached("SELECT id, token IS NULL AS ok FROM subscriptions")?;
            let state = |row: &Row<'_>| {
                let state = if row::get(row, "ok")? {
                    SubscriptionState::Confirmed
                } else {
                    SubscriptionState::Pending
                };
                Ok((row::parsed(row, "id")?, state))
            };
            let states = row::all(statement.query([])?, 1, state)?;
            // The listing reports an unreadable id.
            Ok(states.into_iter().flatten().collect())
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn confirm(&self, token: &ConfirmationToken) -> PortResult<Option<String>> {
        let token = token.reveal().to_owned();
        self.write(TABLE, Steps::Several, move |connection| {
            let id = connection
                .prepare_cached(CONFIRM)?
                .query_row([token], |row| row.get::<_, String>("id"))
                .optional()?;
            if let Some(Ok(id)) = id.as_deref().map(str::parse) {
                deliveries::confirmed(connection, &id)?;
            }
            Ok(id)
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%id), err(level = "debug"))]
    async fn remove(&self, id: &SubscriptionId) -> PortResult<bool> {
        let id = id.clone();
        self.write(TABLE, Steps::Several, move |connection| {
            deliveries::remove(connection, &id)?;
            let removed = connection
                .prepare_cached("DELETE FROM subscriptions WHERE id = ?1")?
                .execute([id.as_str()])?;
            Ok(removed == 1)
        })
        .await
    }
}

fn subscription(row: &Row<'_>) -> Result<Subscription, row::Cause> {
    Ok(Subscription {
        id: row::parsed(row, "id")?,
        endpoint: row::endpoint(row)?,
        filter: filter(row)?,
        created: row::instant(row, "created")?,
    })
}

/// The column `filter`.
pub(crate) fn filter(row: &Row<'_>) -> Result<Filter, row::Cause> {
    serde_json::from_str(&row::get::<String>(row, "filter")?)
        .map_err(|e| format!("column filter: {e}"))
}
