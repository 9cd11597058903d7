//! Heartbeats in SQLite: one row a host and region, one statement a beat.

use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    Failure, Heartbeat, HostKey, Key, KeyId, Log, Message, Run, Signal, Timestamp, limits,
};
use hb_service::ports::{Cursor, Heard, Heartbeats, Page, PortResult, Segment};
use rusqlite::{Connection, Row, named_params, params};

use crate::row::{self, Decoded};
use crate::store::{Steps, Store};
use crate::system;

const TABLE: &str = "heartbeats";

/// [`Heartbeat::recorded`] but for the key: the newer beat wins and so does the newer failure, each by itself, unless it
/// is later than `:ahead`.
macro_rules! merge {
    () => {
        "first = min(first, :first),
        last = iif(last > :ahead, :last, max(last, :last)),
        interval = iif(:last >= last OR last > :ahead, :interval, interval),
        signal = iif(:last >= last OR last > :ahead, :signal, signal),
        failed = iif(:failed >= ifnull(failed, 0) OR :failed IS NOT NULL AND failed > min(last, :ahead), :failed, failed),
        message = iif(:failed >= ifnull(failed, 0) OR :failed IS NOT NULL AND failed > min(last, :ahead), :message,
            message),
        address = iif(:last >= last OR last > :ahead, :address, address),
        grace = iif(:last >= last OR last > :ahead, :grace, grace),
        run_id = iif(:last >= last OR last > :ahead, :run_id, run_id),
        run_took = iif(:run_id = run_of AND :last >= run, min(ifnull(run_took, :last - run), :last - run), run_took),
        first_interval = iif(:first < first, ifnull(:first_interval, first_interval),
            ifnull(first_interval, :first_interval))"
    };
}

/// A beat of a known host with the key of the one before. Other writes of a key run triggers, which cost as much as the
/// rest of the beat.
const REPEAT: &str = concat!(
    "UPDATE heartbeats SET ",
    merge!(),
    " WHERE fleet = :fleet AND host = :host AND region = :region AND key IS :key"
);

/// Any beat. Nothing is written of a new host when its key has `:most` hosts.
const RECORD: &str = concat!(
    "INSERT INTO heartbeats (fleet, host, region, first, last, interval, signal, failed, message, key, first_interval,
        address, grace, run_id, run, run_limit, run_of, logged, log)
    SELECT :fleet, :host, :region, :first, :last, :interval, :signal, :failed, :message, :key, :first_interval,
        :address, :grace, :run_id, :run, :run_limit, :run_of, :logged, :log
    WHERE :most IS NULL OR EXISTS (SELECT 1 FROM heartbeats WHERE fleet = :fleet AND host = :host)
        OR NOT EXISTS (SELECT 1 FROM keys WHERE id = :key AND hosts >= ifnull(max_hosts, :most))
    ON CONFLICT (fleet, host, region) DO UPDATE SET ",
    merge!(),
    ", key = iif(:last >= last OR last > :ahead, :key, key)"
);

/// A start or a log of a known host, the same: the later one wins. What has ended the run may have come before.
const NOTE: &str = "
    UPDATE heartbeats SET
        run_took = CASE
            WHEN :run IS NULL OR :run < run AND run <= :ahead THEN run_took
            WHEN :run = run AND run_took IS NOT NULL THEN run_took
            WHEN :run_of = run_id AND last >= :run THEN last - :run
        END,
        run = iif(:run >= ifnull(run, 0) OR :run IS NOT NULL AND run > :ahead, :run, run),
        run_limit = iif(:run >= ifnull(run, 0) OR :run IS NOT NULL AND run > :ahead, :run_limit, run_limit),
        run_of = iif(:run >= ifnull(run, 0) OR :run IS NOT NULL AND run > :ahead, :run_of, run_of),
        log = iif(:logged >= ifnull(logged, 0), :log, log),
        logged = iif(:logged >= ifnull(logged, 0), :logged, logged)
    WHERE fleet = :fleet AND host = :host AND region = :region";

/// Replaces the instants of a row that was not written since they were read.
const MEND: &str = "
    UPDATE heartbeats SET first = ?4, last = ?5, failed = ?6
    WHERE fleet = ?1 AND host = ?2 AND region = ?3 AND first = ?7 AND last = ?8 AND failed IS ?9";

const LOAD: &str = "
    SELECT fleet, host, region, first, last, interval, signal, failed, message, key, first_interval, address, grace,
        run_id, run, run_limit, run_of, run_took, logged, log
    FROM heartbeats
    WHERE fleet = ?1 AND host = ?2 ORDER BY region";

/// Without the messages, which a scan of all hosts does not need.
const SCAN: &str = "
    SELECT fleet, host, region, first, last, interval, signal, failed, NULL AS message, key, first_interval, address,
        grace, run_id, run, run_limit, run_of, run_took, NULL AS logged, NULL AS log
    FROM heartbeats
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
        self.record_up_to(heard, None).await.map(drop)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(host = %heard.key), err(level = "debug"))]
    async fn record_with(&self, heard: &Heard, _: &Key) -> PortResult<bool> {
        self.record_up_to(heard, Some(limits::KEY_HOSTS)).await
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
                ":signal": 0, ":failed": None::<i64>, ":message": None::<String>, ":ahead": 0, ":key": None::<String>,
                ":first_interval": None::<i64>, ":address": None::<String>, ":grace": None::<i64>,
                ":run_id": None::<i64>, ":run": None::<i64>, ":run_limit": None::<i64>, ":run_of": None::<i64>,
                ":logged": None::<i64>, ":log": None::<String>, ":most": None::<u32>,
            })?;
            connection
                .prepare_cached("DELETE FROM heartbeats WHERE fleet = ''")?
                .execute([])?;
            system::probe(connection)
        })
        .await
    }
}

