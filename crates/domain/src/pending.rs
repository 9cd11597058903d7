//! The life of a pending notice: pending, leased to a sender, accepted, refused or of unknown outcome; or told by a
//! digest.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::backoff::pause;
use crate::digest::{Digest, DigestStage};
use crate::entry::Entry;
use crate::limits;
use crate::notice::id::NoticeId;
use crate::time::Timestamp;

/// How far a pending notice has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub enum Phase {
    /// To be published, once the instant has come.
    Pending {
        /// Not before this: the pause after a refusal.
        not_before: Timestamp,
    },
    /// Leased to a sender. When the lease is over, nobody knows whether it was published.
    Sending {
        /// Whose lease it is.
        owner: Uuid,
        /// When the lease is over.
        until: Timestamp,
    },
    /// Published, but no answer came: perhaps accepted.
    Unknown {
        /// When the sender gave up waiting for the answer.
        since: Timestamp,
    },
    /// To be told by a digest, if that lists it.
    Batched {
        /// Which one.
        digest: NoticeId,
    },
}

/// A notice, as long as the topic has not accepted it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pending {
    /// How far it has come.
    #[serde(flatten)]
    pub phase: Phase,
    /// How often it was leased.
    pub attempt: u32,
    /// Whether an earlier attempt may have been accepted without a word of it: only then can a second copy arise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubt: bool,
}

/// How a notice was told: once the topic has accepted it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Acceptance {
    /// At which attempt.
    pub attempt: u32,
    /// When that was known.
    pub at: Timestamp,
    /// In which digest, if in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<NoticeId>,
}

/// What became of publishing a notice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Publication {
    /// The topic has it.
    Accepted,
    /// The topic surely does not have it.
    Refused(String),
    /// Nobody knows; treated neither as a failure nor as a success.
    Unknown(String),
}

/// How long things may take until a notice is tried again.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryPolicy {
    /// The lease: longer than any sender can live.
    pub lease: Duration,
    /// How long to wait for the echo of a publish of unknown outcome. Zero where the topic itself accepts
    /// a notice id only once, as the embedded one does.
    pub echo_wait: Duration,
}

/// What the echo of a notice says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Echoed<T> {
    /// It was accepted, which nobody knew: this is what is to be stored.
    Accepted(T),
    /// It was accepted at another attempt as well: people have it twice.
    SecondCopy,
    /// Nothing new.
    Known,
}

impl Pending {
    pub(crate) fn new(at: Timestamp) -> Self {
        Self {
            phase: Phase::Pending { not_before: at },
            attempt: 0,
            doubt: false,
        }
    }

    /// From when on a sender may lease it; `None` while a digest has it.
    #[must_use]
    pub fn ready_at(&self, policy: &DeliveryPolicy) -> Option<Timestamp> {
        match self.phase {
            Phase::Pending { not_before } => Some(not_before),
            Phase::Sending { until, .. } => Some(until.plus(policy.echo_wait)),
            Phase::Unknown { since } => Some(since.plus(policy.echo_wait)),
            Phase::Batched { .. } => None,
        }
    }

    /// Leases it to `owner`; `None` when it is not ready at `now`.
    pub(crate) fn leased(
        &self,
        owner: Uuid,
        now: Timestamp,
        policy: &DeliveryPolicy,
    ) -> Option<Self> {
        self.ready_at(policy).filter(|ready| *ready <= now)?;
        Some(Self {
            phase: Phase::Sending {
                owner,
                until: now.plus(policy.lease),
            },
            attempt: self.attempt.saturating_add(1),
            doubt: self.doubt || !matches!(self.phase, Phase::Pending { .. }),
        })
    }

    /// After a publish by `owner` that was not accepted; `None` when that changes nothing: it says something only
    /// about the sender's own lease.
    pub(crate) fn unaccepted(
        &self,
        owner: Uuid,
        outcome: &Publication,
        now: Timestamp,
    ) -> Option<Self> {
        let mine = matches!(self.phase, Phase::Sending { owner: holder, .. } if holder == owner);
        let phase = match outcome {
            Publication::Refused(_) => Phase::Pending {
                not_before: now.plus(pause(self.attempt, 0)),
            },
            Publication::Unknown(_) => Phase::Unknown { since: now },
            Publication::Accepted => return None,
        };
        mine.then(|| Self {
            phase,
            ..self.clone()
        })
    }

