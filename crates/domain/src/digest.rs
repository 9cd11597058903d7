//! Digests: one message about many hosts of one fleet that changed in the same way.
//!
//! Which hosts a digest lists is settled in steps, after each of which its builder may crash:
//!
//! 1. the digest is written, open, with the hosts that it is meant for;
//! 2. each host leaves its pending notice to it ([`Entry::batched`]);
//! 3. the hosts that did are read, and the list is frozen: the digest is ready;
//! 4. it is leased and published like any notice, and accepted;
//! 5. each host on the list is released ([`Entry::released`]), and the digest is closed.
//!
//! A host that joined too late for the list takes its notice back.

mod member;
mod room;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::room::Room;
use crate::entry::Entry;
use crate::host::{Fleet, HostId, HostKey};
use crate::key::KeyId;
use crate::limits;
use crate::notice::id::NoticeId;
use crate::pending::{Acceptance, DeliveryPolicy, Echoed, Pending, Phase, Publication};
use crate::time::Timestamp;
use crate::transition::{Caveat, Kind};

pub use self::member::Member;
pub use self::room::digest_parts;

/// The stages of a digest, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestStage {
    /// Hosts may join.
    Open,
    /// The list is frozen, the notice to be published.
    Ready,
    /// The topic has it; its hosts have yet to be released.
    #[serde(alias = "told")]
    Accepted,
    /// Done. The list is gone.
    Closed,
}

/// What a reminder does not list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reminder {
    /// Hosts for which there was no room, in trouble for less time than those on the list.
    pub more: usize,
    /// Hosts that an admin acknowledged.
    pub acknowledged: usize,
}

/// A digest, swapped as a whole like a ledger entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest {
    /// Random, since it is about no single host.
    pub id: NoticeId,
    /// The fleet of all its hosts.
    pub fleet: Fleet,
    /// What happened to them.
    pub kind: Kind,
    /// When it was created.
    pub at: Timestamp,
    /// Its current stage.
    pub stage: DigestStage,
    /// While open, the hosts it is meant for; once frozen, the hosts it lists.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Of sites with several of the hosts, how many hosts they have in all, as far as that is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sites: BTreeMap<String, u32>,
    /// Why it may be wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caveat: Option<Caveat>,
    /// Of a reminder, what it does not list. No host joins one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminder: Option<Reminder>,
    /// Its notice, from ready to accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// When and how the topic accepted its notice.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "told")]
    pub accepted: Option<Acceptance>,
}

