//! The delivery of a host's pending notice, as changes of its ledger entry.
//!
//! What a digest does to the notices that it takes stands in [`digest`](crate::digest).

use uuid::Uuid;

use crate::entry::Entry;
use crate::limits;
use crate::notice::{NoticeId, pending_id};
use crate::pending::{Acceptance, DeliveryPolicy, Echoed, Pending, Phase, Publication};
use crate::time::Timestamp;

impl Entry {
    /// Leases the pending notice to `owner`; `None` when there is none, or it is not ready at `now`.
    #[must_use]
    pub fn leased(mut self, owner: Uuid, now: Timestamp, policy: &DeliveryPolicy) -> Option<Self> {
        self.pending = Some(self.pending.as_ref()?.leased(owner, now, policy)?);
        Some(self)
    }

    /// Records the outcome of `owner`'s publish of the notice of `epoch`, at that `attempt`; `None` when that changes
    /// nothing.
    ///
    /// An acceptance counts, whoever holds the lease by now. The other outcomes count only while `owner` holds it.
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
            return Some(self.accepted_alone(attempt, now));
        }
        self.pending = Some(pending.unaccepted(owner, outcome, now)?);
        Some(self)
    }

    /// What the echo of the notice `id` of `epoch` at `attempt` proves.
    #[must_use]
    pub fn echoed(self, epoch: u64, id: &NoticeId, attempt: u32, now: Timestamp) -> Echoed<Self> {
        if self.epoch == epoch && pending_id(&self).as_ref() == Some(id) {
            return Echoed::Accepted(self.accepted_alone(attempt, now));
        }
        let accepted = self
            .history
            .iter()
            .find(|transition| transition.epoch == epoch)
            .and_then(|transition| transition.accepted.as_ref());
        if accepted.is_some_and(|accepted| accepted.attempt != attempt) {
            Echoed::SecondCopy
        } else {
            Echoed::Known
        }
    }

    /// Leaves the pending notice to a digest; `None` when that may not take it at `now`.
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

    /// Whether it has a notice that nobody was ever to send.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.pending.as_ref().is_some_and(Pending::is_untouched)
    }

    /// Whether such a notice may leave with its group at `now`: unless the host has to beat steadily before, or seems silent
    /// again.
    #[must_use]
    pub fn waits_in_group(&self, now: Timestamp) -> bool {
        self.is_untouched() && self.inquiry.is_none() && self.can_batch(now)
    }

    /// Whether the pending notice may have been accepted unnoticed.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.pending.as_ref().is_some_and(Pending::is_in_doubt)
    }

    /// The digest that took the pending notice.
    #[must_use]
    pub fn digest(&self) -> Option<&NoticeId> {
        match &self.pending.as_ref()?.phase {
            Phase::Batched { digest } => Some(digest),
            _ => None,
        }
    }

    fn accepted_alone(self, attempt: u32, at: Timestamp) -> Self {
        let acceptance = Acceptance {
            attempt,
            at,
            digest: None,
        };
        self.with_acceptance(acceptance, at)
    }

    pub(crate) fn with_acceptance(mut self, acceptance: Acceptance, now: Timestamp) -> Self {
        self.pending = None;
        if !self.state.is_trouble() {
            self.settings.acknowledged = None;
        }
        self.needs_recheck |= self.was_decided_long_ago(now);
        if let Some(last) = self.history.last_mut() {
            last.accepted = Some(acceptance);
        }
        self
    }

    /// Whether failures from before the last completed sweep may be undecided, because a notice was pending.
    pub(crate) fn was_decided_long_ago(&self, now: Timestamp) -> bool {
        // Half, since clocks differ.
        let long = |at: Timestamp| now.since(at) >= limits::NEWS_MARGIN / 2 || at.is_ahead(now);
        self.history.last().is_some_and(|last| long(last.at))
    }
}

#[cfg(test)]
mod tests;