    /// Who holds the lease at `now`.
    #[must_use]
    pub fn holder(&self, now: Timestamp) -> Option<Uuid> {
        match self.phase {
            Phase::Sending { owner, until } if now < until => Some(owner),
            _ => None,
        }
    }

    /// Whether it may have been accepted without a word of it.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt || matches!(self.phase, Phase::Sending { .. } | Phase::Unknown { .. })
    }

    /// Whether a digest may take it: it is ready at `now`, and no copy of it can be on its way.
    fn can_batch(&self, now: Timestamp) -> bool {
        matches!(self.phase, Phase::Pending { not_before } if not_before <= now) && !self.doubt
    }
}

impl Entry {
    /// Leases the pending notice to `owner`; `None` when there is none, or it is not ready at `now`.
    #[must_use]
    pub fn leased(mut self, owner: Uuid, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self> {
        self.pending = Some(self.pending.as_ref()?.leased(owner, now, policy)?);
        Some(self)
    }

    /// What `owner`'s publish of the notice of `epoch` came to, at that `attempt`; `None` when that changes nothing.
    ///
    /// An acceptance is a fact, whoever holds the lease by now. The other outcomes say something only about the
    /// sender's own lease.
    #[must_use]
    pub fn published(
        mut self,
        epoch: u64,
        owner: Uuid,
        attempt: u32,
        outcome: &Publication,
        now: Timestamp,
    ) -> Option<Self> {
        let pending = self.pending.as_ref().filter(|_| self.epoch == epoch)?;
        if *outcome == Publication::Accepted {
            return Some(self.with_acceptance(
                Acceptance {
                    attempt,
                    at: now,
                    digest: None,
                },
                now,
            ));
        }
        self.pending = Some(pending.unaccepted(owner, outcome, now)?);
        Some(self)
    }

    /// What the echo of the notice of `epoch` at `attempt` says.
    #[must_use]
    pub fn echoed(self, epoch: u64, attempt: u32, now: Timestamp) -> Echoed<Self> {
        if self.epoch == epoch && self.pending.is_some() {
            return Echoed::Accepted(self.with_acceptance(
                Acceptance {
                    attempt,
                    at: now,
                    digest: None,
                },
                now,
            ));
        }
        let accepted = self
            .history
            .iter()
            .find(|transition| transition.epoch == epoch);
        let accepted = accepted.and_then(|transition| transition.accepted.as_ref());
        if accepted.is_some_and(|accepted| accepted.attempt != attempt) {
            Echoed::SecondCopy
        } else {
            Echoed::Known
        }
    }

    /// Gives the pending notice to a digest; `None` when there is none to give at `now`.
    #[must_use]
    pub fn batched(mut self, digest: &NoticeId, now: Timestamp) -> Option<Self> {
        let pending = self
            .pending
            .as_mut()
            .filter(|pending| pending.can_batch(now))?;
        pending.phase = Phase::Batched {
            digest: digest.clone(),
        };
        Some(self)
    }

    /// Whether a digest may take the pending notice at `now`.
    #[must_use]
    pub fn can_batch(&self, now: Timestamp) -> bool {
        self.pending
            .as_ref()
            .is_some_and(|pending| pending.can_batch(now))
    }

    /// Whether the pending notice may have been accepted without a word of it.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.pending.as_ref().is_some_and(Pending::is_in_doubt)
    }

    /// The digest that has the pending notice.
    #[must_use]
    pub fn digest(&self) -> Option<&NoticeId> {
        match &self.pending.as_ref()?.phase {
            Phase::Batched { digest } => Some(digest),
            _ => None,
        }
    }

    /// What becomes of a notice that was given to a digest, now that `digest` (the one it was given to) stands like
    /// this; `None` when nothing changes yet.
    ///
    /// A digest that was told has told it. One that does not list it never will: the notice is pending again. Without
    /// that, a host given to a digest by a builder that was paused until the list was frozen would be lost.
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
            // A closed digest lists nobody: it was closed when all that it listed were released.
            _ => {
                let pending = self.pending.as_mut()?;
                pending.phase = Phase::Pending { not_before: now };
                Some(self)
            }
        }
    }

    fn with_acceptance(mut self, acceptance: Acceptance, now: Timestamp) -> Self {
        self.pending = None;
        if let Some(last) = self.history.last_mut() {
            // Half, since clocks differ.
            self.needs_recheck = now.since(last.at) >= limits::NEWS_MARGIN / 2;
            last.accepted = Some(acceptance);
        }
        self
    }
}

#[cfg(test)]
mod tests;
