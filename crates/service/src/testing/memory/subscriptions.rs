use std::collections::BTreeMap;

use async_trait::async_trait;
use hb_domain::{ConfirmationToken, Subscription, SubscriptionId, SubscriptionState};

use super::{Memory, page};
use crate::ports::{Cursor, Page, PortResult, Subscriptions};

#[async_trait]
impl Subscriptions for Memory {
    /// All are confirmed at once.
    async fn add(&self, subscription: &Subscription, _: &ConfirmationToken) -> PortResult<bool> {
        let mut tables = self.call("table subscriptions")?;
        let free = !tables.subscriptions.contains_key(&subscription.id);
        tables
            .subscriptions
            .entry(subscription.id.clone())
            .or_insert_with(|| subscription.clone());
        Ok(free)
    }

    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Subscription>> {
        let after = after.and_then(|c| c.0.parse().ok());
        let tables = self.call("table subscriptions")?;
        Ok(page(
            &tables.subscriptions,
            after,
            ToString::to_string,
            |item| Ok(item.clone()),
        ))
    }

    async fn states(&self) -> PortResult<BTreeMap<SubscriptionId, SubscriptionState>> {
        let tables = self.call("table subscriptions")?;
        Ok(tables
            .subscriptions
            .keys()
            .map(|id| (id.clone(), SubscriptionState::Confirmed))
            .collect())
    }

    async fn confirm(&self, _: &ConfirmationToken) -> PortResult<Option<String>> {
        self.call("table subscriptions").map(|_| None)
    }

    async fn remove(&self, id: &SubscriptionId) -> PortResult<bool> {
        let mut tables = self.call("table subscriptions")?;
        let removed = tables.subscriptions.remove(id).is_some();
        if removed {
            tables.deliveries.remove(id);
        }
        Ok(removed)
    }
}
