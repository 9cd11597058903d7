//! The pending notice of a host or a digest, until the topic has accepted it.
//!
//! The rules that hosts and digests share. What else changes when a notice is accepted stands with each of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::backoff::pause;
use crate::limits;
use crate::notice::id::NoticeId;
use crate::time::Timestamp;

/// The delivery phase of a pending notice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub enum Phase {
    /// To be published, once the instant has come.
    Pending {
        /// The end of the pause after a refusal, or of the time for which a host that flaps must beat.
        not_before: Timestamp,
    },
    /// Leased to a sender. After the lease, whether it was published is unknown.
    Sending {
        /// The holder of the lease.
        owner: Uuid,
        /// The end of the lease.
        until: Timestamp,
    },
    /// Published without a reply: perhaps accepted.
    Unknown {
        /// When the sender gave up waiting for the reply.
        since: Timestamp,
    },
    /// Left to a digest, if that lists the host.
    Batched {
        /// Which one.
        digest: NoticeId,
    },
}

/// A notice that the topic has yet to accept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pending {
    /// Where it is in its delivery.
    #[serde(flatten)]
    pub phase: Phase,
    /// How often it was leased.
    pub attempt: u32,
    /// Whether an earlier attempt may have been accepted unnoticed: only then can a second copy arise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubt: bool,
    /// The incarnation of the stored data when it was decided, which its id contains; `None` in a digest, whose id is
    /// random, and in what version 0.1.0 wrote: the id must stay the same at every attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Uuid>,
}

/// The topic's acceptance of a notice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Acceptance {
    /// At which attempt.
    pub attempt: u32,
    /// When it became known.
    pub at: Timestamp,
    /// The digest that contained the notice, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<NoticeId>,
}

/// The outcome of publishing a notice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Publication {
    /// The topic has it.
    Accepted,
    /// The topic certainly does not have it.
    Refused(String),
    /// Neither a failure nor a success.
    Unknown(String),
}

/// How long to wait before a notice is tried again.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryPolicy {
    /// The lease: longer than any sender can live.
    pub lease: Duration,
    /// How long to wait for the echo of a publish of unknown outcome. Zero where the topic itself accepts
    /// a notice id only once, as the embedded one does.
    pub echo_wait: Duration,
}

/// What the echo of a notice proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Echoed<T> {
    /// It was accepted, which was not yet known: store this.
    Accepted(T),
    /// It was accepted at another attempt as well: people have it twice.
    SecondCopy,
    /// Nothing new.
    Known,
}

impl Pending {
    pub(crate) fn new(not_before: Timestamp) -> Self {
        Self {
            phase: Phase::Pending { not_before },
            attempt: 0,
            doubt: false,
            incarnation: None,
        }
    }

    /// When a sender may next lease it; `None` while it is left to a digest.
    #[must_use]
    pub fn ready_at(&self, policy: &DeliveryPolicy) -> Option<Timestamp> {
        match self.phase {
            Phase::Pending { not_before } => Some(not_before),
            Phase::Sending { until, .. } => Some(until.plus(policy.echo_wait)),
            Phase::Unknown { since } => Some(since.plus(policy.echo_wait)),
            Phase::Batched { .. } => None,
        }
    }

    /// Whether it is to be published and waits for nothing. The end of a pause that is too far away for any was
    /// written by a wrong clock.
    fn is_due(&self, now: Timestamp) -> bool {
        let longest = match self.attempt {
            0 => limits::FLAPPING_STEADIEST,
            attempt => pause(attempt, 0),
        };
        matches!(self.phase, Phase::Pending { not_before }
            if not_before <= now || not_before.is_ahead(now.plus(longest)))
    }

    /// Whether nobody was ever to send it: then nobody has it, and it may be withdrawn.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        matches!(self.phase, Phase::Pending { .. }) && self.attempt == 0 && !self.doubt
    }

    /// Whether it may be leased at `now`, waits for nothing in a digest, or is to be mended.
    #[must_use]
    pub fn is_ready(&self, now: Timestamp, policy: &DeliveryPolicy) -> bool {
        let ready = self.ready_at(policy).is_none_or(|at| at <= now);
        ready || self.is_due(now) || self.mended(now, policy).is_some()
    }

    /// The same, when a wrong clock wrote its lease or when its outcome became unknown: then the outcome is unknown from
    /// `now` on. `None` when there is nothing to mend.
    #[must_use]
    pub fn mended(&self, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self> {
        let is_wrong = match self.phase {
            Phase::Sending { until, .. } => until.is_ahead(now.plus(policy.lease)),
            Phase::Unknown { since } => since.is_ahead(now),
            Phase::Pending { .. } | Phase::Batched { .. } => false,
        };
        is_wrong.then(|| Self {
            phase: Phase::Unknown { since: now },
            ..self.clone()
        })
    }

    /// Leases it to `owner`; `None` when it is not ready at `now`.
    pub(crate) fn leased(
        &self,
        owner: Uuid,
        now: Timestamp,
        policy: &DeliveryPolicy,
    ) -> Option<Self> {
        if !self.is_due(now) {
            self.ready_at(policy).filter(|ready| *ready <= now)?;
        }
        Some(Self {
            phase: Phase::Sending {
                owner,
                until: now.plus(policy.lease),
            },
            attempt: self.attempt.saturating_add(1),
            doubt: self.doubt || !matches!(self.phase, Phase::Pending { .. }),
            incarnation: self.incarnation,
        })
    }

    /// After a publish by `owner` that was not accepted. `None` when `owner` no longer holds the lease: then the outcome
    /// changes nothing.
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

    /// Whether it may have been accepted unnoticed.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt || matches!(self.phase, Phase::Sending { .. } | Phase::Unknown { .. })
    }

    /// Whether a digest may take it: it is ready at `now`, and no copy of it can be on its way.
    pub(crate) fn can_batch(&self, now: Timestamp) -> bool {
        self.is_due(now) && !self.doubt
    }
}
