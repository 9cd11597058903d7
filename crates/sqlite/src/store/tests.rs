use std::fs;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tempfile::TempDir;

use super::*;

fn fresh() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path()).unwrap();
    (dir, store)
}

/// Stores `name` in the table `system`.
async fn put(store: &Store, name: &str) -> Result<(), WriteError> {
    let name = name.to_owned();
    let write = store.try_write(Steps::One, move |connection| {
        connection
            .execute("INSERT INTO system (name, value) VALUES (?1, '')", [name])
            .map(drop)
    });
    write.await
}

/// What another process sees: the names in the table `system`.
fn stored(store: &Store) -> Vec<String> {
    names(&Connection::open(store.path()).unwrap()).unwrap()
}

fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM system ORDER BY name")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

#[tokio::test]
async fn what_is_answered_is_committed() {
    let (_dir, store) = fresh();
    let names: Vec<_> = (0..1_000).map(|i| format!("{i:04}")).collect();
    let writes = names.iter().map(async |name| {
        put(&store, name).await.unwrap();
        let connection = Connection::open(store.path()).unwrap();
        connection
            .query_row("SELECT 1 FROM system WHERE name = ?1", [name], |_| Ok(()))
            .unwrap();
    });
    join_all(writes).await;
    assert_eq!(stored(&store), names);
}

#[tokio::test]
async fn a_failing_write_undoes_only_itself() {
    let (_dir, store) = fresh();
    let failing = store.try_write(Steps::Several, |connection| {
        connection.execute("INSERT INTO system (name, value) VALUES ('half', '')", [])?;
        connection
            .execute("INSERT INTO nowhere VALUES (1)", [])
            .map(drop)
    });
    // All three wait while the first holds the thread, and so share a group.
    let (busy, hold) = mpsc::channel::<()>();
    let first = store.try_write(Steps::One, move |_| {
        hold.recv().ok();
        Ok(())
    });
    let release = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(busy);
    };
    let (_, before, failed, after, ()) = tokio::join!(
        first,
        put(&store, "before"),
        failing,
        put(&store, "after"),
        release
    );
    before.unwrap();
    after.unwrap();
    assert!(
        matches!(&failed, Err(WriteError::Refused(cause)) if cause.contains("nowhere")),
        "{failed:?}"
    );
    assert_eq!(stored(&store), ["after", "before"]);
}

#[tokio::test]
async fn a_panic_is_answered_and_stores_nothing() {
    let (_dir, store) = fresh();
    let panicking = store.try_write::<()>(Steps::Several, |connection| {
        connection.execute("INSERT INTO system (name, value) VALUES ('half', '')", [])?;
        panic!("a test panics on purpose")
    });
    assert!(matches!(panicking.await, Err(WriteError::Refused(_))));
    put(&store, "after").await.unwrap();
    assert_eq!(stored(&store), ["after"]);
}

#[tokio::test]
async fn a_cancelled_caller_disturbs_nobody() {
    let (_dir, store) = fresh();
    let (release, hold) = mpsc::channel::<()>();
    let mut busy = Box::pin(store.try_write(Steps::One, move |_| {
        hold.recv().ok();
        Ok(())
    }));
    assert!(busy.as_mut().now_or_never().is_none());
    assert!(put(&store, "cancelled").now_or_never().is_none());
    drop((release, busy));
    put(&store, "after").await.unwrap();
    assert_eq!(stored(&store), ["after", "cancelled"]);
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let (_dir, store) = fresh();
    let (release, hold) = mpsc::channel::<()>();
    let other = store.clone();
    let blocked = tokio::spawn(async move {
        let write = other.try_write(Steps::One, move |_| {
            hold.recv().ok();
            Ok(())
        });
        write.await.unwrap();
    });
    let mut waiting = tokio::task::JoinSet::new();
    let refused = loop {
        let store = store.clone();
        waiting.spawn(async move { put(&store, "x").await });
        tokio::task::yield_now().await;
        if let Some(ended) = waiting.try_join_next() {
            break ended.unwrap();
        }
        assert!(waiting.len() <= QUEUE + GROUP_AND_MORE, "the queue grows");
    };
    assert!(
        matches!(&refused, Err(WriteError::Refused(c)) if c == "the queue of writes is full"),
        "{refused:?}"
    );
    drop(release);
    blocked.await.unwrap();
}

/// What the writer may have taken out of the queue already.
const GROUP_AND_MORE: usize = 1_024;

#[tokio::test]
async fn a_full_disk_refuses_and_heals() {
    let (_dir, store) = fresh();
    let fill = |blob: usize| {
        let bytes = " ".repeat(blob);
        store.try_write(Steps::One, move |connection| {
            connection
                .execute(
                    "INSERT INTO system (name, value) VALUES ('big', ?1)",
                    [bytes],
                )
                .map(drop)
        })
    };
    let limit = store.try_write(Steps::One, |connection| {
        // The stand-in for a disk that is full: it belongs to the connection and goes with it.
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    });
    limit.await.unwrap();
    let refused = fill(100_000).await;
    assert!(
        matches!(&refused, Err(WriteError::Refused(c)) if c.starts_with("the disk is full")),
        "{refused:?}"
    );
    fill(100_000).await.unwrap();
    assert_eq!(stored(&store), ["big"]);
}

