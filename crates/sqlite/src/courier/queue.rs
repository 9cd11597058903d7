//! The deliveries in the database, as a courier needs them.
//!
//! Of the deliveries of a subscription that concern the same host, only the first is `due` and may be sent: the head of
//! their lane. A digest has a place in the lane of each of its hosts, and is due when it is the head of all of them.

use hb_domain::{Endpoint, Protocol, SubscriptionId, Timestamp};
use hb_service::codec;
use hb_service::ports::PortResult;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::outcome::DeliveryOutcome;
use crate::row;
use crate::sender::{Content, Delivery};
use crate::store::{Steps, Store};
use crate::subscriptions::{self, CONSOLE};

const TABLE: &str = "deliveries";

/// Rows that are deleted at once: a beat must not wait for housekeeping.
const BATCH: u16 = 500;

/// One look into an index for each subscription, however many deliveries there are.
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

/// A delivery is a fact, whoever holds the lease by now.
const DELIVERED: &str = "
    UPDATE deliveries SET state = 'delivered', owner = NULL, error = NULL WHERE number = ?1 AND state = 'due'
    RETURNING subscription";

/// The rest says something only about one's own try.
const DEAD: &str = "
    UPDATE deliveries SET state = 'dead', owner = NULL, tries = tries + 1, tried = ?3, error = ?4
    WHERE number = ?1 AND owner = ?2 AND state = 'due' RETURNING subscription";

const AGAIN: &str = "
    UPDATE deliveries SET owner = NULL, tries = tries + 1, tried = ?3, error = ?4, due = ?5
    WHERE number = ?1 AND owner = ?2 AND state = 'due'";

const LEAVE: &str = "DELETE FROM lanes WHERE number = ?1 RETURNING host";

/// Whoever now is the head of all lanes that it has a place in.
const NEXT: &str = "
    UPDATE deliveries SET state = 'due', due = ?3 WHERE state = 'waiting' AND number IN (
        SELECT (SELECT min(number) FROM lanes WHERE subscription = ?1 AND host = value) FROM json_each(?2))
    AND NOT EXISTS (
        SELECT 1 FROM lanes AS mine CROSS JOIN lanes AS earlier
        ON earlier.subscription = mine.subscription AND earlier.host = mine.host AND earlier.number < mine.number
        WHERE mine.number = deliveries.number)";

/// The endpoint works: what pauses after a failure need not.
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

pub(super) struct Queue {
    store: Store,
}

/// How many deliveries of a subscription to take.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) subscription: String,
    pub(super) places: usize,
}

/// A delivery under a lease.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) number: i64,
    pub(super) subscription: String,
    /// Tries that failed.
    pub(super) tries: u32,
    pub(super) accepted: Timestamp,
    /// What to send, or why that cannot be read.
    pub(super) delivery: Result<Delivery, row::Cause>,
}

impl Queue {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// The subscriptions that have something due at `now`.
    pub(super) async fn due(&self, now: Timestamp) -> PortResult<Vec<String>> {
        self.store
            .read(TABLE, move |connection| {
                let mut statement = connection.prepare_cached(DUE)?;
                let ids = statement.query_map([now.as_millis()], |row| row.get::<_, String>(0))?;
                // An id that is no text was never a delivery's.
                Ok(ids.filter_map(Result::ok).collect())
            })
            .await
    }

