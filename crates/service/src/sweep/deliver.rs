//! Brings a pending notice to the topic: lease, publish, write down what became of it.

use hb_domain::{Entry, Notice, Publication};

use super::{Step, Sweep};
use crate::ports::{PortResult, Swap, Version};
use crate::swap::swap;

/// How often an outcome is written down anew when the entry changed meanwhile, say by an admin.
const TRIES: u32 = 5;

impl Sweep {
    /// Publishes the pending notice of `entry`, if it is ready and nobody else has leased it.
    ///
    /// A crash anywhere in here leaves a lease that runs out; then the notice is published again, with the same id.
    pub(super) async fn deliver(&self, entry: Entry, version: Version) -> PortResult<Vec<Step>> {
        let owner = self.ids.token();
        let Some(leased) = entry.leased(owner, self.clock.now(), &self.settings.delivery) else {
            return Ok(vec![]);
        };
        let version = match swap(&*self.ledger, &*self.ids, &leased, Some(version)).await? {
            Swap::Done(version) => version,
            Swap::Conflict(_) => return Ok(vec![Step::LostRace]),
        };
        let Some(notice) = Notice::of(&leased, &self.settings.region) else { return Ok(vec![]) };
        let outcome = self.topic.publish(&notice).await;
        let now = self.clock.now();
        let epoch = leased.epoch;
        let (mut current, mut version) = (leased, version);
        for _ in 0..TRIES {
            let Some(next) = current.published(epoch, owner, &outcome, now) else { break };
            match swap(&*self.ledger, &*self.ids, &next, Some(version)).await? {
                Swap::Conflict(Some(stored)) => (current, version) = (stored.entry, stored.version),
                Swap::Done(_) | Swap::Conflict(None) => break,
            }
        }
        let told = |cause: String| format!("notice {} of {}: {cause}", notice.id, notice.host_key());
        Ok(vec![match outcome {
            Publication::Accepted => Step::Accepted,
            Publication::Refused(cause) => Step::Refused(told(cause)),
            Publication::Unknown(cause) => Step::Unknown(told(cause)),
        }])
    }
}
