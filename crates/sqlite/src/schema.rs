//! The versions of the schema, and how a database gets from one to the next.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::StoreError;

/// Each step leads from the version of its place to the next. What a release wrote is never edited here: a change
/// of the schema is one more step, a short one right here.
const STEPS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
    include_str!("schema_9.sql"),
    include_str!("schema_10.sql"),
    include_str!("schema_11.sql"),
];

/// Brings the database to the newest version.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    run(connection, path, STEPS)
}

/// The newest version.
pub(crate) fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// The version of the database, `None` of an empty file. An error if a newer `hb` or another program wrote it.
pub(crate) fn found(connection: &Connection, path: &Path) -> Result<Option<i64>, StoreError> {
    let failed = |source| StoreError::Database {
        path: path.to_owned(),
        source,
    };
    let found = version(connection).map_err(failed)?;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = connection
        .query_row(tables, [], |row| row.get(0))
        .map_err(failed)?;
    match found {
        0 if tables == 0 => Ok(None),
        ..=0 => Err(StoreError::Foreign {
            path: path.to_owned(),
        }),
        _ if found > known() => Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: known(),
        }),
        _ => Ok(Some(found)),
    }
}

/// A table that a database of its version has, and this one lacks.
pub(crate) fn missing_table(
    connection: &Connection,
    path: &Path,
    version: i64,
) -> Result<Option<String>, StoreError> {
    let failed = |source| StoreError::Database {
        path: path.to_owned(),
        source,
    };
    let mut whole = Connection::open_in_memory().map_err(failed)?;
    let steps = usize::try_from(version).unwrap_or(0).min(STEPS.len());
    run(&mut whole, path, &STEPS[..steps])?;
    let mut expected = tables(&whole).map_err(failed)?;
    let found = tables(connection).map_err(failed)?;
    expected.retain(|table| !found.contains(table));
    Ok(expected.pop())
}

/// The names of all tables.
pub(crate) fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
    let mut tables = connection.prepare(sql)?;
    tables.query_map([], |row| row.get(0))?.collect()
}

/// An error unless the database has the newest version.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    match found(connection, path)? {
        Some(found) if found == known() => Ok(()),
        Some(found) => Err(StoreError::Older {
            path: path.to_owned(),
            found,
            known: known(),
        }),
        None => Err(StoreError::Missing {
            dir: path.parent().unwrap_or(path).to_owned(),
        }),
    }
}

