//! Backups: a database in one file, made while servers write it, checked, and put back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::copy::{Rows, Snapshot, check, free_path, sync_folder};
use crate::error::StoreError;
use crate::folder::{self, FILE, beside};
use crate::prepare::alone;
use crate::schema;

/// A backup that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The version of its schema.
    pub version: i64,
    /// What is in it.
    pub rows: Rows,
}

/// A backup that was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The database.
    pub path: PathBuf,
    /// What is in it.
    pub rows: Rows,
    /// Where the database is that was there before.
    pub replaced: Option<PathBuf>,
}

/// A checked copy of the database in `dir`, of one instant, in the folder `to`. Servers go on meanwhile. `progress` gets
/// the pages copied and all pages.
pub fn backup(
    dir: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Snapshot, StoreError> {
    let (dir, path) = folder::find(dir)?;
    folder::check_owner(&dir)?;
    folder::check_owner(&path)?;
    let locked = folder::lock(&dir)?;
    let source = open(&path, folder::connect)?;
    drop(locked);
    Snapshot::take(&source, &path, to, progress)
}

/// Looks at every page of the backup `file` and counts what is in it.
pub fn verify(file: &Path) -> Result<Verified, StoreError> {
    let source = open(file, folder::look)?;
    let version = version(&source, file)?;
    let rows = check(&source, file)?;
    Ok(Verified { version, rows })
}

/// Puts the backup `file` in the place of the database in `dir`, which no other process may have open. What is there is
/// kept beside it. A backup of an older version is migrated. The incarnation is left out, so that a new one is drawn.
pub fn restore(
    file: &Path,
    dir: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, StoreError> {
    let source = open(file, folder::look)?;
    let dir = folder::make(dir)?;
    let _lock = folder::lock(&dir)?;
    let path = dir.join(FILE);
    if path.exists()
        && let Err(error @ StoreError::InUse { .. }) = alone(&path, "replaced")
    {
        // Any other error is why there is something to restore.
        return Err(error);
    }
    let copy = Snapshot::take(&source, file, &dir, progress)?;
    begin_anew(copy.path())?;
    let rows = copy.rows.clone();
    let replaced = set_aside(&dir, &path).map_err(|source| StoreError::File {
        path: path.clone(),
        source,
    })?;
    copy.keep_in_folder(&path)?;
    Ok(Restored {
        path,
        rows,
        replaced,
    })
}

fn open(
    path: &Path,
    connect: impl Fn(&Path) -> rusqlite::Result<Connection>,
) -> Result<Connection, StoreError> {
    path.metadata().map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })?;
    let connection = connect(path).map_err(|source| StoreError::Database {
        path: path.to_owned(),
        source,
    })?;
    version(&connection, path)?;
    Ok(connection)
}

/// The version of a database that has all tables of that version.
fn version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let version = schema::found(connection, path)?.ok_or_else(|| StoreError::Foreign {
        path: path.to_owned(),
    })?;
    match schema::missing_table(connection, path, version)? {
        None => Ok(version),
        Some(table) => Err(StoreError::Damaged {
            path: path.to_owned(),
            cause: format!("it has no table {table}"),
        }),
    }
}

/// Another life of the data: epochs begin again at those of the backup, and ids of notices must not repeat.
fn begin_anew(path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Database {
        path: path.to_owned(),
        source,
    };
    let mut connection = folder::connect(path).map_err(failed)?;
    schema::migrate(&mut connection, path)?;
    let forget = connection.execute("DELETE FROM incarnations", []);
    forget.map(drop).map_err(failed)
}

