//! A copy of a database, made while others write it, and checked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempPath;

use crate::error::{StoreError, explain};
use crate::folder::hand_over;
use crate::schema;

/// Pages copied between two reports of the progress: 4 MB.
const PAGES: i32 = 1_000;

/// Rows by table.
pub type Rows = BTreeMap<String, u64>;

/// A checked copy of a database, which is deleted unless it is kept.
#[derive(Debug)]
pub struct Snapshot {
    file: TempPath,
    /// What is in it.
    pub rows: Rows,
}

impl Snapshot {
    /// Copies the database `path` as it is now, into the folder `dir`. `progress` gets the pages copied and all pages.
    pub(crate) fn take(
        source: &Connection,
        path: &Path,
        dir: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, StoreError> {
        let file = tempfile::Builder::new()
            .prefix("hb-copy-")
            .tempfile_in(dir)
            .map_err(|error| StoreError::Copy {
                path: dir.to_owned(),
                cause: error.to_string(),
            })?
            .into_temp_path();
        let failed = |source| StoreError::Database {
            path: path.to_owned(),
            source,
        };
        // One view of the source for all of it, whatever is written meanwhile.
        let view = source.unchecked_transaction().map_err(failed)?;
        let expected = rows(&view).map_err(failed)?;
        let wrong = |cause| StoreError::Copy {
            path: dir.to_owned(),
            cause,
        };
        let sqlite = |error| wrong(explain(&error));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy = Connection::open_with_flags(&file, flags).map_err(sqlite)?;
        pages(&view, &mut copy, progress).map_err(sqlite)?;
        view.commit().map_err(failed)?;
        // One file, without a log beside it.
        copy.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))
            .map_err(sqlite)?;
        let rows = check(&copy, path)?;
        if rows != expected {
            return Err(wrong(format!("it has {rows:?} instead of {expected:?}")));
        }
        Ok(Self { file, rows })
    }

    /// Where it is until it is kept.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Keeps it as `to` in its data folder, as [`Self::keep`] does, for the owner of the folder.
    pub(crate) fn keep_in_folder(self, to: &Path) -> Result<(), StoreError> {
        hand_over(&self.file).map_err(|source| StoreError::File {
            path: to.to_owned(),
            source,
        })?;
        self.keep(to)
    }

    /// Keeps it as `to`, in the same folder, where there must be no file; durable when this returns.
    pub fn keep(self, to: &Path) -> Result<(), StoreError> {
        let kept = self.file.persist_noclobber(to).map_err(|e| e.error);
        let kept = kept.and_then(|()| sync_folder(to));
        kept.map_err(|source| StoreError::File {
            path: to.to_owned(),
            source,
        })
    }
}

/// The first path of `stem.db`, `stem-2.db`, ... in `dir` where there is no file.
pub(crate) fn free_path(dir: &Path, stem: &str) -> PathBuf {
    let mut path = dir.join(format!("{stem}.db"));
    for number in 2.. {
        if !path.exists() {
            break;
        }
        path.set_file_name(format!("{stem}-{number}.db"));
    }
    path
}

/// Makes what happened to the names beside `file` durable.
#[cfg(unix)]
pub(crate) fn sync_folder(file: &Path) -> io::Result<()> {
    let dir = file.parent().filter(|dir| *dir != Path::new(""));
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn pages(
    from: &Connection,
    to: &mut Connection,
    progress: &mut dyn FnMut(u64, u64),
) -> rusqlite::Result<()> {
    let backup = Backup::new(from, to)?;
    loop {
        let step = backup.step(PAGES)?;
        let state = backup.progress();
        let number = |pages: i32| u64::try_from(pages).unwrap_or(0);
        progress(
            number(state.pagecount - state.remaining),
            number(state.pagecount),
        );
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(rusqlite::Error::SqliteFailure(busy, None));
            }
        }
    }
}

/// Looks at every page of the database, and counts its rows.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<Rows, StoreError> {
    let failed = |source| StoreError::Database {
        path: path.to_owned(),
        source,
    };
    let sql = "PRAGMA integrity_check(1)";
    let said: String = connection
        .query_row(sql, [], |row| row.get(0))
        .map_err(failed)?;
    if said != "ok" {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            cause: said,
        });
    }
    rows(connection).map_err(failed)
}

fn rows(connection: &Connection) -> rusqlite::Result<Rows> {
    let count = |table: String| {
        let sql = format!("SELECT count(*) FROM \"{}\"", table.replace('"', "\"\""));
        let rows: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        Ok((table, u64::try_from(rows).unwrap_or(0)))
    };
    let tables = schema::tables(connection)?.into_iter();
    tables.map(count).collect()
}
