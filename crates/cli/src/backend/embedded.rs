//! The embedded database.

use std::sync::Arc;

use hb_domain::Region;
use hb_sqlite::{
    SqliteDeliveries, SqliteHeartbeats, SqliteKeys, SqliteLedger, SqliteSubscriptions, SqliteTopic,
    Store,
};
use hb_service::manage::{Hosts, Manager, RegionalTopic};
use hb_service::system::{SystemClock, SystemIds};

use super::{Backend, Topics};

impl Backend {
    /// Everything over the embedded database.
    pub(crate) fn embedded(store: &Store) -> Self {
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        Self {
            manager: Arc::new(Manager {
                keys: Arc::new(SqliteKeys::new(store.clone())),
                clock: clock.clone(),
                ids: ids.clone(),
            }),
            hosts: Hosts {
                heartbeats: Arc::new(SqliteHeartbeats::new(store.clone())),
                ledger: Arc::new(SqliteLedger::new(store.clone())),
                receivers: Arc::new(SqliteLedger::new(store.clone())),
                clock,
                ids,
                region: Region::local(),
            },
            deliveries: Some(Arc::new(SqliteDeliveries::new(store.clone()))),
            supports: hb_sqlite::supported,
            topics: Topics::Here(store.clone()),
        }
    }
}

/// The only topic that there is.
pub(super) fn topic(store: &Store) -> RegionalTopic {
    RegionalTopic {
        region: Region::local(),
        topic: Arc::new(SqliteTopic::new(store.clone(), Arc::new(SystemClock))),
        subscriptions: Arc::new(SqliteSubscriptions::new(store.clone())),
    }
}
