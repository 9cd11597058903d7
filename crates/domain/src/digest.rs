//! Digests: one message about many hosts of one fleet that changed in the same way.
//!
//! Which hosts a digest tells is settled in steps, each of which may be the last of whoever takes it:
//!
//! 1. the digest is written, open, with the hosts that it is meant for;
//! 2. each host gives its pending notice to it ([`Entry::batched`]);
//! 3. the hosts that did are read, and the list is frozen: the digest is ready;
//! 4. it is leased and published like any notice, and is told;
//! 5. each host on the list is released ([`Entry::released`]), and the digest is closed.
//!
//! A host that gave its notice too late for the list takes it back.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::entry::Entry;
use crate::host::{Fleet, HostId, HostKey};
use crate::limits;
use crate::notice::id::NoticeId;
use crate::pending::{Acceptance, DeliveryPolicy, Echoed, Pending, Publication};
use crate::time::Timestamp;
use crate::transition::{Caveat, Kind};

/// A host of a digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(HostId, u64, Timestamp)", into = "(HostId, u64, Timestamp)")]
pub struct Member {
    /// Which host of the fleet.
    pub host: HostId,
    /// The number of its transition.
    pub epoch: u64,
    /// Since when it is so.
    pub since: Timestamp,
}

impl Member {
    /// The host of `entry`, whose last transition is to be told.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let since = entry.history.last()?.since;
        Some(Self {
            host: entry.key.host.clone(),
            epoch: entry.epoch,
            since,
        })
    }

    /// Its size in the digest's JSON: the names of the members, an instant, and the host's name.
    fn bytes(&self) -> usize {
        const AROUND: usize = r#"{"hostId":"","since":"2026-01-31T10:02:00.000Z"},"#.len();
        AROUND + self.host.as_str().len()
    }
}

impl From<(HostId, u64, Timestamp)> for Member {
    fn from((host, epoch, since): (HostId, u64, Timestamp)) -> Self {
        Self { host, epoch, since }
    }
}

impl From<Member> for (HostId, u64, Timestamp) {
    fn from(Member { host, epoch, since }: Member) -> Self {
        (host, epoch, since)
    }
}

/// How far a digest has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestStage {
    /// Hosts may join.
    Open,
    /// The list is frozen, and is to be published.
    Ready,
    /// The topic has it; its hosts have yet to be released.
    #[serde(alias = "told")]
    Accepted,
    /// All is done. The list is gone.
    Closed,
}

/// A digest, swapped as a whole like a ledger entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest {
    /// Its name: drawn by chance, since it is about no one host.
    pub id: NoticeId,
    /// The fleet of all its hosts.
    pub fleet: Fleet,
    /// What happened to them.
    pub kind: Kind,
    /// When it was begun.
    pub at: Timestamp,
    /// How far it has come.
    pub stage: DigestStage,
    /// While open, the hosts it is meant for; frozen, the hosts it tells.
    #[serde(default)]
    pub members: Vec<Member>,
    /// What may make its news less than sure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caveat: Option<Caveat>,
    /// Its notice, from ready to told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// How it was told.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "told")]
    pub accepted: Option<Acceptance>,
}

impl Digest {
    /// A digest of the hosts of these entries, of which all have a notice of the same fleet and kind pending; `None`
    /// of none.
    #[must_use]
    pub fn new(id: NoticeId, entries: &[&Entry], now: Timestamp) -> Option<Self> {
        let first = entries.first()?;
        let transition = first.history.last()?;
        Some(Self {
            id,
            fleet: first.key.fleet.clone(),
            kind: transition.kind,
            at: now,
            stage: DigestStage::Open,
            members: entries
                .iter()
                .filter_map(|entry| Member::of(entry))
                .collect(),
            caveat: entries
                .iter()
                .find_map(|entry| entry.history.last()?.caveat.clone()),
            pending: None,
            accepted: None,
        })
    }