/// Moves a database and the files of its log out of the way: SQLite would take that log for the new one's.
fn set_aside(dir: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let to = free_path(dir, "heartbeat-replaced");
    let mut moved = None;
    for suffix in ["", "-journal", "-wal", "-shm"] {
        match fs::rename(beside(path, suffix), beside(&to, suffix)) {
            Ok(()) => moved = Some(to.clone()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    sync_folder(path)?;
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    fn names(connection: &Connection) -> Vec<String> {
        let mut names = connection
            .prepare("SELECT name FROM system ORDER BY name")
            .unwrap();
        let names = names.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    }

    fn put(path: &Path, name: &str) {
        let sql = "INSERT INTO system VALUES (?1, '')";
        let connection = Connection::open(path).unwrap();
        connection.execute(sql, [name]).unwrap();
    }

    fn stored(path: &Path) -> Vec<String> {
        names(&Connection::open(path).unwrap())
    }

    fn ignore(_: u64, _: u64) {}

    /// A folder with a database in which `a` is stored, and a backup of it beside.
    fn backed_up() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        let store = Store::create(&dir).unwrap();
        put(store.path(), "a");
        let file = parent.path().join("backup.db");
        let copy = backup(&dir, parent.path(), &mut ignore).unwrap();
        copy.keep(&file).unwrap();
        (parent, dir, file)
    }

    #[test]
    fn a_backup_is_one_file_of_one_instant_and_is_never_overwritten() {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::create(parent.path()).unwrap();
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
            INSERT INTO system SELECT printf('%05d', i), printf('%01000d', i) FROM n";
        let writer = Connection::open(store.path()).unwrap();
        writer.execute(sql, []).unwrap();
        let (mut written, mut last) = (0, (0, 1));
        let mut progress = |copied, all| {
            // Not at every step: a copy that began anew after each write would never end.
            if written < 3 {
                put(store.path(), &format!("later-{written}"));
                written += 1;
            }
            last = (copied, all);
        };
        let to = tempfile::tempdir().unwrap();
        let copy = backup(parent.path(), to.path(), &mut progress).unwrap();
        assert!(written > 1, "it was written while it was copied");
        assert_eq!(last.0, last.1);
        assert_eq!(copy.rows["system"], 5_000);
        let file = to.path().join("backup.db");
        copy.keep(&file).unwrap();
        assert!(stored(&file).iter().all(|name| !name.contains("later")));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // What has a log cannot be read without a trace.
        let head = fs::read(&file).unwrap();
        assert_eq!(head[18..20], [1, 1], "the formats without a log");

        let before = fs::read(&file).unwrap();
        let again = backup(parent.path(), to.path(), &mut ignore).unwrap();
        let error = again.keep(&file).unwrap_err().to_string();
        assert!(error.contains("File exists"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), before);
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_restored_database_is_as_it_was_without_its_incarnation() {
        let (parent, dir, file) = backed_up();
        let path = dir.join(FILE);
        put(&path, "later");
        let sql = "INSERT INTO incarnations VALUES ('current', 1, 'w', 0, '{}')";
        Connection::open(&path).unwrap().execute(sql, []).unwrap();
        let other = parent.path().join("other.db");
        let copy = backup(&dir, parent.path(), &mut ignore).unwrap();
        copy.keep(&other).unwrap();
        for (file, expected, replaced) in [
            (&file, &["a"][..], "heartbeat-replaced.db"),
            (&other, &["a", "later"], "heartbeat-replaced-2.db"),
        ] {
            let restored = restore(file, &dir, &mut ignore).unwrap();
            assert_eq!(stored(&path), expected);
            assert_eq!(
                restored.replaced,
                Some(restored.path.with_file_name(replaced))
            );
            let count = "SELECT count(*) FROM incarnations";
            let count = Connection::open(&path)
                .unwrap()
                .query_row(count, [], |row| row.get(0));
            assert_eq!(count, Ok(0));
        }
        assert_eq!(stored(&dir.join("heartbeat-replaced.db")), ["a", "later"]);
        assert_eq!(verify(&other).unwrap().rows["incarnations"], 1);
    }

    #[test]
    fn the_log_of_the_replaced_database_is_not_read() {
        let (_parent, dir, file) = backed_up();
        let path = dir.join(FILE);
        // As a server leaves it that was killed; then the database is lost, but not its log.
        let killed = Connection::open(&path).unwrap();
        killed
            .execute("INSERT INTO system VALUES ('logged', '')", [])
            .unwrap();
        let log = fs::read(beside(&path, "-wal")).unwrap();
        drop(killed);
        fs::remove_file(&path).unwrap();
        fs::write(beside(&path, "-wal"), log).unwrap();
        restore(&file, &dir, &mut ignore).unwrap();
        assert!(!beside(&path, "-wal").exists());
        assert_eq!(stored(&path), ["a"]);
        assert!(dir.join("heartbeat-replaced.db-wal").exists());
    }

    #[test]
    fn a_database_in_use_is_not_replaced_and_a_damaged_one_is() {
        let (_parent, dir, file) = backed_up();
        let path = dir.join(FILE);
        let server = Store::open(&dir).unwrap();
        let error = restore(&file, &dir, &mut ignore).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
        drop(server);
        assert!(!dir.join("heartbeat-replaced.db").exists());
        fs::write(&path, "no database any more, but a text of some length").unwrap();
        restore(&file, &dir, &mut ignore).unwrap();
        assert_eq!(stored(&path), ["a"]);
    }

    #[test]
    fn what_is_no_good_backup_changes_nothing() {
        let (parent, dir, file) = backed_up();
        let bad = parent.path().join("bad.db");
        put(&dir.join(FILE), "kept");
        let mut damaged = fs::read(&file).unwrap();
        damaged[4_096..].fill(0x5a);
        let other = parent.path().join("other.db");
        fs::copy(&file, &other).unwrap();
        let drop_keys = "DROP TABLE keys";
        Connection::open(&other)
            .unwrap()
            .execute_batch(drop_keys)
            .unwrap();
        let incomplete = fs::read(&other).unwrap();
        // What no statement here reads.
        let index = "SELECT rootpage FROM sqlite_schema WHERE name = 'deliveries_due'";
        let index: u32 = Connection::open(&file)
            .unwrap()
            .query_row(index, [], |row| row.get(0))
            .unwrap();
        let mut unseen = fs::read(&file).unwrap();
        let end = usize::try_from(index).unwrap() * 4_096;
        unseen[end - 4_096..end].fill(0x5a);
        let mut newer = fs::read(&file).unwrap();
        newer[60..64].copy_from_slice(&700_i32.to_be_bytes());
        for (content, expected) in [
            (&damaged[..], "damaged"),
            (&damaged[..4_096], "bad.db "),
            (&unseen, "is damaged: "),
            (&newer, "has schema version 700"),
            (&incomplete, "is damaged: it has no table keys"),
            (&[], "is not one of Heartbeat"),
            (
                b"a text that is long enough for a head",
                "no SQLite database",
            ),
        ] {
            fs::write(&bad, content).unwrap();
            for error in [
                verify(&bad).unwrap_err(),
                restore(&bad, &dir, &mut ignore).unwrap_err(),
            ] {
                assert!(error.to_string().contains(expected), "{error}");
            }
        }
        fs::remove_file(&bad).unwrap();
        assert!(verify(&bad).is_err() && !bad.exists());
        assert_eq!(stored(&dir.join(FILE)), ["a", "kept"]);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is left");
    }

    #[test]
    fn a_backup_of_an_older_version_is_migrated_as_it_is_restored() {
        let parent = tempfile::tempdir().unwrap();
        let (dir, file) = (parent.path().join("data"), parent.path().join("old.db"));
        let mut old = Connection::open(&file).unwrap();
        schema::make_version(&mut old, 3);
        drop(old);
        put(&file, "old");
        assert_eq!(verify(&file).unwrap().version, 3);
        let restored = restore(&file, &dir, &mut ignore).unwrap();
        assert_eq!(restored.replaced, None);
        drop(Store::open(&dir).unwrap());
        assert_eq!(stored(&restored.path), ["old"]);
        assert_eq!(
            verify(&file).unwrap().version,
            3,
            "the backup stays as it is"
        );
    }
}
