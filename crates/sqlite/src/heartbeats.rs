//! Heartbeats in SQLite: one row a host and region, one statement a beat.

use async_trait::async_trait;
use hb_domain::{Failure, Heartbeat, HostKey, Interval, Message, Signal, Timestamp, limits};
use hb_service::ports::{Cursor, Heard, Heartbeats, Page, PortResult, Segment};
use rusqlite::{Connection, Row, named_params, params};

use crate::row::{self, Decoded};
use crate::store::{Steps, Store};
use crate::system;

const TABLE: &str = "heartbeats";

/// [`Heartbeat::recorded`] as one statement: the newer beat wins and so does the newer failure, each by itself, unless
/// it is later than `:ahead`.
const RECORD: &str = "
    INSERT INTO heartbeats (fleet, host, region, first, last, interval, signal, failed, message)
    VALUES (:fleet, :host, :region, :first, :last, :interval, :signal, :failed, :message)
    ON CONFLICT (fleet, host, region) DO UPDATE SET
        first = min(first, excluded.first),
        last = iif(last > :ahead, excluded.last, max(last, excluded.last)),
        interval = iif(excluded.last >= last OR last > :ahead, excluded.interval, interval),
        signal = iif(excluded.last >= last OR last > :ahead, excluded.signal, signal),
        failed = iif(excluded.failed >= ifnull(failed, 0) OR excluded.failed IS NOT NULL AND failed > min(last, :ahead),
            excluded.failed, failed),
        message = iif(excluded.failed >= ifnull(failed, 0) OR excluded.failed IS NOT NULL AND failed > min(last, :ahead),
            excluded.message, message)";

/// Replaces the instants of a row that was not written since they were read.
const MEND: &str = "
    UPDATE heartbeats SET first = ?4, last = ?5, failed = ?6
    WHERE fleet = ?1 AND host = ?2 AND region = ?3 AND first = ?7 AND last = ?8 AND failed IS ?9";

const LOAD: &str = "
    SELECT fleet, host, region, first, last, interval, signal, failed, message FROM heartbeats
    WHERE fleet = ?1 AND host = ?2 ORDER BY region";

/// Without the message, which a scan of all hosts does not need.
const SCAN: &str = "
    SELECT fleet, host, region, first, last, interval, signal, failed, NULL AS message FROM heartbeats
    WHERE (fleet, host, region) > (?1, ?2, ?3)
    ORDER BY fleet, host, region LIMIT ?4";

/// All regions or none: a host that still beats in one is kept.
const FORGET: &str = "
    DELETE FROM heartbeats WHERE fleet = ?1 AND host = ?2 AND NOT EXISTS
    (SELECT 1 FROM heartbeats WHERE fleet = ?1 AND host = ?2 AND last > ?3)";

#[async_trait]
impl Heartbeats for Store {
    #[tracing::instrument(level = "debug", skip_all, fields(host = %heard.key), err(level = "debug"))]
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        let (heard, clock) = (heard.clone(), self.clock());
        self.write(TABLE, Steps::One, move |connection| {
            // Here, in the thread that writes: the beat may have waited.
            let now = clock.map_or(heard.heartbeat.last, |clock| clock.now());
            record(connection, &heard, now)
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%host), err(level = "debug"))]
    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        let host = host.clone();
        let rows = self.read(TABLE, move |connection| load(connection, &host));
        readable(&self.what(TABLE), rows.await?)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(hosts = hosts.len()))]
    async fn load_many(&self, hosts: &[HostKey]) -> Vec<PortResult<Vec<Heard>>> {
        let keys = hosts.to_vec();
        let loaded = self.read(TABLE, move |connection| {
            keys.iter()
                .map(|host| load(connection, host))
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        if let Ok(loaded) = loaded.await {
            let what = self.what(TABLE);
            return loaded
                .into_iter()
                .map(|rows| readable(&what, rows))
                .collect();
        }
        let mut loaded = Vec::with_capacity(hosts.len());
        for host in hosts {
            loaded.push(self.load(host).await);
        }
        loaded
    }

    #[tracing::instrument(level = "debug", skip_all, fields(segment = segment.index), err(level = "debug"))]
    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        if segment.index > 0 {
            return Ok(Page::default());
        }
        let [fleet, host, region] = row::position(after.as_ref())?;
        self.read(TABLE, move |connection| {
            let mut statement = connection.prepare_cached(SCAN)?;
            let rows = statement.query(params![fleet, host, region, row::PAGE])?;
            row::page(rows, 3, heard)
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(hosts = ahead.len()), err(level = "debug"))]
    async fn mend(&self, ahead: &[Heard], now: Timestamp) -> PortResult<()> {
        let ahead = ahead.to_vec();
        self.write(TABLE, Steps::Several, move |connection| {
            let mut mend = connection.prepare_cached(MEND)?;
            for Heard {
                key,
                region,
                heartbeat,
            } in ahead
            {
                let [old, new] = [heartbeat.clone(), heartbeat.as_of(now)].map(|heartbeat| {
                    let failed = heartbeat.failure.map(|failure| failure.at.as_millis());
                    let beats = (heartbeat.first.as_millis(), heartbeat.last.as_millis());
                    (beats, failed)
                });
                let (fleet, host, region) =
                    (key.fleet.as_str(), key.host.as_str(), region.as_str());
                let ((first, last), failed) = new;
                let ((old_first, old_last), old_failed) = old;
                mend.execute(params![
                    fleet, host, region, first, last, failed, old_first, old_last, old_failed
                ])?;
            }
            Ok(())
        })
        .await
    }

    fn behind(&self, host: &HostKey) -> Cursor {
        // Greater than every region name.
        row::behind(&[host.fleet.as_str(), host.host.as_str(), "\u{10ffff}"])
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%host), err(level = "debug"))]
    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()> {
        let host = host.clone();
        self.write(TABLE, Steps::One, move |connection| {
            let values = params![host.fleet.as_str(), host.host.as_str(), up_to.as_millis()];
            connection.prepare_cached(FORGET)?.execute(values).map(drop)
        })
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn check(&self) -> PortResult<()> {
        self.write(TABLE, Steps::Several, |connection| {
            // No host has the empty name, and no other connection sees the row.
            connection.prepare_cached(RECORD)?.execute(named_params! {
                ":fleet": "", ":host": "", ":region": "", ":first": 0, ":last": 0, ":interval": 0,
                ":signal": 0, ":failed": None::<i64>, ":message": None::<String>, ":ahead": 0,
            })?;
            connection
                .prepare_cached("DELETE FROM heartbeats WHERE fleet = ''")?
                .execute([])?;
            system::probe(connection)
        })
        .await
    }
}

