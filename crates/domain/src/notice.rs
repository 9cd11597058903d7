//! Notices: the message about a transition or a digest, as one value rendered for each kind of reader.
//!
//! A notice is computed from the ledger entry (or the digest) and the attempt alone, so that every region and every
//! attempt makes the same one. It is not sent here.

pub(crate) mod id;
mod json;
mod part;
mod reader;
mod sites;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::beat::Interval;
use crate::details::Details;
use crate::digest::{Digest, Member, Reminder};
use crate::entry::Entry;
use crate::flapping::Flapping;
use crate::host::{Fleet, HostId, HostKey, Region};
use crate::message::Message;
use crate::pending::Acceptance;
use crate::time::Timestamp;
use crate::timing::{Grace, Timing};
use crate::transition::{Caveat, Kind, Severity, Transition};

pub use id::{NoticeId, NoticeIdError};
pub use reader::Reader;

/// One host in a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoticeHost {
    /// The host.
    pub host_id: HostId,
    /// The instant of the transition.
    pub since: Timestamp,
    /// Its last beat.
    pub last_beat: Timestamp,
    /// The interval that was in force.
    pub interval: Interval,
    /// Which part of the interval is a grace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Grace>,
    /// The number of the transition.
    pub epoch: u64,
    /// The message of a failing host.
    pub message: Option<Message>,
    /// For `recovered`: the kind of the transition before, and its instant.
    pub before: Option<(Kind, Timestamp)>,
    /// Whether it goes missing again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flapping: Option<Flapping>,
    /// What admins say of it.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
}

/// The hosts of a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum About {
    /// A transition of one host.
    #[serde(rename = "host")]
    Host(NoticeHost),
    /// A digest of these hosts.
    #[serde(rename = "members")]
    Digest(Vec<Member>),
}

/// What identifies a notice, whatever its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The transition of this host to this epoch, and the id of its notice: in another incarnation of the stored data,
    /// the epoch may be of another transition.
    Host(HostKey, u64, NoticeId),
    /// This digest.
    Digest(NoticeId),
}

/// A notice, or a digest, that the topic accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its id.
    pub id: NoticeId,
    /// At which attempt.
    pub attempt: u32,
}

/// One message to people. The embedded topic stores its serde form; machines get [`Notice::json`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same at every attempt, and in no other incarnation of the stored data.
    pub id: NoticeId,
    /// Which attempt to publish it this is, from 1.
    pub attempt: u32,
    /// What happened.
    pub kind: Kind,
    /// The fleet of all its hosts.
    pub fleet: Fleet,
    /// To which host or hosts.
    #[serde(flatten)]
    pub about: About,
    /// Of a digest, how many hosts sites have in all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sites: BTreeMap<String, u32>,
    /// Of a reminder of hosts that are still in trouble, what it does not list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminder: Option<Reminder>,
    /// When the transition was decided; of a digest, when that was created.
    pub at: Timestamp,
    /// The region that publishes it.
    pub region: Region,
    /// Why it may be wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caveat: Option<Caveat>,
    /// Of a host that recovered, the notice of its trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<Sent>,
    /// Who reads it.
    #[serde(default, skip_serializing_if = "Reader::is_default")]
    pub reader: Reader,
    /// Whether it is a test by an admin, and nothing has happened. Every rendering says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
}

impl NoticeHost {
    /// How long it may stay silent.
    pub(crate) fn timing(&self) -> Timing {
        Timing {
            interval: self.interval,
            grace: self.grace,
        }
    }
}

impl Notice {
    /// The notice that is pending in `entry`, if any.
    #[must_use]
    pub fn of(entry: &Entry, region: &Region) -> Option<Self> {
        let pending = entry.pending.as_ref()?;
        let (last, earlier) = entry.history.split_last()?;
        let mut known = earlier.iter().rev().filter(|earlier| !earlier.withdrawn);
        let before = known.next().filter(|_| last.kind == Kind::Recovered);
        let flaps = matches!(last.kind, Kind::Missing | Kind::Recovered);
        let follows = before.and_then(|before| {
            let Acceptance {
                attempt, digest, ..
            } = before.accepted.clone()?;
            Some(Sent {
                id: digest.unwrap_or_else(|| id_of(entry, before, pending.incarnation)),
                attempt,
            })
        });
        Some(Self {
            id: pending_id(entry)?,
            attempt: pending.attempt.max(1),
            kind: last.kind,
            fleet: entry.key.fleet.clone(),
            about: About::Host(NoticeHost {
                host_id: entry.key.host.clone(),
                since: last.since,
                last_beat: last.last_beat,
                interval: last.interval,
                grace: last.grace,
                epoch: last.epoch,
                message: last.message.clone(),
                before: before.map(|before| (before.kind, before.since)),
                flapping: Flapping::of(&entry.history, last.at).filter(|_| flaps),
                details: entry.details.clone(),
            }),
            sites: BTreeMap::new(),
            reminder: None,
            at: last.at,
            region: region.clone(),
            caveat: last.caveat.clone(),
            follows,
            reader: Reader::default(),
            test: false,
        })
    }

