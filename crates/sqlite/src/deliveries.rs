//! How the deliveries of each subscription stand, counted from their rows.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hb_domain::SubscriptionId;
use hb_service::ports::{Deliveries, PortResult, Tally};
use rusqlite::{Connection, Row};

use crate::row;
use crate::store::Store;

/// Rows of one subscription and state; the error is that of the last failed try among them.
const COUNTS: &str = "
    SELECT subscription, state, count(*) AS rows FROM deliveries GROUP BY subscription, state";

/// With `max`, SQLite takes the other columns from the row that has it.
const ERRORS: &str = "
    SELECT subscription, max(tried), error FROM deliveries
    WHERE state <> 'delivered' AND error IS NOT NULL GROUP BY subscription";

/// The deliveries of a [`Store`]; the console's go by the id [`CONSOLE`](crate::CONSOLE).
#[derive(Clone, Debug)]
pub struct SqliteDeliveries {
    store: Store,
}

impl SqliteDeliveries {
    /// The deliveries in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Deliveries for SqliteDeliveries {
    async fn tally(&self) -> PortResult<BTreeMap<SubscriptionId, Tally>> {
        self.store.read("deliveries", tally).await
    }
}

fn tally(connection: &Connection) -> rusqlite::Result<BTreeMap<SubscriptionId, Tally>> {
    let mut tallies = BTreeMap::<SubscriptionId, Tally>::new();
    let mut statement = connection.prepare_cached(COUNTS)?;
    // A subscription whose name cannot be read has no place in the answer.
    for (id, state, rows) in row::all(statement.query([])?, 2, count)?
        .into_iter()
        .flatten()
    {
        let tally = tallies.entry(id).or_default();
        match state.as_str() {
            "delivered" => tally.delivered += rows,
            "dead" => tally.dead += rows,
            _ => tally.due += rows,
        }
    }
    let mut statement = connection.prepare_cached(ERRORS)?;
    let error = |row: &Row<'_>| Ok((row::parsed(row, "subscription")?, row::get(row, "error")?));
    for (id, error) in row::all(statement.query([])?, 1, error)?
        .into_iter()
        .flatten()
    {
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