fn load(connection: &Connection, host: &HostKey) -> rusqlite::Result<Vec<Decoded<Heard>>> {
    let mut statement = connection.prepare_cached(LOAD)?;
    let rows = statement.query([host.fleet.as_str(), host.host.as_str()])?;
    row::all(rows, 3, heard)
}

fn readable(what: &str, rows: Vec<Decoded<Heard>>) -> PortResult<Vec<Heard>> {
    rows.into_iter()
        .map(|decoded| row::readable(what, decoded))
        .collect()
}

fn record(connection: &Connection, heard: &Heard, now: Timestamp) -> rusqlite::Result<()> {
    let Heartbeat {
        first,
        last,
        interval,
        signal,
        failure,
    } = &heard.heartbeat;
    connection.prepare_cached(RECORD)?.execute(named_params! {
        ":fleet": heard.key.fleet.as_str(),
        ":host": heard.key.host.as_str(),
        ":region": heard.region.as_str(),
        ":first": first.as_millis(),
        ":last": last.as_millis(),
        ":interval": i64::try_from(interval.as_millis()).unwrap_or(i64::MAX),
        ":signal": *signal == Signal::Fail,
        ":failed": failure.as_ref().map(|failure| failure.at.as_millis()),
        ":message": failure.as_ref().and_then(|failure| failure.message.as_ref()).map(Message::as_str),
        ":ahead": now.max(*last).plus(limits::FUTURE_SKEW).as_millis(),
    })?;
    Ok(())
}

/// Columns by number: finding nine by name takes longer than the rest of a scan.
fn heard(row: &Row<'_>) -> Result<Heard, row::Cause> {
    const INTERVAL: usize = 5;
    const SIGNAL: usize = 6;
    let millis =
        u64::try_from(row::get::<i64>(row, INTERVAL)?).map_err(|e| row::wrong(row, INTERVAL, e))?;
    let message = row::get::<Option<String>>(row, 8)?.map(Message::from);
    Ok(Heard {
        key: HostKey::new(row::parsed(row, 0)?, row::parsed(row, 1)?),
        region: row::parsed(row, 2)?,
        heartbeat: Heartbeat {
            first: row::instant(row, 3)?,
            last: row::instant(row, 4)?,
            interval: Interval::from_millis(millis).map_err(|e| row::wrong(row, INTERVAL, e))?,
            signal: match row::get::<i64>(row, SIGNAL)? {
                0 => Signal::Ok,
                1 => Signal::Fail,
                other => {
                    let cause = format!("{other} is neither 0 nor 1");
                    return Err(row::wrong(row, SIGNAL, cause));
                }
            },
            failure: row::optional_instant(row, 7)?.map(|at| Failure { at, message }),
        },
    })
}

#[cfg(test)]
mod tests {
    use hb_domain::strategy;
    use hb_domain::{Fleet, Region};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_scan_page_is_one_index_seek() {
        let plan = crate::schema::plan(SCAN);
        assert_eq!(
            plan,
            "SEARCH heartbeats USING PRIMARY KEY ((fleet,host,region)>(?,?,?))"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn the_statement_merges_as_the_domain_does(history in strategy::history()) {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(&crate::schema::newest()).unwrap();
            let key = HostKey::new(Fleet::main(), "web-01".parse().unwrap());
            let mut expected: Option<Heartbeat> = None;
            for heartbeat in history {
                expected = Some(match expected {
                    Some(before) => before.recorded(heartbeat.clone(), Timestamp::MIN),
                    None => heartbeat.clone(),
                });
                let heard = Heard { key: key.clone(), region: Region::local(), heartbeat };
                record(&connection, &heard, Timestamp::MIN).unwrap();
            }
            let mut statement = connection.prepare(LOAD).unwrap();
            let rows = row::all(statement.query(["main", "web-01"]).unwrap(), 3, heard).unwrap();
            let stored: Vec<_> = rows.into_iter().map(|row| row.unwrap().heartbeat).collect();
            prop_assert_eq!(stored, Vec::from_iter(expected));
        }
    }
}