#[tokio::test]
async fn a_connection_that_met_an_error_is_not_used_again() {
    let (_dir, store) = fresh();
    let mark = |sql: &'static str| {
        store.try_write(Steps::One, move |connection| connection.execute(sql, []))
    };
    mark("CREATE TEMP TABLE mark (a)").await.unwrap();
    mark("INSERT INTO mark VALUES (1)").await.unwrap();
    mark("INSERT INTO nowhere VALUES (1)").await.unwrap_err();
    let gone = mark("INSERT INTO mark VALUES (1)").await;
    assert!(
        matches!(&gone, Err(WriteError::Refused(c)) if c.contains("no such table: mark")),
        "{gone:?}"
    );
}

#[tokio::test]
async fn a_deleted_or_replaced_file_is_an_error_until_it_is_back() {
    let (dir, store) = fresh();
    let kept = dir.path().join("kept.db");
    let refused = async || {
        let write = put(&store, "x").await.unwrap_err().to_string();
        let read = store.read("system", names).await.unwrap_err().to_string();
        for error in [write, read] {
            assert!(error.contains("was deleted or replaced"), "{error}");
        }
    };
    put(&store, "old").await.unwrap();
    assert_eq!(store.read("system", names).await.unwrap(), ["old"]);
    fs::rename(store.path(), &kept).unwrap();
    refused().await;
    assert!(!store.path().exists(), "nothing is made in its place");

    let (other_dir, other) = fresh();
    put(&other, "other").await.unwrap();
    drop(other);
    fs::rename(other_dir.path().join("heartbeat.db"), store.path()).unwrap();
    refused().await;
    fs::rename(&kept, store.path()).unwrap();
    put(&store, "new").await.unwrap();
    assert_eq!(stored(&store), ["new", "old"]);
}

fn count(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM system", [], |row| row.get(0))
}

#[tokio::test]
async fn a_file_deleted_during_a_write_is_not_acknowledged() {
    let (_dir, store) = fresh();
    let path = store.path().to_owned();
    let write = store.try_write(Steps::One, move |_| {
        fs::remove_file(path).unwrap();
        Ok(())
    });
    assert!(matches!(write.await, Err(WriteError::Unknown(_))));
    let after = put(&store, "after").await;
    assert!(matches!(after, Err(WriteError::Refused(_))), "{after:?}");
}

#[tokio::test]
async fn a_dropped_table_fails_by_name_until_it_is_back() {
    let (_dir, store) = fresh();
    let connection = Connection::open(store.path()).unwrap();
    connection
        .execute_batch("ALTER TABLE system RENAME TO away")
        .unwrap();
    assert!(
        matches!(put(&store, "a").await, Err(WriteError::Refused(c)) if c.contains("no such table: system"))
    );
    let error = store.read("system", count).await.unwrap_err().to_string();
    assert!(
        error.contains("heartbeat.db is unavailable: no such table: system"),
        "{error}"
    );
    connection
        .execute_batch("ALTER TABLE away RENAME TO system")
        .unwrap();
    put(&store, "a").await.unwrap();
    assert_eq!(store.read("system", count).await.unwrap(), 1);
}

#[tokio::test]
async fn a_folder_that_is_gone_is_not_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, away) = (parent.path().join("data"), parent.path().join("away"));
    let store = Store::create(&dir).unwrap();
    fs::rename(&dir, &away).unwrap();
    let refused = put(&store, "a").await;
    assert!(
        matches!(&refused, Err(WriteError::Refused(c)) if c.contains("data cannot be used")),
        "{refused:?}"
    );
    assert!(!dir.exists());
    fs::rename(&away, &dir).unwrap();
    put(&store, "a").await.unwrap();
    assert_eq!(stored(&store), ["a"]);
}

#[tokio::test]
async fn reads_do_not_wait_for_a_write() {
    let (_dir, store) = fresh();
    let (release, hold) = mpsc::channel::<()>();
    let write = store.try_write(Steps::One, move |connection| {
        connection.execute("INSERT INTO system (name, value) VALUES ('slow', '')", [])?;
        hold.recv().ok();
        Ok(())
    });
    let reads = async {
        let reads = (0..10).map(|_| store.read("system", count));
        assert!(
            join_all(reads)
                .await
                .into_iter()
                .all(|count| count.unwrap() == 0)
        );
        drop(release);
    };
    let (written, ()) = tokio::join!(write, reads);
    written.unwrap();
    assert_eq!(store.read("system", count).await.unwrap(), 1);
}

#[test]
fn many_open_a_fresh_folder_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let opening: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Store::create(dir.path()).map(drop)))
            .collect();
        for opened in opening {
            opened.join().unwrap().unwrap();
        }
    });
}

#[test]
fn what_is_no_database_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("heartbeat.db"),
        "certainly no database, only a text of some length",
    )
    .unwrap();
    let error = Store::create(dir.path()).unwrap_err().to_string();
    assert!(error.contains("the file is no SQLite database"), "{error}");
    let error = Store::create(dir.path().join("heartbeat.db"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("data folder"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let store = Store::create(&dir).unwrap();
    put(&store, "a").await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in ["heartbeat.db", "heartbeat.db-wal", "heartbeat.db-shm"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
}
