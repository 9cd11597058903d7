//! Deliveries in SQLite: everything that reads or writes the tables `deliveries` and `lanes`.
//!
//! A delivery that is the first in all its lanes is `due`, all others are `waiting`. Retries and giving up are decided
//! elsewhere.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hb_domain::{Endpoint, Notice, Protocol, Subject, SubscriptionId, Timestamp};
use hb_service::codec;
use hb_service::ports::{
    CONSOLE, Content, Delivery, DeliveryOutcome, DeliveryQueue, LeasedDelivery, PortResult, Tally,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;
use uuid::Uuid;

use crate::row;
use crate::store::{Steps, Store};

const TABLE: &str = "deliveries";

/// `waiting` when one of its hosts has a delivery before it in the lanes of the subscription.
const INSERT: &str = "
    INSERT INTO deliveries (notice, subscription, host, accepted, due, state)
    VALUES (?1, ?2, ?3, ?4, ?4, iif(
        EXISTS (SELECT 1 FROM json_each(?5) AS concerned CROSS JOIN lanes
                ON lanes.subscription = ?2 AND lanes.host = concerned.value),
        'waiting', 'due'))
    ON CONFLICT DO NOTHING";

const ENTER_LANES: &str = "
    INSERT INTO lanes (subscription, host, number) SELECT ?1, value, ?2 FROM json_each(?3)
    WHERE true ON CONFLICT DO NOTHING";

const REMOVE: &str = "
    DELETE FROM deliveries WHERE subscription = ?1 AND state IN ('due', 'waiting') AND ?1 <> 'console'";

const REMOVE_CONFIRMATION: &str = "
    DELETE FROM deliveries WHERE notice = ?1 AND state IN ('due', 'waiting')";

/// Most rows that one cleaning deletes: beats wait for it.
const BATCH: u16 = 500;

/// One index lookup a subscription, however many deliveries there are.
const DUE: &str = "
    SELECT id FROM (SELECT id FROM subscriptions UNION ALL SELECT 'console') AS s
    WHERE EXISTS (SELECT 1 FROM deliveries WHERE subscription = s.id AND state = 'due' AND due <= ?1)";

const HEADS: &str = "
    SELECT number, subscription, tries, d.accepted, notice_text, protocol, address, token FROM (
        SELECT number, subscription, tries, deliveries.accepted, due, notices.notice AS notice_text
        FROM deliveries LEFT JOIN notices ON identity = deliveries.notice
        WHERE subscription = ?1 AND state = 'due' AND due <= ?2
          AND number NOT IN (SELECT value FROM json_each(?3))
        ORDER BY due, number LIMIT ?4
    ) AS d LEFT JOIN subscriptions ON id = subscription";

const LEASE: &str = "UPDATE deliveries SET owner = ?2, due = ?3 WHERE number = ?1";

/// Not conditional on the lease: the endpoint has accepted it.
const DELIVERED: &str = "
    UPDATE deliveries SET state = 'delivered', owner = NULL, error = NULL WHERE number = ?1 AND state = 'due'
    RETURNING subscription";

const DEAD: &str = "
    UPDATE deliveries SET state = 'dead', owner = NULL, tries = tries + 1, tried = ?3, error = ?4
    WHERE number = ?1 AND owner = ?2 AND state = 'due' RETURNING subscription";

const RETRY: &str = "
    UPDATE deliveries SET owner = NULL, tries = tries + 1, tried = ?3, error = ?4, due = ?5
    WHERE number = ?1 AND owner = ?2 AND state = 'due'";

const LEAVE_LANES: &str = "DELETE FROM lanes WHERE number = ?1 RETURNING host";

/// What is now the first in all its lanes.
const NEXT: &str = "
    UPDATE deliveries SET state = 'due', due = ?3 WHERE state = 'waiting' AND number IN (
        SELECT (SELECT min(number) FROM lanes WHERE subscription = ?1 AND host = value) FROM json_each(?2))
    AND NOT EXISTS (
        SELECT 1 FROM lanes AS mine CROSS JOIN lanes AS earlier
        ON earlier.subscription = mine.subscription AND earlier.host = mine.host AND earlier.number < mine.number
        WHERE mine.number = deliveries.number)";

/// The endpoint works again: its retries are due at once.
const REVIVE: &str = "
    UPDATE deliveries SET due = ?2 WHERE subscription = ?1 AND state = 'due' AND due > ?2 AND owner IS NULL";

const CLEAN_DELIVERIES: &str = "
    DELETE FROM deliveries WHERE number IN (
        SELECT number FROM deliveries WHERE state IN ('delivered', 'dead') AND accepted < ?1
        ORDER BY accepted LIMIT ?2)";

const CLEAN_NOTICES: &str = "
    DELETE FROM notices WHERE identity IN (
        SELECT identity FROM notices WHERE accepted < ?1
        AND NOT EXISTS (SELECT 1 FROM deliveries WHERE notice = identity)
        ORDER BY accepted LIMIT ?2)";

/// Rows by subscription and state.
const COUNTS: &str = "
    SELECT subscription, state, count(*) AS rows FROM deliveries GROUP BY subscription, state";

/// With `max`, SQLite takes the other columns from the row that has it.
const ERRORS: &str = "
    SELECT subscription, max(tried), error FROM deliveries
    WHERE state <> 'delivered' AND error IS NOT NULL GROUP BY subscription";

/// What all deliveries of one notice have in common.
pub(crate) struct Common {
    /// The identity of the notice.
    notice: String,
    /// A host, or something that stands for many.
    about: String,
    /// The names of the lanes, as JSON.
    lanes: String,
    accepted: i64,
}

impl Common {
    pub(crate) fn of(notice: &Notice, accepted: Timestamp) -> Self {
        let lanes = notice
            .host_ids()
            .map(|host| format!("{}/{host}", notice.fleet));
        Self {
            notice: notice.identity(),
            about: match notice.subject() {
                Subject::Host(key, _) => key.to_string(),
                Subject::Digest(_) => notice.identity(),
            },
            lanes: lanes.collect::<Value>().to_string(),
            accepted: accepted.as_millis(),
        }
    }

    /// The request to confirm `subscription`: a delivery without a notice, in a lane of its own.
    fn confirmation(subscription: &SubscriptionId, accepted: Timestamp) -> Self {
        let name = format!("#confirm/{subscription}");
        Self {
            lanes: Value::from([name.as_str()]).to_string(),
            about: name.clone(),
            notice: name,
            accepted: accepted.as_millis(),
        }
    }
}

/// Adds the delivery of a notice to `subscription`, behind what its hosts have in their lanes.
pub(crate) fn insert(
    connection: &Connection,
    common: &Common,
    subscription: &str,
) -> rusqlite::Result<()> {
    let Common {
        notice,
        about,
        lanes,
        accepted,
    } = common;
    let values = params![notice, subscription, about, accepted, lanes];
    if connection.prepare_cached(INSERT)?.execute(values)? == 1 {
        let number = connection.last_insert_rowid();
        let values = params![subscription, number, lanes];
        connection.prepare_cached(ENTER_LANES)?.execute(values)?;
    }
    Ok(())
}

/// Adds the only delivery that an unconfirmed subscription gets.
pub(crate) fn request_confirmation(
    connection: &Connection,
    subscription: &SubscriptionId,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let common = Common::confirmation(subscription, at);
    insert(connection, &common, subscription.as_str())
}

/// Stops further copies of the request that `subscription` has answered.
pub(crate) fn confirmed(
    connection: &Connection,
    subscription: &SubscriptionId,
) -> rusqlite::Result<()> {
    let Common { notice, .. } = Common::confirmation(subscription, Timestamp::MIN);
    let mut remove = connection.prepare_cached(REMOVE_CONFIRMATION)?;
    remove.execute([notice]).map(drop)
}

/// Deletes what `subscription` has not got yet.
pub(crate) fn remove(
    connection: &Connection,
    subscription: &SubscriptionId,
) -> rusqlite::Result<()> {
    let mut remove = connection.prepare_cached(REMOVE)?;
    remove.execute([subscription.as_str()]).map(drop)
}

/// Inserts a delivery and deletes it: fails when deliveries could not be added.
pub(crate) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    // No notice has the empty identity, and no other connection sees the row.
    let common = Common {
        notice: String::new(),
        about: String::new(),
        lanes: r#"[""]"#.to_owned(),
        accepted: 0,
    };
    insert(connection, &common, CONSOLE)?;
    let sql = "DELETE FROM deliveries WHERE notice = ''";
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

#[async_trait]
impl DeliveryQueue for Store {
    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn due(&self, now: Timestamp) -> PortResult<Vec<SubscriptionId>> {
        self.read(TABLE, move |connection| {
            let mut statement = connection.prepare_cached(DUE)?;
            let id = |row: &Row<'_>| row::parsed(row, "id");
            let ids = row::all(statement.query([now.as_millis()])?, 1, id)?;
            // The listing of the subscriptions reports an unreadable id.
            Ok(ids.into_iter().flatten().collect())
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%owner), err(level = "debug"))]
    async fn lease(
        &self,
        wanted: BTreeMap<SubscriptionId, usize>,
        running: Vec<i64>,
        owner: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> PortResult<Vec<LeasedDelivery>> {
        let running = Value::from(running).to_string();
        self.write(TABLE, Steps::Several, move |connection| {
            let mut leased = Vec::new();
            for (subscription, places) in wanted {
                let mut statement = connection.prepare_cached(HEADS)?;
                let places = i64::try_from(places).unwrap_or(i64::MAX);
                let id = subscription.as_str();
                let mut rows = statement.query(params![id, now.as_millis(), running, places])?;
                while let Some(row) = rows.next()? {
                    leased.push(head(row, &subscription)?);
                }
            }
            let mut lease = connection.prepare_cached(LEASE)?;
            for LeasedDelivery { number, .. } in &leased {
                lease.execute(params![number, owner.to_string(), until.as_millis()])?;
            }
            Ok(leased)
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%number, %owner), err(level = "debug"))]
    async fn settle(
        &self,
        number: i64,
        owner: Uuid,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> PortResult<()> {
        self.write(TABLE, Steps::Several, move |connection| {
            settle(connection, number, owner, &outcome, now.as_millis())
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn clean(&self, before: Timestamp) -> PortResult<bool> {
        self.write(TABLE, Steps::Several, move |connection| {
            let mut more = false;
            for sql in [CLEAN_DELIVERIES, CLEAN_NOTICES] {
                let mut delete = connection.prepare_cached(sql)?;
                let deleted = delete.execute(params![before.as_millis(), BATCH])?;
                more |= deleted == usize::from(BATCH);
            }
            Ok(more)
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn tally(&self) -> PortResult<BTreeMap<SubscriptionId, Tally>> {
        self.read(TABLE, tally).await
    }

    async fn added(&self) {
        self.delivery_added().notified().await;
    }
}

fn settle(
    connection: &Connection,
    number: i64,
    owner: Uuid,
    outcome: &DeliveryOutcome,
    now: i64,
) -> rusqlite::Result<()> {
    let text = |row: &Row<'_>| row.get::<_, String>(0);
    let owner = owner.to_string();
    let settled = match outcome {
        DeliveryOutcome::Retry { due, error } => {
            let values = params![number, owner, now, error, due.as_millis()];
            connection.prepare_cached(RETRY)?.execute(values)?;
            None
        }
        DeliveryOutcome::Delivered => connection
            .prepare_cached(DELIVERED)?
            .query_row([number], text)
            .optional()?,
        DeliveryOutcome::Dead { error } => connection
            .prepare_cached(DEAD)?
            .query_row(params![number, owner, now, error], text)
            .optional()?,
    };
    // Nothing is settled when the subscription was removed, or when another process was faster.
    let Some(subscription) = settled else {
        return Ok(());
    };
    let mut leave = connection.prepare_cached(LEAVE_LANES)?;
    let lanes = leave
        .query_map([number], text)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let lanes = Value::from(lanes).to_string();
    let values = params![subscription, lanes, now];
    connection.prepare_cached(NEXT)?.execute(values)?;
    if *outcome == DeliveryOutcome::Delivered {
        let values = params![subscription, now];
        connection.prepare_cached(REVIVE)?.execute(values)?;
    }
    Ok(())
}

fn head(row: &Row<'_>, subscription: &SubscriptionId) -> rusqlite::Result<LeasedDelivery> {
    Ok(LeasedDelivery {
        number: row.get("number")?,
        subscription: subscription.clone(),
        failed: row.get::<_, i64>("tries")?.try_into().unwrap_or(u32::MAX),
        accepted: row::instant(row, "accepted").unwrap_or(Timestamp::MIN),
        delivery: delivery(row, subscription),
    })
}

fn delivery(row: &Row<'_>, subscription: &SubscriptionId) -> Result<Delivery, row::Cause> {
    let content = match row::get::<Option<String>>(row, "notice_text")? {
        Some(text) => {
            let notice = codec::decode_notice(&text);
            Content::Notice(Box::new(
                notice.map_err(|e| format!("the stored notice is unreadable: {e}"))?,
            ))
        }
        // A delivery without a notice requests a confirmation, while there is a token to confirm with.
        None => Content::Confirmation(row::parsed(row, "token").map_err(|_| "the notice is gone")?),
    };
    let endpoint = if subscription.as_str() == CONSOLE {
        Endpoint::parse(Protocol::Console, CONSOLE).map_err(|e| e.to_string())?
    } else {
        row::endpoint(row).map_err(|e| format!("the stored subscription is unreadable: {e}"))?
    };
    Ok(Delivery {
        content,
        subscription: subscription.clone(),
        endpoint,
    })
}

fn tally(connection: &Connection) -> rusqlite::Result<BTreeMap<SubscriptionId, Tally>> {
    let mut tallies = BTreeMap::<SubscriptionId, Tally>::new();
    let mut statement = connection.prepare_cached(COUNTS)?;
    let counts = row::all(statement.query([])?, 2, count)?;
    // The listing of the subscriptions reports an unreadable id.
    for (id, state, rows) in counts.into_iter().flatten() {
        let tally = tallies.entry(id).or_default();
        match state.as_str() {
            "delivered" => tally.delivered += rows,
            "dead" => tally.dead += rows,
            _ => tally.due += rows,
        }
    }
    let mut statement = connection.prepare_cached(ERRORS)?;
    let error = |row: &Row<'_>| Ok((row::parsed(row, "subscription")?, row::get(row, "error")?));
    let errors = row::all(statement.query([])?, 1, error)?;
    for (id, error) in errors.into_iter().flatten() {
        tallies.entry(id).or_default().last_error = Some(error);
    }
    Ok(tallies)
}

fn count(row: &Row<'_>) -> Result<(SubscriptionId, String, u64), row::Cause> {
    let rows = u64::try_from(row::get::<i64>(row, "rows")?).unwrap_or(0);
    Ok((
        row::parsed(row, "subscription")?,
        row::get(row, "state")?,
        rows,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_reads_all_deliveries() {
        for sql in [
            INSERT,
            REMOVE_CONFIRMATION,
            DUE,
            HEADS,
            LEASE,
            DELIVERED,
            DEAD,
            RETRY,
            LEAVE_LANES,
            NEXT,
            REVIVE,
            CLEAN_DELIVERIES,
            CLEAN_NOTICES,
        ] {
            let plan = crate::schema::plan(sql);
            for slow in ["SCAN deliveries", "SCAN notices", "TEMP B-TREE"] {
                assert!(!plan.contains(slow), "{sql}: {plan}");
            }
        }
    }
}
