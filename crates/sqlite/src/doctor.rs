//! What is wrong with a data folder and its database, without changing either.

use std::path::Path;

use hb_service::doctor::Finding;
use rusqlite::Connection;

use crate::error::StoreError;
use crate::folder::check_owner;
use crate::schema;
use crate::store::Store;

/// With less free space a server stops accepting beats soon.
const SCARCE: u64 = 1 << 30;
/// With less it may do so within the hour: the log of a burst alone takes tens of MB.
const NONE_LEFT: u64 = 64 << 20;

/// What was found, and the database, if it can be read on.
#[derive(Debug)]
pub struct Examined {
    /// The findings.
    pub findings: Vec<Finding>,
    /// Opened read-only; `None` when what is in it would mean nothing to the adapters.
    pub store: Option<Store>,
}

/// Looks at the data folder `dir` and at every page of its database, which takes 2 s a GB where the disk does not hold it up. Works while a
/// server runs on it, and changes nothing.
pub async fn examine(dir: &Path) -> Examined {
    let mut findings = folder(dir);
    let store = match Store::open_read_only(dir) {
        Ok(store) => store,
        Err(error) => {
            findings.push(Finding::problem(
                "database",
                error.to_string(),
                error.next_step(),
            ));
            return Examined {
                findings,
                store: None,
            };
        }
    };
    let path = store.path().to_owned();
    let read = store.read("sqlite_schema", move |connection| {
        Ok((schema::check(connection, &path), quick_check(connection)))
    });
    let (newest, damage) = match read.await {
        Ok(read) => read,
        Err(error) => {
            let next =
                "restore a backup, or save what is left with `sqlite3 heartbeat.db .recover`";
            findings.push(Finding::problem("database", error.to_string(), next));
            return Examined {
                findings,
                store: None,
            };
        }
    };
    let newest = match newest {
        Ok(()) => true,
        Err(error) => {
            let (cause, next) = (error.to_string(), error.next_step());
            findings.push(match error {
                StoreError::Older { .. } => Finding::warning("schema", cause, next),
                _ => Finding::problem("schema", cause, next),
            });
            false
        }
    };
    findings.push(match damage {
        Ok(None) => Finding::ok("database", "SQLite finds no damage"),
        Ok(Some(damage)) => Finding::problem(
            "database",
            format!("it is damaged: {damage}"),
            "stop the server and restore a backup, or save what is left with `sqlite3 heartbeat.db .recover`",
        ),
        Err(error) => Finding::problem("database", error.to_string(), "see to the disk it lies on"),
    });
    Examined {
        findings,
        store: newest.then_some(store),
    }
}

/// The first damage that SQLite finds in its pages.
fn quick_check(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((said != "ok").then_some(said))
}

/// Whether the folder can be written, and how much room is left.
#[cfg(unix)]
fn folder(dir: &Path) -> Vec<Finding> {
    use rustix::fs::{Access, access, statvfs};
    const THING: &str = "data folder";
    let shown = dir.display();
    if !dir.exists() {
        // Opening the database says so with its next step.
        return Vec::new();
    }
    if let Err(error) = access(dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        let next = "run this as the user of the server; if that is you, see to the folder's owner and disk";
        return vec![Finding::problem(
            THING,
            format!("{shown} cannot be written: {error}"),
            next,
        )];
    }
    if let Err(error) = check_owner(dir) {
        return vec![Finding::problem(
            THING,
            error.to_string(),
            error.next_step(),
        )];
    }
    let Ok(disk) = statvfs(dir) else {
        return vec![Finding::ok(THING, shown.to_string())];
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let cause = format!("{shown}, {} MB free", free >> 20);
    let next = "make room: a full disk refuses every beat";
    vec![if free < NONE_LEFT {
        Finding::problem(THING, cause, next)
    } else if free < SCARCE {
        Finding::warning(THING, cause, next)
    } else {
        Finding::ok(THING, cause)
    }]
}

#[cfg(not(unix))]
fn folder(dir: &Path) -> Vec<Finding> {
    vec![Finding::ok("data folder", dir.display().to_string())]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use hb_service::doctor::Verdict;

    use super::*;

    /// Every file of the folder with its content and the time of its last change.
    fn all(dir: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
        let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
        entries
            .map(|entry| {
                let content = (
                    fs::read(entry.path()).unwrap(),
                    entry.metadata().unwrap().modified().unwrap(),
                );
                (entry.file_name().into_string().unwrap(), content)
            })
            .collect()
    }

    fn worst(examined: &Examined) -> Vec<&Finding> {
        examined
            .findings
            .iter()
            .filter(|f| f.thing != "data folder" && f.verdict != Verdict::Ok)
            .collect()
    }

    #[tokio::test]
    async fn a_sound_folder_is_left_as_it_is_open_or_closed() {
        let parent = tempfile::tempdir().unwrap();
        // Signs that mean something in the address of a file.
        let dir = parent.path().join("a?b#c%20");
        let server = Store::create(&dir).unwrap();
        let open = examine(&dir).await;
        assert!(worst(&open).is_empty() && open.store.is_some(), "{open:?}");
        drop((open, server));
        let before = all(&dir);
        let closed = examine(&dir).await;
        assert!(
            worst(&closed).is_empty() && closed.store.is_some(),
            "{closed:?}"
        );
        drop(closed);
        assert_eq!(all(&dir), before);
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_made() {
        let parent = tempfile::tempdir().unwrap();
        let missing = examine(&parent.path().join("none")).await;
        assert_eq!(worst(&missing)[0].verdict, Verdict::Problem);
        let empty = examine(parent.path()).await;
        assert!(
            worst(&empty)[0]
                .next_step
                .as_ref()
                .unwrap()
                .contains("--data-dir"),
            "{empty:?}"
        );
        assert!(all(parent.path()).is_empty());
    }

    #[tokio::test]
    async fn damage_and_other_versions_are_told() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::create(dir.path()).unwrap());
        let path = dir.path().join("heartbeat.db");
        for (version, verdict, step) in [
            (1, Verdict::Warning, "`hb migrate`"),
            (99, Verdict::Problem, "newer hb"),
        ] {
            Connection::open(&path)
                .unwrap()
                .pragma_update(None, "user_version", version)
                .unwrap();
            let examined = examine(dir.path()).await;
            let [finding] = worst(&examined)[..] else {
                panic!("{examined:?}")
            };
            assert!(
                finding.verdict == verdict && finding.next_step.as_ref().unwrap().contains(step),
                "{finding:?}"
            );
            assert!(examined.store.is_none());
        }
        let mut bytes = fs::read(&path).unwrap();
        bytes[4096..].fill(0x5a);
        fs::write(&path, &bytes).unwrap();
        let examined = examine(dir.path()).await;
        assert!(
            worst(&examined)
                .iter()
                .any(|f| f.thing == "database" && f.verdict == Verdict::Problem)
        );
        fs::write(
            &path,
            "no database, only a text that is long enough for a head",
        )
        .unwrap();
        let examined = examine(dir.path()).await;
        assert!(
            worst(&examined)[0].cause.contains("no SQLite database"),
            "{examined:?}"
        );
    }
}
