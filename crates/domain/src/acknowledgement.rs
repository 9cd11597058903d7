//! What admins say of the trouble of a host.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::host::{name, one_line};
use crate::limits;
use crate::time::Timestamp;

/// That somebody knows of the trouble of a host and wants no reminders of it, until it recovers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Since when.
    pub at: Timestamp,
    /// What else they want to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
}

/// A remark of an admin: one line of 1 to [`limits::NOTE_CHARS`] characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Note(String);

/// A string that is not a [`Note`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a note is 1 to {} characters, without line breaks or control characters",
    limits::NOTE_CHARS
)]
pub struct NoteError;

impl FromStr for Note {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let line = one_line(text, limits::NOTE_CHARS);
        line.map(Self).ok_or(NoteError)
    }
}

name!(Note, NoteError);
