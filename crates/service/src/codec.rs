//! How a ledger entry and a notice are stored: as JSON, the same in every adapter.
//!
//! Members are only ever added, with a default: what any released version wrote must still read.

use hb_domain::{Entry, Notice};

/// Why stored text is no entry or notice.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Not the JSON that was expected.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A notice is pending but no transition is there to tell.
    #[error("a notice is pending but the history does not end with epoch {0}")]
    PendingWithoutTransition(u64),
}

/// An entry as text.
pub fn encode_entry(entry: &Entry) -> Result<String, CodecError> {
    Ok(serde_json::to_string(entry)?)
}

/// An entry from text.
pub fn decode_entry(text: &str) -> Result<Entry, CodecError> {
    let entry: Entry = serde_json::from_str(text)?;
    if entry.pending.is_some() && entry.history.last().is_none_or(|told| told.epoch != entry.epoch) {
        return Err(CodecError::PendingWithoutTransition(entry.epoch));
    }
    Ok(entry)
}

/// A notice as text.
pub fn encode_notice(notice: &Notice) -> Result<String, CodecError> {
    Ok(serde_json::to_string(notice)?)
}

/// A notice from text.
pub fn decode_notice(text: &str) -> Result<Notice, CodecError> {
    Ok(serde_json::from_str(text)?)
}
