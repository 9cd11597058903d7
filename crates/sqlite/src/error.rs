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
    /// The thread that writes.
    #[error("the thread that writes the database cannot be started: {0}")]
    Thread(io::Error),
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
