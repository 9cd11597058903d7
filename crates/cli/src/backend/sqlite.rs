//! One machine: the SQLite database in a data folder.

use std::path::Path;
use std::sync::Arc;

use hb_domain::{Key, Region, Timestamp};
use hb_service::admin::RegionalTopic;
use hb_service::doctor::{Doctor, Expectations, Finding};
use hb_service::ports::{DeliveryQueue, PortResult, Ports};
use hb_service::system::{SystemClock, SystemIds};
use hb_sqlite::Store;

use super::{Backend, Topics};
use crate::exit::Failure;

/// The database of a server, with what only `hb serve` does.
pub(crate) struct Local {
    pub(crate) backend: Backend,
    store: Store,
}

impl Local {
    /// Opens the database in `dir`; creates both when they do not exist.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        let store = Store::open(dir).map_err(|error| Failure::Store(error.into()))?;
        let ports = ports(&store);
        let topic = RegionalTopic {
            region: Region::local(),
            topic: ports.topic.clone(),
            subscriptions: ports.subscriptions.clone(),
        };
        let backend = Backend {
            ports,
            region: Region::local(),
            supports: hb_delivery::supported,
            topics: Topics::Local(topic),
        };
        Ok(Self { backend, store })
    }

    /// The deliveries that the courier works through.
    pub(crate) fn queue(&self) -> Arc<dyn DeliveryQueue> {
        Arc::new(self.store.clone())
    }

    /// Stores `key` if there is no key at all; `false` otherwise.
    pub(crate) async fn create_first_key(&self, key: &Key) -> PortResult<bool> {
        self.store.create_first_key(key).await
    }
}

/// What is wrong with the data folder `dir` and with what is stored there. Changes nothing.
pub(crate) async fn examine(dir: &Path, now: Timestamp) -> Vec<Finding> {
    let hb_sqlite::Examined {
        mut findings,
        store,
    } = hb_sqlite::examine(dir).await;
    if let Some(store) = store {
        let doctor = Doctor {
            ports: ports(&store),
            expectations: Expectations::local(),
        };
        findings.extend(doctor.examine(now).await);
    }
    findings
}

fn ports(store: &Store) -> Ports {
    hb_sqlite::ports(store, Arc::new(SystemClock), Arc::new(SystemIds))
}
