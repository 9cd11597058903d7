//! The outcome of a try, and which deliveries it makes due.

use std::collections::BTreeSet;

use hb_domain::{HostId, Notice, limits};
use hb_service::ports::{Content, Delivery, DeliveryOutcome, LeasedDelivery, overtaken};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

/// The rest is another part, which has not failed yet.
const PART_DELIVERED: &str = "
    UPDATE deliveries SET owner = NULL, due = ?2, sent = ?3, size = NULL, tries = 0, refused = 0,
        failing = NULL, yielded = NULL, error = NULL WHERE number = ?1 AND sent < ?3";

const TOOK: &str = "UPDATE subscriptions SET took = ?2 WHERE id = ?1";

const DELIVERED: &str = "
    UPDATE deliveries SET state = 'delivered', owner = NULL, error = NULL WHERE number = ?1";

/// Behind another, it is that one's next try which decides when it is due.
const RETRY: &str = "
    UPDATE deliveries SET owner = NULL, tries = tries + 1, tried = ?3, error = ?4, due = ?5,
        refused = refused + ?6, failing = coalesce(failing, ?3), yielded = ?7,
        state = iif(EXISTS (
            SELECT 1 FROM lanes AS mine CROSS JOIN lanes AS earlier
            ON earlier.subscription = mine.subscription AND earlier.host = mine.host AND earlier.number < mine.number
            WHERE mine.number = ?1), 'waiting', 'due')
    WHERE number = ?1 AND owner = ?2 AND state = 'due' RETURNING subscription";

const SPLIT: &str = "
    UPDATE deliveries SET owner = NULL, tried = ?3, error = ?4, due = ?3, size = ?5
    WHERE number = ?1 AND owner = ?2 AND state = 'due'";

const DEAD: &str = "
    UPDATE deliveries SET state = 'dead', owner = NULL, tries = tries + 1, tried = ?3, error = ?4
    WHERE number = ?1 AND owner = ?2 AND state = 'due' RETURNING subscription";

const OPEN: &str = "
    SELECT subscription FROM deliveries WHERE number = ?1 AND state IN ('due', 'waiting')";

const LANES: &str = "SELECT host FROM lanes WHERE number = ?1";

const LEAVE_LANES: &str = "DELETE FROM lanes WHERE number = ?1 RETURNING host";

const LEAVE_SOME_LANES: &str = "
    DELETE FROM lanes WHERE number = ?1 AND subscription = ?2 AND host IN (SELECT value FROM json_each(?3))";

const OVERTAKE: &str = "
    DELETE FROM lanes WHERE subscription = ?2 AND host IN (SELECT value FROM json_each(?3)) AND number < ?1
    RETURNING number";

/// Without hosts it has nothing left to say.
const OVERTAKEN: &str = "
    UPDATE deliveries SET state = 'dead', owner = NULL, tried = ?2
    WHERE number = ?1 AND state IN ('due', 'waiting') AND NOT EXISTS (SELECT 1 FROM lanes WHERE number = ?1)
    RETURNING notice, error";

const SET_ERROR: &str = "UPDATE deliveries SET error = ?2 WHERE number = ?1";

/// What is now the first in all its lanes, or behind deliveries that all yield to it. A try that a wrong clock dated was
/// before.
const RELEASE: &str = "
    UPDATE deliveries SET state = 'due', due = ?3 WHERE state = 'waiting' AND number IN (
        SELECT lanes.number FROM json_each(?2) AS freed CROSS JOIN lanes
        ON lanes.subscription = ?1 AND lanes.host = freed.value)
    AND NOT EXISTS (
        SELECT 1 FROM lanes AS mine CROSS JOIN lanes AS earlier
        ON earlier.subscription = mine.subscription AND earlier.host = mine.host AND earlier.number < mine.number
        CROSS JOIN deliveries AS before ON before.number = earlier.number
        WHERE mine.number = deliveries.number
          AND (before.yielded IS NULL OR (before.yielded <= deliveries.tried AND deliveries.tried <= ?4)))";

/// The endpoint works again: its retries are due at once.
const REVIVE: &str = "
    UPDATE deliveries SET due = ?2 WHERE subscription = ?1 AND state = 'due' AND due > ?2 AND owner IS NULL";

