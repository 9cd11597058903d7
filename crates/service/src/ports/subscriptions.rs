//! The port to the subscriptions of the topic.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hb_domain::{ConfirmationToken, Subscription, SubscriptionId, SubscriptionState};

use super::{Cursor, Page, PortResult};

/// Who listens to the topic.
#[async_trait]
pub trait Subscriptions: Send + Sync {
    /// Adds a subscription; `false` when its id is taken. Where the topic has no tokens of its own, `token` is what
    /// confirms it, if it must be confirmed; the endpoint, and nobody else, gets to know it.
    async fn add(&self, subscription: &Subscription, token: &ConfirmationToken)
    -> PortResult<bool>;

    /// How each subscription stands.
    async fn states(&self) -> PortResult<BTreeMap<SubscriptionId, SubscriptionState>>;

    /// Confirms what `token` was sent for; `false` when it was sent for nothing here.
    async fn confirm(&self, token: &ConfirmationToken) -> PortResult<bool>;

    /// One page of all subscriptions, in the order of their ids.
    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Subscription>>;

    /// Removes a subscription and what it has not yet got; `false` when there is none.
    async fn remove(&self, id: &SubscriptionId) -> PortResult<bool>;
}
