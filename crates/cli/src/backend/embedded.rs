//! The embedded database.

use std::sync::Arc;

use hb_domain::Region;
use hb_service::admin::RegionalTopic;
use hb_service::system::{SystemClock, SystemIds};
use hb_sqlite::Store;

use super::{Backend, Topics};

impl Backend {
    /// Everything over the embedded database.
    pub(crate) fn embedded(store: &Store) -> Self {
        let ports = hb_sqlite::ports(store, Arc::new(SystemClock), Arc::new(SystemIds));
        let topic = RegionalTopic {
            region: Region::local(),
            topic: ports.topic.clone(),
            subscriptions: ports.subscriptions.clone(),
        };
        Self {
            ports,
            region: Region::local(),
            supports: hb_sqlite::supported,
            topics: Topics::Local(topic),
        }
    }
}
