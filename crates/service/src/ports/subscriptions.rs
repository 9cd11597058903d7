//! Subscriptions of the topic.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hb_domain::{ConfirmationToken, Subscription, SubscriptionId, SubscriptionState};

use super::{Cursor, Page, PortResult};

/// Stores the subscriptions of one topic.
#[async_trait]
pub trait Subscriptions: Send + Sync {
    /// Adds a subscription; `false` when its id is taken. Where the topic has no tokens of its own and the endpoint
    /// must confirm, `token` confirms it; only the endpoint receives it.
    async fn add(&self, subscription: &Subscription, token: &ConfirmationToken)
    -> PortResult<bool>;

    /// The state of each subscription.
    async fn states(&self) -> PortResult<BTreeMap<SubscriptionId, SubscriptionState>>;

    /// Confirms the subscription that `token` was sent for, and returns its id, or what else names it; `None` when there
    /// is none here.
    async fn confirm(&self, token: &ConfirmationToken) -> PortResult<Option<String>>;

    /// One page of all subscriptions, in the order of their ids.
    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Subscription>>;

    /// Removes a subscription and its undelivered notices; `false` when there is none.
    async fn remove(&self, id: &SubscriptionId) -> PortResult<bool>;
}
