//! The port to the deliveries of a topic that is our own: one for each accepted notice and each subscription that
//! wants it. Where another service delivers, as SNS does, there is none.
//!
//! A lane is the deliveries of one subscription about one host, in the order of acceptance. The first of a lane is sent
//! first; a digest is in the lanes of all its hosts, and must be the first in each. A delivery that has failed for long
//! yields: after each further failed try, those behind it are tried once. When one of them is delivered, the hosts that
//! both are about leave the earlier one, which would be news of yesterday; without hosts it is dead.
//!
//! When to retry, to yield and to give up is not decided here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    ConfirmationToken, Endpoint, Notice, SubscriptionId, Timestamp, Tries, Webhook, WebhookSecret,
};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::PortResult;

/// The id of the subscription that exists without being added: the console of the server.
pub const CONSOLE: &str = "console";

/// The deliveries of one subscription, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Not delivered yet, to be tried again.
    pub due: u64,
    /// Accepted by the endpoint.
    pub delivered: u64,
    /// Given up: after [`hb_domain::limits::DELIVERY_FOR`], after final answers, or overtaken by later ones.
    pub dead: u64,
    /// When the last of them was.
    #[serde(serialize_with = "instant")]
    pub last_dead: Option<Timestamp>,
    /// Since when deliveries fail that are to be tried again.
    #[serde(serialize_with = "instant")]
    pub failing_since: Option<Timestamp>,
    /// When the first of those is due again; while it is sent, when that ends at the latest.
    #[serde(serialize_with = "instant")]
    pub next_try: Option<Timestamp>,
    /// The error of the last failed try, while anything is due or dead.
    pub last_error: Option<String>,
}

#[expect(clippy::ref_option, reason = "as serde passes it")]
fn instant<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(serializer)
}

/// The error of a delivery that a later one overtook; `last` is the error of its last try.
#[must_use]
pub fn overtaken(last: Option<&str>) -> String {
    let last = last.map(|error| format!("; before: {error}"));
    format!(
        "a later notice was delivered first{}",
        last.unwrap_or_default()
    )
}

/// What is sent to an endpoint.
#[derive(Clone, Debug)]
pub enum Content {
    /// A notice.
    Notice(Box<Notice>),
    /// The request to confirm the subscription with this token.
    Confirmation(ConfirmationToken),
}

/// One message to one subscription.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What to send.
    pub content: Content,
    /// The subscription that gets it.
    pub subscription: SubscriptionId,
    /// Where that subscription is served.
    pub endpoint: Endpoint,
    /// How that is signed if it is a webhook, and where it may lead.
    pub webhook: Webhook,
}

/// A delivery under a lease.
#[derive(Clone, Debug)]
pub struct LeasedDelivery {
    /// Names it; rises in the order of acceptance.
    pub number: i64,
    /// The subscription that gets it.
    pub subscription: SubscriptionId,
    /// How many tries failed, of the current part if it is sent in parts.
    pub failed: u32,
    /// How many of them got an answer that no further try changes.
    pub refused: u32,
    /// Since when it is tried, as that counts at the beginning of the lease.
    pub tries: Tries,
    /// The places of the digest's list that this try has: all, or a part. A notice of one host has one place.
    pub places: Range<usize>,
    /// The message, or why what is stored of it cannot be read.
    pub delivery: Result<Delivery, String>,
}

/// The result of a try, or of the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The endpoint has accepted it.
    Delivered,
    /// It failed and is due again.
    Retry {
        /// From when on.
        due: Timestamp,
        /// Whether the answer was one that no further try changes.
        refused: bool,
        /// Whether those behind it in its lanes are tried before it is tried again.
        yields: bool,
        /// Why it failed: one line, without secrets.
        error: String,
    },
    /// It is too large, and is due again with half as many places.
    Split {
        /// Why it failed: one line, without secrets.
        error: String,
    },
    /// It failed and is given up.
    Dead {
        /// Why it failed: one line, without secrets.
        error: String,
    },
}

/// The deliveries of accepted notices.
#[async_trait]
pub trait DeliveryQueue: Send + Sync {
    /// The subscriptions with at least one delivery due at `now`, leased ones not counted. What is due may have to wait
    /// until another is settled.
    async fn due(&self, now: Timestamp) -> PortResult<Vec<SubscriptionId>>;

    /// Leases to `owner` until `until` what is due at `now`: of each subscription at most the number in `wanted`,
    /// and none whose number is in `running`. An expired lease is due again. Of a lane one delivery at most is leased at
    /// a time, the first that is due.
    ///
    /// What of its instants a wrong clock wrote, or lies before a long time without a try, is stored as it counts now
    /// ([`Tries::as_of`]).
    ///
    /// A digest is leased whole, or with as many hosts as the subscription took last in a part.
    async fn lease(
        &self,
        wanted: BTreeMap<SubscriptionId, usize>,
        running: Vec<i64>,
        owner: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> PortResult<Vec<LeasedDelivery>>;

    /// Stores the outcome of the try of `leased` that `owner` ended at `now`. A failure is ignored when the lease is
    /// another's by now, or the delivery is settled or gone; `Delivered` holds whoever has the lease. A settled delivery
    /// leaves its lanes, and a success makes everything due at once that the subscription has waiting for a retry.
    /// After a part is delivered, the rest of the digest is due.
    ///
    /// Returns the identities of the notices that are dead because this one overtook them.
    async fn settle(
        &self,
        leased: &LeasedDelivery,
        owner: Uuid,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> PortResult<Vec<String>>;

    /// Deletes some of what is over and was accepted or created before `before`: settled deliveries, their notices, and
    /// closed digests, which nothing refers to any more. `true` when there may be more.
    async fn clean(&self, before: Timestamp) -> PortResult<bool>;

    /// The tally of each subscription that ever got a delivery.
    async fn tally(&self) -> PortResult<BTreeMap<SubscriptionId, Tally>>;

    /// Signs what `id` gets with `secret` from `now` on, and with its earlier secrets for `overlap` at most; `false` when
    /// there is no such subscription.
    async fn rotate_secret(
        &self,
        id: &SubscriptionId,
        secret: WebhookSecret,
        now: Timestamp,
        overlap: Duration,
    ) -> PortResult<bool>;

    /// Resolves when this process has added a delivery since the last call. Other processes are not noticed.
    async fn added(&self);
}
