//! Adapters for AWS: the ports of `hb_service` on DynamoDB tables, an SNS topic and an SQS queue.
//!
//! This crate decides no rules, reads no clock and no environment: the caller passes variables in. It alone names the
//! AWS SDK.

mod audit;
mod client;
#[cfg(feature = "testing")]
mod create;
mod cursor;
mod doctor;
mod echo;
mod error;
mod expression;
mod find;
mod heartbeats;
#[cfg(feature = "profile")]
mod identity;
mod item;
mod keys;
mod ledger;
mod meter;
mod names;
#[cfg(feature = "profile")]
mod profile;
mod records;
mod size;
mod subscriptions;
mod system;
mod table;
mod tables;
#[cfg(feature = "testing")]
pub mod testing;
mod topic;

/// What the templates of a deployment repeat; `tests/template` compares both.
pub mod facts {
    pub use crate::audit::{AUDIT as AUDIT_KIND, EXPIRY};
    pub use crate::heartbeats::stored::ATTRIBUTES as BEAT_ATTRIBUTES;
    pub use crate::heartbeats::stored::MENDED as MENDED_ATTRIBUTES;
    pub use crate::keys::COUNTED as COUNTED_ATTRIBUTES;
    pub use crate::ledger::stored::RECEIVER_PREFIX;
    pub use crate::names::STAGE_CHARS;
    pub use crate::system::SWEEP as SWEEP_KIND;
}

pub use audit::DynamoAudit;
pub use client::{Clients, ClientsError, https};
#[cfg(feature = "testing")]
pub use create::create_stage;
pub use doctor::examine;
pub use echo::SqsEchoes;
pub use find::{Found, find_stage};
pub use heartbeats::DynamoHeartbeats;
#[cfg(feature = "profile")]
pub use identity::StsIdentity;
pub use keys::DynamoKeys;
pub use ledger::DynamoLedger;
pub use meter::{Meter, Operation, Usage};
pub use names::{ArnError, Stage, StageError, TopicArn};
#[cfg(feature = "profile")]
pub use profile::Profile;
pub use size::{AttributeMap, item_size};
pub use subscriptions::SnsSubscriptions;
pub use system::DynamoSystem;
pub use tables::{Attribute, IndexDefinition, TableDefinition, table_definitions};
pub use topic::SnsTopic;

use std::sync::Arc;

use hb_service::ports::{Clock, Ids, Ports};

/// All ports on `stage`, in the region of `clients`. Makes no request yet.
#[must_use]
pub fn ports(clients: &Clients, stage: &Stage, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Ports {
    let ledger = Arc::new(DynamoLedger::new(clients, stage));
    Ports {
        heartbeats: Arc::new(DynamoHeartbeats::new(clients, stage)),
        ledger: ledger.clone(),
        digests: ledger.clone(),
        fleets: ledger.clone(),
        receivers: ledger.clone(),
        incarnations: ledger,
        keys: Arc::new(DynamoKeys::new(clients, stage)),
        topic: Arc::new(SnsTopic::new(clients, stage)),
        echoes: Arc::new(SqsEchoes::new(clients, stage)),
        subscriptions: Arc::new(SnsSubscriptions::new(clients, stage)),
        deliveries: None,
        system: Arc::new(DynamoSystem::new(clients, stage)),
        audit: Arc::new(DynamoAudit::new(clients, stage)),
        clock,
        ids,
    }
}
