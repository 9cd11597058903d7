//! Where the database lies, how a connection to it is made, and whether it is still the file at the path.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;
use crate::schema;

/// The database in its folder.
const FILE: &str = "heartbeat.db";

/// How long a statement waits for another process's lock.
const BUSY: Duration = Duration::from_secs(5);

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
}

/// A connection, and the files it is connected to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    file: Option<Identity>,
    log: Option<Identity>,
}

/// What tells a file from another at the same path. A number is not given again while a connection holds the file.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    number: u64,
}

impl DatabaseLocation {
    /// The database in `dir`, which is made when it is not there.
    pub(super) fn new(dir: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Folder {
            path: dir.to_owned(),
            source,
        };
        make_folder(dir).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        let path = dir.join(FILE);
        Ok(Self {
            dir,
            path,
            read_only: false,
        })
    }

    /// The database in `dir`, to be looked at.
    pub(super) fn existing(dir: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Folder {
            path: dir.to_owned(),
            source,
        };
        let dir = dir.canonicalize().map_err(failed)?;
        let path = dir.join(FILE);
        path.metadata().map_err(|source| StoreError::File {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            dir,
            path,
            read_only: true,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `opened` if it is still connected to the file at the path; a new connection otherwise.
    pub(super) fn current(&self, opened: Option<Opened>) -> Result<Opened, StoreError> {
        match opened {
            Some(opened) if self.is_current(&opened) => Ok(opened),
            stale => self.reopen(stale),
        }
    }

    /// Whether a beat that `opened` writes can be found at the path.
    pub(super) fn is_current(&self, opened: &Opened) -> bool {
        opened.file.is_some() && identity(&self.path) == opened.file
    }

    /// Connects anew. The folder is not made again: if it is gone, a disk may be, and the path means another one.
    pub(super) fn reopen(&self, stale: Option<Opened>) -> Result<Opened, StoreError> {
        let folder = |source| StoreError::Folder {
            path: self.dir.clone(),
            source,
        };
        let file = |source| StoreError::File {
            path: self.path.clone(),
            source,
        };
        let database = |source| StoreError::Database {
            path: self.path.clone(),
            source,
        };
        if self.read_only {
            let file = identity(&self.path);
            let connection = self.look().map_err(database)?;
            return Ok(Opened {
                connection,
                file,
                log: None,
            });
        }
        // One at a time, in all processes: SQLite does not wait when two switch a new file to its log.
        let _lock = lock(&self.dir).map_err(folder)?;
        if let Some(stale) = stale {
            self.abandon(&stale).map_err(file)?;
        }
        make_file(&self.path).map_err(file)?;
        // Before the connection is made: if the file is replaced in between, it is found out at the first use.
        let identity_before = identity(&self.path);
        let mut connection = Connection::open(&self.path).map_err(database)?;
        configure(&connection).map_err(database)?;
        schema::migrate(&mut connection, &self.path)?;
        Ok(Opened {
            connection,
            file: identity_before,
            log: identity(&self.beside("-wal")),
        })
    }

    /// Connects without a trace. To read a database that has a log, SQLite needs the log's files. When there is none,
    /// nobody has the database open, and SQLite would make them; so it is told that nothing changes. Should a server
    /// start in this very moment, the worst that is read is damage that is not there.
    fn look(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let text = self.path.to_str().filter(|_| !self.beside("-wal").exists());
        let connection = match text {
            Some(text) => {
                let text = text
                    .replace('%', "%25")
                    .replace('?', "%3f")
                    .replace('#', "%23");
                let uri = format!("file:{text}?immutable=1");
                Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
            }
            None => Connection::open_with_flags(&self.path, flags)?,
        };
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }

    /// Removes the log of a file that was deleted or replaced, if it still lies at the path: SQLite would take it
    /// for the log of the new file.
    fn abandon(&self, stale: &Opened) -> io::Result<()> {
        let log = self.beside("-wal");
        if stale.log.is_some() && identity(&log) == stale.log {
            fs::remove_file(&log)?;
            match fs::remove_file(self.beside("-shm")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    // Otherwise a statement is compiled again whenever a parameter changes: a quarter of the time of reading a host.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // A mapped file that somebody shortens kills the process.
    connection.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))
}

#[cfg(unix)]
fn make_folder(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

#[cfg(not(unix))]
fn make_folder(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

/// Makes the file, if there is none, before SQLite does: readable by its owner only, and so are its log's files,
/// which SQLite makes alike. A file that is there is not opened: closing it would drop the locks of SQLite.
fn make_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn lock(dir: &Path) -> io::Result<File> {
    let dir = File::open(dir)?;
    dir.lock()?;
    Ok(dir)
}

#[cfg(not(unix))]
fn lock(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some(Identity {
        device: metadata.dev(),
        number: metadata.ino(),
    })
}

/// Elsewhere an open file can neither be deleted nor replaced.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    path.exists().then_some(Identity {
        device: 0,
        number: 0,
    })
}
