//! What a sweep did, as numbers and messages.

use std::collections::BTreeMap;
use std::ops::Index;

use hb_domain::{HostKey, Kind, State, Timestamp};
use serde::{Serialize, Serializer};

use super::Stop;
use crate::ports::{PortError, Unreadable};

/// Most messages in a report; further troubles are only counted.
const TROUBLES: usize = 10;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    pub began: Timestamp,
    pub ended: Timestamp,
    /// Hosts that were scanned.
    pub hosts: u64,
    /// Stored items that could not be read, and were skipped.
    pub unreadable: u64,
    /// Transitions that this sweep decided, by kind.
    #[serde(flatten)]
    pub decided: KindCounts,
    /// Notices that it withdrew, because what they say was over before they were sent.
    pub withdrawn: u64,
    /// Hosts by state when it began, as far as people were notified.
    pub counts: HostCounts,
    /// Other regions that are not waited for, because nothing has arrived from them for too long.
    pub regions_unheard: u64,
    /// Hosts that seem silent, whose notices are held because the receiver may be at fault.
    pub held: u64,
    /// Claims and leases that another sweep or an admin was faster with.
    pub lost_races: u64,
    /// Notices that went into digests.
    pub batched: u64,
    /// Notices that the topic accepted; a digest is one.
    pub accepted: u64,
    /// Notices that it refused; they are retried.
    pub refused: u64,
    /// Notices of unknown outcome; they are retried when no echo arrives.
    pub unknown: u64,
    /// Notices of unknown outcome that an echo showed to be accepted.
    pub echoed: u64,
    /// Second copies of a notice that the topic accepted.
    pub second_copies: u64,
    /// Hosts whose entries an admin changed before they were claimed, until they are settled once more.
    #[serde(skip)]
    pub undecided: Vec<HostKey>,
    /// What a person should look at; the first few.
    pub troubles: Vec<String>,
}

/// Transitions, counted by kind. Serialized as one member for each kind, under its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindCounts(BTreeMap<Kind, u64>);

impl KindCounts {
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    fn count(&mut self, kind: Kind) {
        *self.0.entry(kind).or_default() += 1;
    }
}

impl Index<Kind> for KindCounts {
    type Output = u64;

    fn index(&self, kind: Kind) -> &u64 {
        self.0.get(&kind).unwrap_or(&0)
    }
}

impl<const N: usize> From<[(Kind, u64); N]> for KindCounts {
    fn from(counts: [(Kind, u64); N]) -> Self {
        Self(counts.into())
    }
}

impl Serialize for KindCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Kind::ALL.map(|kind| (kind, self[kind])))
    }
}

/// How many hosts are not up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostCounts {
    pub missing: u64,
    pub failing: u64,
    /// Paused by an admin, whatever their state is besides.
    pub paused: u64,
}

impl HostCounts {
    pub(super) fn count(&mut self, state: State) {
        match state {
            State::Missing => self.missing += 1,
            State::Failing => self.failing += 1,
            State::Paused => self.paused += 1,
            State::Up | State::Expected | State::Forgotten => {}
        }
    }
}

/// The outcome of one step of a sweep.
pub(super) enum Step {
    LostRace,
    /// An admin changed the entry before it was claimed.
    Undecided(HostKey),
    Claimed(Kind),
    Withdrawn,
    Batched,
    Accepted,
    Refused(String),
    Unknown(String),
    Echoed,
    SecondCopy(String),
    Failed(PortError),
    OutOfTime,
}

impl SweepReport {
    /// Counts a step. An error stops the sweep; an unreadable item does not.
    pub(super) fn count(&mut self, step: Step) -> Result<(), Stop> {
        match step {
            Step::LostRace => self.lost_races += 1,
            Step::Undecided(host) => self.undecided.push(host),
            Step::Claimed(kind) => self.decided.count(kind),
            Step::Withdrawn => self.withdrawn += 1,
            Step::Batched => self.batched += 1,
            Step::Accepted => self.accepted += 1,
            Step::Refused(cause) => {
                self.refused += 1;
                self.note(|| format!("the topic refused {cause}"));
            }
            Step::Unknown(cause) => {
                self.unknown += 1;
                self.note(|| format!("the topic may have accepted {cause}"));
            }
            Step::Echoed => self.echoed += 1,
            Step::SecondCopy(notice) => {
                self.second_copies += 1;
                self.note(|| format!("the topic accepted a second copy of {notice}"));
            }
            Step::Failed(PortError::Unreadable { what, key, source }) => {
                let cause = source.to_string();
                self.skip(&what, &Unreadable { key, cause });
            }
            Step::Failed(error) => return Err(error.into()),
            Step::OutOfTime => return Err(Stop::OutOfTime),
        }
        Ok(())
    }

    pub(super) fn skip(&mut self, what: &str, item: &Unreadable) {
        self.unreadable += 1;
        self.note(|| {
            format!(
                "{what} holds an unreadable item {}, which was skipped: {}",
                item.key, item.cause
            )
        });
    }

    pub(super) fn note(&mut self, trouble: impl FnOnce() -> String) {
        if self.troubles.len() < TROUBLES {
            self.troubles.push(trouble());
        }
    }
}
