//! Where the database lies, how a connection to it is made, and whether it is still the file at the path.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::error::StoreError;
use crate::folder::{self, Identity, identity};
use crate::schema;

/// Prepared statements that a connection keeps: more than there are in this crate.
const STATEMENTS: usize = 64;

/// What the log shrinks to after a burst, in bytes.
const LOG_BYTES: i64 = 16 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct DatabaseLocation {
    dir: PathBuf,
    path: PathBuf,
    /// Nothing is made, changed or deleted.
    read_only: bool,
    /// The file that was opened first: no other one is used in its place.
    first: OnceLock<Identity>,
}

/// A connection, and the file it is connected to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    file: Identity,
}

impl DatabaseLocation {
    /// The database in `dir`, which must be there. To be looked at, the folder may belong to anybody.
    pub(super) fn new(dir: &Path, read_only: bool) -> Result<Self, StoreError> {
        let (dir, path) = folder::find(dir)?;
        if !read_only {
            folder::check_owner(&dir)?;
            folder::check_owner(&path)?;
        }
        Ok(Self {
            dir,
            path,
            read_only,
            first: OnceLock::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `opened` if it is still connected to the file at the path; a new connection otherwise.
    pub(super) fn current(&self, opened: Option<Opened>) -> Result<Opened, StoreError> {
        match opened {
            Some(opened) if self.is_current(&opened) => Ok(opened),
            _ => self.reopen(),
        }
    }

    /// Whether a beat that `opened` writes can be found at the path.
    pub(super) fn is_current(&self, opened: &Opened) -> bool {
        identity(&self.path).as_ref() == Some(&opened.file)
    }

    /// Connects anew, to the file that was opened first: what else lies at the path does not have the beats that were
    /// acknowledged. Nothing is made: if the folder is gone, a disk may be, and the path means another one.
    pub(super) fn reopen(&self) -> Result<Opened, StoreError> {
        let database = |source| StoreError::Database {
            path: self.path.clone(),
            source,
        };
        // One at a time, in all processes: SQLite does not wait when two switch a file to its log.
        let lock = (!self.read_only).then(|| folder::lock(&self.dir));
        let _lock = lock.transpose()?;
        // Before the connection is made: if the file is replaced in between, it is found out at the first use.
        let file = identity(&self.path).filter(|file| self.first.get_or_init(|| *file) == file);
        let file = file.ok_or_else(|| StoreError::Replaced {
            path: self.path.clone(),
        })?;
        let connection = if self.read_only {
            folder::look(&self.path).map_err(database)?
        } else {
            let connection = folder::connect(&self.path).map_err(database)?;
            schema::check(&connection, &self.path)?;
            configure(&connection).map_err(database)?;
            connection
        };
        Ok(Opened { connection, file })
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    // Otherwise a statement is compiled again whenever a parameter changes: a quarter of the time of reading a host.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // A mapped file that somebody shortens kills the process.
    connection.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))
}
