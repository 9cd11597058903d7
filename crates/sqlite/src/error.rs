//! What goes wrong with a database, said so that somebody woken at night knows where to look.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data folder.
    #[error("data folder {} cannot be used: {source}", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file.
    #[error("database {} cannot be opened: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in the file.
    #[error("database {} cannot be used: {}", path.display(), explain(source))]
    Database {
        /// Which one.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// There is none.
    #[error("no heartbeat database in {} (is this the right folder?)", dir.display())]
    Missing {
        /// The folder.
        dir: PathBuf,
    },
    /// Another program's.
    #[error("database {} is not one of Heartbeat", path.display())]
    Foreign {
        /// Which one.
        path: PathBuf,
    },
    /// An older program wrote it.
    #[error("database {} has schema version {found} and this hb needs {known}", path.display())]
    Older {
        /// Which one.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// A newer program wrote it.
    #[error(
        "database {} has schema version {found} and this hb knows versions up to {known}: \
         use the newer hb that wrote it",
        path.display()
    )]
    Newer {
        /// Which one.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// Other processes use it.
    #[error("database {} is open in another process, so it cannot be {what}", path.display())]
    InUse {
        /// Which one.
        path: PathBuf,
        /// What was to be done, such as `migrated`.
        what: &'static str,
    },
    /// What is at the path is not what was opened first.
    #[error("database {} was deleted or replaced while this process used it", path.display())]
    Replaced {
        /// Which one.
        path: PathBuf,
    },
    /// Others can change it.
    #[error("{} is not safe: {cause}", path.display())]
    Unsafe {
        /// The folder or the file.
        path: PathBuf,
        /// Who can.
        cause: String,
    },
    /// Pages that contradict themselves.
    #[error("database {} is damaged: {cause}", path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// The first damage that SQLite found.
        cause: String,
    },
    /// A copy that is not what it was to be.
    #[error("the copy in {} cannot be made: {cause}", path.display())]
    Copy {
        /// Its folder.
        path: PathBuf,
        /// What went wrong.
        cause: String,
    },
    /// The thread that writes.
    #[error("the thread that writes the database cannot be started: {0}")]
    Thread(io::Error),
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Missing { .. } => {
                "`hb serve` makes one, and so does `hb migrate`; --data-dir or HB_DATA_DIR names another folder"
            }
            Self::Foreign { .. } => "name another folder with --data-dir or HB_DATA_DIR",
            Self::Older { .. } => {
                "stop the older `hb serve`, then `hb migrate`, or start the new one: both copy the database first"
            }
            Self::Newer { .. } => "install the newer hb here as well",
            Self::InUse { .. } => {
                "stop every `hb serve` and whatever else uses this folder, such as Litestream, then run this again"
            }
            Self::Replaced { .. } => {
                "stop the server, put the database back or `hb restore` a backup, and start it again"
            }
            Self::Unsafe { .. } => {
                "run hb as the user who owns the folder, and take the right to write from all others: `chmod go-w`"
            }
            Self::Folder { .. } | Self::File { .. } => {
                "run this as the user of the server, and see to the folder and its disk; --data-dir names another folder"
            }
            Self::Damaged { .. } => {
                "`hb restore` a backup that `hb restore --verify` finds good, or save what is left with `sqlite3 FILE .recover`"
            }
            Self::Copy { .. } => "see to that folder and the room on its disk, or name another one",
            Self::Database { .. } | Self::Thread(_) => {
                "see to the disk and the folder; `hb restore` a backup if the file is damaged"
            }
        }
    }
}

/// What became of a write that did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// Surely nothing was stored.
    #[error("{0}")]
    Refused(String),
    /// Perhaps it was stored.
    #[error("{0}")]
    Unknown(String),
}

impl WriteError {
    /// An error of SQLite before the commit.
    pub(crate) fn before(error: &rusqlite::Error) -> Self {
        Self::Refused(explain(error))
    }

    /// An error of the commit itself. Only a commit that found no room, or no lock, is surely none: after an error
    /// of the disk the whole group may stand in the log.
    pub(crate) fn commit(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => Self::before(error),
            _ => Self::Unknown(explain(error)),
        }
    }
}

/// What SQLite said, with what it means where that is known.
pub(crate) fn explain(error: &rusqlite::Error) -> String {
    let meaning = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full",
        Some(ErrorCode::ReadOnly) => "the database, its folder or its disk is read-only",
        Some(ErrorCode::PermissionDenied) => "this user may not use the database",
        Some(ErrorCode::CannotOpen) => {
            "the file or its folder is gone, or this user may not open it"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds the database for longer than 5 s"
        }
        Some(ErrorCode::SystemIoFailure) => "the disk does not read or write",
        Some(ErrorCode::DatabaseCorrupt) => {
            "the file is damaged, restore a backup or use `sqlite3 .recover`"
        }
        Some(ErrorCode::NotADatabase) => "the file is no SQLite database",
        _ => return error.to_string(),
    };
    format!("{meaning} ({error})")
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn only_a_commit_without_room_or_lock_is_surely_none() {
        let outcome = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            (
                matches!(WriteError::commit(&error), WriteError::Refused(_)),
                explain(&error),
            )
        };
        let cases = [
            (ffi::SQLITE_FULL, true, "the disk is full ("),
            (
                ffi::SQLITE_BUSY,
                true,
                "another process holds the database for longer than 5 s (",
            ),
            (
                ffi::SQLITE_IOERR_FSYNC,
                false,
                "the disk does not read or write (",
            ),
            (ffi::SQLITE_NOMEM, false, "Error code 7"),
        ];
        for (code, refused, said) in cases {
            let (is_refused, text) = outcome(code);
            assert!(is_refused == refused && text.starts_with(said), "{text}");
        }
    }
}
