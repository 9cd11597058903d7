//! Adapters for one machine: all ports of `hb_service` on an embedded SQLite database.
//!
//! Nothing here decides when a host is missing or what a notice says, sends anything, prints, or asks for the time:
//! clock and randomness are passed in.

mod audit;
mod backup;
mod copy;
mod deliveries;
mod doctor;
mod echoes;
mod error;
mod folder;
mod heartbeats;
mod keys;
mod ledger;
mod prepare;
mod row;
mod schema;
mod store;
mod subscriptions;
mod system;
#[cfg(feature = "testing")]
pub mod testing;
mod topic;

use std::sync::Arc;

use hb_service::ports::{Clock, Ids, Ports};

pub use backup::{Restored, Verified, backup, restore, verify};
pub use copy::{Rows, Snapshot};
pub use doctor::{Examined, examine};
pub use error::StoreError;
pub use folder::hand_over;
pub use prepare::{Prepared, prepare};
pub use store::Store;

/// All ports on `store`.
#[must_use]
pub fn ports(store: &Store, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Ports {
    let topic = topic::SqliteTopic {
        store: store.clone(),
        clock: clock.clone(),
    };
    let store = Arc::new(store.with_clock(clock.clone()));
    Ports {
        heartbeats: store.clone(),
        ledger: store.clone(),
        digests: store.clone(),
        fleets: store.clone(),
        receivers: store.clone(),
        incarnations: store.clone(),
        keys: store.clone(),
        topic: Arc::new(topic),
        echoes: store.clone(),
        subscriptions: store.clone(),
        deliveries: Some(store.clone()),
        system: store.clone(),
        audit: store,
        clock,
        ids,
    }
}
