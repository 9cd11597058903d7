//! A host of a digest, and how it is stored.

use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::host::HostId;
use crate::time::Timestamp;

/// A host of a digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "MemberParts", into = "MemberParts")]
pub struct Member {
    /// Which host of the fleet.
    pub host: HostId,
    /// The number of its transition.
    pub epoch: u64,
    /// Since when it is so.
    pub since: Timestamp,
    /// Whether a missing host beat again before the digest was sent.
    pub back: bool,
    /// In a reminder, whether it is failing, not missing.
    pub failing: bool,
}

/// As it is stored. Version 0.1.0 wrote the form without marks.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum MemberParts {
    Plain(HostId, u64, Timestamp),
    Back(HostId, u64, Timestamp, bool),
    Marked(HostId, u64, Timestamp, bool, bool),
}

impl Member {
    /// The host of `entry`, with its last transition.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let since = entry.history.last()?.since;
        Some(Self {
            host: entry.key.host.clone(),
            epoch: entry.epoch,
            since,
            back: false,
            failing: false,
        })
    }

    /// The size in the digest's JSON of the member `host`, at most. It has one mark at most.
    pub(super) fn bytes(host: &HostId) -> usize {
        const AROUND: usize =
            r#"{"failing":true,"hostId":"","since":"2026-01-31T10:02:00.000Z"},"#.len();
        AROUND + host.as_str().len()
    }
}

impl From<MemberParts> for Member {
    fn from(parts: MemberParts) -> Self {
        let (host, epoch, since, back, failing) = match parts {
            MemberParts::Plain(host, epoch, since) => (host, epoch, since, false, false),
            MemberParts::Back(host, epoch, since, back) => (host, epoch, since, back, false),
            MemberParts::Marked(host, epoch, since, back, failing) => {
                (host, epoch, since, back, failing)
            }
        };
        Self {
            host,
            epoch,
            since,
            back,
            failing,
        }
    }
}

impl From<Member> for MemberParts {
    fn from(member: Member) -> Self {
        let Member {
            host,
            epoch,
            since,
            back,
            failing,
        } = member;
        match (back, failing) {
            (false, false) => Self::Plain(host, epoch, since),
            (true, false) => Self::Back(host, epoch, since, back),
            (_, true) => Self::Marked(host, epoch, since, back, failing),
        }
    }
}
