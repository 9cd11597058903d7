//! What the use cases need from the outside. Adapters are short; rules stay in `hb_domain`.
//!
//! "Not found" is `Ok(None)`, a lost race is a value, and an error means that nothing was done or that the outcome is
//! unknown. An error never means that a host is silent.
#![warn(missing_docs)]

mod audit;
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

use hb_domain::{Digest, FleetRecord, Incarnation, Receiver};

pub use audit::{Audit, Identity};
pub use clock::Clock;
pub use deliveries::{
    CONSOLE, Content, Delivery, DeliveryOutcome, DeliveryQueue, LeasedDelivery, Tally, overtaken,
};
pub use echoes::{Echo, Echoes};
pub use error::{Cause, PortError, PortResult};
pub use heartbeats::{Heard, Heartbeats, Segment};
pub use ids::Ids;
pub use keys::Keys;
pub use ledger::{
    Ledger, Proposal, Record, Stored, Swap, Version, every_open, load_each, swap_each,
};
pub use page::{Cursor, Page, Unreadable, each_page, every_page};
pub use subscriptions::Subscriptions;
pub use system::{Checkpoint, CompletedSweep, Position, System};
pub use topic::Topic;

/// All ports of one store, as its adapter crate hands them over.
///
/// Use cases take all of them, so that no caller wires ports one by one.
#[derive(Clone)]
pub struct Ports {
    /// Heartbeats of all hosts.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// The ledger, with one entry a host.
    pub ledger: Arc<dyn Ledger>,
    /// Digests, under way and closed.
    pub digests: Arc<dyn Ledger<Digest>>,
    /// Fleets that have settings, or of which a notice was sent.
    pub fleets: Arc<dyn Ledger<FleetRecord>>,
    /// Receivers of all regions.
    pub receivers: Arc<dyn Ledger<Receiver>>,
    /// The incarnation of the stored data.
    pub incarnations: Arc<dyn Ledger<Incarnation>>,
    /// API keys of all fleets.
    pub keys: Arc<dyn Keys>,
    /// The topic to which notices are published.
    pub topic: Arc<dyn Topic>,
    /// Echoes of the notices that the topic accepted.
    pub echoes: Arc<dyn Echoes>,
    /// Subscriptions of the topic.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// Deliveries of accepted notices, where the topic is our own.
    pub deliveries: Option<Arc<dyn DeliveryQueue>>,
    /// What the service records about itself.
    pub system: Arc<dyn System>,
    /// What admins did.
    pub audit: Arc<dyn Audit>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub ids: Arc<dyn Ids>,
}

/// The ports that receiving beats needs, for a program that links no others.
#[derive(Clone)]
pub struct IngestPorts {
    /// Heartbeats of all hosts.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// API keys of all fleets.
    pub keys: Arc<dyn Keys>,
    /// The topic: checked, never published to.
    pub topic: Arc<dyn Topic>,
    /// The clock.
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
