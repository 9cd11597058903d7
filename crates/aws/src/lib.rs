//! Adapters for AWS: DynamoDB tables and an SNS topic behind the ports of `hb_service`.
//!
//! Nothing here decides when a host is missing or what a notice says, asks for the time, or reads the environment by
//! itself: whoever calls passes the variables in. The AWS SDK is named in this crate only.

mod client;
mod create;
mod cursor;
mod doctor;
mod echo;
mod error;
mod expression;
mod heartbeats;
mod item;
mod keys;
mod ledger;
mod meter;
mod names;
#[cfg(feature = "profile")]
mod profile;
mod records;
mod size;
mod stage_topic;
mod subscriptions;
mod system;
mod table;
mod topic;

/// What the templates of a deployment repeat; `tests/template` compares both.
pub mod facts {
    pub use crate::heartbeats::stored::ATTRIBUTES as BEAT_ATTRIBUTES;
    pub use crate::ledger::RECEIVER_PREFIX;
    pub use crate::names::STAGE_CHARS;
    pub use crate::system::SWEEP as SWEEP_KIND;
}

pub use client::{Clients, ClientsError, https};
pub use create::{
    Attribute, Found, IndexDefinition, TableDefinition, create_stage, find_stage, find_topic,
    table_definitions,
};
pub use doctor::examine;
pub use echo::SqsEchoes;
pub use heartbeats::DynamoHeartbeats;
pub use keys::DynamoKeys;
pub use ledger::DynamoLedger;
pub use meter::{Meter, Operation, Usage};
pub use names::{ArnError, Stage, StageError, TopicArn};
#[cfg(feature = "profile")]
pub use profile::Profile;
pub use size::{AttributeMap, item_size};
pub use stage_topic::StageTopic;
pub use subscriptions::SnsSubscriptions;
pub use system::DynamoSystem;
pub use topic::SnsTopic;

use std::sync::Arc;

use hb_service::ports::{Clock, Ids, Ports};

/// All ports on `stage`, in the region of `clients`. Nothing is asked of AWS yet.
#[must_use]
pub fn ports(clients: &Clients, stage: &Stage, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Ports {
    let ledger = Arc::new(DynamoLedger::new(clients, stage));
    let subscriptions = stage_topic::StageSubscriptions(StageTopic::new(clients, stage));
    Ports {
        heartbeats: Arc::new(DynamoHeartbeats::new(clients, stage)),
        ledger: ledger.clone(),
        digests: ledger.clone(),
        receivers: ledger,
        keys: Arc::new(DynamoKeys::new(clients, stage)),
        topic: Arc::new(StageTopic::new(clients, stage)),
        echoes: Arc::new(SqsEchoes::new(clients, stage)),
        subscriptions: Arc::new(subscriptions),
        deliveries: None,
        system: Arc::new(DynamoSystem::new(clients, stage)),
        clock,
        ids,
    }
}
