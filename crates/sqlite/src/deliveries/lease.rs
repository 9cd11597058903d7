//! Which deliveries are sent next, and what of them.

use std::collections::{BTreeMap, HashSet};

use hb_domain::{Endpoint, HostId, Notice, Protocol, SubscriptionId, Timestamp, Tries};
use hb_service::codec;
use hb_service::ports::{CONSOLE, Content, Delivery, LeasedDelivery};
use rusqlite::{Connection, Row, params};
use serde_json::Value;
use uuid::Uuid;

use super::LONGEST;
use crate::row;

/// Brings to now what a wrong clock dated: [`LONGEST`].
const MEND: &str = "
    UPDATE deliveries SET due = ?2
    WHERE subscription = ?1 AND state = 'due' AND due > ?3";

/// Of a lane the first that is due, while no other is being sent.
const HEADS: &str = "
    SELECT number, subscription, tries, refused, failing, tried, d.accepted, sent, size, notice_text, protocol,
        address, webhook, token, took FROM (
        SELECT number, subscription, tries, refused, failing, tried, deliveries.accepted, due, sent, size,
            notices.notice AS notice_text
        FROM deliveries LEFT JOIN notices ON identity = deliveries.notice
        WHERE subscription = ?1 AND state = 'due' AND due <= ?2
          AND number NOT IN (SELECT value FROM json_each(?3))
          AND NOT EXISTS (
              SELECT 1 FROM lanes AS mine CROSS JOIN lanes AS its
              ON its.subscription = mine.subscription AND its.host = mine.host AND its.number <> mine.number
              CROSS JOIN deliveries AS other ON other.number = its.number
              WHERE mine.number = deliveries.number AND other.state = 'due' AND (
                  (other.owner IS NOT NULL AND other.due > ?2)
                  OR (other.number < mine.number AND other.due <= ?2)
                  OR other.number IN (SELECT value FROM json_each(?3))))
        ORDER BY due, number LIMIT ?4
    ) AS d LEFT JOIN subscriptions ON id = subscription";

/// The hosts that have yet to get a digest.
const HOSTS: &str = "SELECT host FROM lanes WHERE number = ?1";

const LEASE: &str = "
    UPDATE deliveries SET owner = ?2, due = ?3, sent = ?4, size = ?5, accepted = ?6, failing = ?7, tried = ?8
    WHERE number = ?1";

/// Leases to `owner` until `until` what is due at `now`, of each subscription at most the number in `wanted`.
pub(super) fn lease(
    connection: &Connection,
    wanted: BTreeMap<SubscriptionId, usize>,
    running: &[i64],
    owner: Uuid,
    now: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<Vec<LeasedDelivery>> {
    let running = Value::from(running).to_string();
    let mut leased = Vec::new();
    for (subscription, most) in wanted {
        let longest = now.plus(LONGEST).as_millis();
        let mut mend = connection.prepare_cached(MEND)?;
        mend.execute(params![subscription.as_str(), now.as_millis(), longest])?;
        let mut statement = connection.prepare_cached(HEADS)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let values = params![subscription.as_str(), now.as_millis(), running, most];
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            leased.push(head(connection, row, &subscription, now)?);
        }
    }
    let mut lease = connection.prepare_cached(LEASE)?;
    let (owner, until) = (owner.to_string(), until.as_millis());
    for LeasedDelivery {
        number,
        places,
        tries,
        ..
    } in &leased
    {
        let [sent, size] = [places.start, places.len()].map(|n| i64::try_from(n).ok());
        let [failing, last] = [tries.failing, tries.last].map(|at| at.map(Timestamp::as_millis));
        let from = tries.from.as_millis();
        lease.execute(params![
            number, owner, until, sent, size, from, failing, last
        ])?;
    }
    Ok(leased)
}

/// A row of [`HEADS`]. What of it cannot be read is as in a new delivery.
fn head(
    connection: &Connection,
    row: &Row<'_>,
    subscription: &SubscriptionId,
    now: Timestamp,
) -> rusqlite::Result<LeasedDelivery> {
    let number = row.get("number")?;
    let count = |column: &str| {
        row.get(column)
            .ok()
            .and_then(|count: i64| count.try_into().ok())
    };
    let place = |column: &str| count(column).map(|count: u32| count as usize);
    let (sent, size) = (place("sent").unwrap_or(0), place("size"));
    let mut places = sent..sent.saturating_add(size.unwrap_or(1));
    let mut delivery = delivery(row, subscription);
    if let Ok(Delivery {
        content: Content::Notice(notice),
        ..
    }) = &mut delivery
    {
        let waiting = waiting(connection, number, notice)?;
        let waits = |host: &HostId| waiting.as_ref().is_none_or(|hosts| hosts.contains(host));
        let (now, part) = notice.next_part(sent, size, place("took"), waits);
        (places, **notice) = (now, part);
    }
    let optional = |column: &str| row::optional_instant(row, column).unwrap_or(None);
    let tries = Tries {
        from: row::instant(row, "accepted").unwrap_or(now),
        failing: optional("failing"),
        last: optional("tried"),
    };
    Ok(LeasedDelivery {
        number,
        subscription: subscription.clone(),
        failed: count("tries").unwrap_or(0),
        refused: count("refused").unwrap_or(0),
        tries: tries.as_of(now),
        places,
        delivery,
    })
}

/// The hosts of a digest that have yet to get it; `None` of any other notice.
fn waiting(
    connection: &Connection,
    number: i64,
    notice: &Notice,
) -> rusqlite::Result<Option<HashSet<HostId>>> {
    if notice.count() == 1 {
        return Ok(None);
    }
    let prefix = format!("{}/", notice.fleet);
    let host = |name: String| name.strip_prefix(&prefix)?.parse().ok();
    let mut statement = connection.prepare_cached(HOSTS)?;
    let names = statement.query_map([number], |row| row.get::<_, String>(0))?;
    names
        .map(|name| Ok(host(name?)))
        .filter_map(Result::transpose)
        .collect::<rusqlite::Result<_>>()
        .map(Some)
}

pub(crate) fn delivery(
    row: &Row<'_>,
    subscription: &SubscriptionId,
) -> Result<Delivery, row::Cause> {
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
    let unreadable = |e| format!("the stored subscription is unreadable: {e}");
    let endpoint = if subscription.as_str() == CONSOLE {
        Endpoint::parse(Protocol::Console, CONSOLE).map_err(|e| e.to_string())?
    } else {
        row::endpoint(row).map_err(unreadable)?
    };
    Ok(Delivery {
        content,
        subscription: subscription.clone(),
        endpoint,
        webhook: row::webhook(row).map_err(unreadable)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_reads_all_deliveries() {
        for sql in [MEND, HEADS, HOSTS, LEASE] {
            super::super::tests::reads_few(sql);
        }
    }
}
