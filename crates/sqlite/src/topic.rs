//! The topic on one machine: to accept a notice is to store it, with one delivery for each who wants it.

use std::sync::Arc;

use async_trait::async_trait;
use hb_domain::{Notice, Publication, Subject};
use hb_service::codec;
use hb_service::ports::{Clock, PortResult, Topic};
use rusqlite::{Connection, params};
use serde_json::Value;

use crate::store::{Steps, Store, WriteError};
use crate::subscriptions::{self, CONSOLE};
use crate::system;

const NOTICE: &str = "
    INSERT INTO notices (identity, id, notice, accepted, echoed) VALUES (?1, ?2, ?3, ?4, 0)
    ON CONFLICT DO NOTHING";

/// Behind what its hosts already have in the lanes of the subscription, if anything.
const DELIVERY: &str = "
    INSERT INTO deliveries (notice, subscription, host, accepted, due, state)
    VALUES (?1, ?2, ?3, ?4, ?4, iif(
        EXISTS (SELECT 1 FROM json_each(?5) AS concerned CROSS JOIN lanes
                ON lanes.subscription = ?2 AND lanes.host = concerned.value),
        'waiting', 'due'))
    ON CONFLICT DO NOTHING";

const LANES: &str = "
    INSERT INTO lanes (subscription, host, number) SELECT ?1, value, ?2 FROM json_each(?3)
    WHERE true ON CONFLICT DO NOTHING";

/// The topic of a [`Store`]. A [`Courier`](crate::Courier) delivers what it accepts.
#[derive(Clone)]
pub struct SqliteTopic {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl SqliteTopic {
    /// The topic in `store`; `clock` dates what it accepts.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

/// A notice as it is stored.
struct Accepted {
    identity: String,
    id: String,
    text: String,
    /// What it is about, as the deliveries name it: a host, or a digest.
    about: String,
    /// The keys of all its hosts, as JSON.
    hosts: String,
    at: i64,
}

#[async_trait]
impl Topic for SqliteTopic {
    async fn publish(&self, notice: &Notice) -> Publication {
        let text = match codec::encode_notice(notice) {
            Ok(text) => text,
            Err(error) => return Publication::Refused(error.to_string()),
        };
        let accepted = Accepted {
            identity: notice.identity(),
            id: notice.id.to_string(),
            text,
            about: match notice.subject() {
                Subject::Host(key, _) => key.to_string(),
                Subject::Digest(_) => notice.identity(),
            },
            hosts: notice
                .host_ids()
                .map(|host| format!("{}/{host}", notice.fleet))
                .collect::<Value>()
                .to_string(),
            at: self.clock.now().as_millis(),
        };
        let notice = notice.clone();
        let stored = self.store.try_write(Steps::Several, move |connection| {
            if insert(connection, &accepted)? {
                for subscription in listeners(connection, &notice)? {
                    deliver(connection, &accepted, &subscription)?;
                }
            }
            Ok(())
        });
        let what = || self.store.what("notices");
        match stored.await {
            Ok(()) => {
                self.store.announce();
                Publication::Accepted
            }
            Err(WriteError::Refused(cause)) => Publication::Refused(format!("{}: {cause}", what())),
            Err(WriteError::Unknown(cause)) => Publication::Unknown(format!("{}: {cause}", what())),
        }
    }

    async fn check(&self) -> PortResult<()> {
        self.store
            .write("notices", Steps::Several, |connection| {
                // No notice has the empty identity, and nobody sees the rows before they are gone.
                let nothing = String::new;
                let (identity, id, text, about) = (nothing(), nothing(), nothing(), nothing());
                let probe = Accepted {
                    identity,
                    id,
                    text,
                    about,
                    hosts: r#"[""]"#.to_owned(),
                    at: 0,
                };
                insert(connection, &probe)?;
                deliver(connection, &probe, CONSOLE)?;
                connection
                    .prepare_cached("SELECT id, filter FROM subscriptions LIMIT 1")?
                    .exists([])?;
                connection
                    .prepare_cached("DELETE FROM deliveries WHERE notice = ''")?
                    .execute([])?;
                connection
                    .prepare_cached("DELETE FROM notices WHERE identity = ''")?
                    .execute([])?;
                system::probe(connection)
            })
            .await
    }
}

/// What the delivery that asks a subscription to confirm is about.
pub(crate) fn asking(subscription: &str) -> String {
    format!("#confirm/{subscription}")
}

/// Makes the one delivery that an unconfirmed subscription gets: the question.
pub(crate) fn ask(connection: &Connection, subscription: &str, at: i64) -> rusqlite::Result<()> {
    let identity = asking(subscription);
    let hosts = serde_json::json!([identity]).to_string();
    let question = Accepted {
        about: identity.clone(),
        identity,
        id: String::new(),
        text: String::new(),
        hosts,
        at,
    };
    deliver(connection, &question, subscription)
}

/// Stores the notice; `false` when it is there already.
fn insert(connection: &Connection, notice: &Accepted) -> rusqlite::Result<bool> {
    let Accepted {
        identity,
        id,
        text,
        at,
        ..
    } = notice;
    Ok(connection
        .prepare_cached(NOTICE)?
        .execute(params![identity, id, text, at])?
        == 1)
}

fn deliver(connection: &Connection, notice: &Accepted, subscription: &str) -> rusqlite::Result<()> {
    let Accepted {
        identity,
        about,
        hosts,
        at,
        ..
    } = notice;
    let values = params![identity, subscription, about, at, hosts];
    if connection.prepare_cached(DELIVERY)?.execute(values)? == 1 {
        let number = connection.last_insert_rowid();
        connection
            .prepare_cached(LANES)?
            .execute(params![subscription, number, hosts])?;
    }
    Ok(())
}

/// The console and every confirmed subscription whose filter lets the notice through. A filter that cannot be read does:
/// better a notice too many.
fn listeners(connection: &Connection, notice: &Notice) -> rusqlite::Result<Vec<String>> {
    let mut listeners = vec![CONSOLE.to_owned()];
    let mut statement = connection
        .prepare_cached("SELECT id, filter FROM subscriptions WHERE token IS NULL ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let wanted = subscriptions::filter(row).map_or(true, |filter| filter.lets_through(notice));
        // An id that is no text cannot be matched with its row again; nobody could deliver to it.
        if let (true, Ok(id)) = (wanted, row.get("id")) {
            listeners.push(id);
        }
    }
    Ok(listeners)
}
