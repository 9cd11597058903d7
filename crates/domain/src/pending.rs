//! The life of a pending notice: pending, leased to a sender, accepted, refused or of unknown outcome.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::backoff::pause;
use crate::entry::Entry;
use crate::time::Timestamp;

/// How far a pending notice has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// The notice of an entry's last transition, as long as the topic has not accepted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// How far it has come.
    #[serde(flatten)]
    pub phase: Phase,
    /// How often it was leased.
    pub attempt: u32,
}

/// What became of publishing a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl Pending {
    pub(crate) fn new(at: Timestamp) -> Self {
        Self { phase: Phase::Pending { not_before: at }, attempt: 0 }
    }

    /// From when on a sender may lease it.
    #[must_use]
    pub fn ready_at(&self, policy: &DeliveryPolicy) -> Timestamp {
        match self.phase {
            Phase::Pending { not_before } => not_before,
            Phase::Sending { until, .. } => until.plus(policy.echo_wait),
            Phase::Unknown { since } => since.plus(policy.echo_wait),
        }
    }
}

impl Entry {
    /// Leases the pending notice to `owner`; `None` when there is none, or it is not ready at `now`.
    #[must_use]
    pub fn leased(mut self, owner: Uuid, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self> {
        let pending = self.pending.as_mut().filter(|pending| pending.ready_at(policy) <= now)?;
        pending.phase = Phase::Sending { owner, until: now.plus(policy.lease) };
        pending.attempt = pending.attempt.saturating_add(1);
        Some(self)
    }

    /// What `owner`'s publish of the notice of `epoch` came to; `None` when that changes nothing.
    ///
    /// An acceptance is a fact, whoever holds the lease by now. The other outcomes say something only about the
    /// sender's own lease.
    #[must_use]
    pub fn published(
        mut self,
        epoch: u64,
        owner: Uuid,
        outcome: &Publication,
        now: Timestamp,
    ) -> Option<Self> {
        let pending = self.pending.as_mut().filter(|_| self.epoch == epoch)?;
        let mine = matches!(pending.phase, Phase::Sending { owner: holder, .. } if holder == owner);
        match outcome {
            Publication::Accepted => self.pending = None,
            _ if !mine => return None,
            Publication::Refused(_) => {
                pending.phase = Phase::Pending { not_before: now.plus(pause(pending.attempt, 0)) };
            }
            Publication::Unknown(_) => pending.phase = Phase::Unknown { since: now },
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beat::{Beat, Heartbeat, Interval, Signal};
    use crate::decide::{Rules, decide};
    use crate::host::{Fleet, HostKey};

    const POLICY: DeliveryPolicy =
        DeliveryPolicy { lease: Duration::from_secs(10), echo_wait: Duration::from_mins(3) };
    const ME: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1_000).unwrap()
    }

    fn pending() -> Entry {
        let beat = Beat { at: at(0), interval: Interval::default(), signal: Signal::Ok, message: None };
        let key = HostKey::new(Fleet::main(), "web-01".parse().unwrap());
        decide(&Entry::new(key), &Heartbeat::new(beat), at(0), &Rules::default()).unwrap()
    }

    fn phase(entry: &Entry) -> &Phase {
        &entry.pending.as_ref().unwrap().phase
    }

    #[test]
    fn only_one_sender_holds_the_lease() {
        let leased = pending().leased(ME, at(0), &POLICY).unwrap();
        assert_eq!(phase(&leased), &Phase::Sending { owner: ME, until: at(10) });
        assert_eq!(leased.clone().leased(OTHER, at(189), &POLICY), None, "the echo may still come");
        let second = leased.leased(OTHER, at(190), &POLICY).unwrap();
        assert_eq!(second.pending.unwrap().attempt, 2);
    }

    #[test]
    fn an_acceptance_is_a_fact_whoever_holds_the_lease() {
        let taken = pending().leased(ME, at(0), &POLICY).unwrap().leased(OTHER, at(200), &POLICY).unwrap();
        let late = taken.clone().published(1, ME, &Publication::Accepted, at(201)).unwrap();
        assert_eq!(late.pending, None);
        for nothing in [Publication::Refused(String::new()), Publication::Unknown(String::new())] {
            assert_eq!(taken.clone().published(1, ME, &nothing, at(201)), None);
        }
        assert_eq!(taken.published(2, OTHER, &Publication::Accepted, at(201)), None, "another epoch");
    }

    #[test]
    fn refused_waits_a_pause_and_unknown_waits_for_the_echo() {
        let leased = pending().leased(ME, at(0), &POLICY).unwrap();
        let refused = leased.clone().published(1, ME, &Publication::Refused(String::new()), at(1)).unwrap();
        assert_eq!(phase(&refused), &Phase::Pending { not_before: at(3) });
        let unknown = leased.published(1, ME, &Publication::Unknown(String::new()), at(1)).unwrap();
        assert_eq!(phase(&unknown), &Phase::Unknown { since: at(1) });
        assert_eq!(unknown.clone().leased(ME, at(180), &POLICY), None);
        assert!(unknown.leased(ME, at(181), &POLICY).is_some());
    }
}
