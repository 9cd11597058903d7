//! Makes the database of a data folder, or brings it to the newest version. Nothing else does either.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use crate::copy::{Snapshot, free_path};
use crate::error::StoreError;
use crate::folder::{self, FILE};
use crate::schema;

/// How long to wait until other processes have closed the database.
const SOON: Duration = Duration::from_secs(1);

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The database.
    pub path: PathBuf,
    /// Its version before; `None` when it was made.
    pub found: Option<i64>,
    /// Its version now.
    pub version: i64,
    /// A copy of how it was, if it was migrated.
    pub copy: Option<PathBuf>,
}

/// Makes the folder `dir` and its database when they are not there. Migrates a database of an older version, after a
/// copy, and only when no other process has it open.
pub fn prepare(dir: &Path) -> Result<Prepared, StoreError> {
    let dir = folder::make(dir)?;
    let _lock = folder::lock(&dir)?;
    let path = dir.join(FILE);
    folder::make_file(&path).map_err(|source| StoreError::File {
        path: path.clone(),
        source,
    })?;
    folder::check_owner(&path)?;
    let failed = |source| StoreError::Database {
        path: path.clone(),
        source,
    };
    let mut connection = folder::connect(&path).map_err(failed)?;
    let found = schema::found(&connection, &path)?;
    let mut copy = None;
    match found {
        None => {
            let wal = connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()));
            wal.map_err(failed)?;
            schema::migrate(&mut connection, &path)?;
        }
        Some(older) if older < schema::known() => {
            drop(connection);
            let mut connection = alone(&path, "migrated")?;
            let kept = free_path(&dir, &format!("heartbeat-v{older}"));
            Snapshot::take(&connection, &path, &dir, &mut |_, _| ())?.keep_in_folder(&kept)?;
            copy = Some(kept);
            schema::migrate(&mut connection, &path)?;
        }
        Some(_) => {}
    }
    Ok(Prepared {
        path,
        found,
        version: schema::known(),
        copy,
    })
}

