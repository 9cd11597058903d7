//! The topic on one machine: a notice is accepted by storing it together with one delivery for each subscription that
//! wants it. Sending is not done here.

use std::sync::Arc;

use async_trait::async_trait;
use hb_domain::{Filter, Notice, Publication, SubscriptionId};
use hb_service::codec;
use hb_service::ports::{CONSOLE, Clock, PortResult, Topic};
use rusqlite::{Connection, params};

use crate::deliveries::{self, NewDelivery};
use crate::error::WriteError;
use crate::row;
use crate::store::{Steps, Store};
use crate::subscriptions;
use crate::system;

const TABLE: &str = "notices";

const INSERT: &str = "
    INSERT INTO notices (identity, id, notice, accepted, echoed) VALUES (?1, ?2, ?3, ?4, 0)
    ON CONFLICT DO NOTHING";

/// A store, and the clock that dates what it accepts.
pub(crate) struct SqliteTopic {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Topic for SqliteTopic {
    #[tracing::instrument(level = "debug", skip_all, fields(notice = notice.identity()))]
    async fn publish(&self, notice: &Notice) -> Publication {
        let text = match codec::encode_notice(notice) {
            Ok(text) => text,
            Err(error) => return Publication::Refused(error.to_string()),
        };
        let now = self.clock.now();
        let notice = notice.clone();
        let stored = self.store.try_write(Steps::Several, move |connection| {
            let values = params![notice.identity(), notice.id.as_str(), text, now.as_millis()];
            // A notice that is there already has its deliveries.
            if connection.prepare_cached(INSERT)?.execute(values)? == 1 {
                for (subscription, filter) in subscriptions_for(connection, &notice)? {
                    let new = NewDelivery::of(&notice, &filter, now);
                    deliveries::insert(connection, &new, subscription.as_str())?;
                }
            }
            Ok(())
        });
        let what = || self.store.what(TABLE);
        match stored.await {
            Ok(()) => {
                self.store.delivery_added().notify_one();
                Publication::Accepted
            }
            Err(WriteError::Refused(cause)) => Publication::Refused(format!("{}: {cause}", what())),
            Err(WriteError::Unknown(cause)) => Publication::Unknown(format!("{}: {cause}", what())),
        }
    }

    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn check(&self) -> PortResult<()> {
        self.store
            .write(TABLE, Steps::Several, |connection| {
                // No notice has the empty identity, and no other connection sees the row.
                let values = params!["", "", "", 0];
                connection.prepare_cached(INSERT)?.execute(values)?;
                deliveries::probe(connection)?;
                connection
                    .prepare_cached("SELECT id, filter FROM subscriptions LIMIT 1")?
                    .exists([])?;
                connection
                    .prepare_cached("DELETE FROM notices WHERE identity = ''")?
                    .execute([])?;
                system::probe(connection)
            })
            .await
    }
}

/// The console and each confirmed subscription whose filter the notice passes, with that filter. An unreadable one lets
/// everything through: better a notice too many.
fn subscriptions_for(
    connection: &Connection,
    notice: &Notice,
) -> rusqlite::Result<Vec<(SubscriptionId, Filter)>> {
    let mut statement = connection
        .prepare_cached("SELECT id, filter FROM subscriptions WHERE token IS NULL ORDER BY id")?;
    let mut rows = statement.query([])?;
    let console = CONSOLE.parse().map(|id| (id, Filter::default()));
    let mut wanting: Vec<_> = console.into_iter().collect();
    while let Some(row) = rows.next()? {
        let filter = subscriptions::filter(row).unwrap_or_default();
        // The listing reports an unreadable id.
        if let (true, Ok(id)) = (filter.lets_through(notice), row::parsed(row, "id")) {
            wanting.push((id, filter));
        }
    }
    Ok(wanting)
}