    /// The notice of a digest whose list is frozen but not accepted yet.
    #[must_use]
    pub fn of_digest(digest: &Digest, region: &Region) -> Option<Self> {
        let pending = digest.pending.as_ref()?;
        Some(Self {
            id: digest.id.clone(),
            attempt: pending.attempt.max(1),
            kind: digest.kind,
            fleet: digest.fleet.clone(),
            about: About::Digest(digest.members.clone()),
            sites: digest.sites.clone(),
            reminder: digest.reminder,
            at: digest.at,
            region: region.clone(),
            caveat: digest.caveat.clone(),
            follows: None,
            reader: Reader::default(),
            test: false,
        })
    }

    /// A notice by which an admin tests, at `now`, who receives notices of `kind` in `fleet`. Its host has a reserved
    /// name, so that no ledger entry can ever wait for its echo.
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
                grace: None,
                host_id: key.host,
                since: now,
                last_beat: now,
                interval: Interval::default(),
                epoch,
                message: None,
                before: None,
                flapping: None,
                details: Details::default(),
            }),
            sites: BTreeMap::new(),
            reminder: None,
            at: now,
            region,
            caveat: None,
            follows: None,
            reader: Reader::default(),
            test: true,
        }
    }

    /// Equal for two notices only if they are the same: fleet, host, epoch and kind in full, or the digest.
    /// [`Notice::id`] is a hash, which two notices may share.
    #[must_use]
    pub fn identity(&self) -> String {
        match self.subject() {
            Subject::Host(key, epoch, _) => identity(&key, epoch, self.kind),
            // Not a host's identity: those begin with a fleet and a slash.
            Subject::Digest(id) => format!("#digest/{id}"),
        }
    }

    /// How urgent it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        Severity::of(self.kind, self.caveat.as_ref())
    }

    /// What identifies it.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match &self.about {
            About::Host(host) => Subject::Host(
                HostKey::new(self.fleet.clone(), host.host_id.clone()),
                host.epoch,
                self.id.clone(),
            ),
            About::Digest(_) => Subject::Digest(self.id.clone()),
        }
    }

    /// Its host or hosts, for logs: `main/web-01`, or `812 hosts of main`.
    #[must_use]
    pub fn about_whom(&self) -> String {
        match &self.about {
            About::Host(host) => format!("{}/{}", self.fleet, host.host_id),
            About::Digest(members) => format!("{} hosts of {}", members.len(), self.fleet),
        }
    }

    /// How many hosts it is about.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.about {
            About::Host(_) => 1,
            About::Digest(members) => members.len(),
        }
    }

    /// The sites of its hosts and those above them, each with its slash.
    #[must_use]
    pub fn site_prefixes(&self) -> BTreeSet<&str> {
        self.host_ids().flat_map(HostId::site_prefixes).collect()
    }

    /// The names of its hosts.
    pub fn host_ids(&self) -> impl Iterator<Item = &HostId> {
        let (host, members) = match &self.about {
            About::Host(host) => (Some(&host.host_id), &[][..]),
            About::Digest(members) => (None, &members[..]),
        };
        host.into_iter()
            .chain(members.iter().map(|member| &member.host))
    }
}

/// The id of the notice that is pending in `entry`, if any.
pub(crate) fn pending_id(entry: &Entry) -> Option<NoticeId> {
    let incarnation = entry.pending.as_ref()?.incarnation;
    Some(id_of(entry, entry.history.last()?, incarnation))
}

/// The id of the notice of a transition of `entry`.
fn id_of(entry: &Entry, transition: &Transition, incarnation: Option<Uuid>) -> NoticeId {
    let identity = identity(&entry.key, transition.epoch, transition.kind);
    NoticeId::of(&match incarnation {
        Some(incarnation) => format!("{incarnation}/{identity}"),
        None => identity,
    })
}

fn identity(key: &HostKey, epoch: u64, kind: Kind) -> String {
    format!("{key}#{epoch}/{kind}")
}

#[cfg(test)]
mod tests;
