//! The data folder and its files: how they are made, who may use them, and how a connection to the database is made.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;

/// The database in its folder.
pub(crate) const FILE: &str = "heartbeat.db";

/// How long a statement waits for another process's lock.
const BUSY: Duration = Duration::from_secs(5);

/// What tells a file from another at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    number: u64,
    /// A number may be given again; not told by every file system.
    created: Option<SystemTime>,
}

/// Connects to a database that is there.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Connects without a trace. To read a database that has a log, SQLite needs the log's files. When there is none,
/// nobody has the database open, and SQLite would make them; so it is told that nothing changes. Should a server
/// start in this very moment, the worst that is read is damage that is not there.
pub(crate) fn look(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let text = path.to_str().filter(|_| !beside(path, "-wal").exists());
    let connection = match text {
        Some(text) => {
            let text = text
                .replace('%', "%25")
                .replace('?', "%3f")
                .replace('#', "%23");
            let uri = format!("file:{text}?immutable=1");
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
        }
        None => Connection::open_with_flags(path, flags)?,
    };
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// `path` with more behind its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(suffix);
    path.into()
}

/// The folder `dir` and the database in it, which must be there.
pub(crate) fn find(dir: &Path) -> Result<(PathBuf, PathBuf), StoreError> {
    let missing = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => StoreError::Missing {
            dir: dir.to_owned(),
        },
        _ => StoreError::Folder {
            path: dir.to_owned(),
            source,
        },
    };
    let found = dir.canonicalize().map_err(missing)?;
    let path = found.join(FILE);
    path.metadata().map_err(missing)?;
    Ok((found, path))
}

/// The folder `dir`, made when it is not there, readable by its owner only.
pub(crate) fn make(dir: &Path) -> Result<PathBuf, StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.create(dir).and_then(|()| dir.canonicalize());
    let dir = made.map_err(|source| StoreError::Folder {
        path: dir.to_owned(),
        source,
    })?;
    check_owner(&dir)?;
    Ok(dir)
}

/// Makes the file, if there is none, before SQLite does: readable by its owner only, and so are its log's files,
/// which SQLite makes alike. A file that is there is not opened: closing it would drop the locks of SQLite.
pub(crate) fn make_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(_) => hand_over(path),
    }
}

/// Keeps others from opening, making, migrating or replacing the database of a folder, until it is dropped.
#[cfg(unix)]
pub(crate) fn lock(dir: &Path) -> Result<File, StoreError> {
    let locked = File::open(dir).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|source| StoreError::Folder {
        path: dir.to_owned(),
        source,
    })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail elsewhere")]
pub(crate) fn lock(_: &Path) -> Result<Option<File>, StoreError> {
    Ok(None)
}

/// Refuses a folder or file that others may write, or that belongs to another user. Root may use every folder.
#[cfg(unix)]
pub(crate) fn check_owner(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })?;
    let user = rustix::process::geteuid().as_raw();
    match danger(metadata.mode(), metadata.uid(), user) {
        None => Ok(()),
        Some(cause) => Err(StoreError::Unsafe {
            path: path.to_owned(),
            cause,
        }),
    }
}

/// Why `user` had better not use what has this mode and owner.
#[cfg(unix)]
fn danger(mode: u32, owner: u32, user: u32) -> Option<String> {
    const ROOT: u32 = 0;
    if mode & 0o022 != 0 {
        Some(format!("others may write it (mode {:03o})", mode & 0o777))
    } else if user != ROOT && user != owner {
        Some(format!(
            "it belongs to user {owner}, and this is user {user}"
        ))
    } else {
        None
    }
}

/// Gives a file that root made to the owner of its folder, who could not use it otherwise.
#[cfg(unix)]
pub fn hand_over(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    match file.parent() {
        Some(dir) if rustix::process::geteuid().is_root() => {
            let owner = fs::metadata(dir)?;
            chown(file, Some(owner.uid()), Some(owner.gid()))
        }
        _ => Ok(()),
    }
}

#[cfg(unix)]
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some(Identity {
        device: metadata.dev(),
        number: metadata.ino(),
        created: metadata.created().ok(),
    })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail elsewhere")]
pub(crate) fn check_owner(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// Elsewhere files belong to who made them.
#[cfg(not(unix))]
pub fn hand_over(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Elsewhere an open file can neither be deleted nor replaced.
#[cfg(not(unix))]
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    path.exists().then_some(Identity {
        device: 0,
        number: 0,
        created: None,
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_user_is_for_root_only() {
        for (mode, owner, user, safe) in [
            (0o40_700, 1_000, 1_000, true),
            (0o40_755, 1_000, 1_000, true),
            (0o40_755, 1_000, 0, true),
            (0o40_755, 0, 1_000, false),
            (0o40_755, 1_001, 1_000, false),
            (0o40_777, 1_000, 0, false),
        ] {
            let said = danger(mode, owner, user);
            assert_eq!(said.is_none(), safe, "{mode:o} {owner} {user}: {said:?}");
        }
    }
}