fn run(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), StoreError> {
    let failed = |source| StoreError::Database {
        path: path.to_owned(),
        source,
    };
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let found = version(&transaction).map_err(failed)?;
    for step in steps.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// All steps, for an empty database.
#[cfg(test)]
pub(crate) fn newest() -> String {
    STEPS.concat()
}

/// Makes a database of an earlier version.
#[cfg(test)]
pub(crate) fn make_version(connection: &mut Connection, version: usize) {
    run(connection, Path::new("test"), &STEPS[..version]).unwrap();
}

/// How SQLite would run `sql`.
#[cfg(test)]
pub(crate) fn plan(sql: &str) -> String {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(&newest()).unwrap();
    let mut statement = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    let values = vec![rusqlite::types::Value::Null; statement.parameter_count()];
    let rows = statement
        .query_map(rusqlite::params_from_iter(values), |row| row.get(3))
        .unwrap();
    rows.map(Result::unwrap).collect::<Vec<String>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest_version() -> i64 {
        i64::try_from(STEPS.len()).unwrap()
    }

    fn statements(connection: &Connection) -> Vec<String> {
        let mut statement = connection
            .prepare("SELECT sql FROM sqlite_schema ORDER BY name")
            .unwrap();
        let rows = statement
            .query_map([], |row| row.get::<_, Option<String>>(0))
            .unwrap();
        rows.filter_map(Result::unwrap).collect()
    }

    #[test]
    fn every_version_reaches_the_newest() {
        let path = Path::new("test");
        let mut fresh = Connection::open_in_memory().unwrap();
        migrate(&mut fresh, path).unwrap();
        for older in 0..=STEPS.len() {
            let mut connection = Connection::open_in_memory().unwrap();
            run(&mut connection, path, &STEPS[..older]).unwrap();
            migrate(&mut connection, path).unwrap();
            assert_eq!(
                statements(&connection),
                statements(&fresh),
                "from version {older}"
            );
        }
    }

    #[test]
    fn version_1_keeps_its_entries_and_its_deliveries_keep_their_places() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, Path::new("test"), &STEPS[..1]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO ledger VALUES ('lab', 'web-01', 3, 'w', 1, '{}'), ('lab', 'web-02', 1, 'w', 0, '{}');
                 INSERT INTO notices VALUES ('i', 'id', '{}', 5);
                 INSERT INTO deliveries (notice, subscription, host, accepted, state, due) VALUES
                     ('i', 'a', 'lab/web-01', 5, 'due', 5), ('j', 'a', 'lab/web-01', 5, 'waiting', 5),
                     ('k', 'a', 'lab/web-01', 5, 'delivered', 5)",
            )
            .unwrap();
        migrate(&mut connection, Path::new("test")).unwrap();
        let text = |sql: &str| {
            connection
                .query_row(sql, [], |row| row.get::<_, String>(0))
                .unwrap()
        };
        assert_eq!(
            text("SELECT group_concat(key || version || open) FROM ledger"),
            "lab/web-0131,lab/web-0210"
        );
        assert_eq!(
            text("SELECT group_concat(subscription || host || number) FROM lanes"),
            "alab/web-011,alab/web-012"
        );
        assert_eq!(text("SELECT group_concat(echoed) FROM notices"), "1");
        connection.execute("DELETE FROM deliveries", []).unwrap();
        assert_eq!(text("SELECT CAST(count(*) AS TEXT) FROM lanes"), "0");
    }

    #[test]
    fn version_3_keeps_since_when_its_deliveries_fail() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, Path::new("test"), &STEPS[..3]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO deliveries (notice, subscription, host, accepted, state, due, tries, tried) VALUES
                     ('i', 'a', 'lab/web-01', 5, 'due', 9, 2, 7), ('j', 'a', 'lab/web-02', 5, 'due', 5, 0, NULL)",
            )
            .unwrap();
        migrate(&mut connection, Path::new("test")).unwrap();
        let sql = "SELECT group_concat(coalesce(failing, '-') || refused || sent) FROM deliveries";
        let kept: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(kept, "700,-00");
    }

    #[test]
    fn later_steps_run_once_and_keep_what_is_stored() {
        let steps = [STEPS, &["ALTER TABLE system ADD COLUMN note TEXT"]].concat();
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Path::new("test")).unwrap();
        connection
            .execute("INSERT INTO system (name, value) VALUES ('a', 'b')", [])
            .unwrap();
        for _ in 0..2 {
            run(&mut connection, Path::new("test"), &steps).unwrap();
        }
        let kept: String = connection
            .query_row("SELECT value FROM system", [], |row| row.get(0))
            .unwrap();
        assert_eq!(
            (kept.as_str(), version(&connection).unwrap()),
            ("b", newest_version() + 1)
        );
    }

    #[test]
    fn a_failing_step_leaves_the_old_version() {
        let steps = [STEPS, &["CREATE TABLE half (a) ; CREATE TABLE system (a)"]].concat();
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Path::new("test")).unwrap();
        let before = statements(&connection);
        assert!(run(&mut connection, Path::new("test"), &steps).is_err());
        assert_eq!(
            (statements(&connection), version(&connection).unwrap()),
            (before, newest_version())
        );
    }

    #[test]
    fn other_versions_are_refused_with_both_numbers() {
        let connection = Connection::open_in_memory().unwrap();
        let said = || {
            check(&connection, Path::new("/data/heartbeat.db"))
                .unwrap_err()
                .to_string()
        };
        assert!(said().starts_with("no heartbeat database in /data"));
        let known = known();
        for (version, message) in [
            (
                700,
                format!(
                    "has schema version 700 and this hb knows versions up to {known}: use the newer hb that wrote it"
                ),
            ),
            (1, format!("has schema version 1 and this hb needs {known}")),
            (-1, "is not one of Heartbeat".to_owned()),
        ] {
            connection
                .pragma_update(None, "user_version", version)
                .unwrap();
            assert_eq!(said(), format!("database /data/heartbeat.db {message}"));
        }
        connection
            .execute_batch("PRAGMA user_version = 0; CREATE TABLE recipes (a)")
            .unwrap();
        assert!(said().ends_with("is not one of Heartbeat"));
    }
}
