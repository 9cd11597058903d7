//! Deliveries in SQLite: everything that reads or writes the tables `deliveries` and `lanes`.
//!
//! A delivery that is the first in all its lanes is `due`, and one behind deliveries that yield to it; all others are
//! `waiting`. Retries, yielding and giving up are decided elsewhere.

pub(crate) mod lease;
mod settle;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Filter, Notice, Subject, SubscriptionId, Timestamp, WebhookSecret};
use hb_service::ports::{
    CONSOLE, DeliveryOutcome, DeliveryQueue, LeasedDelivery, PortResult, Tally,
};
use rusqlite::{Connection, Row, params};
use serde_json::Value;
use uuid::Uuid;

use crate::row;
use crate::store::{Steps, Store};
use crate::subscriptions;

const TABLE: &str = "deliveries";

const INSERT: &str = "
    INSERT INTO deliveries (notice, subscription, host, accepted, due, state)
    VALUES (?1, ?2, ?3, ?4, ?4, 'waiting') ON CONFLICT DO NOTHING";

const ENTER_LANES: &str = "
    INSERT INTO lanes (subscription, host, number) SELECT ?1, value, ?2 FROM json_each(?3)
    WHERE true ON CONFLICT DO NOTHING";

/// With the request to confirm, whatever became of it: added again, the subscription must get another.
const REMOVE: &str = "
    DELETE FROM deliveries WHERE subscription = ?1 AND ?1 <> 'console'
      AND (state IN ('due', 'waiting') OR notice = '#confirm/' || ?1)";

const REMOVE_CONFIRMATION: &str = "
    DELETE FROM deliveries WHERE notice = ?1 AND state IN ('due', 'waiting')";

/// Most rows that one cleaning deletes: beats wait for it.
const BATCH: u16 = 500;

/// Longer than any lease and any pause, and `FUTURE_SKEW`: what is due later was dated by a wrong clock, and counts as
/// due.
const LONGEST: Duration = Duration::from_mins(7);

/// Two index lookups a subscription, however many deliveries there are.
const DUE: &str = "
    SELECT id FROM (SELECT id FROM subscriptions UNION ALL SELECT 'console') AS s
    WHERE EXISTS (SELECT 1 FROM deliveries WHERE subscription = s.id AND state = 'due' AND due <= ?1)
    OR EXISTS (SELECT 1 FROM deliveries WHERE subscription = s.id AND state = 'due' AND due > ?2)";

const CLEAN_DELIVERIES: &str = "
    DELETE FROM deliveries WHERE number IN (
        SELECT number FROM deliveries WHERE state IN ('delivered', 'dead') AND accepted < ?1
        ORDER BY accepted LIMIT ?2)";

const CLEAN_NOTICES: &str = "
    DELETE FROM notices WHERE identity IN (
        SELECT identity FROM notices WHERE accepted < ?1
        AND NOT EXISTS (SELECT 1 FROM deliveries WHERE notice = identity)
        ORDER BY accepted LIMIT ?2)";

/// May read all digests: there are some for each mass outage.
const CLEAN_DIGESTS: &str = "
    DELETE FROM digests WHERE key IN (
        SELECT key FROM digests
        WHERE open = 0 AND CASE WHEN json_valid(record) THEN record ->> 'at' END < ?1 LIMIT ?2)";

/// Rows by subscription and state.
const COUNTS: &str = "
    SELECT subscription, state, count(*) AS rows FROM deliveries GROUP BY subscription, state";

/// Since when deliveries fail that are to be tried again, and when the first of those is.
const FAILING: &str = "
    SELECT subscription, min(failing) AS since, min(due) AS next FROM deliveries
    WHERE state IN ('due', 'waiting') AND failing IS NOT NULL GROUP BY subscription";

const LAST_DEAD: &str = "
    SELECT subscription, max(tried) AS last FROM deliveries WHERE state = 'dead' GROUP BY subscription";

/// With `max`, SQLite takes the other columns from the row that has it.
const ERRORS: &str = "
    SELECT subscription, max(tried), error FROM deliveries
    WHERE state <> 'delivered' AND error IS NOT NULL GROUP BY subscription";

/// What a new delivery consists of besides its subscription.
pub(crate) struct NewDelivery {
    /// The identity of the notice.
    notice: String,
    /// A host, or something that stands for many.
    about: String,
    /// The names of the lanes, as JSON.
    lanes: String,
    accepted: i64,
}