    /// Whether a sweep must know it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage != DigestStage::Closed
    }

    /// Whether it tells the last transition of `entry`.
    #[must_use]
    pub fn lists(&self, entry: &Entry) -> bool {
        self.fleet == entry.key.fleet
            && self
                .members
                .iter()
                .any(|member| member.host == entry.key.host && member.epoch == entry.epoch)
    }

    /// The keys of its members.
    pub fn keys(&self) -> impl Iterator<Item = HostKey> + '_ {
        self.members
            .iter()
            .map(|member| HostKey::new(self.fleet.clone(), member.host.clone()))
    }

    /// Whether an open one may be frozen by somebody who did not build it: whoever did has surely ended.
    #[must_use]
    pub fn is_abandoned(&self, now: Timestamp, policy: &DeliveryPolicy) -> bool {
        self.stage == DigestStage::Open && self.at.plus(policy.lease) <= now
    }

    /// The list is frozen: `entries` are the members as they are now, and those that gave their notice are told.
    /// `None` when it is not open.
    #[must_use]
    pub fn frozen(self, entries: &[Entry], now: Timestamp) -> Option<Self> {
        if self.stage != DigestStage::Open {
            return None;
        }
        let mut joined = entries
            .iter()
            .filter(|entry| entry.digest() == Some(&self.id));
        let members: Vec<_> = joined.by_ref().filter_map(Member::of).collect();
        Some(if members.is_empty() {
            Self {
                stage: DigestStage::Closed,
                members,
                ..self
            }
        } else {
            Self {
                stage: DigestStage::Ready,
                members,
                pending: Some(Pending::new(now)),
                ..self
            }
        })
    }

    /// Leases the notice to `owner`; `None` when there is none, or it is not ready at `now`.
    #[must_use]
    pub fn leased(mut self, owner: Uuid, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self> {
        self.pending = Some(self.pending.as_ref()?.leased(owner, now, policy)?);
        Some(self)
    }

    /// What `owner`'s publish at `attempt` came to; as [`Entry::published`] has it.
    #[must_use]
    pub fn published(
        mut self,
        owner: Uuid,
        attempt: u32,
        outcome: &Publication,
        now: Timestamp,
    ) -> Option<Self> {
        let pending = self.pending.as_ref()?;
        if *outcome == Publication::Accepted {
            return Some(self.with_told(attempt, now));
        }
        self.pending = Some(pending.unaccepted(owner, outcome, now)?);
        Some(self)
    }

    /// Whether its notice may have been accepted without a word of it.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.pending.as_ref().is_some_and(Pending::is_in_doubt)
    }

    /// What the echo of it at `attempt` says.
    #[must_use]
    pub fn echoed(self, attempt: u32, now: Timestamp) -> Echoed<Self> {
        if self.pending.is_some() {
            return Echoed::Accepted(self.with_told(attempt, now));
        }
        let other = self
            .accepted
            .as_ref()
            .is_some_and(|last| last.attempt != attempt);
        if other {
            Echoed::SecondCopy
        } else {
            Echoed::Known
        }
    }

    /// All is done: the caller has seen that no host on the list has its notice here any more. `None` when it is not
    /// told yet.
    #[must_use]
    pub fn closed(self) -> Option<Self> {
        let accepted = self.stage == DigestStage::Accepted;
        accepted.then(|| Self {
            stage: DigestStage::Closed,
            members: Vec::new(),
            ..self
        })
    }

    fn with_told(self, attempt: u32, at: Timestamp) -> Self {
        let accepted = Some(Acceptance {
            attempt,
            at,
            digest: None,
        });
        Self {
            stage: DigestStage::Accepted,
            pending: None,
            accepted,
            ..self
        }
    }
}

/// Parts `entries` so that each part fits into one digest.
#[must_use]
pub fn digest_parts<'a>(entries: &[&'a Entry]) -> Vec<Vec<&'a Entry>> {
    let mut parts: Vec<(usize, Vec<&Entry>)> = Vec::new();
    for entry in entries {
        let bytes = Member::of(entry).map_or(0, |member| member.bytes());
        match parts.last_mut() {
            Some((sum, part))
                if part.len() < limits::DIGEST_HOSTS && *sum + bytes <= limits::DIGEST_BYTES =>
            {
                *sum += bytes;
                part.push(entry);
            }
            _ => parts.push((bytes, vec![entry])),
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

#[cfg(test)]
mod tests;
