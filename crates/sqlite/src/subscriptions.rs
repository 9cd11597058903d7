//! Subscriptions in SQLite, without the console, which has no row.
//!
//! An e-mail address gets nothing but a request to confirm until it is confirmed: a typo must not mail a stranger for
//! ever. A URL needs no confirmation: nothing is lost where a wrong one leads.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    ConfirmationToken, Filter, Protocol, Subscription, SubscriptionId, SubscriptionState,
    Timestamp, Webhook, WebhookSecret,
};
use hb_service::ports::{CONSOLE, Cursor, Page, PortError, PortResult, Subscriptions};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::deliveries;
use crate::row;
use crate::store::{Steps, Store};

const TABLE: &str = "subscriptions";

const INSERT: &str = "
    INSERT INTO subscriptions (id, protocol, address, filter, created, token, webhook)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";

const LIST: &str = "
    SELECT id, protocol, address, filter, created, webhook FROM subscriptions
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
            webhook,
            created,
        } = subscription.clone();
        if id.as_str() == CONSOLE {
            return Ok(false);
        }
        let token = (endpoint.protocol() == Protocol::Email).then(|| token.reveal().to_owned());
        let unwritable = |e| PortError::unreadable(self.what(TABLE), id.to_string(), e);
        let filter = serde_json::to_string(&filter).map_err(unwritable)?;
        let webhook = (webhook != Webhook::default()).then(|| serde_json::to_string(&webhook));
        let webhook = webhook.transpose().map_err(unwritable)?;
        let added = self.write(TABLE, Steps::Several, move |connection| {
            let added = connection.prepare_cached(INSERT)?.execute(params![
                id.as_str(),
                endpoint.protocol().to_string(),
                endpoint.address(),
                filter,
                created.as_millis(),
                token,
                webhook,
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

pub(crate) fn subscription(row: &Row<'_>) -> Result<Subscription, row::Cause> {
    Ok(Subscription {
        id: row::parsed(row, "id")?,
        endpoint: row::endpoint(row)?,
        filter: filter(row)?,
        webhook: row::webhook(row)?,
        created: row::instant(row, "created")?,
    })
}

/// Gives the webhook of `id` one more secret; `false` when there is none. What cannot be read of the earlier ones is
/// replaced.
pub(crate) fn rotate_secret(
    connection: &Connection,
    id: &SubscriptionId,
    secret: WebhookSecret,
    now: Timestamp,
    overlap: Duration,
) -> rusqlite::Result<bool> {
    let known = connection
        .prepare_cached("SELECT webhook FROM subscriptions WHERE id = ?1")?
        .query_row([id.as_str()], |row| Ok(row::webhook(row)))
        .optional()?;
    let Some(known) = known else {
        return Ok(false);
    };
    let rotated = known.unwrap_or_default().rotated(secret, now, overlap);
    let rotated = serde_json::to_string(&rotated)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .prepare_cached("UPDATE subscriptions SET webhook = ?2 WHERE id = ?1")?
        .execute([id.as_str(), &rotated])?;
    Ok(true)
}

/// The column `filter`.
pub(crate) fn filter(row: &Row<'_>) -> Result<Filter, row::Cause> {
    serde_json::from_str(&row::get::<String>(row, "filter")?)
        .map_err(|e| format!("column filter: {e}"))
}