impl NewDelivery {
    /// With a lane for each host that `filter` covers: the others are left out of what is sent.
    pub(crate) fn of(notice: &Notice, filter: &Filter, accepted: Timestamp) -> Self {
        Self {
            notice: notice.identity(),
            about: match notice.subject() {
                Subject::Host(key, ..) => key.to_string(),
                Subject::Digest(_) => notice.identity(),
            },
            lanes: settle::names(notice, |host| filter.covers(host)),
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
    new: &NewDelivery,
    subscription: &str,
) -> rusqlite::Result<()> {
    let NewDelivery {
        notice,
        about,
        lanes,
        accepted,
    } = new;
    let values = params![notice, subscription, about, accepted];
    if connection.prepare_cached(INSERT)?.execute(values)? == 1 {
        let number = connection.last_insert_rowid();
        let values = params![subscription, number, lanes];
        connection.prepare_cached(ENTER_LANES)?.execute(values)?;
        settle::release(connection, subscription, lanes, *accepted)?;
    }
    Ok(())
}

/// Adds the only delivery that an unconfirmed subscription gets.
pub(crate) fn request_confirmation(
    connection: &Connection,
    subscription: &SubscriptionId,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let new = NewDelivery::confirmation(subscription, at);
    insert(connection, &new, subscription.as_str())
}

/// Stops further copies of the request that `subscription` has answered.
pub(crate) fn confirmed(
    connection: &Connection,
    subscription: &SubscriptionId,
) -> rusqlite::Result<()> {
    let NewDelivery { notice, .. } = NewDelivery::confirmation(subscription, Timestamp::MIN);
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
    let new = NewDelivery {
        notice: String::new(),
        about: String::new(),
        lanes: r#"[""]"#.to_owned(),
        accepted: 0,
    };
    insert(connection, &new, CONSOLE)?;
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
            let values = [now, now.plus(LONGEST)].map(Timestamp::as_millis);
            let ids = row::all(statement.query(values)?, 1, id)?;
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
        self.write(TABLE, Steps::Several, move |connection| {
            lease::lease(connection, wanted, &running, owner, now, until)
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(number = leased.number, %owner), err(level = "debug"))]
    async fn settle(
        &self,
        leased: &LeasedDelivery,
        owner: Uuid,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> PortResult<Vec<String>> {
        let leased = leased.clone();
        let owner = owner.to_string();
        self.write(TABLE, Steps::Several, move |connection| {
            settle::settle(connection, &leased, &owner, &outcome, now.as_millis())
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn clean(&self, before: Timestamp) -> PortResult<bool> {
        self.write(TABLE, Steps::Several, move |connection| {
            let mut more = false;
            for sql in [CLEAN_DELIVERIES, CLEAN_NOTICES, CLEAN_DIGESTS] {
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

    #[tracing::instrument(level = "debug", skip_all, fields(%id), err(level = "debug"))]
    async fn rotate_secret(
        &self,
        id: &SubscriptionId,
        secret: WebhookSecret,
        now: Timestamp,
        overlap: Duration,
    ) -> PortResult<bool> {
        let id = id.clone();
        self.write(TABLE, Steps::Several, move |connection| {
            subscriptions::rotate_secret(connection, &id, secret, now, overlap)
        })
        .await
    }

    async fn added(&self) {
        self.delivery_added().notified().await;
    }
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
    let mut statement = connection.prepare_cached(FAILING)?;
    let instants = |row: &Row<'_>| {
        let instant = |column| row::optional_instant(row, column);
        Ok((
            row::parsed(row, "subscription")?,
            instant("since")?,
            instant("next")?,
        ))
    };
    for (id, since, next) in row::all(statement.query([])?, 1, instants)?
        .into_iter()
        .flatten()
    {
        let tally: &mut Tally = tallies.entry(id).or_default();
        (tally.failing_since, tally.next_try) = (since, next);
    }
    let mut statement = connection.prepare_cached(LAST_DEAD)?;
    let last = |row: &Row<'_>| {
        Ok((
            row::parsed(row, "subscription")?,
            row::optional_instant(row, "last")?,
        ))
    };
    for (id, last) in row::all(statement.query([])?, 1, last)?
        .into_iter()
        .flatten()
    {
        tallies.entry(id).or_default().last_dead = last;
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

    /// Fails when SQLite would run `sql` over all deliveries.
    pub(super) fn reads_few(sql: &str) {
        let plan = crate::schema::plan(sql);
        for slow in [
            "SCAN deliveries",
            "SCAN notices",
            "SCAN lanes",
            "SCAN mine",
            "TEMP B-TREE",
        ] {
            assert!(!plan.contains(slow), "{sql}: {plan}");
        }
    }

    #[test]
    fn no_statement_reads_all_deliveries() {
        for sql in [
            INSERT,
            REMOVE_CONFIRMATION,
            DUE,
            CLEAN_DELIVERIES,
            CLEAN_NOTICES,
        ] {
            reads_few(sql);
        }
    }
}