impl Digest {
    /// A digest of the hosts of these entries, which all have a notice of the same fleet and kind pending; `None`
    /// without entries.
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
            sites: BTreeMap::new(),
            caveat: entries
                .iter()
                .find_map(|entry| entry.history.last()?.caveat.clone()),
            reminder: None,
            pending: None,
            accepted: None,
        })
    }

    /// A reminder of hosts of `fleet` that are still in trouble, those first that have been so for longest: as many as fit.
    /// `None` without hosts.
    #[must_use]
    pub fn reminding(
        id: NoticeId,
        fleet: Fleet,
        mut hosts: Vec<Member>,
        unlisted: Reminder,
        now: Timestamp,
    ) -> Option<Self> {
        hosts.sort_by(|one, other| (one.since, &one.host).cmp(&(other.since, &other.host)));
        let mut room = Room::default();
        let fits = hosts
            .iter()
            .take_while(|member| room.take(&member.host, member.bytes()));
        let fits = fits.count();
        let more = unlisted.more + hosts.len() - fits;
        hosts.truncate(fits);
        let failing = hosts.iter().all(|member| member.failing);
        (!hosts.is_empty()).then(|| Self {
            id,
            fleet,
            kind: if failing {
                Kind::Failing
            } else {
                Kind::Missing
            },
            at: now,
            stage: DigestStage::Ready,
            members: hosts,
            sites: BTreeMap::new(),
            caveat: None,
            reminder: Some(Reminder { more, ..unlisted }),
            pending: Some(Pending::new(now)),
            accepted: None,
        })
    }

    /// With the number of hosts that `size` knows of each site with several of its hosts.
    #[must_use]
    pub fn with_sites(mut self, size: impl Fn(&str) -> Option<u32>) -> Self {
        let mut seen = HashSet::new();
        let sites = self.members.iter().filter_map(|member| member.host.site());
        let several = sites.filter(|site| !seen.insert(*site));
        self.sites = several
            .filter_map(|site| Some((site.to_owned(), size(site)?)))
            .collect();
        self
    }

    /// Whether a sweep must know it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage != DigestStage::Closed
    }

    /// Whether the last transition of `entry` is on its list.
    #[must_use]
    pub fn lists(&self, entry: &Entry) -> bool {
        let is_it = |member: &Member| member.host == entry.key.host && member.epoch == entry.epoch;
        let rest = self.members.get(limits::DIGEST_NAMES..).unwrap_or_default();
        // In order of their names, unless an earlier version wrote the list.
        let place = rest.binary_search_by(|member| member.host.cmp(&entry.key.host));
        let found = place.is_ok_and(|place| is_it(&rest[place]));
        self.fleet == entry.key.fleet && (found || self.members.iter().any(is_it))
    }

    /// The keys of its members.
    pub fn keys(&self) -> impl Iterator<Item = HostKey> + '_ {
        self.members
            .iter()
            .map(|member| HostKey::new(self.fleet.clone(), member.host.clone()))
    }

    /// Whether it is open and may be frozen by a sweep that did not build it, since the builder has certainly ended, or
    /// since a wrong clock dated it.
    #[must_use]
    pub fn is_abandoned(&self, now: Timestamp, policy: &DeliveryPolicy) -> bool {
        let over = self.at.plus(policy.lease) <= now || self.at.is_ahead(now);
        self.stage == DigestStage::Open && over
    }

    /// Freezes the list: of the members as they are now, `entries`, it keeps those that joined. First those that texts name,
    /// of each key in turn, then the others in order of their names.
    /// `None` when it is not open.
    #[must_use]
    pub fn frozen<'a>(
        self,
        entries: impl IntoIterator<Item = &'a Entry>,
        now: Timestamp,
    ) -> Option<Self> {
        if self.stage != DigestStage::Open {
            return None;
        }
        let joined = entries
            .into_iter()
            .filter(|entry| entry.digest() == Some(&self.id));
        let key = |entry: &Entry| entry.history.last().and_then(|last| last.key);
        let members = in_turn(joined.filter_map(|entry| Some((key(entry), Member::of(entry)?))));
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

    /// With a mark at each host that beat again since it went missing: its last beat is `heard`.
    #[must_use]
    pub fn with_back(mut self, heard: impl Fn(&HostId) -> Option<Timestamp>) -> Self {
        for member in &mut self.members {
            let again = heard(&member.host).is_some_and(|last| last > member.since);
            member.back = again && !member.failing;
        }
        self
    }

    /// Leases the notice to `owner`; `None` when there is none, or it is not ready at `now`.
    #[must_use]
    pub fn leased(mut self, owner: Uuid, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self> {
        self.pending = Some(self.pending.as_ref()?.leased(owner, now, policy)?);
        Some(self)
    }

    /// Records the outcome of `owner`'s publish at `attempt`, as [`Entry::published`] does.
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
            return Some(self.with_acceptance(attempt, now));
        }
        self.pending = Some(pending.unaccepted(owner, outcome, now)?);
        Some(self)
    }

    /// Whether its notice may have been accepted unnoticed.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.pending.as_ref().is_some_and(Pending::is_in_doubt)
    }

    /// What the echo of its notice at `attempt` proves.
    #[must_use]
    pub fn echoed(self, attempt: u32, now: Timestamp) -> Echoed<Self> {
        if self.pending.is_some() {
            return Echoed::Accepted(self.with_acceptance(attempt, now));
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

    /// Closes it: the caller has seen that every host on the list was released. `None` when it is not accepted yet.
    #[must_use]
    pub fn closed(self) -> Option<Self> {
        let accepted = self.stage == DigestStage::Accepted;
        accepted.then(|| Self {
            stage: DigestStage::Closed,
            members: Vec::new(),
            sites: BTreeMap::new(),
            ..self
        })
    }

    fn with_acceptance(self, attempt: u32, at: Timestamp) -> Self {
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

impl Entry {
    /// Settles a notice that was left to a digest, given that `digest` now; `None` when nothing changes yet.
    ///
    /// An accepted digest has delivered the notices of the hosts on its list. A host that is not on the list will not get
    /// there: its notice is pending again. Otherwise a host that joined by a builder which was paused until the list
    /// was frozen would lose its notice.
    #[must_use]
    pub fn released(mut self, digest: Option<&Digest>, now: Timestamp) -> Option<Self> {
        self.digest()?;
        let listed = digest.is_some_and(|digest| digest.lists(&self));
        match digest.map(|digest| (digest.stage, &digest.accepted)) {
            Some((DigestStage::Open, _)) => None,
            Some((DigestStage::Ready, _)) if listed => None,
            Some((DigestStage::Accepted, Some(acceptance))) if listed => {
                let acceptance = Acceptance {
                    digest: digest.map(|digest| digest.id.clone()),
                    ..acceptance.clone()
                };
                Some(self.with_acceptance(acceptance, now))
            }
            // A closed digest lists no host: it was closed after all of them were released.
            _ => {
                let pending = self.pending.as_mut()?;
                pending.phase = Phase::Pending { not_before: now };
                Some(self)
            }
        }
    }
}

/// Members in order of their names; but those that texts name, the first ones, are of each key in turn, so that one key
/// cannot push the hosts of all others out by names that come first.
fn in_turn(joined: impl Iterator<Item = (Option<KeyId>, Member)>) -> Vec<Member> {
    let mut joined: Vec<_> = joined.collect();
    joined.sort_by(|(_, one), (_, other)| one.host.cmp(&other.host));
    let mut turns: BTreeMap<Option<KeyId>, usize> = BTreeMap::new();
    let mut members: Vec<(usize, Member)> = Vec::with_capacity(joined.len());
    for (key, member) in joined {
        let turn = turns.entry(key).or_default();
        *turn += 1;
        members.push((*turn, member));
    }
    members.sort_by_key(|(turn, _)| *turn);
    if let Some(rest) = members.get_mut(limits::DIGEST_NAMES..) {
        rest.sort_by(|(_, one), (_, other)| one.host.cmp(&other.host));
    }
    members.into_iter().map(|(_, member)| member).collect()
}

#[cfg(test)]
mod tests;
