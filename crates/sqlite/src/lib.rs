//! Adapters for one machine: an embedded SQLite database behind the ports of `hb_service`, and a courier that
//! delivers notices from it to the console, by e-mail and by webhook.
//!
//! Nothing here decides when a host is missing or what a notice says, prints, or asks for the time: the clock and
//! the source of randomness are handed in.

mod courier;
mod deliveries;
mod doctor;
mod echoes;
mod heartbeats;
mod keys;
mod ledger;
mod row;
mod schema;
mod sender;
mod store;
mod subscriptions;
mod system;
mod topic;

pub use courier::Courier;
pub use deliveries::SqliteDeliveries;
pub use doctor::{Examined, examine};
pub use echoes::SqliteEchoes;
pub use heartbeats::SqliteHeartbeats;
pub use keys::SqliteKeys;
pub use ledger::SqliteLedger;
pub use sender::{
    ConsoleSender, Content, Delivery, SendError, Sender, Senders, SmtpSender, SmtpSettingsError,
    UnsupportedError, WebhookSender, http_client, supported,
};
pub use store::{Store, StoreError};
pub use subscriptions::{CONSOLE, SqliteSubscriptions};
pub use system::SqliteSystem;
pub use topic::SqliteTopic;

use std::sync::Arc;

use hb_service::ports::{Clock, Ids, Ports};

/// All ports on `store`.
#[must_use]
pub fn ports(store: &Store, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Ports {
    let ledger = Arc::new(SqliteLedger::new(store.clone()));
    Ports {
        heartbeats: Arc::new(SqliteHeartbeats::new(store.clone())),
        ledger: ledger.clone(),
        digests: ledger.clone(),
        receivers: ledger,
        keys: Arc::new(SqliteKeys::new(store.clone())),
        topic: Arc::new(SqliteTopic::new(store.clone(), clock.clone())),
        echoes: Arc::new(SqliteEchoes::new(store.clone())),
        subscriptions: Arc::new(SqliteSubscriptions::new(store.clone())),
        deliveries: Some(Arc::new(SqliteDeliveries::new(store.clone()))),
        system: Arc::new(SqliteSystem::new(store.clone())),
        clock,
        ids,
    }
}