/// A connection to a database that no other process has open, nor opens until this is closed.
pub(crate) fn alone(path: &Path, what: &'static str) -> Result<Connection, StoreError> {
    let only = || {
        let connection = folder::connect(path)?;
        connection.busy_timeout(SOON)?;
        connection.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
        connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
        Ok(connection)
    };
    only().map_err(|source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse {
            path: path.to_owned(),
            what,
        },
        _ => StoreError::Database {
            path: path.to_owned(),
            source,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use super::*;
    use crate::Store;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn version(path: &Path) -> i64 {
        let connection = Connection::open(path).unwrap();
        connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    }

    /// A folder with a database of version 4 and one key in it.
    fn older() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        folder::make_file(&path).unwrap();
        let mut connection = Connection::open(&path).unwrap();
        connection
            .pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))
            .unwrap();
        schema::make_version(&mut connection, 4);
        connection
            .execute_batch("INSERT INTO system VALUES ('a', 'b')")
            .unwrap();
        (dir, path)
    }

    #[test]
    fn only_prepare_makes_a_database() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a/b");
        for empty_file in [false, true] {
            if empty_file {
                fs::create_dir_all(&dir).unwrap();
                folder::make_file(&dir.join(FILE)).unwrap();
            }
            let missing = Store::open(&dir).unwrap_err();
            assert!(matches!(missing, StoreError::Missing { .. }), "{missing:?}");
            assert!(empty_file || names(parent.path()).is_empty());
        }
        let made = prepare(&dir).unwrap();
        assert_eq!((made.found, &made.copy), (None, &None));
        assert_eq!(version(&made.path), schema::known());
        drop(Store::open(&dir).unwrap());
        let again = prepare(&dir).unwrap();
        assert_eq!((again.found, again.copy), (Some(schema::known()), None));
    }

    #[test]
    fn a_log_without_its_database_is_not_replayed_into_a_new_one() {
        let (dir, path) = older();
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("INSERT INTO system VALUES ('logged', '')")
            .unwrap();
        let log = fs::read(dir.path().join("heartbeat.db-wal")).unwrap();
        drop(connection);
        fs::remove_file(&path).unwrap();
        fs::write(dir.path().join("heartbeat.db-wal"), log).unwrap();
        assert_eq!(prepare(dir.path()).unwrap().found, None);
        let connection = Connection::open(&path).unwrap();
        let count = "SELECT count(*) FROM system";
        assert_eq!(connection.query_row(count, [], |row| row.get(0)), Ok(0));
    }

    #[test]
    fn an_older_database_is_migrated_after_a_copy() {
        let (dir, path) = older();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Older { found: 4, .. }));
        for copy in ["heartbeat-v4.db", "heartbeat-v4-2.db"] {
            let migrated = prepare(dir.path()).unwrap();
            let copy = dir.path().canonicalize().unwrap().join(copy);
            assert_eq!(
                (migrated.found, migrated.copy),
                (Some(4), Some(copy.clone()))
            );
            assert_eq!((version(&copy), version(&path)), (4, schema::known()));
            let kept =
                Connection::open(&copy)
                    .unwrap()
                    .query_row("SELECT value FROM system", [], |row| row.get(0));
            assert_eq!(kept, Ok("b".to_owned()));
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = fs::metadata(&copy).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
            // As a restored database of the same version.
            let connection = Connection::open(&path).unwrap();
            connection
                .execute_batch(
                    "DROP TABLE fleets; DROP TABLE incarnations; DROP TABLE audit;
                     ALTER TABLE subscriptions DROP COLUMN webhook;
                     DROP TRIGGER hosts_new; DROP TRIGGER hosts_gone; DROP TRIGGER hosts_moved;
                     ALTER TABLE heartbeats DROP COLUMN key; ALTER TABLE heartbeats DROP COLUMN first_interval;
                     ALTER TABLE heartbeats DROP COLUMN address; ALTER TABLE heartbeats DROP COLUMN grace;
                     ALTER TABLE heartbeats DROP COLUMN run_id; ALTER TABLE heartbeats DROP COLUMN run;
                     ALTER TABLE heartbeats DROP COLUMN run_limit; ALTER TABLE heartbeats DROP COLUMN run_of; ALTER TABLE heartbeats DROP COLUMN run_took;
                     ALTER TABLE heartbeats DROP COLUMN logged; ALTER TABLE heartbeats DROP COLUMN log;
                     ALTER TABLE keys DROP COLUMN max_hosts; ALTER TABLE keys DROP COLUMN max_interval;
                     ALTER TABLE keys DROP COLUMN hosts; PRAGMA user_version = 4",
                )
                .unwrap();
        }
        assert_eq!(
            names(dir.path()),
            ["heartbeat-v4-2.db", "heartbeat-v4.db", "heartbeat.db"],
            "nothing is left behind"
        );
    }

    #[test]
    fn a_database_that_is_open_elsewhere_is_not_migrated() {
        let (dir, path) = older();
        let server = Connection::open(&path).unwrap();
        let count = "SELECT count(*) FROM system";
        let read = || server.query_row(count, [], |row| row.get::<_, i64>(0));
        // Between two statements, as a server is most of the time.
        assert_eq!(read(), Ok(1));
        let error = prepare(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
        assert_eq!((version(&path), read()), (4, Ok(1)));
        assert!(!names(dir.path()).iter().any(|name| name.contains("v4")));
        drop(server);
        assert_eq!(prepare(dir.path()).unwrap().found, Some(4));
    }

    #[test]
    fn a_database_of_another_program_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE recipes (a)")
            .unwrap();
        let before = fs::read(&path).unwrap();
        for error in [
            prepare(dir.path()).unwrap_err(),
            Store::open(dir.path()).unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
        }
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[cfg(unix)]
    #[test]
    fn what_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = prepare(dir.path()).unwrap().path;
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (target, good, bad) in [
            (dir.path(), 0o755, [0o775, 0o702]),
            (&*path, 0o644, [0o660, 0o606]),
        ] {
            for mode in bad {
                set(target, mode);
                for error in [
                    prepare(dir.path()).unwrap_err(),
                    Store::open(dir.path()).unwrap_err(),
                ] {
                    let said = format!("others may write it (mode {mode:o})");
                    assert!(error.to_string().ends_with(&said), "{error}");
                }
            }
            set(target, good);
            drop(Store::open(dir.path()).unwrap());
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_folder() {
        use std::os::unix::fs::{MetadataExt, chown};
        let dir = tempfile::tempdir().unwrap();
        if chown(dir.path(), Some(12_345), Some(54_321)).is_err() {
            // Only root can give a folder away.
            return;
        }
        let path = prepare(dir.path()).unwrap().path;
        let owner = fs::metadata(path).unwrap();
        assert_eq!((owner.uid(), owner.gid()), (12_345, 54_321));
    }
}
