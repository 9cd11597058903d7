//! Acts of admins, as they are recorded: when, who, what, old and new. No secret is ever a part of one.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits;
use crate::text::line;
use crate::time::Timestamp;
use crate::words::words;

words! {
    /// What an admin did, by the words of the command.
    pub enum ActKind: "act" {
        /// A key was created.
        KeyCreate = "key create",
        /// A key was replaced, and expires soon.
        KeyRotate = "key rotate",
        /// What a key is limited to was changed.
        KeyLimit = "key limit",
        /// A key was revoked.
        KeyRevoke = "key revoke",
        /// The keys of a file were stored.
        KeyImport = "key import",
        /// A subscription was added, or asked to confirm again.
        SubscriptionAdd = "subscription add",
        /// A subscription was confirmed by its token.
        SubscriptionConfirm = "subscription confirm",
        /// A webhook got a new secret.
        SubscriptionRotateSecret = "subscription rotate-secret",
        /// A subscription was removed.
        SubscriptionRemove = "subscription remove",
        /// How notices of a fleet are sent was set.
        FleetSet = "fleet set",
        /// A maintenance window was added.
        MaintenanceAdd = "maintenance add",
        /// A maintenance window was removed.
        MaintenanceRemove = "maintenance remove",
        /// A host was paused.
        HostPause = "host pause",
        /// The pause of a host was ended.
        HostResume = "host resume",
        /// The interval of a host was set.
        HostSet = "host set",
        /// The trouble of a host was acknowledged.
        HostAck = "host ack",
        /// The first beat of a host was expected.
        HostExpect = "host expect",
        /// A host was forgotten.
        HostForget = "host forget",
        /// The database was made, or brought to a newer version.
        Migrate = "migrate",
        /// A backup was put in the place of the database.
        Restore = "restore",
    }
}

/// Who did something: `user@machine`, or the ARN of a principal of IAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Who(String);

impl Who {
    /// On one line, and cut to [`limits::WHO_CHARS`]: names of users and machines are foreign text.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(line(name, limits::WHO_CHARS))
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of an act. Ids sort by the time of their acts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActId(String);

impl ActId {
    /// Of the act at `at` that is the `number`th of its process: the acts of one millisecond keep their order.
    #[must_use]
    pub fn new(at: Timestamp, number: u32, random: [u8; 8]) -> Self {
        let (before, random) = (Self::before(at), u64::from_be_bytes(random));
        Self(format!("{before}-{number:010}-{random:016x}"))
    }

    /// What sorts before the ids of all acts at `at` or later, and behind those of all earlier ones.
    #[must_use]
    pub fn before(at: Timestamp) -> String {
        format!("{:015}", at.as_millis())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Something that an admin did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Its id.
    pub id: ActId,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it.
    pub who: Who,
    /// What was done.
    #[serde(rename = "act")]
    pub kind: ActKind,
    /// To which key, subscription, fleet, host or file.
    pub target: String,
    /// What was there before, as an object; `None` when there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What is there now, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

impl Act {
    /// From when on it is no longer kept.
    #[must_use]
    pub fn kept_until(&self) -> Timestamp {
        self.at.plus(limits::AUDIT_KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_then_by_number() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let id = |millis, number, random| ActId::new(at(millis), number, [random; 8]);
        let last = id(253_402_207_200_000, u32::MAX, 255);
        let ids = [id(0, 7, 0), id(9, 2, 9), id(9, 10, 0), id(10, 0, 0), last];
        assert!(ids.is_sorted() && ids[3].as_str() < ids[4].as_str());
        for (millis, earlier) in [(0, 0), (9, 1), (10, 3), (11, 4)] {
            let before = ActId::before(at(millis));
            assert!(ids[..earlier].iter().all(|id| id.as_str() < &*before));
            assert!(ids[earlier..].iter().all(|id| id.as_str() > &*before));
        }
    }

    #[test]
    fn a_hostile_name_is_one_short_line_without_commands() {
        let name = format!("a\u{1b}[2J\u{202e}b\nroot@db {}", "x".repeat(9_000));
        let who = Who::new(&name).to_string();
        assert!(who.starts_with("a [2Jb root@db xxx") && who.ends_with("..."));
        assert_eq!(who.chars().count(), limits::WHO_CHARS);
    }
}