impl Store {
    async fn record_up_to(&self, heard: &Heard, most: Option<u32>) -> PortResult<bool> {
        let (heard, clock) = (heard.clone(), self.clock());
        self.write(TABLE, Steps::One, move |connection| {
            // Here, in the thread that writes: the beat may have waited.
            let now = clock.map_or(heard.heartbeat.last, |clock| clock.now());
            record(connection, &heard, now, most)
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

/// Whether it was recorded, and not refused because its key has `most` hosts, or as many as it was limited to.
fn record(
    connection: &Connection,
    heard: &Heard,
    now: Timestamp,
    most: Option<u32>,
) -> rusqlite::Result<bool> {
    let place = named_params! {
        ":fleet": heard.key.fleet.as_str(),
        ":host": heard.key.host.as_str(),
        ":region": heard.region.as_str(),
    };
    let note = heard.heartbeat.is_note();
    // Of a host that is not known yet, a note is stored as well.
    let heartbeat = heard.heartbeat.clone().stored();
    let Heartbeat {
        first,
        last,
        interval,
        signal,
        run_id,
        run,
        log,
        failure,
        key,
        first_interval,
        address,
        grace,
    } = &heartbeat;
    let notes = named_params! {
        ":run": run.map(|run| run.at.as_millis()),
        ":run_limit": run.and_then(|run| run.limit).map(row::millis),
        ":run_of": run.and_then(|run| run.id).map(row::millis),
        ":logged": log.as_ref().map(|log| log.at.as_millis()),
        ":log": log.as_ref().map(|log| log.message.as_str()),
    };
    let ahead = now.max(*last).plus(limits::FUTURE_SKEW).as_millis();
    let ahead = named_params! {":ahead": ahead};
    if note {
        let values = [place, notes, ahead].concat();
        if connection.prepare_cached(NOTE)?.execute(&values[..])? > 0 {
            return Ok(true);
        }
    }
    let beat = named_params! {
        ":first": first.as_millis(),
        ":last": last.as_millis(),
        ":interval": row::millis(*interval),
        ":signal": *signal == Signal::Fail,
        ":run_id": run_id.map(row::millis),
        ":failed": failure.as_ref().map(|failure| failure.at.as_millis()),
        ":message": failure.as_ref().and_then(|failure| failure.message.as_ref()).map(Message::as_str),
        ":key": key.as_ref().map(KeyId::as_str),
        ":first_interval": first_interval.map(row::millis),
        ":address": address.map(|address| address.to_string()),
        ":grace": grace.map(row::millis),
    };
    let values = [place, beat, ahead].concat();
    if !note && connection.prepare_cached(REPEAT)?.execute(&values[..])? > 0 {
        return Ok(true);
    }
    let values = [&values[..], notes, named_params! {":most": most}].concat();
    let recorded = connection.prepare_cached(RECORD)?.execute(&values[..])?;
    Ok(recorded > 0)
}

/// Columns by number: finding twenty by name takes longer than the rest of a scan.
pub(crate) fn heard(row: &Row<'_>) -> Result<Heard, row::Cause> {
    const SIGNAL: usize = 6;
    let message = row::get::<Option<String>>(row, 8)?.map(Message::from);
    let logged = Message::from(row::get::<Option<String>>(row, 19)?.unwrap_or_default());
    Ok(Heard {
        key: HostKey::new(row::parsed(row, 0)?, row::parsed(row, 1)?),
        region: row::parsed(row, 2)?,
        heartbeat: Heartbeat {
            first: row::instant(row, 3)?,
            last: row::instant(row, 4)?,
            grace: row::optional_millis(row, 12)?,
            interval: row::optional_millis(row, 5)?.ok_or_else(|| row::wrong(row, 5, "NULL"))?,
            signal: match row::get::<i64>(row, SIGNAL)? {
                0 => Signal::Ok,
                1 => Signal::Fail,
                other => {
                    let cause = format!("{other} is neither 0 nor 1");
                    return Err(row::wrong(row, SIGNAL, cause));
                }
            },
            run_id: row::optional_millis(row, 13)?,
            run: run(row)?,
            log: row::optional_instant(row, 18)?.map(|at| Log {
                at,
                message: logged,
            }),
            failure: row::optional_instant(row, 7)?.map(|at| Failure { at, message }),
            key: row::optional(row, 9)?,
            first_interval: row::optional_millis(row, 10)?,
            address: row::optional(row, 11)?,
        }
        // No note, even if somebody wrote 0 as its last beat.
        .stored(),
    })
}

fn run(row: &Row<'_>) -> Result<Option<Run>, row::Cause> {
    let Some(at) = row::optional_instant(row, 14)? else {
        return Ok(None);
    };
    let took: Option<u64> = row::optional_millis(row, 17)?;
    Ok(Some(Run {
        at,
        limit: row::optional_millis(row, 15)?,
        id: row::optional_millis(row, 16)?,
        took: took.map(Duration::from_millis),
    }))
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
                record(&connection, &heard, Timestamp::MIN, None).unwrap();
            }
            let mut statement = connection.prepare(LOAD).unwrap();
            let rows = row::all(statement.query(["main", "web-01"]).unwrap(), 3, heard).unwrap();
            let stored: Vec<_> = rows.into_iter().map(|row| row.unwrap().heartbeat).collect();
            prop_assert_eq!(stored, Vec::from_iter(expected));
        }
    }
}
