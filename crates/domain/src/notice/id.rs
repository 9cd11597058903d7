//! The id of a notice.

use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::host::name;

/// The short name of a notice, the same at every attempt and in every region: 10 characters of Crockford's
/// base32 (50 bits of the SHA-256 of incarnation, host, epoch and kind). For people; machines compare
/// [`Notice::identity`](crate::Notice::identity).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NoticeId(String);

/// Crockford's base32.
const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHARS: usize = 10;

/// A string that is not a [`NoticeId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the id of a notice is {CHARS} characters of {ALPHABET}")]
pub struct NoticeIdError;

impl FromStr for NoticeId {
    type Err = NoticeIdError;
    fn from_str(text: &str) -> Result<Self, NoticeIdError> {
        let fits = text.len() == CHARS && text.chars().all(|c| ALPHABET.contains(c));
        fits.then(|| Self(text.to_owned())).ok_or(NoticeIdError)
    }
}

impl NoticeId {
    pub(super) fn of(identity: &str) -> Self {
        Self::of_bytes(Sha256::digest(identity).into())
    }

    /// The id made of the first 50 of these bits. A digest, which is about no single host, passes random bytes.
    #[must_use]
    pub fn of_bytes(bytes: [u8; 32]) -> Self {
        static CROCKFORD: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
            let mut specification = Specification::new();
            specification.symbols.push_str(ALPHABET);
            specification
                .encoding()
                .unwrap_or(data_encoding::BASE32_NOPAD)
        });
        let mut text = CROCKFORD.encode(&bytes[..CHARS]);
        text.truncate(CHARS);
        Self(text)
    }
}

name!(NoticeId, NoticeIdError);
