//! Why a port could not do what it was asked.

use std::error::Error;

/// A lower error, kept as the source of a [`PortError`].
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why an adapter could not do what it was asked.
///
/// The message of each names the thing and the cause, so that it can stand alone in a log or a report.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The technology behind the port does not answer, or refuses for now; trying later may help.
    #[error("{what} is unavailable: {source}")]
    Unavailable {
        /// The thing, such as `table heartbeats`.
        what: String,
        /// What it said.
        source: Cause,
    },
    /// What was asked contradicts what is there; trying again will not help, asking for something else will.
    #[error("{what}: {source}")]
    Conflict {
        /// The thing, such as `subscription on-call`.
        what: String,
        /// What stands against it.
        source: Cause,
    },
    /// A stored item cannot be read; trying again will not help.
    #[error("{what} holds an unreadable item {key}: {source}")]
    Unreadable {
        /// The thing, such as `table ledger`.
        what: String,
        /// Which item.
        key: String,
        /// What is wrong with it.
        source: Cause,
    },
}

impl PortError {
    /// An error of the technology behind `what`.
    pub fn unavailable(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Unavailable {
            what: what.into(),
            source: cause.into(),
        }
    }

    /// A request about `what` that contradicts what is there.
    pub fn conflict(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Conflict {
            what: what.into(),
            source: cause.into(),
        }
    }

    /// An error of one stored item.
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

/// What a port gives.
pub type PortResult<T> = Result<T, PortError>;
