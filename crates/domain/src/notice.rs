//! Notices: what people are told about a transition, as one value rendered for each kind of reader.
//!
//! Everything in a notice follows from the ledger entry (or the digest) and the attempt, so that every region and every
//! attempt makes the same one.

pub(crate) mod id;
mod json;
mod text;

use serde::{Deserialize, Serialize};

use crate::beat::{Interval, Message};
use crate::digest::{Digest, Member};
use crate::entry::Entry;
use crate::host::{Fleet, HostId, HostKey, Region};
use crate::time::Timestamp;
use crate::transition::{Caveat, Kind, Transition};

pub use id::{NoticeId, NoticeIdError};

/// One host in a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoticeHost {
    /// Which host.
    pub host_id: HostId,
    /// Since when it is so.
    pub since: Timestamp,
    /// Its last beat.
    pub last_beat: Timestamp,
    /// The interval that was in force.
    pub interval: Interval,
    /// The number of the transition.
    pub epoch: u64,
    /// What a failing host said.
    pub message: Option<Message>,
    /// For `recovered`: what it was before, and since when.
    pub before: Option<(Kind, Timestamp)>,
}

/// What a notice is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum About {
    /// A transition of one host.
    #[serde(rename = "host")]
    Host(NoticeHost),
    /// A digest of these hosts.
    #[serde(rename = "members")]
    Digest(Vec<Member>),
}

/// Which notice it is, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// That of the transition of this host to this epoch.
    Host(HostKey, u64),
    /// That of this digest.
    Digest(NoticeId),
}

/// What people are told. Serialized as it is, it is what the embedded topic stores; [`Notice::json`] is what
/// machines get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its short name.
    pub id: NoticeId,
    /// Which try of publishing it this is, from 1.
    pub attempt: u32,
    /// What happened.
    pub kind: Kind,
    /// In which fleet.
    pub fleet: Fleet,
    /// To whom.
    #[serde(flatten)]
    pub about: About,
    /// When it was decided; of a digest, when that was begun.
    pub at: Timestamp,
    /// The region that publishes it.
    pub region: Region,
    /// What may make it less than sure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caveat: Option<Caveat>,
    /// Whether an admin only tries whether it arrives: nothing has happened. Every rendering says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
}

impl Notice {
    /// The notice that is pending in `entry`, if any.
    #[must_use]
    pub fn of(entry: &Entry, region: &Region) -> Option<Self> {
        let pending = entry.pending.as_ref()?;
        let (told, earlier) = entry.history.split_last()?;
        let before = |t: &Transition| (told.kind == Kind::Recovered).then_some((t.kind, t.since));
        Some(Self {
            id: NoticeId::of(&identity(&entry.key, told.epoch, told.kind)),
            attempt: pending.attempt.max(1),
            kind: told.kind,
            fleet: entry.key.fleet.clone(),
            about: About::Host(NoticeHost {
                host_id: entry.key.host.clone(),
                since: told.since,
                last_beat: told.last_beat,
                interval: told.interval,
                epoch: told.epoch,
                message: told.message.clone(),
                before: earlier.last().and_then(before),
            }),
            at: told.at,
            region: region.clone(),
            caveat: told.caveat.clone(),
            test: false,
        })
    }

    /// The notice of a digest whose list is frozen and not told yet.
    #[must_use]
    pub fn of_digest(digest: &Digest, region: &Region) -> Option<Self> {
        let pending = digest.pending.as_ref()?;
        Some(Self {
            id: digest.id.clone(),
            attempt: pending.attempt.max(1),
            kind: digest.kind,
            fleet: digest.fleet.clone(),
            about: About::Digest(digest.members.clone()),
            at: digest.at,
            region: region.clone(),
            caveat: digest.caveat.clone(),
            test: false,
        })
    }

    /// A notice by which an admin tries, at `now`, who is told about `kind` in `fleet`. It is about no host: its name
    /// is reserved, so that no ledger entry can ever wait for its echo.
    #[must_use]
    pub fn test(fleet: Fleet, kind: Kind, region: Region, now: Timestamp) -> Self {
        let key = HostKey::new(fleet, HostId::test());
        let epoch = u64::try_from(now.as_millis()).unwrap_or(0);
        Self {
            id: NoticeId::of(&identity(&key, epoch, kind)),
            attempt: 1,
            kind,
            fleet: key.fleet,
            about: About::Host(NoticeHost {
                host_id: key.host,
                since: now,
                last_beat: now,
                interval: Interval::default(),
                epoch,
                message: None,
                before: None,
            }),
            at: now,
            region,
            caveat: None,
            test: true,
        }
    }

    /// What makes two notices the same: fleet, host, epoch and kind in full, or the digest. [`Notice::id`] is a hash,
    /// which two notices in a billion million share; losing an alarm to that would be silly.
    #[must_use]
    pub fn identity(&self) -> String {
        match self.subject() {
            Subject::Host(key, epoch) => identity(&key, epoch, self.kind),
            // No fleet is called so: a host's identity begins with one, and a slash.
            Subject::Digest(id) => format!("#digest/{id}"),
        }
    }

    /// Which notice it is.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match &self.about {
            About::Host(host) => Subject::Host(
                HostKey::new(self.fleet.clone(), host.host_id.clone()),
                host.epoch,
            ),
            About::Digest(_) => Subject::Digest(self.id.clone()),
        }
    }

    /// Whom it is about, for logs: `main/web-01`, or `812 hosts of main`.
    #[must_use]
    pub fn about_whom(&self) -> String {
        match &self.about {
            About::Host(host) => format!("{}/{}", self.fleet, host.host_id),
            About::Digest(members) => format!("{} hosts of {}", members.len(), self.fleet),
        }
    }

    /// How many hosts it tells.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.about {
            About::Host(_) => 1,
            About::Digest(members) => members.len(),
        }
    }

    /// The names of the hosts that it tells.
    pub fn host_ids(&self) -> impl Iterator<Item = &HostId> {
        let (host, members) = match &self.about {
            About::Host(host) => (Some(&host.host_id), &[][..]),
            About::Digest(members) => (None, &members[..]),
        };
        host.into_iter()
            .chain(members.iter().map(|member| &member.host))
    }
}

fn identity(key: &HostKey, epoch: u64, kind: Kind) -> String {
    format!("{key}#{epoch}/{kind}")
}

#[cfg(test)]
mod tests;
