//! A host of a digest, and how it is stored.

use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::host::HostId;
use crate::limits;
use crate::text::ascii;
use crate::time::Timestamp;
use crate::transition::{Kind, State, Transition};

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
    /// Why a failing host fails, in a few words of printable ASCII.
    pub reason: Option<String>,
}

/// As it is stored. Version 0.1.0 wrote the form without marks.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum MemberParts {
    Plain(HostId, u64, Timestamp),
    Back(HostId, u64, Timestamp, bool),
    Marked(HostId, u64, Timestamp, bool, bool),
    Said(HostId, u64, Timestamp, bool, bool, String),
}

impl Member {
    /// The host of `entry`, with its last transition.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let last = entry.history.last()?;
        Some(Self {
            epoch: entry.epoch,
            failing: false,
            ..Self::still(entry, last)
        })
    }

    /// The host of `entry`, which has been in trouble since its transition `told`, as a reminder lists it.
    #[must_use]
    pub fn still(entry: &Entry, told: &Transition) -> Self {
        Self {
            host: entry.key.host.clone(),
            epoch: told.epoch,
            since: told.since,
            back: false,
            failing: entry.state == State::Failing,
            reason: reason(told),
        }
    }

    /// Its size in the digest's JSON, at most. It has one mark at most.
    pub(super) fn bytes(&self) -> usize {
        const AROUND: usize =
            r#"{"failing":true,"hostId":"","since":"2026-01-31T10:02:00.000Z"},"#.len();
        const OF_REASON: usize = r#","message":"#.len();
        let reason = self.reason.as_ref().map_or(0, |reason| {
            OF_REASON + serde_json::Value::from(reason.as_str()).to_string().len()
        });
        AROUND + self.host.as_str().len() + reason
    }
}

/// Why the host is failing: the first line of its message, in printable ASCII.
fn reason(transition: &Transition) -> Option<String> {
    let failing = transition.kind == Kind::Failing;
    let message = transition.message.as_ref().filter(|_| failing)?;
    Some(ascii(message.headline(), limits::REASON_CHARS)).filter(|reason| !reason.is_empty())
}

impl From<MemberParts> for Member {
    fn from(parts: MemberParts) -> Self {
        let (host, epoch, since, back, failing, reason) = match parts {
            MemberParts::Plain(host, epoch, since) => (host, epoch, since, false, false, None),
            MemberParts::Back(host, epoch, since, back) => (host, epoch, since, back, false, None),
            MemberParts::Marked(host, epoch, since, back, failing) => {
                (host, epoch, since, back, failing, None)
            }
            MemberParts::Said(host, epoch, since, back, failing, reason) => {
                (host, epoch, since, back, failing, Some(reason))
            }
        };
        Self {
            host,
            epoch,
            since,
            back,
            failing,
            reason,
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
            reason,
        } = member;
        match (reason, back, failing) {
            (Some(reason), ..) => Self::Said(host, epoch, since, back, failing, reason),
            (None, false, false) => Self::Plain(host, epoch, since),
            (None, true, false) => Self::Back(host, epoch, since, back),
            (None, _, true) => Self::Marked(host, epoch, since, back, failing),
        }
    }
}
