//! The error of all ports.

use std::error::Error;

/// A lower error, kept as the source of a [`PortError`].
pub type Cause = Box<dyn Error + Send + Sync>;

/// An error of an adapter.
///
/// The message names the thing and the cause, so that it can stand alone in a log or a report.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The technology behind the port does not answer, or refuses for now. A later try may succeed.
    #[error("{what} is unavailable: {source}")]
    Unavailable {
        /// The thing, such as `table heartbeats`.
        what: String,
        /// The error that it returned.
        source: Cause,
    },
    /// The request contradicts what is stored. Only a different request can succeed.
    #[error("{what}: {source}")]
    Conflict {
        /// The thing, such as `subscription on-call`.
        what: String,
        /// What the request contradicts.
        source: Cause,
    },
    /// A stored item cannot be read. A later try will not succeed.
    #[error("{what} holds an unreadable item {key}: {source}")]
    Unreadable {
        /// The thing, such as `table ledger`.
        what: String,
        /// The key of the item.
        key: String,
        /// What is wrong with it.
        source: Cause,
    },
}

impl PortError {
    /// The technology behind `what` failed.
    pub fn unavailable(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Unavailable {
            what: what.into(),
            source: cause.into(),
        }
    }

    /// A request about `what` contradicts what is stored.
    pub fn conflict(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Conflict {
            what: what.into(),
            source: cause.into(),
        }
    }

    /// One stored item cannot be read.
    pub fn unreadable(
        what: impl Into<String>,
        key: impl Into<String>,
        cause: impl Into<Cause>,
    ) -> Self {
        Self::Unreadable {
            what: what.into(),
            key: key.into(),
            source: cause.into(),
        }
    }
}

/// The result of a call to a port.
pub type PortResult<T> = Result<T, PortError>;
