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
