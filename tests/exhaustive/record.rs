//! Host entries and digests as one type of record, changed only by production rules; and their ages.
//!
//! "Now" never changes. Time passes by making everything stored older, an [`HOUR`] at a time, until it is so old that its
//! age does not matter. So there are finitely many states, even when they form cycles.

use std::sync::Arc;
use std::time::Duration;

use hb_domain::{
    Beat, DeliveryPolicy, Digest, Echoed, Entry, Heartbeat, Notice, NoticeId, Pending, Phase,
    Publication, Region, Signal, Timestamp,
};
use uuid::Uuid;

/// One step of time: longer than any pause after a refusal; a lease ends after one, W after two.
pub(crate) const HOUR: Duration = Duration::from_hours(1);
/// Steps after which age no longer matters.
pub(crate) const OLD: u32 = 2;
pub(crate) const POLICY: DeliveryPolicy = DeliveryPolicy {
    lease: HOUR,
    echo_wait: HOUR,
};

/// The instant of all steps.
pub(crate) fn now() -> Timestamp {
    Timestamp::MIN.plus(HOUR * 1_000)
}

/// The instant, one step of time older.
pub(crate) fn older(at: Timestamp) -> Timestamp {
    if at == Timestamp::MIN {
        at
    } else {
        at.minus(HOUR).max(now().minus(HOUR * OLD))
    }
}

/// The record of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    Host(u8),
    Digest(u8),
}

/// A notice: its record, and the epoch of a host.
pub(crate) type Name = (Subject, u64);

/// A record of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Record {
    Host(Arc<Entry>),
    Digest(Arc<Digest>),
}

impl From<Entry> for Record {
    /// Instants that no rule reads are all set to now.
    fn from(mut entry: Entry) -> Self {
        for transition in &mut entry.history {
            transition.since = now();
            transition.last_beat = now();
            transition.at = now();
            transition
                .accepted
                .iter_mut()
                .for_each(|last| last.at = now());
        }
        Self::Host(Arc::new(entry))
    }
}

impl From<Digest> for Record {
    fn from(mut digest: Digest) -> Self {
        digest.accepted.iter_mut().for_each(|last| last.at = now());
        Self::Digest(Arc::new(digest))
    }
}

impl Record {
    pub(crate) fn pending(&self) -> Option<&Pending> {
        match self {
            Self::Host(entry) => entry.pending.as_ref(),
            Self::Digest(digest) => digest.pending.as_ref(),
        }
    }

    pub(crate) fn name(&self, subject: Subject) -> Name {
        match self {
            Self::Host(entry) => (subject, entry.epoch),
            Self::Digest(_) => (subject, 0),
        }
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        match self {
            Self::Host(entry) => entry.is_in_doubt(),
            Self::Digest(digest) => digest.is_in_doubt(),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.leased(Uuid::nil()).is_some()
    }

    pub(crate) fn leased(&self, owner: Uuid) -> Option<Self> {
        Some(match self {
            Self::Host(entry) => Entry::clone(entry).leased(owner, now(), &POLICY)?.into(),
            Self::Digest(digest) => Digest::clone(digest).leased(owner, now(), &POLICY)?.into(),
        })
    }

    /// The record after publishing `sent` with this outcome at the instant `at`.
    pub(crate) fn settled(
        &self,
        sent: &Self,
        owner: Uuid,
        outcome: &Publication,
        at: Timestamp,
    ) -> Option<Self> {
        let attempt = sent.pending()?.attempt;
        Some(match (self, sent) {
            (Self::Host(entry), Self::Host(sent)) => Entry::clone(entry)
                .published(sent.epoch, owner, attempt, outcome, at)?
                .into(),
            (Self::Digest(digest), _) => Digest::clone(digest)
                .published(owner, attempt, outcome, at)?
                .into(),
            (Self::Host(_), Self::Digest(_)) => return None,
        })
    }

    pub(crate) fn echoed(&self, epoch: u64, attempt: u32) -> Echoed<Self> {
        fn record<T: Into<Record>>(echoed: Echoed<T>) -> Echoed<Record> {
            match echoed {
                Echoed::Accepted(next) => Echoed::Accepted(next.into()),
                Echoed::SecondCopy => Echoed::SecondCopy,
                Echoed::Known => Echoed::Known,
            }
        }
        match self {
            Self::Host(entry) => {
                let pending = Notice::of(entry, &Region::local());
                let id = pending.map_or_else(|| NoticeId::of_bytes([0; 32]), |notice| notice.id);
                record(Entry::clone(entry).echoed(epoch, &id, attempt, now()))
            }
            Self::Digest(digest) => record(Digest::clone(digest).echoed(attempt, now())),
        }
    }

    pub(crate) fn older(&self) -> Self {
        let mut record = self.clone();
        let pending = match &mut record {
            Self::Host(entry) => {
                let entry = Arc::make_mut(entry);
                entry.basis = older(entry.basis);
                entry.failure = entry.failure.map(older);
                &mut entry.pending
            }
            Self::Digest(digest) => {
                let digest = Arc::make_mut(digest);
                // How long it has been abandoned does not matter.
                digest.at = digest.at.minus(HOUR).max(now().minus(POLICY.lease));
                &mut digest.pending
            }
        };
        // How long it has been ready does not matter.
        match pending.as_mut().map(|pending| &mut pending.phase) {
            Some(Phase::Pending { not_before: at }) => *at = at.minus(HOUR).max(now()),
            Some(Phase::Sending { until: at, .. } | Phase::Unknown { since: at }) => {
                *at = at.minus(HOUR).max(now().minus(POLICY.echo_wait));
            }
            Some(Phase::Batched { .. }) | None => {}
        }
        record
    }
}

/// The beats of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Heard {
    pub(crate) last: Timestamp,
    pub(crate) failed: Option<Timestamp>,
    pub(crate) signal_is_ok: bool,
}

impl Heard {
    pub(crate) fn heartbeat(self) -> Heartbeat {
        let signal = if self.signal_is_ok {
            Signal::Ok
        } else {
            Signal::Fail
        };
        let failure = self
            .failed
            .map(|at| hb_domain::Failure { at, message: None });
        Heartbeat {
            signal,
            failure,
            // Silent after one step of time.
            ..Heartbeat::new(Beat::ok(self.last))
        }
    }

    pub(crate) fn older(self) -> Self {
        Self {
            last: older(self.last),
            failed: self.failed.map(older),
            ..self
        }
    }
}

pub(crate) fn digest_id(n: u8) -> NoticeId {
    NoticeId::of_bytes([n; 32])
}
