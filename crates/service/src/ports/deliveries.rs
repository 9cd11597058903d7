//! The port to what became of accepted notices.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hb_domain::SubscriptionId;
use serde::{Deserialize, Serialize};

use super::PortResult;

/// How the deliveries of one subscription stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Not delivered yet, to be tried again.
    pub due: u64,
    /// Delivered.
    pub delivered: u64,
    /// Given up after [`hb_domain::limits::DELIVERY_FOR`].
    pub dead: u64,
    /// What the endpoint said at the last failed try, while anything is due or dead.
    pub last_error: Option<String>,
}

/// What became of accepted notices, where the topic knows it.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// The tally of each subscription that ever got a notice.
    async fn tally(&self) -> PortResult<BTreeMap<SubscriptionId, Tally>>;
}
