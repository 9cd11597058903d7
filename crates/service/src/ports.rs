//! What the use cases need from the world. An adapter is a page; rules stay in `hb_domain`.
//!
//! "Not found" is `Ok(None)`, a lost race is a value, and an error means that nobody knows or that nothing was
//! done: never silence.
#![warn(missing_docs)]

mod clock;
mod deliveries;
mod echoes;
mod error;
mod heartbeats;
mod ids;
mod keys;
mod ledger;
mod page;
mod subscriptions;
mod system;
mod topic;

use std::sync::Arc;

use hb_domain::{Digest, Receiver};

pub use clock::Clock;
pub use deliveries::{
    CONSOLE, Content, Delivery, DeliveryOutcome, DeliveryQueue, LeasedDelivery, Tally,
};
pub use echoes::{Echo, Echoes};
pub use error::{Cause, PortError, PortResult};
pub use heartbeats::{Heard, Heartbeats, Segment};
pub use ids::Ids;
pub use keys::Keys;
pub use ledger::{Ledger, Record, Stored, Swap, Version};
pub use page::{Cursor, Page, Unreadable, every_page};
pub use subscriptions::Subscriptions;
pub use system::{CompletedSweep, System};
pub use topic::Topic;

/// All ports of one store, as its adapter crate hands them over.
///
/// Use cases take the whole: nobody wires ports one by one, or takes one back out of a use case.
#[derive(Clone)]
pub struct Ports {
    /// The beats.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// The ledger: one entry a host.
    pub ledger: Arc<dyn Ledger>,
    /// Digests.
    pub digests: Arc<dyn Ledger<Digest>>,
    /// The receivers of all regions.
    pub receivers: Arc<dyn Ledger<Receiver>>,
    /// API keys.
    pub keys: Arc<dyn Keys>,
    /// Where notices go.
    pub topic: Arc<dyn Topic>,
    /// What the topic accepted.
    pub echoes: Arc<dyn Echoes>,
    /// Who gets the notices.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// The deliveries of accepted notices, where the topic is our own.
    pub deliveries: Option<Arc<dyn DeliveryQueue>>,
    /// What the service remembers of itself.
    pub system: Arc<dyn System>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub ids: Arc<dyn Ids>,
}

/// The ports that taking beats needs, for a program that links no others.
#[derive(Clone)]
pub struct IngestPorts {
    /// The beats.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// API keys.
    pub keys: Arc<dyn Keys>,
    /// Where notices go: checked, never used.
    pub topic: Arc<dyn Topic>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl From<&Ports> for IngestPorts {
    fn from(ports: &Ports) -> Self {
        Self {
            heartbeats: ports.heartbeats.clone(),
            keys: ports.keys.clone(),
            topic: ports.topic.clone(),
            clock: ports.clock.clone(),
        }
    }
}