    /// Leases what is `wanted` to `owner` until `until`, except the deliveries that are `running` here.
    pub(super) async fn take(
        &self,
        wanted: Vec<Wanted>,
        running: Vec<i64>,
        owner: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> PortResult<Vec<Taken>> {
        let running = serde_json::Value::from(running).to_string();
        self.store
            .write(TABLE, Steps::Several, move |connection| {
                let mut taken = Vec::new();
                for Wanted {
                    subscription,
                    places,
                } in wanted
                {
                    let mut statement = connection.prepare_cached(HEADS)?;
                    let places = i64::try_from(places).unwrap_or(i64::MAX);
                    let values = params![subscription, now.as_millis(), running, places];
                    let mut rows = statement.query(values)?;
                    while let Some(row) = rows.next()? {
                        taken.push(head(row)?);
                    }
                }
                let mut lease = connection.prepare_cached(LEASE)?;
                for Taken { number, .. } in &taken {
                    lease.execute(params![number, owner.to_string(), until.as_millis()])?;
                }
                Ok(taken)
            })
            .await
    }

    /// Stores what became of the delivery `number`, whose try by `owner` ended at `now`.
    pub(super) async fn settle(
        &self,
        number: i64,
        owner: Uuid,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> PortResult<()> {
        self.store
            .write(TABLE, Steps::Several, move |connection| {
                settle(
                    connection,
                    number,
                    &owner.to_string(),
                    &outcome,
                    now.as_millis(),
                )
            })
            .await
    }

    /// Deletes some of what was over or accepted before `before`; gives whether there may be more.
    pub(super) async fn clean(&self, before: Timestamp) -> PortResult<bool> {
        self.store
            .write(TABLE, Steps::Several, move |connection| {
                let mut more = false;
                for sql in [CLEAN_DELIVERIES, CLEAN_NOTICES] {
                    let deleted = connection
                        .prepare_cached(sql)?
                        .execute(params![before.as_millis(), BATCH])?;
                    more |= deleted == usize::from(BATCH);
                }
                Ok(more)
            })
            .await
    }
}

fn settle(
    connection: &Connection,
    number: i64,
    owner: &str,
    outcome: &DeliveryOutcome,
    now: i64,
) -> rusqlite::Result<()> {
    let of = |row: &Row<'_>| row.get::<_, String>(0);
    let over = match outcome {
        DeliveryOutcome::Again { due, error } => {
            let values = params![number, owner, now, error.to_string(), due.as_millis()];
            connection.prepare_cached(AGAIN)?.execute(values)?;
            None
        }
        DeliveryOutcome::Delivered => connection
            .prepare_cached(DELIVERED)?
            .query_row([number], of)
            .optional()?,
        DeliveryOutcome::Dead { error } => {
            let values = params![number, owner, now, error.to_string()];
            connection
                .prepare_cached(DEAD)?
                .query_row(values, of)
                .optional()?
        }
    };
    // Nothing is over when the subscription was removed, or when somebody else was faster.
    let Some(subscription) = over else {
        return Ok(());
    };
    let mut leave = connection.prepare_cached(LEAVE)?;
    let hosts = leave
        .query_map([number], of)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let hosts = serde_json::Value::from(hosts).to_string();
    connection
        .prepare_cached(NEXT)?
        .execute(params![subscription, hosts, now])?;
    if *outcome == DeliveryOutcome::Delivered {
        connection
            .prepare_cached(REVIVE)?
            .execute(params![subscription, now])?;
    }
    Ok(())
}

fn head(row: &Row<'_>) -> rusqlite::Result<Taken> {
    Ok(Taken {
        number: row.get("number")?,
        subscription: row.get("subscription")?,
        tries: row.get::<_, i64>("tries")?.try_into().unwrap_or(u32::MAX),
        accepted: row::instant(row, "accepted").unwrap_or(Timestamp::MIN),
        delivery: delivery(row),
    })
}

fn delivery(row: &Row<'_>) -> Result<Delivery, row::Cause> {
    let content = match row::get::<Option<String>>(row, "notice_text")? {
        Some(text) => {
            let notice = codec::decode_notice(&text);
            Content::Notice(Box::new(
                notice.map_err(|e| format!("the stored notice is unreadable: {e}"))?,
            ))
        }
        // What has no notice asks for a confirmation, which somebody who confirmed needs no more.
        None => Content::Question(row::parsed(row, "token").map_err(|_| "the notice is gone")?),
    };
    let subscription: SubscriptionId = row::parsed(row, "subscription")?;
    let endpoint = if subscription.as_str() == CONSOLE {
        Endpoint::parse(Protocol::Console, CONSOLE).map_err(|e| e.to_string())?
    } else {
        subscriptions::endpoint(row)
            .map_err(|e| format!("the stored subscription is unreadable: {e}"))?
    };
    Ok(Delivery {
        content,
        subscription,
        endpoint,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sender::SendError;

    const ME: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    /// A queue with one delivery to the console, which `ME` took.
    async fn taken() -> (tempfile::TempDir, Queue) {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::new(Store::open(dir.path()).unwrap());
        let insert = queue.store.write(TABLE, Steps::One, |connection| {
            let sql = "INSERT INTO deliveries (notice, subscription, host, accepted, state, due)
                VALUES ('web#1/missing', 'console', 'main/web', 0, 'due', 0)";
            connection.execute(sql, [])
        });
        insert.await.unwrap();
        assert_eq!(take(&queue, ME, 0, &[]).await, [1]);
        (dir, queue)
    }

    /// What `owner` can take for 10 s, except what is `running`.
    async fn take(queue: &Queue, owner: Uuid, seconds: u64, running: &[i64]) -> Vec<i64> {
        let now = Timestamp::MIN.plus(Duration::from_secs(seconds));
        let wanted = vec![Wanted {
            subscription: CONSOLE.to_owned(),
            places: 4,
        }];
        let until = now.plus(Duration::from_secs(10));
        let taken = queue
            .take(wanted, running.to_vec(), owner, now, until)
            .await
            .unwrap();
        taken.into_iter().map(|taken| taken.number).collect()
    }

    async fn column(queue: &Queue, column: &'static str) -> String {
        let sql = format!("SELECT CAST({column} AS TEXT) FROM deliveries");
        queue
            .store
            .read(TABLE, move |c| c.query_row(&sql, [], |row| row.get(0)))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_lease_keeps_others_away_until_it_is_over() {
        let (_dir, queue) = taken().await;
        assert!(take(&queue, OTHER, 9, &[]).await.is_empty());
        // Its own send may still wait for the database.
        assert!(take(&queue, ME, 10, &[1]).await.is_empty());
        assert_eq!(take(&queue, OTHER, 10, &[]).await, [1]);
    }

    #[tokio::test]
    async fn a_late_failure_says_nothing_about_anothers_try_but_a_delivery_does() {
        let (_dir, queue) = taken().await;
        take(&queue, OTHER, 10, &[]).await;
        let error = SendError::new("refused");
        let now = Timestamp::MIN;
        for outcome in [
            DeliveryOutcome::Again {
                due: now,
                error: error.clone(),
            },
            DeliveryOutcome::Dead { error },
        ] {
            queue.settle(1, ME, outcome, now).await.unwrap();
            assert_eq!(
                column(&queue, "state || tries || owner").await,
                format!("due0{OTHER}")
            );
        }
        queue
            .settle(1, ME, DeliveryOutcome::Delivered, now)
            .await
            .unwrap();
        assert_eq!(column(&queue, "state").await, "delivered");
        // And nothing brings it back.
        queue
            .settle(
                1,
                OTHER,
                DeliveryOutcome::Again {
                    due: now,
                    error: SendError::new("late"),
                },
                now,
            )
            .await
            .unwrap();
        assert_eq!(column(&queue, "state").await, "delivered");
    }

    #[test]
    fn no_statement_reads_all_deliveries() {
        for sql in [
            DUE,
            HEADS,
            LEASE,
            DELIVERED,
            DEAD,
            AGAIN,
            LEAVE,
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