/// Stores the outcome of the try of `leased` that `owner` ended at `now`. Returns the identities of the notices that it
/// overtook.
pub(super) fn settle(
    connection: &Connection,
    leased: &LeasedDelivery,
    owner: &str,
    outcome: &DeliveryOutcome,
    now: i64,
) -> rusqlite::Result<Vec<String>> {
    let number = leased.number;
    let one = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row(values, text).optional()
    };
    // Nothing is settled when the subscription was removed, or when another process was faster.
    match outcome {
        DeliveryOutcome::Delivered => {
            if let Some(subscription) = one(OPEN, params![number])? {
                return delivered(connection, leased, &subscription, now);
            }
        }
        DeliveryOutcome::Retry {
            due,
            refused,
            yields,
            error,
        } => {
            let yielded = yields.then_some(now);
            let values = params![number, owner, now, error, due.as_millis(), refused, yielded];
            if let (Some(subscription), true) = (one(RETRY, values)?, yields) {
                let lanes = json(connection, LANES, number)?;
                release(connection, &subscription, &lanes, now)?;
            }
        }
        DeliveryOutcome::Split { error } => {
            let size = leased.places.len().div_ceil(2);
            let values = params![number, owner, now, error, i64::try_from(size).ok()];
            connection.prepare_cached(SPLIT)?.execute(values)?;
        }
        DeliveryOutcome::Dead { error } => {
            if let Some(subscription) = one(DEAD, params![number, owner, now, error])? {
                let lanes = json(connection, LEAVE_LANES, number)?;
                release(connection, &subscription, &lanes, now)?;
            }
        }
    }
    Ok(Vec::new())
}

/// The hosts that were sent leave the lanes, and with them what came before about them.
fn delivered(
    connection: &Connection,
    leased: &LeasedDelivery,
    subscription: &str,
    now: i64,
) -> rusqlite::Result<Vec<String>> {
    let number = leased.number;
    let lanes = match &leased.delivery {
        Ok(Delivery {
            content: Content::Notice(notice),
            ..
        }) => {
            let lanes = names(notice, |_| true);
            let values = params![number, subscription, lanes];
            connection
                .prepare_cached(LEAVE_SOME_LANES)?
                .execute(values)?;
            lanes
        }
        _ => json(connection, LEAVE_LANES, number)?,
    };
    if connection.prepare_cached(LANES)?.exists([number])? {
        let [end, size] = [leased.places.end, leased.places.len()].map(|n| i64::try_from(n).ok());
        connection
            .prepare_cached(PART_DELIVERED)?
            .execute(params![number, now, end])?;
        connection
            .prepare_cached(TOOK)?
            .execute(params![subscription, size])?;
    } else {
        connection.prepare_cached(DELIVERED)?.execute([number])?;
    }
    let dead = overtake(connection, number, subscription, &lanes, now)?;
    release(connection, subscription, &lanes, now)?;
    connection
        .prepare_cached(REVIVE)?
        .execute(params![subscription, now])?;
    Ok(dead)
}

fn overtake(
    connection: &Connection,
    number: i64,
    subscription: &str,
    lanes: &str,
    now: i64,
) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(OVERTAKE)?;
    let numbers = statement.query_map(params![number, subscription, lanes], |row| row.get(0))?;
    let numbers: BTreeSet<i64> = numbers.collect::<rusqlite::Result<_>>()?;
    let mut dead = Vec::new();
    for earlier in numbers {
        let notice = connection
            .prepare_cached(OVERTAKEN)?
            .query_row(params![earlier, now], |row| Ok((text(row)?, row.get(1)?)))
            .optional()?;
        if let Some((identity, last)) = notice {
            let last: Option<String> = last;
            let values = params![earlier, overtaken(last.as_deref())];
            connection.prepare_cached(SET_ERROR)?.execute(values)?;
            dead.push(identity);
        }
    }
    Ok(dead)
}

/// Makes due what no longer has to wait in these lanes.
pub(super) fn release(
    connection: &Connection,
    subscription: &str,
    lanes: &str,
    now: i64,
) -> rusqlite::Result<()> {
    let mut release = connection.prepare_cached(RELEASE)?;
    let skew = i64::try_from(limits::FUTURE_SKEW.as_millis()).unwrap_or(i64::MAX);
    let ahead = now.saturating_add(skew);
    release
        .execute(params![subscription, lanes, now, ahead])
        .map(drop)
}

/// The names of the lanes of a notice, as JSON: one for each of these hosts.
pub(super) fn names(notice: &Notice, hosts: impl Fn(&HostId) -> bool) -> String {
    let hosts = notice.host_ids().filter(|host| hosts(host));
    let lanes = hosts.map(|host| format!("{}/{host}", notice.fleet));
    lanes.collect::<Value>().to_string()
}

/// The texts that a statement about one delivery gives, as JSON.
fn json(connection: &Connection, sql: &str, number: i64) -> rusqlite::Result<String> {
    let mut statement = connection.prepare_cached(sql)?;
    let texts = statement.query_map([number], text)?;
    let texts = texts.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Value::from(texts).to_string())
}

fn text(row: &Row<'_>) -> rusqlite::Result<String> {
    row.get(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_reads_all_deliveries() {
        for sql in [
            PART_DELIVERED,
            TOOK,
            DELIVERED,
            RETRY,
            SPLIT,
            DEAD,
            OPEN,
            LANES,
            LEAVE_LANES,
            LEAVE_SOME_LANES,
            OVERTAKE,
            OVERTAKEN,
            SET_ERROR,
            RELEASE,
            REVIVE,
        ] {
            super::super::tests::reads_few(sql);
        }
    }
}
